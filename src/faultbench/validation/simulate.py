"""How a published measurement is simulated: faults, locking loops, fairness among writers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from faultbench import costs
from faultbench.enums import Handler, Order, Path
from faultbench.machines import Job
from faultbench.machines.description import Description, load
from faultbench.machines.virtual import VirtualMachine
from faultbench.model import TrialSpec
from faultbench.rules import KERNELS, resolve
from faultbench.windows import mean_window

PROFILE = "default"
BROADWELL = "intel-xeon-e5-2680v4-2s"
ICE_LAKE = "intel-xeon-8375c-2s"
MILAN = "amd-epyc-7r13-2s"
GENOA = "amd-epyc-9654-2s"


class Varied(VirtualMachine):
    """A machine with some figures changed."""

    def __init__(self, description: Description, changed: Mapping[str, int]) -> None:
        super().__init__(description)
        self.changed = dict(changed)

    def figures(self) -> dict[str, int]:
        """Return the engine's figures."""
        return self.description.figures(**self.changed)


def faults(
    machine: str,
    kernel: str,
    *,
    handler: Handler = Handler.ANON,
    vmas: str = "shared",
    path: Path | None = None,
    knobs: tuple[tuple[str, str], ...] = (),
) -> Callable[[int, Mapping[str, int]], float]:
    """Return a simulation: threads, changed figures → faults/s."""
    way = path or KERNELS[kernel].path

    def simulate(threads: int, changed: Mapping[str, int]) -> float:
        spec = TrialSpec(
            machine=machine,
            kernel=kernel,
            path=way,
            rules=resolve(kernel, way, knobs),
            handler=handler,
            order=Order.PTE if handler is Handler.ANON else Order.PMD,
            files=0 if handler is Handler.ANON else 1,
            threads=threads,
            vmas=1 if vmas == "shared" else threads,
            faults=1000,
            warmup_faults=100,
            seed=1,
        )
        steps = costs.load(PROFILE).steps
        result = Varied(load(machine), changed).run(Job(spec, cost=steps, options={"lines": False}))
        if result["status"] != "ok":
            raise RuntimeError(f"{spec.kernel} {threads}: {result['invariant']}")
        worker = result["worker"]
        return float(sum(worker["faults"]) / mean_window(spec, worker) * 1e9)

    return simulate


def locks(
    pattern: str, description: Description, outside_ns: int
) -> Callable[[int, Mapping[str, int]], float]:
    """Return a simulation of a locking loop: threads, changed figures → operations/ms."""

    def simulate(threads: int, changed: Mapping[str, int]) -> float:
        engine: Any = importlib.import_module("faultbench._virtual")
        place = [i * description.cpus_per_core for i in range(threads)]
        result = engine.run_pattern(
            pattern, description.figures(**changed), place,
            duration_ns=2_000_000, warmup_ns=200_000, outside_ns=outside_ns, seed=1,
        )  # fmt: skip
        return float(sum(result["done"])) / 2

    return simulate


def four_sockets() -> Description:
    """Return the two-socket Broadwell with two more sockets at the same distance."""
    two = load(BROADWELL)
    return replace(two, sockets=4, cores=56, cpus=112)


def writer_fairness(writers: int) -> dict[str, float]:
    """Return operations per writer (mmap and munmap beside one worker) in 100 ms, and sleeps."""
    rules = resolve("v6.6", Path.DIRECT, ())
    spec = TrialSpec(
        machine="virtual:generic", kernel="v6.6", path=Path.DIRECT, rules=rules,
        handler=Handler.DEVICE_DAX, writers=writers, duration_ns=100_000_000,
        warmup_ns=5_000_000, seed=1,
    )  # fmt: skip
    steps = costs.load(PROFILE).steps
    machine = Varied(load("generic"), {})
    writer = machine.run(Job(spec, cost=steps, options={"lines": False}))["writer"]
    return _spread(writer["ops"], writer["parks"], max(writer["wait_ns_max"]))


def sleeper_fairness(writers: int) -> dict[str, float]:
    """Return the same for the published loop: down_write, 5 µs of sleep, up_write; for 5 s."""
    return _loop("sleepers", writers, inside_ns=5_000, duration_ns=5_000_000_000)


def loop_fairness(writers: int, dirty_load: int) -> dict[str, float]:
    """Return the same for a loop that never sleeps, 100 ns in and 100 ns out, for 60 ms."""
    changed = {"dirty_load": dirty_load}
    return _loop("writers", writers, changed, inside_ns=100, duration_ns=60_000_000)


def _loop(
    pattern: str, writers: int, changed: Mapping[str, int] | None = None, **times: int
) -> dict[str, float]:
    engine: Any = importlib.import_module("faultbench._virtual")
    result = engine.run_pattern(
        pattern, load(GENOA).figures(**(changed or {})), list(range(writers)),
        warmup_ns=5_000_000, outside_ns=100, seed=1, **times,
    )  # fmt: skip
    return _spread(result["done"], result["parks"])


def _spread(
    operations: list[int], sleeps: list[int], wait_ns: float = float("nan")
) -> dict[str, float]:
    return {
        "fewest": min(operations),
        "mean": sum(operations) / len(operations),
        "most": max(operations),
        "sleeps": sum(sleeps),
        "longest wait, ms": wait_ns / 1e6,
    }
