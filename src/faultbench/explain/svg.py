"""The two-CPU time line as SVG: a lane for the worker, a lane for the writer, for each path.

All paths share one scale; one that is much shorter is drawn again, magnified. A lane shows what its
CPU did at each moment, by pattern as well as by colour; its steps are numbered, with a key.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from html import escape

from faultbench.enums import Path
from faultbench.explain.record import Fault, Recorded
from faultbench.explain.steps import ASLEEP, LINE, SPIN, Step
from faultbench.functions import of_kernel

WIDTH, LANE, LEFT, RIGHT, TOP, BOX = 960, 44, 84, 24, 70, 20
ROOM = WIDTH - LEFT - RIGHT
DIGIT = 7.8  # px of a digit of a step's number
MAGNIFIED = 3  # times shorter than the longest: drawn again
COLUMNS = 3  # of the key
RUNS = "run"
# Told apart by pattern, and by lightness in a grey print.
LOOKS = {
    RUNS: ("#9dc3e6", "", "runs"),
    LINE: ("#fff2cc", "M0 8 8 0M-2 2 2-2M6 10 10 6", "waits for lines"),
    SPIN: ("#c9b3dd", "M0 0 8 8M0 8 8 0", "spins on a lock"),
    ASLEEP: ("#8c2f2f", "M0 4H8", "asleep"),
}
INK, MARK = "#1a1a1a", {RUNS: "", LINE: "#b8860b", SPIN: "#5b3a8c", ASLEEP: "#f0c8c8"}
UNRELEASED = ", never released: linux-next, July-August 2023"


def draw(
    titles: Sequence[str], recorded: Sequence[Recorded], heading: str, notes: Sequence[str]
) -> str:
    """Return the drawing, with `notes` at its foot."""
    spans = [one.fault.end - one.fault.begin for one in recorded]
    numbers = _numbers(recorded)
    body: list[str] = []
    y = TOP
    for title, one, span in zip(titles, recorded, spans, strict=True):
        said = title + (UNRELEASED if one.spec.path is Path.RETRY else "")
        body += _part(said, one, max(spans), numbers, y)
        y += 2 * LANE + 50
        if span * MAGNIFIED <= max(spans):
            said = f"{title}, the same magnified {max(spans) / span:.0f} times"
            body += _part(said, one, span, numbers, y)
            y += 2 * LANE + 50
    key, y = _key(numbers, recorded, y)
    foot = [line for note in notes for line in textwrap.wrap(note.removesuffix(".") + ".", 150)]
    for line in foot:
        body.append(f'<text x="8" y="{y}" font-size="11" fill="#555">{escape(line)}</text>')
        y += 15
    return "\n".join([*_head(heading, y), *body, *key, "</svg>"]) + "\n"


def _head(heading: str, height: int) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12" role="img">'
    )
    yield "<defs>"
    for kind, (colour, pattern, _) in LOOKS.items():
        yield (
            f'<pattern id="{kind}" width="8" height="8" patternUnits="userSpaceOnUse">'
            f'<rect width="8" height="8" fill="{colour}"/>'
            f'<path d="{pattern}" stroke="{MARK[kind] or colour}" stroke-width="1.4"/></pattern>'
        )
    yield "</defs>"
    yield f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    yield f'<text x="8" y="20" font-size="15">SIMULATED: {escape(heading)}</text>'
    for i, (kind, (_, _, word)) in enumerate(LOOKS.items()):
        x = LEFT + i * 150
        yield (
            f'<rect x="{x}" y="32" width="22" height="14" fill="url(#{kind})" stroke="{INK}" '
            f'stroke-width="0.6"/><text x="{x + 28}" y="44">{word}</text>'
        )


def _numbers(recorded: Sequence[Recorded]) -> dict[str, int]:
    """Return a number for each function as they come, the workers' before the writers'."""
    lanes = [one.fault for one in recorded] + [one.writer for one in recorded if one.writer]
    names = dict.fromkeys(step.name for lane in lanes for step in lane.steps)
    return {name: i for i, name in enumerate(names, 1)}


def _key(numbers: dict[str, int], recorded: Sequence[Recorded], y: int) -> tuple[list[str], int]:
    kernels = list(dict.fromkeys(one.spec.kernel for one in recorded))
    names = [" / ".join(dict.fromkeys(of_kernel(n, k) for k in kernels)) for n in numbers]
    tall = -(-len(names) // COLUMNS)
    found = []
    for i, (name, number) in enumerate(zip(names, numbers.values(), strict=True)):
        x, at = 8 + i // tall * (WIDTH // COLUMNS), y + i % tall * 16
        found.append(f'<text x="{x + 18}" y="{at}" text-anchor="end">{number}</text>')
        found.append(f'<text x="{x + 26}" y="{at}">{escape(name)}</text>')
    return found, y + tall * 16 + 14


def _part(title: str, one: Recorded, span: int, numbers: dict[str, int], y: int) -> Iterator[str]:
    """Yield the two lanes of a path and their axis."""
    yield f'<text x="8" y="{y + 4}" font-weight="bold">{escape(title)}</text>'
    scale = ROOM / span
    top = y + 26
    for name, lane in (("worker", one.fault), ("writer", one.writer)):
        yield f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{name}</text>'
        if lane is not None:
            yield from _lane(lane, top, one.fault, scale, numbers)
        top += LANE
    axis = top - LANE + BOX + 6
    unit, word = (1_000_000, "µs") if span >= 10_000_000 else (1000, "ns")
    step = _nice(span / unit / 6)
    for tick in range(int(span / unit / step) + 1):
        x = LEFT + tick * step * unit * scale
        yield f'<path d="M{x:.1f} {axis}v4" stroke="{INK}"/>'
        said = f"{tick * step:g}" + (f" {word}" if not tick else "")
        yield f'<text x="{x:.1f}" y="{axis + 16}" text-anchor="middle">{said}</text>'
    yield f'<path d="M{LEFT} {axis}H{LEFT + ROOM}" stroke="{INK}" stroke-width="0.8"/>'


def _nice(least: float) -> float:
    """Return the first of 1, 2, 5, 10, … that is not below `least`."""
    power = 1.0
    while power * 10 <= least:
        power *= 10
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least)


def _lane(
    lane: Fault, y: float, fault: Fault, scale: float, numbers: dict[str, int]
) -> Iterator[str]:
    def at(ps: int) -> float:
        return LEFT + (min(max(ps, fault.begin), fault.end) - fault.begin) * scale

    boxes: list[tuple[float, float, int]] = []
    for step in lane.steps:
        x, right = at(step.begin), at(step.end)
        if right <= x:
            continue
        boxes.append((x, right, numbers[step.name]))
        yield f"<g><title>{escape(_tip(step))}</title>"
        yield _box(x, right, y, RUNS)
        for begin, end, kind in step.parts:
            if at(end) > at(begin):
                yield _box(at(begin), at(end), y, kind)
        yield (
            f'<rect x="{x:.1f}" y="{y}" width="{right - x:.1f}" height="{BOX}" fill="none" '
            f'stroke="{INK}" stroke-width="0.5"/></g>'
        )
    for middle, text in _labels(boxes):
        yield f'<text x="{middle:.1f}" y="{y - 4}" text-anchor="middle">{text}</text>'


def _box(x: float, right: float, y: float, kind: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{max(right - x, 0.3):.1f}" height="{BOX}" '
        f'fill="url(#{kind})"/>'
    )


def _tip(step: Step) -> str:
    idle = [f"{step.idle(kind):.0f} {LOOKS[kind][2]}" for kind in (LINE, SPIN, ASLEEP)
            if step.idle(kind)]  # fmt: skip
    return f"{step.name}: {step.ns:.0f} ns" + (f", of it {', '.join(idle)}" if idle else "")


def _labels(boxes: Sequence[tuple[float, float, int]]) -> Iterator[tuple[float, str]]:
    """Yield where to write which number: one over a box, or ``2-6`` over boxes that are narrow."""
    runs: list[list[tuple[float, float, int]]] = []
    for box in boxes:
        wide = box[1] - box[0] >= DIGIT * len(str(box[2])) + 3
        last = runs[-1][-1] if runs else None
        if last and not wide and last[1] - last[0] < DIGIT * len(str(last[2])) + 3:
            runs[-1].append(box)
        else:
            runs.append([box])
    free = 0.0
    for run in runs:
        text = _range([number for _, _, number in run])
        half = DIGIT * len(text) / 2 + 2
        middle = (run[0][0] + run[-1][1]) / 2
        if middle - half < free:  # beside its boxes rather than on another's number
            middle = free + half
        if middle - half <= run[-1][1] + 12 and middle + half <= WIDTH:
            yield middle, text
            free = middle + half


def _range(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    if len(numbers) == 1:
        return str(first)
    if list(numbers) == list(range(first, last + 1)):
        return f"{first}-{last}"
    return ",".join(map(str, numbers)) if len(numbers) <= 3 else f"{first}…{last}"
