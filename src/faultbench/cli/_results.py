"""What the commands that read results share: loading, host facts, model notes, safe text."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faultbench.cli.lean import uncollected
from faultbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from faultbench.model import Trial
    from faultbench.plots.facets import Context
    from faultbench.records import Results

MAX_FOREIGN = 64 << 20  # bytes of another program's file
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass
class Loaded:
    """One results file and its table."""

    results: "Results"
    df: "pd.DataFrame"

    @property
    def host(self) -> dict[str, Any]:
        """The header's host, empty where results were imported without one."""
        return self.results.header.host


def load(path: Path, *, trials: bool = True) -> Loaded:
    """Read a results file; notes about it go to stderr.

    Kept are the table and, with ``trials``, what figures and ledgers need of each trial beyond it:
    the rest takes more memory than all else.
    """
    from faultbench import records, table

    rows: dict[str, tuple[Any, ...]] = {}
    most: dict[str, int] = {}  # workers by machine

    def keep(trial: "Trial") -> "Trial | None":
        row = table.row(trial)
        rows[trial.trial_id] = table.cells(row)  # of several records the last counts
        if not trials:
            return None
        machine, threads = trial.spec.machine, trial.spec.threads
        drawn = threads >= most.get(machine, 0)
        if _rated(trial, row):
            most[machine] = max(threads, most.get(machine, 0))
        return _slim(trial, histograms=drawn)

    with uncollected():
        results = records.read_each(path, keep)
        df = table.of_rows(rows.values())
        rows.clear()
        for note in results.notes:
            say(note)
        if df.empty:
            raise DataError(
                f"{path}: holds no finished trial; go on with `faultbench sweep --resume`"
            )
        return Loaded(results, df)


def _rated(trial: "Trial", row: dict[str, Any]) -> bool:
    """Return whether figures show a trial by whichever rate."""
    rates = row["faults_per_s"], row["faults_per_cpu_s"]
    return "emulated" not in trial.flags and all(r is not None and r >= 0 for r in rates)


def _slim(trial: "Trial", *, histograms: bool) -> "Trial":
    """Return spec, status, steps and lines of a trial, and its two totals.

    And its outcome histograms, which are drawn at each machine's most workers only.
    """
    from faultbench.model import Trial

    latency = trial.latency.items() if histograms else ()
    return Trial(
        trial.spec,
        trial.status,
        trial.flags,
        trial.message,
        worker={
            name: trial.worker[name] for name in ("faults", "window_ns") if name in trial.worker
        },
        latency={
            outcome: dict(zip(map(sys.intern, histogram), histogram.values(), strict=True))
            for outcome, histogram in latency
        },
        cpus=trial.cpus,
        extra=trial.extra,
    )


def say(text: str) -> None:
    """Print a message for people on stderr."""
    print(f"faultbench: {safe(text)}", file=sys.stderr)


def safe(text: object) -> str:
    """Return text from a file without anything a terminal would obey."""
    return _CONTROL.sub("", str(text))


def cpus_of(host: dict[str, Any]) -> int | None:
    """Return the number of CPUs a sweep could use, if its header says."""
    value = host.get("cpus")
    return value if type(value) is int and value > 0 else None


def models_of(df: "pd.DataFrame") -> dict[str, str]:
    """Return what each simulated machine is a model of, as far as this installation knows it."""
    names = [str(m) for m in df["machine"].unique() if str(m).startswith("virtual")]
    if not names:
        return {}
    from faultbench.errors import FaultbenchError
    from faultbench.machines.description import load as description

    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = description(name.partition(":")[2]).about_model
        except FaultbenchError:
            continue  # a machine file of somebody else's: the panel still says SIMULATED
    return found


def foreign_text(path: Path) -> str | None:
    """Return the text of another program's file; None of what begins as records of ours do.

    It is read once: of a pipe the beginning would be gone. What has no end is not read to it.
    Raises ``DataError`` for what cannot be read, is no text or larger than ``MAX_FOREIGN``.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(1)
            if data == b"{":
                return None
            data += stream.read(MAX_FOREIGN)
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(data) > MAX_FOREIGN:
        raise DataError(f"{path}: larger than {MAX_FOREIGN >> 20} MiB")
    try:
        return data.decode("utf-8-sig")  # spreadsheets begin with a byte order mark
    except UnicodeDecodeError:
        raise DataError(f"{path}: neither a results file nor a text file") from None


def context_of(loaded: Loaded) -> "Context":
    """Return what the figures of a file say beside its numbers."""
    return context_of_trials(loaded.df, cpus_of(loaded.host))


def context_of_trials(df: "pd.DataFrame", cpus: int | None) -> "Context":
    """Return what figures say beside the numbers of ``df``, measured on ``cpus`` CPUs."""
    from faultbench.analysis.frame import transient_in, unconfirmed_in
    from faultbench.plots.facets import Context

    said = (unconfirmed_in(df), transient_in(df))
    return Context(cpus=cpus, models=models_of(df), notes=[f"{s}." for s in said if s])


def laboratory(file: Path, prefix: Path) -> list[Path]:
    """Draw what a laboratory counted, kernel beside model; its times are an emulator's."""
    from faultbench import records
    from faultbench.lab import picture

    whole = records.read(file).trials  # `load` keeps only what the tables need
    return picture.draw(whole, picture.load_instructions(), prefix)
