"""What one steady-state fault writes: kernel-reference §6.5, counted on the single machine."""

from __future__ import annotations

from collections import Counter

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
    "rmw t_updates": 5,
}  # credits, updates, handles in; updates, credits out


RESOURCE_LOCK = {"rmw resource_lock": 2}  # a read lock of a rwlock
MEMTYPE_LOCK = {"rmw memtype_lock": 1, "store memtype_lock": 1}
PAT = _single.CONSTANTS["RULE_PAT"]


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
    assert writes("v6.13", handler, access) == common | VMA_LOCK
    assert writes("v6.16", handler, access) == common | {"rmw vm_refcnt": 2}


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
