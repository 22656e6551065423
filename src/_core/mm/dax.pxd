# cython: language_level=3
"""fs/dax.c: entries of the page cache that stand for device pages, their per-entry lock, and dax_iomap_fault()
(§6.2-6.4).

i_pages is a flat array here, one word per entry of the trial's order, under xa_lock; the radix levels above a leaf,
which
change only when a file grows, are dropped. Three xa_lock rounds per fault: lock the entry, insert the real one, unlock.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *
from _core.mm.pgtable cimport *
from _core.mm.pte cimport *
from _core.mm.vm_ops cimport *


cdef inline inode *vma_inode(const vm_area_struct *vma) noexcept nogil:
    return <inode *>fb_load_u64(<const uint64_t *>&vma.vm_file, FB_RELAXED)


cdef inline uint64_t dax_index(vm_fault *vmf) noexcept nogil:
    """Which entry word of the file this fault is about."""
    return vmf.pgoff >> (vmf.w.t.entry_shift - PAGE_SHIFT)


cdef inline uint64_t *dax_slot(const inode *node, uint64_t index) noexcept nogil:
    """Relaxed: constant."""
    return <uint64_t *>fb_load_u64(<const uint64_t *>&node.i_data.xa_head, FB_RELAXED) + index


cdef inline dax_waitq *dax_entry_waitqueue(fb_worker *w, const uint64_t *slot) noexcept nogil:
    """One of 4096 queues, by a hash of file and index; the slot's place in the arena stands for both."""
    cdef uint64_t key = (<uint64_t>slot - <uint64_t>w.t.sb) >> 3
    return &w.t.sb.wait_table[(key * <uint64_t>0x9e3779b97f4a7c15) >> (64 - DAX_WAIT_TABLE_BITS)]


cdef inline void dax_wait(fb_worker *w, inode *node, uint64_t *slot) noexcept nogil:
    """Sleep until the entry is unlocked. xa_lock held on entry and on return; the entry must be looked at again.

    The waiter queues itself under xa_lock, and the unlocker takes xa_lock before it looks at the queue: one sees the
    other.
    """
    cdef dax_waitq *wq = dax_entry_waitqueue(w, slot)
    cdef dax_waiter *me = &w.t.waiter[w.me.id]
    cdef uint64_t *link
    fb_store_u64(<uint64_t *>&me.next, 0, FB_RELAXED)    # relaxed, all of it: under the queue's lock
    fb_store_u64(<uint64_t *>&me.task, <uint64_t>w.me, FB_RELAXED)
    fb_store_u64(&me.key, <uint64_t>slot, FB_RELAXED)
    fb_store_u32(&me.queued, 1, FB_RELAXED)
    spin_lock(w, LOCK_WAITQ, &wq.lock)    # prepare_to_wait_exclusive(): at the tail
    link = <uint64_t *>&wq.first
    while fb_load_u64(link, FB_RELAXED) != 0:
        link = <uint64_t *>&(<dax_waiter *>fb_load_u64(link, FB_RELAXED)).next
    fb_store_u64(link, <uint64_t>me, FB_RELAXED)
    spin_unlock(w, LOCK_WAITQ, &wq.lock)
    spin_unlock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    while fb_load_u32(&me.queued, FB_ACQUIRE):    # pairs with dax_wake_one
        fb_schedule(w.me, 0)
    spin_lock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)


cdef inline void dax_wake_entry(fb_worker *w, uint64_t *slot, bint everyone) noexcept nogil:
    """Wake the first waiter for this entry, or all. Under xa_lock, or after it has been dropped."""
    cdef dax_waitq *wq = dax_entry_waitqueue(w, slot)
    cdef dax_waiter *waiter
    cdef uint64_t *link
    # waitqueue_active(). Relaxed: who waits queued under xa_lock before we last took it.
    if fb_load_u64(<uint64_t *>&wq.first, FB_RELAXED) == 0:
        return
    spin_lock(w, LOCK_WAITQ, &wq.lock)
    link = <uint64_t *>&wq.first
    while fb_load_u64(link, FB_RELAXED) != 0:
        waiter = <dax_waiter *>fb_load_u64(link, FB_RELAXED)
        if fb_load_u64(&waiter.key, FB_RELAXED) != <uint64_t>slot:
            link = <uint64_t *>&waiter.next
            continue
        fb_store_u64(link, fb_load_u64(<uint64_t *>&waiter.next, FB_RELAXED), FB_RELAXED)
        dax_wake_one(waiter)
        if not everyone:
            break
    spin_unlock(w, LOCK_WAITQ, &wq.lock)


cdef inline void dax_wake_one(dax_waiter *waiter) noexcept nogil:
    cdef fb_task *task = <fb_task *>fb_load_u64(<uint64_t *>&waiter.task, FB_RELAXED)
    fb_store_u32(&waiter.queued, 0, FB_RELEASE)    # pairs with dax_wait; its record is its own again
    fb_unpark(task)


cdef inline uint64_t *grab_mapping_entry(vm_fault *vmf, inode *node, uint32_t order) noexcept nogil:
    """Round 1: find the entry, wait while it is locked, lock it. NULL: a smaller entry is there, FALLBACK.

    get_unlocked_entry() (later get_next_unlocked_entry()) asks for the conflict first: nobody waits for an entry
    that is too small, and who meets one passes no wake-up on (put_unlocked_entry()). So all who wait for an empty PMD
    entry are woken when it is downgraded.
    """
    cdef fb_worker *w = vmf.w
    cdef uint64_t *slot = dax_slot(node, dax_index(vmf))
    cdef uint64_t entry
    fb_enter(w, STEP_GRAB_MAPPING_ENTRY, slot)
    spin_lock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    fb_pay(w, STEP_GRAB_MAPPING_ENTRY)
    while True:
        entry = fb_load_u64(slot, FB_RELAXED)    # relaxed, as all of slot: under xa_lock
        if order == PMD_ORDER and entry & DAX_PTE:
            spin_unlock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
            return NULL
        if fb_likely(not entry & DAX_LOCKED):
            break
        dax_wait(w, node, slot)
    if entry == 0:
        entry = DAX_EMPTY | (DAX_PMD if order == PMD_ORDER else DAX_PTE)
        fb_store_u64(&node.i_data.nrpages, fb_load_u64(&node.i_data.nrpages, FB_RELAXED) + (<uint64_t>1 << order),
                     FB_RELAXED)
    elif order == 0 and entry & DAX_PMD and entry & DAX_EMPTY:
        # pmd_downgrade: an empty PMD entry; one with a page serves PTE faults as it is
        entry = DAX_EMPTY | DAX_PTE
        fb_store_u64(&node.i_data.nrpages, fb_load_u64(&node.i_data.nrpages, FB_RELAXED) + 1
                     - (<uint64_t>1 << PMD_ORDER), FB_RELAXED)
        dax_wake_entry(w, slot, True)
    fb_store_u64(slot, entry | DAX_LOCKED, FB_RELAXED)
    spin_unlock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    fb_acquired(w, LOCK_DAX_ENTRY, slot, False)
    return slot


cdef inline void dax_insert_entry(vm_fault *vmf, inode *node, uint64_t *slot, bint dirty) noexcept nogil:
    """Round 2, always: the real entry in place of an empty one; the DIRTY tag on a write."""
    cdef fb_worker *w = vmf.w
    cdef uint64_t entry
    if dirty and not fb_load_u64(&node.i_state, FB_RELAXED) & 1:    # __mark_inode_dirty(I_DIRTY_PAGES)
        fb_store_u64(&node.i_state, 1, FB_RELAXED)    # relaxed: one value, however many write it
    fb_enter(w, STEP_DAX_INSERT_ENTRY, slot)
    spin_lock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    fb_pay(w, STEP_DAX_INSERT_ENTRY)
    entry = fb_load_u64(slot, FB_RELAXED)
    if entry & DAX_EMPTY:
        entry = (entry & ~<uint64_t>DAX_EMPTY) | ((vmf.pgoff + 1) << DAX_PFN_SHIFT)
    if dirty:
        entry |= DAX_DIRTY
    fb_store_u64(slot, entry, FB_RELAXED)
    spin_unlock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)


cdef inline void dax_unlock_entry(fb_worker *w, inode *node, uint64_t *slot) noexcept nogil:
    """Round 3: store it unlocked, wake the next waiter."""
    fb_enter(w, STEP_DAX_UNLOCK_ENTRY, slot)
    spin_lock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    fb_pay(w, STEP_DAX_UNLOCK_ENTRY)
    fb_released(w, LOCK_DAX_ENTRY, slot)
    if FB_CHECKED_BUILD and not fb_load_u64(slot, FB_RELAXED) & DAX_LOCKED:
        fb_violate(w, CHECK_ENTRY_UNLOCKED)
    fb_store_u64(slot, fb_load_u64(slot, FB_RELAXED) & ~<uint64_t>DAX_LOCKED, FB_RELAXED)
    spin_unlock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    dax_wake_entry(w, slot, False)


cdef inline bint iomap_begin(vm_fault *vmf, inode *node) noexcept nogil:
    """Ask the file system where the range lies. True: one aligned extent of 2 MiB. XFS: ILOCK; ext4: i_es_lock."""
    cdef fb_worker *w = vmf.w
    cdef uint64_t extent
    fb_enter(w, STEP_IOMAP_BEGIN, node)
    if w.t.handler == HANDLER_XFS:
        down_read(w, LOCK_ILOCK, &node.i_lock)
    else:
        read_lock(w, LOCK_I_ES_LOCK, &node.i_es_lock)
    fb_pay(w, STEP_IOMAP_BEGIN)
    extent = fb_load_u64(extent_word(node, dax_index(vmf)), FB_RELAXED)    # relaxed: constant
    if w.t.handler == HANDLER_XFS:
        up_read(w, LOCK_ILOCK, &node.i_lock)
    elif FB_MUTANT(w, MUTANT_ES_LOCK_KEPT):
        fb_released(w, LOCK_I_ES_LOCK, &node.i_es_lock)
    else:
        read_unlock(w, LOCK_I_ES_LOCK, &node.i_es_lock)
    return not (extent >> (dax_index(vmf) & 63)) & 1


cdef inline uint64_t *extent_word(const inode *node, uint64_t index) noexcept nogil:
    """One bit per entry: too short for 2 MiB."""
    return <uint64_t *>fb_load_u64(<const uint64_t *>&node.i_extents, FB_RELAXED) + (index >> 6)


cdef inline bint dax_fault_check_fallback(vm_fault *vmf) noexcept nogil:
    """§6.3 (b) and (c); the colour of file and address always agrees here."""
    cdef uint64_t start = vmf.address & ~((<uint64_t>1 << PMD_SHIFT) - 1)
    if vmf.flags & FAULT_FLAG_WRITE and not vma_flags(vmf.vma) & VM_SHARED:
        return True
    return (start < fb_load_u64(&vmf.vma.vm_start, FB_RELAXED)
            or start + (<uint64_t>1 << PMD_SHIFT) > fb_load_u64(&vmf.vma.vm_end, FB_RELAXED))


cdef inline uint32_t dax_insert(vm_fault *vmf, inode *node, uint64_t *slot, uint32_t order) noexcept nogil:
    """dax_fault_iter(): the page cache entry, then the page table's. A synchronous write stops before the latter."""
    cdef bint write = (vmf.flags & FAULT_FLAG_WRITE) != 0
    cdef bint sync = write and vmf.w.t.rules & RULE_SYNC
    dax_insert_entry(vmf, node, slot, write and not sync)
    if sync:
        return VM_FAULT_NEEDDSYNC
    return insert_pfn_pmd(vmf, write) if order == PMD_ORDER else insert_pfn(vmf, write)


cdef inline uint32_t dax_iomap_pmd_fault(vm_fault *vmf, inode *node) noexcept nogil:
    cdef uint64_t *slot
    cdef uint64_t pmd
    cdef uint32_t ret = VM_FAULT_FALLBACK
    if fb_unlikely(vmf.pgoff >= fb_load_u64(&node.i_size, FB_RELAXED)):    # relaxed: invalidate_lock is held
        return VM_FAULT_SIGBUS
    if not dax_fault_check_fallback(vmf):
        slot = grab_mapping_entry(vmf, node, PMD_ORDER)
        if slot != NULL:
            pmd = entry_read(vmf.pmd)
            if fb_unlikely(pmd != 0 and not entry_leaf(pmd)):
                ret = 0    # a PTE fault was faster; the access faults again
            elif iomap_begin(vmf, node):
                if FB_MUTANT(vmf.w, MUTANT_XA_EARLY_UNLOCK):
                    dax_unlock_entry(vmf.w, node, slot)
                    fb_acquired(vmf.w, LOCK_DAX_ENTRY, slot, False)
                ret = dax_insert(vmf, node, slot, PMD_ORDER)
            dax_unlock_entry(vmf.w, node, slot)
    if ret & VM_FAULT_FALLBACK and entry_leaf(entry_read(vmf.pmd)):
        split_huge_pmd(vmf.w, vmf.pmd)
    return ret


cdef inline uint32_t dax_iomap_pte_fault(vm_fault *vmf, inode *node) noexcept nogil:
    cdef uint64_t *slot
    cdef uint32_t ret
    if fb_unlikely(vmf.pgoff >= fb_load_u64(&node.i_size, FB_RELAXED)):
        return VM_FAULT_SIGBUS
    slot = grab_mapping_entry(vmf, node, 0)
    if fb_unlikely(entry_leaf(entry_read(vmf.pmd))):
        dax_unlock_entry(vmf.w, node, slot)
        return VM_FAULT_NOPAGE    # a PMD fault was faster; the access faults again
    iomap_begin(vmf, node)
    if vmf.cow:
        fb_at(vmf.w, STEP_DAX_COPY, vmf.vma)
        install_own_page(vmf, _PAGE_RW | _PAGE_DIRTY)
        ret = VM_FAULT_DONE_COW
    else:
        ret = dax_insert(vmf, node, slot, 0)
    dax_unlock_entry(vmf.w, node, slot)
    return ret


cdef inline uint32_t dax_iomap_fault(vm_fault *vmf, inode *node, uint32_t order) noexcept nogil:
    """Orders other than PTE and PMD fall back: a file system on DAX never maps a PUD (§6.3 g)."""
    if order == 0:
        return dax_iomap_pte_fault(vmf, node)
    return dax_iomap_pmd_fault(vmf, node) if order == PMD_ORDER else VM_FAULT_FALLBACK
