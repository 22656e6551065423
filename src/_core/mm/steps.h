/* SPDX-License-Identifier: MIT */
/*
 * What a fault, a writer or the harness is doing: one code per kernel function that the model has.
 *
 * The code is used four times, always with the same meaning: fb_step() announces it (the trace of the checked build,
 * the attribution of the virtual machine), a cost profile gives the busy time of the work in that function that is
 * not a lock, the ledger adds it up, and `explain` prints it. A code names where the kernel spends the time, so a
 * cost is paid inside or outside a lock exactly where the function runs.
 *
 * Append only: cost lists and recorded traces are indexed by these numbers.
 */
#ifndef FB_MM_STEPS_H
#define FB_MM_STEPS_H

/* X(code, the kernel function it stands for) */
#define FB_STEPS(X)								\
	/* entry, arch/x86/mm/fault.c and mm/memory.c; kernel-reference §1 */	\
	X(EXC_PAGE_FAULT,	"exc_page_fault")	/* entry and exit, no lock held */ \
	X(LOCK_VMA_UNDER_RCU,	"lock_vma_under_rcu")	/* the walk, under RCU */ \
	X(VMA_START_READ,	"vma_start_read")				\
	X(VMA_END_READ,		"vma_end_read")					\
	X(LOCK_MM_AND_FIND_VMA,	"lock_mm_and_find_vma")	/* before mmap_lock */	\
	X(FIND_VMA,		"find_vma")		/* under mmap_lock */	\
	X(MMAP_READ_UNLOCK,	"mmap_read_unlock")				\
	/* the walk, mm/memory.c; §5 */						\
	X(HANDLE_MM_FAULT,	"__handle_mm_fault")	/* under the fault lock */ \
	X(PUD_ALLOC,		"__pud_alloc")		/* a PUD table, zeroed */ \
	X(PMD_ALLOC,		"__pmd_alloc")					\
	X(PTE_ALLOC,		"__pte_alloc")					\
	X(CREATE_HUGE_PUD,	"create_huge_pud")				\
	X(WP_HUGE_PUD,		"wp_huge_pud")					\
	X(CREATE_HUGE_PMD,	"create_huge_pmd")				\
	X(WP_HUGE_PMD,		"wp_huge_pmd")					\
	X(HUGE_SET_ACCESSED,	"huge_pmd_set_accessed")	/* and the PUD's */ \
	X(SPLIT_HUGE,		"__split_huge_pmd")		/* and the PUD's */ \
	X(HANDLE_PTE_FAULT,	"handle_pte_fault")				\
	X(DO_FAULT,		"do_fault")					\
	X(MAP_PAGES,		"filemap_map_pages")	/* finds no page on DAX */ \
	X(DO_ANONYMOUS_PAGE,	"do_anonymous_page")	/* a zeroed page */	\
	X(ANON_VMA_PREPARE,	"__anon_vma_prepare")				\
	X(DO_WP_PAGE,		"do_wp_page")					\
	X(WP_PAGE_COPY,		"wp_page_copy")		/* a copied page */	\
	X(INSERT_PFN,		"insert_pfn")		/* under the PTE ptl */	\
	X(INSERT_PFN_PMD,	"insert_pfn_pmd")	/* under the PMD ptl */	\
	X(INSERT_PFN_PUD,	"insert_pfn_pud")	/* page_table_lock */	\
	/* handlers; §6 */							\
	X(DEV_DAX_HUGE_FAULT,	"dev_dax_huge_fault")	/* under SRCU */	\
	X(DAX_SET_MAPPING,	"dax_set_mapping")	/* first touch only */	\
	X(DRIVER_HUGE_FAULT,	"driver_huge_fault")	/* out of tree */	\
	X(SB_START_PAGEFAULT,	"sb_start_pagefault")				\
	X(FILE_UPDATE_TIME,	"file_update_time")				\
	X(INVALIDATE_LOCK,	"filemap_invalidate_lock_shared")		\
	X(JOURNAL_START,	"jbd2__journal_start")				\
	X(JOURNAL_STOP,		"jbd2_journal_stop")				\
	X(GRAB_MAPPING_ENTRY,	"grab_mapping_entry")	/* xa_lock round 1 */	\
	X(IOMAP_BEGIN,		"iomap_begin")		/* ILOCK or i_es_lock */ \
	X(DAX_INSERT_ENTRY,	"dax_insert_entry")	/* xa_lock round 2 */	\
	X(DAX_COPY,		"dax_fault_cow_page")	/* private write */	\
	X(DAX_UNLOCK_ENTRY,	"dax_unlock_entry")	/* xa_lock round 3 */	\
	X(DAX_FINISH_SYNC_FAULT, "dax_finish_sync_fault") /* fsync in a fault */ \
	/* writers, mm/vma.c, mm/mprotect.c, fs/dax.c; §7 */			\
	X(MMAP_WRITE_LOCK,	"mmap_write_lock")				\
	X(VMA_START_WRITE,	"vma_start_write")				\
	X(VMA_MARK_DETACHED,	"vma_mark_detached")				\
	X(VMA_ITER_STORE,	"vma_iter_store")	/* the tree changes */	\
	X(VMA_END_WRITE_ALL,	"vma_end_write_all")				\
	X(MMAP_WRITE_DOWNGRADE,	"mmap_write_downgrade")				\
	X(UNMAP_VMAS,		"unmap_vmas")		/* per entry */		\
	X(FREE_PGTABLES,	"free_pgtables")				\
	X(TLB_FLUSH,		"tlb_finish_mmu")				\
	X(MMAP_WRITE_UNLOCK,	"mmap_write_unlock")				\
	X(MMAP_REGION,		"mmap_region")		/* allocate and set up */ \
	X(CHANGE_PROTECTION,	"change_protection")	/* per entry */		\
	X(DAX_WRITEBACK,	"dax_writeback_one")	/* per entry, locked */	\
	/* the harness: outside the faults' clock */				\
	X(REFILL,		"refill")					\
	/* x86's PAT look-up in an insert, kernel/resource.c and arch/x86/mm/pat/memtype.c */ \
	X(FIND_NEXT_IOMEM_RES,	"find_next_iomem_res")	/* under resource_lock */ \
	X(LOOKUP_MEMTYPE,	"lookup_memtype")	/* under memtype_lock */ \
	/* XFS: is a reflink remap in progress? fs/xfs/xfs_inode.h */		\
	X(XFS_IFLAGS_TEST,	"xfs_iflags_test")	/* under i_flags_lock */

enum fb_step_code {
#define X(code, name) STEP_##code,
	FB_STEPS(X)
#undef X
	STEP_COUNT
};

#endif
