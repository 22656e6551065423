"""The table at the end of a sweep says what its marks mean, and does not contradict itself."""

import re
from dataclasses import replace

import pytest

from faultbench import costs
from faultbench.analysis.frame import in_words
from faultbench.cli import summary
from faultbench.cli.info import _topology
from faultbench.cli.ratios import Ratios
from faultbench.disturbance import WORDS
from faultbench.enums import WriterOp
from faultbench.table import frame
from tests.analysis.files import sweep_trials
from tests.cli.test_analysis_commands import run


def rendered(trials):
    return [line.plain for line in summary.render(trials, costs.load("default"), 120)]


def test_no_blank_lines_around_and_no_spaces_behind():
    lines = rendered(sweep_trials(writers=(0,)))
    assert lines[0].startswith("machine threads")
    assert lines[-1]
    assert not [line for line in lines if line != line.rstrip()]


def test_transient_trials_are_marked_and_explained():
    trials = sweep_trials(machine="virtual:generic", writers=(0, 1), cpus=99)
    trials = [replace(t, flags=("transient",) if t.spec.writers else ()) for t in trials]
    lines = rendered(trials)
    (said,) = (line for line in lines if "transient" in line)
    assert "† transient" in said
    text = " ".join(" ".join(lines).split())
    assert "fewer than 10 writer operations" in text
    assert "a window under 20 ms" in text
    assert "disturbed of" not in text
    rows = [line for line in lines if re.search(r" (retry|direct)( †)? +\d", line)]
    assert len([row for row in rows if "†" in row]) == len(rows) / 2


def test_the_noise_said_is_that_of_the_rows():
    """A star is judged by the floor of its load; one figure for the sweep contradicted it."""
    trials = [
        *sweep_trials(writers=(0,), noise=0.001),
        *sweep_trials(writers=(1,), threads=(1,), noise=0.3),
    ]
    ratios = Ratios(frame(trials), "faults_per_s")
    low, high = (float(n) for n in re.findall(r"[\d.]+", ratios.floors))
    assert low < 2 < high
    (said,) = (line for line in rendered(trials) if "noise of this machine" in line)
    assert f"by load: faults/s {ratios.floors}" in said


def test_work_by_count_is_said_in_the_title():
    trials = [
        replace(t, spec=replace(t.spec, faults=100, duration_ns=0))
        for t in sweep_trials(machine="virtual:generic", writers=(0,))
    ]
    assert rendered(trials)[0].endswith("6 trials each, 100 faults per worker")
    assert "per worker" not in rendered(sweep_trials())[0]


def test_what_is_not_usual_stands_in_the_head():
    """One --writer-op, --sync, --fallback or --writer-rate stood nowhere."""
    asked = {"sync": True, "fallback_ppm": 500_000, "writer_op": WriterOp.MPROTECT,
             "writer_rate": 1000}  # fmt: skip
    few = list(sweep_trials(writers=(1,), vmas=("shared",), handlers=("ext4",)))
    (head,) = (line for line in rendered(few) if line.startswith("ext4: "))
    assert head == "ext4: pmd, write, 1 writer, vmas shared, map shared, files shared, " + (
        "mms shared, locks of v6.6"
    )
    few = [replace(t, spec=replace(t.spec, **asked)) for t in few]
    text = " ".join(" ".join(rendered(few)).split())
    assert ", sync, fallback 0.5, writer-op mprotect, writer-rate 1000, locks of v6.6" in text


def test_as_fast_as_they_can_is_no_rate_of_0():
    trials = [
        replace(t, spec=replace(t.spec, writer_rate=rate if t.spec.writers else 0))
        for rate in (0, 100)
        for t in sweep_trials(writers=(0, 1), vmas=("shared",), handlers=("ext4",))
    ]
    shown = [line.split()[:3] for line in rendered(trials) if " retry " in line]
    assert {tuple(cells[1:]) for cells in shown} == {("0", "-"), ("1", "max"), ("1", "100")}
    assert in_words({"writers": 1, "writer_rate": 0}) == "1 writer · writer_rate max"
    assert in_words({"writers": 0, "writer_rate": 0}) == "0 writers"


def test_one_worker_never_overlaps_and_that_is_no_case_of_its_own():
    few = [
        replace(t, spec=replace(t.spec, overlap=t.spec.threads > 1))
        for t in sweep_trials(writers=(0,), vmas=("shared",), handlers=("ext4",))
    ]
    lines = rendered(few)
    assert "overlap, locks of v6.6" in next(line for line in lines if line.startswith("ext4: "))
    assert not [line for line in lines if "False" in line]


def test_info_of_a_host_that_does_not_say_which_cpus_are_online():
    host = {"cpus": 2, "cpu_list": "0-1", "cores": 2, "sockets": 1}
    assert _topology(host) == "2 CPUs, 2 cores, 1 socket"
    assert _topology({**host, "online": "0-3"}).startswith("2 CPUs (0-1 of 0-3), ")


@pytest.mark.parametrize("word", WORDS)
def test_info_says_what_a_flag_means(word):
    assert f"{word} " in run("info").stdout
