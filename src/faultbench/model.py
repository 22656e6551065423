"""What a trial is: `TrialSpec` (resolved, hashable, JSON) and `Trial` (what it gave)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from faultbench.enums import (
    Access,
    Coded,
    Handler,
    Map,
    MmLayout,
    Order,
    Path,
    Pin,
    Rwsem,
    Seq,
    Status,
    VmaLock,
    WriterOp,
)

__all__ = [
    "Access",
    "Coded",
    "Handler",
    "Map",
    "MmLayout",
    "Order",
    "Path",
    "Pin",
    "Rules",
    "Rwsem",
    "Seq",
    "Status",
    "Trial",
    "TrialSpec",
    "VmaLock",
    "WriterOp",
    "canonical_json",
    "digest",
]


@dataclass(frozen=True, slots=True)
class Rules:
    """The resolved rules of the modelled kernel; `faultbench.rules` makes and explains them."""

    bits: int
    vma_lock: VmaLock
    seq: Seq
    mm_layout: MmLayout = MmLayout.SPLIT
    rwsem: Rwsem = Rwsem.KERNEL

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Inverse of `to_dict`; raises ValueError, KeyError or TypeError on anything else."""
        return cls(
            bits=_integer(raw["bits"]),
            vma_lock=VmaLock(raw["vma_lock"]),
            seq=Seq(raw["seq"]),
            mm_layout=MmLayout(raw["mm_layout"]),
            rwsem=Rwsem(raw["rwsem"]),
        )


@dataclass(frozen=True)
class TrialSpec:
    """One measured run, resolved: two specs that mean the same are equal.

    Counts of mappings, files and address spaces are whole numbers here (``private`` is one per
    worker, ``shared`` is 1); `vmas_label` and its like give the words back. A model machine has
    `rules`; the kernel machine has none, and `mapping` instead of a handler. Times are ns;
    ``duration_ns`` 0 means by count (`faults` per worker).
    """

    machine: str
    kernel: str
    path: Path | None
    rules: Rules | None
    handler: Handler | None
    order: Order = Order.PMD
    access: Access = Access.WRITE
    map: Map = Map.SHARED
    sync: bool = False
    fallback_ppm: int = 0
    threads: int = 1
    vmas: int = 1
    files: int = 1  # 0: the handler has no files
    mms: int = 1
    overlap: bool = False
    writers: int = 0
    writer_op: WriterOp = WriterOp.BESIDE
    writer_rate: int = 0  # operations per second and writer; 0 is as fast as it can
    duration_ns: int = 0
    warmup_ns: int = 0
    faults: int = 0
    warmup_faults: int = 0
    pin: Pin = Pin.CORE
    cost: str = "default"
    cost_digest: str = ""  # of the profile's contents, so that an edited file is another trial
    knobs: str = ""  # --set, only what differs from the kernel: "prefetchw=off,rwsem=naive"
    mapping: str = ""  # kernel machine: anon, memfd, file:PATH, …
    machine_digest: str = ""  # virtual machine: of its description
    seed: int = 0
    repeat: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON form, every field."""
        raw = {name: getattr(self, name) for name in _FIELDS}
        raw["rules"] = None if self.rules is None else self.rules.to_dict()
        return raw

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Inverse of `to_dict`; raises ValueError, KeyError or TypeError on anything else."""
        if unknown := sorted(raw.keys() - _FIELDS.keys()):
            raise ValueError(f"unknown field {unknown[0]!r}")
        values: dict[str, Any] = {}
        for name, value in raw.items():
            default = _FIELDS[name]
            if name in _ENUMS:
                optional = name in {"path", "handler"} and value is None
                values[name] = None if optional else _ENUMS[name](value)
            elif name == "rules":
                values[name] = None if value is None else Rules.from_dict(value)
            elif isinstance(default, bool):
                values[name] = _typed(value, bool)
            elif isinstance(default, int):
                values[name] = _integer(value)
            else:
                values[name] = _typed(value, str)
        return cls(**values)

    @cached_property
    def trial_id(self) -> str:
        """Sixteen hex digits of the spec alone: the same in every run, order and process."""
        return digest(self.to_dict())

    @cached_property
    def case_id(self) -> str:
        """What repeats have in common: the id of the spec without ``repeat`` and ``seed``."""
        return digest(self.to_dict() | {"repeat": 0, "seed": 0})

    @property
    def tasks(self) -> int:
        """Workers and writers: the CPUs a trial wants."""
        return self.threads + self.writers

    def _share(self, count: int) -> str:
        if count == 0 or self.threads == 1 == count:
            return "-"
        return "shared" if count == 1 else "private" if count == self.threads else str(count)

    @property
    def vmas_label(self) -> str:
        """``private``, ``shared``, a number, or ``-`` where they mean the same."""
        return self._share(self.vmas)

    @property
    def files_label(self) -> str:
        """As `vmas_label`, for files; ``-`` where the handler has none."""
        return self._share(self.files)

    @property
    def mms_label(self) -> str:
        """As `vmas_label`, for address spaces."""
        return self._share(self.mms)

    @property
    def handler_label(self) -> str:
        """The handler's name, or the kernel machine's mapping."""
        return self.mapping if self.handler is None else self.handler.value


@dataclass(frozen=True)
class Trial:
    """What one run of a spec gave; raw integers, rates are always recomputed.

    `worker` and `writer` map a name to one int per task (``src/_core/DESIGN.md``, run_trial);
    `latency` maps direct, retried, aborted, missed to ``{bucket: count}``. `host` says what
    disturbed a trial on real CPUs and is empty for virtual ones. `extra` holds what one machine
    adds (lines, steps, events, …).
    """

    spec: TrialSpec
    status: Status
    flags: tuple[str, ...] = ()
    message: str = ""  # the broken invariant, or how the child died
    worker: dict[str, list[int]] = field(default_factory=dict)
    writer: dict[str, list[int]] = field(default_factory=dict)
    latency: dict[str, dict[str, int]] = field(default_factory=dict)
    writer_wait: dict[str, int] = field(default_factory=dict)
    cpus: tuple[int, ...] = ()
    host: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def trial_id(self) -> str:
        """The spec's id."""
        return self.spec.trial_id

    def total(self, counter: str) -> int:
        """Sum of one worker counter; 0 when the machine does not have it."""
        return sum(self.worker.get(counter, ()))

    def to_dict(self) -> dict[str, Any]:
        """JSON form without empty parts."""
        raw: dict[str, Any] = {"spec": self.spec.to_dict(), "status": self.status.value}
        for name in ("flags", "message", "worker", "writer", "latency", "writer_wait", "cpus"):
            if value := getattr(self, name):
                raw[name] = list(value) if isinstance(value, tuple) else value
        for name in ("host", "extra"):
            if value := getattr(self, name):
                raw[name] = value
        return raw

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Inverse of `to_dict`; raises ValueError, KeyError or TypeError on anything else."""
        return cls(
            spec=TrialSpec.from_dict(_typed(raw["spec"], dict)),
            status=Status(raw["status"]),
            flags=tuple(_typed(word, str) for word in _typed(raw.get("flags", []), list)),
            message=_typed(raw.get("message", ""), str),
            worker=_columns(raw.get("worker", {})),
            writer=_columns(raw.get("writer", {})),
            latency={k: _counts(v) for k, v in _typed(raw.get("latency", {}), dict).items()},
            writer_wait=_counts(raw.get("writer_wait", {})),
            cpus=tuple(_integer(cpu) for cpu in _typed(raw.get("cpus", []), list)),
            host=_typed(raw.get("host", {}), dict),
            extra=_typed(raw.get("extra", {}), dict),
        )


_FIELDS = {f.name: f.default for f in dataclasses.fields(TrialSpec)}
_ENUMS: dict[str, type[Coded]] = {
    "path": Path,
    "handler": Handler,
    "order": Order,
    "access": Access,
    "map": Map,
    "writer_op": WriterOp,
    "pin": Pin,
}


def canonical_json(value: object) -> str:
    """One text for one value: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """Sixteen hex digits of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value


def _integer(value: Any) -> int:
    number: int = _typed(value, int)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("an integer of more than 64 bits")
    return number


def _integers(items: Any) -> list[int]:
    """Check a list as `_integer` checks one; in C, for files hold millions of them."""
    found: list[int] = _typed(items, list)
    if found and (
        set(map(type, found)) != {int} or min(found) < -(1 << 63) or max(found) >> 63 > 0
    ):
        raise TypeError("expected a list of 64-bit integers")
    return found


def _columns(raw: Any) -> dict[str, list[int]]:
    """Check lists as `_integers` checks one, all at once: a trial has a score of short ones."""
    columns: dict[str, list[int]] = _typed(raw, dict)
    _integers([number for items in columns.values() for number in _typed(items, list)])
    return columns


def _counts(raw: Any) -> dict[str, int]:
    counts: dict[str, int] = _typed(raw, dict)
    _integers(list(counts.values()))
    return counts
