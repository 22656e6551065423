# What lies in a cache line, in the kernel's words: the arena's labels, and what an offset inside a labelled range says.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from _core.mm.mm_types cimport pgtable, ptdesc, vm_area_struct, vma_node
from _core.sync.arena cimport fb_arena, fb_arena_find, fb_arena_label

_TABLES = {4: "PGD", 3: "PUD", 2: "PMD", 1: "PTE"}  # ptdesc.flags: level + 1
_PTL = {2: "pmd_lock", 1: "pte lock"}  # split locks: pmd_lockptr(), pte_lockptr(); above them page_table_lock
# Lines of a structure that have no label of their own, by their number.
_VMA_LINES = ("vm_flags + vm_lock_seq", "vm_ops + vm_file", "vm_refcnt")
_INODE_LINES = ("i_state + i_mtime", "", "i_mmap_rwsem + nrpages")
_KINDS = {"vma_node": "maple_node", "struct page": "struct pages of file", "i_pages": "i_pages of file"}
_SIZES = {"vm_area_struct": sizeof(vm_area_struct), "vma_node": sizeof(vma_node), "page table": sizeof(pgtable),
          "ptdesc": sizeof(ptdesc)}
_FIELDS = {
    ("inode", "xa_lock"): "i_pages.xa_lock",
    ("mm_struct", "mmap_lock.wait"): "",  # osq, wait_lock and wait_list lie behind owner
    ("rcu", ""): "gp_seq",
    ("i_pages", "entry"): "entries",
}


cdef uint64_t _table_level(fb_arena *a, uint64_t number):
    """Level + 1 of a page table in use (``struct ptdesc``), 0 when it has been freed."""
    cdef size_t i
    for i in range(a.nr_labels):
        if a.labels[i].kind == b"ptdesc":
            return (<uint64_t *>(a.base + a.labels[i].off + 64 * number))[0]
    return 0


cdef tuple _thing(fb_arena *a, const fb_arena_label *label, uint64_t offset, uint64_t lock_size):
    """(kind, number or -1, field) of an offset: objects of a pool are numbered by their place in it."""
    cdef str kind = (<bytes>label.kind).decode(), field = (<bytes>label.field).decode()
    cdef uint64_t inside = offset - label.off, size, level
    cdef int64_t number = label.index
    if field == "depot":
        return f"free list of {_KINDS.get(kind, kind)}s", -1, ""
    if kind == "pat":
        return field, -1, ""
    if kind == "vma_lock":
        return kind, number if number >= 0 else <int64_t>(inside // lock_size), ""
    size = _SIZES.get(kind, 0)
    if number < 0 and size:
        number = <int64_t>(inside // size)
        inside %= size
    if kind == "page table" or kind == "ptdesc":
        level = _table_level(a, number)
        if kind == "ptdesc":
            return _PTL.get(level, "page table lock"), number, ""
        return kind, number, f"{_TABLES[level]} entries" if level in _TABLES else "freed"
    if kind == "vm_area_struct" and not field:
        field = _VMA_LINES[inside // 64]
    elif kind == "inode" and not field and inside // 64 < 3:
        field = _INODE_LINES[inside // 64]
    return _KINDS.get(kind, kind), number, _FIELDS.get((kind, field), field)


cdef list _labels(fb_arena *a, uint64_t offset, uint64_t lock_size):
    """Names of what lies in a line, in order, as (kind, index, field)."""
    cdef const fb_arena_label *label
    cdef uint32_t word
    cdef list found = []
    cdef tuple name  # undeclared, Cython 3.1 searches for its type for ever
    for word in range(8):
        label = fb_arena_find(a, offset + 8 * word)
        if label == NULL:
            continue
        name = _thing(a, label, offset + 8 * word, lock_size)
        if name not in found:
            found.append(name)
    return found


def _name(labels: list) -> str:
    """``mm_struct 0 mmap_lock.owner + mm_lock_seq``: fields of one object share its name."""
    fields = {}
    for kind, index, field in labels:
        fields.setdefault(kind if index < 0 else f"{kind} {index}", []).append(field)
    return " + ".join([f"{thing} {' + '.join(filter(None, names))}".rstrip() for thing, names in fields.items()])
