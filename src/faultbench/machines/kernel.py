"""The kernel machine: real page faults on the running kernel, the judge of the other two."""

from __future__ import annotations

import errno
import importlib
import os
import platform
from typing import Any

from faultbench.enums import Access, Map, Order, WriterOp
from faultbench.errors import ResourceError, UsageError
from faultbench.machines import SLOW_FAULT_S, Job, OnHost, counting, mappings, switch
from faultbench.model import TrialSpec

COUNTED = ("mmap_lock_reads", "mmap_lock_attempts", "mmap_lock_writes", "traps", "dax_pmd_faults")
# What no interface of the kernel tells per thread; never shown as zero.
NEVER_COUNTED = {
    "vma_lock_success vma_lock_abort vma_lock_retry vma_lock_miss": "the kernel counts VMA-lock "
    "outcomes for the whole machine, and only with CONFIG_PER_VMA_LOCK_STATS",
    "huge_fault_calls fallbacks": "handler calls are counted by our modules, not by the kernel",
    "mmap_lock_read_wait_ns": "waiting is in voluntary switches (parks), not timed",
}
CLEARING_FAULT_S = 1e-3  # 2 MiB are cleared: 200 to 400 us seen, more on a loaded host
_CLEARS_MEMORY = ("anon-thp", "memfd-huge")
_NOT_ON_ARENA = {
    WriterOp.TARGET: "an arena cannot be mapped over itself, and its workers die while it is gone",
    WriterOp.MPROTECT: "the kernel refuses an arena that is executable",
}


class KernelMachine(OnHost):
    """Runs a spec's workers on real mappings of this host's kernel."""

    name = "kernel"

    def check(self, spec: TrialSpec) -> None:
        """Raise when this kernel, host or user cannot run `spec`."""
        if spec.rules is not None or spec.kernel not in ("", "-", platform.release()):
            raise UsageError(
                f"--machine kernel --kernel {spec.kernel}: this kernel is {platform.release()}; "
                "--kernel chooses a modelled one, for --machine threads or virtual"
            )
        if spec.overlap:
            raise UsageError("--overlap: workers of the kernel machine own disjoint slices")
        mapping = mappings.parse(spec.mapping or "anon")
        if spec.access is Access.WP and mapping.kind == "anon-thp":
            raise UsageError("--access wp: a read maps the huge zero page; use read or write")
        if spec.map is Map.PRIVATE and mapping.kind in ("arena", "device"):
            raise UsageError(
                f"--map private: {mapping.kind} can only be mapped shared; leave --map out"
            )
        if spec.mms > 1 and spec.vmas % spec.mms:
            raise UsageError(f"--mms {spec.mms}: take --vmas private, a mapping has one process")
        if (
            spec.writer_op is WriterOp.FSYNC
            and spec.writers
            and mapping.kind not in ("file", "dax")
        ):
            raise UsageError(f"--writer-op fsync: {mapping.kind} is no file on a file system")
        if spec.sync and mapping.kind != "dax":
            raise UsageError(f"--sync --mapping {mapping.kind}: MAP_SYNC is for dax:PATH")
        if mapping.kind == "arena" and spec.writers and spec.writer_op in _NOT_ON_ARENA:
            raise UsageError(
                f"--writer-op {spec.writer_op} --mapping arena: {_NOT_ON_ARENA[spec.writer_op]}; "
                f"take --writer-op {WriterOp.BESIDE}"
            )
        mappings.check(mapping, spec)
        if mappings.entries(mapping, spec) < 1:
            raise UsageError(f"--mapping {spec.mapping}: too small for {spec.threads} workers")
        switch.check(mapping, spec.path)

    def expected_s(self, spec: TrialSpec) -> float:
        """Return the passes' time: warm-up, window, and as many faults with counters on."""
        once = super().expected_s(spec)
        if mappings.parse(spec.mapping or "anon").kind in _CLEARS_MEMORY:
            more = CLEARING_FAULT_S - SLOW_FAULT_S
            once += (spec.faults + spec.warmup_faults) * spec.threads * more
        return 3 * once

    def run(self, job: Job) -> dict[str, Any]:
        """Run one trial in the child; see `faultbench._kernel.run_trial`."""
        # The extension is the child's: `check` and `--help` do without it.
        _kernel = importlib.import_module("faultbench._kernel")

        spec = job.spec
        mapping = mappings.parse(spec.mapping or "anon")
        size = mappings.entries(mapping, spec) * spec.order.bytes
        ids = counting.tracepoint_ids(_kernel.EVENTS)
        with mappings.opened(mapping, spec, size) as fds, switch.switched(mapping, spec.path):
            request = _request(job, mapping, fds, ids)
            try:
                raw = _kernel.run_trial(request)
            except OSError as error:
                raise _explained(spec, error) from None
        result = _result(raw, spec.order)
        if mapping.kind == "device":
            _check_huge(spec, result["extra"]["bytes_per_fault"])
        return result


def _request(job: Job, mapping: mappings.Mapping, fds: list[int], ids: list[int]) -> dict[str, Any]:
    spec = job.spec
    step = spec.order.bytes
    size = mappings.entries(mapping, spec) * step
    return {
        "workers": spec.threads,
        "vmas": spec.vmas,
        "mms": spec.mms,
        "writers": spec.writers,
        "access": spec.access.code,
        "writer_op": spec.writer_op.code,
        "map_private": int(spec.map is Map.PRIVATE and bool(fds)),
        "sync": int(mapping.sync or spec.sync),
        "advice": mapping.advice,
        "no_fixed": int(mapping.kind == "arena"),
        "step": step,
        "slice": size,
        "skew": 0,
        "offset": 0,
        "length": 0,
        "duration_ns": spec.duration_ns,
        "warmup_ns": spec.warmup_ns,
        "faults": spec.faults,
        "warmup_faults": spec.warmup_faults,
        "writer_interval_ns": 10**9 // spec.writer_rate if spec.writer_rate else 0,
        "count": int(any(i > 0 for i in ids)),
        "fds": fds,
        "ids": ids,
        "cpus": list(job.cpus) or [-1] * spec.tasks,
    }


def _result(raw: dict[str, Any], order: Order) -> dict[str, Any]:
    """Turn -errno into absence with a reason, and check touches against minflt."""
    worker: dict[str, list[int]] = raw["worker"]
    writer: dict[str, list[int]] = raw["writer"]
    uncounted = {n: why for names, why in NEVER_COUNTED.items() for n in names.split()}
    for counts in (worker, writer):
        for name in COUNTED:
            if name in counts and min(counts[name]) < 0:
                uncounted[name] = counting.reason(-min(counts.pop(name)))
    attempts = worker.pop("mmap_lock_attempts", None)
    if attempts is not None and "mmap_lock_reads" in worker:
        # A read that found the lock taken first tried, then queued: one attempt too many.
        worker["mmap_lock_read_contended"] = [
            max(0, tried - got)
            for tried, got in zip(attempts, worker["mmap_lock_reads"], strict=True)
        ]
    worker.pop("mmap_lock_writes", None)
    worker.pop("counted_majflt")
    flags = []
    if any(worker.pop("refill_by_mmap")):
        flags.append("refill-by-mmap")
    if sum(worker["faults"]) != sum(worker["touches"]):
        flags.append("faults-not-touches")
    probe_bytes, probe_faults = sum(worker.pop("probe_bytes")), sum(worker.pop("probe_faults"))
    mapped = probe_bytes // probe_faults if probe_faults else None
    if mapped is not None and mapped < order.bytes:
        flags.append("smaller-entries")  # `faultbench audit PATH` says why
    return {
        "status": "ok",
        "invariant": "",
        "flags": flags,
        "worker": worker,
        "writer": writer,
        "latency": {},
        "extra": {
            "bytes_per_fault": mapped,
            "uncounted": uncounted,
            "kernel": platform.release(),
        },
    }


def _check_huge(spec: TrialSpec, mapped: int | None) -> None:
    """Refuse a device whose driver serves no huge faults: it would be no measurement of them."""
    if mapped is not None and mapped < spec.order.bytes:
        raise ResourceError(
            f"--mapping {spec.mapping} --order {spec.order}: one fault maps {mapped >> 10} KiB "
            f"here, its driver serves no larger ones; take --order pte, or see `faultbench audit "
            f"{spec.mapping.partition(':')[2]}`"
        )


def _explained(spec: TrialSpec, error: OSError) -> Exception:
    text = f"--mapping {spec.mapping}: {os.strerror(error.errno or 0)}"
    hint = {
        errno.ENODEV: mappings.NO_MMAP,
        errno.EOPNOTSUPP: "MAP_SYNC needs a file on DAX",
        errno.ENOMEM: "take fewer workers, or a smaller mapping",
        errno.EINVAL: "the device or file system refuses such a mapping (its alignment?)",
        errno.ECHILD: "a process of the trial died (SIGBUS: end of file, or no memory?)",
    }.get(error.errno or 0)
    on_file = mappings.parse(spec.mapping or "anon").kind in ("file", "dax")
    if error.errno == errno.EACCES and on_file and spec.writer_op is WriterOp.MPROTECT:
        hint = "mprotect of a mapping on a noexec mount; take another --writer-op"
    return ResourceError(text + (f"; {hint}" if hint else ""))


def machine(_argument: str) -> KernelMachine:
    """Return the machine (``machines.get_machine``)."""
    return KernelMachine()
