"""The ledger closes: on simulated steps exactly, on threads up to the residual it prints."""

import numpy as np
import pytest

from faultbench import table
from faultbench.analysis import steps
from faultbench.analysis.frame import checked
from faultbench.analysis.ledger import on_threads
from tests.analysis.files import sweep_trials, trial

PATHS = ("mmap-lock", "abort", "retry", "direct")


def frame(trials):
    return checked(table.frame(trials))[0]


def test_parts_and_residual_are_the_measured_difference():
    trials = list(sweep_trials(paths=PATHS, cpus=9))
    ledgers = on_threads(frame(trials))
    assert len(ledgers) == 12
    for entry in ledgers:
        assert sum(p.ns for p in entry.parts) + entry.residual == pytest.approx(entry.total.ns)
        assert entry.total.low <= entry.total.ns <= entry.total.high
        assert not entry.exact


def test_ablation_by_the_other_paths_is_the_single_workers_difference():
    trials = list(sweep_trials(paths=PATHS, handlers=("ext4",), noise=0, cpus=9))
    by = {
        (str(e.case["vmas"]), int(e.case["threads"]), int(e.case["writers"])): e
        for e in on_threads(frame(trials))
    }
    alone = by["-", 1, 0]
    # 800,000 faults/s on retry with one worker: 1250 ns; abort 1.05, mmap-lock 1.1, direct 1.4
    expected = [1250 - 1250 / 1.05, 1250 / 1.05 - 1250 / 1.1, 1250 / 1.1 - 1250 / 1.4, 0.0]
    assert [p.ns for p in alone.parts] == pytest.approx(expected, abs=0.1)
    assert alone.residual == pytest.approx(0, abs=0.3)
    crowded = by["shared", 2, 1]
    assert [p.ns for p in crowded.parts][:3] == pytest.approx(expected[:3], abs=0.1)
    waiting = crowded.parts[-1]
    assert waiting.name.startswith("waiting behind writers")
    assert waiting.ns == pytest.approx(40)


def test_without_the_other_paths_the_detour_is_one_part():
    ledgers = on_threads(frame(list(sweep_trials(cpus=9))))
    assert all(e.parts[0].name.startswith("detour alone") for e in ledgers)
    assert all("ablation" in e.parts[0].source for e in ledgers)


def test_no_ledger_of_crowded_simulated_or_single_path_trials():
    assert on_threads(frame(list(sweep_trials(cpus=0)))) == []
    assert on_threads(frame(list(sweep_trials(machine="virtual:x")))) == []
    assert on_threads(frame(list(sweep_trials(paths=("direct",))))) == []


def simulated(path, ns, threads=2, repeat=0, lines=()):
    """A virtual trial; ``ns[step] = (busy, stalled, spinning, asleep)`` per fault."""
    made = trial(
        1e6,
        np.random.default_rng(0),
        path=path,
        machine="virtual:m",
        threads=threads,
        repeat=repeat,
    )
    faults = made.total("faults")
    recorded = {
        step: [round(sum(v) * 1000 * faults), *(round(x * 1000 * faults) for x in v[1:]), 7]
        for step, v in ns.items()
    }
    clock = sum(sum(v) for v in ns.values()) * faults / threads
    made.worker["window_ns"] = [round(clock)] * threads
    made.extra["steps"] = recorded
    if lines:
        made.extra["lines"] = [dict(line) for line in lines]
    return made


DIRECT = {
    "exc_page_fault": (280, 0, 0, 0), "lock_vma_under_rcu": (30, 2, 0, 0),
    "vma_start_read": (10, 50, 0, 0), "vma_end_read": (10, 20, 0, 0),
    "handle_mm_fault": (70, 0, 0, 0), "insert_pfn_pmd": (30, 9, 4, 0),
}  # fmt: skip
RETRY = DIRECT | {
    "find_vma": (31, 0, 0, 0), "handle_mm_fault": (140, 1, 0, 0),
    "vma_start_read": (10, 10, 0, 0), "lock_mm_and_find_vma": (20, 100, 7, 300),
    "mmap_read_unlock": (9, 60, 0, 0), "insert_pfn_pmd": (30, 2, 0, 0),
}  # fmt: skip


def test_exact_ledger_takes_steps_apart():
    trials = [simulated("retry", RETRY), simulated("direct", DIRECT)]
    (entry,) = steps.ledgers(trials, frame(trials))
    parts = {p.name: p.ns for p in entry.parts}
    assert entry.exact
    assert parts["second VMA look-up"] == pytest.approx(31, abs=0.01)
    assert parts["second walk"] == pytest.approx(70, abs=0.01)
    assert parts["mmap_lock pair"] == pytest.approx(29, abs=0.01)
    assert parts["VMA-lock pair, in vain on retry"] == pytest.approx(0, abs=0.01)
    assert parts["waiting behind readers"] == pytest.approx(160, abs=0.01)
    assert parts["waiting behind writers"] == pytest.approx(7, abs=0.01)
    assert parts["parking"] == pytest.approx(300, abs=0.01)
    assert parts["waiting moved to vma_lock"] == pytest.approx(-40, abs=0.01)
    assert parts["waiting moved to ptl"] == pytest.approx(-11, abs=0.01)
    assert parts["waiting in look-ups and walks"] == pytest.approx(1, abs=0.01)
    assert entry.residual == pytest.approx(0, abs=0.01)
    total = sum(sum(v) for v in RETRY.values()) - sum(sum(v) for v in DIRECT.values())
    assert entry.total.ns == pytest.approx(total, abs=0.01)


def test_time_on_the_clock_that_no_step_has_is_residual():
    trials = [simulated("retry", RETRY), simulated("direct", DIRECT)]
    trials[0].worker["window_ns"] = [w + 50_000_000 for w in trials[0].worker["window_ns"]]
    (entry,) = steps.ledgers(trials, frame(trials))
    assert entry.residual == pytest.approx(2 * 50_000_000 / trials[0].total("faults"), rel=1e-3)


def test_a_step_unknown_to_the_ledger_is_not_lost():
    trials = [simulated("retry", RETRY | {"new_step": (5, 6, 0, 0)}), simulated("direct", DIRECT)]
    (entry,) = steps.ledgers(trials, frame(trials))
    rest = next(p for p in entry.parts if p.name == "all other steps")
    assert rest.ns == pytest.approx(11, abs=0.01)
    assert entry.residual == pytest.approx(0, abs=0.01)


def test_refill_is_outside_the_faults_clock():
    trials = [simulated("retry", RETRY | {"refill": (999, 0, 0, 0)}), simulated("direct", DIRECT)]
    refill = round(999 * trials[0].total("faults") / 2)
    trials[0].worker["window_ns"] = [w - refill for w in trials[0].worker["window_ns"]]
    (entry,) = steps.ledgers(trials, frame(trials))
    assert entry.residual == pytest.approx(0, abs=0.01)


def test_waiting_names_the_lock():
    got = steps.waiting([simulated("direct", DIRECT, threads=4), simulated("direct", DIRECT)])
    assert set(got["threads"]) == {4}
    by = dict(zip(got["lock"], got["wait_ns"], strict=True))
    assert by["vma_lock"] == pytest.approx(70, abs=0.01)
    assert by["ptl"] == pytest.approx(13, abs=0.01)
    assert by["mmap_lock"] == 0
    assert steps.waiting(list(sweep_trials())).empty


def test_hottest_lines_by_waiting_at_the_most_workers():
    lines = [
        {"name": "mm_struct 0 mmap_lock.count", "wait_ps": 5000, "transfers": 9, "fetches": 1},
        {
            "name": "vm_area_struct 0 vm_lock",
            "wait_ps": 9_000_000_000,
            "transfers": 3,
            "fetches": 0,
        },
    ]
    trials = [
        simulated("direct", DIRECT, threads=4, lines=lines),
        simulated("direct", DIRECT, threads=2, lines=lines[:1]),
        simulated("retry", RETRY, threads=4, lines=lines),
    ]
    got = steps.hottest(trials, "direct")
    assert got["name"].tolist() == ["vm_area_struct 0 vm_lock", "mm_struct 0 mmap_lock.count"]
    assert set(got["threads"]) == {4}
    assert got["wait_ns"].iloc[0] == pytest.approx(9_000_000 / trials[0].total("faults"))
    assert steps.hottest([trials[1]], "direct")["threads"].tolist() == [2]
    assert steps.hottest(list(sweep_trials())).empty
