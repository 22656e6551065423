/* SPDX-License-Identifier: MIT */
/*
 * What a CPU does not stall for: the store buffer, which commits in program order, and prefetchw. Both ask for lines in
 * slots of their own. A store that found no slot, or its line asked for already, is tried again at the CPU's next arrival
 * (fbv_arrive), or when a prefetch gives its slot back.
 */
#include "machine/sim.h"

static uint32_t free_slot(const struct fbv_cpu *c)
{
	for (uint32_t i = 1; i < sim.slots; i++)
		if (!c->request[i].busy)
			return i;
	return sim.slots;
}

static inline void commit(const struct fbv_entry *e)
{
	switch (e->bytes) {
	case 1:
		*(uint8_t *)e->p = (uint8_t)e->value;
		break;
	case 2:
		*(uint16_t *)e->p = (uint16_t)e->value;
		break;
	case 4:
		*(uint32_t *)e->p = (uint32_t)e->value;
		break;
	default:
		*(uint64_t *)e->p = e->value;
	}
}

/* Commit what may be committed, in order, and ask for the lines of the rest. */
bool fbv_advance_stores(struct fbv_cpu *c, uint64_t t)
{
	struct fbv_line *last = NULL;

	while (c->stores) {
		struct fbv_entry *e = &c->store[c->store_first];

		if (e->at > t || !fbv_can_write(c, e->line, t))
			break;
		commit(e);
		last = fbv_touch(e->line);
		last->dirty = 1;
		c->store_first = c->store_first + 1 == sim.m.store_buffer ? 0 : c->store_first + 1;
		c->stores--;
	}
	for (uint32_t i = 0; i < c->stores; i++) {
		const struct fbv_entry *e = fbv_store_at(c, i);
		uint32_t slot;

		if (e->at > t)
			break;
		if (!fbv_can_write(c, e->line, t) && fbv_pending(c, e->line) == sim.slots) {
			slot = free_slot(c);
			if (slot == sim.slots)
				break;
			fbv_enqueue(c, slot, e->line, FBV_OWN, t, 0);
		}
	}
	if (c->state != FBV_DRAINING || !last)
		return false;
	if (c->stores && !(c->op == FBV_OP_ROOM && c->stores < sim.m.store_buffer))
		return false;
	fbv_count_wait(c, last, t);
	return fbv_attempt(c, t);
}

bool fbv_issue_prefetch(struct fbv_cpu *c, uint32_t slot, uint64_t t)
{
	uint32_t n = c->request[slot].line;
	struct fbv_line *l = fbv_touch(n);

	c->request[slot].busy = 0;
	c->requests--;
	if (fbv_can_write(c, n, t) || fbv_pending(c, n) != sim.slots ||
	    (sim.m.prefetchw == FBV_PREFETCHW_MERGE && (l->serving || l->head)))
		/* A store from before it may have counted on this request, or on its slot: nothing will arrive for it. */
		return c->stores && fbv_advance_stores(c, t);
	fbv_enqueue(c, slot, n, FBV_OWN, t, 0);
	return false;
}
