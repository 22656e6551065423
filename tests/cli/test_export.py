"""``faultbench export`` over files from anywhere."""

import os
import subprocess
import sys

import pytest

from faultbench import records, table
from faultbench.recordline import encode
from tests import fake
from tests.test_records import HEADER, small


def export(*arguments, cwd, **how):
    return subprocess.run(
        [sys.executable, "-m", "faultbench", "export", *map(str, arguments)], cwd=cwd,
        env={**os.environ, **fake.child_environment()}, check=False, text=True,
        **({"capture_output": True} | how),
    )  # fmt: skip


@pytest.fixture
def results(tmp_path):
    with records.Writer.create(tmp_path / "r.jsonl", HEADER) as writer:
        for repeat in range(3):
            writer.append(small(repeat))
    return tmp_path


def test_csv_to_stdout_and_to_a_file_are_the_same(results):
    done = export("r.jsonl", cwd=results)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    assert done.stdout.startswith(",".join(table.COLUMNS))
    assert export("r.jsonl", "-o", "r.csv", cwd=results).returncode == 0
    assert (results / "r.csv").read_text() == done.stdout


def test_a_dash_is_stdout(results):
    done = export("r.jsonl", "-o", "-", cwd=results)
    assert done.returncode == 0
    assert done.stdout == export("r.jsonl", cwd=results).stdout
    assert [p.name for p in results.iterdir()] == ["r.jsonl"]


def test_a_torn_line_is_said_and_the_rest_exported(results):
    with (results / "r.jsonl").open("ab") as stream:
        stream.write(b'{"kind":"tri')
    done = export("r.jsonl", cwd=results)
    assert done.returncode == 0
    assert "torn" in done.stderr
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a faultbench results file"),
        (b"trial_id,machine\n", "not a faultbench results file"),
        (encode("header", {**HEADER.to_dict(), "schema": 99}), "schema 99"),
        (encode("header", HEADER.to_dict()) + b"{}\n", "line 2 at byte"),
    ],
)
def test_files_that_are_none(tmp_path, content, says):
    (tmp_path / "x.jsonl").write_bytes(content)
    done = export("x.jsonl", cwd=tmp_path)
    assert done.returncode == 65
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["missing.jsonl"], 65, "no such file"),
        (["."], 65, "directory"),
        (["/dev/zero"], 65, "not a regular file"),
        (["r.jsonl", "--format", "xls"], 2, "there are csv"),
        (["r.jsonl", "--format", "cvs"], 2, "did you mean csv"),
        (["r.jsonl", "-o", "/dev/full"], 74, "not a regular file"),
        (["r.jsonl", "-o", "no/r.csv"], 74, "cannot write"),
        (["r.jsonl", "--format", "will-it-scale", "-o", "r.title"], 2, "take .csv"),
        ([], 2, "missing argument"),
    ],
)
def test_bad_input(results, arguments, code, says):
    done = export(*arguments, cwd=results)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_full_stdout(results):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = export("r.jsonl", cwd=results, capture_output=False, stdout=full,
                      stderr=subprocess.PIPE)  # fmt: skip
    assert done.returncode == 74
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_an_existing_file_is_replaced_whole(results):
    (results / "r.csv").write_text("before")
    assert export("r.jsonl", "-o", "r.csv", cwd=results).returncode == 0
    assert (results / "r.csv").read_text().startswith("trial_id")
    assert not [p for p in results.iterdir() if p.name.startswith(".")]
