"""A calibration as a machine file for the virtual machine, with a source for every figure."""

from __future__ import annotations

import json
import platform
import statistics

from faultbench.calibrate import Calibration
from faultbench.machines.description import RULES, Description, load, parse
from faultbench.topology import Cpu, Topology

# Whether misses overlap is measured; how far a CPU looks ahead in a fault is an estimate, made with
# `validation.beside` in view, which shows what others would do.
OVERLAP_NS = 10
MEASURED = "measured by faultbench calibrate"


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
    figures: dict[str, tuple[float, str]] = {
        "load": (found.load, f"{where}: loads of one line, each from where the one before pointed"),
        "store": (found.store, f"estimate: half of a load, {where}"),
        "rmw": (found.rmw, f"{where}: read-modify-writes of one line, less the loop"),
        "residency": (
            found.residency,
            f"{where}: share of the time that a hammered line is in use",
        ),
        "park": (
            found.park,
            f"estimate: half of the CPU time of going to sleep and coming back, {where}",
        ),
        "wake": (
            found.wake,
            f"{where}: from the end of the waker's call to the sleeper's going on",
        ),
        "unpark": (found.unpark, f"{where}: the waker's call"),
        "invalidate": (generic.ns["invalidate"], generic.sources["invalidate"]),
        "pause": (generic.ns["pause"], generic.sources["pause"]),
    }
    least = 0.0
    for figure, key in (("core", "core"), ("l3", "l3"), ("socket", "l3"), ("remote", "remote")):
        if key in known:
            value, source = known[key], f"{where}: a word that two CPUs visit now and then"
        else:
            value, source = generic.ns[figure], "estimate: no such pair of CPUs here"
            if figure == "core" and "l3" in known:
                value = min(value, known["l3"])
        least = max(least, value)
        figures[figure] = (least, source)
    figures["memory"] = (max(generic.ns["memory"], least), generic.sources["memory"])
    dirty = (
        "migrates" if found.migrates else "shares",
        f"{where}: the read-modify-write after a load adds {found.upgrade:.2f} of a transfer",
    )
    overlap = (
        OVERLAP_NS if found.overlaps else 0,
        f"estimate: how far a CPU looks ahead; {where}: a second miss right after a first adds "
        f"{found.second:.2f} of a transfer",
    )
    measured = [
        "# Steps of a bare fault here (cost none, 1 worker), CPU ns; not read by the simulation:",
        *(f"#   {step}: {ns:.1f}" for step, ns in found.steps.items()),
    ]
    rules: dict[str, tuple[str | int, str]] = {"dirty_load": dirty, "overlap_ns": overlap}
    text = _toml(name, model, topology, figures, rules)
    return text + "".join(f"{line}\n" for line in measured if found.steps)


def _toml(
    name: str,
    model: str,
    topology: Topology,
    figures: dict[str, tuple[float, str]],
    rules: dict[str, tuple[str | int, str]],
) -> str:
    generic = load("generic")
    sockets, cores, cpus = topology.sockets, topology.cores, len(topology.cpus)
    uneven = cpus % sockets or cpus % cores or (cpus // sockets) % (cpus // cores)
    if uneven:  # an odd affinity mask: one flat socket of single CPUs
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
        rule, source = rules.get(key, (generic.rules[key], generic.sources[key]))
        lines.append(f"{key} = {{ value = {text(rule)}, source = {text(source)} }}")
    return "\n".join(lines) + "\n"
