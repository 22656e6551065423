"""The ratio column of a sweep's table: the analysis's verdicts, case by case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faultbench.errors import FaultbenchError

if TYPE_CHECKING:
    import pandas as pd

STYLES = {"faster": "green", "slower": "red"}
METRICS = {"faults_per_s": "faults/s", "faults_per_cpu_s": "faults/CPU-s"}


@dataclass(frozen=True)
class Ratio:
    """B against A: the ratio, its interval, the analysis's verdict."""

    ratio: float
    low: float
    high: float
    verdict: str

    def cell(self, hollow: bool) -> tuple[str, str]:
        """Return (text, style): coloured and starred only where the analysis calls it real."""
        real = self.verdict in STYLES and not hollow
        low, high = (f"{limit:.2f}" for limit in (self.low, self.high))
        interval = f" [{low}, {high}]" if math.isfinite(self.low) else ""
        text = f"{'○ ' if hollow else ''}{self.ratio:.2f}{interval}{' *' if real else ''}"
        return text, STYLES[self.verdict] if real else "dim"


def _way_of(good: pd.DataFrame) -> str:
    """Return what was varied: kernels where each brings its own path, else paths, else nothing."""
    from faultbench.analysis.compare import one_path_each

    if good["kernel"].nunique() > 1 and one_path_each(good):
        return "kernel"
    return next((c for c in ("path", "kernel") if good[c].nunique() > 1), "")


class Ratios:
    """B against A in every case of a table, by what was varied."""

    def __init__(self, good: pd.DataFrame, metric: str) -> None:
        self.metric = metric
        self.notes: list[str] = []
        self.title = ""
        self.floors = ""  # the noise floors of the cases, per load; each verdict is against its own
        self._keys: list[str] = []
        self._way = _way_of(good)
        self._found: dict[tuple[str, ...], Ratio] = {}
        if self._way:
            try:
                self._compare(good)
            except FaultbenchError as error:
                self.notes.append(f"no ratio: {error}")

    def _compare(self, good: pd.DataFrame) -> None:
        from faultbench.analysis import compare

        result = compare.by_column(good, self._way, self.metric)
        self.notes, self._keys = result.notes, list(result.keys)
        others = sorted(set(result.table["b"]))
        a = result.table["a"].iloc[0]
        self.title = f"{others[0] if len(others) == 1 else self._way}/{a}"
        floors = result.table["noise_floor_pct"].dropna()
        low, high = (f"{limit:.1f}" for limit in (floors.min(), floors.max()))
        if not floors.empty:
            self.floors = f"{high} %" if low == high else f"{low} to {high} %"
        for _, row in result.table.iterrows():
            key = (*(str(row[k]) for k in self._keys), str(row["b"]))
            low, high = (1 + row[f"ci_{end}_pct"] / 100 for end in ("low", "high"))
            self._found[key] = Ratio(row["ratio"], low, high, str(row["verdict"]))

    def __bool__(self) -> bool:
        return bool(self._found)

    def of(self, row: dict[str, Any]) -> Ratio | None:
        """Return the ratio of a row's way of a fault over the base's; None for the base."""
        return self._found.get((*(str(row[k]) for k in self._keys), str(row[self._way])))
