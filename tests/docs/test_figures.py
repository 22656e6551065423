"""What the pages say of the reference sweeps is what those sweeps hold now."""

from pathlib import Path

import pytest

from faultbench import records

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rates():
    """(kernel, PAT locks, handler, workers) -> faults/s; a VMA each, no writers."""
    found = {}
    for pat, name in ((False, "virtual-quiet"), (True, "virtual-quiet-pat")):
        for trial in records.read(ROOT / f"results/{name}.jsonl").trials:
            spec, worker = trial.spec, trial.worker
            if spec.vmas == spec.threads:
                pairs = zip(worker["faults"], worker["window_ns"], strict=True)
                key = spec.kernel, pat, str(spec.handler), spec.threads
                found[key] = sum(1e9 * faults / ns for faults, ns in pairs)
    return found


def text(page):
    return " ".join((ROOT / "docs" / page).read_text().split())


def test_what_the_pat_locks_cost(rates):
    def millions(workers, pat, kernel="v6.6", handler="device-dax"):
        return rates[kernel, pat, handler, workers] / 1e6

    with_, without = (millions(64, pat) for pat in (True, False))
    retry = millions(64, False, "next-202308")
    said = (
        f"{millions(32, True):.1f} M faults/s at 32 workers and {with_:.1f} M at 64, against "
        f"{millions(32, False):.1f} M and {without:.0f} M without them; `retry` does "
        f"{millions(32, False, 'next-202308'):.1f} M and {retry:.1f} M"
    )
    lab = text("lab.md")
    assert said in lab
    assert f"the gain at 64 is {with_ / retry:.1f} times, not {without / retry:.1f}" in lab
    ext4 = [millions(64, pat, handler="ext4") for pat in (True, False)]
    assert f"({ext4[0]:.2f} and {ext4[1]:.2f} M at 64)" in lab
    moved = max(
        abs(rates["v6.6", True, "ext4", n] / rates["v6.6", False, "ext4", n] - 1)
        for n in (4, 8, 16, 32, 64)
    )
    assert f"nothing changes beyond {100 * moved:.0f} % from 4 workers on" in lab
    faster = f"{without:.0f} M faults/s at 64 workers are {with_:.1f} M with them"
    said = f"{faster}, `retry`'s {retry:.1f} M"
    assert said in text("model.md")
