"""One look for every figure: readable in colour, in grey and in print; nothing clipped.

A path is told by colour, line style and marker together. Markers stand at measured points only
and nothing is smoothed between them. Hollow markers ran more threads than CPUs. Simulated panels
are hatched and say so.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import (
    EngFormatter,
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullLocator,
)

from faultbench.analysis.frame import NEVER_RELEASED

PALE = 0.4  # of points that could not be tested
INK, MUTED, GRID = "#1a1a1a", "#666666", "#dddddd"
CLAIMS_NOT = (
    "It must not claim: absolute faults/s, a sign below about 10 %, SMT, bandwidth, page "
    "placement, frequency, more threads than CPUs."
)


@dataclass(frozen=True)
class Line:
    """How one path (or kernel) is drawn."""

    colour: str
    style: Any  # "-", "--", … or (offset, on-off sequence)
    marker: str


# Lightness falls from retry to mmap-lock, so that the order survives a grey print.
PATH_LINES = {
    "direct": Line("#0a5ea8", "-", "o"),
    "retry": Line("#e07b00", "--", "s"),
    "abort": Line("#4f9d69", "-.", "^"),
    "mmap-lock": Line("#6b2c6f", ":", "D"),
}
# What is no path must not look like one.
OTHER_LINES = (
    Line("#b3375a", (0, (7, 2, 1, 2)), "v"),
    Line("#3c8d93", (0, (4, 1)), "P"),
    Line("#8a6d1d", (0, (1, 1)), "X"),
    Line("#555555", (0, (9, 3)), "h"),
    Line("#7a5195", (0, (3, 1, 1, 1)), "<"),
    Line("#c2703d", (0, (6, 1)), ">"),
    Line("#2f6b4f", (0, (2, 2)), "p"),
    Line("#9c9b2f", (0, (8, 1, 1, 1, 1, 1)), "*"),
)
# Where a fault went: (column, word, colour, hatch), hatches for grey and print.
EVENTS = (
    ("vma_lock_success", "SUCCESS", "#0a5ea8", ""),
    ("vma_lock_abort", "ABORT", "#7fbf93", "//"),
    ("vma_lock_retry", "RETRY", "#f2a541", ".."),
    ("vma_lock_miss", "MISS", "#b3375a", "xx"),
)

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    # The second is as wide as the first, for a reader of an SVG who lacks it.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titley": 1.0,  # where it is anyway; matplotlib need not look for it at every draw
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "svg.hashsalt": "faultbench",
    "svg.fonttype": "none",  # text stays text: to be searched, copied and read aloud
    "text.color": INK,
    "text.hinting": "none",  # a third of a page's time went into fitting glyphs to pixels
    "xtick.bottom": False,  # grid lines and labels tell where a tick is
    "ytick.left": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}


def line_of(name: str, position: int = 0) -> Line:
    """Return the look of a path, or that of the ``position``-th of other lines."""
    return PATH_LINES.get(name) or OTHER_LINES[position % len(OTHER_LINES)]


def looks(names: Sequence[str], paths: Mapping[str, str]) -> dict[str, Line]:
    """Return how each line looks; ``paths``: those of kernels.

    The first kernel of a path looks like the path, so that a colour means the same in every figure.
    """
    found: dict[str, Line] = {}
    others = 0
    for name in names:
        own = PATH_LINES.get(paths.get(name, name))
        if own is None or own in found.values():
            own = line_of("", others)
            others += 1
        found[name] = own
    return found


def legend_name(name: str, path: str = "") -> str:
    """Return a path's or a kernel's name for a legend; ``retry`` always says: never released."""
    path = "" if path == "-" else path
    if name == "retry":
        return NEVER_RELEASED
    if path == "retry":
        return f"{name}, {NEVER_RELEASED}"
    return f"{name} ({path})" if path else name


def worker_axis(ax: Axes, counts: Sequence[int], *, label: bool = True) -> None:
    """Put ticks at the measured numbers of workers; log when they span eight times or more."""
    low, high = min(counts), max(counts)
    if high >= 8 * low:
        ax.set_xscale("log", base=2)
        ax.set_xlim(low / 1.25, high * 1.25)
        shown = _thinned(sorted(set(counts)))
    else:
        room = 0.35 if high == low else 0.12 * (high - low)
        ax.set_xlim(low - room, high + room)
        shown = sorted(set(counts)) if len(set(counts)) <= 12 else []
    if shown:
        ax.xaxis.set_major_locator(FixedLocator([float(n) for n in shown]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    if label:
        ax.set_xlabel("workers")


def _thinned(counts: list[int]) -> list[int]:
    """Drop counts that would sit on their neighbour's label on a log axis; the ends stay."""
    kept = [counts[0]]
    for count in counts[1:]:
        if count >= 1.45 * kept[-1]:
            kept.append(count)
        elif count == counts[-1]:
            kept = [*kept[: -1 if len(kept) > 1 else None], count]
    return kept


def rate_axis(ax: Axes, values: Sequence[float], label: str) -> None:
    """Label rates with prefixes; log when they span twenty times or more, else from zero."""
    positive = [v for v in values if v > 0]
    if positive and max(positive) >= 20 * min(positive):
        ax.set_yscale("log")
        ax.set_ylim(min(positive) / 1.6, max(positive) * 1.6)
    elif positive:
        ax.set_ylim(0, max(positive) * 1.12)
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylabel(label)


def cpu_line(ax: Axes, cpus: int | None, *, label: bool = True) -> None:
    """Mark how many CPUs the machine has, where the axis reaches that far."""
    low, high = ax.get_xlim()
    if cpus and low <= cpus <= high:
        ax.axvline(cpus, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        if not label:
            return
        ax.annotate(
            f"{cpus} CPU{'s' if cpus != 1 else ''}",
            (cpus, 0),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 3),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="bottom",
            fontsize=7.5,
            color=MUTED,
        )


def simulated(ax: Axes) -> None:
    """Hatch a panel whose points come from a simulated machine."""
    ax.patch.set_hatch("//")
    ax.patch.set_edgecolor("#e2e2e2")
    ax.patch.set_linewidth(0.0)


def panel_title(text: str, width: int = 40) -> str:
    """Return a panel's title in lines that part at ``·`` only: ``0 writers`` stays together."""
    whole = "\N{NO-BREAK SPACE}· ".join(
        part.replace(" ", "\N{NO-BREAK SPACE}") for part in text.split(" · ")
    )
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def simulated_rows(ax: Axes, top: float, bottom: float) -> None:
    """Hatch the rows of a panel that come from a simulated machine, beside measured ones."""
    ax.axhspan(
        top, bottom, facecolor="none", edgecolor="#e2e2e2", hatch="//", linewidth=0, zorder=0
    )
