"""Measure this machine's figures for the virtual machine: ``faultbench calibrate``.

Each figure is the best of several short runs of one small workload (``machine/patterns.h`` of the
core) on real threads: other load can only make a run longer. ``machine_file`` writes them down;
what two CPUs of one socket cannot show stays an estimate there and says so.
"""

from __future__ import annotations

import importlib
import itertools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faultbench.enums import Handler, Path
from faultbench.errors import UsageError
from faultbench.machines import Job, get_machine
from faultbench.model import TrialSpec
from faultbench.rules import DEFAULT_KERNEL, NO_FILES, resolve
from faultbench.topology import Topology

RUNS = 7
TURNS = 300_000
VISITS, VISIT_NS = 400, 1000
SLEEPS = 2000
STEP_NS = 10_000_000  # window of a trial of `step_costs`


@dataclass
class Calibration:
    """What was measured, ns. `matrix` maps a pair of CPUs to the transfer between them."""

    load: float
    rmw: float
    store: float
    residency: float
    park: float
    wake: float  # from the waker's call to the sleeper's going on, less the waker's part
    unpark: float
    matrix: dict[tuple[int, int], float] = field(default_factory=dict)
    upgrade: float = 1.0  # what a load costs the read-modify-write after it, in transfers
    second: float = 1.0  # what a miss right after a miss adds, in transfers
    steps: dict[str, float] = field(default_factory=dict)  # what the steps of a bare fault cost

    @property
    def migrates(self) -> bool:
        """Whether a load takes a written line away: nothing is left for the upgrade to fetch."""
        return self.upgrade < 0.5

    @property
    def overlaps(self) -> bool:
        """Whether two misses in a row take the time of one."""
        return self.second < 0.5


def measure(
    topology: Topology, say: Callable[[str], None], runs: int = RUNS, *, steps: bool = True
) -> Calibration:
    """Measure on the CPUs of `topology`; needs two. `say` is told what is being measured.

    Without `steps` the parts of a bare fault are left out: the simulation does not read them.
    """
    cpus = [cpu.number for cpu in topology.cpus]
    if len(cpus) < 2:
        raise UsageError("calibrate: needs two CPUs to see a line travel")
    say("local hits")
    loop, hit, rmw = (turns(name, cpus[:1], TURNS, runs)[0] for name in ("work", "loads", "rmws"))
    hit = max(0.1, (hit - loop) / 8)
    pairs = list(itertools.combinations(cpus, 2))
    say(f"transfers between {len(pairs)} pair{'' if len(pairs) == 1 else 's'} of CPUs")
    matrix = {pair: transfer(*pair, runs) for pair in pairs}
    near = min(matrix, key=lambda pair: matrix[pair])
    say("what a load of a written line brings")
    upgrade = added("load_visits", *near, runs)
    say("whether misses overlap")
    second = added("pair_visits", *near, runs)
    say("residency")
    stay = statistics.median(_stay(*near, rmw - loop) for _ in range(4 * runs))
    say("sleeping and waking")
    sleeping = sorted(_sleeps(*near) for _ in range(runs))[runs // 2]
    found = {}
    if steps:
        say("the steps of a bare fault")
        found = step_costs(cpus[0], runs)
    return Calibration(
        load=hit,
        rmw=max(0.5, rmw - loop),
        store=hit / 2,
        residency=stay,
        park=sleeping[1],
        wake=sleeping[0],
        unpark=sleeping[2],
        matrix=matrix,
        upgrade=upgrade,
        second=second,
        steps=found,
    )


def _stay(a: int, b: int, rmw: float) -> float:
    """Return ns that a CPU keeps a line that two hammer.

    What share of the time somebody has it tells how long, since for half of a journey nobody does.
    The journey is that of the same moment.
    """
    together = turns("ring", [a, b], TURNS // 15, 1)[0] / 2
    share = min(0.95, max(0.05, rmw / together))
    return share / (1 - share) * max(0.1, _journey("visits", a, b)) / 2


def _sleeps(a: int, b: int) -> tuple[float, float, float]:
    """Return ns of wake, park and unpark: two tasks wake each other and sleep in turn.

    When a task is asleep nobody can see. What it is on its CPU for beside waking the other is to
    go to sleep and to come back; half of that is taken for each.
    """
    engine: Any = importlib.import_module("faultbench._calibrate")
    return sleeps(engine.run_pattern("park", [a, b], turns=SLEEPS))


def sleeps(done: Mapping[str, list[int]]) -> tuple[float, float, float]:
    """Return ns of wake, park and unpark from what ``run_pattern`` returns of ``park``.

    Sleeps that nobody ended within a millisecond are not among those ``kept``, calls that took as
    long are ``failed``: other load had the CPU.
    """
    turns = sum(done["done"])
    cpu = sum(done["cpu_ns"]) / max(1, turns)
    call = sum(done["unpark_ns"]) / max(1, turns - sum(done["failed"]))
    latency = sum(done["wake_ns"]) / max(1, sum(done["kept"]))
    return max(1.0, latency - call), max(1.0, (cpu - call) / 2), max(1.0, call)


def turns(pattern: str, on: list[int], count: int, times: int) -> list[float]:
    """Return ns of one turn of the slowest task in each run, least first; a task on each CPU."""
    engine: Any = importlib.import_module("faultbench._calibrate")
    found = [engine.run_pattern(pattern, on, turns=count)["ns"] for _ in range(times)]
    return sorted(max(ns) / count for ns in found)


def transfer(a: int, b: int, runs: int = RUNS) -> float:
    """Return ns that a line takes from CPU `a` to `b` or back: the median of `runs`.

    Each visits one word about every microsecond, too seldom to queue for it. A visit that finds the
    other's mark has had to fetch the line, one that finds its own has not; the transfer is what the
    former take more. (Tight loops measure who wins the line.)
    """
    return max(0.1, statistics.median(_journey("visits", a, b) for _ in range(4 * runs)))


def added(pattern: str, a: int, b: int, runs: int = RUNS) -> float:
    """Return what `pattern` takes more than a visit, in visits: the median of interleaved pairs."""
    pairs = [(_journey("visits", a, b), _journey(pattern, a, b)) for _ in range(4 * runs)]
    return max(0.0, statistics.median(more / max(0.1, one) for one, more in pairs) - 1)


def _journey(pattern: str, a: int, b: int) -> float:
    engine: Any = importlib.import_module("faultbench._calibrate")
    return journey(engine.run_pattern(pattern, [a, b], turns=VISITS, inside_ns=VISIT_NS))


def journey(done: Mapping[str, list[int]]) -> float:
    """Return ns that visits which found another's mark took more than those which found their own.

    `done` is what ``run_pattern`` returns of one of the visiting workloads.
    """
    found, kept = (
        sum(done[ns]) / max(1, sum(done[count]))
        for ns, count in (("found_ns", "failed"), ("kept_ns", "kept"))
    )
    return found - kept


def step_costs(cpu: int, runs: int = RUNS) -> dict[str, float]:
    """Return CPU ns of the parts of a fault without busy time, by leaving one out at a time.

    One worker on ``cpu``, cost profile ``none``; best of ``runs`` interleaved trials of each case.
    The virtual machine makes up a step of the accesses in it; this is what they cost here.
    """
    threads = get_machine("threads")
    cases = {
        (handler, path): TrialSpec(
            machine="threads", kernel=DEFAULT_KERNEL, path=path,
            rules=resolve(DEFAULT_KERNEL, path), handler=handler,
            files=0 if handler in NO_FILES else 1, duration_ns=STEP_NS, warmup_ns=STEP_NS // 5,
        )
        for handler in (Handler.NOP, Handler.DEVICE_DAX, Handler.XFS, Handler.EXT4)
        for path in (Path.DIRECT, Path.RETRY, Path.MMAP_LOCK)
    }  # fmt: skip
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(runs):
        for key, spec in cases.items():
            worker = threads.run(Job(spec, (cpu,)))["worker"]
            best[key] = min(best[key], sum(worker["cpu_ns"]) / max(1, sum(worker["faults"])))
    direct = {handler: best[handler, Path.DIRECT] for handler, _ in cases}
    path = direct[Handler.NOP]
    return {
        "look-up, VMA-lock pair and walk": path,
        "mmap_lock pair in place of the VMA lock's": best[Handler.NOP, Path.MMAP_LOCK] - path,
        "detour: sent back, all again under mmap_lock": best[Handler.NOP, Path.RETRY] - path,
        "handler, device-dax": direct[Handler.DEVICE_DAX] - path,
        "handler, xfs": direct[Handler.XFS] - path,
        "handler, ext4": direct[Handler.EXT4] - path,
    }
