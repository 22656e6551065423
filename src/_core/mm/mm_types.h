/* SPDX-License-Identifier: MIT */
/*
 * Everything that two tasks share, with the kernel's placement of what faults read and write.
 *
 * These structs lie in the arena and are accessed only through the seam (sync/atomic.h). Which fields lie in one cache
 * line is part of the model: kernel-reference §3.1 (vma_lock), §4.6 (mm_struct), §6.5 (address_space). Who may write
 * which field under which lock is the table in ../DESIGN.md.
 */
#ifndef FB_MM_TYPES_H
#define FB_MM_TYPES_H

#include "mm/steps.h"
#include "mm/vm_fault.h"
#include "sync/atomic.h"
#include "sync/percpu_rwsem.h"
#include "sync/qrwlock.h"
#include "sync/qspinlock.h"
#include "sync/rcuwait.h"
#include "sync/rwsem_any.h"
#include "sync/srcu.h"

#define FB_LINE_OF(type, field) (offsetof(type, field) / FB_CACHELINE)

/*
 * mmap_lock sits so that `count` ends one line and `owner` begins the next. Readers write both. What they drag along:
 * table allocation (pgtables_bytes, page_table_lock) with count; the sequence that every VMA-locked fault reads with
 * owner. mm_layout=same places the whole struct 8 bytes further on: count, owner and mm_lock_seq then share one line, and
 * count leaves its neighbours of table allocation behind.
 */
struct mm_struct {
	uint64_t	mm_mt;			/* root of the VMA tree; RCU, written under mmap_lock */
	uint64_t	pgd;			/* the top table; constant */
	uint64_t	mm_id;			/* which address space; constant */
	uint64_t	_pad0[9];
	uint64_t	pgtables_bytes;
	uint32_t	map_count;
	struct fb_spinlock page_table_lock;
	uint64_t	_pad1;
	struct fb_rwsem_any mmap_lock;
	uint64_t	mmlist[2];
	uint32_t	mm_lock_seq;
	uint32_t	_pad2;
	struct fb_rcuwait vma_writer_wait;
	uint64_t	_pad3[8];
};
#define FB_MM_SIZE 384	/* bytes reserved for one, whatever mm_layout says */
_Static_assert(sizeof(struct mm_struct) + 8 <= FB_MM_SIZE, "mm_struct outgrew its place");
_Static_assert(offsetof(struct mm_struct, mmap_lock) % FB_CACHELINE == 56, "count must end a line");
_Static_assert(FB_LINE_OF(struct mm_struct, mmap_lock) + 1 == FB_LINE_OF(struct mm_struct, mm_lock_seq),
	       "owner, osq and wait_list share mm_lock_seq's line");
_Static_assert(FB_LINE_OF(struct mm_struct, pgtables_bytes) == FB_LINE_OF(struct mm_struct, mmap_lock) &&
	       FB_LINE_OF(struct mm_struct, page_table_lock) == FB_LINE_OF(struct mm_struct, mmap_lock),
	       "table allocation shares count's line");
_Static_assert((offsetof(struct mm_struct, mmap_lock) + 8) / FB_CACHELINE ==
	       (offsetof(struct mm_struct, mm_lock_seq) + 8) / FB_CACHELINE,
	       "with mm_layout=same count, owner and mm_lock_seq share a line");

/*
 * Three lines. The walk and vma_start_read read line 0, the fault path and handlers line 1; vm_refcnt has line 2 to
 * itself, as ____cacheline_aligned_in_smp gives it. vm_lock points to a packed 40-byte object (separate), to a line of
 * its own (aligned) or to inline_lock, which then bounces the line that every fault reads vm_ops from.
 */
struct vm_area_struct {
	uint64_t	vm_start;
	uint64_t	vm_end;
	struct mm_struct *vm_mm;
	uint64_t	vm_flags;
	struct fb_rwsem	*vm_lock;
	uint32_t	vm_lock_seq;
	uint32_t	detached;
	uint64_t	anon_vma;
	uint32_t	vm_id;			/* names it in traces; constant while allocated */
	uint32_t	vm_mapping;		/* which of the trial's mappings it is part of, or ~0 */
	const struct vm_operations_struct *vm_ops;
	uint64_t	vm_pgoff;		/* in 4 KiB pages */
	struct inode	*vm_file;
	struct fb_rwsem	inline_lock;
	uint32_t	vm_refcnt;
	uint32_t	_pad0;
	uint64_t	_pad1[7];
};
_Static_assert(sizeof(struct vm_area_struct) == 3 * FB_CACHELINE, "a VMA is three lines");
_Static_assert(offsetof(struct vm_area_struct, vm_refcnt) == 2 * FB_CACHELINE, "vm_refcnt has its own line");
_Static_assert(FB_LINE_OF(struct vm_area_struct, inline_lock) == FB_LINE_OF(struct vm_area_struct, vm_ops),
	       "an inline lock bounces what faults read");
_Static_assert(sizeof(struct fb_rwsem) == 40, "KMEM_CACHE(vma_lock) packs 40-byte objects");

#define FB_MAP_BASE (1ull << 36)	/* first address of a mapping */
#define FB_VMA_POISON 0x6b6b6b6b6b6b6b6bull	/* POISON_FREE: until 6.14 nobody may read this in a VMA */

/*
 * A node of the VMA tree: 256 bytes as a maple node. In a leaf slot[i] is the VMA whose last byte is pivot[i]; above,
 * slot[i] is the child for addresses up to pivot[i]. Nodes are replaced, not changed, except that one slot may be
 * pointed at a new child and a pivot may be raised (vma_tree.pxd says why that is safe).
 */
#define FB_TREE_FANOUT 15
struct vma_node {
	uint32_t	nr;
	uint32_t	leaf;
	uint64_t	pivot[FB_TREE_FANOUT];
	uint64_t	slot[FB_TREE_FANOUT];
	uint64_t	_pad;
};
_Static_assert(sizeof(struct vma_node) == 256, "the size of a maple node");

/* One page of a table, and beside it (another array, as struct page is) its descriptor with the split lock. */
struct pgtable {
	uint64_t	entry[PTRS_PER_TABLE];
};
struct ptdesc {
	uint64_t	flags;			/* level + 1 while in use, 0 when free */
	uint64_t	parent;			/* the entry that points here */
	uint64_t	mm;
	uint64_t	_pad0[2];
	struct fb_spinlock ptl;
	uint32_t	_pad1;
	uint64_t	_pad2[2];
};
_Static_assert(sizeof(struct pgtable) == 4096 && sizeof(struct ptdesc) == 64, "a page and a struct page");

/* include/linux/fs.h: the page cache lock and the rwsem of every DAX fault are neighbours (§6.5). */
struct address_space {
	struct inode	*host;
	struct fb_spinlock xa_lock;		/* i_pages.xa_lock */
	uint32_t	xa_flags;
	uint64_t	*xa_head;		/* one entry word per 2 MiB or 4 KiB, under xa_lock */
	struct fb_rwsem	invalidate_lock;
	struct fb_rwsem	i_mmap_rwsem;
	uint64_t	nrpages;
	uint64_t	_pad[2];
};
struct inode {
	uint64_t	i_state;
	uint64_t	i_mtime;
	uint64_t	i_size;			/* in 4 KiB pages */
	uint64_t	i_id;
	uint64_t	*i_pages_meta;		/* device-dax: page->mapping of each head page */
	uint64_t	*i_extents;		/* one word per entry: is it long enough and aligned? constant */
	uint64_t	_pad0[2];
	struct address_space i_data __attribute__((aligned(FB_CACHELINE)));
	struct fb_rwsem	i_lock __attribute__((aligned(FB_CACHELINE)));	/* XFS: ILOCK */
	/* The line after ILOCK's holds one file system's own lock: no trial has both. */
	struct fb_qrwlock i_es_lock __attribute__((aligned(FB_CACHELINE)));	/* ext4: the extent status tree */
	struct fb_spinlock i_flags_lock;	/* XFS: of i_flags. 6.12: bytes 228 and 232, i_lock's count at 168 */
	uint32_t	_pad1;
	uint64_t	i_flags;
	uint64_t	_pad2[5];
};
_Static_assert(offsetof(struct address_space, xa_lock) / FB_CACHELINE ==
	       (offsetof(struct address_space, invalidate_lock) + 39) / FB_CACHELINE,
	       "xa_lock and invalidate_lock bounce one line");
_Static_assert(sizeof(struct inode) % FB_CACHELINE == 0, "inodes do not false-share");
_Static_assert(FB_LINE_OF(struct inode, i_flags_lock) == FB_LINE_OF(struct inode, i_lock) + 1 &&
	       FB_LINE_OF(struct inode, i_flags_lock) == FB_LINE_OF(struct inode, i_flags),
	       "i_flags_lock and what it guards are on the line after ILOCK's");

/* Bits of an entry word of i_pages (fs/dax.c). */
enum { DAX_LOCKED = 1, DAX_PMD = 2, DAX_PTE = 4, DAX_EMPTY = 8, DAX_DIRTY = 16, DAX_PFN_SHIFT = 8 };
enum { DAX_WAIT_TABLE_BITS = 12, DAX_WAIT_TABLE_ENTRIES = 1 << DAX_WAIT_TABLE_BITS };

/* One of the 4096 hashed wait queues for locked entries, and a task's place in one. */
struct dax_waitq {
	struct fb_spinlock lock;
	uint32_t	_pad;
	struct dax_waiter *first;
};
struct dax_waiter {
	struct dax_waiter *next;
	struct fb_task	*task;
	uint64_t	key;
	uint32_t	queued;
	uint32_t	_pad[9];
};
_Static_assert(sizeof(struct dax_waitq) == 16 && sizeof(struct dax_waiter) == 64, "wait queue sizes");

/* jbd2: what a handle touches. One running transaction; its counters share a line, as in transaction_t. */
struct journal {
	struct fb_qrwlock j_state_lock;
	uint64_t	j_commit_sequence;
	uint64_t	_pad0[6];
	uint32_t	t_updates __attribute__((aligned(FB_CACHELINE)));
	uint32_t	t_outstanding_credits;
	uint32_t	t_handle_count;
	uint32_t	_pad1[13];
	/* A commit waits here for t_updates to be 0. 6.12: byte 208 of journal_s, j_state_lock at 64, so a line of its own. */
	struct fb_spinlock j_wait_updates __attribute__((aligned(FB_CACHELINE)));
	uint32_t	_pad2;
	uint64_t	j_wait_updates_first;
	uint64_t	_pad3[6];
};
_Static_assert(sizeof(struct journal) == 3 * FB_CACHELINE, "three lines bounce apart");

/* x86, the whole machine's: kernel/resource.c and arch/x86/mm/pat/memtype.c. A line each: their neighbours are not known. */
struct pat_locks {
	struct fb_qrwlock resource_lock;
	struct fb_spinlock memtype_lock __attribute__((aligned(FB_CACHELINE)));
};

/* What all files of a trial share: one file system, one device. */
struct super_block {
	struct fb_percpu_rwsem s_writers;	/* SB_FREEZE_PAGEFAULT */
	struct journal	s_journal __attribute__((aligned(FB_CACHELINE)));
	struct fb_rwsem	l_cilp __attribute__((aligned(FB_CACHELINE)));	/* XFS: the log's commit context lock */
	uint64_t	xc_ctx;		/* the context that a push replaces under it: its neighbour in struct xfs_cil */
	struct fb_srcu	dax_srcu __attribute__((aligned(FB_CACHELINE)));
	struct dax_waitq wait_table[DAX_WAIT_TABLE_ENTRIES] __attribute__((aligned(FB_CACHELINE)));
};

#endif
