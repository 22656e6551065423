# SPDX-License-Identifier: MIT
"""The small workloads of ``machine/patterns.h`` on real threads: what `faultbench calibrate` times."""

from _core.sync.arena cimport fb_arena

cdef void _report(void *arg, fb_arena *a) noexcept with gil:
    pass

include "machine/patterns.pxi"


def run_pattern(pattern: str, cpus: list, turns: int = 0, duration_ns: int = 0, warmup_ns: int = 0,
                inside_ns: int = 0, outside_ns: int = 0) -> dict:
    """Run one small workload, a thread per entry of `cpus` (-1 = unpinned).

    `turns` each, or as many as fit in `duration_ns`. Returns done, failed, ns, parks, cpu_ns, unpark_ns,
    wake_ns, kept, kept_ns and found_ns (one int per task) and guarded. Raises OSError.
    """
    return _run_pattern(pattern, cpus, turns, duration_ns, warmup_ns, inside_ns, outside_ns)
