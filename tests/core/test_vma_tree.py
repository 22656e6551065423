"""The VMA tree and the walk against plain Python, through the real mmap, munmap and split."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultbench import _single
from tests.core.specs import spec

PAGE = 4096
BASE = 1 << 45  # far from the trial's own mapping


class Oracle:
    """A sorted list of [start, end)."""

    def __init__(self) -> None:
        self.areas: list[tuple[int, int]] = []

    def find(self, address: int) -> tuple[int, int] | None:
        return next((a for a in self.areas if a[0] <= address < a[1]), None)

    def free(self, start: int, end: int) -> bool:
        return all(e <= start or s >= end for s, e in self.areas)

    def mmap(self, start: int, end: int) -> None:
        self.areas.append((start, end))

    def munmap(self, start: int, end: int) -> None:
        area = self.find(start)
        assert area is not None
        self.areas.remove(area)
        self.areas += [(s, e) for s, e in ((area[0], start), (end, area[1])) if s < e]


OPS = st.lists(
    st.tuples(st.sampled_from("mmmu"), st.integers(0, 300), st.integers(1, 12)), max_size=150
)


@settings(max_examples=150, deadline=None)
@given(ops=OPS, kernel=st.sampled_from(["v6.6", "v6.13", "v6.16"]))
def test_tree_against_a_list(ops: list[tuple[str, int, int]], kernel: str) -> None:
    probe = _single.Probe(spec(kernel, "anon", order="pte", writers=1))
    oracle = Oracle()
    for op, page, pages in ops:
        start, end = BASE + page * PAGE, BASE + (page + pages) * PAGE
        if op == "m" and oracle.free(start, end):
            assert probe.mmap(start, end, 1)
            oracle.mmap(start, end)
        elif op == "u" and (area := oracle.find(start)) is not None:
            end = min(end, area[1])
            probe.munmap(start, end, 1)
            oracle.munmap(start, end)
    for page in range(-1, 314):
        address = BASE + page * PAGE + 17
        assert probe.find(address, 1) == oracle.find(address)
    assert probe.broken() is None
    del probe  # one arena at a time


def test_many_vmas_and_back() -> None:
    """A tree of some levels, emptied from the middle outwards."""
    probe = _single.Probe(spec("v6.6", "anon", order="pte", writers=1, vmas=1))
    order = sorted(range(2000), key=lambda i: (i * 7919) % 2000)
    for i in order:
        assert probe.mmap(BASE + 2 * i * PAGE, BASE + (2 * i + 1) * PAGE, 1)
        assert not probe.mmap(BASE + 2 * i * PAGE, BASE + (2 * i + 1) * PAGE, 1)
    for i in order:
        at = BASE + 2 * i * PAGE
        assert probe.find(at) == (at, at + PAGE)
        assert probe.find(at + PAGE) is None
    assert probe.broken() is None
    for i in sorted(order, key=lambda i: abs(i - 1000)):
        probe.munmap(BASE + 2 * i * PAGE, BASE + (2 * i + 1) * PAGE, 1)
    assert all(probe.find(BASE + 2 * i * PAGE) is None for i in order)
    assert probe.broken() is None


LEVEL = {"pte": 0, "pmd": 1, "pud": 2}
RW = 2


@settings(max_examples=80, deadline=None)
@given(
    order=st.sampled_from(["pte", "pmd", "pud"]),
    handler=st.sampled_from(["device-dax", "ext4", "xfs", "driver"]),
    touches=st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=60),
    kernel=st.sampled_from(["v6.5", "next-202308", "v6.6", "v6.16"]),
)
def test_walk_against_a_dict(
    order: str, handler: str, touches: list[tuple[int, bool]], kernel: str
) -> None:
    """A touched entry translates at its level, as writable as its accesses made it; others not."""
    if (handler, order) in {("ext4", "pud"), ("xfs", "pud"), ("driver", "pte")}:
        return
    probe = _single.Probe(spec(kernel, handler, order=order, slice=31))
    base, step, _ = probe.slice()
    writable: dict[int, bool] = {}
    for entry, write in touches:
        got = probe.fault(base + entry * step, write)
        assert got["done"]
        writable[entry] = writable.get(entry, handler == "device-dax") or write
    for entry in range(31):
        level, flags = probe.walk(base + entry * step)
        if entry in writable:
            assert (level, bool(flags & RW)) == (LEVEL[order], writable[entry])
        else:
            assert flags == 0
    assert probe.refill() == len(writable)
    assert probe.broken() is None
    del probe


@pytest.mark.parametrize("kernel", ["v6.6", "v6.13", "v6.16"])
def test_the_vma_lock_by_hand(kernel: str) -> None:
    """A writer keeps readers out of the VMA it write-locks, and no other, until it ends."""
    probe = _single.Probe(spec(kernel, "ext4", workers=2, vmas=2, writers=1))
    mine, other = probe.slice(0)[0], probe.slice(1)[0]
    seq = probe.seq()
    probe.lock("mmap_write_lock", task=2)
    assert probe.lock("vma_start_read", mine, 0) == 1  # mmap_lock alone stops nobody (§3.3)
    probe.lock("vma_end_read", mine, 0)
    probe.lock("vma_start_write", mine, 2)
    probe.lock("vma_start_write", mine, 2)  # idempotent
    assert probe.lock("vma_start_read", mine, 0) == 0
    assert probe.lock("vma_start_read", other, 1) == 1
    probe.lock("vma_end_read", other, 1)
    probe.lock("mmap_write_downgrade", task=2)
    assert probe.lock("vma_start_read", mine, 0) == 1
    probe.lock("vma_end_read", mine, 0)
    probe.lock("mmap_read_unlock", task=2)
    assert probe.seq() - seq == (1 if kernel == "v6.6" else 2)
    assert probe.broken() is None


@pytest.mark.parametrize("kernel", ["v6.6", "v6.13", "v6.16"])
def test_the_sequence_wraps(kernel: str) -> None:
    """Started just below 2^32: the only error allowed is a false "locked", and here is none."""
    probe = _single.Probe(spec(kernel, "ext4", writers=1, writer_op="target", seq_start=0xFFFFFFF8))
    base, step, _ = probe.slice()
    for i in range(16):
        probe.writer_op(1)
        got = probe.fault(base + (i % 16) * step)
        assert got["done"]
        assert got["counters"]["vma_lock_success"] == 1
    assert probe.seq() < 1000
    assert probe.broken() is None


@pytest.mark.parametrize("kernel", ["v6.6", "v6.16"])
def test_a_full_arena_is_noted_and_nothing_is_unmapped(kernel: str) -> None:
    """As mmap and munmap with -ENOMEM; it used to follow a NULL."""
    probe = _single.Probe(spec(kernel, "anon", order="pte", writers=1))
    count = 0
    while probe.mmap(BASE + 8 * count * PAGE, BASE + (8 * count + 4) * PAGE, 1):
        count += 1
    assert count > 100
    probe.munmap(BASE + PAGE, BASE + 2 * PAGE, 1)  # two splits
    assert probe.find(BASE + PAGE) == (BASE, BASE + 4 * PAGE)
    assert "out of objects" in (probe.broken() or "")
