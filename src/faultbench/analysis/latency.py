"""Latency by outcome: what a fault took that went direct, was retried, aborted or missed.

Histograms add without loss, so the repeats of a case are merged before a quantile is read.
"""

from collections.abc import Iterable

import pandas as pd

from faultbench.histogram import merge, quantiles
from faultbench.model import Trial

OUTCOMES = ("direct", "retried", "aborted", "missed")
QUANTILES = {"p50_ns": 0.5, "p90_ns": 0.9, "p99_ns": 0.99, "p999_ns": 0.999, "max_ns": 1.0}


def by_outcome(trials: Iterable[Trial], df: pd.DataFrame) -> pd.DataFrame:
    """Return one row per case and outcome: the case's columns, ``samples``, quantiles in ns.

    ``df`` is the table of the same trials; only those with status ``ok`` count.
    """
    parts: dict[str, dict[str, list[dict[str, int]]]] = {}
    for trial in trials:
        if trial.status == "ok":
            mine = parts.setdefault(trial.spec.case_id, {})
            for outcome, histogram in trial.latency.items():
                mine.setdefault(outcome, []).append(histogram)
    rows = []
    for case, outcomes in parts.items():
        for outcome in OUTCOMES:
            merged = merge(outcomes.get(outcome, ()))
            if not merged:
                continue
            found = quantiles(merged, QUANTILES.values())
            values = dict(zip(QUANTILES, found, strict=True))
            rows.append(
                {"case_id": case, "outcome": outcome, "samples": sum(merged.values()), **values}
            )
    if not rows:
        return pd.DataFrame(columns=["case_id", "outcome", "samples", *QUANTILES])
    keep = [c for c in df.columns if c not in (*QUANTILES, "trial_id", "repeat", "message")]
    cases = df[df["status"] == "ok"].drop_duplicates("case_id")[keep]
    return pd.DataFrame(rows).merge(cases, on="case_id", how="inner")
