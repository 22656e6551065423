/* SPDX-License-Identifier: MIT */
/*
 * The threads machine's own affairs: memory for the arena, busy work of a known length, and a run from its start gate
 * to its last join. Nothing here is part of the model.
 */
#ifndef FB_MACHINE_THREADS_RUN_H
#define FB_MACHINE_THREADS_RUN_H

#include <signal.h>
#include <stdlib.h>

enum { FB_HUGE_PAGE = 2 << 20 };

static __attribute__((unused)) void *fb_machine_map(size_t bytes)
{
	size_t want, head;
	char *p;

	if (__builtin_add_overflow(bytes, (size_t)FB_HUGE_PAGE, &want)) {
		errno = ENOMEM;
		return NULL;
	}
	p = mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	/* Keep the aligned part: the line of a word is its offset, and no TLB miss should depend on where it fell. */
	head = (size_t)(-(uintptr_t)p & (FB_HUGE_PAGE - 1));
	if (head)
		munmap(p, head);
	if (FB_HUGE_PAGE - head)
		munmap(p + head + bytes, FB_HUGE_PAGE - head);
	p += head;
	madvise(p, bytes, MADV_HUGEPAGE);	/* a hint: where it is refused, small pages do */
	return p;
}

static __attribute__((unused)) void fb_machine_unmap(void *p, size_t bytes)
{
	munmap(p, bytes);
}

/*
 * Busy work is a chain of dependent multiplications: it takes the same time on a loaded machine's CPU clock, disturbs no
 * cache and reads no clock. It begins when every access before it is done, and no access after it begins before its end.
 * The instructions that it stands for are thousands of bytes of code that load, branch on what they loaded and take
 * locks; a bare chain would go on behind a missing line, and the line's price would vanish (seen with 2 workers of nop:
 * 40 to 80 % of it). What beginning and ending cost is part of the time, so that fb_work(ns) takes ns.
 */
#if defined(__x86_64__)
#define fb_serialise() __builtin_ia32_lfence()
#elif defined(__aarch64__)
#define fb_serialise() __asm__ volatile("dsb ishld\n\tisb" ::: "memory")
#else
#define fb_serialise() __atomic_thread_fence(FB_SEQ_CST)
#endif

/* Turns in 256 ns, and what a call costs beside its turns in units of 1/256 turn: best of many short trials. */
FB_SHARED_STATE uint64_t fb_work_turns_256, fb_work_call_256;

/* The chain goes on where the task's last one ended, lest the compiler or the CPU run two side by side. */
static __thread uint64_t fb_work_state __attribute__((tls_model("initial-exec"), unused));

static __attribute__((noinline, unused)) void fb_work_chain(uint64_t turns)
{
	uint64_t x = fb_work_state | 1;

	fb_serialise();
	while (turns--) {
		x *= 0x9e3779b97f4a7c15u;
		__asm__ volatile("" : "+r"(x));
	}
	fb_work_state = x;
	fb_serialise();
}

static __attribute__((unused)) uint64_t fb_work_best(uint64_t calls, uint64_t turns)
{
	enum { TRIALS = 200 };
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < TRIALS; i++) {
		uint64_t t = fb_now();

		for (uint64_t k = 0; k < calls; k++)
			fb_work_chain(turns);
		t = fb_now() - t;
		if (t && t < best)
			best = t;
	}
	return best;
}

static __attribute__((unused)) void fb_work_calibrate(void)
{
	enum { TURNS = 4096, SHORT = 16 };
	uint64_t once = fb_work_best(1, TURNS), often = fb_work_best(TURNS / SHORT, SHORT);
	uint64_t extra = often > once ? often - once : 0;	/* of TURNS / SHORT - 1 calls more */

	fb_work_call_256 = extra * TURNS / once * 256 / (TURNS / SHORT - 1);
	fb_work_turns_256 = (uint64_t)TURNS * 256 / once;
}

FB_INLINE void fb_work(uint64_t ns)
{
	uint64_t want = ns * fb_work_turns_256;

	if (ns)
		fb_work_chain(want > fb_work_call_256 ? (want - fb_work_call_256) >> 8 : 0);
}

static __attribute__((unused)) void *fb_thread_main(void *arg)
{
	struct fb_task *me = arg;
	struct fb_machine *m = me->machine;
	uint32_t gate;

	if (me->cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((unsigned)me->cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			__atomic_fetch_add(&m->unpinned, 1, FB_RELAXED);
	}
	__atomic_store_n(&me->sh->on_cpu, 1, FB_RELAXED);
	/* RELEASE, pairs with the controlling thread's acquire load: it opens the gate when all are here */
	__atomic_fetch_add(&m->waiting, 1, FB_RELEASE);
	fb_futex(&m->waiting, FUTEX_WAKE, 1, NULL);
	/* ACQUIRE, pairs with the store that opens the gate */
	while (!(gate = __atomic_load_n(&m->gate, FB_ACQUIRE)))
		fb_futex(&m->gate, FUTEX_WAIT, 0, NULL);
	if (gate == 1)
		m->run->fn(me);
	__atomic_store_n(&me->sh->on_cpu, 0, FB_RELAXED);
	if (me->id < m->run->nr_workers && __atomic_fetch_sub(&m->working, 1, FB_ACQ_REL) == 1) {
		__atomic_store_n(&m->window, FB_WINDOW_CLOSED, FB_RELAXED);
		fb_futex(&m->working, FUTEX_WAKE, 1, NULL);
	}
	return NULL;
}

/* Sleep until `until` (ns of fb_now) or until no worker is left; false in the latter case. */
static __attribute__((unused)) bool fb_machine_sleep(struct fb_machine *m, uint64_t until)
{
	for (;;) {
		uint32_t left = __atomic_load_n(&m->working, FB_ACQUIRE);	/* pairs with each worker's fetch_sub */
		uint64_t now = fb_now();
		struct timespec ts;

		if (!left)
			return false;
		if (now >= until)
			return true;
		ts.tv_sec = (time_t)((until - now) / 1000000000u);
		ts.tv_nsec = (long)((until - now) % 1000000000u);
		fb_futex(&m->working, FUTEX_WAIT, left, until == UINT64_MAX ? NULL : &ts);
	}
}

static __attribute__((unused)) void fb_machine_windows(struct fb_machine *m, struct fb_run *run)
{
	run->open_ns = run->start_ns;
	if (run->duration_ns) {
		if (fb_machine_sleep(m, run->start_ns + run->warmup_ns)) {
			__atomic_store_n(&m->window, FB_WINDOW_OPEN, FB_RELAXED);
			run->open_ns = fb_now();
			fb_machine_sleep(m, run->open_ns + run->duration_ns);
		}
		__atomic_store_n(&m->window, FB_WINDOW_CLOSED, FB_RELAXED);
		run->closed_ns = fb_now();
	} else {
		fb_machine_sleep(m, UINT64_MAX);
		run->closed_ns = fb_now();
	}
}

static __attribute__((unused)) int fb_machine_run(struct fb_run *run)
{
	struct fb_machine m = {0};
	cpu_set_t cpus;
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t *threads;
	uint32_t arrived;
	bool crowded;
	int err;

	run->started = run->unpinned = 0;
	threads = calloc(run->nr, sizeof(*threads));
	if (!threads)
		return ENOMEM;
	if (!fb_work_turns_256)
		fb_work_calibrate();
	m.run = run;
	m.working = run->nr_workers;
	m.window = run->duration_ns ? FB_WINDOW_WARMUP : FB_WINDOW_OPEN;
	crowded = !sched_getaffinity(0, sizeof(cpus), &cpus) && (uint32_t)CPU_COUNT(&cpus) < run->nr;
	m.slice_ns = crowded ? 50000 : 1000000;
	err = pthread_attr_init(&attr);
	if (!err)
		err = pthread_attr_setstacksize(&attr, 256 << 10);
	/* Tasks take no signal: they are the controlling thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	while (!err && run->started < run->nr) {
		run->tasks[run->started].machine = &m;
		run->tasks[run->started].crowded = crowded && !run->queued;
		err = pthread_create(&threads[run->started], &attr, fb_thread_main, &run->tasks[run->started]);
		run->started += !err;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	while ((arrived = __atomic_load_n(&m.waiting, FB_ACQUIRE)) < run->started)
		fb_futex(&m.waiting, FUTEX_WAIT, arrived, NULL);
	run->start_ns = fb_now();
	/* RELEASE, pairs with the acquire load at the gate */
	__atomic_store_n(&m.gate, err ? 2 : 1, FB_RELEASE);
	fb_futex(&m.gate, FUTEX_WAKE, INT32_MAX, NULL);
	if (!err)
		fb_machine_windows(&m, run);
	for (uint32_t i = 0; i < run->started; i++)
		pthread_join(threads[i], NULL);
	run->unpinned = m.unpinned;
	pthread_attr_destroy(&attr);
	free(threads);
	return err;
}

#endif
