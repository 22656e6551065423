"""Statistics for rates measured in interleaved blocks, from medians to verdicts.

Everything works on matrices of shape ``(cases, repeats)``, NaN where a trial is missing, so that
thousands of cases are resampled at once. Rates are in faults per second (wall or CPU); any
positive unit will do.

Sources: unscaled MAD and bootstrap intervals of the median as in field-notes, Methodology 7; the
*expanded* percentile interval is T. Hesterberg, "What Teachers Should Know About the Bootstrap"
(The American Statistician 69:4, 2015): with six repeats the plain percentile interval covers
about 92 %, the expanded one at least 93 % (benchmarks/test_analysis.py shows both figures). The
least number of repeats is that of asv: with fewer than six a side a rank test cannot reach p <
0.002. The ``unfair`` rule is locktorture's (max / 2 > min).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its submodules load when first used: scipy.stats takes half a second

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95
MIN_REPEATS = 6
RANGE_COVERS = 5  # of fewer samples not even their range covers 93 % (1 - 2 ** (1 - n))
RESAMPLES = 2999
BATCH = 250_000  # samples resampled at once: what stays in a cache
SEED = 20230818  # the day of the patch; fixed, so that the same records give the same intervals

FASTER, SLOWER = "faster", "slower"
NOISE, UNTESTABLE = "inside the noise", "not testable"


@dataclass(frozen=True)
class Medians:
    """Samples, median, unscaled MAD and interval of the median per case: ``(cases,)`` each."""

    n: npt.NDArray[np.int64]
    median: Array
    mad: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Ratios:
    """Pairs, ratio B/A and its interval per case (factors, 1 = equal): ``(cases,)`` each."""

    n: npt.NDArray[np.int64]
    ratio: Array
    low: Array
    high: Array


@cache
def expanded_level(n: int, confidence: float = CONFIDENCE) -> float:
    """Return the level a percentile interval of ``n`` samples needs to cover like a t interval."""
    tail = (1 - confidence) / 2
    return float(1 - 2 * scipy.stats.norm.sf(np.sqrt(n / (n - 1)) * scipy.stats.t.isf(tail, n - 1)))


def _by_count(matrix: Array) -> list[tuple[npt.NDArray[np.intp], Array]]:
    """Split a ragged matrix into dense ones: (rows, samples) for each number of samples >= 2."""
    packed = np.sort(matrix, axis=1)  # NaN last; order means nothing to a resampler
    counts = np.isfinite(packed).sum(axis=1)
    return [
        (np.flatnonzero(counts == n), packed[counts == n, :n]) for n in np.unique(counts) if n >= 2
    ]


def _medians_of(ordered: Array, ranks: npt.NDArray[np.intp]) -> Array:
    """Return the medians of resamples of every row: ``(rows, resamples)``.

    ``ordered`` holds the samples of each row in ascending order, ``ranks`` which of them each
    resample drew. A bootstrap draws the same for all rows, so only ranks need to be sorted.
    """
    n = ranks.shape[-1]
    middle = np.partition(ranks, (n - 1) // 2 if n % 2 else (n // 2 - 1, n // 2), axis=-1)
    high = np.take(ordered, middle[..., n // 2], axis=-1)
    if n % 2:
        return high
    low = np.take(ordered, middle[..., n // 2 - 1], axis=-1)
    return np.asarray(0.5 * (low + high))


def _interval(
    statistic: Callable[..., Array], ordered: Sequence[Array], confidence: float
) -> tuple[Array, Array]:
    """Return the limits of ``statistic``, which is given the ranks drawn of each of ``ordered``."""
    counts = [samples.shape[1] for samples in ordered]
    result = scipy.stats.bootstrap(
        tuple(np.arange(n) for n in counts),
        statistic,
        axis=-1,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // max(1, sum(samples.size for samples in ordered))),
        confidence_level=expanded_level(min(counts), confidence),
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return np.asarray(result.low), np.asarray(result.high)


def _median_interval(ordered: Array, confidence: float) -> tuple[Array, Array]:
    def drawn(ranks: npt.NDArray[np.intp], axis: int) -> Array:  # noqa: ARG001 - bootstrap's
        return _medians_of(ordered, ranks)

    return _interval(drawn, (ordered,), confidence)


def medians(matrix: Array, confidence: float = CONFIDENCE) -> Medians:
    """Return median, unscaled MAD and bootstrap interval of every row; one sample: NaN limits."""
    matrix = np.asarray(matrix, dtype=float)
    counts = np.isfinite(matrix).sum(axis=1)
    median, mad, low, high = (np.full(len(matrix), np.nan) for _ in range(4))
    some = counts > 0
    if some.any():
        median[some] = np.nanmedian(matrix[some], axis=1)
        mad[some] = np.nanmedian(np.abs(matrix[some] - median[some, None]), axis=1)
    for rows, samples in _by_count(matrix):
        low[rows], high[rows] = _median_interval(samples, confidence)
    return Medians(counts, median, mad, low, high)


def harmonic_means(matrix: Array) -> Array:
    """Return the harmonic mean of each row of rates: the rate of equal work done in turn."""
    matrix = np.asarray(matrix, dtype=float)
    result = np.full(len(matrix), np.nan)
    some = np.isfinite(matrix).any(axis=1)
    if some.any():
        result[some] = _omitting(scipy.stats.hmean, matrix[some])
    return result


def _omitting(statistic: Callable[..., Any], matrix: Array) -> Array:
    """Return a statistic of scipy's for every row without its NaN; of whole rows all at once.

    With a NaN anywhere in a matrix scipy goes through it row by row.
    """
    whole = np.isfinite(matrix).all(axis=1)
    found = np.empty(len(matrix))
    for rows in (whole, ~whole):
        if rows.any():
            found[rows] = statistic(matrix[rows], axis=1, nan_policy="omit")
    return found


def paired_ratios(a: Array, b: Array, confidence: float = CONFIDENCE) -> Ratios:
    """Return the median ratio B/A over interleaved blocks with its paired-bootstrap interval.

    Column ``r`` of both holds the trials that ran next to each other, so whatever slowed the
    machine in that block cancels; a block that lacks one side is left out.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.asarray(b, dtype=float)) - np.log(np.asarray(a, dtype=float))
    logs[~np.isfinite(logs)] = np.nan
    m = medians(logs, confidence)
    return Ratios(m.n, np.exp(m.median), np.exp(m.low), np.exp(m.high))


def unpaired_ratios(a: Array, b: Array, confidence: float = CONFIDENCE) -> Ratios:
    """Return the ratio of medians B/A with a two-sample interval, for trials of unlike sweeps.

    A rate of zero has no ratio to anything and is left out, as a pair with one is.
    """
    a, b = (np.where(np.asarray(m, dtype=float) > 0, m, np.nan) for m in (a, b))
    n = np.minimum(np.isfinite(a).sum(axis=1), np.isfinite(b).sum(axis=1))
    ratio, low, high = (np.full(len(a), np.nan) for _ in range(3))
    for rows_a, left in _by_count(a):
        for rows_b, right in _by_count(b):
            rows, at_a, at_b = np.intersect1d(rows_a, rows_b, return_indices=True)
            if not rows.size:
                continue
            limits = _unpaired(left[at_a], right[at_b], confidence)
            ratio[rows], low[rows], high[rows] = map(np.exp, limits)
    return Ratios(n, ratio, low, high)


def _unpaired(x: Array, y: Array, confidence: float) -> tuple[Array, Array, Array]:
    """Return the log ratio of the medians of ``y`` and ``x``, rows in order, and its limits."""

    def drawn(
        of_x: npt.NDArray[np.intp],
        of_y: npt.NDArray[np.intp],
        axis: int,  # noqa: ARG001 - bootstrap's
    ) -> Array:
        return np.asarray(np.log(_medians_of(y, of_y)) - np.log(_medians_of(x, of_x)))

    every_x, every_y = (np.arange(side.shape[1])[None] for side in (x, y))
    return drawn(every_x, every_y, -1)[:, 0], *_interval(drawn, (x, y), confidence)


def aa_differences(matrix: Array) -> Array:
    """Return log ratios of one path's two trials in each ABBA block: ``(cases, repeats // 2)``.

    Repeats 2k and 2k+1 of a path are the two A (or the two B) of block k. Nothing but noise tells
    them apart.
    """
    matrix = np.asarray(matrix, dtype=float)
    width = matrix.shape[1] // 2 * 2
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(matrix[:, 1:width:2]) - np.log(matrix[:, 0:width:2])
    return np.where(np.isfinite(logs), logs, np.nan)


def half_differences(matrix: Array) -> Array:
    """Return the log ratio of the medians of each row's second and first half: ``(cases,)``.

    It is drift within a sweep, which paired blocks cancel and files measured apart do not.
    """
    rates = np.asarray(matrix, dtype=float)
    rates = np.where(rates > 0, rates, np.nan)
    half = rates.shape[1] // 2
    found = np.full(len(rates), np.nan)
    some = np.isfinite(rates[:, :half]).any(axis=1) & np.isfinite(rates[:, half:]).any(axis=1)
    if some.any():
        early, late = (np.nanmedian(m[some], axis=1) for m in (rates[:, :half], rates[:, half:]))
        found[some] = np.log(late) - np.log(early)
    return found


def noise_floor(differences: Array, n: int, confidence: float = CONFIDENCE) -> float:
    """Return the noise floor (factor minus one): how far A/A medians stray from equal.

    The ``confidence`` quantile of |median of ``n`` A/A log ratios|, each drawn with either sign
    from ``differences``; NaN when there are no A/A pairs.
    """
    pool = differences[np.isfinite(differences)]
    if not pool.size or n < 1:
        return float("nan")
    rng = np.random.default_rng(SEED)
    draws = rng.choice(pool, (RESAMPLES, n)) * rng.choice((-1.0, 1.0), (RESAMPLES, n))
    return float(np.expm1(np.quantile(np.abs(np.median(draws, axis=1)), confidence)))


def verdicts(
    ratios: Ratios,
    floor: Array,
    n_a: npt.ArrayLike,
    n_b: npt.ArrayLike,
    margin: npt.ArrayLike = 0.0,
) -> npt.NDArray[np.str_]:
    """Return the verdict for B against A in every case: one of the four words above.

    A difference is real only when n allows it, its interval excludes 1 by more than ``margin`` and
    it exceeds ``floor`` (both: factor minus one). A margin is what more repeats cannot tell: a
    model's own error. Missing intervals or a missing floor make a case not testable: without A/A
    nothing says how loud the machine was.
    """
    floor = np.asarray(floor, dtype=float)
    size = np.abs(np.log(ratios.ratio))
    enough = np.minimum(np.minimum(n_a, n_b), ratios.n) >= MIN_REPEATS
    testable = enough & np.isfinite(ratios.low) & np.isfinite(ratios.high) & np.isfinite(floor)
    with np.errstate(invalid="ignore"):
        beyond = 1 + np.asarray(margin, dtype=float)
        clear = (ratios.low > beyond) | (ratios.high < 1 / beyond)
        real = testable & clear & (size > np.log1p(floor))
    return np.select(
        [~testable, ~real, ratios.ratio > 1], [UNTESTABLE, NOISE, FASTER], default=SLOWER
    ).astype(str)


def jain(shares: npt.ArrayLike) -> float:
    """Return Jain's fairness index of the workers' faults: 1 if equal, 1/n if one has all."""
    x = np.asarray(shares, dtype=float)
    total = float(np.sum(x * x))
    return float(np.sum(x) ** 2 / (x.size * total)) if x.size and total > 0 else float("nan")


@dataclass(frozen=True)
class Fairness:
    """How evenly the workers of one trial got their faults done."""

    minimum: float
    mean: float
    maximum: float
    jain: float
    unfair: bool


def fairness(shares: npt.ArrayLike) -> Fairness:
    """Return how evenly the workers' faults are spread, with locktorture's max / 2 > min."""
    x = np.asarray(shares, dtype=float)
    if not x.size:
        raise ValueError("fairness of no workers")
    low, high = float(x.min()), float(x.max())
    return Fairness(low, float(x.mean()), high, jain(x), high / 2 > low)
