"""How long it takes to fault in 1 TiB, by order: 2 MiB faults matter before locks do.

A row is of one machine, kernel, path and handler: a median over a measurement and a simulation,
or over two kernels, is a number that nobody saw.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from faultbench.analysis.frame import (
    PATHS,
    SHARING,
    WALL,
    has_flag,
    in_words,
    is_virtual,
    kernel_order,
    key_columns,
    narrowed,
    telling,
)
from faultbench.model import Handler, Order
from faultbench.rules import ORDERS

TIB = 1 << 40
NAMES = {Order.PUD: "PUD (1 GiB)", Order.PMD: "PMD (2 MiB)", Order.PTE: "PTE (4 KiB)"}
NOTE = (
    "A 4 KiB mapping takes 512 times as many faults as a 2 MiB one. Whether faults are huge at all "
    "(alignment, contiguous extents) decides more than any lock on this page."
)
CLEARS = (
    "Where a fault clears memory it takes time by its size, so times of orders that were not "
    "measured are not derived."
)
# These insert what is there; a fault of theirs costs much the same whatever it maps.
CLEAR_NOTHING = (
    Handler.DEVICE_DAX, Handler.EXT4, Handler.XFS, Handler.DRIVER, Handler.DRIVER_RETRY,
)  # fmt: skip
DERIVE_FROM = (Order.PMD, Order.PUD, Order.PTE)
OF = ["machine", "kernel", "path", "handler"]


def rows(df: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return per handler and order: faults, time of one worker, best time, where, how known."""
    df = narrowed(df, "flags", WALL, "mapped_bytes_per_s")
    df = df[~has_flag(df["flags"], "oversubscribed") & (df["access"] != "wp")]
    df = df[_latest_path(df)]
    if df.empty:
        return []
    shown = telling(df[OF]) or ["handler"]
    found: list[tuple[str, ...]] = []
    for values, of in sorted(df.groupby(OF, sort=False), key=lambda group: _place(group[0])):
        where = dict(zip(OF, (str(v) for v in values), strict=True))
        name = in_words({k: where[k] for k in shown if where[k] != "-"}) or where["handler"]
        measured = {order: _best(rows, order) for order, rows in of.groupby("order")}
        imported = bool(has_flag(of["flags"], "imported").all())
        for order in NAMES:
            if order.value in measured:
                found.append(_row(name, order, measured[order.value], _known(where, imported)))
            elif measured and order in _derivable(of):
                like = next(o for o in DERIVE_FROM if o.value in measured)
                best = _at_size(measured[like.value], like, order)
                virtual = is_virtual(where["machine"])
                how = f"not {'simulated' if virtual else 'measured'}: at the faults/s of "
                how += like.value.upper() + (", an order of magnitude" if virtual else "")
                found.append(_row(name, order, best, how))
    return found


def note(df: pd.DataFrame) -> str:
    """Return what stands under the table."""
    return f"{NOTE} {CLEARS}" if _clears(df).any() else NOTE


def _clears(df: pd.DataFrame) -> "pd.Series[bool]":
    """Return which trials may spend time by the size of what they map: all but some handlers'."""
    machine = df["machine"].astype(str)
    model = (machine == "threads") | machine.map(is_virtual).astype(bool)
    clears = ~model | ~df["handler"].isin([h.value for h in CLEAR_NOTHING])
    if "map" in df.columns:  # a private mapping is copied when it is written
        clears |= (df["map"] == "private") & (df["access"] == "write")
    return clears


def _derivable(of: pd.DataFrame) -> Sequence[Order]:
    """Return the orders that would take as long a fault as the measured ones of a handler."""
    return () if _clears(of).any() else ORDERS[Handler(str(of["handler"].iloc[0]))]


def _latest_path(df: pd.DataFrame) -> "pd.Series[bool]":
    """Return which rows are of the latest path measured on their machine and kernel."""
    age = df["path"].map(lambda p: PATHS.index(p) if p in PATHS else len(PATHS))
    return age == age.groupby([df["machine"], df["kernel"]]).transform("max")


def _place(values: Sequence[Any]) -> tuple[object, ...]:
    machine, kernel, _, handler = (str(v) for v in values)
    return (is_virtual(machine), machine, kernel_order(kernel), kernel, handler)


def _best(rows: pd.DataFrame, order: object) -> pd.DataFrame:
    """Return one-worker cases and the best case: a row a case, ``speed`` in bytes a second."""
    writers = rows["writers"].astype(int)
    rows = rows[writers == writers.min()]
    mapped = rows["mapped_bytes_per_s"].astype(float)
    speed = mapped.where(mapped > 0, rows[WALL].astype(float) * Order(str(order)).bytes)
    keys = key_columns(rows)
    table = rows.assign(speed=speed).groupby(keys, sort=False, dropna=False)["speed"].median()
    cases = table.reset_index()
    best = cases.loc[[cases["speed"].idxmax()]]
    # One worker of the very same case; how its mappings are shared makes no difference to it.
    same = [c for c in keys if c not in ("threads", *SHARING)]
    alone = cases[cases["threads"].astype(int) == 1].merge(best[same], on=same)
    several = telling(cases[[c for c in keys if c not in (*OF, "threads", *SHARING)]])
    return best.assign(single=alone["speed"].max(), several=" ".join(several))


def _at_size(best: pd.DataFrame, measured: Order, order: Order) -> pd.DataFrame:
    size = order.bytes / measured.bytes
    return best.assign(speed=best["speed"] * size, single=best["single"] * size)


def _known(where: dict[str, str], imported: bool) -> str:
    path = "" if where["path"] == "-" else f", path {where['path']}"
    if is_virtual(where["machine"]):
        return f"simulated{path}: an order of magnitude"
    if imported:
        return "imported: measured elsewhere"
    return f"measured in a kernel{path}" if where["machine"] == "kernel" else f"measured{path}"


def _row(name: str, order: Order, best: pd.DataFrame, how: str) -> tuple[str, ...]:
    case = best.iloc[0]
    shown = ("vmas", "threads", *case["several"].split())
    return (
        name,
        NAMES[order],
        duration(TIB / float(case["single"])) if case["single"] > 0 else "–",
        duration(TIB / float(case["speed"])) if case["speed"] > 0 else "–",
        in_words({k: case[k] for k in shown}),
        f"{TIB // order.bytes:,}",
        how,
    )


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
