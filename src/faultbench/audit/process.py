"""Another process's mappings by kind, and how much of its memory faults under mmap_lock here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultbench.audit import path
from faultbench.errors import ResourceError, UsageError
from faultbench.machines import mappings

PMD = 2 << 20
_MEMORY = ("/memfd:", "/dev/shm/", "/SYSV", "/dev/zero")  # noqa: S108 - names, nothing is opened
_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ (\d+)\s*(.*)")
_PROBED = 8  # files and devices that are faulted, the largest
_PF_KTHREAD = 0x00200000
_NOT_PROBED = {
    "special": "the kernel's own pages beside the vdso, which are not faulted here",
    "hugetlb": "not faulted here, it would take pages of the pool; "
    "`sweep --machine kernel --mapping memfd-huge` does",
    "device": "reading the memory of a driver that we do not know may have effects, so it is not "
    "done unasked; `faultbench audit PATH` does",
}


@dataclass(frozen=True)
class Vma:
    """One line of /proc/PID/maps, and what smaps says of it."""

    start: int
    end: int
    flags: str
    offset: int
    inode: int
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
    def skew(self) -> int:
        """How far address and file offset differ modulo 2 MiB: 0 where huge faults can be."""
        return (self.start - self.offset) % PMD

    @property
    def private(self) -> bool:
        """Whether writes are the process's own."""
        return "p" in self.flags


Key = tuple[str, str, bool, bool]


def _key(vma: Vma) -> Key:
    """DAX files and devices have a row each, what faults in another way apart."""
    if vma.kind in ("dax", "device"):
        return vma.kind, vma.name, vma.private, vma.skew > 0
    return vma.kind, "", False, False


def audit(pid: int, survey: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the process's kinds with their sizes and this kernel's verdict on each.

    DAX files and devices that we know are faulted themselves, by reads of a mapping of our own; the
    other kinds have the survey's verdict. What has none has a reason.
    """
    grouped: dict[Key, list[Vma]] = {}
    for vma in read(pid):
        grouped.setdefault(_key(vma), []).append(vma)
    keys = sorted(grouped, key=lambda key: -_bytes(grouped[key]))
    probed = [key for key in keys if _known(grouped[key][0])][:_PROBED]
    rows = {row["mapping"]: row for row in survey}
    kinds = []
    for key in keys:
        if key in probed:
            found = _probe(pid, grouped[key][0])
        elif _known(grouped[key][0]):
            found = {"reason": f"only the {_PROBED} largest files and devices are looked at"}
        else:
            found = rows.get(key[0]) or {"reason": _NOT_PROBED[key[0]]}
        kinds.append(_entry(grouped[key], found))
    judged = [k for k in kinds if k["bytes_under_mmap_lock"] is not None]
    return {
        "pid": pid,
        "kinds": kinds,
        "bytes": sum(k["bytes"] for k in kinds),
        "bytes_judged": sum(k["bytes"] for k in judged),
        "bytes_under_mmap_lock": sum(k["bytes_under_mmap_lock"] for k in judged)
        if judged
        else None,
        "reason": None if judged else kinds[0]["reason"],
    }


def _bytes(vmas: list[Vma]) -> int:
    return sum(vma.end - vma.start for vma in vmas)


def _known(vma: Vma) -> bool:
    """Whether it may be read unasked: a file on DAX, device-dax, our own device."""
    if vma.kind != "device":
        return vma.kind == "dax"
    if vma.name == mappings.OUR_DEVICE:
        return True
    try:
        return mappings.is_device_dax(Path(vma.name).stat())
    except OSError:
        return False


def _probe(pid: int, vma: Vma) -> dict[str, Any]:
    """Fault what is behind a mapping, by the kernel's own link to it or by its name."""
    link = f"/proc/{pid}/map_files/{vma.start:x}-{vma.end:x}"
    for name in (link, f"/proc/{pid}/root{vma.name}"):
        try:
            if Path(name).stat().st_ino == vma.inode:
                return path.audit(name, private=vma.private, skew=vma.skew)
        except (OSError, UsageError):
            continue
    return {"reason": "it cannot be opened from here: deleted, or no right to read it"}


def _entry(vmas: list[Vma], found: dict[str, Any]) -> dict[str, Any]:
    kind, name, private, misaligned = _key(vmas[0])
    reads = found.get("mmap_lock_reads_per_fault")
    size = _bytes(vmas)
    under = None
    if reads is not None:
        # Ranges that fell back may fault under another lock than the huge ones.
        parts = found.get("by_range") or [{"ranges": 1, "mmap_lock_reads_per_fault": reads}]
        locked = sum(p["ranges"] for p in parts if p["mmap_lock_reads_per_fault"] >= 0.5)
        under = size * locked // sum(p["ranges"] for p in parts)
    return {
        "kind": kind,
        "file": name or None,
        "vmas": len(vmas),
        "bytes": size,
        "resident": sum(vma.resident for vma in vmas),
        "misaligned": len(vmas) if misaligned else 0,
        "private": len(vmas) if private else 0,
        "mmap_lock_reads_per_fault": reads,
        "bytes_under_mmap_lock": under,
        "reason": found["reason"],
        **({k: found[k] for k in ("huge_ranges", "ranges", "by_range", "why_not") if k in found}),
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
    found = list(parse(text))
    if not found:
        raise UsageError(f"audit --pid {pid}: {_without_memory(pid)}; name a process that runs")
    return found


def _without_memory(pid: int) -> str:
    # "PID (name) state ppid pgrp session tty tpgid flags …", and a name may hold anything
    fields = mappings.text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if len(fields) > 6 and int(fields[6]) & _PF_KTHREAD:
        return "a thread of the kernel, which has no mappings"
    return "it has no mappings, it is ending"


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
    return Vma(start, end, head[3], offset, int(head[5]), head[6].strip(), resident, thp)
