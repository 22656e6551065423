"""Everything a report says, computed from the trials; the pages only lay it out."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from faultbench import config
from faultbench.analysis import compare, steps
from faultbench.analysis.frame import (
    CPU,
    PATHS,
    WALL,
    checked,
    is_emulated,
    kernel_order,
    key_columns,
    names_of,
    rows,
)
from faultbench.analysis.ledger import Ledger, on_threads
from faultbench.errors import DataError
from faultbench.model import Trial
from faultbench.report import answer, bottleneck, evidence, mapping

FLAGS = ("sync", "overlap", "oversubscribe")  # options of sweep that take no value


@dataclass
class Facts:
    """What a report says. Every text is plain: whoever lays it out escapes it.

    ``answer`` is two sentences; ``further`` has the answers of other machines, each with its badge.
    """

    title: str
    badges: list[evidence.Badge]
    answer: list[str]
    further: list[tuple[evidence.Badge, list[str]]]
    released: list[str]
    tib: list[tuple[str, ...]]
    tib_note: str
    next_lock: list[str]
    tells_not: list[str]
    comparisons: list[tuple[str, compare.Comparison, compare.Comparison | None]]
    ledgers: list[Ledger]
    counters: list[tuple[str, ...]]
    disturbances: list[tuple[str, str]]
    command: str
    host: dict[str, str]
    notes: list[str] = field(default_factory=list)


TIB_HEADINGS = ("of", "order", "1 worker", "best", "with", "faults in 1 TiB", "how known")
COUNTER_HEADINGS = (
    "case", "faults/s", "CPU ns per fault", "mmap_lock reads per fault", "parks per 1000",
    "fallbacks per fault", "worker min / mean / max",
)  # fmt: skip
MOST_ROWS = 400


def gather(
    df: pd.DataFrame,
    trials: Sequence[Trial],
    *,
    host: Mapping[str, Any],
    plan: Mapping[str, Any],
    source: str = "sweep",
    models: Mapping[str, str] | None = None,
) -> Facts:
    """Return what the trials say; ``df`` is their table. ``DataError`` if they say nothing."""
    every, notes = checked(df, WALL, counts=True)
    emulated = is_emulated(every)
    kept = rows(every, ~emulated)
    ids = set(kept["trial_id"])
    mine = [t for t in trials if t.trial_id in ids]
    comparisons = _comparisons(kept)
    machines = [str(m) for m in every["machine"].unique()]
    timed = [str(m) for m in kept["machine"].unique()]
    answers = answer.answers(every, timed, comparisons)
    exact = steps.ledgers(mine, kept)
    return Facts(
        title=_title(every),
        badges=evidence.badges(every, host, models or {}, source),
        answer=answers[0][1],
        further=answers[1:],
        released=answer.released(every, comparisons),
        tib=mapping.rows(kept) if timed else [],
        tib_note=mapping.note(kept),
        next_lock=bottleneck.sentences(kept, mine) if timed else [bottleneck.EMULATED],
        tells_not=answer.tells_not(every, machines),
        comparisons=comparisons,
        ledgers=[*on_threads(kept), *exact],
        counters=_counters(every),
        disturbances=_disturbances(df, host),
        command=command(plan, source),
        host={str(k): str(v)[:120] for k, v in host.items() if not isinstance(v, dict | list)},
        notes=notes,
    )


def _title(df: pd.DataFrame) -> str:
    handlers = ", ".join(sorted({str(h) for h in df["handler"]}))
    swept = [p for p in PATHS if (df["path"] == p).any()]
    if df["kernel"].nunique() > 1 and compare.one_path_each(df):
        swept = sorted({str(k) for k in df["kernel"]}, key=kernel_order)
    paths = " against ".join(swept)
    return f"Page faults on {handlers}" + (f": {paths}" if paths else "")


def _comparisons(
    df: pd.DataFrame,
) -> list[tuple[str, compare.Comparison, compare.Comparison | None]]:
    """Return the comparisons the data allow: by path, by kernel."""
    found = []
    for by in ("path", "kernel"):
        several = df["kernel"].nunique() > 1 and df["path"].nunique() > 1
        if by == "path" and several and compare.one_path_each(df):
            continue  # each kernel brings its own path: the kernels are what is compared
        try:
            wall = compare.by_column(df, by)
        except DataError:
            continue
        try:
            cpu: compare.Comparison | None = compare.by_column(df, by, CPU)
        except DataError:
            cpu = None
        found.append((by, wall, cpu))
    return found


def _counters(df: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the medians of every case and path, one row each."""
    keys = key_columns(df)
    faults = df["faults"].astype(float).where(lambda n: n > 0)
    per = df[[*keys, "flags"]].assign(
        _cpu=df["cpu_ns"].astype(float) / faults,
        _reads=df["mmap_lock_reads"].astype(float) / faults,
        _parks=1000 * df["parks"].astype(float) / faults,
        _back=df["fallbacks"].astype(float) / faults,
        _mean=faults / df["threads"].astype(float),
        _low=df["worker_share_min"].astype(float),
        _high=df["worker_share_max"].astype(float),
        _rate=df[WALL].astype(float),
    )
    per.loc[is_emulated(df), ["_rate", "_cpu"]] = np.nan  # an emulator's times are nobody's
    columns = ["_rate", "_cpu", "_reads", "_parks", "_back", "_low", "_mean", "_high"]
    by_case = per.assign(_unfair=per["_high"] / 2 > per["_low"]).groupby(
        keys, sort=False, dropna=False
    )
    table = by_case[columns].median().reset_index()
    # locktorture judges a run: medians over runs would hide that another worker starves each time
    unfair = by_case["_unfair"].agg(["sum", "size"]).to_numpy(dtype=int)
    names = names_of(table[keys])
    found: list[tuple[str, ...]] = []
    for i, row in enumerate(table.head(MOST_ROWS).to_dict("records")):
        count, of = unfair[i]
        found.append(
            (
                names[i],
                _number(row["_rate"], "{:,.0f}"),
                _number(row["_cpu"], "{:.0f}"),
                _number(row["_reads"], "{:.3f}"),
                _number(row["_parks"], "{:.3g}"),
                _number(row["_back"], "{:.3g}"),
                " / ".join(_number(row[c], "{:,.0f}") for c in ("_low", "_mean", "_high"))
                + (f" unfair in {count} of {of} trials: max/2 > min" if count else ""),
            )
        )
    if len(table) > MOST_ROWS:
        found.append((f"… {len(table) - MOST_ROWS} more in the results file", *[""] * 6))
    return found


def _number(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else "–"


def _disturbances(df: pd.DataFrame, host: Mapping[str, Any]) -> list[tuple[str, str]]:
    words = df["flags"].fillna("").astype(str).str.split().explode().dropna()
    found = [
        (str(word), f"{count} of {len(df)} trials") for word, count in words.value_counts().items()
    ]
    bad = df.loc[df["status"] != "ok", "status"].value_counts()
    found += [(f"status {word}", f"{count} of {len(df)} trials") for word, count in bad.items()]
    least = pd.to_numeric(df["worker_faults_min"], errors="coerce")
    if idle := int((least == 0).sum()):
        found.append(("a worker without a single fault", f"{idle} of {len(df)} trials"))
    for key, text in (
        ("hypervisor", "the host is a virtual machine"),
        ("load1", "load average before the sweep"),
        ("governor", "frequency governor"),
        ("boost", "frequency boost"),
        ("quota", "CPU quota of the container"),
    ):
        if host.get(key) not in (None, "", False):
            found.append((text, str(host[key])[:80]))
    return found


def command(plan: Mapping[str, Any], source: str) -> str:
    """Return the command that measures the same again; empty where the file does not say."""
    if source == "lab":
        return "faultbench lab run -o again.jsonl"
    if source != "sweep":
        return f"faultbench import FILE --format {shlex.quote(source)} -o OUT.jsonl"
    options = plan.get("options")
    if not isinstance(options, Mapping):
        return ""
    words = ["faultbench", "sweep"]
    for name, value in options.items():
        if name not in config.RAW:  # no sweep of ours wrote it; nobody shall paste it
            return ""
        if name in FLAGS:
            words += [f"--{name}"] if str(value) == "true" else []
        elif name == "set":
            words += [w for knob in str(value).split(";") for w in ("--set", shlex.quote(knob))]
        else:
            words += [f"--{name}", shlex.quote(str(value))]
    return " ".join([*words, "-o", "again.jsonl"])
