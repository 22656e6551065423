"""``faultbench compare``: two files, or two paths or kernels of one, case by case."""

import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultbench.cli.lean import uncollected
from faultbench.cli.plot import Metric

if TYPE_CHECKING:
    from faultbench.analysis.compare import Comparison
    from faultbench.analysis.gate import Judgement, Rule
    from faultbench.cli._results import Loaded

MOST_NAMED = 3


class By(StrEnum):
    """What to compare within one file."""

    PATH = "path"
    KERNEL = "kernel"


class Format(StrEnum):
    """How to print it."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    MMTESTS = "mmtests"


@uncollected()
def compare(
    files: Annotated[
        list[Path], typer.Argument(help="A and B, or one file together with --by.", metavar="A [B]")
    ],
    by: Annotated[By | None, typer.Option(help="Compare within one file.")] = None,
    pair: Annotated[
        str | None, typer.Option(help="With --by: which two, e.g. --pair abort,direct.")
    ] = None,
    metric: Annotated[Metric, typer.Option(help="Wall-clock or CPU-time rate.")] = Metric.WALL,
    format: Annotated[Format, typer.Option(help="How to print the comparison.")] = Format.TABLE,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Exit with 3 when a case breaks the rule, e.g. 'faults_per_s < -5% for "
            "handler=ext4'. May be repeated.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Compare results of unlike hosts.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Cases that one side lacks are no error.")
    ] = False,
) -> None:
    """Say case by case whether B differs from A, by how much, and whether that is real.

    Exits with 3 when a --fail-if rule is broken, with 65 when a rule could judge nothing, when a
    case is missing on one side (--partial allows it), or when every case is a single trial.
    """
    from faultbench.analysis import formats, gate
    from faultbench.analysis.frame import CPU, WALL
    from faultbench.cli._results import load, safe
    from faultbench.errors import DataError, UsageError

    rules = [gate.parse(text) for text in fail_if or []]
    if len(files) > 2:
        raise UsageError(f"{len(files)} files given: compare two, or one with --by path")
    if (len(files) == 1) != (by is not None):
        raise UsageError(
            "give two files, or one file with --by path or --by kernel (not both of these)"
        )
    if pair and by is None:
        raise UsageError("--pair needs --by")
    loaded = [load(path, trials=False) for path in files]
    if len(loaded) == 2:
        _same_host(loaded[0], loaded[1], files, force=force)
    done: dict[str, Comparison] = {}

    def compared(which: str) -> "Comparison":
        if which not in done:
            done[which] = _compare(loaded, files, by, which, pair)
        return done[which]

    main = compared(metric.value)
    try:
        other = compared(CPU if metric is Metric.WALL else WALL)
    except DataError:
        other = None  # imported results may have one rate only
    for rule in rules:
        gate.check(rule, compared(rule.rate) if rule.rate else main)
    if format is Format.JSON:
        print(formats.to_json(main))
    elif format is Format.MARKDOWN:
        print(safe(formats.to_markdown(main, other)))
    elif format is Format.MMTESTS:
        both = [c for c in (other, main) if c is not None]
        print(safe(formats.to_mmtests(sorted(both, key=lambda c: c.metric))))
    else:
        _print_table(main, other)
        for line in formats.footnotes(main):
            print(safe(line))
    sys.stdout.flush()
    judged = [gate.judge(r, compared(r.rate) if r.rate else main) for r in rules]
    _conclude(rules, judged, main, partial=partial)


def _conclude(
    rules: "list[Rule]", judged: "list[Judgement]", main: "Comparison", *, partial: bool
) -> None:
    """Say what breaks a rule, and what could not be judged; end with an exit code accordingly."""
    from faultbench.analysis import gate
    from faultbench.cli._results import say
    from faultbench.errors import DataError

    idle = []
    for rule, found in zip(rules, judged, strict=True):
        if not found.judged:
            why = Counter(line.rpartition(": ")[2] for line in found.mute)
            told = ", ".join(f"{count} {reason}" for reason, count in why.items())
            idle.append(f"{rule.text!r} could judge no case ({told})")
            continue
        for line in found.mute:
            say(f"--fail-if {rule.text!r} cannot judge {line}")
        for line in found.bad:
            say(f"--fail-if {rule.text!r} is broken by {line}")
    if any(found.bad for found in judged):
        raise typer.Exit(gate.EXIT_CODE)
    if idle:
        raise DataError(f"--fail-if {'; '.join(idle)}: nothing was tested")
    if len(main.lone) and not partial:
        raise DataError(f"{_missing(main)}; --partial compares the others only")
    if main.untested:
        raise DataError(
            "every case is a single trial on one side: nothing tells a difference from noise; "
            "sweep with --repeats 6 or more"
        )


def _missing(main: "Comparison") -> str:
    """Return which cases one side lacks, a few of them by name."""
    import pandas as pd

    from faultbench.analysis.frame import names_of

    names = names_of(pd.concat([main.table[main.keys], main.lone[main.keys]]))[len(main.table) :]
    shown = []
    for name, row in zip(names[:MOST_NAMED], main.lone.to_dict("records"), strict=False):
        side, other = (row["a"], row["b"]) if row["only"] == "a" else (row["b"], row["a"])
        shown.append(f"{name} (in {side}, not in {other})")
    more = len(names) - len(shown)
    return f"{len(names)} case(s) missing on one side: {', '.join(shown)}" + (
        f" and {more} more" if more else ""
    )


def _compare(
    loaded: "list[Loaded]", files: list[Path], by: By | None, metric: str, pair: str | None
) -> "Comparison":
    from faultbench.analysis import compare as comparing
    from faultbench.errors import UsageError

    if by is None:
        return comparing.files(loaded[0].df, loaded[1].df, metric, (str(files[0]), str(files[1])))
    sides = None
    if pair:
        a, sep, b = pair.partition(",")
        if not sep or not a or not b or "," in b:
            raise UsageError(f"--pair {pair}: name two, as in --pair abort,direct")
        sides = (a.strip(), b.strip())
    return comparing.by_column(loaded[0].df, by.value, metric, sides)


def _same_host(a: "Loaded", b: "Loaded", files: list[Path], *, force: bool) -> None:
    from faultbench.cli._results import say
    from faultbench.errors import DataError
    from faultbench.host import FACTS, unlike

    for side, path in ((a, files[0]), (b, files[1])):
        told = any(side.host.get(fact) is not None for fact in FACTS)
        if not told and not _simulated(side):
            say(f"{path} names no host: nothing vouches that both ran on the same machine")
    if _simulated(a) and _simulated(b):
        return  # a simulation gives the same on every host
    # Where real faults of the running kernel were timed, the kernel is what is compared.
    real = all((side.df["machine"] == "kernel").all() for side in (a, b))
    differing = unlike(a.host, b.host, ignore=("kernel",) if real else ())
    if differing and not force:
        raise DataError(
            f"the files come from unlike hosts ({'; '.join(differing)}); a difference would be the "
            "machines'. --force compares them all the same"
        )
    for line in differing:
        say(f"unlike hosts: {line}")


def _simulated(side: "Loaded") -> bool:
    from faultbench.analysis.frame import is_virtual

    return bool(side.df["machine"].map(is_virtual).all())


def _print_table(main: "Comparison", other: "Comparison | None") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from faultbench.analysis import formats, stats
    from faultbench.cli._results import safe

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings, rows = formats.columns(main, other)
    for heading in headings:
        numeric = heading not in ("case", "verdict")
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    coloured = {headings.index(name) for name in ("B/A", "verdict")}
    for cells in rows:
        style = {stats.FASTER: "green", stats.SLOWER: "red"}.get(cells[-1], "")
        table.add_row(
            *(Text(safe(c), style=style if i in coloured else "") for i, c in enumerate(cells))
        )
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
