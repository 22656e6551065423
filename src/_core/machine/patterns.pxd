# Small workloads over the seam (machine/patterns.h) and their runs (patterns_run.h).
from libc.stdint cimport int32_t, uint32_t, uint64_t

from _core.sync.arena cimport fb_arena

cdef extern from "machine/patterns_run.h" nogil:
    struct fb_pattern_run:
        int pattern
        uint32_t nr
        const int32_t *cpus
        uint64_t turns, warmup_ns, duration_ns, inside_ns, outside_ns
        uint64_t *done
        uint64_t *failed
        uint64_t *ns
        uint64_t *parks
        uint64_t *cpu_ns
        uint64_t *unpark_ns
        uint64_t *wake_ns
        uint64_t *kept
        uint64_t *kept_ns
        uint64_t *found_ns
        uint64_t guarded
    const char *const *fb_pattern_names()
    int fb_pattern_run_all "fb_pattern_run"(
        fb_pattern_run *r, void (*report)(void *arg, fb_arena *a) noexcept, void *arg)
