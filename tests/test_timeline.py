import errno
import json
import os
from dataclasses import replace
from itertools import pairwise

import pytest

from faultbench import timeline
from faultbench.errors import OutputError
from faultbench.model import Handler, Path, Status, Trial, TrialSpec
from faultbench.rules import resolve

pytest.importorskip("faultbench._virtual")
TRIAL = Trial(
    TrialSpec(
        "virtual:generic", "v6.6", Path.DIRECT, resolve(None, Path.DIRECT), Handler.EXT4,
        threads=1, writers=1,
    ),
    Status.OK,
)  # fmt: skip
LOG = [
    [1_000_000, 0, "step", 0, "", 0],
    [2_000_000, 1, "step", 999, "", 0],
    [3_000_000, 0, "arrive", 0, "mmap_lock.count", 500_000],
    [4_000_000, 0, "step", 1, "", 0],
    [6_000_000, 0, "load", 1, "mmap_lock.count", 0],
]


def test_steps_become_slices_that_follow_each_other():
    made = timeline.events(TRIAL, LOG)
    steps = [e for e in made if e.get("cat") == "step"]
    assert sorted((e["name"], e["tid"], e["ts"], e["dur"]) for e in steps) == [
        ("exc_page_fault", 0, 1.0, 3.0),
        ("lock_vma_under_rcu", 0, 4.0, 2.0),
        ("step 999", 2, 2.0, 4.0),
    ]


def test_a_line_is_under_way_until_it_arrives():
    (line,) = [e for e in timeline.events(TRIAL, LOG) if e.get("cat") == "line"]
    assert (line["name"], line["ts"], line["dur"]) == ("mmap_lock.count", 2.5, 0.5)


def test_slices_of_a_track_never_overlap():
    """The format wants them nested; lines under way side by side have tracks of their own."""
    beside = [
        [3_100_000, 0, "arrive", 0, "vma_lock 0", 400_000],
        [3_200_000, 0, "arrive", 0, "mm_lock_seq", 600_000],
        [3_900_000, 0, "arrive", 0, "pmd_lock 1", 100_000],
    ]
    made = timeline.events(TRIAL, sorted([*LOG, *beside]))
    tracks = {}
    for e in made:
        if e["ph"] == "X":
            tracks.setdefault(e["tid"], []).append((e["ts"], e["ts"] + e["dur"]))
    for slices in tracks.values():
        slices.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(slices))
    named = {e["tid"]: e["args"]["name"] for e in made if e["name"] == "thread_name"}
    assert set(tracks) <= set(named)
    assert list(named.values()).count("CPU 0 lines") == 3


def test_tracks_have_names():
    made = timeline.events(TRIAL, LOG)
    names = {e["args"]["name"] for e in made if e["name"] == "thread_name"}
    (whole,) = [e["args"]["name"] for e in made if e["name"] == "process_name"]
    assert whole == "SIMULATED ext4 direct (v6.6 on virtual:generic)"
    assert names == {"CPU 0 (worker)", "CPU 0 lines", "CPU 1 (writer)", "CPU 1 lines"}


def test_the_file_is_a_trace(tmp_path):
    timeline.write(TRIAL, LOG, str(tmp_path / "t.json"))
    raw = json.loads((tmp_path / "t.json").read_text())
    assert raw["otherData"]["trial_id"] == TRIAL.trial_id
    assert {e["ph"] for e in raw["traceEvents"]} == {"X", "M"}
    with pytest.raises(OutputError, match="cannot write"):
        timeline.write(TRIAL, LOG, str(tmp_path / "no" / "t.json"))


def test_a_full_disk_leaves_no_half_of_a_time_line(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="no space left"):
        timeline.write(TRIAL, LOG, str(tmp_path / "t.json"))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_log_is_an_empty_time_line():
    assert timeline.events(TRIAL, []) == []


def test_steps_have_the_names_that_explain_gives_them():
    """handle_mm_fault here was __handle_mm_fault there; before 6.5 one function had another."""
    from faultbench import functions

    log = [[n, 0, "step", n, "", 0] for n in range(len(functions.steps()))]
    made = [e["name"] for e in timeline.events(TRIAL, log) if e.get("cat") == "step"]
    assert made == functions.steps()
    assert "__handle_mm_fault" in made
    older = Trial(replace(TRIAL.spec, kernel="v6.4"), Status.OK)
    names = [e["name"] for e in timeline.events(older, log) if e.get("cat") == "step"]
    assert [a for a, b in zip(names, made, strict=True) if a != b] == ["mmap_read_lock"]


def test_what_was_never_released_and_what_no_kernel_confirmed_say_so(tmp_path):
    retry = Trial(replace(TRIAL.spec, path=Path.RETRY), Status.OK)
    later = Trial(replace(TRIAL.spec, kernel="v6.16"), Status.OK)
    for trial, said in ((retry, "never released"), (later, "v6.16: not confirmed")):
        timeline.write(trial, LOG, str(tmp_path / "t.json"))
        raw = json.loads((tmp_path / "t.json").read_text())
        assert said in raw["otherData"]["notes"][0]
        (whole,) = [e for e in raw["traceEvents"] if e["name"] == "process_name"]
        assert said in whole["args"]["name"]
    assert timeline.notes(TRIAL) == []
