"""The exact ledger of virtual time: where every picosecond of the workers went, step by step.

A virtual trial records, per step of the path (a kernel function), the workers' time in it and how
much of that they were stalled for a cache line, spinning, or asleep. The record is
``extra["steps"] = {step: [ps, stalled, spinning, asleep, lines]}``, sums over the workers in their
window; the residual is what their clocks say beyond the steps.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from faultbench.analysis.curves import ends
from faultbench.analysis.frame import KEY, KEY_EXTRAS, UNSHARED, is_virtual, key_columns
from faultbench.analysis.parts import Ledger, Part, as_one_kernel
from faultbench.analysis.stats import Array
from faultbench.errors import DataError
from faultbench.model import Trial
from faultbench.table import of_spec

# What a step's busy time is for; the names are those of src/_core/mm/steps.h, in lower case.
OWN = {
    "second VMA look-up": ("find_vma", "lock_vma_under_rcu"),
    "second walk": (
        "handle_mm_fault", "pud_alloc", "pmd_alloc", "pte_alloc", "create_huge_pud",
        "create_huge_pmd", "wp_huge_pud", "wp_huge_pmd", "huge_set_accessed", "split_huge",
        "handle_pte_fault", "do_fault", "map_pages",
    ),
    "VMA-lock pair, in vain on retry": ("vma_start_read", "vma_end_read"),
    "mmap_lock pair": ("lock_mm_and_find_vma", "mmap_read_unlock"),
}  # fmt: skip
MMAP_LOCK = OWN["mmap_lock pair"]
# Where waiting goes when mmap_lock no longer takes it.
NEXT = {
    "vma_lock": OWN["VMA-lock pair, in vain on retry"],
    "invalidate_lock": ("invalidate_lock",),
    "i_pages": ("grab_mapping_entry", "dax_insert_entry", "dax_unlock_entry"),
    "ptl": ("insert_pfn", "insert_pfn_pmd", "insert_pfn_pud"),
    "ILOCK, i_flags_lock or i_es_lock": ("iomap_begin", "xfs_iflags_test"),
    "PAT locks": ("find_next_iomem_res", "lookup_memtype"),
    "journal": ("journal_start", "journal_stop"),
}
LOCKS = {"mmap_lock": MMAP_LOCK, **NEXT}
OTHERS = "all other lines"
_OTHERS = re.compile(r"\d+ other lines")
_MCS = re.compile(r"task \d+ mcs.*")
# A case: what was asked of it. The last two are what its figures stand side by side by.
KEYS = (*(c for c in (*KEY, *KEY_EXTRAS) if c not in ("path", "threads")), "path", "threads")
Case = tuple[object, ...]  # the values of `KEYS`
OUTSIDE = ("refill",)  # not on the faults' clock
KINDS = ("busy", "stalled", "spinning", "asleep")
Steps = dict[str, Array]  # ns per fault of each step by KINDS: shape (4,)
_NONE = np.zeros(len(KINDS))


def of_trial(trial: Trial) -> Steps | None:
    """Return where a trial's faults spent their time; None: nothing recorded."""
    recorded = trial.extra.get("steps")
    faults = trial.total("faults")
    if not isinstance(recorded, dict) or not recorded or not faults:
        return None
    rows = {}
    with _as_recorded(trial, "steps"):
        for name, values in recorded.items():
            total, stalled, spinning, asleep = (float(v) / 1000 / faults for v in values[:4])
            busy = total - stalled - spinning - asleep
            rows[str(name)] = np.array((busy, stalled, spinning, asleep))
    return rows


@contextmanager
def _as_recorded(trial: Trial, part: str) -> Iterator[None]:
    """Raise `DataError` where a part of a record is not what a simulation writes."""
    try:
        yield
    except (TypeError, ValueError, KeyError):
        raise DataError(
            f"trial {trial.trial_id}: its {part} are not those of a simulation"
        ) from None


def ledgers(
    trials: Iterable[Trial], df: pd.DataFrame, a: str = "retry", b: str = "direct"
) -> list[Ledger]:
    """Return the exact ledger of every simulated case of both paths; repeats are averaged.

    Of kernels that bring a path each, two that differ in nothing else are the two sides.
    """
    df = as_one_kernel(df, a, b)
    keys = key_columns(df, without=("path",))
    index = df.drop_duplicates("trial_id").set_index("trial_id")
    found: dict[tuple[str, ...], dict[str, list[Steps]]] = {}
    named: dict[tuple[str, ...], dict[str, object]] = {}
    clocks: dict[tuple[tuple[str, ...], str], list[float]] = {}
    for trial in trials:
        if trial.status != "ok" or not is_virtual(trial.spec.machine) or trial.spec.path is None:
            continue
        steps = of_trial(trial)
        if steps is None or trial.trial_id not in index.index:
            continue
        row = index.loc[trial.trial_id]
        case = tuple(str(row[k]) for k in keys)
        named[case] = {k: row[k] for k in keys}
        path = trial.spec.path.value
        found.setdefault(case, {}).setdefault(path, []).append(steps)
        clocks.setdefault((case, path), []).append(_clock(trial))
    made = []
    for case, paths in found.items():
        if a in paths and b in paths:
            one, two = (sum_up(paths[p]) for p in (a, b))
            clock = float(np.mean(clocks[case, a]) - np.mean(clocks[case, b]))
            made.append(_ledger(named[case], one, two, clock, a, b))
    return made


def _clock(trial: Trial) -> float:
    """Return the workers' time per fault by their clocks: what the steps must add up to."""
    return trial.total("window_ns") / trial.total("faults")


def sum_up(parts: list[Steps]) -> Steps:
    """Return the mean over the repeats; a step that a repeat lacks took no time in it."""
    names = sorted(set().union(*parts))
    return {s: np.mean([p.get(s, _NONE) for p in parts], axis=0) for s in names}


def time_of(steps: Steps, functions: Iterable[str], kinds: Iterable[str]) -> float:
    """Return the ns of these kinds in these functions."""
    columns = [KINDS.index(kind) for kind in kinds]
    return float(sum(steps[f][columns].sum() for f in functions if f in steps))


def _ledger(
    case: dict[str, object], one: Steps, two: Steps, clock: float, a: str, b: str
) -> Ledger:
    names = [s for s in sorted({*one, *two}) if s not in OUTSIDE]
    delta = {s: one.get(s, _NONE) - two.get(s, _NONE) for s in names}
    waits = KINDS[1:]
    parts: list[Part] = []
    used: set[tuple[str, str]] = set()

    def take(name: str, chosen: Iterable[str], kinds: Iterable[str], source: str) -> None:
        chosen = list(chosen)
        used.update((s, k) for s in chosen for k in kinds)
        parts.append(Part(name, time_of(delta, chosen, kinds), source=source))

    for name, functions in OWN.items():
        take(name, functions, ["busy"], "busy time of " + ", ".join(functions[:2]))
    take("waiting behind readers", MMAP_LOCK, ["stalled"], "mmap_lock's line in other CPUs' hands")
    take("waiting behind writers", MMAP_LOCK, ["spinning"], "spinning in mmap_lock's slow path")
    take("parking", MMAP_LOCK, ["asleep"], "asleep in mmap_lock's queue")
    walks = (*OWN["second VMA look-up"], *OWN["second walk"])
    take("waiting in look-ups and walks", walks, waits, "lines that neighbours wrote")
    for name, functions in NEXT.items():
        take(f"waiting moved to {name}", functions, waits, "stalled, spinning, asleep there")
    left = sum(time_of(delta, [s], [k for k in KINDS if (s, k) not in used]) for s in names)
    parts.append(Part("all other steps", left, source="handler and entry code"))
    total = Part("difference in virtual time", clock, source="the workers' clocks")
    return Ledger(case, a, b, total, parts, exact=True)


def by_case(trials: Iterable[Trial]) -> dict[Case, list[Trial]]:
    """Return the trials that ended ok with a fault by case: repeats of one thing, nothing else."""
    known: dict[str, Case] = {}
    found: dict[Case, list[Trial]] = {}
    for trial in trials:
        if trial.status != "ok" or not trial.total("faults"):
            continue
        if (case := known.get(trial.spec.case_id)) is None:
            asked = of_spec(trial.spec)
            if asked["vmas"] in UNSHARED:  # as `without_meaning` has it
                asked["overlap"] = "-"
            case = known[trial.spec.case_id] = tuple(asked[key] for key in KEYS)
        found.setdefault(case, []).append(trial)
    return found


def _at_most_workers(cases: Iterable[Case]) -> set[Case]:
    """Return the cases with the most workers of their curve."""
    found = list(cases)
    return {found[at] for at in ends(found, KEYS)}


def waiting(trials: Iterable[Trial], path: str = "direct") -> pd.DataFrame:
    """Return waiting per fault by lock on ``path``, at the most workers of each simulated case.

    Columns: `KEYS`, lock, wait_ns; repeats averaged.
    """
    parts: dict[Case, list[Steps]] = {}
    for case, repeats in by_case(t for t in trials if t.spec.path == path).items():
        each = [of_trial(trial) for trial in repeats if is_virtual(trial.spec.machine)]
        if kept := [one for one in each if one is not None]:
            parts[case] = kept
    rows = []
    for case in parts.keys() & _at_most_workers(parts):
        steps = sum_up(parts[case])
        for lock, functions in LOCKS.items():
            rows.append((*case, lock, time_of(steps, functions, KINDS[1:])))
    columns = [*KEYS, "lock", "wait_ns"]
    return pd.DataFrame(rows, columns=columns).sort_values(list(KEYS), ignore_index=True)


def common(name: str) -> str:
    """Return one name for lines of a kind: which task's queue node it is tells nothing."""
    if _OTHERS.fullmatch(name):
        return OTHERS
    return _MCS.sub("queue nodes of the tasks (mcs)", name)


def hottest(trials: Iterable[Trial], path: str | None = None) -> pd.DataFrame:
    """Return the lines waited for most at the most workers of each simulated case.

    Of one ``path``, or of all, ``retry`` before ``direct``.

    Columns: `KEYS`, name, wait_ns and transfers (fetches among them) per fault, and rest: whether
    these are `OTHERS`; hottest first within a case, repeats averaged.
    """
    recorded = by_case(t for t in trials if path in (None, t.spec.path) and t.extra.get("lines"))
    rows = []
    for case in _at_most_workers(recorded):
        repeats = recorded[case]
        sums: dict[str, list[float]] = {}
        for trial in repeats:
            faults = trial.total("faults") * len(repeats)
            with _as_recorded(trial, "lines"):
                for line in trial.extra["lines"]:  # lines of one kind add up
                    figures = sums.setdefault(common(str(line["name"])), [0.0, 0.0])
                    figures[0] += float(line["wait_ps"]) / 1000 / faults
                    figures[1] += (float(line["transfers"]) + float(line["fetches"])) / faults
        rows += [(*case, name, *figures, name == OTHERS) for name, figures in sums.items()]
    table = pd.DataFrame(rows, columns=[*KEYS, "name", "wait_ns", "transfers", "rest"])
    return table.sort_values(
        [*KEYS, "rest", "wait_ns", "name"],
        # paths downwards: retry, mmap-lock, direct, abort
        ascending=[*(key != "path" for key in KEYS), True, False, True],
        ignore_index=True,
    )
