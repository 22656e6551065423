"""A few faults on one mapping: how many take mmap_lock, and how much each maps."""

from __future__ import annotations

import errno
import functools
import importlib
import os
from dataclasses import dataclass
from typing import Any

from faultbench.machines import counting

READ, WRITE = 0, 1
FAULTS = 256
_PAGE = 4096


@dataclass(frozen=True)
class Faulted:
    """What a few hundred faults showed. `reads` per fault and why not, where not counted."""

    reads: float | None
    reason: str | None
    bytes_per_fault: int | None
    faults: int


def fault(
    *,
    step: int = _PAGE,
    size: int = 512 * _PAGE,
    access: int = WRITE,
    advice: int = 0,
    fd: int = -1,
    faults: int = FAULTS,
    probe: bool = True,
    count: bool = True,
    **more: int,
) -> Faulted:
    """Map (or take ``existing=``), touch, and count. OSError where the kernel refuses."""
    engine = importlib.import_module("faultbench._kernel")
    ids = list(_ids(engine.EVENTS)) if count else [-errno.EPERM] * len(engine.EVENTS)
    spec: dict[str, Any] = dict.fromkeys(
        "map_private sync no_fixed skew offset length duration_ns warmup_ns warmup_faults "
        "writer_interval_ns writers writer_op".split(),
        0,
    )
    spec |= {"workers": 1, "vmas": 1, "mms": 1, "access": access, "advice": advice}
    spec |= {"step": step, "slice": size, "faults": faults, "count": int(count), "ids": ids}
    spec |= {"fds": [fd] if fd >= 0 else [], "cpus": [-1], **more}
    worker = engine.run_trial(spec)["worker"]
    reads, traps = worker["mmap_lock_reads"][0], worker["traps"][0]
    done = worker["counted_faults"][0] if count else worker["faults"][0]
    whole = worker["probe_faults"][0] if probe else 0
    mapped = worker["probe_bytes"][0] // whole if whole > 0 else None
    missing = min(reads, traps)
    if missing < 0:
        return Faulted(None, counting.reason(-missing), mapped, done)
    if traps == 0:
        return Faulted(None, "no touch faulted", mapped, done)
    return Faulted(round(reads / traps, 4), None, mapped, traps)


@functools.cache
def _ids(events: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(counting.tracepoint_ids(events))


def refused(error: OSError) -> str:
    """Say why a mapping cannot be had."""
    return f"the kernel refuses it: {os.strerror(error.errno or 0).lower()}"
