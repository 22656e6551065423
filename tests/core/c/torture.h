/* SPDX-License-Identifier: MIT */
/*
 * Torture: many tasks at one lock over plain guarded data, so that ThreadSanitizer sees what the lock does not order.
 *
 *	torture NAME [key=value …]	one line of `key=value` results on stdout
 *	exit 0 held	1 a property was violated (which one is on stderr)	2 usage	3 watchdog: it did not end
 *
 * Properties: E exclusion, R readers at the same time, F progress, W nobody overtakes for long who is owed the lock, H no lost
 * wake-up (the watchdog, and nothing queued at the end), V no reader in a VMA that is written or gone, U nothing read after
 * its grace period, D downgrade without a gap, Q at rest everything is zero.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <string.h>

#include "sync/arena.h"
#include "sync/tasks.h"

struct torture_args {
	double seconds;		/* of torture, when by time */
	uint64_t ops;		/* per task, when by count (single machine); 0 = by time */
	uint32_t readers, writers;
	uint32_t hold;		/* 1 in so many critical sections yields the CPU inside; 0 = never */
	uint32_t think;		/* up to so many ns of work between two operations: locks change hands free */
	uint64_t seed;
	uint32_t gen;		/* vma_lock: generation; rwsem_any: kind */
	uint64_t rounds;	/* so many trials, each with the next seed */
	uint64_t crowd;		/* spinlocks as in a trial with more tasks than CPUs: unfair; 0 = queued, whatever the CPUs */
	uint64_t wrap;		/* vma_lock: start the sequences so many steps before they wrap; 0 = at 0 */
};

/* What one task has, on its own lines. */
struct torture_task {
	_Alignas(128) uint64_t rng;
	uint64_t ops, reads, writes, other, wait_max_ns;
	uint64_t *waits, nr_waits, max_waits;	/* ns, when somebody wants quantiles */
};

struct torture {
	const char *name;
	void (*setup)(const struct torture_args *args);	/* may be NULL */
	void (*reader)(struct fb_task *me);	/* one operation of the first args.readers tasks */
	void (*writer)(struct fb_task *me);	/* and of the rest */
	/* Q, and after the last round what there is to report; may be NULL */
	void (*done)(const struct torture_args *args, const struct fb_task *tasks, uint32_t nr, bool last);
	void (*dump)(void);			/* for the watchdog; may be NULL */
	const struct torture *next;
};

/* In main.c */
extern struct fb_arena torture_arena;
void torture_register(struct torture *t);
__attribute__((noreturn, format(printf, 2, 3))) void torture_fail(char property, const char *format, ...);
void torture_report(const char *key, uint64_t value);

#define TORTURE(t)	\
	__attribute__((constructor)) static void register_##t(void) { torture_register(&t); }

static inline struct torture_task *torture_of(const struct fb_task *me) { return me->arg; }

static inline uint64_t torture_random(struct fb_task *me)
{
	uint64_t *x = &torture_of(me)->rng;

	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x * 0x2545f4914f6cdd1du;
}

static inline void *torture_alloc(size_t size)
{
	void *p = fb_arena_alloc(&torture_arena, size, FB_LINE_PAIR);

	if (!p)
		torture_fail('F', "the arena is too small");
	return p;
}

/*
 * Who is inside: the harness's own count, relaxed so that it orders nothing and hides no race. Writers count 1 << 32.
 * `seen` keeps the most readers that were ever in together.
 */
struct torture_inside {
	_Alignas(128) uint64_t now;
	uint64_t seen;
};

static inline void torture_pause_inside(struct fb_task *me, uint32_t hold)
{
#if defined(SCHED_H)
	(void)me, (void)hold;
	sched_point();	/* between two plain accesses: what no seam call would show */
#elif defined(FB_HAS_PTHREAD)
	if (hold && torture_random(me) % hold == 0)
		sched_yield();
#else
	(void)me, (void)hold;
#endif
}

static inline void torture_enter_read(struct torture_inside *in)
{
	uint64_t now = __atomic_add_fetch(&in->now, 1, __ATOMIC_RELAXED), seen;

	if (now >> 32)
		torture_fail('E', "a reader is in beside a writer");
	seen = __atomic_load_n(&in->seen, __ATOMIC_RELAXED);
	while (now > seen && !__atomic_compare_exchange_n(&in->seen, &seen, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static inline void torture_leave_read(struct torture_inside *in) { __atomic_sub_fetch(&in->now, 1, __ATOMIC_RELAXED); }

static inline void torture_enter_write(struct torture_inside *in)
{
	uint64_t now = __atomic_fetch_add(&in->now, 1ull << 32, __ATOMIC_RELAXED);

	if (now)
		torture_fail('E', "a writer is in beside %u readers and %u writers", (uint32_t)now, (uint32_t)(now >> 32));
}

static inline void torture_leave_write(struct torture_inside *in)
{
	__atomic_sub_fetch(&in->now, 1ull << 32, __ATOMIC_RELAXED);
}

/* Plain data that a lock guards: any two of its words belong together. */
struct torture_data {
	_Alignas(128) uint64_t a, b, c;
};

/*
 * Guarded data: plain, for ThreadSanitizer. Over schedules it is memory as weak as any, so that a lock that does not order
 * it shows old data.
 */
#if defined(SCHED_H)
#define GET(x) fb_load_u64(&(x), FB_RELAXED)
#define SET(x, v) fb_store_u64(&(x), (v), FB_RELAXED)
#else
#define GET(x) (x)
#define SET(x, v) ((x) = (v))
#endif

static inline void torture_write(struct torture_data *d, struct fb_task *me, uint32_t hold)
{
	uint64_t a = GET(d->a) + 1;

	SET(d->a, a);
	SET(d->b, ~a);
	torture_pause_inside(me, hold);
	if (GET(d->a) != a || GET(d->b) != ~a)
		torture_fail('E', "the data changed under a writer");
	SET(d->c, a ^ 0x5555);
}

static inline void torture_read(const struct torture_data *d, struct fb_task *me, uint32_t hold)
{
	uint64_t a = GET(d->a);

	torture_pause_inside(me, hold);
	if (GET(d->a) != a || GET(d->b) != ~a || GET(d->c) != (a ^ 0x5555))
		torture_fail('E', "a reader saw half a write");
}

static inline void torture_data_init(struct torture_data *d)
{
	d->a = 0;
	d->b = ~0ull;
	d->c = 0x5555;
}

/* How long a wait took, for quantiles. */
static inline void torture_waited(struct fb_task *me, uint64_t ns)
{
	struct torture_task *t = torture_of(me);

	if (ns > t->wait_max_ns)
		t->wait_max_ns = ns;
	if (t->waits && t->nr_waits < t->max_waits)
		t->waits[t->nr_waits++] = ns;
}

#endif
