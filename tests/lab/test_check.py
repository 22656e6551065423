"""The verdict on the model: shipped counts of real kernels against the model, without QEMU."""

import dataclasses
import importlib
import json
from dataclasses import replace

import pytest

from faultbench import records, rules
from faultbench.enums import Access, Handler, Path
from faultbench.errors import UsageError
from faultbench.lab import check, run, sequence
from faultbench.lab.cases import cases_61, cases_612, timed_cases
from faultbench.rules import UNCONFIRMED


@pytest.fixture(scope="module")
def recorded():
    return records.read(run.RECORDED).trials


@pytest.fixture(scope="module")
def rows(recorded):
    return list(check.rows(recorded))


def test_every_case_is_recorded(recorded):
    seen = {run.case_of(trial) for trial in recorded}
    assert seen == {*cases_612(), *timed_cases(), *cases_61()}


def test_the_model_equals_the_kernel(rows):
    wrong = {(r.case.name, r.case.path): r.differences for r in rows if r.differences}
    assert not wrong


def test_counts_that_must_be_equal_are_there(rows):
    assert not [row.case.name for row in rows if row.uncounted]


def test_what_was_not_counted_is_no_agreement(recorded):
    """A case without the count that decides was "equal", and so was a file without cases."""
    trial = next(t for t in recorded if t.spec.kernel.startswith("6.1.") and t.spec.writers == 0)
    worker = {k: v for k, v in trial.worker.items() if k != "mmap_lock_reads"}
    found = list(check.rows([replace(trial, worker=worker)]))
    assert found[0].uncounted == ["mmap_lock_reads"]
    assert check.summary(found) == "1 of 1 cases lack mmap_lock_reads: no verdict"
    assert "BAD" in check.table(found)
    assert "nothing to compare" in check.summary([])


def test_an_attempt_that_was_not_counted_is_not_zero():
    case = cases_61()[0]
    one = dict.fromkeys("touches faults cpu_ns start_ns end_ns refill_ns vcsw".split(), 1)
    raw = {"worker": [{"counted": one, "count": [-2, -2, -2, 1, 1]}], "writer": []}
    worker = run.trial(case, 0, "6.1", raw, {}, "emulated").worker
    assert "mmap_lock_read_contended" not in worker
    assert "mmap_lock_reads" not in worker


def test_a_fallback_on_ext4_calls_the_handler_twice_in_direct_and_once_in_retry(rows):
    calls = {
        (r.case.path, r.case.why): r.kernel["calls_pmd"][0] / r.kernel["faults"][0]
        for r in rows
        if r.case.handler is Handler.EXT4 and r.case.why
    }
    assert calls == {
        (path, why): 2.0 if path is Path.DIRECT else 1.0
        for path in (Path.DIRECT, Path.RETRY)
        for why in ("misaligned", "private", "eof", "short-extent")
    }


def test_a_wrong_model_is_found(recorded):
    """6.6 sends PTE faults of XFS back, 6.12 does not: the check must see it."""
    engine = importlib.import_module("faultbench._checked")
    (trial,) = (
        t
        for t in recorded
        if t.spec.handler is Handler.XFS
        and t.spec.path is Path.DIRECT
        and run.case_of(t).why == "short-extent"
    )
    case = run.case_of(trial)
    wrong = check.model_counts(case, engine, kernel="v6.6")
    row = check.Row(case, trial.spec.kernel)
    for name in (*check.EXACT, *check.RACED):
        row.kernel[name], row.model[name] = [trial.total(name)], [wrong[name]]
    assert "mmap_lock_reads" in row.differences
    assert "BAD" in check.table([row])
    assert "the model is wrong" in check.summary([row])


def test_attempts_and_switches_are_shown_as_ranges(rows):
    lines = check.table(rows).splitlines()
    head = next(line for line in lines if line.endswith("switches"))
    assert head.split()[-2:] == ["contended", "switches"]
    ranges = [line for line in lines if "retry" in line and "writer" in line]
    assert any("–" in line.split()[-1] or "~" in line.split()[-2] for line in ranges)
    for row in rows:
        samples = len(row.kernel["mmap_lock_reads"])
        assert (samples > 1) == row.case.varies
        assert len(row.kernel["parks"]) == len(row.model["parks"]) == samples


def test_a_sweeps_file_is_told_what_it_is(tmp_path):
    header = records.Header("0.1.0")
    with records.Writer.create(tmp_path / "sweep.jsonl", header):
        pass
    with pytest.raises(UsageError, match=r"a results file of sweep, not of `lab run`"):
        run.read(tmp_path / "sweep.jsonl")


def test_the_verdict_names_its_two_faults():
    text, _ = sequence.report(recorded=True, say=print)
    assert "operations of the first fault 22, of the second 18" in text


def test_a_race_to_be_first_is_no_difference_but_more_is():
    case = next(c for c in cases_612() if c.threads == 2 and not c.own)
    row = check.Row(case, "6.12", {"calls_pud": [1, 2]}, {"calls_pud": [2]})
    assert not row.differences
    row.model["calls_pud"] = [1 + 2 * case.threads + 1]
    assert row.differences == ["calls_pud"]
    row = check.Row(case, "6.12", {"faults": [1024]}, {"faults": [1023]})
    assert row.differences == ["faults"]


def test_records_of_another_version_are_refused(recorded):
    strange = dataclasses.replace(
        recorded[0], spec=dataclasses.replace(recorded[0].spec, faults=12345)
    )
    with pytest.raises(Exception, match="no case for record"):
        run.case_of(strange)


def test_kernels_without_a_laboratory_are_known():
    assert {"v6.4", "v6.5", "v6.13", "v6.15", "v6.16"} == UNCONFIRMED


def test_the_order_of_lock_operations_is_the_kernels():
    text, same = sequence.report(recorded=True, say=print)
    assert same, text
    assert "in the kernel only" not in text
    assert "memtype_lock" not in text


def test_the_kernel_asks_for_a_remap_in_write_faults_on_xfs_only():
    """Once a fault, between invalidate_lock and the entry; what the recorded 6.12 does."""
    found = json.loads(sequence.RECORDED.read_text())["cases"]
    for case, kernel in zip(sequence.cases(), found, strict=True):
        asks = case.handler is Handler.XFS and case.access is Access.WRITE
        assert kernel["second"].count("+i_flags_lock") == int(asks), case.name
        if asks:
            at = kernel["second"].index("+invalidate_lock")
            expected = ["+i_flags_lock", "-i_flags_lock", "+xa_lock"]
            assert kernel["second"][at + 1 : at + 4] == expected


def test_a_lock_that_the_model_lacks_is_its_fault(monkeypatch, tmp_path):
    """Also one that nobody has a name for, as jbd2's wait queue once was."""
    found = json.loads(sequence.RECORDED.read_text())
    found["cases"][3]["besides"] = ["mutex_lock <-somebody"]
    changed = tmp_path / "sequences.json"
    changed.write_text(json.dumps(found))
    monkeypatch.setattr(sequence, "RECORDED", changed)
    text, same = sequence.report(recorded=True, say=print)
    assert not same
    assert text.count("BAD") == 1
    assert "in the kernel only: mutex_lock <-somebody (ext4)" in text


@pytest.mark.parametrize(
    ("rule", "cases"), [("IREMAPPING", {"xfs pmd write"}), ("ANON_LATE", set())]
)
def test_without_its_rule_the_model_differs(monkeypatch, rule, cases):
    """The check fails for a model of 6.12 that does not ask for a remap."""
    kernel = rules.KERNELS["v6.12"]
    less = replace(kernel.rules, bits=kernel.rules.bits & ~getattr(rules, rule))
    monkeypatch.setitem(rules.KERNELS, "v6.12", replace(kernel, rules=less))
    text, same = sequence.report(recorded=True, say=print)
    bad = [line for line in text.splitlines() if line.startswith("BAD")]
    assert {name for name in cases for line in bad if name in line} == cases
    assert len(bad) == 2 * len(cases)  # direct and retry
    assert same == (not cases)


def test_the_kernel_looks_the_memory_type_up_before_it_locks_the_table():
    """On pmem under two locks, on the device's RAM under one: once a fault."""
    found = json.loads(sequence.RECORDED.read_text())["cases"]
    for case, kernel in zip(sequence.cases(), found, strict=True):
        second = kernel["second"]
        at = second.index("+resource_lock")
        between = ["+memtype_lock", "-memtype_lock"] * (case.handler is not Handler.DRIVER)
        expected = ["+resource_lock", "-resource_lock", *between, "+pmd_ptl"]
        assert second[at : at + len(expected)] == expected
        assert second.count("+resource_lock") == 1


def test_another_order_is_found(monkeypatch):
    wrong = sequence.model(sequence.cases()[0])
    wrong[1][1], wrong[1][2] = wrong[1][2], wrong[1][1]
    monkeypatch.setattr(sequence, "model", lambda case: wrong)
    text, same = sequence.report(recorded=True, say=print)
    assert not same
    assert "BAD" in text


TRACE = """\
x-1 down_read_trylock <-lock_vma_under_rcu
f-2 lock_vma_under_rcu <-do_user_addr_fault
f-2 down_read_trylock <-lock_vma_under_rcu
f-2 _raw_spin_lock <-sched_tick
f-2 _raw_spin_unlock <-sched_tick
f-2 fbd_huge_fault <-__handle_mm_fault
x-1 up_read <-do_user_addr_fault
f-2 mutex_lock <-first_only
f-2 mutex_lock <-both
f-2 _raw_spin_lock <-vmf_insert_pfn_pmd
f-2 _raw_spin_unlock <-vmf_insert_pfn_pmd
f-2 up_read <-do_user_addr_fault
f-2 lock_vma_under_rcu <-do_user_addr_fault
f-2 down_read_trylock <-lock_vma_under_rcu
f-2 fbd_huge_fault <-__handle_mm_fault
f-2 up_read <-ab_pre
f-2 lock_mm_and_find_vma <-do_user_addr_fault
f-2 down_read_trylock <-lock_mm_and_find_vma
f-2 fbd_huge_fault <-__handle_mm_fault
f-2 mutex_lock <-both
f-2 _raw_spin_lock <-__xfs_filemap_fault
f-2 _raw_spin_unlock <-__xfs_filemap_fault
f-2 _raw_read_lock <-find_next_iomem_res
f-2 _raw_read_unlock <-find_next_iomem_res
f-2 _raw_spin_lock <-lookup_memtype
f-2 _raw_spin_unlock <-lookup_memtype
f-2 up_read <-do_user_addr_fault
f-2 down_read <-do_madvise
"""


def test_a_trace_is_read():
    found = sequence.parse(TRACE.splitlines())
    assert found.first == ["+vma_lock", "+pmd_ptl", "-pmd_ptl", "-vma_lock"]
    pat = ["+resource_lock", "-resource_lock", "+memtype_lock", "-memtype_lock"]
    between = ["+i_flags_lock", "-i_flags_lock", *pat]
    assert found.second == ["+vma_lock", "-vma_lock", "+mmap_lock", *between, "-mmap_lock"]
    assert found.besides == ["mutex_lock <-both"]  # not what one of the two took


JOURNAL_TRACE = """\
f-2 lock_vma_under_rcu <-do_user_addr_fault
f-2 down_read_trylock <-lock_vma_under_rcu
f-2 ext4_dax_huge_fault <-__handle_mm_fault
f-2 __ext4_journal_start_sb <-ext4_dirty_inode
f-2 _raw_read_lock <-start_this_handle
f-2 _raw_read_unlock <-start_this_handle
f-2 __wake_up <-stop_this_handle
f-2 _raw_spin_lock_irqsave <-__wake_up
f-2 _raw_spin_unlock_irqrestore <-__wake_up
f-2 down_read <-ext4_dax_huge_fault
f-2 __wake_up <-stop_this_handle
f-2 _raw_spin_lock_irqsave <-__wake_up
f-2 _raw_spin_unlock_irqrestore <-__wake_up
f-2 __wake_up <-somebody_else
f-2 _raw_spin_lock_irqsave <-__wake_up
f-2 _raw_spin_unlock_irqrestore <-__wake_up
f-2 up_read <-ext4_dax_huge_fault
f-2 up_read <-do_user_addr_fault
"""


def test_a_wake_up_is_the_lock_of_whose_queue_it_is():
    """And the handle of the inode's time stamp, once a tick, is no part of a fault."""
    found = sequence.parse((JOURNAL_TRACE * 2).splitlines())
    queue = ["+j_wait_updates", "-j_wait_updates"]
    expected = ["+vma_lock", "+invalidate_lock", *queue, "-invalidate_lock", "-vma_lock"]
    assert found.first == found.second == expected
    assert found.besides == ["_raw_spin_lock_irqsave <-__wake_up"]
