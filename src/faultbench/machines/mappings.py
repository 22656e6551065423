"""What the kernel machine maps: ``--mapping`` texts, the files behind them, and what they need.

Every refusal says in a line or two what is missing and what to do about it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath

from faultbench.enums import Order
from faultbench.errors import ResourceError, UsageError
from faultbench.model import TrialSpec

KINDS = ("anon", "anon-thp", "memfd", "memfd-huge", "file", "dax", "device", "arena")
_WITH_PATH = ("file", "dax", "device")
THP = FilePath("/sys/kernel/mm/transparent_hugepage/enabled")
_HUGE_POOL = FilePath("/sys/kernel/mm/hugepages/hugepages-2048kB")
OUR_DEVICE = "/dev/faultbench"  # of faultbench_dev.ko
NO_MMAP = "its driver has no ->mmap; name a device that can be mapped"
NO_HUGE_FAULT = "has no ->huge_fault, a shared mapping of it is shared memory"
DEV_ZERO = os.makedev(1, 5)
DEFAULT_ENTRIES = 64  # of one worker's slice; small ones below
ADVICE_NONE, ADVICE_HUGE, ADVICE_NOHUGE, ADVICE_RANDOM = range(4)  # enum fb_advice
STATX_ATTR_DAX = 0x00200000
_BPF_MAP_CREATE, _BPF_ARENA, _BPF_F_MMAPABLE, _SYS_BPF = 0, 33, 1 << 10, 321
_MFD_CLOEXEC, _MFD_HUGETLB = 1, 4


@dataclass(frozen=True)
class Mapping:
    """A parsed ``--mapping``."""

    kind: str
    path: str = ""
    sync: bool = False

    @property
    def advice(self) -> int:
        """The madvise that makes the kind what its name says."""
        return {"anon": ADVICE_NOHUGE, "anon-thp": ADVICE_HUGE}.get(self.kind, ADVICE_NONE)


def parse(text: str) -> Mapping:
    """Parse ``anon``, ``memfd``, …, ``file:PATH``, ``dax:PATH[,sync]``, ``device:PATH``."""
    kind, colon, path = text.partition(":")
    if kind not in KINDS:
        names = ", ".join(f"{k}:PATH" if k in _WITH_PATH else k for k in KINDS)
        raise UsageError(f"--mapping {text}: unknown; there are {names}")
    if (kind in _WITH_PATH) != bool(colon and path):
        need = "needs a path" if kind in _WITH_PATH else "takes no path"
        raise UsageError(f"--mapping {text}: {kind} {need}")
    sync = False
    if kind == "dax" and path.endswith(",sync"):
        path, sync = path.removesuffix(",sync"), True
    return Mapping(kind, path, sync)


def check(mapping: Mapping, spec: TrialSpec) -> None:
    """Raise `UsageError` or `ResourceError` when `spec` cannot fault this mapping here."""
    label = f"--mapping {spec.mapping}"
    if mapping.kind in ("anon-thp", "memfd-huge") and spec.order is not Order.PMD:
        raise UsageError(f"{label} --order {spec.order}: it faults by 2 MiB; use --order pmd")
    if mapping.kind in ("anon", "memfd", "file", "arena") and spec.order is not Order.PTE:
        raise UsageError(f"{label} --order {spec.order}: it faults by 4 KiB; use --order pte")
    if mapping.kind == "anon-thp" and "[never]" in text(THP):
        raise ResourceError(f"{label}: transparent huge pages are off; echo madvise > {THP}")
    if mapping.kind == "memfd-huge":
        _check_pool(label, spec)
    if mapping.kind == "arena" and os.geteuid() != 0:
        raise ResourceError(f"{label}: making a BPF arena needs root (CAP_BPF)")
    if mapping.kind == "arena" and spec.mms > 1:
        raise UsageError(f"{label} --mms {spec.mms}: a BPF arena has one address in one process")
    if spec.files > 1 and mapping.kind in _WITH_PATH and "{}" not in mapping.path:
        raise UsageError(
            f"{label} --files {spec.files}: give a path with {{}}, which becomes 0, 1, …"
        )
    if mapping.path:
        for path in _paths(mapping, spec.files):
            _check_path(label, mapping, path, spec)


def _paths(mapping: Mapping, files: int) -> list[str]:
    return [mapping.path.replace("{}", str(i)) for i in range(max(files, 1))]


def _check_pool(label: str, spec: TrialSpec) -> None:
    need = spec.threads * entries(parse(spec.mapping), spec)
    free = int(text(_HUGE_POOL / "free_hugepages") or 0)
    if free < need:
        raise ResourceError(
            f"{label}: {need} huge pages needed for {spec.threads} workers, {free} free; "
            f"echo {need} > {_HUGE_POOL}/nr_hugepages (root), or {need // spec.threads} for each "
            "of as many workers as --threads goes up to"
        )


def _check_path(label: str, mapping: Mapping, path: str, spec: TrialSpec) -> None:
    try:
        status = FilePath(path).stat()
    except OSError as error:
        hint = "; insmod faultbench_dev.ko makes it (docs/lab.md)" if path == OUR_DEVICE else ""
        reason = (error.strerror or "").lower()
        raise UsageError(f"{label}: {path}: {reason}{hint}") from None
    if not os.access(path, os.R_OK | os.W_OK):
        raise ResourceError(f"{label}: no right to read and write {path}")
    if mapping.kind == "device" and not stat.S_ISCHR(status.st_mode):
        raise UsageError(f"{label}: {path} is not a character device; file: and dax: map files")
    if mapping.kind == "device" and status.st_rdev == DEV_ZERO:
        raise UsageError(
            f"{label}: {path} {NO_HUGE_FAULT}; take --mapping memfd, which is the same"
        )
    if mapping.kind == "device" and not _has_mmap(path):
        raise UsageError(f"{label}: {NO_MMAP}")
    if mapping.kind == "file" and not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{label}: {path} is not a regular file; device: maps devices")
    if mapping.kind == "dax":
        is_dax = is_device_dax(status) if stat.S_ISCHR(status.st_mode) else on_dax(path)
        if is_dax is False:
            raise UsageError(
                f"{label}: {path} is not on DAX; mount its file system with -o dax=always, "
                "or use file: to fault the page cache"
            )
    size = mapped_size(status)
    if size is not None and size < spec.order.bytes * spec.threads:
        smaller = "" if spec.order is Order.PTE else " or take --order pte"
        raise UsageError(
            f"{label}: {path} has {size} bytes, less than one {spec.order.bytes >> 10} KiB entry "
            f"for each of {spec.threads} workers; make it larger{smaller}"
        )


def _has_mmap(path: str) -> bool:
    """Whether a device can be mapped at all; nothing of it is touched."""
    try:
        with open(path, "r+b", buffering=0) as stream:  # noqa: PTH123
            mmap.mmap(stream.fileno(), mmap.PAGESIZE).close()
    except (OSError, ValueError) as error:  # others: it may want another size or address
        return getattr(error, "errno", None) != errno.ENODEV
    return True


def is_device_dax(status: os.stat_result) -> bool:
    """Whether a character device is device-dax."""
    device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    with contextlib.suppress(OSError):
        return FilePath(f"/sys/dev/char/{device}/subsystem").resolve().name == "dax"
    return False


def mapped_size(status: os.stat_result) -> int | None:
    """Bytes that can be mapped, where that can be known."""
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    size = text(FilePath(f"/sys/dev/char/{device}/size")) if is_device_dax(status) else ""
    return int(size) if size.isdigit() else None


def on_dax(path: str) -> bool | None:
    """STATX_ATTR_DAX of a file; None where the kernel does not tell."""
    buffer = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statx(-100, os.fsencode(path), 0, 0, buffer) != 0:
        return None
    attributes = int.from_bytes(buffer.raw[8:16], "little")
    known = int.from_bytes(buffer.raw[56:64], "little")
    return bool(attributes & STATX_ATTR_DAX) if known & STATX_ATTR_DAX else None


def entries(mapping: Mapping, spec: TrialSpec) -> int:
    """Entries in one worker's slice: what fits into the file, at most the default."""
    wanted = 512 if spec.order is Order.PTE else 4 if spec.order is Order.PUD else DEFAULT_ENTRIES
    for path in _paths(mapping, spec.files) if mapping.path else ():
        size = mapped_size(FilePath(path).stat())
        if size is not None:
            per_file = -(-spec.threads // max(spec.files, 1))
            wanted = min(wanted, size // per_file // spec.order.bytes)
    return wanted


@contextlib.contextmanager
def opened(mapping: Mapping, spec: TrialSpec, bytes_per_worker: int) -> Iterator[list[int]]:
    """Open or make the files that the VMAs map; [] for anonymous memory."""
    fds: list[int] = []
    count = spec.vmas if mapping.kind == "arena" else max(spec.files, 1)
    size = bytes_per_worker * -(-spec.threads // count)
    try:
        if mapping.kind.startswith("memfd"):
            flags = _MFD_CLOEXEC | (_MFD_HUGETLB if mapping.kind == "memfd-huge" else 0)
            for _ in range(count):
                fds.append(os.memfd_create("faultbench", flags))
                os.ftruncate(fds[-1], size)
        elif mapping.kind == "arena":
            fds.extend(_arena(size) for _ in range(count))
        elif mapping.path:
            fds.extend(os.open(p, os.O_RDWR | os.O_CLOEXEC) for p in _paths(mapping, spec.files))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def arena(size: int) -> int:
    """Return a BPF arena map of `size` bytes; OSError where the kernel refuses."""
    attributes = bytearray(128)
    attributes[0:4] = _BPF_ARENA.to_bytes(4, "little")
    attributes[12:16] = (size // 4096).to_bytes(4, "little")
    attributes[16:20] = _BPF_F_MMAPABLE.to_bytes(4, "little")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    fd = int(libc.syscall(_SYS_BPF, _BPF_MAP_CREATE, buffer, len(attributes)))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


def _arena(size: int) -> int:
    try:
        return arena(size)
    except OSError as error:
        raise ResourceError(
            f"--mapping arena: this kernel refuses a BPF arena: {error.strerror}; "
            "it needs Linux 6.9 and root"
        ) from None


def file_system(path: str) -> int:
    """Return statfs's f_type of a path; 0 where it cannot be had."""
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None).statfs(os.fsencode(path), buffer) != 0:
        return 0
    return int.from_bytes(buffer.raw[:8], "little")


def text(path: FilePath) -> str:
    """Return a small file of /sys or /proc; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
