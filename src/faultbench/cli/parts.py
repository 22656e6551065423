"""What a sweep runs, one machine after the other."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from faultbench import config, costs, plan
from faultbench.machines import Machine, get_machine
from faultbench.topology import Topology

# What the default sweep adds on a machine with few CPUs: scaling, simulated.
SMALL_CPUS = 8
PANEL = {
    "machine": "virtual",
    "threads": "1,2,4,8,16,32,64",
    "vmas": "private",
    "writers": "0",
    "faults": "100",
    "warmup": "20",  # once through the slice
}


@dataclass(frozen=True)
class Part:
    """The trials of a sweep that run on one machine."""

    spelled: str  # the machine as the user named it
    machine: Machine
    cost: costs.CostProfile
    plan: plan.Plan


def parts_of(options: config.Options, topology: Topology) -> list[Part]:
    """Return what a sweep runs, one machine after the other.

    The default sweep on a small machine ends with what a larger one would show, simulated.
    """
    wanted = [options]
    simulator = importlib.util.find_spec("faultbench._virtual")
    if options.is_default and topology.usable <= SMALL_CPUS and simulator is not None:
        wanted.append(config.parse(PANEL))
    parts = []
    for each in wanted:
        machine, cost = get_machine(each.machine), costs.load(each.cost)
        made = plan.build(each, machine, topology, cost)
        parts.append(Part(each.machine, machine, cost, made))
    return parts


def ids(parts: list[Part]) -> set[str]:
    """Return the ids of all trials of a sweep."""
    return {spec.trial_id for part in parts for spec in part.plan.specs}
