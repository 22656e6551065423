"""The per-entry lock of fs/dax.c: who waits for whom (kernel-reference §6.2 step 3)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from faultbench import _checked, _virtual
from faultbench.machines.description import load
from tests.core.specs import spec


def test_nobody_waits_for_an_entry_that_is_too_small() -> None:
    """get_unlocked_entry(): a PMD fault that finds a PTE entry falls back, locked or not.

    It used to sleep until the entry was unlocked, and then fell back.
    """
    probe = _checked.Probe(spec("v6.12", "xfs", map="private", workers=2, overlap=1))
    base, _, _ = probe.slice()
    fallen_back = threading.Event()
    other = threading.Thread(
        target=probe.fault, args=(base, False, 1, {"do_fault": fallen_back.set}), daemon=True
    )

    def meanwhile() -> None:  # the copy is made with the entry locked and no PTE table there
        other.start()
        assert fallen_back.wait(10)

    probe.fault(base, True, 0, {"dax_fault_cow_page": meanwhile})
    other.join(10)
    assert not other.is_alive()  # its PTE fault did wait, and was woken
    assert probe.broken() is None


def test_a_downgrade_wakes_all_who_wait_for_the_pmd_entry() -> None:
    """grab_mapping_entry(): WAKE_ALL, since the entry that they wait for is gone."""
    given = spec("v6.12", "xfs", map="private", workers=3, overlap=1, fallback_ppm=1_000_000)
    probe = _checked.Probe(given)
    base, _, _ = probe.slice()
    let_go, fallen_back = threading.Event(), threading.Event()

    def start(task: int, write: bool, meanwhile: dict[str, Callable[[], object]]) -> None:
        threads.append(
            threading.Thread(target=fault, args=(base, write, task, meanwhile), daemon=True)
        )
        threads[-1].start()
        time.sleep(0.2)  # until it holds the entry, or sleeps

    def fault(*arguments: Any) -> None:
        try:
            probe.fault(*arguments)
        except AssertionError as error:
            failed.append(error)

    def copying() -> None:
        assert fallen_back.wait(10)

    threads: list[threading.Thread] = []
    failed: list[AssertionError] = []
    # It has an empty PMD entry locked, and does not come back for it before the others.
    start(1, False, {"iomap_begin": let_go.wait, "do_fault": copying})
    start(0, True, {"dax_fault_cow_page": copying})  # waits for it as a PTE fault, first in line
    start(2, False, {"handle_pte_fault": fallen_back.set})  # waits for it as a PMD fault
    let_go.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert failed == []
    assert probe.broken() is None


def test_a_pte_fault_that_finds_a_huge_entry_lets_it_be() -> None:
    """dax_iomap_pte_fault(): a PMD fault was faster; NOPAGE, and the access faults again.

    It asked the file system, and copied the page for nothing.
    """
    probe = _checked.Probe(spec("v6.12", "xfs", map="private", workers=2, overlap=1))
    base, _, _ = probe.slice()
    read: list[dict[str, Any]] = []
    first = probe.fault(
        base, True, 0, {"do_fault": lambda: read.append(probe.fault(base, False, 1))}
    )
    assert read[0]["counters"]["pmd_installs"] == 1
    steps = [step for _, step, *_ in first["sequence"]]
    assert "grab_mapping_entry" in steps
    assert "dax_unlock_entry" in steps
    assert not {"iomap_begin", "dax_fault_cow_page", "insert_pfn"} & set(steps)
    assert probe.walk(base)[0] == 1
    probe.fault(base, True)
    assert probe.walk(base)[0] == 0
    assert probe.broken() is None


@pytest.mark.parametrize("handler", ["ext4", "xfs"])
@pytest.mark.parametrize("ppm", [300_000, 1_000_000])
def test_nobody_is_left_waiting(handler: str, ppm: int) -> None:
    """A downgrade wakes all who wait for the PMD entry; none of them passes the wake-up on."""
    for kernel in ("v6.5", "next-202308", "v6.12"):
        given = spec(kernel, handler, workers=8, overlap=1, slice=4, writers=1, writer_op="target")
        given |= {"fallback_ppm": ppm, "faults": 0, "duration_ns": 15_000_000}
        out = _checked.run_trial(given)
        assert (out["status"], out["invariant"]) == ("ok", "")
        for seed in range(6):  # first touch: all at once at a new entry
            virtual = given | {"machine": load("generic").figures(), "lines": 0, "log": 0}
            virtual |= {"faults": 40, "duration_ns": 0, "writers": 0, "seed": seed}
            out = _virtual.run_trial(virtual)
            assert (out["status"], out["invariant"]) == ("ok", "")
