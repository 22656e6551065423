"""A few faults on one mapping: how many take mmap_lock, and how much each maps."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faultbench.machines import counting

READ, WRITE = 0, 1
FAULTS = 256
_PAGE = 4096


@dataclass(frozen=True)
class Faulted:
    """What a few faults showed: `locked` of `faults` took mmap_lock; None and why not.

    `probed` bytes were touched page by page, which took `probe_faults`. `major`: of `faults`, read
    from a disk.
    """

    locked: int | None
    reason: str | None
    faults: int
    probed: int = 0
    probe_faults: int = 0
    major: int = 0

    @property
    def reads(self) -> float | None:
        """Reads of mmap_lock per fault."""
        return None if self.locked is None else round(self.locked / self.faults, 4)

    @property
    def bytes_per_fault(self) -> int | None:
        """Bytes that one fault maps."""
        return self.probed // self.probe_faults if self.probe_faults else None


def together(found: Sequence[Faulted]) -> Faulted:
    """Return the sums; a part that was not counted leaves the whole uncounted, with its reason."""
    counts = [one.locked for one in found if one.locked is not None]
    return Faulted(
        sum(counts) if len(counts) == len(found) else None,
        next((one.reason for one in found if one.reason), None),
        sum(one.faults for one in found),
        sum(one.probed for one in found),
        sum(one.probe_faults for one in found),
        sum(one.major for one in found),
    )


def fault(
    *,
    step: int = _PAGE,
    size: int = 512 * _PAGE,
    access: int = WRITE,
    advice: int = 0,
    fd: int = -1,
    faults: int = FAULTS,
    **more: int,
) -> Faulted:
    """Map (or take ``existing=``), touch, and count. OSError where the kernel refuses.

    With ``fresh=1`` every page is touched once only, and nothing tells what a fault maps.
    """
    engine = importlib.import_module("faultbench._kernel")
    ids = list(_ids(engine.EVENTS))
    spec: dict[str, Any] = dict.fromkeys(
        "map_private sync no_fixed skew offset length duration_ns warmup_ns warmup_faults "
        "writer_interval_ns writers writer_op".split(),
        0,
    )
    spec |= {"workers": 1, "vmas": 1, "mms": 1, "access": access, "advice": advice}
    spec |= {"step": step, "slice": size, "faults": faults, "count": 1, "ids": ids}
    spec |= {"fds": [fd] if fd >= 0 else [], "cpus": [-1], **more}
    worker = engine.run_trial(spec)["worker"]
    reads, traps = worker["mmap_lock_reads"][0], worker["traps"][0]
    probe = worker["probe_bytes"][0], max(0, worker["probe_faults"][0])
    missing = min(reads, traps)
    if missing < 0:
        return Faulted(None, counting.reason(-missing), worker["counted_faults"][0], *probe)
    if traps == 0:
        return Faulted(None, "no touch faulted", 0, *probe)
    return Faulted(reads, None, traps, *probe, major=worker["counted_majflt"][0])


@functools.cache
def _ids(events: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(counting.tracepoint_ids(events))


def refused(error: OSError) -> str:
    """Say why a mapping cannot be had."""
    return f"the kernel refuses it: {os.strerror(error.errno or 0).lower()}"
