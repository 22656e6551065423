/* SPDX-License-Identifier: MIT */
/*
 * A task: one worker or writer, on whatever machine.
 *
 *	struct fb_task		host memory, one line pair for what never changes, one for what only its owner touches
 *	    └─► sh		struct fb_task_shared, in the arena: every word another task may touch, so that a
 *				waiter, an MCS node, an osq node is never on a stack
 *
 * Pointers to struct fb_task are what lock words hold (an owner, a waiter's task); through them others read only the
 * fields that are constant from set-up on.
 */
#ifndef FB_SYNC_TASK_H
#define FB_SYNC_TASK_H

#ifndef FB_SYNC_ATOMIC_H
#error "include sync/atomic.h"
#endif

#define FB_PERCPU_SLOTS 24	/* per-task words of the per-CPU locks: a task stands for the CPU it runs on */

struct fb_task;

struct fb_list {
	struct fb_list *next, *prev;
};

/* qspinlock: kernel/locking/mcs_spinlock.h. One is enough: without interrupts a task waits for one spinlock at a time. */
struct fb_mcs_node {
	struct fb_mcs_node *next;
	uint32_t locked;
	uint32_t pad;
};

/* kernel/locking/osq_lock.c, struct optimistic_spin_node */
struct fb_osq_node {
	struct fb_osq_node *next, *prev;
	uint64_t locked;
	uint32_t cpu;		/* task id + 1; constant */
	uint32_t pad;
};

enum fb_rwsem_waiter_type { FB_RWSEM_WAITING_FOR_WRITE, FB_RWSEM_WAITING_FOR_READ };

/* struct rwsem_waiter: everything under the rwsem's wait_lock, but `task`, cleared (release) to grant a reader */
struct fb_rwsem_waiter {
	struct fb_list list;
	struct fb_task *task;
	uint32_t type;
	uint32_t handoff_set;
	uint64_t timeout;	/* ns; from then on the head of the queue may ask for the handoff */
};

struct fb_task_shared {
	/* Spun on or written by others: each group on its own line. */
	_Alignas(FB_LINE_PAIR) struct fb_mcs_node mcs;
	_Alignas(FB_CACHELINE) struct fb_osq_node osq;
	_Alignas(FB_CACHELINE) struct fb_rwsem_waiter waiter;
	_Alignas(FB_CACHELINE) uint32_t token;	/* fb_park: 0 nothing, 1 an unpark is owed, 2 asleep */
	uint32_t on_cpu;	/* 0 while asleep in fb_park: task_struct.on_cpu as far as we can know it */
	/* Written by the owner, read by grace periods and per-CPU writers. */
	_Alignas(FB_CACHELINE) uint64_t rcu;	/* rcu.h: grace period last seen; 0 = offline */
	_Alignas(FB_CACHELINE) uint64_t percpu[FB_PERCPU_SLOTS];
};

struct fb_machine;
struct fb_rcu;

struct fb_task {
	/* Constant from set-up on: anyone may read it, plainly. */
	_Alignas(FB_LINE_PAIR) uint32_t id;	/* 0 … nr-1 */
	int32_t cpu;				/* CPU to run on; -1 = anywhere */
	struct fb_task_shared *sh;
	struct fb_task *all;			/* every task of the trial: all[0 … nr-1] */
	uint32_t nr;
	uint16_t kind;				/* the trial's: worker, writer */
	uint16_t crowded;			/* the machine's: there are more tasks than CPUs, so that any may not run */
	struct fb_rcu *rcu;			/* in the arena */
	struct fb_machine *machine;
	void *arg;				/* the trial's state of this task */

	/* The owner's own: nobody else reads it while the trial runs. */
	_Alignas(FB_LINE_PAIR) uint64_t parks;	/* times it really slept */
	uint64_t contended;			/* rwsem slow paths taken */
	uint64_t wait_ns;			/* time inside them */
	uint64_t rcu_seen;			/* own copy of sh->rcu */
	uint32_t rcu_nesting;
	uint32_t poll;				/* turns of fb_poll_u64: the clock is read at every 16th */
	void (*on_step)(struct fb_task *me, int step, const void *obj);	/* fb_step in a checked build; may be NULL */
};

_Static_assert(sizeof(struct fb_task_shared) % FB_LINE_PAIR == 0, "tasks must not share a line pair");
_Static_assert(sizeof(struct fb_task) == 2 * FB_LINE_PAIR, "constant half, owner's half");

#endif
