"""lock_vma_under_rcu(): what it looks at, and in which order, when the VMA changes under its hands.

Between the tree walk and the lock another task splits, unmaps or maps: `meanwhile` of a probe.
"""

from __future__ import annotations

from typing import Any

import pytest

from faultbench import _single
from tests.core.specs import spec

PAGE = 4096
HALF = 8  # entries, of a slice of 16
WRITER = 1


def raced(kernel: str, act: str, *, fresh: bool = False, kind: str = "anon") -> dict[str, Any]:
    """The counters of a fault on the upper half of a VMA that `act` befalls before it is locked."""
    order = "pte" if kind == "anon" else "pmd"
    given = spec(kernel, kind, order=order, writers=1, writer_op="target", fresh=int(fresh))
    probe = _single.Probe(given)
    base, step, entries = probe.slice()
    middle, end = base + HALF * step, base + entries * step

    def meanwhile() -> None:
        if act == "lower half unmapped":  # the VMA found is now the lower half, and detached
            probe.munmap(base, middle, WRITER)
        elif act == "upper half unmapped":  # the VMA found is now the lower half, and stays
            probe.munmap(middle, end, WRITER)
        elif act == "unmapped":
            probe.munmap(base, end, WRITER)
        elif act == "replaced":
            probe.writer_op(WRITER)
        else:
            probe.lock("mmap_write_lock", task=WRITER)
            probe.lock("vma_start_write", base, WRITER)
            if act == "write-locked for a while":
                probe.lock("mmap_write_unlock", task=WRITER)

    then = {"vma_start_read": meanwhile}
    if act == "write-locked":
        then["lock_mm_and_find_vma"] = lambda: probe.lock("mmap_write_unlock", task=WRITER)
    got = probe.fault(middle, meanwhile=then)
    assert probe.broken() is None
    names = ("vma_lock_success", "vma_lock_abort", "vma_lock_retry", "vma_lock_miss", "no_vma")
    found: dict[str, Any] = {name: got["counters"].get(name, 0) for name in names}
    return found | {"outcome": got["outcome"], "reads": got["counters"].get("mmap_lock_reads", 0)}


def outcome(
    success: int = 0, abort: int = 0, miss: int = 0, no_vma: int = 0, what: str = "direct"
) -> dict[str, Any]:
    return {
        "vma_lock_success": success,
        "vma_lock_abort": abort,
        "vma_lock_retry": 0,
        "vma_lock_miss": miss,
        "no_vma": no_vma,
        "outcome": what,
        "reads": abort,
    }


ABORTED = outcome(abort=1, what="aborted")
MISSED = outcome(success=1, miss=1, what="missed")
UNTIL_69 = ["v6.4", "v6.5", "next-202308", "v6.6"]
FROM_610 = ["v6.12", "v6.13"]
REFCOUNT = ["v6.15", "v6.16"]


@pytest.mark.parametrize("kernel", UNTIL_69 + FROM_610 + REFCOUNT)
def test_detached_and_without_the_address(kernel: str) -> None:
    """§1.3: until 6.9 the bounds are looked at before `detached`, from 6.10 on after it.

    So a VMA that was split and whose lower half was unmapped is an ABORT in one, and in the other
    a MISS and another walk, which finds the upper half.
    """
    assert raced(kernel, "lower half unmapped") == (ABORTED if kernel in UNTIL_69 else MISSED)


@pytest.mark.parametrize("kernel", UNTIL_69 + FROM_610 + REFCOUNT)
def test_detached_and_without_an_anon_vma(kernel: str) -> None:
    """§1.3: until 6.9 a missing anon_vma comes before `detached` too; from 6.10 it is no matter."""
    if kernel in UNTIL_69:
        want = outcome(abort=1, no_vma=1, what="aborted")
    else:
        want = outcome(abort=1, miss=1, no_vma=1, what="missed")
    assert raced(kernel, "unmapped", fresh=True) == want


@pytest.mark.parametrize("kernel", UNTIL_69 + FROM_610 + REFCOUNT)
def test_detached_alone_is_a_miss_and_another_walk(kernel: str) -> None:
    """Every kernel counts one MISS; the walk that follows finds nothing, which is one ABORT."""
    want = outcome(abort=1, miss=1, no_vma=1, what="missed")
    assert raced(kernel, "unmapped") == want


@pytest.mark.parametrize("kernel", UNTIL_69 + FROM_610 + REFCOUNT)
def test_the_bounds_are_looked_at_under_the_lock(kernel: str) -> None:
    """The VMA that was found is still there but ends before the address: ABORT, no MISS."""
    want = outcome(abort=1, no_vma=1, what="aborted")
    assert raced(kernel, "upper half unmapped") == want


@pytest.mark.parametrize("kernel", ["next-202308", "v6.6", *FROM_610])
def test_a_vma_that_was_replaced_is_missed_once(kernel: str) -> None:
    """munmap and mmap between walk and lock: the second walk finds the new VMA."""
    got = raced(kernel, "replaced", kind="driver")
    retried = kernel == "next-202308"
    assert got["vma_lock_miss"] == 1
    assert (got["vma_lock_success"], got["vma_lock_retry"]) == (int(not retried), int(retried))
    assert (got["vma_lock_abort"], got["no_vma"], got["outcome"]) == (0, 0, "missed")


@pytest.mark.parametrize("kernel", REFCOUNT)
def test_a_vma_that_was_reused_for_the_same_addresses_is_taken(kernel: str) -> None:
    """SLAB_TYPESAFE_BY_RCU: the freed object is the new VMA, attached, of this mm, in bounds."""
    assert raced(kernel, "replaced", kind="driver") == outcome(success=1)


@pytest.mark.parametrize("kernel", REFCOUNT)
def test_a_vma_that_was_reused_by_another_process_is_refused(kernel: str) -> None:
    """§1.3, 6.15: the object is attached and around the address, but of another mm: ABORT."""
    given = spec(kernel, "driver", workers=2, vmas=2, mms=2, writers=2)
    probe = _single.Probe(given)
    mine, theirs = 2, 3  # writers of the two address spaces
    base, step, entries = probe.slice(0)
    end = base + entries * step
    others = [1 << 45 | i << 20 for i in range(24)]
    for at in others:
        assert probe.mmap(at, at + PAGE, mine)

    def meanwhile() -> None:
        probe.munmap(base, end, mine)
        for at in others[:16]:  # as many as a writer's magazine holds: the first is given back
            probe.munmap(at, at + PAGE, mine)
        assert probe.mmap(base, end, theirs)

    got = probe.fault(base, meanwhile={"vma_start_read": meanwhile})["counters"]
    assert probe.broken() is None
    # A MISS would say that nobody had reused it.
    assert (got["vma_lock_abort"], got.get("vma_lock_miss", 0), got["no_vma"]) == (1, 0, 1)
    assert "vma_lock_success" not in got


@pytest.mark.parametrize("kernel", UNTIL_69 + FROM_610 + REFCOUNT)
def test_the_sequence_is_looked_at_again_under_the_lock(kernel: str) -> None:
    """§3.2 c: write-locked after the first look: ABORT, and the fault waits for mmap_lock."""
    assert raced(kernel, "write-locked") == ABORTED


@pytest.mark.parametrize("kernel", UNTIL_69 + FROM_610 + REFCOUNT)
def test_a_write_lock_that_has_ended_stops_nobody(kernel: str) -> None:
    """A whole write section between the two looks: one increment has dropped the lock."""
    assert raced(kernel, "write-locked for a while") == outcome(success=1)


@pytest.mark.parametrize("kernel", ["v6.4", "v6.5"])
def test_a_file_vma_is_refused_before_its_lock_is_touched(kernel: str) -> None:
    """§1.3, 6.4 and 6.5: the ABORT of a file mapping costs no read-modify-write of the VMA lock."""
    probe = _single.Probe(spec(kernel, "driver"))
    base, _, _ = probe.slice()
    got = probe.fault(base)
    assert got["counters"]["vma_lock_abort"] == 1
    assert "vma_start_read" not in [name for _, name, _ in got["sequence"]]


def test_what_a_probe_does_meanwhile_may_fail() -> None:
    """The call's own error comes out, and one that was never made is an error."""
    probe = _single.Probe(spec("v6.6", "driver", writers=1))
    base, step, _ = probe.slice()
    with pytest.raises(ValueError, match="no VMA at 0x0"):
        probe.fault(base, meanwhile={"vma_start_read": lambda: probe.lock("vma_start_read")})
    with pytest.raises(ValueError, match="did not come to find_vma"):
        probe.fault(base + step, meanwhile={"find_vma": lambda: None})
    assert probe.fault(base + 2 * step)["done"]
