"""Machine descriptions: topology and figures of a machine to simulate, each with its source.

A description is a TOML file: names and counts at the top, ``[topology]``, ``[ns]`` (latencies) and
``[rules]``; every figure is a table with a ``source``, which begins with the word *estimate* where
nobody has measured it. ``docs/machines.md`` explains each figure.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from faultbench.errors import UsageError
from faultbench.model import digest
from faultbench.sysfs import small_file

NS = (
    "load store rmw core l3 socket remote memory invalidate residency pause park wake unpark"
).split()
RULES: dict[str, tuple[str, ...] | tuple[int, int]] = {
    "in_flight_percent": (0, 100),
    "arbitration": ("fifo", "nearest"),
    "bypass": (0, 1_000_000),
    "prefetchw": ("off", "stall", "queue", "merge"),
    "dirty_load": ("shares", "migrates"),
    "overlap_ns": (0, 10_000),
    "store_buffer": (1, 1024),
    "outstanding": (1, 254),
}
# Rules that a file may leave out, and what then holds.
LEFT_OUT = {
    "dirty_load": {"value": "shares", "source": "estimate: a load leaves the other's copy"},
    "overlap_ns": {"value": 0, "source": "estimate: a CPU does nothing behind a missing access"},
}
TOP = {"name": str, "vendor": str, "model": str, "arch": str}
COUNTS = ("sockets", "cores", "cpus")
TOPOLOGY = ("cpus_per_core", "cpus_per_l3", "cpus_per_socket")
MAX_CPUS = 1024
MAX_NS = 1_000_000.0
LEAST = {"pause": (0.1, "spinning takes time"), "load": (0.1, "a look takes time")}  # ns
MAX_BYTES = 1 << 16
# Ours, not the machine's: tasks start within a microsecond and busy work varies by 2 %, so that
# CPUs that do the same do not march in step.
JITTER_THOUSANDTHS, STAGGER_PS = 20, 1_000_000


@dataclass(frozen=True)
class Description:
    """One machine. `ns` and `rules` by figure; `sources` of both."""

    name: str
    vendor: str
    model: str
    arch: str
    sockets: int
    cores: int
    cpus: int
    cpus_per_core: int
    cpus_per_l3: int
    cpus_per_socket: int
    ns: dict[str, float]
    rules: dict[str, int | str]
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def estimated(self) -> list[str]:
        """Latencies that nobody measured."""
        return [name for name in NS if self.sources[name].startswith("estimate")]

    @property
    def about_model(self) -> str:
        """The line that every figure of this machine carries."""
        return (
            f"model of {self.vendor} {self.model}, "
            f"{len(self.estimated)} of {len(NS)} latencies estimated"
        )

    @property
    def digest(self) -> str:
        """Of everything that changes a result."""
        # A rule at what holds without it changes nothing: files from before it keep their digest.
        unsaid = {"dirty_load", "overlap"}
        figures = self.figures().items()
        return digest({name: value for name, value in figures if value or name not in unsaid})

    def figures(self, **changed: int) -> dict[str, int]:
        """Return the engine's FIGURES: latencies in ps, choices as codes; `changed` overrides."""
        values = {
            "cpus": self.cpus,
            "cpus_per_core": self.cpus_per_core,
            "cpus_per_l3": self.cpus_per_l3,
            "cpus_per_socket": self.cpus_per_socket,
            **{name: round(ns * 1000) for name, ns in self.ns.items()},
            **{name: _code(name, value) for name, value in self.rules.items()},
            "jitter": JITTER_THOUSANDTHS,
            "stagger": STAGGER_PS,
        }
        values["overlap"] = values.pop("overlap_ns") * 1000
        values["in_flight"] = values.pop("in_flight_percent") * 10
        return {**values, **changed}


def _code(name: str, value: int | str) -> int:
    return RULES[name].index(value) if isinstance(value, str) else value


def names() -> list[str]:
    """Return the machines that come with faultbench, by size."""
    folder = resources.files("faultbench.machines") / "data"
    found = [item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml")]
    return sorted(found, key=lambda name: (load(name).cpus, name))


@cache
def load(name: str) -> Description:
    """Return a machine that comes with faultbench, or one from a TOML file.

    Raises `UsageError` that says what is wrong with the name or with the file.
    """
    bundled = resources.files("faultbench.machines") / "data" / f"{name}.toml"
    if "/" not in name and not name.endswith(".toml"):
        if not bundled.is_file():
            raise UsageError(
                f"--machine virtual:{name}: unknown; `faultbench machines` lists them, or give a "
                "TOML file"
            )
        return parse(bundled.read_text(encoding="utf-8"), name)
    try:
        text = small_file(Path(name), MAX_BYTES)
        if text is None:
            raise UsageError(f"--machine virtual:{name}: larger than 64 KiB")
        made = parse(text, name)
    except OSError as error:
        raise UsageError(f"--machine virtual:{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--machine virtual:{name}: not a text file") from None
    if made.name in names() and made != load(made.name):
        raise UsageError(
            f"machine file {name}: {made.name} is a machine that ships with other figures; "
            "give yours a name of its own"
        )
    return made


def parse(text: str, where: str) -> Description:
    """Return the description in a TOML text; `where` names it in errors."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"machine file {where}: {error}") from None
    check = _Checker(where)
    check.keys(raw, [*TOP, *COUNTS, "topology", "ns", "rules"], "at the top")
    values: dict[str, Any] = {}
    for name in TOP:
        values[name] = raw[name]
        if not isinstance(raw[name], str) or not 0 < len(raw[name]) <= 100 or "\n" in raw[name]:
            check.fail(f"{name} wants a short text")
    if not all(c.isalnum() or c in "._-" for c in values["name"]):
        check.fail("name wants letters, digits, dots and dashes")
    for name in COUNTS:
        values[name] = check.whole(name, raw[name], 1, MAX_CPUS)
    topology = check.table(raw, "topology", list(TOPOLOGY))
    for name in TOPOLOGY:
        values[name] = check.whole(f"topology.{name}", topology[name], 1, values["cpus"])
    ns, rules, sources = {}, {}, {}
    for name, figure in check.table(raw, "ns", NS).items():
        value, sources[name] = check.figure(f"ns.{name}", figure, "ns")
        if isinstance(value, bool) or not isinstance(value, int | float):
            check.fail(f"ns.{name}.ns wants a number")
        if not 0 <= value <= MAX_NS:
            check.fail(f"ns.{name}.ns = {value} is not between 0 and {MAX_NS:g}")
        least, why = LEAST.get(name, (0, ""))
        if value < least:
            check.fail(f"ns.{name}.ns = {value} is below {least}: {why}")
        ns[name] = float(value)
    if isinstance(raw["rules"], dict):
        raw["rules"] = {**LEFT_OUT, **raw["rules"]}
    for name, figure in check.table(raw, "rules", list(RULES)).items():
        value, sources[name] = check.figure(f"rules.{name}", figure, "value")
        allowed = RULES[name]
        if isinstance(allowed[0], str):
            if value not in allowed:
                check.fail(f"rules.{name}.value wants one of {', '.join(map(str, allowed))}")
            rules[name] = value
        else:
            rules[name] = check.whole(f"rules.{name}.value", value, *allowed)
    made = Description(**values, ns=ns, rules=rules, sources=sources)
    check.shape(made)
    return made


class _Checker:
    """Errors that name the file and the figure."""

    def __init__(self, where: str) -> None:
        self.where = where

    def fail(self, what: str) -> None:
        raise UsageError(f"machine file {self.where}: {what}")

    def keys(self, table: dict[str, Any], wanted: list[str], where: str) -> None:
        for name in wanted:
            if name not in table:
                self.fail(f"{name} is missing {where}")
        for name in table:
            if name not in wanted:
                self.fail(f"{name!r:.60} {where} is unknown; there are {', '.join(wanted)}")

    def table(self, raw: dict[str, Any], name: str, wanted: list[str]) -> dict[str, Any]:
        table = raw[name]
        if not isinstance(table, dict):
            self.fail(f"[{name}] wants a table")
        self.keys(table, wanted, f"in [{name}]")
        return {key: table[key] for key in wanted}

    def figure(self, name: str, figure: Any, key: str) -> tuple[Any, str]:
        if not isinstance(figure, dict) or set(figure) != {key, "source"}:
            self.fail(f'{name} wants {{ {key} = …, source = "where it is from, or estimate: …" }}')
        if not isinstance(figure["source"], str) or not figure["source"].strip():
            self.fail(f"{name}.source wants a text: where it is from, or estimate: …")
        return figure[key], figure["source"]

    def whole(self, name: str, value: Any, least: int, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fail(f"{name} = {value!r:.40} is not a whole number from {least} to {most}")
        return int(value)

    def shape(self, d: Description) -> None:
        if d.cpus != d.cores * d.cpus_per_core:
            self.fail(f"cpus = {d.cpus} is not cores × cpus_per_core = {d.cores * d.cpus_per_core}")
        if d.cpus != d.sockets * d.cpus_per_socket:
            product = d.sockets * d.cpus_per_socket
            self.fail(f"cpus = {d.cpus} is not sockets × cpus_per_socket = {product}")
        for small, large in (
            ("cpus_per_core", "cpus_per_l3"),
            ("cpus_per_l3", "cpus_per_socket"),
        ):
            if getattr(d, large) % getattr(d, small):
                self.fail(f"{large} is not a multiple of {small}")
        if not d.ns["core"] <= d.ns["l3"] <= d.ns["socket"] <= d.ns["remote"]:
            self.fail("ns: core, l3, socket, remote must not shrink in this order")
