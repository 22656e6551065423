"""What a loaded file holds of each trial beyond its row of the table."""

from dataclasses import replace

from faultbench.cli import _results
from faultbench.enums import Status
from tests.analysis.files import sweep_trials, write


def test_histograms_are_held_of_the_most_workers_only(tmp_path):
    swept = list(sweep_trials(handlers=("ext4",), threads=(2, 4, 1), writers=(0,), repeats=1))
    beyond = next(iter(sweep_trials(handlers=("ext4",), threads=(8,), writers=(0,), repeats=1)))
    failed = replace(beyond, status=Status.TIMEOUT)  # no figure shows it
    path = write(tmp_path / "r.jsonl", [failed, *swept])
    trials = _results.load(path).results.trials
    assert len(trials) == len(swept) + 1
    held = {t.trial_id for t in trials if t.latency}
    assert held >= {t.trial_id for t in swept if t.spec.threads == 4}
    assert not held & {t.trial_id for t in swept if t.spec.threads == 1}
    assert all(t.worker.keys() == {"faults", "window_ns"} for t in trials)


def test_a_comparison_holds_no_trial(tmp_path):
    path = write(tmp_path / "r.jsonl", sweep_trials(handlers=("nop",), repeats=1))
    loaded = _results.load(path, trials=False)
    assert not loaded.results.trials
    assert len(loaded.df)
