# cython: language_level=3
# SPDX-License-Identifier: MIT
"""The threads machine: a trial on real pthreads, real cache lines and futexes."""

from _core.trial cimport make_constants, make_latency_edges, run_trial_reported, time_walk

ABI = 1
CONSTANTS = make_constants()


def run_trial(spec: dict) -> dict:
    """Run one trial; in and out are described in src/_core/DESIGN.md."""
    return run_trial_reported(spec, NULL, NULL)


def latency_edges() -> list[int]:
    """Lower edge of each latency bucket in ns."""
    return make_latency_edges()


def walk(spec: dict, turns: int) -> dict:
    """CPU ns of `turns` VMA look-ups (vma_ns) and table walks (table_ns) over the mappings of a trial: benchmarks."""
    return time_walk(spec, turns)
