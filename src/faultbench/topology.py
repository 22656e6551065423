"""Which CPUs there are, which we may use, and where tasks go.

Placement stays inside the affinity mask (which a cpuset narrows). Tasks beyond the CPUs start again
at the first one; the trial is then flagged ``oversubscribed``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass

from faultbench.errors import UsageError
from faultbench.model import Pin
from faultbench.sysfs import Sys, format_cpu_list


@dataclass(frozen=True, order=True)
class Cpu:
    """One logical CPU; `smt` is its place among the threads of its core."""

    socket: int
    smt: int
    core: int
    number: int


@dataclass(frozen=True)
class Topology:
    """The CPUs we may run on, and how many of them the cgroups pay for."""

    cpus: tuple[Cpu, ...]
    quota: float | None = None  # CPUs' worth of time, cgroup cpu.max along the whole path

    @property
    def usable(self) -> int:
        """CPUs that can really run at once: what ``max`` means."""
        limit = len(self.cpus) if self.quota is None else math.ceil(self.quota)
        return max(1, min(len(self.cpus), limit))

    @property
    def sockets(self) -> int:
        """Sockets that hold at least one of our CPUs."""
        return len({cpu.socket for cpu in self.cpus})

    @property
    def cores(self) -> int:
        """Physical cores that hold at least one of our CPUs."""
        return len({(cpu.socket, cpu.core) for cpu in self.cpus})

    def order(self, pin: Pin) -> list[int]:
        """Return the CPUs in the order tasks get them.

        core: one per core, one socket first, then SMT siblings; smt: both siblings of a core
        before the next core; scatter: sockets in turn, one per core first.
        """
        if pin is Pin.SMT:
            return [c.number for c in sorted(self.cpus, key=lambda c: (c.socket, c.core, c.smt))]
        ordered = sorted(self.cpus, key=lambda c: (c.smt > 0, c.socket, c.smt, c.core))
        if pin is Pin.SCATTER:
            turn: dict[tuple[bool, int], int] = {}
            keys = []
            for cpu in ordered:
                place = turn[cpu.smt > 0, cpu.socket] = turn.get((cpu.smt > 0, cpu.socket), -1) + 1
                keys.append((cpu.smt > 0, place, cpu.socket))
            ordered = [cpu for _, cpu in sorted(zip(keys, ordered, strict=True))]
        return [cpu.number for cpu in ordered]

    def place(self, pin: Pin, tasks: int) -> tuple[int, ...]:
        """Return one CPU per task, workers first; -1 is unpinned."""
        if pin is Pin.NONE:
            return (-1,) * tasks
        order = self.order(pin)
        return tuple(order[i % len(order)] for i in range(tasks))


def read_topology(sys: Sys | None = None, affinity: Iterable[int] | None = None) -> Topology:
    """Return this process's CPUs from /sys; a machine without topology files is flat.

    `affinity` replaces the process's mask. Raises `UsageError` when no CPU is left.
    """
    sys = sys or Sys()
    mask = sorted(os.sched_getaffinity(0) if affinity is None else affinity)
    online = sys.cpus("sys/devices/system/cpu/online") or mask
    numbers = [cpu for cpu in mask if cpu in set(online)]
    if not numbers:
        raise UsageError(
            f"no usable CPU: the affinity mask allows {format_cpu_list(mask) or 'none'}, "
            f"online are {format_cpu_list(online)}"
        )
    cpus = []
    for number in numbers:
        where = f"sys/devices/system/cpu/cpu{number}/topology"
        siblings = sys.cpus(f"{where}/thread_siblings_list") or [number]
        core = sys.number(f"{where}/core_id", number)
        # core_id repeats across dies of a package on some machines; the siblings never lie.
        cpus.append(
            Cpu(
                max(0, sys.number(f"{where}/physical_package_id", 0)),
                siblings.index(number) if number in siblings else 0,
                core if len(siblings) == 1 and core >= 0 else min(siblings),
                number,
            )
        )
    return Topology(tuple(sorted(cpus, key=lambda c: c.number)), read_quota(sys))


def cgroup_folders(sys: Sys) -> list[str]:
    """Return our cgroup's folder and its parents' that may hold limits, innermost first."""
    folders: list[str] = []
    for line in sys.text("proc/self/cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0":
            bases = ["sys/fs/cgroup", "sys/fs/cgroup/unified"]
        elif "cpu" in controllers.split(","):
            bases = ["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for base in bases:
            folders += ["/".join([base, *parts[:n]]) for n in range(len(parts), -1, -1)]
    return folders


def read_quota(sys: Sys) -> float | None:
    """Return the least CPU limit on the path of our cgroups, in CPUs, or None."""
    limits: list[float] = []
    for folder in cgroup_folders(sys):
        quota, _, period = sys.text(f"{folder}/cpu.max").partition(" ")
        if not quota:
            quota = sys.text(f"{folder}/cpu.cfs_quota_us")
            period = sys.text(f"{folder}/cpu.cfs_period_us")
        try:
            limit = int(quota) / int(period)
        except (ValueError, ZeroDivisionError):
            continue
        if limit > 0:
            limits.append(limit)
    return min(limits, default=None)
