"""The names of cache lines: what a kernel developer would call them."""

from __future__ import annotations

import re

import pytest

import faultbench._virtual as virtual
from faultbench.enums import Access, Handler, Order, Path, WriterOp
from faultbench.rules import KERNELS
from tests.machines.test_virtual import run, spec

# Every name is made of these: an object, its number where there are several, its fields.
KNOWN = re.compile(
    r"mm_struct \d+ (mm_mt|pgtables_bytes|page_table_lock|mmap_lock\.(count|owner)|mm_lock_seq"
    r"| \+ )+"
    r"|vma_lock \d+( \+ vma_lock \d+)*"
    r"|vm_area_struct \d+ (vm_flags \+ vm_lock_seq|vm_ops \+ vm_file|vm_refcnt)( \+ vma_lock \d+)?"
    r"|maple_node \d+|free list of (page table|vm_area_struct|maple_node)s"
    r"|page table \d+ (P[GUMT][DE] entries|freed)|(pmd_lock|pte lock|page table lock) \d+"
    r"|inode \d+ (i_pages\.xa_lock \+ invalidate_lock\.count \+ invalidate_lock\.owner|i_lock"
    r"|i_es_lock|i_flags_lock|i_state \+ i_mtime|i_mmap_rwsem \+ nrpages|extents)"
    r"|i_pages of file \d+ entries|struct pages of file \d+ mapping"
    r"|journal (j_state_lock|j_wait_updates)|transaction t_updates|super_block s_writers"
    r"|xfs_cil xc_ctx_lock|dax (wait_table|waiter|dax_srcu)|resource_lock|memtype_lock|rcu gp_seq"
    r"|task \d+( (mcs|osq|waiter|rcu|percpu))?|\d+ other lines"
)


def names(**more):
    return [line["name"] for line in run(spec(**more), lines=True)["lines"]]


@pytest.mark.parametrize("handler", [h for h in Handler if h is not Handler.NOP])
@pytest.mark.parametrize("kernel", ["next-202308", "v6.5", "v6.6", "v6.12", "v6.16"])
def test_every_line_has_a_name_that_the_kernel_knows(handler, kernel, monkeypatch):
    monkeypatch.setattr("faultbench.machines.virtual.TOP_LINES", 100_000)
    path = KERNELS[kernel].path
    orders = [Order.PTE] if handler is Handler.ANON else [Order.PMD]
    if handler in (Handler.EXT4, Handler.DEVICE_DAX):
        orders = [Order.PTE, Order.PMD]
    if handler is Handler.DEVICE_DAX:
        orders.append(Order.PUD)
    for order in orders:
        for op in (None, WriterOp.BESIDE, WriterOp.TARGET, WriterOp.MPROTECT):
            work = {"faults": 20} if op is None else {"faults": 0, "duration_ns": 60_000}
            found = names(
                path=path, kernel=kernel, handler=handler, order=order, threads=3, vmas=2,
                access=Access.WRITE, writers=int(op is not None),
                writer_op=op or WriterOp.BESIDE, **work,
            )  # fmt: skip
            assert [name for name in found if not KNOWN.fullmatch(name)] == []


@pytest.mark.parametrize("vmas", [1, 2, 8])
def test_packed_vma_locks_name_both_neighbours(vmas):
    found = names(path=Path.RETRY, threads=8, vmas=vmas, faults=100)
    assert "vma_lock 0 + vma_lock 1" in found
    if vmas == 8:
        assert "vma_lock 1 + vma_lock 2 + vma_lock 3" in found


@pytest.mark.parametrize(
    ("order", "lock", "level"), [(Order.PMD, "pmd_lock", "PMD"), (Order.PTE, "pte lock", "PTE")]
)
def test_a_table_and_its_lock_have_one_number(order, lock, level, monkeypatch):
    monkeypatch.setattr("faultbench.machines.virtual.TOP_LINES", 100_000)
    found = names(handler=Handler.EXT4, order=order, threads=4, vmas=2, faults=40)
    entries = {name.split()[2] for name in found if name.endswith(f"{level} entries")}
    locks = {name.rpartition(" ")[2] for name in found if name.startswith(lock)}
    assert entries == locks != set()


def test_mmap_lock_is_on_two_lines():
    found = names(path=Path.RETRY, threads=16, faults=100)
    assert "mm_struct 0 pgtables_bytes + mmap_lock.count" in found
    assert "mm_struct 0 mmap_lock.owner + mm_lock_seq" in found


@pytest.mark.parametrize(
    ("line", "step", "vmas"),
    [
        (r"pmd_lock \d+", "insert_pfn_pmd", 8),
        (r"journal j_state_lock", "jbd2__journal_start", 8),
        (r"inode 0 i_es_lock", "iomap_begin", 8),
        (r"vma_lock .*", "vma_(start|end)_read", 1),
    ],
)
def test_waiting_for_a_lock_belongs_to_the_step_that_takes_it(line, step, vmas):
    """A step is announced before its lock, or the step before it would be charged."""
    result = run(
        spec(handler=Handler.EXT4, threads=8, vmas=vmas, files=min(vmas, 2), faults=60), trace=True
    )
    taken = [
        virtual.STEP_NAMES[what]
        for _, _, kind, what, name, _ in result["log"]
        if kind == "rmw" and re.fullmatch(line, name)
    ]
    wrong = {name for name in taken if not re.fullmatch(step, name)}
    assert taken
    assert wrong <= {"refill"}  # what the harness takes away between passes
