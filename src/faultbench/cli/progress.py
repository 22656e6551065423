"""How far a sweep is: a bar with the time left on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from faultbench.cli._results import safe

if TYPE_CHECKING:
    from faultbench.machines import Machine
    from faultbench.model import Trial, TrialSpec

LINE_EVERY_S = 5.0


def clock(seconds: float) -> str:
    """Return seconds as people read them."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def count(n: int, noun: str) -> str:
    """Return a number of things."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def describe(spec: TrialSpec) -> str:
    """Return a trial in a few words."""
    what = spec.path.value if spec.path else spec.kernel
    writers = f" + {count(spec.writers, 'writer')}" if spec.writers else ""
    return safe(f"{spec.handler_label} {what} {count(spec.threads, 'worker')}{writers}")


class Shown(Protocol):
    """Is told of every finished trial."""

    def finished(self, trial: Trial) -> None:
        """Note it."""
        ...


class _Left:
    """Time left: the expected time of what is left, corrected by how the rest went."""

    def __init__(self, specs: Sequence[TrialSpec], machine: Machine) -> None:
        self._expected = {spec.trial_id: machine.expected_s(spec) for spec in specs}
        self.total = sum(self._expected.values())
        self.past = 0.0
        self.count = 0
        self._start = time.monotonic()

    def finished(self, trial: Trial) -> None:
        self.count += 1
        self.past += self._expected.get(trial.trial_id, 0.0)

    def seconds(self) -> float:
        elapsed = time.monotonic() - self._start
        if not self.past:
            return self.total
        return (self.total - self.past) * elapsed / self.past


class _Lines:
    """Plain lines, one every few seconds."""

    def __init__(self, specs: Sequence[TrialSpec], machine: Machine) -> None:
        self._left = _Left(specs, machine)
        self._n = len(specs)
        self._last = time.monotonic()

    def finished(self, trial: Trial) -> None:
        self._left.finished(trial)
        now = time.monotonic()
        bad = trial.status.value != "ok"
        if bad or now - self._last >= LINE_EVERY_S or self._left.count == self._n:
            self._last = now
            status = f" {trial.status}: {safe(trial.message[:100])}" if bad else ""
            left = f"{clock(self._left.seconds())} left" if self._left.count < self._n else "done"
            print(
                f"{self._left.count}/{self._n} {describe(trial.spec)}{status}, {left}",
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def display(specs: Sequence[TrialSpec], machine: Machine) -> Iterator[Shown]:
    """Show the progress of `specs` on stderr until the block ends."""
    if not specs or not sys.stderr.isatty():
        yield _Lines(specs, machine)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[left]:>8} left", justify="right"),
        TextColumn("[dim]{task.description}[/dim]"),
        console=Console(stderr=True),
        transient=True,
        # Each refresh wakes a thread beside the measurement: one a finished trial is enough.
        auto_refresh=False,
    )
    left = _Left(specs, machine)
    task = bar.add_task(describe(specs[0]), total=len(specs), left=clock(left.total))

    class Bar:
        def finished(self, trial: Trial) -> None:
            left.finished(trial)
            if trial.status.value != "ok":
                bar.console.print(
                    f"{describe(trial.spec)}: {trial.status}: {safe(trial.message[:200])}",
                    markup=False,
                    highlight=False,
                )
            bar.update(
                task,
                advance=1,
                description=describe(trial.spec),
                left=clock(left.seconds()),
                refresh=True,
            )

    with bar:
        yield Bar()
