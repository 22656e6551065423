"""Record faults: steps and journeys of lines on the virtual machine, locks in the checked build.

Both run the same source on the same spec. The checked build (one worker) knows which locks are
held at each step; the virtual machine knows what each step waited for. A fault is explained when
both took the same steps.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from faultbench.errors import DataError
from faultbench.machines import Job, request
from faultbench.machines.virtual import VirtualMachine
from faultbench.model import TrialSpec

ENTRY = "exc_page_fault"
ARRIVE, STEP, SLEEP, WAKE = "arrive", "step", "park", "wake"
ACCESSES = frozenset(("load", "store", "rmw", "prefetchw"))


@dataclass
class Step:
    """One step of one task. Times in ps from the start of the record."""

    name: str  # the kernel function
    begin: int
    end: int = 0
    held: tuple[str, ...] = ()  # locks while it lasts; shared ones end in ":r"
    lines: Counter[str] = field(default_factory=Counter)  # name → journeys
    accesses: int = 0
    waited: int = 0  # for lines
    slept: int = 0

    @property
    def ns(self) -> float:
        """How long it took."""
        return (self.end - self.begin) / 1000


@dataclass
class Fault:
    """One fault of worker 0, or what a writer did meanwhile."""

    steps: list[Step]

    @property
    def names(self) -> list[str]:
        """The steps' names in order."""
        return [step.name for step in self.steps]

    @property
    def begin(self) -> int:
        """When it began, ps."""
        return self.steps[0].begin

    @property
    def end(self) -> int:
        """When it ended, ps."""
        return self.steps[-1].end


@dataclass
class Recorded:
    """One path: the fault that is explained, and each writer's steps while it lasted."""

    spec: TrialSpec
    fault: Fault
    writer: Fault | None


def explain(machine: VirtualMachine, spec: TrialSpec, cost: Mapping[str, int]) -> Recorded:
    """Record `spec` and choose a fault of worker 0 that is typical for it.

    Without writers: the one of median length. With one: the longest that waited for it, so that
    the time line shows what a writer does to a fault. Raises `DataError` if the record has none.
    """
    log = _log(machine, spec, cost)
    locks = locks_by_step(spec, cost)
    faults = [fault for fault in _faults(_steps(log, 0)) if fault.names in locks.sequences]
    if not faults:
        raise DataError("the record holds no whole fault: give more --faults")
    faults = faults[len(faults) // 3 :]  # caches and tables are warm by then
    writer = None
    if spec.writers:
        other = _steps(log, spec.threads)
        fault = max(faults, key=lambda f: _meeting(f, other))
        inside = [s for s in other if s.end > fault.begin and s.begin < fault.end]
        writer = Fault(inside) if inside else None
    else:
        fault = sorted(faults, key=lambda f: f.end - f.begin)[len(faults) // 2]
    for step, held in zip(fault.steps, locks.sequences_held(fault.names), strict=True):
        step.held = held
    return Recorded(spec, fault, writer)


def _meeting(fault: Fault, other: Iterable[Step]) -> tuple[int, int]:
    slept = sum(step.slept for step in fault.steps)
    met = sum(1 for s in other if s.end > fault.begin and s.begin < fault.end)
    return (slept + fault.end - fault.begin if met else 0, met)


@dataclass
class Locks:
    """Sequences of steps the checked build saw, and the locks held at each."""

    seen: list[tuple[list[str], list[tuple[str, ...]]]]

    @property
    def sequences(self) -> list[list[str]]:
        """The sequences of steps."""
        return [names for names, _ in self.seen]

    def sequences_held(self, names: list[str]) -> list[tuple[str, ...]]:
        """Return what is held at each step of that sequence."""
        return next(held for seen, held in self.seen if seen == names)


def locks_by_step(spec: TrialSpec, cost: Mapping[str, int]) -> Locks:
    """Return the steps and held locks of whole faults in the checked build, one worker alone."""
    engine: Any = importlib.import_module("faultbench._checked")
    alone = replace(spec, threads=1, vmas=1, files=min(spec.files, 1), mms=1, writers=0,
                    duration_ns=0, faults=120, warmup_faults=1)  # fmt: skip
    raw = request(Job(alone, cost=cost), engine.CONSTANTS) | {"trace": 1 << 16}
    seen: list[tuple[list[str], list[tuple[str, ...]]]] = []
    names: list[str] = []
    held: list[tuple[str, ...]] = []
    now: list[str] = []
    for kind, what, _ in [*engine.run_trial(raw)["trace"], ("step", ENTRY, "")]:
        if kind == "step":
            if what == ENTRY:
                if names and names[0] == ENTRY and names not in [n for n, _ in seen]:
                    seen.append((names, held))
                names, held = [], []
            names.append(what)
            held.append(tuple(now))
        elif kind == "lock":
            now.append(what)
        elif kind == "lock_shared":
            now.append(f"{what}:r")
        elif kind == "unlock":
            now.remove(next(one for one in reversed(now) if one.partition(":")[0] == what))
        # Held from within this step on: show a step with what it takes, and without what it drops.
        if kind in ("lock", "lock_shared") and held:
            held[-1] = tuple(dict.fromkeys([*held[-1], now[-1]]))
    return Locks(seen)


def _log(machine: VirtualMachine, spec: TrialSpec, cost: Mapping[str, int]) -> list[list[Any]]:
    result = machine.run(Job(spec, cost=cost, options={"lines": False, "trace": True}))
    if result["status"] != "ok":
        raise DataError(f"the recorded trial broke an invariant: {result['invariant']}")
    log: list[list[Any]] = result["log"]
    return log


def _steps(log: Iterable[list[Any]], task: int) -> list[Step]:
    """Return the steps of one task, the last one without its end left out."""
    engine: Any = importlib.import_module("faultbench._virtual")
    steps: list[Step] = []
    for ps, who, kind, what, name, waited in log:
        if who != task:
            continue
        if kind == STEP:
            if steps:
                steps[-1].end = ps
            steps.append(Step(engine.STEP_NAMES[what], ps))
        elif steps:
            step = steps[-1]
            if kind == ARRIVE:
                step.lines[name] += 1
            elif kind in ACCESSES:
                step.accesses += 1
                step.waited += waited
            elif kind == WAKE:
                step.slept += waited
    return steps[:-1]


def _faults(steps: list[Step]) -> list[Fault]:
    starts = [i for i, step in enumerate(steps) if step.name == ENTRY]
    return [
        Fault(steps[a:b]) for a, b in pairwise(starts) if steps[b - 1].name not in ("refill", ENTRY)
    ]
