"""Which panels and lines a table gives: all that varies, bar the workers, makes a panel."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from faultbench.analysis.compare import Comparison, one_path_each
from faultbench.analysis.frame import (
    PATHS,
    has_flag,
    in_words,
    is_virtual,
    kernel_order,
    key_columns,
    natural,
    telling,
)
from faultbench.analysis.ledger import Ledger


@dataclass(frozen=True)
class Context:
    """What the figures say beside the numbers.

    ``cpus``: CPUs of the measured machine; ``models``: machine name to "model of X, k of n
    latencies estimated"; ``notes``: lines to print under every figure; ``most_panels``: of each
    machine (``chosen``).
    """

    cpus: int | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    formats: Sequence[str] = ("png", "svg")
    most_panels: int | None = None
    compared: Comparison | None = None
    ledgers: Sequence[Ledger] | None = None


@dataclass(frozen=True)
class Facet:
    """One panel: its title, its trials, and whether they were simulated."""

    title: str
    where: dict[str, object]
    rows: pd.DataFrame
    virtual: bool


def line_column(df: pd.DataFrame) -> str:
    """Return what the lines of a panel are: kernels when several were swept, paths otherwise."""
    return "kernel" if df["kernel"].nunique() > 1 else "path"


def line_names(df: pd.DataFrame, column: str) -> list[str]:
    """Return the lines in the order of their history."""
    names = [str(v) for v in df[column].unique()]
    if column == "path":
        return sorted(names, key=lambda p: PATHS.index(p) if p in PATHS else len(PATHS))
    return sorted(names, key=kernel_order)


def line_paths(df: pd.DataFrame, column: str) -> dict[str, str]:
    """Return the path of each kernel where kernels are the lines and each has one path."""
    if column != "kernel" or not one_path_each(df):
        return {}
    return dict(zip(df["kernel"].astype(str), df["path"].astype(str), strict=True))


def unnamed(df: pd.DataFrame) -> str:
    """Return what a line is called whose path or kernel the results do not tell."""
    if has_flag(df["flags"], "imported").all():
        return "imported"
    kernels = [str(k) for k in df["kernel"].unique() if str(k) != "-"]
    return f"kernel {kernels[0]}" if len(kernels) == 1 else "path not known"


def facets(df: pd.DataFrame, column: str) -> Iterator[Facet]:
    """Yield the panels of a table that was ``spread``, sorted by what was asked."""
    fixed = ["threads", column]
    if column == "kernel" and one_path_each(df):
        fixed.append("path")
    keys = [c for c in key_columns(df, without=fixed) if df[c].nunique() > 1]
    if not keys:
        yield Facet(_common(df), {}, df, is_virtual(df["machine"].iloc[0]))
        return
    shown = telling(df[keys])
    groups = df.groupby(keys, sort=False, dropna=False)
    for values, rows in sorted(groups, key=lambda g: [natural(v) for v in g[0]]):
        where = dict(zip(keys, values, strict=True))
        title = in_words({k: v for k, v in where.items() if k in shown}) or _common(rows)
        yield Facet(title, where, rows, is_virtual(rows["machine"].iloc[0]))


def _common(df: pd.DataFrame) -> str:
    shown = [c for c in ("handler", "order", "vmas", "writers") if c in df.columns]
    return in_words({c: df[c].iloc[0] for c in shown})


def chosen(panels: Sequence[Facet], most: int | None) -> list[Facet]:
    """Return at most ``most`` panels of each machine, twice that in all; no machine goes without.

    Measured panels must not push out what was simulated, nor the other way round.
    """
    machines = [str(f.rows["machine"].iloc[0]) for f in panels]
    room = dict.fromkeys(machines, most or len(panels))
    while most and sum(min(n, machines.count(m)) for m, n in room.items()) > 2 * most:
        longest = max(room, key=lambda m: min(room[m], machines.count(m)))
        if room[longest] == 1:
            break
        room[longest] = min(room[longest], machines.count(longest)) - 1
    kept = []
    for facet, machine in zip(panels, machines, strict=True):
        room[machine] -= 1
        if room[machine] >= 0:
            kept.append(facet)
    return kept


def pages(panels: Sequence[Facet], size: int) -> list[list[Facet]]:
    """Return the panels in pages of ``size``; measured and simulated ones stand on their own."""
    found: list[list[Facet]] = []
    for facet in panels:
        if not found or len(found[-1]) == size or found[-1][-1].virtual != facet.virtual:
            found.append([])
        found[-1].append(facet)
    return found


def select(table: pd.DataFrame, where: Mapping[str, object]) -> pd.DataFrame:
    """Return the rows of ``table`` that belong to a panel."""
    for column, value in where.items():
        if column in table.columns:
            table = table[table[column].astype(str) == str(value)]
    return table


def subject(df: pd.DataFrame) -> str:
    """Return what all trials have in common, for a figure's foot: machine, access, order, cost."""
    shown = []
    for column in ("machine", "order", "access", "cost"):
        values = [str(v) for v in df[column].unique()] if column in df.columns else []
        if len(values) == 1 and values[0] not in ("", "-", "nan"):
            shown.append(f"{column} {values[0]}")
    return ", ".join(shown)


def stem(prefix: Path | str, name: str, page: int = 0) -> Path:
    """Return ``PREFIX-name`` (``PREFIX-name-2`` for a second page)."""
    prefix = Path(prefix)
    return prefix.with_name(f"{prefix.name}-{name}" + (f"-{page + 1}" if page else ""))
