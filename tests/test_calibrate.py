"""`calibrate` measures this machine: sound figures, in the units that it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from faultbench import calibrate, machine_file
from faultbench.errors import UsageError
from faultbench.topology import Cpu, Topology, read_topology

FOUR = Topology(tuple(Cpu(n // 2, 0, n, n) for n in range(4)))
FOUND = calibrate.Calibration(
    load=0.5, rmw=5.0, store=0.2, residency=30.0, park=1000.0, wake=3000.0, unpark=500.0,
    matrix={(0, 1): 50.0, (0, 2): 130.0, (0, 3): 131.0, (1, 2): 129.0, (1, 3): 130.0, (2, 3): 52.0},
)  # fmt: skip
needs_two = pytest.mark.skipif(len(read_topology().cpus) < 2, reason="needs two CPUs")


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


def test_sleeps_that_other_load_made_long_are_left_out():
    """On a busy host the first sleep ends by its time-out: it was counted from the host's boot."""
    engine = pytest.importorskip("faultbench._calibrate")
    cpu = read_topology().cpus[0].number
    hog = f"import os; os.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", hog]) as busy:
        done = engine.run_pattern("park", [cpu, cpu], turns=100)
        busy.kill()
    assert done["done"] == [100, 100]
    assert sum(done["kept"]) <= 200
    assert sum(done["wake_ns"]) <= 1e6 * sum(done["kept"])
    assert sum(done["unpark_ns"]) <= 1e6 * (200 - sum(done["failed"]))
    assert all(1 <= ns <= 1e6 for ns in calibrate.sleeps(done))


def test_a_run_without_one_good_sleep_is_no_traceback():
    nothing = {name: [0, 0] for name in ("cpu_ns", "unpark_ns", "wake_ns", "kept")}
    assert calibrate.sleeps(nothing | {"done": [5, 5], "failed": [5, 5]}) == (1.0, 1.0, 1.0)


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
    machine_file.description("here", found, two, "this CPU")


def test_matrix_picture(tmp_path):
    from faultbench.plots.matrix import core_to_core

    core_to_core(FOUND.matrix, "t", tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size > 1000
