"""The hottest cache lines of simulated trials, as ``perf c2c`` would show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from faultbench.errors import UsageError

if TYPE_CHECKING:
    from faultbench.model import Trial

TOP = 5


def show(trials: Sequence[Trial]) -> None:
    """Print, per case and path, the lines that workers waited for most, at the most workers."""
    from faultbench.analysis.steps import hottest

    paths = dict.fromkeys(t.spec.path.value for t in trials if t.spec.path is not None)
    tables = [table for path in paths if not (table := hottest(trials, path)).empty]
    if not tables:
        raise UsageError("--lines: no simulated trial; add --machine virtual")
    print("\nhottest cache lines, at the most workers of each case (per fault)")
    print(f"{'ns waited':>10} {'transfers':>10}  line")
    for table in tables:
        keys = ["machine", "kernel", "handler", "vmas", "writers", "path", "threads"]
        for key, part in table.groupby(keys, sort=False):
            machine, kernel, handler, vmas, writers, path, threads = key
            print(
                f"{handler} {path} ({kernel} on {machine}), {_workers(threads)}, vmas {vmas}"
                + (f", {writers} writers" if writers else "")
            )
            for _, line in part.head(TOP).iterrows():
                print(f"{line['wait_ns']:>10.0f} {line['transfers']:>10.2f}  {line['name']}")


def _workers(count: object) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
