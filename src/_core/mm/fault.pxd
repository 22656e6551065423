# cython: language_level=3
"""A page fault, from the exception to its return (x86 do_user_addr_fault; kernel-reference §1, §2, §5).

    do_user_addr_fault
        lock_vma_under_rcu ── NULL: ABORT ──┐
        handle_mm_fault(FAULT_FLAG_VMA_LOCK)│
          ├─ done: SUCCESS                  │
          └─ VM_FAULT_RETRY: RETRY ─────────┤
        lock_mm_and_find_vma  ◄─────────────┘
        handle_mm_fault

The check that the patch removed lies in huge.pxd.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.huge cimport *
from _core.mm.locks cimport *
from _core.mm.vma_lock cimport *
from _core.mm.vma_tree cimport *
from _core.mm.pgtable cimport *
from _core.mm.vm_ops cimport *
from _core.mm.pte cimport *


cdef inline bint vma_serves(fb_worker *w, vm_area_struct *vma, uint64_t addr) noexcept nogil:
    """Whether a read-locked VMA is still the one of `addr` and may be faulted without mmap_lock."""
    # All relaxed: stable under the read lock.
    if not w.t.rules & RULE_ANON_LATE and vma_ops(vma) == NULL and fb_load_u64(&vma.anon_vma, FB_RELAXED) == 0:
        return False    # until 6.9: anon_vma must be there
    return addr >= fb_load_u64(&vma.vm_start, FB_RELAXED) and addr < fb_load_u64(&vma.vm_end, FB_RELAXED)


cdef inline vm_area_struct *lock_vma_under_rcu(fb_worker *w, mm_struct *mm, uint64_t addr) noexcept nogil:
    """Return the VMA of `addr` read-locked, or NULL after counting one ABORT (§1.3)."""
    cdef vm_area_struct *vma
    cdef int got
    cdef bint detached
    cdef uint32_t tries = 0
    fb_at(w, STEP_LOCK_VMA_UNDER_RCU, mm)
    fb_rcu_read_lock(w.me)
    while True:
        vma = mtree_load(mm, addr)
        if vma == NULL:
            break
        if w.t.rules & RULE_ABORT_FILE and vma_ops(vma) != NULL:
            break    # 6.4, 6.5: file mappings go to mmap_lock before the VMA lock is touched
        got = vma_start_read(w, mm, vma)
        if got == VMA_LOCKED:
            break
        if got == VMA_READ:
            # Relaxed: stable under the read lock. Until 6.9 it is looked at last, from 6.10 on first.
            detached = not w.t.rules & RULE_REFCOUNT and fb_load_u32(&vma.detached, FB_RELAXED) != 0
            if fb_unlikely(not (detached and w.t.rules & RULE_ANON_LATE) and not vma_serves(w, vma, addr)):
                vma_end_read(w, vma)
                break
            if fb_likely(not detached):
                fb_rcu_read_unlock(w.me)
                return vma
            vma_end_read(w, vma)
        # It has left the tree: walk again.
        w.c.vma_lock_miss += 1
        w.outcome = OUTCOME_MISSED
        tries += 1
        if FB_CHECKED_BUILD and tries == 1 << 20:
            fb_violate(w, CHECK_MISSES)
            break
    fb_rcu_read_unlock(w.me)
    w.c.vma_lock_abort += 1
    if w.outcome == OUTCOME_DIRECT:
        w.outcome = OUTCOME_ABORTED
    return NULL


cdef inline vm_area_struct *lock_mm_and_find_vma(fb_worker *w, mm_struct *mm, uint64_t addr) noexcept nogil:
    """Return the VMA with mmap_lock held for read, or NULL with it released (§1.2)."""
    cdef vm_area_struct *vma
    cdef uint64_t began
    fb_at(w, STEP_LOCK_MM_AND_FIND_VMA, mm)
    if fb_unlikely(not fb_any_down_read_trylock(&mm.mmap_lock, w.t.rwsem, w.me)):
        # get_mmap_lock_carefully(): a trylock, then mmap_read_lock_killable().
        fb_try_failed(w, LOCK_MMAP_LOCK, mm)
        began = fb_now()
        fb_any_down_read(&mm.mmap_lock, w.t.rwsem, w.me)
        w.c.mmap_lock_read_contended += 1
        w.c.mmap_lock_read_wait_ns += fb_now() - began
    fb_acquired(w, LOCK_MMAP_LOCK, mm, True)
    w.c.mmap_lock_reads += 1
    fb_at(w, STEP_FIND_VMA, mm)
    vma = mtree_load(mm, addr)
    if vma == NULL:
        mmap_read_unlock(w, mm)
    return vma


cdef inline uint32_t __handle_mm_fault(vm_fault *vmf, mm_struct *mm) noexcept nogil:
    """The walk (§5.1): a none PUD, then a none PMD, is offered to ->huge_fault; what falls back goes on to the PTE."""
    cdef fb_worker *w = vmf.w
    cdef bint huge = thp_allowed(vmf.vma)
    cdef uint64_t pud
    cdef uint32_t ret
    fb_at(w, STEP_HANDLE_MM_FAULT, vmf.vma)
    vmf.pud = pud_alloc(w, mm, vmf.address)
    if vmf.pud == NULL:
        return VM_FAULT_OOM
    while True:
        vmf.orig_pud = entry_read(vmf.pud)
        if fb_unlikely(vmf.orig_pud == 0):
            if huge:
                ret = create_huge_pud(vmf)
                if not ret & VM_FAULT_FALLBACK:
                    return ret
        elif entry_leaf(vmf.orig_pud):
            if vmf.flags & FAULT_FLAG_WRITE and not vmf.orig_pud & _PAGE_RW:
                ret = wp_huge_pud(vmf)
                if not ret & VM_FAULT_FALLBACK:
                    return ret
            else:
                huge_set_accessed(w, &mm.page_table_lock, LOCK_PAGE_TABLE_LOCK, vmf.pud, vmf.orig_pud, vmf.flags)
                return 0
        pud = pmd_table_alloc(w, mm, vmf.pud)
        if pud == 0:
            return VM_FAULT_OOM
        if fb_likely(not entry_leaf(pud)):
            break    # else pud_trans_unstable(): somebody made it huge meanwhile
    vmf.pmd = pmd_offset(pud, vmf.address)
    vmf.orig_pmd = entry_read(vmf.pmd)
    if vmf.orig_pmd == 0:
        if huge:
            ret = create_huge_pmd(vmf)
            if fb_likely(not ret & VM_FAULT_FALLBACK):
                return ret
            w.c.fallbacks += 1    # THP_FAULT_FALLBACK
    elif entry_leaf(vmf.orig_pmd):
        if vmf.flags & FAULT_FLAG_WRITE and not vmf.orig_pmd & _PAGE_RW:
            ret = wp_huge_pmd(vmf)
            if fb_likely(not ret & VM_FAULT_FALLBACK):
                return ret
        else:
            huge_set_accessed(w, &entry_ptdesc(w, vmf.pmd).ptl, LOCK_PMD_PTL, vmf.pmd, vmf.orig_pmd, vmf.flags)
            return 0
    return handle_pte_fault(vmf)


cdef inline uint32_t handle_mm_fault(fb_worker *w, mm_struct *mm, vm_area_struct *vma, uint64_t addr,
                                     uint32_t flags) noexcept nogil:
    """§1.4: with FAULT_FLAG_VMA_LOCK the lock comes back dropped iff the result has RETRY or COMPLETED."""
    cdef vm_fault vmf
    cdef uint32_t ret
    vmf.w = w
    vmf.vma = vma
    vmf.address = addr
    vmf.flags = flags
    vmf.cow = 0
    vmf.pte = NULL
    # Relaxed, both: stable under the fault lock.
    vmf.pgoff = (fb_load_u64(&vma.vm_pgoff, FB_RELAXED)
                 + ((addr - fb_load_u64(&vma.vm_start, FB_RELAXED)) >> PAGE_SHIFT))
    if FB_CHECKED_BUILD:
        check_fault_lock(w, mm, vma, addr, flags)
    ret = __handle_mm_fault(&vmf, mm)
    if FB_CHECKED_BUILD:
        check_fault_result(w, mm, vma, addr, flags, ret)
    return ret


cdef inline bint do_user_addr_fault(fb_worker *w, mm_struct *mm, uint64_t addr, bint write) noexcept nogil:
    """One page fault of a user-mode access. False: no VMA there, the process would get SIGSEGV."""
    cdef uint32_t flags = FAULT_FLAG_DEFAULT | FAULT_FLAG_USER
    cdef uint32_t fault
    cdef vm_area_struct *vma
    cdef vm_area_struct *first = NULL
    w.outcome = OUTCOME_DIRECT
    if w.t.rules & RULE_PREFETCHW:
        fb_prefetchw(&mm.mmap_lock)    # §0.3: takes the line of count, touches nothing
    fb_at(w, STEP_EXC_PAGE_FAULT, mm)
    if write:
        flags |= FAULT_FLAG_WRITE
    if w.t.rules & RULE_VMA_LOCK:
        vma = lock_vma_under_rcu(w, mm, addr)
        if fb_likely(vma != NULL):
            fault = handle_mm_fault(w, mm, vma, addr, flags | FAULT_FLAG_VMA_LOCK)
            if fb_likely(not fault & (VM_FAULT_RETRY | VM_FAULT_COMPLETED)) or FB_MUTANT(w, MUTANT_DOUBLE_END_READ):
                vma_end_read(w, vma)
            if fb_likely(not fault & VM_FAULT_RETRY):
                w.c.vma_lock_success += 1
                return fault_done(w, fault)
            w.c.vma_lock_retry += 1
            if w.outcome == OUTCOME_DIRECT:
                w.outcome = OUTCOME_RETRIED
            if fault & VM_FAULT_MAJOR:
                flags |= FAULT_FLAG_TRIED
            first = vma
    while True:
        vma = lock_mm_and_find_vma(w, mm, addr)
        if vma == NULL:
            w.c.no_vma += 1
            return False
        if FB_MUTANT(w, MUTANT_NO_SECOND_LOOKUP) and first != NULL:
            vma = first
        fault = handle_mm_fault(w, mm, vma, addr, flags)
        if fault & VM_FAULT_COMPLETED:    # mmap_lock was released by the callee
            return fault_done(w, fault)
        if fault & VM_FAULT_RETRY:        # and here
            flags |= FAULT_FLAG_TRIED
            continue
        mmap_read_unlock(w, mm)
        return fault_done(w, fault)
