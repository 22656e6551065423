/* SPDX-License-Identifier: MIT */
/*
 * struct rw_semaphore, fast paths (kernel/locking/rwsem.c, 6.1 to 6.16; kernel-reference §4).
 *
 *	count:	bit  0		WRITER_LOCKED
 *		bit  1		FLAG_WAITERS	the wait list is not empty
 *		bit  2		FLAG_HANDOFF	the head of the list is owed the lock: no fast path, no stealing
 *		bits 8-62	readers
 *		bit  63		READFAIL	too many readers
 *
 *	down_read adds READER_BIAS first and asks afterwards: one fetch-add, whatever the others do.
 *	A writer takes it from 0 only. trylock must not disturb a lock that it does not get: load, then CAS.
 *
 *	owner:	task | bit 0 READER_OWNED | bit 1 NONSPINNABLE. Written by each who gets the lock, readers too; a reader never
 *		clears it, so it is a hint of who had it last.
 */
#ifndef FB_SYNC_RWSEM_H
#define FB_SYNC_RWSEM_H

#include "sync/atomic.h"
#include "sync/osq.h"
#include "sync/qspinlock.h"
#include "sync/rcu.h"

#define FB_RWSEM_WRITER_LOCKED 1ull
#define FB_RWSEM_FLAG_WAITERS 2ull
#define FB_RWSEM_FLAG_HANDOFF 4ull
#define FB_RWSEM_READFAIL (1ull << 63)
#define FB_RWSEM_READER_SHIFT 8
#define FB_RWSEM_READER_BIAS (1ull << FB_RWSEM_READER_SHIFT)
#define FB_RWSEM_READER_MASK (~(FB_RWSEM_READER_BIAS - 1))
#define FB_RWSEM_LOCK_MASK (FB_RWSEM_WRITER_LOCKED | FB_RWSEM_READER_MASK)
#define FB_RWSEM_READ_FAILED_MASK \
	(FB_RWSEM_WRITER_LOCKED | FB_RWSEM_FLAG_WAITERS | FB_RWSEM_FLAG_HANDOFF | FB_RWSEM_READFAIL)

#define FB_RWSEM_READER_OWNED 1ull
#define FB_RWSEM_NONSPINNABLE 2ull
#define FB_RWSEM_OWNER_FLAGS (FB_RWSEM_READER_OWNED | FB_RWSEM_NONSPINNABLE)

struct fb_rwsem {
	uint64_t count;
	uint64_t owner;
	struct fb_osq osq;
	struct fb_spinlock wait_lock;
	struct fb_list wait_list;	/* under wait_lock; FIFO */
};

_Static_assert(sizeof(struct fb_rwsem) == 40, "as in the kernel: the size decides which locks share a line");
_Static_assert(offsetof(struct fb_rwsem, owner) == 8 && offsetof(struct fb_rwsem, osq) == 16 &&
	       offsetof(struct fb_rwsem, wait_lock) == 20 && offsetof(struct fb_rwsem, wait_list) == 24,
	       "as in the kernel");

/* What a task's addresses leave free for the flags of `owner`. */
_Static_assert(_Alignof(struct fb_task) >= 4, "two flag bits");

FB_INLINE void fb_rwsem_init(struct fb_rwsem *s)
{
	/* relaxed, as all of it: set-up, before anyone can see the lock */
	fb_store_u64(&s->count, 0, FB_RELAXED);
	fb_store_u64(&s->owner, 0, FB_RELAXED);
	fb_store_u32(&s->osq.tail, 0, FB_RELAXED);
	fb_store_u32(&s->wait_lock.val, 0, FB_RELAXED);
	fb_store_ptr((void **)&s->wait_list.next, &s->wait_list, FB_RELAXED);
	fb_store_ptr((void **)&s->wait_list.prev, &s->wait_list, FB_RELAXED);
}

/* relaxed, as every access to `owner`: a hint; what the lock guards is ordered by `count` */
FB_INLINE uint64_t fb_rwsem_owner(const struct fb_rwsem *s) { return fb_load_u64(&s->owner, FB_RELAXED); }

FB_INLINE void fb_rwsem_set_owner(struct fb_rwsem *s, const struct fb_task *me)
{
	fb_store_u64(&s->owner, (uint64_t)(uintptr_t)me, FB_RELAXED);
}

FB_INLINE void fb_rwsem_set_reader_owned(struct fb_rwsem *s, const struct fb_task *task)
{
	uint64_t keep = fb_rwsem_owner(s) & FB_RWSEM_NONSPINNABLE;

	if (fb_mut(SEAM_BYPASS))
		s->owner = (uint64_t)(uintptr_t)task | FB_RWSEM_READER_OWNED | keep;
	else
		fb_store_u64(&s->owner, (uint64_t)(uintptr_t)task | FB_RWSEM_READER_OWNED | keep, FB_RELAXED);
}

#include "sync/rwsem_slow.h"

/* True when it had to go the slow way (contended); me->wait_ns has the time. */
FB_INLINE bool fb_down_read(struct fb_rwsem *s, struct fb_task *me)
{
	/* ACQUIRE, pairs with the RELEASE of fb_up_write and fb_downgrade_write */
	uint64_t count = fb_fetch_add_u64(&s->count, FB_RWSEM_READER_BIAS, FB_ACQUIRE) + FB_RWSEM_READER_BIAS;

	if (fb_likely(!(count & FB_RWSEM_READ_FAILED_MASK))) {
		fb_rwsem_set_reader_owned(s, me);
		return false;
	}
	fb_rwsem_down_read_slow(s, count, me);
	return true;
}

FB_INLINE bool fb_down_read_trylock(struct fb_rwsem *s, struct fb_task *me)
{
	uint64_t count = fb_load_u64(&s->count, FB_RELAXED);	/* relaxed: the CAS decides */

	while (fb_likely(!(count & FB_RWSEM_READ_FAILED_MASK))) {
		/* ACQUIRE, pairs with the RELEASE of fb_up_write and fb_downgrade_write */
		if (fb_likely(fb_cas_u64(&s->count, &count, count + FB_RWSEM_READER_BIAS, FB_ACQUIRE))) {
			fb_rwsem_set_reader_owned(s, me);
			return true;
		}
	}
	return false;
}

FB_INLINE void fb_up_read(struct fb_rwsem *s, struct fb_task *me)
{
	/* RELEASE, pairs with the ACQUIRE of every CAS that takes the lock for a writer */
	uint64_t count = fb_fetch_add_u64(&s->count, -FB_RWSEM_READER_BIAS, FB_RELEASE) - FB_RWSEM_READER_BIAS;

	if (fb_unlikely((count & (FB_RWSEM_LOCK_MASK | FB_RWSEM_FLAG_WAITERS |
				  (fb_mut(RWSEM_LOST_WAKE) ? FB_RWSEM_FLAG_HANDOFF : 0))) == FB_RWSEM_FLAG_WAITERS))
		fb_rwsem_last_reader_wakes(s, me);
}

FB_INLINE bool fb_down_write_trylock(struct fb_rwsem *s, struct fb_task *me)
{
	uint64_t count = 0;

	/* ACQUIRE, pairs with the RELEASE of fb_up_write and of the last fb_up_read */
	if (!fb_cas_u64(&s->count, &count, FB_RWSEM_WRITER_LOCKED, FB_ACQUIRE))
		return false;
	fb_rwsem_set_owner(s, me);
	return true;
}

/* True when contended. */
FB_INLINE bool fb_down_write(struct fb_rwsem *s, struct fb_task *me)
{
	if (fb_likely(fb_down_write_trylock(s, me)))
		return false;
	fb_rwsem_down_write_slow(s, me);
	return true;
}

FB_INLINE void fb_up_write(struct fb_rwsem *s, struct fb_task *me)
{
	uint64_t count;

	fb_store_u64(&s->owner, 0, FB_RELAXED);
	/* RELEASE, pairs with the ACQUIRE of whoever takes the lock next, reader or writer */
	count = fb_fetch_add_u64(&s->count, -FB_RWSEM_WRITER_LOCKED, FB_RELEASE);
	if (fb_unlikely(count & FB_RWSEM_FLAG_WAITERS))
		fb_rwsem_wake(s, me);
}

/* Writer becomes reader without a moment in between; readers that wait come in, writers do not. */
FB_INLINE void fb_downgrade_write(struct fb_rwsem *s, struct fb_task *me)
{
	uint64_t count;

	if (fb_mut(RWSEM_DOWNGRADE_GAP)) {
		fb_up_write(s, me);
		fb_down_read(s, me);
		return;
	}
	/* RELEASE, pairs with the ACQUIRE of the readers that follow */
	count = fb_fetch_add_u64(&s->count, FB_RWSEM_READER_BIAS - FB_RWSEM_WRITER_LOCKED, FB_RELEASE);
	fb_rwsem_set_reader_owned(s, me);
	if (count & FB_RWSEM_FLAG_WAITERS)
		fb_rwsem_downgrade_wake(s, me);
}

FB_INLINE bool fb_rwsem_is_locked(const struct fb_rwsem *s)
{
	return fb_load_u64(&s->count, FB_RELAXED) & FB_RWSEM_LOCK_MASK;	/* relaxed: for assertions */
}

FB_INLINE bool fb_rwsem_is_write_locked(const struct fb_rwsem *s)
{
	return fb_load_u64(&s->count, FB_RELAXED) & FB_RWSEM_WRITER_LOCKED;	/* relaxed: for assertions */
}

/* Nobody holds it, waits for it, or works on it. The owner word is a hint and may say anything. */
static inline bool fb_rwsem_at_rest(const struct fb_rwsem *s)
{
	return !fb_load_u64(&s->count, FB_RELAXED) && !fb_load_u32(&s->osq.tail, FB_RELAXED) &&
	       !fb_spin_is_locked(&s->wait_lock) &&
	       fb_load_ptr((void *const *)&s->wait_list.next, FB_RELAXED) == &s->wait_list;
}

#endif
