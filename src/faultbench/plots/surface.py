"""The surface: workers x writers as a heat map of the ratio between two paths.

Only cells that the analysis calls real have a colour: the eye reads colour as a claim.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator

from faultbench.analysis import stats
from faultbench.analysis.compare import by_column
from faultbench.analysis.curves import spread
from faultbench.analysis.frame import NEVER_RELEASED, WALL
from faultbench.errors import DataError
from faultbench.plots import sheet, style
from faultbench.plots.captions import provenance, titled
from faultbench.plots.facets import (
    Context,
    Facet,
    chosen,
    facets,
    line_column,
    select,
    stem,
    subject,
)

COLOURS = "PuOr_r"  # both ends dark in grey: every cell also bears its number
UNTESTED = "#e4e4e4"
REAL = (stats.FASTER, stats.SLOWER)
WRITERS = ("writer_op", "writer_rate")  # what writers do; of no writers nothing can be said


def draw(df: pd.DataFrame, prefix: Path | str, context: Context, metric: str = WALL) -> list[Path]:
    """Write the heat map; ``DataError`` when workers or writers were not varied together."""
    column = line_column(df)
    flat = _with_none(spread(df)).assign(asked=lambda d: d["writers"].astype(int), writers="-")
    every = list(facets(flat, column))
    maps = [f for f in every if f.rows["asked"].nunique() > 1 and f.rows["threads"].nunique() > 1]
    if not maps:
        raise DataError(
            "a surface needs two or more numbers of workers and of writers; "
            "sweep e.g. --threads 1,2,4 --writers 0,1,2"
        )
    table = (context.compared or by_column(df, column, metric)).table
    others = list(table["b"].unique())
    first, last = table["a"].iloc[0], "direct" if "direct" in others else others[-1]
    table = _with_none(spread(table[table["b"] == last]))
    panels = chosen(maps, context.most_panels and 2)
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    with sheet.styled():
        across = max(f.rows["threads"].nunique() for f in panels)
        up = max(f.rows["asked"].nunique() for f in panels)
        made = sheet.figure(
            max(6.2, max(3.2, 0.75 * across + 0.9) * columns + 0.9), (0.55 * up + 1.0) * rows + 1.5
        )
        axes = made.subplots(rows, columns, squeeze=False).ravel()
        shown = [(f, select(table, _where(f))) for f in panels]
        real = pd.concat([r.loc[r["verdict"].isin(REAL), "ratio"] for _, r in shown])
        norm = _norm(real)
        for ax, (facet, mine) in zip(axes, shown, strict=False):
            _panel(ax, mine, facet, norm)
        for ax in axes[len(panels) :]:
            ax.remove()
        if len(real):
            _bar(made, list(axes[: len(panels)]), norm, real, f"{last} / {first}")
        foot = [
            f"{subject(df)}. Each cell: median ratio of the paired blocks. A coloured one is "
            "outside the noise floor and its interval excludes 1; (in brackets) it is "
            "inside the noise; grey with ° it ran more threads than CPUs or too few repeats: "
            "no verdict.",
            *provenance([f for f in panels if f.virtual], context),
            *context.notes,
        ]
        if len(every) > len(maps):
            foot.append(
                f"{len(every) - len(maps)} of {len(every)} configurations have one number of "
                "workers or of writers and no map."
            )
        if "retry" in (first, last):
            foot.insert(0, f"{NEVER_RELEASED}.")
        title = f"{last} / {first} over workers and writers"
        sheet.caption(made, titled(title, panels, context), foot)
        return sheet.save(made, stem(prefix, "surface"), context.formats)


def _where(facet: Facet) -> dict[str, object]:
    return {k: v for k, v in facet.where.items() if k != "writers"}


def _with_none(df: pd.DataFrame) -> pd.DataFrame:
    """Repeat the rows without writers, which have no writer_op, beneath those of each writer_op."""
    columns = [c for c in WRITERS if c in df.columns]
    same = [c for c in ("machine", "handler") if c in df.columns]
    none = df["writers"].astype(int) == 0
    if not columns or not none.any() or none.all():
        return df
    pieces = [df[~none]]
    for _, group in df.groupby(same, sort=False, dropna=False):
        lone = group[none.loc[group.index]]
        ways = group.loc[~none.loc[group.index], columns].drop_duplicates()
        pieces += [lone.assign(**{str(k): v for k, v in w.items()}) for _, w in ways.iterrows()]
        pieces += [] if len(ways) else [lone]
    return pd.concat(pieces, ignore_index=True)


def _norm(ratios: "pd.Series[float]") -> TwoSlopeNorm:
    """Return a scale on which twice as fast and half as fast are as strong."""
    logs = np.log2(ratios[ratios > 0].dropna())
    reach = max(0.1, float(np.abs(logs).max()) if len(logs) else 0.1)
    return TwoSlopeNorm(0.0, -reach, reach)


def _bar(
    made: Figure, axes: list[Axes], norm: TwoSlopeNorm, real: "pd.Series[float]", name: str
) -> None:
    """Draw the colour bar: 1 and what was found, not the half of the scale without data."""
    bar = made.colorbar(ScalarMappable(norm, COLOURS), ax=axes, shrink=0.8, pad=0.02)
    low, high = min(1.0, float(real.min())), max(1.0, float(real.max()))
    bar.ax.set_ylim(np.log2(low), np.log2(high))
    bar.set_ticks([float(np.log2(t)) for t in ticks(low, high)])
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter(lambda v, _: f"{float(f'{np.exp2(v):.3g}'):,g}×")
    bar.set_label(name)


def ticks(low: float, high: float) -> list[float]:
    """Return about six round ratios from ``low`` to ``high``."""
    if high < 4 * low:
        found = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    else:
        decades = np.log10(high / low)
        subs = (1.0, 2.0, 5.0) if decades < 2.2 else (1.0, 3.0) if decades < 3.2 else (1.0,)
        found = LogLocator(10, subs=subs, numticks=20).tick_values(low, high)
    return [float(t) for t in found if low <= t * (1 + 1e-9) and t <= high * (1 + 1e-9)]


def _number(ratio: float) -> str:
    """Return three digits, never an exponent."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}" if ratio < 100 else f"{ratio:,.0f}"


def _panel(ax: Axes, rows: pd.DataFrame, facet: Facet, norm: TwoSlopeNorm) -> None:
    x = sorted({int(n) for n in rows["threads"]})
    y = sorted({int(n) for n in rows["writers"]})
    grid = np.full((len(y), len(x)), np.nan)
    ax.imshow(grid, cmap=COLOURS, norm=norm, origin="lower", aspect="auto")
    for row in rows.to_dict("records"):
        i, j = y.index(int(row["writers"])), x.index(int(row["threads"]))
        text, ink = _number(row["ratio"]), style.INK
        if row["verdict"] in REAL:
            grid[i, j] = np.log2(row["ratio"])
            ink = "white" if abs(float(norm(grid[i, j])) - 0.5) > 0.32 else style.INK
        elif row["verdict"] == stats.NOISE:
            text = f"({text})"
        else:
            text, ink = f"{text}°", style.MUTED
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=UNTESTED, linewidth=0))
        ax.text(j, i, text, ha="center", va="center", color=ink)
    ax.images[0].set_data(grid)
    ax.set_xticks(range(len(x)), [str(n) for n in x])
    ax.set_yticks(range(len(y)), [str(n) for n in y])
    ax.grid(visible=False)
    ax.set_xlabel("workers")
    ax.set_ylabel("writers")
    title = f"SIMULATED · {facet.title}" if facet.virtual else facet.title
    ax.set_title(style.panel_title(title), loc="left")
    if facet.virtual:
        hatch = Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, hatch="//", alpha=0.25)
        hatch.set_edgecolor("white")
        ax.add_patch(hatch)
