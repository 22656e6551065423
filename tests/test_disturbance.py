"""Every disturbance is found from what it leaves in /proc and in the workers' clocks."""

import pytest

from faultbench.disturbance import Watch
from faultbench.model import Handler, Path, TrialSpec
from faultbench.rules import resolve
from faultbench.sysfs import Sys
from faultbench.topology import Cpu, Topology

MS = 1_000_000
TWO = Topology((Cpu(0, 0, 0, 0), Cpu(0, 0, 1, 1)))


class FakeProc:
    """/proc of a machine that does what a test says between the two looks."""

    def __init__(self, root):
        self.root = root
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/7").mkdir()
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text("0::/\n")
        (root / "proc/loadavg").write_text("0.50 0 0 1/1 1\n")
        self.set()

    def set(self, busy=0, steal=0, own=0, throttled=0):
        """Ticks of 10 ms since boot."""
        (self.root / "proc/stat").write_text(f"cpu {busy} 0 0 999 0 0 0 {steal} 0 0\n")
        fields = " ".join(["S", *["0"] * 10, str(own), "0"])
        (self.root / "proc/7/stat").write_text(f"7 (child) {fields}\n")
        (self.root / "sys/fs/cgroup/cpu.stat").write_text(f"nr_throttled {throttled}\n")


def spec(threads=1, writers=0):
    return TrialSpec(
        "threads", "v6.6", Path.DIRECT, resolve(None, Path.DIRECT), Handler.EXT4,
        threads=threads, writers=writers, duration_ns=100 * MS,
    )  # fmt: skip


def worker(n=1, window=100 * MS, cpu=None, starts=None, ends=None, parks=0):
    starts = starts or [0] * n
    return {
        "window_ns": [window] * n,
        "start_ns": starts,
        "end_ns": ends or [s + window for s in starts],
        "cpu_ns": [window if cpu is None else cpu] * n,
        "parks": [parks] * n,
    }


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path)


def flags(proc, monkeypatch, spec, worker, *, wall=0.1, asleep=0.0, mask=(0, 1), **after):
    clock = {"now": 100.0, "asleep": 0.0}
    monkeypatch.setattr(
        "faultbench.disturbance.time.clock_gettime",
        lambda which: clock["now"] + (clock["asleep"] if which == 7 else 0.0),
    )
    monkeypatch.setattr("faultbench.disturbance.time.process_time", lambda: 0.0)
    monkeypatch.setattr("faultbench.disturbance.os.sched_getaffinity", lambda pid: {0, 1})
    watch = Watch(TWO, Sys(proc.root))
    watch.begin(7)
    clock["now"] += wall
    clock["asleep"] += asleep
    monkeypatch.setattr("faultbench.disturbance.os.sched_getaffinity", lambda pid: set(mask))
    proc.set(**after)
    found, figures = watch.end(7, spec, worker)
    assert figures["load1"] == 0.5
    return found


def test_a_quiet_trial_has_no_flag(proc, monkeypatch):
    assert flags(proc, monkeypatch, spec(), worker(), busy=10, own=10) == []


@pytest.mark.parametrize(
    ("given", "spec_", "flag"),
    [
        ({"worker": worker(2, starts=[0, 2 * MS])}, spec(2), "skew"),
        ({"worker": worker(2, ends=[100 * MS, 103 * MS])}, spec(2), "skew"),
        ({"worker": worker(), "steal": 3}, spec(), "steal"),
        ({"worker": worker(), "mask": (0,)}, spec(), "affinity"),
        ({"worker": worker(3)}, spec(3), "oversubscribed"),
        ({"worker": worker(2)}, spec(2, writers=1), "oversubscribed"),
        ({"worker": worker(cpu=90 * MS)}, spec(), "low-cpu"),
        ({"worker": worker(2), "busy": 28, "own": 20}, spec(2), "loaded"),
        ({"worker": worker(), "throttled": 1}, spec(), "throttled"),
        ({"worker": worker(window=120 * MS)}, spec(), "stalled"),
        # the worker saw the window open only after it had closed: no faults, and no other sign
        ({"worker": worker(window=60, ends=[60])}, spec(), "stalled"),
        ({"worker": worker(), "asleep": 1.0}, spec(), "suspended"),
    ],
)
def test_each_disturbance_has_its_word(proc, monkeypatch, given, spec_, flag):
    assert flag in flags(proc, monkeypatch, spec_, **given)


def test_a_worker_that_was_away_hides_no_other_disturbance(proc, monkeypatch):
    """Nor does the window of the others look half as long."""
    given = worker(2, starts=[0, 180 * MS], ends=[180 * MS, 180 * MS])
    given["window_ns"] = [180 * MS, 60]
    assert {"skew", "stalled"} <= set(flags(proc, monkeypatch, spec(2), given))
    # of four the mean from start to end is long enough, and so was the mean window
    given = worker(4, starts=[0, 0, 0, 120 * MS], ends=[130 * MS] * 3 + [120 * MS])
    given["window_ns"] = [130 * MS] * 3 + [60]
    assert "stalled" in flags(proc, monkeypatch, spec(4), given)


@pytest.mark.parametrize(
    ("given", "spec_", "flag"),
    [
        ({"worker": worker(2, starts=[0, MS // 2])}, spec(2), "skew"),
        ({"worker": worker(cpu=50 * MS, parks=9)}, spec(), "low-cpu"),
        ({"worker": worker(), "busy": 18, "own": 10}, spec(), "loaded"),
        ({"worker": worker(window=104 * MS)}, spec(), "stalled"),
        # half the time went into refills, which are not part of the window
        ({"worker": worker(window=50 * MS, ends=[100 * MS])}, spec(), "stalled"),
        ({"worker": worker(2), "mask": ()}, spec(2), "affinity"),
    ],
)
def test_what_is_no_disturbance(proc, monkeypatch, given, spec_, flag):
    assert flag not in flags(proc, monkeypatch, spec_, **given)


def test_a_proc_that_says_nothing_is_no_disturbance(tmp_path):
    watch = Watch(TWO, Sys(tmp_path))
    watch.begin(0)
    assert watch.end(0, spec(), {})[0] == []
