"""The tables of a report, machine by machine: what was measured never stands among simulations.

What a reader looks for first, the verdict, stands next to its case.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from faultbench.analysis import formats
from faultbench.analysis.compare import Comparison
from faultbench.analysis.frame import is_virtual
from faultbench.analysis.ledger import Ledger
from faultbench.analysis.parts import foremost
from faultbench.analysis.parts import notes as ledger_notes

FIRST = ("case", "verdict", "B/A", "95 % interval", "noise floor", formats.CPU_TIME)
NOTHING = formats.NOTHING
MOST_LEDGERS = 8


@dataclass(frozen=True)
class Table:
    """``title`` names the machine where there are several; ``notes`` stand beneath."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()


def comparisons(wall: Comparison, cpu: Comparison | None) -> list[Table]:
    """Return a table of each machine, its columns in the order of what a reader asks."""
    found = []
    for machine, title in _machines(wall.table["machine"].astype(str)):
        mine = _of(wall, machine)
        rows = formats.rows(mine, None if cpu is None else _of(cpu, machine))
        order = sorted(range(len(formats.HEADINGS)), key=lambda i: _place(formats.HEADINGS[i]))
        headings = tuple(formats.HEADINGS[i] for i in order)
        cells = [tuple(row[i] for i in order) for row in rows]
        found.append(Table(title, *told(headings, cells)))
    return found


def _place(heading: str) -> int:
    return FIRST.index(heading) if heading in FIRST else len(FIRST)


def _of(comparison: Comparison, machine: str) -> Comparison:
    table = comparison.table
    mine = table[table["machine"].astype(str) == machine].reset_index(drop=True)
    return replace(comparison, table=mine)


def _machines(names: Sequence[str] | pd.Series) -> Iterator[tuple[str, str]]:
    """Yield machines, measured ones first, with a title where there are several."""
    distinct = list(dict.fromkeys(names))
    for name in sorted(distinct, key=is_virtual):
        word = "Simulated" if is_virtual(name) else "Measured"
        yield name, f"{word}: {name}" if len(distinct) > 1 else ""


def told(
    headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the table without columns that say nothing in any row."""
    keep = [
        i for i, _ in enumerate(headings)
        if not rows or any(row[i] not in ("", NOTHING) for row in rows)
    ]  # fmt: skip
    return tuple(headings[i] for i in keep), [tuple(row[i] for i in keep) for row in rows]


def ledgers(entries: Sequence[Ledger]) -> list[Table]:
    """Return a table of each machine: parts down, the cases that differ most across."""
    found = []
    for machine, title in _machines([str(e.case.get("machine")) for e in entries]):
        mine = [e for e in entries if str(e.case.get("machine")) == machine]
        found.append(_ledger(title, mine))
    return found


def _ledger(title: str, every: list[Ledger]) -> Table:
    (shown, named), count = foremost(every, MOST_LEDGERS), len(every)
    headings = ("ns per fault", *named)
    names = list(dict.fromkeys(part.name for entry in shown for part in entry.parts))
    rows, idle = [], []
    for name in names:
        parts = [next((p for p in entry.parts if p.name == name), None) for entry in shown]
        cells = [NOTHING if p is None else _ns(p.ns, p.low, p.high) for p in parts]
        if all(p is None or not any(map(_shows, (p.ns, p.low, p.high))) for p in parts):
            idle.append(name)
        else:
            rows.append((name, *cells))
    rows.append(("residual", *(_ns(e.residual, *e.residual_interval) for e in shown)))
    for name in dict.fromkeys(part.name for entry in shown for part in entry.within):
        within = [next((p for p in e.within if p.name == name), None) for e in shown]
        rows.append((name, *(NOTHING if p is None else _ns(p.ns, p.low, p.high) for p in within)))
    rows.append(("difference", *(_ns(e.total.ns, e.total.low, e.total.high) for e in shown)))
    notes = [f"0.0 ns in every case above: {'; '.join(idle)}."] if idle else []
    if count > len(shown):
        notes.append(f"The {len(shown)} cases of {count} that differ most.")
    notes += ledger_notes(shown)
    return Table(title, headings, rows, tuple(notes))


def _shows(value: float) -> bool:
    return math.isfinite(value) and round(value, 1) != 0


def _ns(value: float, low: float = float("nan"), high: float = float("nan")) -> str:
    if math.isfinite(low) and math.isfinite(high):
        # An interval never parts in its middle.
        return f"{_tenths(value)} [{_tenths(low)},\N{NO-BREAK SPACE}{_tenths(high)}]"
    return _tenths(value)


def _tenths(value: float) -> str:
    """Return tenths without the sign of a zero."""
    return f"{round(value, 1) + 0.0:,.1f}"
