"""``faultbench sweep`` as its user runs it, over the fake machine."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faultbench import records
from faultbench.model import Status
from tests import fake, warm

SMALL = ("--handler", "ext4", "--writers", "0", "--threads", "1")


def command(*arguments):
    return [sys.executable, "-m", "tests.fake", *map(str, arguments)]


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("FAKE")}
    return {**env, **fake.child_environment(), "MPLBACKEND": "Agg", "COLUMNS": "120", **more}


def faultbench(*arguments, cwd, check=None, **more):
    done = subprocess.run(
        command(*arguments), cwd=cwd, env=environment(**more), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    if check is not None:
        assert done.returncode == check, done.stderr + done.stdout
    return done


def sweep(*arguments, cwd, check=0, **more):
    asked = ("sweep", "--no-plot", *map(str, arguments))
    if more:
        return faultbench(*asked, cwd=cwd, check=check, **more)
    done = warm.run("tests.fake", asked, cwd, environment())  # it ends with a table
    assert done.returncode == check, done.stderr + done.stdout
    return done


def complaint(done):
    """Return stderr, checked to be a message for people."""
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert 1 <= len(lines) <= 2, done.stderr
    assert lines[0].startswith("faultbench: ")
    return done.stderr


def test_a_sweep_prints_a_table_and_keeps_records(tmp_path):
    done = sweep(*SMALL, "-o", "r.jsonl", cwd=tmp_path)
    assert "CPU ns" in done.stdout
    assert "mmap_lock" in done.stdout
    assert "direct/retry" in done.stdout
    assert "never released" in done.stdout
    assert "cost profile default" in done.stdout
    results = records.read(tmp_path / "r.jsonl")
    assert len(results.trials) == 12
    assert results.header.plan["options"]["handler"] == "ext4"
    assert results.header.host["cpus"] >= 1
    (profile,) = results.header.costs.values()
    assert profile["name"] == "default"
    assert "12 trials" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_the_first_figures_of_the_table_are_those_of_the_records(tmp_path):
    done = sweep(*SMALL, "-o", "r.jsonl", cwd=tmp_path)
    rows = [line.split() for line in done.stdout.splitlines() if " direct " in f" {line} "]
    direct = next(row for row in rows if row[0] == "direct")
    assert 780 < float(direct[1]) < 820
    assert direct[2:4] == ["0.0", "0.0"]
    retry = next(line.split() for line in done.stdout.splitlines() if " retry " in line)
    assert "1000.0" in retry


def test_plots_are_drawn_and_a_failing_plot_does_not_fail_the_sweep(tmp_path):
    done = faultbench("sweep", *SMALL, "-o", "r.jsonl", cwd=tmp_path, check=0)
    pictures = [p for p in tmp_path.iterdir() if p.suffix in (".png", ".svg")]
    assert pictures
    assert all(p.name in done.stderr for p in pictures if p.suffix == ".png")
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None\n")
    path = f"{blocked}:{fake.child_environment()['PYTHONPATH']}"
    done = faultbench("sweep", *SMALL, "-o", "s.jsonl", cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 0
    assert len(records.read(tmp_path / "s.jsonl").trials) == 12


BAD = {
    "--path /some/file": "--mapping file:/some/file",
    "--path nope": "there are mmap-lock",
    "--kernel v2.4": "v6.16",
    "--kernel v6.3 --path direct": "no per-VMA lock",
    "--handler ext3": "did you mean ext4",
    "--handler device-dax --map private": "refuses private",
    "--handler device-dax --fallback 0.5": "never falls back",
    "--handler anon --files private": "no files",
    "--handler ext4 --order pud": "FALLBACK",
    "--threads 0": "--threads",
    "--threads nan": "--threads",
    "--threads -1": "--threads",
    "--threads 1e30": "--threads",
    "--threads 99999": "--threads",
    "--threads 4096": "--oversubscribe",
    "--vmas 0": "--vmas",
    "--vmas shared --files private --threads 2": "one file",
    "--duration nan": "--duration",
    "--duration inf": "--duration",
    "--duration -5s": "--duration",
    "--duration 1e30": "--duration",
    "--duration 99999999s": "--duration",
    "--duration 1s --faults 3": "give one",
    "--faults 0": "--faults",
    "--repeats 0": "--repeats",
    "--repeats ½": "--repeats",
    "--fallback 2": "--fallback",
    "--fallback nan": "--fallback",
    "--writer-rate -3": "--writer-rate",
    "--set rwsem=best": "naive",
    "--set speed=11": "prefetchw",
    "--cost nope": "default and none",
    "--machine moon": "there are threads",
    "--machine kernel --kernel v6.5": "this kernel is",
    "--mapping anon": "--machine kernel",
    "--seed x": "--seed",
    "--pin left": "scatter",
    "--resume": "-o FILE",
    "--retry-failed": "--resume",
    "--resume -o missing.jsonl": "no such file",
    "--config missing.toml": "--config",
    "--colour red": "no such option",
    "--machine threads --lines": "--machine virtual",
    "--machine virtual:": "after the colon",
    "--threads 0x": "--threads 0x",
    "--threads 1 --threads=2": "given twice; a LIST has commas",
    "-o a --output b": "--output: given twice",
    "--fallback 1e-30": "0.000001",
    "--machine kernel --mapping device:/dev/null": "no ->mmap",
    "--threads": "requires an argument",
    "-o missing/r.jsonl": "cannot write",
    "-o /dev/full": "not a regular file",
    "-o /proc/r.jsonl": "cannot write",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input(tmp_path, arguments):
    done = faultbench("sweep", *arguments.split(), cwd=tmp_path)
    assert BAD[arguments] in complaint(done)
    assert done.returncode in (2, 65, 74)
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option",
    "-o --config --trace --threads --machine --set --path --kernel --duration --pin --cost".split(),
)
def test_an_unset_variable_does_not_start_another_sweep(tmp_path, option):
    done = faultbench("sweep", option, "", "--dry-run", cwd=tmp_path, check=2)
    assert f"{option} ''" in complaint(done)
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["ä\udcff", "a" * 5000, "\x1b[31mred", "\u202egnp"])
def test_hostile_values_are_not_echoed_raw(tmp_path, name):
    done = subprocess.run(
        command("sweep", "--handler", name), cwd=tmp_path, env=environment(),
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr
    assert len(done.stderr) < 400
    assert b"Traceback" not in done.stderr


def test_dry_run_shows_the_plan_and_runs_nothing(tmp_path):
    done = sweep(*SMALL, "--dry-run", cwd=tmp_path)
    assert len(done.stdout.splitlines()) == 12
    assert "12 trials on threads, about" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_touched(tmp_path):
    (tmp_path / "r.jsonl").write_text("mine")
    done = sweep(*SMALL, "-o", "r.jsonl", cwd=tmp_path, check=74)
    assert "--resume" in complaint(done)
    assert (tmp_path / "r.jsonl").read_text() == "mine"


@pytest.mark.parametrize("content", ["mine", "", '{"a": 1}\n', "\x00" * 100])
def test_a_foreign_file_is_not_resumed(tmp_path, content):
    (tmp_path / "r.jsonl").write_text(content)
    done = sweep(*SMALL, "-o", "r.jsonl", "--resume", cwd=tmp_path, check=65)
    assert "not a faultbench results file" in complaint(done)
    assert (tmp_path / "r.jsonl").read_text() == content


def ids(path):
    return [t.trial_id for t in records.read(path).trials]


def test_resume_after_sigkill_at_random_instants(tmp_path):
    sweep(*SMALL, "-o", "whole.jsonl", cwd=tmp_path)
    rng = random.Random(1)
    path = tmp_path / "r.jsonl"
    begun = False
    for _ in range(12):
        process = subprocess.Popen(
            command("sweep", "--no-plot", *SMALL, "-o", path, *(["--resume"] if begun else [])),
            cwd=tmp_path, env=environment(FAKE_SLEEP="0.04"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(rng.uniform(0.15, 0.7))
        process.kill()
        process.wait()
        if path.exists() and path.read_bytes().count(b"\n"):
            begun = True
            done = ids(path)
            assert len(done) == len(set(done))
        elif path.exists():
            path.unlink()  # killed before the header was whole
    sweep("-o", path, *(["--resume"] if begun else SMALL), cwd=tmp_path)
    assert ids(path) == ids(tmp_path / "whole.jsonl")


def test_resume_takes_its_options_from_the_file(tmp_path):
    sweep(*SMALL, "--repeats", "2", "-o", "r.jsonl", cwd=tmp_path)
    lines = (tmp_path / "r.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "r.jsonl").write_bytes(b"".join(lines[:3]))
    done = sweep("-o", "r.jsonl", "--resume", cwd=tmp_path)
    assert "2 trials on" in done.stderr
    assert len(ids(tmp_path / "r.jsonl")) == 4
    assert "direct/retry" in done.stdout


def test_resume_of_a_finished_sweep_measures_nothing(tmp_path):
    sweep(*SMALL, "-o", "r.jsonl", cwd=tmp_path)
    before = (tmp_path / "r.jsonl").read_bytes()
    done = sweep("-o", "r.jsonl", "--resume", cwd=tmp_path)
    assert "0 trials" in done.stderr
    assert "direct/retry" in done.stdout
    assert (tmp_path / "r.jsonl").read_bytes() == before


def test_resume_with_options_goes_on_with_the_same_sweep_or_is_refused(tmp_path):
    """One option typed had started the default sweep in the file of another."""
    sweep(*SMALL, "--repeats", "4", "-o", "r.jsonl", cwd=tmp_path)
    before = (tmp_path / "r.jsonl").read_bytes()
    for other in (("--repeats", "2"), ("--writers", "0,1"), ("--path", "abort"), ("--faults", "9")):
        done = sweep("-o", "r.jsonl", "--resume", *other, cwd=tmp_path, check=2)
        assert "begin a new file" in complaint(done)
        done = sweep("-o", "r.jsonl", "--resume", "--dry-run", *other, cwd=tmp_path, check=2)
        assert (tmp_path / "r.jsonl").read_bytes() == before
    for same in (("--repeats", "4"), SMALL, ("--threads", "1-1", "--seed", "1")):
        done = sweep("-o", "r.jsonl", "--resume", *same, cwd=tmp_path)
        assert "0 trials" in done.stderr
        assert (tmp_path / "r.jsonl").read_bytes() == before


def test_resume_of_what_is_no_sweep_or_plans_otherwise_here_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_text("[steps]\nexc_page_fault = 5\n")
    sweep(*SMALL, "--cost", "mine.toml", "-o", "r.jsonl", cwd=tmp_path)
    (tmp_path / "mine.toml").write_text("[steps]\nexc_page_fault = 6\n")
    done = sweep("-o", "r.jsonl", "--resume", cwd=tmp_path, check=2)
    assert "12 of its 12 trials are not what its options plan" in complaint(done)
    header = records.Header("0.1.0", source="pft")
    with records.Writer.create(tmp_path / "i.jsonl", header):
        pass
    done = sweep("-o", "i.jsonl", "--resume", cwd=tmp_path, check=2)
    assert "results of pft" in complaint(done)


def test_a_sweep_that_measured_nothing_leaves_no_file(tmp_path):
    done = sweep(*SMALL, "-o", "r.jsonl", cwd=tmp_path, check=71, FAKE="resource@0")
    assert "ulimit" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_for_the_time_line_is_looked_at_first(tmp_path):
    done = faultbench("sweep", "--machine", "virtual", "--trace", "no/such/x", "-o", "v.jsonl",
                      cwd=tmp_path, check=74)  # fmt: skip
    assert "no such folder" in complaint(done)
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_with_done_and_counts_one_trial_as_one(tmp_path):
    done = sweep(*SMALL, "--path", "direct", "--repeats", "1", "-o", "my file.jsonl", cwd=tmp_path)
    assert "1 trial on threads" in done.stderr
    assert "1/1 ext4 direct 1 worker, done" in done.stderr
    assert " left" not in done.stderr


def test_resume_on_another_host_is_refused(tmp_path, monkeypatch):
    sweep(*SMALL, "-o", "r.jsonl", cwd=tmp_path)
    results = records.read(tmp_path / "r.jsonl")
    host = {**results.header.host, "cpu_model": "Another CPU"}
    header = records.Header("0.1.0", results.header.plan, host)
    with records.Writer.create(tmp_path / "s.jsonl", header):
        pass
    done = sweep("-o", "s.jsonl", "--resume", cwd=tmp_path, check=2)
    assert "another host" in complaint(done)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_kill_keep_what_is_finished(tmp_path, signum, code):
    process = subprocess.Popen(
        command("sweep", *SMALL, "-o", "r.jsonl"), cwd=tmp_path,
        env=environment(FAKE_SLEEP="0.2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    path = tmp_path / "r.jsonl"
    while not (path.exists() and path.read_bytes().count(b"\n") >= 3):
        time.sleep(0.02)
    process.send_signal(signum)
    begin = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - begin < 5  # the goal is 1 s; this machine may be busy
    assert process.returncode == code
    assert "Traceback" not in err
    assert "--resume" in err
    finished = ids(path)
    assert 2 <= len(finished) < 12  # it stopped, and did not go on to the end
    sweep("-o", path, "--resume", cwd=tmp_path)
    assert ids(path)[: len(finished)] == finished
    assert len(ids(path)) == 12


def test_two_sweeps_on_one_file(tmp_path):
    first = subprocess.Popen(
        command("sweep", "--no-plot", *SMALL, "-o", "r.jsonl"), cwd=tmp_path,
        env=environment(FAKE_SLEEP="0.3"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not ((tmp_path / "r.jsonl").exists() and (tmp_path / "r.jsonl").stat().st_size):
        time.sleep(0.02)
    done = sweep("-o", "r.jsonl", "--resume", cwd=tmp_path, check=74)
    assert "another faultbench" in complaint(done)
    assert first.wait(60) == 0
    assert len(ids(tmp_path / "r.jsonl")) == 12


def test_failed_trials_are_told_and_run_again_on_request(tmp_path):
    done = sweep(*SMALL, "-o", "r.jsonl", cwd=tmp_path, check=1,
                 FAKE="crash@3", FAKE_ONCE=str(tmp_path / "once"))  # fmt: skip
    assert "1 of 12 trials did not end ok" in done.stderr
    assert "--retry-failed" in done.stderr
    statuses = [t.status for t in records.read(tmp_path / "r.jsonl").trials]
    assert statuses.count(Status.CRASHED) == 1
    sweep("-o", "r.jsonl", "--resume", cwd=tmp_path, check=1)
    sweep("-o", "r.jsonl", "--resume", "--retry-failed", cwd=tmp_path)
    trials = records.read(tmp_path / "r.jsonl").trials
    assert [t.status for t in trials] == [Status.OK] * 12


def test_crashed_trials_that_nobody_plans_any_more_do_not_stop_a_resume(tmp_path):
    """Before, --vmas 4 of one worker crashed; now it means one."""
    sweep(*SMALL, "--vmas", "4", "-o", "new.jsonl", cwd=tmp_path)
    results = records.read(tmp_path / "new.jsonl")
    with records.Writer.create(tmp_path / "old.jsonl", results.header) as writer:
        for trial in results.trials:
            spec = dataclasses.replace(trial.spec, vmas=4)
            writer.append(records.Trial(spec, Status.CRASHED, message="vmas: 1 to the number"))
    done = sweep("-o", "old.jsonl", "--resume", "--retry-failed", cwd=tmp_path)
    assert "12 trials on threads" in done.stderr
    again = records.read(tmp_path / "old.jsonl").trials
    assert [t.status for t in again].count(Status.OK) == 12


def test_no_threads_to_be_had(tmp_path):
    done = sweep(*SMALL, "-o", "r.jsonl", cwd=tmp_path, check=71, FAKE="resource@5")
    assert "ulimit" in done.stderr
    assert "5 trials kept" in done.stderr
    assert len(ids(tmp_path / "r.jsonl")) == 5


def test_a_closed_pipe(tmp_path):
    process = subprocess.Popen(
        command("sweep", "--no-plot", *SMALL, "-o", "r.jsonl"), cwd=tmp_path,
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 141
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert len(ids(tmp_path / "r.jsonl")) == 12


def test_a_full_stdout(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("sweep", "--no-plot", *SMALL, "-o", "r.jsonl"), cwd=tmp_path,
            env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 74
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(ids(tmp_path / "r.jsonl")) == 12


def test_an_affinity_mask_is_the_limit(tmp_path):
    one = min(os.sched_getaffinity(0))
    done = subprocess.run(
        command("sweep", "--no-plot", "--handler", "ext4", "--writers", "0", "-o", "r.jsonl"),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {one}),
    )  # fmt: skip
    assert done.returncode == 0
    results = records.read(tmp_path / "r.jsonl")
    assert {t.spec.threads for t in results.trials} == {1}
    assert {t.cpus for t in results.trials} == {(one,)}
    assert results.header.host["usable"] == 1


def test_options_from_a_file_give_way_to_typed_ones(tmp_path):
    (tmp_path / "s.toml").write_text(
        '[sweep]\nhandler = "xfs"\nwriters = 0\nthreads = 1\nrepeats = 4\n'
    )
    sweep("--config", "s.toml", "--repeats", "2", "-o", "r.jsonl", cwd=tmp_path)
    trials = records.read(tmp_path / "r.jsonl").trials
    assert len(trials) == 4
    assert {t.spec.handler_label for t in trials} == {"xfs"}


def test_a_poor_environment(tmp_path):
    done = sweep(*SMALL, "-o", "r.jsonl", cwd=tmp_path, LANG="C", LC_ALL="C", HOME="/nonexistent",
                 TERM="dumb")  # fmt: skip
    assert "direct/retry" in done.stdout


def test_simulated_trials_are_the_same_bytes_however_many_run_side_by_side(tmp_path):
    one = min(os.sched_getaffinity(0))
    lines = []
    for name, cpus in (("a", os.sched_getaffinity(0)), ("b", {one})):
        subprocess.run(
            command("sweep", "--no-plot", *SMALL, "-o", f"{name}.jsonl"), cwd=tmp_path,
            env=environment(FAKE_SIMULATED="1"), check=True, capture_output=True,
            preexec_fn=lambda cpus=cpus: os.sched_setaffinity(0, cpus),
        )  # fmt: skip
        lines.append((tmp_path / f"{name}.jsonl").read_bytes().splitlines()[1:])
    assert lines[0] == lines[1]
    assert len(lines[0]) == 12
