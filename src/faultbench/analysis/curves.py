"""Which curves over workers a case stands in: where few workers share nothing, in several.

For one worker private and shared mean the same (``-``), so it begins both curves. Two workers with
two mappings are ``private``, and so stand in the curve of ``--vmas 2`` as well.
"""

from collections.abc import Iterable, Iterator

import pandas as pd

from faultbench.analysis.frame import SHARING, key_columns, without_meaning

Point = tuple[str, ...]  # how a case shares, by the columns of `SHARING` that there are


def spread(df: pd.DataFrame) -> pd.DataFrame:
    """Repeat the rows of every case in each curve it stands in, under that curve's sharing.

    One trial stands in both curves; it is not counted twice, only drawn twice. Paths and kernels
    are lines of one panel, and so what one of them lacks another may have.
    """
    df = without_meaning(df)
    shares = [c for c in SHARING if c in df.columns]
    if not shares or df.empty:
        return df
    same = key_columns(df, without=("threads", "path", "kernel", *SHARING))
    cases = df[[*same, *shares, "threads"]].drop_duplicates(ignore_index=True)
    points = list(cases[shares].astype(str).itertuples(index=False, name=None))
    named = pd.Series(points, index=cases.index, dtype=object)
    cases = cases.assign(_point=named, _n=cases["threads"].astype(int))
    moved = []
    for _, group in cases.groupby(same, sort=False, dropna=False):
        curves = _curves(group)
        for at, point, n in zip(group.index, group["_point"], group["_n"], strict=True):
            moved += [(at, curve) for curve in curves if _stands_in(point, n, curve)]
    if len(moved) == len(cases) and all(curve == cases.at[at, "_point"] for at, curve in moved):
        return df
    # As they stood in the table: `overlap` is no text.
    values = dict(zip(points, cases[shares].itertuples(index=False), strict=True))
    to = pd.DataFrame([values[curve] for _, curve in moved], columns=shares, dtype=object)
    to["_case"] = [at for at, _ in moved]
    back = cases[[*same, *shares, "threads"]].assign(_case=cases.index)
    of = df.merge(back, on=[*same, *shares, "threads"], how="left")["_case"].to_numpy()
    drawn = df.assign(_case=of).drop(columns=shares).merge(to, on="_case", how="left")
    return drawn[df.columns]


def _curves(cases: pd.DataFrame) -> list[Point]:
    """Return the curves of cases that are alike but for sharing and workers.

    No curve are points that all stand in another one: those of a lone worker, or those of
    ``--vmas 4`` up to four workers.
    """
    most = cases.groupby("_point", sort=False)["_n"].max()
    ends = list(zip(most.index, most, strict=True))
    return [
        point for point, n in ends
        if not any(_stands_in(point, n, other) for other, _ in ends if other != point)
    ]  # fmt: skip


def _stands_in(point: Point, workers: int, curve: Point) -> bool:
    return all(
        own == its
        or (own == "-" and workers == 1)
        or (own == "-" and its in ("True", "False"))
        or (own == "private" and its.isdigit() and workers <= int(its))
        for own, its in zip(point, curve, strict=True)
    )


def ends(cases: Iterable[tuple[object, ...]], keys: tuple[str, ...]) -> Iterator[int]:
    """Yield which of the cases (values of `keys`) have the most workers of a curve."""
    table = pd.DataFrame(list(cases), columns=list(keys), dtype=object)
    if table.empty:
        return
    drawn = spread(table.assign(_at=range(len(table))))
    drawn = drawn.assign(_n=drawn["threads"].astype(int)).reset_index(drop=True)
    others = [key for key in keys if key != "threads"]
    last = drawn.groupby(others, sort=False, dropna=False)["_n"].idxmax()
    yield from dict.fromkeys(int(at) for at in drawn.loc[last, "_at"])
