"""Cost profiles: busy ns per step, beside the locks, which are run.

A profile is a TOML file: ``name``, ``about`` and a table ``[steps]`` whose keys are the steps of
``src/_core/mm/steps.h`` in lower case and whose values are ``{ ns = N, source = "…" }`` or plain N.
``none`` has every step at 0; ``default`` ships; anything else is a file.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from faultbench.errors import UsageError
from faultbench.model import digest
from faultbench.sysfs import small_file
from faultbench.values import show

MAX_NS = 1_000_000_000
MAX_FILE = 1 << 20


@dataclass(frozen=True)
class CostProfile:
    """`steps`: ns by step; `sources`: where each figure comes from, or the word estimate."""

    name: str
    about: str
    steps: dict[str, int]
    sources: dict[str, str]

    @property
    def digest(self) -> str:
        """Identifies the figures: two profiles with the same figures are the same."""
        return digest({step: ns for step, ns in self.steps.items() if ns})

    @property
    def estimated(self) -> int:
        """How many figures are estimates."""
        return sum(source.startswith("estimate") for source in self.sources.values())

    def describe(self) -> str:
        """One line for people."""
        if not any(self.steps.values()):
            return f"{self.name}: no busy time, locks and cache lines only"
        return (
            f"{self.name}: {self.about} ({self.estimated} of {len(self.steps)} figures estimated)"
        )


def load(name: str) -> CostProfile:
    """Return the profile ``--cost NAME|FILE`` means; `UsageError` for what is none."""
    default = _shipped()
    if name == "default":
        return default
    if name == "none":
        return CostProfile("none", "", dict.fromkeys(default.steps, 0), {})
    path = Path(name)
    if path.suffix != ".toml" and not path.exists():
        raise UsageError(f"--cost {show(name)}: there are default and none; or give a .toml file")
    try:
        text = small_file(path, MAX_FILE)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not readable as text"
        raise UsageError(f"--cost {show(name)}: {reason.lower()}") from None
    if text is None:
        raise UsageError(f"--cost {show(name)}: larger than 1 MiB; not a cost profile")
    made = parse(text, show(path.stem), set(default.steps))
    if made.name == "none" or (made.name == "default" and made.digest != default.digest):
        raise UsageError(  # tables name a profile, and would say its sources of other figures
            f"--cost {show(name)}: {made.name} is a profile that ships with other figures; "
            "give yours a name of its own"
        )
    return made


@functools.cache
def _shipped() -> CostProfile:
    return parse(files(__name__).joinpath("default.toml").read_text("utf-8"), "default", None)


def parse(text: str, name: str, known: set[str] | None) -> CostProfile:
    """Parse a profile; steps it leaves out cost nothing. `known`: the steps there are."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"--cost {name}: not TOML: {error}") from None
    table = raw.get("steps")
    if not isinstance(table, dict) or (extra := set(raw) - {"name", "about", "steps"}):
        what = (
            f"unknown key {sorted(extra)[0]!r}" if isinstance(table, dict) else "no table [steps]"
        )
        raise UsageError(f"--cost {name}: {what}; see `faultbench info --cost default`")
    steps, sources = dict.fromkeys(sorted(known or ()), 0), {}
    for step, entry in table.items():
        if known is not None and step not in known:
            raise UsageError(f"--cost {name}: unknown step {step!r}; see src/_core/mm/steps.h")
        steps[step] = _ns(name, step, entry.get("ns") if isinstance(entry, dict) else entry)
        source = entry.get("source", "") if isinstance(entry, dict) else ""
        if not isinstance(source, str):
            raise UsageError(f"--cost {name}: the source of {step} is not a text")
        sources[step] = source
    return CostProfile(_text(raw, "name", name), _text(raw, "about", "own figures"), steps, sources)


def _ns(name: str, step: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_NS:
        raise UsageError(f"--cost {name}: {step} wants whole ns from 0 to {MAX_NS}, not {value!r}")
    return value


def _text(raw: dict[str, Any], key: str, default: str) -> str:
    value = raw.get(key, default)
    return value if isinstance(value, str) and value.isprintable() and value else default
