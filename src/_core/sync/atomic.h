/* SPDX-License-Identifier: MIT */
/*
 * The seam: every access to shared state goes through the functions named here, and nothing else does.
 *
 *	sync/ and mm/ ──► atomic.h ──► machine/threads.h	real pthreads, __atomic builtins, futex
 *				  ├──► machine/virtual.h	simulated CPUs: coherence, virtual time
 *				  └──► machine/single.h		one CPU, shared words moved out of reach (the proof)
 *
 * A machine header defines, for W in 8, 16, 32, 64, with `mo` one of the FB_* orders below (a constant):
 *
 *	uintW_t	fb_load_uW(const uintW_t *p, int mo);
 *	void	fb_store_uW(uintW_t *p, uintW_t v, int mo);
 *	uintW_t	fb_xchg_uW(uintW_t *p, uintW_t v, int mo);		returns the old value
 *	uintW_t	fb_fetch_add_uW(uintW_t *p, uintW_t v, int mo);		returns the old value
 *	uintW_t	fb_fetch_or_uW(uintW_t *p, uintW_t v, int mo);
 *	uintW_t	fb_fetch_and_uW(uintW_t *p, uintW_t v, int mo);
 *	bool	fb_cas_uW(uintW_t *p, uintW_t *expected, uintW_t v, int mo);	on failure: *expected is what was seen,
 *										relaxed
 * and beside them
 *
 *	void	 fb_prefetchw(const void *p);	ask for the line in exclusive state; changes nothing
 *	void	 fb_spin_u8|u32|u64(const uintW_t *p, uintW_t old);	wait a bounded while, or until *p may differ from `old`;
 *						callers loop. Threads: pause, then yield, then sleep a little, so that more
 *						threads than CPUs measure the lock and not the scheduler
 *	bool	 fb_poll_u64(struct fb_task *me, const uint64_t *p, uint64_t old, uint64_t deadline);	one turn of a spin that
 *						ends at `deadline` (ns) at the latest: waits a moment, or until *p may differ
 *						from `old`; false once the clock, which it may look at only every 16th turn (as
 *						rwsem_optimistic_spin), is past the deadline
 *	uint64_t fb_slice_end(const struct fb_task *me, uint64_t now);	need_resched() as a time: until when a task
 *						that begins to spin at `now` may go on; UINT64_MAX = nobody else wants this CPU
 *	bool	 fb_park(struct fb_task *me, uint64_t timeout_ns);	sleep until fb_unpark(me); 0 = no time-out; false =
 *						timed out. One token: an unpark before the park is not lost. Counts
 *						me->parks when it really sleeps. May return early: callers loop. Locks sleep
 *						through fb_schedule (rcu.h), which also tells RCU
 *	void	 fb_unpark(struct fb_task *t);	release: what was written before it is seen after the park
 *	bool	 fb_task_on_cpu(const struct fb_task *t);	not parked (for owner spinning)
 *	uint64_t fb_now(void);			ns: CLOCK_MONOTONIC, or virtual time
 *	uint64_t fb_cpu_ns(void);		ns this task has been on a CPU
 *	void	 fb_work(uint64_t ns);		busy, private work: touches no shared line
 *	void	 fb_step(struct fb_task *me, int step, const void *obj);	what the fault is doing from here on (mm/steps.h):
 *						nothing on threads, me->on_step in checked, attribution in virtual
 *	void	 fb_count(struct fb_task *me, bool on);	the task's own window: what the machine counts of it counts from here
 *						on, or no more (virtual: lines, steps; elsewhere nothing)
 *	int	 fb_window(struct fb_task *me);	harness, not shared state: FB_WINDOW_* phase of the trial
 *
 * and for trial.pxd, which sets up and runs a trial the same way everywhere (struct fb_run: machine/run.h)
 *
 *	void	*fb_machine_map(size_t bytes);	zeroed memory for the arena, 2 MiB aligned; NULL and errno
 *	void	 fb_machine_unmap(void *p, size_t bytes);
 *	int	 fb_machine_run(struct fb_run *run);	all tasks from their start gate to their end; 0 or an errno
 *	FB_HAS_PTHREAD				defined where real threads run (pthread_rwsem.h exists)
 *
 * A waiter that stores a word and then reads another that its waker writes first (Dekker) needs more than
 * acquire/release: here both sides then use a read-modify-write on ONE word, so that one of them sees the other.
 *
 * No atomic_thread_fence anywhere: ThreadSanitizer does not model it. Orders are on the accesses, and each acquire
 * names the release that it pairs with.
 */
#ifndef FB_SYNC_ATOMIC_H
#define FB_SYNC_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FB_RELAXED __ATOMIC_RELAXED
#ifndef FB_ACQUIRE	/* a test weakens them one place at a time (tests/core/c/weaken.h) */
#define FB_ACQUIRE __ATOMIC_ACQUIRE
#define FB_RELEASE __ATOMIC_RELEASE
#define FB_ACQ_REL __ATOMIC_ACQ_REL
#endif

/*
 * A mutant: fb_mut(X) is 1 in a test's build with -DFB_MUT_X=1, else 0, and the wrong branch is not compiled. Each is a
 * bug that the torture must find (tests/core/test_sync_mutants.py).
 */
#define FB_MUT_ARG_1 0,
#define fb_mut_second(ignored, value, ...) value
#define fb_mut_test(arg) fb_mut_second(arg 1, 0, 0)
#define fb_mut_expand(value) fb_mut_test(FB_MUT_ARG_##value)
#define fb_mut_value(macro) fb_mut_expand(macro)
#define fb_mut(name) fb_mut_value(FB_MUT_##name)

#define FB_INLINE static inline __attribute__((always_inline))
#define fb_likely(x) __builtin_expect(!!(x), 1)
#define fb_unlikely(x) __builtin_expect(!!(x), 0)
#define FB_CACHELINE 64
#define FB_LINE_PAIR 128	/* adjacent-line prefetch: what one thread owns is this far from what another does */

enum { FB_WINDOW_WARMUP = 0, FB_WINDOW_OPEN = 1, FB_WINDOW_CLOSED = 2 };

/* A machine's own state: one in a program or extension, in however many of its files the header is included */
#define FB_SHARED_STATE __attribute__((weak, visibility("hidden")))

#include "sync/task.h"
#include "machine/run.h"

#if defined(FB_MACHINE_VIRTUAL)
#include "machine/virtual.h"
#elif defined(FB_MACHINE_SINGLE)
#include "machine/single.h"
#elif defined(FB_MACHINE_HEADER)	/* a test's */
#include FB_MACHINE_HEADER
#else
#include "machine/threads.h"
#endif

/* Pointers are 64-bit words of the arena. */
_Static_assert(sizeof(void *) == 8, "faultbench models a 64-bit kernel and runs on 64-bit hosts");

FB_INLINE void *fb_load_ptr(void *const *p, int mo)
{
	return (void *)(uintptr_t)fb_load_u64((const uint64_t *)p, mo);
}

FB_INLINE void fb_store_ptr(void **p, void *v, int mo)
{
	fb_store_u64((uint64_t *)p, (uint64_t)(uintptr_t)v, mo);
}

/* A broken rule that nothing can go on from: say which, and stop. */
static __attribute__((noinline, noreturn, cold, unused)) void fb_bug(const char *what)
{
	fprintf(stderr, "faultbench: BUG: %s\n", what);
	abort();
}

/* container_of, for nodes on a wait list */
#define fb_container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

#endif
