/* SPDX-License-Identifier: MIT */
/*
 * Small workloads over the seam whose result is known, or has been published, or is a machine's own figure: what the
 * virtual machine's tests count, what `calibrate` times on threads, what validation compares with published tables.
 *
 * Every task does `turns` turns, or as many as the window lets it.
 */
#ifndef FB_MACHINE_PATTERNS_H
#define FB_MACHINE_PATTERNS_H

#include "sync/arena.h"
#include "sync/atomic.h"
#include "sync/refcount.h"
#include "sync/rwsem.h"
#include "sync/tasks.h"

#define FB_PATTERNS(X)									\
	X(LOADS)	/* eight of the task's own line, each of where the one before pointed */ \
	X(RMWS)		/* on the task's own line */					\
	X(SHARED_LOADS)	/* of one line */						\
	X(RING)		/* read-modify-writes on one line, and nothing between */	\
	X(LOAD_CAS)	/* a load and a compare-and-swap on one line until it succeeds */ \
	X(VISITS)	/* a swap on one line now and then, timed; failed: how often another's was found */ \
	X(LOAD_VISITS)	/* the same as a load and a compare-and-swap */			\
	X(PAIR_VISITS)	/* the same as two swaps on two lines, outside_ns between them */ \
	X(EXCLUSION)	/* a spinlock around a plain increment */			\
	X(READERS)	/* down_read, up_read on one rwsem */				\
	X(TRY_READERS)	/* down_read_trylock, up_read */				\
	X(WRITERS)	/* down_write, up_write */					\
	X(SLEEPERS)	/* the same, asleep for inside_ns in between */			\
	X(MIXED)	/* readers and writers in turn, as locking-bench */		\
	X(PING_PONG)	/* two tasks pass one word to and fro by spinning on it */	\
	X(PARK)		/* two tasks wake each other */					\
	X(PREFETCHED)	/* a store to one line, prefetchw of another, a read-modify-write of that */ \
	X(MESSAGE)	/* one stores data, then a flag; the other checks the data */	\
	X(WORK)		/* busy time only */

enum fb_pattern {
#define X(name) FB_PATTERN_##name,
	FB_PATTERNS(X)
#undef X
	FB_PATTERN_COUNT
};

static inline const char *const *fb_pattern_names(void)
{
	static const char *const names[] = {
#define X(name) #name,
		FB_PATTERNS(X)
#undef X
		NULL,
	};

	return names;
}

struct fb_pattern_lines {
	_Alignas(FB_LINE_PAIR) uint64_t word;
	_Alignas(FB_LINE_PAIR) uint64_t flag;
	_Alignas(FB_LINE_PAIR) struct fb_rwsem sem;
	_Alignas(FB_LINE_PAIR) struct fb_spinlock lock;
	_Alignas(FB_LINE_PAIR) uint64_t guarded;
};

struct fb_pattern_task {
	_Alignas(FB_LINE_PAIR) uint64_t done, failed, from_ns, to_ns;
	uint64_t cpu_ns, unpark_ns, wake_ns;	/* PARK: on a CPU; in fb_unpark; from its call to the sleeper's going on */
	/* visits of a line that was still here; their time; that of the others. PARK: kept sleeps are in wake_ns */
	uint64_t kept, kept_ns, found_ns;
	struct fb_pattern_lines *lines;
	uint64_t *own;		/* a line of the arena */
	uint64_t turns;		/* 0 = until the window closes */
	uint64_t chance;	/* state of its generator */
	uint64_t inside_ns, outside_ns;	/* busy time in a critical section and between two */
	enum fb_pattern pattern;
};

/* Busy for inside_ns on average, by chance half to half as much again: tasks of one period would fall into step. */
FB_INLINE void fb_pattern_stroll(struct fb_pattern_task *t, uint64_t id)
{
	t->chance = t->chance * 6364136223846793005u + 1442695040888963407u + id;
	fb_work(t->inside_ns / 2 + (t->chance >> 33) % (t->inside_ns + 1));
}

/* One visit took ns and found whose mark; one that an interrupt fell into is nobody's. */
FB_INLINE void fb_pattern_visited(struct fb_pattern_task *t, uint64_t ns, bool others)
{
	if (ns < t->inside_ns && others) {
		t->failed++;
		t->found_ns += ns;
	} else if (ns < t->inside_ns) {
		t->kept++;
		t->kept_ns += ns;
	}
}

#define FB_PATTERN_SLEEP_NS 1000000	/* what takes longer tells of other load, not of waking: it is left out */

FB_INLINE void fb_pattern_wake(struct fb_task *me, struct fb_pattern_task *t)
{
	uint64_t from = fb_now(), took;

	fb_store_u64(&t->lines->flag, from, FB_RELAXED);	/* fb_unpark orders it */
	fb_unpark(&me->all[1 - me->id]);
	took = fb_now() - from;
	if (took < FB_PATTERN_SLEEP_NS)
		t->unpark_ns += took;
	else
		t->failed++;
}

FB_INLINE void fb_pattern_sleep(struct fb_task *me, struct fb_pattern_task *t)
{
	bool woken = fb_park(me, FB_PATTERN_SLEEP_NS);
	uint64_t took = fb_now() - fb_load_u64(&t->lines->flag, FB_RELAXED);

	if (woken && took < FB_PATTERN_SLEEP_NS) {	/* the flag of a sleep that nobody ended is an old one, or 0 */
		t->wake_ns += took;
		t->kept++;
	}
}

FB_INLINE bool fb_pattern_turn(struct fb_task *me, struct fb_pattern_task *t)
{
	struct fb_pattern_lines *l = t->lines;
	uint64_t old, mark, from;

	switch (t->pattern) {
	case FB_PATTERN_LOADS:
		for (int i = 0; i < 8; i++)
			t->own = (uint64_t *)(uintptr_t)fb_load_u64(t->own, FB_RELAXED);
		return true;
	case FB_PATTERN_RMWS:
		fb_fetch_add_u64(t->own, 1, FB_RELAXED);
		return true;
	case FB_PATTERN_SHARED_LOADS:
		fb_load_u64(&l->word, FB_RELAXED);
		return true;
	case FB_PATTERN_RING:
		fb_fetch_add_u64(&l->word, 1, FB_RELAXED);
		return true;
	case FB_PATTERN_LOAD_CAS:
		old = fb_load_u64(&l->word, FB_RELAXED);
		while (!fb_cas_u64(&l->word, &old, old + 1, FB_RELAXED))
			t->failed++;
		return true;
	case FB_PATTERN_VISITS:
	case FB_PATTERN_LOAD_VISITS:
	case FB_PATTERN_PAIR_VISITS:
		from = fb_now();
		fb_work(1);	/* the access does not begin while the clock is still being read */
		if (t->pattern == FB_PATTERN_LOAD_VISITS) {
			mark = old = fb_load_u64(&l->word, FB_RELAXED);
			while (!fb_cas_u64(&l->word, &old, me->id, FB_RELAXED))
				;
		} else {
			mark = fb_xchg_u64(&l->word, me->id, FB_RELAXED);
		}
		if (t->pattern == FB_PATTERN_PAIR_VISITS) {
			fb_work(t->outside_ns);
			fb_xchg_u64(&l->flag, me->id, FB_RELAXED);
		}
		fb_pattern_visited(t, fb_now() - from, mark != me->id);
		fb_pattern_stroll(t, me->id);
		return true;
	case FB_PATTERN_EXCLUSION:
		fb_spin_lock(&l->lock, me);
		fb_store_u64(&l->guarded, fb_load_u64(&l->guarded, FB_RELAXED) + 1, FB_RELAXED);
		fb_work(t->inside_ns);
		fb_spin_unlock(&l->lock);
		return true;
	case FB_PATTERN_READERS:
		fb_down_read(&l->sem, me);
		fb_work(t->inside_ns);
		fb_up_read(&l->sem, me);
		return true;
	case FB_PATTERN_TRY_READERS:
		if (!fb_down_read_trylock(&l->sem, me)) {
			t->failed++;
			return false;
		}
		fb_work(t->inside_ns);
		fb_up_read(&l->sem, me);
		return true;
	case FB_PATTERN_MIXED:
		if ((t->done & 1) == 0) {
			fb_down_read(&l->sem, me);
			fb_work(t->inside_ns);
			fb_up_read(&l->sem, me);
			return true;
		}
		/* fall through */
	case FB_PATTERN_WRITERS:
		fb_down_write(&l->sem, me);
		fb_store_u64(&l->guarded, fb_load_u64(&l->guarded, FB_RELAXED) + 1, FB_RELAXED);
		fb_work(t->inside_ns);
		fb_up_write(&l->sem, me);
		return true;
	case FB_PATTERN_SLEEPERS:
		fb_down_write(&l->sem, me);
		fb_store_u64(&l->guarded, fb_load_u64(&l->guarded, FB_RELAXED) + 1, FB_RELAXED);
		for (from = fb_now() + t->inside_ns; fb_now() < from;)
			fb_schedule(me, from - fb_now());
		fb_up_write(&l->sem, me);
		return true;
	case FB_PATTERN_PING_PONG:
		/* even numbers are task 0's to raise; ACQUIRE, pairs with the other's store */
		while ((old = fb_load_u64(&l->word, FB_ACQUIRE)) % 2 != me->id) {
			/* Look without pausing at first: a pause may be longer than the journey that is timed. */
			for (int i = 0; i < 200 && fb_load_u64(&l->word, FB_RELAXED) == old; i++)
				;
			if (!t->turns && fb_window(me) == FB_WINDOW_CLOSED)
				return false;
			fb_spin_u64(&l->word, old);
		}
		fb_store_u64(&l->word, old + 1, FB_RELEASE);
		return true;
	case FB_PATTERN_PARK:
		if (me->id)
			fb_pattern_sleep(me, t);
		fb_pattern_wake(me, t);
		if (!me->id)
			fb_pattern_sleep(me, t);
		return true;
	case FB_PATTERN_PREFETCHED:
		fb_store_u64(&l->guarded, me->id, FB_RELAXED);
		fb_prefetchw(&l->word);
		fb_fetch_add_u64(&l->word, 1, FB_RELAXED);
		return true;
	case FB_PATTERN_MESSAGE:
		if (me->id == 0) {
			old = fb_load_u64(&l->word, FB_RELAXED) + 1;
			fb_store_u64(&l->word, old, FB_RELAXED);
			fb_store_u64(&l->flag, old, FB_RELEASE);	/* pairs with the acquire below */
		} else {
			old = fb_load_u64(&l->flag, FB_ACQUIRE);
			t->failed += fb_load_u64(&l->word, FB_RELAXED) < old;
		}
		return true;
	default:
		fb_work(t->inside_ns);
		return true;
	}
}

#endif
