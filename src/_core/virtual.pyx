# SPDX-License-Identifier: MIT
"""The virtual machine: the same trial on simulated CPUs, in virtual time.

One simulation per process: the simulator's state is global, so a call must end before the next begins (the GIL is
released while it runs; a second caller is refused).
"""

from libc.stdlib cimport calloc, free, malloc
from libc.stdint cimport uint32_t, uint64_t

from _core.machine.simapi cimport (
    FBV_STEPS, fbv_configure, fbv_cpu_report, fbv_figure_names, fbv_line_report, fbv_log_record, fbv_machine,
    fbv_release, fbv_report_cpu, fbv_report_lines, fbv_report_log, fbv_report_steps)
from _core.build cimport vma_lock_stride
from _core.sync.arena cimport fb_arena

from _core.trial cimport fb_step_names, make_constants, make_latency_edges, run_trial_reported

include "machine/patterns.pxi"
include "machine/names.pxi"

LOG_TYPES = ("step", "load", "store", "rmw", "prefetchw", "arrive", "park", "unpark", "wake")


def _figure_names() -> tuple[str, ...]:
    names = []
    cdef const char *const *name = fbv_figure_names()
    while name[0] != NULL:
        names.append(name[0].decode())
        name += 1
    return tuple(names)


FIGURES = _figure_names()

ABI = 1
CONSTANTS = make_constants()
STEPS = {name[5:].lower(): code for name, code in CONSTANTS.items()
         if name.startswith("STEP_") and name != "STEP_COUNT"}
if CONSTANTS["STEP_COUNT"] > FBV_STEPS:
    raise ImportError("machine/simapi.h: FBV_STEPS is too small")

STEP_NAMES = [fb_step_names()[_code].decode() for _code in range(CONSTANTS["STEP_COUNT"])]

cdef bint _busy = False
cdef bint _logging = False
cdef uint32_t _top_lines = 0
cdef uint32_t _workers = 0
cdef uint32_t _tasks = 0
cdef uint64_t _lock_size = 0


cdef _configure(dict machine, uint64_t seed, uint64_t log_max, tuple muted=(0, 0)):
    """Hand over the figures; every one must be there and an int of at least 0."""
    cdef fbv_machine m
    cdef uint64_t *figure = <uint64_t *>&m
    if set(machine) != set(FIGURES):
        raise ValueError(f"machine: figures differ by {sorted(set(machine) ^ set(FIGURES))}")
    for i, name in enumerate(FIGURES):
        figure[i] = machine[name]
    for name in ("cpus", "cpus_per_core", "cpus_per_l3", "cpus_per_socket", "store_buffer", "outstanding"):
        if not machine[name]:
            raise ValueError(f"machine: {name} must not be 0")
    if machine["outstanding"] > 254 or machine["store_buffer"] > 1024:
        raise ValueError("machine: outstanding is at most 254, store_buffer 1024")
    fbv_configure(&m, seed, log_max, muted[0], muted[1])


cdef list _lines(fb_arena *a, uint32_t top):
    """The hottest lines by time waited for, then the sum of the others."""
    cdef size_t nr = fbv_report_lines(NULL, 0), i
    cdef fbv_line_report *r = <fbv_line_report *>malloc((nr + 1) * sizeof(fbv_line_report))
    if r == NULL:
        raise MemoryError
    try:
        fbv_report_lines(r, nr)
        rows = []
        for i in range(nr):
            rows.append((r[i].wait, r[i].transfers, r[i].fetches, r[i].invalidated, r[i].hits, r[i].offset))
    finally:
        free(r)
    rows.sort(key=_hottest_first)
    out = []
    for row in rows[:top]:
        out.append(_line(_name(_labels(a, row[5], _lock_size)), row[5], row))
    if len(rows) > top:
        rest = [sum(column) for column in zip(*rows[top:])]
        out.append(_line(f"{len(rows) - top} other lines", -1, rest))
    return out


def _hottest_first(row: tuple) -> tuple:
    return (-row[0], -row[1] - row[2], row[5])


def _line(name: str, offset: int, row) -> dict:
    return {"name": name, "offset": offset, "wait_ps": row[0], "transfers": row[1], "fetches": row[2],
            "invalidated": row[3], "hits": row[4]}


cdef dict _cpus(uint32_t nr):
    cdef fbv_cpu_report r
    out = {name: [] for name in ("hits", "fetches", "transfers", "waits", "wait_ps", "spin_ps", "parked_ps")}
    for task in range(nr):
        fbv_report_cpu(task, &r)
        for name, value in zip(out, (r.hits, r.fetches, r.transfers, r.waits, r.wait, r.spin, r.parked)):
            out[name].append(value)
    return out


cdef list _log(fb_arena *a):
    """[ps, task, type, step, name, wait_ps] in the order of time; name is of the line or object, or ''."""
    cdef const fbv_log_record *r
    cdef size_t nr = fbv_report_log(&r), i
    out = []
    names = {0: ""}
    for i in range(nr):
        if r[i].obj not in names:
            names[r[i].obj] = _name(_labels(a, (r[i].obj - 1) & ~<uint64_t>63, _lock_size))
        out.append([r[i].ps, r[i].cpu, LOG_TYPES[r[i].type], r[i].what, names[r[i].obj], r[i].wait])
    out.sort(key=lambda e: e[0])
    return out


cdef dict _steps(uint32_t first, uint32_t last):
    """By step: picoseconds, of them stalled for lines, spinning, asleep; lines that came. Sums over the tasks."""
    cdef uint64_t *sums = <uint64_t *>calloc(5 * FBV_STEPS, sizeof(uint64_t))
    cdef dict out = {}
    cdef uint32_t i
    if sums == NULL:
        raise MemoryError
    fbv_report_steps(first, last, sums)
    for name, code in STEPS.items():
        i = code
        if sums[i] or sums[4 * FBV_STEPS + i]:
            out[name] = [sums[i], sums[FBV_STEPS + i], sums[2 * FBV_STEPS + i], sums[3 * FBV_STEPS + i],
                         sums[4 * FBV_STEPS + i]]
    free(sums)
    return out


cdef void _report(void *arg, fb_arena *a) noexcept with gil:
    out = <dict>arg
    out["cpu"] = _cpus(_tasks)
    out["lines"] = _lines(a, _top_lines)
    out["log"] = _log(a)


cdef int _report_trial(void *arg, fb_arena *a) except -1:
    out = <dict>arg
    out["steps"] = _steps(0, _workers)
    if _tasks > _workers:
        out["writer_steps"] = _steps(_workers, _tasks)
    if _top_lines:
        out["lines"] = _lines(a, _top_lines)
        out["accesses"] = {name: sum(values) for name, values in _cpus(_tasks).items()}
    if _logging:
        out["log"] = _log(a)
    return 0


def run_pattern(pattern: str, machine: dict, cpus: list, turns: int = 0, duration_ns: int = 0, warmup_ns: int = 0,
                inside_ns: int = 0, outside_ns: int = 0, seed: int = 0, log: int = 0) -> dict:
    """Run one small workload; see ``machine/patterns.h``.

    `machine`: the FIGURES by name, latencies in ps. `cpus`: the place of each task on the machine. `turns` each, or
    as many as fit in `duration_ns`. Returns done, failed, ns, parks, cpu_ns, unpark_ns, wake_ns, kept,
    kept_ns and found_ns (one int per task), guarded, cpu (counts per task), lines and log. Raises OSError (EDEADLK:
    all tasks wait for ever; EINVAL: more tasks than CPUs).
    """
    global _busy, _tasks, _top_lines
    if _busy:
        raise RuntimeError("one simulation per process at a time")
    _busy = True
    try:
        _configure(machine, seed, log)
        _tasks = len(cpus)
        _top_lines = 64
        return _run_pattern(pattern, cpus, turns, duration_ns, warmup_ns, inside_ns, outside_ns)
    finally:
        fbv_release()
        _busy = False


def run_trial(spec: dict) -> dict:
    """Run one trial; in and out are described in src/_core/DESIGN.md.

    Beside the fields of every machine: ``machine`` (FIGURES by name, ps), ``lines`` (how many of the hottest lines to
    report), ``log`` (how many records to keep), ``log_without`` (from, to: tasks that leave none, as the record of a
    few among many would be full before they are warm). Raises OSError: EDEADLK when every task waits for ever,
    EOVERFLOW when the trial would take more than two and a half hours of virtual time.
    """
    global _busy, _tasks, _workers, _top_lines, _logging, _lock_size
    if _busy:
        raise RuntimeError("one simulation per process at a time")
    _busy = True
    extra = {}
    try:
        _configure(spec["machine"], spec.get("seed", 0), spec.get("log", 0), spec.get("log_without", (0, 0)))
        _workers = spec["workers"]
        _tasks = _workers + spec.get("writers", 0)
        _top_lines = spec.get("lines", 0)
        _logging = spec.get("log", 0) > 0
        _lock_size = vma_lock_stride(spec["vma_lock"])
        out = run_trial_reported(spec, _report_trial, <void *>extra)
        out.update(extra)
        return out
    finally:
        fbv_release()
        _busy = False


def latency_edges() -> list:
    """Lower edge of each latency bucket in ns."""
    return make_latency_edges()
