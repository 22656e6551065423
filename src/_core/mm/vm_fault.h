/* SPDX-License-Identifier: MIT */
/*
 * The kernel's flag words, with the kernel's values, and the numbers that cross to Python.
 *
 * FAULT_FLAG_* and VM_FAULT_* are include/linux/mm_types.h, VM_* include/linux/mm.h, _PAGE_* x86's pgtable_types.h.
 */
#ifndef FB_MM_VM_FAULT_H
#define FB_MM_VM_FAULT_H

enum {
	FAULT_FLAG_WRITE	= 1 << 0,
	FAULT_FLAG_MKWRITE	= 1 << 1,
	FAULT_FLAG_ALLOW_RETRY	= 1 << 2,
	FAULT_FLAG_RETRY_NOWAIT	= 1 << 3,
	FAULT_FLAG_KILLABLE	= 1 << 4,
	FAULT_FLAG_TRIED	= 1 << 5,
	FAULT_FLAG_USER		= 1 << 6,
	FAULT_FLAG_REMOTE	= 1 << 7,
	FAULT_FLAG_INSTRUCTION	= 1 << 8,
	FAULT_FLAG_INTERRUPTIBLE = 1 << 9,
	FAULT_FLAG_VMA_LOCK	= 1 << 12,
	FAULT_FLAG_DEFAULT	= FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE | FAULT_FLAG_INTERRUPTIBLE,
};

enum {
	VM_FAULT_OOM		= 0x000001,
	VM_FAULT_SIGBUS		= 0x000002,
	VM_FAULT_MAJOR		= 0x000004,
	VM_FAULT_SIGSEGV	= 0x000040,
	VM_FAULT_NOPAGE		= 0x000100,
	VM_FAULT_LOCKED		= 0x000200,
	VM_FAULT_RETRY		= 0x000400,
	VM_FAULT_FALLBACK	= 0x000800,
	VM_FAULT_DONE_COW	= 0x001000,
	VM_FAULT_NEEDDSYNC	= 0x002000,
	VM_FAULT_COMPLETED	= 0x004000,
	VM_FAULT_ERROR		= VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV | VM_FAULT_FALLBACK,
};

enum {
	VM_READ		= 0x00000001,
	VM_WRITE	= 0x00000002,
	VM_EXEC		= 0x00000004,
	VM_SHARED	= 0x00000008,
	VM_MAYSHARE	= 0x00000080,
	VM_SYNC		= 0x00800000,
	VM_HUGEPAGE	= 0x20000000,
	VM_NOHUGEPAGE	= 0x40000000,
};

/* One word of a page table. A table entry holds the address of the lower table, a leaf holds a frame number. */
enum {
	_PAGE_PRESENT	= 0x001,
	_PAGE_RW	= 0x002,
	_PAGE_ACCESSED	= 0x020,
	_PAGE_DIRTY	= 0x040,
	_PAGE_PSE	= 0x080,	/* a leaf above the PTE level */
	_PAGE_FLAGS	= 0xfff,
};

enum { PAGE_SHIFT = 12, PMD_SHIFT = 21, PUD_SHIFT = 30, PGDIR_SHIFT = 39, ADDR_BITS = 47, PTRS_PER_TABLE = 512 };
enum { PMD_ORDER = PMD_SHIFT - PAGE_SHIFT, PUD_ORDER = PUD_SHIFT - PAGE_SHIFT };

/* Rules of the modelled kernel: constant during a trial. The low bits are the contract with Python (DESIGN.md). */
enum {
	RULE_VMA_LOCK		= 1,	/* a per-VMA lock exists (6.4) */
	RULE_ABORT_FILE		= 2,	/* lock_vma_under_rcu refuses file mappings (6.4, 6.5) */
	RULE_HUGE_RETRY		= 4,	/* the check the patch removed, at its four places: all that `retry` is */
	RULE_FAULT_MAP_PAGES	= 8,	/* ->fault under the VMA lock if vm_ops has map_pages (6.7) */
	RULE_ANON_LATE		= 16,	/* anon_vma is prepared late, under the VMA lock (6.10) */
	RULE_PREFETCHW		= 32,	/* exc_page_fault prefetches mmap_lock for writing (x86, until 6.15) */
	RULE_TYPESAFE		= 64,	/* VMAs are SLAB_TYPESAFE_BY_RCU: reused at once (6.15) */
	RULE_PAT		= 128,	/* x86: a frame's memory type is looked up on insert (until 6.14 for fs-dax) */
	RULE_IREMAPPING		= 256,	/* XFS: a write fault asks under i_flags_lock whether a remap runs (6.7; only writes: 6.11) */
	/* resolved from other knobs when the trial is set up */
	RULE_SEQCOUNT		= 1 << 16,	/* mm_lock_seq is a seqcount: odd while write-locked (6.13) */
	RULE_REFCOUNT		= 1 << 17,	/* vm_refcnt instead of a rwsem (6.15) */
	RULE_COSTS		= 1 << 18,	/* the cost profile has an entry above 0 */
	RULE_SYNC		= 1 << 19,	/* the files are mapped with MAP_SYNC */
};

enum { VMA_LOCK_NONE, VMA_LOCK_SEPARATE, VMA_LOCK_INLINE, VMA_LOCK_ALIGNED, VMA_LOCK_REFCOUNT };
enum { MM_LAYOUT_SPLIT, MM_LAYOUT_SAME };
enum { RWSEM_KERNEL, RWSEM_NAIVE, RWSEM_PTHREAD };
enum { HANDLER_DEVICE_DAX, HANDLER_EXT4, HANDLER_XFS, HANDLER_DRIVER, HANDLER_DRIVER_RETRY, HANDLER_ANON, HANDLER_NOP,
       HANDLER_COUNT };
enum { ORDER_PMD, ORDER_PUD, ORDER_PTE, ORDER_COUNT };
enum { ACCESS_READ, ACCESS_WRITE, ACCESS_WP, ACCESS_COUNT };
enum { FB_MAP_SHARED, FB_MAP_PRIVATE, FB_MAP_COUNT };
enum { WRITER_BESIDE, WRITER_TARGET, WRITER_MPROTECT, WRITER_FSYNC, WRITER_OP_COUNT };
/* How a fault went: the class of its latency sample. */
enum { OUTCOME_DIRECT, OUTCOME_RETRIED, OUTCOME_ABORTED, OUTCOME_MISSED, OUTCOME_COUNT };

#endif
