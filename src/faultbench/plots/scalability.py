"""Faults/s and the ratio of two paths over workers: the figure for a cover letter."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from faultbench.analysis import stats
from faultbench.analysis.compare import Comparison, by_column
from faultbench.analysis.curves import spread
from faultbench.analysis.frame import WALL, cases, has_flag, key_columns
from faultbench.errors import DataError
from faultbench.plots import sheet, style
from faultbench.plots.captions import legend_handles, marks, provenance, titled, untested
from faultbench.plots.facets import (
    Context,
    Facet,
    chosen,
    facets,
    line_column,
    line_names,
    line_paths,
    pages,
    select,
    stem,
    subject,
    unnamed,
)

PER_PAGE, COLUMNS = 8, 4
MARGINS = (36.0, 2.0, 18.0, 14.0)  # points: of rates above their ratio
UNITS = {WALL: "faults/s", "faults_per_cpu_s": "faults per CPU-second"}


def draw(df: pd.DataFrame, prefix: Path | str, context: Context, metric: str = WALL) -> list[Path]:
    """Write the scalability figures of checked trials and return their paths."""
    column = line_column(df)
    try:
        compared: Comparison | None = context.compared or by_column(df, column, metric)
    except DataError:
        compared = None  # one path only: rates without a ratio
    table = spread(compared.table) if compared else None
    df = df[[*key_columns(df), "repeat", "flags", metric]]  # 70 columns are slow to cut
    wide = spread(df)
    panels = chosen(list(facets(wide, column)), context.most_panels)
    paths = line_paths(df, column)
    looks = style.looks(line_names(df, column), paths)
    written = []
    for page, shown in enumerate(pages(panels, PER_PAGE)):
        target = stem(prefix, "scalability", page)
        written += _page(shown, looks, paths, column, table, target, context, metric)
    return written


def _page(
    shown: Sequence[Facet],
    looks: Mapping[str, style.Line],
    paths: Mapping[str, str],
    column: str,
    table: pd.DataFrame | None,
    target: Path,
    context: Context,
    metric: str,
) -> list[Path]:
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    tall = 2 if table is not None else 1
    with sheet.styled():
        height = rows * (2.35 if tall == 1 else 3.9) + 1.35
        made = sheet.figure(max(6.2, 3.05 * columns + 0.6), height, MARGINS)
        heights = [1.45, 1.0] * rows if tall == 2 else [1.0] * rows
        grid = made.add_gridspec(rows * tall, columns, height_ratios=heights)
        counts = sorted({int(n) for f in shown for n in f.rows["threads"]})
        points = _points(shown, column, metric)
        for i, facet in enumerate(shown):
            row, col = divmod(i, columns)
            top = made.add_subplot(grid[row * tall, col])
            rates(top, facet, points[points["panel"] == i], looks, context.cpus, metric, counts)
            if table is not None:
                below = made.add_subplot(grid[row * tall + 1, col])
                ratio(below, select(table, facet.where), looks, facet.virtual, context.cpus, counts)
                top.tick_params(labelbottom=False)
                top.set_xlabel("")
            for ax in made.axes[-tall:]:
                if col:
                    ax.set_ylabel("")
        foot = [
            "Points: median of the repeats; bars: bootstrap 95 % interval (a ratio's from paired "
            "blocks). Hollow: more threads than CPUs, no verdict. Thin dashed: linear from the "
            "best single worker.",
        ]
        tested = pd.concat([select(table, f.where) for f in shown]) if table is not None else None
        if tested is not None and len(tested):
            foot.append(
                "Ratio: grey band = noise floor of this machine in this sweep (A/A). A plain point "
                "lies outside it and its interval excludes 1; a crossed one does not; a pale one "
                "could not be tested (fewer repeats than a verdict needs)."
            )
        foot += provenance([f for f in shown if f.virtual], context)
        every = pd.concat([f.rows for f in shown])
        title = titled(_title(list(looks), column), shown, context)
        lines = [f"{subject(every)}.", *foot, *context.notes]
        handles = [*legend_handles(looks, paths, unnamed(every)), *marks(every, tested)]
        sheet.caption(made, title, lines, handles)
        return sheet.save(made, target, context.formats)


def _title(names: list[str], column: str) -> str:
    what = "Page faults over workers"
    return f"{what}: {' against '.join(names)}" if column == "path" and len(names) == 2 else what


def _points(shown: Sequence[Facet], column: str, metric: str) -> pd.DataFrame:
    """Return medians, their intervals and what is hollow by ``panel``, ``line``, ``threads``."""
    rows = pd.concat([f.rows.assign(panel=i) for i, f in enumerate(shown)], ignore_index=True)
    rows = rows.assign(threads=rows["threads"].astype(int), line=rows[column].astype(str))
    keys = ["panel", "line", "threads"]
    got = cases(rows, keys, metric)
    m = stats.medians(got.values)
    crowded = rows.loc[has_flag(rows["flags"], "oversubscribed"), keys]
    index = pd.MultiIndex.from_frame(got.keys)
    hollow = index.isin(pd.MultiIndex.from_frame(crowded)) if len(crowded) else False
    return got.keys.assign(median=m.median, low=m.low, high=m.high, hollow=hollow)


def rates(
    ax: Axes,
    facet: Facet,
    points: pd.DataFrame,
    looks: Mapping[str, style.Line],
    cpus: int | None,
    metric: str,
    counts: Sequence[int],
) -> None:
    """Draw faults/s over workers with intervals, the ideal line and the CPU count."""
    best, seen = 0.0, []
    for name, look in looks.items():
        mine = points[points["line"] == name]
        if mine.empty:
            continue
        x, y, low, high = (
            mine[c].to_numpy(dtype=float) for c in ("threads", "median", "low", "high")
        )
        series(ax, x, y, low, high, mine["hollow"].to_numpy(dtype=bool), look)
        seen += [*y, *high[np.isfinite(high)]]
        if metric == WALL and x[0] == 1:
            best = max(best, y[0])
    style.worker_axis(ax, counts)
    ideal = np.array(ax.get_xlim())
    style.rate_axis(ax, seen, UNITS.get(metric, metric))
    if best:
        limits = ax.get_ylim()
        line = np.geomspace(max(ideal[0], 0.5), ideal[1], 40)
        ax.plot(
            line, best * line, color=style.MUTED, linewidth=0.8, linestyle=(0, (5, 3)), zorder=1
        )
        ax.set_ylim(limits)
    style.cpu_line(ax, None if facet.virtual else cpus)
    _dress(ax, facet)


def series(
    ax: Axes, x: stats.Array, y: stats.Array, low: stats.Array, high: stats.Array,
    hollow: "np.typing.NDArray[np.bool_]", look: style.Line,
    pale: "np.typing.NDArray[np.bool_] | None" = None,
) -> None:  # fmt: skip
    """Draw one line with its intervals; oversubscribed points hollow, untested ones pale."""
    faint = np.zeros(len(x), dtype=bool) if pale is None else pale
    ax.plot(x, y, color=look.colour, linestyle=look.style, zorder=3)
    ax.vlines(x, np.fmin(y, low), np.fmax(y, high), color=look.colour, linewidth=1.2, zorder=2)
    for mask, face, alpha in (
        (~hollow & ~faint, look.colour, 1.0),
        (hollow, "white", 1.0),
        (faint & ~hollow, look.colour, style.PALE),
    ):
        if mask.any():
            ax.plot(
                x[mask], y[mask], linestyle="", marker=look.marker, color=look.colour,
                markerfacecolor=face, markeredgecolor=look.colour, alpha=alpha, zorder=4,
            )  # fmt: skip


def ratio(
    ax: Axes, table: pd.DataFrame, looks: Mapping[str, style.Line], virtual: bool,
    cpus: int | None, counts: Sequence[int],
) -> None:  # fmt: skip
    """Draw B/A over workers with its interval above the noise floor's band."""
    if table.empty:  # e.g. a resumed sweep that measured one path only here
        words = "one path only:\nno ratio"
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes)
        style.worker_axis(ax, counts)
        ax.set_yticks([])
        return
    ax.axhline(1, color=style.INK, linewidth=0.9, zorder=2)
    every: list[float] = [1.0]
    for i, (other, group) in enumerate(table.groupby("b", sort=False)):
        rows = group.assign(n=group["threads"].astype(int)).sort_values("n")
        x, y = rows["n"].to_numpy(dtype=float), rows["ratio"].to_numpy(dtype=float)
        low, high = (1 + rows[k].to_numpy(dtype=float) / 100 for k in ("ci_low_pct", "ci_high_pct"))
        hollow = rows["oversubscribed"].to_numpy(dtype=bool)
        floor = 1 + np.nan_to_num(rows["noise_floor_pct"].to_numpy(dtype=float)) / 100
        if i == 0:
            edge = np.array([0.6, *x, x[-1] * 1.5])
            band = np.array([floor[0], *floor, floor[-1]])
            ax.fill_between(
                edge, 1 / band, band, color="#9a9a9a", alpha=0.28, linewidth=0, zorder=1
            )
            every += [1 / floor.max(), floor.max()]
        silent = (rows["verdict"] == stats.NOISE).to_numpy() & ~hollow
        pale = untested(rows).to_numpy(dtype=bool)
        series(ax, x, y, low, high, hollow, looks[str(other)], pale)
        ax.plot(
            x[silent], y[silent], linestyle="", marker="x", color=style.INK, markersize=8, zorder=5
        )
        every += [v for v in (*y, *low, *high) if np.isfinite(v) and v > 0]
    style.worker_axis(ax, counts)
    bottom, top = min(every), max(every)
    if top >= 8 * bottom:
        ax.set_yscale("log", base=2)
        ax.set_ylim(bottom / 1.2, top * 1.2)
    else:
        room = max(0.05, 0.1 * (top - bottom))
        ax.set_ylim(max(0, bottom - room), top + room)
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    first = table[["a", "b"]].drop_duplicates()
    names = f"{first['b'].iloc[0]} / {first['a'].iloc[0]}" if len(first) == 1 else ""
    ax.set_ylabel(names or f"over {first['a'].iloc[0]}")
    style.cpu_line(ax, None if virtual else cpus, label=False)
    if virtual:
        style.simulated(ax)


def _dress(ax: Axes, facet: Facet) -> None:
    title = f"SIMULATED · {facet.title}" if facet.virtual else facet.title
    ax.set_title(style.panel_title(title), loc="left")
    if facet.virtual:
        style.simulated(ax)
