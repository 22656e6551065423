/* SPDX-License-Identifier: MIT */
/*
 * The schedule machine, a test's: all tasks are fibers of one thread, and each use of the seam is a place where another may
 * go on, chosen by a seeded generator. The shipped headers run unchanged, and a failing seed fails again.
 *
 * What each order allows is in weak.h. A task that spins is not run until the word differs. When nobody can run, the
 * spinners are let go once, for they may wait for more than one word, and then the clock jumps to the next time-out; if
 * nothing has changed after that, it is a deadlock.
 */
#ifndef SCHED_H
#define SCHED_H

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { SCHED_STACK = 64 << 10, SCHED_BUFFER = 6, SCHED_STEPS = 20000000, SCHED_TASKS = 16 };

struct sched_fiber {
	ucontext_t context;
	struct fb_task *task;
	char *stack;
	enum { FIBER_READY, FIBER_SPINS, FIBER_PARKED, FIBER_DONE } state;
	const void *word;	/* spins until the `width` bytes here are not `old` */
	uint64_t old, width, wake;	/* wake: ns of a park's time-out; 0 = none */
	uint64_t preempted;	/* until this step, if others can run */
	uint32_t nr;
	struct { char *p; uint64_t v, width; bool release; } buffer[SCHED_BUFFER];	/* stores on their way */
	uint64_t floor;	/* memory as it was before this commit cannot be seen any more */
	uint64_t woken;	/* commit at the last fb_unpark of it */
};

struct sched {
	struct sched_fiber *fibers, *current;
	ucontext_t main;
	struct fb_run *run;
	uint64_t rng, now, step_ns, steps, changes, stuck_at, commits;
	uint32_t nr, mask, working, window;
};
__attribute__((weak)) struct sched sched;	/* one, in however many files this is included */

/* main.c gives the seed and says what a violation is. */
void torture_fail(char property, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

static inline uint64_t sched_random(void)
{
	sched.rng ^= sched.rng << 13;
	sched.rng ^= sched.rng >> 7;
	sched.rng ^= sched.rng << 17;
	return sched.rng * 0x2545f4914f6cdd1du >> 16;
}

#include "weak.h"

static inline bool sched_can_run(struct sched_fiber *f)
{
	uint64_t v = 0;

	if (f->state == FIBER_SPINS) {
		memcpy(&v, f->word, f->width);
		if (v != f->old)
			f->state = FIBER_READY;
	} else if (f->state == FIBER_PARKED && ((f->wake && sched.now >= f->wake) || f->task->sh->token == 1)) {
		f->state = FIBER_READY;
	}
	return f->state == FIBER_READY && f->preempted <= sched.steps;
}

/* Nobody can run. True if somebody can now. */
static inline bool sched_stir(void)
{
	uint64_t next = UINT64_MAX;
	bool any = false;

	for (uint32_t i = 0; i < sched.nr; i++) {
		/* what is stored is seen by all in the end */
		weak_drain(&sched.fibers[i]);
		sched.fibers[i].preempted = 0;
		any |= sched_can_run(&sched.fibers[i]);
	}
	if (any)
		return true;
	for (uint32_t i = 0; i < sched.nr; i++)
		sched.fibers[i].floor = sched.commits;
	if (sched.stuck_at != sched.changes + 1) {
		sched.stuck_at = sched.changes + 1;
		for (uint32_t i = 0; i < sched.nr; i++) {
			if (sched.fibers[i].state == FIBER_SPINS)
				sched.fibers[i].state = FIBER_READY;
			any |= sched_can_run(&sched.fibers[i]);
		}
		if (any)
			return true;
	}
	for (uint32_t i = 0; i < sched.nr; i++) {
		if (sched.fibers[i].state == FIBER_PARKED && sched.fibers[i].wake && sched.fibers[i].wake < next)
			next = sched.fibers[i].wake;
	}
	if (next == UINT64_MAX)
		return false;
	sched.now = next;
	sched.stuck_at = 0;
	return true;
}

static __attribute__((noinline)) void sched_switch(void)
{
	struct sched_fiber *from = sched.current, *to;
	uint32_t able;

	/* Sometimes for long, over many operations of the others: what a preempted task does when it comes back */
	if (sched_random() % 64 == 0)
		from->preempted = sched.steps + (1ull << sched_random() % 16);
	for (;;) {
		able = 0;
		for (uint32_t i = 0; i < sched.nr; i++)
			able += sched_can_run(&sched.fibers[i]);
		if (able)
			break;
		if (!sched_stir())
			torture_fail('H', "deadlock: every task waits");
	}
	able = (uint32_t)(sched_random() % able);
	for (to = sched.fibers; !sched_can_run(to) || able--; to++)
		;
	sched.current = to;
	if (to != from)
		swapcontext(&from->context, &to->context);
}

static inline void sched_point(void)
{
	if (!sched.current)
		return;
	sched.now += sched.step_ns;
	if (++sched.steps > SCHED_STEPS)
		torture_fail('F', "livelock: no end after %llu steps", (unsigned long long)sched.steps);
	if (sched.current->nr && sched_random() % 4 == 0)
		weak_drain_some(sched.current);
	if (!(sched_random() & sched.mask))
		sched_switch();
}

static inline void sched_spin(const void *p, uint64_t old, uint64_t width)
{
	struct sched_fiber *f = sched.current;

	weak_drain(f);
	f->word = p;
	f->old = old;
	f->width = width;
	f->state = FIBER_SPINS;
	sched_switch();
	weak_see_newest(p);	/* stores arrive in the end */
}

#include "sched_seam.h"

#endif
