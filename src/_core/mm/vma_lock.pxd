# cython: language_level=3
"""mmap_lock and the per-VMA lock in all its generations (include/linux/mmap_lock.h; kernel-reference §3).

A VMA is write-locked while vm_lock_seq equals mm_lock_seq and mmap_lock is held for write: one increment of mm_lock_seq
drops all VMA write locks at once. Before a writer sets vm_lock_seq it drains the VMA's readers, by taking the rwsem for
write (6.4 to 6.14) or by closing vm_refcnt and waiting (6.15).

    reader                                         writer, holding mmap_lock
    vm_lock_seq == mm_lock_seq? -> locked          drain readers
    take the rwsem or count                        vm_lock_seq = mm_lock_seq, let readers try again
    vm_lock_seq == mm_lock_seq? -> undo, locked    ... change the VMA ...
                                                   mm_lock_seq += 1 (RELEASE)

The reader's second look is ACQUIRE and pairs with that RELEASE: who sees the new sequence sees the changed VMA.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *

cdef enum:
    VMA_LOCK_OFFSET = 0x40000000    # added to vm_refcnt by a writer that keeps readers out
    VMA_REF_LIMIT = VMA_LOCK_OFFSET - 1

cdef enum:    # what vma_start_read answers
    VMA_LOCKED = 0        # a writer has it: ABORT
    VMA_READ = 1          # ours
    VMA_DETACHED = 2      # -EAGAIN: not in the tree any more: MISS, walk again


cdef inline fb_refcount *vma_refcnt(vm_area_struct *vma) noexcept nogil:
    return <fb_refcount *>&vma.vm_refcnt


cdef inline void vma_refcount_put(fb_worker *w, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """Drop a count; the last reader that a writer waits for wakes it. After this the VMA may be gone."""
    cdef uint32_t left = fb_refcount_sub_return(vma_refcnt(vma), 1)
    if fb_unlikely((left & VMA_LOCK_OFFSET) != 0 and left <= VMA_LOCK_OFFSET + 1):
        fb_rcuwait_wake(&mm.vma_writer_wait)


cdef inline bint vma_poisoned(const vm_area_struct *vma) noexcept nogil:
    return FB_CHECKED_BUILD and fb_load_u64(&vma.vm_start, FB_RELAXED) == FB_VMA_POISON


cdef inline int vma_start_read(fb_worker *w, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """Read-lock a VMA found under RCU, or say why not. Never sleeps."""
    cdef uint32_t old
    cdef fb_rwsem *sem = NULL
    # Both relaxed: a wrong "locked" costs a detour, a wrong "unlocked" is caught below.
    if fb_load_u32(&vma.vm_lock_seq, FB_RELAXED) == fb_load_u32(&mm.mm_lock_seq, FB_RELAXED):
        return VMA_LOCKED
    fb_at(w, STEP_VMA_START_READ, vma)
    if vma_poisoned(vma):
        fb_violate(w, CHECK_USE_AFTER_FREE)
        return VMA_LOCKED
    if w.t.rules & RULE_REFCOUNT:
        if not fb_refcount_inc_not_zero_limited_acquire(vma_refcnt(vma), &old, VMA_REF_LIMIT):
            fb_try_failed(w, LOCK_VMA_LOCK, vma)
            return VMA_LOCKED if old else VMA_DETACHED
        if FB_MUTANT(w, MUTANT_DETACH_NO_WAIT):
            fb_work(2000)    # a passing reader takes its time
        # Relaxed, as vm_lock_seq: the count keeps a writer from changing them under us.
        if fb_unlikely(fb_load_u64(<uint64_t *>&vma.vm_mm, FB_RELAXED) != <uint64_t>mm):
            vma_refcount_put(w, <mm_struct *>fb_load_u64(<uint64_t *>&vma.vm_mm, FB_RELAXED), vma)
            return VMA_LOCKED
    else:
        sem = <fb_rwsem *>fb_load_u64(<uint64_t *>&vma.vm_lock, FB_RELAXED)    # constant while allocated
        if not fb_down_read_trylock(sem, w.me):
            fb_try_failed(w, LOCK_VMA_LOCK, vma)
            return VMA_LOCKED
    # ACQUIRE, pairs with the RELEASE in vma_end_write_all: new sequence seen, all VMA edits seen.
    if fb_unlikely(fb_load_u32(&vma.vm_lock_seq, FB_RELAXED) == fb_load_u32(&mm.mm_lock_seq, FB_ACQUIRE)
                   and not FB_MUTANT(w, MUTANT_NO_RECHECK)):
        if w.t.rules & RULE_REFCOUNT:
            vma_refcount_put(w, mm, vma)
        else:
            fb_up_read(sem, w.me)
        return VMA_LOCKED
    fb_try_acquired(w, LOCK_VMA_LOCK, vma, True)
    return VMA_READ


cdef inline void vma_end_read(fb_worker *w, vm_area_struct *vma) noexcept nogil:
    """Drop the read lock. The read section keeps the lock object while up_read wakes a writer, who may free it."""
    fb_at(w, STEP_VMA_END_READ, vma)
    fb_released(w, LOCK_VMA_LOCK, vma)
    if vma_poisoned(vma):
        fb_violate(w, CHECK_USE_AFTER_FREE)
        return
    fb_rcu_read_lock(w.me)
    if w.t.rules & RULE_REFCOUNT:
        vma_refcount_put(w, <mm_struct *>fb_load_u64(<uint64_t *>&vma.vm_mm, FB_RELAXED), vma)
    else:
        fb_up_read(<fb_rwsem *>fb_load_u64(<uint64_t *>&vma.vm_lock, FB_RELAXED), w.me)
    fb_rcu_read_unlock(w.me)


cdef inline bint vma_is_write_locked(mm_struct *mm, const vm_area_struct *vma) noexcept nogil:
    """For the holder of mmap_lock for write, and for assertions."""
    return fb_load_u32(&vma.vm_lock_seq, FB_RELAXED) == fb_load_u32(&mm.mm_lock_seq, FB_RELAXED)


cdef inline void vma_start_write(fb_worker *w, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """Keep readers out until vma_end_write_all(). Sleeps until those inside have left. mmap_lock held for write."""
    cdef uint32_t seq = fb_load_u32(&mm.mm_lock_seq, FB_RELAXED)    # relaxed: only its writer, us, changes it
    cdef fb_rwsem *sem
    if w.t.vma_lock == VMA_LOCK_NONE or fb_load_u32(&vma.vm_lock_seq, FB_RELAXED) == seq:
        return
    fb_at(w, STEP_VMA_START_WRITE, vma)
    if FB_MUTANT(w, MUTANT_WRITER_NO_WAIT):
        fb_store_u32(&vma.vm_lock_seq, seq, FB_RELAXED)
        return
    if w.t.rules & RULE_REFCOUNT:
        if fb_refcount_add_not_zero(vma_refcnt(vma), VMA_LOCK_OFFSET):
            fb_rcuwait_wait_u32(&mm.vma_writer_wait, &vma.vm_refcnt, VMA_LOCK_OFFSET + 1, w.me)
            # Relaxed: published by the RELEASE of the subtraction, which readers' ACQUIRE increments pair with.
            fb_store_u32(&vma.vm_lock_seq, seq, FB_RELAXED)
            fb_refcount_sub_return(vma_refcnt(vma), VMA_LOCK_OFFSET)
        else:    # detached: nobody can find it
            fb_store_u32(&vma.vm_lock_seq, seq, FB_RELAXED)
        return
    sem = <fb_rwsem *>fb_load_u64(<uint64_t *>&vma.vm_lock, FB_RELAXED)
    fb_down_write(sem, w.me)
    if FB_MUTANT(w, MUTANT_LATE_SEQ):
        fb_up_write(sem, w.me)
        fb_at(w, STEP_VMA_START_WRITE, vma)
        fb_store_u32(&vma.vm_lock_seq, seq, FB_RELAXED)
        return
    # Relaxed: published by up_write's RELEASE, which down_read_trylock's ACQUIRE pairs with.
    fb_store_u32(&vma.vm_lock_seq, seq, FB_RELAXED)
    fb_up_write(sem, w.me)


cdef inline void vma_mark_attached(fb_worker *w, vm_area_struct *vma) noexcept nogil:
    fb_store_u32(&vma.detached, 0, FB_RELAXED)    # relaxed: write-locked, or not yet in the tree
    if w.t.rules & RULE_REFCOUNT:
        fb_refcount_set_release(vma_refcnt(vma), 1)    # pairs with the readers' inc_not_zero: the VMA's fields


cdef inline void vma_mark_detached(fb_worker *w, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """Nobody may read-lock it from here on. Write-locked by us."""
    if w.t.vma_lock == VMA_LOCK_NONE:    # the mark came with the lock, in 6.4; the checks look at it all the same
        if FB_CHECKED_BUILD:
            fb_store_u32(&vma.detached, 1, FB_RELAXED)
        return
    fb_at(w, STEP_VMA_MARK_DETACHED, vma)
    if FB_CHECKED_BUILD and not vma_is_write_locked(mm, vma):
        fb_violate(w, CHECK_WRITE_UNLOCKED)
    if FB_MUTANT(w, MUTANT_NOT_DETACHED):
        return
    fb_store_u32(&vma.detached, 1, FB_RELAXED)    # relaxed: write-locked; vma_end_write_all publishes it
    if w.t.rules & RULE_REFCOUNT and fb_refcount_sub_return(vma_refcnt(vma), 1) != 0:
        # A reader counted itself in after the drain and has not looked at the sequence yet: wait until it has left.
        if not FB_MUTANT(w, MUTANT_DETACH_NO_WAIT) and fb_refcount_add_not_zero(vma_refcnt(vma), VMA_LOCK_OFFSET):
            fb_rcuwait_wait_u32(&mm.vma_writer_wait, &vma.vm_refcnt, VMA_LOCK_OFFSET, w.me)
            fb_refcount_sub_return(vma_refcnt(vma), VMA_LOCK_OFFSET)


cdef inline void vma_end_write_all(fb_worker *w, mm_struct *mm, uint32_t caller) noexcept nogil:
    """Drop every VMA write lock of this mm. `caller`: the step that goes on after it, what up_write does is its own."""
    if w.t.vma_lock == VMA_LOCK_NONE:
        return
    fb_at(w, STEP_VMA_END_WRITE_ALL, mm)
    if not FB_MUTANT(w, MUTANT_NO_END_WRITE):
        # RELEASE, pairs with the ACQUIRE in vma_start_read.
        fb_store_u32(&mm.mm_lock_seq, fb_load_u32(&mm.mm_lock_seq, FB_RELAXED) + 1, FB_RELEASE)
    fb_enter(w, caller, mm)


cdef inline void mmap_write_lock(fb_worker *w, mm_struct *mm) noexcept nogil:
    fb_at(w, STEP_MMAP_WRITE_LOCK, mm)
    fb_any_down_write(&mm.mmap_lock, w.t.rwsem, w.me)
    fb_acquired(w, LOCK_MMAP_LOCK, mm, False)
    w.mmap_lock_writes += 1
    if w.t.rules & RULE_SEQCOUNT:
        # Odd while write-locked. Relaxed: vma_start_write's RELEASE publishes what matters to VMA readers.
        fb_store_u32(&mm.mm_lock_seq, fb_load_u32(&mm.mm_lock_seq, FB_RELAXED) + 1, FB_RELAXED)


cdef inline void mmap_write_unlock(fb_worker *w, mm_struct *mm) noexcept nogil:
    fb_at(w, STEP_MMAP_WRITE_UNLOCK, mm)
    if not FB_MUTANT(w, MUTANT_END_AFTER_UNLOCK):
        vma_end_write_all(w, mm, STEP_MMAP_WRITE_UNLOCK)
    fb_released(w, LOCK_MMAP_LOCK, mm)
    fb_any_up_write(&mm.mmap_lock, w.t.rwsem, w.me)
    if FB_MUTANT(w, MUTANT_END_AFTER_UNLOCK):
        vma_end_write_all(w, mm, STEP_MMAP_WRITE_UNLOCK)


cdef inline void mmap_write_downgrade(fb_worker *w, mm_struct *mm) noexcept nogil:
    fb_at(w, STEP_MMAP_WRITE_DOWNGRADE, mm)
    if not FB_MUTANT(w, MUTANT_DOWNGRADE_KEEPS):
        vma_end_write_all(w, mm, STEP_MMAP_WRITE_DOWNGRADE)
    fb_released(w, LOCK_MMAP_LOCK, mm)
    fb_any_downgrade_write(&mm.mmap_lock, w.t.rwsem, w.me)
    fb_acquired(w, LOCK_MMAP_LOCK, mm, True)


cdef inline void mmap_read_unlock(fb_worker *w, mm_struct *mm) noexcept nogil:
    fb_at(w, STEP_MMAP_READ_UNLOCK, mm)
    fb_released(w, LOCK_MMAP_LOCK, mm)
    fb_any_up_read(&mm.mmap_lock, w.t.rwsem, w.me)
