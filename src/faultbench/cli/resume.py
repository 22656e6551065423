"""``sweep --resume``: a file holds one sweep, its own; what would make it another is refused.

The header cannot be written again, and a report takes the command that measures the same from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from faultbench import __version__, config, host, records, values
from faultbench.cli._results import say
from faultbench.cli.parts import ids, parts_of
from faultbench.enums import Status
from faultbench.errors import UsageError
from faultbench.topology import Topology


def options(path: str, given: Mapping[str, str], topology: Topology) -> dict[str, str]:
    """Return the options of the sweep in a file; those `given` may repeat them, no more."""
    header = records.read(path).header
    stored = header.plan.get("options")
    if header.source != "sweep":
        raise UsageError(f"{path}: holds results of {values.show(header.source)}, not of a sweep")
    if not isinstance(stored, dict) or not all(isinstance(v, str) for v in stored.values()):
        raise UsageError(f"{path}: holds no options of a sweep to go on with; begin a new file")
    others = [name for name, text in given.items() if stored.get(name) != text]
    if others and not _same({**stored, **given}, stored, topology):
        name = others[0]
        begun = f"--{name} {values.show(stored[name])}" if name in stored else f"no --{name}"
        raise UsageError(
            f"{path}: begun with {begun}, not --{name} {values.show(given[name])}; leave it out to "
            "go on, or begin a new file with -o"
        )
    return stored


def _same(given: Mapping[str, str], stored: Mapping[str, str], topology: Topology) -> bool:
    """Whether two spellings plan the same trials."""
    try:
        mine, theirs = (parts_of(config.parse(each), topology) for each in (given, stored))
    except UsageError:
        return False
    return ids(mine) == ids(theirs)


def finished(results: records.Results, *, retry_failed: bool) -> set[str]:
    """Return the ids of the trials that are not to run again."""
    return {
        trial.trial_id for trial in results.trials if trial.status is Status.OK or not retry_failed
    }


def check(results: records.Results, identity: dict[str, Any], planned: Iterable[str]) -> None:
    """Raise where what is left to run would not go with what is there."""
    before = results.header.host
    if differing := host.unlike(before, identity):
        raise UsageError(
            f"{results.path}: measured on another host (there and here {'; '.join(differing)}); "
            "begin a new file with -o"
        )
    good = {trial.trial_id for trial in results.trials if trial.status is Status.OK}
    if strange := len(good - set(planned)):
        raise UsageError(
            f"{results.path}: {strange} of its {len(good)} trials are not what its options plan "
            "here: another version, or an edited cost profile or machine; begin a new file with -o"
        )
    if results.header.faultbench != __version__:
        say(f"note: begun by faultbench {results.header.faultbench}, this is {__version__}")
