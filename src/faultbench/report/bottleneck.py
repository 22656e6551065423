"""The next bottleneck by name: which lock takes over once mmap_lock is out of the way."""

from collections.abc import Sequence

import pandas as pd

from faultbench.analysis import steps
from faultbench.analysis.frame import (
    SHARING,
    WALL,
    has_flag,
    in_words,
    is_virtual,
    key_columns,
    narrowed,
    telling,
)
from faultbench.analysis.spent import in_order
from faultbench.model import Trial

EMULATED = (
    "Counts of an emulated kernel do not say what limits the direct path; a sweep on threads, on a "
    "simulated machine or on bare metal does."
)
MOST = 8
SHOWN = ("handler", "vmas", "files")
OF_WRITERS = ("writer_op", "writer_rate")
LEAST_NS = 5
OFTEN = 0.5  # reads of mmap_lock per fault


def sentences(df: pd.DataFrame, trials: Sequence[Trial]) -> list[str]:
    """Return one sentence a configuration of the direct path at its most workers."""
    df = narrowed(df, "flags", WALL, "faults", "mmap_lock_reads")
    direct = df[(df["path"] == "direct") & ~has_flag(df["flags"], "oversubscribed")]
    if direct.empty:
        return ["The direct path was not measured, so what limits it is not known."]
    found: list[str] = []
    real = direct[~direct["machine"].map(is_virtual).astype(bool)]
    # One sentence says what is true of one case: never a median over two kernels or knobs.
    keys = key_columns(real, without=("threads",))
    others = telling(real[keys], ignore=("machine", "path", *SHOWN, "writers", *OF_WRITERS))
    alone = real[real["threads"].astype(int) == 1]
    for values, rows in real.groupby(keys, sort=False):
        where = dict(zip(keys, (str(v) for v in values), strict=True))
        if where["writers"] != "0" or where["vmas"] == "-" or rows["cost"].isna().all():
            continue
        found.append(_measured(where, rows, alone, [*SHOWN, *others]))
    found = [*_first(found, "measured"), *_first(_simulated(trials), "simulated")]
    if not found:
        found.append(
            "Direct was measured with one worker or beside writers only: sweep --threads 1,2,max "
            "--writers 0 to see what it meets next."
        )
    return found


def _first(found: list[str], how: str) -> list[str]:
    """Return the first sentences, and how many there are beside them."""
    more = len(found) - MOST
    return [*found[:MOST], f"{more} more {how} configuration(s)."] if more > 0 else found


def _measured(
    where: dict[str, str], rows: pd.DataFrame, one: pd.DataFrame, named: Sequence[str]
) -> str:
    most = int(rows["threads"].astype(int).max())
    rate = rows.loc[rows["threads"].astype(int) == most, WALL].astype(float).median()
    for key, value in where.items():
        if key not in SHARING:  # how a single worker's mappings are shared says nothing
            one = one[one[key].astype(str) == value]
    name = in_words({k: where[k] for k in named})
    lock = by_rule(where["handler"], where["order"], where["vmas"], where["files"])
    at_most = rows[rows["threads"].astype(int) == most]
    reads = at_most["mmap_lock_reads"].astype(float).sum() / at_most["faults"].astype(float).sum()
    if reads >= OFTEN:  # direct or not: a handler or an order may be sent back all the same
        lock = f"mmap_lock, read {reads:.2f} times a fault as counted, then {lock}"
    tail = f"what its faults still share is {lock} (from the lines each fault writes, not measured)"
    single = one[WALL].astype(float).median()
    if most == 1 or not single > 0:  # not measured, or it completed no fault
        return f"{name}: {tail}."
    efficiency = rate / (most * single)
    return f"{name}: {most} workers reach {efficiency:.0%} of {most} times one worker; {tail}."


def by_rule(handler: str, order: str, vmas: str, files: str) -> str:
    """Return what a direct fault writes beside its own CPU's lines (kernel-reference §6.5)."""
    shared_vma, shared_file = vmas == "shared", files == "shared"
    if order == "pud":
        return "page_table_lock, which guards PUD entries of the whole mm"
    if handler == "ext4":
        locks = ["the journal (j_state_lock and the transaction's counters)"]
        locks += ["the VMA lock"] if shared_vma else []
        locks += ["invalidate_lock and i_pages of the one file"] if shared_file else []
        return ", then ".join(locks)
    if handler == "xfs" and shared_file:
        return "invalidate_lock and the xa_lock of i_pages, on one line of the one file"
    if shared_vma:
        return "the VMA lock's count: all workers fault in one VMA"
    if order == "pte":
        return "the PTE lock of each 2 MiB, where two workers meet in one"
    return "the PMD lock of each 1 GiB, where two workers meet in one"


def _simulated(trials: Sequence[Trial]) -> list[str]:
    table = steps.waiting(trials)
    if table.empty:
        return []
    lines = steps.hottest(trials, "direct")
    found = []
    keys = list(steps.KEYS)
    usual = ("handler", "vmas", "writers", "threads")
    others = telling(table[keys], ignore=("machine", *usual))
    for values, rows in sorted(table.groupby(keys, sort=False), key=lambda one: in_order(one[0])):
        where = dict(zip(keys, values, strict=True))
        if where["threads"] == 1:
            continue
        top = rows.sort_values("wait_ns").iloc[-1]
        name = in_words({k: where[k] for k in keys if k in usual or k in others})
        where_from = f"{name} (simulated {where['machine']})"
        if top["wait_ns"] < LEAST_NS:
            found.append(f"{where_from}: no lock is waited for {LEAST_NS} ns a fault or more.")
            continue
        share = top["wait_ns"] / float(rows["wait_ns"].sum())
        sentence = (
            f"{where_from}: {top['lock']}, {top['wait_ns']:.0f} ns of waiting per fault, "
            f"{share:.0%} of the waiting for locks"
        )
        if len(lines):
            mine = lines[~lines["rest"]]
            for key in keys:
                mine = mine[mine[key] == where[key]]
            if len(mine):
                sentence += f"; the hottest line holds {mine['name'].iloc[0]}"
        found.append(sentence + ".")
    return found
