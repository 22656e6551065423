"""Synthetic results files, written by our own writer as a sweep would."""

import itertools

import numpy as np

from faultbench import histogram, records
from faultbench.enums import Handler, Order, Path, Seq, Status, VmaLock
from faultbench.model import Rules, Trial, TrialSpec

HOST = {"cpu_model": "Testor 2000", "arch": "x86_64", "kernel": "6.6.0", "cpus": 2}
BITS = {"mmap-lock": 0, "abort": 3, "retry": 5, "direct": 1}
OUTCOME = {"mmap-lock": "missed", "abort": "aborted", "retry": "retried", "direct": "direct"}


def trial(rate, rng, *, path="direct", repeat=0, extra=None, flags=(), **spec):
    """One trial of 100 ms; every counter as its path must have it."""
    threads = spec.get("threads", 1)
    made = TrialSpec(
        machine=spec.pop("machine", "threads"), kernel=spec.pop("kernel", "v6.6"), path=Path(path),
        rules=Rules(BITS[path], VmaLock.SEPARATE, Seq.INT),
        handler=Handler(spec.pop("handler", "ext4")), order=Order(spec.pop("order", "pmd")),
        repeat=repeat, duration_ns=10**8, **spec,
    )  # fmt: skip
    faults = [max(1, round(rate / threads / 10)) for _ in range(threads)]
    direct = path == "direct"
    each = {
        "window_ns": [10**8] * threads,
        "cpu_ns": [10**8] * threads,
        "start_ns": [1000] * threads,
        "end_ns": [1000 + 10**8] * threads,
        "refill_ns": [10**6] * threads,
        "faults": faults,
        "vma_lock_success": faults if direct else [0] * threads,
        "vma_lock_abort": faults if path == "abort" else [0] * threads,
        "vma_lock_retry": faults if path == "retry" else [0] * threads,
        "vma_lock_miss": [0] * threads,
        "mmap_lock_reads": [0] * threads if direct else faults,
        "mmap_lock_read_contended": [0 if direct else f // 9 * made.writers for f in faults],
        "mmap_lock_read_wait_ns": [0 if direct else 40 * f * made.writers for f in faults],
        "parks": [0 if direct else f // 90 * made.writers for f in faults],
        "huge_fault_calls": faults,
        "fallbacks": [0] * threads,
        "no_vma": [0] * threads,
        f"{made.order.value}_installs": faults,
    }
    base = 1e9 * threads / rate
    latency: dict[str, int] = {}
    for value in rng.lognormal(np.log(base), 0.4, 300):
        bucket = str(histogram.bucket_of(int(value) + 1))
        latency[bucket] = latency.get(bucket, 0) + 1
    writer = {"ops": [500] * made.writers, "mmap_lock_writes": [500] * made.writers}
    return Trial(
        spec=made, status=Status.OK, flags=flags, worker=each,
        writer=writer if made.writers else {}, latency={OUTCOME[path]: latency}, extra=extra or {},
    )  # fmt: skip


def sweep_trials(
    *, paths=("retry", "direct"), threads=(1, 2), handlers=("device-dax", "ext4"), writers=(0, 1),
    vmas=("private", "shared"), repeats=6, gain=1.4, noise=0.02, seed=1, cpus=2, orders=("pmd",),
    **spec,
):  # fmt: skip
    """Trials like those of a default sweep; ``gain`` is the true ratio direct/retry."""
    rng = np.random.default_rng(seed)
    seen = set()
    for h, o, v, w, t, r, p in itertools.product(
        handlers, orders, vmas, writers, threads, range(repeats), paths
    ):
        rate = 2e6 * t ** (0.9 if v == "private" else 0.5) * (0.4 if h == "ext4" else 1.0)
        rate *= {"direct": gain, "retry": 1.0, "abort": 1.05, "mmap-lock": 1.1}[p] ** (1 + 0.5 * w)
        rate *= np.exp(rng.normal(0, noise))
        flags = ("oversubscribed",) if t + w > cpus else ()
        made = trial(
            rate, rng, path=p, repeat=r, handler=h, order=o, threads=t, writers=w,
            vmas=t if v == "private" else 1, files=0 if h == "device-dax" else 1, flags=flags,
            **spec,
        )  # fmt: skip
        if made.trial_id not in seen:
            seen.add(made.trial_id)
            yield made


def write(path, trials, host=HOST, plan=None, **header):
    """Write a results file and return its path."""
    head = records.Header("0.1.0", host=dict(host), plan=plan or {}, **header)
    with records.Writer.create(path, head) as out:
        for one in trials:
            out.append(one)
    return path


def sweep_file(path, host=HOST, **kw):
    """Write a default-sweep-like file."""
    return write(path, sweep_trials(**kw), host=host)
