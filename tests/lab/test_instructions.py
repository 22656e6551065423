"""Instructions per fault: what is counted, and the cost profile made of it, as far as a sweep."""

import json

import pytest

from faultbench import costs, records
from faultbench.enums import Path as FaultPath
from faultbench.errors import FaultbenchError
from faultbench.lab import instructions, picture
from tests.cli.test_sweep import sweep

RATIO = ("--machine", "virtual", "--kernel", "v6.12", "--path", "retry,direct", "--threads", "1")
SHAPE = ("--handler", "driver", "--vmas", "private", "--writers", "0", "--repeats", "1")


def output(faults, touches=4000):
    window = {"faults": faults, "touches": touches, "fault_ns": 7_000_000}
    return json.dumps({"worker": [{"window": window}]})


def test_touches_that_are_not_one_fault_each_are_refused():
    """QEMU's one CPU splits a locked write in two faults, where a read maps read-only."""
    assert instructions._per_fault("driver.write.bare", output(4000)) == 1750
    with pytest.raises(FaultbenchError, match=r"driver\.write\.bare: 8000 faults in 4000 touches"):
        instructions._per_fault("driver.write.bare", output(8000))


def test_instructions_are_counted_on_plain_stores():
    loops = [line for line in instructions._lines() if line.startswith("say ")]
    assert len(loops) == 2 * 2 * 3 * instructions.REPEATS
    assert all("faultloop store=1 " in line for line in loops)


def ratio(tmp_path, name, cost):
    sweep(*RATIO, *SHAPE, "--cost", cost, "-o", f"{name}.jsonl", cwd=tmp_path)
    found = records.read(tmp_path / f"{name}.jsonl")
    ns = {t.spec.path: t.total("window_ns") / t.total("faults") for t in found.trials}
    (profile,) = found.header.costs.values()
    return ns[FaultPath.RETRY] / ns[FaultPath.DIRECT], profile


def test_the_profile_brings_the_model_nearer_to_the_kernel(tmp_path):
    """lab run --instructions -o FILE, sweep --cost FILE; the default understates the detour."""
    measured = picture.load_instructions()
    instructions.write_profile(tmp_path / "mine.toml", measured)
    default, _ = ratio(tmp_path, "default", "default")
    mine, profile = ratio(tmp_path, "mine", "mine.toml")
    assert profile["name"] == "mine"
    assert profile["steps"] == instructions.profile(measured)
    assert profile["steps"] == costs.load(str(tmp_path / "mine.toml")).steps
    kernel = instructions.value(
        measured, instructions.Handler.DRIVER, instructions.Access.WRITE, FaultPath.RETRY
    ) / instructions.value(
        measured, instructions.Handler.DRIVER, instructions.Access.WRITE, FaultPath.DIRECT
    )
    assert default < mine < kernel
    assert kernel - mine < (kernel - default) / 2
