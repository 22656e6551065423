# cython: language_level=3
"""One trial: dict → arena → tasks → the machine runs them → checks at rest → dict (DESIGN.md, One trial)."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset, strerror
from _core.build cimport *
from _core.rest cimport *
from _core.setup cimport *
from _core.worker cimport *
from _core.sync.arena cimport fb_arena_find, fb_arena_label
from _core.sync.atomic cimport fb_machine_run, fb_run

ctypedef int (*report_t)(void *arg, fb_arena *arena) except -1

cdef extern from "<errno.h>" nogil:    # Cython's libc.errno stops at POSIX of 1996
    int EDEADLK, EOVERFLOW

cdef extern from "mm/names.h" nogil:
    const char *const *fb_step_codes()
    const char *const *fb_step_names()
    const char *const *fb_lock_names()
    const char *fb_check_text(uint32_t check)
    const char *const *fb_mutant_codes()
    const char *const *fb_counter_names()
    int fb_counter_count()


cdef inline void trial_destroy(trial_state *s) noexcept:
    cdef uint32_t i
    if s.workers != NULL:
        for i in range(s.nr + 1):
            free(s.workers[i].hist)
            free(s.workers[i].trace)
            free(s.workers[i].deferred)
        free(s.workers)
    if s.t.mm != NULL:
        for i in range(s.t.nr_mms):
            if s.t.mm[i] != NULL:
                fb_any_destroy(&s.t.mm[i].mmap_lock, s.t.rwsem)
    free(s.t.mm)
    free(s.t.inode)
    free(s.t.mapping)
    if s.tasks != NULL:
        fb_tasks_destroy(s.tasks)
    fb_arena_destroy(&s.arena)


cdef inline int trial_build(trial_state *s, dict spec) except -1:
    """Everything but the run. The caller destroys `s`, also when this raises."""
    memset(s, 0, sizeof(trial_state))
    parse(s, spec)
    s.nr = s.t.workers + s.t.writers
    make_arena(s)
    make_workers(s, list(spec.get("cpus", ())), field(spec, "trace", 1 << 24, 0))
    make_mms(s)
    make_files(s)
    make_mappings(s, field(spec, "fresh", 1, 0))
    return 0


cdef inline dict histogram(const uint32_t *counts):
    cdef uint32_t i
    out = {}
    for i in range(FB_HIST_BUCKETS):
        if counts[i]:
            out[i] = counts[i]
    return out


cdef inline dict add_histograms(trial_state *s, uint32_t first, uint32_t last, uint32_t which):
    cdef uint32_t i
    out = {}
    for i in range(first, last):
        if s.workers[i].hist != NULL:
            for bucket, count in histogram(s.workers[i].hist + which * FB_HIST_BUCKETS).items():
                out[bucket] = out.get(bucket, 0) + count
    return dict(sorted(out.items()))


cdef inline dict worker_out(trial_state *s):
    """Counters, clocks: what each worker noted between the opening and the closing of its window."""
    cdef uint32_t i
    cdef int k
    cdef fb_worker *w
    cdef const char *const *names = fb_counter_names()
    out = {key: [] for key in ("window_ns", "start_ns", "end_ns", "cpu_ns", "refill_ns")}
    for k in range(fb_counter_count()):
        out[names[k].decode()] = []
    for i in range(s.t.workers):
        w = &s.workers[i]
        # Less the CPU time of the refills, not their wall time: a worker that loses its CPU in a refill has lost it for
        # its faults as well. Otherwise more workers than CPUs would seem faster than the CPUs are.
        out["window_ns"].append(w.end_ns - w.start_ns - (w.refill_cpu - w.refill_cpu_open))
        out["start_ns"].append(w.start_ns)
        out["end_ns"].append(w.end_ns)
        out["cpu_ns"].append(w.cpu_end - w.cpu_start - (w.refill_cpu - w.refill_cpu_open))
        out["refill_ns"].append(w.refill_ns - w.refill_ns_open)
        for k in range(fb_counter_count()):
            out[names[k].decode()].append((<uint64_t *>&w.c)[k] - (<uint64_t *>&w.at_open)[k])
    return out


cdef inline dict writer_out(trial_state *s):
    cdef uint32_t i
    cdef fb_worker *w
    out = {key: [] for key in ("ops", "wait_ns_max", "parks", "mmap_lock_writes", "zaps")}
    for i in range(s.t.workers, s.nr):
        w = &s.workers[i]
        out["ops"].append(w.ops - w.ops_open)
        out["wait_ns_max"].append(w.wait_ns_max)
        out["parks"].append(w.c.parks - w.at_open.parks)
        out["mmap_lock_writes"].append(w.mmap_lock_writes - w.writes_open)
        out["zaps"].append(w.c.zaps - w.at_open.zaps)
    return out


cdef inline list trace_out(trial_state *s, fb_worker *w):
    """[kind, name, object] of each event of a checked build."""
    cdef uint32_t i
    cdef const fb_arena_label *found
    kinds = ("step", "lock", "lock_shared", "unlock", "try_failed")
    out = []
    for i in range(w.trace_nr):
        name = (fb_step_names() if w.trace[i].kind == 0 else fb_lock_names())[w.trace[i].what].decode()
        thing = ""
        if w.trace[i].obj:
            found = fb_arena_find(&s.arena, w.trace[i].obj - <uint64_t>s.arena.base)
            if found != NULL:
                thing = found.kind.decode() + (f" {found.index}" if found.index >= 0 else "")
        out.append([kinds[w.trace[i].kind], name, thing])
    return out


cdef inline dict run_trial_reported(dict spec, report_t report, void *arg):
    """Run a trial; `report`, if any, looks at the arena before it goes."""
    cdef trial_state s
    cdef fb_run run
    cdef int error
    cdef uint32_t i
    try:
        trial_build(&s, spec)
        memset(&run, 0, sizeof(run))
        run.tasks = s.tasks
        run.nr = s.nr
        run.nr_workers = s.t.workers
        run.fn = task_main
        run.warmup_ns = s.warmup_ns
        run.duration_ns = s.duration_ns
        with nogil:
            error = fb_machine_run(&run)
        if error:
            why = strerror(error).decode()
            if error == EDEADLK:
                why = "every task waits for ever"
            elif error == EOVERFLOW:
                why = "virtual time ends after two and a half hours"
            raise OSError(error, f"started {run.started} of {s.nr} tasks: {why}", "trial")
        broken = at_rest(&s)
        for i in range(s.nr):
            if s.workers[i].violation:
                step = fb_step_names()[s.workers[i].violation_step].decode()
                broken = f"{fb_check_text(s.workers[i].violation).decode()} (task {i}, at {step})"
                break
        out = {
            "status": "invariant" if broken else "ok",
            "invariant": broken or "",
            "flags": ["unpinned"] if run.unpinned else [],
            "worker": worker_out(&s),
            "writer": writer_out(&s),
            "writer_wait": add_histograms(&s, s.t.workers, s.nr, 0),
            "latency": {
                name: add_histograms(&s, 0, s.t.workers, k)
                for k, name in enumerate(("direct", "retried", "aborted", "missed"))
            } if s.t.sample_shift < 63 else {},
        }
        if s.workers[0].trace != NULL:
            out["trace"] = trace_out(&s, &s.workers[0])
        if report != NULL:
            report(arg, &s.arena)
        return out
    finally:
        trial_destroy(&s)


cdef inline dict make_constants():
    """Every number that crosses to Python, by name."""
    cdef int i
    out = {
        "RULE_VMA_LOCK": RULE_VMA_LOCK, "RULE_ABORT_FILE": RULE_ABORT_FILE, "RULE_HUGE_RETRY": RULE_HUGE_RETRY,
        "RULE_FAULT_MAP_PAGES": RULE_FAULT_MAP_PAGES, "RULE_ANON_LATE": RULE_ANON_LATE,
        "RULE_PREFETCHW": RULE_PREFETCHW, "RULE_TYPESAFE": RULE_TYPESAFE, "RULE_PAT": RULE_PAT,
        "RULE_IREMAPPING": RULE_IREMAPPING,
        "STEP_COUNT": STEP_COUNT,
    }
    for prefix, names in (
        ("HANDLER", ("DEVICE_DAX", "EXT4", "XFS", "DRIVER", "DRIVER_RETRY", "ANON", "NOP")),
        ("ORDER", ("PMD", "PUD", "PTE")), ("ACCESS", ("READ", "WRITE", "WP")), ("MAP", ("SHARED", "PRIVATE")),
        ("WRITER_OP", ("BESIDE", "TARGET", "MPROTECT", "FSYNC")), ("WINDOW", ("WARMUP", "OPEN", "CLOSED")),
        ("VMA_LOCK", ("NONE", "SEPARATE", "INLINE", "ALIGNED", "REFCOUNT")), ("SEQ", ("INT", "SEQCOUNT")),
        ("MM_LAYOUT", ("SPLIT", "SAME")), ("RWSEM", ("KERNEL", "NAIVE", "PTHREAD")),
    ):
        for code, name in enumerate(names):
            out[f"{prefix}_{name}"] = code
    for i in range(STEP_COUNT):
        out["STEP_" + fb_step_codes()[i].decode()] = i
    if FB_CHECKED_BUILD:
        for i in range(MUTANT_COUNT):
            out["MUTANT_" + fb_mutant_codes()[i].decode()] = i
    return out


cdef inline list make_latency_edges():
    """Lower edge of each latency bucket in ns; bucket i holds [edge[i], edge[i + 1])."""
    return [i if i < 2 * FB_HIST_SUB else <uint64_t>(FB_HIST_SUB + i % FB_HIST_SUB) << (i // FB_HIST_SUB - 1)
            for i in range(FB_HIST_BUCKETS)]


cdef inline dict time_walk(dict spec, uint64_t turns):
    """CPU ns of `turns` VMA look-ups and of as many table walks, after one fault of each worker."""
    cdef trial_state s
    cdef fb_worker *w
    cdef uint64_t i, found = 0, began, middle, end
    cdef uint32_t level
    cdef fb_mapping *p
    try:
        trial_build(&s, spec)
        with nogil:
            for i in range(s.t.workers):    # so that there are tables to walk
                w = &s.workers[i]
                fb_rcu_online(w.me)
                do_user_addr_fault(w, w.mm, w.base, True)
                fb_rcu_offline(w.me)
            began = fb_cpu_ns()
            for i in range(turns):
                p = &s.t.mapping[i % s.t.nr_mappings]
                found += mtree_load(p.mm, p.start) != NULL
            middle = fb_cpu_ns()
            for i in range(turns):
                p = &s.t.mapping[i % s.t.nr_mappings]
                found += walk_leaf(p.mm, p.start, &level) != NULL
            end = fb_cpu_ns()
        if found != 2 * turns:
            raise RuntimeError("time_walk: a mapping was not found")
        return {"vma_ns": middle - began, "table_ns": end - middle}
    finally:
        trial_destroy(&s)
