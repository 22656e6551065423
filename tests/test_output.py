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


@pytest.mark.parametrize(
    "path", ["", ".", "-", "./", "..", "no/such/file", "a" * 300, "x\0y", "dir/"]
)
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


def test_a_link_is_followed(tmp_path):
    """``-o`` put a file in the place of the link; what it named stayed as it was."""
    (tmp_path / "real").mkdir()
    for name in ("there.csv", "not-yet.csv"):
        link = tmp_path / name
        link.symlink_to(tmp_path / "real" / name)
        if name == "there.csv":
            link.write_text("before")
        writable(link)
        with replacing(link) as stream:
            stream.write("after")
        assert link.is_symlink()
        assert (tmp_path / "real" / name).read_text() == "after"
    (tmp_path / "lost").symlink_to(tmp_path / "no/such")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("lost", "loop"):
        with pytest.raises(OutputError):
            writable(tmp_path / name)
        with pytest.raises(OutputError), replacing(tmp_path / name):
            pass


def test_contents_are_on_the_disk_before_they_have_the_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.pread(fd, 9, 0)))
    with replacing_file(tmp_path / "a.png") as name:
        name.write_bytes(b"one")
    with replacing(tmp_path / "b.txt") as stream:
        stream.write("two")
    assert synced == [b"one", b"two"]


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
