"""Threads beside virtual on this machine: ``python -m faultbench.validation.beside MACHINE.toml``.

`MACHINE.toml` is what `faultbench calibrate` wrote here. Trials of both alternate; a ratio is
virtual over threads in CPU ns per fault, with the interval of its blocks, beside the A/A noise of
threads alone (the second of two like trials over the first).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from faultbench import costs
from faultbench.enums import Handler
from faultbench.enums import Path as Way
from faultbench.machines import Job, Machine, get_machine
from faultbench.model import TrialSpec
from faultbench.rules import DEFAULT_KERNEL, NO_FILES, resolve
from faultbench.topology import read_topology

BLOCKS = 6
REAL_NS = 60_000_000
WITHIN = 0.15  # what the model is held to, or twice the noise, whichever is more


@dataclass
class Cell:
    """One case: CPU ns per fault of each block."""

    real: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    simulated: list[float] = field(default_factory=list)
    on_cpu: list[float] = field(default_factory=list)  # share of the threads' windows

    @property
    def ratio(self) -> float:
        """Virtual over threads."""
        return statistics.median(self.simulated) / statistics.median([*self.real, *self.again])

    @property
    def noise(self) -> float:
        """Half the width of the middle of A/A ratios, at least."""
        return max(abs(b / a - 1) for a, b in zip(self.real, self.again, strict=True))

    @property
    def holds(self) -> bool:
        """Whether the ratio is within what the model is held to."""
        return abs(self.ratio - 1) <= max(WITHIN, 2 * self.noise)


def cpu_ns(machine: Machine, spec: TrialSpec, cost: Mapping[str, int]) -> tuple[float, float]:
    """Return CPU ns per fault of one trial, and the share of its window it was on a CPU."""
    cpus = () if machine.simulated else read_topology().place(spec.pin, spec.tasks)
    result = machine.run(Job(spec, tuple(cpus), cost, {"lines": False}))
    if result["status"] != "ok":
        raise SystemExit(f"{spec.handler} {spec.path}: {result['invariant']}")
    worker = result["worker"]
    cpu = float(sum(worker["cpu_ns"]))
    return cpu / sum(worker["faults"]), cpu / max(1, sum(worker["window_ns"]))


def case(handler: Handler, path: Way, workers: int) -> TrialSpec:
    """Return the trial, without its amount of work."""
    return TrialSpec(
        machine="", kernel=DEFAULT_KERNEL, path=path, rules=resolve(DEFAULT_KERNEL, path, ()),
        handler=handler, threads=workers, vmas=workers, files=0 if handler in NO_FILES else 1,
        seed=1,
    )  # fmt: skip


def run(machine_file: str, profile: str) -> dict[tuple[Handler, Way, int], Cell]:
    """Return every case, threads and virtual interleaved."""
    real, simulated = get_machine("threads"), get_machine(f"virtual:{machine_file}")
    cost = costs.load(profile).steps
    cases = list(
        product((Handler.NOP, Handler.DEVICE_DAX, Handler.EXT4), (Way.RETRY, Way.DIRECT), (1, 2))
    )
    cells = {key: Cell() for key in cases}
    for block in range(BLOCKS):
        for key in cases:
            spec = case(*key)
            timed = replace(spec, duration_ns=REAL_NS, warmup_ns=REAL_NS // 6)
            ns, share = cpu_ns(real, timed, cost)
            cells[key].real.append(ns)
            cells[key].on_cpu.append(share)
            counted = replace(spec, faults=2000, warmup_faults=600, seed=block)
            cells[key].simulated.append(cpu_ns(simulated, counted, cost)[0])
            cells[key].again.append(cpu_ns(real, timed, cost)[0])
    return cells


def table(profile: str, cells: Mapping[tuple[Handler, Way, int], Cell]) -> str:
    """Return the section for one cost profile."""
    lines = [
        f"## Cost profile `{profile}`", "",
        "| handler | path | workers | threads, ns | virtual, ns | virtual/threads | A/A noise "
        "| on CPU | |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]  # fmt: skip
    for (handler, path, workers), cell in cells.items():
        lines.append(
            f"| {handler} | {path} | {workers} | {statistics.median(cell.real):.0f} | "
            f"{statistics.median(cell.simulated):.0f} | {cell.ratio:.2f} | ±{cell.noise:.0%} | "
            f"{statistics.median(cell.on_cpu):.0%} | "
            f"{'' if cell.holds else 'outside'} |"
        )
    lines += ["", "| direct/retry, CPU time, 1 worker | threads | virtual |", "|---|---:|---:|"]
    for handler in (Handler.NOP, Handler.DEVICE_DAX, Handler.EXT4):
        one, two = cells[handler, Way.DIRECT, 1], cells[handler, Way.RETRY, 1]
        real = statistics.median(one.real) / statistics.median(two.real)
        model = statistics.median(one.simulated) / statistics.median(two.simulated)
        lines.append(f"| {handler} | {real:.3f} | {model:.3f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run both cost profiles and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("machine", help="machine file from `faultbench calibrate`")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/beside.md"))
    given = parser.parse_args()
    parts = [
        "# Threads beside virtual, on one calibrated machine\n\n"
        "Written by `python -m faultbench.validation.beside MACHINE.toml`. CPU ns per fault; held "
        f"to {WITHIN:.0%} or twice the noise with the default costs. `none` is reported only: a "
        "bare fault is a few dozen instructions that the simulation does not time.\n\n"
        "*on CPU*: the share of the threads' windows that they really ran. Two workers meet in a "
        "line only while both run: where that share is well below 100 % (another load on the "
        "host), threads understate what two CPUs do to each other, and the rows of 2 workers "
        "cannot be held against the model. Where they can, the model overstates contention of this "
        "kind: a real CPU goes on with the work behind an access that waits for a line, the "
        "simulated one stalls.\n"
    ]
    parts += [table(profile, run(given.machine, profile)) for profile in ("default", "none")]
    given.output.write_text("\n".join(parts), encoding="utf-8")
    print("\n".join(parts))


if __name__ == "__main__":
    main()
