"""What a simulated fault's time went into: running, waiting for lines, spinning, asleep; and where.

Waiting for a line is the line's (`steps.hottest`); who spins on a lock hits a copy of its line and
waits for nobody, so spinning and sleeping are told by the lock's step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from faultbench.analysis import steps
from faultbench.analysis.frame import PATHS, is_virtual, kernel_order, natural
from faultbench.model import Trial

KEYS = steps.KEYS
_LOCK_OF = {step: lock for lock, functions in steps.LOCKS.items() for step in functions}
LEAST = 0.01  # of the fault: less is not named


@dataclass(frozen=True)
class Spent:
    """ns per fault of one case, means over its repeats."""

    total: float
    running: float
    lines: float
    spinning: float
    asleep: float
    spun: dict[str, float]  # lock → ns, most first
    slept: dict[str, float]

    def in_words(self) -> str:
        """Return ``of 29,816 ns a fault: 1,500 running, …``."""
        parts = [f"{self.running:,.0f} running", f"{self.lines:,.0f} waiting for lines"]
        for word, ns, where in (
            ("spinning", self.spinning, self.spun), ("asleep", self.asleep, self.slept),
        ):  # fmt: skip
            named = ", ".join(f"{lock} {value:,.0f}" for lock, value in list(where.items())[:3])
            parts.append(f"{ns:,.0f} {word}" + (f" ({named})" if named else ""))
        return f"of {self.total:,.0f} ns a fault: {', '.join(parts)}"


def in_order(case: tuple[object, ...]) -> tuple[object, ...]:
    """Return a sort key: what is compared (kernels, then paths by their history) side by side."""
    where = dict(zip(KEYS, case, strict=True))
    kernel, path = where.pop("kernel"), str(where.pop("path"))
    by_path = PATHS.index(path) if path in PATHS else len(PATHS)
    return (*map(natural, where.values()), kernel_order(kernel), by_path)


def spent(trials: Iterable[Trial]) -> dict[steps.Case, Spent]:
    """Return it by case, simulated ones only."""
    found = {}
    for case, repeats in steps.by_case(trials).items():
        each = [steps.of_trial(trial) for trial in repeats if is_virtual(trial.spec.machine)]
        if kept := [one for one in each if one is not None]:
            found[case] = _of(steps.sum_up(kept))
    return found


def _of(mean: steps.Steps) -> Spent:
    mean = {step: ns for step, ns in mean.items() if step not in steps.OUTSIDE}
    by_kind = {kind: steps.time_of(mean, mean, [kind]) for kind in steps.KINDS}
    total = sum(by_kind.values())

    def named(kind: str) -> dict[str, float]:
        by_lock: dict[str, float] = {}
        for step in mean:
            lock = _LOCK_OF.get(step, step)
            by_lock[lock] = by_lock.get(lock, 0.0) + steps.time_of(mean, [step], [kind])
        ordered = sorted(by_lock.items(), key=lambda one: -one[1])
        return {lock: ns for lock, ns in ordered if ns >= LEAST * total and ns > 0}

    busy, stalled, spinning, asleep = (by_kind[kind] for kind in steps.KINDS)
    return Spent(total, busy, stalled, spinning, asleep, named("spinning"), named("asleep"))
