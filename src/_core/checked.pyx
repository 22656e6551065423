# cython: language_level=3
# SPDX-License-Identifier: MIT
"""The threads machine with held-lock bookkeeping, traces and mutants. For tests and explanations, not for rates."""

from _core.trial cimport make_constants, make_latency_edges, run_trial_reported

ABI = 1
CONSTANTS = make_constants()


def run_trial(spec: dict) -> dict:
    """Run one trial; in and out are described in src/_core/DESIGN.md."""
    return run_trial_reported(spec, NULL, NULL)


def latency_edges() -> list[int]:
    """Lower edge of each latency bucket in ns."""
    return make_latency_edges()


include "probe.pxi"
