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

KEYS = ("machine", "kernel", "handler", "vmas", "writers", "path", "threads")
LOCKS = {"mmap_lock": steps.MMAP_LOCK, **steps.NEXT}
_LOCK_OF = {step: lock for lock, functions in LOCKS.items() for step in functions}
LEAST = 0.01  # of the fault: less is not named


@dataclass(frozen=True)
class Spent:
    """ns per fault of one case, means over its repeats, at its most workers."""

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


def spent(trials: Iterable[Trial]) -> dict[tuple[object, ...], Spent]:
    """Return it by case: the values of `KEYS`."""
    found: dict[tuple[object, ...], list[steps.Steps]] = {}
    for trial in trials:
        spec = trial.spec
        if trial.status != "ok" or not is_virtual(spec.machine):
            continue
        if (each := steps.of_trial(trial)) is None:
            continue
        case = (
            spec.machine, spec.kernel, spec.handler_label, spec.vmas_label, spec.writers,
            str(spec.path), spec.threads,
        )  # fmt: skip
        found.setdefault(case, []).append(each)
    return {case: _of(steps.sum_up(each)) for case, each in found.items()}


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
