/* SPDX-License-Identifier: MIT */
/*
 * The optimistic spin queue (kernel/locking/osq_lock.c): an MCS lock whose waiters may give up and leave the queue from
 * anywhere in it, which a spinner must when its time slice ends. Only its holder polls the lock it guards.
 *
 *	tail:	0, or task id + 1 of the last in the queue
 *
 * Leaving: A) take back prev->next, so that prev cannot hand over to us any more; B) settle who is after us, moving the
 * tail back if nobody is; C) link prev and next. `next` words are taken with an exchange, so that exactly one of an unlock
 * and a leave gets a successor.
 */
#ifndef FB_SYNC_OSQ_H
#define FB_SYNC_OSQ_H

#include "sync/atomic.h"

struct fb_osq {
	uint32_t tail;
};

FB_INLINE struct fb_osq_node *fb_osq_xchg_next(struct fb_osq_node *node)
{
	/* ACQ_REL: whoever takes a successor out sees its set-up (RELEASE in fb_osq_lock) and hands over to it */
	return (struct fb_osq_node *)(uintptr_t)fb_xchg_u64((uint64_t *)&node->next, 0, FB_ACQ_REL);
}

/*
 * The task after `node`, taken out of node->next for us alone; or NULL when there is none, the tail then put back to
 * `old_cpu`. osq_wait_next.
 */
static __attribute__((noinline, unused)) struct fb_osq_node *fb_osq_wait_next(struct fb_osq *q, struct fb_osq_node *node,
									      uint32_t cpu, uint32_t old_cpu)
{
	for (;;) {
		uint32_t tail = fb_load_u32(&q->tail, FB_RELAXED);	/* relaxed: the CAS decides */
		struct fb_osq_node *next;

		/* RELEASE, pairs with the exchange of the tail by whoever queues next; ACQUIRE, pairs with the RELEASE
		 * of that exchange by those who have left since */
		if (tail == cpu && fb_cas_u32(&q->tail, &tail, old_cpu, FB_ACQ_REL))
			return NULL;
		/* relaxed: the exchange decides. Empty while the next task is between its exchange of the tail and its
		 * store to our next, or while it is leaving itself. */
		if (fb_load_ptr((void *const *)&node->next, FB_RELAXED)) {
			next = fb_osq_xchg_next(node);
			if (next)
				return next;
		}
		fb_spin_u64((const uint64_t *)&node->next, 0);
	}
}

static __attribute__((noinline, unused)) bool fb_osq_lock_slow(struct fb_osq *q, uint32_t old, struct fb_task *me)
{
	struct fb_osq_node *node = &me->sh->osq, *prev = &me->all[old - 1].sh->osq, *next;
	uint64_t deadline = fb_slice_end(me, fb_now());

	/* relaxed: others reach our prev only through prev->next, stored next */
	fb_store_ptr((void **)&node->prev, prev, FB_RELAXED);
	/* RELEASE, pairs with the exchange of `next` by the task before us */
	fb_store_ptr((void **)&prev->next, node, FB_RELEASE);

	/* ACQUIRE, pairs with the RELEASE store to next->locked in fb_osq_unlock */
	while (!fb_load_u64(&node->locked, FB_ACQUIRE)) {
		if (!fb_poll_u64(me, &node->locked, 0, deadline))
			goto leave;
	}
	return true;

leave:	/* A: take prev->next back. prev may be handing over to us, or be leaving, which gives us another prev. */
	for (;;) {
		uint64_t expect = (uint64_t)(uintptr_t)node;

		/* ACQ_REL: pairs with prev's own exchange of the word; one of the two gets our node */
		if (fb_cas_u64((uint64_t *)&prev->next, &expect, 0, FB_ACQ_REL))
			break;
		/* ACQUIRE, pairs with the RELEASE store in fb_osq_unlock: it came after all */
		if (fb_load_u64(&node->locked, FB_ACQUIRE))
			return true;
		fb_spin_u64((const uint64_t *)&node->prev, (uint64_t)(uintptr_t)prev);
		/* ACQUIRE, pairs with step C of the task that was before us */
		prev = fb_load_ptr((void *const *)&node->prev, FB_ACQUIRE);
	}
	/* B; relaxed: cpu is constant */
	next = fb_osq_wait_next(q, node, me->id + 1, fb_load_u32(&prev->cpu, FB_RELAXED));
	if (!next)
		return false;
	/* C: RELEASE both; pair with the acquire load of prev in A and the exchange of next */
	fb_store_ptr((void **)&next->prev, prev, FB_RELEASE);
	if (!fb_mut(OSQ_NO_RELINK))
		fb_store_ptr((void **)&prev->next, next, FB_RELEASE);
	return false;
}

/* True: we hold it. False: the slice ended; we are out of the queue. */
FB_INLINE bool fb_osq_lock(struct fb_osq *q, struct fb_task *me)
{
	struct fb_osq_node *node = &me->sh->osq;
	uint32_t old;

	/* relaxed: published by the exchange */
	fb_store_u64(&node->locked, 0, FB_RELAXED);
	fb_store_ptr((void **)&node->next, NULL, FB_RELAXED);
	/* ACQUIRE, pairs with the CAS in fb_osq_unlock and wait_next; RELEASE publishes our node to the next exchange */
	old = fb_xchg_u32(&q->tail, me->id + 1, FB_ACQ_REL);
	if (fb_likely(!old))
		return true;
	return fb_osq_lock_slow(q, old, me);
}

static inline void fb_osq_unlock(struct fb_osq *q, struct fb_task *me)
{
	struct fb_osq_node *node = &me->sh->osq, *next;
	uint32_t tail = me->id + 1;

	/* RELEASE, pairs with the exchange of the tail in fb_osq_lock */
	if (fb_likely(fb_cas_u32(&q->tail, &tail, 0, FB_RELEASE)))
		return;
	next = fb_osq_xchg_next(node);
	if (!next)
		next = fb_osq_wait_next(q, node, me->id + 1, 0);
	if (next)	/* RELEASE, pairs with the acquire loads of node->locked */
		fb_store_u64(&next->locked, 1, FB_RELEASE);
}

#endif
