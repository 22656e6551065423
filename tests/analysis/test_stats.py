"""Statistics against independent computation, published oracles and simulated A/A sweeps."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from faultbench.analysis import stats as s

positive = st.floats(1e-3, 1e9)


def aa_sweep(rng, cases, repeats, drift=0.03, sd=0.05, tail=3):
    """Rates of one path run twice in ABBA blocks on a machine that drifts and has outliers."""
    walk = np.cumsum(rng.normal(0, drift, (cases, repeats)), axis=1)
    a = 1e6 * np.exp(walk + sd * rng.standard_t(tail, (cases, repeats)))
    b = 1e6 * np.exp(walk + sd * rng.standard_t(tail, (cases, repeats)))
    return a, b


def floors(a, b, n):
    pool = np.concatenate([s.aa_differences(a).ravel(), s.aa_differences(b).ravel()])
    return np.full(len(a), s.noise_floor(pool, n))


@pytest.mark.parametrize("repeats", [6, 7, 10, 12])
def test_aa_claims_at_most_five_percent_and_intervals_cover(repeats):
    rng = np.random.default_rng(repeats)
    a, b = aa_sweep(rng, 3000, repeats)
    r = s.paired_ratios(a, b)
    v = s.verdicts(r, floors(a, b, repeats), repeats, repeats)
    assert np.isin(v, [s.FASTER, s.SLOWER]).mean() <= 0.05
    assert ((r.low <= 1) & (r.high >= 1)).mean() >= 0.93


@pytest.mark.parametrize("noise", ["normal", "t3"])
def test_intervals_of_the_median_cover(noise):
    rng = np.random.default_rng(4)
    e = rng.normal(size=(3000, 6)) if noise == "normal" else rng.standard_t(3, (3000, 6))
    m = s.medians(100 + e)
    assert ((m.low <= 100) & (m.high >= 100)).mean() >= 0.93


def test_a_large_difference_is_found():
    rng = np.random.default_rng(5)
    a, b = aa_sweep(rng, 400, 6, sd=0.01, drift=0.01)
    r = s.paired_ratios(a, b * 1.5)
    v = s.verdicts(r, floors(a, b, 6), 6, 6)
    assert (v == s.FASTER).mean() > 0.95
    assert np.median(r.ratio) == pytest.approx(1.5, rel=0.01)
    back = s.paired_ratios(b * 1.5, a)
    assert (s.verdicts(back, floors(a, b, 6), 6, 6) == s.SLOWER).mean() > 0.95


def test_exact_bootstrap_of_six_is_the_range():
    """The expanded tail lies below P(resampled median = extreme): the interval is the range."""
    x = np.array([[3.0, 9.0, 4.0, 7.0, 5.0, 6.0]])
    m = s.medians(x)
    assert (m.low[0], m.high[0], m.median[0], m.mad[0]) == (3.0, 9.0, 5.5, 1.5)
    draws = np.array(list(itertools.product(x[0], repeat=6)))
    lowest = (np.median(draws, axis=1) == 3.0).mean()
    assert lowest > (1 - s.expanded_level(6)) / 2


def test_too_few_repeats_are_not_testable():
    a = np.full((1, 5), 1.0) + np.arange(5) * 1e-6
    r = s.paired_ratios(a, a * 2)
    assert s.verdicts(r, np.array([0.01]), 5, 5)[0] == s.UNTESTABLE
    one = s.paired_ratios(a[:, :1], a[:, :1] * 2)
    assert one.n[0] == 1
    assert np.isnan(one.low[0])
    assert s.verdicts(one, np.array([0.01]), 1, 1)[0] == s.UNTESTABLE


def test_without_a_floor_nothing_is_claimed():
    a = np.linspace(1, 1.01, 6)[None, :]
    r = s.paired_ratios(a, a * 3)
    assert s.verdicts(r, np.array([np.nan]), 6, 6)[0] == s.UNTESTABLE
    assert s.verdicts(r, np.array([0.01]), 6, 6)[0] == s.FASTER
    assert s.verdicts(r, np.array([2.5]), 6, 6)[0] == s.NOISE


def test_zero_and_missing_rates_never_become_a_claim():
    a = np.array([[0.0, 1, 1, 1, 1, 1], [np.nan] * 6])
    b = np.array([[1.0, 0, 1, 1, 1, np.nan], [1.0] * 6])
    r = s.paired_ratios(a, b)
    assert r.n.tolist() == [3, 0]
    assert set(s.verdicts(r, np.full(2, 0.1), 6, 6)) == {s.UNTESTABLE}


def test_pairs_cancel_what_hits_both():
    rng = np.random.default_rng(8)
    slow = np.exp(rng.normal(0, 1.0, (50, 6)))
    a = 1e6 * slow * np.exp(rng.normal(0, 0.005, (50, 6)))
    b = 1.2e6 * slow * np.exp(rng.normal(0, 0.005, (50, 6)))
    paired, unpaired = s.paired_ratios(a, b), s.unpaired_ratios(a, b)
    assert (paired.low > 1.15).all()
    assert np.median(unpaired.high - unpaired.low) > 10 * np.median(paired.high - paired.low)


def test_unpaired_ratio_is_of_medians_and_ragged():
    a = np.array([[1.0, 2, 3, np.nan], [2, 2, np.nan, np.nan], [1, 1, 1, 1]])
    b = np.array([[4.0, 4, 4, 5], [3, np.nan, np.nan, np.nan], [2, 2, 2, np.nan]])
    r = s.unpaired_ratios(a, b)
    assert r.ratio[0] == pytest.approx(2.0)
    assert np.isnan(r.ratio[1])  # one sample: no interval, hence nothing
    assert r.ratio[2] == pytest.approx(2.0)
    assert r.n.tolist() == [3, 1, 3]


def test_aa_differences_pair_the_repeats_of_one_block():
    m = np.array([[1.0, 2.0, 4.0, 1.0, 7.0]])
    assert s.aa_differences(m).tolist() == [[np.log(2), np.log(0.25)]]
    assert np.isnan(s.aa_differences(np.array([[0.0, 1.0]]))).all()


def test_noise_floor_of_nothing_and_of_constants():
    assert np.isnan(s.noise_floor(np.array([np.nan]), 6))
    assert s.noise_floor(np.zeros(9), 6) == 0
    # |x| is always log 2: the median of an odd number is log 2 in size, whatever the signs
    assert s.noise_floor(np.full(9, np.log(2)), 5) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shares", "index"), [([1, 1, 1, 1], 1.0), ([4, 0, 0, 0], 0.25), ([1, 2, 3, 4], 0.8333)]
)
def test_jain_oracles(shares, index):
    assert s.jain(shares) == pytest.approx(index, abs=5e-5)


def test_locktorture_rule_is_strict():
    assert not s.fairness([50, 100]).unfair
    assert s.fairness([49, 100]).unfair
    assert np.isnan(s.jain([0, 0]))
    with pytest.raises(ValueError, match="no workers"):
        s.fairness([])


@given(st.lists(positive, min_size=1, max_size=12))
def test_means_are_ordered(values):
    m = np.array([values])
    h = s.harmonic_means(m)[0]
    assert min(values) * (1 - 1e-9) <= h <= np.mean(values) * (1 + 1e-9)
    assert h == pytest.approx(len(values) / sum(1 / v for v in values))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=9), st.floats(0.1, 10))
def test_ratio_scales_and_reverses(pairs, k):
    a, b = np.array([[p[0] for p in pairs]]), np.array([[p[1] for p in pairs]])
    r, scaled, back = s.paired_ratios(a, b), s.paired_ratios(a, b * k), s.paired_ratios(b, a)
    assert r.low[0] <= r.ratio[0] * (1 + 1e-12)
    assert r.ratio[0] <= r.high[0] * (1 + 1e-12)
    assert scaled.ratio[0] == pytest.approx(k * r.ratio[0])
    assert back.ratio[0] == pytest.approx(1 / r.ratio[0])
    assert scaled.low[0] == pytest.approx(k * r.low[0])


def test_same_input_same_interval():
    x = np.random.default_rng(0).normal(10, 1, (5, 9))
    one, two = s.medians(x), s.medians(x)
    assert (one.low == two.low).all()
    assert (one.high == two.high).all()


@pytest.mark.parametrize("repeats", [2, 6, 7])
def test_intervals_are_those_of_a_bootstrap_of_the_samples_themselves(repeats):
    """We draw ranks once for all cases; scipy given the samples must say the same to a bit."""
    rng = np.random.default_rng(repeats)
    a, b = (np.sort(rng.lognormal(10, 0.3, (20, repeats)), axis=1) for _ in range(2))
    a[0, :2] = a[0, 0]  # ties

    def limits(data, statistic):
        return bootstrap(
            data, statistic, axis=-1, vectorized=True, n_resamples=s.RESAMPLES,
            batch=s.BATCH // sum(side.size for side in data),
            confidence_level=s.expanded_level(repeats), method="percentile",
            rng=np.random.default_rng(s.SEED),
        ).confidence_interval  # fmt: skip

    own = s.medians(a[:, ::-1])
    want = limits((a,), np.median)
    np.testing.assert_array_equal(own.low, want.low)
    np.testing.assert_array_equal(own.high, want.high)
    own = s.unpaired_ratios(a, b)
    want = limits(
        (a, b), lambda x, y, axis: np.log(np.median(y, axis=axis)) - np.log(np.median(x, axis=axis))
    )
    np.testing.assert_allclose(own.low, np.exp(want.low), rtol=1e-12)
    np.testing.assert_allclose(own.high, np.exp(want.high), rtol=1e-12)


def test_a_row_that_lacks_a_trial_does_not_change_the_others():
    rng = np.random.default_rng(2)
    whole = rng.lognormal(10, 0.3, (8, 6))
    ragged = whole.copy()
    ragged[3, 2] = ragged[5, :] = np.nan
    rest = [0, 1, 2, 4, 6, 7]
    one, two = s.medians(whole), s.medians(ragged)
    np.testing.assert_array_equal(one.mad[rest], two.mad[rest])
    np.testing.assert_array_equal(s.harmonic_means(whole)[rest], s.harmonic_means(ragged)[rest])
    left = np.delete(whole[3], 2)
    assert two.mad[3] == np.median(np.abs(left - np.median(left)))
    assert s.harmonic_means(ragged)[3] == pytest.approx(5 / np.sum(1 / left))
    assert np.isnan([two.mad[5], s.harmonic_means(ragged)[5]]).all()
