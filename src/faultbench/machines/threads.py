"""The threads machine: the model on real pthreads, real cache lines and futexes."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

from faultbench.errors import ResourceError, UsageError
from faultbench.machines import Job, OnHost, request
from faultbench.model import TrialSpec


class ThreadsMachine(OnHost):
    """Runs trials through ``faultbench._threads``."""

    name = "threads"

    def check(self, spec: TrialSpec) -> None:
        """Raise `UsageError` where the engine has no room, or was not built."""
        if not _built():
            raise ResourceError(
                "the engine is not built here (faultbench._threads): install faultbench with pip, "
                "it needs a C compiler"
            )
        if spec.tasks > 4096:
            raise UsageError(f"--threads {spec.threads}: at most 4096 workers and writers")

    def run(self, job: Job) -> dict[str, Any]:
        """Run one trial on real threads."""
        engine = importlib.import_module("faultbench._threads")  # in the child only
        result: dict[str, Any] = engine.run_trial(request(job, engine.CONSTANTS))
        return result


@functools.cache
def _built() -> bool:
    return importlib.util.find_spec("faultbench._threads") is not None


def machine(argument: str) -> ThreadsMachine:
    """Return the machine; `get_machine` calls this."""
    assert not argument
    return ThreadsMachine()
