"""The threads machine: the model on real pthreads, real cache lines and futexes."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

from faultbench.errors import UsageError
from faultbench.machines import Job, request
from faultbench.model import TrialSpec

WINDOW_NS = 250_000_000
SETUP_S = 0.01  # arena, threads and the checks at rest, measured at 2 to 8 tasks
SLOW_FAULT_S = 20e-6  # a fault's upper end with writers, for trials by count


class ThreadsMachine:
    """Runs trials through ``faultbench._threads``."""

    name = "threads"
    digest = ""
    simulated = False
    cpus = 0

    def complete(self, spec: TrialSpec) -> TrialSpec:
        """Return `spec` with a window of 250 ms."""
        return replace(spec, duration_ns=WINDOW_NS)

    def expected_s(self, spec: TrialSpec) -> float:
        """Return warm-up, window and set-up."""
        by_count = (spec.faults + spec.warmup_faults) * spec.threads * SLOW_FAULT_S
        return (spec.warmup_ns + spec.duration_ns) / 1e9 + by_count + SETUP_S

    def check(self, spec: TrialSpec) -> None:
        """Raise `UsageError` where the engine has no room."""
        if spec.tasks > 4096:
            raise UsageError(f"--threads {spec.threads}: at most 4096 workers and writers")

    def run(self, job: Job) -> dict[str, Any]:
        """Run one trial on real threads."""
        engine = importlib.import_module("faultbench._threads")  # in the child only
        result: dict[str, Any] = engine.run_trial(request(job, engine.CONSTANTS))
        return result


def machine(argument: str) -> ThreadsMachine:
    """Return the machine; `get_machine` calls this."""
    assert not argument
    return ThreadsMachine()
