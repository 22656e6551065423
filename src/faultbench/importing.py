"""Other programs' results as trials: will-it-scale (CSV and raw output) and PFT lines.

Imported trials belong to the ``kernel`` machine: real faults, counted by somebody else's program.
Their case is told by what the file's contents say (test, tasks, threads or processes), never by
its name. A test of will-it-scale is called what its two binaries are, ``page_fault1_processes`` and
``page_fault1_threads``: with one task nothing else tells them apart. Formats: field-notes 4.1, 4.2.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from faultbench.errors import DataError, UsageError
from faultbench.model import Access, Map, Order, Pin, Status, Trial, TrialSpec
from faultbench.wis import IDLE, split_kind

WIS_HEADER = ("tasks", "processes", "processes_idle", "threads", "threads_idle", "linear")
PFT_ORDERS = {
    "gb,thr,cline": ("gb", "thr", "cline"),
    "gb,rep,thr": ("gb", "rep", "thr"),
}
SECOND = 1_000_000_000
LEAST_PAGE = 4000
PAGE_SLACK = 0.03  # in log2: times are printed in hundredths of a second
MAX_TASKS = 1 << 20
MAX_DIGITS = 15  # of a rate; records hold 64 bits
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass
class Imported:
    """Trials in the order of the file, and what a user must know about them."""

    trials: list[Trial] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def spec(test: str, tasks: int, *, processes: bool, kernel: str, shared_vma: bool) -> TrialSpec:
    """Return the spec of one imported point; repeats are numbered later."""
    return TrialSpec(
        machine="kernel",
        kernel=kernel,
        path=None,
        rules=None,
        handler=None,
        order=Order.PTE,
        access=Access.WRITE,
        map=Map.PRIVATE,
        threads=tasks,
        vmas=1 if shared_vma else tasks,
        files=0,
        mms=tasks if processes else 1,
        pin=Pin.NONE,
        cost="none",
        mapping=test,
    )


def _name(test: str) -> str:
    return _NAME.sub("-", test).strip("-")[:80] or "imported"


def _wis_point(test: str, tasks: int, *, processes: bool, kernel: str) -> TrialSpec:
    name = f"{_name(split_kind(test)[0])}_{'processes' if processes else 'threads'}"
    return spec(name, tasks, processes=processes, kernel=kernel, shared_vma=False)


def _trial(point: TrialSpec, faults: int, window_ns: int, cpu_ns: int | None = None) -> Trial:
    worker = {"window_ns": [window_ns], "faults": [faults]}
    if cpu_ns:
        worker["cpu_ns"] = [cpu_ns]
    return Trial(spec=point, status=Status.OK, flags=("imported",), worker=worker)


def numbered(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials with ``repeat`` counted up within each case, in their order."""
    seen: Counter[str] = Counter()
    result = []
    for trial in trials:
        case = trial.spec.case_id
        result.append(replace(trial, spec=replace(trial.spec, repeat=seen[case])))
        seen[case] += 1
    return result


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def will_it_scale(
    name: str, text: str, *, test: str, tasks: list[int], kernel: str, processes: bool | None = None
) -> Imported:
    """Read will-it-scale's CSV, or the raw output of its binaries, whichever ``text`` is.

    Raw output does not say how many tasks ran, nor of which kind: ``tasks`` gives one number for
    all runs or one for each ``average:`` line; ``processes`` (or ``test``, where it is the name of
    a binary) the kind.
    """
    first = next((line for _, line in _lines(text)), "")
    if first.replace(" ", "").lower() == ",".join(WIS_HEADER):
        return _wis_csv(name, text, test or "will-it-scale", kernel)
    if re.search(r"^(testcase|average):", text, re.MULTILINE):
        return _wis_raw(name, text, test, tasks, kernel, processes)
    raise DataError(
        f"{name}: neither will-it-scale's CSV (first line {','.join(WIS_HEADER)}) nor its raw "
        "output (lines average:N)"
    )


def _wis_csv(name: str, text: str, test: str, kernel: str) -> Imported:
    out = Imported()
    failed = 0
    for number, line in list(_lines(text))[1:]:
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(WIS_HEADER):
            raise DataError(
                f"{name}: line {number} has {len(cells)} columns, will-it-scale writes 6"
            )
        try:
            tasks = int(cells[0])
            rates = [float(cells[1]), float(cells[3])]
            idles = [float(cells[2]), float(cells[4])]
        except ValueError:
            raise DataError(f"{name}: line {number} holds no numbers: {line[:60]!r}") from None
        if not 0 <= tasks <= MAX_TASKS or not all(-1 <= rate < 1e15 for rate in rates):
            raise DataError(f"{name}: line {number} is out of range: {line[:60]!r}")
        for rate, idle, processes in zip(rates, idles, (True, False), strict=True):
            failed += rate == -1
            if tasks == 0 or rate <= 0:
                continue  # the idle line, a failed point (-1), a mode that was not run (0)
            point = _wis_point(test, tasks, processes=processes, kernel=kernel)
            known = {IDLE: idle} if 0 <= idle <= 100 else {}  # read back by `wis`, no more
            out.trials.append(replace(_trial(point, round(rate), SECOND), extra=known))
    if failed:
        out.notes.append(f"{name}: {failed} point(s) that will-it-scale marks as failed left out")
    if not out.trials:
        raise DataError(f"{name}: holds no measured point")
    out.trials = numbered(out.trials)
    return out


def _wis_raw(
    name: str, text: str, test: str, tasks: list[int], kernel: str, processes: bool | None
) -> Imported:
    out = Imported()
    if processes is None:
        processes = split_kind(test)[1]
    if processes is None:
        processes = False
        out.notes.append(
            f"{name}: raw output does not say which binary ran; taken as threads (say --processes, "
            "or the binary's name with --test)"
        )
    runs: list[tuple[str, int]] = []
    case = test
    for number, line in _lines(text):
        if line.startswith("testcase:") and not test:
            case = line.removeprefix("testcase:")
        elif line.startswith("average:"):
            raw = line.removeprefix("average:").strip()
            if not (raw.isascii() and raw.isdigit()):
                raise DataError(f"{name}: line {number}: {raw[:40]!r} is not a whole number")
            if len(raw) > MAX_DIGITS:
                raise DataError(f"{name}: line {number} is out of range: {raw[:40]!r}")
            runs.append((case or "will-it-scale", int(raw)))
    if not runs:
        raise DataError(f"{name}: holds no `average:` line: no run finished")
    if len(tasks) not in (0, 1, len(runs)):
        raise UsageError(
            f"{name}: {len(runs)} runs but {len(tasks)} numbers in --threads; give one for all or "
            "one for each"
        )
    if not tasks:
        out.notes.append(f"{name}: raw output names no tasks; taken as 1 (say --threads N)")
    counts = (tasks or [1]) * (len(runs) if len(tasks) < 2 else 1)
    for (label, rate), count in zip(runs, counts, strict=True):
        point = _wis_point(label, count, processes=processes, kernel=kernel)
        out.trials.append(_trial(point, rate, SECOND))
    out.trials = numbered(out.trials)
    return out


def pft(name: str, text: str, *, test: str, order: str, kernel: str) -> Imported:
    """Read PFT lines in either column order; a header line in the file tells which.

    Without a header ``order`` says so (a key of ``PFT_ORDERS``). Columns that contradict each
    other (CPU time against faults per CPU second) are refused: they are in another order than
    said.
    """
    if order not in PFT_ORDERS:
        raise UsageError(f"--columns {order}: one of {' or '.join(PFT_ORDERS)}")
    columns: tuple[str, ...] = PFT_ORDERS[order]
    headed = False
    out = Imported()
    for number, line in _lines(text):
        cells = line.split()
        if cells[0].lower() == "gb":
            columns, headed = _pft_header(name, number, cells), True
            continue
        if len(cells) != 8:
            continue  # a shell prompt, a comment: posts hold more than PFT's own lines
        try:
            values = [float(cell.removesuffix("s")) for cell in cells]
        except ValueError:
            continue
        where = f"{name}: line {number}"
        point = dict(zip(columns, values[:3], strict=True))
        if not headed:
            _pft_order(where, columns, values)
        out.trials.append(_pft_trial(where, point["thr"], values[3:], test or "pft", kernel))
    if not out.trials:
        raise DataError(f"{name}: holds no PFT line (8 numbers: Gb Thr CLine User System Wall …)")
    out.trials = numbered(out.trials)
    return out


def _pft_header(name: str, number: int, cells: list[str]) -> tuple[str, ...]:
    words = [cell.lower()[:3] for cell in cells[:3]]
    for columns in PFT_ORDERS.values():
        if words == [column[:3] for column in columns]:
            if [c.lower()[:4] for c in cells[3:6]] != ["user", "syst", "wall"]:
                break
            return columns
    raise DataError(f"{name}: line {number}: not a column order of PFT: {' '.join(cells)[:80]}")


def _pft_order(where: str, columns: tuple[str, ...], values: list[float]) -> None:
    """Refuse the order in which a fault is of no page's size where it is one in the other.

    Each repetition faults all the memory in once: Gb x Rep over the faults is the page's size. Two
    repetitions are read as two threads otherwise, and nothing else tells.
    """
    gb, user, system, wall, _, per_second = (values[0], *values[3:])
    if not gb > 0 or not wall >= 1 or not per_second > 0:
        return

    def fits(order: tuple[str, ...]) -> bool:
        point = dict(zip(order, values, strict=False))
        size = gb * point.get("rep", 1.0) * 2**30 / (per_second * wall)
        likely = size >= LEAST_PAGE and abs(math.log2(size) % 1 - 0.5) > 0.5 - PAGE_SLACK
        return likely and user + system <= 1.2 * point["thr"] * wall

    if not fits(columns):
        for name, order in PFT_ORDERS.items():
            if order != columns and fits(order):
                raise DataError(
                    f"{where}: {gb:g} GiB are no whole pages for so many faults, but are in the "
                    f"other order of columns; say --columns {name}"
                )


def _pft_trial(where: str, tasks: float, values: list[float], test: str, kernel: str) -> Trial:
    user, system, wall, per_cpu, per_second = values
    if not tasks.is_integer() or not 1 <= tasks <= MAX_TASKS:
        raise DataError(f"{where}: {tasks:g} threads; try another --columns")
    if min(user, system, wall) < 0 or not 0 < per_cpu < 1e15 or not 0 < per_second < 1e15:
        raise DataError(f"{where}: times and rates must be positive")
    # Rates are printed with more digits than times: the times only tell whether the columns fit.
    # Two ways to the same count, times three for lines that people rounded or typed.
    cpu = user + system
    slack = 0.015
    faults = per_second * max(wall, slack)
    low, high = per_cpu * max(cpu - slack, 0), per_cpu * (cpu + slack)
    if not low / 3 <= faults <= high * 3 + per_second * slack:
        raise DataError(
            f"{where}: times and rates contradict each other; are the columns in another order?"
        )
    if cpu > 1.2 * tasks * (wall + slack) + slack:
        raise DataError(
            f"{where}: more CPU time than {tasks:g} thread(s) can use; try another --columns"
        )
    whole = max(1, round(faults))
    point = spec(_name(test), int(tasks), processes=False, kernel=kernel, shared_vma=True)
    return _trial(point, whole, round(whole * SECOND / per_second), round(whole * SECOND / per_cpu))
