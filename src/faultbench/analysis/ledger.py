"""The cost ledger: what one fault costs more on ``retry`` than on ``direct``, taken apart.

    measured difference  =  sum of the parts  +  residual        ns of worker time per fault

In virtual time every nanosecond of a CPU belongs to one step of the path and is busy, stalled for
a line, spinning or asleep, so the parts are exact sums (``steps.py``). On threads nobody can look
inside a fault; there the parts come from ablation (the same fault where one cause is absent) and
from counters, each with its interval, and the residual is what neither sees: mostly lines of the
locks travelling between CPUs.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from faultbench.analysis import stats
from faultbench.analysis.frame import WALL, cases, has_flag, is_virtual, key_columns
from faultbench.analysis.stats import Array

Case = tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One line of a ledger: ns per fault, its 95 % interval (NaN where exact), how it was found."""

    name: str
    ns: float
    low: float = float("nan")
    high: float = float("nan")
    source: str = ""


@dataclass(frozen=True)
class Ledger:
    """The parts of one case. ``total`` is the measured difference A − B in ns per fault."""

    case: dict[str, object]
    a: str
    b: str
    total: Part
    parts: list[Part]
    exact: bool

    @property
    def residual(self) -> float:
        """What the parts leave unexplained, ns per fault."""
        return self.total.ns - sum(part.ns for part in self.parts)


def fault_ns(df: pd.DataFrame) -> pd.DataFrame:
    """Return ``df`` with worker time per fault and, of it, time in mmap_lock's queue (ns).

    Without writers nobody sleeps for long, and CPU time is the worker's time without what other
    programs took; beside writers workers park, which only the wall clock sees.
    """
    faults = df["faults"].astype(float).where(lambda n: n > 0)
    wall = df["threads"].astype(float) * 1e9 / df[WALL].astype(float).where(lambda r: r > 0)
    cpu = df["cpu_ns"].astype(float) / faults
    alone = (df["writers"].astype(int) == 0) & (cpu > 0)
    return df.assign(
        fault_ns=wall.where(~alone, cpu),
        wait_ns=df["mmap_lock_read_wait_ns"].astype(float) / faults,
    )


class Differences:
    """Per-block differences between two paths of one case."""

    def __init__(self, df: pd.DataFrame) -> None:
        self.keys = key_columns(df, without=("path",))
        self._found: dict[tuple[str, str, Case], Array] = {}
        self.cases: dict[str, list[tuple[Case, dict[str, object]]]] = {}
        for path, rows in df.groupby("path"):
            for what in ("fault_ns", "wait_ns"):
                got = cases(rows, self.keys, what)
                named = [dict(zip(self.keys, k, strict=True)) for k in _tuples(got.keys)]
                for values, row in zip(named, got.values, strict=True):
                    case = tuple(str(v) for v in values.values())
                    self._found[str(path), what, case] = row
                    if what == "fault_ns":
                        self.cases.setdefault(str(path), []).append((case, values))

    def of(self, one: str, two: str, case: Case, what: str = "fault_ns") -> Array | None:
        """Return ``one − two``, shape ``(blocks,)``; None if either path was not measured."""
        a, b = (self._found.get((path, what, case)) for path in (one, two))
        if a is None or b is None:
            return None
        width = min(len(a), len(b))
        return np.asarray(a[:width] - b[:width])

    def altered(self, case: Case, **changes: str) -> Case:
        """Return the case with some of its keys changed."""
        return tuple(changes.get(k, v) for k, v in zip(self.keys, case, strict=True))


def on_threads(
    df: pd.DataFrame, a: str = "retry", b: str = "direct", most: int = 12
) -> list[Ledger]:
    """Return ledgers of measured cases from ablation and counters; ``df`` holds checked trials.

    Those of the ``most`` cases that differ most.

    The detour alone is the difference of the same fault with one worker and no writer; where
    ``abort`` and ``mmap-lock`` were measured too, it is told apart further. Waiting is the counter
    of the slow path.
    """
    real = ~df["machine"].map(is_virtual).astype(bool)
    df = df[real & ~has_flag(df["flags"], "oversubscribed")]
    if df.empty or df["mmap_lock_read_wait_ns"].isna().all():
        return []
    found = Differences(fault_ns(df))
    totals = []
    for case, values in found.cases.get(a, ()):
        total = found.of(a, b, case)
        if total is not None and np.isfinite(total).sum() >= 2:
            totals.append((abs(float(np.nanmedian(total))), case, values, total))
    totals.sort(key=lambda entry: -entry[0])
    ledgers = []
    for _, case, values, total in totals[:most]:
        parts = [*_detour(found, case, a, b), *_waiting(found, case, a, b)]
        clock = "CPU time" if str(values["writers"]) == "0" else "wall time"
        made = _part("measured difference", total, f"{clock}, paired blocks")
        ledgers.append(Ledger(values, a, b, made, parts, exact=False))
    return ledgers


def _detour(found: Differences, case: Case, a: str, b: str) -> list[Part]:
    alone = found.altered(case, threads="1", writers="0", writer_op="-")
    whole = found.of(a, b, alone)
    for column in ("vmas", "files", "mms"):  # with one worker private and shared are the same
        if whole is None:
            alone = found.altered(alone, **{column: "-"})
            whole = found.of(a, b, alone)
    if whole is None:
        return []
    source = "ablation: one worker, no writer"
    names = {
        (a, "abort"): "VMA-lock pair in vain and first walk",
        ("abort", "mmap-lock"): "VMA look-up in vain",
        ("mmap-lock", b): "mmap_lock pair for the VMA lock's",
    }
    parts = []
    for (one, two), name in names.items():
        difference = found.of(one, two, alone)
        if difference is not None and (a, b) == ("retry", "direct"):
            parts.append(_part(name, difference, f"{source}; {one} − {two}"))
    if len(parts) == len(names):
        return parts
    return [_part("detour alone: look-up, walk, lock pairs", whole, source)]


def _waiting(found: Differences, case: Case, a: str, b: str) -> list[Part]:
    waits = found.of(a, b, case, "wait_ns")
    if waits is None or not np.isfinite(waits).any():
        return []
    if dict(zip(found.keys, case, strict=True))["writers"] == "0":
        return [_part("waiting behind readers", waits, "counter mmap_lock_read_wait_ns")]
    quiet = found.of(a, b, found.altered(case, writers="0", writer_op="-"), "wait_ns")
    parts = []
    if quiet is not None and np.isfinite(quiet).any():
        parts.append(_part("waiting behind readers", quiet, "the counter without writers"))
        waits = waits - float(np.nanmedian(quiet))
    name = "waiting behind writers, parking included"
    return [*parts, _part(name, waits, "counter mmap_lock_read_wait_ns")]


def _tuples(keys: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(keys.itertuples(index=False, name=None))


def _part(name: str, values: Array, source: str) -> Part:
    m = stats.medians(values[None, :])
    return Part(name, float(m.median[0]), float(m.low[0]), float(m.high[0]), source)
