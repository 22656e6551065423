"""The threads machine: the model on real pthreads, real cache lines and futexes."""

from __future__ import annotations

import importlib
from typing import Any

from faultbench.errors import UsageError
from faultbench.machines import Job, OnHost, request
from faultbench.model import TrialSpec


class ThreadsMachine(OnHost):
    """Runs trials through ``faultbench._threads``."""

    name = "threads"

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
