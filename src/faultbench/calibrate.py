"""Measure this machine's figures for the virtual machine: ``faultbench calibrate``.

Each figure is the best of several short runs of one small workload (``machine/patterns.h`` of the
core) on real threads: other load can only make a run longer. What two CPUs of one socket cannot
show stays an estimate and says so.
"""

from __future__ import annotations

import importlib
import itertools
import json
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faultbench.enums import Handler, Path
from faultbench.errors import UsageError
from faultbench.machines import Job, get_machine
from faultbench.machines.description import RULES, Description, load, parse
from faultbench.model import TrialSpec
from faultbench.rules import DEFAULT_KERNEL, NO_FILES, resolve
from faultbench.topology import Cpu, Topology

RUNS = 7
TURNS = 300_000
STEP_NS = 10_000_000  # window of a trial of `step_costs`
MEASURED = "measured by faultbench calibrate"


@dataclass
class Calibration:
    """What was measured, ns. `matrix` maps a pair of CPUs to the transfer between them."""

    load: float
    rmw: float
    store: float
    residency: float
    round_trip: float  # two tasks wake each other: park, unpark and wake of both
    matrix: dict[tuple[int, int], float] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)  # what the steps of a bare fault cost


def measure(topology: Topology, say: Callable[[str], None], runs: int = RUNS) -> Calibration:
    """Measure on the CPUs of `topology`; needs two. `say` is told what is being measured."""
    engine: Any = importlib.import_module("faultbench._calibrate")
    cpus = [cpu.number for cpu in topology.cpus]
    if len(cpus) < 2:
        raise UsageError("calibrate: needs two CPUs to see a line travel")

    def turns(pattern: str, on: list[int], count: int, times: int) -> list[float]:
        """Return ns of one turn of one task in each run, least first."""
        found = [engine.run_pattern(pattern, on, turns=count)["ns"] for _ in range(times)]
        return sorted(max(ns) / count for ns in found)

    say("local hits")
    loop, hit, rmw = (turns(name, cpus[:1], TURNS, runs)[0] for name in ("work", "loads", "rmws"))
    say(f"transfers between {len(cpus) * (len(cpus) - 1) // 2} pairs of CPUs")
    matrix = {}
    for a, b in itertools.combinations(cpus, 2):
        # A word that passes from task to task: the copy is invalidated, and fetched again.
        # Short runs, many of them: in some of them nobody else wanted either CPU.
        matrix[a, b] = turns("ping_pong", [a, b], 1000, 12 * runs)[0] / 4
    say("residency")
    # Two CPUs hammer one word: what share of the time somebody has it tells how long each keeps
    # it, since for half of a transfer nobody does. The median run, where both really ran at once.
    a, b = min(matrix, key=lambda pair: matrix[pair])
    together = statistics.median(turns("ring", [a, b], TURNS // 15, 4 * runs)) / 2
    share = min(0.95, max(0.05, rmw / together))
    stay = share / (1 - share) * matrix[a, b] / 2
    say("sleeping and waking")
    wake = turns("park", cpus[:2], TURNS // 100, runs)[0]
    say("the steps of a bare fault")
    steps = step_costs(cpus[0], runs)
    return Calibration(
        load=max(0.1, hit - loop),
        rmw=max(0.5, rmw - loop),
        store=max(0.1, (hit - loop) / 2),
        residency=stay,
        round_trip=wake,
        matrix=matrix,
        steps=steps,
    )


def step_costs(cpu: int, runs: int = RUNS) -> dict[str, float]:
    """Return CPU ns of the parts of a fault without busy time, by leaving one out at a time.

    One worker on ``cpu``, cost profile ``none``; best of ``runs`` interleaved trials of each case.
    The virtual machine makes up a step of the accesses in it; this is what they cost here.
    """
    threads = get_machine("threads")
    cases = {
        (handler, path): TrialSpec(
            machine="threads", kernel=DEFAULT_KERNEL, path=path,
            rules=resolve(DEFAULT_KERNEL, path), handler=handler,
            files=0 if handler in NO_FILES else 1, duration_ns=STEP_NS, warmup_ns=STEP_NS // 5,
        )
        for handler in (Handler.NOP, Handler.DEVICE_DAX, Handler.XFS, Handler.EXT4)
        for path in (Path.DIRECT, Path.RETRY, Path.MMAP_LOCK)
    }  # fmt: skip
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(runs):
        for key, spec in cases.items():
            worker = threads.run(Job(spec, (cpu,)))["worker"]
            best[key] = min(best[key], sum(worker["cpu_ns"]) / max(1, sum(worker["faults"])))
    direct = {handler: best[handler, Path.DIRECT] for handler, _ in cases}
    path = direct[Handler.NOP]
    return {
        "look-up, VMA-lock pair and walk": path,
        "mmap_lock pair in place of the VMA lock's": best[Handler.NOP, Path.MMAP_LOCK] - path,
        "detour: sent back, all again under mmap_lock": best[Handler.NOP, Path.RETRY] - path,
        "handler, device-dax": direct[Handler.DEVICE_DAX] - path,
        "handler, xfs": direct[Handler.XFS] - path,
        "handler, ext4": direct[Handler.EXT4] - path,
    }


def by_distance(found: Calibration, topology: Topology) -> dict[str, float]:
    """Return the median transfer within a core, an L3 (taken as a socket), and across sockets."""
    place = {cpu.number: cpu for cpu in topology.cpus}
    groups: dict[str, list[float]] = {"core": [], "l3": [], "remote": []}
    for (a, b), ns in found.matrix.items():
        groups[_distance(place[a], place[b])].append(ns)
    return {name: statistics.median(values) for name, values in groups.items() if values}


def _distance(a: Cpu, b: Cpu) -> str:
    if a.socket != b.socket:
        return "remote"
    return "core" if a.core == b.core else "l3"


def description(name: str, found: Calibration, topology: Topology, model: str) -> Description:
    """Return the machine as a description; figures that were not measured are `generic`'s."""
    return parse(to_toml(name, found, topology, model), name)


def to_toml(name: str, found: Calibration, topology: Topology, model: str) -> str:
    """Return the machine file."""
    generic = load("generic")
    where = f"{MEASURED} on {platform.node() or 'this host'}"
    known = by_distance(found, topology)
    half = found.round_trip / 2
    figures: dict[str, tuple[float, str]] = {
        "load": (found.load, f"{where}: loads of one line, less the loop"),
        "store": (found.store, f"estimate: half of a load, {where}"),
        "rmw": (found.rmw, f"{where}: read-modify-writes of one line, less the loop"),
        "residency": (
            found.residency,
            f"{where}: share of the time that a hammered line is in use",
        ),
        "park": (0.2 * half, f"estimate: a fifth of half a wake-up round trip, {where}"),
        "wake": (0.6 * half, f"estimate: three fifths of half a round trip, {where}"),
        "unpark": (0.2 * half, f"estimate: a fifth of half a round trip, {where}"),
        "invalidate": (generic.ns["invalidate"], generic.sources["invalidate"]),
        "pause": (generic.ns["pause"], generic.sources["pause"]),
    }
    least = 0.0
    for figure, key in (("core", "core"), ("l3", "l3"), ("socket", "l3"), ("remote", "remote")):
        if key in known:
            value, source = known[key], f"{where}: a word passed to and fro, a quarter of a turn"
        else:
            value, source = generic.ns[figure], "estimate: no such pair of CPUs here"
            if figure == "core" and "l3" in known:
                value = min(value, known["l3"])
        least = max(least, value)
        figures[figure] = (least, source)
    figures["memory"] = (max(generic.ns["memory"], least), generic.sources["memory"])
    measured = [
        "# Steps of a bare fault here (cost none, 1 worker), CPU ns; not read by the simulation:",
        *(f"#   {step}: {ns:.1f}" for step, ns in found.steps.items()),
    ]
    return _toml(name, model, topology, figures) + "\n".join(measured if found.steps else []) + "\n"


def _toml(name: str, model: str, topology: Topology, figures: dict[str, tuple[float, str]]) -> str:
    generic = load("generic")
    sockets, cores, cpus = topology.sockets, topology.cores, len(topology.cpus)
    if cpus % sockets or cpus % cores:  # an odd affinity mask: one flat socket of single CPUs
        sockets, cores = 1, cpus
    text = json.dumps  # TOML's basic strings are JSON's
    lines = [
        "# Written by `faultbench calibrate`; latencies in ns.",
        *(f"{key} = {text(value)}" for key, value in (
            ("name", name), ("vendor", "this host:"), ("model", model or "unknown CPU"),
            ("arch", platform.machine()),
        )),
        f"sockets = {sockets}", f"cores = {cores}", f"cpus = {cpus}", "",
        "[topology]", f"cpus_per_core = {cpus // cores}", f"cpus_per_l3 = {cpus // sockets}",
        f"cpus_per_socket = {cpus // sockets}", "", "[ns]",
    ]  # fmt: skip
    for key in generic.ns:
        value, source = figures[key]
        lines.append(f"{key} = {{ ns = {value:.2f}, source = {text(source)} }}")
    lines += ["", "[rules]"]
    for key in RULES:
        value_of_rule = text(generic.rules[key])
        lines.append(
            f"{key} = {{ value = {value_of_rule}, source = {text(generic.sources[key])} }}"
        )
    return "\n".join(lines) + "\n"
