"""One row for each kind of mapping that this kernel knows."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faultbench.audit.faulting import READ, Faulted, fault, refused
from faultbench.machines import mappings

KINDS = ("anon", "anon-thp", "memfd", "file", "file-cold", "vdso", "arena", "userfaultfd")
IN_CACHE = "while its pages are in the cache; read from disk: see file-cold"
_PMD = 2 << 20
_SYS_USERFAULTFD = 323
_UFFDIO_API, _UFFDIO_REGISTER, _UFFDIO_COPY = 0xC018AA3F, 0xC020AA00, 0xC028AA03
_TMPFS, _RAMFS = 0x01021994, 0x858458F6

Row = dict[str, Any]


def row(mapping: str, found: Faulted, why: str = "") -> Row:
    """Return a row of the report; `why` explains reads of mmap_lock."""
    return {
        "mapping": mapping,
        "mmap_lock_reads_per_fault": found.reads,
        "vma_lock": None if found.reads is None else found.reads < 0.5,
        "bytes_per_fault": found.bytes_per_fault,
        "faults": found.faults,
        "verdict": verdict(found, why),
        "reason": found.reason,
    }


def verdict(found: Faulted, why: str) -> str:
    """Return a sentence about a mapping's faults."""
    if found.reads is None:
        return "not counted"
    if found.reads >= 0.99:
        return f"every fault takes mmap_lock: {why}" if why else "every fault takes mmap_lock"
    if found.reads < 0.02:
        return "served under the VMA lock"
    return f"{found.reads:.0%} of the faults take mmap_lock"


def absent(mapping: str, reason: str) -> Row:
    """Return the row of what this kernel or user cannot have."""
    empty = Faulted(None, reason, 0)
    return {**row(mapping, empty), "verdict": "not available"}


def survey() -> list[Row]:
    """Fault one mapping of each kind."""
    return [_try(kind, _MEASURE[kind]) for kind in KINDS]


def _try(kind: str, measure: Callable[[], Row]) -> Row:
    try:
        return measure()
    except OSError as error:
        return absent(kind, refused(error))


def _anon() -> Row:
    return row("anon", fault(advice=mappings.ADVICE_NOHUGE))


def _anon_thp() -> Row:
    if "[never]" in mappings.text(mappings.THP):
        return absent("anon-thp", f"transparent huge pages are off; echo madvise > {mappings.THP}")
    found = fault(step=_PMD, size=16 * _PMD, advice=mappings.ADVICE_HUGE, faults=32)
    return row("anon-thp", found)


def _memfd() -> Row:
    with _memory_file(512 * 4096) as fd:
        return row("memfd", fault(fd=fd))


@contextlib.contextmanager
def _memory_file(size: int) -> Iterator[int]:
    fd = os.memfd_create("faultbench", 1)
    try:
        os.ftruncate(fd, size)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _disk_file(size: int) -> Iterator[int | None]:
    """Yield a file on a disk, written out; None where no folder is on one."""
    for folder in (".", "/var/tmp", tempfile.gettempdir()):  # noqa: S108 - a file that is unlinked at once
        if not os.access(folder, os.W_OK) or on_memory(folder):
            continue
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"\0" * size)
            stream.flush()
            os.fsync(stream.fileno())
            yield stream.fileno()
            return
    yield None


_NO_DISK = "no writable folder on a file system that is not memory; run elsewhere"


def _file() -> Row:
    with _disk_file(512 * 4096) as fd:
        if fd is None:
            return absent("file", _NO_DISK)
        # Every 64 KiB: fault-around maps the neighbours of a page that is in the cache.
        found = row("file", fault(fd=fd, access=READ, step=65536))
        if found["mmap_lock_reads_per_fault"] is not None:
            found["verdict"] += f" {IN_CACHE}"
        return found


def _file_cold() -> Row:
    """Each page once, after it was dropped from the cache; without readahead of the next."""
    step, faults = 256 << 10, 32
    with _disk_file(step * faults) as fd:
        if fd is None:
            return absent("file-cold", _NO_DISK)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        asked = {"step": step, "size": step * faults, "advice": mappings.ADVICE_RANDOM}
        found = fault(fd=fd, access=READ, faults=faults, fresh=1, **asked)
    if found.reads is not None and found.major < found.faults * 0.9:
        return absent("file-cold", "the file system keeps its pages in the cache")
    return row("file-cold", found, "the page is read from disk, and the fault done again")


def on_memory(path: str) -> bool:
    """Whether a path's file system has no disk."""
    return mappings.file_system(path) in (_TMPFS, _RAMFS)


def _vdso() -> Row:
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[vdso]"):
            start = int(line.partition("-")[0], 16)
            found = fault(existing=start, size=4096, access=READ)
            return row("vdso", found, "its handler has no ->map_pages")
    return absent("vdso", "this process has none")


def _arena() -> Row:
    if os.geteuid() != 0:
        return absent("arena", "a BPF arena needs root (CAP_BPF)")
    size = 512 * 4096
    fd = mappings.arena(size)
    try:
        return row("arena", fault(fd=fd, no_fixed=1), "its handler has no ->map_pages")
    finally:
        os.close(fd)


def _userfaultfd() -> Row:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(_SYS_USERFAULTFD, os.O_CLOEXEC | os.O_NONBLOCK)  # else poll fails
    if fd < 0:
        hint = "needs root, or sysctl vm.unprivileged_userfaultfd=1"
        return absent("userfaultfd", f"{os.strerror(ctypes.get_errno()).lower()}: {hint}")
    size = 64 * 4096
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        address = ctypes.addressof(pin := (ctypes.c_char * size).from_buffer(memory))
        server: threading.Thread | None = None
        stop_reader, stop_writer = os.pipe()
        try:
            fcntl.ioctl(fd, _UFFDIO_API, struct.pack("QQQ", 0xAA, 0, 0))
            missing = struct.pack("QQQQ", address, size, 1, 0)
            fcntl.ioctl(fd, _UFFDIO_REGISTER, missing)
            server = threading.Thread(target=_serve, args=(fd, stop_reader), daemon=True)
            server.start()
            found = fault(existing=address, size=size, faults=128)
        finally:
            os.write(stop_writer, b"x")
            if server is not None:
                server.join()
            for end in (stop_reader, stop_writer, fd):
                os.close(end)
            del pin
    return row("userfaultfd", found, "it waits for the monitor and is then done again")


def _serve(fd: int, stop: int) -> None:
    """Answer missing-page events with a zeroed page until told to stop."""
    import select  # noqa: PLC0415 - the monitor's alone

    page = ctypes.create_string_buffer(4096)
    source = ctypes.addressof(page)
    while True:
        ready, _, _ = select.select([fd, stop], [], [])
        if stop in ready:
            return
        try:
            message = os.read(fd, 32)
        except BlockingIOError:
            continue
        address = int.from_bytes(message[16:24], "little") & ~4095
        with contextlib.suppress(FileExistsError):
            copy = bytearray(struct.pack("QQQQq", address, source, 4096, 0, 0))
            fcntl.ioctl(fd, _UFFDIO_COPY, copy)


_MEASURE: dict[str, Callable[[], Row]] = {
    "anon": _anon,
    "anon-thp": _anon_thp,
    "memfd": _memfd,
    "file": _file,
    "file-cold": _file_cold,
    "vdso": _vdso,
    "arena": _arena,
    "userfaultfd": _userfaultfd,
}
