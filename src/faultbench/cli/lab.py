"""``faultbench lab``: real kernels in a guest, and what they say about the model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def _say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr)


def lab(
    action: Annotated[str, typer.Argument(help="fetch, run, check, plot.", metavar="ACTION")],
    file: Annotated[
        Path | None, typer.Argument(help="check, plot: records of an earlier run.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="run: where the records go; plot: the prefix."),
    ] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="check: against the shipped counts, without QEMU.")
    ] = False,
    sequence: Annotated[
        bool, typer.Option("--sequence", help="check: also the order of lock operations.")
    ] = False,
    instructions: Annotated[
        bool, typer.Option("--instructions", help="run: instructions per fault, a cost profile.")
    ] = False,
    module: Annotated[
        Path | None, typer.Option(help="run: a driver's sources, to be faulted instead.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="run --module: its device file.")] = None,
    symbol: Annotated[
        str | None, typer.Option(help="run --module: its ->huge_fault function.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the guest's files and say where they are.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use cached packages, ask no index.")
    ] = False,
) -> None:
    """Run the cases on real Debian kernels under QEMU and check the model against them.

    fetch downloads the kernels (apt-get download; nothing is installed); run boots them and writes
    records; check puts kernel beside model and fails where they differ; plot draws both.
    """
    from faultbench.errors import UsageError

    if action not in _TAKES:
        raise UsageError(f"lab {action}: unknown; there are {', '.join(_TAKES)}")
    _refuse(
        action,
        {
            "FILE": file,
            "-o": output,
            "--recorded": recorded,
            "--sequence": sequence,
            "--instructions": instructions,
            "--module": module,
            "--device": device,
            "--symbol": symbol,
            "--keep": keep,
            "--offline": offline,
        },
    )
    if action == "fetch":
        _fetch()
    elif action == "plot":
        _plot(file, output)
    elif action == "check":
        _check(file, recorded=recorded, sequence=sequence, offline=offline, keep=keep)
    elif module is not None:
        _module(module, device, symbol, keep=keep, offline=offline)
    elif instructions:
        _instructions(output, keep=keep, offline=offline)
    else:
        _run(output, keep=keep, offline=offline)


_TAKES = {
    "fetch": (),
    "run": ("-o", "--instructions", "--module", "--device", "--symbol", "--keep", "--offline"),
    "check": ("FILE", "--recorded", "--sequence", "--keep", "--offline"),
    "plot": ("FILE", "-o"),
}
_WHY = {
    ("fetch", "--offline"): "to fetch is to ask the index",
    ("plot", "--recorded"): "the shipped counts are drawn where no FILE is named",
    ("check", "-o"): "`lab run -o FILE` writes records, `lab check FILE` checks them",
}


def _refuse(action: str, given: dict[str, object]) -> None:
    """Refuse what would be ignored."""
    from faultbench.errors import UsageError

    for name, value in given.items():
        if value and name not in _TAKES[action]:
            takes = ", ".join(_TAKES[action]) or "no options"
            why = _WHY.get((action, name), f"it takes {takes}")
            raise UsageError(f"lab {action} {name}: {why}")
    if given["--module"] is None and (given["--device"] or given["--symbol"]):
        raise UsageError("--device and --symbol belong to lab run --module DIR")
    if given["--module"] and (given["--instructions"] or given["-o"]):
        raise UsageError("lab run --module: prints its report; without --instructions and -o")
    if given["FILE"] and given["--recorded"]:
        raise UsageError("lab check: either FILE or --recorded")
    boots = given["--sequence"] and not given["--recorded"]
    if given["--keep"] and (given["FILE"] or given["--recorded"]) and not boots:
        raise UsageError("lab check --keep: no guest is booted, there is nothing to keep")


def _fetch() -> None:
    from faultbench.lab import packages

    for series in packages.SERIES:
        kernel = packages.fetch(series, _say)
        print(f"{kernel.release}  {kernel.root}")


def _writable(output: Path | None) -> None:
    """Refuse before a guest boots, not after."""
    from faultbench.errors import OutputError
    from faultbench.output import writable

    if output is None:
        return
    writable(output)
    if output.exists():
        raise OutputError(f"{output}: exists; name another file with -o")


def _run(output: Path | None, *, keep: bool, offline: bool) -> None:
    from faultbench.lab import run

    _writable(output)
    trials = run.run_all(_say, offline=offline, keep=keep)
    target = output or run.last()
    if output is None:
        target.unlink(missing_ok=True)
    run.save(target, trials)
    print(f"{len(trials)} records: {target}")
    print(f"next: faultbench lab check {target}")


def _check(file: Path | None, *, recorded: bool, sequence: bool, offline: bool, keep: bool) -> None:
    from faultbench.lab import check, run

    if recorded or file is not None:
        trials = run.read(run.RECORDED if file is None else file)
    else:
        trials = run.run_all(_say, offline=offline, keep=keep)
    found = list(check.rows(trials))
    print(check.table(found))
    print()
    print(check.summary(found))
    bad = not found or any(row.differences or row.uncounted for row in found)
    if sequence:
        from faultbench.lab import sequence as order

        text, same = order.report(recorded=recorded, say=_say, offline=offline, keep=keep)
        print()
        print(text)
        bad = bad or not same
    if bad:
        raise typer.Exit(1)


def _plot(file: Path | None, output: Path | None) -> None:
    from faultbench.lab import picture, run
    from faultbench.output import writable_figures

    prefix = output or Path("laboratory")
    source = run.RECORDED if file is None else file
    writable_figures(prefix, source)
    trials = run.read(source)
    _say(f"instructions: the shipped counts of {picture.instructions_of()}")
    for path in picture.draw(trials, picture.load_instructions(), prefix):
        print(path)


def _module(
    module: Path, device: str | None, symbol: str | None, *, keep: bool, offline: bool
) -> None:
    from faultbench.errors import UsageError
    from faultbench.lab import driver

    if device is None:
        raise UsageError("lab run --module needs --device PATH: the device file it makes")
    report = driver.run(module, device, symbol, _say, offline=offline, keep=keep)
    print(report.text)
    if not report.clean:
        raise typer.Exit(1)


def _instructions(output: Path | None, *, keep: bool, offline: bool) -> None:
    from faultbench.lab import instructions

    _writable(output)
    measured = instructions.run(_say, offline=offline, keep=keep)
    print(instructions.table(measured))
    if output is not None:
        instructions.write_profile(output, measured)
        print(f"cost profile: {output}")
