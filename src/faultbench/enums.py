"""Named choices and the integers that the core uses for them.

A code is the position in its enum; ``src/_core/mm/mm_types.h`` holds the same numbers and a
test compares them through ``CONSTANTS`` of the built extensions.
"""

from __future__ import annotations

from enum import StrEnum


class Coded(StrEnum):
    """A named choice whose integer code is its position."""

    @property
    def code(self) -> int:
        """The integer that the core uses."""
        return list(type(self)).index(self)

    @classmethod
    def names(cls) -> list[str]:
        """All values, in the order of their codes."""
        return [member.value for member in cls]


class Path(Coded):
    """The way of a huge fault (kernel-reference §2)."""

    MMAP_LOCK = "mmap-lock"
    ABORT = "abort"
    RETRY = "retry"
    DIRECT = "direct"


class VmaLock(Coded):
    """Where the per-VMA lock lies and what it is (kernel-reference §3)."""

    NONE = "none"
    SEPARATE = "separate"
    INLINE = "inline"
    ALIGNED = "aligned"
    REFCOUNT = "refcount"


class Seq(Coded):
    """mm_lock_seq: bumped on unlock only, or odd while write-locked (6.13)."""

    INT = "int"
    SEQCOUNT = "seqcount"


class MmLayout(Coded):
    """mmap_lock's count and owner in two cache lines, as the kernel places them, or in one."""

    SPLIT = "split"
    SAME = "same"


class Rwsem(Coded):
    """The algorithm of mmap_lock."""

    KERNEL = "kernel"
    NAIVE = "naive"
    PTHREAD = "pthread"


class Handler(Coded):
    """Whose ->huge_fault() (kernel-reference §6)."""

    DEVICE_DAX = "device-dax"
    EXT4 = "ext4"
    XFS = "xfs"
    DRIVER = "driver"
    DRIVER_RETRY = "driver-retry"
    ANON = "anon"
    NOP = "nop"


class Order(Coded):
    """Size of the entry that a fault installs."""

    PMD = "pmd"
    PUD = "pud"
    PTE = "pte"

    @property
    def bytes(self) -> int:
        """Bytes of address space that one entry maps."""
        return {"pmd": 2 << 20, "pud": 1 << 30, "pte": 4 << 10}[self.value]


class Access(Coded):
    """What the touch does; ``wp`` writes to an entry that a read installed."""

    READ = "read"
    WRITE = "write"
    WP = "wp"


class Map(Coded):
    """MAP_SHARED or MAP_PRIVATE."""

    SHARED = "shared"
    PRIVATE = "private"


class WriterOp(Coded):
    """What writers of mmap_lock do (kernel-reference §7)."""

    BESIDE = "beside"
    TARGET = "target"
    MPROTECT = "mprotect"
    FSYNC = "fsync"


class Pin(Coded):
    """How tasks are placed on CPUs."""

    CORE = "core"
    SMT = "smt"
    SCATTER = "scatter"
    NONE = "none"


class Status(Coded):
    """How a trial ended. Only ``ok`` has a rate."""

    OK = "ok"
    INVARIANT = "invariant"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    OOM = "oom"
    KILLED = "killed"
