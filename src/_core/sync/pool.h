/* SPDX-License-Identifier: MIT */
/*
 * Objects of one size from the arena, taken and given back during a trial: a magazine for each task in front of one locked
 * list, as a slab has per-CPU lists, so that the allocator is not the bottleneck that is measured.
 *
 * A free object holds the next one's address in the word at `link_off`, which must be one that nobody reads of a free
 * object: with SLAB_TYPESAFE_BY_RCU the others stay meaningful.
 */
#ifndef FB_SYNC_POOL_H
#define FB_SYNC_POOL_H

#include "sync/arena.h"
#include "sync/qspinlock.h"

enum { FB_MAGAZINE_MAX = 32, FB_MAGAZINE_BATCH = 16 };

struct fb_magazine {	/* written by its task only; in the arena because it holds the arena's objects */
	_Alignas(FB_CACHELINE) uint64_t head;
	uint64_t nr;
	uint64_t live;	/* this task's allocations less its frees, modulo 2^64 */
};

struct fb_pool {
	/* constant */
	char *objects;
	struct fb_magazine *mags;
	uint64_t stride, link_off, capacity, nr_tasks;
	/* under lock */
	_Alignas(FB_CACHELINE) struct fb_spinlock lock;
	uint64_t head, fresh;	/* free list; objects never handed out begin at index `fresh` */
	uint64_t pad[5];
};

#define FB_POOL_GET(pool, field) fb_load_u64((const uint64_t *)&(pool)->field, FB_RELAXED)	/* constant, or under lock */
#define FB_POOL_SET(pool, field, v) fb_store_u64((uint64_t *)&(pool)->field, (uint64_t)(v), FB_RELAXED)

/* Objects beyond `capacity` that a pool must have so that full magazines cannot starve anybody. */
FB_INLINE uint64_t fb_pool_slack(uint64_t nr_tasks) { return nr_tasks * FB_MAGAZINE_MAX; }

/* NULL when the arena is full. `capacity` objects may be live at once, whatever the magazines hold. */
static inline struct fb_pool *fb_pool_create(struct fb_arena *a, uint32_t nr_tasks, size_t size, size_t align,
					     size_t link_off, uint64_t capacity)
{
	uint64_t stride = (size + align - 1) & ~(align - 1), bytes;
	struct fb_pool *pool = fb_arena_alloc(a, sizeof(*pool), FB_CACHELINE);
	struct fb_magazine *mags = fb_arena_alloc(a, nr_tasks * sizeof(*mags), FB_CACHELINE);
	void *objects;

	if (!pool || !mags || __builtin_add_overflow(capacity, fb_pool_slack(nr_tasks), &capacity) ||
	    __builtin_mul_overflow(capacity, stride, &bytes))
		return NULL;
	objects = fb_arena_alloc(a, bytes, align);
	if (!objects)
		return NULL;
	FB_POOL_SET(pool, objects, (uintptr_t)objects);
	FB_POOL_SET(pool, mags, (uintptr_t)mags);
	FB_POOL_SET(pool, stride, stride);
	FB_POOL_SET(pool, link_off, link_off);
	FB_POOL_SET(pool, capacity, capacity);
	FB_POOL_SET(pool, nr_tasks, nr_tasks);
	return pool;
}

FB_INLINE uint64_t *fb_pool_link(const struct fb_pool *pool, uint64_t obj)
{
	return (uint64_t *)(uintptr_t)(obj + FB_POOL_GET(pool, link_off));
}

/* Move up to a batch into an empty magazine: from the list, else objects never used. */
static __attribute__((noinline, unused)) void fb_pool_refill(struct fb_pool *pool, struct fb_magazine *mag,
							     struct fb_task *me)
{
	uint64_t nr = 0, head = 0;

	if (!fb_mut(POOL_UNLOCKED))
		fb_spin_lock(&pool->lock, me);
	while (nr < FB_MAGAZINE_BATCH) {
		uint64_t obj = FB_POOL_GET(pool, head), fresh = FB_POOL_GET(pool, fresh);

		if (obj) {
			FB_POOL_SET(pool, head, fb_load_u64(fb_pool_link(pool, obj), FB_RELAXED));
		} else if (fresh < FB_POOL_GET(pool, capacity)) {
			obj = FB_POOL_GET(pool, objects) + fresh * FB_POOL_GET(pool, stride);
			FB_POOL_SET(pool, fresh, fresh + 1);
		} else {
			break;
		}
		fb_store_u64(fb_pool_link(pool, obj), head, FB_RELAXED);
		head = obj;
		nr++;
	}
	if (!fb_mut(POOL_UNLOCKED))
		fb_spin_unlock(&pool->lock);
	FB_POOL_SET(mag, head, head);
	FB_POOL_SET(mag, nr, nr);
}

static __attribute__((noinline, unused)) void fb_pool_flush(struct fb_pool *pool, struct fb_magazine *mag,
							    struct fb_task *me)
{
	fb_spin_lock(&pool->lock, me);
	for (int i = 0; i < FB_MAGAZINE_BATCH; i++) {
		uint64_t obj = FB_POOL_GET(mag, head);

		FB_POOL_SET(mag, head, fb_load_u64(fb_pool_link(pool, obj), FB_RELAXED));
		fb_store_u64(fb_pool_link(pool, obj), FB_POOL_GET(pool, head), FB_RELAXED);
		FB_POOL_SET(pool, head, obj);
	}
	fb_spin_unlock(&pool->lock);
	FB_POOL_SET(mag, nr, FB_POOL_GET(mag, nr) - FB_MAGAZINE_BATCH);
}

FB_INLINE struct fb_magazine *fb_pool_mag(struct fb_pool *pool, const struct fb_task *me)
{
	return (struct fb_magazine *)(uintptr_t)FB_POOL_GET(pool, mags) + me->id;
}

/* An object as its last user left it (zero at first), but for the link; NULL when all are live. */
FB_INLINE void *fb_pool_alloc(struct fb_pool *pool, struct fb_task *me)
{
	struct fb_magazine *mag = fb_pool_mag(pool, me);
	uint64_t obj = FB_POOL_GET(mag, head);

	if (fb_unlikely(!obj)) {
		fb_pool_refill(pool, mag, me);
		obj = FB_POOL_GET(mag, head);
		if (!obj)
			return NULL;
	}
	FB_POOL_SET(mag, head, fb_load_u64(fb_pool_link(pool, obj), FB_RELAXED));
	FB_POOL_SET(mag, nr, FB_POOL_GET(mag, nr) - 1);
	FB_POOL_SET(mag, live, FB_POOL_GET(mag, live) + 1);
	return (void *)(uintptr_t)obj;
}

FB_INLINE void fb_pool_free(struct fb_pool *pool, void *p, struct fb_task *me)
{
	struct fb_magazine *mag = fb_pool_mag(pool, me);
	uint64_t obj = (uint64_t)(uintptr_t)p, nr = FB_POOL_GET(mag, nr) + 1;

	fb_store_u64(fb_pool_link(pool, obj), FB_POOL_GET(mag, head), FB_RELAXED);
	FB_POOL_SET(mag, head, obj);
	FB_POOL_SET(mag, nr, nr);
	FB_POOL_SET(mag, live, FB_POOL_GET(mag, live) - 1);
	if (fb_unlikely(nr > FB_MAGAZINE_MAX - 1))
		fb_pool_flush(pool, mag, me);
}

/* Objects in use; meaningful at rest. */
static inline uint64_t fb_pool_live(struct fb_pool *pool)
{
	const struct fb_magazine *mags = (const struct fb_magazine *)(uintptr_t)FB_POOL_GET(pool, mags);
	uint64_t live = 0;

	for (uint64_t i = 0; i < FB_POOL_GET(pool, nr_tasks); i++)
		live += FB_POOL_GET(&mags[i], live);
	return live;
}

#endif
