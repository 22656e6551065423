# cython: language_level=3
"""Set-up of the shared state: one arena, in one order, so that every word has the same offset in every process."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from _core.setup cimport *

cdef enum:
    SLOT_S_WRITERS = 0     # which of a task's per-CPU words
    SLOT_DAX_SRCU = 1      # and the next


cdef inline uint32_t tables_needed(trial_state *s) noexcept:
    """Most tables that can exist at once: a PGD and PUDs per mm, PMDs and PTEs per mapping, and what waits to be
    freed."""
    cdef fb_trial *t = &s.t
    cdef uint64_t size = s.entries << t.entry_shift
    cdef uint64_t per_mapping = (size >> PUD_SHIFT) + 2
    if t.order == ORDER_PTE:
        per_mapping += (size >> PMD_SHIFT) + 1
    elif t.order == ORDER_PMD and (t.fallback_ppm or s.map == FB_MAP_PRIVATE):
        per_mapping += s.per_vma * t.slice
    if t.writers and t.writer_op == WRITER_TARGET:
        per_mapping *= 2
    return (t.nr_mappings * (per_mapping + ((size + (<uint64_t>2 << PUD_SHIFT)) >> PGDIR_SHIFT) + 1) + 4 * t.nr_mms
            + (s.nr + 1) * SLACK + (t.writers * FB_DEFERRED_TABLES if t.writer_op == WRITER_TARGET else 0))


cdef inline uint32_t vma_lock_stride(uint32_t layout) noexcept nogil:
    """Bytes from one VMA's lock to the next, where locks are objects of their own."""
    return 64 if layout == VMA_LOCK_ALIGNED else sizeof(fb_rwsem)


cdef inline int make_arena(trial_state *s) except -1:
    """Map the arena and lay out tasks, caches and the file system's shared parts."""
    cdef fb_trial *t = &s.t
    cdef uint32_t tables = tables_needed(s)
    cdef uint32_t vmas = t.nr_mappings + t.writers * FB_DEFERRED + (s.nr + 1) * SLACK
    cdef uint32_t nodes = t.nr_mappings // 4 + 64 + (t.writers + 1) * FB_DEFERRED + (s.nr + 1) * SLACK + 2 * t.nr_mms
    cdef uint64_t bytes
    cdef int error
    t.lock_stride = vma_lock_stride(t.vma_lock)
    bytes = ((<uint64_t>s.nr + 2) * 2048 + sizeof(super_block) + <uint64_t>tables * (4096 + 64 + 4)
             + <uint64_t>vmas * (192 + 64 + 4) + <uint64_t>nodes * (256 + 4) + <uint64_t>t.nr_mms * 512
             + <uint64_t>t.nr_files * (sizeof(inode) + 256) + (4 << 20))
    # one word per entry; for device-dax a struct page's worth
    bytes += t.nr_mappings * s.entries * (72 if t.handler == HANDLER_DEVICE_DAX else 9) + t.nr_files * 512
    error = fb_arena_init(&s.arena, bytes)
    if error:
        raise MemoryError(f"run_trial: no memory for an arena of {bytes >> 20} MiB")
    s.tasks = fb_tasks_create(&s.arena, s.nr)
    if s.tasks == NULL:
        raise MemoryError("run_trial: no memory for the tasks")
    t.sb = <super_block *>need(s, sizeof(super_block), 128)
    fb_percpu_rwsem_init(&t.sb.s_writers, SLOT_S_WRITERS)
    fb_srcu_init(&t.sb.dax_srcu, SLOT_DAX_SRCU)
    fb_rwsem_init(&t.sb.l_cilp)
    label(s, t.sb, sizeof(super_block), b"super_block", -1, b"")
    label(s, &t.sb.s_writers, sizeof(fb_percpu_rwsem), b"super_block", -1, b"s_writers")
    label(s, &t.sb.l_cilp, 64, b"xfs_cil", -1, b"xc_ctx_lock")
    label(s, &t.sb.dax_srcu, 64, b"dax", -1, b"dax_srcu")
    label(s, &t.sb.s_journal, 64, b"journal", -1, b"j_state_lock")
    label(s, &t.sb.s_journal.t_updates, 64, b"transaction", -1, b"t_updates")
    label(s, &t.sb.s_journal.j_wait_updates, 64, b"journal", -1, b"j_wait_updates")
    label(s, t.sb.wait_table, sizeof(dax_waitq) * 4096, b"dax", -1, b"wait_table")
    if t.rules & RULE_PAT:
        t.pat = <pat_locks *>need(s, sizeof(pat_locks), 128)
        label(s, &t.pat.resource_lock, 64, b"pat", -1, b"resource_lock")
        label(s, &t.pat.memtype_lock, 64, b"pat", -1, b"memtype_lock")
    t.waiter = <dax_waiter *>need(s, sizeof(dax_waiter) * s.nr, 64)
    label(s, t.waiter, sizeof(dax_waiter) * s.nr, b"dax", -1, b"waiter")
    make_cache(s, FB_CACHE_NODE, sizeof(vma_node), 256, nodes, b"vma_node")
    make_cache(s, FB_CACHE_VMA, sizeof(vm_area_struct), 64, vmas, b"vm_area_struct")
    t.vma_locks = <char *>need(s, <uint64_t>vmas * t.lock_stride, 64)
    label(s, t.vma_locks, <uint64_t>vmas * t.lock_stride, b"vma_lock", -1, b"")
    t.ptdesc = <ptdesc *>need(s, <uint64_t>tables * sizeof(ptdesc), 64)
    label(s, t.ptdesc, <uint64_t>tables * sizeof(ptdesc), b"ptdesc", -1, b"ptl")
    make_cache(s, FB_CACHE_TABLE, sizeof(pgtable), 4096, tables, b"page table")
    return 0


cdef inline int make_workers(trial_state *s, list cpus, uint64_t trace) except -1:
    """Plain memory of each task, and of the one that sets up."""
    cdef uint32_t i
    cdef fb_worker *w
    cdef void *p = NULL
    cdef size_t bytes = (<size_t>s.nr + 1) * sizeof(fb_worker)
    if posix_memalign(&p, 128, bytes):
        raise MemoryError("run_trial: no memory for the workers")
    memset(p, 0, bytes)
    s.workers = <fb_worker *>p
    for i in range(s.nr + 1):
        w = &s.workers[i]
        w.id = i
        w.t = &s.t
        w.me = &s.tasks[i if i < s.nr else 0]
        if i >= s.t.workers:
            w.deferred = <fb_deferred *>calloc(FB_DEFERRED, sizeof(fb_deferred))
            if w.deferred == NULL:
                raise MemoryError("run_trial: no memory for what waits for a grace period")
        if i == s.nr:
            break
        s.tasks[i].cpu = cpus[i] if i < len(cpus) else -1
        s.tasks[i].kind = 0 if i < s.t.workers else 1
        s.tasks[i].arg = w
        if s.t.sample_shift < 63 or i >= s.t.workers:
            w.hist = <uint32_t *>calloc(OUTCOME_COUNT if i < s.t.workers else 1, FB_HIST_BUCKETS * sizeof(uint32_t))
            if w.hist == NULL:
                raise MemoryError("run_trial: no memory for the histograms")
    if trace and FB_CHECKED_BUILD:
        s.workers[0].trace = <fb_event *>calloc(trace, sizeof(fb_event))
        s.workers[0].trace_max = trace if s.workers[0].trace != NULL else 0
    return 0


cdef inline int make_mms(trial_state *s) except -1:
    cdef fb_trial *t = &s.t
    cdef uint32_t i, index
    cdef char *p
    cdef mm_struct *mm
    cdef int error
    t.mm = <mm_struct **>calloc(t.nr_mms, sizeof(void *))
    if t.mm == NULL:
        raise MemoryError("run_trial: no memory")
    if t.rules & RULE_SEQCOUNT:    # even: not write-locked
        s.seq_start &= ~<uint32_t>1
    for i in range(t.nr_mms):
        p = <char *>need(s, FB_MM_SIZE, 128)
        mm = <mm_struct *>(p + 8 if s.mm_layout == MM_LAYOUT_SAME else p)
        t.mm[i] = mm
        fb_store_u64(&mm.mm_id, i, FB_RELAXED)
        fb_store_u32(&mm.mm_lock_seq, s.seq_start, FB_RELAXED)
        error = fb_any_init(&mm.mmap_lock, t.rwsem)
        if error:
            raise ValueError("run_trial: rwsem=pthread needs real threads")
        if not tree_init(setup_worker(s), mm):
            raise MemoryError("run_trial: no memory for the VMA tree")
        index = fb_cache_alloc_index(setup_worker(s), FB_CACHE_TABLE)
        fb_store_u64(&t.ptdesc[index].flags, 4, FB_RELAXED)
        fb_store_u64(&mm.pgd, <uint64_t>fb_cache_object(&t.cache[FB_CACHE_TABLE], index), FB_RELAXED)
        label(s, mm, FB_MM_SIZE - 8, b"mm_struct", i, b"")
        label(s, &mm.pgtables_bytes, 8, b"mm_struct", i, b"pgtables_bytes")
        label(s, &mm.page_table_lock, 4, b"mm_struct", i, b"page_table_lock")
        label(s, &mm.mmap_lock, 8, b"mm_struct", i, b"mmap_lock.count")
        label(s, <char *>&mm.mmap_lock + 8, 8, b"mm_struct", i, b"mmap_lock.owner")
        label(s, <char *>&mm.mmap_lock + 16, 24, b"mm_struct", i, b"mmap_lock.wait")
        label(s, &mm.mm_lock_seq, 4, b"mm_struct", i, b"mm_lock_seq")
        label(s, &mm.mm_mt, 16, b"mm_struct", i, b"mm_mt")
    return 0


cdef inline int make_files(trial_state *s) except -1:
    """Inodes, and one entry word, one extent bit and, on device-dax, one struct page per entry."""
    cdef fb_trial *t = &s.t
    cdef uint32_t f
    cdef uint64_t i, entries, bits, phase
    cdef inode *node
    cdef uint64_t *words
    t.inode = <inode **>calloc(t.nr_files + 1, sizeof(void *))
    if t.inode == NULL:
        raise MemoryError("run_trial: no memory")
    for f in range(t.nr_files):
        entries = s.entries * ((t.nr_mappings - f + t.nr_files - 1) // t.nr_files)
        node = <inode *>need(s, sizeof(inode), 128)
        t.inode[f] = node
        fb_store_u64(&node.i_id, f, FB_RELAXED)
        fb_store_u64(&node.i_size, entries << (t.entry_shift - PAGE_SHIFT), FB_RELAXED)
        fb_rwsem_init(&node.i_data.invalidate_lock)
        fb_rwsem_init(&node.i_data.i_mmap_rwsem)
        fb_rwsem_init(&node.i_lock)
        words = <uint64_t *>need(s, 8 * entries, 64)
        fb_store_u64(<uint64_t *>&node.i_data.xa_head, <uint64_t>words, FB_RELAXED)
        label(s, words, 8 * entries, b"i_pages", f, b"entry")
        words = <uint64_t *>need(s, 8 * (entries // 64 + 1), 64)
        fb_store_u64(<uint64_t *>&node.i_extents, <uint64_t>words, FB_RELAXED)
        label(s, words, 8 * (entries // 64 + 1), b"inode", f, b"extents")
        if t.fallback_ppm:
            # Evenly spread, so that every slice falls back as often as was asked for; the seed says where.
            phase = mix(t.seed ^ mix(f)) % 1000000
            for i in range(entries):
                if (phase + (i + 1) * t.fallback_ppm) // 1000000 > (phase + i * t.fallback_ppm) // 1000000:
                    bits = fb_load_u64(&words[i >> 6], FB_RELAXED)
                    fb_store_u64(&words[i >> 6], bits | <uint64_t>1 << (i & 63), FB_RELAXED)
        if t.handler == HANDLER_DEVICE_DAX:
            words = <uint64_t *>need(s, 64 * entries, 64)
            fb_store_u64(<uint64_t *>&node.i_pages_meta, <uint64_t>words, FB_RELAXED)
            label(s, words, 64 * entries, b"struct page", f, b"mapping")
        label(s, node, sizeof(inode), b"inode", f, b"")
        label(s, &node.i_data.xa_lock, 4, b"inode", f, b"xa_lock")
        label(s, &node.i_data.invalidate_lock, 8, b"inode", f, b"invalidate_lock.count")
        label(s, <char *>&node.i_data.invalidate_lock + 8, 8, b"inode", f, b"invalidate_lock.owner")
        label(s, &node.i_lock, sizeof(fb_rwsem), b"inode", f, b"i_lock")
        if t.handler == HANDLER_XFS:
            label(s, &node.i_flags_lock, 16, b"inode", f, b"i_flags_lock")
        else:
            label(s, &node.i_es_lock, 8, b"inode", f, b"i_es_lock")
    return 0


cdef inline int make_mappings(trial_state *s, bint fresh) except -1:
    """Place the mappings, each at a 1 GiB boundary with a GiB between two, and mmap them; give the workers their
    slices."""
    cdef fb_trial *t = &s.t
    cdef uint64_t size = s.entries << t.entry_shift
    cdef uint64_t stride = (((size - 1) >> PUD_SHIFT) + 2) << PUD_SHIFT
    cdef uint64_t flags = VM_READ | VM_WRITE
    cdef uint64_t rules = t.rules
    cdef uint32_t i, index
    cdef fb_mapping *p
    cdef fb_worker *w
    cdef vm_area_struct *vma
    t.mapping = <fb_mapping *>calloc(t.nr_mappings, sizeof(fb_mapping))
    if t.mapping == NULL:
        raise MemoryError("run_trial: no memory")
    if s.map == FB_MAP_SHARED:
        flags |= VM_SHARED | VM_MAYSHARE
    if s.sync:
        flags |= VM_SYNC
    if t.order == ORDER_PTE and t.handler != HANDLER_DEVICE_DAX:
        flags |= VM_NOHUGEPAGE    # madvise: no huge fault is tried; device-dax decides by its alignment
    handler_ops(&s.ops, t.handler)
    t.vm_ops = NULL if t.handler == HANDLER_ANON else &s.ops
    t.beside_base = FB_MAP_BASE + (t.nr_mappings + 1) * stride
    t.rules &= ~<uint64_t>RULE_COSTS    # set-up is not work
    for i in range(t.nr_mappings):
        p = &t.mapping[i]
        p.mm = t.mm[i % t.nr_mms]
        p.start = FB_MAP_BASE + i * stride
        p.end = p.start + size
        p.vm_flags = flags
        if t.nr_files:
            p.file = t.inode[i % t.nr_files]
            p.pgoff = (i // t.nr_files) * s.entries << (t.entry_shift - PAGE_SHIFT)
        map_mapping(setup_worker(s), i, not fresh)    # fresh: no anon_vma yet, as right after mmap
        vma = mtree_load(p.mm, p.start)
        if vma == NULL:
            raise MemoryError("run_trial: no memory for the mappings")
        label(s, vma, 128, b"vm_area_struct", i, b"")
        label(s, &vma.vm_refcnt, 64, b"vm_area_struct", i, b"vm_refcnt")
        label(s, <void *>fb_load_u64(<uint64_t *>&vma.vm_lock, FB_RELAXED), 40, b"vma_lock", i, b"")
    t.rules = rules
    for i in range(s.nr):
        w = &s.workers[i]
        index = i if i < t.workers else i - t.workers
        p = &t.mapping[index % t.nr_mappings]
        w.mm = p.mm
        w.entries = t.slice
        w.base = p.start + (0 if t.overlap else (index // t.nr_mappings) * s.stride << t.entry_shift)
    return 0
