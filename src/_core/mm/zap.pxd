# cython: language_level=3
"""Taking entries out again: unmap_vmas, free_pgtables, change_protection, and the harness's refill (mm/memory.c;
§7)."""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *
from _core.mm.pgtable cimport *

cdef enum zap_op:
    ZAP_CLEAR,        # munmap: none
    ZAP_PROTECT,      # mprotect: the entry is written again
    ZAP_MKCLEAN       # fsync: read-only and clean


cdef inline bint entry_change(uint64_t *entry, zap_op op) noexcept nogil:
    """Change a leaf under its lock; whether there was one to change."""
    cdef uint64_t value = fb_load_u64(entry, FB_RELAXED)    # relaxed: under its lock
    if value == 0 or (op == ZAP_MKCLEAN and not value & (_PAGE_RW | _PAGE_DIRTY)):
        return False
    if op == ZAP_CLEAR:
        fb_store_u64(entry, 0, FB_RELAXED)
    elif op == ZAP_PROTECT:
        fb_store_u64(entry, value, FB_RELAXED)
    else:
        fb_store_u64(entry, value & ~<uint64_t>(_PAGE_RW | _PAGE_DIRTY), FB_RELAXED)
    return True


cdef inline bint change_at(fb_worker *w, mm_struct *mm, uint64_t addr, zap_op op) noexcept nogil:
    """Change the leaf that translates `addr`, under the lock of its level. The caller keeps tables from being
    reused."""
    cdef uint32_t level
    cdef uint64_t *entry = walk_leaf(mm, addr, &level)
    cdef uint64_t value = entry_read(entry)
    cdef fb_spinlock *ptl
    cdef uint32_t lock_class
    cdef bint done = False
    if value == 0 or level == 3 or (level > 0 and not entry_leaf(value)):
        return False
    if level == 2:
        ptl = &mm.page_table_lock
        lock_class = LOCK_PAGE_TABLE_LOCK
    else:
        ptl = &entry_ptdesc(w, entry).ptl
        lock_class = LOCK_PMD_PTL if level == 1 else LOCK_PTE_PTL
    spin_lock(w, lock_class, ptl)
    if level == 0 or entry_leaf(fb_load_u64(entry, FB_RELAXED)):
        done = entry_change(entry, op)
    spin_unlock(w, lock_class, ptl)
    return done


cdef inline uint64_t change_ptes(fb_worker *w, uint64_t pmd, uint64_t addr, uint64_t end, zap_op op,
                                 uint32_t step) noexcept nogil:
    """One PTE table, its lock held throughout, as zap_pte_range() does."""
    cdef uint64_t *pte = pte_offset(pmd, addr)
    cdef fb_spinlock *ptl = pte_lock(w, pte)
    cdef uint64_t n = 0
    while addr < end:
        if entry_change(pte, op):
            fb_at(w, step, pte)
            n += 1
        pte += 1
        addr += <uint64_t>1 << PAGE_SHIFT
    spin_unlock(w, LOCK_PTE_PTL, ptl)
    return n


cdef inline uint64_t boundary(uint64_t addr, uint64_t end, uint32_t shift) noexcept nogil:
    """pmd_addr_end() and its like."""
    cdef uint64_t to = ((addr >> shift) + 1) << shift
    return to if to < end else end


cdef inline uint64_t change_range(fb_worker *w, mm_struct *mm, uint64_t addr, uint64_t end, zap_op op,
                                  uint32_t step) noexcept nogil:
    """Change every leaf of a range; return how many. Huge entries one by one under their ptl (zap_huge_pmd)."""
    cdef uint64_t n = 0, value, to
    cdef uint64_t *entry
    while addr < end:
        value = entry_read(pgd_offset(mm, addr))
        if value == 0:
            addr = boundary(addr, end, PGDIR_SHIFT)
            continue
        value = entry_read(pud_offset(value, addr))
        if value == 0 or entry_leaf(value):
            if value and change_at(w, mm, addr, op):
                fb_at(w, step, NULL)
                n += 1
            addr = boundary(addr, end, PUD_SHIFT)
            continue
        entry = pmd_offset(value, addr)
        to = boundary(addr, end, PMD_SHIFT)
        value = entry_read(entry)
        if entry_leaf(value):
            if change_at(w, mm, addr, op):
                fb_at(w, step, entry)
                n += 1
        elif value:
            n += change_ptes(w, value, addr, to, op, step)
        addr = to
    return n


cdef inline void table_free(fb_worker *w, mm_struct *mm, uint64_t *entry) noexcept nogil:
    """Unlink the table below `entry` and free it after a grace period: the refill may still look at it."""
    cdef uint32_t index = fb_cache_index(&w.t.cache[FB_CACHE_TABLE], entry_table(entry_read(entry)))
    fb_store_u64(entry, 0, FB_RELAXED)    # relaxed: nobody walks here, the VMA is gone
    fb_fetch_add_u64(&mm.pgtables_bytes, <uint64_t>-4096, FB_RELAXED)    # mm_dec_nr_pmds(): a statistic
    fb_store_u64(&w.t.ptdesc[index].flags, 0, FB_RELAXED)
    fb_call_rcu(w, FB_CACHE_TABLE, index)


cdef inline void free_pgtables(fb_worker *w, mm_struct *mm, uint64_t addr, uint64_t end) noexcept nogil:
    """Free PTE and PMD tables of a range whose entries are gone. `addr` and `end` are the floor and ceiling: 1 GiB
    boundaries between which nothing else is mapped. PUD tables stay: 512 GiB are never ours alone."""
    cdef uint64_t value
    cdef uint64_t *pud
    cdef uint64_t *pmd
    cdef uint32_t i
    fb_at(w, STEP_FREE_PGTABLES, mm)
    while addr < end:
        value = entry_read(pgd_offset(mm, addr))
        if value == 0:
            addr = boundary(addr, end, PGDIR_SHIFT)
            continue
        pud = pud_offset(value, addr)
        value = entry_read(pud)
        if value and not entry_leaf(value):
            pmd = entry_table(value).entry
            for i in range(PTRS_PER_TABLE):
                if entry_read(&pmd[i]):
                    table_free(w, mm, &pmd[i])
            table_free(w, mm, pud)
        addr = boundary(addr, end, PUD_SHIFT)
