/* SPDX-License-Identifier: MIT */
/*
 * One worker's loop on real memory: touch every entry of the slice, zap, again. Only the touches are inside the clock
 * and the counters; MADV_DONTNEED (where it is refused: a fresh mmap over the old one) is outside both and reported.
 *
 * Three passes, a gate before each: warm-up, the window, and the same number of touches with the counters on, so that
 * counting never slows what is timed. Everything the passes use has been used once before the window opens.
 */
#ifndef FB_FAULT_H
#define FB_FAULT_H

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>

#include "fb_counters.h"
#include "fb_mapping.h"

#define FB_GATES 4	/* start of warm-up, window, counted pass; the end */

enum fb_phase { FB_P_WARM, FB_P_WINDOW, FB_P_COUNTED };

struct fb_pass {		/* what one pass did */
	uint64_t start_ns, end_ns, fault_ns, cpu_ns, refill_ns;
	uint64_t touches;
	int64_t faults;		/* minflt + majflt */
	int64_t majflt, vcsw, ivcsw;
};

struct fb_worker {		/* lies in memory that all processes of the trial share */
	struct fb_pass warm, window, counted;
	int64_t count[FB_C_NR];
	uint64_t probe_bytes;
	int64_t probe_faults;
	int error;		/* errno */
	int refill_by_mmap;
} __attribute__((aligned(128)));

struct fb_writer {
	uint64_t ops, ops_window, wait_ns_max;
	int64_t vcsw, count[FB_C_NR];
	int error;
} __attribute__((aligned(128)));

struct fb_control {		/* the same */
	_Atomic uint32_t arrived[FB_GATES];
	_Atomic uint32_t open[FB_GATES];	/* futex words */
	_Atomic uint32_t stop[3];		/* end of a timed pass, by fb_phase */
	_Atomic uint32_t finished;		/* workers are done: writers stop */
	_Atomic uint32_t failed;
	uint32_t parties[FB_GATES];		/* first two: workers, writers, the conductor; then workers only */
} __attribute__((aligned(128)));

/* Not by way of the vdso, whose pages may be what is being faulted. */
static inline uint64_t fb_clock(clockid_t id)
{
	struct timespec t;

	syscall(SYS_clock_gettime, id, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline void fb_futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	struct timespec short_wait = { .tv_nsec = 100000000 };	/* a party that died must not hang the others */

	syscall(SYS_futex, word, op, value, op == FUTEX_WAIT ? &short_wait : NULL, NULL, 0);
}

/* Waits until all parties are at gate g; false when the trial has failed. */
static inline bool fb_gate(struct fb_control *c, int g)
{
	if (atomic_fetch_add(&c->arrived[g], 1) + 1 == c->parties[g]) {
		atomic_store(&c->open[g], 1);
		fb_futex(&c->open[g], FUTEX_WAKE, INT_MAX);
	}
	while (!atomic_load(&c->open[g])) {
		if (atomic_load(&c->failed))
			return false;
		fb_futex(&c->open[g], FUTEX_WAIT, 0);
	}
	return !atomic_load(&c->failed);
}

static inline void fb_fail(struct fb_control *c, int *slot, int error)
{
	*slot = error;
	atomic_store(&c->failed, 1);
}

static inline void fb_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/*
 * A write that changes nothing: the file may be somebody's data. One locked instruction, so that a CPU faults once, as
 * a write. QEMU with one CPU (icount) does not lock: it loads, then stores, which are two faults where a read maps
 * read-only. There, on files of the guest's own, `store` writes a byte.
 */
static inline void fb_write(volatile char *p, int store)
{
	if (store) {
		*p = 1;
		return;
	}
#if defined(__x86_64__)
	__asm__ __volatile__("lock; orb $0, %0" : "+m"(*p) : : "cc");
#else
	__atomic_fetch_or(p, 0, __ATOMIC_RELAXED);
#endif
}

static inline void fb_touch(volatile char *p, int access, int store)
{
	if (access != FB_WRITE)
		(void)*p;
	if (access != FB_READ)
		fb_write(p, store);
}

struct fb_place {		/* one worker's view */
	const struct fb_spec *spec;
	char *base, *next, *end;
	struct fb_vma whole;	/* the slice as a mapping of its own, for a refill by mmap */
	struct fb_worker *out;
};

/* Empties the slice: 0 or -errno. */
static inline int fb_refill(struct fb_place *at)
{
	at->next = at->base;
	if (!at->out->refill_by_mmap) {
		if (!madvise(at->base, (size_t)(at->end - at->base), MADV_DONTNEED))
			return 0;
		at->out->refill_by_mmap = 1;	/* VM_PFNMAP and hugetlb of old kernels refuse it */
	}
	return fb_map(at->spec, &at->whole);
}

static inline void fb_usage(struct rusage *u)
{
	getrusage(RUSAGE_THREAD, u);
}

/* From an empty slice: touches until `limit` touches are done or *stop is set (limit 0: by *stop alone). 0 or -errno. */
static inline int fb_run_pass(struct fb_place *at, struct fb_pass *p, uint64_t limit, const _Atomic uint32_t *stop,
			      const struct fb_counters *counters)
{
	const uint64_t step = at->spec->step, per = at->spec->access == FB_WP ? 2 : 1;
	const int access = at->spec->access, store = at->spec->store;
	bool done = false;
	int rc = 0;

	p->start_ns = fb_clock(CLOCK_MONOTONIC);
	while (!done && !rc) {
		struct rusage before, after;
		uint64_t t0, c0, touches = 0;
		char *next = at->next;

		fb_usage(&before);
		if (counters)
			fb_counters_run(counters, 1);
		c0 = fb_clock(CLOCK_THREAD_CPUTIME_ID);
		t0 = fb_clock(CLOCK_MONOTONIC);
		for (; next < at->end; next += step) {
			if (limit ? p->touches + touches >= limit
				  : atomic_load_explicit(stop, memory_order_relaxed)) {
				done = true;
				break;
			}
			fb_touch(next, access, store);
			touches += per;
		}
		p->end_ns = fb_clock(CLOCK_MONOTONIC);
		p->cpu_ns += fb_clock(CLOCK_THREAD_CPUTIME_ID) - c0;
		if (counters)
			fb_counters_run(counters, 0);
		fb_usage(&after);
		at->next = next;
		p->fault_ns += p->end_ns - t0;
		p->touches += touches;
		p->faults += after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
		p->majflt += after.ru_majflt - before.ru_majflt;
		p->vcsw += after.ru_nvcsw - before.ru_nvcsw;
		p->ivcsw += after.ru_nivcsw - before.ru_nivcsw;
		if (limit && p->touches >= limit)
			done = true;
		if (!done) {
			t0 = fb_clock(CLOCK_MONOTONIC);
			rc = fb_refill(at);
			p->refill_ns += fb_clock(CLOCK_MONOTONIC) - t0;
		}
	}
	return rc;
}

/* How much does one fault map? Touches the head of an empty slice densely. */
static inline int fb_probe(struct fb_place *at)
{
	uint64_t bytes = (uint64_t)(at->end - at->base);
	struct rusage before, after;

	if (at->spec->step <= FB_PMD_SIZE && bytes > FB_PMD_SIZE)
		bytes = FB_PMD_SIZE;
	else if (at->spec->step > FB_PMD_SIZE)
		bytes = at->spec->step;
	fb_usage(&before);
	fb_usage(&before);
	for (uint64_t o = 0; o < bytes; o += 4096)
		fb_touch(at->base + o, at->spec->access == FB_READ ? FB_READ : FB_WRITE, at->spec->store);
	fb_usage(&after);
	at->out->probe_bytes = bytes;
	at->out->probe_faults = after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
	return 0;
}

#endif
