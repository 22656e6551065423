"""A machine that measures nothing: the driver is tested with it, as hyperfine tests with a mock.

Registered as ``threads``. It answers at once, with counters that obey the model's invariants and
rates that make `direct` 1.25 times as fast as `retry`. ``FAKE`` in the environment says how it
misbehaves: ``crash@3`` at the fourth trial of a child, ``hang``, ``oom``, ``exception``, …
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from faultbench import machines
from faultbench.machines import Job
from faultbench.model import Path as FaultPath
from faultbench.model import TrialSpec

NS = {FaultPath.MMAP_LOCK: 900, FaultPath.ABORT: 920, FaultPath.RETRY: 1000, FaultPath.DIRECT: 800}
calls = itertools.count()


class FakeMachine:
    name = "threads"
    digest = ""
    simulated = bool(os.environ.get("FAKE_SIMULATED"))
    cpus = 0

    def complete(self, spec: TrialSpec) -> TrialSpec:
        return replace(spec, duration_ns=250_000_000)

    def expected_s(self, spec: TrialSpec) -> float:
        return float(os.environ.get("FAKE_EXPECTED", "0.0"))

    def check(self, spec: TrialSpec) -> None:
        pass

    def run(self, job: Job) -> dict[str, Any]:
        misbehave(next(calls))
        time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
        return answer(job)


def answer(job: Job) -> dict[str, Any]:
    spec = job.spec
    rng = random.Random(f"{spec.seed}{spec.path}")
    window = spec.duration_ns or spec.faults * 1000
    assert spec.path is not None
    faults = [
        spec.faults or int(window / NS[spec.path] * rng.uniform(0.99, 1.01))
        for _ in range(spec.threads)
    ]
    none = [0] * spec.threads
    bounced = faults if spec.path is FaultPath.RETRY else none
    aborted = faults if spec.path is FaultPath.ABORT else none
    under_mmap = none if spec.path is FaultPath.DIRECT else faults
    return {
        "status": "ok",
        "invariant": "",
        "flags": [],
        "worker": {
            "window_ns": [window] * spec.threads,
            "start_ns": none,
            "end_ns": [window] * spec.threads,
            "cpu_ns": [window] * spec.threads,
            "refill_ns": none,
            "faults": faults,
            "vma_lock_success": faults if spec.path is FaultPath.DIRECT else none,
            "vma_lock_abort": aborted,
            "vma_lock_retry": bounced,
            "vma_lock_miss": none,
            "mmap_lock_reads": under_mmap,
            "mmap_lock_read_contended": none,
            "mmap_lock_read_wait_ns": none,
            "parks": none,
            "huge_fault_calls": faults,
            "pmd_installs": faults,
            "fallbacks": none,
            "no_vma": none,
        },
        "writer": {
            "ops": [window // 5000] * spec.writers,
            "mmap_lock_writes": [window // 2500] * spec.writers,
            "wait_ns_max": [1000] * spec.writers,
            "parks": [0] * spec.writers,
        }
        if spec.writers
        else {},
        "writer_wait": {},
        "latency": {"direct": {"500": 90, "700": 9, "900": 1}},
    }


def misbehave(call: int) -> None:
    how, _, at = os.environ.get("FAKE", "").partition("@")
    if not how or (at and call != int(at)):
        return
    if once := os.environ.get("FAKE_ONCE"):  # only the first child of the sweep
        try:
            Path(once).touch(exist_ok=False)
        except FileExistsError:
            return
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        print("on my way out", file=sys.stderr)
        os._exit(3)
    elif how == "hang":
        time.sleep(3600)
    elif how == "oom":
        raise MemoryError
    elif how == "resource":
        raise BlockingIOError(11, "Resource temporarily unavailable")
    elif how == "exception":
        raise ValueError("the engine is confused")
    elif how == "print":
        print("a stray line on stdout")


def machine(argument: str) -> FakeMachine:
    return FakeMachine()


def register() -> None:
    """Make ``threads`` this machine, here and in the children."""
    machines._MODULES["threads"] = __name__


def child_command() -> list[str]:
    code = "from tests import fake; fake.register(); from faultbench.child import main; main()"
    return [sys.executable, "-P", "-c", code, str(os.getpid())]


def child_environment() -> dict[str, str]:
    root = Path(__file__).parent.parent
    return {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}


def main() -> None:
    """The command line over this machine: ``python -m tests.fake sweep …``."""
    from faultbench import cli, executor
    from tests import fake  # noqa: PLW0406 - not __main__: the children import it by this name

    fake.register()
    executor.command = fake.child_command
    os.environ["PYTHONPATH"] = fake.child_environment()["PYTHONPATH"]
    cli.main()


if __name__ == "__main__":
    main()
