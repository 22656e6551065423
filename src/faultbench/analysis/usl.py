"""The Universal Scalability Law: throughput over n workers from contention and coherency.

    X(n) = gamma n / (1 + alpha (n - 1) + beta n (n - 1))

N. J. Gunther, "Guerrilla Capacity Planning" (Springer 2007), chapters 4 and 5. alpha is the share
that is serialised, beta the pairwise cost of keeping state coherent; beta > 0 makes the curve
fall after its peak. Fitted by scipy's bounded least squares; checked against the published
specsdm91 case to all its digits.
"""

import contextlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats as scipy_stats
from scipy.optimize import OptimizeWarning, curve_fit

from faultbench.analysis.stats import Array
from faultbench.errors import DataError

MOST_WORKERS = 1e9
MOST_THROUGHPUT = 1e100  # squares of residuals must stay finite
MIN_POINTS = 6  # three parameters from fewer points are guesswork
BAD_RESIDUAL = 0.06  # of the highest throughput
TURN = 0.01  # a change of direction smaller than this is not called one
CONFIDENCE = 0.95
SIMULATED = "SIMULATED · "  # before the name of a curve that a model made
JSON_KEYS = tuple(
    "alpha beta gamma alpha_se beta_se gamma_se peak_n optimal_n limit residual_sd identifiable "
    "warnings".split()
)


@dataclass(frozen=True)
class Usl:
    """A fit; ``None`` where the data do not determine a value.

    ``peak_n``: workers of most throughput (``None``: no peak); ``optimal_n``: 1/alpha, beyond
    which contention takes more than it gives; ``limit``: gamma/alpha, the ceiling if beta were 0;
    ``residual_sd``: in the data's unit.
    """

    n: Array
    throughput: Array
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    alpha_se: float | None = None
    beta_se: float | None = None
    gamma_se: float | None = None
    peak_n: float | None = None
    optimal_n: float | None = None
    limit: float | None = None
    residual_sd: float | None = None
    identifiable: bool = False
    warnings: list[str] = field(default_factory=list)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the values of ``JSON_KEYS`` and, beyond them, intervals, points and residuals."""
        made = {key: getattr(self, key) for key in JSON_KEYS}
        made["intervals"] = {k: list(v) for k, v in self.intervals.items()}
        made["n"] = self.n.tolist()
        made["throughput"] = self.throughput.tolist()
        fitted = self.alpha is not None
        made["residuals"] = (self.throughput - self.at(self.n)).tolist() if fitted else None
        made["efficiency"] = (
            (self.throughput / (self.gamma * self.n)).tolist() if self.gamma else None
        )
        return made

    def at(self, n: Array) -> Array:
        """Return the fitted throughput at ``n`` workers."""
        if self.alpha is None or self.beta is None or self.gamma is None:
            raise ValueError("nothing was fitted")
        return curve(n, self.alpha, self.beta, self.gamma)


def curve(n: Array, alpha: float, beta: float, gamma: float) -> Array:
    """Return X(n)."""
    return gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1))


def fit(n: Sequence[float] | Array, throughput: Sequence[float] | Array) -> Usl:
    """Fit the law to points; ``DataError`` for points that no curve can have, the columns swapped.

    Fewer than ``MIN_POINTS`` distinct n give a fit that is called not identifiable, fewer than
    three give none.
    """
    x, y = np.asarray(n, dtype=float), np.asarray(throughput, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or not x.size:
        raise DataError("a fit needs as many throughputs as numbers of workers, at least one")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("a fit needs finite numbers; there is a NaN or an infinity among them")
    if (x <= 0).any() or (y <= 0).any():
        raise DataError("a fit needs positive numbers of workers and throughputs; there is one ≤ 0")
    if (odd := x[(x != np.round(x)) | (x > MOST_WORKERS)]).size:
        raise DataError(
            f"{odd[0]:g} is no number of workers: n is whole and comes first, throughput second; "
            "are the columns the wrong way round?"
        )
    if y.max() > MOST_THROUGHPUT or y.min() < 1 / MOST_THROUGHPUT:
        raise DataError(
            f"throughputs beyond {MOST_THROUGHPUT:g} or below {1 / MOST_THROUGHPUT:g} cannot be "
            "computed with; use another unit"
        )
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    said: list[str] = []
    distinct = np.unique(x).size
    if distinct < 3:
        said.append(f"not identifiable: {distinct} number(s) of workers, three parameters")
        return Usl(x, y, warnings=said)
    values, errors, free = _solve(x, y)
    residuals = y - curve(x, *values)
    freedom = x.size - len(free)
    spread = float(np.sqrt(residuals @ residuals / freedom)) if freedom > 0 else None
    identifiable = distinct >= MIN_POINTS and x[-1] > 2 and freedom > 0
    if distinct < MIN_POINTS:
        said.append(f"not identifiable: {distinct} points, {MIN_POINTS} are needed")
    if x[-1] <= 2:
        said.append("not identifiable: one or two workers show no curve")
    limits: dict[str, tuple[float, float]] = {}
    if freedom > 0:
        reach = float(scipy_stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
        names = ("alpha", "beta", "gamma")
        for i, name in enumerate(names):
            error = errors[i]
            if error is not None:
                limits[name] = (values[i] - reach * error, values[i] + reach * error)
            elif i in free:
                identifiable = False
                said.append(f"not identifiable: the data do not determine {name}")
    peak = _peak(values, free, limits, said)
    _judge(x, y, spread, said)
    alpha, beta, gamma = values
    return Usl(
        n=x, throughput=y, alpha=alpha, beta=beta, gamma=gamma,
        alpha_se=errors[0], beta_se=errors[1], gamma_se=errors[2], peak_n=peak,
        optimal_n=_finite(1, alpha), limit=_finite(gamma, alpha),
        residual_sd=spread, identifiable=identifiable, warnings=said, intervals=limits,
    )  # fmt: skip


def _finite(one: float, by: float) -> float | None:
    """Return one / by; None where there is no such number."""
    found = one / by if by > 0 else np.inf
    return float(found) if np.isfinite(found) else None


def _solve(
    x: Array, y: Array
) -> tuple[tuple[float, float, float], list[float | None], tuple[int, ...]]:
    """Return parameters, standard errors (None: at its bound or undetermined) and the free ones.

    A parameter sits at its bound when leaving it out fits as well: its model is then fitted again
    without it, so that it is exactly 0 and the others' errors are those of the smaller model.
    """
    scale = float(y.max())
    total = float((y / scale) @ (y / scale))
    full = _least_squares(x, y / scale, (0, 1, 2))
    best = full
    subsets: tuple[tuple[int, ...], ...] = ((0, 2), (1, 2), (2,))
    for free in subsets:
        smaller = _least_squares(x, y / scale, free)
        if smaller[2] <= full[2] * (1 + 1e-7) + 1e-13 * total:
            best = smaller  # the last one that holds has the fewest parameters
    values, errors, _, free = best
    values[2] *= scale
    errors[2] = None if errors[2] is None else errors[2] * scale
    return (values[0], values[1], values[2]), errors, free


def _polished(model: Callable[..., Array], x: Array, y: Array, found: Array) -> tuple[Array, Array]:
    """Take a solution inside the bounds to the last digits, in units of itself.

    The bounded solver stops five digits in: alpha and beta differ by orders of magnitude.
    """
    units, covariance = curve_fit(
        lambda n, *u: model(n, *(found * u)), x, y, p0=np.ones_like(found),
        method="lm", ftol=1e-15, xtol=1e-15, gtol=1e-15,
    )  # fmt: skip
    if (units <= 0).any():
        raise RuntimeError("left the bounds")
    return found * units, covariance * np.outer(found, found)


def _least_squares(
    x: Array, y: Array, free: tuple[int, ...]
) -> tuple[list[float], list[float | None], float, tuple[int, ...]]:
    """Return parameters, errors, sum of squares and ``free`` of the best of several starts."""

    def whole(given: tuple[float, ...]) -> list[float]:
        values = [0.0, 0.0, 0.0]
        for i, value in zip(free, given, strict=True):
            values[i] = value
        return values

    def model(n: Array, *given: float) -> Array:
        return curve(n, *whole(given))

    def slopes(n: Array, *given: float) -> Array:
        alpha, beta, gamma = whole(given)
        each = n / (1 + alpha * (n - 1) + beta * n * (n - 1))
        down = -gamma * each**2 * (n - 1)
        return np.stack([(down / n, down, each)[i] for i in free], axis=1)

    start = float((y / x).max())
    best: tuple[list[float], list[float | None], float] | None = None
    starts = ((0.02, 1e-4), (0.3, 1e-2), (0.7, 1e-6), (1e-4, 1e-3))
    for guess in dict.fromkeys(tuple((*pair, start)[i] for i in free) for pair in starts):
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # a start may lead astray
            warnings.simplefilter("ignore", OptimizeWarning)
            try:
                found, covariance = curve_fit(
                    model, x, y, p0=guess, jac=slopes, bounds=(0, np.inf), x_scale="jac",
                    max_nfev=4000,
                )  # fmt: skip
            except RuntimeError:
                continue
            if (found > 0).all():
                with contextlib.suppress(RuntimeError):  # it heads for a bound: keep what we have
                    found, covariance = _polished(model, x, y, found)
        residuals = y - model(x, *found)
        squares = float(residuals @ residuals)
        if best is not None and squares >= best[2]:
            continue
        values = [0.0, 0.0, 0.0]
        errors: list[float | None] = [None, None, None]
        for place, i in enumerate(free):
            values[i] = float(found[place])
            variance = float(covariance[place, place])
            errors[i] = float(np.sqrt(variance)) if np.isfinite(variance) else None
        best = (values, errors, squares)
    if best is None:
        raise DataError("no Universal Scalability Law fits these points")
    return (*best, free)


def _peak(
    values: tuple[float, float, float],
    free: tuple[int, ...],
    limits: dict[str, tuple[float, float]],
    said: list[str],
) -> float | None:
    """Return where the curve peaks, or None: beta at its bound, or not told apart from 0."""
    alpha, beta, _ = values
    if 0 not in free:
        said.append("alpha is at its bound 0: no contention shows")
    if 1 not in free or beta == 0:
        said.append("beta is at its bound 0: the curve has no peak")
        return None
    if "beta" not in limits:
        said.append("beta has no interval: a peak is not shown")
        return None
    if limits["beta"][0] <= 0:
        said.append("the interval of beta includes 0: a peak is not shown")
        return None
    peak = float(np.sqrt(max(0.0, 1 - alpha) / beta))
    if peak <= 1:
        said.append("the curve falls from one worker on")
    return peak if alpha < 1 else None


def _judge(x: Array, y: Array, spread: float | None, said: list[str]) -> None:
    """Say so when the law does not describe the points.

    A curve turns from one number of workers to the next; repeats of one scatter about its median.
    """
    if spread is not None and spread > BAD_RESIDUAL * y.max():
        said.append(
            f"bad residuals: their sd is {spread:.3g}, {100 * spread / y.max():.0f} % of the "
            "highest throughput; the law does not describe these points"
        )
    steps = np.diff([float(np.median(y[x == n])) for n in np.unique(x)])
    signs = np.sign(steps[np.abs(steps) > TURN * y.max()])
    turns = int((np.diff(signs) != 0).sum())
    if turns > 1:
        said.append(f"bad residuals: the points turn {turns} times, the law can turn once")
