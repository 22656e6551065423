"""Records → tidy table: one row a trial, rates recomputed from raw integers.

`COLUMNS` is a contract (design §6): exactly these first, in this order; more may follow.

Counters are sums over the workers; ``mmap_lock_writes`` adds the writers'. ``window_ns`` is the
workers' mean window (`windows.mean_window`). A trial whose status is not ``ok`` has no rate and no
latency.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from faultbench.enums import Order, Path, Status
from faultbench.errors import DataError
from faultbench.histogram import merge, quantiles
from faultbench.rules import NEVER_RELEASED, unconfirmed
from faultbench.windows import mean_window, shares

if TYPE_CHECKING:
    import pandas as pd

    from faultbench.model import Trial, TrialSpec

COLUMNS = (
    "trial_id,machine,kernel,path,handler,order,access,vmas,files,mms,writers,threads,repeat,"
    "status,flags,cost,window_ns,cpu_ns,faults,"
    "faults_per_s,faults_per_cpu_s,mapped_bytes_per_s,vma_lock_success,vma_lock_abort,"
    "vma_lock_retry,vma_lock_miss,mmap_lock_reads,mmap_lock_writes,mmap_lock_read_contended,"
    "mmap_lock_read_wait_ns,parks,huge_fault_calls,fallbacks,no_vma,writer_ops,"
    "worker_faults_min,worker_faults_max,p50_ns,p99_ns,p999_ns,max_ns"
).split(",")
# What tells cases apart beside the contract's columns, then what explains a trial.
MORE = (
    "set,map,sync,fallback,overlap,writer_op,writer_rate,mapping,pin,duration_ns,faults_asked,"
    "case_id,cpu_ns_per_fault,mmap_lock_reads_per_1000,parks_per_1000,skew,refill_ns,"
    "worker_share_min,worker_share_max,"
    "calls_pmd,calls_pud,calls_pte,calls_under_vma,calls_under_mmap,table_allocs,pte_installs,"
    "pmd_installs,pud_installs,wp_upgrades,splits,zaps,lost_races,touches,"
    "writer_wait_max_ns,message,cost_digest,machine_digest,remarks"
).split(",")

_WORKER = (
    "vma_lock_success vma_lock_abort vma_lock_retry vma_lock_miss mmap_lock_reads "
    "mmap_lock_read_contended mmap_lock_read_wait_ns parks huge_fault_calls fallbacks no_vma "
    "refill_ns calls_pmd calls_pud calls_pte calls_under_vma calls_under_mmap table_allocs "
    "pte_installs pmd_installs pud_installs wp_upgrades splits zaps lost_races touches"
).split()
_FLOATS = {
    "faults_per_s",
    "faults_per_cpu_s",
    "mapped_bytes_per_s",
    "cpu_ns_per_fault",
    "mmap_lock_reads_per_1000",
    "parks_per_1000",
    "skew",
    "worker_share_min",  # no counts: a slow worker's share may pass 64 bits
    "worker_share_max",
    "fallback",
}
_INTEGERS = {
    *_WORKER,
    *"writers threads repeat window_ns cpu_ns faults mmap_lock_writes writer_ops".split(),
    *"worker_faults_min worker_faults_max p50_ns p99_ns p999_ns max_ns".split(),
    *"writer_rate duration_ns faults_asked writer_wait_max_ns".split(),
}

_SIZES = {f"{order.value}_installs": order.bytes for order in Order}
_EMPTY: dict[str, Any] = dict.fromkeys([*COLUMNS, *MORE])
# A row's values in the order of the columns: without the names it takes an eighth of the memory.
cells: Callable[[dict[str, Any]], tuple[Any, ...]] = itemgetter(*_EMPTY)


def of_spec(spec: TrialSpec) -> dict[str, Any]:
    """Return by column what was asked of a trial: its case, and which repeat."""
    return {
        "case_id": spec.case_id,
        "machine": spec.machine,
        "kernel": spec.kernel,
        "path": "-" if spec.path is None else spec.path.value,
        "handler": spec.handler_label,
        "order": spec.order.value,
        "access": spec.access.value,
        "vmas": spec.vmas_label,
        "files": spec.files_label,
        "mms": spec.mms_label,
        "writers": spec.writers,
        "threads": spec.threads,
        "repeat": spec.repeat,
        "cost": spec.cost,
        "set": spec.knobs,
        "map": spec.map.value,
        "sync": spec.sync,
        "fallback": spec.fallback_ppm / 1e6,
        "overlap": spec.overlap,
        "writer_op": spec.writer_op.value if spec.writers else "-",
        "writer_rate": spec.writer_rate,
        "mapping": spec.mapping,
        "pin": spec.pin.value,
        "duration_ns": spec.duration_ns,
        "faults_asked": spec.faults,
        "cost_digest": spec.cost_digest,
        "machine_digest": spec.machine_digest,
    }


def row(trial: Trial) -> dict[str, Any]:
    """Return one trial's values by column; None where there is none."""
    values = _EMPTY | of_spec(trial.spec)
    values.update(
        trial_id=trial.trial_id,
        status=trial.status.value,
        flags=" ".join(trial.flags),
        message=trial.message,
        remarks="; ".join(remarks(trial)),
    )
    if trial.worker:
        _counters(trial, values)
    if trial.status is Status.OK and trial.worker:
        _rates(trial, values)
    return values


def remarks(trial: Trial) -> list[str]:
    """Return what must be said wherever this trial's figures are shown.

    Of models only: a kernel that ran, here or where results were imported from, is no model.
    """
    if trial.spec.handler is None:
        return []
    said = [unconfirmed([trial.spec.kernel])]
    if trial.spec.path is Path.RETRY:
        said.append(NEVER_RELEASED)
    return [remark for remark in said if remark]


def _counters(trial: Trial, values: dict[str, Any]) -> None:
    worker = trial.worker
    for name in _WORKER:
        if name in worker:
            values[name] = sum(worker[name])
    values["window_ns"] = (
        round(mean_window(trial.spec, worker)) if worker.get("window_ns") else None
    )
    values["cpu_ns"] = sum(worker["cpu_ns"]) if "cpu_ns" in worker else None
    if faults := worker.get("faults"):
        values["faults"] = sum(faults)
        if len(faults) == trial.spec.threads:  # imported trials have the sum of the workers only
            values["worker_faults_min"] = min(faults)
            values["worker_faults_max"] = max(faults)
            # An emulator's times are nobody's.
            each = faults if "emulated" in trial.flags else shares(trial.spec, worker)
            values["worker_share_min"] = float(min(each))
            values["worker_share_max"] = float(max(each))
    writes = [*worker.get("mmap_lock_writes", []), *trial.writer.get("mmap_lock_writes", [])]
    uncounted = "mmap_lock_writes" in trial.extra.get("uncounted", ())
    if writes or not (trial.spec.writers or uncounted):
        values["mmap_lock_writes"] = sum(writes)
    values["writer_ops"] = sum(trial.writer.get("ops", ()))
    if waits := trial.writer.get("wait_ns_max"):
        values["writer_wait_max_ns"] = max(waits)
    values["skew"] = skew(trial)


def skew(trial: Trial) -> float | None:
    """Return how far the workers' starts or ends lie apart, as a share of the mean window."""
    starts, ends = trial.worker.get("start_ns"), trial.worker.get("end_ns")
    window = mean_window(trial.spec, trial.worker)
    if not starts or not ends or not window:
        return None
    apart = max(starts) - min(starts)
    if trial.spec.duration_ns:  # with fixed work, workers end when they have done it
        apart = max(apart, max(ends) - min(ends))
    return apart / window


def _rates(trial: Trial, values: dict[str, Any]) -> None:
    faults, window, cpu = values["faults"], values["window_ns"], values["cpu_ns"]
    if faults is not None and window:
        values["faults_per_s"] = faults * 1e9 / window
        if (mapped := _mapped(trial)) is not None:
            values["mapped_bytes_per_s"] = mapped * 1e9 / window
    if faults is not None and cpu:
        values["faults_per_cpu_s"] = faults * 1e9 / cpu
    if faults:
        for name, source, scale in (
            ("cpu_ns_per_fault", "cpu_ns", 1.0),
            ("mmap_lock_reads_per_1000", "mmap_lock_reads", 1000.0),
            ("parks_per_1000", "parks", 1000.0),
        ):
            if values[source] is not None:
                values[name] = values[source] * scale / faults
    if trial.latency:
        try:
            found = quantiles(merge(trial.latency.values()), (0.5, 0.99, 0.999, 1.0))
        except ValueError:
            raise DataError(f"trial {trial.trial_id}: its latency is no histogram") from None
        for name, value in zip(("p50_ns", "p99_ns", "p999_ns", "max_ns"), found, strict=True):
            values[name] = None if value is None else int(value)


def _mapped(trial: Trial) -> int | None:
    """Bytes of address space that the faults mapped."""
    if "mapped_bytes" in trial.worker:
        return trial.total("mapped_bytes")
    if _SIZES.keys().isdisjoint(trial.worker):
        return None
    return sum(trial.total(name) * size for name, size in _SIZES.items())


def frame(trials: Iterable[Trial]) -> pd.DataFrame:
    """Return the table of `trials`: `COLUMNS`, then `MORE`; integers are nullable Int64."""
    return of_rows(cells(row(trial)) for trial in trials)


def of_rows(rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Return the table of the `cells` of what `row` gave."""
    import pandas as pd  # noqa: PLC0415 - a sweep's own table needs rows only

    found = list(zip(*rows, strict=True)) or [()] * len(_EMPTY)
    columns: dict[str, Any] = {}
    for name, column in zip(_EMPTY, found, strict=True):
        values = list(column)
        dtype = "Int64" if name in _INTEGERS else "float64" if name in _FLOATS else object
        try:
            columns[name] = (
                pd.array(values, dtype="Int64")
                if dtype == "Int64"
                else pd.Series(values, dtype=dtype)
            )
        except (OverflowError, TypeError):  # pandas has either; a single worker's fits
            raise DataError(f"the {name} of a trial's workers pass 64 bits together") from None
    return pd.DataFrame(columns)


def _cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula (OWASP: CSV injection).

    Nor does a terminal obey it: results come from anywhere.
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.9g}" if abs(value) < 1e-3 else f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, str):
        guard = "'" if value != "-" and value[:1] in set("=+-@\t\r") else ""
        return guard + "".join(c if c.isprintable() or c in "\n\t" else " " for c in value)
    return value


def to_csv(trials: Iterable[Trial], write: Callable[[str], Any]) -> None:
    """Write one row a trial through `write`; empty where there is no value."""
    buffer = io.StringIO()
    out = csv.writer(buffer, lineterminator="\n")
    out.writerow([*COLUMNS, *MORE])
    for trial in trials:
        values = row(trial)
        out.writerow([_cell(values[name]) for name in (*COLUMNS, *MORE)])
        if buffer.tell() > 1 << 16:
            write(buffer.getvalue())
            buffer.seek(0)
            buffer.truncate()
    write(buffer.getvalue())
