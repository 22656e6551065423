"""``docs/validation.md`` from simulated rates: tables, errors, sensitivity, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping

from faultbench.machines.description import load, names
from faultbench.validation.cases import CASES, Case
from faultbench.validation.simulate import GENOA

Rates = Mapping[tuple[int, int, int, str], float]  # case, series, threads, variant → rate
BASE = "as described"
FLOOR = 0.10  # what a model of this kind cannot decide (docs, "what it does not claim")

HEAD = """# Validation: published measurements beside the virtual machine

Written by `python -m faultbench.validation`. Do not edit: run it again.

One cost profile (`default`) and the machine descriptions as shipped stand behind every table;
nothing is fitted to one of them. Where a benchmark's own loop is part of the published rate, its
length is set so that one thread agrees, and the table says so. Errors are simulated over
published, less one; *shape error* is the same after each column is divided by its first row.

**What the virtual machine does not claim**: absolute faults/s, a sign below about 10 %, SMT,
bandwidth, page placement, frequency, more threads than CPUs.

**Sensitivity.** How a CPU treats `prefetchw` under contention, who gets a line next, how long a
core keeps it, how long nobody has it, whether a load takes a written line away and whether misses
overlap is published for no CPU here. Every case runs with each of
these changed; where a comparison changes sign inside that table the answer is *undecided by this
model*.
"""


def render(rates: Rates, fairness: Mapping[str, Mapping[str, float]], verdict: str) -> str:
    """Return the page; `verdict` is the laboratory's on the model's counts."""
    parts = [HEAD, _kernels(verdict)]
    for number, case in enumerate(CASES):
        parts.append(_case(number, case, rates))
    parts.append(_fairness(fairness))
    return "\n".join(parts)


def _kernels(verdict: str) -> str:
    return (
        "## Counts: real kernels\n\n"
        f"`faultbench lab check --recorded`, run for this page: {verdict}. Records, tables and the "
        "picture: [results/lab](../results/lab/README.md); how they are made: [lab.md](lab.md). "
        "6.4, 6.5, 6.13 and later are not confirmed by a kernel.\n"
    )


def _case(number: int, case: Case, rates: Rates) -> str:
    lines = [f"## {case.title}", "", f"Published: {case.source}."]
    shipped = case.machine in names()
    about = f"{load(case.machine).about_model} (`{case.machine}`)" if shipped else case.machine
    lines.append(f"Simulated: {about}.")
    lines += ["", *_rates(number, case, rates), ""]
    if len(case.series) == 2:
        lines += [*_comparison(number, case, rates), ""]
    else:
        lines += [*_shapes(number, case, rates), ""]
    return "\n".join([*lines, case.reading, ""])


def _rates(number: int, case: Case, rates: Rates) -> list[str]:
    head = ["threads"]
    for series in case.series:
        head += [f"{series.name}: published", f"{series.name}: simulated", "error", "shape error"]
    rows = []
    first = case.threads[0]
    for n in case.threads:
        row = [str(n)]
        for k, series in enumerate(case.series):
            simulated = rates[number, k, n, BASE]
            known = _published(series.published, n)
            row += [_figure(known), _figure(simulated)]
            if known is None:
                row += ["", ""]
                continue
            base = _published(series.published, first) or known
            shape = simulated / rates[number, k, first, BASE] / (known / base) - 1
            row += [f"{simulated / known - 1:+.0%}", f"{shape:+.0%}"]
        rows.append(row)
    keep = [i for i in range(len(head)) if i == 0 or any(row[i] for row in rows)]
    table = [[line[i] for i in keep] for line in (head, *rows)]
    return _markdown(table, case.unit)


def _published(table: Mapping[int, float], n: int) -> float | None:
    # The published ladder ends at 64 threads on 56 cores, which no virtual CPU has.
    return table.get(n, table.get(64) if n == 56 else None)


def _comparison(number: int, case: Case, rates: Rates) -> list[str]:
    def gain(n: int, variant: str) -> float:
        return rates[number, 1, n, variant] / rates[number, 0, n, variant] - 1

    table = [["threads", "published", *case.variants, "verdict"]]
    for n in case.threads:
        known = [_published(series.published, n) for series in case.series]
        told = f"{known[1] / known[0] - 1:+.1%}" if known[0] and known[1] else ""
        gains = [gain(n, variant) for variant in case.variants]
        table.append([str(n), told, *(f"{g:+.1%}" for g in gains), verdict(gains)])
    second, first = case.series[1].name, case.series[0].name
    return _markdown(table, f"{second}, against {first}")


def verdict(gains: list[float]) -> str:
    """Return what the model says, given its result as described, then under each variant."""
    low, high = min(gains), max(gains)
    if low < -FLOOR / 10 and high > FLOOR / 10:
        return "undecided by this model (the sign flips)"
    if abs(gains[0]) < FLOOR:
        return "undecided by this model (below 10 %)"
    if min(abs(low), abs(high)) < FLOOR:
        return "sign only"
    return "gain" if low > 0 else "loss"


def _shapes(number: int, case: Case, rates: Rates) -> list[str]:
    table = [["threads", "published", *case.variants]]
    first = case.threads[0]
    for n in case.threads:
        published = case.series[0].published
        known = _published(published, n)
        told = f"{known / published[first]:.2f}" if known else ""
        ratios = [rates[number, 0, n, v] / rates[number, 0, first, v] for v in case.variants]
        table.append([str(n), told, *(f"{ratio:.2f}" for ratio in ratios)])
    return _markdown(table, "rate over that of one thread")


def _fairness(found: Mapping[str, Mapping[str, float]]) -> str:
    names = list(next(iter(found.values())))
    table = [["", *names], *([k, *(_short(row[n]) for n in names)] for k, row in found.items())]
    return "\n".join(
        [
            "## Handoff fairness among 240 writers",
            "",
            "Published: Waiman Long, 4f23dbc1e657 (5.3): 240 writers that sleep 5 µs in their "
            "critical section, for 5 s, on 40 cores with 80 threads. Fewest, mean and most "
            "operations of a writer: 1, 7,792 and 173,696 before the handoff, 5,842, 6,542 and "
            f"7,458 with it. Simulated: a CPU for each on {load(GENOA).about_model}.",
            "",
            *_markdown(table, "operations per writer"),
            "",
            "Agrees: with the handoff nobody starves. Rates cannot be compared: three of the "
            "published writers shared a CPU. Simulated ones are more alike, since nobody else is "
            "on theirs. Writers that map and unmap share the lock as well.",
            "",
            "The last two rows are published nowhere. A loop that never sleeps never queues, so "
            "the handoff does not apply and only the osq is left. Where a load leaves the holder "
            "its copy, a writer that comes back sooner than a line travels (100 ns) asks for it "
            "a few nanoseconds before the head of the osq does, every time; where a written line "
            "migrates, all get their turn. What a CPU does is a rule of its machine file "
            "(`dirty_load`).",
            "",
        ]
    )


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.1f}"  # the loops measure no wait


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _markdown(table: list[list[str]], caption: str) -> list[str]:
    head, *rows = table
    rule = "|".join(["---", *("---:" for _ in head[1:])])
    body = ["| " + " | ".join(row) + " |" for row in rows]
    return [f"*{caption}*", "", "| " + " | ".join(head) + " |", f"|{rule}|", *body]
