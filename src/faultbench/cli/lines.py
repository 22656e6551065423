"""The hottest cache lines of simulated trials, as ``perf c2c`` would show them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from faultbench.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from faultbench.model import Trial

TOP, WIDTH = 5, 100
HEAD = ("handler", "path", "kernel", "machine", "threads", "vmas", "writers")
LEAST_NS, LEAST_MOVES = 0.5, 0.005  # less is printed as 0


def show(trials: Sequence[Trial]) -> None:
    """Print, per case and path, the lines that workers waited for most, at the most workers.

    Before them what the fault's time went into: lines are a part of it, and with spinning locks
    the smaller one.
    """
    from faultbench.analysis.frame import in_words, telling
    from faultbench.analysis.spent import KEYS, in_order, spent
    from faultbench.analysis.steps import hottest
    from faultbench.cli._results import safe
    from faultbench.rules import NEVER_RELEASED, unconfirmed

    table = hottest(trials)
    if table.empty:
        raise UsageError("--lines: no simulated trial; add --machine virtual")
    whole = spent(trials)
    print("\nhottest cache lines, at the most workers of each case (ns and journeys per fault)")
    groups = sorted(table.groupby(list(KEYS), sort=False), key=lambda one: in_order(one[0]))
    others = telling(table[list(KEYS)], ignore=HEAD)
    for key, part in groups:
        where = dict(zip(KEYS, key, strict=True))
        handler, path, kernel, machine, threads, vmas, writers = (where[k] for k in HEAD)
        shared = f", vmas {vmas}" if vmas != "-" else ""
        beside = f", {writers} writer{'s' if writers != 1 else ''}" if writers else ""
        more = in_words({k: where[k] for k in others})
        head = f"{handler} {path} ({kernel} on {machine}), {_workers(threads)}{shared}{beside}"
        print(safe(f"\n{head}{more and ', '}{more.replace(' · ', ', ')}"))
        if time := whole.get(key):
            told = safe(time.in_words())
            print("\n".join(textwrap.wrap(told, WIDTH, subsequent_indent="  ")))
        _print(part)
    if any(trial.spec.writers for trial in trials):
        print("\n  waiting for a line is that of workers and writers, per fault")
    if "retry" in set(table["path"]):
        print(f"\n  {NEVER_RELEASED}")
    if said := unconfirmed(trial.spec.kernel for trial in trials):
        print(f"  {safe(said)}")


def _print(lines: pd.DataFrame) -> None:
    """Print the lines of a case that anybody waited for, or that moved; the sum of the others."""
    from faultbench.cli._results import safe

    hot = lines[(lines["wait_ns"] >= LEAST_NS) | (lines["transfers"] >= LEAST_MOVES)]
    if hot.empty:
        print("  no line travelled: every access found its line")
        return
    named = hot[~hot["rest"]].head(TOP)
    print(f"{'ns waited':>10} {'transfers':>10}  line")
    rows = [(line["wait_ns"], line["transfers"], line["name"]) for _, line in named.iterrows()]
    others = hot.drop(named.index)
    if not others.empty:
        rows.append((others["wait_ns"].sum(), others["transfers"].sum(), "all other lines"))
    for ns, moves, name in rows:
        print(f"{ns:>10,.0f} {moves:>10.2f}  {safe(name)}")


def _workers(count: object) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
