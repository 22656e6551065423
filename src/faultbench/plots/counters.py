"""Where the faults went: VMA-lock events, mmap_lock reads and parks per fault."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from faultbench.analysis.curves import spread
from faultbench.analysis.frame import NEVER_RELEASED, key_columns, label
from faultbench.plots import sheet, style
from faultbench.plots.captions import provenance, titled
from faultbench.plots.facets import (
    Context,
    Facet,
    chosen,
    facets,
    line_column,
    line_names,
    line_paths,
    stem,
    subject,
)

BARS_PER_PAGE = 40
COUNTERS = [*(c for c, *_ in style.EVENTS), "mmap_lock_reads", "parks"]
MARGINS = (35.0, 2.0, 16.0, 26.0)  # points: the first of three panels has names


def draw(df: pd.DataFrame, prefix: Path | str, context: Context) -> list[Path]:
    """Write the counter figures of checked trials: fewest and most workers of every panel."""
    if df["vma_lock_success"].isna().all() and df["mmap_lock_reads"].isna().all():
        return []  # imported results, or a kernel that does not count
    column = line_column(df)
    df = df[[*key_columns(df), *COUNTERS, "faults", "flags"]]  # 70 columns are slow to cut
    looks = style.looks(line_names(df, column), line_paths(df, column))
    panels = chosen(list(facets(spread(df), column)), context.most_panels)
    bars: list[tuple[Facet, list[tuple[str, int, pd.Series[float]]]]] = []
    for facet in panels:
        bars.append((facet, _bars(facet.rows, column, list(looks))))
    pages: list[list[int]] = [[]]
    for i, (_, mine) in enumerate(bars):
        if pages[-1] and sum(len(bars[j][1]) for j in pages[-1]) + len(mine) > BARS_PER_PAGE:
            pages.append([])
        pages[-1].append(i)
    written = []
    for page, numbers in enumerate(pages):
        target = stem(prefix, "counters", page)
        written += _page([bars[i] for i in numbers], target, context, subject(df), looks)
    return written


def _bars(
    rows: pd.DataFrame, column: str, names: Sequence[str]
) -> "list[tuple[str, int, pd.Series[float]]]":
    """Return (line, workers, events per fault) at the fewest and the most workers.

    Medians of the repeats, as in every table.
    """
    threads = rows["threads"].astype(int)
    faults = rows["faults"].astype(float)
    ends = sorted({int(threads.min()), int(threads.max())})
    per = rows[COUNTERS].astype(float).div(faults.where(faults > 0), axis=0)
    found = per[faults > 0].groupby([threads, rows[column].astype(str)]).median()
    by: dict[Any, pd.Series[float]] = dict(found.iterrows())
    return [(name, n, by[n, name]) for n in ends for name in names if (n, name) in by]


def _page(
    bars: "list[tuple[Facet, list[tuple[str, int, pd.Series[float]]]]]",
    target: Path,
    context: Context,
    about: str,
    looks: Mapping[str, style.Line],
) -> list[Path]:
    with sheet.styled():
        size = sum(len(mine) + 1.4 for _, mine in bars)
        made = sheet.figure(10.2, 0.185 * size + 1.75, MARGINS)
        axes = made.subplots(1, 3, sharey=True, width_ratios=(2.2, 1, 1))
        at = 0.0
        ticks: list[float] = []
        tops: list[float] = []
        rows: list[tuple[float, str, pd.Series[float]]] = []
        words: list[str] = []
        for facet, mine in bars:
            top = at - 0.15
            tops.append(top)
            title = f"SIMULATED · {facet.title}" if facet.virtual else facet.title
            named = axes[0].annotate(
                title, (0, at + 0.25), xytext=(2, 0), textcoords="offset points",
                fontsize=8.5, fontweight="bold", va="center", annotation_clip=False,
            )  # fmt: skip
            named.set_in_layout(False)  # it may run into the next panel, which is empty there
            at += 0.15
            for name, threads, events in mine:
                at += 1
                ticks.append(at)
                words.append(("" if name == "-" else f"{name}, ") + label("threads", threads))
                rows.append((at, looks[name].colour, events))
            at += 1.25
            if facet.virtual:
                for ax in axes:
                    style.simulated_rows(ax, top, at - 0.15)
        _bars_of(axes, rows)
        for ax in axes:
            ax.hlines(tops, 0, 1, transform=ax.get_yaxis_transform(), color=style.GRID, lw=0.8)
        _finish(axes, at, ticks, words)
        handles = [
            Patch(facecolor=c, hatch=h, edgecolor="white", label=word)
            for _, word, c, h in style.EVENTS
        ]
        foot = [
            f"{about}. Medians of the repeats, at the fewest and the most workers measured. "
            "SUCCESS: done under the VMA lock; ABORT: the VMA lock was not to be had; RETRY: sent "
            "back for mmap_lock; MISS: the VMA was gone. A park is a sleep in a lock's queue.",
            *(
                [f"{NEVER_RELEASED}."]
                if any((f.rows["path"] == "retry").any() for f, _ in bars)
                else []
            ),
            *provenance([f for f, _ in bars if f.virtual], context),
            *context.notes,
        ]
        sheet.caption(
            made, titled("Where the faults went", [f for f, _ in bars], context), foot, handles
        )
        return sheet.save(made, target, context.formats)


def _bars_of(axes: Sequence[Axes], rows: "Sequence[tuple[float, str, pd.Series[float]]]") -> None:
    at = np.array([row[0] for row in rows])
    colours = [row[1] for row in rows]
    events = pd.DataFrame([row[2] for row in rows]).astype(float)
    left = np.zeros(len(at))
    for counter, _, colour, hatch in style.EVENTS:
        share = np.nan_to_num(events[counter].to_numpy())
        there = share != 0
        axes[0].barh(
            at[there], share[there], 0.78, left=left[there],
            color=colour, hatch=hatch, edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        left += share
    for ax, values, form in (
        (axes[1], events["mmap_lock_reads"].to_numpy(), "{:.3f}"),
        (axes[2], 1000 * events["parks"].to_numpy(), "{:.3g}"),
    ):
        there = values > 0
        mine = [c for c, shown in zip(colours, there, strict=True) if shown]
        ax.barh(at[there], values[there], 0.78, color=mine or None, alpha=0.85)
        for y, value in zip(at, values, strict=True):
            if np.isfinite(value):
                ax.annotate(
                    form.format(value), (value, y), xytext=(3, 0), textcoords="offset points",
                    va="center", fontsize=7.5,
                )  # fmt: skip


def _finish(axes: Sequence[Axes], bottom: float, ticks: list[float], words: list[str]) -> None:
    axes[0].set_ylim(bottom - 0.4, -0.3)
    axes[0].yaxis.set_major_locator(FixedLocator(ticks))
    axes[0].set_yticklabels(words)
    axes[0].yaxis.set_minor_locator(NullLocator())
    titles = ("VMA-lock events per fault", "mmap_lock reads\nper fault", "parks per\n1000 faults")
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, loc="left")
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
        high = ax.get_xlim()[1]
        ax.set_xlim(0, max(high, 1e-3) * (1.03 if ax is axes[0] else 1.25))
