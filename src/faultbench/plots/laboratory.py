"""The judge's picture: model and real kernel on the same axes, and the emulator's times apart.

Left, mmap_lock reads per fault: the kernel's count as a bar, the model's as a marker on it. Middle,
what a retried fault costs in instructions, counted by the emulator, and in the model's virtual
ns. Right, in grey: times inside the emulator, which say nothing about hardware.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from faultbench.plots import sheet, style

_GREYS = {"direct": "#9a9a9a", "retry": "#5c5c5c"}
_HATCHES = {"retry": "//", "abort": "..", "mmap-lock": "xx"}  # for grey and print
_BAR = 0.36


@dataclass(frozen=True)
class Reads:
    """mmap_lock reads per fault of one case and path, of the kernel and of the model."""

    case: str
    path: str
    kernel: float
    model: float


@dataclass(frozen=True)
class Ratio:
    """retry divided by direct of one case: the kernel's instructions, the model's virtual ns."""

    case: str
    kernel: float
    model: float


@dataclass(frozen=True)
class Emulated:
    """ns per fault of the repeats of one case and path inside the emulator."""

    case: str
    path: str
    ns: tuple[float, ...]


def draw(
    reads: Sequence[Reads],
    ratios: Sequence[Ratio],
    times: Sequence[Emulated],
    prefix: Path,
    foot: Sequence[str],
) -> list[Path]:
    """Write the figure as ``prefix``.png and .svg; returns the files."""
    with sheet.styled():
        cases = list(dict.fromkeys(r.case for r in reads))
        made = sheet.figure(13.4, 0.34 * len(cases) + 3.4)
        engine = made.get_layout_engine()
        assert isinstance(engine, ConstrainedLayoutEngine)
        engine.set(w_pad=0.14)  # the longest label does not touch the edge
        axes = made.subplots(1, 3, width_ratios=[1.35, 1.0, 1.15])
        _reads(axes[0], reads, cases)
        _ratios(axes[1], ratios)
        _times(axes[2], times)
        sheet.caption(made, "Real kernels and the model", foot, _legend(reads))
        return sheet.save(made, prefix)


def _legend(reads: Sequence[Reads]) -> list[Patch | Line2D]:
    paths = list(dict.fromkeys(r.path for r in reads))
    bars = [Patch(**_look(p), label=f"kernel, {style.legend_name(p)}") for p in paths]
    model = Line2D(
        [],
        [],
        linestyle="",
        marker="D",
        markerfacecolor="white",
        markeredgecolor=style.INK,
        label="model",
    )
    return [*bars, model]


def _look(path: str) -> dict[str, Any]:
    """Return colour and hatch of a path's bars."""
    return {
        "facecolor": style.line_of(path).colour,
        "hatch": _HATCHES.get(path, ""),
        "edgecolor": "white",
        "linewidth": 0.4,
    }


def _rows(ax: Axes, cases: Sequence[str]) -> dict[str, int]:
    ax.set_yticks(range(len(cases)), cases)
    ax.set_ylim(len(cases) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    return {case: row for row, case in enumerate(cases)}


def _marker(ax: Axes, x: float, y: float) -> None:
    ax.plot(x, y, "D", markersize=4.5, markerfacecolor="white", markeredgecolor=style.INK, zorder=4)


def _reads(ax: Axes, reads: Sequence[Reads], cases: Sequence[str]) -> None:
    row = _rows(ax, cases)
    for entry in reads:
        paths = [r.path for r in reads if r.case == entry.case]
        shift = (paths.index(entry.path) - (len(paths) - 1) / 2) * _BAR
        y = row[entry.case] + shift
        colour = style.line_of(entry.path).colour
        ax.barh(y, entry.kernel, height=_BAR * 0.9, **_look(entry.path))
        ax.plot(0, y, "|", color=colour, markersize=9, markeredgewidth=3)  # a count of zero, too
        _marker(ax, entry.model, y)
    ax.set_xlim(-0.03, 1.12)
    ax.set_xlabel("mmap_lock reads per fault")
    apart = sum(abs(r.kernel - r.model) > 1e-9 for r in reads)
    verdict = f"differs in {apart} cases" if apart else "equal in every case"
    ax.set_title(f"Counted: {verdict}", loc="left")


def _ratios(ax: Axes, ratios: Sequence[Ratio]) -> None:
    row = _rows(ax, [r.case for r in ratios])
    for entry in ratios:
        y = row[entry.case]
        ax.barh(y, entry.kernel - 1, left=1, height=_BAR, **_look("retry"))
        _marker(ax, entry.model, y)
        ax.annotate(
            f"{entry.kernel:.2f}",
            (entry.kernel, y),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    most = max((max(r.kernel, r.model) for r in ratios), default=1.0)
    ax.set_xlim(0.98, 1 + (most - 1) * 1.3)
    ax.axvline(1, color=style.MUTED, linewidth=0.9)
    ax.set_xlabel("retry / direct")
    ax.set_title("Instructions per fault\n(model: virtual ns, one CPU)", loc="left")


def _times(ax: Axes, times: Sequence[Emulated]) -> None:
    cases = list(dict.fromkeys(t.case for t in times))
    row = _rows(ax, cases)
    ax.set_facecolor("#efefef")
    for entry in times:
        y = row[entry.case] + (0.18 if entry.path == "retry" else -0.18)
        low, high = min(entry.ns), max(entry.ns)
        middle = sorted(entry.ns)[len(entry.ns) // 2]
        colour = _GREYS.get(entry.path, style.MUTED)
        ax.plot([low, high], [y, y], color=colour, linewidth=3, solid_capstyle="butt", alpha=0.5)
        ax.plot(middle, y, style.line_of(entry.path).marker, color=colour, markersize=5)
        ax.annotate(
            entry.path,
            (high, y),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=style.MUTED,
        )
    most = max((max(t.ns) for t in times), default=1.0)
    ax.set_xlim(0, most * 1.35)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlabel("ns per fault, in the emulator", color=style.MUTED)
    ax.set_title("Emulator, not hardware:\nmedian and range", loc="left", color=style.MUTED)
