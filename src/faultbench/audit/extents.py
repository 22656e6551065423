"""Where a file lies on its device (FIEMAP), and why a 2 MiB range of it is not one entry."""

from __future__ import annotations

import fcntl
import struct
from dataclasses import dataclass

PMD = 2 << 20
_FS_IOC_FIEMAP = 0xC020660B
_LAST, _UNKNOWN, _UNWRITTEN = 1, 2 | 4 | 8 | 0x100 | 0x200, 0x800
_MOST = 4096


@dataclass(frozen=True)
class Extent:
    """A piece of a file on its device, in bytes."""

    logical: int
    physical: int
    length: int
    flags: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.logical + self.length


@dataclass(frozen=True)
class Layout:
    """A file's extents. `told`: the file system has FIEMAP; `whole`: and these are all."""

    extents: tuple[Extent, ...] = ()
    told: bool = False
    whole: bool = False

    def written(self, offset: int, length: int) -> int | None:
        """Bytes of a range that are allocated and written; None where that is not known."""
        if not self.whole:
            return None
        parts = (
            min(e.end, offset + length) - max(e.logical, offset)
            for e in self.extents
            if not e.flags & _UNWRITTEN
        )
        return sum(part for part in parts if part > 0)


def layout(fd: int) -> Layout:
    """Ask the file system (Documentation/filesystems/fiemap.rst)."""
    found: list[Extent] = []
    start, skipped = 0, False
    while len(found) < _MOST:
        batch = 128
        head = struct.pack("QQIIII", start, (1 << 63) - 1 - start, 0, 0, batch, 0)
        buffer = bytearray(head + b"\0" * (56 * batch))
        try:
            fcntl.ioctl(fd, _FS_IOC_FIEMAP, buffer)
        except OSError:
            return Layout(tuple(joined(found)), told=bool(found))
        mapped = struct.unpack_from("I", buffer, 20)[0]
        last = not mapped
        for i in range(mapped):
            logical, physical, length, _, _, flags = struct.unpack_from(
                "QQQQQI", buffer, 32 + 56 * i
            )
            start, last = logical + length, bool(flags & _LAST)
            if flags & _UNKNOWN:
                skipped = True
            else:
                found.append(Extent(logical, physical, length, flags))
        if last:
            return Layout(tuple(joined(found)), told=True, whole=not skipped)
    return Layout(tuple(joined(found)), told=True)


def joined(extents: list[Extent]) -> list[Extent]:
    """Join neighbours that continue each other, as the block mapping does."""
    found: list[Extent] = []
    for extent in extents:
        last = found[-1] if found else None
        if (
            last is not None
            and last.end == extent.logical
            and last.physical + last.length == extent.physical
            and (last.flags ^ extent.flags) & _UNWRITTEN == 0
        ):
            length = last.length + extent.length
            found[-1] = Extent(last.logical, last.physical, length, last.flags | extent.flags)
        else:
            found.append(extent)
    return found


def reason(where: Layout, offset: int) -> tuple[str, str]:
    """Return why the extents under one 2 MiB range cannot be mapped by one entry, and the fix."""
    if not where.told:
        return (
            "the file system does not tell its extents (FIEMAP)",
            "check that the partition or namespace begins at a multiple of 2 MiB",
        )
    first = next((e for e in where.extents if e.logical <= offset < e.end), None)
    if first is None:
        return ("a hole: nothing is allocated there", "write it, or fallocate, by 2 MiB")
    begin = first.physical + offset - first.logical
    if first.end < offset + PMD:
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


ZERO_PAGE = (
    "of those mapped by one entry: not written, so that reads map the kernel's huge zero page "
    "and nothing is known of the file's own memory",
    "write the file, by 2 MiB, and look again",
)
