"""The table the analysis works on: one row per trial, the columns of ``faultbench export``.

``cases`` turns it into matrices of shape ``(cases, repeats)``. A case's key is made of what was
asked of the trial (machine, handler, threads, …) and never of the name of the file it came from.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from faultbench import rules
from faultbench.analysis.stats import Array
from faultbench.errors import DataError

COLUMNS = tuple(
    "trial_id machine kernel path handler order access vmas files mms writers threads repeat "
    "status flags cost window_ns cpu_ns faults faults_per_s faults_per_cpu_s mapped_bytes_per_s "
    "vma_lock_success vma_lock_abort vma_lock_retry vma_lock_miss mmap_lock_reads mmap_lock_writes "
    "mmap_lock_read_contended mmap_lock_read_wait_ns parks huge_fault_calls fallbacks no_vma "
    "writer_ops worker_faults_min worker_faults_max p50_ns p99_ns p999_ns max_ns".split()
)
KEY = tuple("machine kernel path handler order access vmas files mms writers threads cost".split())
# Asked of a trial too, but only in the table when the driver knows it; part of the key when there.
KEY_EXTRAS = tuple("set map sync fallback overlap writer_op writer_rate pin".split())
# How several workers share what they fault in: for a single one all are the same.
SHARING = ("vmas", "files", "mms", "overlap")
Indices = npt.NDArray[np.intp]
UNSHARED = ("-", "private")  # vmas of which no worker shares one with another
WALL, CPU = "faults_per_s", "faults_per_cpu_s"
PATHS = ("mmap-lock", "abort", "retry", "direct")
NEVER_RELEASED = rules.NEVER_RELEASED
TRANSIENT = "transient: too short to show what writers do in the long run"


@dataclass(frozen=True)
class Cases:
    """``keys``: one row per case; ``values``: rates, shape ``(cases, repeats)``, NaN = no trial."""

    keys: pd.DataFrame
    values: Array


def key_columns(df: pd.DataFrame, without: Sequence[str] = ()) -> list[str]:
    """Return the columns that make a case's key in ``df``, in the table's order."""
    return [c for c in (*KEY, *KEY_EXTRAS) if c in df.columns and c not in without]


def in_strings(df: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each row's ``columns`` as strings: what tells cases of two tables apart or alike."""
    return list(zip(*(map(str, df[c].tolist()) for c in columns), strict=True))


def narrowed(df: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return what makes a case's key, and of ``columns`` those there are.

    Seventy columns are slow to cut and to group.
    """
    wanted = dict.fromkeys((*KEY, *KEY_EXTRAS, *columns))
    return df[[c for c in wanted if c in df.columns]]


def rows(df: pd.DataFrame, which: "pd.Series[bool]") -> pd.DataFrame:
    """Return the rows of ``df`` that are ``which``; where all are, nothing is copied."""
    return df if which.all() else df[which]


def is_emulated(df: pd.DataFrame) -> "pd.Series[bool]":
    """Return which trials ran inside an emulator: what they count holds, their times do not."""
    return has_flag(df["flags"], "emulated").astype(bool)


def checked(
    df: pd.DataFrame, metric: str = WALL, *, counts: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """Return the trials that have a usable rate, and notes on those that were left out.

    Rates of an emulated kernel are not usable, except where ``counts`` are what is wanted.
    Raises ``DataError`` when the table lacks columns, or no trial is left.
    """
    missing = [c for c in (*KEY, "repeat", "status", "flags", metric) if c not in df.columns]
    if missing:
        raise DataError(
            f"the results lack the column {missing[0]!r}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + "; give a file of `faultbench sweep` or `faultbench import`"
        )
    if df.empty:
        raise DataError("the results hold no trial; a sweep that finished at least one is needed")
    df = df.reset_index(drop=True)
    rates = pd.to_numeric(df[metric], errors="coerce").astype(float)
    bad_status = df["status"] != "ok"
    bad_rate = ~bad_status & ~(np.isfinite(rates) & (rates >= 0))
    notes = [
        f"{count} trial{'s' if count != 1 else ''} with status {status} left out"
        for status, count in df.loc[bad_status, "status"].value_counts().items()
    ]
    if bad_rate.any():
        notes.append(f"{int(bad_rate.sum())} trial(s) without a valid {metric} left out")
    emulated = is_emulated(df) & ~bad_status & ~bad_rate & (not counts)
    if emulated.any():
        notes.append(
            f"{int(emulated.sum())} trial(s) timed inside an emulator left out: such times say "
            "nothing about a CPU; faultbench lab check and report show what they count"
        )
    kept = rows(df, ~bad_status & ~bad_rate & ~emulated).copy(deep=False)
    if idle := int((rates[kept.index] == 0).sum()):
        notes.append(
            f"{idle} trial(s) without a single fault count as 0 in medians and means (the harmonic "
            "mean of their case is 0) and are in no ratio"
        )
    kept[metric] = rates[kept.index]
    if kept.empty:
        raise DataError(f"no trial has a usable {metric}: {'; '.join(notes)}")
    if not (kept[metric] > 0).any():
        raise DataError(f"every {metric} is zero: there is nothing to compare or to plot")
    for column in key_columns(kept):
        if kept[column].isna().any():
            kept[column] = kept[column].astype(object).where(kept[column].notna(), "-")
    return without_meaning(kept), notes


def without_meaning(df: pd.DataFrame) -> pd.DataFrame:
    """Return the table with ``-`` for overlap where no worker shares a mapping with another.

    There it is never asked for: ``False`` would tell cases apart that ``--overlap`` leaves alike.
    """
    if "overlap" not in df.columns:
        return df
    apart = df["vmas"].isin(UNSHARED) | (df["threads"].astype(int) == 1)
    return df.assign(overlap=df["overlap"].astype(object).mask(apart, "-"))


def cases(df: pd.DataFrame, keys: Sequence[str], metric: str) -> Cases:
    """Return the ``metric`` of the trials of ``df`` as one row per distinct ``keys``, sorted.

    Column ``r`` is repeat ``r``, so that rows of two paths line up block by block. Where repeats
    are not told apart (imported results) they are numbered in the order of the table.
    """
    case, first = _numbered(df, keys)
    repeat = df["repeat"].to_numpy(dtype=np.intp)
    wide = int(repeat.max(initial=-1)) + 1
    if np.unique(case * wide + repeat).size < case.size:
        repeat = _count_within(case)
        wide = int(repeat.max(initial=-1)) + 1
    values = np.full((len(first), wide), np.nan)
    values[case, repeat] = df[metric].to_numpy(dtype=float, na_value=np.nan)
    return Cases(df[list(keys)].iloc[first].reset_index(drop=True), values)


def _numbered(df: pd.DataFrame, keys: Sequence[str]) -> tuple[Indices, Indices]:
    """Return the number of each row's case, and a row of each case; numbers are in its order."""
    ranks, ties = [], []
    for name in keys:
        codes, distinct = df[name].factorize(use_na_sentinel=False)
        if len(distinct) > 1:  # most of what makes a key is the same in all trials
            ranks.append(np.asarray(order_of(pd.Index(distinct, name=name)))[codes])
            words = np.argsort([str(value) for value in distinct], kind="stable")
            ties.append(np.argsort(words)[codes])
    by = np.array([np.zeros(len(df), dtype=np.intp), *ranks, *ties])
    order = np.lexsort(by[::-1])
    new = np.ones(len(df), dtype=bool)
    new[1:] = (np.diff(by[:, order]) != 0).any(axis=0)
    case = np.empty(len(df), dtype=np.intp)
    case[order] = np.cumsum(new) - 1
    return case, order[new]


def _count_within(case: Indices) -> Indices:
    """Return which trial of its case each row is, from 0, in the order of the table."""
    order = np.argsort(case, kind="stable")
    starts = np.searchsorted(case[order], case)
    places = np.empty(len(case), dtype=np.intp)
    places[order] = np.arange(len(case))
    return places - starts


def order_of(level: "pd.Index[Any]") -> "pd.Index[Any]":
    """Return sort keys: paths by their history, kernels by version, numbers by value.

    They are ranks among the distinct values, of which a level of many rows has few.
    """
    codes, distinct = level.factorize(use_na_sentinel=False)
    key = {"path": path_order, "kernel": kernel_order}.get(str(level.name), natural)
    keys = [key(value) for value in distinct]
    ranks = {k: rank for rank, k in enumerate(sorted(set(keys)))}
    found: pd.Index[Any] = pd.Index(np.array([ranks[k] for k in keys], dtype=np.intp)[codes])
    return found


def path_order(path: object) -> tuple[float, ...]:
    """Return a sort key for mmap-lock < abort < retry < direct; anything else last."""
    return (PATHS.index(path) if path in PATHS else len(PATHS),)


def natural(value: object) -> tuple[int, float, str]:
    """Return a sort key under which numbers come first, by value, and words after them."""
    try:
        return (0, float(str(value)), "")
    except ValueError:
        return (1, 0.0, str(value))


def kernel_order(name: object) -> tuple[float, ...]:
    """Return a sort key for v6.3 < v6.5 < next-202308 < v6.6 < v6.12; anything else last."""
    text = str(name)
    if text.startswith("next-"):
        return (6, 5.5)
    parts = text.removeprefix("v").split(".")
    try:
        return (float(parts[0]), float(parts[1].split("-")[0]))
    except (IndexError, ValueError):
        return (999.0, 0.0)


def has_flag(flags: "pd.Series[Any]", word: str) -> "pd.Series[bool]":
    """Return which trials carry the disturbance ``word`` (flags are words separated by blanks)."""
    return flagged(flags, frozenset((word,)))


def flagged(flags: "pd.Series[Any]", words: frozenset[str]) -> "pd.Series[bool]":
    """Return which trials carry any of the disturbances ``words``."""
    codes, distinct = flags.factorize(use_na_sentinel=False)  # few: most trials have none
    texts = ("" if pd.isna(text) else str(text) for text in distinct)
    found = [not words.isdisjoint(re.split(r"[ ;,|]+", text)) for text in texts]
    return pd.Series(np.array(found, dtype=bool)[codes], index=flags.index, name=flags.name)


def is_virtual(machine: object) -> bool:
    """Return whether results of ``machine`` are simulated."""
    return str(machine).startswith("virtual")


def unconfirmed_in(df: pd.DataFrame) -> str:
    """Return the sentence about modelled kernels that no laboratory has judged; empty if none.

    Of a kernel that really ran, imported results among them, there is nothing to confirm.
    """
    return rules.unconfirmed(df.loc[df["machine"] != "kernel", "kernel"].astype(str))


def transient_in(df: pd.DataFrame) -> str:
    """Return the sentence about windows too short for their writers; empty if there is none."""
    count = int(has_flag(df["flags"], "transient").sum())
    return f"{count} of {len(df)} trials are {TRANSIENT}" if count else ""


def telling(keys: pd.DataFrame, ignore: Sequence[str] = ()) -> list[str]:
    """Return the columns that tell cases apart: more than one value, ``-`` (no choice) aside."""
    return [
        c
        for c in keys.columns
        if c not in ignore and len({str(v) for v in keys[c].unique()} - {"-"}) > 1
    ]


def describe(keys: pd.DataFrame, row: int = 0, ignore: Sequence[str] = ()) -> str:
    """Return the case in words, naming only what differs between the cases of ``keys``."""
    shown = telling(keys, ignore)
    if len(keys) == 1 or not shown:
        shown = [c for c in ("handler", "order", "vmas", "writers", "threads") if c in keys.columns]
    return in_words({c: keys[c].iloc[row] for c in shown})


def names_of(
    keys: pd.DataFrame, ignore: Sequence[str] = (), also: Collection[str] = ()
) -> list[str]:
    """Return ``describe`` of every case; what differs is found once. ``also`` is named too."""
    differing = telling(keys, ignore)
    shown = [c for c in keys.columns if c in differing or c in also]
    if (len(keys) <= 1 and not also) or not shown:
        return [describe(keys, i, ignore) for i in range(len(keys))]
    columns = [keys[c].tolist() for c in shown]
    return [in_words(dict(zip(shown, row, strict=True))) for row in zip(*columns, strict=True)]


def in_words(values: Mapping[str, object]) -> str:
    """Return ``ext4 · vmas shared · 1 writer``; what was no choice (``-``) goes without saying."""
    idle = str(values.get("writers")) == "0"
    return " · ".join(
        label(c, v)
        for c, v in values.items()
        if str(v) != "-" and not (idle and c == "writer_rate")
    )


def label(column: str, value: object) -> str:
    """Return a value as people say it: ``2 workers``, ``vmas private``, ``ext4``."""
    if column in ("threads", "writers"):
        noun = "worker" if column == "threads" else "writer"
        return f"{value} {noun}{'' if str(value) == '1' else 's'}"
    if column in ("machine", "kernel", "path", "handler", "order", "access"):
        return str(value)
    if column == "writer_rate" and str(value) == "0":
        return "writer_rate max"  # as it was asked for: 0 in a record is as fast as they can
    return f"{column} {value if str(value) else 'nothing'}"  # no knob set is a choice too
