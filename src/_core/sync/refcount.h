/* SPDX-License-Identifier: MIT */
/* refcount_t as vma->vm_refcnt uses it (6.15; include/linux/refcount.h, kernel-reference §3.4). */
#ifndef FB_SYNC_REFCOUNT_H
#define FB_SYNC_REFCOUNT_H

#include "sync/atomic.h"

struct fb_refcount {
	uint32_t refs;
};

FB_INLINE uint32_t fb_refcount_read(const struct fb_refcount *r)
{
	return fb_load_u32(&r->refs, FB_RELAXED);	/* relaxed: whoever acts on it does an RMW */
}

/* Publishes the object. RELEASE, pairs with the ACQUIRE of inc_not_zero. */
FB_INLINE void fb_refcount_set_release(struct fb_refcount *r, uint32_t n) { fb_store_u32(&r->refs, n, FB_RELEASE); }

/*
 * One more, unless there is none or that would pass `limit`. *old is what was found: 0 = the object is not there, else
 * above limit - 1 = closed. A load and a CAS loop, as the kernel does: a closed count is not written.
 */
FB_INLINE bool fb_refcount_inc_not_zero_limited_acquire(struct fb_refcount *r, uint32_t *old, uint32_t limit)
{
	*old = fb_load_u32(&r->refs, FB_RELAXED);	/* relaxed: the CAS decides */
	do {
		if (!*old || (*old >= limit && !fb_mut(REF_NO_LIMIT)))
			return false;
		/* ACQUIRE, pairs with set_release and with every RELEASE below */
	} while (!fb_cas_u32(&r->refs, old, *old + 1, FB_ACQUIRE));
	return true;
}

/* `n` more, unless there is none. */
FB_INLINE bool fb_refcount_add_not_zero(struct fb_refcount *r, uint32_t n)
{
	uint32_t old = fb_load_u32(&r->refs, FB_RELAXED);	/* relaxed: the CAS decides */

	do {
		if (!old)
			return false;
		/* ACQ_REL: a writer that closes the count, then waits for it to fall (fb_rcuwait_wait_u32), must be seen by
		 * the RELEASE of whoever leaves after it; ACQUIRE, pairs with those who left before */
	} while (!fb_cas_u32(&r->refs, &old, old + n, FB_ACQ_REL));
	return true;
}

/* What is left. ACQ_REL: RELEASE, pairs with the ACQUIRE of who finds the count low enough; ACQUIRE for the last one out,
 * and so that it sees the waiter of fb_rcuwait_wait_u32. */
FB_INLINE uint32_t fb_refcount_sub_return(struct fb_refcount *r, uint32_t n)
{
	if (fb_mut(REF_TORN_SUB)) {
		uint32_t left = fb_load_u32(&r->refs, FB_ACQUIRE) - n;

		fb_store_u32(&r->refs, left, FB_RELEASE);
		return left;
	}
	return fb_fetch_add_u32(&r->refs, -n, FB_ACQ_REL) - n;
}

FB_INLINE bool fb_refcount_sub_and_test(struct fb_refcount *r, uint32_t n) { return !fb_refcount_sub_return(r, n); }

#endif
