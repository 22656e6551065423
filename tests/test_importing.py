"""Import of other programs' results: the field notes' own lines, and lines that are not theirs."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultbench import importing, table
from faultbench.errors import DataError, FaultbenchError, UsageError

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


def wis(text, tasks=(), test="", kernel="-"):
    return importing.will_it_scale("x", text, test=test, tasks=list(tasks), kernel=kernel)


def pft(text, order="gb,thr,cline"):
    return importing.pft("x", text, test="", order=order, kernel="-")


def rows(got):
    return table.frame(got.trials).to_dict("records")


def test_will_it_scale_csv():
    got = wis(WIS, test="page_fault1")
    found = {(r["threads"], r["mms"], r["faults_per_s"]) for r in rows(got)}
    assert found == {(1, "-", 477990.0), (1, "-", 275354.0), (2, "private", 941000.0)}
    assert all(r["machine"] == "kernel" and r["handler"] == "page_fault1" for r in rows(got))
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
    assert rows(got)[0]["handler"] == "Anonymous-memory-page-fault"
    each = wis(RAW, tasks=[1, 2])
    assert [r["threads"] for r in rows(each)] == [1, 2]
    assert "taken as 1" in wis(RAW).notes[0]


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


def test_repeats_are_counted_over_files():
    both = importing.numbered([*pft(LINE).trials, *pft(LINE).trials])
    assert [t.spec.repeat for t in both] == [0, 1]
    assert both[0].spec.case_id == both[1].spec.case_id


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "neither"), ("a,b\n1,2\n", "neither"), (WIS + "3,4\n", "2 columns"),
     (WIS + "x,1,1,1,1,1\n", "no numbers"), (WIS + "1,1e99,1,1,1,1\n", "out of range"),
     (WIS + "1,nan,1,1,1,1\n", "out of range"), (WIS.splitlines()[0], "no measured point"),
     ("testcase:x\nwarmup\n", "no run finished"), ("average:-5\n", "whole number")],
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
