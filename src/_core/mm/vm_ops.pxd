# cython: language_level=3
"""What the fault path asks of a VMA and of its driver, and the huge entries it puts in (mm/memory.c,
mm/huge_memory.c)."""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *
from _core.mm.pat cimport *
from _core.mm.pgtable cimport *
from _core.mm.rules cimport *
from _core.mm.vma_lock cimport *
from _core.mm.vma_tree cimport *


cdef inline const vm_operations_struct *vma_ops(const vm_area_struct *vma) noexcept nogil:
    """NULL: anonymous. Relaxed, as all fields of a VMA here: stable under the fault lock."""
    return <const vm_operations_struct *>fb_load_u64(<const uint64_t *>&vma.vm_ops, FB_RELAXED)


cdef inline uint64_t vma_flags(const vm_area_struct *vma) noexcept nogil:
    return fb_load_u64(&vma.vm_flags, FB_RELAXED)


cdef inline bint vma_shared(const vm_area_struct *vma) noexcept nogil:
    return (vma_flags(vma) & (VM_SHARED | VM_MAYSHARE)) != 0


cdef inline bint thp_allowed(const vm_area_struct *vma) noexcept nogil:
    """hugepage_vma_check() in a fault: a DAX VMA is allowed whatever sysfs says; alignment is the handler's affair
    (§5.2)."""
    cdef const vm_operations_struct *ops
    if vma_flags(vma) & VM_NOHUGEPAGE:
        return False
    ops = vma_ops(vma)
    return ops != NULL and ops.dax != 0


cdef inline void count_call(vm_fault *vmf) noexcept nogil:
    if vmf.flags & FAULT_FLAG_VMA_LOCK:
        vmf.w.c.calls_under_vma += 1
    else:
        vmf.w.c.calls_under_mmap += 1


cdef inline uint32_t call_huge_fault(vm_fault *vmf, const vm_operations_struct *ops, uint32_t order) noexcept nogil:
    """Call ->huge_fault(), which may run under the VMA lock alone from 6.6 on."""
    cdef uint32_t ret
    vmf.w.c.huge_fault_calls += 1
    if order == PMD_ORDER:
        vmf.w.c.calls_pmd += 1
    else:
        vmf.w.c.calls_pud += 1
    count_call(vmf)
    if FB_CHECKED_BUILD:
        check_vm_op(vmf, ops, OP_HUGE_FAULT)
    ret = ops.huge_fault(vmf, order)
    if FB_CHECKED_BUILD:
        check_vm_op_result(vmf, ret)
    return ret


cdef inline uint32_t call_fault(vm_fault *vmf, const vm_operations_struct *ops) noexcept nogil:
    """Call ->fault(): __do_fault()."""
    cdef uint32_t ret
    vmf.w.c.calls_pte += 1
    count_call(vmf)
    if FB_CHECKED_BUILD:
        check_vm_op(vmf, ops, OP_FAULT)
    ret = ops.fault(vmf)
    if FB_CHECKED_BUILD:
        check_vm_op_result(vmf, ret)
    return ret


cdef inline uint32_t call_pfn_mkwrite(vm_fault *vmf, const vm_operations_struct *ops) noexcept nogil:
    cdef uint32_t ret
    vmf.w.c.calls_pte += 1
    count_call(vmf)
    if FB_CHECKED_BUILD:
        check_vm_op(vmf, ops, OP_PFN_MKWRITE)
    ret = ops.pfn_mkwrite(vmf)
    if FB_CHECKED_BUILD:
        check_vm_op_result(vmf, ret)
    return ret


cdef inline uint64_t leaf_flags(vm_fault *vmf, bint write) noexcept nogil:
    """Flags of a new leaf. A shared mapping without write-notify is writable after a read (vm_page_prot)."""
    cdef uint64_t flags = _PAGE_PRESENT | _PAGE_ACCESSED
    cdef const vm_operations_struct *ops = vma_ops(vmf.vma)
    if write:
        flags |= _PAGE_RW | _PAGE_DIRTY
    elif ops != NULL and not ops.write_notify and vma_shared(vmf.vma):
        flags |= _PAGE_RW
    return flags


cdef inline uint64_t leaf_value(vm_fault *vmf, uint64_t mask, bint write) noexcept nogil:
    """A leaf for the page of the file: frame number 1 + page offset, so that no leaf looks like none."""
    return ((vmf.pgoff & ~mask) + 1) << PAGE_SHIFT | leaf_flags(vmf, write)


cdef inline bint leaf_install(vm_fault *vmf, uint64_t *entry, uint64_t value, bint write) noexcept nogil:
    """Put a leaf in under the entry's lock, held by the caller. True: ours is in. An entry that is there stays there;
    a write to the same frame makes it writable (§5.5)."""
    cdef fb_worker *w = vmf.w
    cdef uint64_t old = fb_load_u64(entry, FB_RELAXED)    # relaxed: under its lock
    if old == 0 or FB_MUTANT(w, MUTANT_PMD_NO_RECHECK):
        if FB_CHECKED_BUILD and fb_load_u64(entry, FB_RELAXED) != 0:
            fb_violate(w, CHECK_ENTRY_LOST)
        fb_store_u64(entry, value, FB_RELEASE)    # pairs with entry_read
        return True
    if write and not old & _PAGE_RW and (old ^ value) & ~<uint64_t>_PAGE_FLAGS == 0:
        fb_store_u64(entry, old | _PAGE_RW | _PAGE_DIRTY | _PAGE_ACCESSED, FB_RELAXED)
        w.c.wp_upgrades += 1
    else:
        w.c.lost_races += 1
    return False


cdef inline uint32_t insert_pfn_pmd(vm_fault *vmf, bint write) noexcept nogil:
    """vmf_insert_pfn_pmd(): NOPAGE always; losing the race is success."""
    cdef uint64_t value = leaf_value(vmf, (1 << PMD_ORDER) - 1, write) | _PAGE_PSE
    cdef fb_spinlock *ptl
    track_pfn_insert(vmf.w)
    fb_enter(vmf.w, STEP_INSERT_PFN_PMD, vmf.pmd)
    ptl = pmd_lock(vmf.w, vmf.pmd)
    fb_pay(vmf.w, STEP_INSERT_PFN_PMD)
    if not FB_MUTANT(vmf.w, MUTANT_ENTRY_SKIPPED) and leaf_install(vmf, vmf.pmd, value, write):
        vmf.w.c.pmd_installs += 1
    spin_unlock(vmf.w, LOCK_PMD_PTL, ptl)
    return VM_FAULT_NOPAGE


cdef inline uint32_t insert_pfn_pud(vm_fault *vmf, mm_struct *mm, bint write) noexcept nogil:
    """vmf_insert_pfn_pud(): pud_lock is page_table_lock."""
    cdef uint64_t value = leaf_value(vmf, (1 << PUD_ORDER) - 1, write) | _PAGE_PSE
    track_pfn_insert(vmf.w)
    fb_enter(vmf.w, STEP_INSERT_PFN_PUD, vmf.pud)
    spin_lock(vmf.w, LOCK_PAGE_TABLE_LOCK, &mm.page_table_lock)
    fb_pay(vmf.w, STEP_INSERT_PFN_PUD)
    if leaf_install(vmf, vmf.pud, value, write):
        vmf.w.c.pud_installs += 1
    spin_unlock(vmf.w, LOCK_PAGE_TABLE_LOCK, &mm.page_table_lock)
    return VM_FAULT_NOPAGE


cdef inline void huge_set_accessed(fb_worker *w, fb_spinlock *ptl, uint32_t lock_class, uint64_t *entry,
                                   uint64_t orig, uint32_t flags) noexcept nogil:
    """huge_pmd_set_accessed() and its PUD twin: somebody else was faster, or the TLB was stale."""
    fb_at(w, STEP_HUGE_SET_ACCESSED, entry)
    spin_lock(w, lock_class, ptl)
    if fb_load_u64(entry, FB_RELAXED) == orig:
        fb_store_u64(entry, orig | _PAGE_ACCESSED | (_PAGE_DIRTY if flags & FAULT_FLAG_WRITE else 0), FB_RELAXED)
    spin_unlock(w, lock_class, ptl)
    w.c.set_accessed += 1


cdef inline void split_huge_pmd(fb_worker *w, uint64_t *pmd) noexcept nogil:
    """__split_huge_pmd() of a mapping that is not anonymous: the entry is cleared and PTEs fault in later (§5.3)."""
    cdef fb_spinlock *ptl
    fb_at(w, STEP_SPLIT_HUGE, pmd)
    ptl = pmd_lock(w, pmd)
    if entry_leaf(fb_load_u64(pmd, FB_RELAXED)):
        fb_store_u64(pmd, 0, FB_RELAXED)
        w.c.splits += 1
    spin_unlock(w, LOCK_PMD_PTL, ptl)


cdef inline void split_huge_pud(fb_worker *w, vm_area_struct *vma, uint64_t *pud) noexcept nogil:
    cdef mm_struct *mm = <mm_struct *>fb_load_u64(<uint64_t *>&vma.vm_mm, FB_RELAXED)
    fb_at(w, STEP_SPLIT_HUGE, pud)
    spin_lock(w, LOCK_PAGE_TABLE_LOCK, &mm.page_table_lock)
    if entry_leaf(fb_load_u64(pud, FB_RELAXED)):
        fb_store_u64(pud, 0, FB_RELAXED)
        w.c.splits += 1
    spin_unlock(w, LOCK_PAGE_TABLE_LOCK, &mm.page_table_lock)


cdef inline void check_stable(fb_worker *w, mm_struct *mm, vm_area_struct *vma, uint64_t addr) noexcept nogil:
    """Assert what the VMA read lock promises: in the tree, of this mm, around the address, and no writer inside."""
    cdef vm_area_struct *found
    if vma_poisoned(vma):
        fb_violate(w, CHECK_USE_AFTER_FREE)
    elif vma_is_write_locked(mm, vma):
        fb_violate(w, CHECK_READER_IN_WRITE)
    elif (fb_load_u64(<uint64_t *>&vma.vm_mm, FB_RELAXED) != <uint64_t>mm or fb_load_u32(&vma.detached, FB_RELAXED)
          or addr < fb_load_u64(&vma.vm_start, FB_RELAXED) or addr >= fb_load_u64(&vma.vm_end, FB_RELAXED)):
        fb_violate(w, CHECK_STALE_VMA)
    else:
        fb_rcu_read_lock(w.me)
        found = mtree_load(mm, addr)
        fb_rcu_read_unlock(w.me)
        if found != vma:
            fb_violate(w, CHECK_STALE_VMA)


cdef inline void check_fault_lock(fb_worker *w, mm_struct *mm, vm_area_struct *vma, uint64_t addr,
                                  uint32_t flags) noexcept nogil:
    if flags & FAULT_FLAG_VMA_LOCK:
        if not fb_holds(w, LOCK_VMA_LOCK, vma):
            fb_violate(w, CHECK_FAULT_UNLOCKED)
        check_stable(w, mm, vma, addr)
    else:
        if not fb_holds(w, LOCK_MMAP_LOCK, mm):
            fb_violate(w, CHECK_FAULT_UNLOCKED)
        if vma_poisoned(vma):
            fb_violate(w, CHECK_USE_AFTER_FREE)
        elif (fb_load_u32(&vma.detached, FB_RELAXED) or addr < fb_load_u64(&vma.vm_start, FB_RELAXED)
              or addr >= fb_load_u64(&vma.vm_end, FB_RELAXED)):
            fb_violate(w, CHECK_STALE_VMA)


cdef inline void check_fault_result(fb_worker *w, mm_struct *mm, vm_area_struct *vma, uint64_t addr, uint32_t flags,
                                    uint32_t ret) noexcept nogil:
    cdef bint held = fb_holds(w, LOCK_VMA_LOCK, vma)
    if flags & FAULT_FLAG_VMA_LOCK:
        if ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED):
            if held:
                fb_violate(w, CHECK_RETRY_LEAK)
        elif not held:
            fb_violate(w, CHECK_NO_RETRY_DROPPED)
        else:
            check_stable(w, mm, vma, addr)


cdef inline bint fault_done(fb_worker *w, uint32_t fault) noexcept nogil:
    """A fault has ended and its access may go on."""
    if fb_unlikely(fault & (VM_FAULT_SIGBUS | VM_FAULT_OOM | VM_FAULT_SIGSEGV)):
        w.c.errors += 1
        fb_violate(w, CHECK_HANDLER_ERROR)
    if FB_CHECKED_BUILD and w.nr_held:
        fb_violate(w, CHECK_LEFT_HELD)
        w.nr_held = 0
    w.c.faults += 1
    return True
