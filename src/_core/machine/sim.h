/* SPDX-License-Identifier: MIT */
/*
 * Inside the virtual machine: what virtual.c (tasks), coherence.c (lines) and simlog.c (records) share.
 *
 *	event queue ──earliest──► a request that must join its line's queue in order of issue
 *			     ├──► the arrival of a line: the access takes effect now
 *			     └──► a CPU that goes on (woken, timed out, or its turn has come)
 *
 * All on the blocked fiber's own stack; the fiber whose event it is runs next. Order: time, then the lower CPU.
 */
#ifndef FB_MACHINE_SIM_H
#define FB_MACHINE_SIM_H

#include "machine/fibers.h"
#include "machine/simapi.h"
#include "sync/atomic.h"

#define FBV_NO_LINE UINT64_MAX
#define FBV_NO_REQUEST 0u	/* requests are numbered from 1: a zeroed line has an empty queue */

enum fbv_kind { FBV_SHARED, FBV_OWN };

/* A wish for a line: one stalling (slot 0) and up to `outstanding` that do not stall, per CPU. */
struct fbv_request {
	uint64_t issued;
	uint32_t line;
	uint32_t next;
	uint32_t bypassed;	/* times a nearer one went first */
	uint64_t early;		/* ps: how much of the journey passed behind misses before it */
	uint16_t cpu;
	uint8_t	 slot;		/* of its CPU's */
	uint8_t	 kind;
	uint8_t	 busy;
};

struct fbv_entry {		/* of the store buffer */
	void	*p;
	uint64_t value, at;
	uint32_t line;
	uint8_t	 bytes;
};

/* What came and went with one line in the windows; apart from struct fbv_line, which is full. */
struct fbv_traffic {
	uint64_t fetches;	/* arrivals of copies */
	uint64_t transfers;	/* arrivals in exclusive state */
	uint64_t invalidated;	/* copies lost to them */
};

enum fbv_op { FBV_OP_NONE, FBV_OP_LOAD, FBV_OP_OWN, FBV_OP_DRAIN, FBV_OP_ROOM };
enum fbv_state { FBV_RUNNING, FBV_ORDERING, FBV_WAITING, FBV_DRAINING, FBV_SPINNING, FBV_PARKED, FBV_ENDED };

struct fbv_cpu {
	struct fb_fiber fiber;
	struct fb_task *task;
	uint64_t now;			/* while it does not run */
	uint32_t generation;		/* of its wake-ups: older ones in the queue are void */
	uint8_t	 state, op, token, on_cpu, missed, watching;
	uint32_t place;			/* the CPU's number on the machine */
	uint16_t id, core, l3, socket;	/* id: by place, among the CPUs of this run */
	uint16_t core_from, core_to, l3_from, l3_to, socket_from, socket_to;	/* who shares them in this run */
	uint32_t line;			/* op's, or watched */
	uint32_t slot;			/* request waited for */
	uint32_t requests;		/* in use */
	uint32_t watch_next, watch_prev;	/* CPU + 1 */
	uint64_t stalled;		/* since when */
	uint64_t ahead, hidden, early;	/* see look_ahead(): since when, of it stalled; for the next request */
	uint64_t deadline, alarm;	/* of a spin; when the alarm in the queue rings, 0 = there is none */
	uint64_t asleep;		/* when it is off its CPU for certain */
	uint64_t slept;			/* in all */
	struct fbv_request *request;	/* slots */
	struct fbv_entry *store;	/* ring */
	uint32_t store_first, stores;
	/* kept while the CPU does not run: see fbv_hot */
	uint64_t hits, since, work_key, work_count, busy, *step_ps;
	uint16_t counting, step;
	/* counted in its window */
	uint64_t wait, waits, spin, parked, fetches, transfers;
	uint64_t steps[FBV_STEPS], step_wait[FBV_STEPS], step_spin[FBV_STEPS], step_parked[FBV_STEPS];
	uint64_t step_lines[FBV_STEPS];
};

enum fbv_event_type { FBV_EVENT_GO, FBV_EVENT_ATTEMPT, FBV_EVENT_STORES, FBV_EVENT_PREFETCH, FBV_EVENT_ARRIVE,
		      FBV_EVENT_ALARM };

struct fbv_event {
	uint64_t key;			/* ps << 11 | cpu; FBV_NEVER: no event */
	uint64_t what;			/* generation << 32 | slot << 8 | type: one word, because it is moved about */
};

/* Earliest first; heap[0].key is FBV_NEVER when there is none. */
struct fbv_queue {
	struct fbv_event *heap;
	uint32_t nr, max;
};

enum { FBV_CPU_BITS = 11, FBV_MAX_CPUS = 1024, FBV_VAIN_MAX = 1000000 };

struct fbv_sim {
	struct fbv_machine m;
	struct fbv_cpu *cpu;
	struct fbv_request *request;	/* all slots of all CPUs; number n is request[n - 1] */
	uint32_t *ids;			/* task id -> CPU */
	uint32_t nr, slots, live, workers_left;
	uint64_t lookahead;		/* ps: nobody can take a line sooner than this after asking */
	struct fbv_queue events;	/* what will happen */
	struct fbv_queue alarms;	/* when spinners look up: many and hardly ever first, so the other stays short */
	struct fbv_cpu *self;		/* whose fiber runs; NULL outside a run */
	struct fb_fiber home;
	struct fb_run *run;
	uint64_t open_ps, close_ps;
	struct fbv_traffic *traffic;	/* of each line */
	size_t	 arena_bytes, line_bytes, copies_bytes, traffic_bytes;
	uint64_t seed;
	uint64_t no_steps[FBV_STEPS];	/* where time goes that is not counted */
	struct fbv_entry *stores;
	int	 error;
	uint64_t vain;			/* times that spinners looked up since a line last moved, with nobody else to do anything */
	uint64_t log_max, log_nr;
	uint32_t mute_from, mute_to;	/* tasks that nobody will read the log of */
	struct fbv_log_record *log;
	uint32_t *touched, touched_nr, touched_max;	/* lines that have a state, in order of first access */
};
extern FBV_HIDDEN struct fbv_sim sim;

FBV_HIDDEN int fbv_set_up_memory(uint32_t nr);
FBV_HIDDEN void fbv_first_touch(uint32_t n);

static inline struct fbv_line *fbv_touch(uint32_t n)
{
	if (__builtin_expect(!fbv.lines[n].depart, 0))
		fbv_first_touch(n);
	return &fbv.lines[n];
}

static inline uint64_t *fbv_copies_of(uint32_t n) { return fbv.copies + (size_t)n * fbv.words; }

/* Of a CPU that may be the running one, whose part of the state is in `fbv`. */
static inline uint16_t fbv_counting(const struct fbv_cpu *c) { return c == sim.self ? fbv.counting : c->counting; }

/* The end of time: what a key has room for. What would be later is then, after all else, and ends the run: EOVERFLOW. */
#define FBV_PS_MAX ((UINT64_MAX >> FBV_CPU_BITS) - 1)

static inline uint64_t fbv_key(uint64_t ps, uint32_t cpu)
{
	return (ps < FBV_PS_MAX ? ps : FBV_PS_MAX) << FBV_CPU_BITS | cpu;
}

/* The key of the earliest event, FBV_NEVER without one. */
static inline uint64_t fbv_first(void)
{
	uint64_t event = sim.events.heap[0].key, alarm = sim.alarms.heap[0].key;

	return event < alarm ? event : alarm;
}

/* Is `now` of the running CPU before every event? Then whatever it does is in order. */
static inline bool fbv_in_order(void) { return fbv_key(fbv.now, sim.self->id) <= fbv_first(); }

/* … or early enough that no event can have bearing on a line that it holds. */
static inline bool fbv_ahead(void)
{
	return fbv.now < (fbv_first() >> FBV_CPU_BITS) + sim.lookahead || fbv_in_order();
}

static inline void fbv_set_limit(void)
{
	fbv.limit = sim.self->stores || fbv.logging ? 0 : (fbv_first() >> FBV_CPU_BITS) + sim.lookahead;
}

FBV_HIDDEN bool fbv_queue_grow(struct fbv_queue *q);
FBV_HIDDEN void fbv_queue_destroy(struct fbv_queue *q);
FBV_HIDDEN void fbv_push(uint64_t ps, uint32_t cpu, enum fbv_event_type type, uint32_t slot);
FBV_HIDDEN void fbv_set_alarm(struct fbv_cpu *c);
FBV_HIDDEN void fbv_save(struct fbv_cpu *c);	/* the running CPU's part of `fbv` */
FBV_HIDDEN struct fbv_cpu *fbv_next(void);	/* the CPU that goes on next, now the running one; NULL: deadlock */

/*
 * Run others until an event says that this CPU goes on. Inline, as what leads here: a return on another fiber than the
 * call is one that the host's CPU predicts wrongly, so there should be few between a miss and the code that goes on.
 */
static __attribute__((always_inline)) inline void fbv_block(void)
{
	struct fbv_cpu *me = sim.self, *c;

	fbv_save(me);
	c = fbv_next();
	if (c != me)
		fb_fiber_switch(&me->fiber, c ? &c->fiber : &sim.home);
}

FBV_HIDDEN void fbv_order(void);	/* … until every earlier event has happened */

static inline uint64_t fbv_distance(const struct fbv_cpu *a, const struct fbv_cpu *b)	/* ps */
{
	return a->core == b->core ? sim.m.core : a->l3 == b->l3 ? sim.m.l3 : a->socket == b->socket ? sim.m.socket :
	       sim.m.remote;
}

/* distance.c: in ps */
FBV_HIDDEN uint64_t fbv_nearest_copy(const struct fbv_cpu *c, uint32_t n);
FBV_HIDDEN uint64_t fbv_farthest_copy(const struct fbv_cpu *c, uint32_t n);
FBV_HIDDEN uint64_t fbv_shortest_transfer(void);

static inline bool fbv_can_write(const struct fbv_cpu *c, uint32_t n, uint64_t t)
{
	const struct fbv_line *l = fbv_touch(n);

	return l->owner == c->id && t < l->depart;
}

/* c's request for the line that is under way already, or `slots`. */
static inline uint32_t fbv_pending(const struct fbv_cpu *c, uint32_t n)
{
	for (uint32_t i = 0, left = c->requests; left; i++) {
		if (!c->request[i].busy)
			continue;
		if (c->request[i].line == n)
			return i;
		left--;
	}
	return sim.slots;
}

/* coherence.c, stores.c: each bool says whether the CPU may go on at `t`. */
FBV_HIDDEN bool fbv_attempt(struct fbv_cpu *c, uint64_t t);
FBV_HIDDEN bool fbv_arrive(struct fbv_cpu *c, uint32_t slot, uint64_t t);
FBV_HIDDEN void fbv_enqueue(struct fbv_cpu *c, uint32_t slot, uint32_t n, enum fbv_kind kind, uint64_t t, uint64_t early);
FBV_HIDDEN void fbv_count_wait(struct fbv_cpu *c, struct fbv_line *l, uint64_t t);
FBV_HIDDEN bool fbv_advance_stores(struct fbv_cpu *c, uint64_t t);
FBV_HIDDEN bool fbv_issue_prefetch(struct fbv_cpu *c, uint32_t slot, uint64_t t);
/* access.c: who spins on a line; it is going away */
FBV_HIDDEN void fbv_unwatch(struct fbv_cpu *c);
FBV_HIDDEN void fbv_wake_watchers(struct fbv_line *l, uint64_t t);

/* Place `i` after the oldest store in the ring. */
static inline struct fbv_entry *fbv_store_at(const struct fbv_cpu *c, uint32_t i)
{
	uint32_t at = c->store_first + i;

	return &c->store[at < sim.m.store_buffer ? at : at - sim.m.store_buffer];
}

enum fbv_log_type { FBV_LOG_STEP, FBV_LOG_LOAD, FBV_LOG_STORE, FBV_LOG_RMW, FBV_LOG_PREFETCHW, FBV_LOG_ARRIVE,
		    FBV_LOG_PARK, FBV_LOG_UNPARK, FBV_LOG_WAKE };
FBV_HIDDEN void fbv_log(struct fbv_cpu *c, uint64_t ps, enum fbv_log_type type, uint32_t what, uint64_t line,
			uint64_t wait);

#endif
