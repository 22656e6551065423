"""What `beside` says follows from its blocks; a host that changes under it is not measured."""

from __future__ import annotations

from itertools import product

import pytest

pytest.importorskip("faultbench._virtual")

from faultbench import calibrate
from faultbench.enums import Path
from faultbench.validation import beside

FOUND = calibrate.Calibration(
    0.9, 4, 0.4, 60, 1000, 3000, 500, {(0, 1): 130.0}, upgrade=0.1, second=0.05
)


def cell(ratio, noise=0.0):
    """Twelve blocks; A/A alternates by `noise`."""
    real = [100.0 + n for n in range(12)]
    again = [ns * (1 + (noise if n % 2 else -noise)) for n, ns in enumerate(real)]
    model = [ratio * (a + b) / 2 for a, b in zip(real, again, strict=True)]
    others = {name: [ns * (k + 2) for ns in model] for k, name in enumerate(beside.OTHERS)}
    return beside.Cell(real, again, model, [1.0] * 12, others)


def test_within_fifteen_per_cent_or_twice_the_noise():
    assert cell(1.14).holds
    assert not cell(1.16).holds
    assert not cell(0.8).holds
    assert cell(1.3, noise=0.2).holds


def test_a_ratio_is_of_one_block():
    # The machine was twice as slow in half of the blocks, for both: no reason to doubt the model.
    one = cell(1.05)
    for n in range(6):
        for values in (one.real, one.again, one.simulated):
            values[n] *= 2
    ratio, low, high = one.ratio()
    assert ratio == pytest.approx(1.05)
    assert high - low < 0.01


def test_the_page_has_every_case_with_its_intervals():
    keys = product(beside.PROFILES, beside.HANDLERS, (Path.RETRY, Path.DIRECT), (1, 2))
    text = beside.page({key: cell(1.2) for key in keys}, [FOUND] * 12, 3, "a CPU")
    assert text.count("| 1.20 | 2.40 | 3.60 | 4.80 | 6.00 |") == 3 * 2  # 2 workers, one profile
    assert text.count("| outside |") == 2 * 3 * 2 * 2
    assert "1.20 to 1.20" in text
    assert "130 to 130 ns" in text
    assert "again: 3" in text


def test_a_trial_without_a_fault_is_no_measurement():
    class Silent:
        simulated = True

        def run(self, job):
            worker = {"cpu_ns": [0], "faults": [0], "window_ns": [1]}
            return {"status": "ok", "worker": worker}

    with pytest.raises(beside.UnsteadyError):
        beside.cpu_ns(Silent(), beside.case(beside.HANDLERS[0], Path.DIRECT, 1), {})
