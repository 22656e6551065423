/* SPDX-License-Identifier: MIT */
/* The schedule machine's side of the seam (sync/atomic.h), and its run of a trial. */
#ifndef SCHED_SEAM_H
#define SCHED_SEAM_H

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
		run->tasks[i].crowded = run->warmup_ns % 4 == 3;	/* the unfair spinlock too */
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
