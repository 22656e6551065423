"""Every mutant of mm/ is caught, by a checker that this table names, in its killing configuration.

A mutant may also hang or crash its process, so each try has its own; a hang alone is no catch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from faultbench import _checked
from tests.core.specs import costs, spec

TRIES = 12  # of 40 ms: the racy ones need one to six on two busy CPUs
RUN = """
import json, sys
from faultbench import _checked
given, tries = json.loads(sys.argv[1]), int(sys.argv[2])
for _ in range(tries):
    out = _checked.run_trial(given)
    if out["status"] != "ok":
        print(out["invariant"])
        break
"""

STRESS: dict[str, Any] = {
    "workers": 2,
    "writers": 1,
    "writer_op": "target",
    "duration_ns": 40_000_000,
}
ONE = {"faults": 20}
STALE = "a read-locked VMA was detached"
INSIDE = "a VMA was write-locked while a reader was inside"
# mutant -> (kernel, handler, configuration, busy ns that widen the window, what catches it)
MUTANTS: dict[str, tuple[str, str, dict[str, Any], dict[str, int], tuple[str, ...]]] = {
    "NO_RECHECK": (
        "v6.6",
        "ext4",
        {**STRESS, "writer_op": "mprotect"},
        {"vma_start_read": 3000},
        (INSIDE, STALE),
    ),
    "LATE_SEQ": (
        "v6.13",
        "ext4",
        STRESS,
        {"vma_start_write": 3000, "insert_pfn_pmd": 3000},
        (INSIDE, STALE),
    ),
    "DOUBLE_END_READ": ("v6.6", "driver-retry", ONE, {}, ("does not hold",)),
    "RETRY_LEAKS": ("v6.6", "driver-retry", ONE, {}, ("VMA lock still held",)),
    "NO_SECOND_LOOKUP": (
        "v6.6",
        "driver-retry",
        STRESS,
        {"lock_mm_and_find_vma": 3000},
        (STALE, "after its grace period"),
    ),
    "FREED_EARLY": (
        "v6.6",
        "ext4",
        STRESS,
        {"vma_start_read": 3000, "mmap_write_lock": 30000},
        ("after its grace period",),
    ),
    "END_AFTER_UNLOCK": (
        "v6.6",
        "ext4",
        {**STRESS, "workers": 1, "writers": 2, "writer_op": "mprotect"},
        {"vma_end_write_all": 3000, "change_protection": 300},
        ("without being write-locked", INSIDE),
    ),
    "NOT_DETACHED": (
        "v6.6",
        "ext4",
        STRESS,
        {"vma_start_read": 30000},
        ("pgtables_bytes", "entries installed", "page tables", STALE, "overlap"),
    ),
    "PMD_NO_RECHECK": (
        "v6.6",
        "device-dax",
        {**STRESS, "writers": 0, "overlap": 1},
        {"dev_dax_huge_fault": 1000},
        ("overwritten without looking",),
    ),
    "WRITER_NO_WAIT": ("v6.6", "ext4", STRESS, {"insert_pfn_pmd": 3000}, (INSIDE, STALE)),
    "DETACH_NO_WAIT": (
        "v6.16",
        "ext4",
        STRESS,
        {"vma_start_read": 2000, "vma_mark_detached": 1000},
        ("vm_refcnt", STALE, "detached VMA stays"),
    ),
    "TABLE_NO_RECHECK": (
        "v6.6",
        "device-dax",
        {**STRESS, "overlap": 1},
        {"__pmd_alloc": 5000},
        ("pgtables_bytes", "page tables", "entries installed"),
    ),
    "XA_EARLY_UNLOCK": ("v6.6", "ext4", ONE, {}, ("unlocked by somebody else",)),
    "NO_END_WRITE": ("v6.6", "ext4", STRESS, {}, ("write-locked at rest", "mm_lock_seq moved")),
    "DOWNGRADE_KEEPS": (
        "v6.6",
        "ext4",
        {**STRESS, "writer_op": "beside"},
        {},
        ("mm_lock_seq moved",),
    ),
    "ENTRY_SKIPPED": ("v6.6", "ext4", ONE, {}, ("made writable 0 != faults",)),
    "S_WRITERS_KEPT": ("v6.6", "ext4", ONE, {}, ("in a per-CPU read section at rest",)),
    "ES_LOCK_KEPT": ("v6.6", "ext4", ONE, {}, ("a lock of inode 0 is held at rest",)),
}


def test_the_table_is_complete() -> None:
    names = {n.removeprefix("MUTANT_") for n in _checked.CONSTANTS if n.startswith("MUTANT_")}
    assert set(MUTANTS) == names - {"NONE"}
    assert len(MUTANTS) >= 12


def attempt(given: dict[str, Any], tries: int) -> str:
    """What a process of its own found broken, which it says at once, should it hang or die next."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(given), str(tries)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        try:
            out, _ = child.communicate(timeout=4)
        except subprocess.TimeoutExpired:
            child.kill()
            out, _ = child.communicate()
    return out.strip()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_caught(mutant: str) -> None:
    kernel, handler, more, busy, catchers = MUTANTS[mutant]
    steps = {name.removeprefix("__"): ns for name, ns in busy.items()}
    given = spec(kernel, handler, **more, cost=costs(_checked.CONSTANTS, **steps))
    given["mutant"] = _checked.CONSTANTS[f"MUTANT_{mutant}"]
    found = ""
    for _ in range(20):
        found = attempt(given, TRIES)
        if found:
            break
    assert any(text in found for text in catchers), f"{mutant}: {found or 'survived'}"


@pytest.mark.parametrize("mutant", MUTANTS)
def test_without_the_mutant_the_same_trial_is_clean(mutant: str) -> None:
    """No false alarm in the very configuration that kills."""
    kernel, handler, more, busy, _ = MUTANTS[mutant]
    steps = {name.removeprefix("__"): ns for name, ns in busy.items()}
    out = _checked.run_trial(spec(kernel, handler, **more, cost=costs(_checked.CONSTANTS, **steps)))
    assert (out["status"], out["invariant"]) == ("ok", "")
