/* SPDX-License-Identifier: MIT */
/*
 * The arena: one aligned mapping that holds everything shared. A word's line is its offset, the same in every process.
 *
 *	set-up (one thread):	fb_arena_alloc, a bump; fb_arena_name says what lies where, so that a line has a name
 *	during a trial:		fb_pool (pool.h)
 *
 * The bump's own state and the names are the harness's, in host memory.
 */
#ifndef FB_SYNC_ARENA_H
#define FB_SYNC_ARENA_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sync/atomic.h"

struct fb_arena_label {
	uint64_t off, len;
	const char *kind, *field;	/* static strings: "mm_struct", "mmap_lock.count" */
	int64_t index;			/* which of its kind; -1 = the only one */
};

struct fb_arena {
	char *base;
	size_t size, used;
	struct fb_arena_label *labels;
	size_t nr_labels, max_labels;
};

/* Map `size` bytes (rounded up to whole huge pages), all zero. 0 or an errno. */
static inline int fb_arena_init(struct fb_arena *a, size_t size)
{
	const size_t unit = (size_t)2 << 20;

	memset(a, 0, sizeof(*a));
	if (__builtin_add_overflow(size, unit - 1, &size))
		return ENOMEM;
	size &= ~(unit - 1);
	a->base = fb_machine_map(size);
	if (!a->base)
		return errno ? errno : ENOMEM;
	a->size = size;
	return 0;
}

static inline void fb_arena_destroy(struct fb_arena *a)
{
	if (a->base)
		fb_machine_unmap(a->base, a->size);
	free(a->labels);
	memset(a, 0, sizeof(*a));
}

/* `align` is a power of two. NULL when the arena is full. The memory is zero. */
static inline void *fb_arena_alloc(struct fb_arena *a, size_t size, size_t align)
{
	size_t at = (a->used + align - 1) & ~(align - 1), end;

	if (__builtin_add_overflow(at, size, &end) || end > a->size)
		return NULL;
	a->used = end;
	return a->base + at;
}

static inline uint64_t fb_arena_off(const struct fb_arena *a, const void *p)
{
	return (uint64_t)((const char *)p - a->base);
}

/* Name a range; a later, smaller name inside it wins. 0 or ENOMEM. */
static inline int fb_arena_name(struct fb_arena *a, uint64_t off, uint64_t len, const char *kind, int64_t index,
				const char *field)
{
	if (a->nr_labels == a->max_labels) {
		size_t max = a->max_labels ? 2 * a->max_labels : 64;
		struct fb_arena_label *labels = realloc(a->labels, max * sizeof(*labels));

		if (!labels)
			return ENOMEM;
		a->labels = labels;
		a->max_labels = max;
	}
	a->labels[a->nr_labels++] = (struct fb_arena_label){off, len, kind, field, index};
	return 0;
}

/* The innermost, and of equals the latest, name of an offset; NULL = nobody named it. */
static inline const struct fb_arena_label *fb_arena_find(const struct fb_arena *a, uint64_t off)
{
	const struct fb_arena_label *best = NULL;

	for (size_t i = 0; i < a->nr_labels; i++) {
		const struct fb_arena_label *l = &a->labels[i];

		if (off - l->off < l->len && (!best || l->len <= best->len))
			best = l;
	}
	return best;
}

#endif
