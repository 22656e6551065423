"""`explain` says what the model did, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

pytest.importorskip("faultbench._virtual")


def run(*arguments, ok=True):
    command = [sys.executable, "-m", "faultbench", "explain", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ok, done.stderr
    return done


def faults(*arguments):
    return json.loads(run("--format", "json", *arguments).stdout)


@pytest.mark.parametrize("handler", ["device-dax", "ext4", "xfs", "driver", "nop"])
def test_the_detour_is_what_retry_does_more(handler):
    found = faults("--handler", handler)
    names = {path: [s["step"] for s in steps] for path, steps in found.items()}
    assert names["retry"].count("__handle_mm_fault") == 2
    assert names["direct"].count("__handle_mm_fault") == 1
    assert "lock_mm_and_find_vma" in names["retry"]
    assert "lock_mm_and_find_vma" not in names["direct"]


def test_locks_held_are_those_of_the_checked_build():
    found = faults("--handler", "ext4")
    held = {s["step"]: s["held"] for s in found["direct"]}
    assert held["exc_page_fault"] == []
    assert held["dax_insert_entry"][0] == "vma_lock:r"
    assert "invalidate_lock:r" in held["dax_insert_entry"]
    under_mmap = [s["held"] for s in found["retry"] if s["step"] == "dax_insert_entry"]
    assert under_mmap[0][0] == "mmap_lock:r"


def test_one_worker_waits_for_nobody():
    for steps in faults("--threads", "1").values():
        assert sum(s["wait_ns"] for s in steps) == 0
        assert not any(s["lines"] for s in steps)


def test_text_names_the_lines_and_the_limits():
    shown = run().stdout
    assert "mmap_lock.count" in shown
    assert "> lock_mm_and_find_vma" in shown
    assert "must not claim" in shown


def test_a_writer_has_a_time_line(tmp_path):
    svg = tmp_path / "line.svg"
    shown = run("--writers", "1", "--svg", str(svg)).stdout
    assert "mmap_write_lock" in shown
    root = ET.fromstring(svg.read_text())
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{*}rect")) > 10


def test_two_kernels():
    found = faults("--kernel", "v6.5,v6.6")
    assert list(found) == ["v6.5", "v6.6"]
    assert "vma_start_read" not in [s["step"] for s in found["v6.5"]]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--path", "retry"),
        ("--kernel", "v9,v6.6"),
        ("--threads", "0"),
        ("--machine", "threads"),
        ("--machine", "virtual:nosuch"),
        ("--handler", "bogus"),
        ("--format", "xml"),
        ("--svg", "/nonexistent/x.svg"),
    ],
)
def test_mistakes_are_told_in_a_line_or_two(arguments):
    done = run(*arguments, ok=False)
    assert 1 <= len([line for line in done.stderr.splitlines() if line.strip()]) <= 2
    assert "Traceback" not in done.stderr
