/* SPDX-License-Identifier: MIT */
/*
 * The single machine: the proof that nothing goes past the seam. One CPU, tasks one after the other, and the arena's pages
 * PROT_NONE. The seam reaches the words through a second mapping of the same memory, `fb_single_delta` bytes away; any other
 * access to shared state is a SIGSEGV, and a seam access to anything that is not in the arena is a BUG.
 *
 * A task that would have to wait for another never gets what it waits for: waiting is a BUG too, which makes this machine a
 * detector of self-deadlock and of locks left held.
 */
#ifndef FB_MACHINE_SINGLE_H
#define FB_MACHINE_SINGLE_H

#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

FB_SHARED_STATE char *fb_single_base;	/* one arena at a time */
FB_SHARED_STATE size_t fb_single_size;
FB_SHARED_STATE ptrdiff_t fb_single_delta;
FB_SHARED_STATE uint32_t fb_single_window;
FB_SHARED_STATE uint64_t fb_single_turns;	/* of poll and time: one CPU's time moves only when it looks */

static __attribute__((noinline, noreturn, cold, unused)) void fb_single_bug(const char *what)
{
	fprintf(stderr, "faultbench: BUG: single machine: %s\n", what);
	abort();
}

FB_INLINE void *fb_single_shadow(const void *p)
{
	if ((size_t)((const char *)p - fb_single_base) >= fb_single_size)
		fb_single_bug("the seam was used on a word outside the arena");
	return (char *)(uintptr_t)p + fb_single_delta;
}

/* What a probe may ask for: the stores and read-modify-writes of one fault, in order (kernel-reference §6.5 counts them). */
#define FB_ACCESS_LOG 4096
struct fb_access {
	const void *p;
	uint32_t rmw;
};
static struct fb_access fb_single_log[FB_ACCESS_LOG];
static uint32_t fb_single_log_nr = FB_ACCESS_LOG;	/* full: nothing is noted */

FB_INLINE void fb_single_note(const void *p, uint32_t rmw)
{
	if (fb_single_log_nr < FB_ACCESS_LOG)
		fb_single_log[fb_single_log_nr++] = (struct fb_access){p, rmw};
}

#define FB_DEFINE_ATOMICS(W)											\
	FB_INLINE uint##W##_t *fb_at_u##W(const uint##W##_t *p) { return (uint##W##_t *)fb_single_shadow(p); }	\
	FB_INLINE uint##W##_t fb_load_u##W(const uint##W##_t *p, int mo) { return (void)mo, *fb_at_u##W(p); }	\
	FB_INLINE void fb_store_u##W(uint##W##_t *p, uint##W##_t v, int mo)					\
	{													\
		(void)mo;											\
		fb_single_note(p, 0);										\
		*fb_at_u##W(p) = v;										\
	}													\
	FB_INLINE uint##W##_t fb_xchg_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		uint##W##_t old = fb_load_u##W(p, mo);								\
														\
		fb_single_note(p, 1);										\
		*fb_at_u##W(p) = v;										\
		return old;											\
	}													\
	FB_INLINE uint##W##_t fb_fetch_add_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		return fb_xchg_u##W(p, (uint##W##_t)(fb_load_u##W(p, mo) + v), mo);				\
	}													\
	FB_INLINE uint##W##_t fb_fetch_or_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		return fb_xchg_u##W(p, fb_load_u##W(p, mo) | v, mo);						\
	}													\
	FB_INLINE uint##W##_t fb_fetch_and_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		return fb_xchg_u##W(p, fb_load_u##W(p, mo) & v, mo);						\
	}													\
	FB_INLINE bool fb_cas_u##W(uint##W##_t *p, uint##W##_t *expected, uint##W##_t v, int mo)		\
	{													\
		uint##W##_t old = fb_load_u##W(p, mo);								\
		bool same = old == *expected;									\
														\
		fb_single_note(p, 1);										\
		if (same)											\
			*fb_at_u##W(p) = v;									\
		*expected = old;										\
		return same;											\
	}													\
	FB_INLINE void fb_spin_u##W(const uint##W##_t *p, uint##W##_t old)					\
	{													\
		if (fb_load_u##W(p, FB_RELAXED) == old)								\
			fb_single_bug("waits for another task");						\
	}
FB_DEFINE_ATOMICS(8)
FB_DEFINE_ATOMICS(16)
FB_DEFINE_ATOMICS(32)
FB_DEFINE_ATOMICS(64)

FB_INLINE void fb_prefetchw(const void *p) { (void)fb_single_shadow(p); }

/* Time moves by 1 ns at each look, by fb_work's amount, and to the end of a sleep: the same in every process. */
FB_INLINE uint64_t fb_now(void) { return ++fb_single_turns; }
FB_INLINE uint64_t fb_cpu_ns(void) { return fb_single_turns; }
FB_INLINE void fb_work(uint64_t ns) { fb_single_turns += ns; }

FB_INLINE bool fb_poll_u64(struct fb_task *me, const uint64_t *p, uint64_t old, uint64_t deadline)
{
	(void)me;
	if (fb_load_u64(p, FB_RELAXED) == old)
		fb_single_turns += 1000;	/* nobody will change it: be done soon */
	return fb_now() <= deadline;
}

FB_INLINE uint64_t fb_slice_end(const struct fb_task *me, uint64_t now) { return (void)me, now; }

static __attribute__((unused)) bool fb_park(struct fb_task *me, uint64_t timeout_ns)
{
	if (fb_xchg_u32(&me->sh->token, 0, FB_ACQUIRE))
		return true;
	if (!timeout_ns)
		fb_single_bug("deadlock: a task sleeps and nobody is left to wake it");
	me->parks++;
	fb_single_turns += timeout_ns;
	return false;
}

FB_INLINE void fb_unpark(struct fb_task *t) { fb_store_u32(&t->sh->token, 1, FB_RELEASE); }
FB_INLINE bool fb_task_on_cpu(const struct fb_task *t) { return fb_load_u32(&t->sh->on_cpu, FB_RELAXED); }
FB_INLINE int fb_window(struct fb_task *me) { return (void)me, (int)fb_single_window; }

FB_INLINE void fb_count(struct fb_task *me, bool on) { (void)me, (void)on; }

FB_INLINE void fb_step(struct fb_task *me, int step, const void *obj)
{
	if (me->on_step)
		me->on_step(me, step, obj);
}

/*
 * |page: where the open mapping is| arena, PROT_NONE |. Garbage may outlive the trial after it, so that to unmap an arena
 * nothing of the newest one's is asked.
 */
#define FB_SINGLE_PAGE ((size_t)4096)

static __attribute__((unused)) void *fb_machine_map(size_t bytes)
{
	int fd = memfd_create("faultbench-arena", MFD_CLOEXEC);
	char *head = MAP_FAILED, *shut, *open = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (!ftruncate(fd, (off_t)bytes)) {
		head = mmap(NULL, FB_SINGLE_PAGE + bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		open = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	}
	shut = head + FB_SINGLE_PAGE;
	if (head == MAP_FAILED || open == MAP_FAILED ||
	    mmap(shut, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED) {
		if (head != MAP_FAILED)
			munmap(head, FB_SINGLE_PAGE + bytes);
		if (open != MAP_FAILED)
			munmap(open, bytes);
		close(fd);
		return NULL;
	}
	close(fd);
	*(char **)(void *)head = open;
	fb_single_base = shut;
	fb_single_size = bytes;
	fb_single_delta = open - shut;
	return shut;
}

static __attribute__((unused)) void fb_machine_unmap(void *p, size_t bytes)
{
	char *head = (char *)p - FB_SINGLE_PAGE;

	if (p == fb_single_base) {
		fb_single_base = NULL;
		fb_single_size = 0;
	}
	munmap(*(char **)(void *)head, bytes);
	munmap(head, FB_SINGLE_PAGE + bytes);
}

/*
 * Each task in turn, alone. By time there is nothing to measure: a trial by time is a trial by count with the window that
 * the caller's tasks count themselves, so duration_ns must be 0.
 */
static __attribute__((unused)) int fb_machine_run(struct fb_run *run)
{
	if (run->duration_ns)
		return EINVAL;
	run->started = run->nr;
	run->unpinned = 0;
	run->start_ns = run->open_ns = fb_now();
	for (uint32_t i = 0; i < run->nr; i++) {
		fb_single_window = i < run->nr_workers ? FB_WINDOW_OPEN : FB_WINDOW_CLOSED;
		fb_store_u32(&run->tasks[i].sh->on_cpu, 1, FB_RELAXED);
		run->fn(&run->tasks[i]);
		fb_store_u32(&run->tasks[i].sh->on_cpu, 0, FB_RELAXED);
	}
	run->closed_ns = fb_now();
	return 0;
}

#endif
