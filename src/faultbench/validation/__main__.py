"""``python -m faultbench.validation [-o FILE]``: run every case, write the page."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from faultbench import records
from faultbench.lab import check
from faultbench.lab.run import RECORDED
from faultbench.validation import cases, page


def one(job: tuple[int, int, int, str]) -> float:
    """Return one simulated rate; `job` is case, series, threads, variant."""
    case, series, threads, variant = job
    return cases.CASES[case].series[series].simulate(threads, cases.VARIANTS[variant])


def main() -> None:
    """Run the cases side by side, one simulation a process, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m faultbench.validation", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/validation.md"))
    target = parser.parse_args().output
    jobs = [
        (c, s, threads, variant)
        for c, case in enumerate(cases.CASES)
        for s in range(len(case.series))
        for threads in case.threads
        for variant in case.variants
    ]
    with ProcessPoolExecutor() as pool:
        rates = dict(zip(jobs, pool.map(one, jobs), strict=True))
        started = {name: pool.submit(simulate) for name, simulate in cases.FAIRNESS.items()}
        fair = {name: found.result() for name, found in started.items()}
    verdict = check.summary(list(check.rows(records.read(RECORDED).trials)))
    try:
        target.write_text(page.render(rates, fair, verdict), encoding="utf-8")
    except OSError as error:
        sys.exit(f"faultbench.validation: {target}: {error.strerror}")
    print(f"wrote {target}: {len(rates)} simulations")


if __name__ == "__main__":
    main()
