import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultbench import table
from faultbench.model import Handler, Path, Status, Trial, TrialSpec
from faultbench.rules import resolve
from tests.strategies import trials

# Design §6: the contract, word for word.
CONTRACT = """
trial_id,machine,kernel,path,handler,order,access,vmas,files,mms,writers,threads,repeat,status,flags,cost,window_ns,cpu_ns,faults,
faults_per_s,faults_per_cpu_s,mapped_bytes_per_s,vma_lock_success,vma_lock_abort,vma_lock_retry,vma_lock_miss,
mmap_lock_reads,mmap_lock_writes,mmap_lock_read_contended,mmap_lock_read_wait_ns,parks,huge_fault_calls,fallbacks,no_vma,writer_ops,
worker_faults_min,worker_faults_max,p50_ns,p99_ns,p999_ns,max_ns
""".replace("\n", "").split(",")  # fmt: skip

SPEC = TrialSpec(
    "threads", "v6.6", Path.RETRY, resolve(None, Path.RETRY), Handler.EXT4,
    threads=2, vmas=2, writers=1, duration_ns=10**9,
)  # fmt: skip
TRIAL = Trial(
    SPEC,
    Status.OK,
    ("skew", "loaded"),
    worker={
        "window_ns": [10**9, 3 * 10**9],
        "start_ns": [0, 10**7],
        "end_ns": [10**9, 10**9 + 4 * 10**7],
        "cpu_ns": [5 * 10**8, 5 * 10**8],
        "faults": [100, 300],
        "mmap_lock_reads": [100, 301],
        "mmap_lock_writes": [0, 2],
        "parks": [1, 1],
        "pmd_installs": [100, 299],
        "pte_installs": [0, 1],
    },
    writer={"ops": [7], "mmap_lock_writes": [14], "wait_ns_max": [55]},
    latency={"direct": {"10": 1}, "retried": {"20": 98, "300": 1}},
)


def test_the_first_columns_are_the_contract():
    assert list(table.COLUMNS) == CONTRACT
    assert list(table.frame([TRIAL]).columns)[: len(CONTRACT)] == CONTRACT


def test_writes_that_were_not_counted_are_empty():
    """Without writers too, where a zero stood."""
    alone = replace(TRIAL, spec=replace(TRIAL.spec, writers=0), worker={"faults": [1]}, writer={})
    assert table.row(alone)["mmap_lock_writes"] == 0
    unseen = replace(alone, extra={"uncounted": {"mmap_lock_writes": "no rights"}})
    assert table.row(unseen)["mmap_lock_writes"] is None


def test_one_row_by_hand():
    row = table.row(TRIAL)
    assert row["window_ns"] == 2 * 10**9
    assert row["cpu_ns"] == 10**9
    assert row["faults"] == 400
    assert row["faults_per_s"] == pytest.approx(200.0)
    assert row["faults_per_cpu_s"] == pytest.approx(400.0)
    assert row["mapped_bytes_per_s"] == pytest.approx((399 * 2**21 + 4096) / 2)
    assert (row["worker_faults_min"], row["worker_faults_max"]) == (100, 300)
    assert row["mmap_lock_reads"] == 401
    assert row["mmap_lock_writes"] == 16
    assert row["writer_ops"] == 7
    assert row["flags"] == "skew loaded"
    assert row["skew"] == pytest.approx(4 * 10**7 / (2 * 10**9))
    assert (row["p50_ns"], row["p99_ns"]) == (20, 20)
    assert row["max_ns"] >= 300
    assert (row["vmas"], row["files"], row["machine"]) == ("private", "shared", "threads")
    assert row["vma_lock_success"] is None
    assert row["cpu_ns_per_fault"] == pytest.approx(2.5e6)


AWAY = {
    "window_ns": [10**9, 100],  # the second saw the window open after it had closed
    "start_ns": [0, 10**9 - 100],
    "end_ns": [10**9, 10**9],
    "cpu_ns": [10**9, 90],
    "faults": [400, 0],
}


def test_a_worker_that_was_away_has_no_window():
    row = table.row(replace(TRIAL, worker=AWAY))
    assert row["window_ns"] == 10**9
    assert row["faults_per_s"] == pytest.approx(400.0)
    assert row["skew"] == pytest.approx(1.0)
    late = replace(TRIAL, worker=AWAY | {"window_ns": [10**9, 2 * 10**7]})
    assert table.row(late)["window_ns"] == 51 * 10**7


def test_no_window_at_all_stays_none():
    none = replace(TRIAL, worker=AWAY | {"window_ns": [0, 0], "faults": [0, 0]})
    row = table.row(none)
    assert (row["window_ns"], row["faults_per_s"], row["skew"]) == (0, None, None)


def test_with_fixed_work_a_short_window_is_a_fast_worker():
    spec = replace(SPEC, duration_ns=0, faults=200)
    fixed = replace(TRIAL, spec=spec, worker=AWAY | {"faults": [200, 200]})
    assert table.row(fixed)["window_ns"] == 500_000_050


def test_with_fixed_work_a_share_is_a_rate():
    worker = AWAY | {"window_ns": [10**9, 3 * 10**9], "faults": [200, 200]}
    spec = replace(SPEC, duration_ns=0, faults=200)
    row = table.row(replace(TRIAL, spec=spec, worker=worker))
    assert (row["worker_faults_min"], row["worker_faults_max"]) == (200, 200)
    assert (row["worker_share_min"], row["worker_share_max"]) == pytest.approx((400 / 3, 400))
    # an emulator's times are nobody's
    row = table.row(replace(TRIAL, spec=spec, worker=worker, flags=("emulated",)))
    assert (row["worker_share_min"], row["worker_share_max"]) == (200, 200)


def test_a_share_may_pass_64_bits():
    """The table of a trial whose windows were a few ns and many years was a traceback."""
    worker = AWAY | {"window_ns": [1, 2**50], "faults": [2**40, 2**40]}
    spec = replace(SPEC, duration_ns=0, faults=2**40)
    (share,) = table.frame([replace(TRIAL, spec=spec, worker=worker)])["worker_share_max"]
    assert share == pytest.approx(2.0**89)


def test_with_a_fixed_duration_a_share_is_what_was_done():
    row = table.row(TRIAL)
    assert (row["worker_share_min"], row["worker_share_max"]) == (100, 300)
    row = table.row(replace(TRIAL, worker=AWAY))
    assert (row["worker_share_min"], row["worker_share_max"]) == (0, 400)


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_only_ok_has_a_rate(status):
    row = table.row(replace(TRIAL, status=status))
    rates = [c for c in row if c.endswith("_per_s") or c in ("p50_ns", "max_ns", "parks_per_1000")]
    assert all(row[c] is None for c in rates)
    assert row["faults"] == 400


@settings(max_examples=50)
@given(st.lists(trials(), max_size=4))
def test_any_trials_make_a_table_and_a_csv_of_the_same_rows(some):
    df = table.frame(some)
    assert len(df) == len(some)
    buffer = io.StringIO()
    table.to_csv(some, buffer.write)
    rows = list(csv.DictReader(io.StringIO(buffer.getvalue())))
    assert [r["trial_id"] for r in rows] == list(df["trial_id"])
    for row, trial in zip(rows, some, strict=True):
        faults = trial.worker.get("faults")
        assert row["faults"] == ("" if faults is None else str(sum(faults)))
        assert row["status"] == trial.status
    rates = df["faults_per_s"].dropna()
    assert np.isfinite(rates).all()
    assert (rates >= 0).all()


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\tx", "\rx", '=HYPERLINK("http://x")']
)
def test_no_cell_is_a_formula(cell):
    hostile = replace(TRIAL, spec=replace(SPEC, kernel=cell, cost=cell), message=cell)
    buffer = io.StringIO()
    table.to_csv([hostile], buffer.write)
    (row,) = csv.DictReader(io.StringIO(buffer.getvalue(), newline=""))
    for name in ("kernel", "cost", "message"):
        assert row[name] == "'" + cell.replace("\r", " ")


def test_the_dash_stays_a_dash():
    buffer = io.StringIO()
    table.to_csv([replace(TRIAL, spec=replace(SPEC, threads=1, vmas=1))], buffer.write)
    (row,) = csv.DictReader(io.StringIO(buffer.getvalue()))
    assert row["vmas"] == "-"


def test_no_trials_make_an_empty_table():
    assert list(table.frame([]).columns)[: len(CONTRACT)] == CONTRACT
    buffer = io.StringIO()
    table.to_csv([], buffer.write)
    assert buffer.getvalue().startswith(",".join(CONTRACT))


def test_integers_stay_exact():
    big = 2**53 + 1
    spec = replace(SPEC, threads=1, vmas=1, writers=0)
    trial = Trial(spec, Status.OK, worker={"faults": [big], "window_ns": [1], "cpu_ns": [big]})
    assert table.frame([trial])["faults"].iloc[0] == big
