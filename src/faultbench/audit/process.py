"""Another process's mappings by kind, and how much of its memory faults under mmap_lock here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultbench.errors import ResourceError, UsageError
from faultbench.machines import mappings

PMD = 2 << 20
_MEMORY = ("/memfd:", "/dev/shm/", "/SYSV", "/dev/zero")  # noqa: S108 - names, nothing is opened
_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ (\d+)\s*(.*)")


@dataclass(frozen=True)
class Vma:
    """One line of /proc/PID/maps, and what smaps says of it."""

    start: int
    end: int
    flags: str
    offset: int
    name: str
    resident: int
    thp: bool

    @property
    def kind(self) -> str:
        """The audit's name for it, or one of its own: stack, hugetlb, dax, device, special."""
        if self.name in ("[vdso]", "[vvar]", "[vsyscall]", "[vvar_vclock]"):
            return "vdso" if self.name == "[vdso]" else "special"
        if self.name.startswith("[stack"):
            return "anon"
        if self.name.startswith("anon_inode:bpf-map"):
            return "arena"
        if "/hugepages" in self.name or "hugetlb" in self.name or "(deleted)huge" in self.name:
            return "hugetlb"
        if self.name.startswith(_MEMORY):
            return "memfd"
        if self.name.startswith(("/dev/", "anon_inode:")):
            return "device"
        if self.name.startswith("/"):
            return "dax" if mappings.on_dax(self.name) else "file"
        return "anon-thp" if self.thp else "anon"

    @property
    def aligned(self) -> bool:
        """Whether address and file offset agree modulo 2 MiB, as huge faults on files need."""
        return (self.start - self.offset) % PMD == 0


def audit(pid: int, survey: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the process's kinds with their sizes and this kernel's verdict on each."""
    reads = {r["mapping"]: r["mmap_lock_reads_per_fault"] for r in survey}
    vmas = read(pid)
    kinds: dict[str, dict[str, Any]] = {}
    for vma in vmas:
        kind = kinds.setdefault(
            vma.kind,
            {"kind": vma.kind, "vmas": 0, "bytes": 0, "resident": 0, "misaligned": 0, "private": 0},
        )
        kind["vmas"] += 1
        kind["bytes"] += vma.end - vma.start
        kind["resident"] += vma.resident
        if vma.kind in ("dax", "device"):
            kind["misaligned"] += not vma.aligned
            kind["private"] += "p" in vma.flags
    for kind in kinds.values():
        kind["mmap_lock_reads_per_fault"] = reads.get(kind["kind"])
    total = sum(k["bytes"] for k in kinds.values())
    judged = [k for k in kinds.values() if k["mmap_lock_reads_per_fault"] is not None]
    under = sum(k["bytes"] for k in judged if k["mmap_lock_reads_per_fault"] >= 0.5)
    return {
        "pid": pid,
        "kinds": sorted(kinds.values(), key=lambda k: -k["bytes"]),
        "bytes": total,
        "bytes_judged": sum(k["bytes"] for k in judged),
        "bytes_under_mmap_lock": under if judged else None,
        "reason": None if judged else "mmap_lock reads could not be counted on this kernel",
    }


def read(pid: int) -> list[Vma]:
    """Parse /proc/PID/smaps; `UsageError` for no such process, `ResourceError` for no rights."""
    try:
        text = Path(f"/proc/{pid}/smaps").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        raise UsageError(f"audit --pid {pid}: no such process") from None
    except PermissionError:
        raise ResourceError(
            f"audit --pid {pid}: no right to read its mappings; run as its user or as root"
        ) from None
    return list(parse(text))


def parse(text: str) -> list[Vma]:
    """Return the mappings of an smaps text."""
    found: list[Vma] = []
    head: re.Match[str] | None = None
    resident, flags = 0, ""
    for line in [*text.splitlines(), ""]:
        match = _LINE.match(line)
        if match or not line:
            if head is not None:
                found.append(_vma(head, resident, flags))
            head, resident, flags = match, 0, ""
        elif line.startswith("Rss:"):
            resident = int(line.split()[1]) * 1024
        elif line.startswith(("THPeligible:", "VmFlags:")):
            flags += line
    return found


def _vma(head: re.Match[str], resident: int, flags: str) -> Vma:
    start, end, offset = int(head[1], 16), int(head[2], 16), int(head[4], 16)
    thp = re.search(r"THPeligible:\s*1", flags) is not None and end - start >= PMD
    return Vma(start, end, head[3], offset, head[6].strip(), resident, thp)
