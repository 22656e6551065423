/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine behind the seam: simulated CPUs, coherent lines, virtual picoseconds.
 *
 *	access ─► hit?  ─ yes ─► do it, advance this CPU's clock			(inline, below)
 *		   └─ no ──► coherence.c: ask for the line, let the earliest CPU run, go on when it has come
 *
 * Whether an access hits is a matter of the line's bookkeeping (struct fbv_line), found by the word's offset in the
 * arena. A CPU may run ahead of the others until `limit`: nobody who is still behind could take a line away from it
 * before then. Picoseconds, because a local hit takes a fraction of a nanosecond and no rounding may depend on the
 * host; what the event queue leaves of 64 bits is two and a half hours, and a trial may take two.
 *
 * Memory order: loads and read-modify-writes happen in program order, stores pass through a FIFO store buffer with
 * forwarding, a read-modify-write drains it. That is TSO, for every machine modelled; the orders asked for in the
 * source are met because TSO is no weaker than they are.
 */
#ifndef FB_MACHINE_VIRTUAL_H
#define FB_MACHINE_VIRTUAL_H

#define FBV_NONE 0xffffu
#define FBV_NEVER UINT64_MAX
#define FBV_HIDDEN __attribute__((visibility("hidden")))

/* One cache line of the arena. All zero: never touched, in memory. */
struct fbv_line {
	uint64_t depart;	/* ps: what the holder may not do from then on; FBV_NEVER = nobody takes it */
	uint64_t have;		/* ps: since when the present holder has it */
	uint16_t owner;		/* the CPU that may write it, or FBV_NONE */
	uint16_t copies;	/* CPUs that have it */
	uint16_t serving;	/* transfers on their way */
	uint8_t	 together : 1;	/* … all of them shared fetches of a shared line */
	uint8_t	 taking : 1;	/* … one of them will invalidate the copies */
	uint8_t	 dirty;		/* its owner has written it since it came */
	uint32_t head, tail;	/* queue of requests, FBV_NO_REQUEST ends it */
	uint32_t watchers;	/* CPUs that spin on it, + 1 */
	uint64_t hits;		/* counted in the window, as what fbv_traffic has */
	uint64_t wait;		/* ps that CPUs stalled for it */
} __attribute__((aligned(FB_CACHELINE)));
_Static_assert(sizeof(struct fbv_line) == FB_CACHELINE, "one host line");

/* What the inline path needs of the running CPU: one host line, then the machine's constants. */
struct fbv_hot {
	_Alignas(64) uint64_t now;	/* ps */
	uint64_t limit;			/* ps: hits below it need no look at others; 0 = every access is looked at */
	uintptr_t base;			/* of the arena */
	struct fbv_line *lines;
	uint64_t *copies;		/* bitmap of holders, `words` per line */
	uint64_t bit;
	uint32_t word, words;
	uint16_t cpu;
	uint16_t counting;		/* 1 while this CPU is in its window */
	uint16_t step;
	uint16_t logging;
	_Alignas(64) uint64_t hits;
	uint64_t since;			/* ps: when the step began */
	uint64_t *step_ps;		/* the CPU's own table */
	uint64_t load_ps, store_ps, rmw_ps;
	uint64_t work_key, work_count;
	uint64_t jitter;		/* of 2^20 */
	uint64_t busy;			/* ps: end of the last busy time, which no access passes */
};
extern FBV_HIDDEN struct fbv_hot fbv;

FBV_HIDDEN uint64_t fbv_load(const void *p, unsigned bytes);
FBV_HIDDEN void fbv_store(void *p, uint64_t v, unsigned bytes);
FBV_HIDDEN void fbv_own(const void *p);
FBV_HIDDEN void fbv_spin(const void *p, uint64_t old, unsigned bytes, uint64_t until);
FBV_HIDDEN void fbv_prefetchw(const void *p);
FBV_HIDDEN void fbv_pause(void);
FBV_HIDDEN void fbv_log_step(int step, const void *obj);

FB_INLINE size_t fbv_line_of(const void *p) { return ((uintptr_t)p - fbv.base) / FB_CACHELINE; }

/* Does the running CPU hold the line and may it act without a look at the others? */
FB_INLINE bool fbv_hit(const void *p, bool write)
{
	size_t n = fbv_line_of(p);
	struct fbv_line *l;

	if (fb_unlikely(fbv.now >= fbv.limit))
		return false;
	l = &fbv.lines[n];
	if (fb_unlikely(fbv.now >= l->depart))
		return false;
	if (write ? l->owner != fbv.cpu : !(fbv.copies[n * fbv.words + fbv.word] & fbv.bit))
		return false;
	if (write)
		l->dirty = 1;
	l->hits += fbv.counting;
	fbv.hits += fbv.counting;
	return true;
}

#define FBV_DEFINE(W)												\
	FB_INLINE uint##W##_t fb_load_u##W(const uint##W##_t *p, int mo)					\
	{													\
		(void)mo;											\
		if (fb_likely(fbv_hit(p, false))) {								\
			fbv.now += fbv.load_ps;									\
			return *p;										\
		}												\
		return (uint##W##_t)fbv_load(p, W / 8);								\
	}													\
	FB_INLINE void fb_store_u##W(uint##W##_t *p, uint##W##_t v, int mo)					\
	{													\
		(void)mo;											\
		if (fb_likely(fbv_hit(p, true))) {								\
			fbv.now += fbv.store_ps;								\
			*p = v;											\
		} else {											\
			fbv_store(p, v, W / 8);									\
		}												\
	}													\
	FB_INLINE void fbv_own_u##W(uint##W##_t *p)								\
	{													\
		if (fb_unlikely(!fbv_hit(p, true)))								\
			fbv_own(p);										\
		fbv.now += fbv.rmw_ps;										\
	}													\
	FB_INLINE uint##W##_t fb_xchg_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		uint##W##_t old;										\
														\
		(void)mo;											\
		fbv_own_u##W(p);										\
		old = *p;											\
		*p = v;												\
		return old;											\
	}													\
	FB_INLINE uint##W##_t fb_fetch_add_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		uint##W##_t old;										\
														\
		(void)mo;											\
		fbv_own_u##W(p);										\
		old = *p;											\
		*p = (uint##W##_t)(old + v);									\
		return old;											\
	}													\
	FB_INLINE uint##W##_t fb_fetch_or_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		uint##W##_t old;										\
														\
		(void)mo;											\
		fbv_own_u##W(p);										\
		old = *p;											\
		*p = old | v;											\
		return old;											\
	}													\
	FB_INLINE uint##W##_t fb_fetch_and_u##W(uint##W##_t *p, uint##W##_t v, int mo)				\
	{													\
		uint##W##_t old;										\
														\
		(void)mo;											\
		fbv_own_u##W(p);										\
		old = *p;											\
		*p = old & v;											\
		return old;											\
	}													\
	FB_INLINE bool fb_cas_u##W(uint##W##_t *p, uint##W##_t *expected, uint##W##_t v, int mo)		\
	{													\
		(void)mo;											\
		fbv_own_u##W(p);										\
		if (*p != *expected) {										\
			*expected = *p;										\
			return false;										\
		}												\
		*p = v;												\
		return true;											\
	}
FBV_DEFINE(8)
FBV_DEFINE(16)
FBV_DEFINE(32)
FBV_DEFINE(64)

/* A spinning CPU hits its own copy until that is invalidated; the bound keeps callers that watch other things alive. */
enum { FBV_SPIN_PS = 20000000, FBV_POLL_PS = 1000000 };

FB_INLINE void fb_spin_u8(const uint8_t *p, uint8_t old) { fbv_spin(p, old, 1, fbv.now + FBV_SPIN_PS); }
FB_INLINE void fb_spin_u32(const uint32_t *p, uint32_t old) { fbv_spin(p, old, 4, fbv.now + FBV_SPIN_PS); }
FB_INLINE void fb_spin_u64(const uint64_t *p, uint64_t old) { fbv_spin(p, old, 8, fbv.now + FBV_SPIN_PS); }

FB_INLINE uint64_t fb_now(void) { return fbv.now / 1000; }

FB_INLINE bool fb_poll_u64(struct fb_task *me, const uint64_t *p, uint64_t old, uint64_t deadline)
{
	uint64_t until = fbv.now + FBV_POLL_PS;

	(void)me;
	if (deadline < until / 1000)
		until = deadline * 1000 + 1000;
	fbv_spin(p, old, 8, until);
	return fb_now() <= deadline;
}

/* One task a CPU: nobody else wants it. */
FB_INLINE uint64_t fb_slice_end(const struct fb_task *me, uint64_t now)
{
	(void)me, (void)now;
	return UINT64_MAX;
}

FB_INLINE void fb_prefetchw(const void *p) { fbv_prefetchw(p); }
FB_INLINE void fb_relax(void) { fbv_pause(); }

FB_INLINE uint64_t fbv_mix(uint64_t x)	/* splitmix64's finaliser: a counter-based generator */
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* Busy time is drawn within ±jitter of what was asked, so that CPUs doing the same do not march in step. */
FB_INLINE void fb_work(uint64_t ns)
{
	uint64_t ps = ns * 1000, draw;

	if (fbv.jitter) {
		draw = fbv_mix(fbv.work_key + ++fbv.work_count * 0x9e3779b97f4a7c15u) >> 44;	/* 20 bits */
		ps += (ps * fbv.jitter >> 20) * draw >> 19;
		ps -= ns * 1000 * fbv.jitter >> 20;
	}
	fbv.now += ps;
	if (ns)
		fbv.busy = fbv.now;
}

FB_INLINE void fb_step(struct fb_task *me, int step, const void *obj)
{
	(void)me;
	fbv.step_ps[fbv.step] += fbv.now - fbv.since;
	fbv.since = fbv.now;
	fbv.step = (uint16_t)step;
	if (fb_unlikely(fbv.logging))
		fbv_log_step(step, obj);
}

FBV_HIDDEN bool fb_park(struct fb_task *me, uint64_t timeout_ns);
FBV_HIDDEN void fb_unpark(struct fb_task *t);
FBV_HIDDEN bool fb_task_on_cpu(const struct fb_task *t);
FBV_HIDDEN int fb_window(struct fb_task *me);
FBV_HIDDEN uint64_t fb_cpu_ns(void);	/* virtual time less what it slept */
FBV_HIDDEN void fb_count(struct fb_task *me, bool on);

FBV_HIDDEN void *fb_machine_map(size_t bytes);
FBV_HIDDEN void fb_machine_unmap(void *p, size_t bytes);
FBV_HIDDEN int fb_machine_run(struct fb_run *run);

#endif
