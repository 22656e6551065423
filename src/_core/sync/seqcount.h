/* SPDX-License-Identifier: MIT */
/*
 * seqcount_t as mm->mm_lock_seq uses it (6.13): odd while the writer, alone by another lock, is at work.
 *
 * Without fences the order is on the accesses. Who reads data under it (fb_seq_read_retry) must load the data with ACQUIRE,
 * and the writer store it with RELEASE: a reader that meets new data then also meets the odd sequence that came before it.
 */
#ifndef FB_SYNC_SEQCOUNT_H
#define FB_SYNC_SEQCOUNT_H

#include "sync/atomic.h"

struct fb_seqcount {
	uint32_t sequence;
};

FB_INLINE void fb_seq_begin(struct fb_seqcount *s)
{
	/* relaxed: one writer; RELEASE stores of the data follow, or a release of a lock (vma_start_write) */
	fb_store_u32(&s->sequence, fb_load_u32(&s->sequence, FB_RELAXED) + (fb_mut(SEQ_EVEN) ? 2 : 1), FB_RELAXED);
}

FB_INLINE void fb_seq_end(struct fb_seqcount *s)
{
	/* RELEASE, pairs with fb_seq_read_acquire: all that the writer did */
	fb_store_u32(&s->sequence, fb_load_u32(&s->sequence, FB_RELAXED) + (fb_mut(SEQ_EVEN) ? 2 : 1), FB_RELEASE);
}

/* raw_read_seqcount: odd values too. ACQUIRE, pairs with fb_seq_end. */
FB_INLINE uint32_t fb_seq_read_acquire(const struct fb_seqcount *s) { return fb_load_u32(&s->sequence, FB_ACQUIRE); }

/* Whether what was read since `start` may be torn; an odd start always is. relaxed: the data's ACQUIRE loads came before. */
FB_INLINE bool fb_seq_read_retry(const struct fb_seqcount *s, uint32_t start)
{
	return (start & 1) || fb_load_u32(&s->sequence, FB_RELAXED) != start;
}

#endif
