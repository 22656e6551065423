# cython: language_level=3
"""Page tables: four levels, allocated when a fault needs them (kernel-reference §5.1, §5.4).

    lock               protects                              is taken
    page_table_lock    PGD and PUD entries, PUD leaves       to install a PUD or PMD table, to touch a PUD leaf
    (pud_lock)
    PMD ptl, per 1 GiB PMD entries                           to insert or change a PMD leaf, to install a PTE table
    PTE ptl, per 2 MiB PTEs                                  to insert or change a PTE

The walk itself takes no lock: a table is installed once, by a RELEASE store, and freed after a grace period by a munmap
that has drained the VMA's readers. Nothing zeroes a table here: a free one is all none; the kernel's clear_page is the
busy time of the step.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *


cdef inline pgtable *entry_table(uint64_t entry) noexcept nogil:
    return <pgtable *>(entry & ~<uint64_t>_PAGE_FLAGS)


cdef inline bint entry_leaf(uint64_t entry) noexcept nogil:
    return (entry & _PAGE_PSE) != 0


cdef inline uint64_t *pgd_offset(mm_struct *mm, uint64_t addr) noexcept nogil:
    cdef pgtable *pgd = <pgtable *>fb_load_u64(&mm.pgd, FB_RELAXED)    # relaxed: constant
    return &pgd.entry[(addr >> PGDIR_SHIFT) & 511]


cdef inline uint64_t *pud_offset(uint64_t pgd, uint64_t addr) noexcept nogil:
    return &entry_table(pgd).entry[(addr >> PUD_SHIFT) & 511]


cdef inline uint64_t *pmd_offset(uint64_t pud, uint64_t addr) noexcept nogil:
    return &entry_table(pud).entry[(addr >> PMD_SHIFT) & 511]


cdef inline uint64_t *pte_offset(uint64_t pmd, uint64_t addr) noexcept nogil:
    return &entry_table(pmd).entry[(addr >> PAGE_SHIFT) & 511]


cdef inline uint64_t entry_read(const uint64_t *entry) noexcept nogil:
    """Read an entry as the lockless walk does. ACQUIRE, pairs with table_install: the table below it."""
    return fb_load_u64(entry, FB_ACQUIRE)


cdef inline ptdesc *entry_ptdesc(const fb_worker *w, const uint64_t *entry) noexcept nogil:
    """Return the descriptor of the table that `entry` lies in: virt_to_page()."""
    return &w.t.ptdesc[(<uint64_t>entry - <uint64_t>w.t.cache[FB_CACHE_TABLE].base) >> 12]


cdef inline fb_spinlock *pmd_lock(fb_worker *w, const uint64_t *pmd) noexcept nogil:
    """Take the split lock of the PMD table: one for 1 GiB of addresses."""
    cdef fb_spinlock *ptl = &entry_ptdesc(w, pmd).ptl
    spin_lock(w, LOCK_PMD_PTL, ptl)
    return ptl


cdef inline fb_spinlock *pte_lock(fb_worker *w, const uint64_t *pte) noexcept nogil:
    """Take the split lock of the PTE table: one for 2 MiB of addresses."""
    cdef fb_spinlock *ptl = &entry_ptdesc(w, pte).ptl
    spin_lock(w, LOCK_PTE_PTL, ptl)
    return ptl


cdef inline bint table_install(fb_worker *w, mm_struct *mm, uint64_t *entry, uint32_t level, uint32_t step,
                               uint32_t lock_class, fb_spinlock *ptl) noexcept nogil:
    """Install a table of `level` (0 PTE, 1 PMD, 2 PUD) under `ptl` unless somebody else has: __pmd_alloc() and its
    like.

    Returns False when there is no memory. pgtables_bytes lies beside mmap_lock's count and page_table_lock (§5.4).
    """
    cdef uint32_t index = fb_cache_alloc_index(w, FB_CACHE_TABLE)
    cdef ptdesc *desc
    cdef uint64_t old
    if index == FB_NO_OBJECT:
        fb_violate(w, CHECK_NO_MEMORY)
        return False
    fb_at(w, step, entry)
    desc = &w.t.ptdesc[index]
    fb_store_u64(&desc.flags, level + 1, FB_RELAXED)    # relaxed, these three: published with the table
    fb_store_u64(&desc.parent, <uint64_t>entry, FB_RELAXED)
    fb_store_u64(&desc.mm, <uint64_t>mm, FB_RELAXED)
    spin_lock(w, lock_class, ptl)
    old = fb_load_u64(entry, FB_RELAXED)
    if old == 0 or FB_MUTANT(w, MUTANT_TABLE_NO_RECHECK):
        fb_fetch_add_u64(&mm.pgtables_bytes, 4096, FB_RELAXED)    # mm_inc_nr_pmds(): a statistic
        # RELEASE, pairs with entry_read: ptdesc, and the table's zeros.
        fb_store_u64(entry, <uint64_t>fb_cache_object(&w.t.cache[FB_CACHE_TABLE], index) | _PAGE_PRESENT | _PAGE_RW,
                     FB_RELEASE)
        spin_unlock(w, lock_class, ptl)
        w.c.table_allocs += 1
    else:
        spin_unlock(w, lock_class, ptl)
        w.c.table_races += 1
        fb_store_u64(&desc.flags, 0, FB_RELAXED)
        fb_cache_free_index(w, FB_CACHE_TABLE, index)
    return True


cdef inline uint64_t *pud_alloc(fb_worker *w, mm_struct *mm, uint64_t addr) noexcept nogil:
    """Return the PUD entry of `addr`, with its table; NULL = no memory. p4d is folded into pgd."""
    cdef uint64_t *pgd = pgd_offset(mm, addr)
    cdef uint64_t entry = entry_read(pgd)
    if fb_unlikely(entry == 0):
        if not table_install(w, mm, pgd, 2, STEP_PUD_ALLOC, LOCK_PAGE_TABLE_LOCK, &mm.page_table_lock):
            return NULL
        entry = entry_read(pgd)
    return pud_offset(entry, addr)


cdef inline uint64_t pmd_table_alloc(fb_worker *w, mm_struct *mm, uint64_t *pud) noexcept nogil:
    """Return the PUD entry after making sure that it is not none: a table, or a leaf that came meanwhile. 0 = no
    memory."""
    cdef uint64_t entry = entry_read(pud)
    if fb_unlikely(entry == 0):
        if not table_install(w, mm, pud, 1, STEP_PMD_ALLOC, LOCK_PAGE_TABLE_LOCK, &mm.page_table_lock):
            return 0
        entry = entry_read(pud)
    return entry


cdef inline uint64_t pte_table_alloc(fb_worker *w, mm_struct *mm, uint64_t *pmd) noexcept nogil:
    """As pmd_table_alloc(), a level down: pte_alloc() and pmd_install()."""
    cdef uint64_t entry = entry_read(pmd)
    if fb_unlikely(entry == 0):
        if not table_install(w, mm, pmd, 0, STEP_PTE_ALLOC, LOCK_PMD_PTL, &entry_ptdesc(w, pmd).ptl):
            return 0
        entry = entry_read(pmd)
    return entry


cdef inline uint64_t *walk_leaf(mm_struct *mm, uint64_t addr, uint32_t *level) noexcept nogil:
    """Return the entry that translates `addr` or where the walk ends, as the MMU does; level 0 PTE … 3 PGD."""
    cdef uint64_t *entry = pgd_offset(mm, addr)
    cdef uint64_t value = entry_read(entry)
    level[0] = 3
    while level[0] > 0 and value != 0 and not entry_leaf(value):
        level[0] -= 1
        entry = &entry_table(value).entry[(addr >> (PAGE_SHIFT + 9 * level[0])) & 511]
        value = entry_read(entry)
    return entry


cdef inline bint mmu_permits(mm_struct *mm, uint64_t addr, bint write) noexcept nogil:
    """Whether the access needs no fault. The caller is in an RCU read section: a munmap may free the tables."""
    cdef uint32_t level
    cdef uint64_t value = entry_read(walk_leaf(mm, addr, &level))
    if not value & _PAGE_PRESENT or (level > 0 and not entry_leaf(value)):
        return False
    return not write or (value & _PAGE_RW) != 0
