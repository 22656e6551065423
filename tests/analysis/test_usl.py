"""The Universal Scalability Law against the published case and against itself."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultbench.analysis import usl
from faultbench.errors import DataError

N = [1, 18, 36, 72, 108, 144, 216]
SPEC = [64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775, 1702.2]


def test_published_specsdm91_case_to_all_its_digits():
    f = usl.fit(N, SPEC)
    assert f"{f.alpha:.7f} {f.alpha_se:.7f}" == "0.0277285 0.0091217"
    assert f"{f.beta:.7f} {f.beta_se:.7f}" == "0.0001044 0.0000199"
    # The optimum, by Gauss-Newton in 50 decimal digits; solvers differ in the eighth.
    assert f.gamma == pytest.approx(89.9952331043, rel=2e-8)
    assert f"{f.gamma_se:.3f}" == "14.213"
    assert f"{f.peak_n:.5f}" == "96.51956"
    assert f"{f.optimal_n:.5f}" == "36.06401"
    assert f"{f.limit:.3f}" == "3245.589"
    assert f"{f.residual_sd:.1f}" == "82.8"
    efficiency = [round(e, 4) for e in f.to_dict()["efficiency"]]
    assert efficiency == [0.7211, 0.6148, 0.5100, 0.2860, 0.1882, 0.1370, 0.0876]
    assert f.identifiable
    assert f.warnings == []


def test_refcount_vma_lock_curve_is_called_bad():
    """A dip at 21 to 30 threads and a rise after it: published PFT of the 6.15 series."""
    n = [1, 4, 7, 12, 21, 30, 48, 56]
    y = [507566.15, 1880478.24, 3106394.34, 4061358.48, 3988619.12, 3909839.54, 4761108.47,
         4885561.46]  # fmt: skip
    f = usl.fit(n, y)
    assert sum("bad residuals" in w for w in f.warnings) == 2
    assert 3e5 < f.residual_sd < 4.5e5


def test_no_retrograde_part_gives_beta_zero_and_no_peak():
    n = np.array([1, 2, 4, 8, 16, 32.0])
    f = usl.fit(n, usl.curve(n, 0.1, 0.0, 1e6))
    assert f.beta == 0.0
    assert f.peak_n is None
    assert f.beta_se is None
    assert f.alpha == pytest.approx(0.1)
    assert any("bound" in w for w in f.warnings)


def test_linear_curve_has_neither():
    n = np.array([1, 2, 4, 8, 16, 32.0])
    f = usl.fit(n, 5e5 * n)
    assert (f.alpha, f.beta) == (0.0, 0.0)
    assert (f.limit, f.optimal_n, f.peak_n) == (None, None, None)
    assert f.gamma == pytest.approx(5e5)


def test_superlinear_points_do_not_crash_and_are_not_praised():
    n = np.array([1, 2, 4, 8, 16, 32.0])
    f = usl.fit(n, 5e5 * n**1.3)
    assert f.alpha == 0
    assert any("alpha is at its bound" in w for w in f.warnings)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_few_points_are_not_identifiable(count):
    n = np.arange(1, count + 1) * 4.0
    f = usl.fit(n, usl.curve(n, 0.03, 0.001, 1e6))
    assert not f.identifiable
    assert any("not identifiable" in w for w in f.warnings)
    assert set(usl.JSON_KEYS) <= set(f.to_dict())
    assert (f.alpha is None) == (count < 3)


def test_repeats_of_two_workers_are_no_curve():
    f = usl.fit([1, 1, 1, 2, 2, 2, 2], [1, 1.1, 1, 1.9, 1.8, 2, 1.9])
    assert not f.identifiable


@settings(max_examples=40, deadline=None)
@given(st.floats(0.005, 0.6), st.floats(1e-5, 1e-2), st.floats(1.0, 1e8))
def test_round_trip(alpha, beta, gamma):
    n = np.array([1, 2, 4, 8, 16, 32, 64, 128.0])
    f = usl.fit(n, usl.curve(n, alpha, beta, gamma))
    assert f.alpha == pytest.approx(alpha, rel=1e-4, abs=1e-7)
    assert f.beta == pytest.approx(beta, rel=1e-4, abs=1e-9)
    assert f.gamma == pytest.approx(gamma, rel=1e-5)
    assert f.peak_n == pytest.approx(np.sqrt((1 - alpha) / beta), rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 512), st.floats(1, 1e9)), min_size=1, max_size=12))
def test_any_positive_points_give_an_answer(points):
    f = usl.fit([p[0] for p in points], [p[1] for p in points])
    for value in (f.alpha, f.beta, f.gamma):
        assert value is None or (np.isfinite(value) and value >= 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-99, 1e-30, 1e30, 9e99])
def test_throughputs_of_any_unit_give_finite_figures(scale):
    y = np.array([1, 1.9, 3, 5, 7, 8.0]) / 8 * scale
    f = usl.fit([1, 2, 4, 8, 16, 32], np.maximum(y, 1e-100))
    assert json.dumps(f.to_dict(), allow_nan=False)
    assert f.identifiable


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(3)
    n = np.array([1, 2, 4, 8, 12, 16, 24, 32, 48, 64.0])
    inside = 0
    for _ in range(150):
        f = usl.fit(n, usl.curve(n, 0.05, 5e-4, 1e6) + rng.normal(0, 5e4, n.size))
        low, high = f.intervals["alpha"]
        inside += low <= 0.05 <= high
    assert inside >= 0.9 * 150


@pytest.mark.parametrize(
    ("n", "y", "words"),
    [([1, 2], [1], "as many"), ([], [], "as many"), ([1, 2, 3], [1, np.nan, 2], "finite"),
     ([0, 1, 2], [1, 2, 3], "positive"), ([1, 2, 3], [1, 0, 3], "positive"),
     (SPEC, N, "wrong way round"), ([0.5, 1, 2], [1, 2, 3], "wrong way round"),
     ([1, 2, 1e300], [1, 2, 3], "no number of workers"),
     ([1, 2, 3], [1e300, 2e300, 3e300], "another unit"), ([1, 2, 3], [1e-300, 2, 3], "unit")],
)  # fmt: skip
def test_bad_points(n, y, words):
    with pytest.raises(DataError, match=words):
        usl.fit(n, y)


def test_three_points_show_no_peak():
    """Three parameters go through any three points: beta has no interval that excludes 0."""
    n = np.array([1.0, 4.0, 16.0])
    f = usl.fit(n, usl.curve(n, 0.03, 0.002, 100.0))
    assert f.beta == pytest.approx(0.002, rel=1e-3)
    assert f.peak_n is None
    assert not f.identifiable


def test_repeats_scatter_and_do_not_turn():
    """Six repeats a number of workers, 3 % apart: no turns of the curve, nothing to call bad."""
    n = np.repeat([1.0, 2, 4, 8, 16, 32, 64], 6)
    noise = np.exp(0.03 * np.random.default_rng(1).standard_normal(n.size))
    f = usl.fit(n, usl.curve(n, 0.05, 0.0005, 100.0) * noise)
    assert f.identifiable
    assert f.warnings == []


def test_a_curve_that_falls_from_the_first_worker_says_why_it_has_no_peak():
    n = np.array([1.0, 2, 4, 8, 16, 32, 64])
    f = usl.fit(n, 100.0 / n)
    assert f.peak_n is None
    assert "the curve falls from one worker on" in f.warnings
