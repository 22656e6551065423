/* SPDX-License-Identifier: MIT */
/*
 * rcuwait: one task sleeps, others wake it without a lock (include/linux/rcuwait.h).
 *
 *	waiter:	task = me; while (RMW of *p says not yet) sleep		waker:	RMW of *p; if (task) wake it
 *
 * Both sides go through a read-modify-write of the word waited for, so one of them comes second and sees the other; the
 * kernel does the same with two full fences.
 */
#ifndef FB_SYNC_RCUWAIT_H
#define FB_SYNC_RCUWAIT_H

#include "sync/atomic.h"
#include "sync/rcu.h"

struct fb_rcuwait {
	struct fb_task *task;	/* one at a time: the users hold a lock against others (mmap_lock for write) */
};

/* Sleep until *p is `want`. Whoever changes *p towards it does so by an ACQ_REL RMW, then calls fb_rcuwait_wake. */
static inline void fb_rcuwait_wait_u32(struct fb_rcuwait *w, uint32_t *p, uint32_t want, struct fb_task *me)
{
	if (fb_mut(RCUWAIT_LATE) && fb_load_u32(p, FB_ACQUIRE) == want)
		return;
	/* relaxed: the RMW of *p publishes it */
	fb_store_ptr((void **)&w->task, me, FB_RELAXED);
	if (fb_mut(RCUWAIT_LATE))
		fb_schedule(me, 0);
	/* ACQ_REL, pairs with the waker's RMW: RELEASE shows it `task`, ACQUIRE shows us what it did before */
	while ((fb_mut(RCUWAIT_LOAD) ? fb_load_u32(p, FB_ACQUIRE) : fb_fetch_add_u32(p, 0, FB_ACQ_REL)) != want)
		fb_schedule(me, 0);
	fb_store_ptr((void **)&w->task, NULL, FB_RELAXED);	/* relaxed: a late wake-up is a token too many, no harm */
}

/* As above, on a 64-bit word. */
static inline void fb_rcuwait_wait_u64(struct fb_rcuwait *w, uint64_t *p, uint64_t want, struct fb_task *me)
{
	fb_store_ptr((void **)&w->task, me, FB_RELAXED);	/* relaxed, ACQ_REL, relaxed: as above */
	while (fb_fetch_add_u64(p, 0, FB_ACQ_REL) != want)
		fb_schedule(me, 0);
	fb_store_ptr((void **)&w->task, NULL, FB_RELAXED);
}

FB_INLINE void fb_rcuwait_wake(struct fb_rcuwait *w)
{
	/* relaxed: ordered by the RMW of *p, after which this comes */
	struct fb_task *task = fb_load_ptr((void *const *)&w->task, FB_RELAXED);

	if (task)
		fb_unpark(task);
}

FB_INLINE bool fb_rcuwait_at_rest(const struct fb_rcuwait *w)
{
	return !fb_load_ptr((void *const *)&w->task, FB_RELAXED);	/* relaxed: all tasks have ended */
}

#endif
