/* SPDX-License-Identifier: MIT */
/* How far apart CPUs and copies are. CPUs of a run are numbered by place, so neighbours are ranges of numbers. */
#include "machine/sim.h"

uint64_t fbv_shortest_transfer(void)
{
	uint64_t least = FBV_NEVER;

	for (uint32_t i = 1; i < sim.nr; i++) {
		uint64_t t = fbv_distance(&sim.cpu[i - 1], &sim.cpu[i]);	/* neighbours are nearest: CPUs are sorted */

		t -= t * sim.m.in_flight / 1000;
		if (t < least)
			least = t;
	}
	return least == FBV_NEVER ? 0 : least;
}

/* Copies of the line among CPUs [from, to), without c's. */
static bool others_in(const struct fbv_cpu *c, uint32_t n, uint32_t from, uint32_t to)
{
	const uint64_t *bits = fbv_copies_of(n);

	for (uint32_t w = from / 64; w * 64 < to; w++) {
		uint64_t mask = ~(uint64_t)0;

		if (w == from / 64)
			mask &= ~(uint64_t)0 << from % 64;
		if (to - w * 64 < 64)
			mask &= ((uint64_t)1 << (to - w * 64)) - 1;
		if (w == c->id / 64u)
			mask &= ~((uint64_t)1 << c->id % 64);
		if (bits[w] & mask)
			return true;
	}
	return false;
}

uint64_t fbv_nearest_copy(const struct fbv_cpu *c, uint32_t n)
{
	if (sim.m.cpus_per_core > 1 && others_in(c, n, c->core_from, c->core_to))
		return sim.m.core;
	if (others_in(c, n, c->l3_from, c->l3_to))
		return sim.m.l3;
	return others_in(c, n, c->socket_from, c->socket_to) ? sim.m.socket : sim.m.remote;
}

/* With all others between the lowest and the highest of them, these two tell. There is at least one. */
uint64_t fbv_farthest_copy(const struct fbv_cpu *c, uint32_t n)
{
	const uint64_t *bits = fbv_copies_of(n);
	uint32_t me = c->id / 64u, w = 0, low, high;
	uint64_t but_me = ~((uint64_t)1 << c->id % 64), word;

	while (!(word = w == me ? bits[w] & but_me : bits[w]))
		w++;
	low = w * 64 + (uint32_t)__builtin_ctzll(word);
	for (w = fbv.words - 1; !(word = w == me ? bits[w] & but_me : bits[w]);)
		w--;
	high = w * 64 + 63 - (uint32_t)__builtin_clzll(word);
	if (low < c->socket_from || high >= c->socket_to)
		return sim.m.remote;
	if (low < c->l3_from || high >= c->l3_to)
		return sim.m.socket;
	return low < c->core_from || high >= c->core_to ? sim.m.l3 : sim.m.core;
}
