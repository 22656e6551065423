"""`explain` says what the model did, and nothing else."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

pytest.importorskip("faultbench._virtual")


@functools.cache
def asked(arguments, columns):
    """Ask once: the machine is simulated, so that the answer is always the same."""
    assert os.environ.get("COLUMNS") == columns
    command = [sys.executable, "-m", "faultbench", "explain", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(*arguments, ok=True):
    done = asked(arguments, os.environ.get("COLUMNS"))
    assert (done.returncode == 0) == ok, done.stderr
    return done


def as_json(*arguments):
    return json.loads(run("--format", "json", *arguments).stdout)


def faults(*arguments):
    return {path: steps for path, steps in as_json(*arguments).items() if path != "about"}


def rows(shown):
    """Return the rows of steps: mark, text up to the cells of the paths, the two cells."""
    lines = shown.splitlines()
    head = next(line for line in lines if "locks" in line and line.count("under") == 2)
    first = head.index("under")
    second = head.index("under", first + 1)
    body = lines[lines.index(head) + 1 :]
    end = next(i for i, line in enumerate(body) if line.startswith("  one fault"))
    return [(r[0], r[2:first].strip(), r[first:second].strip(), r[second:].strip())
            for r in body[:end]]  # fmt: skip


SCREENS = [
    (), ("--handler", "ext4"), ("--handler", "xfs"), ("--kernel", "v6.5,v6.6"), ("--access", "wp"),
    ("--kernel", "v6.6,v6.16", "--vmas", "shared"), ("--handler", "driver"),
]  # fmt: skip


@pytest.mark.parametrize("columns", ["100", "80"])
@pytest.mark.parametrize("arguments", SCREENS, ids=" ".join)
def test_each_path_is_under_its_own_lock_on_one_screen(arguments, columns, monkeypatch):
    """One column of locks said mmap_lock of `direct` too: the opposite of what the patch does."""
    monkeypatch.setenv("COLUMNS", columns)
    shown = run(*arguments).stdout
    found = rows(shown)
    for _, text, _, last in found:
        assert not last.startswith("mmap"), text
    assert any(cell.startswith("vma ") for _, _, _, cell in found)
    if "--kernel" not in arguments:
        assert any(cell.startswith("mmap ") for _, _, cell, _ in found)
    lines = shown.splitlines()
    assert len(lines) <= (56 if columns == "100" else 60)
    assert max(map(len, lines)) <= int(columns)


def test_locks_taken_and_given_back_are_all_there():
    """ext4's locks were cut off after the second."""
    shown = run("--handler", "ext4").stdout
    text = " ".join(line for _, line, _, _ in rows(shown))
    for lock in ("mmap_lock", "sb_start_pagefault", "invalidate_lock", "jbd2_handle", "dax_entry"):
        assert f"+{lock}" in text
        assert f"-{lock}" in text
    for lock in ("xa_lock", "pmd_ptl", "i_es_lock:r", "j_state_lock:r"):
        assert f"±{lock}" in text
    # each in the function that lets go of it
    steps = {s["step"]: s for s in faults("--handler", "ext4")["direct"]}
    assert steps["dax_unlock_entry"]["dropped"] == ["dax_entry", "xa_lock"]
    assert "dax_entry" in steps["dax_unlock_entry"]["held"]
    assert steps["jbd2_journal_stop"]["dropped"][0] == "jbd2_handle:r"


def test_lines_are_all_named():
    """… and 14 more, it said."""
    shown = run("--handler", "ext4").stdout
    names = {n for steps in faults("--handler", "ext4").values() for s in steps for n in s["lines"]}
    assert len(names) > 8
    for name in names:
        assert ("queue nodes" if name.endswith("mcs") else name) in shown


@pytest.mark.parametrize("arguments", [("--handler", "ext4", "--threads", "16"),
                                       ("--handler", "device-dax", "--writers", "1")])  # fmt: skip
def test_where_time_goes_is_what_the_machine_counted(arguments):
    """Spinning is not in the log; it must come to what the simulator itself adds up.

    And to no less: the pauses between two looks, which the simulator counts as running, are ours.
    """
    from faultbench import costs
    from faultbench.explain.steps import steps_of
    from faultbench.machines import Job, get_machine
    from faultbench.model import Handler, Path, TrialSpec
    from faultbench.rules import resolve

    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    workers = int(given.get("--threads", "8"))
    machine, cost = get_machine("virtual"), costs.load("default").steps
    spec = TrialSpec("virtual:generic", "v6.6", Path.RETRY, resolve(None, Path.RETRY),
                     Handler(given["--handler"]), threads=workers, vmas=workers, faults=60,
                     writers=int(given.get("--writers", "0")), seed=3)  # fmt: skip
    result = machine.run(Job(spec, cost=cost, options={"lines": False, "trace": True}))
    figures = machine.figures()
    steps = [s for n in range(workers) for s in steps_of(result["log"], n, figures, cost)]
    for column, kind, within in ((1, "line", 0.05), (2, "spin", 0.5), (3, "asleep", 0.01)):
        counted = sum(values[column] for values in result["steps"].values()) / 1000
        ours = sum(step.idle(kind) for step in steps if step.name != "refill")
        assert ours == pytest.approx(counted, rel=within, abs=2000), kind
        assert ours >= 0.95 * counted
    for step in steps:
        assert step.ns >= sum(step.idle(kind) for kind in ("line", "spin", "asleep")) - 1e-6


def test_a_kernel_before_6_5_has_its_own_function():
    """lock_mm_and_find_vma() came in 6.5 (kernel-reference §1.2)."""
    found = faults("--kernel", "v6.4,v6.5")
    assert "mmap_read_lock" in [s["step"] for s in found["v6.4"]]
    assert "lock_mm_and_find_vma" not in [s["step"] for s in found["v6.4"]]
    assert "lock_mm_and_find_vma" in [s["step"] for s in found["v6.5"]]
    shown = run("--kernel", "v6.4,v6.5").stdout
    assert "mmap_read_lock in v6.4: what lock_mm_and_find_vma does from v6.5 on" in shown
    assert {mark for mark, *_ in rows(shown)} == {" "}  # the same steps under two names


NEVER = "never released"


@pytest.mark.parametrize(
    ("arguments", "said", "unsaid"),
    [
        ((), NEVER, "not confirmed"),
        (("--kernel", "next-202308,v6.6"), NEVER, "not confirmed"),
        (("--kernel", "v6.5,v6.6"), "v6.5: not confirmed by a kernel", NEVER),
        (("--kernel", "v6.13,v6.16"), "v6.13, v6.16: not confirmed by a kernel", NEVER),
        (("--path", "abort,direct"), "model of", NEVER),
    ],
)
def test_what_must_be_said_is_said_in_every_form(arguments, said, unsaid, tmp_path):
    target = tmp_path / "x.svg"
    shown = run(*arguments, "--writers", "1", "--svg", str(target)).stdout
    drawn = " ".join(ET.fromstring(target.read_text()).itertext())
    notes = " ".join(as_json(*arguments)["about"]["notes"])
    for text in (shown, drawn, notes):
        words = " ".join(text.split())
        assert said in words
        assert unsaid not in words
        assert "latencies estimated" in words
        assert "must not claim" in words


def test_the_limits_are_those_of_the_plots():
    from faultbench.explain import CLAIMS_NOT
    from faultbench.plots import style

    assert CLAIMS_NOT == style.CLAIMS_NOT


def test_rules_order_and_map_as_in_a_sweep():
    found = faults("--kernel", "v6.16", "--set", "vma_lock=separate|refcount")
    assert list(found) == ["vma_lock=separate", "as v6.16"]
    assert any("vma_lock" in n for s in found["vma_lock=separate"] for n in s["lines"])
    pud = faults("--order", "pud")["direct"]
    assert "insert_pfn_pud" in [s["step"] for s in pud]
    cow = faults("--handler", "ext4", "--map", "private", "--order", "pte")["direct"]
    assert "dax_fault_cow_page" in [s["step"] for s in cow]
    off = faults("--set", "prefetchw=off")["direct"]
    assert not any("mmap_lock.count" in n for s in off for n in s["lines"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--map", "private"), "device-dax refuses private mappings"),
        (("--handler", "ext4", "--order", "pud"), "FALLBACK to PUD"),
        (("--set", "rwsem=pthread"), "needs real threads"),
        (("--set", "nosuch=on"), "nosuch"),
        (("--kernel", "v6.3", "--path", "retry,direct"), "no per-VMA lock"),
        (("--handler", "ext4,xfs"), "compares two"),
    ],
)
def test_what_a_sweep_refuses_is_refused(arguments, said):
    assert said in run(*arguments, ok=False).stderr


@pytest.mark.parametrize("handler", ["ext4", "xfs", "driver"])
def test_a_wp_fault_is_the_write_and_not_the_read_before_it(handler):
    for steps in faults("--handler", handler, "--access", "wp").values():
        assert "wp_huge_pmd" in [s["step"] for s in steps]


def test_what_both_do_elsewhere_is_no_detour():
    shown = run().stdout
    assert "both, at another place: vma_end_read" in shown
    assert "both take the same steps" in run("--handler", "anon").stdout


def test_one_kernel_and_two_paths():
    assert list(faults("--kernel", "v6.12", "--path", "retry,direct")) == ["retry", "direct"]
    assert list(faults("--path", "direct,retry")) == ["direct", "retry"]


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


def test_a_fault_among_many_workers_is_one_of_the_window():
    # The record was full before the tables were: the first touch of an entry was shown as typical.
    for path, steps in faults("--threads", "256", "--vmas", "shared").items():
        assert "dax_set_mapping" not in [step["step"] for step in steps], path


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
    texts = [t.text for t in root.findall(".//{*}text")]
    # colour is not the only thing that tells: each kind has its pattern
    assert {p.get("id") for p in root.findall(".//{*}pattern")} == {"run", "line", "spin", "asleep"}
    assert len({p.find("{*}path").get("d") for p in root.findall(".//{*}pattern")}) == 4
    # every function has a number and a name in the key; ticks are round
    assert "lock_mm_and_find_vma" in texts
    assert "mmap_write_lock" in texts
    ticks = [t.split()[0] for t in texts if t.replace(" µs", "").replace(" ns", "").isdigit()]
    assert "5" in ticks
    assert not [t for t in ticks if len(t) > 3]
    assert any("magnified" in t for t in texts)
    assert any("never released" in t for t in texts)


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
