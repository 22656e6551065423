/* SPDX-License-Identifier: MIT */
/* Whose turn it is: the queue of events in virtual time, and the switch to the CPU whose event comes first. */
#include "machine/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

FBV_HIDDEN struct fbv_sim sim;

/* ---- the event queue ---- */

/*
 * A heap of four children a node. The four keys are compared without a branch, since nobody could predict it; behind
 * the last event lie keys of FBV_NEVER, so that there always are four. Children begin a host line: node 1 does.
 */
enum { HEAP_PAD = 4, HEAP_FIRST = 3 };

/* Room for twice as many; returns false without memory. */
bool fbv_queue_grow(struct fbv_queue *q)
{
	uint32_t max = q->max ? 2 * q->max : 1024;
	size_t bytes = (HEAP_FIRST + (size_t)max + HEAP_PAD + 1) * sizeof(struct fbv_event);
	struct fbv_event *block = aligned_alloc(FB_CACHELINE, (bytes + FB_CACHELINE - 1) / FB_CACHELINE * FB_CACHELINE);
	struct fbv_event *heap = block + HEAP_FIRST;

	if (!block)
		return false;
	if (q->nr)
		memcpy(heap, q->heap, q->nr * sizeof(*heap));
	for (uint32_t i = q->nr; i < max + HEAP_PAD; i++)
		heap[i].key = FBV_NEVER;
	if (q->heap)
		free(q->heap - HEAP_FIRST);
	q->heap = heap;
	q->max = max;
	return true;
}

void fbv_queue_destroy(struct fbv_queue *q)
{
	if (q->heap)
		free(q->heap - HEAP_FIRST);
	*q = (struct fbv_queue){0};
}

static inline void push(struct fbv_queue *q, uint64_t key, uint64_t what)
{
	uint32_t i = q->nr++;
	struct fbv_event *heap;

	if (fb_unlikely(i == q->max) && !fbv_queue_grow(q))
		abort();	/* some KiB; nothing sensible is left to do */
	for (heap = q->heap; i; i = (i - 1) / 4) {
		const struct fbv_event *up = &heap[(i - 1) / 4];

		if (up->key <= key)
			break;
		heap[i] = *up;
	}
	heap[i] = (struct fbv_event){key, what};
}

void fbv_push(uint64_t ps, uint32_t cpu, enum fbv_event_type type, uint32_t slot)
{
	push(&sim.events, fbv_key(ps, cpu), (uint64_t)sim.cpu[cpu].generation << 32 | slot << 8 | type);
}

static inline struct fbv_event pop(struct fbv_queue *q)
{
	struct fbv_event *heap = q->heap, first = heap[0], last = heap[--q->nr];
	uint32_t i = 0, n = q->nr, child;

	heap[n].key = FBV_NEVER;
	while ((child = 4 * i + 1) < n) {
		const struct fbv_event *of = &heap[child];
		uint64_t low = of[1].key < of[0].key ? of[1].key : of[0].key;
		uint64_t high = of[3].key < of[2].key ? of[3].key : of[2].key;
		uint32_t in_low = of[1].key < of[0].key, in_high = 2 + (of[3].key < of[2].key);

		child += in_low ^ ((in_low ^ in_high) & -(uint32_t)(high < low));
		if (last.key <= (high < low ? high : low))
			break;
		heap[i] = heap[child];
		i = child;
	}
	if (n)
		heap[i] = last;
	return first;
}

/* One alarm a CPU: most spins end long before their bound, and the queue must not fill with their remains. */
void fbv_set_alarm(struct fbv_cpu *c)
{
	c->alarm = c->deadline;
	push(&sim.alarms, fbv_key(c->alarm, c->id), FBV_EVENT_ALARM);
}

/* ---- whose turn it is ---- */

void fbv_save(struct fbv_cpu *c)
{
	c->now = fbv.now;
	c->hits = fbv.hits;
	c->since = fbv.since;
	c->step = fbv.step;
	c->counting = fbv.counting;
	c->work_count = fbv.work_count;
	c->busy = fbv.busy;
}

static void load(struct fbv_cpu *c, uint64_t t)
{
	sim.self = c;
	c->state = FBV_RUNNING;
	fbv.now = t > c->now ? t : c->now;
	fbv.cpu = c->id;
	fbv.bit = (uint64_t)1 << c->id % 64;
	fbv.word = c->id / 64u;
	fbv.hits = c->hits;
	fbv.since = c->since;
	fbv.step = c->step;
	fbv.counting = c->counting;
	fbv.step_ps = c->step_ps;
	fbv.work_count = c->work_count;
	fbv.busy = c->busy;
	fbv.work_key = c->work_key;
	fbv_set_limit();
}

/* Let things happen in order of time until a CPU may go on; NULL when nothing can happen any more. */
struct fbv_cpu *fbv_next(void)
{
	sim.self = NULL;
	while (sim.events.nr | sim.alarms.nr) {
		bool alarm = sim.alarms.heap[0].key < sim.events.heap[0].key;
		struct fbv_event e = fb_unlikely(alarm) ? pop(&sim.alarms) : pop(&sim.events);
		struct fbv_cpu *c = &sim.cpu[e.key & ((1u << FBV_CPU_BITS) - 1)];
		uint64_t t = e.key >> FBV_CPU_BITS;
		uint32_t slot = (uint32_t)e.what >> 8;
		bool go = false;

		if (fb_unlikely(t == FBV_PS_MAX)) {
			sim.error = EOVERFLOW;
			return NULL;
		}
		switch (e.what & 0xff) {
		case FBV_EVENT_GO:
			go = e.what >> 32 == c->generation;
			break;
		case FBV_EVENT_ALARM:
			if (t != c->alarm)
				break;	/* an earlier one was set since */
			c->alarm = 0;
			if (c->state != FBV_SPINNING || !c->watching)
				break;
			go = t >= c->deadline;
			if (!go)
				fbv_set_alarm(c);
			/* Spinners look up now and then for ever: with nobody else to do anything they wait for nothing. */
			if (go && !sim.events.nr && ++sim.vain > FBV_VAIN_MAX) {
				sim.error = EDEADLK;
				return NULL;
			}
			break;
		case FBV_EVENT_ATTEMPT:
			go = fbv_attempt(c, t);
			break;
		case FBV_EVENT_STORES:
			go = fbv_advance_stores(c, t);
			break;
		case FBV_EVENT_PREFETCH:
			go = fbv_issue_prefetch(c, slot, t);
			break;
		case FBV_EVENT_ARRIVE:
			sim.vain = 0;
			go = fbv_arrive(c, slot, t);
			break;
		}
		if (go) {
			load(c, t);
			return c;
		}
	}
	sim.error = EDEADLK;
	return NULL;
}

void fbv_order(void)
{
	struct fbv_cpu *c = sim.self;

	if (fbv_in_order())
		return;
	c->state = FBV_ORDERING;
	c->generation++;
	fbv_push(fbv.now, c->id, FBV_EVENT_GO, 0);
	fbv_block();
}
