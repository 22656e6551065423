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

#define FB_DEFINE_ATOMICS(W)											\
	FB_INLINE uint##W##_t fb_load_u##W(const uint##W##_t *p, int mo)					\
	{													\
		sched_point();											\
		return (uint##W##_t)weak_load(p, W / 8, mo);							\
	}													\
	FB_INLINE void fb_store_u##W(uint##W##_t *p, uint##W##_t v, int mo)					\
	{													\
		sched_point();											\
		weak_store(p, v, W / 8, mo);									\
	}													\
	FB_INLINE uint##W##_t fb_xchg_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		sched_point();											\
		return (uint##W##_t)weak_rmw(p, W / 8, mo, WEAK_SET, v);					\
	}													\
	FB_INLINE bool fb_cas_u##W(uint##W##_t *p, uint##W##_t *expected, uint##W##_t v, int mo)		\
	{													\
		uint##W##_t old;										\
														\
		sched_point();											\
		if ((uint##W##_t)weak_newest(p, W / 8) != *expected) {						\
			*expected = (uint##W##_t)weak_rmw(p, W / 8, FB_RELAXED, WEAK_OR, 0);			\
			return false;										\
		}												\
		old = (uint##W##_t)weak_rmw(p, W / 8, mo, WEAK_SET, v);						\
		return old == *expected;									\
	}													\
	FB_INLINE void fb_spin_u##W(const uint##W##_t *p, uint##W##_t old) { sched_spin(p, old, W / 8); }
#define FB_DEFINE_FETCH(W, name, op)										\
	FB_INLINE uint##W##_t fb_fetch_##name##_u##W(uint##W##_t *p, uint##W##_t v, int mo)			\
	{													\
		sched_point();											\
		return (uint##W##_t)weak_rmw(p, W / 8, mo, op, v);						\
	}
#define FB_DEFINE_WIDTH(W) FB_DEFINE_ATOMICS(W) \
	FB_DEFINE_FETCH(W, add, WEAK_ADD) FB_DEFINE_FETCH(W, or, WEAK_OR) FB_DEFINE_FETCH(W, and, WEAK_AND)
FB_DEFINE_WIDTH(8)
FB_DEFINE_WIDTH(16)
FB_DEFINE_WIDTH(32)
FB_DEFINE_WIDTH(64)

FB_INLINE void fb_prefetchw(const void *p) { (void)p; }
FB_INLINE uint64_t fb_now(void) { return sched.now; }
FB_INLINE void fb_work(uint64_t ns) { sched.now += ns; }
FB_INLINE uint64_t fb_cpu_ns(void) { return sched.now; }
FB_INLINE void fb_count(struct fb_task *me, bool on) { (void)me, (void)on; }
FB_INLINE int fb_window(struct fb_task *me) { return (void)me, (int)sched.window; }
FB_INLINE uint64_t fb_slice_end(const struct fb_task *me, uint64_t now) { return (void)me, now + sched_random() % 4000; }
FB_INLINE bool fb_task_on_cpu(const struct fb_task *t) { return fb_load_u32(&t->sh->on_cpu, FB_RELAXED); }
FB_INLINE void fb_step(struct fb_task *me, int step, const void *obj) { (void)me, (void)step, (void)obj; }

FB_INLINE bool fb_poll_u64(struct fb_task *me, const uint64_t *p, uint64_t old, uint64_t deadline)
{
	(void)me, (void)p, (void)old;
	sched_point();
	return sched.now <= deadline;
}

static __attribute__((unused)) bool fb_park(struct fb_task *me, uint64_t timeout_ns)
{
	struct sched_fiber *f = sched.current;

	sched_point();
	weak_drain(f);
	if (me->sh->token != 1) {
		me->parks++;
		me->sh->on_cpu = 0;
		f->wake = timeout_ns ? sched.now + timeout_ns : 0;
		f->state = FIBER_PARKED;
		sched_switch();
		me->sh->on_cpu = 1;
	}
	if (me->sh->token != 1)
		return false;
	me->sh->token = 0;
	if (f->floor < f->woken)	/* ACQUIRE, pairs with fb_unpark */
		f->floor = f->woken;
	return true;
}

FB_INLINE void fb_unpark(struct fb_task *t)
{
	sched_point();
	weak_drain(sched.current);
	sched.fibers[t->id].woken = sched.commits;
	sched.changes += t->sh->token != 1;
	t->sh->token = 1;
}

static __attribute__((unused)) void *fb_machine_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static __attribute__((unused)) void fb_machine_unmap(void *p, size_t bytes) { munmap(p, bytes); }

static void sched_body(void)
{
	struct sched_fiber *f = sched.current;

	sched.run->fn(f->task);
	weak_drain(f);
	f->state = FIBER_DONE;
	if (f->task->id < sched.run->nr_workers && !--sched.working)
		sched.window = FB_WINDOW_CLOSED;
	for (uint32_t i = 0; i < sched.nr; i++) {
		if (sched.fibers[i].state != FIBER_DONE)
			sched_switch();
	}
	sched.current = NULL;
	setcontext(&sched.main);
}

/* run->warmup_ns is the seed: a schedule has no warm-up. */
static __attribute__((unused)) int fb_machine_run(struct fb_run *run)
{
	static struct sched_fiber *fibers;
	static char *stacks;

	if (run->nr > SCHED_TASKS)
		return EAGAIN;
	if (!fibers) {
		fibers = calloc(SCHED_TASKS, sizeof(*fibers));
		stacks = fb_machine_map((size_t)SCHED_TASKS * SCHED_STACK);
	}
	if (!fibers || !stacks)
		return ENOMEM;
	memset(&sched, 0, sizeof(sched));
	weak_reset();
	sched.now = 1000000000;
	sched.fibers = fibers;
	sched.run = run;
	sched.nr = run->started = run->nr;
	sched.working = run->nr_workers;
	sched.window = FB_WINDOW_OPEN;
	sched.rng = (run->warmup_ns + 1) * 0x9e3779b97f4a7c15u;
	/* from time that hardly passes, all spins succeeding, to time-outs at every turn */
	sched.step_ns = (const uint64_t[]){20, 2000, 200000}[sched_random() % 3];
	sched.mask = (1u << sched_random() % 6) - 1;	/* from a switch at each step to one in 32 */
	for (uint32_t i = 0; i < run->nr; i++) {
		memset(&fibers[i], 0, sizeof(fibers[i]));
		fibers[i].task = &run->tasks[i];
		fibers[i].stack = stacks + (size_t)i * SCHED_STACK;
		run->tasks[i].sh->on_cpu = 1;
		getcontext(&fibers[i].context);
		fibers[i].context.uc_stack.ss_sp = fibers[i].stack;
		fibers[i].context.uc_stack.ss_size = SCHED_STACK;
		makecontext(&fibers[i].context, sched_body, 0);
	}
	sched.current = &fibers[sched_random() % run->nr];
	swapcontext(&sched.main, &sched.current->context);
	sched.current = NULL;
	return 0;
}

#endif
