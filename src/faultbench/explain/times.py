"""A recorded fault and a writer as text: a time line of two CPUs."""

from __future__ import annotations

from collections.abc import Sequence

from faultbench.explain.record import Recorded
from faultbench.explain.steps import ASLEEP, LINE, SPIN, Step
from faultbench.functions import of_kernel

WORDS = {LINE: "lines {:.0f}", SPIN: "spins {:.0f}", ASLEEP: "asleep {:.0f}"}
NOTED_NS, NOTED_PART = 100, 20  # waiting that a row of its own shows: ns, and a part of the fault


def timeline(title: str, recorded: Recorded, width: int = 100, most: int = 22) -> list[str]:
    """Return the fault beside the writer's steps.

    A row begins where the other CPU begins a step, or where one waits: what lies between is one
    row.
    """
    writer = recorded.writer
    if writer is None:
        return [f"{title}: no writer met this fault"]
    start = recorded.fault.begin
    column = (width - 9 - 4) // 2
    least = max(NOTED_NS, (recorded.fault.end - start) / 1000 / NOTED_PART)
    both = [(s.begin, 0, s) for s in recorded.fault.steps] + [(s.begin, 1, s) for s in writer.steps]
    both.sort(key=lambda one: one[:2])
    runs: list[tuple[int, int, list[Step]]] = []
    for when, who, step in both:
        last = runs[-1] if runs else None
        if last and last[1] == who and not (_noted(step, least) or _noted(last[2][-1], least)):
            last[2].append(step)
        else:
            runs.append((when, who, [step]))
    head = "worker (of it for lines, spinning, asleep)"
    shown = [f"{title}, time line", f"{'ns':>9}  {head:<{column}}  writer"]
    for when, who, steps in runs[:most]:
        text = _text(steps, recorded.spec.kernel, column, least)
        cells = (text, "") if who == 0 else ("", text)
        before = " (before)" if when < start else f"{(when - start) / 1000:>9,.0f}"
        shown.append(f"{before}  {cells[0]:<{column}}  {cells[1]}".rstrip())
    if len(runs) > most:
        left = sum(len(steps) for _, _, steps in runs[most:])
        shown.append(f"{'':>9}  … and {left} steps more (--format json)")
    shown.append(f"{(recorded.fault.end - start) / 1000:>9,.0f}  the fault is done")
    return shown


def _noted(step: Step, least: float) -> bool:
    return any(step.idle(kind) >= least for kind in WORDS)


def _text(steps: Sequence[Step], kernel: str, room: int, least: float) -> str:
    names = [of_kernel(step.name, kernel) for step in steps]
    if len(steps) == 1:
        # Longest first: what does not fit tells least.
        idle = sorted(((steps[0].idle(kind), kind) for kind in WORDS), reverse=True)
        said = [WORDS[kind].format(ns) for ns, kind in idle if ns >= least]
        for count in range(len(said), 0, -1):
            text = f"{names[0]} ({', '.join(said[:count])})"
            if len(text) <= room:
                return text
        return names[0]
    text = ", ".join(names)
    if len(text) > room:
        text = f"{names[0]} … {names[-1]}"
        counted = f"{text} ({len(names)} steps)"
        text = counted if len(counted) <= room else text
    return text if len(text) <= room else text[: room - 1] + "…"
