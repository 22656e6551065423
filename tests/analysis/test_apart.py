"""Two files measured apart: claims on A/A data, coverage, power, and what a busy host takes."""

import numpy as np
import pandas as pd
import pytest

from faultbench.analysis import compare, stats
from faultbench.analysis.floors import APART_FLOOR, Floors
from tests.analysis.frames import row, sweep

PAIRS = 50
CLAIMS = (stats.FASTER, stats.SLOWER)


def file_of(rates):
    """A table of one file: a case per row of ``rates``, a repeat per column."""
    made = [
        row(rate, handler=f"h{case // 2}", path=("retry", "direct")[case % 2], repeat=r)
        for case, repeats in enumerate(rates)
        for r, rate in enumerate(repeats)
    ]
    return pd.DataFrame(made)


def two_files(rng, noise, walk, cases=4, repeats=6):
    """One host that drifts through file, pause as long as a file, file; heavy-tailed trials."""
    path = np.cumsum(rng.normal(0, walk, 3 * repeats))
    for part in (path[:repeats], path[2 * repeats :]):
        yield 1e6 * np.exp(part + noise * rng.standard_t(3, (cases, repeats)))


def measured(noise, walk, gain=1.0, metric="faults_per_s"):
    """Return shares of claims and of intervals that hold the truth, over many pairs of files."""
    rng = np.random.default_rng(round(1000 * (noise + walk)))
    claimed, covered = [], []
    for _ in range(PAIRS):
        a, b = two_files(rng, noise, walk)
        got = compare.files(file_of(a), file_of(b * gain), metric).table
        truth = 100 * (gain - 1)
        claimed.append(got["verdict"].isin(CLAIMS).mean())
        covered.append(((got.ci_low_pct <= truth) & (got.ci_high_pct >= truth)).mean())
    return np.mean(claimed), np.mean(covered)


@pytest.mark.parametrize(
    ("noise", "walk"), [(0.02, 0.0), (0.05, 0.0), (0.02, 0.01), (0.02, 0.03), (0.005, 0.02)]
)
def test_aa_files_claim_at_most_five_percent_and_intervals_cover(noise, walk):
    claims, coverage = measured(noise, walk)
    assert claims <= 0.05
    assert coverage >= 0.93


@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_twenty_percent_on_a_quiet_host_is_claimed(noise):
    claims, coverage = measured(noise, 0.0, gain=1.2)
    assert claims >= 0.95
    assert coverage >= 0.93


def test_floor_of_a_load_is_not_that_of_a_wilder_one():
    rng = np.random.default_rng(3)
    calm, wild = sweep(writers=(0,), noise=0.002), sweep(writers=(1,), threads=(1,), noise=0.002)
    for column in ("faults_per_s", "faults_per_cpu_s"):
        wild[column] *= np.exp(rng.normal(0, 0.8, len(wild)))
    both = pd.concat([calm, wild], ignore_index=True)
    floors = Floors("faults_per_s", both, both)
    assert floors.of(("threads", "1", "0"), 6) < 0.03
    assert floors.of(("threads", "1", "1"), 6) > 0.3


def test_files_have_a_least_floor_and_paired_blocks_have_none():
    same = sweep(paths=("direct",), writers=(0,), noise=0.0)
    load = ("threads", "1", "0")
    assert Floors("faults_per_s", same, same).of(load, 6) == pytest.approx(APART_FLOOR)
    assert Floors("faults_per_s", same).of(load, 6) < 1e-6


def disturbed(df, share, flag="loaded"):
    df = df.copy()
    df["flags"] = np.where(df["repeat"] < share * 6, flag, "")
    return df


@pytest.mark.parametrize("flag", ["loaded", "skew low-cpu", "steal", "stalled"])
def test_a_file_of_a_busy_host_is_not_testable_by_wall_time(flag):
    a, b = (sweep(paths=("direct",), writers=(0,), seed=s) for s in (1, 2))
    slow = disturbed(b, 0.5, flag)
    for column in ("faults_per_s", "faults_per_cpu_s"):
        slow[column] *= 0.7  # cold caches too: CPU time does not contradict
    for sides in ((a, slow), (slow, a)):
        got = compare.files(*sides)
        assert set(got.table["verdict"]) == {stats.UNTESTABLE}
        assert any("disturbed" in note for note in got.notes)
    assert set(compare.files(a, disturbed(slow, 2 / 6)).table["verdict"]) == {stats.SLOWER}
    assert set(compare.files(a, disturbed(slow, 1, "skew")).table["verdict"]) == {stats.SLOWER}


def test_cpu_time_of_a_lone_worker_is_its_own():
    a, b = (sweep(paths=("direct",), writers=(0,), seed=s) for s in (1, 2))
    b = disturbed(b, 1)
    b["faults_per_cpu_s"] *= 1.5
    got = compare.files(a, b, "faults_per_cpu_s").table
    assert set(got.loc[got["threads"] == 1, "verdict"]) == {stats.FASTER}
    assert set(got.loc[got["threads"] == 2, "verdict"]) == {stats.UNTESTABLE}


def test_paired_blocks_bear_a_busy_host():
    got = compare.by_column(disturbed(sweep(writers=(0,)), 1), "path").table
    assert (got["verdict"] == stats.FASTER).all()
