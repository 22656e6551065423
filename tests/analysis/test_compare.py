"""Comparison against scipy called row by row, and against bad tables."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from faultbench import table
from faultbench.analysis import compare as c
from faultbench.analysis.frame import COLUMNS
from faultbench.analysis.stats import FASTER, NOISE
from faultbench.errors import DataError, UsageError
from tests.analysis.files import trial
from tests.analysis.frames import row, sweep


def test_keys_of_a_case_and_golden_values():
    df = sweep(handlers=("ext4",), vmas=("private",), writers=(0,), threads=(2,), noise=0.05)
    got = c.by_column(df, "path").table
    assert len(got) == 1
    assert set(c.JSON_KEYS) <= set(got.columns)
    one = got.iloc[0]
    a = df[df.path == "retry"].sort_values("repeat")["faults_per_s"].to_numpy()
    b = df[df.path == "direct"].sort_values("repeat")["faults_per_s"].to_numpy()
    welch = stats.ttest_ind(a, b, equal_var=False)
    rank = stats.mannwhitneyu(a, b)
    expected = {
        "n_a": 6, "n_b": 6, "mean_a": a.mean(), "mean_b": b.mean(),
        "hmean_a": 6 / (1 / a).sum(), "hmean_b": 6 / (1 / b).sum(),
        "median_a": np.median(a), "median_b": np.median(b),
        "mad_a": np.median(abs(a - np.median(a))), "mad_b": np.median(abs(b - np.median(b))),
        "delta_mean_pct": 100 * (b.mean() / a.mean() - 1),
        "delta_hmean_pct": 100 * ((1 / a).sum() / (1 / b).sum() - 1),
        "delta_median_pct": 100 * (np.median(b) / np.median(a) - 1),
        "ci_low_pct": 100 * ((b / a).min() - 1), "ci_high_pct": 100 * ((b / a).max() - 1),
        "welch_t": welch.statistic, "welch_df": welch.df, "welch_p": welch.pvalue,
        "mwu_u": rank.statistic, "mwu_p": rank.pvalue,
    }  # fmt: skip
    for key, value in expected.items():
        assert one[key] == pytest.approx(value), key
    assert one["ratio"] == pytest.approx(np.exp(np.median(np.log(b / a))))
    assert one["verdict"] == "faster"
    assert (one["a"], one["b"]) == ("retry", "direct")


@pytest.mark.parametrize(("n_a", "n_b"), [(6, 6), (3, 12), (12, 9), (2, 2)])
def test_batched_tests_equal_scipy_row_by_row(n_a, n_b):
    rng = np.random.default_rng(n_a)
    a, b = rng.integers(1, 12, (40, n_a)) * 1.0, rng.integers(3, 14, (40, n_b)) * 1.0
    a[:20] += rng.random((20, n_a))  # half of the rows without ties
    b[:20] += rng.random((20, n_b))
    a[39], b[39] = 5.0, 5.0
    got = c.rank_and_mean_tests(a, b)
    for i in range(39):
        rank = stats.mannwhitneyu(a[i], b[i])
        assert (got["mwu_u"][i], got["mwu_p"][i]) == pytest.approx((rank.statistic, rank.pvalue))
        if np.ptp(a[i]) or np.ptp(b[i]):
            welch = stats.ttest_ind(a[i], b[i], equal_var=False)
            assert got["welch_t"][i] == pytest.approx(welch.statistic)
            assert got["welch_df"][i] == pytest.approx(welch.df)
    assert np.isnan(got["welch_t"][39])


def test_published_mann_whitney_and_welch_oracles():
    """scipy's documented examples, checked there against Mann-Whitney's tables and R's t.test."""
    males, females = np.array([[19.0, 22, 16, 29, 24]]), np.array([[20.0, 11, 17, 12]])
    got = c.rank_and_mean_tests(males, females)
    assert got["mwu_u"][0] == 17
    assert got["mwu_p"][0] == pytest.approx(0.1111111)


def test_shape_of_the_default_sweep():
    got = c.by_column(sweep(), "path")
    assert len(got.table) == 16 == (got.table["n_b"] == 6).sum()
    assert got.paired
    crowded = got.table[got.table.oversubscribed]
    assert (crowded.threads == 2).all()
    assert (crowded.verdict == "not testable").all()
    assert (got.table[~got.table.oversubscribed].verdict == "faster").all()


def test_aa_sweep_claims_nothing_much():
    claims = [
        c.by_column(sweep(gain=1.0, noise=0.05, seed=s), "path").table.verdict for s in range(12)
    ]
    every = pd.concat(claims)
    testable = every[every != "not testable"]
    assert len(testable) > 100
    assert testable.isin(["faster", "slower"]).mean() <= 0.05


def test_by_kernel_ignores_the_path_each_kernel_brings():
    old = sweep(paths=("abort",), kernel="v6.5")
    new = sweep(paths=("direct",), kernel="v6.6", gain=1.3)
    got = c.by_column(pd.concat([new, old]), "kernel").table
    assert set(got.a) == {"v6.5"}
    assert set(got.b) == {"v6.6"}
    assert "path" not in got.columns


def test_paths_that_cross_kernels_stay_apart():
    both = [sweep(kernel=k, seed=i) for i, k in enumerate(("v6.5", "v6.6"))]
    got = c.by_column(pd.concat(both), "kernel").table
    assert set(got["path"]) == {"retry", "direct"}
    assert (got.n_a == 6).all()


def test_every_other_path_is_compared_with_retry_unless_told():
    df = sweep(paths=("mmap-lock", "abort", "retry", "direct"))
    got = c.by_column(df, "path").table
    assert set(got.a) == {"retry"}
    assert set(got.b) == {"mmap-lock", "abort", "direct"}
    told = c.by_column(df, "path", pair=("abort", "direct")).table
    assert set(told.a) == {"abort"}


@pytest.mark.parametrize(
    "paths", [("abort", "direct", "mmap-lock"), ("direct", "mmap-lock", "abort")]
)
def test_what_is_compared_with_what_is_not_what_a_seed_drew_first(paths):
    """A sweep's first trial is drawn: `--path abort,direct` was once direct over abort."""
    got = c.by_column(sweep(paths=paths), "path").table
    assert set(got.a) == {"mmap-lock"}
    assert list(got.b.unique()) == ["abort", "direct"]


def test_files_are_unpaired_and_matched_by_key_not_by_order():
    a, b = sweep(seed=1), sweep(seed=2, gain=1.4).sample(frac=1, random_state=3)
    got = c.files(a, b)
    assert not got.paired
    assert len(got.table) == 32
    assert {"path", "machine"} <= set(got.keys)
    assert got.table.verdict.isin(["inside the noise", "not testable"]).mean() > 0.9
    assert any("apart" in n for n in got.notes)


def test_threads_as_text_or_number_are_the_same_case():
    a, b = sweep(seed=1), sweep(seed=2)
    b["threads"] = b["threads"].astype(str)
    assert len(c.files(a, b).table) == 32


def test_one_sided_cases_are_counted_not_hidden():
    df = sweep()
    df = df[~((df.path == "direct") & (df.handler == "ext4"))]
    got = c.by_column(df, "path")
    assert set(got.table.handler) == {"device-dax"}
    assert any("8 case(s) measured on one side only" in n for n in got.notes)
    assert set(got.lone.handler) == {"ext4"}
    assert got.lone[["a", "b", "only"]].drop_duplicates().to_numpy().tolist() == [
        ["retry", "direct", "a"]
    ]
    assert len(got.lone) == 8


def test_a_machine_that_was_swept_one_way_only_lacks_nothing():
    other = sweep(machine="virtual:x", paths=("direct",))
    assert not len(c.by_column(pd.concat([sweep(), other]), "path").lone)


def test_virtual_results_have_a_floor_of_ten_percent():
    df = sweep(machine="virtual:epyc", gain=1.05, noise=1e-4, writers=(0,), cpus=99)
    got = c.by_column(df, "path").table
    assert (got.noise_floor_pct >= 10).all()
    assert (got.verdict == "inside the noise").all()


@pytest.mark.parametrize("quiet_cases", [("private",), ("private", "shared")])
def test_simulated_trials_beside_them_make_no_real_threads_look_quiet(quiet_cases):
    """A default sweep has both; each machine's noise floor is its own, few pairs or many."""
    loud = sweep(handlers=("ext4",), vmas=("private",), writers=(0,), gain=1.05, noise=0.06)
    quiet = sweep(machine="virtual:epyc", vmas=quiet_cases, noise=1e-5, seed=2, cpus=99)

    def floors(table):
        return table[table.machine == "threads"].sort_values("threads").noise_floor_pct.tolist()

    both = pd.concat([loud, quiet])
    assert floors(c.by_column(both, "path").table) == floors(c.by_column(loud, "path").table)
    again = sweep(handlers=("ext4",), vmas=("private",), writers=(0,), noise=0.06, seed=3)
    apart = c.files(both, pd.concat([again, quiet])).table
    assert floors(apart) == floors(c.files(loud, again).table)


def test_a_machine_without_a_pair_borrows_no_other_machines_noise():
    loud = sweep(handlers=("ext4",), vmas=("private",), writers=(0,), threads=(1,), repeats=1)
    quiet = sweep(machine="virtual:epyc", noise=1e-5, seed=2, cpus=99)
    got = c.by_column(pd.concat([loud, quiet]), "path").table
    (alone,) = got[got.machine == "threads"].to_dict("records")
    assert np.isnan(alone["noise_floor_pct"])
    assert alone["verdict"] == "not testable"


def test_missing_blocks_shift_nothing():
    df = sweep(handlers=("ext4",), vmas=("private",), writers=(0,), threads=(1,), repeats=8)
    lost = df[~((df.path == "retry") & (df.repeat == 3))]
    one = c.by_column(lost, "path").table.iloc[0]
    a = df[df.path == "retry"].sort_values("repeat").faults_per_s.to_numpy()
    b = df[df.path == "direct"].sort_values("repeat").faults_per_s.to_numpy()
    keep = np.arange(8) != 3
    assert one["ratio"] == pytest.approx(np.median(b[keep] / a[keep]), rel=1e-3)
    assert (one["n_a"], one["n_b"]) == (7, 8)


def broken(change):
    df = sweep()
    return change(df)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.drop(columns=["threads"]), "lack the column 'threads'"),
        (lambda d: d.iloc[:0], "no trial"),
        (lambda d: d.assign(status="crashed"), "crashed"),
        (lambda d: d.assign(faults_per_s=0.0), "zero"),
        (lambda d: d.assign(faults_per_s=np.nan), "usable"),
        (lambda d: d[d.path == "direct"], "two are needed"),
        (lambda d: d[(d.path == "direct") ^ (d.handler == "ext4")], "nothing to compare$"),
        (
            lambda d: d.assign(kernel=d.path.map({"retry": "next-202308", "direct": "v6.6"})),
            "nothing to compare; --by kernel",
        ),
    ],
)
def test_bad_tables_get_one_clear_line(change, words):
    with pytest.raises(DataError, match=words) as caught:
        c.by_column(broken(change), "path")
    assert str(caught.value).count("\n") <= 1


def test_bad_requests():
    with pytest.raises(UsageError, match="path or by kernel"):
        c.by_column(sweep(), "handler")
    with pytest.raises(DataError, match="abort"):
        c.by_column(sweep(), "path", pair=("abort", "direct"))
    with pytest.raises(DataError, match="they differ in handler"):
        c.files(sweep(handlers=("ext4",)), sweep(handlers=("xfs",)))


def test_one_sample_is_not_testable_and_breaks_nothing():
    got = c.by_column(sweep(repeats=1), "path").table
    assert (got.verdict == "not testable").all()
    assert got.ci_low_pct.isna().all()
    assert got.mwu_p.notna().all()


def test_synthetic_rows_follow_the_contract():
    assert list(row(1e6)) != []
    assert list(sweep().columns[: len(COLUMNS)]) == list(COLUMNS)


def test_files_measured_apart_that_cpu_time_contradicts_claim_nothing():
    a = sweep(paths=("direct",), writers=(0,), noise=0.002)
    busy = sweep(paths=("direct",), writers=(0,), seed=2, noise=0.002)
    for column in ("faults_per_s", "faults"):
        busy[column] = (busy[column] * 0.6).round()  # wall time says slower,
    busy["faults_per_cpu_s"] *= 1.1  # CPU time says faster
    got = c.files(a, busy)
    assert set(got.table["verdict"]) == {NOISE}
    assert any("CPU time says the opposite" in note for note in got.notes)
    assert set(c.files(a, busy, metric="faults_per_cpu_s").table["verdict"]) == {FASTER}


def test_drift_within_a_file_widens_the_floor_of_files_measured_apart():
    steady, other = (
        sweep(paths=("direct",), writers=(0,)),
        sweep(paths=("direct",), writers=(0,), seed=2),
    )
    drifting = steady.copy()
    late = drifting["repeat"] >= 3
    for column in ("faults_per_s", "faults_per_cpu_s"):
        drifting.loc[late, column] *= 1.3
    calm = c.files(steady, other).table["noise_floor_pct"].max()
    assert c.files(drifting, other).table["noise_floor_pct"].min() > 20 > calm


@pytest.mark.filterwarnings("error")
def test_a_trial_without_a_fault_is_said_and_is_in_no_ratio():
    df = sweep(handlers=("ext4",), vmas=("private",), writers=(0,), threads=(1,), repeats=7)
    idle = (df["path"] == "retry") & (df["repeat"] == 2)
    df.loc[idle, ["faults_per_s", "faults_per_cpu_s", "faults", "worker_faults_min"]] = 0
    got = c.by_column(df, "path")
    one = got.table.iloc[0]
    assert one["hmean_a"] == 0
    assert one["delta_hmean_pct"] != one["delta_hmean_pct"]  # 0 has no change in per cent
    assert one["mean_a"] < 1.05 * one["median_a"] * 6 / 7
    assert (one["n_a"], one["n_b"]) == (7, 7)
    assert one["verdict"] == FASTER  # six pairs are left
    assert any("1 trial(s) without a single fault" in note for note in got.notes)
    again = c.files(df[df["path"] == "retry"], df[df["path"] == "retry"]).table.iloc[0]
    assert again["ratio"] == 1
    assert np.isfinite([again["ci_low_pct"], again["ci_high_pct"]]).all()


def test_trials_with_other_fallbacks_are_other_cases():
    """The key had named a column that the table does not have."""
    rng = np.random.default_rng(1)
    made = [
        trial(1e6, rng, path=path, repeat=repeat, fallback_ppm=ppm)
        for ppm in (0, 200_000)
        for path in ("retry", "direct")
        for repeat in range(6)
    ]
    found = c.by_column(table.frame(made), "path").table
    assert sorted(found["fallback"]) == [0.0, 0.2]


def test_a_simulated_difference_is_real_beyond_what_the_model_decides():
    """0.89 [0.87, 0.96] had been called real: repeats narrow an interval, not a model's error."""

    def verdict(machine, slower):
        rng = np.random.default_rng(3)
        made = [
            trial(rate, rng, path=path, repeat=repeat, machine=machine)
            for repeat in range(6)
            for path, rate in (("retry", 1e6), ("direct", 1e6 * slower[repeat % len(slower)]))
        ]
        return c.by_column(table.frame(made), "path").table["verdict"].tolist()

    assert verdict("virtual:m", [0.87, 0.89, 0.96]) == [NOISE]
    assert verdict("virtual:m", [0.87, 0.88]) == ["slower"]
    assert verdict("threads", [0.87, 0.89, 0.96]) == ["slower"]


def test_trials_of_another_length_are_said():
    """What a window of 10 ms shows of writers and of one of 1 s is not the same."""
    one, other = sweep(duration_ns=10**7), sweep(duration_ns=10**9)
    said = [note for note in c.files(one, other).notes if "trials of A last" in note]
    assert said == [
        "trials of A last 10,000,000 ns, of B 1,000,000,000 ns: a difference may be its"
    ]
    assert not [note for note in c.files(one, one).notes if "trials of A last" in note]
    work = sweep(duration_ns=0, faults_asked=100)
    assert any("of B 100 faults a worker" in note for note in c.files(one, work).notes)


def test_an_edited_profile_of_the_same_name_is_said():
    """`--cost mine.toml` edited between two sweeps passed for a difference of the paths."""
    old, new = (sweep(cost="mine", cost_digest=d, machine_digest="") for d in "ab")
    assert any("cost profile mine" in note for note in c.files(old, new).notes)
    assert not any("profile" in note for note in c.files(old, old).notes)
    virtual = [sweep(machine="virtual:m", cost_digest="", machine_digest=d) for d in "ab"]
    assert any("virtual:m is not the same" in note for note in c.files(*virtual).notes)


def test_a_side_is_not_compared_with_itself():
    with pytest.raises(UsageError, match="twice"):
        c.by_column(sweep(), "path", pair=("direct", "direct"))


def test_files_of_two_real_kernels_compare_them():
    """The host check lets them pass as what is compared; the key then had no case in common."""
    old, new = (
        sweep(paths=("direct",), machine="kernel", kernel=kernel, seed=seed).assign(path="-")
        for seed, kernel in enumerate(("6.5.0", "6.6.0"))
    )
    got = c.files(old, new)
    assert len(got.table) == 16 == (got.table["n_b"] == 6).sum()
    assert "kernel" not in got.keys
    assert any("6.5.0, B on kernel 6.6.0" in note for note in got.notes)
    with pytest.raises(DataError, match="differ in kernel"):  # models could share one sweep
        c.files(old.assign(machine="threads"), new.assign(machine="threads"))
