"""The ledger closes: on simulated steps exactly, on threads up to the residual it prints."""

import re
from dataclasses import replace

import numpy as np
import pytest

from faultbench import costs, table
from faultbench.analysis import steps
from faultbench.analysis.frame import checked
from faultbench.analysis.ledger import closing, on_threads
from faultbench.analysis.parts import foremost, notes
from faultbench.analysis.spent import spent
from faultbench.enums import Access
from faultbench.errors import DataError
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
    expected = [1250 / 1.05 - 1250 / 1.1, 1250 - 1250 / 1.05, 1250 / 1.1 - 1250 / 1.4, 0.0]
    assert [p.name for p in alone.parts] == [
        "second VMA look-up", "second walk and VMA-lock pair in vain",
        "mmap_lock pair for the VMA lock's", "waiting behind readers",
    ]  # fmt: skip
    assert [p.ns for p in alone.parts] == pytest.approx(expected, abs=0.1)
    assert alone.residual == pytest.approx(0, abs=0.3)
    crowded = by["shared", 2, 1]
    assert [p.ns for p in crowded.parts][:3] == pytest.approx(expected[:3], abs=0.1)
    waiting, parking = crowded.parts[-2:]
    assert (waiting.name, parking.name) == ("waiting behind writers", "parking")
    assert (waiting.ns, parking.ns) == (pytest.approx(40), 0)  # CPU time is the wall's: all spun


def test_without_the_other_paths_the_detour_is_one_part():
    ledgers = on_threads(frame(list(sweep_trials(cpus=9))))
    assert all(e.parts[0].name.startswith("detour alone") for e in ledgers)
    assert all("ablation" in e.parts[0].source for e in ledgers)


def test_workers_that_overlap_have_a_detour():
    """One worker cannot overlap: the case alone was looked for among those that do."""
    trials = [
        replace(one, spec=replace(one.spec, overlap=one.spec.threads > 1))
        for one in sweep_trials(vmas=("shared",), writers=(0,), cpus=9)
    ]
    entries = on_threads(frame(trials))
    assert {str(e.case["overlap"]) for e in entries} == {"-", "True"}
    assert all(e.parts[0].name.startswith("detour alone") for e in entries)


def with_the_profile(trials):
    digest = costs.load("default").digest
    return [replace(t, spec=replace(t.spec, cost_digest=digest)) for t in trials]


def test_what_the_cost_profile_asks_for_takes_the_detour_apart():
    """A default sweep has two paths: look-up and walk are busy time of a known length."""
    trials = with_the_profile(sweep_trials(handlers=("ext4",), noise=0, cpus=9))
    steps_of = costs.load("default").steps
    asked = [steps_of["find_vma"], steps_of["handle_mm_fault"] + steps_of["create_huge_pmd"]]
    for entry in on_threads(frame(trials)):
        names = [p.name for p in entry.parts][:3]
        assert names == ["second VMA look-up", "second walk", "mmap_lock pair"]
        assert [p.ns for p in entry.parts][:2] == asked
        assert entry.parts[2].ns == pytest.approx(1250 - 1250 / 1.4 - sum(asked), abs=0.1)
        assert sum(p.ns for p in entry.parts) + entry.residual == pytest.approx(entry.total.ns)


def test_four_paths_and_the_profile_tell_walk_and_lock_pairs_apart():
    trials = with_the_profile(sweep_trials(paths=PATHS, handlers=("ext4",), noise=0, cpus=9))
    entry = next(e for e in on_threads(frame(trials)) if str(e.case["threads"]) == "1")
    walk = 70
    assert [(p.name, pytest.approx(p.ns, abs=0.1)) for p in entry.parts][:4] == [
        ("second VMA look-up", 1250 / 1.05 - 1250 / 1.1), ("second walk", walk),
        ("VMA-lock pair in vain", 1250 - 1250 / 1.05 - walk),
        ("mmap_lock pair for the VMA lock's", 1250 / 1.1 - 1250 / 1.4),
    ]  # fmt: skip


def test_a_profile_that_is_not_known_takes_nothing_apart():
    trials = [replace(t, spec=replace(t.spec, cost_digest="another")) for t in sweep_trials(cpus=9)]
    for entry in on_threads(frame(trials)):
        assert entry.parts[0].name.startswith("detour alone")


def test_parking_is_what_of_the_queue_took_no_cpu_time():
    trials = list(sweep_trials(handlers=("ext4",), vmas=("shared",), noise=0, cpus=9))
    for one in trials:
        if one.spec.path == "retry" and one.spec.writers:
            faults = one.worker["faults"]
            one.worker["cpu_ns"] = [
                c - 25 * f for c, f in zip(one.worker["cpu_ns"], faults, strict=True)
            ]
    entry = next(e for e in on_threads(frame(trials)) if str(e.case["writers"]) == "1")
    parts = {p.name: p.ns for p in entry.parts}
    assert parts["parking"] == pytest.approx(25, abs=0.1)
    assert parts["waiting behind writers"] == pytest.approx(15, abs=0.1)


def test_the_residual_has_an_interval_and_what_it_is_made_of():
    trials = list(sweep_trials(paths=PATHS, handlers=("ext4",), cpus=9))
    for entry in on_threads(frame(trials)):
        low, high = entry.residual_interval
        assert low <= entry.residual <= high
        alone = str(entry.case["threads"]) == "1" and str(entry.case["writers"]) == "0"
        assert [p.name.split(":")[0] for p in entry.within] == (
            [] if alone else ["of it met on retry", "of it met on direct"]
        )
        if entry.within:  # medians of blocks: up to the noise
            made = sum(p.ns for p in entry.within)
            assert made == pytest.approx(entry.residual, abs=0.1 * abs(entry.total.ns) + 30)


def test_the_interval_of_the_residual_holds_the_truth():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        noise = rng.normal(0, 20, 6)  # what slows a block slows all that ran in it
        parts = [50 + noise + rng.normal(0, 3, 6), 30 + rng.normal(0, 3, 6)]
        low, high = closing(100 + noise + rng.normal(0, 3, 6), parts)
        held += low <= 20 <= high
        assert high - low < 40
    assert held >= 0.93 * 200


def test_the_notes_say_what_threads_cannot_tell_apart():
    said = "\n".join(notes(on_threads(frame(list(sweep_trials(paths=PATHS, cpus=9))))))
    assert "cannot be told apart" in said
    assert "moved to the next lock" in said
    assert "abort − mmap-lock" in said
    assert notes([]) == []


def test_a_case_is_named_among_all_that_were_measured():
    """The two that differ most are of 32 workers, and neither said so."""
    df = frame(list(sweep_trials(threads=(1, 2, 4, 8, 16, 32), handlers=("ext4",), cpus=99)))
    entries = on_threads(df, most=2)
    shown, names = foremost(entries, 2)
    assert [e.total.ns for e in shown] == sorted((e.total.ns for e in entries), reverse=True)
    for name in names:
        assert re.fullmatch(r"vmas shared · [01] writers? · 32 workers", name)


def test_no_ledger_of_crowded_simulated_or_single_path_trials():
    assert on_threads(frame(list(sweep_trials(cpus=0)))) == []
    assert on_threads(frame(list(sweep_trials(machine="virtual:x")))) == []
    assert on_threads(frame(list(sweep_trials(paths=("direct",))))) == []


def simulated(path, ns, threads=2, repeat=0, lines=(), **spec):
    """A virtual trial; ``ns[step] = (busy, stalled, spinning, asleep)`` per fault."""
    made = trial(
        1e6,
        np.random.default_rng(0),
        path=path,
        machine="virtual:m",
        threads=threads,
        repeat=repeat,
        **spec,
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


def kernels(*pairs):
    return [
        replace(t, spec=replace(t.spec, kernel=kernel))
        for path, ns, kernel in pairs
        for t in [simulated(path, ns)]
    ]


def test_kernels_that_differ_in_the_path_alone_make_a_ledger():
    """A ladder of kernels brings one path each: next-202308 and v6.6 are the patch."""
    ladder = kernels(
        ("abort", RETRY, "v6.5"), ("retry", RETRY, "next-202308"), ("direct", DIRECT, "v6.6"),
        ("direct", DIRECT, "v6.16"),
    )  # fmt: skip
    (entry,) = steps.ledgers(ladder, frame(ladder))
    assert entry.case["kernel"] == "next-202308 and v6.6"
    (same,) = steps.ledgers(trials := [simulated("retry", RETRY), simulated("direct", DIRECT)],
                            frame(trials))  # fmt: skip
    assert [p.ns for p in entry.parts] == [p.ns for p in same.parts]
    assert "differ in nothing but the path" in "\n".join(notes([entry]))
    assert not notes([same])
    other = kernels(("retry", RETRY, "next-202308"), ("direct", DIRECT, "v6.16"))
    assert steps.ledgers(other, frame(other)) == []  # other locks too: no retry less direct


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


@pytest.mark.parametrize(
    "unlike", [{"knobs": "prefetchw=off"}, {"order": "pte"}, {"access": Access.READ},
               {"fallback_ppm": 500_000}, {"cost": "none"}],
)  # fmt: skip
def test_two_cases_are_never_averaged(unlike):
    """Of ``--order pmd,pte`` one table of lines was shown: the mean of both."""
    line = {"name": "inode 0 i_pages", "transfers": 1, "fetches": 0}
    slow = {step: tuple(3 * ns for ns in each) for step, each in DIRECT.items()}
    trials = [
        simulated("direct", DIRECT, lines=[line | {"wait_ps": 1000}]),
        simulated("direct", slow, lines=[line | {"wait_ps": 9000}], **unlike),
    ]
    faults = trials[0].total("faults")
    assert sorted(steps.hottest(trials)["wait_ns"]) == pytest.approx([1 / faults, 9 / faults])
    waits = steps.waiting(trials)
    assert sorted(waits.loc[waits["lock"] == "ptl", "wait_ns"]) == pytest.approx([13, 39], abs=0.1)
    totals = sorted(one.total for one in spent(trials).values())
    assert totals[1] == pytest.approx(3 * totals[0], rel=1e-3)


@pytest.mark.parametrize(
    "extra", [{"steps": {"x": [1]}}, {"steps": {"x": "text"}}, {"lines": [5]}, {"lines": [{}]}]
)
def test_records_of_somebody_elses_are_an_error(extra):
    one = simulated("direct", DIRECT)
    one.extra.update(extra)
    with pytest.raises(DataError, match=f"{one.trial_id}: its {next(iter(extra))}"):
        (steps.hottest if "lines" in extra else spent)([one])


def test_lines_of_repeats_are_averaged():
    line = {"name": "inode 0 i_pages", "transfers": 1, "fetches": 0}
    trials = [
        simulated("direct", DIRECT, repeat=r, lines=[line | {"wait_ps": ps}, line | {"wait_ps": 0}])
        for r, ps in enumerate((1000, 3000))
    ]
    (got,) = steps.hottest(trials)[["wait_ns", "transfers"]].to_numpy() * trials[0].total("faults")
    assert got == pytest.approx([2, 2])
