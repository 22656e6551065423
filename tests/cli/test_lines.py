"""`--lines` names what a simulated fault waits for, spinning included, and of what total."""

import dataclasses
import re

import pytest

from faultbench import costs
from faultbench.cli import lines
from faultbench.errors import UsageError
from faultbench.machines import Job, get_machine
from faultbench.model import Handler, Order, Path, Status, Trial, TrialSpec
from faultbench.rules import resolve

pytest.importorskip("faultbench._virtual")


def trial(path, workers, handler=Handler.EXT4, kernel="v6.6", **more):
    spec = TrialSpec("virtual:generic", kernel, path, resolve(kernel, path), handler,
                     threads=workers, vmas=workers, faults=60,
                     warmup_faults=20, **more)  # fmt: skip
    ran = get_machine("virtual").run(Job(spec, cost=costs.load("default").steps))
    extra = {name: ran[name] for name in ("lines", "steps")}
    return Trial(spec, Status(ran["status"]), worker=ran["worker"], extra=extra)


def figures(text):
    return [float(n.replace(",", "")) for n in re.findall(r"[\d,]*\d(?:\.\d+)?", text)]


def test_spinning_is_told_with_the_total(capsys):
    """Of 29,800 ns a fault the hottest line showed 1,777, and 25,000 ns of spinning nowhere."""
    lines.show([trial(Path.RETRY, 32), trial(Path.DIRECT, 32)])
    shown = capsys.readouterr().out
    retry, direct = re.findall(
        r"of ([\d,]+) ns a fault: ([\d,]+) running, ([\d,]+) waiting for lines, ([\d,]+) spinning "
        r"\(i_pages ([\d,]+)[^)]*\), ([\d,]+)", " ".join(shown.split()))  # fmt: skip
    for found in (retry, direct):
        total, running, waiting, spinning, i_pages, asleep = map(figures, found)
        assert spinning[0] > total[0] / 2
        assert i_pages[0] > 0.9 * spinning[0]
        parts = running[0] + waiting[0] + spinning[0] + asleep[0]
        assert parts == pytest.approx(total[0], abs=3)
    assert shown.index("ext4 retry") < shown.index("ext4 direct")
    assert "never released" in shown


def test_lines_add_up_to_the_waiting(capsys):
    lines.show([trial(Path.DIRECT, 16)])
    shown = capsys.readouterr().out
    (waiting,) = re.findall(r"([\d,]+) waiting for lines", " ".join(shown.split()))
    rows = re.findall(r"^ *([\d,]+) +[\d.]+  \S", shown, re.MULTILINE)
    assert sum(figures(row)[0] for row in rows) == pytest.approx(figures(waiting)[0], rel=0.05)


def test_nothing_is_listed_that_nobody_waited_for(capsys):
    """One worker had five lines of zeros."""
    lines.show([trial(Path.RETRY, 1, Handler.DEVICE_DAX)])
    shown = capsys.readouterr().out
    assert "every access found its line" in shown
    assert "0.00" not in shown
    assert "vmas -" not in shown


def test_kernels_that_no_laboratory_has_say_so(capsys):
    lines.show([trial(Path.DIRECT, 2, Handler.DEVICE_DAX, k) for k in ("v6.16", "v6.6")])
    shown = capsys.readouterr().out
    assert "v6.16: not confirmed by a kernel" in shown
    assert shown.index("(v6.6 on") < shown.index("(v6.16 on")


def test_each_case_is_named_and_has_its_own_total(capsys):
    """Those of ``--order pmd,pte`` stood under one heading with one total, the mean of both."""
    lines.show([trial(Path.DIRECT, 8, order=order) for order in (Order.PMD, Order.PTE)])
    shown = capsys.readouterr().out
    heads = re.findall(r"^ext4 direct .*$", shown, re.MULTILINE)
    assert [head.rpartition(", ")[2] for head in heads] == ["pmd", "pte"]
    assert len(set(re.findall(r"^of ([\d,]+) ns a fault", shown, re.MULTILINE))) == 2


def test_a_lone_worker_is_no_case_of_its_own(capsys):
    """Its vmas are ``-``: it was printed beside the most workers of the very case."""
    lines.show([trial(Path.DIRECT, n) for n in (1, 4)])
    shown = capsys.readouterr().out
    assert re.findall(r"^ext4 direct .*$", shown, re.MULTILINE) == [
        "ext4 direct (v6.6 on virtual:generic), 4 workers, vmas private"
    ]


def test_names_from_a_file_do_not_reach_the_terminal_raw(capsys):
    one = trial(Path.DIRECT, 4)
    spec = dataclasses.replace(one.spec, kernel="v6.6\x1b[2J", knobs="a\x1b]0;x\x07")
    named = [{**line, "name": f"\x1b[31m{line['name']}"} for line in one.extra["lines"]]
    other = dataclasses.replace(one.spec, knobs="b")
    lines.show([dataclasses.replace(one, spec=spec, extra={**one.extra, "lines": named}),
                dataclasses.replace(one, spec=other)])  # fmt: skip
    shown = capsys.readouterr().out
    assert "[31m" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_no_simulated_trial_is_an_error():
    with pytest.raises(UsageError, match="--machine virtual"):
        lines.show([])
