"""The answer in two sentences, what an upgrade sees, and what the results do not tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from faultbench.analysis import compare, stats
from faultbench.analysis.formats import percent, times
from faultbench.analysis.frame import (
    NEVER_RELEASED,
    WALL,
    describe,
    has_flag,
    is_emulated,
    is_virtual,
    transient_in,
    unconfirmed_in,
)
from faultbench.errors import DataError
from faultbench.report.evidence import Badge, kind

ON = {"threads": "On this machine ", "kernel": "In a real kernel "}


def answers(
    df: pd.DataFrame,
    timed: Sequence[str],
    comparisons: Sequence[tuple[str, compare.Comparison, compare.Comparison | None]],
) -> list[tuple[Badge, list[str]]]:
    """Return two sentences of each machine: what was compared first, and measured before that.

    ``timed`` are the machines whose times count; what was counted in an emulator comes last.
    """
    compared = {str(m) for _, wall, _ in comparisons for m in wall.table["machine"]}
    emulated = is_emulated(df)
    several = len(timed) + int(emulated.any()) > 1
    found = []
    for machine in sorted(timed, key=lambda m: (m not in compared, is_virtual(m))):
        mark = Badge(kind(machine), kind(machine).upper())
        theirs = has_flag(df.loc[df["machine"] == machine, "flags"], "imported").all()
        verb = "In imported results " if theirs else ON.get(machine, "")
        if is_virtual(machine):
            verb = f"In simulation ({machine}) " if several else "In simulation "
        found.append((mark, answer(machine, comparisons, verb, several=several)))
    if emulated.any():
        found.append((Badge("counted", "COUNTED"), counted(df[emulated])))
    return found


def answer(
    machine: str,
    comparisons: Sequence[tuple[str, compare.Comparison, compare.Comparison | None]],
    verb: str,
    *,
    several: bool = False,
) -> list[str]:
    """Return the answer in two sentences: the median case with its interval, then all of them."""
    where = f"On {machine}: " if several else ""
    for _, comparison, by_cpu in comparisons:
        table = comparison.table[comparison.table["machine"] == machine]
        sides = table[["a", "b"]].drop_duplicates()
        if sides.empty:
            continue
        direct = sides[sides["b"] == "direct"]
        a, b = (direct if len(direct) else sides).iloc[-1]
        table = table[(table["a"] == a) & (table["b"] == b)].reset_index(drop=True)
        testable = table[table["verdict"] != stats.UNTESTABLE].sort_values("ratio")
        if testable.empty:
            return [
                f"{where}Whether {b} differs from {a} cannot be said: no case has "
                f"{stats.MIN_REPEATS} repeats on both sides with as many CPUs as threads.",
                f"The ratio {b}/{a} was {times(float(table['ratio'].min()))} to "
                f"{times(float(table['ratio'].max()))} over {len(table)} case(s), untested.",
            ]
        middle = testable.iloc[(len(testable) - 1) // 2]
        name = describe(table[comparison.keys], int(middle.name))
        word = (
            f"{b} completed {middle['ratio']:.2f} times the faults of {a} in the same time"
            if middle["verdict"] != stats.NOISE
            else f"{b} cannot be told from {a}, the ratio being {middle['ratio']:.2f},"
        )
        first = (
            f"{verb}{word} in the median case ({name}; 95 % interval "
            f"{1 + middle['ci_low_pct'] / 100:.2f} to {1 + middle['ci_high_pct'] / 100:.2f}, "
            f"noise floor {percent(middle['noise_floor_pct'])}"
            f"{_by_cpu(by_cpu, middle, comparison.keys)})."
        )
        counts = table["verdict"].value_counts()
        told = ", ".join(
            f"{counts[v]} {v}"
            for v in (stats.FASTER, stats.SLOWER, stats.NOISE, stats.UNTESTABLE)
            if v in counts
        )
        low, high = testable.iloc[0], testable.iloc[-1]
        second = (
            f"Of {len(table)} cases {told}; the ratio runs from {low['ratio']:.2f} to "
            f"{high['ratio']:.2f} where it can be tested."
        )
        return [first, second]
    return [
        f"{where}One side only was measured, so there is no difference to speak of.",
        "Sweep two paths or two kernels for a comparison: faultbench sweep --path retry,direct.",
    ]


def counted(df: pd.DataFrame) -> list[str]:
    """Return what trials inside an emulator say: counts per fault, and no times."""
    reads = df["mmap_lock_reads"].astype(float) / df["faults"].astype(float)
    told = []
    ways = df["path"].astype(str).replace("retry", "retry (never released)")
    sent_back = ways + " and a driver that sends faults back itself"
    ways = ways.where(df["handler"] != "driver-retry", sent_back)
    for name, rows in reads[np.isfinite(reads)].groupby(ways):
        usual = rows.round(2).mode().iloc[0]
        same = int((rows.round(2) == usual).sum())
        text = f"with {name} {usual:.2f} times per fault in {same} of {len(rows)} trials"
        if same < len(rows):
            others = rows[rows.round(2) != usual]
            text += f" ({others.min():.2f} to {others.max():.2f} in the others)"
        told.append(text)
    first = f"Counted in a real kernel, mmap_lock was taken for reading {'; '.join(told)}."
    return [
        first if told else "Counted in a real kernel; mmap_lock reads were not among the counts.",
        "The kernel ran in an emulator: its times say nothing about a CPU and are not compared.",
    ]


def _by_cpu(other: compare.Comparison | None, case: "pd.Series[Any]", keys: Sequence[str]) -> str:
    """Return the same case's ratio by CPU time, the stable rate of a busy machine."""
    if other is None or is_virtual(case["machine"]):
        return ""
    table = other.table
    for key in (*keys, "a", "b"):
        table = table[table[key].astype(str) == str(case[key])]
    if table.empty or not np.isfinite(table["ci_low_pct"].iloc[0]):
        return ""
    row = table.iloc[0]
    return (
        f"; by CPU time {row['ratio']:.2f}, {1 + row['ci_low_pct'] / 100:.2f} to "
        f"{1 + row['ci_high_pct'] / 100:.2f}, floor {percent(row['noise_floor_pct'])}"
    )


def released(
    df: pd.DataFrame,
    comparisons: Sequence[tuple[str, compare.Comparison, compare.Comparison | None]],
) -> list[str]:
    """Return what was never released, and what somebody who upgrades sees."""
    lines = []
    paths = {str(p) for p in df["path"]}
    if "retry" in paths:
        lines.append(
            f"{NEVER_RELEASED}: it lived in the development tree only, so nobody gains the whole "
            "difference to direct by upgrading."
        )
    if said := unconfirmed_in(df):
        lines.append(f"{said}: modelled from its source alone.")
    # By name: a ladder of kernels is compared with its first, which need not be 6.5.
    kernels = {str(k) for k in df["kernel"]}
    before = next((k for k in ("v6.5", "v6.4") if k in kernels), None)
    if before is not None and "v6.6" in kernels and any(by == "kernel" for by, _, _ in comparisons):
        what = f"An upgrade from {before} to v6.6 (abort to direct)"
        return lines + _upgrade(df, what, "kernel", (before, "v6.6"))
    if {"abort", "direct"} <= paths and df["kernel"].nunique() == 1:
        what = "What an upgrade to 6.6 changes of 6.5's path (abort to direct, with 6.6's locks)"
        return lines + _upgrade(df, what, "path", ("abort", "direct"))
    lines.append(
        "6.4 and 6.5 sent file faults to mmap_lock before touching the VMA lock. What an upgrade "
        "from 6.5 to 6.6 brings is not in these results; measure it with faultbench sweep "
        "--kernel v6.5,v6.6."
    )
    return lines


def _upgrade(df: pd.DataFrame, what: str, by: str, sides: tuple[str, str]) -> list[str]:
    """Return what an upgrade brings on each machine: the median case, and how many are real."""
    try:
        pairs = compare.by_column(df, by, WALL, sides)
    except DataError:  # trials that failed, a sweep that was stopped: all else can still be said
        return [f"{what} is not told by these results: no case was measured on both sides."]
    lines = []
    several = pairs.table["machine"].nunique() > 1
    for machine, table in pairs.table.groupby("machine", sort=False):
        how = "simulated" if is_virtual(machine) else "measured"
        begin = f"{what} is {how} here{f' on {machine}' if several else ''}: ratio "
        tested = table[table["verdict"] != stats.UNTESTABLE].sort_values("ratio")
        if tested.empty:
            ends = " to ".join(f"{end:.2f}" for end in (table["ratio"].min(), table["ratio"].max()))
            lines.append(
                f"{begin}{ends} over {len(table)} case(s) that cannot be tested: too few repeats "
                "or CPUs."
            )
            continue
        middle = tested.iloc[(len(tested) - 1) // 2]
        counts = tested["verdict"].value_counts()
        words = (stats.FASTER, stats.SLOWER, stats.NOISE)
        told = ", ".join(f"{counts[word]} {word}" for word in words if word in counts)
        real = (tested["verdict"] != stats.NOISE).any()
        lines.append(
            f"{begin}{middle['ratio']:.2f} in the median case (95 % interval "
            f"{1 + middle['ci_low_pct'] / 100:.2f} to {1 + middle['ci_high_pct'] / 100:.2f}, noise "
            f"floor {percent(middle['noise_floor_pct'])}); of {len(tested)} case(s) that can be "
            f"tested {told}{'' if real else ': no difference shows above the noise'}."
        )
    return lines


def tells_not(df: pd.DataFrame, machines: Sequence[str]) -> list[str]:
    """Return what a reader must not take from these results."""
    lines = []
    if any(is_virtual(m) for m in machines):
        lines.append(
            "A simulation must not claim absolute faults/s, a sign below about 10 %, SMT, "
            "bandwidth, page placement, frequency, or more threads than CPUs."
        )
    if "threads" in machines:
        lines.append(
            "The threads machine runs a model of the fault path: real locks and real cache lines, "
            "but exception entry, TLB and file-system work are busy time from a cost profile, so "
            "ratios are upper bounds for slower handlers."
        )
        if (df["cost"] == "none").any():
            lines.append("Cost none leaves all work outside the locks away: ratios are extreme.")
    if has_flag(df["flags"], "oversubscribed").any():
        lines.append("Points with more threads than CPUs show the scheduler; they get no verdict.")
    if said := transient_in(df):
        lines.append(f"{said}; a longer --duration shows that.")
    lines.append(
        "Address space mapped is not memory bandwidth: no byte of the mapped memory is read or "
        "written but the one that faults."
    )
    lines.append(
        "Nothing here says how often an application faults; a program that maps once and stays "
        "mapped gains nothing."
    )
    return lines
