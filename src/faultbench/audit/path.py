"""Are a file's or a device's faults 2 MiB, and if not, why not.

Needs no rights but to read the path: a 2 MiB range that takes one minor fault when all of it is
touched is mapped huge. The reasons come from what can be looked up: FIEMAP, statx, mount options,
sysfs; each has its fix.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultbench.audit.faulting import READ, Faulted, fault, refused
from faultbench.audit.kinds import absent, row
from faultbench.errors import UsageError
from faultbench.machines import mappings

PMD = 2 << 20
_SAMPLES = 32  # ranges of 2 MiB that are touched; fewer where that means reading a disk
_SAMPLES_CACHED = 4
_FS_IOC_FIEMAP = 0xC020660B
_LAST, _UNKNOWN, _UNWRITTEN = 1, 2 | 4 | 8 | 0x100 | 0x200, 0x800


@dataclass(frozen=True)
class Extent:
    """A piece of a file on its device, in bytes."""

    logical: int
    physical: int
    length: int
    flags: int


def audit(path: str) -> dict[str, Any]:
    """Return the row of a path; `UsageError` when there is no such file or it is a folder."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UsageError(f"audit {path}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISCHR(status.st_mode):
        what = (
            "a folder; name a file in it"
            if stat.S_ISDIR(status.st_mode)
            else (
                "neither a file nor a character device; name a file, or a device that can be mapped"
            )
        )
        raise UsageError(f"audit {path}: {what}")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return absent(path, f"cannot be opened for reading: {(error.strerror or '').lower()}")
    try:
        return _audit(path, fd, status)
    finally:
        os.close(fd)


def _audit(path: str, fd: int, status: os.stat_result) -> dict[str, Any]:
    size = mappings.mapped_size(status)
    dax = True if stat.S_ISCHR(status.st_mode) else mappings.on_dax(path)
    limit = PMD if size is None else size
    if limit < 4096:
        return absent(path, "smaller than a page; a file of 2 MiB or more can be judged")
    most = _SAMPLES if dax else _SAMPLES_CACHED
    ranges = _sampled(limit, most)
    reasons: Counter[tuple[str, str]] = Counter()
    found: Faulted | None = None
    huge = 0
    extents = _extents(fd) if stat.S_ISREG(status.st_mode) else []
    for offset in ranges:
        length = min(PMD, limit - offset) & ~4095
        try:
            one = fault(
                fd=fd,
                access=READ,
                read_only=1,
                size=length,
                offset=offset,
                faults=1 if found else 64,
                count=found is None,
            )
        except OSError as error:
            return {**absent(path, refused(error)), "why_not": [_device_reason(path, status)]}
        found = found or one
        if length == PMD and one.bytes_per_fault == PMD:
            huge += 1
        else:
            reasons[why_not(path, dax, extents, offset, limit)] += 1
    assert found is not None
    found = Faulted(found.reads, found.reason, _typical(huge, len(ranges), found), found.faults)
    handler = "its handler has no ->map_pages, or answers RETRY"
    result = row(path, found, handler)
    result["huge"] = huge == len(ranges)
    result["ranges"] = len(ranges)
    result["huge_ranges"] = huge
    result["why_not"] = [
        {"reason": reason, "fix": fix, "ranges": n} for (reason, fix), n in reasons.most_common()
    ]
    return result


def _typical(huge: int, ranges: int, found: Faulted) -> int | None:
    return PMD if huge * 2 > ranges else found.bytes_per_fault


def _sampled(size: int, most: int) -> list[int]:
    """Offsets of 2 MiB ranges: evenly spread, first and last among them."""
    count = -(-size // PMD)
    if count <= most:
        return [i * PMD for i in range(count)]
    return sorted({round(i * (count - 1) / (most - 1)) * PMD for i in range(most)})


def why_not(
    path: str, dax: bool | None, extents: list[Extent], offset: int, size: int
) -> tuple[str, str]:
    """Return (reason, fix) for a range that is not mapped by one entry."""
    if size < PMD:
        return (
            "the file is smaller than 2 MiB",
            "make it a multiple of 2 MiB: truncate or fallocate",
        )
    if offset + PMD > size:
        return (
            "end of file: the last, partial 2 MiB range is mapped by pages",
            "make the length a multiple of 2 MiB",
        )
    if dax is False:
        return _not_dax(path)
    if stat.S_ISCHR(Path(path).stat().st_mode):
        return (
            "the device's driver serves no 2 MiB faults here",
            "it needs ->huge_fault and VM_HUGEPAGE; device-dax needs --align 2M",
        )
    return extent_reason(extents, offset)


def extent_reason(extents: list[Extent], offset: int) -> tuple[str, str]:
    """Return why the extents under one 2 MiB range cannot be mapped by one entry."""
    first = next((e for e in extents if e.logical <= offset < e.logical + e.length), None)
    if first is None:
        if not extents:
            return (
                "the file system does not tell its extents (FIEMAP)",
                "check that the partition or namespace begins at a multiple of 2 MiB",
            )
        return ("a hole: nothing is allocated there", "write it, or fallocate, by 2 MiB")
    begin = first.physical + offset - first.logical
    if first.logical + first.length < offset + PMD:
        return (
            "the extent is too short: it ends inside the 2 MiB range",
            "rewrite the file by 2 MiB: ext4 -E stride=512,stripe_width=512; "
            "XFS -d su=2m,sw=1 and xfs_io -c 'extsize 2m' on its folder",
        )
    if begin % PMD:
        return (
            "the extent is not aligned: it does not begin at a multiple of 2 MiB on the device",
            "make the file system with 2 MiB stripes (ext4 -E stride=512,stripe_width=512; "
            "XFS -d su=2m,sw=1) and write the file anew",
        )
    if first.flags & _UNWRITTEN:
        return (
            "the extent is allocated but never written: reads map the zero page",
            "write the range once",
        )
    return (
        "extents are aligned, so the device is not",
        "let the partition or namespace begin at a multiple of 2 MiB "
        "(parted's optimal alignment; ndctl create-namespace --align 2M)",
    )


def _not_dax(path: str) -> tuple[str, str]:
    option = next((o for o in mount_options(path) if o.startswith("dax")), "")
    if option == "dax=never":
        return (
            "the mount option dax=never",
            "mount -o remount is not enough: unmount, then mount -o dax=always",
        )
    if option == "dax=inode":
        return (
            "the mount option dax=inode, and the file has no DAX flag",
            "xfs_io -c 'chattr +x' on the empty file or its folder, or mount -o dax=always",
        )
    return (
        "not on DAX: the page cache maps what folios it has",
        "put it on a DAX device and mount -o dax=always; or, for the page cache, use a file "
        "system with large folios",
    )


def _device_reason(path: str, status: os.stat_result) -> dict[str, Any]:
    if mappings.is_device_dax(status):
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        align = mappings.text(Path(f"/sys/dev/char/{number}/align")) or "unknown"
        return {
            "reason": f"device-dax maps multiples of its alignment only, here {align} bytes",
            "fix": "daxctl reconfigure-device, or ndctl create-namespace --mode devdax --align 2M",
            "ranges": 1,
        }
    return {
        "reason": f"{path} refuses this mapping",
        "fix": "see the driver's ->mmap",
        "ranges": 1,
    }


def mount_options(path: str) -> list[str]:
    """Options of the mount that holds a path (mount's and file system's)."""
    device = Path(path).stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mappings.text(Path("/proc/self/mountinfo")).splitlines():
        fields = line.split()
        if fields[2] == number:
            return [*fields[5].split(","), *fields[-1].split(",")]
    return []


def _extents(fd: int, most: int = 4096) -> list[Extent]:
    """FIEMAP; empty where the file system has none (Documentation/filesystems/fiemap.rst)."""
    found: list[Extent] = []
    start = 0
    while len(found) < most:
        batch = 128
        head = struct.pack("QQIIII", start, (1 << 63) - 1 - start, 0, 0, batch, 0)
        buffer = bytearray(head + b"\0" * (56 * batch))
        try:
            fcntl.ioctl(fd, _FS_IOC_FIEMAP, buffer)
        except OSError:
            return found
        mapped = struct.unpack_from("I", buffer, 20)[0]
        for i in range(mapped):
            logical, physical, length, _, _, flags = struct.unpack_from(
                "QQQQQI", buffer, 32 + 56 * i
            )
            if flags & _UNKNOWN:
                continue
            found.append(Extent(logical, physical, length, flags))
            if flags & _LAST:
                return _joined(found)
        if not mapped:
            break
        start = logical + length
    return _joined(found)


def _joined(extents: list[Extent]) -> list[Extent]:
    """Join neighbours that continue each other, as the block mapping does."""
    joined: list[Extent] = []
    for extent in extents:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.logical + last.length == extent.logical
            and last.physical + last.length == extent.physical
            and (last.flags ^ extent.flags) & _UNWRITTEN == 0
        ):
            length = last.length + extent.length
            joined[-1] = Extent(last.logical, last.physical, length, last.flags | extent.flags)
        else:
            joined.append(extent)
    return joined
