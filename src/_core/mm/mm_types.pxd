# cython: language_level=3
"""Mirror of mm_types.h, trial_types.h and vm_fault.h: declarations only. The layout is C's (a Cython struct cannot be aligned)."""

from libc.stdint cimport int32_t, uint32_t, uint64_t

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
        const vm_operations_struct *vm_ops
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
    cdef struct super_block:
        fb_percpu_rwsem s_writers
        journal s_journal
        fb_rwsem l_cilp
        fb_srcu dax_srcu
        dax_waitq wait_table[4096]

cdef extern from "mm/trial_types.h" nogil:
    const int FB_HIST_SUB_BITS
    const int FB_HIST_SUB
    const int FB_HIST_BUCKETS
    const int FB_CACHE_NODE
    const int FB_CACHE_TABLE
    const int FB_CACHE_VMA
    const int FB_CACHE_COUNT
    const int STEP_COUNT
    const int FB_DEFERRED
    const int FB_DEFERRED_TABLES

    cdef struct fb_counters:
        uint64_t faults
        uint64_t no_vma
        uint64_t vma_lock_success
        uint64_t vma_lock_abort
        uint64_t vma_lock_retry
        uint64_t vma_lock_miss
        uint64_t mmap_lock_reads
        uint64_t mmap_lock_read_contended
        uint64_t mmap_lock_read_wait_ns
        uint64_t parks
        uint64_t huge_fault_calls
        uint64_t calls_pmd
        uint64_t calls_pud
        uint64_t calls_pte
        uint64_t calls_under_vma
        uint64_t calls_under_mmap
        uint64_t fallbacks
        uint64_t table_allocs
        uint64_t table_races
        uint64_t anon_vma_prepares
        uint64_t pte_installs
        uint64_t pmd_installs
        uint64_t pud_installs
        uint64_t wp_upgrades
        uint64_t splits
        uint64_t set_accessed
        uint64_t zaps
        uint64_t lost_races
        uint64_t cleared
        uint64_t refills
        uint64_t errors
    cdef struct fb_depot:
        fb_spinlock lock
        uint32_t next
        uint32_t nr
    cdef struct fb_cache:
        char *base
        fb_depot *depot
        uint32_t *index
        uint64_t size
        uint32_t count
    cdef struct fb_slab_mag:
        uint32_t nr
        uint64_t allocs
        uint64_t frees
    cdef struct fb_deferred:
        uint64_t cookie
    cdef struct fb_mapping:
        mm_struct *mm
        uint64_t start
        uint64_t end
        uint64_t vm_flags
        uint64_t pgoff
        inode *file
    cdef struct fb_event:
        uint32_t kind
        uint32_t what
        uint64_t obj
    cdef struct fb_trial:
        uint64_t rules
        const vm_operations_struct *vm_ops
        uint64_t *cost
        uint32_t vma_lock
        uint32_t rwsem
        uint32_t handler
        uint32_t order
        uint32_t access
        uint32_t writer_op
        uint32_t mutant
        uint32_t entry_shift
        uint32_t overlap
        uint32_t recheck
        uint32_t sample_shift
        uint64_t slice
        uint64_t fallback_ppm
        uint64_t seed
        uint64_t faults
        uint64_t warmup_faults
        uint64_t writer_period_ns
        uint32_t workers
        uint32_t writers
        uint32_t nr_mappings
        uint32_t nr_files
        uint32_t nr_mms
        uint32_t lock_stride
        super_block *sb
        mm_struct **mm
        inode **inode
        fb_mapping *mapping
        ptdesc *ptdesc
        char *vma_locks
        dax_waiter *waiter
        fb_cache *cache
        uint64_t beside_base
    cdef struct fb_worker:
        fb_task *me
        const fb_trial *t
        mm_struct *mm
        uint64_t base
        uint64_t entries
        uint32_t id
        uint32_t outcome
        uint64_t index
        fb_counters c
        fb_counters at_open
        uint64_t start_ns
        uint64_t end_ns
        uint64_t cpu_start
        uint64_t cpu_end
        uint64_t refill_ns
        uint64_t refill_cpu
        uint64_t refill_ns_open
        uint64_t refill_cpu_open
        uint32_t opened
        uint32_t closed
        uint64_t generation
        uint64_t rng
        uint32_t *hist
        uint64_t ops
        uint64_t ops_open
        uint64_t mmap_lock_writes
        uint64_t writes_open
        uint64_t wait_ns_max
        fb_slab_mag *mag
        fb_deferred *deferred
        uint32_t deferred_nr
        uint32_t nr_held
        uint32_t violation
        uint32_t violation_step
        fb_event *trace
        uint32_t trace_nr
        uint32_t trace_max
        uint32_t trace_on
    cdef struct vm_fault:
        vm_area_struct *vma
        fb_worker *w
        uint64_t address
        uint64_t pgoff
        uint64_t *pud
        uint64_t *pmd
        uint64_t *pte
        uint64_t orig_pud
        uint64_t orig_pmd
        uint64_t orig_pte
        uint32_t flags
        uint32_t cow
    cdef struct vm_operations_struct:
        uint32_t (*fault)(vm_fault *vmf) noexcept nogil
        uint32_t (*huge_fault)(vm_fault *vmf, uint32_t order) noexcept nogil
        uint32_t (*map_pages)(vm_fault *vmf) noexcept nogil
        uint32_t (*pfn_mkwrite)(vm_fault *vmf) noexcept nogil
        uint32_t dax
        uint32_t write_notify

    enum:
        FAULT_FLAG_WRITE, FAULT_FLAG_MKWRITE, FAULT_FLAG_ALLOW_RETRY, FAULT_FLAG_TRIED, FAULT_FLAG_USER
        FAULT_FLAG_VMA_LOCK, FAULT_FLAG_DEFAULT
        VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_MAJOR, VM_FAULT_SIGSEGV, VM_FAULT_NOPAGE, VM_FAULT_RETRY
        VM_FAULT_FALLBACK, VM_FAULT_DONE_COW, VM_FAULT_NEEDDSYNC, VM_FAULT_COMPLETED, VM_FAULT_ERROR
        VM_READ, VM_WRITE, VM_EXEC, VM_SHARED, VM_MAYSHARE, VM_SYNC, VM_HUGEPAGE, VM_NOHUGEPAGE
        _PAGE_PRESENT, _PAGE_RW, _PAGE_ACCESSED, _PAGE_DIRTY, _PAGE_PSE, _PAGE_FLAGS
        PAGE_SHIFT, PMD_SHIFT, PUD_SHIFT, PGDIR_SHIFT, ADDR_BITS, PTRS_PER_TABLE, PMD_ORDER, PUD_ORDER
        RULE_VMA_LOCK, RULE_ABORT_FILE, RULE_HUGE_RETRY, RULE_FAULT_MAP_PAGES, RULE_ANON_LATE, RULE_PREFETCHW
        RULE_TYPESAFE, RULE_SEQCOUNT, RULE_REFCOUNT, RULE_COSTS, RULE_SYNC
        VMA_LOCK_NONE, VMA_LOCK_SEPARATE, VMA_LOCK_INLINE, VMA_LOCK_ALIGNED, VMA_LOCK_REFCOUNT
        MM_LAYOUT_SPLIT, MM_LAYOUT_SAME
        RWSEM_KERNEL, RWSEM_NAIVE, RWSEM_PTHREAD
        HANDLER_DEVICE_DAX, HANDLER_EXT4, HANDLER_XFS, HANDLER_DRIVER, HANDLER_DRIVER_RETRY, HANDLER_ANON
        HANDLER_NOP, HANDLER_COUNT
        ORDER_PMD, ORDER_PUD, ORDER_PTE, ORDER_COUNT
        ACCESS_READ, ACCESS_WRITE, ACCESS_WP, ACCESS_COUNT
        FB_MAP_SHARED, FB_MAP_PRIVATE, FB_MAP_COUNT
        WRITER_BESIDE, WRITER_TARGET, WRITER_MPROTECT, WRITER_FSYNC, WRITER_OP_COUNT
        OUTCOME_DIRECT, OUTCOME_RETRIED, OUTCOME_ABORTED, OUTCOME_MISSED, OUTCOME_COUNT
        DAX_LOCKED, DAX_PMD, DAX_PTE, DAX_EMPTY, DAX_DIRTY, DAX_PFN_SHIFT, DAX_WAIT_TABLE_BITS

        STEP_EXC_PAGE_FAULT, STEP_LOCK_VMA_UNDER_RCU, STEP_VMA_START_READ, STEP_VMA_END_READ
        STEP_LOCK_MM_AND_FIND_VMA, STEP_FIND_VMA, STEP_MMAP_READ_UNLOCK, STEP_HANDLE_MM_FAULT, STEP_PUD_ALLOC
        STEP_PMD_ALLOC, STEP_PTE_ALLOC, STEP_CREATE_HUGE_PUD, STEP_WP_HUGE_PUD, STEP_CREATE_HUGE_PMD
        STEP_WP_HUGE_PMD, STEP_HUGE_SET_ACCESSED, STEP_SPLIT_HUGE, STEP_HANDLE_PTE_FAULT, STEP_DO_FAULT
        STEP_MAP_PAGES, STEP_DO_ANONYMOUS_PAGE, STEP_ANON_VMA_PREPARE, STEP_DO_WP_PAGE, STEP_WP_PAGE_COPY
        STEP_INSERT_PFN, STEP_INSERT_PFN_PMD, STEP_INSERT_PFN_PUD, STEP_DEV_DAX_HUGE_FAULT, STEP_DAX_SET_MAPPING
        STEP_DRIVER_HUGE_FAULT, STEP_SB_START_PAGEFAULT, STEP_FILE_UPDATE_TIME, STEP_INVALIDATE_LOCK
        STEP_JOURNAL_START, STEP_JOURNAL_STOP, STEP_GRAB_MAPPING_ENTRY, STEP_IOMAP_BEGIN, STEP_DAX_INSERT_ENTRY
        STEP_DAX_COPY, STEP_DAX_UNLOCK_ENTRY, STEP_DAX_FINISH_SYNC_FAULT, STEP_MMAP_WRITE_LOCK, STEP_VMA_START_WRITE
        STEP_VMA_MARK_DETACHED, STEP_VMA_ITER_STORE, STEP_VMA_END_WRITE_ALL, STEP_MMAP_WRITE_DOWNGRADE
        STEP_UNMAP_VMAS, STEP_FREE_PGTABLES, STEP_TLB_FLUSH, STEP_MMAP_WRITE_UNLOCK, STEP_MMAP_REGION
        STEP_CHANGE_PROTECTION, STEP_DAX_WRITEBACK, STEP_REFILL
