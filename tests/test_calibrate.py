"""`calibrate` writes a machine file that it can read, with a source for every figure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faultbench import calibrate
from faultbench.errors import UsageError
from faultbench.machines.description import load
from faultbench.topology import Cpu, Topology, read_topology

FOUR = Topology(tuple(Cpu(n // 2, 0, n, n) for n in range(4)))
FOUND = calibrate.Calibration(
    load=0.5, rmw=5.0, store=0.2, residency=30.0, park=1000.0, wake=3000.0, unpark=500.0,
    matrix={(0, 1): 50.0, (0, 2): 130.0, (0, 3): 131.0, (1, 2): 129.0, (1, 3): 130.0, (2, 3): 52.0},
)  # fmt: skip
needs_two = pytest.mark.skipif(len(read_topology().cpus) < 2, reason="needs two CPUs")


def test_figures_by_distance():
    assert calibrate.by_distance(FOUND, FOUR) == {"l3": 51.0, "remote": 130.0}


def test_machine_file_round_trip(tmp_path):
    file = tmp_path / "here.toml"
    file.write_text(calibrate.to_toml("here", FOUND, FOUR, 'odd "name" \\ of a CPU'))
    machine = load(str(file))
    assert (machine.sockets, machine.cores, machine.cpus) == (2, 4, 4)
    assert machine.ns["l3"] == 51.0
    assert machine.ns["remote"] == 130.0
    assert "measured" in machine.sources["remote"]
    assert machine.sources["core"].startswith("estimate")


def test_what_lines_do_comes_from_what_was_measured():
    def rules(upgrade, second):
        found = replace(FOUND, upgrade=upgrade, second=second)
        return calibrate.description("here", found, FOUR, "x").rules

    usual = rules(upgrade=0.9, second=1.1)
    assert (usual["dirty_load"], usual["overlap_ns"]) == ("shares", 0)
    other = rules(upgrade=0.1, second=0.05)
    assert (other["dirty_load"], other["overlap_ns"]) == ("migrates", calibrate.OVERLAP_NS)


@needs_two
def test_busy_time_takes_what_it_is_asked_for():
    """Its beginning and end are part of it: fifty of 20 ns are as long as one of 1000."""
    engine = pytest.importorskip("faultbench._calibrate")
    cpu = [read_topology().cpus[0].number]

    def least(turns, ns):
        runs = (engine.run_pattern("work", cpu, turns=turns, inside_ns=ns) for _ in range(15))
        return min(sum(run["ns"]) for run in runs)

    many, few, none = least(20_000, 20), least(400, 1000), least(20_000, 0)
    assert 0.75 < (many - none) / few < 1.25


def test_an_odd_mask_becomes_a_flat_socket():
    three = Topology(FOUR.cpus[:3])
    found = calibrate.Calibration(
        0.5, 5, 0.2, 30, 1000, 3000, 500, {(0, 1): 50, (0, 2): 130, (1, 2): 130}
    )
    machine = calibrate.description("odd", found, three, "x")
    assert (machine.sockets, machine.cpus_per_socket) == (1, 3)


def test_one_cpu_sees_no_line_travel():
    with pytest.raises(UsageError, match="two CPUs"):
        calibrate.measure(Topology(FOUR.cpus[:1]), print)


@needs_two
def test_measuring_here_gives_sound_figures():
    pytest.importorskip("faultbench._calibrate")
    two = Topology(read_topology().cpus[:2])
    found = calibrate.measure(two, lambda _: None, runs=2)
    assert 0 < found.load < 100
    assert found.rmw > 0
    assert all(ns > 0 for ns in found.matrix.values())
    assert min(found.park, found.wake, found.unpark) > 1
    assert found.steps["look-up, VMA-lock pair and walk"] > 0
    assert found.steps["handler, ext4"] > found.steps["handler, device-dax"]
    calibrate.description("here", found, two, "this CPU")


def test_matrix_picture(tmp_path):
    from faultbench.plots.matrix import core_to_core

    core_to_core(FOUND.matrix, "t", tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size > 1000
