"""The walk, and the fault per path and handler: fixed work, CPU time; the same fault in C.

A benchmark's time is the CPU time of the faults alone (run_trial's ``cpu_ns``), not of set-up,
threads or refills: `time_of` makes pytest-benchmark's rounds from it.
"""

import json
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faultbench import _threads
from faultbench.enums import Handler
from faultbench.rules import KERNELS

ROOT = Path(__file__).parents[1]
FAULTS = 400_000
ROUNDS = 9
RATIO = 1.05  # of the same fault in hand-written C
PATHS = {
    "mmap-lock": "v6.3",
    "abort": "v6.5",
    "retry": "next-202308",
    "direct": "v6.6",
    "refcount": "v6.16",
}
COUNTERS = ("vma_lock_success", "vma_lock_abort", "vma_lock_retry", "mmap_lock_reads", "refills")


def spec(kernel: str, handler: str, faults: int = FAULTS) -> dict[str, Any]:
    rules = KERNELS[kernel].rules
    return {
        "rules": rules.bits,
        "vma_lock": rules.vma_lock.code,
        "seq": rules.seq.code,
        "handler": Handler(handler).code,
        "order": 0,
        "access": 1,
        "workers": 1,
        "faults": faults,
        "warmup_faults": 1000,
    }


def fault_ns(given: dict[str, Any]) -> tuple[float, dict[str, list[int]]]:
    out = _threads.run_trial(given)
    assert out["status"] == "ok", out["invariant"]
    worker = out["worker"]
    return worker["cpu_ns"][0] / worker["faults"][0], worker


@pytest.fixture
def time_of(benchmark: Any) -> Callable[[dict[str, Any]], None]:
    """Benchmark a trial: seconds of CPU time per fault, counters per fault in extra_info."""

    def run(given: dict[str, Any]) -> None:
        clock = [0.0]
        worker: dict[str, list[int]] = {}

        def one() -> None:
            ns, last = fault_ns(given)
            clock[0] += ns / 1e9
            worker.update(last)

        benchmark._timer = lambda: clock[0]
        benchmark.pedantic(one, rounds=ROUNDS, iterations=1, warmup_rounds=1)
        per_fault = {name: worker[name][0] / worker["faults"][0] for name in COUNTERS}
        benchmark.extra_info.update(per_fault, faults=worker["faults"][0])

    return run


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("handler", ["nop", "device-dax", "ext4", "xfs"])
def test_fault(time_of: Callable[[dict[str, Any]], None], handler: str, path: str) -> None:
    """One fault on one thread, costs none."""
    time_of(spec(PATHS[path], handler, FAULTS if handler == "nop" else FAULTS // 8))


@pytest.mark.parametrize("what", ["vma", "table"])
@pytest.mark.parametrize("vmas", [1, 16, 1024])
def test_walk(benchmark: Any, what: str, vmas: int) -> None:
    """The VMA tree's look-up, and the page tables' walk, with as many mappings."""
    given = {**spec("v6.6", "nop", 1), "workers": vmas, "vmas": vmas, "slice": 1}
    clock = [0.0]

    def one() -> None:
        clock[0] += _threads.walk(given, FAULTS)[f"{what}_ns"] / FAULTS / 1e9

    benchmark._timer = lambda: clock[0]
    benchmark.pedantic(one, rounds=ROUNDS, iterations=1, warmup_rounds=1)
    benchmark.extra_info.update(vmas=vmas, turns=FAULTS)


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C program, built with the extension's flags."""
    program = tmp_path_factory.mktemp("c") / "fault_direct"
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()
    flags = "-std=gnu11 -O2 -g1 -fno-strict-aliasing -Wno-unused-function -pthread".split()
    defines = ["-DFB_MACHINE_THREADS=1", "-D_GNU_SOURCE", f"-I{ROOT / 'src/_core'}"]
    source = str(ROOT / "benchmarks/c/fault_direct.c")
    subprocess.run([*compiler, *flags, *defines, source, "-o", str(program)], check=True)
    return program


def test_direct_fault_against_c(in_c: Path) -> None:
    """At most 1.05 times the same path in C: best CPU time of interleaved runs."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(12):
        run = subprocess.run([in_c, str(FAULTS), "1"], capture_output=True, text=True, check=True)
        theirs.append(float(run.stdout))
        ours.append(fault_ns(spec("v6.6", "nop"))[0])
    figures = {"cython_ns": min(ours), "c_ns": min(theirs), "ratio": min(ours) / min(theirs)}
    print(json.dumps(figures))
    assert figures["ratio"] <= RATIO
