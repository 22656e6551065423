# cython: language_level=3
"""A trial's input: dict → constants, arena, address spaces. Every shared word is written through the seam, here too."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from _core.mm.handlers cimport *
from _core.mm.locks cimport *
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.mmap cimport *
from _core.mm.pgtable cimport *
from _core.mm.vma_tree cimport *
from _core.sync.arena cimport fb_arena, fb_arena_alloc, fb_arena_destroy, fb_arena_init, fb_arena_name, fb_arena_off
from _core.sync.tasks cimport fb_tasks_create, fb_tasks_destroy

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **p, size_t align, size_t size)

cdef extern from "string.h" nogil:
    void *memset(void *p, int c, size_t n)

cdef enum:
    MAX_TASKS = 4096
    SLACK = 64                        # objects a task's magazine and a batch may hold, rounded up

cdef struct trial_state:
    fb_arena arena
    fb_trial t
    vm_operations_struct ops
    fb_task *tasks
    fb_worker *workers                # one per task, and one more for set-up and the checks at rest
    uint32_t nr                       # tasks
    uint64_t entries                  # of one mapping
    uint64_t per_vma, stride          # workers of a mapping; entries from one slice to the next
    uint64_t duration_ns, warmup_ns
    uint32_t seq_start, mm_layout, sync, map
    uint64_t pages_meta               # device-dax: bytes per file


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    """splitmix64's finaliser: a counter-based generator."""
    x += <uint64_t>0x9e3779b97f4a7c15
    x = (x ^ (x >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    x = (x ^ (x >> 27)) * <uint64_t>0x94d049bb133111eb
    return x ^ (x >> 31)


cdef inline fb_worker *setup_worker(trial_state *s) noexcept:
    return &s.workers[s.nr]


cdef inline uint64_t field(dict spec, str key, uint64_t most, object default=None) except? 0xfffffffffffffff1:
    """An int of the spec, between 0 and `most`."""
    value = spec.get(key, default)
    if value is None:
        raise ValueError(f"run_trial: {key} is missing")
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"run_trial: {key}={value!r} is not an integer from 0 to {most}")
    return value


cdef inline str objection(fb_trial *t, trial_state *s, dict spec):
    """Why this combination does not exist; None when it does. faultbench.rules says the same in the words of
    options."""
    cdef bint files = t.handler != HANDLER_ANON and t.handler != HANDLER_NOP
    cdef bint fs = t.handler == HANDLER_EXT4 or t.handler == HANDLER_XFS
    if t.workers == 0:
        return "workers: at least 1"
    if t.workers + t.writers > MAX_TASKS:
        return f"workers and writers: at most {MAX_TASKS}"
    if t.nr_mappings == 0 or t.nr_mappings > t.workers:
        return "vmas: 1 to the number of workers"
    if t.nr_mms == 0 or t.nr_mms > t.nr_mappings:
        return "mms: 1 to the number of mappings, each of which lies in one address space"
    if files and (t.nr_files == 0 or t.nr_files > t.nr_mappings):
        return "files: 1 to the number of mappings, each of which maps one file"
    if t.handler == HANDLER_ANON and t.order != ORDER_PTE:
        return "anon: 4 KiB pages, order pte"
    if fs and t.order == ORDER_PUD:
        return "ext4 and xfs answer FALLBACK to PUD faults; only device-dax and drivers insert PUDs"
    if t.order == ORDER_PTE and (t.handler == HANDLER_DRIVER or t.handler == HANDLER_DRIVER_RETRY
                                 or t.handler == HANDLER_NOP):
        return "driver, driver-retry and nop answer huge faults; order pmd or pud"
    if t.handler == HANDLER_NOP and t.access == ACCESS_WP:
        return "nop installs nothing that could be write-protected"
    if t.handler == HANDLER_DEVICE_DAX and (s.map == FB_MAP_PRIVATE or t.fallback_ppm):
        return "device-dax refuses private mappings and never falls back"
    if s.map == FB_MAP_PRIVATE and not fs and t.handler != HANDLER_ANON:
        return "only files and anonymous memory are mapped private"
    if t.fallback_ppm and (t.order != ORDER_PMD or not files):
        return "fallback: only 2 MiB ranges of a file fall back to 4 KiB"
    if s.sync and (not fs or s.map == FB_MAP_PRIVATE or t.access == ACCESS_READ):
        return "sync: only shared write faults of ext4 and xfs are synchronous"
    if t.writers and t.writer_op == WRITER_FSYNC and not fs:
        return "fsync: only ext4 and xfs write-protect entries"
    if t.rules & RULE_VMA_LOCK and t.vma_lock == VMA_LOCK_NONE:
        return "rules: a path with the VMA lock needs one"
    if t.rules & RULE_TYPESAFE and t.vma_lock != VMA_LOCK_REFCOUNT:
        return "rules: only vm_refcnt survives the reuse of its VMA"
    if not t.faults and not s.duration_ns:
        return "duration_ns and faults: one of them"
    if t.nr_mms and s.entries << t.entry_shift > (<uint64_t>1 << 46) // t.nr_mappings - (<uint64_t>1 << 32):
        return "the mappings do not fit into 64 TiB of addresses: fewer workers or a smaller slice"
    if t.mutant and not FB_CHECKED_BUILD:
        return "mutants exist in checked builds only"
    return None


cdef inline int parse(trial_state *s, dict spec) except -1:
    """Fill in the constants. Raises ValueError with the reason."""
    cdef fb_trial *t = &s.t
    cdef uint64_t rate
    cdef uint32_t per_vma
    t.rules = field(spec, "rules", 2 * RULE_IREMAPPING - 1)
    t.vma_lock = field(spec, "vma_lock", VMA_LOCK_REFCOUNT)
    if field(spec, "seq", 1, 0):
        t.rules |= RULE_SEQCOUNT
    if t.vma_lock == VMA_LOCK_REFCOUNT:
        t.rules |= RULE_REFCOUNT
    s.mm_layout = field(spec, "mm_layout", 1, 0)
    t.rwsem = field(spec, "rwsem", RWSEM_PTHREAD, 0)
    t.handler = field(spec, "handler", HANDLER_COUNT - 1)
    t.order = field(spec, "order", ORDER_COUNT - 1)
    t.access = field(spec, "access", ACCESS_COUNT - 1)
    s.map = FB_MAP_PRIVATE if t.handler == HANDLER_ANON else field(spec, "map", FB_MAP_COUNT - 1, 0)
    s.sync = field(spec, "sync", 1, 0)
    t.fallback_ppm = field(spec, "fallback_ppm", 1000000, 0)
    t.workers = field(spec, "workers", MAX_TASKS)
    t.nr_mappings = field(spec, "vmas", MAX_TASKS, 1)
    t.nr_files = field(spec, "files", MAX_TASKS, 1)
    t.nr_mms = field(spec, "mms", MAX_TASKS, 1)
    t.overlap = field(spec, "overlap", 1, 0)
    t.writers = field(spec, "writers", MAX_TASKS, 0)
    t.writer_op = field(spec, "writer_op", WRITER_OP_COUNT - 1, 0)
    rate = field(spec, "writer_rate", 1000000000, 0)
    t.writer_period_ns = 1000000000 // rate if rate else 0
    s.duration_ns = field(spec, "duration_ns", 1 << 50, 0)
    s.warmup_ns = field(spec, "warmup_ns", 1 << 50, 0)
    t.faults = field(spec, "faults", 1 << 50, 0)
    t.warmup_faults = field(spec, "warmup_faults", 1 << 50, 0)
    t.seed = field(spec, "seed", (<uint64_t>1 << 63) - 1, 0)
    t.sample_shift = field(spec, "sample_shift", 63, 63)
    t.mutant = field(spec, "mutant", MUTANT_COUNT - 1, 0)
    s.seq_start = field(spec, "seq_start", 0xffffffff, 0)
    t.entry_shift = PMD_SHIFT if t.order == ORDER_PMD else PUD_SHIFT if t.order == ORDER_PUD else PAGE_SHIFT
    t.slice = field(spec, "slice", 1 << 18, 0) or (32 if t.order == ORDER_PUD else 512)
    if s.sync:
        t.rules |= RULE_SYNC
    t.recheck = (t.overlap or t.access == ACCESS_WP or (t.writers and t.writer_op == WRITER_FSYNC))
    per_vma = (t.workers + t.nr_mappings - 1) // t.nr_mappings if t.nr_mappings else 1
    s.per_vma = 1 if t.overlap else per_vma
    s.stride = max(field(spec, "stride", 1 << 18, 0), t.slice)
    s.entries = (s.per_vma - 1) * s.stride + t.slice
    if t.faults:
        s.duration_ns = 0
    for i, ns in enumerate(spec.get("cost", ())):
        if i >= STEP_COUNT or not isinstance(ns, int) or not 0 <= ns <= 1000000000:
            raise ValueError(f"run_trial: cost[{i}]={ns!r}: ns from 0 to 1000000000 for {STEP_COUNT} steps")
        t.cost[i] = ns
        if ns:
            t.rules |= RULE_COSTS
    reason = objection(t, s, spec)
    if reason is not None:
        raise ValueError(f"run_trial: {reason}")
    if t.handler == HANDLER_ANON or t.handler == HANDLER_NOP:
        t.nr_files = 0
    return 0


cdef inline void *need(trial_state *s, size_t size, size_t align) except NULL:
    cdef void *p = fb_arena_alloc(&s.arena, size, align)
    if p == NULL:
        raise MemoryError("run_trial: the arena is full")
    return p


cdef inline int label(trial_state *s, const void *p, size_t size, const char *kind, int index,
                      const char *name) except -1:
    if fb_arena_name(&s.arena, fb_arena_off(&s.arena, p), size, kind, index, name):
        raise MemoryError("run_trial: no memory for the arena's names")
    return 0


cdef inline int make_cache(trial_state *s, uint32_t which, uint64_t size, size_t align, uint32_t count,
                           const char *kind) except -1:
    cdef fb_cache *c = &s.t.cache[which]
    c.depot = <fb_depot *>need(s, sizeof(fb_depot), 64)
    c.index = <uint32_t *>need(s, 4 * <size_t>count, 64)
    c.base = <char *>need(s, size * count, align)
    c.size = size
    c.count = count
    label(s, c.depot, sizeof(fb_depot), kind, -1, b"depot")
    label(s, c.index, 4 * <size_t>count, kind, -1, b"depot")
    return label(s, c.base, size * count, kind, -1, b"")
