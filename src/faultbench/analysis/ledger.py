"""The cost ledger: what one fault costs more on ``retry`` than on ``direct``, taken apart.

    measured difference  =  sum of the parts  +  residual        ns of worker time per fault

In virtual time every nanosecond of a CPU belongs to one step of the path and is busy, stalled for
a line, spinning or asleep, so the parts are exact sums (``steps.py``). On threads nobody can look
inside a fault; there the parts come from ablation (the same fault where one cause is absent), from
what the cost profile asked for, and from counters, each with its interval. The residual is what
none of them sees: lines of the locks travelling between CPUs, and waiting that moved to the next
lock. What each path meets beside others, of which it is the difference, stands under it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from faultbench import costs
from faultbench.analysis import stats
from faultbench.analysis.frame import (
    SHARING,
    WALL,
    cases,
    has_flag,
    is_virtual,
    key_columns,
    narrowed,
    telling,
)
from faultbench.analysis.parts import Ledger, Part, as_one_kernel
from faultbench.analysis.stats import Array

__all__ = ["Ledger", "Part", "on_threads"]

Case = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A part by block: its median and interval come for all parts at once."""

    name: str
    values: Array
    source: str
    asked: bool = False  # of the cost profile: no interval


NEEDED = (
    "repeat", "flags", "faults", WALL, "cpu_ns", "mmap_lock_read_wait_ns", "parks", "cost_digest",
)  # fmt: skip
ALONE = "ablation: one worker, no writer"
QUIET = {"writers": "0", "writer_op": "-", "writer_rate": "0"}
PROFILE = "busy time that the cost profile asks for, twice on retry and once on direct"
LOOKUP, WALK = "second VMA look-up", "second walk"
# The steps of a walk that ends in a huge fault, by order and whether the entry is there already.
HUGE = {
    ("pmd", False): "create_huge_pmd", ("pmd", True): "wp_huge_pmd",
    ("pud", False): "create_huge_pud", ("pud", True): "wp_huge_pud",
}  # fmt: skip


def fault_ns(df: pd.DataFrame) -> pd.DataFrame:
    """Return ``df`` with worker time per fault and, of it, time in mmap_lock's queue (ns).

    Without writers nobody sleeps for long, and CPU time is the worker's time without what other
    programs took; beside writers workers park, which only the wall clock sees. Of the queue's time
    ``asleep_ns`` is at most what the wall clock has beyond CPU time, in trials that parked.
    """
    faults = df["faults"].astype(float).where(lambda n: n > 0)
    wall = df["threads"].astype(float) * 1e9 / df[WALL].astype(float).where(lambda r: r > 0)
    cpu = df["cpu_ns"].astype(float) / faults
    alone = (df["writers"].astype(int) == 0) & (cpu > 0)
    wait = df["mmap_lock_read_wait_ns"].astype(float) / faults
    off = (wall - cpu).clip(lower=0).where(df["parks"].astype(float) > 0, 0.0).fillna(0.0)
    asleep = np.minimum(off, wait)
    return df.assign(
        fault_ns=wall.where(~alone, cpu), spin_ns=wait - asleep, asleep_ns=asleep,
        # what of the queue is on the clock of fault_ns
        wait_ns=wait.where(~alone, wait - asleep),
    )  # fmt: skip


class Differences:
    """Per-block values of each path of one case, and their differences."""

    def __init__(self, df: pd.DataFrame) -> None:
        self.keys = key_columns(df, without=("path",))
        self._found: dict[tuple[str, str, Case], Array] = {}
        self.cases: dict[str, list[tuple[Case, dict[str, object]]]] = {}
        for path, rows in df.groupby("path"):
            # Sorted into cases once: which row of the table is where.
            got = cases(rows.assign(at=np.arange(len(rows))), self.keys, "at")
            measured = np.isfinite(got.values)
            at = np.where(measured, got.values, 0).astype(int)
            named = [
                (tuple(map(str, k)), dict(zip(self.keys, k, strict=True)))
                for k in _tuples(got.keys)
            ]
            self.cases[str(path)] = named
            for what in ("fault_ns", "wait_ns", "spin_ns", "asleep_ns"):
                values = np.where(measured, rows[what].to_numpy(dtype=float)[at], np.nan)
                for (case, _), row in zip(named, values, strict=True):
                    self._found[str(path), what, case] = row

    def one(self, path: str, case: Case, what: str = "fault_ns") -> Array | None:
        """Return the values of one path, shape ``(blocks,)``; None if it was not measured."""
        return self._found.get((path, what, case))

    def of(self, one: str, two: str, case: Case, what: str = "fault_ns") -> Array | None:
        """Return ``one − two``, shape ``(blocks,)``; None if either path was not measured."""
        return _less(self.one(one, case, what), self.one(two, case, what))

    def altered(self, case: Case, **changes: str) -> Case:
        """Return the case with some of its keys changed."""
        return tuple(changes.get(k, v) for k, v in zip(self.keys, case, strict=True))

    def alone(self, case: Case, path: str) -> Case:
        """Return the case of one worker and no writer, where sharing means nothing."""
        quiet = self.altered(case, threads="1", **QUIET)
        for column in SHARING:
            if self.one(path, quiet) is None:
                quiet = self.altered(quiet, **{column: "-"})
        return quiet


def on_threads(
    df: pd.DataFrame, a: str = "retry", b: str = "direct", most: int = 12
) -> list[Ledger]:
    """Return ledgers of measured cases from ablation and counters; ``df`` holds checked trials.

    Those of the ``most`` cases that differ most.

    The detour alone is the difference of the same fault with one worker and no writer. The cost
    profile says how much of it was asked for as look-up and walk; where ``abort`` and ``mmap-lock``
    were measured too, look-up and lock pairs are measured. Waiting is the counter of the slow path,
    parking what of it took no CPU time.
    """
    real = ~df["machine"].map(is_virtual).astype(bool)
    df = narrowed(df, *NEEDED)[real & ~has_flag(df["flags"], "oversubscribed")]
    if df.empty or df["mmap_lock_read_wait_ns"].isna().all():
        return []
    df = as_one_kernel(df, a, b)
    found = Differences(fault_ns(df))
    profiles = df.groupby("cost")["cost_digest"] if "cost_digest" in df else ()
    digests = {str(cost): set(group.dropna()) for cost, group in profiles}
    totals = []
    for case, values in found.cases.get(a, ()):
        total = found.of(a, b, case)
        if total is not None and np.isfinite(total).sum() >= 2:
            totals.append((abs(float(np.nanmedian(total))), case, values, total))
    told = tuple(telling(pd.DataFrame([values for _, _, values, _ in totals])))
    totals.sort(key=lambda entry: -entry[0])
    drafts = []
    for _, case, values, total in totals[:most]:
        busy = _asked(values, digests) if (a, b) == ("retry", "direct") else {}
        clock = "CPU time" if str(values["writers"]) == "0" else "wall time"
        whole = Found("measured difference", total, f"{clock}, paired blocks")
        parts = [*_detour(found, case, a, b, busy), *_waiting(found, case, a, b)]
        drafts.append((values, whole, parts, _beside(found, case, a, b)))
    made = iter(_parts([f for _, whole, parts, beside in drafts for f in (whole, *parts, *beside)]))
    return [
        Ledger(
            values, a, b, next(made), [next(made) for _ in parts], exact=False,
            residual_interval=closing(whole.values, [part.values for part in parts]),
            within=[next(made) for _ in beside], told=told,
        )
        for values, whole, parts, beside in drafts
    ]  # fmt: skip


def _parts(found: Sequence[Found]) -> list[Part]:
    """Return them with median and interval; one bootstrap draws the same for all."""
    if not found:
        return []
    matrix = np.full((len(found), max(len(f.values) for f in found)), np.nan)
    for row, one in zip(matrix, found, strict=True):
        row[: len(one.values)] = one.values
    m = stats.medians(matrix)
    return [
        Part(f.name, float(f.values[0]), source=f.source)
        if f.asked
        else Part(f.name, float(m.median[i]), float(m.low[i]), float(m.high[i]), f.source)
        for i, f in enumerate(found)
    ]


def closing(total: Array, parts: list[Array]) -> tuple[float, float]:
    """Return the interval of what the medians of the parts leave of the total's median.

    By the same bootstrap as every interval, blocks drawn for all of them together: what a block
    did to the parts it did to the total.
    """
    rows = [total, *parts]
    width = min(len(row) for row in rows)
    matrix = np.stack([row[:width] for row in rows])
    matrix = matrix[:, np.isfinite(matrix).all(axis=0)]
    n = matrix.shape[1]
    if n < 2:
        return (np.nan, np.nan)

    def left(*sample: Array, axis: int = -1) -> Array:
        medians = [np.median(row, axis=axis) for row in sample]
        return np.asarray(medians[0] - sum(medians[1:]))

    limits = scipy.stats.bootstrap(
        tuple(matrix), left, paired=True, vectorized=True, n_resamples=stats.RESAMPLES,
        confidence_level=stats.expanded_level(n), method="percentile",
        rng=np.random.default_rng(stats.SEED),
    ).confidence_interval  # fmt: skip
    return float(limits.low), float(limits.high)


def _asked(case: dict[str, object], digests: dict[str, set[str]]) -> dict[str, float]:
    """Return busy ns of a look-up and of a walk by the trials' cost profile; empty if unknown."""
    step = HUGE.get((str(case.get("order")), case.get("access") == "wp"))
    profile = costs.load("default")
    if step is None or digests.get(str(case.get("cost"))) != {profile.digest}:
        return {}  # no busy time, a profile of the user's own, or one of another version
    walk = profile.steps["handle_mm_fault"] + profile.steps[step]
    return {LOOKUP: float(profile.steps["find_vma"]), WALK: float(walk)}


def _detour(found: Differences, case: Case, a: str, b: str, busy: dict[str, float]) -> list[Found]:
    alone = found.alone(case, a)
    whole = found.of(a, b, alone)
    if whole is None:
        return []
    asked = [Found(n, np.full_like(whole, ns), PROFILE, asked=True) for n, ns in busy.items()]
    pair = found.of("mmap-lock", b, alone)
    lookup = found.of("abort", "mmap-lock", alone)
    first = found.of(a, "abort", alone)
    if (a, b) != ("retry", "direct") or pair is None or lookup is None or first is None:
        return _of_two_paths(whole, asked)
    made = [Found(LOOKUP, lookup, f"{ALONE}; abort − mmap-lock")]
    if asked:
        source = f"{ALONE}; retry − abort less the walk, with the lines that the walk reads"
        made += [asked[-1], Found("VMA-lock pair in vain", first - busy[WALK], source)]
    else:
        name = "second walk and VMA-lock pair in vain"
        made.append(Found(name, first, f"{ALONE}; retry − abort, which has both"))
    source = f"{ALONE}; mmap-lock − direct"
    return [*made, Found("mmap_lock pair for the VMA lock's", pair, source)]


def _of_two_paths(whole: Array, asked: list[Found]) -> list[Found]:
    if not asked:
        source = f"{ALONE}; look-up, walk and lock pairs are not told apart by two paths"
        return [Found("detour alone: look-up, walk, lock pairs", whole, source)]
    source = (
        f"{ALONE}; retry − direct less look-up and walk, with the lines that these read; the "
        "VMA-lock pair in vain is in both paths and cancels (sweep --path "
        "mmap-lock,abort,retry,direct measures it)"
    )
    return [*asked, Found("mmap_lock pair", whole - sum(f.values for f in asked), source)]


def _waiting(found: Differences, case: Case, a: str, b: str) -> list[Found]:
    waits = found.of(a, b, case, "spin_ns")
    if waits is None or not np.isfinite(waits).any():
        return []
    counter = "counter mmap_lock_read_wait_ns less parking"
    if dict(zip(found.keys, case, strict=True))["writers"] == "0":
        return [Found("waiting behind readers", waits, counter)]
    quiet = found.of(a, b, found.altered(case, **QUIET), "spin_ns")
    parts = []
    if quiet is not None and np.isfinite(quiet).any():
        parts.append(Found("waiting behind readers", quiet, f"{counter}, without writers"))
        waits = waits - float(np.nanmedian(quiet))
    parts.append(Found("waiting behind writers", waits, counter))
    asleep = found.of(a, b, case, "asleep_ns")
    source = "wall less CPU time of trials that parked, at most the counter of the queue"
    return parts if asleep is None else [*parts, Found("parking", asleep, source)]


def _beside(found: Differences, case: Case, a: str, b: str) -> list[Found]:
    """Return what each path meets beside others and nobody counts: the residual is A less B."""
    made = []
    for path, sign, what in ((a, 1.0, "lines and locks"), (b, -1.0, "moved to the next locks")):
        alone = found.alone(case, path)
        met = _less(_less(found.one(path, case), found.one(path, alone)),
                    found.one(path, case, "wait_ns"))  # fmt: skip
        if alone != case and met is not None and np.isfinite(met).any():
            source = f"{path} here less {path} alone, less the counted waiting; no part of the sum"
            made.append(Found(f"of it met on {path}: {what}", sign * met, source))
    return made if len(made) == 2 else []


def _less(one: Array | None, two: Array | None) -> Array | None:
    if one is None or two is None:
        return None
    width = min(len(one), len(two))
    return np.asarray(one[:width] - two[:width])


def _tuples(keys: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(keys.itertuples(index=False, name=None))
