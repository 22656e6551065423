# SPDX-License-Identifier: MIT
"""Real page faults on the running kernel: the thin Python face of ``faultbench/lab/guest/fb_trial.h``.

The loop lives with the guest laboratory's sources because both are one loop: compiled in here for this host
and, as a static program, for a guest kernel. Nothing of it needs the GIL, which is released for the whole trial.
"""

from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import os

cdef extern from "fb_trial.h" nogil:
    enum:
        FB_C_NR
    const char *fb_counter_event[]

    struct fb_spec:
        int workers, vmas, mms, writers, access, writer_op, map_private, sync
        int advice, no_fixed, fsync_fd, nfds, count
        const int *fds
        const int *ids
        const int *cpus
        uint64_t step, slice, skew, offset, length
        char *existing
        int read_only, fresh
        uint64_t duration_ns, warmup_ns, faults, warmup_faults, writer_interval_ns

    struct fb_pass:
        uint64_t start_ns, end_ns, fault_ns, cpu_ns, refill_ns, touches
        int64_t faults, majflt, vcsw, ivcsw

    struct fb_worker:
        fb_pass warm, window, counted
        int64_t count[5]
        uint64_t probe_bytes
        int64_t probe_faults
        int error, refill_by_mmap

    struct fb_writer:
        uint64_t ops_window, wait_ns_max
        int64_t vcsw
        int64_t count[5]
        int error

    struct fb_trial:
        fb_spec spec
        fb_worker *worker
        fb_writer *writer

    int fb_trial_init(fb_trial *t)
    int fb_trial_run(fb_trial *t)
    void fb_trial_free(fb_trial *t)

COUNTERS = ("mmap_lock_reads", "mmap_lock_attempts", "mmap_lock_writes", "traps", "dax_pmd_faults")
EVENTS = tuple(fb_counter_event[i].decode() for i in range(FB_C_NR))
ABI = 1
MAX_TASKS = 4096


cdef int *_ints(values) except NULL:
    cdef int *out = <int *>calloc(max(len(values), 1), sizeof(int))
    if out == NULL:
        raise MemoryError
    for i, value in enumerate(values):
        out[i] = value
    return out


cdef dict _pass(fb_pass *p):
    return {
        "start_ns": p.start_ns, "end_ns": p.end_ns, "window_ns": p.end_ns - p.start_ns - p.refill_ns,
        "cpu_ns": p.cpu_ns, "refill_ns": p.refill_ns, "touch_ns": p.fault_ns, "touches": p.touches,
        "faults": p.faults, "majflt": p.majflt, "parks": p.vcsw, "preempted": p.ivcsw,
    }


cdef dict _columns(list rows):
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


cdef list _worker_rows(fb_trial *t):
    cdef list rows = []
    for i in range(t.spec.workers):
        w = &t.worker[i]
        row = _pass(&w.window)
        row["counted_touches"] = w.counted.touches
        row["counted_faults"] = w.counted.faults
        row["counted_majflt"] = w.counted.majflt
        row["probe_bytes"] = w.probe_bytes
        row["probe_faults"] = w.probe_faults
        row["refill_by_mmap"] = w.refill_by_mmap
        for c in range(FB_C_NR):
            row[COUNTERS[c]] = w.count[c]
        rows.append(row)
    return rows


cdef list _writer_rows(fb_trial *t):
    cdef list rows = []
    for i in range(t.spec.writers):
        w = &t.writer[i]
        rows.append({
            "ops": w.ops_window, "wait_ns_max": w.wait_ns_max, "parks": w.vcsw,
            "mmap_lock_writes": w.count[2],
        })
    return rows


def run_trial(spec: dict) -> dict:
    """Fault real mappings; returns ``{"worker": {name: [int per worker]}, "writer": {…}}``.

    `spec`: ``workers vmas mms writers access writer_op map_private sync advice no_fixed step slice skew offset length
    duration_ns warmup_ns faults warmup_faults writer_interval_ns count`` (ints, as struct fb_spec), ``fds`` (files
    to map; empty: anonymous), ``ids`` (tracepoint ids in the order of `EVENTS`; 0 or -errno: not counted), ``cpus``
    (workers, then writers); optional ``read_only`` (map without PROT_WRITE), ``fresh`` (only the counted pass, on
    pages that nothing has touched) and ``existing`` (address of memory of the caller's to fault instead of a mapping
    of ours).

    A counter that is negative is -errno of why it was not counted. ``window_ns`` is the pass without its refills,
    ``touch_ns`` the touches alone. Raises OSError (mapping refused, no threads; ECHILD when an address space's
    process died) and ValueError.
    """
    cdef fb_trial t
    cdef int rc
    cdef int *fds = NULL
    cdef int *ids = NULL
    cdef int *cpus = NULL

    if not 1 <= spec["workers"] <= MAX_TASKS or not 0 <= spec["writers"] <= MAX_TASKS:
        raise ValueError("workers and writers: 1..4096 and 0..4096")
    if not 1 <= spec["vmas"] <= spec["workers"] or not 1 <= spec["mms"] <= spec["workers"]:
        raise ValueError("vmas and mms: 1..workers")
    if spec["step"] < 1 or spec["slice"] < spec["step"]:
        raise ValueError("a slice holds at least one step")
    if len(spec["cpus"]) != spec["workers"] + spec["writers"] or len(spec["ids"]) != FB_C_NR:
        raise ValueError("cpus and ids: one per task, one per event")
    memset(&t, 0, sizeof(t))
    try:
        fds, ids, cpus = _ints(spec["fds"]), _ints(spec["ids"]), _ints(spec["cpus"])
        t.spec.fds, t.spec.ids, t.spec.cpus = fds, ids, cpus
        t.spec.nfds = len(spec["fds"])
        t.spec.fsync_fd = fds[0] if t.spec.nfds else -1
        t.spec.workers, t.spec.vmas, t.spec.mms = spec["workers"], spec["vmas"], spec["mms"]
        t.spec.writers, t.spec.writer_op = spec["writers"], spec["writer_op"]
        t.spec.access, t.spec.map_private, t.spec.sync = spec["access"], spec["map_private"], spec["sync"]
        t.spec.advice, t.spec.no_fixed, t.spec.count = spec["advice"], spec["no_fixed"], spec["count"]
        t.spec.step, t.spec.slice, t.spec.skew = spec["step"], spec["slice"], spec["skew"]
        t.spec.offset, t.spec.length = spec["offset"], spec["length"]
        t.spec.duration_ns, t.spec.warmup_ns = spec["duration_ns"], spec["warmup_ns"]
        t.spec.faults, t.spec.warmup_faults = spec["faults"], spec["warmup_faults"]
        t.spec.writer_interval_ns = spec["writer_interval_ns"]
        t.spec.read_only, t.spec.fresh = spec.get("read_only", 0), spec.get("fresh", 0)
        t.spec.existing = <char *><uintptr_t>spec.get("existing", 0)
        if t.spec.existing != NULL and (t.spec.mms > 1 or t.spec.vmas > 1):
            raise ValueError("existing memory is one mapping of one process")
        with nogil:
            rc = fb_trial_init(&t)
            if rc == 0:
                rc = fb_trial_run(&t)
        if rc:
            raise OSError(-rc, os.strerror(-rc))
        return {"worker": _columns(_worker_rows(&t)), "writer": _columns(_writer_rows(&t))}
    finally:
        fb_trial_free(&t)
        free(fds)
        free(ids)
        free(cpus)
