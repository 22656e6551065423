"""Are a file's or a device's faults 2 MiB, which of them take mmap_lock, and if not huge, why not.

Whether they are needs no rights but to read the path: a 2 MiB range that takes one minor fault when
all of it is touched is mapped huge. The reasons come from what can be looked up: FIEMAP, statx,
mount options, sysfs; each has its fix. Only reads are tried: it may be somebody's data.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

from faultbench.audit import extents
from faultbench.audit.extents import PMD
from faultbench.audit.faulting import READ, Faulted, fault, refused, together
from faultbench.audit.kinds import IN_CACHE, absent, on_memory, row, verdict
from faultbench.errors import UsageError
from faultbench.machines import mappings

_SAMPLES = 32  # ranges of 2 MiB that are touched; fewer where that means reading a disk
_SAMPLES_CACHED = 4
_MISALIGNED = (
    "mapped where 2 MiB entries cannot be used: address and file offset differ modulo 2 MiB",
    "mmap at an aligned address",
)
_HANDLER = "its handler has no ->map_pages, or answers RETRY"


def audit(path: str, *, private: bool = False, skew: int = 0) -> dict[str, Any]:
    """Return the row of a path; `UsageError` when there is no such file or it is a folder.

    `private`, `skew`: as such a mapping sees it, at an address so far from a multiple of 2 MiB.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UsageError(f"audit {path}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISCHR(status.st_mode):
        raise UsageError(f"audit {path}: {_what(status.st_mode)}")
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == mappings.DEV_ZERO:
        return absent(path, f"it {mappings.NO_HUGE_FAULT}: see memfd")
    try:
        fd = _open(path, status)
    except OSError as error:
        return absent(path, f"cannot be opened for reading: {(error.strerror or '').lower()}")
    try:
        return _audit(path, fd, status, private=int(private), skew=skew)
    finally:
        os.close(fd)


def _what(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder; name a file in it"
    if stat.S_ISBLK(mode):
        return (
            "a block device, which is mapped through the page cache like a file that is not on "
            "DAX; name a file on its file system, or a device-dax device"
        )
    return "neither a file nor a character device; name a file, or a device that can be mapped"


def _open(path: str, status: os.stat_result) -> int:
    """Open a device for writing where we may: only then is a shared mapping VM_SHARED.

    The kernel takes that flag from a mapping of a descriptor that cannot write, and drivers, which
    refuse private mappings, look at it. It is mapped for reading all the same.
    """
    if stat.S_ISCHR(status.st_mode):
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            pass
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _audit(
    path: str, fd: int, status: os.stat_result, *, private: int, skew: int
) -> dict[str, Any]:
    size = mappings.mapped_size(status)
    file = stat.S_ISREG(status.st_mode)
    dax = mappings.on_dax(path) if file else True
    limit = PMD if size is None else size
    if limit < 4096:
        return absent(path, "smaller than a page; a file of 2 MiB or more can be judged")
    ranges = _sampled(limit, _SAMPLES if dax else _SAMPLES_CACHED)
    reasons: Counter[tuple[str, str]] = Counter()
    huge: list[Faulted] = []
    small: list[Faulted] = []
    where = extents.layout(fd) if file else extents.Layout()
    for offset in ranges:
        length = -(-min(PMD, limit - offset) // 4096) * 4096  # a part of a page is mapped as one
        asked = {"size": length, "offset": offset, "map_private": private, "skew": skew}
        try:
            one = fault(fd=fd, access=READ, read_only=1, faults=64, **asked)
        except OSError as error:
            return {**absent(path, refused(error)), "why_not": [_device_reason(status, error)]}
        if length == PMD and one.bytes_per_fault == PMD:
            huge.append(one)
            written = where.written(offset, PMD) if dax else None
            if written is not None and written < PMD:
                reasons[extents.ZERO_PAGE] += 1
        else:
            small.append(one)
            why = _MISALIGNED if skew else why_not(path, dax, where, offset, limit)
            reasons[why] += 1
    result = row(path, together([*huge, *small]), _HANDLER)
    result["by_range"] = [_group(found) for found in (huge, small) if found]
    if len(result["by_range"]) == 2:
        result["verdict"] = "; ".join(
            f"{group['ranges']} of {len(ranges)} ranges: {group['verdict']}"
            for group in result["by_range"]
        )
    if file and not dax and not on_memory(path) and result["mmap_lock_reads_per_fault"] is not None:
        result["verdict"] += f" {IN_CACHE}"
    zero = reasons[extents.ZERO_PAGE]
    result["huge"] = len(huge) == len(ranges) and not zero
    result["ranges"] = len(ranges)
    result["huge_ranges"] = len(huge)
    result["zero_page_ranges"] = zero
    written = where.written(0, limit) if dax and file else None
    result["unwritten_bytes"] = None if written is None else limit - written
    result["why_not"] = [
        {"reason": why[0], "fix": why[1], "ranges": n, "zero_page": why == extents.ZERO_PAGE}
        for why, n in reasons.most_common()
        if n
    ]
    return result


def _group(found: list[Faulted]) -> dict[str, Any]:
    """Return what one sort of ranges, huge or fallen back, showed."""
    whole = together(found)
    return {
        "ranges": len(found),
        "bytes_per_fault": whole.bytes_per_fault,
        "mmap_lock_reads_per_fault": whole.reads,
        "verdict": verdict(whole, _HANDLER),
        "reason": whole.reason,
    }


def _sampled(size: int, most: int) -> list[int]:
    """Offsets of 2 MiB ranges: evenly spread, first and last among them."""
    count = -(-size // PMD)
    if count <= most:
        return [i * PMD for i in range(count)]
    return sorted({round(i * (count - 1) / (most - 1)) * PMD for i in range(most)})


def why_not(
    path: str, dax: bool | None, where: extents.Layout, offset: int, size: int
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
    return extents.reason(where, offset)


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


def _device_reason(status: os.stat_result, error: OSError) -> dict[str, Any]:
    if mappings.is_device_dax(status):
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        align = mappings.text(Path(f"/sys/dev/char/{number}/align")) or "unknown"
        reason = f"device-dax maps multiples of its alignment only, here {align} bytes"
        fix = "daxctl reconfigure-device, or ndctl create-namespace --mode devdax --align 2M"
    elif error.errno == errno.ENODEV:
        reason, _, fix = mappings.NO_MMAP.partition("; ")
    else:
        reason, fix = "its driver refuses a shared, read-only mapping", "see the driver's ->mmap"
    return {"reason": reason, "fix": fix, "ranges": 1}


def mount_options(path: str) -> list[str]:
    """Options of the mount that holds a path (mount's and file system's)."""
    device = Path(path).stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mappings.text(Path("/proc/self/mountinfo")).splitlines():
        fields = line.split()
        if fields[2] == number:
            return [*fields[5].split(","), *fields[-1].split(",")]
    return []
