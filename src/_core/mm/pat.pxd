# cython: language_level=3
"""x86: the memory type of a frame, looked up before each insert (track_pfn_insert() in arch/x86/mm/pat/memtype.c).

vmf_insert_pfn_pmd(), vmf_insert_pfn_pud() and __vm_insert_mixed() ask which cache mode a frame has. lookup_memtype()
first asks whether it is the kernel's RAM, which walks the resource tree under `resource_lock`; if it is not, as on
pmem, it searches the tree of memory types under `memtype_lock`. Both are one for the whole machine. Off unless
`--set pat=on`: other architectures have nothing of this, and DAX does not come here from 6.15 on
(vmf_insert_folio_pmd()).
"""

from libc.stdint cimport uint32_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *


cdef inline bint frame_is_ram(const fb_worker *w) noexcept nogil:
    """A driver's frames are pages it allocated; those of DAX are a device's (pat_pagerange_is_ram())."""
    return w.t.handler == HANDLER_DRIVER or w.t.handler == HANDLER_DRIVER_RETRY


cdef inline void track_pfn_insert(fb_worker *w) noexcept nogil:
    """Look the memory type up. Before the page table's lock, and with no spinlock held; the locks do not nest."""
    cdef pat_locks *pat = w.t.pat
    if not w.t.rules & RULE_PAT:
        return
    fb_enter(w, STEP_FIND_NEXT_IOMEM_RES, pat)
    read_lock(w, LOCK_RESOURCE_LOCK, &pat.resource_lock)
    fb_pay(w, STEP_FIND_NEXT_IOMEM_RES)
    read_unlock(w, LOCK_RESOURCE_LOCK, &pat.resource_lock)
    if frame_is_ram(w):    # get_page_memtype(): a flag of its struct page
        return
    fb_enter(w, STEP_LOOKUP_MEMTYPE, pat)
    spin_lock(w, LOCK_MEMTYPE_LOCK, &pat.memtype_lock)
    fb_pay(w, STEP_LOOKUP_MEMTYPE)
    spin_unlock(w, LOCK_MEMTYPE_LOCK, &pat.memtype_lock)
