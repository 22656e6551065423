"""The virtual machine: trials on simulated CPUs, one simulation a process.

What is simulated is a machine description (``machines/data/*.toml`` or a user's file, see
`faultbench.machines.description`). A trial's line depends on its spec and the description alone.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

from faultbench.enums import Handler, Path
from faultbench.errors import UsageError
from faultbench.machines import Job, request
from faultbench.machines.description import Description, load
from faultbench.model import Trial, TrialSpec
from faultbench.topology import Cpu, Topology

FAULTS = 1000  # per worker, where there are no writers: the simulation has no noise to average
WINDOW_NS = 25_000_000  # with writers: five of rwsem's 4 ms handoff time-outs and more
HANDOFFS_NS = 5 * 4_000_000
WRITER_OPS = 10
TRANSIENT = "transient"  # the window saw too little of the writers to mean something
# What simulating takes on one CPU of a usual host; see benchmarks/test_virtual.py.
HOST_S = 0.03  # set-up, checks at rest, the answer's way to the parent
HOST_NS_PER_FAULT = {"filesystem": 9000, "alone": 1500, "direct": 1200, "mmap_lock": 2500}
# Per ns of a window: a CPU that nobody holds up; all CPUs together behind one line.
HOST_NS_PER_CPU_NS, HOST_NS_PER_LINE_NS = 1.5, 10
TOP_LINES = 12
LOG_MAX = 2_000_000
_WITHOUT_FILESYSTEM = frozenset(Handler) - {Handler.EXT4, Handler.XFS}


class VirtualMachine:
    """Runs trials through ``faultbench._virtual``."""

    simulated = True

    def __init__(self, description: Description) -> None:
        self.description = description
        self.name = f"virtual:{description.name}"
        self.digest = description.digest
        self.cpus = description.cpus

    def complete(self, spec: TrialSpec) -> TrialSpec:
        """Return `spec` with 1000 faults a worker, or with writers a window of 25 ms."""
        if spec.writers:
            return replace(spec, duration_ns=WINDOW_NS)
        return replace(spec, faults=FAULTS)

    def expected_s(self, spec: TrialSpec) -> float:
        """Return about how long the simulation takes on this host.

        By time it is the accesses that fit: all CPUs together behind one contended line make no
        more of them than eight, however many there are.
        """
        filesystem = spec.handler not in _WITHOUT_FILESYSTEM
        apart = spec.vmas == spec.threads and (
            spec.path is Path.DIRECT or spec.threads in (1, spec.mms)
        )
        if filesystem:
            apart = apart and spec.handler is Handler.XFS and spec.files == spec.threads
        kind = (
            "alone" if spec.tasks == 1
            else "filesystem" if filesystem
            else "direct" if spec.path is Path.DIRECT else "mmap_lock"
        )  # fmt: skip
        faults = (spec.faults + spec.warmup_faults) * spec.threads
        each = spec.tasks * HOST_NS_PER_CPU_NS
        by_time = (spec.duration_ns + spec.warmup_ns) * (
            each if apart else min(each, HOST_NS_PER_LINE_NS)
        )
        return HOST_S + (faults * HOST_NS_PER_FAULT[kind] + by_time) / 1e9

    def check(self, spec: TrialSpec) -> None:
        """Raise `UsageError` where tasks outnumber CPUs: nothing here models a scheduler."""
        if spec.tasks > self.cpus:
            raise UsageError(
                f"--threads {spec.threads} --writers {spec.writers}: {self.name} has {self.cpus} "
                "CPUs and no scheduler; use fewer, or another machine (`faultbench machines`)"
            )

    def figures(self) -> dict[str, int]:
        """Return the engine's FIGURES."""
        return self.description.figures()

    def topology(self) -> Topology:
        """Return the CPUs, for ``--pin``; numbered by place."""
        d = self.description
        return Topology(
            tuple(
                Cpu(n // d.cpus_per_socket, n % d.cpus_per_core, n // d.cpus_per_core, n)
                for n in range(d.cpus)
            )
        )

    def run(self, job: Job) -> dict[str, Any]:
        """Run one trial; the result has ``lines`` and ``log`` where the options ask for them."""
        engine = importlib.import_module("faultbench._virtual")  # in the child only
        spec = job.spec
        raw = request(job, engine.CONSTANTS)
        raw["cpus"] = list(job.cpus) or list(self.topology().place(spec.pin, spec.tasks))
        raw["machine"] = self.figures()
        raw["lines"] = TOP_LINES if job.options.get("lines", True) else 0
        raw["log"] = LOG_MAX if job.options.get("trace") else 0
        if job.options.get("trace") == "first":  # of the workers; others would fill it
            raw["log_without"] = (1, spec.threads)
        result: dict[str, Any] = engine.run_trial(raw)
        if is_transient(spec, result):
            result["flags"].append(TRANSIENT)
        return result


def is_transient(spec: TrialSpec, result: dict[str, Any]) -> bool:
    """Whether a trial with writers saw fewer than 10 operations or 5 handoff time-outs."""
    if not spec.writers:
        return False
    worker = result["worker"]  # window_ns leaves out what the harness itself took
    window = max(worker["end_ns"], default=0) - min(worker["start_ns"], default=0)
    return sum(result["writer"]["ops"]) < WRITER_OPS or window < HANDOFFS_NS


def about(trial: Trial) -> str:
    """Return what to print beneath figures of a virtual trial."""
    return load(trial.spec.machine.partition(":")[2]).about_model


def machine(argument: str) -> VirtualMachine:
    """Return the machine of a name or of a TOML file; `get_machine` calls this."""
    return VirtualMachine(load(argument or "generic"))
