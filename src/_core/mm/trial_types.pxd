# cython: language_level=3
"""Mirror of trial_types.h: declarations only."""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from _core.mm.mm_types cimport *

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
        pat_locks *pat
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
