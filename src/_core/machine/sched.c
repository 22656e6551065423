/* SPDX-License-Identifier: MIT */
/* Whose turn it is: the queue of events in virtual time, and the switch to the CPU whose event comes first. */
#include "machine/sim.h"

#include <errno.h>
#include <stdlib.h>

FBV_HIDDEN struct fbv_sim sim;

/* ---- the event queue: a heap of four children a node ---- */

void fbv_push(uint64_t ps, uint32_t cpu, enum fbv_event_type type, uint32_t slot)
{
	uint64_t key = fbv_key(ps, cpu);
	uint32_t i = sim.events++;

	if (fb_unlikely(sim.events > sim.events_max)) {
		uint32_t more = sim.events_max ? 2 * sim.events_max : 1024;
		struct fbv_event *heap = realloc(sim.heap, more * sizeof(*heap));

		if (!heap)
			abort();	/* a few KiB; nothing sensible is left to do */
		sim.heap = heap;
		sim.events_max = more;
	}
	while (i) {
		uint32_t up = (i - 1) / 4;

		if (sim.heap[up].key <= key)
			break;
		sim.heap[i] = sim.heap[up];
		i = up;
	}
	sim.heap[i] = (struct fbv_event){key, sim.cpu[cpu].generation, (uint16_t)cpu, (uint8_t)type, (uint8_t)slot};
}

static struct fbv_event pop(void)
{
	struct fbv_event first = sim.heap[0], last = sim.heap[--sim.events];
	uint32_t i = 0, n = sim.events;

	for (;;) {
		uint32_t child = 4 * i + 1, least = child, end = child + 4 < n ? child + 4 : n;

		if (child >= n)
			break;
		for (uint32_t k = child + 1; k < end; k++)
			if (sim.heap[k].key < sim.heap[least].key)
				least = k;
		if (last.key <= sim.heap[least].key)
			break;
		sim.heap[i] = sim.heap[least];
		i = least;
	}
	sim.heap[i] = last;
	return first;
}

/* One alarm a CPU: most spins end long before their bound, and the queue must not fill with their remains. */
void fbv_set_alarm(struct fbv_cpu *c)
{
	c->alarm = c->deadline;
	fbv_push(c->alarm, c->id, FBV_EVENT_ALARM, 0);
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
	fbv.work_key = fbv_mix(sim.seed + c->id * 0xd1342543de82ef95u);
	fbv_set_limit();
}

/* Let things happen in order of time until a CPU may go on; NULL when nothing can happen any more. */
struct fbv_cpu *fbv_next(void)
{
	sim.self = NULL;
	while (sim.events) {
		struct fbv_event e = pop();
		struct fbv_cpu *c = &sim.cpu[e.cpu];
		uint64_t t = e.key >> FBV_CPU_BITS;
		bool go = false;

		switch (e.type) {
		case FBV_EVENT_GO:
			go = e.generation == c->generation;
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
			if (go && ++sim.vain > FBV_VAIN_MAX) {
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
			fbv_issue_prefetch(c, e.slot, t);
			break;
		case FBV_EVENT_ARRIVE:
			sim.vain = 0;
			go = fbv_arrive(c, e.slot, t);
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

void fbv_block(void)
{
	struct fbv_cpu *me = sim.self, *c;

	fbv_save(me);
	c = fbv_next();
	if (c != me)
		fb_fiber_switch(&me->fiber, c ? &c->fiber : &sim.home);
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
