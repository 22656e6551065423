"""Latency quantiles by outcome of the fault (service time, closed loop)."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from faultbench.analysis.curves import spread
from faultbench.analysis.frame import NEVER_RELEASED, PATHS, key_columns, label
from faultbench.analysis.latency import OUTCOMES, QUANTILES
from faultbench.plots import sheet, style
from faultbench.plots.captions import provenance, titled
from faultbench.plots.facets import Context, Facet, chosen, facets, stem, subject

LOOKS = {
    "direct": style.PATH_LINES["direct"],
    "retried": style.PATH_LINES["retry"],
    "aborted": style.PATH_LINES["abort"],
    "missed": style.Line("#b3375a", ":", "v"),
    "all": style.PATH_LINES["mmap-lock"],
}
SHOWN = {"p50_ns": "p50", "p90_ns": "p90", "p99_ns": "p99", "p999_ns": "p99.9", "max_ns": "max"}
PER_PAGE, COLUMNS = 8, 4
MARGINS = (20.0, 5.0, 16.0, 24.0)  # points


def draw(table: pd.DataFrame, prefix: Path | str, context: Context) -> list[Path]:
    """Write the figures of ``analysis.latency.by_outcome``; none if nothing was sampled."""
    if table.empty:
        return []
    needed = [*key_columns(table), "outcome", "samples", *QUANTILES]
    table = spread(shown(table[needed]))  # 70 columns are slow to cut
    panels = chosen(list(facets(table, "path")), context.most_panels)
    values = table[list(QUANTILES)].astype(float)
    limits = (float(values.min().min()) / 1.5, float(values.max().max()) * 1.5)
    written = []
    for page, start in enumerate(range(0, len(panels), PER_PAGE)):
        part = panels[start : start + PER_PAGE]
        counts = sorted({int(n) for facet in part for n in facet.rows["threads"]})
        most = label("threads", counts[0]) if len(counts) == 1 else "each machine's most workers"
        columns = min(COLUMNS, len(part))
        rows = -(-len(part) // columns)
        with sheet.styled():
            made = sheet.figure(max(6.2, 3.05 * columns + 0.6), 2.75 * rows + 1.3, MARGINS)
            axes = made.subplots(rows, columns, squeeze=False, sharey=True).ravel()
            _scale(axes[0], limits)  # all panels have this one's
            for ax, facet in zip(axes, part, strict=False):
                _panel(ax, facet)
            for ax in axes[len(part) :]:
                ax.remove()
            for ax in axes[::columns][:rows]:
                ax.set_ylabel("latency of one fault")
            foot = [
                f"{subject(table)}, {most}. Service time of sampled faults, "
                "repeats merged; one line per path and outcome, pale below 1 % of the samples. A "
                "closed loop: a stalled worker sends no faults, so the tail is a lower bound. The "
                "last 1 % is the scheduler's as much as the lock's.",
                *([f"{NEVER_RELEASED}."] if "retry" in set(table["path"]) else []),
                *provenance([f for f in part if f.virtual], context),
                *context.notes,
            ]
            sheet.caption(made, titled("Latency by outcome", part, context), foot, _handles(table))
            written += sheet.save(made, stem(prefix, "latency", page), context.formats)
    return written


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at each machine's most workers, the only ones drawn."""
    threads = rows["threads"].astype(int)
    return rows.assign(threads=threads)[
        threads == threads.groupby(rows["machine"]).transform("max")
    ]


def _pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the (path, outcome) pairs measured, in the order of the paths' history."""
    found = {(str(p), str(o)) for p, o in zip(rows["path"], rows["outcome"], strict=True)}
    order = {p: i for i, p in enumerate(PATHS)}
    return sorted(found, key=lambda po: (order.get(po[0], 9), OUTCOMES.index(po[1])))


def _look(path: str, outcome: str) -> style.Line:
    """Colour by path, line and marker by outcome."""
    outcome_look = LOOKS.get(outcome, LOOKS["all"])
    colour = style.PATH_LINES[path].colour if path in style.PATH_LINES else outcome_look.colour
    return style.Line(colour, outcome_look.style, outcome_look.marker)


def _handles(table: pd.DataFrame) -> list[Line2D]:
    handles = []
    for path, outcome in _pairs(table):
        look = _look(path, outcome)
        name = f"{path}: {outcome}" if path in PATHS else outcome
        handles.append(
            Line2D([], [], color=look.colour, linestyle=look.style, marker=look.marker, label=name)
        )
    return handles


def _scale(ax: Axes, limits: tuple[float, float]) -> None:
    ax.set_yscale("log")
    ax.set_ylim(*limits)
    ax.yaxis.set_major_formatter(lambda value, _: nanoseconds(value))
    ax.yaxis.set_minor_locator(NullLocator())


def _panel(ax: Axes, facet: Facet) -> None:
    x = np.arange(len(SHOWN))
    for path, outcome in _pairs(facet.rows):
        rows = facet.rows[(facet.rows["path"] == path) & (facet.rows["outcome"] == outcome)]
        share = rows["samples"].sum() / facet.rows.loc[facet.rows["path"] == path, "samples"].sum()
        look = _look(path, outcome)
        for _, row in rows.iterrows():
            y = np.array([float(row[q]) for q in QUANTILES])
            ax.plot(
                x, y, color=look.colour, linestyle=look.style, marker=look.marker,
                alpha=1.0 if share >= 0.01 else 0.55,
            )  # fmt: skip
    ax.set_xticks(x, list(SHOWN.values()))
    title = f"SIMULATED · {facet.title}" if facet.virtual else facet.title
    ax.set_title(style.panel_title(title), loc="left")
    if facet.virtual:
        style.simulated(ax)


def nanoseconds(value: float) -> str:
    """Return a time in ns as people read it: ``850 ns``, ``1.2 µs``, ``4 ms``."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} ns"
