"""The sweep over real threads: issue 2, "Done when", with short windows."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from faultbench import records, table
from faultbench.model import Handler, Path, Status, Trial, TrialSpec
from tests import fake

pytest.importorskip("faultbench._threads", reason="the extension is not built")

PYTHON = [sys.executable, "-m", "faultbench"]
SHORT = ("--duration", "10ms", "--warmup", "2ms", "--no-plot")


def faultbench(*arguments, cwd, preexec_fn=None, check=True):
    return subprocess.run(
        [*PYTHON, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=check,
        env={**os.environ, **fake.child_environment(), "MPLBACKEND": "Agg"}, timeout=200,
        preexec_fn=preexec_fn,
    )  # fmt: skip


def trials(path):
    return table.frame(records.read(path).trials)


def test_the_issue_s_sweep(tmp_path):
    faultbench(
        "sweep", "--path", "retry,direct", "--threads", "1,2,4", "--handler", "ext4,device-dax",
        "--writers", "0", "--vmas", "private,shared", "--repeats", "2", *SHORT, "-o", "r.jsonl",
        cwd=tmp_path,
    )  # fmt: skip
    df = trials(tmp_path / "r.jsonl")
    assert len(df) == 2 * 2 * (1 + 2 + 2) * 2
    assert set(df["status"]) == {"ok"}
    # a busy host may keep a worker from its CPU for as long as such a window lasts
    assert (df.groupby("path")["faults"].sum() > 0).all()
    retry, direct = df[df["path"] == "retry"], df[df["path"] == "direct"]
    assert (retry["vma_lock_retry"] == retry["faults"]).all()
    assert (retry["mmap_lock_reads"] == retry["faults"]).all()
    assert (direct["vma_lock_success"] == direct["faults"]).all()
    assert (direct["mmap_lock_reads"] == 0).all()
    assert (direct["vma_lock_retry"] == 0).all()


@pytest.mark.parametrize("path", ["mmap-lock", "abort"])
def test_the_other_paths(tmp_path, path):
    faultbench("sweep", "--path", path, "--threads", "2", "--writers", "0", "--repeats", "1",
               *SHORT, "-o", "r.jsonl", cwd=tmp_path)  # fmt: skip
    df = trials(tmp_path / "r.jsonl")
    assert (df["mmap_lock_reads"] == df["faults"]).all()
    aborts = df["faults"] if path == "abort" else 0
    assert (df["vma_lock_abort"] == aborts).all()


def test_writers_and_every_kernel(tmp_path):
    kernels = "v6.3,v6.4,v6.5,next-202308,v6.6,v6.12,v6.13,v6.15,v6.16"
    faultbench("sweep", "--kernel", kernels, "--threads", "2", "--writers", "1", "--repeats", "1",
               "--vmas", "private", *SHORT, "-o", "r.jsonl", cwd=tmp_path)  # fmt: skip
    df = trials(tmp_path / "r.jsonl")
    assert set(df["kernel"]) == set(kernels.split(","))
    assert set(df["status"]) == {"ok"}
    assert df["writer_ops"].sum() > 0
    locked = df["vma_lock_success"] + df["vma_lock_abort"] + df["vma_lock_retry"]
    with_locks = df["path"] != "mmap-lock"
    assert (locked[with_locks] == (df["faults"] + df["no_vma"])[with_locks]).all()


def test_fixed_work_is_exact(tmp_path):
    faultbench("sweep", "--faults", "2000", "--threads", "2", "--writers", "0", "--repeats", "1",
               "--no-plot", "-o", "r.jsonl", cwd=tmp_path)  # fmt: skip
    df = trials(tmp_path / "r.jsonl")
    assert (df["faults"] == 4000).all()
    assert (df["worker_faults_min"] == 2000).all()


def test_a_trial_with_64_workers_stays_small(tmp_path):
    faultbench("sweep", "--threads", "64", "--oversubscribe", "--writers", "0", "--repeats", "1",
               "--handler", "ext4", "--path", "direct", "--vmas", "private", *SHORT,
               "-o", "r.jsonl", cwd=tmp_path)  # fmt: skip
    df = trials(tmp_path / "r.jsonl")
    assert list(df["status"]) == ["ok"]
    # Of all children so far; the parent of the sweep has pandas in it and is larger still.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 512 << 10


@pytest.mark.parametrize(("mib", "says"), [(400, "oom"), (150, "no table")])
def test_no_memory(tmp_path, mib, says):
    def little():
        resource.setrlimit(resource.RLIMIT_AS, (mib << 20, mib << 20))

    done = faultbench("sweep", "--threads", "4000", "--oversubscribe", "--writers", "0",
                      "--repeats", "1", "--handler", "ext4", "--path", "direct", "--vmas",
                      "private", *SHORT, "-o", "r.jsonl", cwd=tmp_path, preexec_fn=little,
                      check=False)  # fmt: skip
    assert done.returncode in (1, 71)
    assert "Traceback" not in done.stderr
    assert says in done.stderr
    assert [t.status for t in records.read(tmp_path / "r.jsonl").trials] == [Status.OOM]


def test_ctrl_c_in_the_measured_region(tmp_path):
    process = subprocess.Popen(
        [*PYTHON, "sweep", "--duration", "3s", "--repeats", "2", "--threads", "1", "--writers",
         "0", "-o", "r.jsonl"],
        cwd=tmp_path, env={**os.environ, **fake.child_environment()},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(1.5)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert records.read(tmp_path / "r.jsonl").header.faultbench
    for child in children:
        assert not os.path.exists(f"/proc/{child}")  # noqa: PTH110


def test_export_of_real_trials(tmp_path):
    faultbench("sweep", "--threads", "1,2", "--writers", "0", "--repeats", "1", "--handler",
               "device-dax", *SHORT, "-o", "r.jsonl", cwd=tmp_path)  # fmt: skip
    done = faultbench("export", "r.jsonl", "--format", "csv", cwd=tmp_path)
    header = done.stdout.splitlines()[0].split(",")
    assert tuple(header[: len(table.COLUMNS)]) == tuple(table.COLUMNS)
    faultbench("export", "r.jsonl", "--format", "csv", "-o", "r.csv", cwd=tmp_path)
    assert (tmp_path / "r.csv").read_text() == done.stdout
    faultbench("export", "r.jsonl", "--format", "will-it-scale", "-o", "w.csv", cwd=tmp_path)
    lines = (tmp_path / "w.csv").read_text().splitlines()
    assert lines[0] == "tasks,processes,processes_idle,threads,threads_idle,linear"
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2"]
    assert (tmp_path / "w.title").read_text().strip()


def test_info(tmp_path):
    done = faultbench("info", cwd=tmp_path)
    assert "workers are placed" in done.stdout
    raw = json.loads(faultbench("info", "--format", "json", cwd=tmp_path).stdout)
    assert raw["host"]["cpus"] == len(os.sched_getaffinity(0))
    assert "threads" in raw["engines"]
    assert Status.OK.value == "ok"


def test_the_default_sweep_ends_with_a_simulated_panel_on_a_small_machine(monkeypatch):
    pytest.importorskip("faultbench._virtual", reason="the extension is not built")
    from faultbench import config
    from faultbench.cli import parts
    from faultbench.topology import Cpu, Topology

    def machines(cpus, **given):
        topology = Topology(tuple(Cpu(0, 0, n, n) for n in range(cpus)))
        return [part.machine.name for part in parts.parts_of(config.parse(given), topology)]

    assert machines(2) == ["threads", "virtual:generic"]
    assert machines(64) == ["threads"]
    assert machines(2, writers="0") == ["threads"]


def test_simulated_trials_have_lines_and_a_time_line(tmp_path):
    pytest.importorskip("faultbench._virtual", reason="the extension is not built")
    done = faultbench("sweep", "--machine", "virtual", "--threads", "2", "--writers", "0", "--vmas",
                      "shared", "--handler", "device-dax", "--faults", "5", "--repeats", "1",
                      "--no-plot", "--lines", "--trace", "t.json", "-o", "v.jsonl",
                      cwd=tmp_path)  # fmt: skip
    assert "mmap_lock.count" in done.stdout
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert done.stderr.count("time line of") == 1
    (trial, *_) = records.read(tmp_path / "v.jsonl").trials
    assert "log" not in trial.extra
    assert trial.host == {}
    late = faultbench("sweep", "-o", "v.jsonl", "--resume", "--trace", "late.json", "--no-plot",
                      cwd=tmp_path)  # fmt: skip
    assert "no time line in late.json" in late.stderr  # all was done: nothing could be traced
    for bad in (["--trace", "t.json"], ["--trace", "u.json", "--machine", "threads"]):
        again = faultbench("sweep", "--machine", "virtual", *bad, cwd=tmp_path, check=False)
        assert again.returncode in (2, 74)
        assert len(again.stderr.splitlines()) == 1


def test_only_the_traced_trial_carries_a_time_line(tmp_path, monkeypatch):
    """A time line is tens of MB; asking every trial for one made seconds an hour."""
    from faultbench.cli import session

    asked = []
    real = session.Runner

    class Noting(real):
        def run(self, specs, append, started=None):
            asked.append((bool(self._options.get("trace")), len(specs)))
            return super().run(specs, append, started)

    monkeypatch.setattr(session, "Runner", Noting)
    monkeypatch.chdir(tmp_path)
    given = {"machine": "virtual", "threads": "1,2", "writers": "0", "vmas": "shared",
             "handler": "nop", "faults": "5", "warmup": "1", "repeats": "1"}  # fmt: skip
    session.run(given, session.Run(output="v.jsonl", plot=False, trace="t.json"))
    assert asked == [(True, 1), (False, 3)]


def test_a_time_line_that_is_full_says_where_it_ends(monkeypatch, capsys):
    from faultbench.cli import session
    from faultbench.machines import virtual

    monkeypatch.setattr(virtual, "LOG_MAX", 2)
    monkeypatch.setattr("faultbench.timeline.write", lambda *_: None)
    spec = TrialSpec("virtual", "v6.6", Path.RETRY, None, Handler.NOP)
    log = [[1_000_000, 0, "step", 0, "", 0], [9_000_000, 0, "step", 1, "", 0]]
    session._trace(Trial(spec, Status.OK), log, session.Run(trace="t.json"))
    assert "it ends at 9 µs, full with 2 records" in capsys.readouterr().err
    session._trace(Trial(spec, Status.OK), log[:1], session.Run(trace="t.json"))
    assert "ends at" not in capsys.readouterr().err
