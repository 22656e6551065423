/* SPDX-License-Identifier: MIT */
/*
 * Lines: who has them, who waits for them, when they arrive.
 *
 *	request ──► queue of the line ──► on its way ──arrival──► the access happens, then the next in the queue
 *
 * An access that misses takes effect when the line arrives and not when it was asked for; until then the old holder
 * still hits. So the holder of a contended line completes a load and the compare-and-swap after it, as real CPUs do;
 * were it taken at once, such a lock would stop making progress. What has come stays for the machine's residency.
 *
 * A shared fetch leaves copies; fetches of a line that is shared already fly together. A request for ownership
 * invalidates them and costs more the more there are. On machines whose dirty lines migrate, a load that finds the line
 * written by its owner brings it with ownership: the read-modify-write that mostly follows needs nobody.
 */
#include "machine/sim.h"

static inline bool has_copy(const struct fbv_cpu *c, uint32_t n)
{
	return fbv_copies_of(n)[c->id / 64] >> (c->id % 64) & 1;
}

static bool can_load(const struct fbv_cpu *c, uint32_t n, uint64_t t)
{
	const struct fbv_line *l = fbv_touch(n);

	return has_copy(c, n) && (t < l->depart || !l->taking);
}

static inline uint64_t less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

/* Send the line to r's CPU; returns when it arrives. */
static uint64_t begin(struct fbv_line *l, const struct fbv_request *r, uint64_t t)
{
	const struct fbv_cpu *c = &sim.cpu[r->cpu];
	uint64_t takes, flight, kept;

	if (!l->copies)
		return t + less(sim.m.memory, r->early);
	if (l->owner == c->id)
		return t;
	if (l->owner != FBV_NONE) {
		takes = fbv_distance(&sim.cpu[l->owner], c);
	} else if (r->kind == FBV_SHARED) {
		return has_copy(c, r->line) ? t : t + less(fbv_nearest_copy(c, r->line), r->early);
	} else {
		uint32_t others = l->copies - (uint32_t)has_copy(c, r->line);

		if (!others)
			return t;
		takes = fbv_farthest_copy(c, r->line) + sim.m.invalidate * (others - 1);
	}
	/* It cannot have left before it came. */
	takes = less(takes, r->early < t - l->have ? r->early : t - l->have);
	flight = takes * sim.m.in_flight / 1000;
	kept = l->have + sim.m.residency + flight;
	l->depart = t + takes > kept ? t + takes : kept;
	l->depart -= flight;
	l->taking = r->kind == FBV_OWN;
	if (l->taking && l->watchers)
		fbv_wake_watchers(l, l->depart);
	return l->depart + flight;
}

/* The next of the queue: first come, or nearest to the holder unless someone has been passed over often enough. */
static uint32_t choose(const struct fbv_line *l, uint32_t *before)
{
	uint64_t best = FBV_NEVER;
	uint32_t chosen = l->head;

	*before = FBV_NO_REQUEST;
	if (sim.m.arbitration == FBV_FIFO || l->owner == FBV_NONE || l->head == l->tail)
		return chosen;
	if (sim.request[l->head - 1].bypassed >= sim.m.bypass)
		return chosen;
	for (uint32_t prev = FBV_NO_REQUEST, i = l->head; i; prev = i, i = sim.request[i - 1].next) {
		uint64_t d = fbv_distance(&sim.cpu[l->owner], &sim.cpu[sim.request[i - 1].cpu]);

		if (d < best) {
			best = d;
			chosen = i;
			*before = prev;
		}
	}
	for (uint32_t i = l->head; i != chosen; i = sim.request[i - 1].next)
		sim.request[i - 1].bypassed++;
	return chosen;
}

static void serve(struct fbv_line *l, uint64_t t)
{
	while (l->head) {
		uint32_t before = FBV_NO_REQUEST, i = l->head;
		struct fbv_request *r = &sim.request[i - 1];

		if (l->serving) {
			if (!l->together || r->kind != FBV_SHARED)
				return;
		} else {
			i = choose(l, &before);
			r = &sim.request[i - 1];
		}
		if (before)
			sim.request[before - 1].next = r->next;
		else
			l->head = r->next;
		if (l->tail == i)
			l->tail = before;
		if (sim.m.dirty_load == FBV_DIRTY_MIGRATES && l->owner != FBV_NONE && l->owner != r->cpu && l->dirty)
			r->kind = FBV_OWN;
		l->together = l->owner == FBV_NONE && l->copies && r->kind == FBV_SHARED;
		l->serving++;
		fbv_push(begin(l, r, t), r->cpu, FBV_EVENT_ARRIVE, r->slot);
	}
}

void fbv_enqueue(struct fbv_cpu *c, uint32_t slot, uint32_t n, enum fbv_kind kind, uint64_t t, uint64_t early)
{
	struct fbv_request *r = &c->request[slot];
	struct fbv_line *l = fbv_touch(n);
	uint32_t i = c->id * sim.slots + slot + 1;

	c->requests++;
	*r = (struct fbv_request){.issued = t, .early = early, .line = n, .cpu = c->id, .slot = (uint8_t)slot,
				  .kind = (uint8_t)kind, .busy = 1};
	if (l->tail)
		sim.request[l->tail - 1].next = i;
	else
		l->head = i;
	l->tail = i;
	serve(l, t);
}

static bool wait_for(struct fbv_cpu *c, enum fbv_kind kind, uint64_t t)
{
	c->slot = fbv_pending(c, c->line);
	c->state = FBV_WAITING;
	c->missed = 1;
	c->stalled = t;
	if (c->slot == sim.slots) {
		c->slot = 0;
		fbv_enqueue(c, 0, c->line, kind, t, c->early);
	}
	return false;
}

bool fbv_attempt(struct fbv_cpu *c, uint64_t t)
{
	switch (c->op) {
	case FBV_OP_LOAD:
		return can_load(c, c->line, t) || wait_for(c, FBV_SHARED, t);
	case FBV_OP_OWN:
		if (!c->stores)
			return fbv_can_write(c, c->line, t) || wait_for(c, FBV_OWN, t);
		break;
	case FBV_OP_DRAIN:
		if (!c->stores)
			return true;
		break;
	case FBV_OP_ROOM:
		if (c->stores < sim.m.store_buffer)
			return true;
		break;
	default:
		return true;
	}
	c->state = FBV_DRAINING;
	c->stalled = t;
	return false;
}

void fbv_count_wait(struct fbv_cpu *c, struct fbv_line *l, uint64_t t)
{
	if (!c->counting)
		return;
	c->waits++;
	c->wait += t - c->stalled;
	l->wait += t - c->stalled;
	c->step_wait[c->step] += t - c->stalled;
}

bool fbv_arrive(struct fbv_cpu *c, uint32_t slot, uint64_t t)
{
	struct fbv_request *r = &c->request[slot];
	uint32_t n = r->line;
	struct fbv_line *l = fbv_touch(n);
	uint64_t *bits = fbv_copies_of(n);
	uint16_t counting = fbv_counting(c);
	bool go = c->state == FBV_WAITING && c->slot == slot;

	l->serving--;
	l->depart = FBV_NEVER;
	l->taking = 0;
	l->dirty = 0;
	l->have = t;
	r->busy = 0;
	c->requests--;
	if (r->kind == FBV_SHARED) {
		sim.traffic[n].fetches += counting;
		c->fetches += counting;
		if (!has_copy(c, n)) {
			bits[c->id / 64] |= (uint64_t)1 << c->id % 64;
			l->copies++;
		}
		/* from memory: exclusive and clean, so that a store needs nobody; else nobody may write any more */
		l->owner = l->copies == 1 ? c->id : FBV_NONE;
	} else {
		sim.traffic[n].transfers += counting;
		c->transfers += counting;
		if (counting)
			sim.traffic[n].invalidated += l->copies - (uint32_t)has_copy(c, n);
		for (uint32_t w = 0; l->copies && w < fbv.words; w++)
			bits[w] = 0;
		bits[c->id / 64] |= (uint64_t)1 << c->id % 64;
		l->copies = 1;
		l->owner = c->id;
		if (l->watchers)
			fbv_wake_watchers(l, t);
	}
	if (counting)
		c->step_lines[c->step]++;
	if (fbv.logging)
		fbv_log(c, t, FBV_LOG_ARRIVE, c->step, n, t - r->issued);
	if (go)
		fbv_count_wait(c, l, t);
	if (c->stores && fbv_advance_stores(c, t))
		go = true;
	if (l->head)
		serve(l, t);
	return go;
}
