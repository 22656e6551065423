/* SPDX-License-Identifier: MIT */
/* One run of all tasks of a trial: what every machine is given and gives back. */
#ifndef FB_MACHINE_RUN_H
#define FB_MACHINE_RUN_H

struct fb_run {
	/* in */
	struct fb_task *tasks;		/* id, cpu, sh, all, nr, arg filled in by fb_tasks_init and the caller */
	uint32_t nr;			/* of tasks */
	uint32_t nr_workers;		/* the first so many are workers: when the last returns, the window closes */
	void (*fn)(struct fb_task *me);	/* what each task does; returns soon after fb_window(me) is FB_WINDOW_CLOSED */
	uint64_t warmup_ns;		/* of FB_WINDOW_WARMUP */
	uint64_t duration_ns;		/* of FB_WINDOW_OPEN after it; 0 = by count: the window is open from the start
					 * until every worker has returned */
	bool queued;			/* keep spinlocks first come, first served where there are more tasks than CPUs: for
					 * torture of the queue; a trial leaves it false (fb_task.crowded) */
	/* out */
	uint32_t started;		/* tasks that were started; fewer than nr is a failure: "started k of n" */
	uint32_t unpinned;		/* tasks that could not be pinned to their cpu */
	uint64_t start_ns;		/* the gate opened */
	uint64_t open_ns, closed_ns;	/* when the window changed */
};

#endif
