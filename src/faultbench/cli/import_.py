"""``faultbench import``: other programs' results as records of ours."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Source(StrEnum):
    """Which program wrote the file."""

    WIS = "will-it-scale"
    PFT = "pft"


def import_(
    files: Annotated[list[Path], typer.Argument(help="Results of the other program.")],
    format: Annotated[Source, typer.Option(help="The program that wrote them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Results file to write (JSONL).")],
    test: Annotated[str, typer.Option(help="Name of the test, where the file has none.")] = "",
    threads: Annotated[
        str, typer.Option(help="Raw will-it-scale output: tasks of each run, e.g. 1,2,4.")
    ] = "",
    processes: Annotated[
        bool,
        typer.Option("--processes", help="Raw will-it-scale output: of a _processes binary."),
    ] = False,
    columns: Annotated[
        str, typer.Option(help="PFT lines without a header: gb,thr,cline or gb,rep,thr.")
    ] = "gb,thr,cline",
    kernel: Annotated[
        str, typer.Option(help="Kernel the results are from, as compare A B names it.")
    ] = "-",
) -> None:
    """Turn will-it-scale CSV or raw output, or PFT lines, into a results file."""
    from faultbench import __version__, importing, records, values
    from faultbench.cli._results import foreign_text, say
    from faultbench.errors import DataError, OutputError

    if out.exists():
        raise OutputError(f"{out}: exists; name another file with -o")
    values.given("kernel", kernel)
    values.given("test", test or "-")
    merged = []
    for path in files:
        text = foreign_text(path)
        if text is None:
            raise DataError(f"{path}: holds records of faultbench: nothing to import")
        if format is Source.WIS:
            got = importing.will_it_scale(
                str(path), text, test=test, tasks=_tasks(threads), kernel=kernel,
                processes=processes or None,
            )  # fmt: skip
        else:
            got = importing.pft(str(path), text, test=test, order=columns, kernel=kernel)
        for note in got.notes:
            say(note)
        merged += got.trials
    header = records.Header(__version__, source=format.value)
    writer = records.Writer.create(out, header)
    try:
        with writer:
            for trial in importing.numbered(merged):
                writer.append(trial)
    except BaseException:  # half of a file is none, and nothing could go on with it
        out.unlink()
        raise
    say(f"{len(merged)} trial(s) written to {out}")


def _tasks(text: str) -> list[int]:
    from faultbench.errors import UsageError
    from faultbench.importing import MAX_TASKS

    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(p.isascii() and p.isdigit() and 1 <= int(p[:9]) <= MAX_TASKS for p in parts):
        raise UsageError(f"--threads {text}: whole numbers from 1, e.g. 1,2,4")
    return [int(p) for p in parts]
