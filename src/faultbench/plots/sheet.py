"""A figure from empty to written: its size, its title and foot, its layout, its files."""

import gc
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.spines import Spine
from matplotlib.transforms import Bbox

from faultbench.output import replacing_file
from faultbench.plots.style import MUTED, RC

DPI = 110  # of layout and PNG alike: text is measured once


@contextmanager
def styled() -> Iterator[None]:
    """Apply the look while a figure is built and saved.

    Figures are many small objects that all live to the end: collecting garbage between them took a
    tenth of the time and freed nothing.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with mpl.rc_context(RC):  # type: ignore[arg-type]
            yield
    finally:
        if collecting:
            gc.enable()


class _Panel(Axes):
    """Axes that the layout measures no more than it must.

    Constrained layout measures every label twice: to find about where the axes go, and again
    there. Where a figure says how wide its margins are about, the first is not needed.
    """

    _about_there = False

    def get_default_bbox_extra_artists(self) -> list[Artist]:
        """Return what may stick out; the frame does not."""
        return [a for a in super().get_default_bbox_extra_artists() if not isinstance(a, Spine)]

    def get_tightbbox(
        self, renderer: Any = None, *args: Any, for_layout_only: bool = False, **kwargs: Any
    ) -> Any:
        """Return the box of the axes and their labels, in pixels."""
        margins = cast("_Sheet", self.figure).margins
        if for_layout_only and margins and not self._about_there:
            self._about_there = True
            left, right, bottom, top = (m * DPI / 72 for m in margins)
            box = self.bbox
            return Bbox.from_extents(box.x0 - left, box.y0 - bottom, box.x1 + right, box.y1 + top)
        return super().get_tightbbox(renderer, *args, for_layout_only=for_layout_only, **kwargs)


class _Sheet(Figure):
    margins: tuple[float, float, float, float] | None = None

    def add_subplot(self, *args: Any, **kwargs: Any) -> Axes:
        made: Axes = super().add_subplot(*args, **{"axes_class": _Panel, **kwargs})
        return made


def figure(
    width: float, height: float, margins: tuple[float, float, float, float] | None = None
) -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches that clips nothing.

    ``margins``: about what the labels of each of its panels take to the left, the right, the bottom
    and the top, in points.
    """
    made = _Sheet(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    made.margins = margins
    FigureCanvasAgg(made)
    return made


def beside(names: Sequence[str]) -> tuple[float, float]:
    """Return about what names of rows take to the left and to the right of a panel, in points."""
    return 4.9 * max(map(len, names), default=0) + 8.0, 2.0


def save(made: Figure, stem: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``stem``.png and ``stem``.svg and return their paths.

    The layout is solved once; the files hold no date, so that the same data give the same bytes.
    """
    written = []
    engine = made.get_layout_engine()
    if engine is not None:
        engine.execute(made)
    made.set_layout_engine(None)  # not "none": its placeholder makes every file draw twice
    for suffix in formats:
        target = stem.with_name(f"{stem.name}.{suffix}")
        metadata = {"Date": None} if suffix == "svg" else {"Software": "faultbench"}
        # Compressing harder takes longer than drawing and saves a tenth.
        png: dict[str, Any] = {"pil_kwargs": {"compress_level": 3}} if suffix == "png" else {}
        with replacing_file(target) as name:
            made.savefig(name, format=suffix, dpi=DPI, metadata=metadata, **png)
        written.append(target)
    return written


def caption(made: Figure, title: str, lines: Sequence[str], handles: Sequence[Artist] = ()) -> None:
    """Title the figure, put its legend under the title and what a reader must know at its foot."""
    width = max(40, int(made.get_figwidth() * 15.5))
    head = "\n".join(textwrap.wrap(title, int(width * 0.62)))
    text = "\n".join(part for line in lines for part in textwrap.wrap(line, width))
    # What the title, the legend and the foot take beyond the usual must not come off the panels.
    grown = 0.18 * head.count("\n") + 0.145 * max(0, text.count("\n") - 2)
    columns = _legend_columns([str(h.get_label()) for h in handles], made.get_figwidth())
    rows = -(-len(handles) // columns)
    grown += 0.19 * max(0, rows - 1)
    made.set_figheight(made.get_figheight() + grown)
    # The blank lines keep the legend's place; constrained layout knows of no legend under a title.
    blank = "\n" * (rows + 1 if rows else 0)
    made.suptitle(head + blank, fontsize=11.5, fontweight="bold", x=0.01, ha="left")
    if handles:
        top = 1 - (0.08 + 0.19 * (1 + head.count("\n"))) / made.get_figheight()
        made.legend(
            handles=list(handles), loc="upper left", bbox_to_anchor=(0.002, top), ncols=columns
        ).set_in_layout(False)
    made.supxlabel(text, fontsize=8, color=MUTED, x=0.01, ha="left")


def _legend_columns(labels: Sequence[str], inches: float) -> int:
    """Return how many columns a legend may have: matplotlib fills them one after another."""
    for columns in range(min(len(labels), 6), 1, -1):
        tall = -(-len(labels) // columns)
        widest = [max(map(len, labels[i : i + tall])) for i in range(0, len(labels), tall)]
        if sum(0.75 + 0.068 * chars for chars in widest) < inches - 0.1:
            return columns
    return 1
