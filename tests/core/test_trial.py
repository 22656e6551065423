"""Whole trials: writers, sharing, windows, histograms, memory, and what is refused."""

from __future__ import annotations

import errno
import itertools
import resource
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from faultbench import _checked, _single, _threads, _virtual
from faultbench.enums import Access, Handler, Map, Order, Path
from faultbench.machines.description import load
from faultbench.model import TrialSpec
from faultbench.rules import objection, resolve
from tests.core.specs import ACCESSES, HANDLERS, MAPS, ORDERS, WRITER_OPS, costs, spec, totals

MS = 1_000_000
KERNELS = ["v6.3", "v6.5", "next-202308", "v6.6", "v6.13", "v6.16"]


def ok(out: dict[str, Any]) -> dict[str, int]:
    assert (out["status"], out["invariant"]) == ("ok", "")
    return totals(out)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("writer_op", WRITER_OPS)
@pytest.mark.parametrize("machine", [_threads, _checked], ids=["threads", "checked"])
def test_writers(kernel: str, writer_op: str, machine: Any) -> None:
    """Whatever writers do, every invariant and every assertion holds."""
    for handler, order in (("ext4", "pmd"), ("device-dax", "pud"), ("xfs", "pte"), ("anon", "pte")):
        if writer_op == "fsync" and handler not in ("ext4", "xfs"):
            continue
        for vmas in (1, 2):
            given = spec(kernel, handler, order=order, writer_op=writer_op, workers=2, vmas=vmas)
            given |= {
                "writers": 2,
                "faults": 0,
                "duration_ns": 6 * MS,
                "warmup_ns": MS,
                "slice": 24,
            }
            out = machine.run_trial(given)
            got = ok(out)
            if writer_op not in ("target",):
                assert got["no_vma"] == 0
            if writer_op == "fsync":
                assert out["writer"]["mmap_lock_writes"] == [0, 0]


def test_retry_waits_behind_a_writer_and_direct_does_not() -> None:
    """§7.1: a fault in an unrelated VMA never meets the writer in direct, and does in retry."""
    given = spec(writers=1, faults=0, duration_ns=60 * MS, warmup_ns=5 * MS, workers=1)
    direct = ok(_threads.run_trial(given))
    assert (direct["mmap_lock_reads"], direct["parks"]) == (0, 0)
    retry = ok(_threads.run_trial({**given, "rules": given["rules"] | 4}))
    assert retry["mmap_lock_reads"] == retry["faults"]


@pytest.mark.parametrize("handler", ["ext4", "xfs"])
def test_a_pte_fault_leaves_a_real_pmd_entry(handler: str) -> None:
    """§6.2 step 3: only an empty PMD entry is downgraded; copying a private page leaves it."""
    given = spec("v6.12", handler, access="wp", map="private", writers=1, writer_op="target")
    probe = _single.Probe(given)
    base, _, _ = probe.slice()
    assert probe.fault(base, False)["counters"]["pmd_installs"] == 1
    assert probe.fault(base, True)["counters"]["pte_installs"] == 1  # split, copied
    probe.writer_op(1)  # unmapped with its tables, mapped again
    again = probe.fault(base, False)["counters"]
    assert (again["pmd_installs"], again.get("fallbacks", 0)) == (1, 0)
    assert probe.broken() is None


@pytest.mark.parametrize("kernel", ["v6.3", "next-202308", "v6.6", "v6.16"])
def test_sharing(kernel: str) -> None:
    """VMAs, files and address spaces, K of each; and workers that race for the same entries."""
    for vmas, files, mms in ((1, 1, 1), (2, 1, 1), (4, 2, 1), (4, 4, 2), (4, 1, 4), (3, 1, 1)):
        for handler in ("ext4", "device-dax"):
            given = spec(kernel, handler, workers=4, vmas=vmas, files=files, mms=mms, faults=300)
            got = ok(_checked.run_trial(given))
            assert got["pmd_installs"] == got["faults"] == 1200
    got = ok(_checked.run_trial(spec(kernel, "xfs", workers=3, overlap=1, faults=2000, slice=32)))
    assert got["pmd_installs"] + got["lost_races"] + got["set_accessed"] == got["faults"]


def test_private_address_spaces_have_no_mmap_lock_in_common() -> None:
    """--mms private: each worker's detours go to its own mmap_lock, so none is contended."""
    given = spec("next-202308", "device-dax", workers=4, vmas=4, mms=4, faults=3000)
    got = ok(_threads.run_trial(given))
    assert (got["mmap_lock_reads"], got["mmap_lock_read_contended"]) == (12000, 0)


@pytest.mark.parametrize("knob", ["vma_lock", "mm_layout", "rwsem", "seq"])
def test_knobs_change_no_counter(knob: str) -> None:
    """Layout and lock algorithm move lines; what happens to a fault stays."""
    base = None
    for value in {"vma_lock": (1, 2, 3, 4), "mm_layout": (0, 1), "rwsem": (0, 1, 2), "seq": (0, 1)}[
        knob
    ]:
        for kernel in ("next-202308", "v6.6"):
            given = spec(kernel, workers=2, faults=500, **{knob: value})
            ok(_threads.run_trial(given))
            ok(_threads.run_trial({**given, "writers": 1, "duration_ns": 4 * MS, "faults": 0}))
        got = ok(_threads.run_trial(spec("next-202308", faults=500, **{knob: value})))
        got = {k: v for k, v in got.items() if not k.endswith("_ns")}
        assert base in (None, got)
        base = got


def test_sync_faults_commit_under_the_fault_lock() -> None:
    for handler in ("ext4", "xfs"):
        probe = _single.Probe(spec("v6.6", handler, sync=1))
        names = [name for _, name, _ in probe.fault(probe.slice()[0])["sequence"]]
        assert names.index("dax_finish_sync_fault") < names.index("vma_end_read")
        assert names.index("dax_finish_sync_fault") < names.index("insert_pfn_pmd")
        assert probe.broken() is None
        del probe


def test_windows_and_clocks() -> None:
    given = spec("v6.6", "device-dax", workers=2, vmas=2, duration_ns=30 * MS, warmup_ns=5 * MS)
    out = _threads.run_trial({**given, "slice": 512, "sample_shift": 4})
    got = out["worker"]
    ok(out)
    for i in range(2):
        whole = got["end_ns"][i] - got["start_ns"][i]
        assert 0 < got["window_ns"][i] <= whole
        assert 0 < got["cpu_ns"][i] <= whole
        assert got["refill_ns"][i] > 0
    assert sum(out["latency"]["direct"].values()) == pytest.approx(
        totals(out)["faults"] / 16, rel=0.02
    )


def test_latency_is_split_by_outcome() -> None:
    for kernel, name in (("v6.6", "direct"), ("next-202308", "retried"), ("v6.5", "aborted")):
        out = _threads.run_trial(spec(kernel, faults=4096, sample_shift=0))
        assert {k: sum(v.values()) for k, v in out["latency"].items() if v} == {name: 4096}
    edges = _threads.latency_edges()
    assert edges == sorted(set(edges))
    assert edges[:257] == list(range(257))
    assert all(b - a <= max(1, a * 0.008) for a, b in itertools.pairwise(edges))


def test_costs_are_paid_where_the_kernel_spends_the_time() -> None:
    """On the single machine time is what fb_work says: one busy step a fault."""
    plain = totals(_single.run_trial(spec(faults=16)))["window_ns"]
    for step, times in (("exc_page_fault", 16), ("insert_pfn_pmd", 16), ("create_huge_pud", 1)):
        given = spec(faults=16, cost=costs(_single.CONSTANTS, **{step: 1000}))
        assert 0 <= totals(_single.run_trial(given))["window_ns"] - plain - 1000 * times < 100


def test_determinism() -> None:
    given = spec("v6.12", "xfs", fallback_ppm=200_000, faults=700, slice=64, seed=7)

    def counters(**more: int) -> dict[str, int]:
        got = totals(_single.run_trial({**given, **more}))
        return {name: n for name, n in got.items() if name not in ("start_ns", "end_ns")}

    assert counters() == counters()
    # 12.8 ranges of 64 fall back: the seed says which, and so whether it is 12 or 13
    assert len({tuple(counters(seed=n).items()) for n in range(16)}) > 1


BAD: list[dict[str, Any]] = [
    {"workers": 0},
    {"workers": 5000},
    {"workers": -1},
    {"workers": 1.5},
    {"workers": "2"},
    {"workers": 1 << 70},
    {"handler": 7},
    {"order": 3},
    {"vmas": 2},
    {"mms": 2},
    {"files": 2},
    {"faults": 0},
    {"cost": [1] * 500},
    {"cost": [-1]},
    {"rules": 1, "vma_lock": 0},
    {"rules": 1 | 64},
    {"slice": 1 << 18, "order": 1, "handler": 0, "workers": 4096},
    {"seed": -1},
]


@pytest.mark.parametrize("change", BAD, ids=lambda c: ",".join(map(str, c)))
def test_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="run_trial: "):
        _threads.run_trial({**spec(), **change})


def test_mutants_are_refused_where_rates_are_measured() -> None:
    with pytest.raises(ValueError, match="checked builds"):
        _threads.run_trial({**spec(), "mutant": 1})


def test_the_same_combinations_as_faultbench_rules() -> None:
    """The engine refuses what `faultbench.rules` refuses."""
    base = TrialSpec("threads", "v6.6", Path.DIRECT, resolve("v6.6", None), Handler.EXT4, faults=4)
    for handler, order, access, mapping in itertools.product(HANDLERS, ORDERS, ACCESSES, MAPS):
        if (handler, mapping) == ("anon", "shared"):
            continue  # the engine takes anon as private without asking
        for sync, fallback in ((0, 0), (1, 0), (0, 1000)):
            given = spec("v6.6", handler, order=order, access=access, map=mapping, faults=4)
            given |= {"sync": sync, "fallback_ppm": fallback}
            trial = replace(
                base,
                handler=Handler(handler),
                order=Order(order),
                access=Access(access),
                map=Map(mapping),
                sync=bool(sync),
                fallback_ppm=fallback,
                files=0 if handler in ("anon", "nop") else 1,
            )
            try:
                _single.run_trial(given)
                taken = True
            except ValueError:
                taken = False
            refused = objection(trial)
            assert taken == (not refused), (handler, order, access, mapping, sync, fallback)


MEMORY = """
import resource
from faultbench import _threads
from tests.core.specs import spec
for handler, order in (("ext4", "pmd"), ("device-dax", "pud"), ("xfs", "pte")):
    for vmas in (1, 64):
        out = _threads.run_trial(spec("v6.6", handler, order=order, workers=64, vmas=vmas, files=1,
                                      writers=2, writer_op="target", faults=600, slice=512,
                                      sample_shift=2))
        assert out["status"] == "ok", out["invariant"]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_64_workers_stay_under_512_mb() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 512


def test_trials_leave_nothing_behind() -> None:
    given = spec(workers=3, vmas=3, writers=1, writer_op="target", faults=200, sample_shift=3)
    for _ in range(20):
        ok(_threads.run_trial(given))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(150):
        ok(_threads.run_trial(given))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10


@pytest.mark.parametrize(
    ("kernel", "call", "says"),
    [
        ("v6.6", "vma_start_read", "a VMA lock is held at rest"),
        ("v6.16", "vma_start_read", "vm_refcnt is 2 at rest, not 1"),
        ("v6.6", "mmap_write_lock", "mmap_lock of mm 0 is held"),
        ("v6.16", "mmap_write_lock", "mmap_lock of mm 0 is held"),
    ],
)
def test_a_lock_that_is_kept_is_found_at_rest(kernel: str, call: str, says: str) -> None:
    """The checks at rest look at the words themselves, not at what the tasks believe to hold."""
    probe = _single.Probe(spec(kernel, writers=1))
    base, _, _ = probe.slice()
    assert probe.broken() is None
    probe.lock(call, base, 1)
    assert says in (probe.broken() or "")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("ppm", [50_000, 200_000, 500_000])
def test_as_many_ranges_fall_back_as_was_asked_for(workers, ppm):
    """Drawn one by one, 64 ranges of which a fifth should fall back gave 6 to 22 %."""
    given = spec("v6.3", "xfs", workers=workers, slice=64, faults=64, fallback_ppm=ppm)
    got = ok(_threads.run_trial(given))
    assert abs(got["fallbacks"] - 64 * workers * ppm / 1e6) <= workers


def test_a_trial_that_cannot_start_says_why_by_its_errno():
    given = spec("v6.6", "nop", workers=2, faults=1)
    given |= {"machine": load("generic").figures(cpus=1), "lines": 0, "log": 0}
    with pytest.raises(OSError, match="started 0 of 2 tasks") as error:
        _virtual.run_trial(given)
    assert error.value.errno == errno.EINVAL


@pytest.mark.parametrize("workers", [1, 2])
def test_virtual_time_ends_with_words(workers):
    """Beyond 2.5 hours events came in any order, and the trial was called ok.

    A second outside all locks in each fault, so 9000 faults fit and 10000 do not.
    """
    given = spec("v6.6", "nop", workers=workers, vmas=workers, slice=64)
    given["cost"] = costs(_virtual.CONSTANTS, exc_page_fault=10**9)
    given |= {"machine": load("generic").figures(), "lines": 0, "log": 0}
    ends = ok(_virtual.run_trial({**given, "faults": 8500}))["end_ns"]
    assert 8.4e12 < ends / workers < 8.6e12
    with pytest.raises(OSError, match="virtual time ends after two and a half hours") as error:
        _virtual.run_trial({**given, "faults": 10_000})
    assert error.value.errno == errno.EOVERFLOW
    ok(_virtual.run_trial({**given, "faults": 64}))  # the next trial is none the worse


def test_a_report_that_fails_is_no_result(monkeypatch):
    """It was swallowed: Ctrl-C in `explain` was a KeyError, no memory for it a trial without."""
    given = spec("v6.6", "nop", workers=1, faults=4)
    given |= {"machine": load("generic").figures(), "lines": 0, "log": 100}
    assert _virtual.run_trial(given)["log"]
    monkeypatch.setattr(_virtual, "LOG_TYPES", None)
    with pytest.raises(TypeError):
        _virtual.run_trial(given)


@pytest.mark.parametrize("kernel", ["v6.12", "v6.16"])
def test_a_fault_sent_back_for_its_anon_vma_leaves_the_table(kernel):
    """do_anonymous_page: pte_alloc() before vmf_anon_prepare()."""
    got = _checked.run_trial(spec(kernel, "anon", order="pte", faults=1, fresh=1, trace=64))
    locks = [name for kind, name, _ in got["trace"] if kind != "step"]
    assert locks.index("pmd_ptl") < locks.index("mmap_lock")
