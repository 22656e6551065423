"""The surface: workers x writers as a heat map of the ratio between two paths."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.patches import Rectangle

from faultbench.analysis import stats
from faultbench.analysis.compare import by_column
from faultbench.analysis.frame import NEVER_RELEASED, WALL
from faultbench.errors import DataError
from faultbench.plots import style
from faultbench.plots.facets import (
    Context,
    Facet,
    facets,
    line_column,
    select,
    spread,
    stem,
    subject,
)
from faultbench.plots.scalability import provenance, titled

COLOURS = "PuOr_r"  # both ends dark in grey: every cell also bears its number


def draw(df: pd.DataFrame, prefix: Path | str, context: Context, metric: str = WALL) -> list[Path]:
    """Write the heat map; ``DataError`` when workers or writers were not varied."""
    if df["writers"].nunique() < 2 or df["threads"].nunique() < 2:
        raise DataError(
            "a surface needs two or more numbers of workers and of writers; "
            "sweep e.g. --threads 1,2,4 --writers 0,1,2"
        )
    column = line_column(df)
    table = spread((context.compared or by_column(df, column, metric)).table)
    flat = spread(df).assign(writers="-")
    panels = list(facets(flat, column))[: context.most_panels and 4]
    first, last = table["a"].iloc[0], table["b"].iloc[-1]
    table = table[table["b"] == last]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with style.styled():
        across, up = (table[c].nunique() for c in ("threads", "writers"))
        made = style.figure(
            max(6.2, (0.75 * across + 0.9) * columns + 0.9), (0.55 * up + 0.8) * rows + 1.5
        )
        axes = made.subplots(rows, columns, squeeze=False).ravel()
        norm = _norm(table["ratio"])
        for ax, facet in zip(axes, panels, strict=False):
            where = {k: v for k, v in facet.where.items() if k != "writers"}
            _panel(ax, select(table, where), facet, norm)
        for ax in axes[len(panels) :]:
            ax.remove()
        bar = made.colorbar(
            ScalarMappable(norm, COLOURS), ax=list(axes[: len(panels)]), shrink=0.8, pad=0.02
        )
        bar.set_label(f"{last} / {first}")
        bar.ax.yaxis.set_major_formatter(lambda v, _: f"{np.exp2(v):.2g}×")
        foot = [
            f"{subject(df)}. Each cell: median ratio of the paired blocks. A plain number is "
            "outside the noise floor and its interval excludes 1; (in brackets) it is "
            "inside the noise; one followed by ° ran more threads than CPUs or too few repeats: "
            "no verdict.",
            *provenance([f for f in panels if f.virtual], context),
            *context.notes,
        ]
        if "retry" in (first, last):
            foot.insert(0, f"{NEVER_RELEASED}.")
        title = f"{last} / {first} over workers and writers"
        style.caption(made, titled(title, panels, context), foot)
        return style.save(made, stem(prefix, "surface"), context.formats)


def _norm(ratios: "pd.Series[float]") -> TwoSlopeNorm:
    logs = np.log2(ratios[ratios > 0].dropna())
    reach = max(0.1, float(np.abs(logs).max()) if len(logs) else 0.1)
    return TwoSlopeNorm(0.0, -reach, reach)


def _panel(ax: Axes, rows: pd.DataFrame, facet: Facet, norm: TwoSlopeNorm) -> None:
    x = sorted({int(n) for n in rows["threads"]})
    y = sorted({int(n) for n in rows["writers"]})
    grid = np.full((len(y), len(x)), np.nan)
    for _, row in rows.iterrows():
        grid[y.index(int(row["writers"])), x.index(int(row["threads"]))] = row["ratio"]
    ax.imshow(np.log2(grid), cmap=COLOURS, norm=norm, origin="lower", aspect="auto")
    for _, row in rows.iterrows():
        i, j = y.index(int(row["writers"])), x.index(int(row["threads"]))
        text = f"{row['ratio']:.2f}"
        if row["verdict"] == stats.NOISE:
            text = f"({text})"
        elif row["verdict"] == stats.UNTESTABLE:
            text += "°"
        shade = abs(float(norm(np.log2(row["ratio"]))) - 0.5)
        ax.text(j, i, text, ha="center", va="center", color="white" if shade > 0.32 else style.INK)
    ax.set_xticks(range(len(x)), [str(n) for n in x])
    ax.set_yticks(range(len(y)), [str(n) for n in y])
    ax.grid(visible=False)
    ax.set_xlabel("workers")
    ax.set_ylabel("writers")
    title = f"SIMULATED · {facet.title}" if facet.virtual else facet.title
    ax.set_title(title, loc="left")
    if facet.virtual:
        hatch = Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, hatch="//", alpha=0.25)
        hatch.set_edgecolor("white")
        ax.add_patch(hatch)
