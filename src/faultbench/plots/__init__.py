"""Figures as PNG and SVG; the only code that imports matplotlib."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from faultbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from faultbench.model import Trial
    from faultbench.plots.facets import Context

WALL = "faults_per_s"
_ORDER = ("scalability", "counters", "latency", "ledger", "lines", "surface")


def sweep_figures(
    df: "pd.DataFrame",
    out_prefix: Path | str,
    *,
    trials: "Iterable[Trial]" = (),
    context: "Context | None" = None,
    metric: str = WALL,
    processes: int = 1,
) -> list[Path]:
    """Write every figure a table supports as ``PREFIX-*.png`` and ``.svg``; return their paths.

    ``df`` is the table of ``trials`` (needed for latency by outcome). Figures are drawn by so many
    ``processes`` side by side. Raises ``DataError`` when no trial has a rate, ``OutputError`` when
    a figure cannot be written.
    """
    from faultbench.analysis import steps  # noqa: PLC0415
    from faultbench.analysis.compare import by_column  # noqa: PLC0415
    from faultbench.analysis.frame import checked  # noqa: PLC0415 - scipy is slow to load
    from faultbench.analysis.latency import by_outcome  # noqa: PLC0415
    from faultbench.analysis.ledger import on_threads  # noqa: PLC0415
    from faultbench.plots import counters, latency, lines, scalability  # noqa: PLC0415
    from faultbench.plots import ledger as ledgers  # noqa: PLC0415
    from faultbench.plots.facets import Context, line_column  # noqa: PLC0415

    context = context or Context()
    kept, notes = checked(df, metric)
    counted, _ = checked(df, metric, counts=True)
    said = replace(context, notes=[*context.notes, *(f"{n}." for n in notes)])
    kept_ids = set(kept["trial_id"])
    mine = [t for t in trials if t.trial_id in kept_ids]
    first: list[Callable[[], list[Path]]] = [lambda: counters.draw(counted, out_prefix, said)]
    if mine:
        shown = set(latency.shown(kept)["trial_id"])  # merging all histograms takes a while
        sampled = [t for t in mine if t.trial_id in shown]
        first.append(lambda: latency.draw(by_outcome(sampled, kept), out_prefix, said))
    first.append(lambda: lines.draw(mine, out_prefix, said))
    grid = kept.groupby("machine")[["threads", "writers"]].nunique()
    two_ways = bool((grid >= 3).all(axis=1).any())
    with _Beside(first, processes - 1) as beside:
        # What needs no interval is being drawn by now: scipy takes a while to load.
        entries = said.ledgers
        if entries is None:
            entries = [*on_threads(kept), *steps.ledgers(mine, kept)]
        bare = replace(said, compared=None)
        # One of its two figures for each process: they end together.
        beside.also(ledgers.draw, [e for e in entries if e.exact], out_prefix, bare)
        if said.compared is None:
            with contextlib.suppress(DataError):  # one path only: figures without a ratio
                compared = by_column(kept, line_column(kept), metric)
                said = replace(said, compared=compared)
        written = scalability.draw(kept, out_prefix, said, metric)
        written += ledgers.draw([e for e in entries if not e.exact], out_prefix, bare)
        if two_ways:
            from faultbench.plots import surface as surfaces  # noqa: PLC0415

            written += surfaces.draw(kept, out_prefix, said, metric)
        written += beside.written()
    start = len(Path(out_prefix).name) + 1
    return sorted(
        written, key=lambda path: _ORDER.index(path.name[start:].split("-")[0].split(".")[0])
    )


_figures: "Sequence[Callable[[], list[Path]]]" = []  # what a forked process draws from


def _draw(number: int) -> list[Path]:
    return _figures[number]()


class _Beside:
    """Draws figures in ``processes`` beside this one; with none, when asked for what was written.

    By fork, so that nothing of ``figures`` has to travel to them.
    """

    def __init__(self, figures: "Sequence[Callable[[], list[Path]]]", processes: int) -> None:
        self._figures, self._later = figures, list[Callable[[], list[Path]]]()
        self._drawn: list[Future[list[Path]]] = []
        self._pool: ProcessPoolExecutor | None = None
        if processes > 0 and "fork" in multiprocessing.get_all_start_methods():
            fork = multiprocessing.get_context("fork")
            self._pool = ProcessPoolExecutor(min(processes, len(figures)), mp_context=fork)

    def __enter__(self) -> "_Beside":
        global _figures  # noqa: PLW0603 - forked processes inherit it
        if self._pool is not None:
            _figures = self._figures
            self._drawn = [self._pool.submit(_draw, n) for n in range(len(_figures))]
        return self

    def also(self, draw: Callable[..., list[Path]], *args: object) -> None:
        """Draw one more, whose arguments do travel."""
        if self._pool is not None:
            self._drawn.append(self._pool.submit(draw, *args))
        else:
            self._later.append(lambda: draw(*args))

    def written(self) -> list[Path]:
        """Return the paths of all figures, once they are drawn."""
        if self._pool is None:
            return [path for draw in (*self._figures, *self._later) for path in draw()]
        return [path for future in self._drawn for path in future.result()]

    def __exit__(self, *_: object) -> None:
        global _figures  # noqa: PLW0603
        _figures = []
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
