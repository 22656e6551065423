/* SPDX-License-Identifier: MIT */
/*
 * struct percpu_rw_semaphore (kernel-reference §4.7; sb_start_pagefault's freeze protection): a reader writes its own
 * line only.
 *
 *	no writer:	reader: state says idle ─► count on its own line
 *	writer:		state = busy, grace period: every reader has seen busy and goes through the inner rwsem, which the
 *			writer holds; then wait until nobody is counted any more
 *
 * The readers that the writer must wait for are counted where it looks: those who saw `idle` before the grace period have
 * stored their count by its end. The slow side is the kernel's up to 5.5 (an inner rwsem); later it has a wait queue of its
 * own, which only matters while a filesystem is being frozen.
 */
#ifndef FB_SYNC_PERCPU_RWSEM_H
#define FB_SYNC_PERCPU_RWSEM_H

#include "sync/atomic.h"
#include "sync/rcuwait.h"
#include "sync/rwsem.h"

struct fb_percpu_rwsem {
	_Alignas(FB_CACHELINE) uint32_t busy;	/* a writer is there; read by all, written by writers */
	uint32_t slot;				/* constant: which of task->sh->percpu[] counts our readers */
	struct fb_rcuwait writer;
	struct fb_rwsem inner;
};

FB_INLINE void fb_percpu_rwsem_init(struct fb_percpu_rwsem *s, uint32_t slot)
{
	fb_store_u32(&s->busy, 0, FB_RELAXED);	/* relaxed, as below: set-up */
	fb_store_u32(&s->slot, slot, FB_RELAXED);
	fb_store_ptr((void **)&s->writer.task, NULL, FB_RELAXED);
	fb_rwsem_init(&s->inner);
}

FB_INLINE uint64_t *fb_percpu_count(const struct fb_percpu_rwsem *s, const struct fb_task *t)
{
	return &t->sh->percpu[fb_load_u32(&s->slot, FB_RELAXED)];	/* relaxed: constant */
}

/* Between two quiescent states of the task: the grace period waits for the count to be stored. */
FB_INLINE void fb_percpu_down_read(struct fb_percpu_rwsem *s, struct fb_task *me)
{
	uint64_t *count = fb_percpu_count(s, me);

	/* ACQUIRE, pairs with the RELEASE store in fb_percpu_up_write */
	if (fb_likely(!fb_load_u32(&s->busy, FB_ACQUIRE))) {
		/* relaxed: only we write it meanwhile, and the grace period publishes it */
		fb_store_u64(count, fb_load_u64(count, FB_RELAXED) + 1, FB_RELAXED);
		return;
	}
	fb_down_read(&s->inner, me);
	fb_fetch_add_u64(count, 1, FB_RELAXED);	/* relaxed: the next writer gets the inner lock after us */
	fb_up_read(&s->inner, me);
}

FB_INLINE void fb_percpu_up_read(struct fb_percpu_rwsem *s, struct fb_task *me)
{
	uint64_t *count = fb_percpu_count(s, me);

	/* relaxed: idle means that the grace period of a writer to come waits for our store */
	if (fb_likely(!fb_load_u32(&s->busy, FB_RELAXED))) {
		/* RELEASE, pairs with the writer's ACQ_REL look at the count */
		fb_store_u64(count, fb_load_u64(count, FB_RELAXED) - 1, FB_RELEASE);
		return;
	}
	/* ACQ_REL, pairs with the writer's RMW in fb_rcuwait_wait_u64: it sees the count, or we see it waiting */
	fb_fetch_add_u64(count, -1ull, FB_ACQ_REL);
	fb_rcuwait_wake(&s->writer);
}

static inline void fb_percpu_down_write(struct fb_percpu_rwsem *s, struct fb_task *me)
{
	fb_down_write(&s->inner, me);
	fb_store_u32(&s->busy, 1, FB_RELAXED);	/* relaxed: the grace period publishes it */
	if (!fb_mut(PERCPU_NO_PERIOD))
		fb_synchronize_rcu(me);
	for (uint32_t i = 0; i < me->nr; i++)
		fb_rcuwait_wait_u64(&s->writer, fb_percpu_count(s, &me->all[i]), 0, me);
}

static inline void fb_percpu_up_write(struct fb_percpu_rwsem *s, struct fb_task *me)
{
	/* RELEASE, pairs with the acquire load in fb_percpu_down_read */
	fb_store_u32(&s->busy, 0, FB_RELEASE);
	fb_up_write(&s->inner, me);
}

/* No writer; each task's readers are in its own count. */
FB_INLINE bool fb_percpu_rwsem_at_rest(const struct fb_percpu_rwsem *s)
{
	/* relaxed: all tasks have ended */
	return !fb_load_u32(&s->busy, FB_RELAXED) && fb_rcuwait_at_rest(&s->writer) && fb_rwsem_at_rest(&s->inner);
}

#endif
