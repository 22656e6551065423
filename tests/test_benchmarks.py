"""The benchmark suite: comparing runs of unlike machines fails, on the same machine it works."""

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOY = "def test_toy(benchmark):\n    benchmark.pedantic(sum, args=([1, 2],), rounds=3)\n"


def run_in(folder, *options):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A toy suite under the real conftest, with one saved run."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "test_toy.py").write_text(TOY)
    (folder / "conftest.py").write_text((ROOT / "benchmarks/conftest.py").read_text())
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = run_in(folder, "--benchmark-save=base")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def suite(saved, tmp_path):
    """The saved suite to oneself; returns (run, saved file)."""
    folder = shutil.copytree(saved, tmp_path / "suite")
    (file,) = folder.glob(".benchmarks/*/0001_base.json")
    return functools.partial(run_in, folder), file


def test_same_machine_compares(suite):
    run, _ = suite
    done = run("--benchmark-compare=0001")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("field", ["machine", "release", "brand_raw"])
def test_unlike_machine_fails_and_says_why(suite, field):
    run, file = suite
    data = json.loads(file.read_text())
    info = data["machine_info"]
    (info["cpu"] if field == "brand_raw" else info)[field] = "another"
    file.write_text(json.dumps(data))
    done = run("--benchmark-compare=0001")
    assert done.returncode != 0
    assert "another machine" in done.stdout + done.stderr
    assert field in done.stdout + done.stderr


def test_gate_fails_on_a_slower_run(suite):
    run, file = suite
    data = json.loads(file.read_text())
    for name in ("min", "mean", "median", "max"):
        data["benchmarks"][0]["stats"][name] /= 1000
    file.write_text(json.dumps(data))
    done = run("--benchmark-compare=0001", "--benchmark-compare-fail=median:50%")
    assert done.returncode != 0
