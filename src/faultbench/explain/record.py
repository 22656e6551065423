"""Record faults: steps and journeys of lines on the virtual machine, locks in the checked build.

Both run the same source on the same spec. The checked build (one worker) knows which locks are
held at each step; the virtual machine knows what each step waited for. A fault is explained when
both took the same steps.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from faultbench.enums import Access
from faultbench.errors import DataError
from faultbench.explain.steps import ASLEEP, Step, steps_of
from faultbench.machines import Job, request
from faultbench.machines.virtual import VirtualMachine
from faultbench.model import TrialSpec

ENTRY = "exc_page_fault"
WP = frozenset(("wp_huge_pmd", "wp_huge_pud", "do_wp_page"))  # of a write to what a read installed


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
    figures = machine.figures()
    locks = locks_by_step(spec, cost)
    own = steps_of(log, 0, figures, cost)
    faults = [fault for fault in _faults(own) if fault.names in locks]
    if not faults:
        raise DataError("the record holds no whole fault: take fewer --threads")
    faults = faults[len(faults) // 3 :]  # caches and tables are warm by then
    if spec.access is Access.WP:  # half of them are the reads before
        faults = [fault for fault in faults if WP.intersection(fault.names)] or faults
    writer = None
    if spec.writers:
        other = steps_of(log, spec.threads, figures, cost)
        fault = max(faults, key=lambda f: _meeting(f, other))
        inside = [s for s in other if s.end > fault.begin and s.begin < fault.end]
        writer = Fault(inside) if inside else None
    else:
        fault = sorted(faults, key=lambda f: f.end - f.begin)[len(faults) // 2]
    for step, (held, taken, dropped) in zip(fault.steps, locks.of(fault.names), strict=True):
        step.held, step.taken, step.dropped = tuple(held), tuple(taken), tuple(dropped)
    return Recorded(spec, fault, writer)


def _meeting(fault: Fault, other: Iterable[Step]) -> tuple[float, int]:
    slept = sum(step.idle(ASLEEP) for step in fault.steps)
    met = sum(1 for s in other if s.end > fault.begin and s.begin < fault.end)
    return (1000 * slept + fault.end - fault.begin if met else 0, met)


@dataclass
class Held:
    """Locks of one step: held while it lasts (shared ones end in ":r"), taken, given back."""

    held: list[str]
    taken: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[list[str]]:
        return iter((self.held, self.taken, self.dropped))


@dataclass
class Locks:
    """Sequences of steps the checked build saw, and the locks of each step."""

    seen: list[tuple[list[str], list[Held]]]

    def __contains__(self, names: list[str]) -> bool:
        return any(seen == names for seen, _ in self.seen)

    def of(self, names: list[str]) -> list[Held]:
        """Return the locks at each step of that sequence."""
        return next(held for seen, held in self.seen if seen == names)


def locks_by_step(spec: TrialSpec, cost: Mapping[str, int]) -> Locks:
    """Return the steps and held locks of whole faults in the checked build, one worker alone."""
    engine: Any = importlib.import_module("faultbench._checked")
    alone = replace(spec, threads=1, vmas=1, files=min(spec.files, 1), mms=1, writers=0,
                    duration_ns=0, faults=120, warmup_faults=1)  # fmt: skip
    raw = request(Job(alone, cost=cost), engine.CONSTANTS) | {"trace": 1 << 16}
    seen: list[tuple[list[str], list[Held]]] = []
    names: list[str] = []
    steps: list[Held] = []
    now: list[str] = []
    for kind, what, _ in [*engine.run_trial(raw)["trace"], ("step", ENTRY, "")]:
        if kind == "step":
            if what == ENTRY:
                if names and names[0] == ENTRY and names not in [n for n, _ in seen]:
                    seen.append((names, steps))
                names, steps = [], []
            names.append(what)
            steps.append(Held(list(now)))
        elif kind in ("lock", "lock_shared"):
            lock = what if kind == "lock" else f"{what}:r"
            now.append(lock)
            if steps:  # a step is shown with what it takes, and with what it will drop
                steps[-1].taken.append(lock)
                if lock not in steps[-1].held:
                    steps[-1].held.append(lock)
        elif kind == "unlock":
            lock = next(one for one in reversed(now) if one.partition(":")[0] == what)
            now.remove(lock)
            if steps:
                steps[-1].dropped.append(lock)
    return Locks(seen)


def _log(machine: VirtualMachine, spec: TrialSpec, cost: Mapping[str, int]) -> list[list[Any]]:
    options = {"lines": False, "trace": "first"}  # worker 0 is explained, and the writers
    result = machine.run(Job(spec, cost=cost, options=options))
    if result["status"] != "ok":
        raise DataError(f"the recorded trial broke an invariant: {result['invariant']}")
    log: list[list[Any]] = result["log"]
    return log


def _faults(steps: list[Step]) -> list[Fault]:
    starts = [i for i, step in enumerate(steps) if step.name == ENTRY]
    return [
        Fault(steps[a:b]) for a, b in pairwise(starts) if steps[b - 1].name not in ("refill", ENTRY)
    ]
