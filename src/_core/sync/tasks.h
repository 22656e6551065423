/* SPDX-License-Identifier: MIT */
/* Set-up of the tasks of a trial. */
#ifndef FB_SYNC_TASKS_H
#define FB_SYNC_TASKS_H

#include "sync/arena.h"
#include "sync/rcu.h"

enum { FB_TASKS_MAX = 0xfffe };	/* ids + 1 fit the 16-bit tail of a qspinlock */

/*
 * `nr` tasks (at most FB_TASKS_MAX) in host memory, their shared halves and their RCU in the arena, all named. NULL: out of
 * memory; free with fb_tasks_destroy before the arena goes. The caller sets cpu, kind and arg. A task's function begins
 * with fb_rcu_online(me) and ends with fb_rcu_offline(me).
 */
static inline struct fb_task *fb_tasks_create(struct fb_arena *a, uint32_t nr)
{
	struct fb_task_shared *sh;
	struct fb_task *tasks;
	struct fb_rcu *rcu;

	if (!nr || nr > FB_TASKS_MAX)
		return NULL;
	sh = fb_arena_alloc(a, (size_t)nr * sizeof(*sh), FB_LINE_PAIR);
	rcu = fb_arena_alloc(a, sizeof(*rcu), FB_LINE_PAIR);
	tasks = aligned_alloc(FB_LINE_PAIR, (size_t)nr * sizeof(*tasks));
	if (!sh || !rcu || !tasks || fb_arena_name(a, fb_arena_off(a, rcu), sizeof(*rcu), "rcu", -1, "")) {
		free(tasks);
		return NULL;
	}
	fb_rcu_init(rcu);
	memset(tasks, 0, (size_t)nr * sizeof(*tasks));
	for (uint32_t i = 0; i < nr; i++) {
		tasks[i].id = i;
		tasks[i].cpu = -1;
		tasks[i].nr = nr;
		tasks[i].all = tasks;
		tasks[i].sh = &sh[i];
		tasks[i].rcu = rcu;
		fb_store_u32(&sh[i].osq.cpu, i + 1, FB_RELAXED);
		if (fb_arena_name(a, fb_arena_off(a, &sh[i]), sizeof(*sh), "task", i, "") ||
		    fb_arena_name(a, fb_arena_off(a, &sh[i].mcs), sizeof(sh->mcs), "task", i, "mcs") ||
		    fb_arena_name(a, fb_arena_off(a, &sh[i].osq), sizeof(sh->osq), "task", i, "osq") ||
		    fb_arena_name(a, fb_arena_off(a, &sh[i].waiter), sizeof(sh->waiter), "task", i, "waiter") ||
		    fb_arena_name(a, fb_arena_off(a, &sh[i].rcu), sizeof(sh->rcu), "task", i, "rcu") ||
		    fb_arena_name(a, fb_arena_off(a, sh[i].percpu), sizeof(sh->percpu), "task", i, "percpu")) {
			free(tasks);
			return NULL;
		}
	}
	return tasks;
}

static inline void fb_tasks_destroy(struct fb_task *tasks)
{
	free(tasks);
}

#endif
