"""What a cost ledger is made of, and which trials of two kernels make one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from faultbench.analysis.frame import kernel_order, names_of
from faultbench.enums import Path
from faultbench.rules import KERNELS, resolve

BETWEEN = " and "  # of two kernels that count as one


@dataclass(frozen=True)
class Part:
    """One line of a ledger: ns per fault, its 95 % interval (NaN where exact), how it was found."""

    name: str
    ns: float
    low: float = float("nan")
    high: float = float("nan")
    source: str = ""


@dataclass(frozen=True)
class Ledger:
    """The parts of one case. ``total`` is the measured difference A − B in ns per fault.

    ``within`` says what the residual is made of, as far as anything tells; it is no part. ``told``
    are the keys that tell apart the cases among which this one was chosen.
    """

    case: dict[str, object]
    a: str
    b: str
    total: Part
    parts: list[Part]
    exact: bool
    residual_interval: tuple[float, float] = (math.nan, math.nan)
    within: list[Part] = field(default_factory=list)
    told: tuple[str, ...] = ()

    @property
    def residual(self) -> float:
        """What the parts leave unexplained, ns per fault."""
        return self.total.ns - sum(part.ns for part in self.parts)


def foremost(ledgers: Sequence[Ledger], most: int) -> tuple[list[Ledger], list[str]]:
    """Return the ledgers of the cases that differ most, and their names among all cases.

    What those that are shown share may be what tells them from the others.
    """
    every = sorted(ledgers, key=lambda entry: -abs(entry.total.ns))
    told = {key for entry in every for key in entry.told} - {"machine"}
    names = names_of(pd.DataFrame([entry.case for entry in every]), also=told)
    return every[:most], names[:most]


def sides(ledgers: Sequence[Ledger]) -> list[str]:
    """Return which two kernels stand for the paths, where they do."""
    kernels = dict.fromkeys(str(entry.case.get("kernel")) for entry in ledgers)
    return [
        f"Sides are {pair}: these kernels differ in nothing but the path."
        for pair in kernels
        if BETWEEN in pair
    ]


def notes(ledgers: Sequence[Ledger]) -> list[str]:
    """Return which kernels are the sides, how each measured part was found, and what is not."""
    said = sides(ledgers)
    measured = [entry for entry in ledgers if not entry.exact]
    sources: dict[str, list[str]] = {}
    for entry in measured:
        for part in (*entry.parts, *entry.within):
            known = sources.setdefault(part.name, [])
            known += [part.source] if part.source not in known else []
    said += [f"{name}: {'; or '.join(how)}." for name, how in sources.items()]
    if measured:
        said.append(
            "On threads nobody looks inside a fault. Waiting that moved to the next lock "
            "(vma_lock, invalidate_lock, i_pages, ptl) and the journeys of the locks' lines cannot "
            "be told apart there: both are the residual. A simulated machine takes them apart."
        )
    return said


def as_one_kernel(df: pd.DataFrame, a: str = "retry", b: str = "direct") -> pd.DataFrame:
    """Let two kernels that differ in nothing but their path (A, B) count as one, by machine.

    Of a ladder of kernels that bring a path each, next-202308 and v6.6 are the two sides of the
    patch. All other trials stay as they are.
    """
    machines = [_paired(part, a, b) for _, part in df.groupby("machine", sort=False)]
    return pd.concat(machines) if machines else df


def _paired(df: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    paths = df.groupby("kernel")["path"].agg(lambda p: p.iloc[0] if p.nunique() == 1 else "")
    known = sorted((str(k) for k in paths.index if k in KERNELS), key=kernel_order)
    for one in (k for k in known if paths[k] == a):
        for two in (k for k in known if paths[k] == b):
            if resolve(one, Path(b)) == resolve(two, Path(b)):
                both = df["kernel"].isin([one, two])
                return df.assign(kernel=df["kernel"].where(~both, f"{one}{BETWEEN}{two}"))
    return df
