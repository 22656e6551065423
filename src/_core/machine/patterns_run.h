/* SPDX-License-Identifier: MIT */
/* A run of one small workload (patterns.h), from its arena to what each task counted. */
#ifndef FB_MACHINE_PATTERNS_RUN_H
#define FB_MACHINE_PATTERNS_RUN_H

#include "machine/patterns.h"

static void fb_pattern_main(struct fb_task *me)
{
	struct fb_pattern_task *t = me->arg;
	int phase = fb_window(me);

	fb_count(me, phase == FB_WINDOW_OPEN);
	t->from_ns = fb_now();
	t->cpu_ns = -fb_cpu_ns();
	while (t->turns ? t->done < t->turns : phase != FB_WINDOW_CLOSED) {
		t->done += fb_pattern_turn(me, t);
		fb_work(t->outside_ns);
		if (!t->turns && fb_window(me) != phase) {
			if (phase == FB_WINDOW_WARMUP) {
				t->done = t->failed = 0;
				t->from_ns = fb_now();
				fb_count(me, true);
			}
			phase = fb_window(me);
		}
	}
	t->to_ns = fb_now();
	t->cpu_ns += fb_cpu_ns();
	fb_count(me, false);
}

struct fb_pattern_run {
	/* in */
	enum fb_pattern pattern;
	uint32_t nr;
	const int32_t *cpus;	/* one per task; NULL: anywhere */
	uint64_t turns, warmup_ns, duration_ns, inside_ns, outside_ns;
	/* out: one per task */
	uint64_t *done, *failed, *ns, *parks, *cpu_ns, *unpark_ns, *wake_ns, *kept, *kept_ns, *found_ns;
	uint64_t guarded;
	struct fb_rwsem at_rest;
};

/*
 * Run it. `report` is called before the arena goes. 0 or an errno. The arena is about 1 KiB a task.
 */
static int fb_pattern_run(struct fb_pattern_run *r, void (*report)(void *arg, struct fb_arena *a), void *arg)
{
	struct fb_arena arena;
	struct fb_run run = {0};
	struct fb_pattern_task *t = NULL;
	struct fb_pattern_lines *lines;
	int err = fb_arena_init(&arena, (size_t)r->nr * 2048 + 65536);

	if (err)
		return err;
	err = ENOMEM;
	run.tasks = fb_tasks_create(&arena, r->nr);
	lines = fb_arena_alloc(&arena, sizeof(*lines), FB_LINE_PAIR);
	t = aligned_alloc(FB_LINE_PAIR, r->nr * sizeof(*t));
	if (!run.tasks || !lines || !t)
		goto out;
	fb_rwsem_init(&lines->sem);
	memset(t, 0, r->nr * sizeof(*t));
	for (uint32_t i = 0; i < r->nr; i++) {
		t[i] = (struct fb_pattern_task){.lines = lines, .turns = r->turns, .inside_ns = r->inside_ns,
						.outside_ns = r->outside_ns, .pattern = r->pattern};
		t[i].own = fb_arena_alloc(&arena, FB_LINE_PAIR, FB_LINE_PAIR);
		if (!t[i].own)
			goto out;
		*t[i].own = (uint64_t)(uintptr_t)t[i].own;
		run.tasks[i].arg = &t[i];
		run.tasks[i].cpu = r->cpus ? r->cpus[i] : -1;
	}
	run.nr = run.nr_workers = r->nr;
	run.fn = fb_pattern_main;
	run.warmup_ns = r->turns ? 0 : r->warmup_ns;
	run.duration_ns = r->turns ? 0 : r->duration_ns;
	err = fb_machine_run(&run);
	for (uint32_t i = 0; !err && i < r->nr; i++) {
		r->done[i] = t[i].done;
		r->failed[i] = t[i].failed;
		r->ns[i] = t[i].to_ns - t[i].from_ns;
		r->parks[i] = run.tasks[i].parks;
		r->cpu_ns[i] = t[i].cpu_ns;
		r->unpark_ns[i] = t[i].unpark_ns;
		r->wake_ns[i] = t[i].wake_ns;
		r->kept[i] = t[i].kept;
		r->kept_ns[i] = t[i].kept_ns;
		r->found_ns[i] = t[i].found_ns;
	}
	r->guarded = fb_load_u64(&lines->guarded, FB_RELAXED);
	if (!err && report)
		report(arg, &arena);
out:
	free(t);
	if (run.tasks)
		fb_tasks_destroy(run.tasks);
	fb_arena_destroy(&arena);
	return err;
}

#endif
