# cython: language_level=3
"""Mirror of mm_types.h and trial_types.h: declarations only. The layout is C's: a Cython struct cannot be aligned."""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from _core.mm.vm_fault cimport *
from _core.sync.atomic cimport *
from _core.sync.percpu_rwsem cimport *
from _core.sync.qrwlock cimport *
from _core.sync.qspinlock cimport *
from _core.sync.rcu cimport *
from _core.sync.rcuwait cimport *
from _core.sync.refcount cimport *
from _core.sync.rwsem cimport *
from _core.sync.rwsem_any cimport *
from _core.sync.srcu cimport *
from _core.sync.task cimport *

cdef extern from "mm/mm_types.h" nogil:
    const int FB_MM_SIZE
    const int FB_TREE_FANOUT
    const uint64_t FB_VMA_POISON
    const uint64_t FB_MAP_BASE

    cdef struct mm_struct:
        uint64_t mm_mt
        uint64_t pgd
        uint64_t mm_id
        uint64_t pgtables_bytes
        uint32_t map_count
        fb_spinlock page_table_lock
        fb_rwsem_any mmap_lock
        uint32_t mm_lock_seq
        fb_rcuwait vma_writer_wait
    cdef struct vm_area_struct:
        uint64_t vm_start
        uint64_t vm_end
        mm_struct *vm_mm
        uint64_t vm_flags
        fb_rwsem *vm_lock
        uint32_t vm_lock_seq
        uint32_t detached
        uint64_t anon_vma
        uint32_t vm_id
        uint32_t vm_mapping
        const void *vm_ops    # struct vm_operations_struct, of trial_types.pxd
        uint64_t vm_pgoff
        inode *vm_file
        fb_rwsem inline_lock
        uint32_t vm_refcnt
    cdef struct vma_node:
        uint32_t nr
        uint32_t leaf
        uint64_t pivot[15]
        uint64_t slot[15]
    cdef struct pgtable:
        uint64_t entry[512]
    cdef struct ptdesc:
        uint64_t flags
        uint64_t parent
        uint64_t mm
        fb_spinlock ptl
    cdef struct address_space:
        inode *host
        fb_spinlock xa_lock
        uint64_t *xa_head
        fb_rwsem invalidate_lock
        fb_rwsem i_mmap_rwsem
        uint64_t nrpages
    cdef struct inode:
        uint64_t i_state
        uint64_t i_mtime
        uint64_t i_size
        uint64_t i_id
        uint64_t *i_pages_meta
        uint64_t *i_extents
        address_space i_data
        fb_rwsem i_lock
        fb_qrwlock i_es_lock
        fb_spinlock i_flags_lock
        uint64_t i_flags
    cdef struct dax_waiter:
        dax_waiter *next
        fb_task *task
        uint64_t key
        uint32_t queued
    cdef struct dax_waitq:
        fb_spinlock lock
        dax_waiter *first
    cdef struct journal:
        fb_qrwlock j_state_lock
        uint64_t j_commit_sequence
        uint32_t t_updates
        uint32_t t_outstanding_credits
        uint32_t t_handle_count
        fb_spinlock j_wait_updates
        uint64_t j_wait_updates_first
    cdef struct pat_locks:
        fb_qrwlock resource_lock
        fb_spinlock memtype_lock
    cdef struct super_block:
        fb_percpu_rwsem s_writers
        journal s_journal
        fb_rwsem l_cilp
        uint64_t xc_ctx
        fb_srcu dax_srcu
        dax_waitq wait_table[4096]
