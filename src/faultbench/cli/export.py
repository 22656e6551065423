"""``faultbench export``: results as CSV for other tools."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from faultbench.errors import UsageError


def export(
    file: Annotated[str, typer.Argument(help="Results of a sweep.", metavar="FILE")],
    format: Annotated[
        str, typer.Option(help="csv (one row a trial) or will-it-scale.", metavar="FORMAT")
    ] = "csv",
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="Default, and -: stdout.", metavar="OUT", show_default=False
        ),
    ] = None,
) -> None:
    """Export trials as a tidy CSV, or as will-it-scale's CSV for its postprocess.py.

    threads counts workers; counters are their sums, window_ns is their mean. p50_ns to max_ns are
    of the faults whose latency was taken, one in 64: in a short trial p999_ns is max_ns.
    """
    from faultbench import records, table, values, wis
    from faultbench.cli._results import safe, say
    from faultbench.output import writable

    values.choice("format", format, ("csv", "will-it-scale"))
    if output == "-":
        output = None
    if output is not None:
        writable(output, file)
        if format == "will-it-scale" and wis.title_of(output) == output:
            raise UsageError(f"-o {output}: .title is the name of its description; take .csv")
    results = records.read(file)
    for note in results.notes:
        say(note)
    if format == "csv":
        _write(output, lambda write: table.to_csv(results.trials, write))
        return
    cpus = wis.machine_cpus({t.spec.machine for t in results.trials}, results.header.host)
    if unknown := wis.unknown_idle(results.trials, cpus):
        say(f"{file}: how many CPUs {', '.join(unknown)} had is not known: its idle columns are 0")
    series = wis.series(results.trials, cpus)
    if output is None and len(series) > 1:
        raise UsageError(f"{file}: {len(series)} series, one file each; name the first with -o")
    for number, one in enumerate(series):
        name = output if output is None or number == 0 else wis.sibling(output, one.slug)
        _text(name, safe(one.csv()))
        if name is not None:
            _text(wis.title_of(name), safe(one.title) + "\n")
            print(safe(f"{name}: {one.title}"), file=sys.stderr)


def _text(output: str | None, text: str) -> None:
    def produce(write: Callable[[str], object]) -> None:
        write(text)

    _write(output, produce)


def _write(output: str | None, produce: Callable[[Callable[[str], object]], None]) -> None:
    """Let `produce` write to stdout, or to a file that is there whole or not at all."""
    if output is None:
        produce(sys.stdout.write)
        return
    from faultbench.output import replacing

    with replacing(output) as stream:
        produce(stream.write)
