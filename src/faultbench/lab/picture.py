"""Gathers what the judge's picture shows: counts, instruction ratios, emulator times."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from faultbench import costs
from faultbench.enums import Access, Handler
from faultbench.enums import Path as FaultPath
from faultbench.lab import check, instructions
from faultbench.lab.cases import Case
from faultbench.lab.run import case_of
from faultbench.machines import Job, get_machine
from faultbench.model import Trial

_WHY = {
    "misaligned": "misaligned: falls back to PTEs",
    "private": "private write: falls back",
    "eof": "end of file: falls back",
    "short-extent": "short extent: falls back",
}
_ACCESS = {Access.WP: "read, then write"}


def _label(case: Case) -> str:
    handler = "device" if case.handler is Handler.DRIVER else case.handler.value
    words = [handler, case.order.value.upper(), _ACCESS.get(case.access, case.access.value)]
    if case.threads > 1:
        words.append(f"{case.threads} threads")
    if case.writers:
        words.append("+ writer")
    text = " ".join(words)
    return f"{handler} {_WHY[case.why]}" if case.why else text


def _shown(case: Case) -> bool:
    """Whether the case is in the picture: one of each sort, no handler thrice."""
    if case.timed or case.first or case.handler is Handler.DRIVER_RETRY:
        return False
    if case.why:
        return case.access is Access.WRITE
    if case.threads > 1:
        return case.own and bool(case.writers) and case.access is Access.WRITE
    return not case.writers and case.access is not Access.READ


def draw(trials: list[Trial], measured: list[instructions.Measured], prefix: Path) -> list[Path]:
    """Write the picture; returns the files."""
    from faultbench.plots import laboratory  # noqa: PLC0415 - matplotlib only for a picture

    rows = [row for row in check.rows(trials) if _shown(row.case)]
    order = {FaultPath.MMAP_LOCK: 1}
    rows.sort(key=lambda row: (order.get(row.case.path, 0), row.case.handler.code))
    reads = []
    for row in rows:
        faults = row.kernel["faults"][0]
        label = _label(row.case) + (" (6.1)" if row.case.series == "6.1" else "")
        kernel, model = (x["mmap_lock_reads"][0] / faults for x in (row.kernel, row.model))
        reads.append(laboratory.Reads(label, row.case.path.value, kernel, model))
    releases = " and ".join(sorted({row.release for row in rows}))
    foot = [
        f"Kernels {releases} in QEMU; `faultbench lab run`, `lab run --instructions`. "
        "retry is put in front of the real handler by a probe; linux-next of August 2023 had it, "
        "no release did.",
        "Two threads have a VMA each. Model of the middle panel: the default cost profile, whose "
        "sums come from earlier instruction counts of this kind, so no independent prediction; "
        "its lock operations cost time, the emulator counts their instructions.",
    ]
    return laboratory.draw(reads, _ratios(measured), _times(trials), prefix, foot)


def _ratios(measured: list[instructions.Measured]) -> list[Any]:
    from faultbench.plots.laboratory import Ratio  # noqa: PLC0415

    found = []
    for handler in (Handler.DRIVER, Handler.EXT4):
        for access in (Access.READ, Access.WRITE):
            case = Case("6.12", handler, FaultPath.DIRECT, access=access)
            kernel = [
                instructions.value(measured, handler, access, path)
                for path in (FaultPath.RETRY, FaultPath.DIRECT)
            ]
            model = [
                virtual_ns(Case("6.12", handler, path, access=access))
                for path in (FaultPath.RETRY, FaultPath.DIRECT)
            ]
            ratio = Ratio(_label(case), kernel[0] / kernel[1], model[0] / model[1])
            found.append(ratio)
    return found


def virtual_ns(case: Case) -> float:
    """Return the model's ns of one fault in steady state: one CPU of the smallest machine."""
    machine = get_machine("virtual")
    spec = replace(case.model_spec(), machine=machine.name, faults=2000, warmup_faults=200)
    raw = machine.run(Job(spec, cpus=(0,), cost=costs.load("default").steps))
    worker = raw["worker"]
    window, faults = sum(worker["window_ns"]), sum(worker["faults"])
    assert isinstance(window, int)
    per_fault: float = window / faults
    return per_fault


def _times(trials: list[Trial]) -> list[Any]:
    from faultbench.plots.laboratory import Emulated  # noqa: PLC0415

    timed = [(case_of(t), t) for t in trials if "timed" in t.spec.knobs]
    found = []
    for case, group in groupby(timed, key=lambda pair: pair[0]):
        ns = [t.total("window_ns") / t.total("faults") for _, t in group]
        found.append(Emulated(_label(case), case.path.value, tuple(ns)))
    return found


def instructions_of() -> str:
    """Return the kernel that the shipped instruction counts are of."""
    release: str = json.loads(instructions.RECORDED.read_text())["release"]
    return release


def load_instructions() -> list[instructions.Measured]:
    """Return the shipped instruction counts."""
    return instructions.from_json(json.loads(instructions.RECORDED.read_text()))
