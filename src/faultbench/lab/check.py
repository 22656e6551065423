"""Kernel beside model, case by case: the verdict on the model.

Every deterministic count must be equal. Where the kernel varies by itself (who is first in a fresh
1 GiB range; contention with a writer) both ranges are shown, and the difference is bounded by the
number of threads that can race.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from faultbench.enums import Handler
from faultbench.errors import DataError
from faultbench.lab.cases import Case
from faultbench.lab.run import case_of
from faultbench.machines import Job, request
from faultbench.model import Trial

# What must be equal, and what a race for the first fault of a 1 GiB range may move.
EXACT = ("faults", "mmap_lock_reads", "fallbacks", "calls_pte")
RACED = ("calls_pmd", "calls_pud", "calls_under_vma", "calls_under_mmap")
OF_TRACEPOINTS = ("faults", "mmap_lock_reads")  # the others are our modules', which 6.1 has not
SHOWN = ("mmap_lock_read_contended", "parks")  # contention: distributions, no verdict
_NO_WARNING = 63  # sample_shift: no latency samples


@dataclass
class Row:
    """One case: for each count the kernel's values and the model's, over the repeats."""

    case: Case
    release: str
    kernel: dict[str, list[int]] = field(default_factory=dict)
    model: dict[str, list[int]] = field(default_factory=dict)

    @property
    def uncounted(self) -> list[str]:
        """Counts without which the kernel says nothing about the model."""
        needed = OF_TRACEPOINTS if self.case.series == "6.1" else (*EXACT, *RACED)
        return [name for name in needed if name not in self.kernel]

    @property
    def differences(self) -> list[str]:
        """Counts in which the model is wrong; empty if it is right."""
        slack = 2 * self.case.threads if self.case.varies and self.case.threads > 1 else 0
        wrong = []
        for name in (*EXACT, *RACED):
            if name not in self.kernel:
                continue
            allowed = slack if name in RACED else 0
            spread = [*self.kernel[name], *self.model[name]]
            if max(spread) - min(spread) > allowed:
                wrong.append(name)
        return wrong


def model_counts(case: Case, engine: Any, kernel: str | None = None) -> dict[str, int]:
    """Run `case` on the model; returns sums over the workers.

    `engine` is ``faultbench._checked`` or another face of the model. Raises `DataError` when the
    model breaks an invariant of its own.
    """
    spec = case.model_spec(kernel)
    asked = request(Job(spec, options={"sample_shift": _NO_WARNING}), engine.CONSTANTS)
    raw = engine.run_trial({**asked, "slice": case.entries, "stride": 0, "fresh": 1})
    if raw["status"] != "ok":
        raise DataError(f"lab check: {case.name} {case.path}: the model: {raw['invariant']}")
    return {name: sum(values) for name, values in raw["worker"].items()}


def rows(trials: Iterable[Trial]) -> Iterator[Row]:
    """Yield a row for each counted case of `trials`, with the model run as often as the kernel."""
    engine = importlib.import_module("faultbench._checked")
    counted = [(case_of(trial), trial) for trial in trials]
    counted = [pair for pair in counted if not pair[0].timed]
    for case, group in groupby(counted, key=lambda pair: pair[0]):
        row: Row | None = None
        for _, trial in group:
            row = row or Row(case, trial.spec.kernel)
            model = model_counts(case, engine)
            for name in (*EXACT, *RACED, *SHOWN):
                if name in trial.worker:
                    row.kernel.setdefault(name, []).append(trial.total(name))
                    row.model.setdefault(name, []).append(model[name])
        assert row is not None
        yield row


def span(values: list[int]) -> str:
    """One value, or least–most."""
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


_HEADS = {
    "faults": "faults",
    "mmap_lock_reads": "reads",
    "calls_pmd": "PMD",
    "calls_pud": "PUD",
    "calls_pte": "PTE",
    "calls_under_vma": "under vma",
    "calls_under_mmap": "under mmap",
    "fallbacks": "fallbacks",
    "mmap_lock_read_contended": "contended",
    "parks": "switches",
}

_LEGEND = (
    "One number: kernel and model are equal. k ~ m: ranges, where the kernel itself varies.\n"
    "k ≠ m: the model is wrong. reads: of mmap_lock. PMD, PUD, PTE: calls of the handler by\n"
    "what was offered; under vma, under mmap: by the lock held. contended: attempts that found\n"
    "mmap_lock taken; switches: voluntary ones of the workers. Neither is judged."
)


def table(found: list[Row]) -> str:
    """Return the comparison as text: kernel = model, or kernel ≠ model."""
    names = list(_HEADS)
    lines = [["", "case", "path", *_HEADS.values()]]
    for row in found:
        cells = []
        for name in names:
            if name not in row.kernel:
                cells.append("")
                continue
            kernel, model = span(row.kernel[name]), span(row.model[name])
            if kernel == model:
                cells.append(kernel)
            else:
                sign = "≠" if name in row.differences else "~"
                cells.append(f"{kernel} {sign} {model}")
        verdict = "BAD" if row.differences or row.uncounted else "ok"
        lines.append([verdict, row.case.name, row.case.path.value, *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for line in lines:
        left = [line[i].ljust(widths[i]) for i in range(3)]
        right = [line[i].rjust(widths[i]) for i in range(3, len(line))]
        text.append("  ".join(left + right).rstrip())
    return "\n".join([_LEGEND, "", *text])


def summary(found: list[Row]) -> str:
    """Return the verdict in a line."""
    releases = " and ".join(sorted({row.release for row in found}))
    bad = sum(1 for row in found if row.differences)
    varied = sum(1 for row in found if row.case.handler is not Handler.NOP and row.case.varies)
    blind = [row for row in found if row.uncounted]
    if not found:
        return "no counted case: there is nothing to compare"
    if blind:
        names = ", ".join(sorted({name for row in blind for name in row.uncounted}))
        return f"{len(blind)} of {len(found)} cases lack {names}: no verdict"
    if bad:
        return f"{bad} of {len(found)} cases differ from {releases}: the model is wrong there"
    return (
        f"{len(found)} cases, kernel = model in every deterministic count ({releases}); "
        f"in {varied} the kernel itself varies (a ~ b: kernel's range, model's range)"
    )
