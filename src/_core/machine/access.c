/* SPDX-License-Identifier: MIT */
/* The seam's accesses where the inline path cannot decide: misses, order, the store buffer, spinning. */
#include "machine/sim.h"

#include <string.h>

/* See fbv_block(). */
#define FBV_FLAT __attribute__((always_inline)) inline

static uint64_t read_word(const void *p, unsigned bytes)
{
	uint64_t v = 0;

	memcpy(&v, p, bytes);	/* little endian, as every host this builds on */
	return v;
}

static bool held(uint32_t n, bool write)
{
	const struct fbv_line *l = fbv_touch(n);

	if (fbv.now >= l->depart && (write || l->taking))
		return false;
	return write ? l->owner == fbv.cpu : fbv.copies[(size_t)n * fbv.words + fbv.word] & fbv.bit;
}

/*
 * An out-of-order CPU asks for the next line while it waits for this one, as far as its window of instructions reaches.
 * Here: misses whose instructions, stalls left out, lie within `overlap` and with no busy time, pause or sleep between
 * were all asked for when the first was, as far as their journeys go. Who gets a line first is decided when the access
 * is due, as ever.
 */
static void look_ahead(struct fbv_cpu *c)
{
	if (c->ahead < fbv.busy || fbv.now - c->ahead - c->hidden > sim.m.overlap) {
		c->ahead = fbv.now;
		c->hidden = 0;
	}
	c->early = fbv.now - c->ahead;
}

/* Wait until `op` has been done; on return the access is due, at this instant. */
static FBV_FLAT void wait_op(enum fbv_op op, uint32_t n)
{
	struct fbv_cpu *c = sim.self;
	uint64_t from = fbv.now;

	if (sim.m.overlap)
		look_ahead(c);
	c->op = (uint8_t)op;
	c->line = n;
	c->missed = 0;
	if (fbv_in_order()) {
		if (fbv_attempt(c, fbv.now))
			return;
	} else {
		c->state = FBV_ORDERING;
		fbv_push(fbv.now, c->id, FBV_EVENT_ATTEMPT, 0);
	}
	fbv_block();
	c->hidden += fbv.now - from;
}

static void count_hit(uint32_t n)
{
	fbv.lines[n].hits += fbv.counting;
	fbv.hits += fbv.counting;
}

/* Get at the line; returns how long that took. */
static FBV_FLAT uint64_t reach(const void *p, bool write)
{
	uint32_t n = (uint32_t)fbv_line_of(p);
	struct fbv_cpu *c = sim.self;
	uint64_t from = fbv.now;

	c->missed = 0;
	if (!((!write || !c->stores) && held(n, write) && fbv_ahead()))
		wait_op(write ? FBV_OP_OWN : FBV_OP_LOAD, n);
	if (!c->missed)
		count_hit(n);
	fbv_set_limit();
	return fbv.now - from;
}

/* The newest store of this CPU that touches [p, p + bytes); NULL if there is none. */
static const struct fbv_entry *forward(const struct fbv_cpu *c, const void *p, unsigned bytes)
{
	uintptr_t a = (uintptr_t)p;

	for (uint32_t i = c->stores; i-- > 0;) {
		const struct fbv_entry *e = fbv_store_at(c, i);
		uintptr_t b = (uintptr_t)e->p;

		if (a < b + e->bytes && b < a + bytes)
			return e;
	}
	return NULL;
}

uint64_t fbv_load(const void *p, unsigned bytes)
{
	struct fbv_cpu *c = sim.self;
	const struct fbv_entry *e;
	uint64_t took;

	if (!c)
		return read_word(p, bytes);
	if (c->stores && (e = forward(c, p, bytes))) {
		uintptr_t a = (uintptr_t)p, b = (uintptr_t)e->p;

		if (a >= b && a + bytes <= b + e->bytes) {
			uint64_t v = e->value >> (8 * (a - b));

			count_hit((uint32_t)fbv_line_of(p));
			fbv.now += fbv.load_ps;
			return bytes == 8 ? v : v & (((uint64_t)1 << 8 * bytes) - 1);
		}
		/* A store to part of the word: the load waits until it has left the buffer, as CPUs do. */
		wait_op(FBV_OP_DRAIN, (uint32_t)fbv_line_of(p));
	}
	took = reach(p, false);
	if (fbv.logging)
		fbv_log(c, fbv.now, FBV_LOG_LOAD, fbv.step, fbv_line_of(p), took);
	fbv.now += fbv.load_ps;
	return read_word(p, bytes);
}

void fbv_own(const void *p)
{
	uint64_t took;

	if (!sim.self)
		return;
	took = reach(p, true);
	fbv_touch(fbv_line_of(p))->dirty = 1;
	if (fbv.logging)
		fbv_log(sim.self, fbv.now, FBV_LOG_RMW, fbv.step, fbv_line_of(p), took);
}

void fbv_store(void *p, uint64_t v, unsigned bytes)
{
	struct fbv_cpu *c = sim.self;
	uint32_t n = (uint32_t)fbv_line_of(p);
	uint64_t from = fbv.now;

	if (!c) {
		memcpy(p, &v, bytes);
		return;
	}
	if (!c->stores && held(n, true) && fbv_ahead()) {
		memcpy(p, &v, bytes);
		fbv_touch(n)->dirty = 1;
	} else {
		if (c->stores == sim.m.store_buffer)
			wait_op(FBV_OP_ROOM, n);
		*fbv_store_at(c, c->stores++) = (struct fbv_entry){.p = p, .value = v, .at = fbv.now, .line = n,
								   .bytes = (uint8_t)bytes};
		if (fbv_in_order())
			fbv_advance_stores(c, fbv.now);
		else
			fbv_push(fbv.now, c->id, FBV_EVENT_STORES, 0);
	}
	count_hit(n);
	if (fbv.logging)
		fbv_log(c, fbv.now, FBV_LOG_STORE, fbv.step, n, fbv.now - from);
	fbv.now += fbv.store_ps;
	fbv_set_limit();
}

void fbv_prefetchw(const void *p)
{
	struct fbv_cpu *c = sim.self;
	uint32_t n = (uint32_t)fbv_line_of(p), slot;
	uint64_t took = 0;

	if (!c || sim.m.prefetchw == FBV_PREFETCHW_OFF)
		return;
	if (sim.m.prefetchw == FBV_PREFETCHW_STALL) {
		took = reach(p, true);
	} else if (!(held(n, true) && fbv_ahead())) {
		slot = 1;
		while (slot < sim.slots && c->request[slot].busy)
			slot++;
		if (slot < sim.slots) {		/* a hint: with every slot busy it is lost */
			c->request[slot].busy = 1;
			c->requests++;
			c->request[slot].line = n;
			if (fbv_in_order())
				fbv_issue_prefetch(c, slot, fbv.now);
			else
				fbv_push(fbv.now, c->id, FBV_EVENT_PREFETCH, slot);
		}
	}
	if (fbv.logging)
		fbv_log(c, fbv.now, FBV_LOG_PREFETCHW, fbv.step, n, took);
	fbv.now += fbv.load_ps;
	fbv_set_limit();
}

void fbv_pause(void)
{
	fbv.now += sim.m.pause;
	fbv.busy = fbv.now;
}

void fbv_wake_watchers(struct fbv_line *l, uint64_t t)
{
	while (l->watchers) {
		struct fbv_cpu *w = &sim.cpu[l->watchers - 1];

		fbv_unwatch(w);
		w->generation++;
		fbv_push(t, w->id, FBV_EVENT_GO, 0);
	}
}

void fbv_unwatch(struct fbv_cpu *c)
{
	if (!c->watching)
		return;
	c->watching = 0;
	if (c->watch_prev)
		sim.cpu[c->watch_prev - 1].watch_next = c->watch_next;
	else
		fbv_touch(c->line)->watchers = c->watch_next;
	if (c->watch_next)
		sim.cpu[c->watch_next - 1].watch_prev = c->watch_prev;
}

/* A spin loop's pauses and looks are spinning as much as what it waits for. */
static void spun(struct fbv_cpu *c, uint64_t from)
{
	fbv.busy = fbv.now;
	if (fbv.counting) {
		c->spin += fbv.now - from;
		c->step_spin[fbv.step] += fbv.now - from;
	}
}

void fbv_spin(const void *p, uint64_t old, unsigned bytes, uint64_t until)
{
	struct fbv_cpu *c = sim.self;
	uint32_t n = (uint32_t)fbv_line_of(p);
	struct fbv_line *l;
	uint64_t from = fbv.now;

	if (!c)
		return;
	fbv_pause();
	if (!fbv_ahead())
		fbv_order();
	/* Without a copy the caller's next look fetches one. A store of its own under way ends in a moment. */
	if (!held(n, false) || c->stores || read_word(p, bytes) != old || until <= fbv.now) {
		spun(c, from);
		return;
	}
	l = fbv_touch(n);
	if (l->taking && l->depart < until)	/* its copy is about to go */
		until = l->depart;
	c->line = n;
	c->watching = 1;
	c->watch_prev = 0;
	c->watch_next = l->watchers;
	if (l->watchers)
		sim.cpu[l->watchers - 1].watch_prev = c->id + 1u;
	l->watchers = c->id + 1u;
	c->state = FBV_SPINNING;
	c->generation++;
	c->deadline = until;
	if (!c->alarm || until < c->alarm)
		fbv_set_alarm(c);
	fbv_block();
	fbv_unwatch(c);
	spun(c, from);
}
