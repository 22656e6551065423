"""What a comparison looks like, and the rules that gate it."""

import json

import numpy as np
import pandas as pd
import pytest

from faultbench import rules
from faultbench.analysis import compare as c
from faultbench.analysis import formats, gate
from faultbench.analysis.frame import CPU, NEVER_RELEASED
from faultbench.errors import DataError, UsageError
from faultbench.host import unlike
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


def test_cpu_time_is_shown_where_a_case_has_one_of_its_own():
    """A simulated CPU does nothing else: its CPU time is its time."""
    measured, simulated = sweep(), sweep(machine="virtual:m")
    real, both = (pd.concat(d) for d in ([measured], [measured, simulated]))
    told = {
        name: formats.columns(c.by_column(df, "path"), c.by_column(df, "path", CPU))
        for name, df in {"real": real, "both": both, "simulated": simulated}.items()
    }
    assert [formats.CPU_TIME in told[name][0] for name in told] == [True, True, False]
    at = formats.HEADINGS.index(formats.CPU_TIME)
    assert sum(row[at] == formats.NOTHING for row in told["both"][1]) == len(told["simulated"][1])
    assert {len(row) for row in told["simulated"][1]} == {len(formats.HEADINGS) - 1}


def test_markdown_cannot_be_broken_by_a_name():
    df = sweep(handlers=("a|b", "c"))
    lines = formats.to_markdown(c.by_column(df, "path")).splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines[:18]} == {9}


def test_no_two_cases_of_a_swept_knob_have_one_name():
    """Both halves of ``--set 'prefetchw=on|off'`` had one: no knob set was no case."""
    df = pd.concat([sweep(set=knobs, cpus=9) for knobs in ("", "prefetchw=off")])
    names = [cells[0] for cells in formats.rows(c.by_column(df, "path"))]
    assert len(set(names)) == len(names) == 32
    assert sum("set prefetchw=off" in name for name in names) == 16
    assert sum("set nothing" in name for name in names) == 16


def test_mmtests_report():
    df = sweep(handlers=("ext4",), vmas=("private",), writers=(0,), threads=(1, 4), cpus=8)
    both = [c.by_column(df, "path", m) for m in (CPU, "faults_per_s")]
    text = formats.to_mmtests(both)
    lines = text.splitlines()
    assert NEVER_RELEASED in lines[1]
    said = [line for line in lines if line.startswith("#")]
    assert said[-1] == "# machine=threads"  # of one case too
    assert lines[lines.index(said[-1]) + 1].split() == ["retry", "direct"]
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


@pytest.mark.parametrize("text", ["faults_per_s < 1000000", "faults_per_cpu_s<-5 for threads=2"])
def test_a_rate_without_per_cent_is_no_threshold(text):
    """A million faults/s was a million per cent: every case was below it, or none."""
    with pytest.raises(UsageError, match=r"change from A to B.* median_b"):
        gate.parse(text)


def test_rules_judge(one):
    found = gate.judge(gate.parse("faults_per_s > 5%"), one)
    assert len(found.bad) == found.judged == 12
    assert len(found.mute) == 4  # oversubscribed
    assert gate.judge(gate.parse("faults_per_s < -5%"), one).bad == []
    assert len(gate.judge(gate.parse("delta_median_pct > 0 for threads=2,writers=1"), one).bad) == 4
    assert gate.judge(gate.parse("verdict = slower"), one).bad == []


def test_noise_never_breaks_a_rate_rule():
    same = c.by_column(sweep(gain=1.0, noise=0.3), "path")
    quiet = same.table[same.table.verdict == "inside the noise"]
    assert len(quiet) >= 8
    found = gate.judge(gate.parse("faults_per_s < -0.0001%"), same)
    assert len(found.bad) <= len(same.table) - len(quiet)


def test_a_rule_about_a_rate_judges_the_ratio_that_the_verdict_is_about():
    """The host changes its pace in the middle: medians fall by 7 %, most pairs by 10 %."""
    one = {"threads": (1,), "handlers": ("ext4",), "vmas": ("private",), "writers": (0,)}
    df = sweep(**one, repeats=8)
    df = df.sort_values(["path", "repeat"], ignore_index=True)
    pace = np.repeat([1e6, 2e6], 4)
    direct = np.array([0.9, 0.9, 0.9, 0.99, 0.9, 0.9, 0.9, 0.9]) * pace
    df["faults_per_s"] = np.concatenate([direct, pace])
    got = c.by_column(df, "path")
    row = got.table.iloc[0]
    assert row["delta_median_pct"] == pytest.approx(-7, abs=0.01)
    assert (row["ratio"], row["verdict"]) == (pytest.approx(0.9), "slower")
    (bad,) = gate.judge(gate.parse("faults_per_s < -8%"), got).bad
    assert "change of faults_per_s in % is -10 (slower)" in bad
    assert gate.judge(gate.parse("delta_median_pct < -8"), got).bad == []


def test_a_rule_that_matches_nothing_is_an_error(one):
    with pytest.raises(DataError, match="nothing was tested"):
        gate.judge(gate.parse("ratio < 1 for handler=xfs"), one)
    with pytest.raises(UsageError, match="no key"):
        gate.check(gate.parse("ratio < 1 for cpu=3"), one)


@pytest.mark.parametrize("rule", ["faults_per_s < -5%", "verdict = slower", "welch_p < 0.1"])
def test_a_rule_that_no_trial_can_answer_judges_nothing(rule):
    few = c.by_column(sweep(repeats=1), "path")
    found = gate.judge(gate.parse(rule), few)
    assert found.judged == 0
    assert len(found.mute) == len(few.table)


@pytest.mark.parametrize("case", ["sync=false", "sync=False", "fallback=0", "fallback=0.0"])
def test_a_rule_names_a_case_as_json_or_a_table_shows_it(case):
    got = c.by_column(sweep().assign(sync=False, fallback=0.0), "path")
    assert len(gate.judge(gate.parse(f"ratio > 0 for {case}"), got).bad) == len(got.table)
    with pytest.raises(DataError, match="no case matches"):
        gate.judge(gate.parse("ratio > 0 for sync=true"), got)


def test_a_rule_about_untestable_cases_judges_them():
    few = c.by_column(sweep(repeats=3), "path")
    assert gate.judge(gate.parse("verdict = not testable"), few).judged == len(few.table)
    assert gate.judge(gate.parse("verdict != faster"), few).bad
    assert gate.judge(gate.parse("delta_median_pct < -5"), few).judged == len(few.table)


def test_a_rule_names_the_cases_that_one_side_lacks():
    whole = sweep(writers=(0,))
    lacking = whole[~((whole.handler == "ext4") & (whole.path == "direct"))]
    found = gate.judge(gate.parse("faults_per_s < -5%"), c.by_column(lacking, "path"))
    assert found.judged == 4
    assert sum("only A has it" in line and "ext4" in line for line in found.mute) == 4
    only = gate.judge(
        gate.parse("faults_per_s < -5% for handler=ext4"), c.by_column(lacking, "path")
    )
    assert (only.judged, len(only.mute)) == (0, 4)


def test_mmtests_report_of_single_trials_has_no_nan():
    text = formats.to_mmtests([c.by_column(sweep(repeats=1), "path")])
    assert "nan" not in text
    assert "Hmean" in text
    assert "Stddev" not in text
    idle = {"hmean_a": 0.0, "hmean_b": 5.0, "verdict": "not testable"}
    assert formats._operation("x", "Hmean", idle).endswith("(       -)")


@pytest.mark.parametrize("form", ["footnotes", "mmtests", "markdown"])
def test_kernels_that_bring_retry_are_said_to_be_unreleased_and_simulated(form):
    df = pd.concat(
        [
            sweep(paths=(path,), kernel=kernel, machine="virtual:epyc", cpus=99)
            for path, kernel in (("retry", "next-202308"), ("direct", "v6.6"))
        ]
    )
    got = c.by_column(df, "kernel", pair=("next-202308", "v6.6"))
    assert "path" not in got.keys
    text = {
        "footnotes": lambda: "\n".join(formats.footnotes(got)),
        "mmtests": lambda: formats.to_mmtests([got]),
        "markdown": lambda: formats.to_markdown(got),
    }[form]()
    assert NEVER_RELEASED in text
    assert "simulated" in text
    if form == "mmtests":
        assert "# machine=virtual:epyc" in text


def test_windows_too_short_for_their_writers_are_marked():
    """The sweep's own table marks them; a verdict in a cover letter did not."""
    df = sweep(threads=(1,), handlers=("ext4",), vmas=("private",), machine="virtual:generic")
    df["flags"] = np.where(df["writers"] > 0, "transient", "")
    got = c.by_column(df, "path")
    marked = [cells[0] for cells in formats.rows(got)]
    assert [name.endswith(" †") for name in marked] == [False, True]
    assert "† transient" in formats.to_markdown(got)
    assert [case["transient"] for case in json.loads(formats.to_json(got))["cases"]] == [
        False,
        True,
    ]
    assert "†" not in formats.to_markdown(c.by_column(df[df["writers"] == 0], "path"))


def test_floors_beyond_tenfold_are_only_said_to_be():
    assert formats.percent(131166.2) == "> 1000 %"
    assert formats.percent(13.6) == "13.6 %"


def test_unlike_hosts_are_named():
    a = {"cpu_model": "EPYC 7742", "cpus": [0, 1], "kernel": "6.6"}
    assert unlike(a, dict(a)) == []
    assert unlike(a, {}) == []
    assert unlike(a, a | {"cpu_model": "Xeon"}) == ["CPU: EPYC 7742, Xeon"]


def test_one_wording_says_that_retry_was_never_released():
    assert NEVER_RELEASED is rules.NEVER_RELEASED


def test_plain_values():
    values = [np.int64(3), np.float64("nan"), np.bool_(True), float("inf"), "x"]
    assert [formats.plain(v) for v in values] == [3, None, True, None, "x"]


@pytest.mark.parametrize(("repeats", "said"), [(1, False), (2, True), (4, True), (5, False)])
def test_intervals_of_few_repeats_do_not_pass_for_95_percent(repeats, said):
    notes = formats.footnotes(c.by_column(sweep(repeats=repeats), "path"))
    assert any("not 95 %" in note for note in notes) is said


def test_a_files_name_is_no_tag_and_no_second_line():
    names = ("one.jsonl", "<img src=x>\ntwo.jsonl")
    got = c.files(sweep(), sweep(seed=2), names=names)
    assert "- A = one.jsonl, B = &lt;img src=x> two.jsonl; medians" in formats.to_markdown(got)
    assert formats.to_mmtests([got]).startswith("# A = one.jsonl, B = <img src=x> two.jsonl; ")
