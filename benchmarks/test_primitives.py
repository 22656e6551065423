"""The primitives of ``src/_core/sync``: CPU time of fixed work at 1 and 2 threads, and of others.

The timer is the CPU time that the threads spent in their loops, so that other load on the machine
costs rounds more than figures. A comparison runs its contenders in turn, in one process, and its
ratios are of medians: two threads that contend have more than one pace.
"""

import ctypes
import os
import shutil
import statistics
import subprocess
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = Path(__file__).parent / "c"
CFLAGS = [
    *("-std=gnu11", "-O2", "-fno-strict-aliasing", "-D_GNU_SOURCE", "-pthread"),
    f"-I{ROOT / 'src/_core'}",
]
THREADS = (1, 2)
PAIRS = 20_000
ATTEMPTS = 40
CONTENDERS = ("pthread", "shared_mutex", "ck")
STARVE = ("readers=32", "writers=2", "seconds=1", "hold=0")


class Primitives:
    """The library of ``primitives.c``."""

    def __init__(self, path: Path) -> None:
        self.lib = ctypes.CDLL(str(path))
        self.lib.primitive_name.restype = ctypes.c_char_p
        self.lib.primitive_run.restype = ctypes.c_uint64
        self.lib.primitive_run.argtypes = [ctypes.c_int, ctypes.c_uint32, ctypes.c_uint64]
        self.index = {
            self.lib.primitive_name(i).decode(): i for i in range(self.lib.primitive_count())
        }
        self.disturbed = 0  # runs at more than one thread that never were together
        self.spent = 0.0  # CPU seconds in loops so far: the benchmarks' timer

    def run(self, name: str, threads: int, pairs: int = PAIRS) -> float:
        """Return the CPU ns of one pair, each thread doing ``pairs`` of them.

        A run whose threads were not at it together is done again: they did not contend.
        """
        for _ in range(ATTEMPTS):
            cpu = self.lib.primitive_run(self.index[name], threads, pairs)
            assert cpu, "the threads could not be started"
            if threads == 1 or self.lib.primitive_together():
                break
        else:
            self.disturbed += 1
        self.spent += cpu / 1e9
        return cpu / (pairs * threads)


def tool(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if not found:
        pytest.skip(f"no compiler: {' or '.join(names)}")
    return found


@pytest.fixture(scope="module")
def primitives(tmp_path_factory: pytest.TempPathFactory) -> Primitives:
    out = tmp_path_factory.mktemp("primitives")
    cc, cxx = tool("gcc", "cc"), tool("g++", "c++")
    have_ck = Path("/usr/include/ck_rwlock.h").exists()
    ours, shared_mutex = str(out / "primitives.o"), str(out / "shared_mutex.o")
    ck = ["-DHAVE_CK"] if have_ck else []
    commands = [
        [cc, *CFLAGS, *ck, "-fPIC", "-c", str(SOURCES / "primitives.c"), "-o", ours],
        [cxx, "-O2", "-fPIC", "-c", str(SOURCES / "shared_mutex.cc"), "-o", shared_mutex],
        [cxx, "-shared", "-pthread", ours, shared_mutex, "-o", str(out / "primitives.so")],
    ]
    for command in commands:
        subprocess.run(command, check=True)
    return Primitives(out / "primitives.so")


# Named here, not read from the library: collection must not need a compiler.
NAMES = (
    *("rwsem_read", "rwsem_read_trylock", "rwsem_write", "rwsem_downgrade"),
    *("naive_read", "naive_write", "qspinlock", "qrwlock_read", "qrwlock_write", "osq", "refcount"),
    *("seqcount_read", "percpu_rwsem_read", "srcu_read", "rcu_read", "pool"),
)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("name", NAMES)
def test_primitive(benchmark, primitives: Primitives, name: str, threads: int) -> None:
    """20,000 pairs a thread on one lock; CPU time of all threads."""
    benchmark._timer = lambda: primitives.spent  # the figure is what the loops cost
    ns = [primitives.run(name, threads)]
    benchmark.group = f"{threads} thread{'s' * (threads > 1)}"
    benchmark.pedantic(lambda: ns.append(primitives.run(name, threads)), rounds=7)
    benchmark.extra_info["cpu_ns_per_pair"] = statistics.median(ns[1:])


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("side", ["read", "write"])
def test_rwsem_against_others(
    benchmark, primitives: Primitives, side: str, threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernel's rwsem, owner store included, and what a C or C++ program would use."""
    others = [f"{c}_{side}" for c in CONTENDERS if f"{c}_{side}" in primitives.index]
    ours: dict[str, list[float]] = {o: [] for o in others}
    theirs: dict[str, list[float]] = {o: [] for o in others}

    def turn() -> None:
        for other in others:
            # before and after: a drift of the machine falls on both alike
            ours[other].append(primitives.run(f"rwsem_{side}", threads))
            theirs[other] += [primitives.run(other, threads) for _ in range(2)]
            ours[other].append(primitives.run(f"rwsem_{side}", threads))

    benchmark._timer = lambda: primitives.spent
    benchmark.group = f"rwsem against others, {side} pair"
    benchmark.pedantic(turn, rounds=15, warmup_rounds=1)
    table = {f"rwsem_{side}": statistics.median(chain(*ours.values()))}
    ratios = {}
    for other in others:
        table[other] = statistics.median(theirs[other])
        ratios[other] = statistics.median(ours[other]) / table[other]
    benchmark.extra_info.update(
        cpu_ns_per_pair=table, rwsem_over=ratios, disturbed=primitives.disturbed
    )
    if f"ck_{side}" not in table:
        benchmark.extra_info["ck"] = "no ck_rwlock.h: install libck-dev to compare with it"
    with capsys.disabled():
        line = "  ".join(f"{n} {v:.1f}" for n, v in table.items())
        over = "  ".join(f"/{n} {v:.2f}" for n, v in ratios.items())
        print(f"\n{side} pair, {threads} thread(s), CPU ns: {line}  rwsem{over}")


def test_writers_are_not_starved(
    benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """32 readers and 2 writers on one rwsem: writes/s and the writers' waits, median of 5 runs."""
    torture = ROOT / "tests/core/c"
    binary = tmp_path / "starve"
    sources = [str(torture / "main.c"), str(torture / "rwsem.c")]
    subprocess.run([tool("gcc", "cc"), *CFLAGS, *sources, "-o", str(binary)], check=True)
    runs: list[dict[str, int]] = []

    def turn() -> None:
        out = subprocess.run(
            [str(binary), "starve", *STARVE, f"seed={len(runs)}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        runs.append({k: int(v) for k, v in (word.split("=") for word in out.split())})

    benchmark.pedantic(turn, rounds=5)
    median = {k: statistics.median(r[k] for r in runs) for k in runs[0]}
    benchmark.extra_info.update(
        writes_per_s=median["writes"],
        wait_p999_ms=median["wait_p999_ns"] / 1e6,
        wait_max_ms=median["wait_max_ns"] / 1e6,
        cpus=len(os.sched_getaffinity(0)),
    )
    with capsys.disabled():
        print(
            f"\n32 readers, 2 writers: {median['writes']:.0f} writes/s, writer wait p99.9 "
            f"{median['wait_p999_ns'] / 1e6:.1f} ms, longest {median['wait_max_ns'] / 1e6:.0f} ms"
        )
