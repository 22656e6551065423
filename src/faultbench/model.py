"""What a trial is: `TrialSpec` (resolved, hashable, JSON) and `Trial` (what it gave)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
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
from faultbench.typed import columns, counts, integer, typed

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
            bits=integer(raw["bits"]),
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
        return cls(**{name: _READ[name](value) for name, value in raw.items()})

    @cached_property
    def trial_id(self) -> str:
        """Sixteen hex digits of the spec alone: the same in every run, order and process."""
        return self._ids[0]

    @cached_property
    def case_id(self) -> str:
        """What repeats have in common: the id of the spec without ``repeat`` and ``seed``."""
        return self._ids[1]

    @cached_property
    def _ids(self) -> tuple[str, str]:
        """The trial's and the case's, of one text: a large file takes long to write twice.

        Nothing but a key looks like one there, for quotes within a text are escaped.
        """
        text = canonical_json(self.to_dict())
        case = text.replace(f',"repeat":{self.repeat},', ',"repeat":0,')
        case = case.replace(f',"seed":{self.seed},', ',"seed":0,')
        return _digest(text), _digest(case)

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
            spec=TrialSpec.from_dict(typed(raw["spec"], dict)),
            status=Status(raw["status"]),
            flags=tuple(typed(word, str) for word in typed(raw.get("flags", []), list)),
            message=typed(raw.get("message", ""), str),
            worker=columns(raw.get("worker", {})),
            writer=columns(raw.get("writer", {})),
            latency={k: counts(v) for k, v in typed(raw.get("latency", {}), dict).items()},
            writer_wait=counts(raw.get("writer_wait", {})),
            cpus=tuple(integer(cpu) for cpu in typed(raw.get("cpus", []), list)),
            host=typed(raw.get("host", {}), dict),
            extra=typed(raw.get("extra", {}), dict),
        )


_FIELDS = {f.name: f.default for f in dataclasses.fields(TrialSpec)}


def _flag(value: Any) -> bool:
    return bool(typed(value, bool))


def _text(value: Any) -> str:
    return str(typed(value, str))


def _reader(name: str) -> Callable[[Any], Any]:
    """Return what makes a field of its JSON value; raises as `TrialSpec.from_dict` does."""
    default = _FIELDS[name]
    if isinstance(default, Coded):
        return type(default)
    return _flag if isinstance(default, bool) else integer if isinstance(default, int) else _text


_READ: dict[str, Callable[[Any], Any]] = {name: _reader(name) for name in _FIELDS} | {
    "path": lambda value: None if value is None else Path(value),
    "handler": lambda value: None if value is None else Handler(value),
    "rules": lambda value: None if value is None else Rules.from_dict(value),
}
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(value: object) -> str:
    """One text for one value: sorted keys, no spaces, ASCII, no NaN."""
    return _CANONICAL.encode(value)


def digest(value: object) -> str:
    """Sixteen hex digits of a JSON value."""
    return _digest(canonical_json(value))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
