"""The machines: one interface from `TrialSpec` to the raw dict of ``run_trial``.

A machine runs inside the persistent child (`faultbench.child`), which imports its extension and
nothing else; `check` runs in the parent, before anything starts, and does not import it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

from faultbench.errors import UsageError
from faultbench.model import Access, Order, TrialSpec

SAMPLE_SHIFT = 6  # latency of one fault in 64: two clock reads are as dear as a bare fault

WINDOW_NS = 250_000_000
SETUP_S, TASK_S = 0.01, 0.001  # arena, threads, checks at rest
SHORT_SLICE = 64
WHOLE_TABLE = 512  # entries of one page table: PTRS_PER_PMD, PTRS_PER_PTE
SLOW_FAULT_S = 20e-6  # a fault's upper end with writers, for trials by count


@dataclass(frozen=True)
class Job:
    """What a machine needs beside the spec, because it is this host's or only looks on.

    `cpus`: one per worker, then one per writer; -1 is unpinned. `cost`: ns of busy time by STEP
    name. `options`: what changes the output but not the trial (virtual: ``lines``, ``trace``).
    """

    spec: TrialSpec
    cpus: tuple[int, ...] = ()
    cost: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "spec": self.spec.to_dict(),
            "cpus": self.cpus,
            "cost": dict(self.cost),
            "options": dict(self.options),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        spec = TrialSpec.from_dict(raw["spec"])
        return cls(spec, tuple(raw["cpus"]), raw["cost"], raw["options"])


class Machine(Protocol):
    """Where trials run."""

    name: str  # as in the records: threads, virtual:NAME, kernel
    digest: str  # of a machine description that may change under its name; else empty
    simulated: bool  # no host clock: trials run side by side, nothing of the host is recorded
    cpus: int  # what ``--threads max`` means; 0: those of this host that we may use

    def complete(self, spec: TrialSpec) -> TrialSpec:
        """Return `spec` with the work that was not asked for.

        Only called when both ``duration_ns`` and ``faults`` are 0; the plan adds the warm-up.
        """
        ...

    def expected_s(self, spec: TrialSpec) -> float:
        """Return about how long a trial takes on this host: for estimates and the watchdog."""
        ...

    def check(self, spec: TrialSpec) -> None:
        """Raise `UsageError` when this machine cannot run `spec`."""
        ...

    def run(self, job: Job) -> dict[str, Any]:
        """Run one trial in the child; returns run_trial's dict (``src/_core/DESIGN.md``)."""
        ...


class OnHost:
    """What the machines on this host's own CPUs have in common."""

    digest = ""
    simulated = False
    cpus = 0

    def complete(self, spec: TrialSpec) -> TrialSpec:
        """Return `spec` with a window of 250 ms."""
        return replace(spec, duration_ns=WINDOW_NS)

    def expected_s(self, spec: TrialSpec) -> float:
        """Return warm-up, window and set-up."""
        by_count = (spec.faults + spec.warmup_faults) * spec.threads * SLOW_FAULT_S
        setup = SETUP_S + TASK_S * spec.tasks
        return (spec.warmup_ns + spec.duration_ns) / 1e9 + by_count + setup


# name before the colon -> module with a function machine(argument: str) -> Machine
_MODULES = {
    "threads": "faultbench.machines.threads",
    "virtual": "faultbench.machines.virtual",
    "kernel": "faultbench.machines.kernel",
}


def get_machine(name: str) -> Machine:
    """Return the machine that ``--machine NAME`` means: threads, virtual[:NAME|FILE], kernel."""
    kind, colon, argument = name.partition(":")
    if colon and not argument:
        raise UsageError(f"--machine {name}: no name or file after the colon (an unset variable?)")
    if kind not in _MODULES:
        raise UsageError(
            f"--machine {name}: unknown; there are threads, virtual[:NAME|FILE], kernel"
        )
    if argument and kind != "virtual":
        raise UsageError(f"--machine {name}: only virtual takes a name or a file after the colon")
    try:
        module = importlib.import_module(_MODULES[kind])
    except ModuleNotFoundError as error:
        if error.name != _MODULES[kind]:
            raise
        raise UsageError(f"--machine {kind}: not in this build of faultbench") from None
    machine: Machine = module.machine(argument)
    return machine


def slice_of(spec: TrialSpec) -> int:
    """Return the entries of a worker's slice; 0 is the engine's own choice (512, PUD 32).

    What happens on the first touch of an entry (``dax_set_mapping``, a table's allocation) belongs
    into the warm-up: short ones get a slice that they pass through once.
    """
    if spec.duration_ns:
        return SHORT_SLICE if spec.machine.startswith("virtual") else 0
    passed = spec.warmup_faults // (2 if spec.access is Access.WP else 1)
    whole = 32 if spec.order is Order.PUD else WHOLE_TABLE
    return min(whole, max(16, 1 << max(0, passed.bit_length() - 1)))


def request(job: Job, constants: Mapping[str, int]) -> dict[str, Any]:
    """Return run_trial's input for a model machine (``src/_core/DESIGN.md``, One trial).

    `constants`: the extension's CONSTANTS, whose ``STEP_*`` say where a cost goes.
    """
    spec = job.spec
    assert spec.rules is not None
    assert spec.handler is not None
    steps = {
        name.removeprefix("STEP_").lower(): code
        for name, code in constants.items()
        if name.startswith("STEP_") and name != "STEP_COUNT"
    }
    cost = [0] * len(steps)
    for name, code in steps.items():
        cost[code] = job.cost.get(name, 0)
    return {
        "rules": spec.rules.bits,
        "vma_lock": spec.rules.vma_lock.code,
        "seq": spec.rules.seq.code,
        "mm_layout": spec.rules.mm_layout.code,
        "rwsem": spec.rules.rwsem.code,
        "handler": spec.handler.code,
        "order": spec.order.code,
        "access": spec.access.code,
        "map": spec.map.code,
        "sync": int(spec.sync),
        "fallback_ppm": spec.fallback_ppm,
        "workers": spec.threads,
        "vmas": spec.vmas,
        "files": spec.files,
        "mms": spec.mms,
        "overlap": int(spec.overlap),
        "writers": spec.writers,
        "writer_op": spec.writer_op.code,
        "writer_rate": spec.writer_rate,
        "slice": slice_of(spec),
        # Slices begin at a table's boundary: whether workers share one PMD lock (one per 1 GiB)
        # must not depend on how short their slices are, nor on whether they share the VMA.
        "stride": 0 if spec.order is Order.PUD else WHOLE_TABLE,
        "duration_ns": spec.duration_ns,
        "warmup_ns": spec.warmup_ns,
        "faults": spec.faults,
        "warmup_faults": spec.warmup_faults,
        "cpus": list(job.cpus) or [-1] * spec.tasks,
        "cost": cost,
        "seed": spec.seed,
        "sample_shift": job.options.get("sample_shift", SAMPLE_SHIFT),
    }
