"""Files measured apart: verdicts that the state of the host, not the fault, may have made.

Within one sweep the blocks pair what a busy host does to both sides. Two files have no pairs, so
a claim needs trials that nothing disturbed, and CPU time that does not say the opposite.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from faultbench.analysis import stats
from faultbench.analysis.frame import CPU, WALL, flagged, in_strings
from faultbench.analysis.stats import Array

Sides = tuple[pd.DataFrame, pd.DataFrame]
# Flags under which a rate is the host's as much as the fault's (`faultbench.disturbance`).
DISTURBED = frozenset("loaded low-cpu steal throttled stalled suspended affinity".split())
LENGTHS = {"duration_ns": "ns", "faults_asked": "faults a worker"}
MOST_DISTURBED = 1 / 3  # of a side's trials: a median of six bears two


def judged(
    table: pd.DataFrame, sides: Sides, columns: Sequence[str], metric: str, notes: list[str]
) -> pd.DataFrame:
    """Take verdicts from the cases of ``table`` that a disturbed host may have made; say so."""
    table = _disturbed(table, sides, columns, metric, notes)
    return _contradicted(table, sides, columns, notes) if metric == WALL else table


def lengths(left: pd.DataFrame, right: pd.DataFrame) -> Iterator[str]:
    """Yield a remark where trials of A and B were asked to last unlike long."""
    asked = []
    for side in (left, right):
        found = {
            f"{int(n):,} {unit}"
            for column, unit in LENGTHS.items()
            if column in side.columns
            for n in pd.unique(side[column].dropna())
            if n > 0
        }
        asked.append(", ".join(sorted(found)))
    if all(asked) and asked[0] != asked[1]:
        yield f"trials of A last {asked[0]}, of B {asked[1]}: a difference may be its"


def _by_case(
    side: pd.DataFrame, table: pd.DataFrame, columns: Sequence[str], values: Array, how: str
) -> Array:
    """Return the ``how`` of the trials' ``values`` for each case of ``table``."""
    number = {key: row for row, key in enumerate(in_strings(table, columns))}
    at = np.array([number.get(key, -1) for key in in_strings(side, columns)], dtype=np.intp)
    found = pd.Series(values).groupby(at).agg(how).reindex(range(len(table)))
    return found.to_numpy(dtype=float)


def _disturbed(
    table: pd.DataFrame, sides: Sides, columns: Sequence[str], metric: str, notes: list[str]
) -> pd.DataFrame:
    """Call cases not testable of which too many trials were disturbed in one of the files.

    CPU time of a lone worker is its own whoever else runs; how several tasks meet in a line, or
    wait for each other, is not.
    """
    shares = []
    for side in sides:
        disturbed = np.asarray(flagged(side["flags"], DISTURBED), dtype=float)
        shares.append(_by_case(side, table, columns, disturbed, "mean"))
    alone = table["threads"].astype(int) + table["writers"].astype(int) == 1
    hit = np.fmax(*shares) > MOST_DISTURBED
    if metric == CPU:
        hit &= ~alone.to_numpy()
    hit &= (table["verdict"] != stats.UNTESTABLE).to_numpy()
    if hit.any():
        table.loc[hit, "verdict"] = stats.UNTESTABLE
        notes.append(
            f"{int(hit.sum())} case(s) not testable: other programs disturbed more than a third of "
            "their trials in one of the files, which files measured apart cannot take out; use a "
            "quiet host, or sweep both sides in one file"
        )
    return table


def _contradicted(
    table: pd.DataFrame, sides: Sides, columns: Sequence[str], notes: list[str]
) -> pd.DataFrame:
    """Take the verdict from cases whose CPU time says the opposite: the host was busier once."""
    one, two = (
        _by_case(
            side,
            table,
            columns,
            pd.to_numeric(side[CPU], errors="coerce").to_numpy(dtype=float),
            "median",
        )
        for side in sides
    )
    claimed = table["verdict"].isin([stats.FASTER, stats.SLOWER]).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        opposite = claimed & ((two / one - 1) * (table["ratio"].to_numpy() - 1) < 0)
    if opposite.any():
        table.loc[opposite, "verdict"] = stats.NOISE
        notes.append(
            f"{int(opposite.sum())} case(s): CPU time says the opposite of wall time; the host was "
            "busier in one of the files (--metric faults_per_cpu_s)"
        )
    return table
