/* SPDX-License-Identifier: MIT */
/*
 * mmap_lock with a choice (`--set rwsem=kernel|naive|pthread`). The kind is constant for a trial and comes from its rules,
 * so the branch costs a predicted jump; locks that are not a choice call the kernel's rwsem directly.
 */
#ifndef FB_SYNC_RWSEM_ANY_H
#define FB_SYNC_RWSEM_ANY_H

#include "sync/naive_rwsem.h"
#include "sync/rwsem.h"
#ifdef FB_HAS_PTHREAD
#include "sync/pthread_rwsem.h"
#endif

enum fb_rwsem_kind { FB_RWSEM_KERNEL, FB_RWSEM_NAIVE, FB_RWSEM_PTHREAD };

/* The kernel's 40 bytes whatever is inside, so that the neighbours stay where they are. */
struct fb_rwsem_any {
	union {
		struct fb_rwsem kernel;
		struct fb_naive_rwsem naive;
#ifdef FB_HAS_PTHREAD
		struct fb_pthread_rwsem pthread;
#endif
	};
};

_Static_assert(sizeof(struct fb_rwsem_any) == sizeof(struct fb_rwsem), "the kernel's size");

#ifdef FB_HAS_PTHREAD
#define FB_ANY(kind, kernel_call, naive_call, pthread_call)	\
	do {							\
		if (fb_likely((kind) == FB_RWSEM_KERNEL))	\
			kernel_call;				\
		else if ((kind) == FB_RWSEM_NAIVE)		\
			naive_call;				\
		else						\
			pthread_call;				\
	} while (0)
#else
#define FB_ANY(kind, kernel_call, naive_call, pthread_call)	\
	do {							\
		if (fb_likely((kind) == FB_RWSEM_KERNEL))	\
			kernel_call;				\
		else						\
			naive_call;				\
	} while (0)
#endif

/* 0, ENOTSUP where the machine has no such lock, or another errno. */
static inline int fb_any_init(struct fb_rwsem_any *s, int kind)
{
	fb_rwsem_init(&s->kernel);	/* whichever it is, its words are in there */
	if (kind == FB_RWSEM_PTHREAD) {
#ifdef FB_HAS_PTHREAD
		return fb_pthread_rwsem_init(&s->pthread);
#else
		return ENOTSUP;
#endif
	}
	if (kind == FB_RWSEM_NAIVE)
		fb_store_u32(&s->naive.word, 0, FB_RELAXED);	/* relaxed: set-up */
	return 0;
}

static inline void fb_any_destroy(struct fb_rwsem_any *s, int kind)
{
	FB_ANY(kind, (void)s, (void)s, fb_pthread_rwsem_destroy(&s->pthread));
}

/* True when contended. */
FB_INLINE bool fb_any_down_read(struct fb_rwsem_any *s, int kind, struct fb_task *me)
{
	FB_ANY(kind, return fb_down_read(&s->kernel, me), return fb_naive_down_read(&s->naive, me),
	       return fb_pthread_down_read(&s->pthread, me));
}

FB_INLINE bool fb_any_down_read_trylock(struct fb_rwsem_any *s, int kind, struct fb_task *me)
{
	FB_ANY(kind, return fb_down_read_trylock(&s->kernel, me), return fb_naive_down_read_trylock(&s->naive),
	       return fb_pthread_down_read_trylock(&s->pthread));
}

FB_INLINE void fb_any_up_read(struct fb_rwsem_any *s, int kind, struct fb_task *me)
{
	FB_ANY(kind, fb_up_read(&s->kernel, me), fb_naive_up_read(&s->naive), fb_pthread_up(&s->pthread));
}

/* True when contended. */
FB_INLINE bool fb_any_down_write(struct fb_rwsem_any *s, int kind, struct fb_task *me)
{
	FB_ANY(kind, return fb_down_write(&s->kernel, me), return fb_naive_down_write(&s->naive, me),
	       return fb_pthread_down_write(&s->pthread, me));
}

FB_INLINE bool fb_any_down_write_trylock(struct fb_rwsem_any *s, int kind, struct fb_task *me)
{
	FB_ANY(kind, return fb_down_write_trylock(&s->kernel, me), return fb_naive_down_write_trylock(&s->naive),
	       return fb_pthread_down_write_trylock(&s->pthread));
}

FB_INLINE void fb_any_up_write(struct fb_rwsem_any *s, int kind, struct fb_task *me)
{
	FB_ANY(kind, fb_up_write(&s->kernel, me), fb_naive_up_write(&s->naive), fb_pthread_up(&s->pthread));
}

FB_INLINE void fb_any_downgrade_write(struct fb_rwsem_any *s, int kind, struct fb_task *me)
{
	FB_ANY(kind, fb_downgrade_write(&s->kernel, me), fb_naive_downgrade_write(&s->naive),
	       fb_pthread_downgrade_write(&s->pthread, me));
}

/* Nobody holds it or waits for it. */
static inline bool fb_any_at_rest(struct fb_rwsem_any *s, int kind)
{
	if (kind == FB_RWSEM_KERNEL)
		return fb_rwsem_at_rest(&s->kernel);
	if (kind == FB_RWSEM_NAIVE)
		return !fb_load_u32(&s->naive.word, FB_RELAXED);	/* relaxed: at rest */
#ifdef FB_HAS_PTHREAD
	if (!fb_pthread_down_write_trylock(&s->pthread))
		return false;
	fb_pthread_up(&s->pthread);
#endif
	return true;
}

#endif
