"""No command's output option destroys what it reads, or results of any sweep."""

import shutil

import pytest

from tests.cli.test_analysis_commands import results, run  # noqa: F401 - a fixture

COMMANDS = {
    "report": ("report", "ok.jsonl", "-o", "ok.jsonl"),
    "markdown": ("report", "ok.jsonl", "--format", "markdown", "-o", "other.jsonl"),
    "export": ("export", "ok.jsonl", "-o", "ok.jsonl"),
    "another": ("export", "ok.jsonl", "-o", "other.jsonl"),
    "wis": ("export", "ok.jsonl", "--format", "will-it-scale", "-o", "other.jsonl"),
    "explain": ("explain", "--svg", "ok.jsonl"),
    "picture": ("calibrate", "-o", "m.toml", "--picture", "ok-plot.png"),
    "plot": ("plot", "ok.jsonl", "-o", "ok"),
    "lab": ("lab", "plot", "-o", "ok"),
    "fit": ("fit", "points.csv", "-o", "ok"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_results_are_never_overwritten(results, tmp_path, monkeypatch, case):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    for name in ("ok.jsonl", "other.jsonl", "ok-plot.png"):
        shutil.copy(results, name)
    (tmp_path / "points.csv").write_text("1,2\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = run(*COMMANDS[case], code=74)
    assert len(done.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("command", ["report", "plot", "export"])
@pytest.mark.parametrize("place", ["", "./"])
def test_no_name_is_told_in_one_line(results, tmp_path, monkeypatch, command, place):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    done = run(command, results, "-o", place, code=2)
    assert "wants" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "more",
    [("-o", "no/such/x.toml"), ("-o", "x.toml", "--picture", "no/such/x.png"),
     ("-o", "x.toml", "--picture", "x.nope")],
)  # fmt: skip
def test_calibrate_refuses_before_it_measures(tmp_path, monkeypatch, more):
    from faultbench import calibrate

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibrate, "measure", lambda *_: pytest.fail("measured"))
    run("calibrate", *more, code=2 if "x.nope" in more else 74)
    assert list(tmp_path.iterdir()) == []
