"""A recorded fault as text: two paths side by side, and a two-CPU time line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from faultbench.explain.record import Fault, Recorded, Step

GAP = "  "
DETOUR = ">"


def beside(titles: Sequence[str], recorded: Sequence[Recorded], width: int = 100) -> list[str]:
    """Return the steps of both faults, merged; a step of the first only is the detour, ``>``."""
    rows = _merged(recorded[0].fault.steps, recorded[1].fault.steps)
    numbers = 2 * (len(GAP) + 12)
    name_width = max(26, *(len(_either(row).name) + 1 for row in rows))
    lock_width = max(12, width - name_width - numbers - 4)
    head = f"{'':2}{'step (kernel function)':<{name_width}}{'locks held':<{lock_width}}"
    lines = [
        f"{'':{2 + name_width + lock_width}}" + "".join(f"{GAP}{t:>12}" for t in titles),
        head + "".join(f"{GAP}{'lines':>5}{'ns':>7}" for _ in titles),
    ]
    for row in rows:
        step = _either(row)
        mark = DETOUR if row[1] is None else "<" if row[0] is None else " "
        held = ", ".join(step.held) or "-"
        if len(held) >= lock_width:
            held = held[: lock_width - 2] + "…"
        cells = "".join(_cell(one) for one in row)
        lines.append(f"{mark} {step.name:<{name_width}}{held:<{lock_width}}{cells}".rstrip())
    totals = "".join(
        f"{GAP}{sum(s.lines.total() for s in r.fault.steps):>5}"
        f"{(r.fault.end - r.fault.begin) / 1000:>7.0f}"
        for r in recorded
    )
    lines.append(f"{'':2}{'one fault':<{name_width + lock_width}}{totals}")
    only = [row[0] for row in rows if row[1] is None and row[0] is not None]
    if only:
        lines.append("")
        lines.append(
            f"{DETOUR} only {titles[0]}: {sum(s.ns for s in only):.0f} ns, of them "
            f"{sum(s.waited for s in only) / 1000:.0f} waiting for lines, "
            f"{sum(s.slept for s in only) / 1000:.0f} asleep"
        )
    return lines


def journeys(title: str, recorded: Recorded, most: int = 6) -> list[str]:
    """Return which lines travelled for the fault, at which step."""
    found = [
        f"  {step.name}: {name or 'unnamed'}" + (f" ×{count}" if count > 1 else "")
        for step in recorded.fault.steps
        for name, count in step.lines.items()
    ]
    if not found:
        return [f"{title}: every access hit; with more workers lines travel (--threads)"]
    more = [f"  … and {len(found) - most} more"] if len(found) > most else []
    return [f"lines that travelled, {title}:", *found[:most], *more]


def timeline(title: str, recorded: Recorded, most: int = 44) -> list[str]:
    """Return the fault beside the writer's steps, one row a step that begins."""
    writer = recorded.writer
    if writer is None:
        return [f"{title}: no writer met this fault"]
    start = recorded.fault.begin
    rows = [(s.begin, 0, s) for s in recorded.fault.steps]
    rows += [(s.begin, 1, s) for s in writer.steps]
    rows.sort(key=lambda row: row[:2])
    lines = [f"{title}", f"{'ns':>9}{GAP}{'worker':<44}{GAP}writer"]
    for when, who, step in rows[:most]:
        text = step.name + _waiting(step)
        cells = [text, ""] if who == 0 else ["", text]
        lines.append(f"{(when - start) / 1000:>9.0f}{GAP}{cells[0]:<44}{GAP}{cells[1]}".rstrip())
    if len(rows) > most:
        lines.append(f"{'':>9}{GAP}… and {len(rows) - most} steps more")
    lines.append(f"{(recorded.fault.end - start) / 1000:>9.0f}{GAP}the fault is done")
    return lines


def _waiting(step: Step) -> str:
    parts = []
    if step.slept:
        parts.append(f"asleep {step.slept / 1000:.0f}")
    elif step.waited:
        parts.append(f"waits {step.waited / 1000:.0f} for lines")
    return f" ({', '.join(parts)})" if parts else ""


def _cell(step: Step | None) -> str:
    if step is None:
        return f"{GAP}{'·':>5}{'·':>7}"
    return f"{GAP}{step.lines.total() or '':>5}{step.ns:>7.0f}"


def _either(row: tuple[Step | None, Step | None]) -> Step:
    step = row[0] or row[1]
    assert step is not None
    return step


def _merged(one: list[Step], two: list[Step]) -> list[tuple[Step | None, Step | None]]:
    """Pair equal steps in order. The end of the fault is what both do last, so align from there."""
    a, b = [s.name for s in one][::-1], [s.name for s in two][::-1]
    rows: list[tuple[Step | None, Step | None]] = []
    one, two = one[::-1], two[::-1]
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            rows += list(zip(one[i:j], two[k:m], strict=True))
        else:
            rows += [(None, step) for step in two[k:m]]
            rows += [(step, None) for step in one[i:j]]
    return rows[::-1]


def as_dict(fault: Fault) -> list[dict[str, object]]:
    """Return the steps for ``--format json``."""
    return [
        {
            "step": s.name,
            "ns": s.ns,
            "held": list(s.held),
            "lines": dict(s.lines),
            "accesses": s.accesses,
            "wait_ns": s.waited / 1000,
            "asleep_ns": s.slept / 1000,
        }
        for s in fault.steps
    ]
