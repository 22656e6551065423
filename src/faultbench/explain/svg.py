"""The two-CPU time line as SVG: a lane for the worker, a lane for the writer, for each path."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from faultbench.explain.record import Fault, Recorded

WIDTH, LANE, LEFT, TOP = 960, 34, 130, 48
WORK, WAIT, SLEEP = "#4c78a8", "#e4a33b", "#c1443c"  # told apart by lightness too
NOTE = (
    "From one simulated fault. Not claimed: absolute times, signs below 10 %, SMT, bandwidth, "
    "page placement, frequency, more threads than CPUs."
)


def draw(titles: Sequence[str], recorded: Sequence[Recorded]) -> str:
    """Return the drawing; all paths share one scale."""
    span = max(r.fault.end - r.fault.begin for r in recorded) or 1
    height = TOP + len(recorded) * (3 * LANE) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" role="img">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="15">One fault and a writer (simulated)</text>',
    ]
    for i, (colour, word) in enumerate(
        ((WORK, "runs"), (WAIT, "waits for lines"), (SLEEP, "asleep"))
    ):
        at = LEFT + i * 130
        parts.append(f'<rect x="{at}" y="28" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{at + 17}" y="38">{word}</text>')
    y = TOP
    for title, one in zip(titles, recorded, strict=True):
        parts.append(f'<text x="8" y="{y + 14}" font-weight="bold">{escape(title)}</text>')
        for name, lane in (("worker", one.fault), ("writer", one.writer)):
            y += LANE
            parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{name}</text>')
            if lane is not None:
                parts += _lane(lane, y - LANE / 2 + 4, one.fault, span)
        y += LANE
    scale = (WIDTH - LEFT - 20) / span
    for tick in range(6):
        x = LEFT + tick * span / 5 * scale
        parts.append(
            f'<text x="{x:.1f}" y="{y + 14}" text-anchor="{"end" if tick == 5 else "middle"}">'
            f"{tick * span / 5000:.0f} ns</text>"
        )
    parts.append(f'<text x="8" y="{height - 8}" font-size="10" fill="#555">{escape(NOTE)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _lane(lane: Fault, y: float, fault: Fault, span: int) -> list[str]:
    scale = (WIDTH - LEFT - 20) / span
    parts = []
    for step in lane.steps:
        begin, end = max(step.begin, fault.begin), min(step.end, fault.end)
        if end <= begin:
            continue
        x, width = LEFT + (begin - fault.begin) * scale, (end - begin) * scale
        busy = step.end - step.begin
        colour = SLEEP if 2 * step.slept > busy else WAIT if 2 * step.waited > busy else WORK
        tip = f"{step.name}: {step.ns:.0f} ns, {step.waited / 1000:.0f} ns for lines"
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="22" '
            f'fill="{colour}" stroke="white" stroke-width="0.6"><title>{escape(tip)}</title></rect>'
        )
        if width > 7 * len(step.name):
            parts.append(
                f'<text x="{x + 4:.1f}" y="{y + 15:.1f}" fill="white">{escape(step.name)}</text>'
            )
    return parts
