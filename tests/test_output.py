"""Files are there whole or not at all, and results are never lost to an option."""

import os

import pytest

from faultbench import records
from faultbench.errors import OutputError, UsageError
from faultbench.output import RESULTS, replacing, replacing_file, writable, writable_figures
from tests.test_records import HEADER


@pytest.fixture
def results(tmp_path):
    with records.Writer.create(tmp_path / "r.jsonl", HEADER):
        pass
    return tmp_path / "r.jsonl"


def test_a_results_file_begins_as_the_guard_thinks(results):
    assert results.read_bytes().startswith(RESULTS)


def test_results_are_never_replaced(results):
    link = results.with_name("link.csv")
    link.symlink_to(results)
    before = results.read_bytes()
    for path in (results, link):
        with pytest.raises(OutputError, match="holds results"):
            writable(path)
        with pytest.raises(OutputError, match="holds results"), replacing(path) as stream:
            stream.write("gone")
    assert results.read_bytes() == before
    assert [p.name for p in results.parent.iterdir() if p.name.startswith(".")] == []


def test_what_is_read_is_not_written(tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("1,2\n")
    os.link(points, tmp_path / "same.csv")
    with pytest.raises(OutputError, match="is read here"):
        writable(tmp_path / "same.csv", points)
    writable(tmp_path / "other.csv", points, tmp_path / "missing")


@pytest.mark.parametrize("path", ["", ".", "./", "..", "no/such/file", "a" * 300, "x\0y", "dir/"])
def test_places_that_are_no_file(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((OutputError, UsageError)):
        writable(path)
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_of_figures(results):
    folder = results.parent
    for prefix in ("", ".", folder, folder / "no/such"):
        with pytest.raises((OutputError, UsageError)):
            writable_figures(prefix)
    writable_figures(folder / "r", results)
    results.rename(folder / "x-usl.svg")
    with pytest.raises(OutputError, match="holds results"):
        writable_figures(folder / "x")


def test_a_named_file_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "m.png"
    target.write_text("before")
    with pytest.raises(ZeroDivisionError), replacing_file(target) as name:
        name.write_text(f"half {1 / 0}")
    assert target.read_text() == "before"
    with replacing_file(target) as name:
        assert name.suffix == ".png"
        name.write_text("whole")
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]
