"""How long it takes to fault in 1 TiB, by order: 2 MiB faults matter before locks do."""

import pandas as pd

from faultbench.analysis.frame import WALL, has_flag, in_words, is_virtual

TIB = 1 << 40
BYTES = {"pud": 1 << 30, "pmd": 2 << 20, "pte": 4 << 10}
NAMES = {"pud": "PUD (1 GiB)", "pmd": "PMD (2 MiB)", "pte": "PTE (4 KiB)"}
NOTE = (
    "A 4 KiB mapping takes 512 times as many faults as a 2 MiB one. Whether faults are huge at all "
    "(alignment, contiguous extents) decides more than any lock on this page."
)


def rows(df: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return per order: faults, time of one worker, best time, where, how it is known."""
    path = "direct" if (df["path"] == "direct").any() else str(df["path"].iloc[0])
    df = df[(df["path"] == path) & ~has_flag(df["flags"], "oversubscribed")]
    simulated = bool(df["machine"].map(is_virtual).any())
    writers = df["writers"].astype(int)
    df = df[writers == writers.min()] if len(df) else df
    speeds = {order: _speeds(df[df["order"] == order], size) for order, size in BYTES.items()}
    measured = [order for order, table in speeds.items() if len(table)]
    if not measured:
        return []
    # An order that was not measured is shown at the rate of one that was: a fault is a fault.
    known = "pmd" if "pmd" in measured else measured[0]
    found: list[tuple[str, ...]] = []
    for order, size in BYTES.items():
        table, how = speeds[order], f"measured, path {path}"
        if table.empty:
            table = speeds[known].assign(speed=speeds[known]["speed"] / BYTES[known] * size)
            how = f"not measured: at the faults/s of {known}"
        if simulated:
            how = f"simulated: an order of magnitude; {how}"
        best = table.sort_values("speed").iloc[-1]
        single = table.loc[table["workers"] == 1, "speed"].max()
        where = {"handler": best["handler"], "vmas": best["vmas"], "threads": best["workers"]}
        found.append(
            (
                NAMES[order],
                f"{TIB // size:,}",
                duration(TIB / float(single)) if single > 0 else "–",
                duration(TIB / float(best["speed"])),
                in_words(where),
                how,
            )
        )
    return found


def _speeds(df: pd.DataFrame, size: int) -> pd.DataFrame:
    """Return the median bytes mapped per second by handler, sharing and workers."""
    mapped = df["mapped_bytes_per_s"].astype(float)
    speed = mapped.where(mapped > 0, df[WALL].astype(float) * size)
    table = df.assign(speed=speed, workers=df["threads"].astype(int))
    keys = ["handler", "vmas", "workers"]
    return table.groupby(keys)["speed"].median().reset_index()


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
