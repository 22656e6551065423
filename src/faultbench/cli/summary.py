"""The table at the end of a sweep: what a fault costs, why, and what the patch changed.

One row per way of a fault, grouped by point. First the stable figures (CPU time per fault,
mmap_lock reads, sleeps), then the ratio with its interval; it is coloured and starred only when the
analysis calls it real. Points with more tasks than CPUs are marked and get no verdict.
"""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from faultbench import rules, table
from faultbench.cli.ratios import METRICS, Ratios
from faultbench.machines.virtual import HANDOFFS_NS, TRANSIENT, WRITER_OPS
from faultbench.model import Handler, Status, Trial

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

    from faultbench.costs import CostProfile

# Axes a point may vary in, with the heading of their column. Handlers head sections instead.
AXES = {
    "threads": "workers",
    "writers": "writers",
    "vmas": "vmas",
    "files": "files",
    "mms": "mms",
    "order": "order",
    "access": "access",
    "map": "map",
    "fallback": "fallback",
    "overlap": "overlap",
    "writer_op": "writer-op",
    "writer_rate": "rate",
}
UNLESS = {"sync": False, "fallback": 0.0, "overlap": False, "writer_op": "beside", "writer_rate": 0}
WAYS = ("kernel", "path", "set")
WIDE = 110
MARK = "†"  # a row with transient trials


@dataclass
class Column:
    """A column of the table: two lines of heading, cells, justified."""

    head: tuple[str, str]
    cells: list[str] = field(default_factory=list)
    right: bool = True

    @property
    def width(self) -> int:
        """Characters it takes."""
        return max(len(text) for text in (*self.head, *self.cells))

    def fit(self, text: str) -> str:
        """Return a cell as wide as the column."""
        return text.rjust(self.width) if self.right else text.ljust(self.width)


def show(trials: Sequence[Trial], cost: CostProfile) -> None:
    """Print the table to stdout."""
    from rich.console import Console

    width = max(shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 120, 80)
    console = Console(width=width, highlight=False, soft_wrap=True)
    with console.capture() as captured:  # rich would end us itself when stdout is closed
        for line in render(trials, cost, width):
            console.print(line)
    sys.stdout.write(captured.get())


def render(trials: Sequence[Trial], cost: CostProfile, width: int) -> list[Text]:
    """Return the lines of the table for a terminal of that width."""
    from rich.text import Text

    from faultbench.analysis.frame import without_meaning

    df = without_meaning(table.frame(trials))
    good = df[df["status"] == "ok"]
    lines: list[Text] = []
    if good.empty:
        return [Text("no trial ended ok: there is no rate to show")]
    said: set[str] = set()
    for machine, on_machine in good.groupby("machine", sort=False):
        simulated = str(machine).startswith("virtual")  # its CPUs do nothing else
        metrics = list(METRICS) if width >= WIDE and not simulated else list(METRICS)[:1]
        every = df[df["machine"] == machine]
        lines += [Text("")] if lines else []
        lines.append(Text(_title(str(machine), every), style="bold"))
        ratios = [Ratios(on_machine, metric) for metric in metrics]
        for handler in sorted(dict.fromkeys(on_machine["handler"]), key=_place):
            part = on_machine[on_machine["handler"] == handler]
            head = textwrap.wrap(f"{handler}: {_constants(on_machine, part)}", width)
            lines += [Text(""), *(Text(line, style="bold") for line in head)]
            lines += _section(part, _varied(on_machine), [r for r in ratios if r], width)
        lines.append(Text(""))
        notes = _legend(every, on_machine, ratios, cost)
        notes = [note for note in notes if note not in said]
        said.update(notes)
        for note in notes:
            wrapped = textwrap.wrap(note, width, initial_indent="  ", subsequent_indent="    ")
            lines += [Text(line, style="dim") for line in wrapped]
    return lines


def _place(handler: str) -> tuple[int, str]:
    """Return a sort key: handlers as the design lists them, then mappings."""
    names = Handler.names()
    return (names.index(handler) if handler in names else len(names), handler)


def _title(machine: str, df: pd.DataFrame) -> str:
    what = "simulated, " if machine.startswith("virtual") else ""
    count = df.groupby("case_id").size()
    cases = f"{len(count)} case{'s' if len(count) > 1 else ''}"
    each = int(count.max())
    work = f", {df['faults_asked'].iloc[0]} faults per worker" if _by_count(df) else ""
    return f"{what}machine {machine}: {cases}, {each} trial{'s' if each > 1 else ''} each{work}"


def _by_count(df: pd.DataFrame) -> bool:
    """Whether all trials end after the same number of faults."""
    return bool(df["faults_asked"].nunique() == 1 and df["faults_asked"].iloc[0] > 0)


def _constants(good: pd.DataFrame, part: pd.DataFrame) -> str:
    """Return what all rows of a section share, in words."""
    first = part.iloc[0]
    words = [str(first[a]) for a in ("order", "access") if part[a].nunique() == 1]
    shown = _varied(good)
    for axis, noun in (("threads", "worker"), ("writers", "writer")):
        if axis not in shown and part[axis].nunique() == 1:
            words.append(f"{first[axis]} {noun}{'' if first[axis] == 1 else 's'}")
    for axis in ("vmas", "map", "files", "mms"):
        if _same(part, axis):
            words += [f"{axis} {value}" for value in set(part[axis]) - {"-"}]
    for axis, usual in UNLESS.items():  # said where it is not what a sweep does by itself
        if _same(part, axis):
            (value,) = set(part[axis]) - {"-"}
            name = axis.replace("_", "-")
            words += [] if value == usual else [name] if value is True else [f"{name} {value}"]
    if _same(good, "kernel"):
        of = "kernel" if first["machine"] == "kernel" else "locks of"
        words.append(f"{of} {first['kernel']}")
    if _same(part, "set") and first["set"]:
        words.append(str(first["set"]))
    return ", ".join(words)


def _same(part: pd.DataFrame, axis: str) -> bool:
    return len(set(part[axis]) - {"-"}) == 1


def _varied(df: pd.DataFrame) -> list[str]:
    return [a for a in AXES if df[a].nunique() > 1 and not _same(df, a)] or ["threads"]


def _section(
    part: pd.DataFrame, axes: list[str], ratios: Sequence[Ratios], width: int
) -> list[Text]:
    """Return the rows of one handler: columns as wide as what is in them."""
    from rich.text import Text

    columns = {axis: Column(("", AXES[axis])) for axis in axes}
    ways = [w for w in WAYS if part[w].nunique() > 1]
    if not ways and set(part["path"]) != {"-"}:
        ways = ["path"]
    columns |= {way: Column(("", way), right=False) for way in ways}
    columns["cpu"] = Column(("CPU ns", "/fault"))
    columns["reads"] = Column(("mmap_lock", "reads /k"))
    columns["parks"] = Column(("parks", "/k"))
    if width >= WIDE:
        columns["rate"] = Column(("", "faults/s"))
    for one in ratios:
        columns[one.metric] = Column((one.title, METRICS[one.metric]), right=False)
    styles = []
    for row, first in _rows(part, axes):
        cells, style = _cells(row, first, ratios)
        if row["transient"] and ways:
            cells[ways[-1]] += f" {MARK}"
        styles.append(style)
        for name, column in columns.items():
            column.cells.append(cells.get(name, ""))
    gap = "  "
    heads = [gap.join(c.fit(c.head[n]) for c in columns.values()) for n in (0, 1)]
    lines = [Text(head.rstrip(), style="dim") for head in heads]
    for n, style in enumerate(styles):
        line = Text("")
        for name, column in columns.items():
            line.append(column.fit(column.cells[n]), style=style.get(name, ""))
            line.append(gap)
        line.rstrip()
        lines.append(line)
    return lines


def _rows(part: pd.DataFrame, axes: list[str]) -> list[tuple[dict[str, Any], bool]]:
    """Return one (values, is the first of its point) per way of a fault, sorted."""
    from faultbench.analysis.frame import kernel_order, natural

    figures = "cpu_ns_per_fault mmap_lock_reads_per_1000 parks_per_1000 faults_per_s".split()
    rows = []
    for _, trials in part.groupby("case_id", sort=False):
        row: dict[str, Any] = {str(k): v for k, v in trials.iloc[0].items()}
        row.update(trials[figures].median())
        flags = {word for text in trials["flags"] for word in text.split()}
        row |= {word: word in flags for word in ("oversubscribed", "transient")}
        rows.append(row)
    names = ["mmap-lock", "abort", "retry", "direct"]

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        point = tuple(natural(row[a]) for a in reversed(axes))
        path = names.index(row["path"]) if row["path"] in names else len(names)
        return (point, kernel_order(row["kernel"]), path, row["set"])

    rows.sort(key=key)
    points = [tuple(str(row[a]) for a in axes) for row in rows]
    return [(row, n == 0 or points[n] != points[n - 1]) for n, row in enumerate(rows)]


def _cells(
    row: dict[str, Any], first: bool, ratios: Sequence[Ratios]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return a row's texts and styles by column; axes stand in the first row of a point only."""
    cells = {axis: str(row[axis]) for axis in AXES} if first else {}
    if cells and not row["writer_rate"]:  # 0 in a record is as fast as they can
        cells["writer_rate"] = "max" if row["writers"] else "-"
    cells |= {way: str(row[way]) or "-" for way in WAYS}
    cells["cpu"] = _figure(row["cpu_ns_per_fault"], 1 if row["cpu_ns_per_fault"] < 100 else 0)
    cells["reads"] = _figure(row["mmap_lock_reads_per_1000"], 1)
    cells["parks"] = _figure(row["parks_per_1000"], 1)
    cells["rate"] = _si(row["faults_per_s"])
    styles = {}
    for one in ratios:
        if (found := one.of(row)) is not None:
            cells[one.metric], styles[one.metric] = found.cell(row["oversubscribed"])
    return cells, styles


def _figure(value: Any, digits: int) -> str:
    if value is None or math.isnan(value):
        return "-"
    least = 0.5 * 10**-digits
    return f"<{10**-digits:g}" if 0 < value < least else f"{value:.{digits}f}"


def _si(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:.0f}"


def _legend(
    df: pd.DataFrame, good: pd.DataFrame, ratios: Sequence[Ratios], cost: CostProfile
) -> list[str]:
    from faultbench.analysis.frame import unconfirmed_in

    said = ["/k: per 1000 faults"]
    if any(ratios):
        floors = ", ".join(f"{METRICS[r.metric]} {r.floors}" for r in ratios if r and r.floors)
        said[0] += "; ratio: median of paired blocks [95 % interval], * where it is real"
        if str(good["machine"].iloc[0]).startswith("virtual"):
            said.append(
                "simulated: no absolute rates, no sign below 10 %, no SMT, bandwidth or frequency"
            )
        elif floors:
            said.append(f"noise of this machine in this sweep (A/A), by load: {floors}")
    flags = Counter(word for text in df["flags"] for word in text.split())
    if hollow := flags.pop("oversubscribed", 0):
        said.append(f"○ more workers and writers than CPUs ({hollow} trials): no verdict")
    if short := flags.pop(TRANSIENT, 0):
        said.append(
            f"{MARK} transient ({short} trials): fewer than {WRITER_OPS} writer operations, or a "
            f"window under {HANDOFFS_NS // 10**6} ms, five hand-off time-outs of mmap_lock: too "
            "short to show what writers do in the long run; take a longer --duration"
        )
    if "retry" in set(good["path"]) and good["path"].nunique() > 1:
        upgrade = "what an upgrade from 6.5 to 6.6 changes is --kernel v6.5,v6.6"
        said.append(f"{rules.NEVER_RELEASED}; {upgrade}")
    if unconfirmed := unconfirmed_in(good):
        said.append(unconfirmed)
    if (good["machine"] != "kernel").any():
        said.append(f"cost profile {cost.describe()}")
    if flags:
        words = ", ".join(f"{word} {n}" for word, n in flags.most_common())
        said.append(f"disturbed of {len(df)} trials: {words}; see `faultbench info`")
    if len(good) < len(df):
        bad = Counter(df.loc[df["status"] != Status.OK.value, "status"])
        said.append("without a rate: " + ", ".join(f"{n} {word}" for word, n in bad.items()))
    return said + [note for one in ratios[:1] for note in one.notes]
