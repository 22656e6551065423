/* SPDX-License-Identifier: MIT */
/* The virtual machine's memory, and what it tells about a run: lines, CPUs, steps, the log. */
#include "machine/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

FBV_HIDDEN struct fbv_hot fbv;

enum { HUGE_PAGE = 2 << 20 };

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* The arena is not on huge pages: what no CPU touches costs nothing. */
void *fb_machine_map(size_t bytes)
{
	size_t want, head;
	char *p;

	if (__builtin_add_overflow(bytes, (size_t)HUGE_PAGE, &want)) {
		errno = ENOMEM;
		return NULL;
	}
	p = reserve(want);
	if (!p)
		return NULL;
	head = (size_t)(-(uintptr_t)p & (HUGE_PAGE - 1));
	if (head)
		munmap(p, head);
	munmap(p + head + bytes, HUGE_PAGE - head);
	fbv_release();
	fbv.base = (uintptr_t)(p + head);
	fbv.limit = 0;
	fbv.step_ps = sim.no_steps;
	sim.arena_bytes = bytes;
	return p + head;
}

void fb_machine_unmap(void *p, size_t bytes) { munmap(p, bytes); }

int fbv_set_up_memory(uint32_t nr)
{
	size_t lines = sim.arena_bytes / FB_CACHELINE + 1;

	fbv_release();
	sim.slots = (uint32_t)sim.m.outstanding + 1;
	fbv.words = (nr + 63) / 64;
	sim.line_bytes = lines * sizeof(struct fbv_line);
	sim.copies_bytes = lines * fbv.words * sizeof(uint64_t);
	sim.traffic_bytes = lines * sizeof(struct fbv_traffic);
	sim.cpu = calloc(nr, sizeof(*sim.cpu));
	sim.ids = calloc(nr, sizeof(*sim.ids));
	sim.request = calloc((size_t)nr * sim.slots, sizeof(*sim.request));
	sim.stores = calloc((size_t)nr * sim.m.store_buffer, sizeof(*sim.stores));
	fbv.lines = reserve(sim.line_bytes);
	fbv.copies = reserve(sim.copies_bytes);
	sim.traffic = reserve(sim.traffic_bytes);
	if (sim.log_max)
		sim.log = malloc(sim.log_max * sizeof(*sim.log));
	if (!sim.cpu || !sim.ids || !sim.request || !sim.stores || !fbv.lines || !fbv.copies ||
	    !sim.traffic || (sim.log_max && !sim.log) || !fbv_queue_grow(&sim.events) ||
	    !fbv_queue_grow(&sim.alarms))
		return ENOMEM;
	fbv.load_ps = sim.m.load;
	fbv.store_ps = sim.m.store;
	fbv.rmw_ps = sim.m.rmw;
	fbv.jitter = (sim.m.jitter << 20) / 1000;
	fbv.logging = sim.log_max != 0;
	sim.error = 0;
	sim.vain = 0;
	return 0;
}

void fbv_release(void)
{
	fbv_queue_destroy(&sim.events);
	fbv_queue_destroy(&sim.alarms);
	free(sim.cpu);
	free(sim.ids);
	free(sim.request);
	free(sim.stores);
	free(sim.log);
	free(sim.touched);
	if (fbv.lines)
		munmap(fbv.lines, sim.line_bytes);
	if (fbv.copies)
		munmap(fbv.copies, sim.copies_bytes);
	if (sim.traffic)
		munmap(sim.traffic, sim.traffic_bytes);
	sim.cpu = NULL;
	sim.ids = NULL;
	sim.request = NULL;
	sim.stores = NULL;
	sim.log = NULL;
	sim.touched = NULL;
	fbv.lines = NULL;
	fbv.copies = NULL;
	sim.traffic = NULL;
	sim.nr = 0;
	sim.log_nr = 0;
	sim.touched_nr = sim.touched_max = 0;
}

void fbv_first_touch(uint32_t n)
{
	if (sim.touched_nr == sim.touched_max) {
		uint32_t more = sim.touched_max ? 2 * sim.touched_max : 4096;
		uint32_t *touched = realloc(sim.touched, more * sizeof(*touched));

		if (!touched)
			abort();
		sim.touched = touched;
		sim.touched_max = more;
	}
	sim.touched[sim.touched_nr++] = n;
	fbv.lines[n].depart = FBV_NEVER;
	fbv.lines[n].owner = FBV_NONE;
}

static bool muted(const struct fbv_cpu *c)
{
	return c->task->id >= sim.mute_from && c->task->id < sim.mute_to;
}

void fbv_log(struct fbv_cpu *c, uint64_t ps, enum fbv_log_type type, uint32_t what, uint64_t line, uint64_t wait)
{
	if (sim.log_nr < sim.log_max && !muted(c))
		sim.log[sim.log_nr++] = (struct fbv_log_record){
			.ps = ps, .wait = wait, .what = what, .cpu = (uint16_t)c->task->id, .type = (uint16_t)type,
			.obj = line == FBV_NO_LINE ? 0 : line * FB_CACHELINE + 1,
		};
}

void fbv_log_step(int step, const void *obj)
{
	uintptr_t p = (uintptr_t)obj;

	if (!sim.self || sim.log_nr == sim.log_max || muted(sim.self))
		return;
	fbv_log(sim.self, fbv.now, FBV_LOG_STEP, (uint32_t)step, FBV_NO_LINE, 0);
	if (p >= fbv.base && p < fbv.base + sim.arena_bytes)
		sim.log[sim.log_nr - 1].obj = p - fbv.base + 1;
}

void fbv_configure(const struct fbv_machine *m, uint64_t seed, uint64_t log_max, uint32_t mute_from, uint32_t mute_to)
{
	sim.m = *m;
	sim.seed = fbv_mix(seed + 0x9e3779b97f4a7c15u);
	sim.log_max = log_max;
	sim.mute_from = mute_from;
	sim.mute_to = mute_to;
}

void fbv_report_cpu(uint32_t task, struct fbv_cpu_report *r)
{
	const struct fbv_cpu *c = &sim.cpu[sim.ids[task]];

	*r = (struct fbv_cpu_report){c->hits, c->fetches, c->transfers, c->waits, c->wait, c->spin, c->parked};
}

void fbv_report_steps(uint32_t from, uint32_t to, uint64_t *sums)
{
	memset(sums, 0, 5 * FBV_STEPS * sizeof(*sums));
	for (uint32_t task = from; task < to; task++) {
		const struct fbv_cpu *c = &sim.cpu[sim.ids[task]];

		for (int i = 0; i < FBV_STEPS; i++) {
			sums[i] += c->steps[i];
			sums[FBV_STEPS + i] += c->step_wait[i];
			sums[2 * FBV_STEPS + i] += c->step_spin[i];
			sums[3 * FBV_STEPS + i] += c->step_parked[i];
			sums[4 * FBV_STEPS + i] += c->step_lines[i];
		}
	}
}

size_t fbv_report_lines(struct fbv_line_report *r, size_t max)
{
	size_t nr = 0;

	for (uint32_t i = 0; i < sim.touched_nr; i++) {
		const struct fbv_line *l = &fbv.lines[sim.touched[i]];
		const struct fbv_traffic *n = &sim.traffic[sim.touched[i]];

		if (!n->fetches && !n->transfers && !l->hits)
			continue;
		if (r && nr < max)
			r[nr] = (struct fbv_line_report){(uint64_t)sim.touched[i] * FB_CACHELINE, l->hits, n->fetches,
							 n->transfers, n->invalidated, l->wait};
		nr++;
	}
	return nr;
}

size_t fbv_report_log(const struct fbv_log_record **r)
{
	*r = sim.log;
	return sim.log_nr;
}
