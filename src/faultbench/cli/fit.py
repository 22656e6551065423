"""``faultbench fit``: the Universal Scalability Law on a results file or a two-column CSV."""

import csv
import io
import json
import sys
from dataclasses import replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faultbench.cli.plot import Metric

if TYPE_CHECKING:
    from faultbench.analysis.usl import Usl

MAX_POINTS = 100_000
STARVED = "not fitted: a number of workers has a median of 0"


class Format(StrEnum):
    """How to print it."""

    TABLE = "table"
    JSON = "json"


def fit(
    file: Annotated[Path, typer.Argument(help="Results file, or CSV with columns n,throughput.")],
    format: Annotated[Format, typer.Option(help="How to print the fit.")] = Format.TABLE,
    metric: Annotated[Metric, typer.Option(help="Which rate of a results file.")] = Metric.WALL,
    plot: Annotated[
        Path | None, typer.Option("-o", "--out", help="Draw PREFIX-usl.png and .svg too.")
    ] = None,
) -> None:
    """Fit throughput over workers: contention (alpha), coherency (beta), and where it peaks.

    JSON: one object for one curve; {"curves": […]} with a `case` each for several. Exits with 65
    when no curve has more than one number of workers, after printing that.
    """
    from faultbench.analysis import usl
    from faultbench.cli._results import foreign_text, safe
    from faultbench.errors import DataError
    from faultbench.explain import CLAIMS_NOT
    from faultbench.output import writable_figures
    from faultbench.plots.facets import Context

    if plot is not None:
        writable_figures(plot, file)
    context = Context()
    fits: list[tuple[dict[str, Any], str, Usl]]
    if (text := foreign_text(file)) is not None:
        n, rates = _read_csv(file, text)
        fits = [({}, "points", usl.fit(n, rates))]
        unit = "throughput"
    else:
        fits, context = _from_results(file, metric.value)
        unit = "faults/s" if metric is Metric.WALL else "workers x faults per CPU-s"
    if format is Format.JSON:
        if len(fits) == 1:
            print(json.dumps(fits[0][2].to_dict(), allow_nan=False))
        else:
            curves = [{"case": case, **one.to_dict()} for case, _, one in fits]
            print(json.dumps({"curves": curves}, allow_nan=False))
    else:
        for _, name, one in fits:
            _print(name, one)
        for note in context.notes:
            print(safe(note))
        if any(name.startswith(usl.SIMULATED) for _, name, _ in fits):
            print(CLAIMS_NOT.replace("It", "A simulation", 1))
    if plot is not None:
        from faultbench.cli._results import say
        from faultbench.plots import usl as drawing

        written = drawing.draw([(name, one) for _, name, one in fits], plot, context, unit)
        for path in written:
            say(f"wrote {path}")
        if not written:
            say(f"no curve was fitted: there is no {plot}-usl.png")
    starved = [name for _, name, one in fits if one.warnings and STARVED in one.warnings[0]]
    if starved:
        sys.stdout.flush()
        more = f" and {len(starved) - 1} more" if len(starved) > 1 else ""
        raise DataError(f"{file}: {starved[0]}{more} {STARVED}")
    if all(len(set(one.n)) < 2 for _, _, one in fits):
        sys.stdout.flush()
        raise DataError(
            f"{file}: not identifiable: one number of workers is no curve; measure more, "
            "e.g. sweep --threads 1,2,4,max"
        )


def _from_results(file: Path, metric: str) -> tuple[list[tuple[dict[str, Any], str, "Usl"]], Any]:
    import pandas as pd

    from faultbench.analysis import stats, usl
    from faultbench.analysis.curves import spread
    from faultbench.analysis.formats import plain
    from faultbench.analysis.frame import (
        CPU,
        NEVER_RELEASED,
        cases,
        checked,
        describe,
        has_flag,
        is_virtual,
        key_columns,
        unconfirmed_in,
    )
    from faultbench.cli._results import context_of, load, say
    from faultbench.errors import DataError

    loaded = load(file, trials=False)
    kept, notes = checked(loaded.df, metric)
    crowded = has_flag(kept["flags"], "oversubscribed")
    if crowded.any():
        notes.append(f"{int(crowded.sum())} trial(s) with more threads than CPUs left out")
        kept = kept[~crowded]
    for note in notes:
        say(note)
    if kept.empty:
        raise DataError(f"{file}: no trial left to fit")
    kept = spread(kept)
    kept["threads"] = kept["threads"].astype(int)
    keys = key_columns(kept, without=("threads",))
    groups = list(kept.groupby(keys, sort=False, dropna=False))
    names = pd.DataFrame([values for values, _ in groups], columns=keys)
    fits = []
    for i, (_, rows) in enumerate(groups):
        got = cases(rows, ["threads"], metric)
        case = {k: plain(names[k].iloc[i]) for k in keys}
        n, rates = got.keys["threads"].to_numpy(float), stats.medians(got.values).median
        if metric == CPU:  # a rate of each worker: the law is about what all do together
            rates = n * rates
        if not (rates > 0).all():  # of this curve nothing can be said; the others are whole
            one = usl.Usl(n, rates, warnings=[f"{STARVED}: no fault completed there"])
        else:
            one = usl.fit(n, rates)
        if said := unconfirmed_in(rows):
            one = replace(one, warnings=[*one.warnings, said])
        mark = usl.SIMULATED if is_virtual(names["machine"].iloc[i]) else ""
        fits.append((case, mark + describe(names, i), one))
    context = context_of(loaded)
    if (kept["path"] == "retry").any():
        context = replace(context, notes=[*context.notes, f"{NEVER_RELEASED}."])
    return fits, context


def _print(name: str, one: "Usl") -> None:
    from faultbench.cli._results import safe

    print(safe(name))
    if one.alpha is not None and one.beta is not None and one.gamma is not None:
        for label, value, error in (
            ("alpha", one.alpha, one.alpha_se),
            ("beta", one.beta, one.beta_se),
            ("gamma", one.gamma, one.gamma_se),
        ):
            limits = one.intervals.get(label)
            print(
                f"  {label:<10}{value:<14.7g}"
                + (
                    f"± {error:.3g}"
                    if error is not None
                    else "at its bound"
                    if not value
                    else "no error"
                )
                + (f"   95 % [{limits[0]:.4g}, {limits[1]:.4g}]" if limits else "")
            )
        peak = "none" if one.peak_n is None else f"{one.peak_n:.2f} workers"
        optimal = "none" if one.optimal_n is None else f"{one.optimal_n:.2f} workers"
        limit = "none" if one.limit is None else f"{one.limit:.5g}"
        residual = "–" if one.residual_sd is None else f"{one.residual_sd:.4g}"
        print(f"  peak {peak}, optimal {optimal}, limit {limit}, residual sd {residual}")
    for warning in one.warnings:
        print(f"  ! {warning}")


def _read_csv(file: Path, text: str) -> tuple[list[float], list[float]]:
    from faultbench.errors import DataError

    n: list[float] = []
    rates: list[float] = []
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline="")), 1):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != 2:
                raise DataError(
                    f"{file}: line {number} has {len(cells)} columns, not n,throughput; "
                    "`faultbench import` reads other programs' files"
                )
            point = [found for cell in cells if (found := _number(cell)) is not None]
            if number == 1 and not point:
                _check_header(file, cells)
                continue
            if len(point) < 2:
                raise DataError(f"{file}: line {number} holds no two numbers")
            n.append(point[0])
            rates.append(point[1])
            if len(n) > MAX_POINTS:
                raise DataError(f"{file}: more than {MAX_POINTS} points")
    except csv.Error:
        raise DataError(f"{file}: neither a results file nor a CSV") from None
    if not n:
        raise DataError(f"{file}: holds no points")
    _check_order(file, n, rates)
    return n, rates


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _check_order(file: Path, n: list[float], rates: list[float]) -> None:
    """Refuse columns without a header where only the second one reads as numbers of workers."""
    from faultbench.errors import DataError

    if not all(b > a for a, b in pairwise(rates)) or not all(r >= 1 and r % 1 == 0 for r in rates):
        return
    # Repeats of one n may climb by chance; their rates are then above it.
    repeats = any(b == a for a, b in pairwise(n)) and all(
        r < w for w, r in zip(n, rates, strict=True)
    )
    if repeats or any(b < a for a, b in pairwise(n)):
        raise DataError(
            f"{file}: the first column falls or repeats and the second counts upwards in whole "
            "numbers, as workers do; n must come first (or sort the lines by n)"
        )


def _check_header(file: Path, cells: list[str]) -> None:
    """Refuse the two columns the wrong way round: nothing else would tell."""
    from faultbench.errors import DataError

    first = cells[0].strip().lower()
    workers = {"n", "threads", "workers", "tasks", "cpus", "load", "users", "clients", "processes"}
    if cells[1].strip().lower() in workers and first not in workers:
        raise DataError(f"{file}: columns are {','.join(cells)}; n must come first")
