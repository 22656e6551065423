# cython: language_level=3
"""A none or read-only huge entry is offered to ->huge_fault (mm/memory.c; kernel-reference §2.1).

The patch this program is about removed one check from four places: huge_needs_mmap_lock(), at the head of
create_huge_pud, create_huge_pmd and of the shared branch of wp_huge_pud and wp_huge_pmd. RULE_HUGE_RETRY puts it back.
That bit is read nowhere else in the fault path; the tables that say what is legal (rules.pxd) and what is expected
(rest.pxd) know it too.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.locks cimport *
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.vm_ops cimport *
from _core.mm.vma_lock cimport *


cdef inline bint huge_needs_mmap_lock(vm_fault *vmf) noexcept nogil:
    """The check that 40d49a3c9e4a removed: drop the VMA lock and have the whole fault done again under mmap_lock."""
    if vmf.w.t.rules & RULE_HUGE_RETRY and vmf.flags & FAULT_FLAG_VMA_LOCK:
        vma_end_read(vmf.w, vmf.vma)
        return True
    return False


cdef inline uint32_t create_huge_pud(vm_fault *vmf) noexcept nogil:
    cdef const vm_operations_struct *ops = vma_ops(vmf.vma)
    fb_at(vmf.w, STEP_CREATE_HUGE_PUD, vmf.pud)
    if ops == NULL or ops.huge_fault == NULL:
        return VM_FAULT_FALLBACK
    if huge_needs_mmap_lock(vmf):
        return VM_FAULT_RETRY
    return call_huge_fault(vmf, ops, PUD_ORDER)


cdef inline uint32_t create_huge_pmd(vm_fault *vmf) noexcept nogil:
    cdef const vm_operations_struct *ops = vma_ops(vmf.vma)
    fb_at(vmf.w, STEP_CREATE_HUGE_PMD, vmf.pmd)
    if ops == NULL or ops.huge_fault == NULL:
        return VM_FAULT_FALLBACK
    if huge_needs_mmap_lock(vmf):
        return VM_FAULT_RETRY
    return call_huge_fault(vmf, ops, PMD_ORDER)


cdef inline uint32_t wp_huge_pud(vm_fault *vmf) noexcept nogil:
    cdef const vm_operations_struct *ops = vma_ops(vmf.vma)
    cdef uint32_t ret
    fb_at(vmf.w, STEP_WP_HUGE_PUD, vmf.pud)
    if vma_shared(vmf.vma) and ops != NULL and ops.huge_fault != NULL:
        if huge_needs_mmap_lock(vmf):
            return VM_FAULT_RETRY
        ret = call_huge_fault(vmf, ops, PUD_ORDER)
        if not ret & VM_FAULT_FALLBACK:
            return ret
    split_huge_pud(vmf.w, vmf.vma, vmf.pud)
    return VM_FAULT_FALLBACK


cdef inline uint32_t wp_huge_pmd(vm_fault *vmf) noexcept nogil:
    cdef const vm_operations_struct *ops = vma_ops(vmf.vma)
    cdef uint32_t ret
    fb_at(vmf.w, STEP_WP_HUGE_PMD, vmf.pmd)
    if vma_shared(vmf.vma) and ops != NULL and ops.huge_fault != NULL:
        if huge_needs_mmap_lock(vmf):
            return VM_FAULT_RETRY
        ret = call_huge_fault(vmf, ops, PMD_ORDER)
        if not ret & VM_FAULT_FALLBACK:
            return ret
    split_huge_pmd(vmf.w, vmf.pmd)    # private: straight here, under the VMA lock
    return VM_FAULT_FALLBACK
