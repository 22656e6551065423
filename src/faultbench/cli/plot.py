"""``faultbench plot``: the figures of a results file."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from faultbench.cli.lean import uncollected


class Kind(StrEnum):
    """Which figures."""

    ALL = "all"
    SURFACE = "surface"


class Metric(StrEnum):
    """Which rate."""

    WALL = "faults_per_s"
    CPU = "faults_per_cpu_s"


@uncollected()
def plot(
    file: Annotated[Path, typer.Argument(help="Results file (JSONL) of `sweep` or `import`.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Prefix of the figures; default: the file's name."),
    ] = None,
    kind: Annotated[
        Kind, typer.Option(help="`surface`: only the heat map of workers x writers.")
    ] = Kind.ALL,
    metric: Annotated[Metric, typer.Option(help="Wall-clock or CPU-time rate.")] = Metric.WALL,
) -> None:
    """Draw ratio, faults/s, counters and latency of a results file as PNG and SVG."""
    from faultbench.cli._results import context_of, laboratory, load, say
    from faultbench.output import writable_figures
    from faultbench.plots import surface, sweep_figures

    if out is not None:
        writable_figures(out, file)
    loaded = load(file)
    prefix = out if out is not None else file.with_suffix("")
    context = context_of(loaded)
    if kind is Kind.SURFACE:
        from faultbench.analysis.frame import checked

        kept, notes = checked(loaded.df, metric.value)
        for note in notes:
            say(note)
        written = surface.draw(kept, prefix, context, metric.value)
    elif loaded.results.header.source == "lab":
        written = laboratory(file, prefix)
    else:
        trials = loaded.results.trials
        written = sweep_figures(
            loaded.df, prefix, trials=trials, context=context, metric=metric.value,
            processes=len(os.sched_getaffinity(0)),
        )  # fmt: skip
    for path in written:
        print(path)
