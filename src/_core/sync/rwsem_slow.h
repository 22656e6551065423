/* SPDX-License-Identifier: MIT */
/*
 * struct rw_semaphore, slow paths: who spins, who steals, who queues, who wakes whom (kernel-reference §4.2 to §4.5).
 *
 *	writer:	spins while a writer that runs has the lock, or readers have it and not for long; one spinner at a time,
 *		the others in the osq; may steal the lock over those who queue. Then queues.
 *	reader:	never spins. Steals over WAITERS only if no reader was in before it. Then queues.
 *	queue:	a writer at the head is woken and must win the lock; a reader at the head is granted it, and with it all queued
 *		readers, at most 256, over the writers between them.
 *	owed:	a head that has waited 4 ms finds the lock held sets HANDOFF: nobody else gets it until it has.
 */
#ifndef FB_SYNC_RWSEM_SLOW_H
#define FB_SYNC_RWSEM_SLOW_H

#ifndef FB_SYNC_RWSEM_H
#error "include sync/rwsem.h"
#endif

enum { FB_RWSEM_MAX_READERS_WAKEUP = 256 };
#define FB_RWSEM_WAIT_TIMEOUT_NS 4000000u	/* DIV_ROUND_UP(HZ, 250) jiffies */

enum fb_rwsem_wake_type { FB_RWSEM_WAKE_ANY, FB_RWSEM_WAKE_READERS, FB_RWSEM_WAKE_READ_OWNED };

/* Who is to be woken once wait_lock is free: unparking takes long and needs no lock. */
struct fb_wake_q {
	uint32_t nr;
	struct fb_task *task[FB_RWSEM_MAX_READERS_WAKEUP];
};

FB_INLINE void fb_wake_up_q(struct fb_wake_q *q)
{
	for (uint32_t i = 0; i < q->nr; i++)
		fb_unpark(q->task[i]);
	q->nr = 0;
}

/* The list and the waiters' fields: relaxed, as they are read and written under wait_lock only. */
#define FB_LIST_GET(node, dir) ((struct fb_list *)fb_load_ptr((void *const *)&(node)->dir, FB_RELAXED))
#define FB_LIST_SET(node, dir, v) fb_store_ptr((void **)&(node)->dir, (v), FB_RELAXED)

FB_INLINE bool fb_rwsem_list_empty(struct fb_rwsem *s) { return FB_LIST_GET(&s->wait_list, next) == &s->wait_list; }

FB_INLINE bool fb_rwsem_list_singular(struct fb_rwsem *s)
{
	return !fb_rwsem_list_empty(s) && FB_LIST_GET(&s->wait_list, next) == FB_LIST_GET(&s->wait_list, prev);
}

FB_INLINE struct fb_rwsem_waiter *fb_rwsem_first_waiter(struct fb_rwsem *s)
{
	return fb_container_of(FB_LIST_GET(&s->wait_list, next), struct fb_rwsem_waiter, list);
}

FB_INLINE void fb_rwsem_list_del(struct fb_list *node)
{
	struct fb_list *next = FB_LIST_GET(node, next), *prev = FB_LIST_GET(node, prev);

	FB_LIST_SET(prev, next, next);
	FB_LIST_SET(next, prev, prev);
}

static inline void fb_rwsem_add_waiter(struct fb_rwsem *s, struct fb_rwsem_waiter *w)
{
	struct fb_list *last = FB_LIST_GET(&s->wait_list, prev);

	FB_LIST_SET(&w->list, next, &s->wait_list);
	FB_LIST_SET(&w->list, prev, last);
	FB_LIST_SET(last, next, &w->list);
	FB_LIST_SET(&s->wait_list, prev, &w->list);
}

static inline void fb_rwsem_init_waiter(struct fb_rwsem_waiter *w, uint32_t type, struct fb_task *me)
{
	fb_store_ptr((void **)&w->task, me, FB_RELAXED);	/* relaxed, as below: published under wait_lock */
	fb_store_u32(&w->type, type, FB_RELAXED);
	fb_store_u32(&w->handoff_set, 0, FB_RELAXED);
	fb_store_u64(&w->timeout, fb_now() + FB_RWSEM_WAIT_TIMEOUT_NS, FB_RELAXED);
}

static inline void fb_rwsem_clear_nonspinnable(struct fb_rwsem *s)
{
	if (fb_rwsem_owner(s) & FB_RWSEM_NONSPINNABLE)
		fb_fetch_and_u64(&s->owner, ~FB_RWSEM_NONSPINNABLE, FB_RELAXED);
}

/* Holding wait_lock, the list not empty. Readers granted are out of the list when this returns. rwsem_mark_wake. */
static __attribute__((noinline, unused)) void fb_rwsem_mark_wake(struct fb_rwsem *s, enum fb_rwsem_wake_type type,
								 struct fb_wake_q *q)
{
	struct fb_rwsem_waiter *first = fb_rwsem_first_waiter(s);
	struct fb_rwsem_waiter *granted[FB_RWSEM_MAX_READERS_WAKEUP];
	struct fb_list *pos, *next;
	uint64_t adjust = 0, old;
	uint32_t woken = 0;

	if (fb_load_u32(&first->type, FB_RELAXED) == FB_RWSEM_WAITING_FOR_WRITE) {
		/* Not granted: it must win the lock, and others may steal it until it runs. */
		if (type == FB_RWSEM_WAKE_ANY)
			q->task[q->nr++] = fb_load_ptr((void *const *)&first->task, FB_RELAXED);
		return;
	}
	if (fb_load_u64(&s->count, FB_RELAXED) & FB_RWSEM_READFAIL)
		return;

	/* Grant the first before counting the others: a writer may have stolen the lock, and then nobody is granted. */
	if (type != FB_RWSEM_WAKE_READ_OWNED) {
		adjust = FB_RWSEM_READER_BIAS;
		/* ACQUIRE, pairs with the RELEASE of fb_up_write, on behalf of those we grant */
		old = fb_fetch_add_u64(&s->count, adjust, FB_ACQUIRE);
		if (fb_unlikely(old & FB_RWSEM_WRITER_LOCKED)) {
			if (fb_now() > fb_load_u64(&first->timeout, FB_RELAXED)) {
				if (!(old & FB_RWSEM_FLAG_HANDOFF))
					adjust -= FB_RWSEM_FLAG_HANDOFF;
				fb_store_u32(&first->handoff_set, 1, FB_RELAXED);
			}
			fb_fetch_add_u64(&s->count, -adjust, FB_RELAXED);	/* relaxed: takes back a bias */
			return;
		}
		fb_rwsem_set_reader_owned(s, fb_load_ptr((void *const *)&first->task, FB_RELAXED));
	}

	for (pos = FB_LIST_GET(&s->wait_list, next); pos != &s->wait_list; pos = next) {
		struct fb_rwsem_waiter *w = fb_container_of(pos, struct fb_rwsem_waiter, list);

		next = FB_LIST_GET(pos, next);
		if (fb_load_u32(&w->type, FB_RELAXED) == FB_RWSEM_WAITING_FOR_WRITE && !fb_mut(RWSEM_GRANTS_WRITERS))
			continue;
		fb_rwsem_list_del(pos);
		granted[woken++] = w;
		if (woken == (fb_mut(RWSEM_WAKES_ONE) ? 1 : FB_RWSEM_MAX_READERS_WAKEUP))
			break;
	}

	/* One addition for all biases and for the flags that fall with them. */
	adjust = woken * FB_RWSEM_READER_BIAS - adjust;
	old = fb_load_u64(&s->count, FB_RELAXED);	/* relaxed: HANDOFF changes under wait_lock only, once readers own it */
	if (fb_rwsem_list_empty(s) && !fb_mut(RWSEM_WAITERS_STAY))
		adjust -= FB_RWSEM_FLAG_WAITERS;
	if (woken && (old & FB_RWSEM_FLAG_HANDOFF))
		adjust -= FB_RWSEM_FLAG_HANDOFF;
	if (adjust)
		fb_fetch_add_u64(&s->count, adjust, FB_RELAXED);	/* relaxed: the grant is passed on below */

	for (uint32_t i = 0; i < woken; i++) {
		/* Read before the grant: from then on the waiter is its task's again. */
		q->task[q->nr++] = fb_load_ptr((void *const *)&granted[i]->task, FB_RELAXED);
		/* RELEASE, pairs with the acquire load in fb_rwsem_down_read_slow */
		fb_store_ptr((void **)&granted[i]->task, NULL, FB_RELEASE);
	}
}

/* Holding wait_lock: wake whoever the lock, as `count` has it, can be given to. rwsem_cond_wake_waiter. */
static inline void fb_rwsem_cond_wake(struct fb_rwsem *s, uint64_t count, struct fb_wake_q *q)
{
	if (count & FB_RWSEM_WRITER_LOCKED)
		return;
	if (count & FB_RWSEM_READER_MASK) {
		fb_rwsem_mark_wake(s, FB_RWSEM_WAKE_READERS, q);
	} else {
		fb_rwsem_clear_nonspinnable(s);
		fb_rwsem_mark_wake(s, FB_RWSEM_WAKE_ANY, q);
	}
}

static __attribute__((noinline, unused)) void fb_rwsem_wake_type(struct fb_rwsem *s, enum fb_rwsem_wake_type type,
								 struct fb_task *me)
{
	struct fb_wake_q q;

	q.nr = 0;
	fb_spin_lock(&s->wait_lock, me);
	if (!fb_rwsem_list_empty(s))
		fb_rwsem_mark_wake(s, type, &q);
	fb_spin_unlock(&s->wait_lock);
	fb_wake_up_q(&q);
}

FB_INLINE void fb_rwsem_wake(struct fb_rwsem *s, struct fb_task *me) { fb_rwsem_wake_type(s, FB_RWSEM_WAKE_ANY, me); }

FB_INLINE void fb_rwsem_downgrade_wake(struct fb_rwsem *s, struct fb_task *me)
{
	fb_rwsem_wake_type(s, FB_RWSEM_WAKE_READ_OWNED, me);
}

static __attribute__((noinline, unused)) void fb_rwsem_last_reader_wakes(struct fb_rwsem *s, struct fb_task *me)
{
	fb_rwsem_clear_nonspinnable(s);
	fb_rwsem_wake(s, me);
}

/* Our bias is in `count` already. rwsem_down_read_slowpath. */
static __attribute__((noinline, unused)) void fb_rwsem_down_read_slow(struct fb_rwsem *s, uint64_t count, struct fb_task *me)
{
	struct fb_rwsem_waiter *w = &me->sh->waiter;
	uint64_t readers = count >> FB_RWSEM_READER_SHIFT, adjust = -FB_RWSEM_READER_BIAS, began = fb_now();
	struct fb_wake_q q;

	q.nr = 0;
	me->contended++;
	/* Not if readers have it: a stream of readers would starve the writer that sleeps. */
	if (!((fb_rwsem_owner(s) & FB_RWSEM_READER_OWNED) && readers > 1 && !(count & FB_RWSEM_WRITER_LOCKED)) &&
	    !(count & (FB_RWSEM_WRITER_LOCKED | FB_RWSEM_FLAG_HANDOFF))) {
		/* Steal. The fetch-add of the fast path was the ACQUIRE. */
		fb_rwsem_set_reader_owned(s, me);
		if (readers == 1 && (count & FB_RWSEM_FLAG_WAITERS))
			fb_rwsem_wake_type(s, FB_RWSEM_WAKE_READ_OWNED, me);
		return;
	}

	fb_rwsem_init_waiter(w, FB_RWSEM_WAITING_FOR_READ, me);
	fb_spin_lock(&s->wait_lock, me);
	if (fb_rwsem_list_empty(s)) {
		/* ACQUIRE, pairs with the RELEASE of the fb_up_write that has happened meanwhile */
		if (!(fb_load_u64(&s->count, FB_ACQUIRE) & FB_RWSEM_WRITER_LOCKED)) {
			fb_spin_unlock(&s->wait_lock);
			fb_rwsem_set_reader_owned(s, me);
			me->wait_ns += fb_now() - began;
			return;
		}
		adjust += FB_RWSEM_FLAG_WAITERS;
	}
	fb_rwsem_add_waiter(s, w);
	/* relaxed: from bias to place in the queue; the queue is under wait_lock */
	count = fb_fetch_add_u64(&s->count, adjust, FB_RELAXED) + adjust;
	if (!fb_mut(RWSEM_NO_RECHECK))
		fb_rwsem_cond_wake(s, count, &q);
	fb_spin_unlock(&s->wait_lock);
	fb_wake_up_q(&q);

	/* ACQUIRE, pairs with the RELEASE store in fb_rwsem_mark_wake */
	while (fb_load_ptr((void *const *)&w->task, FB_ACQUIRE))
		fb_schedule(me, 0);
	me->wait_ns += fb_now() - began;
}

#include "sync/rwsem_spin.h"

#endif
