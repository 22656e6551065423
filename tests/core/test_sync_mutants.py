"""Broken locks: each bug that ``fb_mut`` can switch on is found, by the tool that is named here.

Found by
  schedules   seeded schedules of the headers over weak memory; the failing seed fails again
  script      the rwsem's rules, step by step
  watchdog    real threads that do not end
  bypass      the single machine, whose arena can only be reached through the seam

Weakened memory orders have a file of their own, test_sync_orders.py.
"""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from .sync_build import FILES, HEADERS, HELD, SOURCES, VIOLATED, WATCHDOG, build, run

SCHEDULES = ("ops=30", "rounds=20000")


@dataclass(frozen=True)
class Mutant:
    """A bug, the torture that finds it, by what, and which property falls."""

    name: str
    torture: str
    by: str
    falls: str  # property letters, any of which may be seen first
    args: tuple[str, ...] = ()


MUTANTS = [
    # qspinlock, qrwlock, osq
    Mutant("SPIN_PENDING_STOLEN", "qspinlock", "schedules", "EH", ("readers=4", "writers=0")),
    Mutant("SPIN_HEAD_IGNORES_PENDING", "qspinlock", "schedules", "EH", ("readers=4", "writers=0")),
    Mutant("SPIN_NO_SUCCESSOR", "qspinlock", "schedules", "H", ("readers=4", "writers=0")),
    Mutant("SPIN_HEAD_CLEARS_PENDING", "spin_script", "script", "E"),
    Mutant("QRW_BIAS_KEPT", "qrwlock", "schedules", "H"),
    Mutant("QRW_UNLOCK_WORD", "qrwlock", "schedules", "EHQ"),
    Mutant("OSQ_NO_RELINK", "osq", "schedules", "H", ("readers=4",)),
    # rwsem
    Mutant("RWSEM_LOST_WAKE", "rwsem", "schedules", "H"),
    Mutant("RWSEM_NO_RECHECK", "rwsem", "schedules", "H"),
    Mutant("RWSEM_OVER_READERS", "rwsem", "schedules", "DE"),
    Mutant("RWSEM_DOWNGRADE_GAP", "rwsem", "schedules", "D"),
    Mutant("RWSEM_WAITERS_STAY", "rwsem", "schedules", "HQ"),
    Mutant("RWSEM_GRANTS_WRITERS", "rwsem", "schedules", "EHQ"),
    Mutant("RWSEM_NO_HANDOFF", "script", "script", "W"),
    Mutant("RWSEM_BARGE", "script", "script", "W"),
    Mutant("RWSEM_WAKES_ONE", "script", "script", "R"),
    # RCU, SRCU, per-CPU, pool
    Mutant("RCU_JOINS_PERIOD", "rcu", "schedules", "U"),
    Mutant("RCU_SKIPS_ONE", "rcu", "schedules", "U"),
    Mutant("RCU_ONLINE_STORE", "rcu", "schedules", "U", ("hold=1", "rounds=60000")),
    Mutant("SRCU_ONE_FLIP", "srcu", "schedules", "U"),
    Mutant("PERCPU_NO_PERIOD", "percpu_rwsem", "schedules", "EH"),
    Mutant("POOL_UNLOCKED", "rcu", "schedules", "UQ", ("ops=100",)),
    # what the VMA lock is made of, and its protocol
    Mutant("SEQ_EVEN", "seqcount", "schedules", "E"),
    Mutant("REF_NO_LIMIT", "vma_lock", "schedules", "EHQ", ("gen=2",)),
    Mutant("REF_TORN_SUB", "vma_lock", "schedules", "EHQ", ("gen=2",)),
    Mutant("RCUWAIT_LATE", "vma_lock", "schedules", "H", ("gen=2",)),
    Mutant("RCUWAIT_LOAD", "vma_lock", "schedules", "H", ("gen=2",)),
    Mutant("VMA_NO_RECHECK", "vma_lock", "schedules", "E", ("gen=1",)),
    Mutant("VMA_SEQ_AFTER_UNLOCK", "vma_lock", "schedules", "E", ("gen=1",)),
    Mutant("VMA_END_AFTER", "vma_lock", "schedules", "E", ("gen=1", "readers=2", "writers=2")),
    # the machine and the seam
    Mutant("PARK_FORGETS", "rwsem", "watchdog", "", ("readers=6", "writers=6", "seconds=1")),
    Mutant("SEAM_BYPASS", "rwsem", "bypass", "", ("ops=10",)),
]
KIND = {"script": "threads", "watchdog": "threads", "bypass": "single"}
ARGS = {
    "schedules": SCHEDULES,
    "script": ("readers=310", "writers=0", "ops=1"),
}


FEWER = {"schedules": ("rounds=1500",)}


def built(mutant: Mutant) -> Path:
    """Compile its torture with the bug in.

    Most seeds that fail are among the first, so that the compiler takes longer than the schedules,
    which are the same ones without optimisation.
    """
    quick = ("-O0",) if mutant.by == "schedules" else ()
    kind = KIND.get(mutant.by, mutant.by)
    return build(mutant.torture, kind, f"-DFB_MUT_{mutant.name}=1", *quick)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.name}-{m.by}")
def test_is_caught(mutant: Mutant) -> None:
    args = (*ARGS.get(mutant.by, ()), *mutant.args)
    outcome = run(built(mutant), mutant.torture, *args, TORTURE_GRACE="2")
    match mutant.by:
        case "watchdog":
            caught = outcome.code == WATCHDOG
        case "bypass":
            caught = outcome.code == -signal.SIGSEGV
        case _:
            said = re.search(r"violated (\w): seed \d+", outcome.stderr)
            caught = outcome.code == VIOLATED and bool(said) and said[1] in mutant.falls
    assert caught, f"survived, or was caught by something else: {outcome}"


def test_a_failing_schedule_fails_again() -> None:
    """A seed is all it takes to see a failure again."""
    binary = built(next(m for m in MUTANTS if m.name == "SPIN_HEAD_IGNORES_PENDING"))
    first = run(binary, "qspinlock", "readers=4", "writers=0", *SCHEDULES)
    seed = re.search(r"seed (\d+)", first.stderr)
    assert seed
    again = run(
        binary, "qspinlock", "readers=4", "writers=0", SCHEDULES[0], "rounds=1", f"seed={seed[1]}"
    )
    assert (again.code, again.stderr) == (first.code, first.stderr)


@pytest.mark.parametrize("by", ["schedules", "watchdog", "bypass"])
def test_nothing_is_caught_without_a_mutant(by: str) -> None:
    """The same commands on the headers as they are (fewer schedules; ``-m torture`` runs more)."""
    for mutant in {(m.torture, m.args): m for m in MUTANTS if m.by == by}.values():
        binary = build(mutant.torture, KIND.get(by, by))
        outcome = run(binary, mutant.torture, *ARGS.get(by, ()), *mutant.args, *FEWER.get(by, ()))
        assert outcome.code == HELD, outcome


def test_every_mutant_has_its_row() -> None:
    """A bug that can be switched on and that no row names would never be tried."""
    sources = [*HEADERS.rglob("*.h"), *(SOURCES / f"{f}.c" for f in set(FILES.values()))]
    names = {n for path in sources for n in re.findall(r"\bfb_mut\((\w+)\)", path.read_text())}
    assert names - {"X", "name"} == {m.name for m in MUTANTS}
