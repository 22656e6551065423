# cython: language_level=3
"""A VMA's life: allocated, inserted, split, detached, freed (kernel/fork.c, mm/vma.c; kernel-reference §3, §7.1).

Until 6.14 a VMA and its lock are freed a grace period after they left the tree, poisoned until they are used again.
From
6.15 the slab is SLAB_TYPESAFE_BY_RCU: a VMA is reused at once, and a reader that still has the pointer is kept out by
vm_refcnt, vm_mm and the bounds.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *
from _core.mm.vma_lock cimport *
from _core.mm.vma_tree cimport *

cdef enum:
    NO_MAPPING = 0xffffffff


cdef inline vm_area_struct *vm_area_alloc(fb_worker *w, mm_struct *mm, uint64_t start, uint64_t end,
                                          uint64_t flags) noexcept nogil:
    """Return a detached VMA without driver or file; NULL, noted, when there is no memory."""
    cdef const fb_cache *cache = &w.t.cache[FB_CACHE_VMA]
    cdef uint32_t index = fb_cache_alloc_index(w, FB_CACHE_VMA)
    cdef vm_area_struct *vma
    cdef fb_rwsem *sem
    if index == FB_NO_OBJECT:
        fb_violate(w, CHECK_NO_MEMORY)
        return NULL
    vma = <vm_area_struct *>fb_cache_object(cache, index)
    if FB_CHECKED_BUILD and not w.t.rules & RULE_TYPESAFE and fb_load_u32(&vma.vm_id, FB_RELAXED) != 0:
        if not fb_vma_poisoned(vma):    # used before, and somebody wrote to it since
            fb_violate(w, CHECK_USE_AFTER_FREE)
    # All relaxed: nobody finds it before it is in the tree, whose RELEASE store publishes it. Readers that found its
    # former life are stopped by vm_refcnt, which stays 0 until vma_mark_attached.
    fb_store_u64(&vma.vm_start, start, FB_RELAXED)
    fb_store_u64(&vma.vm_end, end, FB_RELAXED)
    fb_store_u64(<uint64_t *>&vma.vm_mm, <uint64_t>mm, FB_RELAXED)
    fb_store_u64(&vma.vm_flags, flags, FB_RELAXED)
    fb_store_u32(&vma.vm_lock_seq, 0xffffffff, FB_RELAXED)
    fb_store_u32(&vma.detached, 1, FB_RELAXED)
    fb_store_u64(&vma.anon_vma, 0, FB_RELAXED)
    fb_store_u32(&vma.vm_id, index + 1, FB_RELAXED)
    fb_store_u32(&vma.vm_mapping, NO_MAPPING, FB_RELAXED)
    fb_store_u64(<uint64_t *>&vma.vm_ops, 0, FB_RELAXED)
    fb_store_u64(&vma.vm_pgoff, 0, FB_RELAXED)
    fb_store_u64(<uint64_t *>&vma.vm_file, 0, FB_RELAXED)
    fb_store_u32(&vma.vm_refcnt, 0, FB_RELAXED)
    if w.t.vma_lock == VMA_LOCK_SEPARATE or w.t.vma_lock == VMA_LOCK_ALIGNED:
        sem = <fb_rwsem *>(w.t.vma_locks + <uint64_t>index * w.t.lock_stride)
    else:
        sem = &vma.inline_lock
    fb_store_u64(<uint64_t *>&vma.vm_lock, <uint64_t>sem, FB_RELAXED)
    fb_rwsem_init(sem)
    return vma


cdef inline void vm_area_free(fb_worker *w, vm_area_struct *vma) noexcept nogil:
    """The VMA has left the tree, detached. In 6.4 to 6.14 call_rcu frees it with its lock."""
    cdef uint32_t index = fb_cache_index(&w.t.cache[FB_CACHE_VMA], vma)
    if FB_CHECKED_BUILD and w.t.rules & RULE_REFCOUNT and fb_load_u32(&vma.vm_refcnt, FB_RELAXED) != 0:
        fb_violate(w, CHECK_FREED_COUNTED)
    if w.t.rules & RULE_TYPESAFE:
        fb_cache_free_index(w, FB_CACHE_VMA, index)
    elif FB_MUTANT(w, MUTANT_FREED_EARLY):
        fb_vma_poison(vma)
        fb_cache_free_index(w, FB_CACHE_VMA, index)
    else:
        fb_call_rcu(w, FB_CACHE_VMA, index)


cdef inline bint vma_link(fb_worker *w, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """Insert a new VMA, write-locked before anybody can find it. mmap_lock held for write."""
    cdef uint64_t start = fb_load_u64(&vma.vm_start, FB_RELAXED)
    cdef uint64_t last = fb_load_u64(&vma.vm_end, FB_RELAXED) - 1
    vma_start_write(w, mm, vma)
    vma_mark_attached(w, vma)
    fb_at(w, STEP_VMA_ITER_STORE, vma)
    fb_store_u32(&mm.map_count, fb_load_u32(&mm.map_count, FB_RELAXED) + 1, FB_RELAXED)
    return tree_rewrite(w, mm, start, last, NULL, last, vma, 0, NULL)


cdef inline bint vma_unlink(fb_worker *w, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """Write-lock, detach, then clear the range in the tree: munmap's T1 and T2."""
    cdef uint64_t start = fb_load_u64(&vma.vm_start, FB_RELAXED)
    vma_start_write(w, mm, vma)
    vma_mark_detached(w, mm, vma)
    fb_at(w, STEP_VMA_ITER_STORE, vma)
    fb_store_u32(&mm.map_count, fb_load_u32(&mm.map_count, FB_RELAXED) - 1, FB_RELAXED)
    return tree_rewrite(w, mm, start, fb_load_u64(&vma.vm_end, FB_RELAXED) - 1, vma, 0, NULL, 0, NULL)


cdef inline vm_area_struct *split_vma(fb_worker *w, mm_struct *mm, vm_area_struct *vma, uint64_t addr) noexcept nogil:
    """__split_vma(): `vma` keeps what lies below `addr`; return the new VMA above it. Both are write-locked."""
    cdef uint64_t start = fb_load_u64(&vma.vm_start, FB_RELAXED)
    cdef uint64_t end = fb_load_u64(&vma.vm_end, FB_RELAXED)
    cdef vm_area_struct *upper = vm_area_alloc(w, mm, addr, end, fb_load_u64(&vma.vm_flags, FB_RELAXED))
    if upper == NULL:
        return NULL
    vma_start_write(w, mm, vma)
    fb_store_u64(<uint64_t *>&upper.vm_ops, fb_load_u64(<uint64_t *>&vma.vm_ops, FB_RELAXED), FB_RELAXED)
    fb_store_u64(<uint64_t *>&upper.vm_file, fb_load_u64(<uint64_t *>&vma.vm_file, FB_RELAXED), FB_RELAXED)
    fb_store_u64(&upper.anon_vma, fb_load_u64(&vma.anon_vma, FB_RELAXED), FB_RELAXED)
    fb_store_u32(&upper.vm_mapping, fb_load_u32(&vma.vm_mapping, FB_RELAXED), FB_RELAXED)
    fb_store_u64(&upper.vm_pgoff, fb_load_u64(&vma.vm_pgoff, FB_RELAXED) + ((addr - start) >> PAGE_SHIFT), FB_RELAXED)
    vma_start_write(w, mm, upper)
    vma_mark_attached(w, upper)
    # Relaxed: readers of the VMA are out, readers of the tree look at the bounds again under its lock.
    fb_store_u64(&vma.vm_end, addr, FB_RELAXED)
    fb_at(w, STEP_VMA_ITER_STORE, vma)
    fb_store_u32(&mm.map_count, fb_load_u32(&mm.map_count, FB_RELAXED) + 1, FB_RELAXED)
    if not tree_rewrite(w, mm, start, end - 1, vma, addr - 1, vma, end - 1, upper):
        return NULL
    return upper
