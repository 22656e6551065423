"""Results of kernels that no laboratory judged say so wherever they appear."""

import pytest

from faultbench import records
from tests.analysis.files import write
from tests.cli.test_analysis_commands import run

SAID = "v6.5: not confirmed by a kernel"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    file = tmp_path_factory.mktemp("unconfirmed") / "x.jsonl"
    options = "--kernel v6.5,v6.6 --handler nop --threads 1 --writers 0 --faults 500 --repeats 2"
    done = run("sweep", *options.split(), "-o", file)
    assert SAID in done.stdout + done.stderr
    return file


def test_compare(results):
    assert SAID in run("compare", results, "--by", "kernel").stdout


def test_figures(results, tmp_path):
    run("plot", results, "-o", tmp_path / "x")
    figures = list(tmp_path.glob("*.svg"))
    assert figures
    assert all(SAID in figure.read_text() for figure in figures)


@pytest.mark.parametrize(
    "command", [["compare", "--by", "kernel"], ["report", "--format", "markdown"], ["export"],
                ["export", "--format", "will-it-scale", "-o", "out.csv"], ["fit", "-o", "f"]],
)  # fmt: skip
def test_a_kernel_that_really_ran_is_not_called_unconfirmed(tmp_path, monkeypatch, command):
    """Imported results of a real 6.5 were said to be `modelled from its source alone`."""
    header = "tasks,processes,processes_idle,threads,threads_idle,linear\n"
    lines = header + "1,10,0,9,0,10\n2,20,0,9,0,20\n" * 2
    trials = []
    for kernel in ("v6.5", "v6.6"):
        name = f"{kernel}.csv"
        (tmp_path / name).write_text(lines)
        run("import", tmp_path / name, "--format", "will-it-scale", "--kernel", kernel,
            "-o", tmp_path / f"{kernel}.jsonl")  # fmt: skip
        trials += records.read(tmp_path / f"{kernel}.jsonl").trials
    write(tmp_path / "x.jsonl", trials, source="will-it-scale")
    monkeypatch.chdir(tmp_path)
    done = run(command[0], "x.jsonl", *command[1:])
    made = [p.read_text() for p in tmp_path.iterdir() if p.suffix in (".title", ".svg")]
    assert "v6.5" in done.stdout + "".join(made)
    assert not [text for text in (done.stdout, done.stderr, *made) if "not confirmed" in text]


def test_report(results, tmp_path):
    run("report", results, "-o", tmp_path / "x.html")
    assert SAID in (tmp_path / "x.html").read_text()
