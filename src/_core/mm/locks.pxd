# cython: language_level=3
"""The locks as mm/ takes them: sync's calls, with the checked build's bookkeeping beside each.

mmap_lock goes through the `rwsem=` knob; every other rwsem is the kernel's algorithm, called directly.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *

cdef extern from "mm/lockdep.h" nogil:
    const bint FB_CHECKED_BUILD
    bint FB_MUTANT(fb_worker *w, int m) noexcept
    void fb_violate(fb_worker *w, uint32_t check) noexcept
    void fb_at(fb_worker *w, uint32_t step, const void *obj) noexcept
    void fb_enter(fb_worker *w, uint32_t step, const void *obj) noexcept
    void fb_pay(fb_worker *w, uint32_t step) noexcept
    bint fb_holds(const fb_worker *w, uint32_t class_, const void *obj) noexcept
    void fb_acquired(fb_worker *w, uint32_t class_, const void *obj, bint shared) noexcept
    void fb_try_acquired(fb_worker *w, uint32_t class_, const void *obj, bint shared) noexcept
    void fb_try_failed(fb_worker *w, uint32_t class_, const void *obj) noexcept
    void fb_released(fb_worker *w, uint32_t class_, const void *obj) noexcept
    enum:
        LOCK_MMAP_LOCK, LOCK_VMA_LOCK, LOCK_DAX_SRCU, LOCK_S_WRITERS, LOCK_INVALIDATE_LOCK, LOCK_HANDLE, LOCK_DAX_ENTRY
        LOCK_I_MMAP_RWSEM, LOCK_ILOCK, LOCK_L_CILP, LOCK_J_STATE_LOCK, LOCK_J_WAIT_UPDATES, LOCK_I_ES_LOCK
        LOCK_I_FLAGS_LOCK, LOCK_PAGE_TABLE_LOCK, LOCK_RESOURCE_LOCK, LOCK_MEMTYPE_LOCK, LOCK_PMD_PTL, LOCK_PTE_PTL
        LOCK_XA_LOCK, LOCK_WAITQ, LOCK_COUNT
        CHECK_NONE, CHECK_LEFT_HELD, CHECK_FAULT_UNLOCKED, CHECK_RETRY_LEAK, CHECK_NO_RETRY_DROPPED
        CHECK_LOCKING_FAULT, CHECK_LOCKING_HUGE_FAULT, CHECK_LOCKING_MAP_PAGES, CHECK_LOCKING_PFN_MKWRITE
        CHECK_WRITE_UNLOCKED, CHECK_USE_AFTER_FREE, CHECK_STALE_VMA, CHECK_READER_IN_WRITE, CHECK_ENTRY_LOST
        CHECK_FREED_COUNTED, CHECK_MISSES, CHECK_ENTRY_UNLOCKED, CHECK_NO_MEMORY, CHECK_HANDLER_ERROR, CHECK_COUNT
        MUTANT_NONE, MUTANT_NO_RECHECK, MUTANT_LATE_SEQ, MUTANT_DOUBLE_END_READ, MUTANT_RETRY_LEAKS
        MUTANT_NO_SECOND_LOOKUP, MUTANT_FREED_EARLY, MUTANT_END_AFTER_UNLOCK, MUTANT_NOT_DETACHED
        MUTANT_PMD_NO_RECHECK, MUTANT_WRITER_NO_WAIT, MUTANT_DETACH_NO_WAIT, MUTANT_TABLE_NO_RECHECK
        MUTANT_XA_EARLY_UNLOCK, MUTANT_NO_END_WRITE, MUTANT_DOWNGRADE_KEEPS, MUTANT_ENTRY_SKIPPED, MUTANT_S_WRITERS_KEPT
        MUTANT_ES_LOCK_KEPT, MUTANT_COUNT

cdef extern from "mm/slab.h" nogil:
    const uint32_t FB_NO_OBJECT
    void *fb_cache_object(const fb_cache *c, uint32_t index) noexcept
    uint32_t fb_cache_index(const fb_cache *c, const void *obj) noexcept
    uint32_t fb_cache_alloc_index(fb_worker *w, uint32_t cache) noexcept
    void fb_cache_free_index(fb_worker *w, uint32_t cache, uint32_t index) noexcept
    void fb_call_rcu(fb_worker *w, uint32_t cache, uint32_t index) noexcept
    void fb_rcu_reap(fb_worker *w) noexcept
    void fb_rcu_drain(fb_worker *w) noexcept
    void fb_rcu_make_room(fb_worker *w) noexcept
    void fb_vma_poison(vm_area_struct *vma) noexcept
    bint fb_vma_poisoned(const vm_area_struct *vma) noexcept


cdef inline void spin_lock(fb_worker *w, uint32_t class_, fb_spinlock *l) noexcept nogil:
    fb_spin_lock(l, w.me)
    fb_acquired(w, class_, l, False)


cdef inline void spin_unlock(fb_worker *w, uint32_t class_, fb_spinlock *l) noexcept nogil:
    fb_released(w, class_, l)
    fb_spin_unlock(l)


cdef inline void down_read(fb_worker *w, uint32_t class_, fb_rwsem *s) noexcept nogil:
    fb_down_read(s, w.me)
    fb_acquired(w, class_, s, True)


cdef inline void up_read(fb_worker *w, uint32_t class_, fb_rwsem *s) noexcept nogil:
    fb_released(w, class_, s)
    fb_up_read(s, w.me)


cdef inline void down_write(fb_worker *w, uint32_t class_, fb_rwsem *s) noexcept nogil:
    fb_down_write(s, w.me)
    fb_acquired(w, class_, s, False)


cdef inline void up_write(fb_worker *w, uint32_t class_, fb_rwsem *s) noexcept nogil:
    fb_released(w, class_, s)
    fb_up_write(s, w.me)


cdef inline void read_lock(fb_worker *w, uint32_t class_, fb_qrwlock *l) noexcept nogil:
    fb_read_lock(l, w.me)
    fb_acquired(w, class_, l, True)


cdef inline void read_unlock(fb_worker *w, uint32_t class_, fb_qrwlock *l) noexcept nogil:
    fb_released(w, class_, l)
    fb_read_unlock(l)


cdef inline void write_lock(fb_worker *w, uint32_t class_, fb_qrwlock *l) noexcept nogil:
    fb_write_lock(l, w.me)
    fb_acquired(w, class_, l, False)


cdef inline void write_unlock(fb_worker *w, uint32_t class_, fb_qrwlock *l) noexcept nogil:
    fb_released(w, class_, l)
    fb_write_unlock(l)
