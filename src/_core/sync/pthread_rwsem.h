/* SPDX-License-Identifier: MIT */
/*
 * glibc's pthread_rwlock behind the rwsem's calls: what a program gets without a lock of its own. Its words are glibc's,
 * out of the arena and past the seam, so it exists on the threads machine only (FB_HAS_PTHREAD).
 *
 * glibc cannot downgrade: the lock is dropped and taken again, so another writer may come in between. A user of
 * rwsem=pthread has to live with that; the counters say how often (me->contended).
 */
#ifndef FB_SYNC_PTHREAD_RWSEM_H
#define FB_SYNC_PTHREAD_RWSEM_H

#include <pthread.h>
#include <stdlib.h>

#include "sync/rcu.h"

struct fb_pthread_rwsem {
	pthread_rwlock_t *lock;	/* constant */
};

FB_INLINE pthread_rwlock_t *fb_pthread_rwlock(struct fb_pthread_rwsem *s)
{
	return fb_load_ptr((void *const *)&s->lock, FB_RELAXED);	/* relaxed: constant */
}

/* 0 or an errno. */
static inline int fb_pthread_rwsem_init(struct fb_pthread_rwsem *s)
{
	pthread_rwlock_t *lock = aligned_alloc(FB_LINE_PAIR, FB_LINE_PAIR);
	int err;

	if (!lock)
		return ENOMEM;
	err = pthread_rwlock_init(lock, NULL);
	if (err) {
		free(lock);
		return err;
	}
	fb_store_ptr((void **)&s->lock, lock, FB_RELAXED);	/* relaxed: set-up */
	return 0;
}

static inline void fb_pthread_rwsem_destroy(struct fb_pthread_rwsem *s)
{
	pthread_rwlock_t *lock = fb_pthread_rwlock(s);

	pthread_rwlock_destroy(lock);
	free(lock);
}

static __attribute__((noinline, unused)) void fb_pthread_wait(struct fb_pthread_rwsem *s, bool write, struct fb_task *me)
{
	uint64_t began = fb_now();

	me->contended++;
	fb_rcu_offline(me);	/* it may sleep */
	if (write)
		pthread_rwlock_wrlock(fb_pthread_rwlock(s));
	else
		pthread_rwlock_rdlock(fb_pthread_rwlock(s));
	fb_rcu_online(me);
	me->wait_ns += fb_now() - began;
}

FB_INLINE bool fb_pthread_down_read_trylock(struct fb_pthread_rwsem *s)
{
	return !pthread_rwlock_tryrdlock(fb_pthread_rwlock(s));
}

FB_INLINE bool fb_pthread_down_write_trylock(struct fb_pthread_rwsem *s)
{
	return !pthread_rwlock_trywrlock(fb_pthread_rwlock(s));
}

/* True when contended. */
FB_INLINE bool fb_pthread_down_read(struct fb_pthread_rwsem *s, struct fb_task *me)
{
	if (fb_likely(fb_pthread_down_read_trylock(s)))
		return false;
	fb_pthread_wait(s, false, me);
	return true;
}

FB_INLINE bool fb_pthread_down_write(struct fb_pthread_rwsem *s, struct fb_task *me)
{
	if (fb_likely(fb_pthread_down_write_trylock(s)))
		return false;
	fb_pthread_wait(s, true, me);
	return true;
}

FB_INLINE void fb_pthread_up(struct fb_pthread_rwsem *s) { pthread_rwlock_unlock(fb_pthread_rwlock(s)); }

FB_INLINE void fb_pthread_downgrade_write(struct fb_pthread_rwsem *s, struct fb_task *me)
{
	fb_pthread_up(s);
	if (!fb_pthread_down_read_trylock(s))
		fb_pthread_wait(s, false, me);
}

#endif
