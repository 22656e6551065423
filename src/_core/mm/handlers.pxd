# cython: language_level=3
"""The drivers: each takes its own locks in its own order (kernel-reference §6.1)."""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.dax cimport *
from _core.mm.dax_sync cimport *
from _core.mm.locks cimport *
from _core.mm.pte cimport *
from _core.mm.vm_ops cimport *
from _core.mm.vma_lock cimport *


cdef inline bint write_fault(vm_fault *vmf) noexcept nogil:
    """What file systems call a write fault: a write to a shared mapping."""
    return (vmf.flags & FAULT_FLAG_WRITE) != 0 and (vma_flags(vmf.vma) & VM_SHARED) != 0


cdef inline uint32_t entry_order(const fb_worker *w) noexcept nogil:
    return w.t.entry_shift - PAGE_SHIFT


cdef inline uint32_t insert_at(vm_fault *vmf, uint32_t order, bint write) noexcept nogil:
    if order == PMD_ORDER:
        return insert_pfn_pmd(vmf, write)
    if order == PUD_ORDER:
        return insert_pfn_pud(vmf, <mm_struct *>fb_load_u64(<uint64_t *>&vmf.vma.vm_mm, FB_RELAXED), write)
    return insert_pfn(vmf, write)


# ---- device-dax: drivers/dax/device.c. SRCU only; no inode lock, no xarray.

cdef inline void dax_set_mapping(vm_fault *vmf) noexcept nogil:
    """page->mapping and page->index of the head page, the first time a page is mapped."""
    cdef uint64_t *head = (<uint64_t *>fb_load_u64(<uint64_t *>&vma_inode(vmf.vma).i_pages_meta, FB_RELAXED)
                           + 8 * dax_index(vmf))
    if fb_load_u64(head, FB_RELAXED) == 0:    # relaxed: whoever writes it writes the same
        fb_at(vmf.w, STEP_DAX_SET_MAPPING, head)
        fb_store_u64(head, <uint64_t>vma_inode(vmf.vma), FB_RELAXED)
        fb_store_u64(head + 1, vmf.pgoff, FB_RELAXED)


cdef inline uint32_t dev_dax_fault_order(vm_fault *vmf, uint32_t order) noexcept nogil:
    cdef fb_worker *w = vmf.w
    cdef uint32_t ret, idx
    fb_enter(w, STEP_DEV_DAX_HUGE_FAULT, vmf.vma)
    idx = fb_srcu_read_lock(&w.t.sb.dax_srcu, w.me)
    fb_acquired(w, LOCK_DAX_SRCU, &w.t.sb.dax_srcu, True)
    fb_pay(w, STEP_DEV_DAX_HUGE_FAULT)
    if not vma_flags(vmf.vma) & VM_SHARED or order < entry_order(w):    # check_vma(); smaller than the alignment
        ret = VM_FAULT_SIGBUS
    elif order > entry_order(w):
        ret = VM_FAULT_FALLBACK
    else:
        dax_set_mapping(vmf)
        ret = insert_at(vmf, order, (vmf.flags & FAULT_FLAG_WRITE) != 0)
    fb_released(w, LOCK_DAX_SRCU, &w.t.sb.dax_srcu)
    fb_srcu_read_unlock(&w.t.sb.dax_srcu, idx, w.me)
    return ret


cdef inline uint32_t dev_dax_huge_fault(vm_fault *vmf, uint32_t order) noexcept nogil:
    return dev_dax_fault_order(vmf, order)


cdef inline uint32_t dev_dax_fault(vm_fault *vmf) noexcept nogil:
    return dev_dax_fault_order(vmf, 0)


# ---- file systems

cdef inline void sb_start_pagefault(vm_fault *vmf, inode *node) noexcept nogil:
    """Freeze protection, per CPU, then file_update_time(): the time stamp is nearly always fresh enough."""
    cdef fb_worker *w = vmf.w
    fb_enter(w, STEP_SB_START_PAGEFAULT, node)
    fb_percpu_down_read(&w.t.sb.s_writers, w.me)
    fb_acquired(w, LOCK_S_WRITERS, &w.t.sb.s_writers, True)
    fb_pay(w, STEP_SB_START_PAGEFAULT)
    fb_load_u64(&node.i_mtime, FB_RELAXED)
    fb_at(w, STEP_FILE_UPDATE_TIME, node)


cdef inline void sb_end_pagefault(fb_worker *w) noexcept nogil:
    fb_released(w, LOCK_S_WRITERS, &w.t.sb.s_writers)
    if not FB_MUTANT(w, MUTANT_S_WRITERS_KEPT):
        fb_percpu_up_read(&w.t.sb.s_writers, w.me)


cdef inline void filemap_invalidate_lock_shared(fb_worker *w, inode *node) noexcept nogil:
    fb_enter(w, STEP_INVALIDATE_LOCK, node)
    down_read(w, LOCK_INVALIDATE_LOCK, &node.i_data.invalidate_lock)
    fb_pay(w, STEP_INVALIDATE_LOCK)


cdef inline void filemap_invalidate_unlock_shared(fb_worker *w, inode *node) noexcept nogil:
    up_read(w, LOCK_INVALIDATE_LOCK, &node.i_data.invalidate_lock)


cdef inline void xfs_iflags_test(fb_worker *w, inode *node) noexcept nogil:
    """XFS_IREMAPPING, asked by a write fault under invalidate_lock: is a reflink remap in progress? Here, never.

    Since 6.7 (14a537983b22), for writes only since 6.11 (4e82fa11fbbc). Stable 6.1 and 6.6 (from 6.6.17 on) have it
    too, as 6.7 had it: for reads as well. The modelled v6.6 is the release.
    """
    fb_enter(w, STEP_XFS_IFLAGS_TEST, node)
    spin_lock(w, LOCK_I_FLAGS_LOCK, &node.i_flags_lock)
    fb_pay(w, STEP_XFS_IFLAGS_TEST)
    fb_load_u64(&node.i_flags, FB_RELAXED)    # relaxed: under the lock
    spin_unlock(w, LOCK_I_FLAGS_LOCK, &node.i_flags_lock)


cdef inline void journal_start(fb_worker *w) noexcept nogil:
    """start_this_handle(): join the running transaction under j_state_lock."""
    cdef journal *j = &w.t.sb.s_journal
    fb_enter(w, STEP_JOURNAL_START, j)
    read_lock(w, LOCK_J_STATE_LOCK, &j.j_state_lock)
    fb_pay(w, STEP_JOURNAL_START)
    fb_fetch_add_u32(&j.t_outstanding_credits, 8, FB_RELAXED)    # relaxed, these: statistics of the transaction;
    fb_fetch_add_u32(&j.t_updates, 1, FB_RELAXED)                # a commit would take j_state_lock for write
    fb_fetch_add_u32(&j.t_handle_count, 1, FB_RELAXED)
    read_unlock(w, LOCK_J_STATE_LOCK, &j.j_state_lock)
    fb_acquired(w, LOCK_HANDLE, j, True)


cdef inline void journal_stop(fb_worker *w) noexcept nogil:
    """stop_this_handle(): give the credits back and leave the transaction; the last to leave wakes a commit.

    wake_up() takes the queue's lock, waiters or not; no commit waits here.
    """
    cdef journal *j = &w.t.sb.s_journal
    fb_at(w, STEP_JOURNAL_STOP, j)
    fb_released(w, LOCK_HANDLE, j)
    fb_fetch_add_u32(&j.t_outstanding_credits, <uint32_t>-8, FB_RELAXED)
    if fb_fetch_add_u32(&j.t_updates, <uint32_t>-1, FB_RELEASE) == 1:    # pairs with a commit that waits for 0
        spin_lock(w, LOCK_J_WAIT_UPDATES, &j.j_wait_updates)
        fb_load_u64(&j.j_wait_updates_first, FB_RELAXED)    # relaxed: under the lock
        spin_unlock(w, LOCK_J_WAIT_UPDATES, &j.j_wait_updates)


cdef inline uint32_t fs_dax_fault(vm_fault *vmf, uint32_t order) noexcept nogil:
    """ext4_dax_huge_fault() and xfs_filemap_huge_fault(): the same order of locks, but only ext4 opens a handle and
    only XFS asks for a remap."""
    cdef fb_worker *w = vmf.w
    cdef inode *node = vma_inode(vmf.vma)
    cdef bint write = write_fault(vmf)
    cdef bint handle = write and w.t.handler == HANDLER_EXT4
    cdef uint32_t ret
    if write:
        sb_start_pagefault(vmf, node)
    filemap_invalidate_lock_shared(w, node)
    if write and w.t.handler == HANDLER_XFS and w.t.rules & RULE_IREMAPPING:
        xfs_iflags_test(w, node)
    if handle:
        journal_start(w)
    ret = dax_iomap_fault(vmf, node, order)
    if handle:
        journal_stop(w)
    if ret & VM_FAULT_NEEDDSYNC:
        ret = dax_finish_sync_fault(vmf, node, order)
    filemap_invalidate_unlock_shared(w, node)
    if write:
        sb_end_pagefault(w)
    return ret


cdef inline uint32_t fs_dax_huge_fault(vm_fault *vmf, uint32_t order) noexcept nogil:
    return fs_dax_fault(vmf, order)


cdef inline uint32_t fs_dax_pte_fault(vm_fault *vmf) noexcept nogil:
    """->fault and ->pfn_mkwrite."""
    return fs_dax_fault(vmf, 0)


cdef inline uint32_t filemap_map_pages(vm_fault *vmf) noexcept nogil:
    """Fault-around: the page cache of a DAX file holds entries, not pages, so it finds nothing. Under RCU, does not
    block."""
    fb_at(vmf.w, STEP_MAP_PAGES, vmf.vma)
    fb_load_u64(dax_slot(vma_inode(vmf.vma), dax_index(vmf)), FB_RELAXED)
    return 0


# ---- a driver outside the tree; `driver-retry` still needs mmap_lock

cdef inline uint32_t driver_insert(vm_fault *vmf, uint32_t order) noexcept nogil:
    fb_at(vmf.w, STEP_DRIVER_HUGE_FAULT, vmf.vma)
    if order > entry_order(vmf.w):
        return VM_FAULT_FALLBACK
    if order == PMD_ORDER and (fb_load_u64(extent_word(vma_inode(vmf.vma), dax_index(vmf)), FB_RELAXED)
                               >> (dax_index(vmf) & 63)) & 1:
        return VM_FAULT_FALLBACK
    return insert_at(vmf, order, (vmf.flags & FAULT_FLAG_WRITE) != 0)


cdef inline uint32_t driver_huge_fault(vm_fault *vmf, uint32_t order) noexcept nogil:
    return driver_insert(vmf, order)


cdef inline uint32_t driver_retry_huge_fault(vm_fault *vmf, uint32_t order) noexcept nogil:
    """The exact rule of §1.4: under the VMA lock, and only then, drop it and answer RETRY; touch the VMA no more."""
    if vmf.flags & FAULT_FLAG_VMA_LOCK:
        fb_enter(vmf.w, STEP_DRIVER_HUGE_FAULT, vmf.vma)    # it does nothing yet, so it takes no busy time
        if not FB_MUTANT(vmf.w, MUTANT_RETRY_LEAKS):
            vma_end_read(vmf.w, vmf.vma)
        return VM_FAULT_RETRY
    return driver_insert(vmf, order)


cdef inline uint32_t driver_fault(vm_fault *vmf) noexcept nogil:
    return driver_insert(vmf, 0)


cdef inline uint32_t driver_pfn_mkwrite(vm_fault *vmf) noexcept nogil:
    fb_at(vmf.w, STEP_DRIVER_HUGE_FAULT, vmf.vma)
    return 0


# ---- nop: answers and installs nothing, which leaves the path itself

cdef inline uint32_t nop_huge_fault(vm_fault *vmf, uint32_t order) noexcept nogil:
    return VM_FAULT_NOPAGE if order == entry_order(vmf.w) else VM_FAULT_FALLBACK


cdef inline void handler_ops(vm_operations_struct *ops, uint32_t handler) noexcept nogil:
    """Fill in a driver's operations. anon has none: the VMA's vm_ops stays NULL."""
    ops.fault = NULL
    ops.huge_fault = NULL
    ops.map_pages = NULL
    ops.pfn_mkwrite = NULL
    ops.dax = 1    # vma_is_dax(): also of the driver, which before 6.7 was a condition for ->huge_fault (§5.2)
    ops.write_notify = 0
    if handler == HANDLER_DEVICE_DAX:
        ops.fault = dev_dax_fault
        ops.huge_fault = dev_dax_huge_fault
    elif handler == HANDLER_EXT4 or handler == HANDLER_XFS:
        ops.fault = fs_dax_pte_fault
        ops.huge_fault = fs_dax_huge_fault
        ops.pfn_mkwrite = fs_dax_pte_fault
        ops.write_notify = 1
        if handler == HANDLER_XFS:    # xfs_file_vm_ops has map_pages; ext4_dax_vm_ops has not (§0.2)
            ops.map_pages = filemap_map_pages
    elif handler == HANDLER_DRIVER or handler == HANDLER_DRIVER_RETRY:
        ops.fault = driver_fault
        ops.huge_fault = driver_retry_huge_fault if handler == HANDLER_DRIVER_RETRY else driver_huge_fault
        ops.pfn_mkwrite = driver_pfn_mkwrite
        ops.write_notify = 1
    elif handler == HANDLER_NOP:
        ops.huge_fault = nop_huge_fault
