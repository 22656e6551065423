"""A calibration becomes a machine file that can be read, with a source for every figure."""

from __future__ import annotations

from dataclasses import replace

from faultbench import machine_file
from faultbench.calibrate import Calibration
from faultbench.machines.description import load
from faultbench.topology import Cpu, Topology
from tests.test_calibrate import FOUND, FOUR


def test_figures_by_distance():
    assert machine_file.by_distance(FOUND, FOUR) == {"l3": 51.0, "remote": 130.0}


def test_machine_file_round_trip(tmp_path):
    file = tmp_path / "here.toml"
    file.write_text(machine_file.to_toml("here", FOUND, FOUR, 'odd "name" \\ of a CPU'))
    machine = load(str(file))
    assert (machine.sockets, machine.cores, machine.cpus) == (2, 4, 4)
    assert machine.ns["l3"] == 51.0
    assert machine.ns["remote"] == 130.0
    assert "measured" in machine.sources["remote"]
    assert machine.sources["core"].startswith("estimate")


def test_what_lines_do_comes_from_what_was_measured():
    def rules(upgrade, second):
        found = replace(FOUND, upgrade=upgrade, second=second)
        return machine_file.description("here", found, FOUR, "x").rules

    usual = rules(upgrade=0.9, second=1.1)
    assert (usual["dirty_load"], usual["overlap_ns"]) == ("shares", 0)
    other = rules(upgrade=0.1, second=0.05)
    assert (other["dirty_load"], other["overlap_ns"]) == ("migrates", machine_file.OVERLAP_NS)


def test_an_odd_mask_becomes_a_flat_socket():
    three = Topology(FOUR.cpus[:3])
    found = Calibration(0.5, 5, 0.2, 30, 1000, 3000, 500, {(0, 1): 50, (0, 2): 130, (1, 2): 130})
    machine = machine_file.description("odd", found, three, "x")
    assert (machine.sockets, machine.cpus_per_socket) == (1, 3)
    # Four CPUs of one socket and two of another: nothing was written, after minutes of measuring.
    places = [(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 2), (1, 1, 2)]
    six = Topology(tuple(Cpu(*place, n) for n, place in enumerate(places)))
    machine = machine_file.description("odd", replace(found, matrix={(0, 1): 50}), six, "x")
    assert (machine.sockets, machine.cpus_per_core, machine.cpus) == (1, 1, 6)
