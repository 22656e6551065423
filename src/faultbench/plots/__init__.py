"""Figures as PNG and SVG; the only code that imports matplotlib."""

import contextlib
from collections.abc import Iterable
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
) -> list[Path]:
    """Write every figure a table supports as ``PREFIX-*.png`` and ``.svg``; return their paths.

    ``df`` is the table of ``trials`` (needed for latency by outcome). Raises ``DataError`` when
    no trial has a rate, ``OutputError`` when a figure cannot be written.
    """
    from faultbench.analysis import steps  # noqa: PLC0415
    from faultbench.analysis.compare import by_column  # noqa: PLC0415
    from faultbench.analysis.frame import checked  # noqa: PLC0415 - scipy is slow to load
    from faultbench.analysis.latency import by_outcome  # noqa: PLC0415
    from faultbench.analysis.ledger import on_threads  # noqa: PLC0415
    from faultbench.plots import counters, latency, lines, scalability  # noqa: PLC0415
    from faultbench.plots import ledger as ledgers  # noqa: PLC0415
    from faultbench.plots import surface as surfaces  # noqa: PLC0415
    from faultbench.plots.facets import Context, line_column  # noqa: PLC0415

    context = context or Context()
    kept, notes = checked(df, metric)
    context = replace(context, notes=[*context.notes, *(f"{n}." for n in notes)])
    if context.compared is None:
        with contextlib.suppress(DataError):  # one path only: figures without a ratio
            compared = by_column(kept, line_column(kept), metric)
            context = replace(context, compared=compared)
    written = scalability.draw(kept, out_prefix, context, metric)
    written += counters.draw(kept, out_prefix, context)
    if trials:
        written += latency.draw(by_outcome(trials, kept), out_prefix, context)
    trials = list(trials)
    kept_ids = set(kept["trial_id"])
    mine = [t for t in trials if t.trial_id in kept_ids]
    entries = context.ledgers
    if entries is None:
        entries = [*on_threads(kept), *steps.ledgers(mine, kept)]
    if entries:
        written += ledgers.draw(entries, out_prefix, context)
    written += lines.draw(steps.hottest(mine), out_prefix, context)
    grid = kept.groupby("machine")[["threads", "writers"]].nunique()
    if (grid >= 3).all(axis=1).any():
        written += surfaces.draw(kept, out_prefix, context, metric)
    return written
