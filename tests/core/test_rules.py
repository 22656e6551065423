"""Rules of kernel-reference that no counter shows: which step comes first, under which lock.

Each test here was written for a mutant of mm/ that everything else let live.
"""

from __future__ import annotations

from typing import Any

import pytest

from faultbench import _single, _virtual
from faultbench.machines.description import load
from tests.core.specs import spec

WRITER = 1
PRESENT, RW, ACCESSED, DIRTY, PSE = 0x001, 0x002, 0x020, 0x040, 0x080  # of an entry


def steps(found: dict[str, Any]) -> list[str]:
    return [name for kind, name, _ in found["sequence"] if kind == "step"]


def lock_after(found: dict[str, Any], step: str) -> str:
    """The first lock that is taken after a step begins."""
    events = [(kind, name) for kind, name, _ in found["sequence"]]
    at = events.index(("step", step))
    return next(name for kind, name in events[at:] if kind == "lock")


@pytest.mark.parametrize(("order", "handler"), [("pmd", "driver"), ("pte", "xfs"), ("pte", "anon")])
def test_each_table_is_installed_under_the_lock_of_the_level_above(
    order: str, handler: str
) -> None:
    """§5.4: PUD and PMD tables under page_table_lock, PTE tables under the split PMD lock."""
    probe = _single.Probe(spec("v6.12", handler, order=order))
    found = probe.fault(probe.slice()[0])
    assert lock_after(found, "__pud_alloc") == "page_table_lock"
    assert lock_after(found, "__pmd_alloc") == "page_table_lock"
    if order == "pte":
        assert lock_after(found, "__pte_alloc") == "pmd_ptl"


@pytest.mark.parametrize("kernel", ["v6.12", "v6.13", "v6.15", "v6.16"])
def test_an_anon_vma_is_prepared_under_a_trylock(kernel: str) -> None:
    """§2, vmf_anon_prepare() from 6.10 on: V if mmap_lock can be had at once, else R."""
    given = spec(kernel, "anon", order="pte", fresh=1, writers=1)
    probe = _single.Probe(given)
    got = probe.fault(probe.slice()[0])["counters"]
    assert (got["vma_lock_success"], got["anon_vma_prepares"], got["mmap_lock_reads"]) == (1, 1, 1)
    assert "vma_lock_retry" not in got
    del probe
    probe = _single.Probe(given)
    found = probe.fault(
        probe.slice()[0],
        meanwhile={
            "handle_pte_fault": lambda: probe.lock("mmap_write_lock", task=WRITER),
            "lock_mm_and_find_vma": lambda: probe.lock("mmap_write_unlock", task=WRITER),
        },
    )
    got = found["counters"]
    assert (got["vma_lock_retry"], got["mmap_lock_reads"], got["pte_installs"]) == (1, 1, 1)
    assert "vma_lock_success" not in got
    assert "anon_vma_prepares" not in got  # prepared under mmap_lock, which was no detour
    assert ["try_failed", "mmap_lock", "mm_struct 0"] in found["sequence"]


def test_until_69_nobody_tries_mmap_lock_for_an_anon_vma() -> None:
    """do_wp_page(): without an anon_vma the fault is sent back. The trace told of a trylock."""
    probe = _single.Probe(spec("v6.6", "ext4", order="pte", map="private", fresh=1))
    base, _, _ = probe.slice()
    probe.fault(base, False)
    found = probe.fault(base, True)
    assert found["counters"]["vma_lock_retry"] == 1
    assert "try_failed" not in [kind for kind, _, _ in found["sequence"]]


@pytest.mark.parametrize(("kernel", "times"), [("next-202308", 2), ("v6.6", 2), ("v6.12", 1)])
def test_faults_around_before_it_is_sent_back(kernel: str, times: int) -> None:
    """§2: map_pages runs under the VMA lock first, and where ->fault is sent back once more."""
    probe = _single.Probe(spec(kernel, "xfs", order="pte", access="read"))
    found = steps(probe.fault(probe.slice()[0], False))
    assert found.count("filemap_map_pages") == found.count("do_fault") == times
    for i, name in enumerate(found):
        if name == "do_fault":
            assert found[i + 1] == "filemap_map_pages"


def test_no_huge_fault_where_huge_pages_are_refused() -> None:
    """§5.2: VM_NOHUGEPAGE comes before the DAX VMA's leave; --order pte on a file system."""
    for handler in ("ext4", "xfs"):
        probe = _single.Probe(spec("v6.12", handler, order="pte"))
        got = probe.fault(probe.slice()[0])
        assert "create_huge_pmd" not in steps(got)
        assert "huge_fault_calls" not in got["counters"]
        del probe


def test_a_private_huge_page_is_split_without_asking_the_driver() -> None:
    """§2.1: wp_huge_pmd() calls ->huge_fault for shared mappings only."""
    probe = _single.Probe(spec("v6.12", "xfs", map="private"))
    base, _, _ = probe.slice()
    probe.fault(base, False)
    found = probe.fault(base, True)
    assert "huge_fault_calls" not in found["counters"]
    assert found["counters"]["splits"] == 1
    assert steps(found).index("wp_huge_pmd") + 1 == steps(found).index("__split_huge_pmd")


@pytest.mark.parametrize(("sync", "writes"), [(0, 2), (1, 1)])
def test_a_synchronous_fault_makes_nothing_dirty_before_its_fsync(sync: int, writes: int) -> None:
    """§6.2 step 6: the DIRTY tag, and the inode's dirty bit before it, on a write unless sync."""
    probe = _single.Probe(spec("v6.12", "xfs", sync=sync))
    base, _, _ = probe.slice()
    # nrpages, of a new entry, and i_state
    inode = [a for a in probe.fault(base)["accesses"] if a[1:] == ["inode 0", ""]]
    assert inode == [["store", "inode 0", ""]] * writes


@pytest.mark.parametrize("kernel", ["v6.6", "v6.13", "v6.16"])
def test_munmap_lets_readers_in_before_it_zaps(kernel: str) -> None:
    """§7.1: T3, the point of no return, is a downgrade; T4 zaps under mmap_lock for read."""
    probe = _single.Probe(spec(kernel, "driver", writers=1, writer_op="target"))
    base, _, _ = probe.slice()
    probe.fault(base)
    begin, seen = probe.seq(), []

    def note(step: str) -> None:
        seen.append((step, probe.seq() - begin))

    # Of two sections that hold mmap_lock for write, munmap's and mmap's, only mmap's unlocks it.
    names = ("vma_iter_store", "mmap_write_downgrade", "unmap_vmas", "mmap_region")
    calls = {name: lambda name=name: note(name) for name in (*names, "mmap_write_unlock")}
    probe.writer_op(WRITER, calls)
    odd, one = (0, 1) if kernel == "v6.6" else (1, 2)
    assert seen == [
        ("vma_iter_store", odd),
        ("mmap_write_downgrade", odd),
        ("unmap_vmas", one),
        ("mmap_region", one + odd),
        ("mmap_write_unlock", one + odd),
    ]
    assert probe.broken() is None


@pytest.mark.parametrize("kernel", ["v6.6", "v6.13", "v6.16"])
def test_mprotect_keeps_readers_out_to_its_end(kernel: str) -> None:
    """§7: entries change with the VMA write-locked; there is no downgrade."""
    probe = _single.Probe(spec(kernel, "driver", writers=1, writer_op="mprotect"))
    base, _, _ = probe.slice()
    probe.fault(base)
    got = []
    probe.writer_op(
        WRITER, {"change_protection": lambda: got.append(probe.lock("vma_start_read", base))}
    )
    assert got == [0]
    assert probe.lock("vma_start_read", base) == 1
    probe.lock("vma_end_read", base)
    assert probe.broken() is None


@pytest.mark.parametrize("kernel", ["v6.6", "v6.13", "v6.16"])
def test_a_fault_elsewhere_succeeds_at_any_moment_of_a_munmap(kernel: str) -> None:
    """§7.1, last line: what per-VMA locks are for."""
    given = spec(kernel, "driver", workers=2, vmas=2, files=2, writers=1, writer_op="target")
    probe = _single.Probe(given)
    for task in (0, 1):
        probe.fault(probe.slice(task)[0], True, task)
    other, step, _ = probe.slice(1)
    got: list[dict[str, int]] = []
    moments = (
        "vma_start_write",
        "vma_mark_detached",
        "vma_iter_store",
        "unmap_vmas",
        "mmap_region",
    )

    def fault() -> None:
        at = other + (len(got) + 1) * step
        got.append(probe.fault(at, True, 1)["counters"])

    probe.writer_op(2, dict.fromkeys(moments, fault))
    assert len(got) == len(moments)
    for counters in got:
        assert counters["vma_lock_success"] == 1
        assert "mmap_lock_reads" not in counters
    assert probe.broken() is None


@pytest.mark.parametrize("handler", ["ext4", "xfs"])
def test_fsync_takes_write_permission_away_once(handler: str) -> None:
    """§7, pfn_mkclean_range(): a dirty entry is made read-only and clean; its next write faults."""
    probe = _single.Probe(spec("v6.12", handler, writers=1, writer_op="fsync"))
    base, step, _ = probe.slice()
    probe.fault(base)
    probe.fault(base + step, False)
    assert probe.walk(base) == (1, PRESENT | RW | ACCESSED | DIRTY | PSE)
    written: list[str] = []
    probe.writer_op(WRITER, {"dax_writeback_one": lambda: written.append("entry")})
    assert probe.walk(base) == (1, PRESENT | ACCESSED | PSE)
    with pytest.raises(ValueError, match="did not come to dax_writeback_one"):
        probe.writer_op(WRITER, {"dax_writeback_one": lambda: written.append("clean")})
    assert written == ["entry"]
    got = probe.fault(base)["counters"]
    assert (got["wp_upgrades"], got["calls_pmd"], got["vma_lock_success"]) == (1, 1, 1)
    assert probe.broken() is None


@pytest.mark.parametrize("kernel", ["next-202308", "v6.6", "v6.15", "v6.16"])
def test_prefetchw_is_one_a_fault_until_616(kernel: str) -> None:
    """§0.3: exc_page_fault() asks for mmap_lock's line once, however often the fault is tried."""
    given = spec(kernel, "driver", faults=20)
    given |= {"machine": load("generic").figures(), "lines": 0, "log": 20_000}
    log = _virtual.run_trial(given)["log"]
    found = [name for _, _, kind, _, name, _ in log if kind == "prefetchw"]
    assert len(found) == (0 if kernel == "v6.16" else 20)
    assert all("mmap_lock.count" in name for name in found)


@pytest.mark.parametrize(("handler", "other"), [("ext4", "xfs"), ("xfs", "journal")])
def test_a_commit_writes_its_own_file_system_s_lines(handler: str, other: str) -> None:
    """XFS bumped ext4's commit sequence, and `journal j_state_lock` was one of its hot lines."""
    given = spec("v6.12", handler, sync=1, workers=4, vmas=4, files=4, slice=32, faults=50)
    given |= {"machine": load("generic").figures(), "lines": 1000, "log": 0}
    lines = [line["name"] for line in _virtual.run_trial(given)["lines"]]
    assert [name for name in lines if name.startswith(other)] == []
    mine = "xfs_cil xc_ctx_lock" if handler == "xfs" else "journal j_state_lock"
    assert mine in lines


def test_a_synchronous_fault_leaves_the_entry_dirty() -> None:
    """§6.4, dax_insert_pfn_mkwrite(): the tag comes after the fault's own fsync, so the next one's
    writeback finds the entry."""
    given = spec("v6.12", "xfs", sync=1, writers=1, writer_op="fsync")
    probe = _single.Probe(given)
    base, _, _ = probe.slice()
    probe.fault(base)
    probe.writer_op(WRITER, {"dax_writeback_one": lambda: None})
    assert not probe.walk(base)[1] & RW


def test_a_device_s_page_gets_its_mapping_once() -> None:
    """§6.1, dax_set_mapping(): the first time a page is mapped, and not after a refill."""
    probe = _single.Probe(spec("v6.12", "device-dax"))
    base, _, _ = probe.slice()
    assert "dax_set_mapping" in steps(probe.fault(base))
    probe.refill()
    assert "dax_set_mapping" not in steps(probe.fault(base))
