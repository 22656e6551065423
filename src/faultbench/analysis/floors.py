"""Noise floors: below which size a difference is this machine's in this sweep.

Each machine has its own: simulated trials repeat to a few per mille, and beside them in one pool
the trials of real threads would look as quiet.

Paired blocks need the scatter of A/A pairs alone. Files measured apart have more between them:
what drifts from one file to the next. How far the two halves of each file lie apart tells its
size, as far as anything inside the files can; a change of the host between them stays unknown.
"""

from typing import TypeVar

import numpy as np
import pandas as pd
import scipy

from faultbench.analysis import stats
from faultbench.analysis.frame import cases, in_strings, is_virtual, key_columns
from faultbench.analysis.stats import Array

# The model decides signs of larger differences only (design, section 7); below this a simulation
# says nothing.
VIRTUAL_FLOOR = 0.10
# CPU time of one worker differs by up to 1.2 % between files of one host whose own trials scatter
# by 0.2 % (benchmarks/test_apart.py): memory placement, frequency, neighbours.
APART_FLOOR = 0.02
# With a pause as long as a file, files lie four times as far apart as their halves: a random walk
# strays twice as far on the way.
FURTHER = 2.0
MOST_DRIFT = 20.0  # in log: keeps every figure finite

One = TypeVar("One")
Load = tuple[str, str, str]  # machine, workers, writers


class Floors:
    """Noise floors from the A/A pairs of one machine's trials under one load (workers, writers).

    One table: its cases are compared in paired blocks. Two: each was measured apart.
    """

    def __init__(self, metric: str, *tables: pd.DataFrame) -> None:
        self.apart = len(tables) > 1
        self._pairs: dict[Load, list[Array]] = {}
        self._moves: dict[Load, list[float]] = {}
        for table in tables:
            every = cases(table, key_columns(table), metric)
            moves: dict[Load, list[float]] = {}
            for load, pairs, move in zip(
                _loads(every.keys),
                stats.aa_differences(every.values),
                stats.half_differences(every.values),
                strict=True,
            ):
                self._pairs.setdefault(load, []).append(pairs)
                if np.isfinite(move):
                    moves.setdefault(load, []).append(move)
            for load, found in moves.items():
                self._moves.setdefault(load, []).append(float(np.mean(found)))
        self._done: dict[tuple[Load, int], float] = {}

    def of(self, load: Load, n: int) -> float:
        """Return the floor (factor minus one) for ``n`` repeats; few pairs: all of the machine's.

        NaN without any A/A pair of the machine: then nothing is claimed.
        """
        if (load, n) not in self._done:
            pool = np.concatenate(self._pairs.get(load, [np.empty(0)]))
            if np.isfinite(pool).sum() < stats.MIN_REPEATS:
                pool = np.concatenate([np.empty(0), *_of_machine(self._pairs, load)])
            floor = stats.noise_floor(pool, n)
            between = self._between(load)
            self._done[load, n] = float(np.expm1(np.hypot(np.log1p(floor), between)))
        return self._done[load, n]

    def _between(self, load: Load) -> float:
        """Return the log factor that two files under a load may have drifted apart; 0 if paired.

        From one mean move a file, as a file's cases drift together: two figures, hence Student's t.
        """
        if not self.apart:
            return 0.0
        moves = self._moves.get(load) or _of_machine(self._moves, load)
        least = float(np.log1p(APART_FLOOR))
        if not moves:
            return least
        reach = scipy.stats.t.isf((1 - stats.CONFIDENCE) / 2, len(moves))
        size = float(FURTHER * reach * np.sqrt(np.mean(np.square(moves))))
        return min(max(size, least), MOST_DRIFT)

    def widened(self, ratios: stats.Ratios, keys: pd.DataFrame) -> stats.Ratios:
        """Return the ratios with drift between files in their intervals; unchanged if paired."""
        between = np.array([self._between(load) for load in _loads(keys)])
        below, above = (np.log(ratios.ratio / end) for end in (ratios.low, ratios.high))
        low = ratios.ratio * np.exp(-np.hypot(below, between))
        high = ratios.ratio * np.exp(np.hypot(above, between))
        return stats.Ratios(ratios.n, ratios.ratio, low, high) if self.apart else ratios

    def for_cases(self, keys: pd.DataFrame, n: "np.typing.NDArray[np.int64]") -> Array:
        """Return the floor of each case of ``keys`` with so many repeats: ``(cases,)``."""
        floor = np.array([self.of(load, int(k)) for load, k in zip(_loads(keys), n, strict=True)])
        virtual = keys["machine"].map(is_virtual).to_numpy(dtype=bool)
        return np.asarray(np.where(virtual, np.fmax(floor, VIRTUAL_FLOOR), floor))


def _loads(keys: pd.DataFrame) -> list[Load]:
    return [(m, t, w) for m, t, w in in_strings(keys, ("machine", "threads", "writers"))]


def _of_machine(pools: dict[Load, list[One]], load: Load) -> list[One]:
    """Return what all loads of this load's machine have; never another machine's."""
    return [one for (machine, *_), found in pools.items() if machine == load[0] for one in found]


def margins(keys: pd.DataFrame) -> Array:
    """Return by how much an interval must exclude 1 in each case (factor minus one)."""
    virtual = keys["machine"].map(is_virtual).to_numpy(dtype=bool)
    return np.where(virtual, VIRTUAL_FLOOR, 0.0)
