"""The window of a trial, from the windows of its workers: the one place that takes their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faultbench.model import TrialSpec

AWAY = 0.01  # of the longest window


def mean_window(spec: TrialSpec, worker: Mapping[str, Sequence[int]]) -> float:
    """Return the mean window in ns of the workers that had one; 0 where there is none.

    A worker that sees the window open only as it closes, or after, was away: its few ns would
    halve the mean of two and double their rate. With fixed work a short window is that of a fast
    worker.
    """
    windows = worker.get("window_ns", ())
    if spec.duration_ns and windows:
        least = AWAY * max(windows)
        windows = [window for window in windows if window >= least]
    return sum(windows) / len(windows) if windows else 0.0


def shares(spec: TrialSpec, worker: Mapping[str, Sequence[int]]) -> list[float]:
    """Return what each worker would have done in the mean window, in faults.

    With a fixed duration that is what it did. With fixed work all did the same, some sooner: only
    their rates differ.
    """
    faults, windows = worker.get("faults", ()), worker.get("window_ns", ())
    if spec.duration_ns or len(windows) != len(faults) or min(windows, default=0) <= 0:
        return list(faults)
    mean = mean_window(spec, worker)
    return [done * mean / window for done, window in zip(faults, windows, strict=True)]
