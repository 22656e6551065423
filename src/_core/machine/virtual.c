/* SPDX-License-Identifier: MIT */
/* The virtual machine's CPUs: sleeping and waking, windows, a run from start to end. See virtual.h, sim.h. */
#include "machine/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- sleeping and waking ---- */

static void drain(void)
{
	sim.self->op = FBV_OP_DRAIN;
	fbv_order();
	if (!fbv_attempt(sim.self, fbv.now))
		fbv_block();
}

bool fb_park(struct fb_task *me, uint64_t timeout_ns)
{
	struct fbv_cpu *c;
	uint64_t from;
	bool woken;

	if (!sim.self)
		return true;
	drain();
	c = sim.self;
	if (c->token) {
		c->token = 0;
		fbv_pause();
		return true;
	}
	me->parks++;
	c->on_cpu = 0;
	c->state = FBV_PARKED;
	c->generation++;
	from = fbv.now;
	c->asleep = from + sim.m.park;
	if (fbv.logging)
		fbv_log(c, from, FBV_LOG_PARK, fbv.step, FBV_NO_LINE, 0);
	if (timeout_ns)
		fbv_push(c->asleep + timeout_ns * 1000 + sim.m.wake, c->id, FBV_EVENT_GO, 0);
	fbv_block();
	c->on_cpu = 1;
	woken = c->token;
	c->token = 0;
	if (fbv.counting) {
		c->parked += fbv.now - from;
		c->step_parked[fbv.step] += fbv.now - from;
	}
	c->slept += fbv.now - from;
	fbv.busy = fbv.now;
	if (fbv.logging)
		fbv_log(c, fbv.now, FBV_LOG_WAKE, fbv.step, FBV_NO_LINE, fbv.now - from);
	return woken;
}

void fb_unpark(struct fb_task *t)
{
	struct fbv_cpu *c;

	if (!sim.self)
		return;
	c = &sim.cpu[sim.ids[t->id]];
	drain();
	if (fbv.logging)
		fbv_log(sim.self, fbv.now, FBV_LOG_UNPARK, t->id, FBV_NO_LINE, 0);
	if (!c->on_cpu) {	/* a task that has not gone to sleep only has its token set */
		fbv.now += sim.m.unpark;
		fbv_order();
	}
	if (!c->token && c->state == FBV_PARKED) {
		uint64_t from = fbv.now > c->asleep ? fbv.now : c->asleep;

		c->generation++;	/* its time-out is void */
		fbv_push(from + sim.m.wake, c->id, FBV_EVENT_GO, 0);
	}
	c->token = 1;
	fbv_set_limit();
}

/* on_cpu is read through a cache like any word: what another did less than a transfer ago need not be seen. */
bool fb_task_on_cpu(const struct fb_task *t)
{
	if (!sim.self)
		return true;
	if (!fbv_ahead())
		fbv_order();
	return sim.cpu[sim.ids[t->id]].on_cpu;
}

uint64_t fb_cpu_ns(void)
{
	return sim.self ? (fbv.now - sim.self->slept) / 1000 : 0;
}

/* ---- windows ---- */

void fb_count(struct fb_task *me, bool on)
{
	struct fbv_cpu *c = sim.self;

	(void)me;
	if (!c || fbv.counting == on)
		return;
	fbv.step_ps[fbv.step] += fbv.now - fbv.since;
	c->step_ps = fbv.step_ps = on ? c->steps : sim.no_steps;
	fbv.since = fbv.now;
	fbv.counting = on;
}

int fb_window(struct fb_task *me)
{
	(void)me;
	if (!sim.self)
		return FB_WINDOW_CLOSED;
	if (fb_unlikely(fbv.now >= FBV_PS_MAX)) {	/* alone, it came here without an event */
		sim.error = EOVERFLOW;
		fb_fiber_switch(&sim.self->fiber, &sim.home);
	}
	if (!sim.workers_left || fbv.now >= sim.close_ps)
		return FB_WINDOW_CLOSED;
	return fbv.now < sim.open_ps ? FB_WINDOW_WARMUP : FB_WINDOW_OPEN;
}

/* ---- a run ---- */

static void fiber_main(void)
{
	struct fbv_cpu *c = sim.self;

	sim.run->fn(c->task);
	c = sim.self;
	fb_count(c->task, false);
	drain();
	c->state = FBV_ENDED;
	c->on_cpu = 0;
	c->generation++;
	if (c->task->id < sim.run->nr_workers && !--sim.workers_left)
		sim.run->closed_ns = fb_now();
	sim.live--;
	fbv_save(c);
	if (sim.live) {
		struct fbv_cpu *other = fbv_next();

		fb_fiber_switch(&c->fiber, other ? &other->fiber : &sim.home);
	}
	fb_fiber_switch(&c->fiber, &sim.home);
	abort();	/* not reached */
}

static int by_place(const void *a, const void *b)
{
	const struct fbv_cpu *x = a, *y = b;

	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return x->task->id < y->task->id ? -1 : 1;
}

#define SAME_RANGE(field)								\
	for (uint32_t i = 0, j; i < nr; i = j) {					\
		for (j = i; j < nr && sim.cpu[j].field == sim.cpu[i].field; j++)	\
			;								\
		for (uint32_t k = i; k < j; k++) {					\
			sim.cpu[k].field##_from = (uint16_t)i;				\
			sim.cpu[k].field##_to = (uint16_t)j;				\
		}									\
	}

static int set_up(struct fb_run *run)
{
	uint32_t nr = run->nr;
	int err = fbv_set_up_memory(nr);

	if (err)
		return err;
	sim.run = run;
	sim.nr = sim.live = nr;
	sim.workers_left = run->nr_workers;
	for (uint32_t i = 0; i < nr; i++) {
		struct fbv_cpu *c = &sim.cpu[i];

		c->task = &run->tasks[i];
		c->place = c->task->cpu >= 0 ? (uint32_t)c->task->cpu : i;
		c->core = (uint16_t)(c->place / sim.m.cpus_per_core);
		c->l3 = (uint16_t)(c->place / sim.m.cpus_per_l3);
		c->socket = (uint16_t)(c->place / sim.m.cpus_per_socket);
	}
	qsort(sim.cpu, nr, sizeof(*sim.cpu), by_place);
	SAME_RANGE(core)
	SAME_RANGE(l3)
	SAME_RANGE(socket)
	for (uint32_t i = 0; i < nr; i++) {
		struct fbv_cpu *c = &sim.cpu[i];

		c->id = (uint16_t)i;
		sim.ids[c->task->id] = i;
		c->request = &sim.request[i * sim.slots];
		c->store = &sim.stores[i * sim.m.store_buffer];
		c->step_ps = sim.no_steps;
		c->work_key = fbv_mix(sim.seed + i * 0xd1342543de82ef95u);
		c->on_cpu = 1;
		c->now = sim.m.stagger ? fbv_mix(sim.seed ^ fbv_mix(i + 1)) % sim.m.stagger : 0;
		fbv_push(c->now, i, FBV_EVENT_GO, 0);
		err = fb_fiber_create(&c->fiber, fiber_main);
		if (err)
			return err;
		run->started++;
	}
	sim.lookahead = sim.m.overlap ? 0 : fbv_shortest_transfer();
	sim.open_ps = run->duration_ns ? run->warmup_ns * 1000 : 0;
	sim.close_ps = run->duration_ns ? sim.open_ps + run->duration_ns * 1000 : FBV_NEVER;
	return 0;
}

int fb_machine_run(struct fb_run *run)
{
	struct fbv_cpu *first;
	int err;

	run->started = run->unpinned = 0;
	run->start_ns = 0;
	if (!run->nr || run->nr > FBV_MAX_CPUS || run->nr > sim.m.cpus)
		return EINVAL;
	err = set_up(run);
	if (!err) {
		run->open_ns = sim.open_ps / 1000;
		first = fbv_next();
		fb_fiber_switch(&sim.home, &first->fiber);
		err = sim.live ? sim.error : 0;
		if (run->duration_ns && (!run->closed_ns || run->closed_ns > sim.close_ps / 1000))
			run->closed_ns = sim.close_ps / 1000;
	}
	sim.self = NULL;
	fbv.limit = 0;
	fbv.now = 0;
	fbv.counting = 0;
	fbv.step_ps = sim.no_steps;
	for (uint32_t i = 0; sim.cpu && i < run->nr; i++)
		fb_fiber_destroy(&sim.cpu[i].fiber);
	return err;
}
