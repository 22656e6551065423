"""Which kernel does what: `--kernel`, `--path`, `--set` → `Rules`, and which combinations exist.

Sources: kernel-reference §2 (generations), §3 (VMA lock), §0.2 and §0.3. A path is two bits:

    mmap-lock   neither: the fault path never tries the VMA lock (it may still lie in memory)
    abort       VMA_LOCK | ABORT_FILE     6.4, 6.5: a file VMA bails out before the VMA lock
    retry       VMA_LOCK | HUGE_RETRY     linux-next of August 2023; never in a release
    direct      VMA_LOCK                  6.6
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from faultbench.enums import (
    Access,
    Handler,
    Map,
    MmLayout,
    Order,
    Path,
    Rwsem,
    Seq,
    VmaLock,
    WriterOp,
)
from faultbench.errors import UsageError
from faultbench.model import Rules, TrialSpec

VMA_LOCK = 1  # faults try the per-VMA lock (CONFIG_PER_VMA_LOCK)
ABORT_FILE = 2  # lock_vma_under_rcu() rejects file VMAs (6.4, 6.5)
HUGE_RETRY = 4  # the removed check: create/wp_huge_pmd/pud answer VM_FAULT_RETRY under the VMA lock
FAULT_MAP_PAGES = 8  # vmf_can_call_fault(): ->fault under the VMA lock iff ->map_pages (6.7)
ANON_LATE = 16  # vmf_anon_prepare(): anon_vma checked in the fault, not at look-up (6.10)
PREFETCHW = 32  # exc_page_fault() prefetches mmap_lock for writing (x86, until 6.16)
TYPESAFE = 64  # SLAB_TYPESAFE_BY_RCU VMAs: reused at once, vm_mm re-checked (6.15)
PAT = 128  # x86: the PAT type of the frame is looked up on each insert (until 6.14 for fs-dax)
IREMAPPING = 256  # XFS: write faults ask for a reflink remap under i_flags_lock (6.7)

PATH_BITS = {
    Path.MMAP_LOCK: 0,
    Path.ABORT: VMA_LOCK | ABORT_FILE,
    Path.RETRY: VMA_LOCK | HUGE_RETRY,
    Path.DIRECT: VMA_LOCK,
}
_PATH_MASK = VMA_LOCK | ABORT_FILE | HUGE_RETRY
_LATE = FAULT_MAP_PAGES | ANON_LATE | IREMAPPING

DEFAULT_KERNEL = "v6.6"  # whose locks `--path` alone keeps
NEVER_RELEASED = "retry: linux-next Jul–Aug 2023, never released"  # a legend has this room


@dataclass(frozen=True, slots=True)
class Kernel:
    """One row of the table of kernels: its path and its rules on that path."""

    path: Path
    rules: Rules


def _kernel(path: Path, lock: VmaLock, seq: Seq, more: int) -> Kernel:
    return Kernel(path, Rules(PATH_BITS[path] | more, lock, seq))


KERNELS: dict[str, Kernel] = {
    "v6.3": _kernel(Path.MMAP_LOCK, VmaLock.NONE, Seq.INT, PREFETCHW),
    "v6.4": _kernel(Path.ABORT, VmaLock.SEPARATE, Seq.INT, PREFETCHW),
    "v6.5": _kernel(Path.ABORT, VmaLock.SEPARATE, Seq.INT, PREFETCHW),
    "next-202308": _kernel(Path.RETRY, VmaLock.SEPARATE, Seq.INT, PREFETCHW),
    "v6.6": _kernel(Path.DIRECT, VmaLock.SEPARATE, Seq.INT, PREFETCHW),
    "v6.12": _kernel(Path.DIRECT, VmaLock.SEPARATE, Seq.INT, PREFETCHW | _LATE),
    "v6.13": _kernel(Path.DIRECT, VmaLock.SEPARATE, Seq.SEQCOUNT, PREFETCHW | _LATE),
    "v6.15": _kernel(Path.DIRECT, VmaLock.REFCOUNT, Seq.SEQCOUNT, PREFETCHW | _LATE | TYPESAFE),
    "v6.16": _kernel(Path.DIRECT, VmaLock.REFCOUNT, Seq.SEQCOUNT, _LATE | TYPESAFE),
}
# No laboratory has these kernels (issue 4): their results say so wherever they appear.
UNCONFIRMED = frozenset({"v6.4", "v6.5", "v6.13", "v6.15", "v6.16"})

# knob -> its values; a bit of `Rules.bits`, or an enum field of the same name
_BIT_KNOBS = {
    "prefetchw": PREFETCHW,
    "map_pages": FAULT_MAP_PAGES,
    "anon_late": ANON_LATE,
    "iremapping": IREMAPPING,  # stable 6.1.y and 6.6.17 have it too, and for reads: not modelled
    "pat": PAT,  # off in every kernel here: on x86 it is on, elsewhere there is nothing like it
}
_FIELD_KNOBS = {"vma_lock": VmaLock, "seq": Seq, "mm_layout": MmLayout, "rwsem": Rwsem}
KNOBS: dict[str, list[str]] = {
    **{name: ["on", "off"] for name in _BIT_KNOBS},
    **{name: kind.names() for name, kind in _FIELD_KNOBS.items()},
}
KNOBS["vma_lock"].remove("none")


def unconfirmed(kernels: Iterable[str]) -> str:
    """Return the sentence about kernels that no laboratory has judged; empty if there are none."""
    names = sorted(UNCONFIRMED & set(kernels), key=list(KERNELS).index)
    return f"{', '.join(names)}: not confirmed by a kernel" if names else ""


def resolve(kernel: str | None, path: Path | None, knobs: Iterable[tuple[str, str]] = ()) -> Rules:
    """Return the rules of a kernel, a path, or both.

    `path` alone keeps the locks and layout of v6.6; with `kernel` it overrides only the path.
    Raises `UsageError` for unknown names and for pairs that cannot exist.
    """
    base = KERNELS.get(kernel or DEFAULT_KERNEL)
    if base is None:
        raise UsageError(f"--kernel {kernel}: unknown; there are {', '.join(KERNELS)}")
    path = path or base.path
    if base.rules.vma_lock is VmaLock.NONE and path is not Path.MMAP_LOCK:
        raise UsageError(
            f"--kernel {kernel} --path {path}: {kernel} has no per-VMA lock, "
            "so its only path is mmap-lock"
        )
    rules = replace(base.rules, bits=base.rules.bits & ~_PATH_MASK | PATH_BITS[path])
    for name, value in knobs:
        rules = _turn(rules, name, value, kernel or DEFAULT_KERNEL)
    return rules


def _turn(rules: Rules, name: str, value: str, kernel: str) -> Rules:
    if name not in KNOBS:
        raise UsageError(f"--set {name}: unknown knob; there are {', '.join(KNOBS)}")
    if value not in KNOBS[name]:
        raise UsageError(f"--set {name}={value}: {name} is one of {', '.join(KNOBS[name])}")
    if name in _BIT_KNOBS:
        bit = _BIT_KNOBS[name]
        return replace(rules, bits=rules.bits | bit if value == "on" else rules.bits & ~bit)
    if name == "vma_lock":
        if rules.vma_lock is VmaLock.NONE:
            raise UsageError(f"--set vma_lock={value}: {kernel} has no per-VMA lock to place")
        # Only a refcount survives reuse of its VMA: an rwsem would be re-initialised while held.
        bits = rules.bits | TYPESAFE if value == "refcount" else rules.bits & ~TYPESAFE
        return replace(rules, vma_lock=VmaLock(value), bits=bits)
    if name == "seq":
        return replace(rules, seq=Seq(value))
    if name == "mm_layout":
        return replace(rules, mm_layout=MmLayout(value))
    return replace(rules, rwsem=Rwsem(value))


def knobs_label(kernel: str | None, path: Path | None, knobs: Iterable[tuple[str, str]]) -> str:
    """Return the knobs that change something, in one order: ``TrialSpec.knobs``."""
    rules = resolve(kernel, path)
    kept = []
    for name, value in sorted(knobs):
        if resolve(kernel, path, [(name, value)]) != rules:
            kept.append(f"{name}={value}")
    return ",".join(kept)


ORDERS: dict[Handler, tuple[Order, ...]] = {
    Handler.DEVICE_DAX: (Order.PMD, Order.PUD, Order.PTE),
    Handler.EXT4: (Order.PMD, Order.PTE),
    Handler.XFS: (Order.PMD, Order.PTE),
    Handler.DRIVER: (Order.PMD, Order.PUD),
    Handler.DRIVER_RETRY: (Order.PMD, Order.PUD),
    Handler.ANON: (Order.PTE,),
    Handler.NOP: (Order.PMD, Order.PUD),
}
NO_FILES = frozenset({Handler.ANON, Handler.NOP})
_FS = (Handler.EXT4, Handler.XFS)


def objection(spec: TrialSpec, typed: Mapping[str, str] | None = None) -> str:
    """Return why a spec cannot exist; empty if it can.

    `typed`: what a user asked of vmas, files and mms, to be named as it was typed.
    """
    typed = typed or {"vmas": spec.vmas_label, "files": spec.files_label, "mms": spec.mms_label}
    of_model = () if spec.handler is None else _objections(spec)
    return next(iter((*of_model, *_sharing(spec, typed))), "")


def _objections(spec: TrialSpec) -> Iterable[str]:
    handler, order = spec.handler, spec.order
    assert handler is not None
    assert spec.rules is not None
    what = f"--handler {handler}"
    if order not in ORDERS[handler]:
        reason = {
            Handler.ANON: "anonymous memory faults by 4 KiB here, order pte",
            Handler.NOP: "it answers huge faults only, orders pmd and pud",
        }.get(
            handler,
            "file systems answer FALLBACK to PUD faults; only device-dax and drivers insert PUDs"
            if order is Order.PUD
            else "the driver inserts PMD and PUD entries only",
        )
        yield f"{what} --order {order}: {reason}"
    if handler is Handler.DEVICE_DAX:
        if spec.map is Map.PRIVATE:
            yield f"{what} --map private: device-dax refuses private mappings (check_vma)"
        if spec.fallback_ppm:
            yield f"{what} --fallback: device-dax never falls back, its alignment is fixed"
    if handler in (Handler.DRIVER, Handler.DRIVER_RETRY, Handler.NOP) and spec.map is Map.PRIVATE:
        yield f"{what} --map private: only files and anonymous memory are mapped private"
    if handler is Handler.ANON and spec.map is Map.SHARED:
        yield f"{what} --map shared: shared anonymous memory is shmem, a file; anon is private"
    if handler is Handler.NOP and spec.access is Access.WP:
        yield f"{what} --access wp: nop installs nothing that could be write-protected"
    if handler in NO_FILES and spec.files:
        yield f"{what} --files: {handler} has no files"
    if spec.fallback_ppm and order is not Order.PMD:
        yield f"--order {order} --fallback: only 2 MiB ranges fall back to 4 KiB; use --order pmd"
    if spec.fallback_ppm and handler in NO_FILES:
        yield f"{what} --fallback: {handler} has no extents that could be too short"
    if spec.sync and handler not in _FS:
        yield f"{what} --sync: MAP_SYNC needs a file system, ext4 or xfs"
    if spec.sync and (spec.map is Map.PRIVATE or spec.access is Access.READ):
        yield f"{what} --sync: only shared write faults are synchronous (dax_fault_is_synchronous)"
    if spec.writers and spec.writer_op is WriterOp.FSYNC and handler not in _FS:
        yield f"{what} --writer-op fsync: only ext4 and xfs write-protect entries on fsync"
    if spec.rules.rwsem is Rwsem.PTHREAD and not spec.machine.startswith("threads"):
        yield f"--machine {spec.machine} --set rwsem=pthread: glibc's lock needs real threads"


def _sharing(spec: TrialSpec, typed: Mapping[str, str]) -> Iterable[str]:
    """Yield an objection where workers that share a VMA would differ in file or mm."""
    for name, count in (("files", spec.files), ("mms", spec.mms)):
        if count == 0:
            continue
        owner: dict[int, int] = {}
        for worker in range(min(spec.threads, 4096)):
            if owner.setdefault(worker % spec.vmas, worker % count) != worker % count:
                thing = "file" if name == "files" else "address space"
                yield (
                    f"--vmas {typed['vmas']} --{name} {typed[name]}: "
                    f"a mapping has one {thing}; take --vmas private or fewer {name}"
                )
                break


def collapse(specs: Iterable[TrialSpec]) -> list[TrialSpec]:
    """Drop specs that mean the same as an earlier one."""
    return list({spec.trial_id: spec for spec in itertools.chain(specs)}.values())
