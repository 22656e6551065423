"""The virtual time line of one trial in the Trace Event format, which Perfetto opens.

A track per simulated CPU with its steps (kernel functions), and beside it one with the cache lines
that arrived there and how long each was under way. Slices of one track must nest, so a line that is
under way beside another has a further track.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from faultbench import functions
from faultbench.enums import Path as FaultPath
from faultbench.model import Trial
from faultbench.output import replacing
from faultbench.rules import NEVER_RELEASED, unconfirmed

PS_PER_US = 1_000_000


def events(trial: Trial, log: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return trace events of a log of ``[ps, cpu, kind, step, line, wait_ps]``."""
    # The names `explain` has for them.
    steps = [functions.of_kernel(name, trial.spec.kernel) for name in functions.steps()]
    found: list[dict[str, Any]] = []
    begun: dict[int, tuple[int, str]] = {}
    journeys: dict[int, list[tuple[int, int, str]]] = {}
    last = max((int(record[0]) for record in log), default=0)

    def close(cpu: int, now: int) -> None:
        if cpu in begun:
            start, name = begun.pop(cpu)
            found.append(_slice(name, "step", 2 * cpu, start, now - start))

    for ps, cpu, kind, step, line, wait in log:
        if kind == "step":
            close(cpu, ps)
            begun[cpu] = (ps, steps[step] if 0 <= step < len(steps) else f"step {step}")
        elif kind == "arrive":
            journeys.setdefault(cpu, []).append((ps - wait, ps, str(line)))
    for cpu in list(begun):
        close(cpu, last)
    cpus = sorted({record[1] for record in log})
    if cpus:
        whole = {"name": "; ".join([_subject(trial), *notes(trial)])}
        found.append({"ph": "M", "pid": 1, "name": "process_name", "args": whole})
    for cpu in cpus:
        role = "worker" if cpu < trial.spec.threads else "writer"
        tracks = [(2 * cpu, f"CPU {cpu} ({role})"), (2 * cpu + 1, f"CPU {cpu} lines")]
        free: list[int] = []  # per track of lines: from when on
        for start, end, name in sorted(journeys.get(cpu, [])):
            lane = next((i for i, since in enumerate(free) if since <= start), len(free))
            free[lane : lane + 1] = [end]
            track = 2 * cpu + 1 + lane * 2 * (cpus[-1] + 1)
            found.append(_slice(name, "line", track, start, end - start))
            if lane and (track, f"CPU {cpu} lines") not in tracks:
                tracks.append((track, f"CPU {cpu} lines"))
        for order, (track, what) in enumerate(tracks):
            head = {"ph": "M", "pid": 1, "tid": track}
            found.append({**head, "name": "thread_name", "args": {"name": what}})
            index = {"sort_index": cpu * 1000 + order}
            found.append({**head, "name": "thread_sort_index", "args": index})
    return found


def _subject(trial: Trial) -> str:
    spec = trial.spec
    return f"SIMULATED {spec.handler_label} {spec.path or ''} ({spec.kernel} on {spec.machine})"


def notes(trial: Trial) -> list[str]:
    """Return what must be said wherever results of that kernel and path appear."""
    said = [NEVER_RELEASED] if trial.spec.path is FaultPath.RETRY else []
    return [*said, *filter(None, [unconfirmed([trial.spec.kernel])])]


def _slice(name: str, category: str, track: int, start_ps: int, ps: int) -> dict[str, Any]:
    return {
        "name": name,
        "cat": category,
        "ph": "X",
        "pid": 1,
        "tid": track,
        "ts": start_ps / PS_PER_US,
        "dur": ps / PS_PER_US,
    }


def write(trial: Trial, log: Sequence[Sequence[Any]], path: str) -> None:
    """Write the time line; `OutputError` if the place cannot be written."""
    document = {
        "traceEvents": events(trial, log),
        "displayTimeUnit": "ns",
        "otherData": {
            "trial_id": trial.trial_id,
            "machine": trial.spec.machine,
            "kernel": trial.spec.kernel,
            "path": str(trial.spec.path),
            "notes": notes(trial),
        },
    }
    with replacing(path) as stream:
        stream.write(json.dumps(document))
