"""Each lock under torture: on threads, under sanitizers, over seeded schedules, and on one CPU."""

import os
import subprocess
import time

import pytest

from .sync_build import HEADERS, build, compiler, run, torture

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="sanitizer set-up is x86-64's"
)

# Name and arguments; `gen` is the rwsem's kind (1 naive, 2 pthread) or the VMA lock's generation,
# `wrap` starts the sequences two steps before they wrap
CASES = {
    "qspinlock": ["readers=4", "writers=0"],
    "qspinlock crowd=1": ["readers=4", "writers=0"],
    "qrwlock": [],
    "osq": ["readers=4"],
    "rwsem": ["readers=4", "writers=2"],
    "rwsem gen=1": [],
    "rcu": [],
    "srcu": [],
    "percpu_rwsem": [],
    "seqcount wrap=2": [],
    "vma_lock gen=0 wrap=2": ["readers=4"],
    "vma_lock gen=1 wrap=2": ["readers=4"],
    "vma_lock gen=2 wrap=2": ["readers=4"],
}


def split(case: str) -> list[str]:
    name, *args = case.split()
    return [name, *args, *CASES.get(case, [])]


@pytest.mark.parametrize("kind", ["threads", "tsan", "asan"])
@pytest.mark.parametrize("case", [*CASES, "rwsem gen=2"])
def test_holds_on_threads(case: str, kind: str) -> None:
    """E, H, V, U, D, Q hold, and each task does something, however the host schedules them."""
    name, *args = split(case)
    results = torture(name, kind, *args, "seconds=0.2").results
    assert results["ops_min"] > 0


@pytest.mark.parametrize("crowd", [0, 1])
@pytest.mark.parametrize(
    "case", ["qspinlock", "rwsem", "vma_lock gen=0 wrap=2", "vma_lock gen=2 wrap=2"]
)
def test_more_threads_than_cpus(case: str, crowd: int) -> None:
    """At 17 times the CPUs every thread still gets through, spinlocks queued or not."""
    name, *args = case.split()
    cpus = len(os.sched_getaffinity(0))
    n = 17 * cpus
    results = torture(
        name,
        "threads",
        *args,
        f"readers={n - cpus}",
        f"writers={cpus}",
        f"crowd={crowd}",
        "seconds=0.5",
    ).results
    assert results["ops_min"] > 0


@pytest.mark.parametrize("case", CASES)
def test_holds_over_schedules(case: str) -> None:
    """E, H, V, U, D, Q hold over a thousand schedules, with memory as weak as the orders allow."""
    name, *args = split(case)
    torture(name, "schedules", *args, "ops=20", "rounds=1000")


@pytest.mark.parametrize(
    "case", ["qrwlock", "rwsem", "percpu_rwsem", "vma_lock gen=0", "vma_lock gen=2"]
)
def test_readers_are_in_together(case: str) -> None:
    """R: a reader lock that serialises its readers passes every exclusion test."""
    name, *args = case.split()
    results = torture(
        name, "schedules", *args, "readers=4", "writers=1", "ops=20", "rounds=200"
    ).results
    assert results["together"] >= 2


@pytest.mark.parametrize("case", CASES)
def test_nothing_passes_the_seam(case: str) -> None:
    """The single machine's arena cannot be touched: an access past the seam is a SIGSEGV."""
    name, *args = split(case)
    torture(name, "single", *args, "ops=500")


@pytest.mark.parametrize("kind", ["threads", "single", "asan"])
def test_rwsem_rules(kind: str) -> None:
    """W and the rest of kernel-reference §4: handoff, stealing, batches of 256, downgrade."""
    torture("script", kind, "readers=310", "writers=0", "ops=1")


@pytest.mark.parametrize("kind", ["threads", "single", "asan"])
def test_spinlock_queue(kind: str) -> None:
    """E: a lock that became free is taken without queueing.

    The head of the queue does not clear the bit of one who is about to queue behind it.
    """
    torture("spin_script", kind, "readers=2", "writers=0", "ops=1")


@pytest.mark.parametrize("k", [1, 2, 5])
def test_no_thread_to_be_had(k: int) -> None:
    """The k-th thread fails: those started go home, nothing leaks, the message says how far."""
    wrapped = build("rwsem", "asan", "-Wl,--wrap=pthread_create", extra=("fail_create.c",))
    outcome = run(wrapped, "rwsem", "readers=3", "writers=2", FAIL_AT=str(k))
    assert outcome.code == 2
    assert f"started {k - 1} of 5 tasks" in outcome.stderr


def test_no_fences_and_no_machine_in_sync() -> None:
    """ThreadSanitizer does not model fences; and sync/ must not know where it runs."""
    for header in (HEADERS / "sync").glob("*.h"):
        code = subprocess.run(
            [compiler(), "-fpreprocessed", "-dD", "-E", str(header)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        assert "thread_fence" not in code, header.name
        assert "__sync_" not in code, header.name
        if header.name != "atomic.h":
            assert "FB_MACHINE_" not in code, header.name
            assert "__atomic_" not in code, header.name


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["threads", "tsan", "asan", "schedules"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.timeout(1200)
def test_holds_for_long(case: str, kind: str, request: pytest.FixtureRequest) -> None:
    """The same for FAULTBENCH_TORTURE_SECONDS over all cases and kinds (-m torture: 120)."""
    budget = os.environ.get("FAULTBENCH_TORTURE_SECONDS")
    if not budget and "torture" not in request.config.option.markexpr:
        pytest.skip("long: -m torture, or set FAULTBENCH_TORTURE_SECONDS")
    name, *args = split(case)
    seconds = float(budget or 120) / (4 * len(CASES))
    if kind != "schedules":
        torture(name, kind, *args, f"seconds={seconds / 2}")
        torture(name, kind, *args, f"seconds={seconds / 2}", "readers=20", "writers=14", "hold=16")
        return
    # Schedules are fixed work: as many as this host does in the time, with new seeds.
    rounds, began, seed = 500, time.monotonic(), 1_000_000
    while time.monotonic() - began < seconds:
        torture(name, kind, *args, "ops=30", f"rounds={rounds}", f"seed={seed}")
        seed += rounds
