"""Compare two paths, two kernels or two results files case by case, and say what is real."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from faultbench.analysis import apart, stats
from faultbench.analysis.floors import Floors, margins
from faultbench.analysis.frame import (
    CPU,
    WALL,
    Cases,
    cases,
    checked,
    has_flag,
    in_strings,
    kernel_order,
    key_columns,
    narrowed,
    path_order,
)
from faultbench.analysis.stats import Array
from faultbench.errors import DataError, UsageError

JSON_KEYS = tuple(
    "n_a n_b mean_a mean_b hmean_a hmean_b median_a median_b mad_a mad_b delta_mean_pct "
    "delta_hmean_pct delta_median_pct ci_low_pct ci_high_pct welch_t welch_df welch_p mwu_u mwu_p "
    "noise_floor_pct verdict".split()
)
NEEDED = ("repeat", "status", "flags")
DIGESTS = ("cost_digest", "machine_digest")


@dataclass(frozen=True)
class Comparison:
    """B against A. ``table`` has the key columns, ``a``, ``b``, ``ratio``, then ``JSON_KEYS``.

    ``ratio`` is the median ratio of the paired blocks (or the ratio of medians where trials are
    not paired); the interval and the verdict are about it. ``keys`` names the key columns.
    ``lone`` has the key columns, ``a``, ``b`` and ``only`` (a or b) of the cases that one side
    lacks; ``paths`` are those that the compared trials took; ``files`` the names of A and B.
    """

    metric: str
    paired: bool
    keys: list[str]
    table: pd.DataFrame
    notes: list[str]
    lone: pd.DataFrame
    paths: frozenset[str] = frozenset()
    files: tuple[str, str] | None = None

    @property
    def untested(self) -> bool:
        """Whether a side of every case is a single trial: then nothing at all can be said."""
        return bool((self.table[["n_a", "n_b"]].min(axis=1) < 2).all())


def by_column(
    df: pd.DataFrame, by: str, metric: str = WALL, pair: tuple[str, str] | None = None
) -> Comparison:
    """Compare the values of ``by`` (path or kernel) in one sweep, paired by interleaved block.

    A is ``retry`` (without it the oldest path) for paths and the oldest kernel for kernels, unless
    ``pair`` names A and B; never what a sweep's seed drew first.
    """
    if by not in ("path", "kernel"):
        raise UsageError(f"--by {by}: compare by path or by kernel")
    kept, notes = checked(narrowed(df, *NEEDED, metric), metric)
    values = [str(v) for v in pd.unique(kept[by])]
    base, others = _sides(values, by, pair)
    # A kernel brings its path; where --path crosses kernels, the path stays part of the case.
    whole = by == "kernel" and one_path_each(kept)
    keys = key_columns(kept, without=("path", "kernel") if whole else (by,))
    parts, lone = [], []
    floors = Floors(metric, kept)
    for other in others:
        a, b = (cases(kept[kept[by] == v], keys, metric) for v in (base, other))
        a, b, alone = _aligned(a, b, keys)
        lone.append(alone.assign(a=base, b=other))
        if len(a.keys):
            part = _table(a, b, floors, paired=True)
            parts.append(_blind(part, kept, keys).assign(a=base, b=other))
    if not parts:
        other_way = "; --by kernel compares kernels" if _by_kernel_only(kept, by) else ""
        raise DataError(
            f"no case was measured for both {base} and {' or '.join(others)}: nothing to compare"
            + other_way
        )
    left_out = pd.concat(lone, ignore_index=True)
    if len(left_out):
        notes.append(f"{len(left_out)} case(s) measured on one side only left out")
    table = _ordered(pd.concat(parts), keys)
    # A machine that was swept for one side only was not meant to be compared.
    left_out = left_out[left_out["machine"].isin(set(table["machine"]))]
    taken = frozenset(kept.loc[kept[by].isin([base, *others]), "path"].astype(str))
    return Comparison(metric, True, keys, table, notes, left_out, taken)


def _by_kernel_only(kept: pd.DataFrame, by: str) -> bool:
    """Whether paths were asked for where each kernel was measured on its own path only."""
    return by == "path" and kept["kernel"].nunique() > 1 and one_path_each(kept)


def files(
    left: pd.DataFrame,
    right: pd.DataFrame,
    metric: str = WALL,
    names: tuple[str, str] | None = None,
) -> Comparison:
    """Compare two results files case by case; measured apart, hence unpaired.

    A and B are called that; ``names`` say which files they are.
    """
    left, right = (
        narrowed(side, *NEEDED, *DIGESTS, *apart.LENGTHS, CPU, metric) for side in (left, right)
    )
    (left, notes_a), (right, notes_b) = checked(left, metric), checked(right, metric)
    notes = [f"A: {n}" for n in notes_a] + [f"B: {n}" for n in notes_b]
    # Where two real kernels ran, one in each file, they are what is compared.
    kernels = [{str(k) for k in side["kernel"]} for side in (left, right)]
    unlike = kernels[0] != kernels[1] and all(len(names) == 1 for names in kernels)
    if real := unlike and all((side["machine"] == "kernel").all() for side in (left, right)):
        notes.append("A ran on kernel {}, B on kernel {}".format(*map(min, kernels)))
    keys = key_columns(left, without=("kernel",) if real else ())
    columns = [c for c in keys if c in key_columns(right)]
    both = pd.concat([left, right], ignore_index=True)
    a, b, lone = _aligned(cases(left, columns, metric), cases(right, columns, metric), columns)
    if not len(a.keys):
        differing = [c for c in columns if not set(left[c].astype(str)) & set(right[c].astype(str))]
        why = f": they differ in {', '.join(differing)}" if differing else ""
        raise DataError(f"the two files share no case{why}; export both to see what they hold")
    if len(lone):
        notes.append(f"{len(lone)} case(s) in one file only left out")
    notes.append(
        "the files were measured apart: the noise floor has the drift within each; what changed on "
        "the host between them nothing here can tell"
    )
    notes += [*_edited(left, right), *apart.lengths(left, right)]
    table = _table(a, b, Floors(metric, left, right), paired=False)
    table = _blind(table, both, columns).assign(a="A", b="B")
    table = apart.judged(table, (left, right), columns, metric, notes)
    taken = frozenset(both["path"].astype(str))
    lone = lone.assign(a="A", b="B")
    return Comparison(metric, False, columns, _ordered(table, columns), notes, lone, taken, names)


def _edited(left: pd.DataFrame, right: pd.DataFrame) -> Iterator[str]:
    """Yield remarks on profiles and machine files that A and B have under one name, but unlike."""
    whats = ("the cost profile", "cost"), ("the file of", "machine")
    for (what, name), digest in zip(whats, DIGESTS, strict=True):
        if digest not in left.columns or digest not in right.columns:
            continue
        one, two = (side.groupby(name)[digest].agg(frozenset) for side in (left, right))
        for known in one.index.intersection(two.index):
            if one[known] != two[known]:
                yield f"{what} {known} is not the same in A and B: a difference may be its"


def one_path_each(df: pd.DataFrame) -> bool:
    """Return whether each kernel ran on one path, as it does unless ``--path`` was given too."""
    return bool((df.groupby("kernel")["path"].nunique() <= 1).all())


def _sides(values: list[str], by: str, pair: tuple[str, str] | None) -> tuple[str, list[str]]:
    if pair:
        if pair[0] == pair[1]:
            raise UsageError(f"--pair {pair[0]},{pair[1]}: names one side twice; name two")
        missing = [v for v in pair if v not in values]
        if missing:
            raise DataError(f"no trial with {by} {missing[0]}; there are {', '.join(values)}")
        return pair[0], [pair[1]]
    if len(values) < 2:
        raise DataError(f"only {by} {values[0]} was measured: two are needed to compare")
    ordered = sorted(values, key=path_order if by == "path" else kernel_order)
    base = "retry" if by == "path" and "retry" in values else ordered[0]
    return base, [v for v in ordered if v != base]


def _aligned(a: Cases, b: Cases, keys: Sequence[str]) -> tuple[Cases, Cases, pd.DataFrame]:
    """Return the cases both sides have, in one order and width, and the keys of all ``lone``."""
    left, right = (in_strings(side.keys, keys) for side in (a, b))
    number = {key: row for row, key in enumerate(right)}
    at = np.array([number.get(key, -1) for key in left], dtype=np.intp)
    rows = np.flatnonzero(at >= 0)
    width = max(a.values.shape[1], b.values.shape[1])

    def take(side: Cases, index: "np.typing.NDArray[np.intp]") -> Cases:
        pad = ((0, 0), (0, width - side.values.shape[1]))
        values = np.pad(side.values[index], pad, constant_values=np.nan)
        return Cases(side.keys.iloc[index].reset_index(drop=True)[list(keys)], values)

    both = set(left)
    alone = (
        a.keys[at < 0].assign(only="a"),
        b.keys[[key not in both for key in right]].assign(only="b"),
    )
    return take(a, rows), take(b, at[rows]), pd.concat(alone, ignore_index=True)


def _table(a: Cases, b: Cases, floors: Floors, *, paired: bool) -> pd.DataFrame:
    one, two = stats.medians(a.values), stats.medians(b.values)
    ratios = (stats.paired_ratios if paired else stats.unpaired_ratios)(a.values, b.values)
    ratios = floors.widened(ratios, a.keys)
    n = np.minimum(one.n, two.n)
    floor = floors.for_cases(a.keys, n)
    means = np.nanmean(a.values, axis=1), np.nanmean(b.values, axis=1)
    nonzero = [np.where(mean > 0, mean, np.nan) for mean in means]
    scatter = [pd.DataFrame(side.values).std(axis=1).to_numpy() for side in (a, b)]
    hmeans = stats.harmonic_means(a.values), stats.harmonic_means(b.values)
    tests = rank_and_mean_tests(a.values, b.values)
    columns = {
        "ratio": ratios.ratio,
        "n_a": one.n,
        "n_b": two.n,
        "stddev_a": scatter[0],
        "stddev_b": scatter[1],
        "coeffvar_a": 100 * scatter[0] / nonzero[0],
        "coeffvar_b": 100 * scatter[1] / nonzero[1],
        "mean_a": means[0],
        "mean_b": means[1],
        "hmean_a": hmeans[0],
        "hmean_b": hmeans[1],
        "median_a": one.median,
        "median_b": two.median,
        "mad_a": one.mad,
        "mad_b": two.mad,
        "delta_mean_pct": _percent(*means),
        "delta_hmean_pct": _percent(*hmeans),
        "delta_median_pct": _percent(one.median, two.median),
        "ci_low_pct": 100 * (ratios.low - 1),
        "ci_high_pct": 100 * (ratios.high - 1),
        **tests,
        "noise_floor_pct": 100 * floor,
        "verdict": stats.verdicts(ratios, floor, one.n, two.n, margins(a.keys)),
    }
    return pd.concat([a.keys, pd.DataFrame(columns)], axis=1)


def _percent(a: Array, b: Array) -> Array:
    return 100 * (b / np.where(a > 0, a, np.nan) - 1)  # of nothing there is no percentage


def _blind(table: pd.DataFrame, df: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Take the verdict from cases that ran more threads than CPUs: they measure the scheduler.

    Those whose windows were too short for their writers keep theirs, and are marked.
    """
    crowded = set(in_strings(df[has_flag(df["flags"], "oversubscribed")], keys))
    hollow = np.array([key in crowded for key in in_strings(table, keys)], dtype=bool)
    table["oversubscribed"] = hollow
    short = set(in_strings(df[has_flag(df["flags"], "transient")], keys))
    table["transient"] = np.array([key in short for key in in_strings(table, keys)], dtype=bool)
    table.loc[hollow, "verdict"] = stats.UNTESTABLE
    return table


def _ordered(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    spread = ["stddev_a", "stddev_b", "coeffvar_a", "coeffvar_b"]
    front = [*keys, "a", "b", "oversubscribed", "transient", "ratio", *spread]
    return table[[*front, *JSON_KEYS]].reset_index(drop=True)


def rank_and_mean_tests(a: Array, b: Array) -> dict[str, Array]:
    """Return Welch's t and the Mann-Whitney U test of each row (two-sided, scipy's defaults)."""
    names = ("welch_t", "welch_df", "welch_p", "mwu_u", "mwu_p")
    out = {name: np.full(len(a), np.nan) for name in names}
    counts = np.isfinite(a).sum(axis=1), np.isfinite(b).sum(axis=1)
    x_all, y_all = np.sort(a, axis=1), np.sort(b, axis=1)  # NaN last
    both = np.sort(np.concatenate([x_all, y_all], axis=1), axis=1)
    # scipy picks the exact distribution for a whole batch by whether any of its rows has ties
    tied = (np.diff(both, axis=1) == 0).any(axis=1)
    kinds = np.stack([counts[0], counts[1], tied], axis=1)
    for kind in np.unique(kinds, axis=0):
        n_a, n_b = int(kind[0]), int(kind[1])
        rows = np.flatnonzero((kinds == kind).all(axis=1))
        if n_a < 1 or n_b < 1:
            continue
        x, y = x_all[rows, :n_a], y_all[rows, :n_b]
        rank = scipy.stats.mannwhitneyu(x, y, axis=1)
        out["mwu_u"][rows], out["mwu_p"][rows] = rank.statistic, rank.pvalue
        if n_a < 2 or n_b < 2:
            continue
        flat = (np.ptp(x, axis=1) == 0) & (np.ptp(y, axis=1) == 0)
        uneven = rows[~flat]
        if uneven.size:
            with warnings.catch_warnings():
                # one side constant: scipy warns about precision, and t is then what it says
                warnings.simplefilter("ignore", RuntimeWarning)
                welch = scipy.stats.ttest_ind(x[~flat], y[~flat], axis=1, equal_var=False)
            out["welch_t"][uneven], out["welch_p"][uneven] = welch.statistic, welch.pvalue
            out["welch_df"][uneven] = welch.df
    return out
