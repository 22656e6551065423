/* SPDX-License-Identifier: MIT */
/*
 * SRCU (kernel/rcu/srcutree.c reduced to its counters; device-dax's dax_read_lock): read sections that may sleep. A reader
 * counts in and out on its own line, by the index it found; nothing shared is written.
 *
 * The kernel's reader has a full fence beside each count; ours counts with an RMW, and who waits looks at the counts with
 * one: for each count one of them comes second and sees the other. An index is waited for twice, as in the kernel: a reader
 * may load the index, be held up, and count in under it after it was found empty.
 */
#ifndef FB_SYNC_SRCU_H
#define FB_SYNC_SRCU_H

#include "sync/atomic.h"
#include "sync/rwsem.h"

struct fb_srcu {
	_Alignas(FB_CACHELINE) uint32_t idx;	/* its low bit is where readers count; read by all */
	uint32_t slot;				/* constant: task->sh->percpu[slot + index]: readers in less readers out */
	_Alignas(FB_CACHELINE) struct fb_rwsem sync;	/* one grace period at a time */
};

FB_INLINE void fb_srcu_init(struct fb_srcu *s, uint32_t slot)
{
	fb_store_u32(&s->idx, 0, FB_RELAXED);	/* relaxed, as below: set-up */
	fb_store_u32(&s->slot, slot, FB_RELAXED);
	fb_rwsem_init(&s->sync);
}

FB_INLINE uint64_t *fb_srcu_count(const struct fb_srcu *s, const struct fb_task *t, uint32_t idx)
{
	return &t->sh->percpu[fb_load_u32(&s->slot, FB_RELAXED) + idx];	/* relaxed: constant */
}

/* The index to give to fb_srcu_read_unlock. */
FB_INLINE uint32_t fb_srcu_read_lock(struct fb_srcu *s, struct fb_task *me)
{
	uint32_t idx = fb_load_u32(&s->idx, FB_RELAXED) & 1;	/* relaxed: an old one is waited for as well */

	/* ACQ_REL, pairs with the RMW in fb_srcu_wait: it sees us, or we see what it had unlinked */
	fb_fetch_add_u64(fb_srcu_count(s, me, idx), 1, FB_ACQ_REL);
	return idx;
}

FB_INLINE void fb_srcu_read_unlock(struct fb_srcu *s, uint32_t idx, struct fb_task *me)
{
	/* RELEASE, pairs with the RMW in fb_srcu_wait: what we read is read */
	fb_fetch_add_u64(fb_srcu_count(s, me, idx), -1ull, FB_RELEASE);
}

/* Each task's count of `idx` has been 0 once since now: a section that begins later sees what was unlinked. */
static inline void fb_srcu_wait(struct fb_srcu *s, uint32_t idx, struct fb_task *me)
{
	for (uint32_t i = 0; i < me->nr; i++) {
		uint64_t *count = fb_srcu_count(s, &me->all[i], idx), v;

		/* ACQ_REL, pairs with both RMWs of the reader */
		while ((v = fb_fetch_add_u64(count, 0, FB_ACQ_REL)))
			fb_spin_u64(count, v);
	}
}

static inline void fb_synchronize_srcu(struct fb_srcu *s, struct fb_task *me)
{
	uint32_t idx;

	fb_down_write(&s->sync, me);
	for (int i = fb_mut(SRCU_ONE_FLIP); i < 2; i++) {
		/* New readers go to the other index, so that a stream of them does not keep us. relaxed: see read_lock. */
		idx = fb_fetch_add_u32(&s->idx, 1, FB_RELAXED) & 1;
		fb_srcu_wait(s, idx, me);
	}
	fb_up_write(&s->sync, me);
}

/* Nobody waits for readers; each task's readers are in its own counts. */
FB_INLINE bool fb_srcu_at_rest(const struct fb_srcu *s) { return fb_rwsem_at_rest(&s->sync); }

#endif
