/* SPDX-License-Identifier: MIT */
/*
 * What nobody shares while a trial runs: the trial's constants, and each task's own counters, samples and caches.
 *
 * Plain memory outside the arena. fb_trial is written before the tasks start and only read by them; a fb_worker
 * belongs to one task and is read by others after it has ended. Nothing here is part of the modelled kernel but the
 * per-CPU things (vm_events, slab magazines), which cost it no shared line.
 */
#ifndef FB_MM_TRIAL_TYPES_H
#define FB_MM_TRIAL_TYPES_H

#include "mm/mm_types.h"

/* Per worker, as the kernel counts them where it has the counter (§1.5). X(name) in the order of the output. */
#define FB_COUNTERS(X)								\
	X(faults) X(no_vma)							\
	X(vma_lock_success) X(vma_lock_abort) X(vma_lock_retry) X(vma_lock_miss)	\
	X(mmap_lock_reads) X(mmap_lock_read_contended) X(mmap_lock_read_wait_ns) X(parks)	\
	X(huge_fault_calls) X(calls_pmd) X(calls_pud) X(calls_pte)		\
	X(calls_under_vma) X(calls_under_mmap) X(fallbacks)			\
	X(table_allocs) X(table_races) X(anon_vma_prepares)			\
	X(pte_installs) X(pmd_installs) X(pud_installs)				\
	X(wp_upgrades) X(splits) X(set_accessed) X(zaps) X(lost_races)		\
	X(cleared) X(refills) X(errors)

struct fb_counters {
#define X(name) uint64_t name;
	FB_COUNTERS(X)
#undef X
};

/* A latency histogram: 128 linear buckets per power of two (0.8 %), exact below 256 ns. */
enum { FB_HIST_SUB_BITS = 7, FB_HIST_SUB = 1 << FB_HIST_SUB_BITS, FB_HIST_BUCKETS = FB_HIST_SUB * 36 };

/* A cache of equal objects in the arena: per-task magazines over a locked depot, as slab and the page lists are. */
enum { FB_SLAB_BATCH = 8, FB_SLAB_MAG = 2 * FB_SLAB_BATCH, FB_DEFERRED = 4096, FB_DEFERRED_TABLES = 1024 };
enum { FB_CACHE_NODE, FB_CACHE_TABLE, FB_CACHE_VMA, FB_CACHE_COUNT };

struct fb_depot {			/* in the arena */
	struct fb_spinlock lock;
	uint32_t	next;		/* objects from here on were never used */
	uint32_t	nr;		/* indices returned to the depot */
	uint32_t	_pad[13];
};
struct fb_cache {			/* constant */
	char		*base;
	struct fb_depot	*depot;
	uint32_t	*index;		/* the depot's stack, in the arena */
	uint64_t	size;
	uint32_t	count;
};
struct fb_slab_mag {
	uint32_t	nr;
	uint32_t	index[FB_SLAB_MAG];
	uint64_t	allocs, frees;
};
struct fb_deferred {			/* freed when the grace period that began at `cookie` is over */
	uint64_t	cookie;
	uint32_t	cache;
	uint32_t	index;
};

/* One of the trial's mappings: which mm, where, which part of which file. Constant. */
struct fb_mapping {
	struct mm_struct *mm;
	uint64_t	start, end;
	uint64_t	vm_flags;
	uint64_t	pgoff;
	struct inode	*file;
};

/* An event of the checked build's trace. */
enum { FB_EVENT_STEP, FB_EVENT_ACQUIRE, FB_EVENT_ACQUIRE_SHARED, FB_EVENT_RELEASE, FB_EVENT_TRY_FAILED };
struct fb_event {
	uint32_t	kind, what;	/* what: a STEP_* or a LOCK_* */
	uint64_t	obj;
};
struct fb_held {
	uint32_t	class_, shared;
	const void	*obj;
};
enum { FB_HELD_MAX = 24 };

struct fb_trial {
	uint64_t	rules;
	const struct vm_operations_struct *vm_ops;
	uint64_t	cost[STEP_COUNT];	/* ns of busy work per step */
	uint32_t	vma_lock, rwsem, handler, order, access, writer_op, mutant;
	uint32_t	entry_shift;	/* log2 of the bytes of one entry of the trial's order */
	uint32_t	overlap, recheck;	/* recheck: look at the entry first, as the MMU does */
	uint32_t	sample_shift;
	uint64_t	slice, fallback_ppm, seed, faults, warmup_faults;
	uint64_t	writer_period_ns;
	uint32_t	workers, writers, nr_mappings, nr_files, nr_mms, lock_stride;
	struct super_block *sb;
	struct pat_locks *pat;	/* with RULE_PAT */
	struct mm_struct **mm;
	struct inode	**inode;
	struct fb_mapping *mapping;
	struct ptdesc	*ptdesc;
	char		*vma_locks;
	struct dax_waiter *waiter;
	struct fb_cache	cache[FB_CACHE_COUNT];
	uint64_t	beside_base;	/* where writer_op=beside maps and unmaps */
	void		*tasks;		/* the machine's */
};

struct fb_worker {
	struct fb_task	*me;
	const struct fb_trial *t;
	struct mm_struct *mm;
	uint64_t	base;		/* first byte of its slice */
	uint64_t	entries;	/* in its slice */
	uint32_t	id, outcome;
	uint64_t	index;		/* next entry */
	struct fb_counters c;
	struct fb_counters at_open;
	uint64_t	start_ns, end_ns, cpu_start, cpu_end;
	uint64_t	refill_ns, refill_cpu, refill_ns_open, refill_cpu_open;
	uint32_t	opened, closed;
	uint64_t	generation;
	uint64_t	rng;
	uint32_t	*hist;		/* OUTCOME_COUNT * FB_HIST_BUCKETS, or NULL */
	/* writers */
	uint64_t	ops, ops_open, mmap_lock_writes, writes_open, wait_ns_max;
	struct fb_slab_mag mag[FB_CACHE_COUNT];
	struct fb_deferred *deferred;	/* a ring of FB_DEFERRED; writers and set-up have one */
	uint32_t	deferred_head, deferred_nr, deferred_tables;
	/* checked builds */
	struct fb_held	held[FB_HELD_MAX];
	uint32_t	nr_held;
	uint32_t	violation;	/* the first rule broken, FB_RULE_*; 0 = none */
	uint32_t	violation_step;
	struct fb_event	*trace;
	uint32_t	trace_nr, trace_max, trace_on, last_step;
} __attribute__((aligned(FB_LINE_PAIR)));

/* The kernel's struct vm_fault: one fault's own; never shared. */
struct vm_fault {
	struct vm_area_struct *vma;
	struct fb_worker *w;
	uint64_t	address, pgoff;
	uint64_t	*pud, *pmd, *pte;
	uint64_t	orig_pud, orig_pmd, orig_pte;
	uint32_t	flags, cow;
};

/* The driver's answers. Handlers return VM_FAULT_*; NULL = the driver has no such operation. */
struct vm_operations_struct {
	uint32_t	(*fault)(struct vm_fault *vmf);
	uint32_t	(*huge_fault)(struct vm_fault *vmf, uint32_t order);
	uint32_t	(*map_pages)(struct vm_fault *vmf);
	uint32_t	(*pfn_mkwrite)(struct vm_fault *vmf);
	uint32_t	dax;		/* vma_is_dax(): huge faults whatever sysfs says */
	uint32_t	write_notify;	/* a read installs a read-only entry, so that a write faults again */
};

#endif
