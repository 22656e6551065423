/* SPDX-License-Identifier: MIT */
/*
 * What the memory orders allow, for sched.h: a store that is seen by one task is seen by all (as on ARMv8), but
 *
 *	- a store waits in its task's buffer and leaves it in any order; a RELEASE store leaves after all before it, and a
 *	  RELEASE read-modify-write after the buffer is empty; a relaxed one passes what is in it
 *	- a load may see an old value of a word, not older than the task's last look at that word nor than its `floor`; an
 *	  ACQUIRE load raises the floor to the moment when what it saw was stored
 *
 * So a missing release is a store that comes late, a missing acquire a load that comes early. Not modelled: stores that come
 * before a load they follow in the program. History is kept in granules of 8 bytes, so that accesses of other widths agree.
 */
#ifndef WEAK_H
#define WEAK_H

enum { WEAK_GRANULES = 1 << 14, WEAK_VERSIONS = 4 };
enum weak_op { WEAK_SET, WEAK_ADD, WEAK_OR, WEAK_AND };

struct weak_granule {
	char *at;
	struct { uint64_t v, since; } version[WEAK_VERSIONS];	/* oldest first */
	uint32_t nr, round;
	uint64_t seen[SCHED_TASKS];	/* `since` of what each task saw last */
};

struct weak {
	struct weak_granule granule[WEAK_GRANULES];
	uint32_t round;
};
__attribute__((weak)) struct weak weak;

static inline void weak_reset(void) { weak.round++; }

static inline struct weak_granule *weak_granule(const void *p)
{
	char *at = (char *)((uintptr_t)p & ~7ull);
	uint64_t i = (uintptr_t)at * 0x9e3779b97f4a7c15u >> 50;

	while (weak.granule[i].round == weak.round && weak.granule[i].at != at)
		i = (i + 1) % WEAK_GRANULES;
	if (weak.granule[i].round != weak.round) {
		memset(&weak.granule[i], 0, sizeof(weak.granule[i]));
		weak.granule[i].round = weak.round;
		weak.granule[i].at = at;
		weak.granule[i].nr = 1;
		memcpy(&weak.granule[i].version[0].v, at, 8);
	}
	return &weak.granule[i];
}

static inline void weak_commit(struct sched_fiber *f, void *p, uint64_t v, uint64_t width)
{
	struct weak_granule *g = weak_granule(p);

	sched.changes += memcmp(p, &v, width) != 0;
	memcpy(p, &v, width);
	if (g->nr == WEAK_VERSIONS)
		memmove(g->version, g->version + 1, --g->nr * sizeof(g->version[0]));
	memcpy(&g->version[g->nr].v, g->at, 8);
	g->version[g->nr++].since = ++sched.commits;
	g->seen[f->task->id] = sched.commits;
}

static inline void weak_drain_at(struct sched_fiber *f, uint32_t i)
{
	weak_commit(f, f->buffer[i].p, f->buffer[i].v, f->buffer[i].width);
	memmove(f->buffer + i, f->buffer + i + 1, (--f->nr - i) * sizeof(f->buffer[0]));
}

static inline void weak_drain(struct sched_fiber *f)
{
	while (f && f->nr)
		weak_drain_at(f, 0);
}

static inline bool weak_same_granule(const void *a, const void *b) { return !(((uintptr_t)a ^ (uintptr_t)b) & ~7ull); }

/* One store that may leave now, by chance any. */
static inline void weak_drain_some(struct sched_fiber *f)
{
	uint32_t i = (uint32_t)(sched_random() % f->nr);

	for (uint32_t k = 0; k < i; k++) {
		if (f->buffer[i].release || weak_same_granule(f->buffer[k].p, f->buffer[i].p))
			i = 0;
	}
	weak_drain_at(f, i);
}

/* A granule's value with the task's own stores that are on their way. */
static inline uint64_t weak_overlay(const struct sched_fiber *f, const void *p, uint64_t width, uint64_t granule)
{
	uint64_t v = 0;

	memcpy(&v, (char *)&granule + ((uintptr_t)p & 7), width);
	for (uint32_t i = 0; f && i < f->nr; i++) {
		for (uint64_t b = 0; b < f->buffer[i].width; b++) {
			uint64_t at = (uint64_t)(f->buffer[i].p + b - (const char *)p);

			if (at < width)
				((char *)&v)[at] = ((const char *)&f->buffer[i].v)[b];
		}
	}
	return v;
}

static inline uint64_t weak_newest(const void *p, uint64_t width)
{
	uint64_t g;

	memcpy(&g, (const void *)((uintptr_t)p & ~7ull), 8);
	return weak_overlay(sched.current, p, width, g);
}

static inline void weak_see_newest(const void *p)
{
	struct weak_granule *g = weak_granule(p);

	if (sched.current)
		g->seen[sched.current->task->id] = g->version[g->nr - 1].since;
}

static inline bool weak_acquires(int mo) { return mo == __ATOMIC_ACQUIRE || mo == __ATOMIC_ACQ_REL; }
static inline bool weak_releases(int mo) { return mo == __ATOMIC_RELEASE || mo == __ATOMIC_ACQ_REL; }

static inline uint64_t weak_load(const void *p, uint64_t width, int mo)
{
	struct sched_fiber *f = sched.current;
	struct weak_granule *g;
	uint32_t i;

	if (!f)
		return weak_newest(p, width);
	g = weak_granule(p);
	/* The newest, or by chance one before it that was still there at the floor and that is not older than the last seen */
	for (i = g->nr - 1; i && sched_random() % 4 == 0; i--) {
		if (g->version[i].since <= f->floor || g->version[i - 1].since < g->seen[f->task->id])
			break;
	}
	g->seen[f->task->id] = g->version[i].since;
	if (weak_acquires(mo) && g->version[i].since > f->floor)
		f->floor = g->version[i].since;
	return weak_overlay(f, p, width, g->version[i].v);
}

static inline void weak_store(void *p, uint64_t v, uint64_t width, int mo)
{
	struct sched_fiber *f = sched.current;

	if (!f) {
		memcpy(p, &v, width);
		return;
	}
	if (f->nr == SCHED_BUFFER)
		weak_drain_at(f, 0);
	f->buffer[f->nr].p = p;
	f->buffer[f->nr].v = v;
	f->buffer[f->nr].width = width;
	f->buffer[f->nr++].release = weak_releases(mo);
}

static inline uint64_t weak_rmw(void *p, uint64_t width, int mo, enum weak_op op, uint64_t v)
{
	struct sched_fiber *f = sched.current;
	uint64_t old, new;
	bool drain = weak_releases(mo);

	for (uint32_t i = 0; f && i < f->nr; i++)
		drain |= weak_same_granule(f->buffer[i].p, p);
	if (drain)
		weak_drain(f);
	old = weak_newest(p, width);
	new = op == WEAK_SET ? v : op == WEAK_ADD ? old + v : op == WEAK_OR ? old | v : old & v;
	if (!f) {
		memcpy(p, &new, width);
		return old;
	}
	if (weak_acquires(mo)) {
		struct weak_granule *g = weak_granule(p);

		if (g->version[g->nr - 1].since > f->floor)
			f->floor = g->version[g->nr - 1].since;
	}
	if (op == WEAK_OR && !v)
		weak_see_newest(p);	/* a CAS that failed has only looked */
	else
		weak_commit(f, p, new, width);
	return old;
}

#endif
