/* SPDX-License-Identifier: MIT */
/* struct rw_semaphore, the writer's slow path: optimistic spinning, then the queue and the handoff (kernel-reference §4.3). */
#ifndef FB_SYNC_RWSEM_SPIN_H
#define FB_SYNC_RWSEM_SPIN_H

#ifndef FB_SYNC_RWSEM_SLOW_H
#error "include sync/rwsem.h"
#endif

enum fb_owner_state { FB_OWNER_NULL, FB_OWNER_WRITER, FB_OWNER_READER, FB_OWNER_NONSPINNABLE };

FB_INLINE enum fb_owner_state fb_rwsem_owner_state(uint64_t owner)
{
	if (owner & FB_RWSEM_NONSPINNABLE)
		return FB_OWNER_NONSPINNABLE;
	if (owner & FB_RWSEM_READER_OWNED)
		return FB_OWNER_READER;
	return owner ? FB_OWNER_WRITER : FB_OWNER_NULL;
}

FB_INLINE bool fb_rwsem_owner_on_cpu(uint64_t owner)
{
	return fb_task_on_cpu((const struct fb_task *)(uintptr_t)(owner & ~FB_RWSEM_OWNER_FLAGS));
}

/* While a writer that runs has it, wait for the owner word to change; say what it is then. */
static inline enum fb_owner_state fb_rwsem_spin_on_owner(struct fb_rwsem *s, struct fb_task *me, uint64_t deadline)
{
	const uint64_t owner = fb_rwsem_owner(s);
	uint64_t now;

	if (fb_rwsem_owner_state(owner) != FB_OWNER_WRITER)
		return fb_rwsem_owner_state(owner);
	while ((now = fb_rwsem_owner(s)) == owner) {
		if (!fb_rwsem_owner_on_cpu(owner) || !fb_poll_u64(me, &s->owner, owner, deadline))
			return FB_OWNER_NONSPINNABLE;
	}
	return fb_rwsem_owner_state(now);
}

/* Readers have had it for too long: no writer spins until the last of them leaves. */
static inline void fb_rwsem_set_nonspinnable(struct fb_rwsem *s)
{
	uint64_t owner = fb_rwsem_owner(s);

	while ((owner & FB_RWSEM_READER_OWNED) && !(owner & FB_RWSEM_NONSPINNABLE)) {
		if (fb_cas_u64(&s->owner, &owner, owner | FB_RWSEM_NONSPINNABLE, FB_RELAXED))
			return;
	}
}

/* Not queued: take it if nobody has it and nobody is owed it, over those who wait. */
static inline bool fb_rwsem_try_write_lock_unqueued(struct fb_rwsem *s, struct fb_task *me)
{
	uint64_t count = fb_load_u64(&s->count, FB_RELAXED);	/* relaxed: the CAS decides */

	while (!(count & ((fb_mut(RWSEM_OVER_READERS) ? FB_RWSEM_WRITER_LOCKED : FB_RWSEM_LOCK_MASK) |
			  (fb_mut(RWSEM_BARGE) ? 0 : FB_RWSEM_FLAG_HANDOFF)))) {
		/* ACQUIRE, pairs with the RELEASE of fb_up_write and of the last fb_up_read */
		if (fb_cas_u64(&s->count, &count, count | FB_RWSEM_WRITER_LOCKED, FB_ACQUIRE)) {
			fb_rwsem_set_owner(s, me);
			return true;
		}
	}
	return false;
}

/* How long to spin on readers: the more there are, the longer they may take. rwsem_rspin_threshold. */
static inline uint64_t fb_rwsem_rspin_ns(const struct fb_rwsem *s)
{
	uint64_t readers = (fb_load_u64(&s->count, FB_RELAXED) & ~FB_RWSEM_READFAIL) >> FB_RWSEM_READER_SHIFT;

	return (20 + (readers > 30 ? 30 : readers)) * 1000 / 2;
}

static inline bool fb_rwsem_optimistic_spin(struct fb_rwsem *s, struct fb_task *me, uint64_t slice_end)
{
	enum fb_owner_state prev = FB_OWNER_NULL, state;
	uint64_t reader_end = 0, owner = fb_rwsem_owner(s), count;
	bool taken = false;

	if ((owner & FB_RWSEM_NONSPINNABLE) ||
	    (fb_rwsem_owner_state(owner) == FB_OWNER_WRITER && !fb_rwsem_owner_on_cpu(owner)))
		return false;
	if (!fb_osq_lock(&s->osq, me))
		return false;
	for (;;) {
		state = fb_rwsem_spin_on_owner(s, me, slice_end);
		if (state == FB_OWNER_NONSPINNABLE)
			break;
		taken = fb_rwsem_try_write_lock_unqueued(s, me);
		if (taken)
			break;
		if (state == FB_OWNER_READER && prev != FB_OWNER_READER) {
			if (fb_rwsem_owner(s) & FB_RWSEM_NONSPINNABLE)
				break;
			/* Anew at each reader phase: a writer may have had it in between. */
			reader_end = fb_now() + fb_rwsem_rspin_ns(s);
		}
		prev = state;
		count = fb_load_u64(&s->count, FB_RELAXED);
		if (!(count & (FB_RWSEM_LOCK_MASK | FB_RWSEM_FLAG_HANDOFF)))
			continue;
		if (!fb_poll_u64(me, &s->count, count, state == FB_OWNER_READER && reader_end < slice_end ? reader_end : slice_end)) {
			if (state == FB_OWNER_READER && fb_now() > reader_end)
				fb_rwsem_set_nonspinnable(s);
			break;
		}
	}
	fb_osq_unlock(&s->osq, me);
	return taken;
}

/* Holding wait_lock, queued: get it, or ask for the handoff once we have waited too long. rwsem_try_write_lock. */
static inline bool fb_rwsem_try_write_lock(struct fb_rwsem *s, struct fb_rwsem_waiter *w, struct fb_task *me)
{
	struct fb_rwsem_waiter *first = fb_rwsem_first_waiter(s);
	uint64_t count = fb_load_u64(&s->count, FB_RELAXED), new;	/* relaxed: the CAS decides */

	do {
		bool handoff = count & FB_RWSEM_FLAG_HANDOFF;

		/* Owed to the head, if it was the head that asked for it */
		if (handoff && w != first && fb_load_u32(&first->handoff_set, FB_RELAXED))
			return false;
		new = count;
		if (count & FB_RWSEM_LOCK_MASK) {
			if (handoff || fb_mut(RWSEM_NO_HANDOFF) || fb_now() <= fb_load_u64(&w->timeout, FB_RELAXED))
				return false;
			new |= FB_RWSEM_FLAG_HANDOFF;
		} else {
			new |= FB_RWSEM_WRITER_LOCKED;
			new &= ~FB_RWSEM_FLAG_HANDOFF;
			if (fb_rwsem_list_singular(s))
				new &= ~FB_RWSEM_FLAG_WAITERS;
		}
		/* ACQUIRE, pairs with the RELEASE of fb_up_write and of the last fb_up_read */
	} while (!fb_cas_u64(&s->count, &count, new, FB_ACQUIRE));

	if (new & FB_RWSEM_FLAG_HANDOFF) {
		fb_store_u32(&first->handoff_set, 1, FB_RELAXED);
		return false;
	}
	fb_rwsem_list_del(&w->list);
	fb_rwsem_set_owner(s, me);
	return true;
}

/* rwsem_down_write_slowpath */
static __attribute__((noinline, unused)) void fb_rwsem_down_write_slow(struct fb_rwsem *s, struct fb_task *me)
{
	struct fb_rwsem_waiter *w = &me->sh->waiter;
	uint64_t began = fb_now();
	struct fb_wake_q q;

	q.nr = 0;
	me->contended++;
	if (fb_rwsem_optimistic_spin(s, me, fb_slice_end(me, began)))
		goto out;

	fb_rwsem_init_waiter(w, FB_RWSEM_WAITING_FOR_WRITE, me);
	fb_spin_lock(&s->wait_lock, me);
	fb_rwsem_add_waiter(s, w);
	if (fb_rwsem_first_waiter(s) != w) {
		fb_rwsem_cond_wake(s, fb_load_u64(&s->count, FB_RELAXED), &q);
		if (q.nr) {
			fb_spin_unlock(&s->wait_lock);
			fb_wake_up_q(&q);
			fb_spin_lock(&s->wait_lock, me);
		}
	} else {
		/* relaxed: whoever releases reads the same word, and the list is under wait_lock */
		fb_fetch_or_u64(&s->count, FB_RWSEM_FLAG_WAITERS, FB_RELAXED);
	}
	while (!fb_rwsem_try_write_lock(s, w, me)) {
		bool owed = fb_load_u32(&w->handoff_set, FB_RELAXED);

		fb_spin_unlock(&s->wait_lock);
		/* Owed the lock and its owner is just leaving: do not sleep for that. */
		if (!owed || fb_rwsem_spin_on_owner(s, me, fb_slice_end(me, fb_now())) != FB_OWNER_NULL)
			fb_schedule(me, 0);
		fb_spin_lock(&s->wait_lock, me);
	}
	fb_spin_unlock(&s->wait_lock);
out:
	me->wait_ns += fb_now() - began;
}

#endif
