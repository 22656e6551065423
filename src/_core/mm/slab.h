/* SPDX-License-Identifier: MIT */
/*
 * Caches of equal objects, and freeing after a grace period.
 *
 *	task: magazine (its own, no shared line) ── batches of 8 ──► depot (spinlock) ──► never used objects
 *
 * The kernel's slabs and page lists are per CPU over a locked node list; without the magazine every table allocation
 * would bounce a line that the kernel does not have. Unlike sync's fb_pool no link lies in a free object: a free VMA keeps
 * its poison and a free table its zeros, so nothing is filled twice.
 */
#ifndef FB_MM_SLAB_H
#define FB_MM_SLAB_H

#include "mm/trial_types.h"
#include "sync/rcu.h"

#define FB_NO_OBJECT UINT32_MAX

FB_INLINE void *fb_cache_object(const struct fb_cache *c, uint32_t index)
{
	return c->base + (uint64_t)index * c->size;
}

FB_INLINE uint32_t fb_cache_index(const struct fb_cache *c, const void *obj)
{
	return (uint32_t)(((const char *)obj - c->base) / c->size);
}

/* Take up to a batch from the depot. Returns how many. */
static uint32_t fb_depot_take(const struct fb_cache *c, uint32_t *to, struct fb_task *me)
{
	struct fb_depot *d = c->depot;
	uint32_t n = 0, nr, next;

	fb_spin_lock(&d->lock, me);
	nr = fb_load_u32(&d->nr, FB_RELAXED);	/* relaxed: under the lock */
	while (n < FB_SLAB_BATCH && nr > 0)
		to[n++] = fb_load_u32(&c->index[--nr], FB_RELAXED);
	fb_store_u32(&d->nr, nr, FB_RELAXED);
	next = fb_load_u32(&d->next, FB_RELAXED);
	while (n < FB_SLAB_BATCH && next < c->count)
		to[n++] = next++;
	fb_store_u32(&d->next, next, FB_RELAXED);
	fb_spin_unlock(&d->lock);
	return n;
}

static void fb_depot_give(const struct fb_cache *c, const uint32_t *from, uint32_t n, struct fb_task *me)
{
	struct fb_depot *d = c->depot;
	uint32_t nr;

	fb_spin_lock(&d->lock, me);
	nr = fb_load_u32(&d->nr, FB_RELAXED);
	while (n > 0)
		fb_store_u32(&c->index[nr++], from[--n], FB_RELAXED);
	fb_store_u32(&d->nr, nr, FB_RELAXED);
	fb_spin_unlock(&d->lock);
}

/* Returns an index, or FB_NO_OBJECT when the cache and the depot are empty. The caller sets the object's contents. */
static uint32_t fb_cache_alloc_index(struct fb_worker *w, uint32_t cache)
{
	struct fb_slab_mag *m = &w->mag[cache];

	if (m->nr == 0) {
		uint32_t batch[FB_SLAB_BATCH];
		uint32_t n = fb_depot_take(&w->t->cache[cache], batch, w->me);

		if (n == 0)
			return FB_NO_OBJECT;
		while (n > 0)
			m->index[m->nr++] = batch[--n];
	}
	m->allocs++;
	return m->index[--m->nr];
}

static void fb_cache_free_index(struct fb_worker *w, uint32_t cache, uint32_t index)
{
	struct fb_slab_mag *m = &w->mag[cache];

	if (m->nr == FB_SLAB_MAG) {
		fb_depot_give(&w->t->cache[cache], &m->index[0], FB_SLAB_BATCH, w->me);
		m->nr -= FB_SLAB_BATCH;
		for (uint32_t i = 0; i < m->nr; i++)
			m->index[i] = m->index[i + FB_SLAB_BATCH];
	}
	m->frees++;
	m->index[m->nr++] = index;
}

/*
 * Fill a freed VMA so that whoever still uses it shows: a reader by what it reads, a writer by what changed.
 * The inline lock and vm_refcnt are included: a late vma_end_read changes them.
 */
static void fb_vma_poison(struct vm_area_struct *vma)
{
	for (uint32_t i = 0; i < sizeof(*vma) / 8; i++)
		fb_store_u64((uint64_t *)vma + i, FB_VMA_POISON, FB_RELAXED);
}

static bool fb_vma_poisoned(const struct vm_area_struct *vma)
{
	for (uint32_t i = 0; i < sizeof(*vma) / 8; i++)
		if (fb_load_u64((const uint64_t *)vma + i, FB_RELAXED) != FB_VMA_POISON)
			return false;
	return true;
}

static void fb_deferred_free_one(struct fb_worker *w)
{
	struct fb_deferred *d = &w->deferred[w->deferred_head];

	if (d->cache == FB_CACHE_VMA)
		fb_vma_poison(fb_cache_object(&w->t->cache[FB_CACHE_VMA], d->index));
	w->deferred_tables -= d->cache == FB_CACHE_TABLE;
	fb_cache_free_index(w, d->cache, d->index);
	w->deferred_head = (w->deferred_head + 1) % FB_DEFERRED;
	w->deferred_nr--;
}

/* Free what no reader can still see. Cookies are in order, so the first that is not over ends the round. */
static void fb_rcu_reap(struct fb_worker *w)
{
	while (w->deferred_nr > 0 && fb_rcu_elapsed(w->me->rcu, w->deferred[w->deferred_head].cookie, w->me))
		fb_deferred_free_one(w);
}

/*
 * call_rcu(): free `index` after a grace period. The kernel never waits here; we do when the list is full, which with more
 * tasks than CPUs may take some milliseconds: a task that has lost its CPU says nothing until it runs again.
 */
static void fb_call_rcu(struct fb_worker *w, uint32_t cache, uint32_t index)
{
	struct fb_deferred *d;

	if (w->deferred_nr >= FB_SLAB_BATCH)
		fb_rcu_reap(w);
	while (w->deferred_nr == FB_DEFERRED ||
	       (cache == FB_CACHE_TABLE && w->deferred_tables == FB_DEFERRED_TABLES)) {
		fb_synchronize_rcu(w->me);
		fb_rcu_reap(w);
	}
	d = &w->deferred[(w->deferred_head + w->deferred_nr++) % FB_DEFERRED];
	d->cookie = fb_rcu_snapshot(w->me->rcu);
	d->cache = cache;
	d->index = index;
	w->deferred_tables += cache == FB_CACHE_TABLE;
}

/* Before an operation, while no lock is held: wait for a grace period when the list is more than half full. */
static void fb_rcu_make_room(struct fb_worker *w)
{
	fb_rcu_reap(w);
	if (w->deferred_nr > FB_DEFERRED / 2 || w->deferred_tables > FB_DEFERRED_TABLES / 2)
		fb_synchronize_rcu(w->me);
}

/* Set-up and the end of a trial: nobody reads any more. */
static void fb_rcu_drain(struct fb_worker *w)
{
	while (w->deferred_nr > 0)
		fb_deferred_free_one(w);
}

#endif
