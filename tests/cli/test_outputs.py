"""No command's output option destroys what it reads, or results of any sweep."""

import errno
import os
import shutil
import subprocess
import sys

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


ESC = "\x1b[31mred"


@pytest.mark.parametrize(
    "arguments",
    [("machines", ESC), ("machines", ""), ("info", "--cost", ""), ("audit", ""), (ESC,),
     ("import", "x", "--format", "pft", "-o", "o.jsonl", "--kernel", ESC),
     ("explain", "--machine", f"virtual:{ESC}"), ("explain", "--machine", "virtual:"),
     ("plot", ESC), ("sweep", "--mapping", f"file:{ESC}", "--machine", "kernel")],
)  # fmt: skip
def test_nothing_that_a_terminal_would_obey_is_printed(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments, code=65 if arguments[0] == "plot" else 2)
    assert "\x1b" not in done.stderr + done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_export_of_somebody_s_file_is_safe_on_a_terminal(tmp_path):
    from dataclasses import replace

    from faultbench import records
    from tests.test_records import HEADER, small

    trial = replace(small(), worker={"faults": [3], "window_ns": [1000], "cpu_ns": [1000]})
    trial = replace(trial, spec=replace(trial.spec, kernel=ESC), message="two\nlines\x1b")
    with records.Writer.create(tmp_path / "r.jsonl", HEADER) as writer:
        writer.append(trial)
    for kind in ("csv", "will-it-scale"):
        done = run("export", tmp_path / "r.jsonl", "--format", kind)
        assert "\x1b" not in done.stdout


def test_a_machine_that_there_is_not_is_told_as_it_was_asked_for():
    assert run("machines", "nope", code=2).stderr.startswith("faultbench: machines nope: unknown")


def test_version_and_help_say_everything_in_whole_words():
    from faultbench import __version__
    from faultbench.cli import COMMANDS
    from faultbench.rules import KNOBS

    assert run("--version").stdout == f"faultbench {__version__}\n"
    whole = run("--help").stdout
    assert "…" not in whole
    assert "..." not in whole.replace("[ARGS]...", "")
    for command in COMMANDS:
        shown = run(command, "--help").stdout
        assert "<" not in shown.replace("faults_per_s < -5%", "")
    sweep = " ".join(run("sweep", "--help").stdout.split())
    for knob, choices in KNOBS.items():
        assert knob in sweep
        assert all(choice in sweep for choice in choices)


def test_help_loads_no_command():
    """It loaded all of them, and was the slowest help of all."""
    script = (
        "import sys; from faultbench import cli; cli.run(sys.argv[1:])\n"
        "print([m for m, _, _ in cli.COMMANDS.values() if m in sys.modules])"
    )

    def loaded(*arguments):
        command = [sys.executable, "-c", script, *arguments]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return shown.splitlines()[-1]

    assert loaded("--help") == loaded() == "[]"
    assert loaded("machines", "--help") == "['faultbench.cli.machines']"


def test_a_command_is_found_behind_a_double_dash_and_not_behind_a_mistake():
    assert run("--", "machines").stdout == run("machines").stdout
    assert "no such command 'sweeep'. Did you mean 'sweep'?" in run("sweeep", "fit", code=2).stderr
    assert "given twice" in run("--", "fit", "-o", "a", "-o", "b", code=2).stderr


def test_half_an_import_is_none(tmp_path, monkeypatch):
    """It was kept, with the advice to --resume, which import does not have."""
    text = "tasks,processes,processes_idle,threads,threads_idle,linear\n1,10,0,9,0,10\n"
    (tmp_path / "w.csv").write_text(text)
    synced = []

    def full(fd):
        synced.append(fd)
        if len(synced) > 3:  # the header, its folder and one trial are written
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "w.jsonl"
    done = run("import", tmp_path / "w.csv", "--format", "will-it-scale", "-o", out, code=74)
    assert "no space left" in done.stderr
    assert "--resume" not in done.stderr
    assert not out.exists()


LATIN = (("compare", "--by", "path"), ("fit",), ("report", "--format", "markdown"))


@pytest.mark.parametrize("args", LATIN[:1], ids=lambda args: args[0])
def test_the_c_locale_gets_escapes(results, args):  # noqa: F811
    """Python's own error handler there is neither strict nor of use."""
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env.pop("PYTHONIOENCODING", None)
    done = subprocess.run(
        [sys.executable, "-m", "faultbench", args[0], str(results), *args[1:]],
        env=env, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert b"\\xd7" in done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stdout_or_stderr_is_no_error(closed, tmp_path):
    """Python has None for it: a traceback, or messages among the data."""
    faultbench = f"{sys.executable} -m faultbench"
    for command, code in (("machines --format json", 0), ("machines nosuch", 2),
                          ("sweep --dry-run --threads 1", 0)):  # fmt: skip
        done = subprocess.run(
            ["bash", "-c", f"{faultbench} {command} {closed}"], cwd=tmp_path, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert "faultbench:" not in done.stdout


@pytest.mark.parametrize("args", LATIN, ids=lambda args: args[0])
def test_a_terminal_that_lacks_characters_gets_the_others(results, args):  # noqa: F811
    """ASCII has neither a dash nor a multiplication sign: it was a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "faultbench", args[0], str(results), *args[1:]],
        env=os.environ | {"PYTHONIOENCODING": "ascii:strict"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.isascii()


def test_results_do_not_go_to_a_file_called_minus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("sweep", "--dry-run", "-o", "-", code=2)
    assert "want a file" in done.stderr
    assert not (tmp_path / "-").exists()
