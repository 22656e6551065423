/* SPDX-License-Identifier: MIT */
/*
 * What virtual.pyx says to the virtual machine before and after a run: the machine's figures, and what it counted.
 *
 * All latencies are picoseconds. They come from a machine file (src/faultbench/machines/data), which gives the source
 * of each or calls it an estimate.
 */
#ifndef FB_MACHINE_SIMAPI_H
#define FB_MACHINE_SIMAPI_H

#include <stddef.h>
#include <stdint.h>

enum { FBV_STEPS = 96 };	/* step codes (mm/steps.h) are below this */

enum fbv_arbitration { FBV_FIFO, FBV_NEAREST };
/*
 * exc_page_fault's prefetchw: not done at all; as a store that waits; a request of its own that nobody waits for;
 * or one that joins what is already on its way: dropped where others are queueing for the line.
 */
enum fbv_prefetchw { FBV_PREFETCHW_OFF, FBV_PREFETCHW_STALL, FBV_PREFETCHW_QUEUE, FBV_PREFETCHW_MERGE };

/* A load of a line that another CPU has written: leaves a copy with each, or takes the line away with ownership. */
enum fbv_dirty_load { FBV_DIRTY_SHARES, FBV_DIRTY_MIGRATES };

/* X(name): in this order in the dict that virtual.pyx takes */
#define FBV_FIGURES(X)									\
	X(cpus)			/* on the machine */					\
	X(cpus_per_core) X(cpus_per_l3) X(cpus_per_socket)	/* neighbours in number */ \
	X(load) X(store) X(rmw)			/* on a line that it holds */		\
	X(core) X(l3) X(socket) X(remote)	/* transfer from a CPU of the same … */	\
	X(memory)				/* from nobody */			\
	X(invalidate)		/* each further copy that a transfer invalidates */	\
	X(residency)		/* what has come stays at least so long */		\
	X(in_flight)		/* thousandths of a transfer in which nobody has it */	\
	X(arbitration) X(bypass)	/* nearest: how often one may be passed over */	\
	X(prefetchw) X(dirty_load)						\
	X(overlap)		/* instructions behind a miss that go on: so much of their time */ \
	X(store_buffer) X(outstanding)	/* entries; requests that do not stall */	\
	X(pause)		/* one turn of a spin loop */				\
	X(park) X(wake) X(unpark)	/* going to sleep; latency of a wake-up; its cost to the waker */ \
	X(jitter)		/* of busy work, ± thousandths */			\
	X(stagger)		/* CPUs start within so much */

struct fbv_machine {
#define X(name) uint64_t name;
	FBV_FIGURES(X)
#undef X
};

/* Their names, NULL at the end. */
static inline const char *const *fbv_figure_names(void)
{
	static const char *const names[] = {
#define X(name) #name,
		FBV_FIGURES(X)
#undef X
		NULL,
	};

	return names;
}

/* What one CPU did in its window. Times in ps. */
struct fbv_cpu_report {
	uint64_t hits, fetches, transfers, waits, wait, spin, parked;
};

/* One line that was fetched or transferred in the window. */
struct fbv_line_report {
	uint64_t offset;	/* in the arena, bytes */
	uint64_t hits, fetches, transfers, invalidated, wait;
};

struct fbv_log_record {
	uint64_t ps, obj, wait;	/* obj: offset in the arena + 1, 0 = none */
	uint32_t what;		/* the step of FBV_LOG_STEP; the step that it happened in otherwise */
	uint16_t cpu;		/* the task's id */
	uint16_t type;
};

#define FBV_PUBLIC __attribute__((visibility("hidden")))

/* Before a run. `log_max`: how many records to keep; 0 = none. Tasks [mute_from, mute_to) leave none. */
FBV_PUBLIC void fbv_configure(const struct fbv_machine *m, uint64_t seed, uint64_t log_max, uint32_t mute_from,
			      uint32_t mute_to);
/* After a run and before the arena goes. */
FBV_PUBLIC void fbv_report_cpu(uint32_t task, struct fbv_cpu_report *r);
/* Five rows of FBV_STEPS sums over all tasks [from, to): time, of it stalled, spinning, asleep; lines that came. */
FBV_PUBLIC void fbv_report_steps(uint32_t from, uint32_t to, uint64_t *sums);
FBV_PUBLIC size_t fbv_report_lines(struct fbv_line_report *r, size_t max);	/* how many it filled in; NULL: there are */
FBV_PUBLIC size_t fbv_report_log(const struct fbv_log_record **r);
FBV_PUBLIC void fbv_release(void);	/* what the last run kept */

#endif
