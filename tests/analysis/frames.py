"""Synthetic tables with the columns of ``faultbench export``."""

import itertools

import numpy as np
import pandas as pd

from faultbench.analysis.frame import COLUMNS

DEFAULTS = {
    "machine": "threads", "kernel": "v6.6", "path": "direct", "handler": "device-dax",
    "order": "pmd", "access": "write", "vmas": "private", "files": "private", "mms": "shared",
    "writers": 0, "threads": 1, "repeat": 0, "status": "ok", "flags": "", "cost": "default",
}  # fmt: skip


def row(rate, **spec):
    """One trial of 200 ms at ``rate`` faults/s, with the counters its path must have."""
    r = {**DEFAULTS, **spec}
    window = 200_000_000
    faults = round(rate * 0.2)
    path, threads = r["path"], int(r["threads"])
    r |= {
        "trial_id": f"{abs(hash(tuple(sorted(map(str, r.items()))))):016x}",
        "window_ns": window,
        "cpu_ns": window * threads,
        "faults": faults,
        "faults_per_s": faults * 1e9 / window,
        "faults_per_cpu_s": faults * 1e9 / (window * threads),
        "mapped_bytes_per_s": faults * 1e9 / window * 2**21,
        "vma_lock_success": faults if path == "direct" else 0,
        "vma_lock_abort": faults if path == "abort" else 0,
        "vma_lock_retry": faults if path == "retry" else 0,
        "vma_lock_miss": 0,
        "mmap_lock_reads": 0 if path == "direct" else faults,
        "mmap_lock_writes": int(r["writers"]) * 500,
        "mmap_lock_read_contended": 0 if path == "direct" else faults // 50 * int(r["writers"]),
        "mmap_lock_read_wait_ns": 0 if path == "direct" else faults * 40 * int(r["writers"]),
        "parks": 0 if path == "direct" else faults // 200 * int(r["writers"]),
        "huge_fault_calls": faults,
        "fallbacks": 0,
        "no_vma": 0,
        "writer_ops": int(r["writers"]) * 500,
        "worker_faults_min": faults // threads,
        "worker_faults_max": faults // threads + 3,
        "worker_share_min": faults // threads,
        "worker_share_max": faults // threads + 3,
        "p50_ns": 1e9 * threads / rate,
        "p99_ns": 3e9 * threads / rate,
        "p999_ns": 9e9 * threads / rate,
        "max_ns": 90e9 * threads / rate,
    }
    return r


def sweep(
    paths=("retry", "direct"), threads=(1, 2), handlers=("device-dax", "ext4"),
    vmas=("private", "shared"), writers=(0, 1), repeats=6, gain=1.4, noise=0.02, seed=1,
    cpus=2, **spec,
):  # fmt: skip
    """A default-sweep-like table; ``gain`` is the true ratio direct/retry."""
    rng = np.random.default_rng(seed)
    rows = []
    for h, v, w, t, p, r in itertools.product(
        handlers, vmas, writers, threads, paths, range(repeats)
    ):
        rate = 2e6 * t ** (0.9 if v == "private" else 0.5) * (0.4 if h == "ext4" else 1.0)
        rate *= {"direct": gain, "retry": 1.0, "abort": 1.05, "mmap-lock": 1.1}[p] ** (1 + 0.5 * w)
        rate *= np.exp(rng.normal(0, noise))
        flags = "oversubscribed" if t + w > cpus else ""
        rows.append(
            row(
                rate, handler=h, vmas=v, writers=w, threads=t, path=p, repeat=r, flags=flags, **spec
            )
        )
    df = pd.DataFrame(rows)
    return df[[*COLUMNS, *(c for c in df.columns if c not in COLUMNS)]]
