"""Import of other programs' results: the field notes' own lines, and lines that are not theirs."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultbench import importing, table
from faultbench.errors import DataError, FaultbenchError, UsageError
from faultbench.wis import series as series_of

WIS = """tasks,processes,processes_idle,threads,threads_idle,linear
0,0,100,0,100,0
1,477990,49.88,275354,50.12,477990
2,941000,0.10,-1,0,955980
"""
RAW = """testcase:Anonymous memory page fault
warmup
min:100 max:120 total:220
measurement
min:100 max:120 total:220
average:477990
testcase:Anonymous memory page fault
average:480001
"""
PFT = " Gb Thr CLine   User      System     Wall    flt/cpu/s fault/wsec\n"
LINE = "   1    2   1     0.02s     0.32s     0.73s  770148.745 360708.178\n"
OLD = " Gb Rep Threads   User      System     Wall flt/cpu/s fault/wsec\n"
LAMETER = " 32   3    4    1.416s    176.165s  44.049s 35110.157  141545.239\n"


def wis(text, tasks=(), test="", kernel="-", processes=None):
    return importing.will_it_scale(
        "x", text, test=test, tasks=list(tasks), kernel=kernel, processes=processes
    )


def pft(text, order="gb,thr,cline"):
    return importing.pft("x", text, test="", order=order, kernel="-")


def rows(got):
    return table.frame(got.trials).to_dict("records")


def test_will_it_scale_csv():
    got = wis(WIS, test="page_fault1")
    found = {(r["threads"], r["mms"], r["faults_per_s"]) for r in rows(got)}
    assert found == {(1, "-", 477990.0), (1, "-", 275354.0), (2, "private", 941000.0)}
    assert {(r["handler"], r["faults_per_s"]) for r in rows(got)} == {
        ("page_fault1_processes", 477990.0), ("page_fault1_threads", 275354.0),
        ("page_fault1_processes", 941000.0),
    }  # fmt: skip
    assert all(r["machine"] == "kernel" for r in rows(got))
    assert all(r["window_ns"] == 10**9 and r["status"] == "ok" for r in rows(got))
    assert "1 point(s)" in got.notes[0]


def test_lkp_variant_with_an_absent_mode():
    got = wis(WIS.splitlines()[0] + "\n4,0,0,1000000,0,0\n")
    assert [(r["threads"], r["faults_per_s"]) for r in rows(got)] == [(4, 1e6)]


def test_raw_output_is_one_trial_an_average_line():
    got = wis(RAW, tasks=[4])
    assert [(r["threads"], r["repeat"], r["faults_per_s"]) for r in rows(got)] == [
        (4, 0, 477990.0), (4, 1, 480001.0),
    ]  # fmt: skip
    assert rows(got)[0]["handler"] == "Anonymous-memory-page-fault_threads"
    each = wis(RAW, tasks=[1, 2])
    assert [r["threads"] for r in rows(each)] == [1, 2]
    assert any("taken as 1" in note for note in wis(RAW).notes)


def test_raw_output_is_of_the_binary_that_the_user_names():
    assert any("taken as threads" in note for note in wis(RAW, tasks=[2]).notes)
    for told in (
        wis(RAW, tasks=[2], processes=True),
        wis(RAW, tasks=[2], test="page_fault1_processes"),
    ):
        assert not told.notes
        assert {(r["mms"], r["handler"].rpartition("_")[2]) for r in rows(told)} == {
            ("private", "processes")
        }
    threads = wis(RAW, tasks=[2], test="page_fault1_threads")
    assert not threads.notes
    assert {(r["mms"], r["handler"]) for r in rows(threads)} == {("shared", "page_fault1_threads")}


def test_one_task_as_a_process_is_another_case_than_one_thread():
    """Both have one address space; their mean would be nobody's rate."""
    got = wis(WIS, test="page_fault1")
    ones = [t for t in got.trials if t.spec.threads == 1]
    assert len({t.spec.case_id for t in ones}) == 2
    assert [t.spec.repeat for t in ones] == [0, 0]


def test_what_was_imported_is_exported_as_it_was():
    whole = WIS.replace("-1,0,955980", "530001,12.25,955980")
    (series,) = series_of(wis(whole, test="page_fault1").trials)
    assert series.csv() == whole
    assert "page_fault1 " in series.title
    (again,) = series_of(wis(series.csv(), test="page_fault1_threads").trials)
    assert again == series


def test_the_share_of_each_task_is_not_known():
    """Only their sum is printed: the least of two tasks was told to be twice their mean."""
    one, two = (r for r in rows(wis(WIS)) if r["handler"] == "will-it-scale_processes")
    assert one["worker_faults_min"] == one["worker_faults_max"] == 477990
    assert (two["worker_faults_min"], two["worker_faults_max"]) == (None, None)


def test_a_failed_point_is_exported_as_failed():
    (series,) = series_of(wis(WIS, test="page_fault1").trials)
    assert series.csv().splitlines()[-1] == "2,941000,0.10,-1,0.00,955980"


def test_one_kind_alone_is_its_own_column():
    text = WIS.splitlines()[0] + "\n0,0,100,0,100,0\n1,-1,0.00,275354,50.12,275354\n"
    (series,) = series_of(wis(text).trials)
    assert series.csv() == text
    (series,) = series_of(wis(RAW, tasks=[1], processes=True).trials)
    assert not series.threads
    assert series.processes[1].rate == round((477990 + 480001) / 2)


def test_raw_output_with_another_number_of_tasks():
    with pytest.raises(UsageError, match="2 runs but 3 numbers"):
        wis(RAW, tasks=[1, 2, 3])


def test_pft_line_gives_its_rates_back():
    for text in (PFT + LINE, LINE):
        (row,) = rows(pft(text))
        assert row["threads"] == 2
        assert row["vmas"] == "shared"
        assert row["faults_per_s"] == pytest.approx(360708.178, rel=1e-6)
        assert row["faults_per_cpu_s"] == pytest.approx(770148.745, rel=1e-6)
        assert row["window_ns"] == pytest.approx(0.73e9, rel=0.01)


def test_pft_old_order_by_header_or_by_option():
    for got in (pft(OLD + LAMETER), pft(LAMETER, "gb,rep,thr")):
        (row,) = rows(got)
        assert row["threads"] == 4
        assert row["faults_per_s"] == pytest.approx(141545.239, rel=1e-6)


def test_pft_wrong_order_is_noticed():
    with pytest.raises(DataError, match="--columns"):
        pft(LAMETER.replace("  3  ", "  1  "))  # one thread cannot use 177 s of CPU in 44 s
    swapped = "   1    2   1     0.02s     0.32s     0.73s  360708.178 770148.745\n"
    with pytest.raises(DataError, match="another order"):
        pft(swapped)
    with pytest.raises(DataError, match="not a column order"):
        pft(" Gb CLine Thr User System Wall flt/cpu/s fault/wsec\n" + LINE)
    with pytest.raises(UsageError, match="gb,rep,thr"):
        pft(LINE, "thr,gb,cline")


ONE = " 32   3    1    1.416s    138.165s   139.050s  45073.831  45097.498\n"  # 16 KiB pages


def test_pft_order_is_told_by_the_size_of_a_page():
    """Three repetitions of one thread were read as three threads: their CPU time allows it."""
    (row,) = rows(pft(ONE, "gb,rep,thr"))
    assert row["threads"] == 1
    with pytest.raises(DataError, match=r"x: line 1: .* say --columns gb,rep,thr$"):
        pft(ONE)
    idle = "   8    3   1     0.20s    3.20s     6.00s  616809.412 349525.333\n"  # 4 KiB pages
    for text, order in ((idle, "gb,thr,cline"), (PFT + idle, "gb,rep,thr")):
        assert rows(pft(text, order))[0]["threads"] == 3
    with pytest.raises(DataError, match=r"say --columns gb,thr,cline$"):
        pft(idle, "gb,rep,thr")


def test_pft_lines_that_no_order_explains_are_read_as_they_are():
    """Eight threads with a GiB each, or pages of many sizes: it is not for us to judge."""
    each = "   1    8   1     0.20s   15.20s     2.00s  136178.702 1048576.000\n"
    mixed = "   1    2   1     0.20s    3.20s     2.00s   88235.294 150000.000\n"
    for text, threads in ((each, 8), (mixed, 2)):
        assert rows(pft(text))[0]["threads"] == threads


def test_repeats_are_counted_over_files():
    both = importing.numbered([*pft(LINE).trials, *pft(LINE).trials])
    assert [t.spec.repeat for t in both] == [0, 1]
    assert both[0].spec.case_id == both[1].spec.case_id


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "neither"), ("a,b\n1,2\n", "neither"), (WIS + "3,4\n", "2 columns"),
     (WIS + "x,1,1,1,1,1\n", "no numbers"), (WIS + "1,1e99,1,1,1,1\n", "out of range"),
     (WIS + "1,nan,1,1,1,1\n", "out of range"), (WIS.splitlines()[0], "no measured point"),
     ("testcase:x\nwarmup\n", "no run finished"), ("average:-5\n", "whole number"),
     ("average:²\n", "whole number"), ("average:" + "9" * 40, "out of range"),
     ("average:" + "9" * 5000, "out of range")],
)  # fmt: skip
def test_foreign_and_broken_will_it_scale(text, words):
    with pytest.raises(DataError, match=words):
        wis(text)


@pytest.mark.parametrize("text", ["", "hello\n", "1 2 3\n", PFT])
def test_no_pft_lines(text):
    with pytest.raises(DataError, match="no PFT line"):
        pft(text)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_in_words(text):
    for read in (wis, pft):
        with contextlib.suppress(FaultbenchError):
            assert read(text).trials
