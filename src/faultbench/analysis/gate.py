"""Rules of ``compare --fail-if``: a metric, a case, a threshold.

    faults_per_s < -5%                         `ratio` is below 0.95, and not in the noise
    delta_median_pct < -5 for handler=ext4     a value of the JSON output, whatever the verdict
    verdict = slower for threads=2,writers=0

A rule that matches no case, or can judge none of those it matches, is an error: a gate that tests
nothing must not pass.
"""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from faultbench.analysis import stats
from faultbench.analysis.compare import JSON_KEYS, Comparison
from faultbench.analysis.frame import CPU, WALL, names_of
from faultbench.errors import DataError, UsageError

EXIT_CODE = 3

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_RULE = re.compile(
    r"\s*(?P<metric>\w+)\s*(?P<op><=|>=|!=|==|=|<|>)\s*(?P<value>[^%]+?)\s*(?P<pct>%?)"
    r"(?:\s+for\s+(?P<case>.+))?\s*"
)
_HELP = "write e.g. 'faults_per_s < -5%' or 'verdict = slower for handler=ext4,threads=2'"


@dataclass(frozen=True)
class Rule:
    """One parsed rule."""

    text: str
    metric: str
    op: str
    value: float | str
    case: dict[str, str]

    @property
    def rate(self) -> str | None:
        """The rate whose change is tested, for rules that name a rate."""
        return self.metric if self.metric in (WALL, CPU) else None


def parse(text: str) -> Rule:
    """Return the rule; ``UsageError`` says how to write one."""
    found = _RULE.fullmatch(text)
    if found is None:
        raise UsageError(f"--fail-if {text!r}: not a rule; {_HELP}")
    metric, op, raw = found["metric"], found["op"], found["value"]
    if metric not in (*JSON_KEYS, "ratio", WALL, CPU):
        raise UsageError(f"--fail-if {text!r}: no metric {metric!r}; {_HELP}")
    value: float | str = raw
    if metric == "verdict":
        if op not in ("=", "==", "!="):
            raise UsageError(f"--fail-if {text!r}: a verdict is compared with = or !=")
        words = (stats.FASTER, stats.SLOWER, stats.NOISE, stats.UNTESTABLE)
        if raw not in words:
            raise UsageError(f"--fail-if {text!r}: a verdict is one of {', '.join(words)}")
    else:
        try:
            value = float(raw)
        except ValueError:
            raise UsageError(f"--fail-if {text!r}: {raw!r} is not a number; {_HELP}") from None
        if not math.isfinite(value):
            raise UsageError(f"--fail-if {text!r}: the threshold must be finite")
        if found["pct"] and metric not in (WALL, CPU) and not metric.endswith("_pct"):
            raise UsageError(f"--fail-if {text!r}: {metric} is not in per cent")
        if not found["pct"] and metric in (WALL, CPU):
            raise UsageError(
                f"--fail-if {text!r}: a rule on {metric} is about its change from A to B: write "
                f"'{metric} {op} -5%'; a rate as it stands is median_a or median_b"
            )
    case: dict[str, str] = {}
    for part in (found["case"] or "").split(","):
        key, sep, wanted = part.strip().partition("=")
        if part.strip():
            if not sep or not key or not wanted:
                raise UsageError(f"--fail-if {text!r}: a case is key=value,key=value; {_HELP}")
            case[key.strip()] = wanted.strip()
    return Rule(text, metric, op, value, case)


@dataclass(frozen=True)
class Judgement:
    """What a rule found, a line a case: those that break it, and those it cannot judge.

    ``judged`` counts the cases it could judge: a gate that judged none must not pass.
    """

    bad: list[str]
    mute: list[str]
    judged: int


def check(rule: Rule, comparison: Comparison) -> None:
    """Raise ``UsageError`` if the rule's case has a key that no case has."""
    for key in rule.case:
        if key not in (*comparison.keys, "a", "b"):
            raise UsageError(
                f"--fail-if {rule.text!r}: no key {key!r}; there are {', '.join(comparison.keys)}"
            )


def judge(rule: Rule, comparison: Comparison) -> Judgement:
    """Judge every case that the rule selects, those that only one side has among them.

    ``comparison`` is that of the rate the rule names, if it names one. ``DataError``: it selects
    none.
    """
    check(rule, comparison)
    table, lone = _selected(rule, comparison.table), _selected(rule, comparison.lone)
    if table.empty and lone.empty:
        raise DataError(f"--fail-if {rule.text!r}: no case matches, so nothing was tested")
    keys = pd.concat([comparison.table[comparison.keys], comparison.lone[comparison.keys]])
    names = names_of(keys)
    beyond = dict(zip(comparison.lone.index, names[len(comparison.table) :], strict=True))
    bad, mute, judged = [], [], 0
    for index, row in table.iterrows():
        name = names[comparison.table.index.get_loc(index)]
        # The verdict is about the paired ratio: medians may move otherwise, or not at all.
        key = f"change of {rule.rate} in %" if rule.rate else rule.metric
        value = 100 * (row["ratio"] - 1) if rule.rate else row[key]
        about_verdicts = bool(rule.rate) or rule.metric == "verdict"
        if rule.metric != "verdict" and not math.isfinite(value):
            mute.append(f"{name}: no {key}")
        elif about_verdicts and row["verdict"] == stats.UNTESTABLE and not _asks(rule):
            mute.append(f"{name}: not testable")
        else:
            judged += 1
            if rule.rate and row["verdict"] == stats.NOISE:
                continue
            if _OPERATORS[rule.op](value, rule.value):
                shown = value if isinstance(value, str) else f"{value:.4g}"
                bad.append(f"{name}: {key} is {shown} ({row['verdict']})")
    mute += [f"{beyond[i]}: only {str(row['only']).upper()} has it" for i, row in lone.iterrows()]
    return Judgement(bad, mute, judged)


def _selected(rule: Rule, table: pd.DataFrame) -> pd.DataFrame:
    for key, wanted in rule.case.items():
        table = table[np.array([_is(value, wanted) for value in table[key]], dtype=bool)]
    return table


def _is(value: object, wanted: str) -> bool:
    """Return whether a case's value is the one written, as tables or as JSON show it."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower() == wanted.lower()
    try:
        return str(value) == wanted or float(str(value)) == float(wanted)
    except ValueError:
        return False


def _asks(rule: Rule) -> bool:
    """Return whether the rule itself says what a case that is not testable is to it."""
    return rule.metric == "verdict" and (rule.op == "!=" or rule.value == stats.UNTESTABLE)
