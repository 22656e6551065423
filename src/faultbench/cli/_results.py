"""What the commands that read results share: loading, host facts, model notes, safe text."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faultbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from faultbench.plots.facets import Context
    from faultbench.records import Results

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


def load(path: Path) -> Loaded:
    """Read a results file; notes about it go to stderr."""
    from faultbench import records, table

    results = records.read(path)
    for note in results.notes:
        say(note)
    if not results.trials:
        raise DataError(f"{path}: holds no finished trial; go on with `faultbench sweep --resume`")
    return Loaded(results, table.frame(results.trials))


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


def context_of(loaded: Loaded) -> "Context":
    """Return what the figures of a file say beside its numbers."""
    return context_of_trials(loaded.df, cpus_of(loaded.host))


def context_of_trials(df: "pd.DataFrame", cpus: int | None) -> "Context":
    """Return what figures say beside the numbers of ``df``, measured on ``cpus`` CPUs."""
    from faultbench.plots.facets import Context
    from faultbench.rules import unconfirmed

    said = unconfirmed(df["kernel"])
    notes = [f"{said}."] if said else []
    return Context(cpus=cpus, models=models_of(df), notes=notes)
