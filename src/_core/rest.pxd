# cython: language_level=3
"""The checks at rest: what must hold when all tasks have ended (design §4, Invariants). One broken, and there is no
rate."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from _core.setup cimport *

cdef struct census:
    uint64_t vmas, nodes, tables, ptes, pmds, puds
    bint ptl_held


cdef inline uint64_t total(trial_state *s, size_t offset) noexcept:
    """Sum of one counter over all workers and writers, warm-up included."""
    cdef uint64_t n = 0
    cdef uint32_t i
    for i in range(s.nr + 1):
        n += (<uint64_t *>(<char *>&s.workers[i].c + offset))[0]
    return n


cdef extern from *:
    """
    #define FB_COUNTER_AT(name) offsetof(struct fb_counters, name)
    """
    size_t at_faults "FB_COUNTER_AT(faults)"
    size_t at_no_vma "FB_COUNTER_AT(no_vma)"
    size_t at_success "FB_COUNTER_AT(vma_lock_success)"
    size_t at_abort "FB_COUNTER_AT(vma_lock_abort)"
    size_t at_retry "FB_COUNTER_AT(vma_lock_retry)"
    size_t at_miss "FB_COUNTER_AT(vma_lock_miss)"
    size_t at_reads "FB_COUNTER_AT(mmap_lock_reads)"
    size_t at_prepares "FB_COUNTER_AT(anon_vma_prepares)"
    size_t at_ptes "FB_COUNTER_AT(pte_installs)"
    size_t at_pmds "FB_COUNTER_AT(pmd_installs)"
    size_t at_puds "FB_COUNTER_AT(pud_installs)"
    size_t at_upgrades "FB_COUNTER_AT(wp_upgrades)"
    size_t at_splits "FB_COUNTER_AT(splits)"
    size_t at_zaps "FB_COUNTER_AT(zaps)"
    size_t at_lost "FB_COUNTER_AT(lost_races)"
    size_t at_cleared "FB_COUNTER_AT(cleared)"
    size_t at_accessed "FB_COUNTER_AT(set_accessed)"
    size_t at_errors "FB_COUNTER_AT(errors)"


cdef inline str counters_broken(trial_state *s):
    """The equations between counters: each fault has one outcome, each entry is installed once."""
    cdef fb_trial *t = &s.t
    cdef uint64_t faults = total(s, at_faults), no_vma = total(s, at_no_vma), reads = total(s, at_reads)
    cdef uint64_t success = total(s, at_success), abort = total(s, at_abort), retry = total(s, at_retry)
    cdef uint64_t detours = abort + retry + total(s, at_prepares)
    cdef uint64_t expected, installed, found
    if total(s, at_errors):
        return f"{total(s, at_errors)} faults ended in SIGBUS or OOM"
    if t.rules & RULE_VMA_LOCK:
        if success + abort + retry != faults + no_vma:
            return f"success {success} + abort {abort} + retry {retry} != faults {faults} + no_vma {no_vma}"
        if reads != detours:
            return f"mmap_lock reads {reads} != abort + retry + anon_vma prepares {detours}"
    elif success + abort + retry + total(s, at_miss) or reads != faults + no_vma:
        return f"mmap-lock path: mmap_lock reads {reads}, faults {faults}, no_vma {no_vma}, VMA-lock events"
    if t.writers or t.overlap:
        return None
    if no_vma:
        return f"no_vma {no_vma} without writers"
    if total(s, at_lost):
        return f"{total(s, at_lost)} races lost although nobody races"
    installed = total(s, at_ptes) + total(s, at_pmds) + total(s, at_puds)
    # A fault that finds what it needs (a stale TLB; a probe's second touch) is counted apart, as set_accessed.
    found = total(s, at_accessed)
    if t.handler != HANDLER_NOP and installed + total(s, at_upgrades) + found != faults:
        return (f"entries installed {installed}, found {found}"
                f" + made writable {total(s, at_upgrades)} != faults {faults}")
    if t.order == ORDER_PTE or t.fallback_ppm or s.map == FB_MAP_PRIVATE or not t.rules & RULE_VMA_LOCK:
        return None
    expected = 0 if t.rules & RULE_ABORT_FILE else faults
    if t.rules & RULE_HUGE_RETRY or t.handler == HANDLER_DRIVER_RETRY:
        if expected:
            expected -= total(s, at_accessed)    # a spurious fault, which no trial without a race has, is not sent back
        if retry != expected:
            return f"retry {retry} != faults {faults}"
    elif success != expected:
        return f"success {success} != faults {faults}"
    if t.rules & RULE_ABORT_FILE and abort != faults:
        return f"abort {abort} != faults {faults}"
    return None


cdef inline void count_table(trial_state *s, uint64_t entry, uint32_t level, census *c) noexcept:
    """Count a table and what lies below it; level 0 is a table of PTEs."""
    cdef pgtable *table = entry_table(entry)
    cdef uint32_t i
    cdef uint64_t value
    c.tables += 1
    c.ptl_held |= fb_spin_is_locked(&entry_ptdesc(setup_worker(s), table.entry).ptl)
    for i in range(PTRS_PER_TABLE):
        value = fb_load_u64(&table.entry[i], FB_RELAXED)
        if value == 0:
            continue
        if level == 0:
            c.ptes += 1
        elif not entry_leaf(value):
            count_table(s, value, level - 1, c)
        elif level == 1:
            c.pmds += 1
        else:
            c.puds += 1


cdef inline str vma_broken(trial_state *s, mm_struct *mm, vm_area_struct *vma, uint64_t last):
    cdef uint64_t end = fb_load_u64(&vma.vm_end, FB_RELAXED)
    if vma_poisoned(vma):
        return "a freed VMA is in the tree"
    if end != last + 1 or fb_load_u64(&vma.vm_start, FB_RELAXED) >= end:
        return "a VMA's bounds and its place in the tree differ"
    if fb_load_u64(<uint64_t *>&vma.vm_mm, FB_RELAXED) != <uint64_t>mm or fb_load_u32(&vma.detached, FB_RELAXED):
        return "a VMA in the tree is detached or of another mm"
    if s.t.rules & RULE_REFCOUNT:
        if fb_load_u32(&vma.vm_refcnt, FB_RELAXED) != 1:
            return f"vm_refcnt is {fb_load_u32(&vma.vm_refcnt, FB_RELAXED)} at rest, not 1"
    elif s.t.vma_lock and not fb_rwsem_at_rest(<fb_rwsem *>fb_load_u64(<uint64_t *>&vma.vm_lock, FB_RELAXED)):
        return "a VMA lock is held at rest"
    if s.t.vma_lock and vma_is_write_locked(mm, vma):
        return "a VMA is write-locked at rest"
    return None


cdef inline str tree_broken(trial_state *s, mm_struct *mm, vma_node *node, census *c, uint64_t *last_end):
    """Every VMA in order, every node counted."""
    cdef uint64_t head = node_head(node)
    cdef uint32_t i
    cdef vm_area_struct *vma
    c.nodes += 1
    for i in range(<uint32_t>head):
        if not head >> 32:
            broken = tree_broken(s, mm, <vma_node *>fb_load_u64(&node.slot[i], FB_RELAXED), c, last_end)
        else:
            vma = <vm_area_struct *>fb_load_u64(&node.slot[i], FB_RELAXED)
            broken = vma_broken(s, mm, vma, fb_load_u64(&node.pivot[i], FB_RELAXED))
            if broken is None and fb_load_u64(&vma.vm_start, FB_RELAXED) < last_end[0]:
                broken = "two VMAs overlap"
            last_end[0] = fb_load_u64(&vma.vm_end, FB_RELAXED)
            c.vmas += 1
        if broken is not None:
            return broken
    return None


cdef inline int64_t live(trial_state *s, uint32_t cache) noexcept:
    """Objects allocated and not freed."""
    cdef int64_t n = 0
    cdef uint32_t i
    for i in range(s.nr + 1):
        n += <int64_t>(s.workers[i].mag[cache].allocs - s.workers[i].mag[cache].frees)
    return n


cdef inline str files_broken(trial_state *s):
    """Inodes, their entries, and what all files share."""
    cdef uint32_t f, slot
    cdef uint64_t i, entries
    cdef inode *node
    cdef super_block *sb = s.t.sb
    for f in range(s.t.nr_files):
        node = s.t.inode[f]
        if (not fb_rwsem_at_rest(&node.i_data.invalidate_lock) or not fb_rwsem_at_rest(&node.i_data.i_mmap_rwsem)
                or not fb_rwsem_at_rest(&node.i_lock) or fb_spin_is_locked(&node.i_data.xa_lock)
                or not fb_qrwlock_at_rest(&node.i_es_lock) or fb_spin_is_locked(&node.i_flags_lock)):
            return f"a lock of inode {f} is held at rest"
        entries = fb_load_u64(&node.i_size, FB_RELAXED) >> (s.t.entry_shift - PAGE_SHIFT)
        for i in range(entries):
            if fb_load_u64(dax_slot(node, i), FB_RELAXED) & DAX_LOCKED:
                return f"entry {i} of inode {f} is locked at rest"
    if fb_load_u32(&sb.s_journal.t_updates, FB_RELAXED) or fb_load_u32(&sb.s_journal.t_outstanding_credits, FB_RELAXED):
        return "a journal handle is open at rest"
    if not fb_percpu_rwsem_at_rest(&sb.s_writers) or not fb_srcu_at_rest(&sb.dax_srcu):
        return "s_writers or dax_srcu has a writer at rest"
    if (not fb_rwsem_at_rest(&sb.l_cilp) or not fb_qrwlock_at_rest(&sb.s_journal.j_state_lock)
            or fb_spin_is_locked(&sb.s_journal.j_wait_updates)):
        return "the log's or the journal's lock is held at rest"
    if s.t.rules & RULE_PAT and (not fb_qrwlock_at_rest(&s.t.pat.resource_lock)
                                 or fb_spin_is_locked(&s.t.pat.memtype_lock)):
        return "resource_lock or memtype_lock is held at rest"
    for i in range(4096):
        if fb_load_u64(<uint64_t *>&sb.wait_table[i].first, FB_RELAXED) or fb_spin_is_locked(&sb.wait_table[i].lock):
            return "a task waits for an entry at rest"
    for f in range(s.nr):    # per-CPU: a task's readers in less readers out, of each lock that uses a slot
        for slot in range(FB_PERCPU_SLOTS):
            if fb_load_u64(&s.tasks[f].sh.percpu[slot], FB_RELAXED):
                return f"task {f} is in a per-CPU read section at rest"
    return None


cdef inline str at_rest(trial_state *s):
    """Return what is broken, or None."""
    cdef census c
    cdef mm_struct *mm
    cdef uint32_t i
    cdef uint64_t tables, last_end, writes = 0
    cdef uint32_t bumps = 0    # it may wrap
    cdef int64_t entries
    broken = counters_broken(s)
    if broken is not None:
        return broken
    for i in range(s.nr + 1):
        fb_rcu_drain(&s.workers[i])
    memset(&c, 0, sizeof(census))
    for i in range(s.t.nr_mms):
        mm = s.t.mm[i]
        if not fb_any_at_rest(&mm.mmap_lock, s.t.rwsem):
            return f"mmap_lock of mm {i} is held or waited for at rest"
        if fb_spin_is_locked(&mm.page_table_lock):
            return f"page_table_lock of mm {i} is held at rest"
        if s.t.rules & RULE_SEQCOUNT and fb_load_u32(&mm.mm_lock_seq, FB_RELAXED) & 1:
            return f"mm_lock_seq of mm {i} is odd at rest"
        bumps += fb_load_u32(&mm.mm_lock_seq, FB_RELAXED) - s.seq_start
        if not fb_rcuwait_at_rest(&mm.vma_writer_wait):
            return f"a writer of mm {i} waits for readers of a VMA at rest"
        tables = c.tables
        entries = c.vmas
        last_end = 0
        broken = tree_broken(s, mm, <vma_node *>fb_load_u64(&mm.mm_mt, FB_RELAXED), &c, &last_end)
        if broken is not None:
            return broken
        if c.vmas - entries != fb_load_u32(&mm.map_count, FB_RELAXED):
            return f"map_count of mm {i} is {fb_load_u32(&mm.map_count, FB_RELAXED)}, the tree has {c.vmas - entries}"
        count_table(s, fb_load_u64(&mm.pgd, FB_RELAXED), 3, &c)
        if fb_load_u64(&mm.pgtables_bytes, FB_RELAXED) != (c.tables - tables - 1) * 4096:
            return f"pgtables_bytes of mm {i} and its {c.tables - tables - 1} tables differ"
    for i in range(s.nr + 1):
        writes += s.workers[i].mmap_lock_writes
    if s.t.vma_lock and bumps != <uint32_t>(writes * (2 if s.t.rules & RULE_SEQCOUNT else 1)):
        return f"mm_lock_seq moved by {bumps} in {writes} sections of mmap_lock held for write"
    if c.ptl_held:
        return "a page table's lock is held at rest"
    if live(s, FB_CACHE_VMA) != <int64_t>c.vmas:
        return f"{live(s, FB_CACHE_VMA)} VMAs are allocated, {c.vmas} are mapped"
    if live(s, FB_CACHE_NODE) != <int64_t>c.nodes:
        return f"{live(s, FB_CACHE_NODE)} tree nodes are allocated, {c.nodes} are in use"
    if live(s, FB_CACHE_TABLE) != <int64_t>c.tables:
        return f"{live(s, FB_CACHE_TABLE)} page tables are allocated, {c.tables} are in use"
    entries = (<int64_t>(total(s, at_ptes) + total(s, at_pmds) + total(s, at_puds))
               - <int64_t>(total(s, at_cleared) + total(s, at_zaps) + total(s, at_splits)))
    if entries != <int64_t>(c.ptes + c.pmds + c.puds):
        return f"entries installed less entries removed is {entries}, present are {c.ptes + c.pmds + c.puds}"
    for i in range(s.nr):
        if s.workers[i].nr_held:
            return f"task {i} ended with a lock held"
    return files_broken(s)
