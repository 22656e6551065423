# cython: language_level=3
"""Writers of mmap_lock, and fsync (kernel-reference §7): what one operation of a writer does.

    beside     mmap and munmap of a region that nobody faults in; every eighth time the munmap is split in two
    target     munmap and mmap of a mapping that workers fault in
    mprotect   of such a mapping: write-locked to the end, every present entry written again
    fsync      a file's dirty entries are locked, made read-only and clean: later writes fault again (wp)
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.dax cimport *
from _core.mm.dax_sync cimport *
from _core.mm.locks cimport *
from _core.mm.vma cimport *
from _core.mm.vma_lock cimport *
from _core.mm.vma_tree cimport *
from _core.mm.vm_ops cimport *
from _core.mm.zap cimport *

cdef enum:
    BESIDE_BYTES = 4 << 21    # what `beside` maps


cdef inline void note_wait(fb_worker *w, uint64_t began) noexcept nogil:
    """How long the writer waited for mmap_lock and for the readers of its VMA."""
    cdef uint64_t ns = fb_now() - began
    if w.opened and not w.closed:
        if ns > w.wait_ns_max:
            w.wait_ns_max = ns
        if w.hist != NULL:
            w.hist[hist_bucket(ns)] += 1


cdef inline uint32_t hist_bucket(uint64_t ns) noexcept nogil:
    """Log-linear: exact below 2 * FB_HIST_SUB, then FB_HIST_SUB buckets per power of two."""
    cdef uint32_t shift = 0, bucket
    while (ns >> shift) >= 2 * FB_HIST_SUB:
        shift += 1
    bucket = <uint32_t>(ns >> shift) + shift * FB_HIST_SUB
    return bucket if bucket < FB_HIST_BUCKETS else FB_HIST_BUCKETS - 1


cdef inline bint map_mapping(fb_worker *w, uint32_t m, uint64_t anon_vma) noexcept nogil:
    """mmap_region() of one of the trial's mappings, at its address, unless it is there."""
    cdef const fb_mapping *p = &w.t.mapping[m]
    cdef mm_struct *mm = p.mm
    cdef vm_area_struct *vma
    cdef uint64_t began = fb_now()
    mmap_write_lock(w, mm)
    note_wait(w, began)
    if mtree_load(mm, p.start) == NULL:
        fb_at(w, STEP_MMAP_REGION, mm)
        vma = vm_area_alloc(w, mm, p.start, p.end, p.vm_flags)
        if vma != NULL:
            fb_store_u32(&vma.vm_mapping, m, FB_RELAXED)
            fb_store_u64(<uint64_t *>&vma.vm_ops, <uint64_t>w.t.vm_ops, FB_RELAXED)
            fb_store_u64(&vma.vm_pgoff, p.pgoff, FB_RELAXED)
            fb_store_u64(<uint64_t *>&vma.vm_file, <uint64_t>p.file, FB_RELAXED)
            fb_store_u64(&vma.anon_vma, anon_vma, FB_RELAXED)
            vma_link(w, mm, vma)
    mmap_write_unlock(w, mm)
    return True


cdef inline void do_munmap(fb_worker *w, mm_struct *mm, uint64_t start, uint64_t end, bint tables) noexcept nogil:
    """munmap of [start, end), which lies in one VMA; the VMA is split where it goes on (§7.1).

    Without memory for a split nothing is unmapped, as in do_vmi_align_munmap(); the check is noted.
    """
    cdef uint64_t began = fb_now()
    cdef vm_area_struct *vma
    mmap_write_lock(w, mm)    # T0
    vma = mtree_load(mm, start)
    if vma == NULL:    # another writer was faster
        mmap_write_unlock(w, mm)
        return
    vma_start_write(w, mm, vma)    # T1
    note_wait(w, began)
    if fb_load_u64(&vma.vm_start, FB_RELAXED) < start:
        vma = split_vma(w, mm, vma, start)
    if vma != NULL and fb_load_u64(&vma.vm_end, FB_RELAXED) > end and split_vma(w, mm, vma, end) == NULL:
        vma = NULL
    if vma == NULL:
        mmap_write_unlock(w, mm)
        return
    vma_unlink(w, mm, vma)    # T1, T2
    mmap_write_downgrade(w, mm)    # T3
    w.c.zaps += change_range(w, mm, start, end, ZAP_CLEAR, STEP_UNMAP_VMAS)    # T4
    if tables:
        free_pgtables(w, mm, start, ((end - 1) >> PUD_SHIFT) + 1 << PUD_SHIFT)
    fb_at(w, STEP_TLB_FLUSH, mm)
    vm_area_free(w, vma)    # T5
    mmap_read_unlock(w, mm)


cdef inline void op_beside(fb_worker *w, uint64_t n) noexcept nogil:
    cdef mm_struct *mm = w.mm
    cdef uint64_t start = w.t.beside_base + <uint64_t>w.id * 2 * BESIDE_BYTES
    cdef uint64_t began = fb_now()
    cdef vm_area_struct *vma
    mmap_write_lock(w, mm)
    note_wait(w, began)
    fb_at(w, STEP_MMAP_REGION, mm)
    vma = vm_area_alloc(w, mm, start, start + BESIDE_BYTES, VM_READ | VM_WRITE)
    if vma != NULL:
        vma_link(w, mm, vma)
    mmap_write_unlock(w, mm)
    if n % 8 == 7:
        do_munmap(w, mm, start, start + BESIDE_BYTES // 2, False)
        start += BESIDE_BYTES // 2
    do_munmap(w, mm, start, w.t.beside_base + <uint64_t>w.id * 2 * BESIDE_BYTES + BESIDE_BYTES, False)


cdef inline void op_target(fb_worker *w, uint32_t m) noexcept nogil:
    cdef const fb_mapping *p = &w.t.mapping[m]
    do_munmap(w, p.mm, p.start, p.end, True)
    map_mapping(w, m, 0)


cdef inline void op_mprotect(fb_worker *w, uint32_t m) noexcept nogil:
    cdef const fb_mapping *p = &w.t.mapping[m]
    cdef mm_struct *mm = p.mm
    cdef uint64_t began = fb_now()
    cdef vm_area_struct *vma
    mmap_write_lock(w, mm)
    vma = mtree_load(mm, p.start)
    if vma != NULL:
        vma_start_write(w, mm, vma)
        note_wait(w, began)
        # vm_flags_reset(); relaxed: write-locked. VM_EXEC, which no fault here asks about.
        fb_store_u64(&vma.vm_flags, fb_load_u64(&vma.vm_flags, FB_RELAXED) ^ VM_EXEC, FB_RELAXED)
        change_range(w, mm, p.start, p.end, ZAP_PROTECT, STEP_CHANGE_PROTECTION)
        if FB_CHECKED_BUILD and w.t.vma_lock != VMA_LOCK_NONE and not vma_is_write_locked(mm, vma):
            fb_violate(w, CHECK_WRITE_UNLOCKED)
        fb_at(w, STEP_TLB_FLUSH, mm)
    mmap_write_unlock(w, mm)


cdef inline void dax_writeback_one(fb_worker *w, inode *node, uint64_t *slot, mm_struct *mm,
                                   uint64_t addr) noexcept nogil:
    """Lock a dirty entry, make its mapping read-only and clean, write back, drop the DIRTY tag."""
    spin_lock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    while fb_load_u64(slot, FB_RELAXED) & DAX_LOCKED:
        dax_wait(w, node, slot)
    if not fb_load_u64(slot, FB_RELAXED) & DAX_DIRTY:
        spin_unlock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
        dax_wake_entry(w, slot, False)
        return
    fb_store_u64(slot, fb_load_u64(slot, FB_RELAXED) | DAX_LOCKED, FB_RELAXED)
    spin_unlock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    fb_acquired(w, LOCK_DAX_ENTRY, slot, False)
    down_read(w, LOCK_I_MMAP_RWSEM, &node.i_data.i_mmap_rwsem)    # pfn_mkclean_range(): the file's mappings
    fb_rcu_read_lock(w.me)
    change_at(w, mm, addr, ZAP_MKCLEAN)
    fb_rcu_read_unlock(w.me)
    up_read(w, LOCK_I_MMAP_RWSEM, &node.i_data.i_mmap_rwsem)
    fb_at(w, STEP_DAX_WRITEBACK, slot)    # dax_flush()
    fb_released(w, LOCK_DAX_ENTRY, slot)
    spin_lock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    fb_store_u64(slot, fb_load_u64(slot, FB_RELAXED) & ~<uint64_t>(DAX_DIRTY | DAX_LOCKED), FB_RELAXED)
    spin_unlock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    dax_wake_entry(w, slot, False)


cdef inline void op_fsync(fb_worker *w, uint32_t f) noexcept nogil:
    """fsync of one file: its dirty entries in order, then a commit."""
    cdef uint64_t i, per_mapping
    cdef uint32_t m = f
    cdef inode *node = w.t.inode[f]
    cdef uint64_t *slot = dax_slot(node, 0)
    while m < w.t.nr_mappings and fb_window(w.me) != FB_WINDOW_CLOSED:
        per_mapping = (w.t.mapping[m].end - w.t.mapping[m].start) >> w.t.entry_shift
        for i in range(per_mapping):
            # Relaxed: a tag set meanwhile is the next fsync's.
            if fb_load_u64(slot + i, FB_RELAXED) & DAX_DIRTY:
                dax_writeback_one(w, node, slot + i, w.t.mapping[m].mm,
                                  w.t.mapping[m].start + (i << w.t.entry_shift))
        slot += per_mapping
        m += w.t.nr_files
    vfs_fsync(w)
