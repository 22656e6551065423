"""What disturbed a trial on real CPUs: words for its flags, figures for its record."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from faultbench.host import cpu_times, load
from faultbench.model import TrialSpec
from faultbench.sysfs import Sys
from faultbench.topology import Topology, cgroup_folders
from faultbench.windows import mean_window

WORDS = {
    "skew": "workers began or ended further apart than 1 % of the window",
    "steal": "the hypervisor took more than 1 % of the CPUs' time",
    "affinity": "the CPUs we may use changed meanwhile",
    "oversubscribed": "more workers and writers than CPUs",
    "low-cpu": "workers that never slept had less than 95 % of a CPU",
    "loaded": "other programs wanted the CPUs that the trial needed",
    "throttled": "a cgroup's CPU limit stopped us",
    "stalled": "the window is longer than asked for, or a worker was away when it opened",
    "suspended": "the machine slept",
}

SKEW = 0.01
STEAL = 0.01
LOW_CPU = 0.95
STALLED = 1.05
SHORT = 0.95
SUSPENDED_S = 0.01
OTHER_CPUS = 0.25
# Slack for clocks that tick in jiffies and for one late wake-up, in ns.
SLACK_NS = 2_000_000


@dataclass(frozen=True)
class _Now:
    wall: float
    asleep: float
    busy: float
    steal: float
    own: float
    throttled: int
    affinity: frozenset[int]


class Watch:
    """Looks at the host before and after a trial in the process `pid`."""

    def __init__(self, topology: Topology, sys: Sys | None = None) -> None:
        self._topology = topology
        self._sys = sys or Sys()
        self._allowed = frozenset(cpu.number for cpu in topology.cpus)
        self._stats = [f"{folder}/cpu.stat" for folder in cgroup_folders(self._sys)]
        self._before: _Now | None = None

    def begin(self, pid: int) -> None:
        """Note the state before a trial."""
        self._before = self._now(pid)

    def end(
        self, pid: int, spec: TrialSpec, worker: dict[str, list[int]]
    ) -> tuple[list[str], dict[str, Any]]:
        """Return (flags, figures) for the trial that ended."""
        before, after = self._before, self._now(pid)
        assert before is not None
        wall = max(after.wall - before.wall, 1e-9)
        steal = after.steal - before.steal
        others = max(0.0, after.busy - before.busy - (after.own - before.own)) / wall
        cpus = self._topology.usable
        tested = {
            "skew": _skewed(spec, worker),
            "steal": steal > max(STEAL * wall * len(self._allowed), 0.01),
            "affinity": bool(after.affinity) and after.affinity != self._allowed,
            "oversubscribed": spec.tasks > cpus,
            "low-cpu": spec.tasks <= cpus and _starved(worker),
            "loaded": others > OTHER_CPUS and min(spec.tasks, cpus) + others > cpus,
            "throttled": after.throttled > before.throttled,
            "stalled": _stalled(spec, worker),
            "suspended": after.asleep - before.asleep > SUSPENDED_S,
        }
        figures: dict[str, Any] = {
            "load1": load(self._sys),
            "steal_s": round(steal, 3),
            "other_cpus": round(others, 2),
        }
        return [word for word, found in tested.items() if found], figures

    def _now(self, pid: int) -> _Now:
        busy, steal = cpu_times(self._sys)
        mono = time.clock_gettime(time.CLOCK_MONOTONIC)
        boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            affinity = frozenset(os.sched_getaffinity(pid)) if pid else frozenset()
        except OSError:
            affinity = frozenset()
        return _Now(mono, boot - mono, busy, steal, self._own(pid), self._throttled(), affinity)

    def _own(self, pid: int) -> float:
        """CPU seconds of the child and of ourselves."""
        fields = self._sys.text(f"proc/{pid}/stat").rpartition(")")[2].split()
        try:
            ticks = int(fields[11]) + int(fields[12])
        except (IndexError, ValueError):
            ticks = 0
        return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()

    def _throttled(self) -> int:
        total = 0
        for stat in self._stats:
            for line in self._sys.text(stat).splitlines():
                if line.startswith("nr_throttled "):
                    total += int(line.split()[1])
        return total


def _skewed(spec: TrialSpec, worker: dict[str, list[int]]) -> bool:
    starts, ends = worker.get("start_ns"), worker.get("end_ns")
    if not starts or not ends:
        return False
    apart = max(starts) - min(starts)
    if spec.duration_ns:
        apart = max(apart, max(ends) - min(ends))
    return apart > SKEW * mean_window(spec, worker)


def _starved(worker: dict[str, list[int]]) -> bool:
    """Whether workers that had no reason to sleep were off their CPUs."""
    cpu, window = worker.get("cpu_ns"), worker.get("window_ns")
    if not cpu or not window or any(worker.get("parks", ())):
        return False
    return sum(cpu) + SLACK_NS < LOW_CPU * sum(window)


def _stalled(spec: TrialSpec, worker: dict[str, list[int]]) -> bool:
    if not spec.duration_ns or not worker.get("window_ns"):
        return False
    if mean_window(spec, worker) > STALLED * spec.duration_ns + SLACK_NS:
        return True
    # From its own clocks, for refills are taken off the window. A worker that sees the window open
    # only after it has closed has one of some ns and no faults.
    starts, ends = worker.get("start_ns"), worker.get("end_ns")
    if not starts or not ends:
        return False
    mean = (sum(ends) - sum(starts)) / len(starts)  # of all, those that were away among them
    return mean < SHORT * spec.duration_ns - SLACK_NS
