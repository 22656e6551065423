"""The table at the end of a sweep: what a fault costs, why, and what the patch changed.

One row per way of a fault, grouped by point. First the stable figures (CPU time per fault,
mmap_lock reads, sleeps), then the ratio with its interval; it is coloured and starred only when the
analysis calls it real. Points with more tasks than CPUs are marked and get no verdict.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from faultbench import rules, table
from faultbench.errors import FaultbenchError
from faultbench.model import Handler, Status, Trial

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

    from faultbench.analysis.compare import Comparison
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
WAYS = ("kernel", "path", "set")
WIDE = 100


@dataclass(frozen=True)
class Ratio:
    """B against A: the ratio, its interval, the analysis's verdict."""

    ratio: float
    low: float
    high: float
    verdict: str


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

    width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 120
    console = Console(width=max(width, 80), highlight=False, soft_wrap=True)
    with console.capture() as captured:  # rich would end us itself when stdout is closed
        for line in render(trials, cost, max(width, 80)):
            console.print(line)
    sys.stdout.write(captured.get())


def render(trials: Sequence[Trial], cost: CostProfile, width: int) -> list[Text]:
    """Return the lines of the table for a terminal of that width."""
    from rich.text import Text

    df = table.frame(trials)
    good = df[df["status"] == "ok"]
    lines = [Text(""), Text(_title(df), style="bold")]
    if good.empty:
        return [*lines, Text("no trial ended ok: there is no rate to show")]
    compared, notes = _compare(good)
    ratios = _by_key(compared) if compared is not None else {}
    sections = sorted(dict.fromkeys(good["handler"]), key=_place)
    for handler in sections:
        part = good[good["handler"] == handler]
        lines += [Text(""), Text(f"{handler}  {_constants(good, part)}", style="bold")]
        lines += _section(part, good, compared, ratios, width)
    lines.append(Text(""))
    lines += [Text(f"  {note}", style="dim") for note in _legend(df, good, compared, cost, notes)]
    return lines


def _place(handler: str) -> tuple[int, str]:
    """Return a sort key: handlers as the design lists them, then mappings."""
    names = Handler.names()
    return (names.index(handler) if handler in names else len(names), handler)


def _title(df: pd.DataFrame) -> str:
    machine = df["machine"].iloc[0]
    what = "simulated on " if str(machine).startswith("virtual") else ""
    count = df.groupby("case_id").size()
    return f"{what}{machine}: {len(count)} cases, {int(count.max())} trials each"


def _constants(good: pd.DataFrame, part: pd.DataFrame) -> str:
    """Return what all rows of a section share, in words."""
    first = part.iloc[0]
    words = [str(first[a]) for a in ("order", "access") if part[a].nunique() == 1]
    words += [f"{a} {first[a]}" for a in ("map", "files", "mms") if _same(part, a)]
    if _same(good, "kernel"):
        words.append(f"locks of {first['kernel']}")
    if _same(part, "set") and first["set"]:
        words.append(str(first["set"]))
    return ", ".join(words)


def _same(part: pd.DataFrame, axis: str) -> bool:
    values = set(part[axis]) - {"-"}
    return len(values) == 1


def _varied(df: pd.DataFrame) -> list[str]:
    return [a for a in AXES if df[a].nunique() > 1 and not (_same(df, a))] or ["threads"]


def _compare(good: pd.DataFrame) -> tuple[Comparison | None, list[str]]:
    """Return the analysis's comparison by path, else by kernel; None where nothing is compared."""
    from faultbench.analysis import compare

    by = next((c for c in ("path", "kernel") if good[c].nunique() > 1), None)
    if by is None:
        return None, []
    try:
        result = compare.by_column(good, by)
    except FaultbenchError as error:
        return None, [f"no ratio: {error}"]
    return result, result.notes


def _by_key(compared: Comparison) -> dict[tuple[str, ...], Ratio]:
    found = {}
    for _, row in compared.table.iterrows():
        key = (*(str(row[k]) for k in compared.keys), str(row["b"]))
        found[key] = Ratio(
            row["ratio"],
            1 + row["ci_low_pct"] / 100,
            1 + row["ci_high_pct"] / 100,
            str(row["verdict"]),
        )
    return found


def _section(
    part: pd.DataFrame,
    good: pd.DataFrame,
    compared: Comparison | None,
    ratios: dict[tuple[str, ...], Ratio],
    width: int,
) -> list[Text]:
    from rich.text import Text

    axes = _varied(good)
    ways = [w for w in WAYS if good[w].nunique() > 1] or ["path"]
    wide = width >= WIDE
    columns = {axis: Column(("", AXES[axis])) for axis in axes}
    columns |= {way: Column(("", way), right=False) for way in ways}
    columns["cpu"] = Column(("CPU ns", "/fault"))
    columns["reads"] = Column(("mmap_lock", "reads/1000"))
    columns["parks"] = Column(("parks", "/1000"))
    if wide:
        columns["rate"] = Column(("", "faults/s"))
    if compared is not None:
        a, b = compared.table["a"].iloc[0], sorted(set(compared.table["b"]))
        columns["ratio"] = Column((f"{b[0] if len(b) == 1 else '…'}/{a}", "faults/s"), right=False)
    styles = []
    for row, first in _rows(part, axes):
        style, cells = _cells(row, first, compared, ratios, wide)
        styles.append(style)
        for name, column in columns.items():
            column.cells.append(cells.get(name, ""))
    heads = [[c.fit(c.head[n]) for c in columns.values()] for n in (0, 1)]
    lines = [Text("  " + "  ".join(h).rstrip(), style="dim") for h in heads]
    for n, style in enumerate(styles):
        line = Text("  ")
        for name, column in columns.items():
            cell = column.fit(column.cells[n])
            line.append(cell, style=style if name == "ratio" else "")
            line.append("  ")
        line.rstrip()
        lines.append(line)
    return lines


def _rows(part: pd.DataFrame, axes: list[str]) -> list[tuple[dict[str, Any], bool]]:
    """Return one (values, is the first of its point) per way of a fault, sorted."""
    from faultbench.analysis.frame import kernel_order, natural

    figures = [
        "cpu_ns_per_fault",
        "mmap_lock_reads_per_1000",
        "parks_per_1000",
        "faults_per_s",
    ]
    rows = []
    for _, trials in part.groupby("case_id", sort=False):
        row: dict[str, Any] = {str(k): v for k, v in trials.iloc[0].items()}
        row.update(trials[figures].median())
        row["oversubscribed"] = (
            trials["flags"].str.split().map(lambda f: "oversubscribed" in f).any()
        )
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
    row: dict[str, Any],
    first: bool,
    compared: Comparison | None,
    ratios: dict[tuple[str, ...], Ratio],
    wide: bool,
) -> tuple[str, dict[str, str]]:
    """Return the style of the ratio and the texts of a row."""
    cells = {axis: str(row[axis]) for axis in AXES} if first else {}
    cells |= {way: str(row[way]) for way in WAYS}
    cells["cpu"] = _figure(row["cpu_ns_per_fault"], 1 if row["cpu_ns_per_fault"] < 100 else 0)
    cells["reads"] = _figure(row["mmap_lock_reads_per_1000"], 1)
    cells["parks"] = _figure(row["parks_per_1000"], 1)
    cells["rate"] = _si(row["faults_per_s"])
    hollow = "○ " if row["oversubscribed"] else ""
    style = ""
    if compared is not None:
        way = "path" if "path" not in compared.keys else "kernel"
        found = ratios.get((*(str(row[k]) for k in compared.keys), str(row[way])))
        if found is not None:
            real = found.verdict in ("faster", "slower") and not hollow
            style = {"faster": "green", "slower": "red"}[found.verdict] if real else "dim"
            interval = f" [{found.low:.2f}, {found.high:.2f}]" if math.isfinite(found.low) else ""
            text = f"{hollow}{found.ratio:.2f}{interval}{' *' if real else ''}"
            if wide:
                text += f"  {'oversubscribed: no verdict' if hollow else found.verdict}"
            cells["ratio"] = text
        elif hollow:
            cells["ratio"], style = "○", "dim"
    return style, cells


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
    df: pd.DataFrame,
    good: pd.DataFrame,
    compared: Comparison | None,
    cost: CostProfile,
    notes: list[str],
) -> list[str]:
    said = []
    if compared is not None:
        floors = compared.table["noise_floor_pct"].dropna()
        noise = f"; A/A noise here up to {floors.max():.1f} %" if len(floors) else ""
        said.append(f"ratio: median of paired blocks [95 % interval]; * real{noise}")
    flags = Counter(word for text in df["flags"] for word in text.split())
    if hollow := flags.pop("oversubscribed", 0):
        said.append(f"○ more workers and writers than CPUs ({hollow} trials): no verdict")
    if set(good["path"]) >= {"retry"} and good["path"].nunique() > 1:
        said.append(rules.NEVER_RELEASED + ";")
        said.append("  what an upgrade from 6.5 to 6.6 changes is --kernel v6.5,v6.6")
    if unconfirmed := sorted(rules.UNCONFIRMED & set(good["kernel"])):
        said.append(f"{', '.join(unconfirmed)}: not confirmed by a kernel")
    if set(good["cost"]) != {"none"} or cost.name == "none":
        said.append(f"cost profile {cost.describe()}")
    if flags:
        words = ", ".join(f"{word} {n}" for word, n in flags.most_common())
        said.append(
            f"disturbed trials: {words} of {len(df)}; `faultbench info` says how to mend it"
        )
    if len(good) < len(df):
        bad = Counter(df.loc[df["status"] != Status.OK.value, "status"])
        said.append("without a rate: " + ", ".join(f"{n} {word}" for word, n in bad.items()))
    return [*said, *notes]
