# cython: language_level=3
"""MAP_SYNC and fsync: the commit, and the fault that waits for it (kernel-reference §6.4)."""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.dax cimport *
from _core.mm.locks cimport *
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.pte cimport *
from _core.mm.vm_ops cimport *


cdef inline void vfs_fsync(fb_worker *w) noexcept nogil:
    """Commit: ext4 bumps the journal's sequence under j_state_lock, XFS pushes its log under the context lock."""
    cdef super_block *sb = w.t.sb
    # Both relaxed: under the lock.
    if w.t.handler == HANDLER_XFS:
        down_write(w, LOCK_L_CILP, &sb.l_cilp)
        fb_store_u64(&sb.xc_ctx, fb_load_u64(&sb.xc_ctx, FB_RELAXED) + 1, FB_RELAXED)    # xlog_cil_ctx_switch()
        up_write(w, LOCK_L_CILP, &sb.l_cilp)
    else:
        write_lock(w, LOCK_J_STATE_LOCK, &sb.s_journal.j_state_lock)
        fb_store_u64(&sb.s_journal.j_commit_sequence, fb_load_u64(&sb.s_journal.j_commit_sequence, FB_RELAXED) + 1,
                     FB_RELAXED)
        write_unlock(w, LOCK_J_STATE_LOCK, &sb.s_journal.j_state_lock)


cdef inline uint32_t dax_finish_sync_fault(vm_fault *vmf, inode *node, uint32_t order) noexcept nogil:
    """MAP_SYNC: fsync, then insert, all under the fault lock (§6.4)."""
    cdef fb_worker *w = vmf.w
    cdef uint64_t *slot = dax_slot(node, dax_index(vmf))
    cdef uint32_t ret
    fb_at(w, STEP_DAX_FINISH_SYNC_FAULT, node)
    vfs_fsync(w)
    spin_lock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)    # dax_insert_pfn_mkwrite()
    while fb_load_u64(slot, FB_RELAXED) & DAX_LOCKED:
        dax_wait(w, node, slot)
    fb_store_u64(slot, fb_load_u64(slot, FB_RELAXED) | DAX_DIRTY | DAX_LOCKED, FB_RELAXED)
    spin_unlock(w, LOCK_XA_LOCK, &node.i_data.xa_lock)
    fb_acquired(w, LOCK_DAX_ENTRY, slot, False)
    ret = insert_pfn_pmd(vmf, True) if order == PMD_ORDER else insert_pfn(vmf, True)
    dax_unlock_entry(w, node, slot)
    return ret
