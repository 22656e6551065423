"""The simulator by small workloads whose result is known exactly."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultbench.calibrate import journey
from faultbench.machines.description import load

virtual = pytest.importorskip("faultbench._virtual")

GENERIC = load("generic").figures()
QUIET = GENERIC | {"jitter": 0, "stagger": 0}
FREE = QUIET | dict.fromkeys(
    ("core", "l3", "socket", "remote", "memory", "invalidate", "residency", "in_flight"), 0
)
# What a lock does under contention must not depend on the machine's figures.
MACHINES = {
    "generic": GENERIC,
    "xeon": load("intel-xeon-8375c-2s").figures(),
    "nearest": GENERIC | {"arbitration": 1},
    "held-long": GENERIC | {"residency": 300_000, "in_flight": 1000},
    "one-slot": GENERIC | {"outstanding": 1, "store_buffer": 1},
    "migrating": GENERIC | {"dirty_load": 1},
    "overlapping": GENERIC | {"dirty_load": 1, "overlap": 50_000},
    "free": FREE | {"jitter": 20, "stagger": 1000},
}


def run(pattern, machine, cpus, **options):
    tasks = list(range(cpus)) if isinstance(cpus, int) else cpus
    return virtual.run_pattern(pattern, machine, tasks, **options)


def total(result, name):
    return sum(line[name] for line in result["lines"])


def test_one_cpu_costs_the_sum_of_its_steps():
    n = 1000
    result = run("rmws", QUIET, 1, turns=n, outside_ns=7)
    assert result["ns"] == [n * (7 + 5) + 100]  # work, read-modify-writes, one fetch from memory
    result = run("loads", QUIET, 1, turns=n)
    assert result["ns"] == [n * 8 * 1 + 100]


@pytest.mark.parametrize("pattern", ["loads", "rmws", "shared_loads", "work"])
def test_free_transfers_scale_linearly_where_nothing_is_exclusive(pattern):
    one = run(pattern, FREE, 1, turns=500, inside_ns=10)
    many = run(pattern, FREE, 256, turns=500, inside_ns=10)
    assert set(many["ns"]) == set(one["ns"])


@pytest.mark.parametrize("cpus", [2, 7, 32])
def test_fifo_ring_runs_at_exactly_the_transfer_time(cpus):
    # All want the line at once, each once: memory first, then one transfer a CPU.
    result = run("ring", QUIET | {"load": 0, "rmw": 0}, cpus, turns=1)
    assert max(result["ns"]) == 100 + (cpus - 1) * 40
    assert total(result, "transfers") == cpus


def test_a_transfer_costs_by_distance():
    for cpus, ns in (([0, 1], 40), ([0, 40], 80), ([0, 300], 150)):
        result = run("ring", QUIET | {"rmw": 0}, cpus, turns=1)
        assert max(result["ns"]) == 100 + ns


def test_residency_and_flight_delay_the_next_holder():
    slow = QUIET | {"rmw": 0, "residency": 70_000, "in_flight": 0}
    assert max(run("ring", slow, 3, turns=1)["ns"]) == 100 + 2 * 70
    flying = slow | {"in_flight": 500}  # kept 70 ns, then 20 ns nobody's
    assert max(run("ring", flying, 3, turns=1)["ns"]) == 100 + 2 * 90


def test_invalidating_many_copies_costs_more_than_one():
    def upgrade(cpus):
        result = run("load_cas", QUIET | {"invalidate": 5000}, cpus, turns=1)
        return max(result["ns"])

    assert upgrade(2) < upgrade(8) < upgrade(32)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("pattern", ["exclusion", "writers", "mixed"])
@pytest.mark.parametrize("cpus", [2, 5, 40])
def test_one_at_a_time_in_every_lock(machine, pattern, cpus):
    result = run(pattern, MACHINES[machine], cpus, turns=60, inside_ns=20, outside_ns=30)
    per_task = 30 if pattern == "mixed" else 60
    assert result["done"] == [60] * cpus
    assert result["guarded"] == per_task * cpus  # the increment is a load and a plain store


@pytest.mark.parametrize("machine", MACHINES)
def test_stores_stay_in_order(machine):
    result = run("message", MACHINES[machine], 8, turns=300, outside_ns=3)
    assert result["failed"] == [0] * 8


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("pattern", virtual.PATTERNS)
def test_sum_over_lines_is_sum_over_cpus(machine, pattern):
    cpus = 2 if pattern in ("ping_pong", "park") else 12
    result = run(pattern, MACHINES[machine], cpus, turns=40)
    for name in ("hits", "fetches", "transfers", "wait_ps"):
        assert total(result, name) == sum(result["cpu"][name])


@pytest.mark.parametrize(("cpus", "ns"), [([0, 1], 40), ([0, 40], 80), ([0, 300], 150)])
def test_calibrate_would_find_what_the_machine_says(cpus, ns):
    """Its reading of these workloads, of a machine whose figures are known."""

    def found(pattern, **rules):
        done = run(pattern, QUIET | rules, cpus, turns=500, inside_ns=2000)
        return journey(done) / ns

    assert found("visits") == pytest.approx(1, abs=0.1)
    # A fetch and an upgrade; some of the other's loads make a visit of the own mark upgrade, too.
    assert 1.7 < found("load_visits") < 2
    assert found("load_visits", dirty_load=1) == pytest.approx(1, abs=0.1)
    assert found("pair_visits") == pytest.approx(2, abs=0.15)
    assert found("pair_visits", overlap=50_000) == pytest.approx(1, abs=0.1)


def test_a_line_that_nobody_writes_is_shared_on_every_machine():
    one = run("shared_loads", QUIET, 8, turns=50)
    other = run("shared_loads", QUIET | {"dirty_load": 1}, 8, turns=50)
    assert one["ns"] == other["ns"]
    assert total(other, "transfers") == 0


def test_misses_do_not_overlap_across_busy_time():
    # From memory, one CPU: 100 ns each, or both at once; ten ns of work between are half of those.
    def second(work, **rules):
        options = {"turns": 1, "inside_ns": 0, "outside_ns": work}
        one, two = (run(p, QUIET | rules, 1, **options) for p in ("visits", "pair_visits"))
        return two["ns"][0] - one["ns"][0]

    assert second(0) == 100 + 5
    assert second(0, overlap=50_000) == 5
    assert second(10) == second(10, overlap=50_000) == 10 + 100 + 5


def test_load_then_cas_makes_progress_at_64_cpus():
    alone = run("load_cas", GENERIC, 1, turns=200)
    crowd = run("load_cas", GENERIC, 64, turns=200)
    rate = 64 * 200 / max(crowd["ns"])
    assert rate > 0.2 * 200 / alone["ns"][0]  # flat, as published; not a collapse


def test_parking_costs_its_latency_and_is_counted():
    result = run("park", QUIET, 2, turns=100)
    assert sum(result["parks"]) >= 100
    assert max(result["ns"]) >= 100 * 2 * 3000  # two wake-ups a turn
    assert sum(result["kept"]) == 200
    assert sum(result["failed"]) == 0
    # What calibrate reads from this workload on real threads is here what the machine says.
    assert 500 <= sum(result["unpark_ns"]) / 200 < 700
    assert 3500 <= sum(result["wake_ns"]) / 200 < 4600  # it may not be asleep yet when it is woken


@pytest.mark.parametrize("cpus", [1, 2, 1024])
def test_as_many_tasks_as_the_machine_has(cpus):
    assert sum(run("ring", GENERIC, cpus, turns=2)["done"]) == 2 * cpus


def test_more_tasks_than_cpus_is_an_error():
    with pytest.raises(OSError, match="Invalid argument"):
        run("ring", GENERIC | {"cpus": 4}, 5, turns=1)


def test_nearest_first_is_unfair_but_starves_nobody():
    # Three CPUs of one L3 and one of another socket want one line all the time.
    machine = QUIET | {"arbitration": 1, "bypass": 10, "rmw": 30_000}
    result = run("ring", machine, [0, 1, 2, 300], duration_ns=200_000)
    assert 0 < result["done"][3] < min(result["done"][:3])


def test_a_deadlock_is_an_error_and_not_a_hang():
    with pytest.raises(OSError, match=r"[Dd]eadlock"):
        run("ping_pong", QUIET | {"cpus": 8}, 1, turns=3)  # nobody answers


def test_a_wrong_figure_is_refused():
    with pytest.raises(ValueError, match="figures differ"):
        run("ring", {k: v for k, v in GENERIC.items() if k != "rmw"}, 1, turns=1)


@settings(max_examples=25, deadline=None)
@given(
    pattern=st.sampled_from(sorted(set(virtual.PATTERNS) - {"park", "ping_pong"})),
    cpus=st.integers(1, 70),
    seed=st.integers(0, 2**62),
    outside=st.integers(0, 500),
)
def test_same_seed_same_result(pattern, cpus, seed, outside):
    options = {"turns": 20, "outside_ns": outside, "inside_ns": 10, "seed": seed}
    assert run(pattern, GENERIC, cpus, **options) == run(pattern, GENERIC, cpus, **options)


def test_other_seeds_give_other_interleavings():
    seen = {
        tuple(run("writers", GENERIC, 8, turns=50, outside_ns=100, seed=seed)["ns"])
        for seed in range(5)
    }
    assert len(seen) == 5


def test_tasks_that_wait_for_ever_are_a_deadlock():
    """A task that spins for another's turn, and there is no other."""
    with pytest.raises(OSError, match="deadlock") as error:
        run("ping_pong", QUIET, 1, turns=2)
    assert error.value.errno == errno.EDEADLK


@pytest.mark.parametrize("prefetchw", range(4))
@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_a_store_outlives_the_prefetch_that_took_its_slot(machine, prefetchw):
    """The store waited for ever for a slot, or for a request, that the dropped prefetch had."""
    machine = MACHINES[machine] | {"prefetchw": prefetchw}
    result = run("prefetched", machine, 8, turns=50, outside_ns=100)
    assert result["done"] == [50] * 8


def test_a_long_critical_section_is_no_deadlock():
    """Spinners look up a million times and more while its owner is busy."""
    result = run("writers", QUIET, 16, turns=1, inside_ns=150_000_000)
    assert result["done"] == [1] * 16


def test_a_machine_has_room_for_a_request():
    with pytest.raises(ValueError, match="outstanding"):
        run("writers", QUIET | {"outstanding": 0}, 2, turns=1)
