"""What one steady-state fault writes: kernel-reference §6.5, counted on the single machine."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from faultbench import _single
from tests.core.specs import spec

MMAP_LOCK = {"rmw mmap_lock.count": 2, "store mmap_lock.owner": 1}
VMA_LOCK = {"rmw vma_lock": 2, "store vma_lock": 1}  # the 40-byte object: count, count and owner
PTL = {"rmw ptl": 1, "store ptl": 1, "store page table": 1}
INODE = {
    "rmw invalidate_lock.count": 2,
    "store invalidate_lock.owner": 1,
    "rmw xa_lock": 3,
    "store xa_lock": 3,
    "store entry": 3,
}
ILOCK = {"xfs": {"rmw i_lock": 2, "store i_lock": 1}, "ext4": {"rmw i_es_lock": 2}}
JOURNAL = {
    "rmw j_state_lock": 2,
    "rmw t_updates": 5,  # credits, updates, handles in; updates, credits out
    "rmw j_wait_updates": 1,  # the last handle's wake_up()
    "store j_wait_updates": 1,
}
I_FLAGS_LOCK = {"rmw i_flags_lock": 1, "store i_flags_lock": 1}


RESOURCE_LOCK = {"rmw resource_lock": 2}  # a read lock of a rwlock
MEMTYPE_LOCK = {"rmw memtype_lock": 1, "store memtype_lock": 1}
PAT = _single.CONSTANTS["RULE_PAT"]
IREMAPPING = _single.CONSTANTS["RULE_IREMAPPING"]


def writes(kernel: str, handler: str, access: str, rules: int = 0) -> dict[str, int]:
    """Writes to shared words of the third fault on its entry's neighbour, by field or object."""
    given = spec(kernel, handler, access=access)
    probe = _single.Probe(given | {"rules": given["rules"] | rules})
    base, step, _ = probe.slice()
    for _ in range(2):
        for entry in range(2):
            probe.fault(base + entry * step, access == "write")
        probe.refill()
    probe.fault(base, access == "write")
    got = probe.fault(base + step, access == "write")
    assert got["done"]
    count: Counter[str] = Counter()
    for kind, thing, name in got["accesses"]:
        if not thing.startswith("task"):  # per-CPU words are nobody else's
            count[f"{kind} {name or thing.removesuffix(' 0')}"] += 1
    return dict(count)


@pytest.mark.parametrize("handler", ["device-dax", "ext4", "xfs"])
@pytest.mark.parametrize("access", ["read", "write"])
def test_writes_of_one_fault(handler: str, access: str) -> None:
    common = dict(PTL)
    if handler != "device-dax":
        common |= INODE | ILOCK[handler]
    if handler == "ext4" and access == "write":
        common |= JOURNAL
    assert writes("v6.3", handler, access) == common | MMAP_LOCK
    assert writes("v6.5", handler, access) == common | MMAP_LOCK
    assert writes("next-202308", handler, access) == common | MMAP_LOCK | VMA_LOCK
    assert writes("v6.6", handler, access) == common | VMA_LOCK
    if handler == "xfs" and access == "write":  # since 6.7; 6.11 took it out of reads
        common |= I_FLAGS_LOCK
    assert writes("v6.12", handler, access) == common | VMA_LOCK
    assert writes("v6.13", handler, access) == common | VMA_LOCK
    assert writes("v6.16", handler, access) == common | {"rmw vm_refcnt": 2}


def locks_of(given: dict[str, Any], entry: int, write: bool = True) -> list[tuple[str, str]]:
    """Lock operations of a fault on `entry` after one on entry 0."""
    probe = _single.Probe(given)
    base, step, _ = probe.slice()
    probe.fault(base, write)
    found = probe.fault(base + entry * step, write)["sequence"]
    return [(kind, name) for kind, name, _ in found if kind in ("lock", "lock_shared", "unlock")]


I_FLAGS_PAIR = [("lock", "i_flags_lock"), ("unlock", "i_flags_lock")]


@pytest.mark.parametrize("order", ["pmd", "pte"])
@pytest.mark.parametrize("kernel", ["v6.12", "v6.13", "v6.15", "v6.16"])
def test_xfs_asks_for_a_remap_between_invalidate_lock_and_the_entry(
    kernel: str, order: str
) -> None:
    """__xfs_filemap_fault(): XFS_MMAPLOCK_SHARED, xfs_iflags_test(), then dax_iomap_fault()."""
    given = spec(kernel, "xfs", order=order)
    locks = locks_of(given, 1)
    at = locks.index(("lock_shared", "invalidate_lock"))
    assert locks[at + 1 : at + 4] == [*I_FLAGS_PAIR, ("lock", "xa_lock")]
    without = locks_of(given | {"rules": given["rules"] & ~IREMAPPING}, 1)
    assert without == [*locks[: at + 1], *locks[at + 3 :]]


def test_a_remap_is_asked_for_where_the_kernel_asks() -> None:
    """Not by reads or private writes, not by ext4, not before 6.7; by each of a PUD's two calls."""
    for kernel in ("v6.3", "v6.5", "next-202308", "v6.6"):
        assert ("lock", "i_flags_lock") not in locks_of(spec(kernel, "xfs"), 1)
    for given, write in (
        (spec("v6.12", "xfs", access="read"), False),
        (spec("v6.12", "xfs", map="private"), True),
        (spec("v6.12", "ext4"), True),
    ):
        assert ("lock", "i_flags_lock") not in locks_of(given, 1, write)
    fresh = _single.Probe(spec("v6.12", "xfs", slice=1) | {"fresh": 1})
    first = [(kind, name) for kind, name, _ in fresh.fault(fresh.slice()[0])["sequence"]]
    assert first.count(("lock", "i_flags_lock")) == 2  # create_huge_pud(), then create_huge_pmd()
    backported = spec("v6.6", "xfs")  # what a stable 6.6.17 does: --set iremapping=on
    assert ("lock", "i_flags_lock") in locks_of(
        backported | {"rules": backported["rules"] | IREMAPPING}, 1
    )


def test_only_the_last_handle_of_a_journal_wakes_a_commit() -> None:
    """stop_this_handle(): with another handle open nobody takes the queue's lock."""
    assert ("lock", "j_wait_updates") in locks_of(spec("v6.12", "ext4"), 1)
    assert ("lock", "j_wait_updates") not in locks_of(spec("v6.12", "ext4"), 1, write=False)


@pytest.mark.parametrize("handler", ["device-dax", "ext4", "xfs", "driver"])
@pytest.mark.parametrize("kernel", ["v6.6", "next-202308"])
def test_pat_adds_two_global_locks_and_for_ram_one(kernel: str, handler: str) -> None:
    """lookup_memtype(): a driver's frames are RAM, so memtype_lock is not asked for."""
    added = RESOURCE_LOCK | ({} if handler == "driver" else MEMTYPE_LOCK)
    without = writes(kernel, handler, "write")
    assert not set(added) & set(without)
    assert writes(kernel, handler, "write", PAT) == without | added


@pytest.mark.parametrize("handler", ["device-dax", "ext4", "xfs"])
@pytest.mark.parametrize("order", ["pmd", "pud", "pte"])
def test_pat_is_looked_up_before_the_lock_of_the_table(handler: str, order: str) -> None:
    if order == "pud" and handler != "device-dax":
        pytest.skip("file systems insert no PUD")
    given = spec("v6.12", handler, order=order, slice=2)
    probe = _single.Probe(given | {"rules": given["rules"] | PAT})
    base, step, _ = probe.slice()
    probe.fault(base)
    locks = [
        (kind, name)
        for kind, name, _ in probe.fault(base + step)["sequence"]
        if kind in ("lock", "lock_shared", "unlock")
    ]
    table = {"pmd": "pmd_ptl", "pud": "page_table_lock", "pte": "pte_ptl"}[order]
    at = locks.index(("lock_shared", "resource_lock"))
    assert locks[at : at + 6] == [
        ("lock_shared", "resource_lock"),
        ("unlock", "resource_lock"),
        ("lock", "memtype_lock"),
        ("unlock", "memtype_lock"),
        ("lock", table),
        ("unlock", table),
    ]


def test_retry_and_direct_differ_in_one_bit() -> None:
    """And what the bit adds is one pass: the sequences are equal after the detour."""
    retry, direct = spec("next-202308"), spec("v6.6")
    assert retry["rules"] ^ direct["rules"] == 4
    assert {k: v for k, v in retry.items() if k != "rules"} == {
        k: v for k, v in direct.items() if k != "rules"
    }
    sequences = []
    for given in (retry, direct):
        probe = _single.Probe(given)
        base, step, _ = probe.slice()
        probe.fault(base)
        sequences.append([tuple(e) for e in probe.fault(base + step)["sequence"]])
        del probe
    old, new = sequences
    handler = slice(new.index(("step", "create_huge_pmd", "page table")), -2)
    assert new[handler] == old[len(old) - 2 - len(new[handler]) : -2]
    names = [name for _, name, _ in old]
    for name, times in (
        ("exc_page_fault", 1),
        ("lock_vma_under_rcu", 1),
        ("__handle_mm_fault", 2),
        ("create_huge_pmd", 2),
        ("lock_mm_and_find_vma", 1),
        ("invalidate_lock", 2),
    ):
        assert names.count(name) == times, name
