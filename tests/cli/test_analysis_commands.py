"""plot, compare, fit and import as their user runs them."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from faultbench import cli
from faultbench.analysis.compare import JSON_KEYS
from faultbench.analysis.usl import JSON_KEYS as USL_KEYS
from faultbench.enums import Status
from tests.analysis.files import HOST, sweep_file, sweep_trials, trial, write


def run(*args, code=0):
    """Run a command in this process: starting pandas and scipy takes longer than most commands."""
    out, err = io.StringIO(), io.StringIO()
    argv = sys.argv
    sys.argv = ["faultbench", *map(str, args)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    finally:
        sys.argv = argv
    done = subprocess.CompletedProcess(args, status, out.getvalue(), err.getvalue())
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr + done.stdout
    if code and code != 3:
        assert done.stderr.strip()
        assert len(done.stderr.strip().splitlines()) <= 4 or "Usage" in done.stderr
    return done


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return sweep_file(tmp_path_factory.mktemp("r") / "a.jsonl")


def test_plot_writes_and_names_its_figures(results, tmp_path):
    done = run("plot", results, "-o", tmp_path / "fig")
    names = {line.rsplit("/", 1)[1] for line in done.stdout.split()}
    assert names == {
        f"fig-{n}.{e}"
        for n in ("scalability", "counters", "latency", "ledger")
        for e in ("png", "svg")
    }
    assert {p.name for p in tmp_path.iterdir()} == names


def test_a_process_of_its_own_says_the_same(results):
    done = subprocess.run(
        [sys.executable, "-m", "faultbench", "compare", str(results), "--by", "handler"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_surface_is_one_command(results, tmp_path):
    done = run("plot", results, "--kind", "surface", "-o", tmp_path / "s")
    assert (tmp_path / "s-surface.png").exists()
    assert "s-surface.svg" in done.stdout


def test_compare_by_path_json_is_data_only(results):
    done = run("compare", results, "--by", "path", "--format", "json")
    whole = json.loads(done.stdout)
    assert len(whole["cases"]) == 12  # one worker: private and shared are the same case
    assert set(JSON_KEYS) <= set(whole["cases"][0])
    testable = [c for c in whole["cases"] if not c["oversubscribed"]]
    assert {c["verdict"] for c in testable} == {"faster"}
    assert all(c["n_a"] == c["n_b"] == 6 for c in whole["cases"])


def test_compare_table_and_notes(results):
    done = run("compare", results, "--by", "path")
    assert "never released" in done.stdout
    assert "faster" in done.stdout
    assert "not testable" in done.stdout


@pytest.mark.parametrize("form", ["markdown", "mmtests"])
def test_compare_other_formats(results, form):
    out = run("compare", results, "--by", "path", "--format", form).stdout
    assert {"markdown": "| case |", "mmtests": "Hmean"}[form] in out


def test_compare_two_files_and_gates(results, tmp_path):
    slow = write(
        tmp_path / "b.jsonl", (t for t in sweep_trials(seed=9, gain=1.0) if t.spec.path == "direct")
    )
    both = ("compare", results, slow, "--partial")
    whole = json.loads(run(*both, "--format", "json").stdout)
    assert len(whole["cases"]) == 12
    assert {c["case"]["path"] for c in whole["cases"]} == {"direct"}
    assert whole["files"] == [str(results), str(slow)]
    text = run(*both).stdout
    assert f"A = {results}, B = {slow};" in text
    broken = run(*both, "--fail-if", "faults_per_s < -5%", code=3)
    assert "is broken by" in broken.stderr
    passed = run(*both, "--fail-if", "faults_per_s > 5%")
    assert passed.stderr.count("only A has it") == 12
    assert "cannot judge" in run(*both, "--fail-if", "faults_per_s > 5% for path=direct").stderr
    run(*both, "--fail-if", "faults_per_s > 5% for handler=zfs", code=65)
    run(*both, "--fail-if", "nonsense", code=2)
    run(*both, "--fail-if", "ratio > 5 for nonsense=1", code=2)


def test_a_case_missing_on_one_side_is_an_error_that_loses_nothing(results, tmp_path):
    some = write(tmp_path / "b.jsonl", (t for t in sweep_trials() if t.spec.handler == "ext4"))
    done = run("compare", results, some, "--format", "json", code=65)
    assert len(json.loads(done.stdout)["cases"]) == 12
    assert "12 case(s) missing on one side" in done.stderr
    assert "device-dax" in done.stderr
    assert "--partial" in done.stderr
    lacking = write(
        tmp_path / "c.jsonl",
        (t for t in sweep_trials() if (t.spec.handler, t.spec.path) != ("ext4", "direct")),
    )
    by = run("compare", lacking, "--by", "path", code=65)
    assert "faster" in by.stdout
    assert "in retry, not in direct" in by.stderr
    assert not run("compare", lacking, "--by", "path", "--partial").stderr


@pytest.mark.parametrize("rule", ["faults_per_s < -5%", "verdict = slower"])
def test_a_gate_that_can_judge_nothing_does_not_pass(results, tmp_path, rule):
    few = sweep_file(tmp_path / "few.jsonl", repeats=3)
    done = run("compare", few, few, "--fail-if", rule, "--format", "json", code=65)
    assert json.loads(done.stdout)["cases"]
    assert "could judge no case (24 not testable): nothing was tested" in done.stderr
    crowded = f"{rule} for threads=2,writers=1"  # more threads than CPUs
    done = run("compare", results, "--by", "path", "--fail-if", crowded, code=65)
    assert "could judge no case (4 not testable)" in done.stderr


def test_a_single_trial_a_case_is_an_error_that_loses_nothing(tmp_path):
    one = sweep_file(tmp_path / "one.jsonl", repeats=1)
    for args in ((one, one), (one, "--by", "path")):
        done = run("compare", *args, "--format", "json", code=65)
        assert json.loads(done.stdout)["cases"]
        assert "single trial" in done.stderr
    run("compare", sweep_file(tmp_path / "two.jsonl", repeats=2), "--by", "path")


def test_case_key_never_comes_from_the_file_name(results, tmp_path):
    other = tmp_path / "direct-v6.12-ext4.jsonl"
    other.write_bytes(results.read_bytes())
    one = json.loads(run("compare", results, other, "--format", "json").stdout)
    assert "v6.12" not in json.dumps(one["cases"])
    assert len(one["cases"]) == 24
    assert all(c["delta_median_pct"] == 0 for c in one["cases"])


def test_unlike_hosts_are_refused_unless_forced(results, tmp_path):
    other = sweep_file(tmp_path / "o.jsonl", host=HOST | {"cpu_model": "Other"})
    done = run("compare", results, other, code=65)
    assert "unlike hosts" in done.stderr
    assert "--force" in done.stderr
    assert "unlike hosts" in run("compare", results, other, "--force").stderr


@pytest.mark.parametrize("host", [{}, {"load1": 0.3, "cpu_model": None}])
def test_a_missing_host_compares_with_a_warning(results, tmp_path, host):
    other = sweep_file(tmp_path / "o.jsonl", host=host)
    assert "names no host" in run("compare", results, other).stderr


def test_wrong_use(results, tmp_path):
    run("compare", results, code=2)
    run("compare", results, results, "--by", "path", code=2)
    run("compare", results, results, results, code=2)
    run("compare", results, "--by", "kernel", code=65)
    run("compare", results, "--by", "path", "--pair", "retry", code=2)
    run("compare", results, "--by", "path", "--pair", "abort,direct", code=65)
    run("compare", tmp_path / "none.jsonl", results, code=65)
    run("plot", results, "-o", tmp_path / "no" / "x", code=74)
    run("plot", tmp_path / "none.jsonl", code=65)
    run("plot", __file__, code=65)


def test_fit_published_case_from_csv(tmp_path):
    path = tmp_path / "spec.csv"
    path.write_text(
        "n,throughput\n1,64.9\n18,995.9\n36,1652.4\n72,1853.2\n108,1828.9\n144,1775\n216,1702.2\n"
    )
    got = json.loads(run("fit", path, "--format", "json").stdout)
    assert set(USL_KEYS) <= set(got)
    assert got["peak_n"] == pytest.approx(96.51956, abs=1e-5)
    text = run("fit", path, "-o", tmp_path / "f").stdout
    alpha = next(line for line in text.splitlines() if line.split()[:1] == ["alpha"])
    # the published digits; solvers differ in the eighth, and so do CPUs
    assert float(alpha.split()[1]) == pytest.approx(0.0277285, abs=5.1e-8)
    assert (tmp_path / "f-usl.png").exists()


def test_fit_reads_a_pipe_and_a_spreadsheets_csv_to_the_last_point(tmp_path):
    """Of a pipe the look at its first byte took 8 KiB; a mark before it made the point a header."""
    points = "1,64.9\n18,995.9\n36,1652.4\n72,1853.2\n108,1828.9\n144,1775\n216,1702.2\n"
    marked = tmp_path / "bom.csv"
    marked.write_text(points, encoding="utf-8-sig")
    out, into = os.pipe()
    os.write(into, points.encode())
    os.close(into)
    for path in (marked, f"/dev/fd/{out}"):
        got = json.loads(run("fit", path, "--format", "json").stdout)
        assert got["n"] == [1, 18, 36, 72, 108, 144, 216]
    os.close(out)


def test_fit_says_that_it_drew_nothing(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("1,100\n2,150\n")
    assert "no curve was fitted" in run("fit", path, "-o", tmp_path / "f").stderr
    assert not (tmp_path / "f-usl.png").exists()


@pytest.mark.parametrize("command", ["report", "plot", "fit", "export"])
@pytest.mark.parametrize("place", [".", "/", ""])
def test_a_folder_is_no_results_file(command, place):
    """It has no name to put .html to: a traceback."""
    run(command, place, code=65)


def test_fit_of_a_results_file_has_a_curve_a_case(tmp_path):
    path = sweep_file(
        tmp_path / "w.jsonl", threads=(1, 2, 4, 8, 16, 32), cpus=99, writers=(0,), repeats=2
    )
    got = json.loads(run("fit", path, "--format", "json").stdout)
    assert len(got["curves"]) == 8  # handlers x vmas x paths, the single worker in both sharings
    assert {len(c["n"]) for c in got["curves"]} == {6}
    assert {c["case"]["vmas"] for c in got["curves"]} == {"private", "shared"}


def test_fit_by_cpu_time_is_of_what_all_workers_do(tmp_path):
    """Workers that do not hinder each other at all had alpha 1: all of it serialised."""
    rng = np.random.default_rng(1)
    path = write(
        tmp_path / "w.jsonl",
        [trial(1e6 * n, rng, threads=n, vmas=n, files=1, repeat=r)
         for n in (1, 2, 4, 8, 16, 32) for r in range(2)],
    )  # fmt: skip
    wall = json.loads(run("fit", path, "--format", "json").stdout)
    cpu = json.loads(run("fit", path, "--format", "json", "--metric", "faults_per_cpu_s").stdout)
    assert wall["alpha"] == pytest.approx(0, abs=1e-6)
    assert cpu["alpha"] == pytest.approx(0, abs=1e-6)


def test_fit_says_what_was_never_released_and_what_is_simulated(tmp_path):
    path = sweep_file(
        tmp_path / "w.jsonl", threads=(1, 2, 4, 8), cpus=99, writers=(0,), repeats=2,
        machine="virtual:generic",
    )  # fmt: skip
    done = run("fit", path, "-o", tmp_path / "f")
    assert "never released" in done.stdout
    assert "SIMULATED · retry · ext4 · vmas shared" in done.stdout
    assert "must not claim" in done.stdout
    assert "never released" in (tmp_path / "f-usl.svg").read_text()


def test_a_curve_with_a_starved_point_is_told_and_the_others_are_fitted(tmp_path):
    """One case without a fault took the fits of all others with it, and was not named."""
    trials = list(sweep_trials(threads=(1, 2, 4, 8, 16, 32), cpus=99, writers=(0,), repeats=2))
    for one in trials:
        spec = one.spec
        if (spec.path, spec.handler, spec.threads, spec.vmas) == ("retry", "ext4", 8, 1):
            one.worker["faults"] = [0] * 8
    path = write(tmp_path / "w.jsonl", trials)
    done = run("fit", path, "--format", "json", "-o", tmp_path / "f", code=65)
    assert "retry · ext4 · vmas shared" in done.stderr.splitlines()[-1]
    curves = json.loads(done.stdout)["curves"]
    assert [c["warnings"] for c in curves if c["alpha"] is None] == [
        ["not fitted: a number of workers has a median of 0: no fault completed there"]
    ]
    assert sum(c["alpha"] is not None for c in curves) == 7


@pytest.mark.parametrize(
    "text",
    ["", "n,throughput\n", "throughput,n\n10,1\n", "n,throughput\n1,0\n2,1\n3,1\n", "1,2,3\n",
     "n,throughput\n1,nan\n", "n,throughput\n1,x\n", "\x00\x01", "n;throughput\n1;2\n",
     "1,64.9 M\n18,995.9\n36,1652.4\n",
     "64.9,1\n995.9,18\n1652.4,36\n1853.2,72\n", "1,1e300\n2,1.9e300\n4,3e300\n8,5e300\n"],
)  # fmt: skip
def test_fit_refuses_what_is_no_curve(tmp_path, text):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    run("fit", path, code=65)


def test_fit_of_a_pipe_has_every_point(tmp_path):
    """It was opened twice: what the first look had read was gone, without a word."""
    text = "".join(f"{n},{10 * n}\n" for n in range(1, 2000))
    file = tmp_path / "points.csv"
    file.write_text(text)
    reader, writer = os.pipe()
    with open(writer, "w") as stream:  # noqa: PTH123 - fewer bytes than a pipe holds
        stream.write(text)
    try:
        piped = json.loads(run("fit", f"/dev/fd/{reader}", "--format", "json").stdout)
    finally:
        os.close(reader)
    assert piped == json.loads(run("fit", file, "--format", "json").stdout)
    assert len(piped["n"]) == 1999


def test_fit_takes_a_byte_order_mark_for_no_header(tmp_path):
    file = tmp_path / "points.csv"
    file.write_text("1,10\n2,19\n4,35\n", encoding="utf-8-sig")
    assert json.loads(run("fit", file, "--format", "json").stdout)["n"] == [1, 2, 4]


def test_fit_reads_no_more_than_a_file_may_have(monkeypatch):
    monkeypatch.setattr("faultbench.cli._results.MAX_FOREIGN", 1 << 16)
    assert "larger than" in run("fit", "/dev/zero", code=65).stderr


def test_import_reads_a_byte_order_mark_and_refuses_records_of_ours(tmp_path):
    raw, out = tmp_path / "raw.txt", tmp_path / "out.jsonl"
    raw.write_text("testcase:page_fault1\naverage:1000\n", encoding="utf-8-sig")
    wis = ("import", "--format", "will-it-scale", "--threads", "1", "-o", out)
    run(*wis, raw)
    assert "page_fault1" in out.read_text()
    said = run("import", "--format", "pft", "-o", tmp_path / "again.jsonl", out, code=65).stderr
    assert "nothing to import" in said
    assert not (tmp_path / "again.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "refused"),
    [("64,1\n995,18\n1652,36\n1853,72\n1829,108\n", True), ("64,1\n995,18\n995,36\n", True),
     ("1,64\n18,995\n36,1652\n72,1853\n108,1829\n", False), ("64,100\n32,200\n", True),
     ("1,10\n1,11\n2,19\n2,20\n4,30\n", False), ("4,31\n1,10\n2,19\n", False),
     ("64,1.5\n32,2.5\n", False)],
)  # fmt: skip
def test_columns_the_wrong_way_round_are_refused(tmp_path, text, refused):
    """Whole throughputs pass for workers: what was fitted was the inverse, with a warning."""
    path = tmp_path / "points.csv"
    path.write_text(text)
    done = run("fit", path, code=65 if refused else 0)
    assert ("n must come first" in done.stderr) == refused
    assert len(done.stderr.splitlines()) == refused


@pytest.mark.parametrize(
    ("points", "code"),
    [([(1, 10)], 65), ([(1, 10), (1, 11)], 65), ([(1, 10), (2, 19)], 0)],
)
def test_few_numbers_of_workers_are_not_identifiable_and_one_is_no_curve(tmp_path, points, code):
    path = tmp_path / "few.csv"
    path.write_text("".join(f"{n},{x}\n" for n, x in points))
    done = run("fit", path, "--format", "json", code=code)
    assert json.loads(done.stdout)["identifiable"] is False
    assert ("not identifiable" in done.stderr) == (code != 0)
    assert "not identifiable" in run("fit", path, "-o", tmp_path / "f", code=code).stdout
    results = sweep_file(tmp_path / "r.jsonl", writers=(0,))  # one and two workers
    done = run("fit", results, "--format", "json")
    assert len(json.loads(done.stdout)["curves"]) == 8
    path.write_text("1,10\n2,19\n4,30\n")
    assert json.loads(run("fit", path, "--format", "json").stdout)["identifiable"] is False


def test_import_then_compare_and_fit(tmp_path):
    wis = "tasks,processes,processes_idle,threads,threads_idle,linear\n0,0,100,0,100,0\n"
    rng = np.random.default_rng(0)
    files = []
    for i in range(6):
        rows = []
        for n in (1, 2, 4, 8, 16, 24):
            noisy = round(4e5 * n * (1 + 0.01 * rng.normal()))
            rows.append(f"{n},{noisy},1,{round(3e5 * n / (1 + 0.05 * (n - 1)))},1,{n}")
        files.append(tmp_path / f"page_fault1-{i}.csv")
        files[-1].write_text(wis + "\n".join(rows) + "\n")
    out = tmp_path / "wis.jsonl"
    run("import", *files, "--format", "will-it-scale", "--test", "page_fault1", "-o", out)
    both = json.loads(run("compare", out, out, "--format", "json").stdout)
    assert len(both["cases"]) == 12
    assert {c["n_a"] for c in both["cases"]} == {6}
    fits = json.loads(run("fit", out, "--format", "json").stdout)["curves"]
    threads = next(f for f in fits if f["case"]["mms"] == "shared")
    assert threads["alpha"] == pytest.approx(0.05, abs=0.001)
    processes = next(f for f in fits if f["case"]["mms"] == "private")
    assert processes["throughput"][0] == pytest.approx(4e5, rel=0.02)  # not the mean of both
    run("plot", out, "-o", tmp_path / "p")
    run("import", files[0], "--format", "pft", "-o", tmp_path / "n.jsonl", code=65)
    assert not (tmp_path / "n.jsonl").exists()
    kept = run("import", files[0], "--format", "will-it-scale", "-o", out, code=74)
    assert "exists" in kept.stderr
    assert "--resume" not in kept.stderr  # import has no such option


def test_nothing_from_a_file_reaches_the_terminal_raw(tmp_path):
    evil = "\x1b]0;owned\x07\x1b[2J"
    path = write(tmp_path / "e.jsonl", sweep_trials(kernel=f"v6{evil}"))
    for args, code in ((("compare", path, "--by", "path"), 0), (("fit", path), 0)):
        done = run(*args, code=code)
        assert "\x1b" not in done.stdout + done.stderr


def test_mixed_machines_stay_apart(tmp_path):
    mixed = [*sweep_trials(), *sweep_trials(machine="virtual:epyc", seed=4)]
    path = write(tmp_path / "m.jsonl", mixed)
    got = json.loads(run("compare", path, "--by", "path", "--format", "json").stdout)
    assert {c["case"]["machine"] for c in got["cases"]} == {"threads", "virtual:epyc"}
    floors = [c["noise_floor_pct"] for c in got["cases"] if c["case"]["machine"] != "threads"]
    assert min(floors) >= 10


def test_the_sweeps_own_table_and_compare_say_the_same(tmp_path):
    """The table is made machine by machine, `compare` of the whole file: nothing may differ."""
    from faultbench import table
    from faultbench.analysis import compare
    from faultbench.analysis.frame import without_meaning
    from faultbench.cli.ratios import Ratios

    both = [*sweep_trials(noise=0.05), *sweep_trials(machine="virtual:epyc", noise=1e-5, cpus=99)]
    df = without_meaning(table.frame(both))  # as `summary` has it
    whole = compare.by_column(df, "path").table
    for machine, part in df.groupby("machine"):
        mine = whole[whole["machine"] == machine]
        own = Ratios(part, "faults_per_s")
        low, high = (f"{f(mine['noise_floor_pct']):.1f}" for f in (min, max))
        assert own.floors == (f"{low} %" if low == high else f"{low} to {high} %")
        for row in part[part["path"] == "direct"].to_dict("records"):
            found = own.of(row)
            key = [str(row[k]) for k in own._keys]
            case = mine[(mine[own._keys].astype(str) == key).all(axis=1)]
            assert case["verdict"].tolist() == [found.verdict]
            assert case["ratio"].tolist() == [found.ratio]


def test_csv_reads_back(results):
    """What `compare` sees is what `export` shows: the table's first columns are the contract."""
    from faultbench import records, table

    text = io.StringIO()
    table.to_csv(records.read(results).trials, text.write)
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert len(rows) == 144


def test_a_page_says_that_panels_were_left_out(results, tmp_path, monkeypatch):
    from faultbench.cli import report

    target = tmp_path / "page.html"
    run("report", results, "-o", target)
    assert "of 2 panels" not in target.read_text()
    monkeypatch.setattr(report, "MOST_PANELS", 1)
    run("report", results, "-o", target)
    assert "The figures show 1 of " in target.read_text()


@pytest.mark.parametrize("command", ["export", "fit", "compare"])
@pytest.mark.parametrize("bad", ["sums", "buckets"])
def test_figures_that_no_sweep_wrote_are_refused_in_words(tmp_path, command, bad):
    """Whole lines with a right checksum, and sums beyond 64 bits or buckets that are no numbers."""
    trials = list(sweep_trials(handlers=("ext4",), vmas=("private",), writers=(0,), repeats=1))
    for one in trials:
        one.worker["faults"] = [2**62 if bad == "sums" else 9] * one.spec.threads
        one.latency["direct"] = {"7": 1} if bad == "sums" else {"x": 1}
    path = write(tmp_path / "w.jsonl", trials)
    if command == "export" and bad == "sums":
        run("export", path)  # text has room for them
    else:
        run(command, path, *(["--by", "path"] if command == "compare" else []), code=65)


def test_a_panel_of_failed_trials_is_not_said_to_be_left_out(tmp_path, monkeypatch):
    """No table has it either, and `plot` does not draw it."""
    from faultbench.cli import report

    trials = list(sweep_trials(vmas=("private",), writers=(0,), threads=(1,)))
    for number, one in enumerate(trials):
        if one.spec.handler == "ext4":
            trials[number] = replace(one, status=Status.TIMEOUT)
    path = write(tmp_path / "w.jsonl", trials)
    monkeypatch.setattr(report, "MOST_PANELS", 1)
    run("report", path, "-o", tmp_path / "page.html")
    assert "The figures show" not in (tmp_path / "page.html").read_text()


def test_kernels_without_a_laboratory_say_so_in_every_format(tmp_path):
    path = sweep_file(
        tmp_path / "w.jsonl", kernel="v6.16", threads=(1, 2, 4), cpus=99, writers=(0,)
    )
    said = "v6.16: not confirmed by a kernel"
    fits = json.loads(run("fit", path, "--format", "json").stdout)["curves"]
    assert all(said in curve["warnings"] for curve in fits)
    compared = json.loads(run("compare", path, "--by", "path", "--format", "json").stdout)
    assert any(said in line for line in compared["footnotes"])
    rows = list(csv.DictReader(run("export", path).stdout.splitlines()))
    assert all(said in row["remarks"] for row in rows)
    assert all(("never" in row["remarks"]) == (row["path"] == "retry") for row in rows)
