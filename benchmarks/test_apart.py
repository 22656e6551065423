"""The rule for two files on real A/A data: sweeps of this host, one after the other, compared.

Every second pair runs beside a busy loop on the last CPU, or has it beside one file only.
``FAULTBENCH_AA_PAIRS`` pairs (default 24, in CI 3; about 3 s a file). ``extra_info`` shows, per
rate: false claims, cases that could be tested, coverage of the intervals there and everywhere.
The 5 % themselves are asserted of ``ENOUGH`` pairs; of fewer, only what chance cannot make of them.
"""

import contextlib
import os
import subprocess
import sys

import numpy as np
import pandas as pd
from benchmarks.chance import most_claims

from faultbench import records, table
from faultbench.analysis import compare, stats

PAIRS = int(os.environ.get("FAULTBENCH_AA_PAIRS", "3" if os.environ.get("CI") else "24"))
ENOUGH = 24
QUIET, BUSY, CHANGED = "quiet", "busy", "changed"


@contextlib.contextmanager
def busy_loop():
    """Keep the last CPU busy with a process of our own."""
    last = max(os.sched_getaffinity(0))
    loop = subprocess.Popen(
        [sys.executable, "-c", "while True: pass"],
        preexec_fn=lambda: os.sched_setaffinity(0, {last}),  # noqa: PLW1509 - no threads here
    )
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def sweep(file, busy):
    """Measure one file of 8 cases, 6 repeats each."""
    with busy_loop() if busy else contextlib.nullcontext():
        subprocess.run(
            [sys.executable, "-m", "faultbench", "sweep", "--path", "retry,direct", "--handler",
             "device-dax", "--vmas", "private", "--writers", "0,1", "--threads", "1,2",
             "--repeats", "6", "--duration", "20ms", "--warmup", "5ms", "--no-plot",
             "-o", str(file)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    return table.frame(records.read(file).trials)


def test_real_aa_files(benchmark, tmp_path):
    pairs = []

    def run():
        for n in range(PAIRS):
            kind = (QUIET, BUSY, QUIET, CHANGED)[n % 4]
            busy = {QUIET: (False, False), BUSY: (True, True), CHANGED: (False, True)}[kind]
            pairs.append(
                (
                    kind,
                    *(
                        sweep(tmp_path / f"{n}{s}.jsonl", b)
                        for s, b in zip("ab", busy, strict=True)
                    ),
                )
            )

    benchmark.pedantic(run, rounds=1, iterations=1)
    for metric in ("faults_per_s", "faults_per_cpu_s"):
        found = pd.concat(
            compare.files(a, b, metric).table.assign(kind=kind) for kind, a, b in pairs
        )
        found = found[~found["oversubscribed"]]
        tested = found[found["verdict"] != stats.UNTESTABLE]
        claims = tested["verdict"].isin([stats.FASTER, stats.SLOWER])
        held = (found["ci_low_pct"] <= 0) & (found["ci_high_pct"] >= 0)
        benchmark.extra_info[metric] = {
            "claims": f"{int(claims.sum())} of {len(tested)} testable, {len(found)} cases",
            "coverage_pct": round(100 * float(held[found["verdict"] != stats.UNTESTABLE].mean()), 1)
            if len(tested)
            else None,
            "coverage_of_all_pct": round(100 * float(held.mean()), 1),
            "claims_by_host": {
                str(k): int(g.isin([stats.FASTER, stats.SLOWER]).sum())
                for k, g in tested.groupby("kind")["verdict"]
            },
            "floor_pct": round(float(np.median(found["noise_floor_pct"])), 1),
        }
        assert claims.sum() <= most_claims(len(tested))
        if PAIRS >= ENOUGH:
            assert claims.sum() <= 0.05 * len(found)
