# run_pattern, the same on every machine whose face includes this file. The face defines _report.
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int32_t, uint32_t, uint64_t

import os

from _core.machine.patterns cimport fb_pattern_names, fb_pattern_run, fb_pattern_run_all


def _pattern_names() -> tuple[str, ...]:
    names = []
    cdef const char *const *name = fb_pattern_names()
    while name[0] != NULL:
        names.append(name[0].decode().lower())
        name += 1
    return tuple(names)


PATTERNS = _pattern_names()


cdef dict _run_pattern(str pattern, list cpus, uint64_t turns, uint64_t duration_ns, uint64_t warmup_ns,
                       uint64_t inside_ns, uint64_t outside_ns):
    cdef fb_pattern_run r
    cdef uint32_t nr = len(cpus), i
    cdef int err
    cdef int32_t *where = <int32_t *>PyMem_Calloc(nr, sizeof(int32_t))
    cdef uint64_t *counts = <uint64_t *>PyMem_Calloc(10 * nr, sizeof(uint64_t))
    out = {}
    try:
        if where == NULL or counts == NULL:
            raise MemoryError
        for i in range(nr):
            where[i] = cpus[i]
        r.pattern = PATTERNS.index(pattern)
        r.nr = nr
        r.cpus = where
        r.turns, r.duration_ns, r.warmup_ns = turns, duration_ns, warmup_ns
        r.inside_ns, r.outside_ns = inside_ns, outside_ns
        r.done, r.failed, r.ns, r.parks = counts, counts + nr, counts + 2 * nr, counts + 3 * nr
        r.cpu_ns, r.unpark_ns, r.wake_ns = counts + 4 * nr, counts + 5 * nr, counts + 6 * nr
        r.kept, r.kept_ns, r.found_ns = counts + 7 * nr, counts + 8 * nr, counts + 9 * nr
        with nogil:
            err = fb_pattern_run_all(&r, _report, <void *>out)
        if err:
            raise OSError(err, os.strerror(err))
        for i, name in enumerate(("done", "failed", "ns", "parks", "cpu_ns", "unpark_ns", "wake_ns", "kept", "kept_ns",
                                  "found_ns")):
            out[name] = [counts[i * nr + k] for k in range(nr)]
        out["guarded"] = r.guarded
        return out
    finally:
        PyMem_Free(where)
        PyMem_Free(counts)
