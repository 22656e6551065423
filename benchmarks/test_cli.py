"""What the command line costs: start-up in interpreter starts, and a sweep's share of measuring.

CPU time of the processes, not wall time, so that a busy machine does not matter. ``extra_info`` has
the figures that the issue sets a goal for.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from faultbench import config, costs, machines, plan
from faultbench.runner import Runner
from faultbench.topology import read_topology

SRC = str(Path(__file__).parent.parent / "src")


def cpu_ms(*arguments: str) -> float:
    """CPU time of one interpreter with these arguments, in ms."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": SRC},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


@pytest.mark.parametrize("arguments", ["--help", "sweep --help", "info --help"])
def test_help_is_within_ten_interpreter_starts(benchmark, arguments):
    benchmark.pedantic(
        lambda: subprocess.run(
            [sys.executable, "-m", "faultbench", *arguments.split()],
            env={**os.environ, "PYTHONPATH": SRC},
            stdout=subprocess.DEVNULL,
            check=True,
        ),
        rounds=3,
    )
    # Interleaved, and the least of each: what else runs only adds CPU time.
    pairs = [
        (cpu_ms("-c", "pass"), cpu_ms("-m", "faultbench", *arguments.split())) for _ in range(9)
    ]
    bare, ours = (min(times) for times in zip(*pairs, strict=True))
    starts = ours / bare
    benchmark.extra_info.update(bare_cpu_ms=bare, interpreter_starts=starts)
    assert starts <= 10


def test_what_a_trial_costs_beside_its_windows(benchmark):
    """Fixed work: 48 trials of 5 ms; the default sweep has 144 of 300 ms."""
    options = config.parse(
        {"duration": "5ms", "warmup": "0", "handler": "ext4", "writers": "0", "repeats": "8"}
    )
    machine, topology = machines.get_machine("threads"), read_topology()
    cost = costs.load("default")
    specs = plan.build(options, machine, topology, cost).specs
    trials = []

    def sweep():
        Runner(machine, "threads", topology, cost).run(specs, trials.append)

    benchmark.pedantic(sweep, rounds=3, warmup_rounds=1)
    beside = benchmark.stats.stats.min / len(specs) - 0.005 if benchmark.stats else 0.0
    benchmark.extra_info["ms_beside_the_windows"] = beside * 1e3
    benchmark.extra_info["share_of_a_default_trial"] = 0.3 / (0.3 + beside)
    assert {trial.status.value for trial in trials} == {"ok"}
