"""Machine files: what ships is sound, what is wrong is said."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultbench.errors import UsageError
from faultbench.machines.description import NS, load, names, parse


def text():
    from importlib import resources

    return (resources.files("faultbench.machines") / "data/generic.toml").read_text()


@pytest.mark.parametrize("name", names())
def test_shipped_machines_are_sound(name):
    machine = load(name)
    assert machine.name == name
    assert set(machine.sources) == {*NS, *machine.rules}
    assert all(machine.sources.values())
    assert machine.cpus <= 1024


def test_shipped_machines_are_those_promised():
    machines = [load(name) for name in names()]
    assert {m.name for m in machines} >= {"generic"}
    real = [m for m in machines if m.name != "generic"]
    assert len(real) >= 4
    assert min(m.cpus for m in real) <= 8
    assert max(m.cpus for m in real) >= 384
    assert any(m.sockets == 2 and "Xeon" in m.model and m.cpus >= 64 for m in real)
    assert any(m.arch == "aarch64" for m in real)
    assert load("generic").cpus == 1024


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rmw = {", "rmv = {", "rmw is missing in \\[ns\\]"),
        ("cpus = 1024", "cpus = 1000", "cores × cpus_per_core"),
        ("cpus = 1024", "cpus = 4096", "1 to 1024"),
        ("ns = 40", "ns = -1", "not between 0"),
        ("ns = 40", "ns = nan", "not between 0"),
        ("ns = 40", 'ns = "x"', "wants a number"),
        ('"fifo"', '"random"', "fifo, nearest"),
        ("value = 50", "value = 101", "0 to 100"),
        ("ns = 150", "ns = 20", "must not shrink"),
        ('source = "estimate: round"', 'source = ""', "where it is from"),
        ('name = "generic"', 'name = "a b/c"', "letters, digits"),
        ("[ns]", "[[ns]]", "wants a table"),
        ("sockets = 4", "sockets = = 4", "machine file"),
    ],
)
def test_errors_name_the_figure(old, new, said):
    with pytest.raises(UsageError, match=said):
        parse(text().replace(old, new, 1), "mine.toml")


@given(st.text(max_size=300))
def test_no_text_gives_a_traceback(junk):
    with pytest.raises(UsageError):
        parse(junk, "junk")


def test_a_file_of_ones_own(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(text().replace('name = "generic"', 'name = "mine"'))
    assert load(str(mine)).name == "mine"
    with pytest.raises(UsageError, match="No such file"):
        load(str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="faultbench machines"):
        load("nosuch")


def run(*arguments):
    command = [sys.executable, "-m", "faultbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_machines_lists_them():
    listed = json.loads(run("machines", "--format", "json").stdout)
    assert [m["name"] for m in listed] == names()
    wanted = {"name", "vendor", "arch", "sockets", "cores", "cpus"}
    assert all(wanted <= set(m) for m in listed)
    shown = run("machines", "aws-graviton3").stdout
    assert "estimate" in shown
    assert "core-to-core-latency" in shown


def test_rules_newer_than_a_file_may_be_missing_and_change_nothing():
    old = "".join(
        line
        for line in text().splitlines(keepends=True)
        if not line.startswith(("dirty_load", "overlap_ns"))
    )
    assert parse(old, "old").rules == load("generic").rules
    assert parse(old, "old").digest == load("generic").digest
    new = old + 'overlap_ns = { value = 50, source = "measured" }\n'
    assert parse(new, "new").figures()["overlap"] == 50_000
    assert parse(new, "new").digest != load("generic").digest


def test_figures_change_the_digest():
    other = parse(text().replace("ns = 40", "ns = 41"), "x")
    assert other.digest != load("generic").digest


@pytest.mark.parametrize(
    ("name", "why"), [("pause", "spinning takes time"), ("load", "a look takes time")]
)
def test_what_loops_takes_time(name, why):
    """With no pause and free transfers, or with free accesses, time never went on and trials hung.

    A worker that looks at entries which are all there does nothing but load.
    """
    line = next(line for line in text().splitlines() if line.startswith(name))
    with pytest.raises(UsageError, match=why):
        parse(text().replace(line, f'{name} = {{ ns = 0, source = "mine" }}'), "x")


def test_a_changed_copy_needs_a_name_of_its_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(text().replace("remote = { ns = 150", "remote = { ns = 200"))
    with pytest.raises(UsageError, match="generic is a machine that ships"):
        load(str(file))
    file.write_text(text())  # the same figures are the same machine
    assert load(str(file)) == load("generic")
