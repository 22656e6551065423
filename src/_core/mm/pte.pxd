# cython: language_level=3
"""What falls through to the PTE level: handle_pte_fault() and below (mm/memory.c; kernel-reference §5.1 step 5, §2)."""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *
from _core.mm.pat cimport *
from _core.mm.pgtable cimport *
from _core.mm.rules cimport *
from _core.mm.vm_ops cimport *
from _core.mm.vma_lock cimport *


cdef inline bint pte_map(vm_fault *vmf, uint64_t pmd) noexcept nogil:
    """Point vmf.pte at the entry if the PMD is a table; False when it is a leaf."""
    if entry_leaf(pmd):
        return False
    vmf.pte = pte_offset(pmd, vmf.address)
    return True


cdef inline bint pte_alloc_map(vm_fault *vmf) noexcept nogil:
    """pte_alloc() and pte_offset_map(). False: the PMD became a leaf, or no memory (which is noted)."""
    cdef uint64_t pmd = pte_table_alloc(vmf.w, <mm_struct *>fb_load_u64(<uint64_t *>&vmf.vma.vm_mm, FB_RELAXED),
                                        vmf.pmd)
    return pmd != 0 and pte_map(vmf, pmd)


cdef inline uint32_t insert_pfn(vm_fault *vmf, bint write) noexcept nogil:
    """vmf_insert_mixed() and vmf_insert_mixed_mkwrite(): under the PTE ptl; NOPAGE always."""
    cdef fb_worker *w = vmf.w
    cdef fb_spinlock *ptl
    track_pfn_insert(w)
    if not pte_alloc_map(vmf):
        return VM_FAULT_NOPAGE
    fb_enter(w, STEP_INSERT_PFN, vmf.pte)
    ptl = pte_lock(w, vmf.pte)
    fb_pay(w, STEP_INSERT_PFN)
    if leaf_install(vmf, vmf.pte, leaf_value(vmf, 0, write), write):
        w.c.pte_installs += 1
    spin_unlock(w, LOCK_PTE_PTL, ptl)
    return VM_FAULT_NOPAGE


cdef inline void install_own_page(vm_fault *vmf, uint64_t flags) noexcept nogil:
    """finish_fault() of a page of our own, anonymous or copied: frame bits that no file offset has."""
    cdef fb_worker *w = vmf.w
    cdef fb_spinlock *ptl
    if not pte_alloc_map(vmf):
        return
    fb_enter(w, STEP_INSERT_PFN, vmf.pte)
    ptl = pte_lock(w, vmf.pte)
    fb_pay(w, STEP_INSERT_PFN)
    if fb_load_u64(vmf.pte, FB_RELAXED) == 0:
        fb_store_u64(vmf.pte, (<uint64_t>1 << 50) | _PAGE_PRESENT | _PAGE_ACCESSED | flags, FB_RELEASE)
        w.c.pte_installs += 1
    else:
        w.c.lost_races += 1
    spin_unlock(w, LOCK_PTE_PTL, ptl)


cdef inline bint vmf_can_call_fault(vm_fault *vmf, const vm_operations_struct *ops) noexcept nogil:
    """Whether ->fault and ->pfn_mkwrite may run; if not, the VMA lock is dropped and the fault is done again (§0.2)."""
    if not vmf.flags & FAULT_FLAG_VMA_LOCK:
        return True
    if vmf.w.t.rules & RULE_FAULT_MAP_PAGES and ops.map_pages != NULL:
        return True
    vma_end_read(vmf.w, vmf.vma)
    return False


cdef inline uint32_t vmf_anon_prepare(vm_fault *vmf) noexcept nogil:
    """Make sure that the VMA has an anon_vma, which needs mmap_lock because it looks at the neighbours. 0 or RETRY."""
    cdef fb_worker *w = vmf.w
    cdef vm_area_struct *vma = vmf.vma
    cdef mm_struct *mm
    cdef bint locked = False
    if fb_likely(fb_load_u64(&vma.anon_vma, FB_RELAXED) != 0):    # relaxed: set once, to one value
        return 0
    mm = <mm_struct *>fb_load_u64(<uint64_t *>&vma.vm_mm, FB_RELAXED)
    if vmf.flags & FAULT_FLAG_VMA_LOCK:
        if not w.t.rules & RULE_ANON_LATE:    # until 6.9 (do_wp_page, do_cow_fault) mmap_lock is not even tried
            vma_end_read(w, vma)
            return VM_FAULT_RETRY
        if not fb_any_down_read_trylock(&mm.mmap_lock, w.t.rwsem, w.me):
            fb_try_failed(w, LOCK_MMAP_LOCK, mm)
            vma_end_read(w, vma)
            return VM_FAULT_RETRY
        fb_try_acquired(w, LOCK_MMAP_LOCK, mm, True)
        w.c.mmap_lock_reads += 1
        w.c.anon_vma_prepares += 1
        locked = True
    fb_at(w, STEP_ANON_VMA_PREPARE, vma)
    spin_lock(w, LOCK_PAGE_TABLE_LOCK, &mm.page_table_lock)
    if fb_load_u64(&vma.anon_vma, FB_RELAXED) == 0:
        fb_store_u64(&vma.anon_vma, 1, FB_RELAXED)
    spin_unlock(w, LOCK_PAGE_TABLE_LOCK, &mm.page_table_lock)
    if locked:
        mmap_read_unlock(w, mm)
    return 0


cdef inline uint32_t do_anonymous_page(vm_fault *vmf) noexcept nogil:
    cdef uint32_t ret
    # pte_alloc() comes first: a fault that is sent back for its anon_vma leaves the table behind.
    if not pte_alloc_map(vmf):
        return 0
    if not vmf.flags & FAULT_FLAG_WRITE:    # the zero page, read-only
        install_own_page(vmf, 0)
        return 0
    ret = vmf_anon_prepare(vmf)
    if ret:
        return ret
    fb_at(vmf.w, STEP_DO_ANONYMOUS_PAGE, vmf.vma)    # a zeroed folio
    install_own_page(vmf, _PAGE_RW | _PAGE_DIRTY)
    return 0


cdef inline uint32_t do_fault(vm_fault *vmf, const vm_operations_struct *ops) noexcept nogil:
    """do_read_fault(), do_cow_fault(), do_shared_fault()."""
    cdef fb_worker *w = vmf.w
    cdef uint32_t ret
    fb_at(w, STEP_DO_FAULT, vmf.vma)
    if not vmf.flags & FAULT_FLAG_WRITE:
        if ops.map_pages != NULL:    # should_fault_around(): a DAX file has no page to map
            if FB_CHECKED_BUILD:
                check_vm_op(vmf, ops, OP_MAP_PAGES)
            fb_rcu_read_lock(w.me)
            ret = ops.map_pages(vmf)
            fb_rcu_read_unlock(w.me)
            if ret:
                return ret
        if not vmf_can_call_fault(vmf, ops):
            return VM_FAULT_RETRY
        return call_fault(vmf, ops)
    if not vmf_can_call_fault(vmf, ops):
        return VM_FAULT_RETRY
    if not vma_flags(vmf.vma) & VM_SHARED:
        ret = vmf_anon_prepare(vmf)
        if ret:
            return ret
        vmf.cow = 1
    return call_fault(vmf, ops)


cdef inline uint32_t wp_page_copy(vm_fault *vmf) noexcept nogil:
    """A private page that is present and read-only: copy it. The ptl is not held."""
    cdef fb_worker *w = vmf.w
    cdef fb_spinlock *ptl
    cdef uint32_t ret = vmf_anon_prepare(vmf)
    if ret:
        return ret
    fb_at(w, STEP_WP_PAGE_COPY, vmf.vma)
    ptl = pte_lock(w, vmf.pte)
    if fb_load_u64(vmf.pte, FB_RELAXED) == vmf.orig_pte:    # pte_same()
        fb_store_u64(vmf.pte, (<uint64_t>1 << 50) | _PAGE_PRESENT | _PAGE_ACCESSED | _PAGE_RW | _PAGE_DIRTY, FB_RELAXED)
        w.c.wp_upgrades += 1
    else:
        w.c.lost_races += 1
    spin_unlock(w, LOCK_PTE_PTL, ptl)
    return 0


cdef inline uint32_t wp_pfn_shared(vm_fault *vmf, const vm_operations_struct *ops) noexcept nogil:
    """A shared page frame that is present and read-only: ask the driver, then make it writable."""
    cdef fb_worker *w = vmf.w
    cdef fb_spinlock *ptl
    cdef uint32_t ret
    if ops.pfn_mkwrite != NULL:
        if not vmf_can_call_fault(vmf, ops):
            return VM_FAULT_RETRY
        vmf.flags |= FAULT_FLAG_MKWRITE
        ret = call_pfn_mkwrite(vmf, ops)
        if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE):
            return ret
    ptl = pte_lock(w, vmf.pte)    # finish_mkwrite_fault()
    if fb_load_u64(vmf.pte, FB_RELAXED) == vmf.orig_pte:
        fb_store_u64(vmf.pte, vmf.orig_pte | _PAGE_RW | _PAGE_DIRTY, FB_RELAXED)
        w.c.wp_upgrades += 1
    else:
        w.c.lost_races += 1
    spin_unlock(w, LOCK_PTE_PTL, ptl)
    return 0


cdef inline uint32_t handle_pte_fault(vm_fault *vmf) noexcept nogil:
    cdef fb_worker *w = vmf.w
    cdef const vm_operations_struct *ops = vma_ops(vmf.vma)
    cdef uint64_t pmd = entry_read(vmf.pmd)
    cdef fb_spinlock *ptl
    fb_at(w, STEP_HANDLE_PTE_FAULT, vmf.pmd)
    vmf.orig_pte = 0
    if pmd != 0:
        if not pte_map(vmf, pmd):
            return 0    # it became a leaf: the access faults again, or not
        vmf.orig_pte = entry_read(vmf.pte)
    if vmf.orig_pte == 0:
        return do_anonymous_page(vmf) if ops == NULL else do_fault(vmf, ops)
    ptl = pte_lock(w, vmf.pte)
    if fb_load_u64(vmf.pte, FB_RELAXED) != vmf.orig_pte:
        spin_unlock(w, LOCK_PTE_PTL, ptl)
        return 0
    if vmf.flags & FAULT_FLAG_WRITE and not vmf.orig_pte & _PAGE_RW:
        spin_unlock(w, LOCK_PTE_PTL, ptl)    # do_wp_page()
        fb_at(w, STEP_DO_WP_PAGE, vmf.pte)
        return wp_pfn_shared(vmf, ops) if vma_shared(vmf.vma) else wp_page_copy(vmf)
    fb_store_u64(vmf.pte, vmf.orig_pte | _PAGE_ACCESSED | (_PAGE_DIRTY if vmf.flags & FAULT_FLAG_WRITE else 0),
                 FB_RELAXED)
    spin_unlock(w, LOCK_PTE_PTL, ptl)
    w.c.set_accessed += 1
    return 0
