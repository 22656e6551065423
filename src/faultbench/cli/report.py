"""``faultbench report``: one page that answers, to send."""

import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultbench.cli.lean import uncollected

if TYPE_CHECKING:
    from faultbench.cli._results import Loaded
    from faultbench.report.facts import Facts

MOST_PANELS = 8  # of each machine


class Format(StrEnum):
    """What the page is."""

    HTML = "html"
    MARKDOWN = "markdown"


@uncollected()
def report(
    file: Annotated[Path, typer.Argument(help="Results file (JSONL) of `sweep` or `import`.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Default: FILE.html; Markdown goes to stdout."),
    ] = None,
    format: Annotated[Format, typer.Option(help="One HTML file, or Markdown.")] = Format.HTML,
) -> None:
    """Write one self-contained page: the answer, how sure it is, where it comes from."""
    from faultbench.cli._results import load, models_of, safe, say
    from faultbench.output import replacing, writable
    from faultbench.report import facts, markdown, page

    if out is not None:
        writable(out, file)  # before the figures are drawn
    loaded = load(file)
    # Of a file that was read: `.` and `/` have no name to put a suffix to.
    target = None if out is None and format is Format.MARKDOWN else out or file.with_suffix(".html")
    header = loaded.results.header
    said = facts.gather(
        loaded.df,
        loaded.results.trials,
        host=header.host,
        plan=header.plan,
        source=header.source,
        models=models_of(loaded.df),
    )
    if format is Format.MARKDOWN:
        text = markdown.render(said)
        if target is None:
            print(safe(text), end="")
            return
    else:
        with tempfile.TemporaryDirectory(prefix="faultbench-") as folder:
            text = page.render(said, _figures(file, loaded, said, Path(folder)), _left_out(loaded))
    assert target is not None
    writable(target, file)
    with replacing(target) as stream:
        stream.write(text)
    say(f"wrote {target}")


def _figures(file: Path, loaded: "Loaded", said: "Facts", folder: Path) -> list[Path]:
    from dataclasses import replace

    from faultbench.cli._results import context_of, laboratory
    from faultbench.plots import sweep_figures
    from faultbench.plots.facets import line_column

    by = line_column(loaded.df)
    compared = next((wall for way, wall, _ in said.comparisons if way == by), None)
    context = replace(
        context_of(loaded),
        formats=("svg",),
        most_panels=MOST_PANELS,
        compared=compared,
        ledgers=said.ledgers,
    )
    trials = loaded.results.trials
    if loaded.results.header.source == "lab":
        drawn = laboratory(file, folder / "x-laboratory")
        return [path for path in drawn if path.suffix == ".svg"]
    return sweep_figures(
        loaded.df, folder / "report", trials=trials, context=context,
        processes=len(os.sched_getaffinity(0)),
    )  # fmt: skip


def _left_out(loaded: "Loaded") -> str:
    """Return what the figures of a page leave out, in words; empty where they show all."""
    from faultbench.analysis.curves import spread
    from faultbench.analysis.frame import WALL, checked
    from faultbench.plots.facets import chosen, facets, line_column

    if loaded.results.header.source == "lab":
        return ""
    kept, _ = checked(loaded.df, WALL)  # as the figures do: without what has no rate
    panels = list(facets(spread(kept), line_column(kept)))
    shown = len(chosen(panels, MOST_PANELS))
    if shown == len(panels):
        return ""
    return (
        f"The figures show {shown} of {len(panels)} panels, the first of each machine; the tables "
        "have every case, and faultbench plot draws all panels."
    )
