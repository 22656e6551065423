"""A recorded fault as text: two paths side by side on one screen."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from string import ascii_lowercase

from faultbench.enums import Path
from faultbench.explain.record import Recorded
from faultbench.explain.steps import ASLEEP, LINE, SPIN, Step
from faultbench.functions import of_kernel

GAP = "  "
DETOUR, OTHER = ">", "<"
MARKS = {LINE: "w", SPIN: "s", ASLEEP: "z", "": " "}
WORDS = {LINE: "waiting for lines", SPIN: "spinning on locks", ASLEEP: "asleep"}
FAULT_LOCKS = {"vma_lock": "vma", "mmap_lock": "mmap"}
UNRELEASED = "(never released)"
LEGEND = (
    "locks: +taken, -given back, ±both; :r shared. under: the fault's lock. ns: mostly w waiting "
    "for lines, s spinning, z asleep. "
)
BY_LETTER, COUNTED = "lines: journeys to this CPU, by letter", "ln: lines that came to this CPU"
LOCK = len("+sb_start_pagefault:r")
NARROW = 22  # columns of a step's name where there is little room
_OF_TASKS = re.compile(r"task \d+ (mcs|waiter)(.*)")  # whose tells a reader nothing
JOURNEYS = 8  # characters of one step's lines

Row = tuple[Step | None, Step | None]


def beside(titles: Sequence[str], recorded: Sequence[Recorded], width: int = 100) -> list[str]:
    """Return the steps of both faults, merged; a step of the first only is the detour, ``>``."""
    rows = merged(recorded[0].fault.steps, recorded[1].fault.steps)
    keys = _keys(recorded)
    kernels = [one.spec.kernel for one in recorded]
    table = _Table(titles, rows, keys, recorded, width)
    shown = table.head()
    for row in rows:
        shown += table.row(row)
    shown += table.totals(recorded)
    shown += _only(titles, rows)
    shown += textwrap.wrap(LEGEND + (BY_LETTER if table.came == "lines" else COUNTED), width)
    shown += _lines(titles, recorded, keys, width, lettered=table.came == "lines")
    shown += _renamed([_either(row).name for row in rows], kernels)
    return shown


def _only(titles: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Return what one path does and the other does not, and what both do at other places."""
    first = [one for one, two in rows if two is None and one is not None]
    second = [two for one, two in rows if one is None and two is not None]
    if not first and not second:
        return ["both take the same steps"]
    found = []
    if first:
        idle = ((kind, sum(step.idle(kind) for step in first)) for kind in WORDS)
        said = ", ".join(f"{ns:,.0f} {WORDS[kind]}" for kind, ns in idle if ns)
        found.append(f"{DETOUR} only {titles[0]}: {_sum(first)}" + (f" ({said})" if said else ""))
    if second:
        found.append(f"{OTHER} only {titles[1]}: {_sum(second)}")
    both = {step.name for step in first} & {step.name for step in second}
    if both:
        found[-1] += f"; both, at another place: {', '.join(sorted(both))}"
    return found


def _sum(steps: Sequence[Step]) -> str:
    return f"{sum(s.ns for s in steps):,.0f} ns"


class _Table:
    """The widths of the columns, and rows that fit in them."""

    def __init__(
        self, titles: Sequence[str], rows: Sequence[Row], keys: dict[str, str],
        recorded: Sequence[Recorded], width: int,
    ) -> None:  # fmt: skip
        self.titles, self.keys = titles, keys
        self.kernels = [one.spec.kernel for one in recorded]
        self.unreleased = [one.spec.path is Path.RETRY for one in recorded]
        cells = [one for row in rows for one in row if one is not None]
        self.gap, self.came = GAP, "lines"
        self.letters = max(len("lines "), *(len(self._journeys(one)) + 1 for one in cells))
        self.name = max(len(_either(row).name) for row in rows) + 1
        if width < 100 or self._left(width) < LOCK:
            self.name = min(self.name, NARROW if width < 100 else NARROW + 4)
        if self._left(width) < LOCK:  # how many lines came, and not which
            self.gap, self.came, self.letters, self.keys = " ", "ln", 2, {}
        self.locks = max(self._left(width), LOCK)

    @property
    def cell(self) -> int:
        """Columns of one path: under, lines, ns."""
        return len(self.gap) + len("under ") + self.letters + len("123,456w")

    def _left(self, width: int) -> int:
        return width - 2 - self.name - 2 * self.cell

    def head(self) -> list[str]:
        """Return the two lines above the steps."""
        room = self.cell - len(self.gap)
        left = 2 + self.name + self.locks
        heads = [self.titles]
        if any(self.unreleased):
            heads.append([UNRELEASED if one else "" for one in self.unreleased])
        found = [
            f"{'':{left}}" + "".join(f"{self.gap}{text[:room]:<{room}}" for text in head)
            for head in heads
        ]
        second = f"{self.gap}under {self.came:<{self.letters}}{'ns':>7} "
        step = "step (kernel function)" if self.name > NARROW else "kernel function"
        found.append(f"  {step:<{self.name}}{'locks':<{self.locks}}{second * 2}")
        return [line.rstrip() for line in found]

    def row(self, row: Row) -> list[str]:
        """Return a step: further lines where its locks do not fit into one."""
        one, two = row
        if one and two and _changes(one) != _changes(two):  # same step, other locks
            return [*self._row((one, None), " "), *self._row((None, two), " ")]
        return self._row(row, DETOUR if two is None else OTHER if one is None else " ")

    def _row(self, row: Row, mark: str) -> list[str]:
        step = _either(row)
        name = of_kernel(step.name, self.kernels[0 if row[0] is not None else 1])
        if len(name) >= self.name:
            name = name[: self.name - 2] + "…"
        locks = textwrap.wrap(_changes(step), self.locks, break_on_hyphens=False) or [""]
        cells = "".join(self._cell(one) for one in row)
        first = f"{mark} {name:<{self.name}}{locks[0]:<{self.locks}}{cells}".rstrip()
        return [first, *(f"{'':{2 + self.name}}{more}" for more in locks[1:])]

    def _cell(self, step: Step | None) -> str:
        if step is None:
            return f"{self.gap}{'·':<6}{'':{self.letters}}{'·':>7} "
        under = "+".join(
            FAULT_LOCKS[lock] for held in step.held if (lock := held.split(":")[0]) in FAULT_LOCKS
        )
        ns, mark = f"{step.ns:.0f}", MARKS[step.mostly]
        return f"{self.gap}{under or '-':<6}{self._journeys(step):<{self.letters}}{ns:>7}{mark}"

    def _journeys(self, step: Step) -> str:
        if not self.keys:
            return str(step.lines.total() or "")
        found = _common(step.lines)
        ordered = sorted(found, key=lambda name: self.keys[name])
        text = "".join(self.keys[n] + (str(found[n]) if found[n] > 1 else "") for n in ordered)
        return text if len(text) <= JOURNEYS else text[: JOURNEYS - 1] + "…"

    def totals(self, recorded: Sequence[Recorded]) -> list[str]:
        """Return the sums: how long the fault took, and what of it."""
        steps = [one.fault.steps for one in recorded]
        idle = {kind: [sum(s.idle(kind) for s in path) for path in steps] for kind in WORDS}
        whole = [(one.fault.end - one.fault.begin) / 1000 for one in recorded]
        ran = [w - sum(parts) for w, parts in zip(whole, zip(*idle.values(), strict=True),
                                                  strict=True)]  # fmt: skip
        lines = [str(sum(s.lines.total() for s in path)) for path in steps]
        found = [self._total("one fault", lines, whole), self._total("  running", ["", ""], ran)]
        for kind, word in WORDS.items():
            if any(idle[kind]):
                found.append(self._total(f"  {MARKS[kind]} {word}", ["", ""], idle[kind]))
        return found

    def _total(self, what: str, lines: Sequence[str], ns: Sequence[float]) -> str:
        cells = "".join(
            f"{self.gap}{'':6}{count:<{self.letters}}{value:>7,.0f} "
            for count, value in zip(lines, ns, strict=True)
        )
        return f"  {what:<{self.name + self.locks}}{cells}".rstrip()


def _changes(step: Step) -> str:
    """Return ``+taken -given back ±both`` in the order in which that happened."""
    both = [lock for lock in step.taken if lock in step.dropped]
    words = [("±" if lock in both else "+") + lock for lock in step.taken]
    words += ["-" + lock.split(":")[0] for lock in step.dropped if lock not in both]
    return " ".join(dict.fromkeys(words))


def _common(lines: Counter[str]) -> Counter[str]:
    """Return the lines with one name for the queue nodes of all tasks."""
    found: Counter[str] = Counter()
    for name, count in lines.items():
        found[_OF_TASKS.sub(r"queue nodes of the tasks (\1)", name) or "unnamed"] += count
    return found


def _keys(recorded: Sequence[Recorded]) -> dict[str, str]:
    """Return a letter for each line that came, in the order in which they first came."""
    names = dict.fromkeys(
        name for one in recorded for step in one.fault.steps for name in _common(step.lines)
    )
    return {name: ascii_lowercase[i] if i < 26 else f"({i})" for i, name in enumerate(names)}


def _lines(
    titles: Sequence[str], recorded: Sequence[Recorded], keys: dict[str, str], width: int,
    *, lettered: bool,
) -> list[str]:  # fmt: skip
    """Return what the letters mean, with the journeys of each path."""
    if not keys:
        return ["every access hit; with more workers lines travel (--threads)"]
    counts = [sum((_common(step.lines) for step in one.fault.steps), Counter()) for one in recorded]
    columns = [max(7, len(title) + 2) for title in titles]
    room = width - sum(columns)

    def row(text: str, cells: Sequence[str]) -> str:
        text = text if len(text) <= room else text[: room - 1] + "…"
        numbers = "".join(f"{c:>{w}}" for c, w in zip(cells, columns, strict=True))
        return f"{text:<{room}}{numbers}"

    return [
        row("lines that travelled", titles),
        *(
            row(f"  {key} {n}" if lettered else f"  {n}", [str(c[n] or "·") for c in counts])
            for n, key in keys.items()
        ),
    ]


def _renamed(names: Sequence[str], kernels: Sequence[str]) -> list[str]:
    """Say which step goes by another name in an older kernel."""
    return [
        f"{older} in {kernel}: what {name} does from v6.5 on"
        for name in dict.fromkeys(names)
        for kernel in dict.fromkeys(kernels)
        if (older := of_kernel(name, kernel)) != name
    ]


def _either(row: Row) -> Step:
    step = row[0] or row[1]
    assert step is not None
    return step


def merged(one: list[Step], two: list[Step]) -> list[Row]:
    """Pair equal steps in order. The end of the fault is what both do last, so align from there."""
    a, b = [s.name for s in one][::-1], [s.name for s in two][::-1]
    rows: list[Row] = []
    one, two = one[::-1], two[::-1]
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            rows += list(zip(one[i:j], two[k:m], strict=True))
        else:
            rows += [(None, step) for step in two[k:m]]
            rows += [(step, None) for step in one[i:j]]
    return rows[::-1]


def as_dict(steps: Sequence[Step], kernel: str) -> list[dict[str, object]]:
    """Return the steps for ``--format json``."""
    return [
        {
            "step": of_kernel(s.name, kernel),
            "ns": s.ns,
            "held": list(s.held),
            "taken": list(s.taken),
            "dropped": list(s.dropped),
            "lines": dict(s.lines),
            "accesses": s.accesses,
            "wait_ns": s.idle(LINE),
            "spin_ns": s.idle(SPIN),
            "asleep_ns": s.idle(ASLEEP),
        }
        for s in steps
    ]
