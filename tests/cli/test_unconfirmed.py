"""Results of kernels that no laboratory judged say so wherever they appear."""

import pytest

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


def test_report(results, tmp_path):
    run("report", results, "-o", tmp_path / "x.html")
    assert SAID in (tmp_path / "x.html").read_text()
