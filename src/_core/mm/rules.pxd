# cython: language_level=3
"""Documentation/filesystems/locking.rst, the table of vm_operations, as data: one for each modelled kernel (§8).

    read         mmap_lock for read
    maybe-read   mmap_lock for read, or only the lock of this VMA

The seed's text (6.6) says maybe-read for huge_fault and map_pages. Before the patch huge_fault says read; before file
VMAs were let in (6.4, 6.5) everything does. From 6.7 fault and pfn_mkwrite are maybe-read too where vm_ops has
map_pages
(vmf_can_call_fault), which the kernel's own text does not say.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *

cdef enum vm_op:
    OP_FAULT, OP_HUGE_FAULT, OP_MAP_PAGES, OP_PFN_MKWRITE, OP_COUNT

cdef struct locking_row:
    uint64_t need         # rules that must hold for maybe-read
    uint64_t forbid       # rules that must not
    bint map_pages        # only where vm_ops has map_pages
    uint32_t check        # what a call without the lock breaks


cdef inline locking_row locking_rst(uint32_t op) noexcept nogil:
    """Return the row of an operation: when it is maybe-read, and the rule that a call without the lock breaks."""
    cdef locking_row row
    row.need = RULE_VMA_LOCK
    row.forbid = RULE_ABORT_FILE
    row.map_pages = False
    row.check = CHECK_LOCKING_MAP_PAGES
    if op == OP_HUGE_FAULT:
        row.forbid |= RULE_HUGE_RETRY
        row.check = CHECK_LOCKING_HUGE_FAULT
    elif op == OP_FAULT or op == OP_PFN_MKWRITE:
        row.need |= RULE_FAULT_MAP_PAGES
        row.map_pages = True
        row.check = CHECK_LOCKING_FAULT if op == OP_FAULT else CHECK_LOCKING_PFN_MKWRITE
    return row


cdef inline void check_vm_op(vm_fault *vmf, const vm_operations_struct *ops, uint32_t op) noexcept nogil:
    """Assert the row of `op` on a call: checked builds."""
    cdef fb_worker *w = vmf.w
    cdef locking_row row = locking_rst(op)
    cdef bint maybe = ((w.t.rules & row.need) == row.need and not w.t.rules & row.forbid
                       and (ops.map_pages != NULL or not row.map_pages))
    if not fb_holds(w, LOCK_MMAP_LOCK, w.mm) and not (maybe and fb_holds(w, LOCK_VMA_LOCK, vmf.vma)):
        fb_violate(w, row.check)


cdef inline void check_vm_op_result(vm_fault *vmf, uint32_t ret) noexcept nogil:
    """Assert who dropped the VMA lock after an operation: §1.4."""
    cdef fb_worker *w = vmf.w
    cdef bint held
    if vmf.flags & FAULT_FLAG_VMA_LOCK:
        held = fb_holds(w, LOCK_VMA_LOCK, vmf.vma)
        if ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED):
            if held:
                fb_violate(w, CHECK_RETRY_LEAK)
        elif not held:
            fb_violate(w, CHECK_NO_RETRY_DROPPED)
