/* SPDX-License-Identifier: MIT */
/*
 * The threads machine: real pthreads on the host's CPUs. Shared words are what the compiler's __atomic builtins make of
 * them; a sleep is a futex wait on the task's token.
 *
 *	token:	0 ──park──► 2 (asleep) ──unpark──► 1 ──park returns──► 0
 *		0 ──unpark──► 1: the next park returns at once
 */
#ifndef FB_MACHINE_THREADS_H
#define FB_MACHINE_THREADS_H

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FB_HAS_PTHREAD 1

#define FB_DEFINE_ATOMICS(W)											\
	FB_INLINE uint##W##_t fb_load_u##W(const uint##W##_t *p, int mo) { return __atomic_load_n(p, mo); }	\
	FB_INLINE void fb_store_u##W(uint##W##_t *p, uint##W##_t v, int mo) { __atomic_store_n(p, v, mo); }	\
	FB_INLINE uint##W##_t fb_xchg_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		return __atomic_exchange_n(p, v, mo);								\
	}													\
	FB_INLINE uint##W##_t fb_fetch_add_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		return __atomic_fetch_add(p, v, mo);								\
	}													\
	FB_INLINE uint##W##_t fb_fetch_or_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		return __atomic_fetch_or(p, v, mo);								\
	}													\
	FB_INLINE uint##W##_t fb_fetch_and_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		return __atomic_fetch_and(p, v, mo);								\
	}													\
	FB_INLINE bool fb_cas_u##W(uint##W##_t *p, uint##W##_t *expected, uint##W##_t v, int mo)		\
	{													\
		return __atomic_compare_exchange_n(p, expected, v, false, mo, FB_RELAXED);			\
	}
FB_DEFINE_ATOMICS(8)
FB_DEFINE_ATOMICS(16)
FB_DEFINE_ATOMICS(32)
FB_DEFINE_ATOMICS(64)

FB_INLINE void fb_prefetchw(const void *p) { __builtin_prefetch(p, 1, 3); }

FB_INLINE void fb_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");	/* longer than `yield`, which most cores take for a nop */
#endif
}

FB_INLINE uint64_t fb_clock(clockid_t which)
{
	struct timespec ts;

	clock_gettime(which, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

FB_INLINE uint64_t fb_now(void) { return fb_clock(CLOCK_MONOTONIC); }
FB_INLINE uint64_t fb_cpu_ns(void) { return fb_clock(CLOCK_THREAD_CPUTIME_ID); }

/*
 * Spin, then let others run, then sleep a little: with more threads than CPUs the one waited for may need this CPU.
 * The pauses are about a microsecond and a half, some ten times a critical section; whoever is still waiting has
 * probably lost its CPU or waits for one who has.
 */
enum { FB_SPIN_PAUSES = 100, FB_SPIN_YIELDS = 32, FB_SPIN_SLEEP_NS = 50000 };

#define FB_DEFINE_SPIN(W)											\
	static __attribute__((noinline, unused)) void fb_spin_u##W(const uint##W##_t *p, uint##W##_t old)	\
	{													\
		const struct timespec nap = {0, FB_SPIN_SLEEP_NS};						\
		/* relaxed: the caller looks again, with the order that it needs */				\
		for (int i = 0; i < FB_SPIN_PAUSES + FB_SPIN_YIELDS; i++) {					\
			if (__atomic_load_n(p, FB_RELAXED) != old)						\
				return;										\
			if (i < FB_SPIN_PAUSES)									\
				fb_pause();									\
			else											\
				sched_yield();									\
		}												\
		nanosleep(&nap, NULL);										\
	}
FB_DEFINE_SPIN(8)
FB_DEFINE_SPIN(32)
FB_DEFINE_SPIN(64)

/* The state of a run that tasks look at: in host memory, because it is the harness's and not the model's. */
struct fb_machine {
	_Alignas(FB_LINE_PAIR) uint32_t window;	/* FB_WINDOW_*; written by the controlling thread and the last worker */
	uint64_t slice_ns;			/* constant: fb_slice_end */
	_Alignas(FB_LINE_PAIR) uint32_t gate;	/* futex: 0 shut, 1 open, 2 go home */
	uint32_t waiting;			/* tasks at the gate */
	uint32_t working;			/* workers that have not returned; futex for the controlling thread */
	uint32_t unpinned;
	struct fb_run *run;
};

FB_INLINE bool fb_poll_u64(struct fb_task *me, const uint64_t *p, uint64_t old, uint64_t deadline)
{
	(void)p, (void)old;
	fb_pause();
	return (++me->poll & 15) || fb_now() <= deadline;
}

/*
 * A preempted owner looks as if it ran, so a spinner cannot rely on on_cpu alone as the kernel does. With a CPU for each
 * task nobody else wants this one and a millisecond is only a safety net; with fewer, the owner may be waiting for it.
 */
FB_INLINE uint64_t fb_slice_end(const struct fb_task *me, uint64_t now) { return now + me->machine->slice_ns; }

FB_INLINE int fb_window(struct fb_task *me)
{
	/* relaxed: a phase, not data; results are read after pthread_join */
	return (int)__atomic_load_n(&me->machine->window, FB_RELAXED);
}

FB_INLINE void fb_count(struct fb_task *me, bool on) { (void)me, (void)on; }

FB_INLINE void fb_step(struct fb_task *me, int step, const void *obj)
{
#ifdef FB_CHECKED
	if (me->on_step)
		me->on_step(me, step, obj);
#else
	(void)me, (void)step, (void)obj;
#endif
}

FB_INLINE long fb_futex(uint32_t *p, int op, uint32_t v, const struct timespec *timeout)
{
	return syscall(SYS_futex, p, op | FUTEX_PRIVATE_FLAG, v, timeout, NULL, 0);
}

static __attribute__((noinline, unused)) bool fb_park(struct fb_task *me, uint64_t timeout_ns)
{
	struct fb_task_shared *sh = me->sh;
	struct timespec ts = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
	uint32_t old = 0;
	bool woken;

	if (!__atomic_compare_exchange_n(&sh->token, &old, 2, false, FB_RELAXED, FB_RELAXED)) {
		/* ACQUIRE, pairs with fb_unpark */
		__atomic_exchange_n(&sh->token, 0, FB_ACQUIRE);
		return true;
	}
	if (fb_mut(PARK_FORGETS)) {
		sched_yield();
		__atomic_store_n(&sh->token, 2, FB_RELAXED);	/* over an unpark that came meanwhile */
	}
	me->parks++;
	__atomic_store_n(&sh->on_cpu, 0, FB_RELAXED);	/* relaxed: a hint for spinners */
	while (__atomic_load_n(&sh->token, FB_RELAXED) == 2) {
		if (fb_futex(&sh->token, FUTEX_WAIT, 2, timeout_ns ? &ts : NULL) && errno == ETIMEDOUT)
			break;
	}
	__atomic_store_n(&sh->on_cpu, 1, FB_RELAXED);
	/* ACQUIRE, pairs with fb_unpark: a token that came with the time-out is taken too */
	woken = __atomic_exchange_n(&sh->token, 0, FB_ACQUIRE) == 1;
	return woken;
}

FB_INLINE void fb_unpark(struct fb_task *t)
{
	/* RELEASE, pairs with the exchanges in fb_park */
	if (__atomic_exchange_n(&t->sh->token, 1, FB_RELEASE) == 2)
		fb_futex(&t->sh->token, FUTEX_WAKE, 1, NULL);
}

FB_INLINE bool fb_task_on_cpu(const struct fb_task *t)
{
	return __atomic_load_n(&t->sh->on_cpu, FB_RELAXED);	/* relaxed: a hint */
}

#include "machine/threads_run.h"

#endif
