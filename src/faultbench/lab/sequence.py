"""The order of lock operations in single faults: the kernel's function trace beside the model's.

The guest traces the lock functions with their callers; a pair (function, caller) is one operation
on one lock. Two faults of each case are compared, the first in a fresh mapping and a second. A lock
that both take and that has no name here is a difference too.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faultbench.enums import Access, Handler
from faultbench.enums import Path as FaultPath
from faultbench.errors import FaultbenchError
from faultbench.lab import build, guest, initramfs, packages
from faultbench.lab.cases import SYMBOL, Case
from faultbench.lab.run import Say
from faultbench.lab.script import PROBE_PARAMETERS, preparation
from faultbench.machines import Job, request
from faultbench.rules import resolve

RECORDED = Path(__file__).parent / "data/sequences.json"
_LINES = 260  # of the trace, from the first fault on

_SPIN = ("_raw_spin_lock", "_raw_spin_lock_irq", "_raw_spin_lock_irqsave")
_TAKEN = ("down_read", "down_read_trylock", "down_read_killable", "_raw_read_lock", *_SPIN)
# No lock that the model has is taken by these: whoever calls them in a fault is told.
_OTHERS = ("_raw_spin_lock_bh", "_raw_write_lock", "down_write", "mutex_lock")
_SPUN = ("_raw_spin_unlock", "_raw_spin_unlock_irq", "_raw_spin_unlock_irqrestore")
# (functions, caller) -> lock; an operation on a lock by its place in the source
_BY_CALLER = {
    "lock_vma_under_rcu": "vma_lock",
    "lock_mm_and_find_vma": "mmap_lock",
    "ext4_dax_huge_fault": "invalidate_lock",
    "xfs_ilock": "invalidate_lock",  # XFS_MMAPLOCK is the inode's invalidate_lock
    "xfs_ilock_for_iomap": "ilock",
    "start_this_handle": "j_state_lock",
    "stop_this_handle": "j_wait_updates",  # the last handle's wake_up(), whose lock is the queue's
    "grab_mapping_entry": "xa_lock",
    "dax_insert_entry": "xa_lock",
    "dax_unlock_entry": "xa_lock",
    "__xfs_filemap_fault": "i_flags_lock",  # xfs_iflags_test(), inline
    "ext4_es_lookup_extent": "i_es_lock",
    "find_next_iomem_res": "resource_lock",
    "lookup_memtype": "memtype_lock",
    "vmf_insert_pfn_pmd": "pmd_ptl",
    "vmf_insert_pfn_pud": "page_table_lock",
    "__pmd_alloc": "page_table_lock",
    "__pud_alloc": "page_table_lock",
}
_MODELLED = frozenset(_BY_CALLER.values())
# Once per tick, not once per fault: the time stamp of the inode. From here up to there.
_UPDATE_TIME = {
    "__ext4_journal_start_sb <-ext4_dirty_inode": "down_read <-ext4_dax_huge_fault",
    "xfs_ilock <-xfs_vn_update_time": "up_read <-__xfs_trans_commit",
}
_FUNCTIONS = (
    "down_read down_read_trylock down_read_killable up_read lock_vma_under_rcu "
    "lock_mm_and_find_vma _raw_read_lock _raw_read_unlock ext4_dax_huge_fault "
    "xfs_filemap_huge_fault fbd_huge_fault xfs_ilock xfs_iunlock __ext4_journal_start_sb __wake_up "
    f"{' '.join((*_SPIN, *_SPUN, *_OTHERS))}"
).split()


def cases() -> list[Case]:
    """Return the traced cases: every handler, read and write, direct and retry."""
    return [
        Case("6.12", handler, path, access=access)
        for handler in (Handler.EXT4, Handler.XFS, Handler.DRIVER)
        for access in (Access.READ, Access.WRITE)
        for path in (FaultPath.DIRECT, FaultPath.RETRY)
    ]


@dataclass
class Faults:
    """The operations of two faults, ``+lock`` and ``-lock``.

    `besides`: "function <-caller" of locks that both take and that have no name here.
    """

    first: list[str]
    second: list[str]
    besides: list[str]


def parse(lines: Iterable[str]) -> Faults:
    """Return the two faults in a function trace (``task function <-caller`` lines)."""
    split = [line.split(" ", 1) for line in lines if " <-" in line]
    task = next((t for t, call in split if "huge_fault <-" in call), None)
    if task is None:
        raise FaultbenchError("lab: the trace has no huge fault")
    faults: list[list[str]] = []
    nameless: list[set[str]] = []
    held: list[str] = []
    skip_to = called_by = ""
    huge = inside = False
    for name, call in split:
        if name != task:
            continue
        function, _, caller = call.partition(" <-")
        if skip_to and call != skip_to:
            continue
        skip_to = ""
        if call in _UPDATE_TIME:
            skip_to = _UPDATE_TIME[call]
        elif function == "lock_vma_under_rcu":
            faults = [*(faults if huge else faults[:-1]), []]
            nameless = [*(nameless if huge else nameless[:-1]), set()]
            held, huge, inside = [], False, True
        elif function.endswith("huge_fault"):
            huge = True
        elif function in ("xfs_iunlock", "__wake_up"):
            called_by = caller
        elif inside and (operation := _operation(function, caller, held, called_by)):
            faults[-1].append(operation)
        elif inside and function in (*_TAKEN, *_OTHERS):
            nameless[-1].add(call)
        if huge and call == "up_read <-do_user_addr_fault":
            inside = False
            if len(faults) == 2:
                break
    if len(faults) < 2:
        raise FaultbenchError("lab: the trace has fewer than two faults")
    return Faults(faults[0], faults[1], sorted(nameless[0] & nameless[1]))


def _operation(function: str, caller: str, held: list[str], called_by: str) -> str | None:
    """Return ``+lock`` or ``-lock``, or None for what is not a lock of the fault's."""
    lock: str | None
    caller = called_by if caller == "__wake_up" else caller
    if function in _TAKEN:
        lock = _BY_CALLER.get(caller)
    elif function == "up_read":
        if caller == "xfs_iunlock":
            lock = "invalidate_lock" if called_by == "__xfs_filemap_fault" else "ilock"
        elif caller in ("do_user_addr_fault", "ab_pre", "fbd_huge_fault"):
            lock = "mmap_lock" if "mmap_lock" in held else "vma_lock"
        else:
            lock = _BY_CALLER.get(caller)
        return _release(lock, held)
    elif function in (*_SPUN, "_raw_read_unlock"):
        return _release(_BY_CALLER.get(caller), held)
    else:
        return None
    if lock is None:
        return None
    held.append(lock)
    return f"+{lock}"


def _release(lock: str | None, held: list[str]) -> str | None:
    if lock not in held:
        return None
    held.remove(lock)
    return f"-{lock}"


def model(case: Case) -> tuple[list[str], list[str]]:
    """Return the model's operations in the same two faults, with x86's PAT look-up.

    In the guest the page of PUDs is there (other mappings share it), so the model's allocation of
    one is left out of the first fault.
    """
    engine: Any = importlib.import_module("faultbench._checked")
    spec = case.model_spec()
    spec = replace(spec, rules=resolve(spec.kernel, spec.path, [("pat", "on")]), knobs="pat=on")
    asked = request(Job(spec, options={"sample_shift": 63}), engine.CONSTANTS)
    asked |= {"slice": case.entries, "faults": 2, "trace": 4096, "fresh": 1}
    faults: list[list[str]] = []
    allocating = False
    for kind, name, _ in engine.run_trial(asked)["trace"]:
        if kind == "step":
            allocating = name == "__pud_alloc" or (allocating and name == "page_table_lock")
            if name == "exc_page_fault":
                faults.append([])
        elif name in _MODELLED and kind in ("lock", "lock_shared", "unlock") and not allocating:
            faults[-1].append(("-" if kind == "unlock" else "+") + name)
    return faults[0], faults[1]


def _script() -> str:
    lines = [
        preparation([Handler.EXT4, Handler.XFS, Handler.DRIVER]),
        "tracing=/sys/kernel/tracing",
        "echo 0 > $tracing/tracing_on",
        f"for f in {' '.join(_FUNCTIONS)}; do echo $f >> $tracing/set_ftrace_filter; done",
        "echo 1 > $tracing/options/function-fork",
        "echo function > $tracing/current_tracer",
        # trace NUMBER RETRY ARGUMENTS
        "trace() {",
        f"number=$1; echo $2 > {PROBE_PARAMETERS}/retry; shift 2",
        "echo > $tracing/trace",
        "sh -c 'echo $$ > /sys/kernel/tracing/set_ftrace_pid",
        "echo 1 > /sys/kernel/tracing/tracing_on",
        'exec faultloop "$@"\' x "$@" > /dev/null',
        "echo 0 > $tracing/tracing_on",
        'say "TRACE $number"',
        # "[000] d.h1. 12.3: function <-caller": not what an interrupt did meanwhile
        "grep -v -e '^#' -e '\\] ..[hHsSzZ]' $tracing/trace |",
        "sed 's/^ *\\([^ ]*\\) .*: \\(.*\\)$/\\1 \\2/' > /tmp/t",
        "awk '/ lock_vma_under_rcu/ {n = NR} /huge_fault <-/ {if (!s) s = n} {l[NR] = $0}",
        f"END {{for (i = s; i <= NR && i < s + {_LINES}; i++) print l[i]}}' /tmp/t >&3",
        "}",
    ]
    last: Handler | None = None
    for number, case in enumerate(cases()):
        if case.handler is not last:
            lines += ["rmmod faultbench_ab"] if last else []
            lines.append(f"insmod /mods/faultbench_ab.ko symbol={SYMBOL[case.handler]}")
            last = case.handler
        retry = int(case.path is FaultPath.RETRY)
        # Two faults: the loop's own arguments, without its counters.
        arguments = re.sub(r"\b(faults|count)=\d+", r"", case.arguments())
        lines.append(f"trace {number} {retry} faults=2 count=0 {arguments}")
    return "\n".join(lines) + "\n"


def _traces(vm: guest.Guest) -> dict[int, list[str]]:
    traces: dict[int, list[str]] = {}
    current: list[str] = []
    for line in vm.lines():
        if line.startswith("TRACE "):
            current = traces.setdefault(int(line[6:]), [])
        elif line.startswith("FAIL"):
            raise FaultbenchError(f"lab: in the guest, {line[5:]} failed")
        else:
            current.append(line)
    return traces


def trace(say: Say, *, offline: bool = False, keep: bool = False) -> dict[str, Any]:
    """Boot the guest and trace; returns ``{"release": …, "cases": [{first, second, besides}]}``."""
    packages.need(*packages.GUEST_TOOLS, *packages.DISK_TOOLS)
    kernel = packages.fetch("6.12", say, offline=offline)
    with packages.scratch("faultbench-build-") as folder:
        modules = build.modules(kernel, folder / "modules")
        program = build.fault_loop(folder)
        archive = initramfs.make(kernel, _script(), program, modules=modules)
    say(f"{kernel.release}: tracing single faults")
    traces = guest.session(kernel, archive, guest.Options(keep=keep), say, _traces)
    found = [vars(parse(traces[number])) for number in range(len(cases()))]
    return {"release": kernel.release, "cases": found}


def report(
    *, recorded: bool, say: Say, offline: bool = False, keep: bool = False
) -> tuple[str, bool]:
    """Return the comparison as text and whether kernel and model agree."""
    found = json.loads(RECORDED.read_text()) if recorded else trace(say, offline=offline, keep=keep)
    lines = [f"order of lock operations, {found['release']} and the model"]
    same = True
    besides: dict[str, set[str]] = {}
    for case, kernel in zip(cases(), found["cases"], strict=True):
        first, second = model(case)
        equal = [kernel["first"] == first, kernel["second"] == second, not kernel["besides"]]
        for taken in kernel["besides"]:
            besides.setdefault(taken, set()).add(case.handler.value)
        counts = f"operations of the first fault {len(first)}, of the second {len(second)}"
        same = same and all(equal)
        verdict = "ok " if all(equal) else "BAD"
        lines.append(f"{verdict}  {case.name:24} {case.path.value:8} {counts}")
        for name, kernel_order, model_order in (
            ("first", kernel["first"], first),
            ("second", kernel["second"], second),
        ):
            if kernel_order != model_order:
                lines.append(f"     {name} kernel: {' '.join(kernel_order)}")
                lines.append(f"     {name} model:  {' '.join(model_order)}")
    for taken, where in sorted(besides.items()):
        lines.append(f"     in the kernel only: {taken} ({', '.join(sorted(where))})")
    return "\n".join(lines), same
