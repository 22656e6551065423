"""What the laboratory runs: cases, each both a command line for the guest and a spec of the model.

Every case faults mappings that nobody touched before, so that first faults count on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from faultbench.enums import Access, Handler, Map, Order, Path
from faultbench.model import TrialSpec
from faultbench.rules import resolve

ENTRIES = 32  # of one worker's slice
FAULTS = 128  # per worker: four generations of the slice
_PUD_ENTRIES, _PUD_FAULTS = 4, 32
_TIMED_FAULTS = 2000
FILE_BYTES = 2 * ENTRIES * Order.PMD.bytes
EOF_AT = 4 * Order.PMD.bytes  # the end-of-file file holds one page of the entry that begins here
REPEATS = 3  # of cases in which the kernel itself varies
PATHS = {"6.12": (Path.DIRECT, Path.RETRY), "6.1": (Path.MMAP_LOCK,)}
MODEL_KERNEL = {"6.12": "v6.12", "6.1": "v6.3"}  # v6.3's path and locks are 6.1's
SYMBOL = {
    Handler.EXT4: "ext4_dax_huge_fault",
    Handler.XFS: "xfs_filemap_huge_fault",
    Handler.DRIVER: "fbd_huge_fault",
}
FAULT_SYMBOL = {Handler.XFS: "xfs_filemap_fault"}  # ext4's ->fault goes by its huge_fault
TARGET = {
    Handler.EXT4: "dax:/mnt/ext4",
    Handler.XFS: "dax:/mnt/xfs",
    Handler.DRIVER: "device:/dev/faultbench",
    Handler.DRIVER_RETRY: "device:/dev/faultbench",
}


@dataclass(frozen=True)
class Case:
    """One case of one kernel series. `why` names what makes huge faults fall back, if anything."""

    series: str
    handler: Handler
    path: Path
    order: Order = Order.PMD
    access: Access = Access.WRITE
    threads: int = 1
    own: bool = False  # a VMA each
    writers: int = 0
    why: str = ""  # misaligned, private, eof, short-extent
    first: bool = False  # a single fault, in a fresh 1 GiB range
    timed: bool = False  # nothing is counted, time is taken

    @property
    def name(self) -> str:
        """As people read it: ``ext4 pmd write 2 threads own VMAs retry``."""
        words = [self.handler.value, self.order.value, self.access.value]
        if self.threads > 1:
            words += [f"{self.threads} threads", "own VMAs" if self.own else "one VMA"]
        if self.writers:
            words.append("writer")
        if self.why:
            words.append(self.why)
        if self.first:
            words.append("first in 1 GiB")
        return " ".join(words)

    @property
    def entries(self) -> int:
        """Entries of a slice."""
        if self.why == "eof" or self.first:
            return 1
        return _PUD_ENTRIES if self.order is Order.PUD else ENTRIES

    @property
    def faults(self) -> int:
        """Faults of one worker. A range that fell back keeps its table, so it does so once."""
        if self.timed:
            return _TIMED_FAULTS
        if self.why or self.first:
            return self.entries
        return _PUD_FAULTS if self.order is Order.PUD else FAULTS

    @property
    def repeats(self) -> int:
        """Runs of it: several where the kernel itself varies, so that a range is shown."""
        return REPEATS if self.varies or self.timed else 1

    @property
    def varies(self) -> bool:
        """Whether the kernel's own counts vary (contention, a race to be first)."""
        return self.threads > 1 or self.writers > 0

    def spec(self, repeat: int = 0, release: str = "") -> TrialSpec:
        """Return the record's spec: the kernel machine, in a guest of that release."""
        return TrialSpec(
            machine="kernel",
            kernel=release or self.series,
            path=self.path,
            rules=None,
            handler=self.handler,
            mapping=TARGET[self.handler],
            order=self.order,
            access=self.access,
            map=Map.PRIVATE if self.why == "private" else Map.SHARED,
            fallback_ppm=1_000_000 if self.why else 0,
            threads=self.threads,
            vmas=self.threads if self.own else 1,
            files=1,
            writers=self.writers,
            faults=self.faults,
            cost="none",
            knobs=",".join(x for x in (self.why, "first" * self.first, "timed" * self.timed) if x),
            repeat=repeat,
        )

    def model_spec(self, kernel: str | None = None) -> TrialSpec:
        """Return the same case for the model, on the modelled kernel nearest to the series."""
        name = kernel or MODEL_KERNEL[self.series]
        return replace(
            self.spec(),
            machine="threads",
            kernel=name,
            rules=resolve(name, self.path),
            mapping="",
            knobs="",
        )

    def arguments(self) -> str:
        """Return the fault loop's command line."""
        step = self.order.bytes
        values = {
            "workers": self.threads,
            "vmas": self.threads if self.own else 1,
            "writers": self.writers,
            "access": self.access.code,
            "step": step,
            "slice": self.entries * step,
            "faults": self.faults,
            "fresh": int(not self.timed),
            "count": int(not self.timed),
            "warmup": 256 if self.timed else 0,
            "private": int(self.why == "private"),
            "skew": 4096 if self.why == "misaligned" else 0,
            "offset": EOF_AT if self.why == "eof" else 0,
        }
        words = [f"{name}={value}" for name, value in values.items()]
        return " ".join([*words, self.file])

    @property
    def file(self) -> str:
        """The file or device in the guest."""
        kind, _, place = TARGET[self.handler].partition(":")
        if kind == "device":
            return place
        return f"{place}/" + {"eof": "eof", "short-extent": "short"}.get(self.why, "file")


def _crossed(base: Case) -> Iterator[Case]:
    """Yield read, write, wp by one and two threads, own and shared VMA, without and with writer."""
    for access in (Access.READ, Access.WRITE, Access.WP):
        for threads, own in ((1, False), (2, False), (2, True)):
            for writers in (0, 1):
                yield replace(base, access=access, threads=threads, own=own, writers=writers)


def _shapes(handler: Handler) -> Iterator[Case]:
    """Yield the shapes of one handler on 6.12, as `direct`."""
    base = Case("6.12", handler, Path.DIRECT)
    yield from _crossed(base)
    yield replace(base, first=True)
    yield replace(base, first=True, access=Access.READ)
    if handler is Handler.DRIVER:
        yield from _crossed(replace(base, order=Order.PUD))
        return
    for why in ("misaligned", "private", "eof", "short-extent"):
        yield replace(base, why=why)
    yield replace(base, why="misaligned", access=Access.READ)


def _sends_back() -> Iterator[Case]:
    """Yield what the device that answers RETRY by itself is run on: no access is special to it."""
    base = Case("6.12", Handler.DRIVER_RETRY, Path.DIRECT)
    yield from (case for case in _crossed(base) if case.access is Access.WRITE)
    yield replace(base, first=True)
    yield replace(base, first=True, access=Access.READ)
    for order in (Order.PMD, Order.PUD):
        for access in (Access.READ, Access.WP):
            yield replace(base, order=order, access=access)
    yield replace(base, order=Order.PUD)
    yield replace(base, order=Order.PUD, threads=2)


def cases_612() -> list[Case]:
    """Direct and retry on one kernel, by the probe; the device's own RETRY beside them."""
    found = []
    for handler in (Handler.EXT4, Handler.XFS, Handler.DRIVER):
        for shape in _shapes(handler):
            found += [replace(shape, path=path) for path in PATHS["6.12"]]
    return [*found, *_sends_back()]


def cases_61() -> list[Case]:
    """mmap-lock: before per-VMA locks. Only counts of the kernel's own tracepoints."""
    bases = [Case("6.1", handler, Path.MMAP_LOCK) for handler in (Handler.EXT4, Handler.XFS)]
    return [case for base in bases for case in _crossed(base)]


def timed_cases() -> list[Case]:
    """Return the few whose time in the emulator is shown, in grey."""
    return [
        Case("6.12", handler, path, threads=threads, own=threads > 1, writers=writers, timed=True)
        for handler in (Handler.EXT4, Handler.DRIVER)
        for threads, writers in ((1, 0), (2, 0), (2, 1))
        for path in PATHS["6.12"]
    ]
