"""The laboratory itself: boots real kernels under QEMU (-m lab)."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faultbench.lab import check, driver, instructions, packages, picture, run, sequence

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]
HERE = Path(__file__).parent


def silent(_text):
    pass


@pytest.fixture(scope="module")
def kernel():
    return packages.fetch("6.12")


def left_behind():
    """Our QEMUs and folders."""
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = file.read_bytes()
            if b"qemu" in command and b"faultbench-lab-" in command:
                commands.append(file.parent.name)
    folders = [
        p for p in Path("/tmp").glob("faultbench-[lb][au]*-*") if p.stat().st_uid == os.geteuid()
    ]
    return sorted(commands), sorted(folders)


def test_the_model_equals_the_kernels():
    trials = run.run_all(silent)
    rows = list(check.rows(trials))
    assert len(rows) > 100
    assert {(r.case.name, r.case.path): r.differences for r in rows if r.differences} == {}


def test_the_order_of_lock_operations_is_the_kernels():
    text, same = sequence.report(recorded=False, say=silent, offline=True)
    assert same, text


def test_instructions_per_fault_are_those_recorded():
    """Within 3 %: another point release may move them."""
    found = {(m.handler, m.access, m.path): m for m in instructions.run(silent, offline=True)}
    for known in picture.load_instructions():
        now = found[known.handler, known.access, known.path]
        assert now.instructions == pytest.approx(known.instructions, rel=0.03), known


def test_a_leak_of_the_vma_lock_is_reported():
    report = driver.run(HERE / "leaky", "/dev/leaky", None, silent, offline=True)
    assert not report.clean
    assert report.symbol == "leaky_huge_fault"
    assert report.counts["write"]["retries"] == driver.FAULTS
    assert "vma_end_read" in report.text
    assert any("munmap" in frames for frames in report.stack)


def test_a_driver_that_lets_go_is_clean(tmp_path):
    source = (HERE / "leaky/leaky.c").read_text().replace("bool leak = true", "bool leak")
    (tmp_path / "ok").mkdir()
    (tmp_path / "ok/leaky.c").write_text(source)
    (tmp_path / "ok/Kbuild").write_text("obj-m := leaky.o\n")
    report = driver.run(tmp_path / "ok", "/dev/leaky", "leaky_huge_fault", silent, offline=True)
    assert report.clean
    assert report.faults["write"] == (driver.FAULTS, driver.FAULTS)
    assert "1.000 mmap_lock reads per fault" in report.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_after_an_interrupt(kernel, number):
    before = left_behind()
    process = subprocess.Popen(
        [sys.executable, "-m", "faultbench", "lab", "run", "--offline"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while left_behind()[0] == before[0] and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(number)
    errors = process.communicate(timeout=20)[1].decode()
    time.sleep(0.5)
    qemus, folders = left_behind()
    assert qemus == before[0]
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert "Traceback" not in errors
        assert folders == before[1]
    for folder in set(folders) - set(before[1]):  # SIGKILL leaves files, never a process
        subprocess.run(["rm", "-r", folder], check=True)
