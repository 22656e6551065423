"""What a comparison looks like, and the rules that gate it."""

import json

import numpy as np
import pytest

from faultbench.analysis import compare as c
from faultbench.analysis import formats, gate
from faultbench.analysis.frame import CPU, NEVER_RELEASED
from faultbench.analysis.hosts import unlike
from faultbench.errors import DataError, UsageError
from tests.analysis.frames import sweep


@pytest.fixture(scope="module")
def one():
    return c.by_column(sweep(), "path")


def test_json_has_every_key_and_no_nan(one):
    whole = json.loads(formats.to_json(one), parse_constant=pytest.fail)
    assert len(whole["cases"]) == 16
    for case in whole["cases"]:
        assert set(c.JSON_KEYS) <= set(case)
        assert case["case"]["threads"] in (1, 2)
        assert isinstance(case["n_a"], int)


def test_json_of_single_samples_has_null():
    whole = json.loads(formats.to_json(c.by_column(sweep(repeats=1), "path")))
    case = whole["cases"][0]
    assert case["ci_low_pct"] is None
    assert case["welch_p"] is None
    assert case["verdict"] == "not testable"


def test_markdown_is_a_table_that_says_never_released(one):
    text = formats.to_markdown(one, c.by_column(sweep(), "path", CPU))
    lines = text.splitlines()
    assert lines[1].count("|") == lines[0].count("|") == lines[2].count("|")
    assert NEVER_RELEASED in text
    assert "more threads than CPUs" in text
    assert "**faster**" in text


def test_markdown_cannot_be_broken_by_a_name():
    df = sweep(handlers=("a|b", "c"))
    lines = formats.to_markdown(c.by_column(df, "path")).splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines[:18]} == {10}


def test_mmtests_report():
    df = sweep(handlers=("ext4",), vmas=("private",), writers=(0,), threads=(1, 4), cpus=8)
    both = [c.by_column(df, "path", m) for m in (CPU, "faults_per_s")]
    text = formats.to_mmtests(both)
    lines = text.splitlines()
    assert lines[0].split() == ["retry", "direct"]
    hmean = [line for line in lines if line.startswith("Hmean")]
    assert [h.split()[1] for h in hmean] == [
        "faults/cpu-1", "faults/cpu-4", "faults/sec-1", "faults/sec-4",
    ]  # fmt: skip
    row = both[1].table.iloc[0]
    assert f"{row['hmean_a']:.4f}" in hmean[2]
    assert "*" in hmean[2]
    gain = 100 * (row["hmean_b"] / row["hmean_a"] - 1)
    assert f"{gain:.2f}%" in hmean[2]
    assert sum(line.startswith("Stddev") for line in lines) == 4
    spread = next(line for line in lines if line.startswith("Stddev    faults/sec-1"))
    worse = 100 * (row["stddev_a"] - row["stddev_b"]) / row["stddev_a"]
    assert f"{worse:.2f}%" in spread  # pndiff: less scatter is positive


def test_mmtests_pdiff_and_pndiff_oracle():
    """The block quoted in the field notes."""
    assert "(  10.33%)" in formats._operation(
        "x", "Stddev", {"stddev_a": 2302.9105, "stddev_b": 2065.0845}
    )
    hmean = {"hmean_a": 500000.0, "hmean_b": 450000.0, "verdict": "slower"}
    assert formats._operation("Hmean     faults/cpu-8", "Hmean", hmean).endswith("* -10.00%*")
    hmean = {"hmean_a": 4000000.0, "hmean_b": 3980000.0, "verdict": "inside the noise"}
    assert formats._operation("Hmean     faults/sec-8", "Hmean", hmean).endswith("(  -0.50%)")


@pytest.mark.parametrize(
    ("text", "metric", "op", "value", "case"),
    [
        ("faults_per_s < -5%", "faults_per_s", "<", -5.0, {}),
        ("delta_median_pct<=-2.5 for handler=ext4, threads=2", "delta_median_pct", "<=", -2.5,
         {"handler": "ext4", "threads": "2"}),
        ("verdict = slower", "verdict", "=", "slower", {}),
        ("verdict != inside the noise for writers=0", "verdict", "!=", "inside the noise",
         {"writers": "0"}),
        ("ratio > 2", "ratio", ">", 2.0, {}),
    ],
)  # fmt: skip
def test_rules_are_parsed(text, metric, op, value, case):
    rule = gate.parse(text)
    assert (rule.metric, rule.op, rule.value, rule.case) == (metric, op, value, case)


@pytest.mark.parametrize(
    "text",
    ["", "x", "faults < 1", "faults_per_s < x", "faults_per_s < nan", "verdict < slower",
     "verdict = fine", "mwu_p < 5%", "ratio < 1 for ext4", "ratio << 1", "faults_per_s < inf%"],
)  # fmt: skip
def test_what_is_no_rule_says_how_to_write_one(text):
    with pytest.raises(UsageError) as caught:
        gate.parse(text)
    assert "\n" not in str(caught.value)


def test_rules_judge(one):
    bad, mute = gate.broken(gate.parse("faults_per_s > 5%"), one)
    assert len(bad) == 12
    assert len(mute) == 4  # oversubscribed
    assert gate.broken(gate.parse("faults_per_s < -5%"), one)[0] == []
    bad, _ = gate.broken(gate.parse("delta_median_pct > 0 for threads=2,writers=1"), one)
    assert len(bad) == 4
    assert gate.broken(gate.parse("verdict = slower"), one)[0] == []


def test_noise_never_breaks_a_rate_rule():
    same = c.by_column(sweep(gain=1.0, noise=0.3), "path")
    quiet = same.table[same.table.verdict == "inside the noise"]
    assert len(quiet) >= 8
    bad, _ = gate.broken(gate.parse("faults_per_s < -0.0001%"), same)
    assert len(bad) <= len(same.table) - len(quiet)


def test_a_rule_that_matches_nothing_is_an_error(one):
    with pytest.raises(DataError, match="nothing was tested"):
        gate.broken(gate.parse("ratio < 1 for handler=xfs"), one)
    with pytest.raises(UsageError, match="no key"):
        gate.broken(gate.parse("ratio < 1 for cpu=3"), one)


def test_unlike_hosts_are_named():
    a = {"cpu_model": "EPYC 7742", "cpus": [0, 1], "kernel": "6.6"}
    assert unlike(a, dict(a)) == []
    assert unlike(a, {}) == []
    assert unlike(a, a | {"cpu_model": "Xeon"}) == ["CPU: EPYC 7742, Xeon"]


def test_plain_values():
    values = [np.int64(3), np.float64("nan"), np.bool_(True), float("inf"), "x"]
    assert [formats.plain(v) for v in values] == [3, None, True, None, "x"]
