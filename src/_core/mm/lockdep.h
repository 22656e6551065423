/* SPDX-License-Identifier: MIT */
/*
 * What the checked build knows: which locks a task holds, which rule was broken first, and the trace of a fault.
 *
 * Without FB_CHECKED every function here is empty. A rule that is broken is noted in the task and becomes the trial's
 * `invariant`; the task goes on, so that a mutant is judged by what catches it and not by a crash.
 */
#ifndef FB_MM_LOCKDEP_H
#define FB_MM_LOCKDEP_H

#include <stdio.h>

#include "mm/trial_types.h"

/* X(class, name); in the order in which a task may nest them (§6.1, §6.2), outermost first. */
#define FB_LOCK_CLASSES(X)							\
	X(MMAP_LOCK,	"mmap_lock")						\
	X(VMA_LOCK,	"vma_lock")						\
	X(DAX_SRCU,	"dax_srcu")						\
	X(S_WRITERS,	"sb_start_pagefault")					\
	X(INVALIDATE_LOCK, "invalidate_lock")					\
	X(HANDLE,	"jbd2_handle")						\
	X(DAX_ENTRY,	"dax_entry")						\
	X(I_MMAP_RWSEM,	"i_mmap_rwsem")						\
	X(ILOCK,	"ilock")						\
	X(L_CILP,	"log_commit")						\
	X(J_STATE_LOCK,	"j_state_lock")						\
	X(J_WAIT_UPDATES, "j_wait_updates")					\
	X(I_ES_LOCK,	"i_es_lock")						\
	X(I_FLAGS_LOCK,	"i_flags_lock")						\
	X(RESOURCE_LOCK, "resource_lock")					\
	X(MEMTYPE_LOCK,	"memtype_lock")						\
	X(PAGE_TABLE_LOCK, "page_table_lock")					\
	X(PMD_PTL,	"pmd_ptl")						\
	X(PTE_PTL,	"pte_ptl")						\
	X(XA_LOCK,	"xa_lock")						\
	X(WAITQ,	"dax_waitq")
enum fb_lock_class {
#define X(c, name) LOCK_##c,
	FB_LOCK_CLASSES(X)
#undef X
	LOCK_COUNT
};

/* X(rule, the words a user reads) */
#define FB_CHECKS(X)								\
	X(NONE,		"")							\
	X(DOUBLE_ACQUIRE, "a lock was taken twice by one task")			\
	X(NOT_HELD,	"a lock was released that the task does not hold")	\
	X(ORDER,	"locks were nested against their order")		\
	X(LEFT_HELD,	"a fault or an operation ended with a lock held")	\
	X(FAULT_UNLOCKED, "handle_mm_fault without the VMA lock or mmap_lock")	\
	X(RETRY_LEAK,	"VM_FAULT_RETRY returned with the VMA lock still held (1.4)") \
	X(NO_RETRY_DROPPED, "the VMA lock was dropped without VM_FAULT_RETRY (1.4)") \
	X(LOCKING_FAULT, "locking.rst: ->fault needs mmap_lock for read")	\
	X(LOCKING_HUGE_FAULT, "locking.rst: ->huge_fault needs mmap_lock for read") \
	X(LOCKING_MAP_PAGES, "locking.rst: ->map_pages needs a fault lock and must not block") \
	X(LOCKING_PFN_MKWRITE, "locking.rst: ->pfn_mkwrite needs mmap_lock for read") \
	X(WRITE_UNLOCKED, "a VMA was changed without being write-locked")	\
	X(USE_AFTER_FREE, "a VMA was used after its grace period")		\
	X(STALE_VMA,	"a read-locked VMA was detached, not in the tree, of another mm, or without the address") \
	X(READER_IN_WRITE, "a VMA was write-locked while a reader was inside")	\
	X(ENTRY_LOST,	"an entry was overwritten without looking under its lock") \
	X(ENTRY_UNLOCKED, "a page cache entry was unlocked by somebody else")	\
	X(FREED_COUNTED, "a VMA was freed while vm_refcnt counts a reader or the tree")	\
	X(MISSES,	"a detached VMA stays in the tree")			\
	X(NO_MEMORY,	"the arena ran out of objects")				\
	X(HANDLER_ERROR, "a handler answered VM_FAULT_SIGBUS or VM_FAULT_OOM")
enum fb_check {
#define X(c, text) CHECK_##c,
	FB_CHECKS(X)
#undef X
	CHECK_COUNT
};

/* Run-time mutants of mm/: exactly one is on, in checked builds only. X(mutant, what is broken) */
#define FB_MUTANTS(X)								\
	X(NONE,			"")						\
	X(NO_RECHECK,		"vma_start_read does not look at the sequence again") \
	X(LATE_SEQ,		"vma_start_write sets vm_lock_seq after its unlock") \
	X(DOUBLE_END_READ,	"the entry code drops the VMA lock after RETRY too") \
	X(RETRY_LEAKS,		"driver-retry answers RETRY with the VMA lock held") \
	X(NO_SECOND_LOOKUP,	"the mmap_lock pass uses the VMA of the first pass") \
	X(FREED_EARLY,		"a VMA is freed without a grace period")	\
	X(END_AFTER_UNLOCK,	"vma_end_write_all after mmap_write_unlock")	\
	X(NOT_DETACHED,		"munmap does not mark the VMA detached")	\
	X(PMD_NO_RECHECK,	"insert_pfn_pmd does not look under the ptl")	\
	X(WRITER_NO_WAIT,	"vma_start_write does not wait for readers")	\
	X(DETACH_NO_WAIT,	"vma_mark_detached frees over a passing reader (refcount)") \
	X(TABLE_NO_RECHECK,	"__pmd_alloc installs without looking under the lock") \
	X(XA_EARLY_UNLOCK,	"the entry is unlocked before the PMD is installed") \
	X(NO_END_WRITE,		"vma_end_write_all does nothing")		\
	X(DOWNGRADE_KEEPS,	"mmap_write_downgrade keeps the VMA write locks") \
	X(ENTRY_SKIPPED,	"insert_pfn_pmd answers NOPAGE and installs nothing") \
	X(S_WRITERS_KEPT,	"sb_end_pagefault does not count out")		\
	X(ES_LOCK_KEPT,		"iomap_begin leaves i_es_lock read-locked")
enum fb_mutant {
#define X(m, text) MUTANT_##m,
	FB_MUTANTS(X)
#undef X
	MUTANT_COUNT
};

#ifdef FB_CHECKED
#define FB_CHECKED_BUILD 1
#else
#define FB_CHECKED_BUILD 0
#endif
#define FB_MUTANT(w, m) (FB_CHECKED_BUILD && (w)->t->mutant == (uint32_t)(m))

static inline const char *fb_check_text(uint32_t check)
{
#define X(c, text) text,
	static const char *const texts[] = { FB_CHECKS(X) };
#undef X
	return texts[check];
}

/* A mutant may hang or crash what comes after, so what catches it is also said at once. */
FB_INLINE void fb_violate(struct fb_worker *w, uint32_t check)
{
	if (w->violation == CHECK_NONE) {
		if (FB_CHECKED_BUILD && w->t->mutant)
			fprintf(stderr, "%s\n", fb_check_text(check));
		w->violation = check;
		w->violation_step = w->last_step;
	}
}

FB_INLINE void fb_event(struct fb_worker *w, uint32_t kind, uint32_t what, const void *obj)
{
	if (FB_CHECKED_BUILD && w->trace_on && w->trace_nr < w->trace_max)
		w->trace[w->trace_nr++] = (struct fb_event){ kind, what, (uint64_t)(uintptr_t)obj };
}

/* A step begins: announced to the machine, recorded here. One that takes a lock begins by waiting for it. */
FB_INLINE void fb_enter(struct fb_worker *w, uint32_t step, const void *obj)
{
	fb_step(w->me, step, obj);
	if (FB_CHECKED_BUILD) {
		w->last_step = step;
		fb_event(w, FB_EVENT_STEP, step, obj);
	}
}

/* … and its busy time, where the kernel spends it: under the lock. */
FB_INLINE void fb_pay(struct fb_worker *w, uint32_t step)
{
	if (w->t->rules & RULE_COSTS && w->t->cost[step])
		fb_work(w->t->cost[step]);
}

FB_INLINE void fb_at(struct fb_worker *w, uint32_t step, const void *obj)
{
	fb_enter(w, step, obj);
	fb_pay(w, step);
}

FB_INLINE bool fb_holds(const struct fb_worker *w, uint32_t class_, const void *obj)
{
	for (uint32_t i = 0; i < w->nr_held; i++)
		if (w->held[i].class_ == class_ && (!obj || w->held[i].obj == obj))
			return true;
	return false;
}

/* A trylock cannot deadlock, so it may be nested anywhere (vmf_anon_prepare does). */
FB_INLINE void fb_try_acquired(struct fb_worker *w, uint32_t class_, const void *obj, bool shared)
{
	if (!FB_CHECKED_BUILD)
		return;
	fb_event(w, shared ? FB_EVENT_ACQUIRE_SHARED : FB_EVENT_ACQUIRE, class_, obj);
	if (fb_holds(w, class_, obj))
		fb_violate(w, CHECK_DOUBLE_ACQUIRE);
	if (w->nr_held < FB_HELD_MAX)
		w->held[w->nr_held++] = (struct fb_held){ class_, shared, obj };
}

FB_INLINE void fb_acquired(struct fb_worker *w, uint32_t class_, const void *obj, bool shared)
{
	if (!FB_CHECKED_BUILD)
		return;
	for (uint32_t i = 0; i < w->nr_held; i++)
		if (w->held[i].class_ > class_)
			fb_violate(w, CHECK_ORDER);
	fb_try_acquired(w, class_, obj, shared);
}

FB_INLINE void fb_try_failed(struct fb_worker *w, uint32_t class_, const void *obj)
{
	if (FB_CHECKED_BUILD)
		fb_event(w, FB_EVENT_TRY_FAILED, class_, obj);
}

FB_INLINE void fb_released(struct fb_worker *w, uint32_t class_, const void *obj)
{
	if (!FB_CHECKED_BUILD)
		return;
	fb_event(w, FB_EVENT_RELEASE, class_, obj);
	for (uint32_t i = w->nr_held; i-- > 0;)
		if (w->held[i].class_ == class_ && w->held[i].obj == obj) {
			for (w->nr_held--; i < w->nr_held; i++)
				w->held[i] = w->held[i + 1];
			return;
		}
	fb_violate(w, CHECK_NOT_HELD);
}

#endif
