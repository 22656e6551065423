"""Threads beside virtual on this machine: ``python -m faultbench.validation.beside``.

A block calibrates this machine, runs every case on threads, on the simulation of what was just
measured, and on threads again. A ratio is virtual over threads in CPU ns per fault, block by block,
with its bootstrap interval; beside it the A/A interval of threads alone (the second of two like
trials over the first). The journey of a line is measured again at the end of a block: where it has
changed, the host moved a virtual CPU meanwhile, and the block is run again. A last table shows what
other rules of lines would give.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np

from faultbench import calibrate, costs, host, machine_file
from faultbench.analysis import stats
from faultbench.enums import Handler
from faultbench.enums import Path as Way
from faultbench.machines import Job, Machine, get_machine
from faultbench.model import TrialSpec
from faultbench.rules import DEFAULT_KERNEL, NO_FILES, resolve
from faultbench.topology import Topology, read_topology
from faultbench.validation.simulate import Varied

BLOCKS, TRIES = 12, 200
REAL_NS = 40_000_000
WITHIN = 0.15  # what the model is held to, or twice the noise, whichever is more
ON_CPU = 0.9  # share of their windows that threads must have run
MOVED = 0.15  # a line's journey at the end of a block over that at its beginning
PROFILES = ("default", "none")
HANDLERS = (Handler.NOP, Handler.DEVICE_DAX, Handler.EXT4)
Key = tuple[str, Handler, Way, int]  # cost profile, handler, path, workers
# What the simulation of the same block would give with other rules of lines (ps).
OTHERS: dict[str, dict[str, int]] = {
    "a miss stalls": {"overlap": 0},
    "misses overlap, 50 ns": {"overlap": 50_000},
    "a load shares": {"dirty_load": 0},
    "it stalls and shares": {"overlap": 0, "dirty_load": 0},
}


@dataclass
class Cell:
    """One case: CPU ns per fault of each block."""

    real: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    simulated: list[float] = field(default_factory=list)
    on_cpu: list[float] = field(default_factory=list)  # share of the threads' windows
    others: dict[str, list[float]] = field(default_factory=dict)  # simulated, by OTHERS

    def threads(self) -> list[float]:
        """Return what both of a block's trials on threads say of it."""
        return [(a + b) / 2 for a, b in zip(self.real, self.again, strict=True)]

    def ratio(self, other: str = "") -> tuple[float, float, float]:
        """Return virtual over threads with its interval, or that with other rules."""
        return interval(self.threads(), self.others[other] if other else self.simulated)

    def noise(self) -> tuple[float, float, float]:
        """Return the second over the first of two like trials with its interval."""
        return interval(self.real, self.again)

    @property
    def holds(self) -> bool:
        """Whether the ratio is within what the model is held to."""
        _, low, high = self.noise()
        return abs(self.ratio()[0] - 1) <= max(WITHIN, 2 * max(1 - low, high - 1))


def interval(a: list[float], b: list[float]) -> tuple[float, float, float]:
    """Return the median of b/a over blocks, and its bootstrap interval."""
    found = stats.paired_ratios(np.array([a]), np.array([b]))
    return float(found.ratio[0]), float(found.low[0]), float(found.high[0])


class UnsteadyError(Exception):
    """The host kept a CPU for itself for a whole trial, or moved one."""


def cpu_ns(machine: Machine, spec: TrialSpec, cost: Mapping[str, int]) -> tuple[float, float]:
    """Return CPU ns per fault of one trial, and the share of its window it was on a CPU."""
    cpus = () if machine.simulated else read_topology().place(spec.pin, spec.tasks)
    result = machine.run(Job(spec, tuple(cpus), cost, {"lines": False}))
    if result["status"] != "ok":
        raise SystemExit(f"{spec.handler} {spec.path}: {result['invariant']}")
    worker = result["worker"]
    if not all(worker["faults"]):
        raise UnsteadyError
    cpu = float(sum(worker["cpu_ns"]))
    return cpu / sum(worker["faults"]), cpu / max(1, sum(worker["window_ns"]))


def case(handler: Handler, path: Way, workers: int) -> TrialSpec:
    """Return the trial, without its amount of work."""
    return TrialSpec(
        machine="", kernel=DEFAULT_KERNEL, path=path, rules=resolve(DEFAULT_KERNEL, path, ()),
        handler=handler, threads=workers, vmas=workers, files=0 if handler in NO_FILES else 1,
        seed=1,
    )  # fmt: skip


def block(number: int, topology: Topology, cells: Mapping[Key, Cell]) -> calibrate.Calibration:
    """Add one block to `cells` and return its calibration; `UnsteadyError` if the host changed."""
    real = get_machine("threads")
    found = calibrate.measure(topology, lambda _: None, runs=3, steps=False)
    machine = machine_file.description("here", found, topology, "this CPU")
    seen: dict[Key, tuple[float, float, float, float]] = {}
    others: dict[Key, dict[str, float]] = {}
    for key in cells:
        cost = costs.load(key[0]).steps
        timed = replace(case(*key[1:]), duration_ns=REAL_NS, warmup_ns=REAL_NS // 6)
        counted = replace(
            timed, duration_ns=0, warmup_ns=0, faults=2000, warmup_faults=600, seed=number
        )
        first, share = cpu_ns(real, timed, cost)
        model, _ = cpu_ns(Varied(machine, {}), counted, cost)
        second, after = cpu_ns(real, timed, cost)
        if min(share, after) < ON_CPU:
            raise UnsteadyError
        seen[key] = first, second, model, share
        others[key] = {
            name: cpu_ns(Varied(machine, changed), counted, cost)[0]
            for name, changed in (OTHERS.items() if is_shown(key) else ())
        }
    pair = min(found.matrix, key=lambda pair: found.matrix[pair])
    if abs(calibrate.transfer(*pair) / found.matrix[pair] - 1) > MOVED:
        raise UnsteadyError
    for key, (first, second, model, share) in seen.items():
        cell = cells[key]
        cell.real.append(first)
        cell.again.append(second)
        cell.simulated.append(model)
        cell.on_cpu.append(share)
        for name, ns in others[key].items():
            cell.others.setdefault(name, []).append(ns)
    return found


def is_shown(key: Key) -> bool:
    """Whether the case is in the table of other rules: lines travel where there are two."""
    profile, _, _, workers = key
    return profile == PROFILES[0] and workers > 1


def run() -> tuple[dict[Key, Cell], list[calibrate.Calibration], int]:
    """Return every case, the calibrations of their blocks, and how many blocks were run again."""
    topology = Topology(read_topology().cpus[:2])
    cells = {key: Cell() for key in product(PROFILES, HANDLERS, (Way.RETRY, Way.DIRECT), (1, 2))}
    found: list[calibrate.Calibration] = []
    for attempt in range(1, TRIES + 1):
        with suppress(UnsteadyError):
            found.append(block(len(found), topology, cells))
        print(f"beside: {len(found)} of {BLOCKS} blocks, {attempt} tried", file=sys.stderr)
        if len(found) == BLOCKS:
            return cells, found, attempt - BLOCKS
    raise SystemExit(f"beside: the host keeps changing: {len(found)} of {TRIES} blocks were steady")


def table(profile: str, cells: Mapping[Key, Cell]) -> str:
    """Return the section for one cost profile."""
    lines = [
        f"## Cost profile `{profile}`", "",
        "| handler | path | workers | threads, ns | virtual, ns | virtual/threads | 95 % | A/A "
        "| on CPU | |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]  # fmt: skip
    for (of, handler, path, workers), cell in cells.items():
        if of != profile:
            continue
        ratio, low, high = cell.ratio()
        _, quiet, loud = cell.noise()
        lines.append(
            f"| {handler} | {path} | {workers} | {statistics.median(cell.threads()):.0f} | "
            f"{statistics.median(cell.simulated):.0f} | {ratio:.2f} | {low:.2f} to {high:.2f} | "
            f"{quiet:.2f} to {loud:.2f} | {statistics.median(cell.on_cpu):.0%} | "
            f"{'' if cell.holds else 'outside'} |"
        )
    lines += ["", "| direct/retry, CPU time, 1 worker | threads | virtual |", "|---|---:|---:|"]
    for handler in HANDLERS:
        direct, retry = (cells[profile, handler, way, 1] for way in (Way.DIRECT, Way.RETRY))
        real = interval(retry.threads(), direct.threads())
        model = interval(retry.simulated, direct.simulated)
        lines.append(f"| {handler} | {real[0]:.3f} | {model[0]:.3f} |")
    return "\n".join([*lines, ""])


def sensitivity(cells: Mapping[Key, Cell]) -> str:
    """Return the section that shows the ratios under other rules of lines."""
    lines = [
        "## The rules of lines: virtual/threads under others", "",
        "| handler | path | as calibrated | " + " | ".join(OTHERS) + " |",
        "|---|---|" + "---:|" * (1 + len(OTHERS)),
    ]  # fmt: skip
    for key, cell in cells.items():
        if is_shown(key):
            ratios = (cell.ratio(name)[0] for name in ("", *OTHERS))
            shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            lines.append(f"| {key[1]} | {key[2]} | {shown} |")
    return "\n".join([*lines, ""])


def page(
    cells: Mapping[Key, Cell], found: list[calibrate.Calibration], again: int, here: str
) -> str:
    """Return the page; `here` is the host's CPU."""
    journeys = [min(one.matrix.values()) for one in found]
    upgrades = [one.upgrade for one in found]
    seconds = [one.second for one in found]
    text = (
        "# Threads beside virtual, on one calibrated machine\n\n"
        f"Written by `python -m faultbench.validation.beside`, here on {here}; another host's: "
        "[beside-epyc.md](beside-epyc.md). CPU ns per fault, medians of "
        f"{len(found)} blocks; a block calibrates this machine, then runs threads, virtual, "
        "threads. Held to "
        f"{WITHIN:.0%} or twice the A/A noise with the default costs. `none` is reported only: a "
        "bare fault is a few dozen instructions that the simulation does not time.\n\n"
        f"A line's journey between the two CPUs took {min(journeys):.0f} to {max(journeys):.0f} "
        f"ns; the read-modify-write after a load added {min(upgrades):.2f} to {max(upgrades):.2f} "
        f"of one, a second miss right after a first {min(seconds):.2f} to {max(seconds):.2f}. "
        f"Blocks in which the journey changed by more than {MOVED:.0%} (on a virtual host, two "
        "CPUs may be neighbours now and far apart a second later) or threads ran for less than "
        f"{ON_CPU:.0%} of a window (two workers meet in a line only while both run) were run "
        f"again: {again}.\n\n"
        f"That misses overlap is measured; over how much is not: {machine_file.OVERLAP_NS} ns of "
        "instructions (`overlap_ns`) is an estimate, made with that EPYC's page in view and with "
        "no other host's. The last table shows what other rules give; its cost profile is "
        "`default`, its cases have 2 workers.\n\n"
        "*95 %*: bootstrap interval of the ratio over blocks. *A/A*: that of the second over the "
        "first of two like trials on threads. *on CPU*: the share of the threads' windows that "
        "they really ran.\n"
    )
    parts = [text, *(table(profile, cells) for profile in PROFILES), sensitivity(cells)]
    return "\n".join(parts)


def main() -> None:
    """Run both cost profiles and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/beside.md"))
    given = parser.parse_args()
    topology = read_topology()
    model = host.identity(topology)["cpu_model"]
    text = page(*run(), f"{topology.usable} CPUs of an {model}")
    given.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
