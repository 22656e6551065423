"""The steps of one task, from the virtual machine's log: lines that came, and where time went.

The log says when each access took effect and how long it waited. Spinning is not in it: a CPU that
spins on a copy it holds makes no access. It is what is left of a step when its accesses, its waits,
its sleep and its busy time (the cost profile's) are taken off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faultbench import functions

LINE, SPIN, ASLEEP = "line", "spin", "asleep"
KINDS = (LINE, SPIN, ASLEEP)
ACCESSES = {"load": "load", "store": "store", "rmw": "rmw", "prefetchw": "load"}  # → its figure
Part = tuple[int, int, str]  # from, to (ps) and what the task did: one of KINDS


@dataclass
class Step:
    """One step of one task. Times in ps from the start of the record."""

    name: str  # the kernel function
    begin: int
    end: int = 0
    held: tuple[str, ...] = ()  # locks while it lasts; shared ones end in ":r"
    taken: tuple[str, ...] = ()  # in it
    dropped: tuple[str, ...] = ()
    lines: Counter[str] = field(default_factory=Counter)  # name → journeys
    accesses: int = 0
    parts: list[Part] = field(default_factory=list)  # when it did not run

    @property
    def ns(self) -> float:
        """How long it took."""
        return (self.end - self.begin) / 1000

    def idle(self, kind: str) -> float:
        """Return how long it waited for lines, spun or slept, ns."""
        return sum(end - begin for begin, end, what in self.parts if what == kind) / 1000

    @property
    def mostly(self) -> str:
        """What a step did that did not run for half of its time: the longest of KINDS, or ''."""
        idle = {kind: self.idle(kind) for kind in KINDS}
        return max(KINDS, key=lambda kind: idle[kind]) if 2 * sum(idle.values()) > self.ns else ""


def steps_of(
    log: Iterable[list[Any]], task: int, figures: Mapping[str, int], cost: Mapping[str, int]
) -> list[Step]:
    """Return the steps of one task; the last, which has no end, is left out.

    ``figures``: the machine's latencies in ps; ``cost``: busy ns by step.
    """
    names, codes = functions.steps(), functions.codes()
    steps: list[Step] = []
    gaps: list[tuple[int, int]] = []  # of the last step: no access, no sleep
    busy, now = 0, 0

    def advance(begin: int, end: int) -> None:
        nonlocal now
        if begin > now:
            gaps.append((now, begin))
        now = max(now, end)

    for ps, who, kind, what, name, waited in log:
        if who != task:
            continue
        if kind == "step":
            if steps:
                advance(ps, ps)
                steps[-1].end = ps
                steps[-1].parts += _spins(gaps, busy, max(figures["pause"], 1000))
                steps[-1].parts.sort()
            steps.append(Step(names[what], ps))
            gaps, busy, now = [], 1000 * cost.get(codes[what], 0), ps
        elif not steps:
            continue
        elif kind == "arrive":
            steps[-1].lines[name] += 1
        elif kind in ACCESSES:
            steps[-1].accesses += 1
            if waited:
                steps[-1].parts.append((ps - waited, ps, LINE))
            advance(ps - waited, ps + figures[ACCESSES[kind]])
        elif kind == "wake":
            steps[-1].parts.append((ps - waited, ps, ASLEEP))
            advance(ps - waited, ps)
        elif kind == "unpark":
            advance(ps, ps + figures["unpark"])
    return steps[:-1]


def _spins(gaps: list[tuple[int, int]], busy: int, least: int) -> list[Part]:
    """Return the gaps that are not the step's busy time, nor shorter than a turn of a spin loop."""
    left = list(gaps)
    if busy and left:
        # Busy time varies by 2 %. It is a gap, unless spinning follows without an access between.
        work = min(left, key=lambda gap: abs(gap[1] - gap[0] - busy))
        if abs(work[1] - work[0] - busy) > busy // 25:
            work = max(left, key=lambda gap: gap[1] - gap[0])
        at = left.index(work)
        left[at] = (min(work[0] + busy + busy // 25, work[1]), work[1])
    return [(begin, end, SPIN) for begin, end in left if end - begin >= least]
