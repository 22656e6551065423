"""What a simulated case waits for: the hottest cache lines, and the locks it spins or sleeps on."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from faultbench.analysis.frame import NEVER_RELEASED, in_words, telling
from faultbench.analysis.spent import KEYS, Spent, in_order, spent
from faultbench.analysis.steps import hottest
from faultbench.model import Trial
from faultbench.plots import sheet, style
from faultbench.plots.facets import Context, stem

TOP, LOCKS, ROWS_PER_PAGE, COLUMNS = 6, 3, 4, 3
LEAST_NS = 0.5  # a case that waits less for everything has nothing to show
STILL = (0.05, 0.005)  # ns and moves: a line with less of both only takes room
SEEN = 0.002  # of the longest bar of a row: a shorter one is a hair
NAMED = ("kernel", "vmas", "threads", "writers")
CASE = tuple(key for key in KEYS if key not in ("kernel", "path"))


@dataclass(frozen=True)
class Bar:
    """One bar: ns of waiting per fault."""

    name: str
    ns: float
    note: str
    hatch: str  # "" for a line, else of WAITS


Row = tuple[float, dict[tuple[object, ...], list[Bar]]]  # the longest bar of its case; panels
WAITS = {"spinning": "////", "asleep": "...."}


def draw(trials: Iterable[Trial], prefix: Path | str, context: Context) -> list[Path]:
    """Write bars of waiting per fault by line and by lock; none if nobody waited.

    What the bottleneck is on one path stands beside what it is on the next, on one scale: a row of
    panels is a case, its panels are the paths (or kernels) that were swept.
    """
    trials = list(trials)
    table = hottest(trials)
    if table.empty:
        return []
    time = spent(trials)
    cases: dict[tuple[object, ...], dict[tuple[object, ...], pd.DataFrame]] = {}
    for key, part in table.groupby(list(KEYS), sort=False):
        case = tuple(v for k, v in zip(KEYS, key, strict=True) if k in CASE)
        cases.setdefault(case, {})[key] = part
    shown: list[Row] = []
    for parts in cases.values():
        least = SEEN * max(_longest(part, time.get(key)) for key, part in parts.items())
        row = {key: _bars(part, time.get(key), least) for key, part in parts.items()}
        longest = max(bar.ns for bars in row.values() for bar in bars)
        ordered = sorted(row.items(), key=lambda one: in_order(one[0]))
        if longest >= LEAST_NS:
            shown += [
                (longest, dict(ordered[at : at + COLUMNS]))
                for at in range(0, len(ordered), COLUMNS)
            ]
    written = []
    for page, start in enumerate(range(0, len(shown), ROWS_PER_PAGE)):
        chosen = shown[start : start + ROWS_PER_PAGE]
        written += _page(chosen, time, table, stem(prefix, "lines", page), context)
    return written


def _longest(lines: pd.DataFrame, time: Spent | None) -> float:
    locks = [*time.spun.values(), *time.slept.values()] if time is not None else []
    return max([float(lines["wait_ns"].max()), *locks])


def _bars(lines: pd.DataFrame, time: Spent | None, least: float) -> list[Bar]:
    """Return locks that are spun or slept on and lines, longest first, the other lines last.

    A line that is waited for less than ``least`` ns has no bar of its own, but for the longest.
    """
    found = []
    if time is not None:
        for word, where in (("spinning", time.spun), ("asleep", time.slept)):
            for lock, ns in list(where.items())[:LOCKS]:
                share = ns / time.total
                found.append(Bar(f"{word}: {lock}", ns, f"{share:.0%} of the fault", WAITS[word]))
    named = lines[~lines["rest"]]
    hot = (named["wait_ns"] >= STILL[0]) | (named["transfers"] >= STILL[1])
    seen = (named["wait_ns"] >= least) | (named["wait_ns"] == named["wait_ns"].max())
    top = named[hot & seen].head(TOP)
    found += [Bar(str(n), ns, f"{moved:.2f} moves", "") for n, ns, moved in zip(
        top["name"], top["wait_ns"], top["transfers"], strict=True)]  # fmt: skip
    found.sort(key=lambda bar: -bar.ns)
    rest = lines.drop(top.index)
    if not rest.empty:
        ns, moved = float(rest["wait_ns"].sum()), float(rest["transfers"].sum())
        found.append(Bar("all other lines", ns, f"{moved:.2f} moves", ""))
    return found


def _page(
    rows: list[Row],
    time: Mapping[tuple[object, ...], Spent],
    table: pd.DataFrame,
    target: Path,
    context: Context,
) -> list[Path]:
    columns = max(len(row) for _, row in rows)
    tallest = [max(len(bars) for bars in row.values()) for _, row in rows]
    others = telling(table[list(KEYS)], ignore=("machine", "handler", "path", *NAMED))
    with sheet.styled():
        names = [_short(b.name) for _, row in rows for bars in row.values() for b in bars]
        height = sum(0.27 * n + 1.2 for n in tallest) + 1.3
        made = sheet.figure(7.0 * columns, height, (*sheet.beside(names), 28.0, 40.0))
        axes = made.subplots(
            len(rows), columns, squeeze=False,
            gridspec_kw={"height_ratios": [0.27 * n + 0.5 for n in tallest]},
        )  # fmt: skip
        for (longest, row), tall, here in zip(rows, tallest, axes, strict=True):
            for ax, (key, bars) in zip(here, row.items(), strict=False):
                _panel(ax, (key, [*NAMED, *others]), bars, time.get(key), longest, tall)
            for ax in here[len(row) :]:
                ax.remove()
        models = sorted({context.models.get(str(m), str(m)) for m in table["machine"].unique()})
        foot = [
            "Time that a fault waited: for a cache line (and how often it moved), or hatched: "
            "spinning on a lock, whose line it then holds, or asleep in its queue. The panels of "
            "a row have one scale. A name lists the fields that share the line.",
            *([NEVER_RELEASED + "."] if (table["path"] == "retry").any() else []),
            style.CLAIMS_NOT,
            *context.notes,
        ]
        sheet.caption(made, "Hottest lines — SIMULATED: " + "; ".join(models), foot)
        return sheet.save(made, target, context.formats)


def _panel(
    ax: Any,
    case: tuple[tuple[object, ...], list[str]],
    bars: list[Bar],
    time: Spent | None,
    longest: float,
    tall: int,
) -> None:
    key, named = case
    where = dict(zip(KEYS, key, strict=True))
    path = str(where["path"])
    colour = style.line_of(path).colour
    for y, bar in enumerate(bars):
        ax.barh(y, bar.ns, 0.7, color=colour if not bar.hatch else "white",
                edgecolor=colour, hatch=bar.hatch or None, linewidth=0.8)  # fmt: skip
        waited = f"{bar.ns:,.0f}" if bar.ns >= 100 else f"{bar.ns:.3g}"
        ax.annotate(
            f"{waited} ns, {bar.note}", (bar.ns, y), xytext=(3, 0),
            textcoords="offset points", va="center", fontsize=7.5,
        )  # fmt: skip
    ax.set_yticks(range(len(bars)), [_short(bar.name) for bar in bars])
    ax.set_ylim(max(tall, 3) - 0.5, -0.5)
    ax.set_xlim(0, max(longest, 1.0) * 1.6)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("ns waited per fault")
    never = ", never released" if path == "retry" else ""
    # Three short lines: a panel is as wide as half of its figure, and its names take the half.
    title = [f"SIMULATED · {where['handler']} · {path}{never}"]
    title.append(in_words({k: where[k] for k in named}))
    if time is not None:
        parts = ((time.running, "running"), (time.lines, "for lines"),
                 (time.spinning, "spinning"), (time.asleep, "asleep"))  # fmt: skip
        said = ", ".join(f"{ns:,.0f} {word}" for ns, word in parts if ns >= LEAST_NS)
        title += textwrap.wrap(f"{time.total:,.0f} ns a fault: {said}", 62)
    ax.set_title("\n".join(title), loc="left", fontsize=8.5)
    style.simulated(ax)


def _short(name: str) -> str:
    return name if len(name) <= 44 else name[:42] + "…"
