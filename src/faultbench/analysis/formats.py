"""A comparison as text: a table, Markdown for a cover letter, JSON, and mmtests' report."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from faultbench.analysis import stats
from faultbench.analysis.compare import JSON_KEYS, Comparison
from faultbench.analysis.frame import CPU, NEVER_RELEASED, TRANSIENT, WALL, is_virtual, names_of
from faultbench.rules import unconfirmed

MOST_PCT = 1000
NOTHING = "–"
UNITS = {WALL: "faults/sec", CPU: "faults/cpu"}


def to_json(comparison: Comparison) -> str:
    """Return ``{"cases": […]}``: per case key, A, B and ``JSON_KEYS``; ``null`` = undefined."""
    cases = []
    for row in comparison.table.to_dict("records"):
        case = {str(k): plain(row[k]) for k in comparison.keys}
        marks = {mark: bool(row[mark]) for mark in ("oversubscribed", "transient")}
        more = {"a": row["a"], "b": row["b"], **marks}
        values = {k: plain(row[k]) for k in ("ratio", *JSON_KEYS)}
        cases.append({"case": case, **more, **values})
    whole = {
        "metric": comparison.metric,
        "paired": comparison.paired,
        "files": list(comparison.files or ()) or None,
        "notes": comparison.notes,
        "footnotes": footnotes(comparison),
        "cases": cases,
    }
    return json.dumps(whole, indent=1, allow_nan=False)


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: no NumPy scalars, ``None`` for NaN, infinity and NA."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


CPU_TIME = "CPU-time B/A"
HEADINGS = ("case", "A", "B", "n", "B/A", "95 % interval", CPU_TIME, "noise floor", "verdict")


def columns(
    wall: Comparison, cpu: Comparison | None = None
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return headings and ``rows``, without the ratio by CPU time where no case has one."""
    cells, at = rows(wall, cpu), HEADINGS.index(CPU_TIME)
    if any(row[at] != NOTHING for row in cells):
        return HEADINGS, cells
    return HEADINGS[:at] + HEADINGS[at + 1 :], [row[:at] + row[at + 1 :] for row in cells]


def rows(wall: Comparison, cpu: Comparison | None = None) -> list[tuple[str, ...]]:
    """Return the cells of the table, one tuple of ``HEADINGS`` per case.

    ``cpu`` is the same comparison by CPU-time rate, shown beside: on a busy machine it is the
    stable one.
    """
    other = _cpu_ratios(wall, cpu)
    names = names_of(wall.table[wall.keys])
    several = len(wall.table[["a", "b"]].drop_duplicates()) > 1
    found: list[tuple[str, ...]] = []
    for i, row in enumerate(wall.table.to_dict("records")):
        name = names[i]
        if several:
            name = f"{row['b']} over {row['a']}: {name}"
        found.append(
            (
                name + (" °" if row["oversubscribed"] else "") + (" †" if row["transient"] else ""),
                rate(row["median_a"]),
                rate(row["median_b"]),
                str(min(row["n_a"], row["n_b"])),
                times(row["ratio"]),
                interval(row["ci_low_pct"], row["ci_high_pct"]),
                other[i],
                percent(row["noise_floor_pct"]),
                str(row["verdict"]),
            )
        )
    return found


def _cpu_ratios(wall: Comparison, cpu: Comparison | None) -> list[str]:
    if cpu is None or wall.metric == CPU:
        return [NOTHING] * len(wall.table)
    index = [*wall.keys, "a", "b"]
    found = {
        tuple(str(row[k]) for k in index): times(row["ratio"])
        + " "
        + interval(row["ci_low_pct"], row["ci_high_pct"])
        for row in cpu.table.to_dict("records")
    }
    return [
        # A simulated CPU does nothing else: its CPU time is its time.
        NOTHING
        if is_virtual(row["machine"])
        else found.get(tuple(str(row[k]) for k in index), NOTHING)
        for row in wall.table.to_dict("records")
    ]


def to_markdown(comparison: Comparison, cpu: Comparison | None = None) -> str:
    """Return a table for a cover letter, with what must be said beneath it."""
    headings, found = columns(comparison, cpu)
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for cells in found:
        real = cells[-1] in (stats.FASTER, stats.SLOWER)
        shown = (*cells[:-1], f"**{cells[-1]}**" if real else cells[-1])
        lines.append("| " + " | ".join(markdown_cell(c) for c in shown) + " |")
    return "\n".join([*lines, "", *(f"- {_line(note)}" for note in footnotes(comparison))])


def markdown_cell(text: str) -> str:
    """Return text that neither ends its cell nor becomes a tag."""
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    """Return text on one line without tags, for Markdown."""
    return " ".join(text.split()).replace("<", "&lt;")


def footnotes(comparison: Comparison) -> list[str]:
    """Return what a reader of the table must know."""
    table = comparison.table
    lines = [
        f"{sides_of(comparison)}; medians of {comparison.metric}; "
        + ("ratios from paired interleaved blocks." if comparison.paired else "unpaired files.")
    ]
    if "retry" in comparison.paths:
        lines.append(NEVER_RELEASED + ".")
    modelled = table[table["machine"] != "kernel"]
    kernels = [column for column in ("a", "b", "kernel") if column in table.columns]
    if said := unconfirmed(str(name) for column in kernels for name in modelled[column]):
        lines.append(said + ".")
    few = table[["n_a", "n_b"]].min(axis=1)
    if ((few >= 2) & (few < stats.RANGE_COVERS)).any():
        lines.append(
            "intervals of two, three or four repeats are ranges and cover less, not 95 % (those of "
            "pairs 50, 75 or 88 %)."
        )
    if table["oversubscribed"].any():
        lines.append("° more threads than CPUs: no verdict.")
    if table["transient"].any():
        lines.append(f"† {TRANSIENT}.")
    if table["machine"].map(is_virtual).any():
        lines.append("virtual: simulated; signs below 10 % mean nothing, nor do absolute rates.")
    return [*lines, *(n + "." for n in comparison.notes)]


def sides_of(comparison: Comparison) -> str:
    """Return what A and B are: paths, kernels, or files by the names they were given by."""
    pairs = [comparison.files] if comparison.files else None
    pairs = pairs or list(comparison.table[["a", "b"]].drop_duplicates().itertuples(index=False))
    told = "; ".join(f"A = {a}, B = {b}" for a, b in pairs)
    return " ".join(told.split())  # a file's name may hold a newline


def rate(value: float) -> str:
    """Return a rate with three digits and a prefix: ``1.23 M/s``."""
    if not math.isfinite(value):
        return NOTHING
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}/s"
    return f"{value:.3g}/s"


def times(value: float) -> str:
    """Return a ratio: ``1.41×``."""
    return f"{value:.3f}×" if math.isfinite(value) else NOTHING


def interval(low_pct: float, high_pct: float) -> str:
    """Return an interval given in per cent as ratios: ``[1.36, 1.46]``."""
    if not (math.isfinite(low_pct) and math.isfinite(high_pct)):
        return NOTHING
    return f"[{1 + low_pct / 100:.3f}, {1 + high_pct / 100:.3f}]"


def percent(value: float) -> str:
    """Return per cent without a sign: ``2.1 %``; of more than tenfold only that it is."""
    if value > MOST_PCT:
        return f"> {MOST_PCT} %"
    return f"{value:.1f} %" if math.isfinite(value) else NOTHING


def to_mmtests(comparisons: Sequence[Comparison]) -> str:
    """Return the report of mmtests: a block a case, an operation a line, ``*…*`` where significant.

    A positive percentage is better, for Stddev and CoeffVar too. Lines that begin with ``#`` say
    what must be said, and the case of each block.
    """
    first = comparisons[0].table
    keys = [c for c in comparisons[0].keys if c != "threads"]
    said = [f"{sides_of(comparisons[-1])}; harmonic means.", *footnotes(comparisons[-1])[1:]]
    blocks = ["\n".join(f"# {line}" for line in said)]
    groups = first.groupby([*keys, "a", "b"], sort=False, dropna=False)
    told = {"machine", *(c for c in (*keys, "a", "b") if first[c].nunique() > 1)}
    for values, _ in groups:
        where = dict(zip([*keys, "a", "b"], values, strict=True))
        lines = _block([_where(c.table, where) for c in comparisons], comparisons, where)
        lines.insert(0, "# " + " ".join(f"{k}={v}" for k, v in where.items() if k in told))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _where(table: pd.DataFrame, where: dict[str, object]) -> pd.DataFrame:
    keep = pd.Series(data=True, index=table.index)
    for column, value in where.items():
        keep &= table[column].astype(str) == str(value)
    return table[keep]


def _block(
    parts: Sequence[pd.DataFrame], comparisons: Sequence[Comparison], where: dict[str, object]
) -> list[str]:
    a, b = str(where["a"]), str(where["b"])
    lines = [f"{'':<25}{a:>24}{b:>24}"]
    for summary in ("Hmean", "Stddev", "CoeffVar"):
        for comparison, part in zip(comparisons, parts, strict=True):
            for row in part.to_dict("records"):
                sides = [row[f"{summary.lower()}_{side}"] for side in "ab"]
                if all(math.isfinite(value) for value in sides):  # one trial has no scatter
                    unit = UNITS.get(comparison.metric, comparison.metric)
                    name = f"{summary:<10}{unit}-{row['threads']}"
                    lines.append(_operation(name, summary, row))
    return lines


def _operation(name: str, summary: str, row: Mapping[Any, Any]) -> str:
    real = summary == "Hmean" and row["verdict"] in (stats.FASTER, stats.SLOWER)
    old, new = (row[f"{summary.lower()}_{side}"] for side in "ab")
    better = new - old if summary == "Hmean" else old - new
    change = f"{100 * better / old:7.2f}%" if old else f"{'-':>8}"  # of nothing: no percentage
    left, right = ("*", "*") if real else ("(", ")")
    cells = f"{old:>13.4f} ({0:7.2f}%){new:>13.4f} {left}{change}{right}"
    return f"{name:<25}{cells}"
