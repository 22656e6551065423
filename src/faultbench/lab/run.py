"""Runs cases in a guest and turns its lines into records."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from faultbench import __version__, records
from faultbench.enums import Status
from faultbench.errors import FaultbenchError, UsageError
from faultbench.lab import build, guest, initramfs, packages
from faultbench.lab.cases import Case, cases_61, cases_612, timed_cases
from faultbench.lab.script import script
from faultbench.model import Trial
from faultbench.records import Header, Writer

READS, ATTEMPTS, WRITES, TRAPS, DAX_PMD = range(5)  # enum fb_counter
Say = Callable[[str], None]
RECORDED = Path(__file__).parent / "data/recorded.jsonl"  # shipped counts


def run(
    series: str, cases: list[Case], say: Say, *, offline: bool = False, keep: bool = False
) -> list[Trial]:
    """Boot a kernel of `series` and run `cases` in it."""
    began = time.monotonic()
    kernel = packages.fetch(series, say, offline=offline)
    with packages.scratch("faultbench-build-") as folder:
        has_modules = series != "6.1"
        modules = build.modules(kernel, folder / "modules") if has_modules else []
        program = build.fault_loop(folder)
        text = script(cases, modules=has_modules)
        archive = initramfs.make(kernel, text, program, modules=modules)
        empty = initramfs.make(kernel, "", program, load=(), tools=())
    accel = guest.accelerator(kernel, empty)
    say(f"{kernel.release}: built in {time.monotonic() - began:.1f} s, booting under {accel}")
    flag = "emulated" if accel == "tcg" else "virtualized"
    options = guest.Options(accel=accel, keep=keep)

    def trials_of(vm: guest.Guest) -> list[Trial]:
        return list(_records(vm.lines(), cases, kernel.release, flag))

    trials = guest.session(kernel, archive, options, say, trials_of)
    say(f"{kernel.release}: {len(trials)} runs, {time.monotonic() - began:.1f} s in all")
    return trials


def run_all(say: Say, *, offline: bool = False, keep: bool = False) -> list[Trial]:
    """Run every case on both kernels."""
    packages.need(*packages.GUEST_TOOLS, *packages.DISK_TOOLS)
    trials = []
    for series, cases in (("6.12", [*cases_612(), *timed_cases()]), ("6.1", cases_61())):
        trials += run(series, cases, say, offline=offline, keep=keep)
    return trials


def _records(lines: Iterable[str], cases: list[Case], release: str, flag: str) -> Iterable[Trial]:
    pending: tuple[Case, int, dict[str, Any]] | None = None
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FAIL":
            raise FaultbenchError(f"lab: in the guest, {rest} failed")
        if word not in ("LOOP", "COUNTS"):
            continue
        identity, _, text = rest.partition(" ")
        number, _, repeat = identity.partition(".")
        case = cases[int(number)]
        if word == "LOOP":
            if pending is not None:
                yield trial(pending[0], pending[1], release, pending[2], {}, flag)
            pending = (case, int(repeat), loop_output(case.name, text))
        elif pending is not None:
            words = text.split()
            counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
            yield trial(case, int(repeat), release, pending[2], counts, flag)
            pending = None
    if pending is not None:
        yield trial(pending[0], pending[1], release, pending[2], {}, flag)


def loop_output(name: str, text: str) -> dict[str, Any]:
    """Return what the fault loop printed; raises `FaultbenchError` for what it complained of."""
    try:
        raw: dict[str, Any] = json.loads(text)
    except ValueError:
        raise FaultbenchError(f"lab: {name}: the fault loop said {text[:200]!r}") from None
    if "error" in raw:
        raise FaultbenchError(f"lab: {name}: {raw['error']}")
    return raw


def trial(
    case: Case, repeat: int, release: str, raw: dict[str, Any], counts: dict[str, int], flag: str
) -> Trial:
    """Return the record. What a module counted for all workers together is a list of one."""
    which = "window" if case.timed else "counted"
    passes = [w[which] for w in raw["worker"]]
    worker = {name: [p[name] for p in passes] for name in ("touches", "faults", "cpu_ns")}
    worker["window_ns"] = [p["end_ns"] - p["start_ns"] - p["refill_ns"] for p in passes]
    worker["refill_ns"] = [p["refill_ns"] for p in passes]
    worker["parks"] = [p["vcsw"] for p in passes]
    if not case.timed:
        tracepoints = [w["count"] for w in raw["worker"]]
        for name, index in (("mmap_lock_reads", READS), ("dax_pmd_faults", DAX_PMD)):
            if min(c[index] for c in tracepoints) >= 0:
                worker[name] = [c[index] for c in tracepoints]
        if min(min(c[ATTEMPTS], c[READS]) for c in tracepoints) >= 0:
            contended = [max(0, c[ATTEMPTS] - c[READS]) for c in tracepoints]
            worker["mmap_lock_read_contended"] = contended
    for name, value in counts.items():
        worker[name] = [value]
    if counts:
        worker["huge_fault_calls"] = [counts["calls_pmd"] + counts["calls_pud"]]
    writer = {
        "ops": [w["ops"] for w in raw["writer"]],
        "wait_ns_max": [w["wait_ns_max"] for w in raw["writer"]],
        "parks": [w["vcsw"] for w in raw["writer"]],
    }
    return Trial(
        spec=case.spec(repeat, release),
        status=Status.OK,
        flags=(flag,),
        worker=worker,
        writer=writer if raw["writer"] else {},
    )


@functools.cache
def _cases() -> dict[tuple[str, str], Case]:
    known = (*cases_612(), *timed_cases(), *cases_61())
    return {(case.series, case.spec().case_id): case for case in known}


def case_of(trial_: Trial) -> Case:
    """Return the case of a record, for records read back."""
    series = ".".join(trial_.spec.kernel.split(".")[:2])
    found = _cases().get((series, replace(trial_.spec, kernel=series).case_id))
    if found is None:
        raise FaultbenchError(
            f"lab: no case for record {trial_.trial_id}; written by another version?"
        )
    return found


def read(path: Path) -> list[Trial]:
    """Return the records of an earlier run; `UsageError` for a file that is no laboratory's."""
    results = records.read(path)
    if results.header.source != "lab":
        raise UsageError(
            f"{path}: a results file of {results.header.source}, not of `lab run`, which has the "
            "laboratory's cases; `faultbench report` and `compare` read it"
        )
    return results.trials


def save(path: Path, trials: list[Trial]) -> None:
    """Write a results file."""
    header = Header(
        faultbench=__version__,
        source="lab",
        plan={"cases": len({t.spec.case_id for t in trials})},
        host={
            "cpu_model": "QEMU TCG",
            "kernel": ", ".join(sorted({t.spec.kernel for t in trials})),
        },
    )
    with Writer.create(path, header) as writer:
        for trial_ in trials:
            writer.append(trial_)


def last() -> Path:
    """Where the latest run is kept when no file is named."""
    return packages.cache_dir() / "last.jsonl"
