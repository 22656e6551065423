"""Figures as PNG and SVG; the only code that imports matplotlib."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from faultbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from faultbench.model import Trial
    from faultbench.plots.facets import Context

WALL = "faults_per_s"


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
    context = replace(context, notes=[*context.notes, *(f"{n}." for n in notes)])
    if context.compared is None:
        with contextlib.suppress(DataError):  # one path only: figures without a ratio
            compared = by_column(kept, line_column(kept), metric)
            context = replace(context, compared=compared)
    trials = list(trials)
    figures: list[Callable[[], list[Path]]] = [
        lambda: scalability.draw(kept, out_prefix, context, metric),
        lambda: counters.draw(counted, out_prefix, context),
    ]
    kept_ids = set(kept["trial_id"])
    mine = [t for t in trials if t.trial_id in kept_ids]
    if mine:
        shown = set(latency.shown(kept)["trial_id"])  # merging all histograms takes a while
        sampled = [t for t in mine if t.trial_id in shown]
        figures.append(lambda: latency.draw(by_outcome(sampled, kept), out_prefix, context))

    def ledger() -> list[Path]:
        entries = context.ledgers
        if entries is None:
            entries = [*on_threads(kept), *steps.ledgers(mine, kept)]
        return ledgers.draw(entries, out_prefix, context) if entries else []

    figures += [ledger, lambda: lines.draw(mine, out_prefix, context)]
    grid = kept.groupby("machine")[["threads", "writers"]].nunique()
    if (grid >= 3).all(axis=1).any():
        from faultbench.plots import surface as surfaces  # noqa: PLC0415

        figures.append(lambda: surfaces.draw(kept, out_prefix, context, metric))
    return [path for written in _drawn(figures, processes) for path in written]


_figures: "list[Callable[[], list[Path]]]" = []  # what a forked process draws from


def _draw(number: int) -> list[Path]:
    return _figures[number]()


def _drawn(figures: "list[Callable[[], list[Path]]]", processes: int) -> list[list[Path]]:
    """Draw all; by fork, so that nothing but paths has to travel between the processes."""
    if processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return [draw() for draw in figures]
    global _figures  # noqa: PLW0603 - forked processes inherit it
    _figures = figures
    try:
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(min(processes, len(figures)), mp_context=fork) as pool:
            return list(pool.map(_draw, range(len(figures))))
    finally:
        _figures = []
