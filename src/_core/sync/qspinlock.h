/* SPDX-License-Identifier: MIT */
/*
 * spinlock_t: the kernel's queued spinlock (kernel/locking/qspinlock.c; kernel-reference §4.7b).
 *
 *	val:	0-7	locked		one byte, so that unlock is a store
 *		8-15	pending		the second in line spins on the word itself
 *		16-31	tail		task id + 1 of the last queued; the queued spin each on their own MCS node
 *
 * (queue, pending, locked):
 *	0,0,0 ─► 0,0,1			fast path
 *	0,0,1 ─► 0,1,1 ─► 0,1,0 ─► 0,0,1	pending
 *	n,x,y ─► the head waits for x,y = 0,0, then takes the lock and wakes its successor's node
 *
 * The kernel's tail also holds a nesting level of 2 bits; without interrupts it would always be 0.
 */
#ifndef FB_SYNC_QSPINLOCK_H
#define FB_SYNC_QSPINLOCK_H

#include "sync/atomic.h"

#define FB_Q_LOCKED 1u
#define FB_Q_LOCKED_MASK 0xffu
#define FB_Q_PENDING 0x100u
#define FB_Q_LOCKED_PENDING_MASK 0xffffu
#define FB_Q_TAIL_SHIFT 16

struct fb_spinlock {
	uint32_t val;
};

FB_INLINE uint8_t *fb_spin_locked_byte(struct fb_spinlock *l) { return (uint8_t *)&l->val; }
FB_INLINE uint16_t *fb_spin_locked_pending(struct fb_spinlock *l) { return (uint16_t *)&l->val; }
FB_INLINE uint16_t *fb_spin_tail(struct fb_spinlock *l) { return (uint16_t *)&l->val + 1; }

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the bytes of val are addressed as on a little-endian CPU");

FB_INLINE bool fb_spin_trylock(struct fb_spinlock *l)
{
	uint32_t val = fb_load_u32(&l->val, FB_RELAXED);	/* relaxed: the CAS decides */

	/* ACQUIRE, pairs with fb_spin_unlock */
	return !val && fb_cas_u32(&l->val, &val, FB_Q_LOCKED, FB_ACQUIRE);
}

static __attribute__((noinline, unused)) void fb_spin_queue(struct fb_spinlock *l, struct fb_task *me)
{
	struct fb_mcs_node *node = &me->sh->mcs, *next;
	uint16_t tail = (uint16_t)(me->id + 1), old;
	uint32_t val;

	/* relaxed: published by the exchange and by the store to prev->next */
	fb_store_u32(&node->locked, 0, FB_RELAXED);
	fb_store_ptr((void **)&node->next, NULL, FB_RELAXED);

	/* Our node's line may have been far away: perhaps the lock is free by now. */
	if (fb_spin_trylock(l))
		return;

	/* RELEASE: our node is set up before anyone finds it; ACQUIRE: pairs with the RELEASE of the task before us */
	old = fb_xchg_u16(fb_spin_tail(l), tail, FB_ACQ_REL);
	if (old) {
		struct fb_mcs_node *prev = &me->all[old - 1].sh->mcs;

		/* RELEASE, pairs with the acquire load of `next` below, in the task before us */
		fb_store_ptr((void **)&prev->next, node, FB_RELEASE);
		/* ACQUIRE, pairs with the RELEASE store to next->locked at the end */
		while (!fb_load_u32(&node->locked, FB_ACQUIRE))
			fb_spin_u32(&node->locked, 0);
	}

	/* We are the head: wait until owner and pending are gone. ACQUIRE, pairs with fb_spin_unlock. */
	while ((val = fb_load_u32(&l->val, FB_ACQUIRE)) &
	       (fb_mut(SPIN_HEAD_IGNORES_PENDING) ? FB_Q_LOCKED_MASK : FB_Q_LOCKED_PENDING_MASK))
		fb_spin_u32(&l->val, val);

	/*
	 * Alone in the queue: clear the tail with the same operation that takes the lock. Once only: should it fail, then
	 * because somebody queued behind us, or set pending by mistake and is about to take that back and to queue. His bit
	 * must stay: were it cleared here, he would take back the next one's, and two would be pending.
	 */
	while (val >> FB_Q_TAIL_SHIFT == tail) {
		/* relaxed: the load above acquired; nothing is published */
		if (fb_cas_u32(&l->val, &val, FB_Q_LOCKED, FB_RELAXED))
			return;
		if (!fb_mut(SPIN_HEAD_CLEARS_PENDING))
			break;
	}
	/* relaxed: only the head may set it while neither owner nor pending is there */
	fb_store_u8(fb_spin_locked_byte(l), FB_Q_LOCKED, FB_RELAXED);

	/* ACQUIRE, pairs with the RELEASE store to prev->next above */
	while (!(next = fb_load_ptr((void *const *)&node->next, FB_ACQUIRE)))
		if (fb_mut(SPIN_NO_SUCCESSOR))
			return;
		else
			fb_spin_u64((const uint64_t *)&node->next, 0);
	/* RELEASE, pairs with the acquire load of node->locked */
	fb_store_u32(&next->locked, 1, FB_RELEASE);
}

static __attribute__((noinline, unused)) void fb_spin_lock_slow(struct fb_spinlock *l, uint32_t val, struct fb_task *me)
{
	/*
	 * More tasks than CPUs: whoever is next in a queue may not be running, and each handover would wait for the
	 * scheduler. As the kernel does in a guest, for the same reason (virt_spin_lock): whoever runs may take it.
	 */
	if (fb_unlikely(me->crowded)) {
		do {
			if (val)
				fb_spin_u32(&l->val, val);
			val = 0;
			/* ACQUIRE, pairs with fb_spin_unlock */
		} while (!fb_cas_u32(&l->val, &val, FB_Q_LOCKED, FB_ACQUIRE));
		return;
	}

	/* Pending, no owner: the lock is being handed over; look once more before queueing. */
	if (val == FB_Q_PENDING) {
		fb_spin_u32(&l->val, val);
		val = fb_load_u32(&l->val, FB_RELAXED);	/* relaxed: only chooses the path */
	}
	if (val & ~FB_Q_LOCKED_MASK) {
		fb_spin_queue(l, me);
		return;
	}

	/* Free, or an owner and nobody else. ACQUIRE, pairs with fb_spin_unlock if the lock has become free. */
	val = fb_fetch_or_u32(&l->val, FB_Q_PENDING, FB_ACQUIRE);
	if (val & ~FB_Q_LOCKED_MASK) {
		/* relaxed: takes back our own bit; had it been set before, it is another's */
		if (!(val & FB_Q_PENDING) || fb_mut(SPIN_PENDING_STOLEN))
			fb_fetch_and_u32(&l->val, ~FB_Q_PENDING, FB_RELAXED);
		fb_spin_queue(l, me);
		return;
	}
	/* We are pending. ACQUIRE, pairs with fb_spin_unlock. */
	if (val & FB_Q_LOCKED_MASK) {
		while (fb_load_u8(fb_spin_locked_byte(l), FB_ACQUIRE))
			fb_spin_u8(fb_spin_locked_byte(l), FB_Q_LOCKED);
	}
	/* relaxed: owner and pending bytes are ours alone now; clears pending, sets locked */
	fb_store_u16(fb_spin_locked_pending(l), FB_Q_LOCKED, FB_RELAXED);
}

FB_INLINE void fb_spin_lock(struct fb_spinlock *l, struct fb_task *me)
{
	uint32_t val = 0;

	/* ACQUIRE, pairs with fb_spin_unlock */
	if (fb_unlikely(!fb_cas_u32(&l->val, &val, FB_Q_LOCKED, FB_ACQUIRE)))
		fb_spin_lock_slow(l, val, me);
}

FB_INLINE void fb_spin_unlock(struct fb_spinlock *l)
{
	/* RELEASE, pairs with the CAS, the pending wait and the head's wait above */
	fb_store_u8(fb_spin_locked_byte(l), 0, FB_RELEASE);
}

FB_INLINE bool fb_spin_is_locked(const struct fb_spinlock *l)
{
	return fb_load_u32(&l->val, FB_RELAXED);	/* relaxed: for checks at rest */
}

#endif
