"""will-it-scale's CSV: one file a series, as its runtest.py writes and its postprocess.py reads.

    tasks,processes,processes_idle,threads,threads_idle,linear
    0,0,100,0,100,0
    1,477990,49.88,275354,50.12,477990

Whole operations per second (faults, here), idle percent of the whole machine (0 where that is not
known; writers' CPU time is in no trial and passes for idle), and the best rate of one task times
tasks. Address spaces tell the columns apart: ``--mms private`` are processes,
``--mms shared`` threads; what was imported says which binary it was. A number of tasks that was
not measured one of the ways is -1 there, as a failed point is.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultbench.errors import DataError, FaultbenchError
from faultbench.machines import description
from faultbench.model import Status, Trial, TrialSpec
from faultbench.sysfs import parse_cpu_list
from faultbench.table import remarks, row

HEADER = "tasks,processes,processes_idle,threads,threads_idle,linear"
IDLE = "wis_idle_pct"  # in an imported trial's extra: idle percent of the whole machine


def split_kind(test: str) -> tuple[str, bool | None]:
    """Return the test of one of will-it-scale's binaries and whether it runs processes.

    None where the name is neither ``…_processes`` nor ``…_threads``.
    """
    for suffix, processes in (("_processes", True), ("_threads", False)):
        if test.endswith(suffix):
            return test.removesuffix(suffix), processes
    return test, None


@dataclass(frozen=True)
class Point:
    """Faults per second and idle percent of one number of tasks, one way."""

    rate: int
    idle: float


@dataclass(frozen=True)
class Series:
    """Everything that is alike but the number of tasks; `slug` tells it from the others."""

    title: str
    slug: str
    processes: dict[int, Point]
    threads: dict[int, Point]

    def csv(self) -> str:
        """Return the file's text."""
        single = max((way[1].rate for way in (self.processes, self.threads) if 1 in way), default=0)
        lines = [HEADER, "0,0,100,0,100,0"]
        for tasks in sorted({*self.processes, *self.threads}):
            cells = [str(tasks)]
            for way in (self.processes, self.threads):
                point = way.get(tasks, Point(-1, 0.0))
                cells += [str(point.rate), f"{point.idle:.2f}"]
            lines.append(",".join([*cells, str(single * tasks)]))
        return "\n".join(lines) + "\n"


def machine_cpus(machines: Iterable[str], host: Mapping[str, Any]) -> dict[str, int]:
    """Return how many CPUs each machine has in all, as far as `host` or its description tells.

    Idle is what all of them are, also those that a sweep was not allowed to use.
    """
    found: dict[str, int] = {}
    for machine in machines:
        kind, _, name = machine.partition(":")
        count: object
        try:
            if kind == "virtual":
                count = description.load(name).cpus
            else:
                count = len(parse_cpu_list(str(host.get("online", "")))) or host.get("cpus")
        except (FaultbenchError, ValueError):
            continue
        if type(count) is int and count > 0:
            found[machine] = count
    return found


def unknown_idle(trials: Iterable[Trial], cpus: Mapping[str, int]) -> list[str]:
    """Return the machines of whose idle percent nothing is known."""
    lacking = (
        trial.spec.machine for trial in trials
        if trial.status is Status.OK
        and IDLE not in trial.extra and trial.spec.machine not in cpus
    )  # fmt: skip
    return sorted(set(lacking))


def series(trials: Iterable[Trial], cpus: Mapping[str, int] | None = None) -> list[Series]:
    """Return the series in the trials that ended ok; medians over repeats. `DataError` if none.

    One worker means the same in private and in shared mappings: it begins both series. `cpus` are
    those of `machine_cpus`; of other machines no idle percent is known.
    """
    groups: dict[tuple[str, ...], dict[tuple[str, ...], list[Trial]]] = {}
    for trial in trials:
        if trial.status is Status.OK and row(trial)["faults_per_s"] is not None:
            group = groups.setdefault(_words(trial), {})
            group.setdefault(_sharing(trial.spec), []).append(trial)
    if not groups:
        raise DataError("no trial that ended ok: nothing to export")
    split: dict[tuple[str, ...], list[Trial]] = {}
    for words, by_sharing in groups.items():
        alone = by_sharing.pop((), [])
        for sharing, some in (by_sharing or {(): []}).items():
            split[words + sharing] = alone + some
    cpus = cpus or {}
    common = set.intersection(*(set(words) for words in split))
    result: list[Series] = []
    taken: set[str] = set()
    for words in sorted(split, key=lambda w: ("direct" not in w, w)):
        ways: dict[bool, dict[int, list[Trial]]] = {True: {}, False: {}}
        for trial in split[words]:
            ways[_processes(trial)].setdefault(trial.spec.threads, []).append(trial)
        own = "-".join(word for word in words if word not in common)
        slug = _unlike(re.sub(r"[^a-z0-9.]+", "-", own.lower()).strip("-")[:80], taken)
        title = "; ".join([" ".join(words), *remarks(split[words][0])])
        result.append(Series(title, slug, _points(ways[True], cpus), _points(ways[False], cpus)))
    return result


def _unlike(slug: str, taken: set[str]) -> str:
    """Return a slug for a file name that no other series has: long names end alike, or are cut."""
    tried = (f"{slug or 'other'}-{n}" for n in itertools.count(2))
    while not slug or slug.replace(".", "-") in taken:  # as `sibling` writes it
        slug = next(tried)
    taken.add(slug.replace(".", "-"))
    return slug


def _points(way: dict[int, list[Trial]], cpus: Mapping[str, int]) -> dict[int, Point]:
    return {
        tasks: Point(
            round(statistics.median(row(trial)["faults_per_s"] for trial in trials)),
            statistics.median(_idle(trial, cpus) for trial in trials),
        )
        for tasks, trials in way.items()
    }


def _binary(trial: Trial) -> tuple[str, bool | None]:
    """Return the test and whether it ran processes; None for trials that are not imported."""
    label = trial.spec.handler_label
    return split_kind(label) if "imported" in trial.flags else (label, None)


def _processes(trial: Trial) -> bool:
    told = _binary(trial)[1]
    return trial.spec.mms == trial.spec.threads > 1 if told is None else told


def _idle(trial: Trial, cpus: Mapping[str, int]) -> float:
    """Idle percent of the whole machine: will-it-scale's own, or from the workers' CPU time.

    0 where it is not known: the format has nothing for that.
    """
    if isinstance(told := trial.extra.get(IDLE), int | float):
        return float(told)
    values, count = row(trial), cpus.get(trial.spec.machine)
    if count is None or values["cpu_ns"] is None or not values["window_ns"]:
        return 0.0
    idle: float = 100.0 - 100.0 * values["cpu_ns"] / (values["window_ns"] * count)
    return max(0.0, idle)


def _words(trial: Trial) -> tuple[str, ...]:
    """Say what a series is; workers, address spaces and mappings are told elsewhere."""
    spec = trial.spec
    words = [spec.machine, spec.kernel, spec.path.value if spec.path else "", spec.knobs]
    words += [_binary(trial)[0], spec.order.value, spec.access.value, f"map {spec.map}"]
    words.append(f"{spec.writers} writers {spec.writer_op}" if spec.writers else "0 writers")
    words.append(f"{spec.writer_rate} operations/s" if spec.writer_rate else "")
    words.append(f"fallback {spec.fallback_ppm / 1e6:g}" if spec.fallback_ppm else "")
    words.append("sync" if spec.sync else "")
    return tuple(word for word in words if word not in ("", "-"))


def _sharing(spec: TrialSpec) -> tuple[str, ...]:
    if spec.threads == 1:
        return ()
    labels = {"vmas": spec.vmas_label, "files": spec.files_label}
    if spec.mms_label.isdigit():  # one, or one a worker, is which of the two columns
        labels["mms"] = spec.mms_label
    words = [f"{name} {label}" for name, label in labels.items() if label != "-"]
    return tuple([*words, "overlap"] if spec.overlap else words)


def sibling(path: str, slug: str) -> str:
    """Return a name beside `path` for another series.

    postprocess.py takes what stands before the first dot for the name of a result's files.
    """
    name = Path(path)
    return str(name.with_name(f"{name.stem}-{slug.replace('.', '-')}{name.suffix or '.csv'}"))


def title_of(path: str) -> str:
    """Return the name of the one-line description that belongs to a CSV."""
    return str(Path(path).with_suffix(".title"))
