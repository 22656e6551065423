# cython: language_level=3
"""The VMA tree: read under RCU without locks, changed under mmap_lock for write (lib/maple_tree.c in RCU mode).

A B-tree of the last bytes of VMAs. Nodes are replaced, never edited, but for two single-word stores that a reader may
see early or late without harm:

    slot[i] = a new child     it answers every look-up as the old one did, or as the new tree does
    pivot[i] raised           only up to the end of a VMA that is being inserted, so nobody may find anything there yet

A child left of pivot[i] holds VMAs that end at or before it, the next child only VMAs that begin after it. Hence a leaf
without a VMA that ends at or after `addr` proves that none contains `addr`. A replaced node is freed after a grace
period (call_rcu in mt_free_rcu). Maple nodes hold gaps as entries; here a gap is where no VMA is, so that removing a
VMA
never joins gaps across nodes.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.locks cimport *

cdef enum:
    TREE_DEPTH = 12
    TREE_ROOM = 18    # entries of one node while it is rewritten: 15, and 2 more, and 1 spare


cdef inline uint64_t node_head(const vma_node *node) noexcept nogil:
    """`nr` in the low half, `leaf` in the high half: constant once the node is published."""
    return fb_load_u64(<const uint64_t *>node, FB_RELAXED)


cdef inline uint32_t node_find(const vma_node *node, uint32_t nr, uint64_t addr) noexcept nogil:
    """Return the first slot whose pivot is at or above `addr`, or nr."""
    cdef uint32_t i
    for i in range(nr):
        # Relaxed: a pivot only rises, and see the module's text.
        if fb_load_u64(&node.pivot[i], FB_RELAXED) >= addr:
            return i
    return nr


cdef inline vm_area_struct *mtree_find(mm_struct *mm, uint64_t addr) noexcept nogil:
    """Return the first VMA that ends after `addr`, in this leaf. Under RCU or mmap_lock; the VMA may be detached."""
    # ACQUIRE, pairs with the RELEASE stores in tree_publish: the node's contents.
    cdef vma_node *node = <vma_node *>fb_load_u64(&mm.mm_mt, FB_ACQUIRE)
    cdef uint64_t head
    cdef uint32_t i, nr
    while True:
        head = node_head(node)
        nr = <uint32_t>head
        i = node_find(node, nr, addr)
        if head >> 32:
            return <vm_area_struct *>fb_load_u64(&node.slot[i], FB_RELAXED) if i < nr else NULL
        if i == nr:
            i = nr - 1
        node = <vma_node *>fb_load_u64(&node.slot[i], FB_ACQUIRE)    # pairs with tree_publish


cdef inline vm_area_struct *mtree_load(mm_struct *mm, uint64_t addr) noexcept nogil:
    """Return the VMA that contains `addr`, or NULL: mas_walk() and find_vma() with its check."""
    cdef vm_area_struct *vma = mtree_find(mm, addr)
    # Relaxed: without a lock on the VMA this is a hint, and lock_vma_under_rcu looks again.
    if vma != NULL and fb_load_u64(&vma.vm_start, FB_RELAXED) > addr:
        return NULL
    return vma


cdef inline vma_node *node_new(fb_worker *w, uint32_t nr, bint leaf, const uint64_t *pivot,
                               const uint64_t *slot) noexcept nogil:
    cdef uint32_t index = fb_cache_alloc_index(w, FB_CACHE_NODE)
    cdef vma_node *node
    cdef uint32_t i
    if index == FB_NO_OBJECT:
        fb_violate(w, CHECK_NO_MEMORY)
        return NULL
    node = <vma_node *>fb_cache_object(&w.t.cache[FB_CACHE_NODE], index)
    for i in range(nr):    # relaxed: published by a RELEASE store
        fb_store_u64(&node.pivot[i], pivot[i], FB_RELAXED)
        fb_store_u64(&node.slot[i], slot[i], FB_RELAXED)
    if not leaf and nr:    # the last child has no bound of its own
        fb_store_u64(&node.pivot[nr - 1], ~<uint64_t>0, FB_RELAXED)
    fb_store_u64(<uint64_t *>node, nr | (<uint64_t>leaf << 32), FB_RELAXED)
    return node


cdef inline void node_retire(fb_worker *w, vma_node *node) noexcept nogil:
    fb_call_rcu(w, FB_CACHE_NODE, fb_cache_index(&w.t.cache[FB_CACHE_NODE], node))


cdef inline uint32_t node_copy(const vma_node *node, uint64_t *pivot, uint64_t *slot) noexcept nogil:
    cdef uint32_t i, nr = <uint32_t>node_head(node)
    for i in range(nr):
        pivot[i] = fb_load_u64(&node.pivot[i], FB_RELAXED)
        slot[i] = fb_load_u64(&node.slot[i], FB_RELAXED)
    return nr


cdef inline uint32_t entry_insert(uint64_t *pivot, uint64_t *slot, uint32_t nr, uint64_t last,
                                  uint64_t value) noexcept nogil:
    """Insert into a sorted list of nr entries; return nr + 1."""
    cdef uint32_t i = nr
    while i > 0 and pivot[i - 1] > last:
        pivot[i] = pivot[i - 1]
        slot[i] = slot[i - 1]
        i -= 1
    pivot[i] = last
    slot[i] = value
    return nr + 1


cdef inline uint32_t entry_remove(uint64_t *pivot, uint64_t *slot, uint32_t nr, uint32_t i) noexcept nogil:
    """Remove entry i; return nr - 1."""
    for i in range(i, nr - 1):
        pivot[i] = pivot[i + 1]
        slot[i] = slot[i + 1]
    return nr - 1


cdef inline bint tree_rewrite(fb_worker *w, mm_struct *mm, uint64_t start, uint64_t last, vm_area_struct *remove,
                              uint64_t last1, vm_area_struct *add1, uint64_t last2,
                              vm_area_struct *add2) noexcept nogil:
    """One change of one leaf, seen by readers whole or not at all: remove a VMA and add up to two.

    `start` picks the leaf: the start of what is removed, else of add1. `last` is the end of all that is added or
    removed.
    Returns False, and changes nothing that a reader can see, when there is no memory. mmap_lock held for write.
    """
    cdef vma_node *path[TREE_DEPTH]
    cdef uint32_t idx[TREE_DEPTH]
    cdef uint64_t pivot[TREE_ROOM]
    cdef uint64_t slot[TREE_ROOM]
    cdef vma_node *node = <vma_node *>fb_load_u64(&mm.mm_mt, FB_RELAXED)    # relaxed: only writers change it
    cdef vma_node *left
    cdef vma_node *right
    cdef uint32_t depth = 0, nr, i, half
    cdef bint leaf = True
    while not node_head(node) >> 32:
        nr = <uint32_t>node_head(node)
        i = node_find(node, nr, start)
        if i == nr:
            i = nr - 1
        elif i + 1 < nr and fb_load_u64(&node.pivot[i], FB_RELAXED) < last:
            fb_store_u64(&node.pivot[i], last, FB_RELAXED)    # relaxed: the module's text
        path[depth] = node
        idx[depth] = i
        depth += 1
        node = <vma_node *>fb_load_u64(&node.slot[i], FB_RELAXED)
    nr = node_copy(node, pivot, slot)
    if remove != NULL:
        for i in range(nr):
            if slot[i] == <uint64_t>remove:
                nr = entry_remove(pivot, slot, nr, i)
                break
    if add1 != NULL:
        nr = entry_insert(pivot, slot, nr, last1, <uint64_t>add1)
    if add2 != NULL:
        nr = entry_insert(pivot, slot, nr, last2, <uint64_t>add2)
    while True:
        right = NULL
        left = NULL
        if nr > FB_TREE_FANOUT:
            half = nr // 2
            right = node_new(w, nr - half, leaf, &pivot[half], &slot[half])
            if right == NULL:
                return False
            left = node_new(w, half, leaf, pivot, slot)
        elif nr or depth == 0:
            left = node_new(w, nr, leaf, pivot, slot)
        if left == NULL and (nr or depth == 0):
            return False
        if depth == 0:
            break
        depth -= 1
        i = idx[depth]
        if left != NULL and right == NULL:    # the parent stays: one slot points at the new child
            # RELEASE, pairs with the acquire loads of mtree_find: the child's contents.
            fb_store_u64(&path[depth].slot[i], <uint64_t>left, FB_RELEASE)
            node_retire(w, node)
            return True
        node_retire(w, node)
        node = path[depth]
        if left == NULL:    # the child is empty; its neighbour above now answers for its addresses
            nr = entry_remove(pivot, slot, node_copy(node, pivot, slot), i)
        else:
            last1 = pivot[half - 1]
            nr = node_copy(node, pivot, slot)
            slot[i] = <uint64_t>right
            # The left half's bound lies below the old one, which the right half keeps.
            nr = entry_insert(pivot, slot, nr, last1, <uint64_t>left)
        leaf = False
    if right != NULL:
        pivot[0] = pivot[half - 1]
        pivot[1] = ~<uint64_t>0
        slot[0] = <uint64_t>left
        slot[1] = <uint64_t>right
        left = node_new(w, 2, False, pivot, slot)
        if left == NULL:
            return False
    elif not leaf and nr == 1:    # a root with one child: the child is the root
        node_retire(w, left)
        left = <vma_node *>slot[0]
    elif not leaf and nr == 0:    # everything below went away
        node_retire(w, left)
        left = node_new(w, 0, True, pivot, slot)
    fb_store_u64(&mm.mm_mt, <uint64_t>left, FB_RELEASE)    # pairs with mtree_find
    node_retire(w, node)
    return True


cdef inline bint tree_init(fb_worker *w, mm_struct *mm) noexcept nogil:
    cdef vma_node *root = node_new(w, 0, True, NULL, NULL)
    fb_store_u64(&mm.mm_mt, <uint64_t>root, FB_RELAXED)    # relaxed: set-up
    return root != NULL
