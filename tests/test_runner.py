"""The runner over a child that misbehaves in every way a child can."""

import os
import signal
import threading
import time
from pathlib import Path as FilePath

import pytest

from faultbench import costs
from faultbench.errors import ResourceError
from faultbench.executor import ChildExecutor
from faultbench.model import Handler, Path, Status, TrialSpec
from faultbench.rules import resolve
from faultbench.runner import Runner
from faultbench.topology import Cpu, Topology
from tests import fake

TWO = Topology((Cpu(0, 0, 0, 0), Cpu(0, 0, 1, 1)))


def specs(count):
    return [
        TrialSpec(
            "threads", "v6.6", Path.DIRECT, resolve(None, Path.DIRECT), Handler.EXT4,
            duration_ns=10**8, seed=n, repeat=n,
        )
        for n in range(count)
    ]  # fmt: skip


class Simulated(fake.FakeMachine):
    simulated = True


def run(count, machine=None, spawned=None, side_by_side=None, **env):
    """Run `count` trials in children whose environment has `env`."""

    def executor():
        child = ChildExecutor(fake.child_command(), {**fake.child_environment(), **env})
        if spawned is not None:
            spawned.append(child)
        return child

    trials = []
    runner = Runner(
        machine or fake.FakeMachine(), "threads", TWO, costs.load("none"),
        executor=executor, side_by_side=side_by_side,
    )  # fmt: skip
    runner.run(specs(count), trials.append)
    return trials


@pytest.fixture(autouse=True)
def no_children_left():
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_one_child_runs_all_trials_in_order():
    spawned = []
    trials = run(20, spawned=spawned)
    assert [t.spec.repeat for t in trials] == list(range(20))
    assert {t.status for t in trials} == {Status.OK}
    assert len(spawned) == 1
    assert trials[0].cpus == (0,)
    assert trials[0].total("vma_lock_success") == trials[0].total("faults") > 0


@pytest.mark.parametrize(
    ("how", "status", "says"),
    [
        ("crash", Status.CRASHED, "SIGSEGV"),
        ("exit", Status.CRASHED, "exit code 3: on my way out"),
        ("exception", Status.CRASHED, "ValueError: the engine is confused"),
        ("oom", Status.OOM, "no memory"),
        ("kill", Status.KILLED, "SIGKILL"),
    ],
)
def test_a_bad_trial_is_recorded_and_the_sweep_goes_on(tmp_path, how, status, says):
    once = tmp_path / "once"
    trials = run(5, FAKE=f"{how}@2", FAKE_ONCE=str(once))
    assert [t.status for t in trials] == [Status.OK] * 2 + [status] + [Status.OK] * 2
    assert says in trials[2].message
    assert trials[2].worker == {}


def test_a_hang_is_ended_with_its_stacks(tmp_path, monkeypatch):
    monkeypatch.setattr("faultbench.runner.GRACE_S", 0.5)
    begin = time.monotonic()
    trials = run(3, FAKE="hang@1", FAKE_ONCE=str(tmp_path / "once"))
    assert [t.status for t in trials] == [Status.OK, Status.TIMEOUT, Status.OK]
    assert "misbehave" in trials[1].message
    assert time.monotonic() - begin < 20


def test_a_child_stopped_by_a_signal_is_ended_too(monkeypatch):
    monkeypatch.setattr("faultbench.runner.GRACE_S", 0.5)
    spawned = []

    def stop():
        while not (spawned and spawned[0].pid):
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(spawned[0].pid, signal.SIGSTOP)

    stopper = threading.Thread(target=stop)
    stopper.start()
    trials = run(2, spawned=spawned, FAKE_SLEEP="0.4")
    stopper.join()
    assert Status.TIMEOUT in {t.status for t in trials}


def test_no_threads_to_be_had_ends_the_sweep_and_says_so():
    with pytest.raises(ResourceError, match=r"cannot start 1 threads.*ulimit"):
        run(3, FAKE="resource@1")


def test_what_the_engine_prints_does_not_mix_with_answers():
    assert [t.status for t in run(3, FAKE="print")] == [Status.OK] * 3


def test_simulations_run_side_by_side_and_come_in_plan_order():
    spawned = []
    trials = run(12, machine=Simulated(), spawned=spawned, side_by_side=3, FAKE_SLEEP="0.02")
    assert [t.spec.repeat for t in trials] == list(range(12))
    assert 1 < len(spawned) <= 3
    assert all(t.host == {} and t.cpus == () for t in trials)


def test_an_interrupt_keeps_what_is_finished():
    trials = []
    runner = Runner(
        fake.FakeMachine(), "threads", TWO, costs.load("none"),
        executor=lambda: ChildExecutor(
            fake.child_command(), {**fake.child_environment(), "FAKE_SLEEP": "0.05"}
        ),
    )  # fmt: skip

    def append(trial):
        trials.append(trial)
        if len(trials) == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runner.run(specs(50), append)
    assert len(trials) == 3


def test_the_child_dies_with_its_parent(tmp_path):
    """Even when the parent is killed and cannot say good-bye."""
    note = tmp_path / "pid"
    parent = os.fork()
    if parent == 0:
        child = ChildExecutor(fake.child_command(), {**fake.child_environment(), "FAKE": "hang"})
        from faultbench.machines import Job

        # The command was made for another parent: the child must name this one.
        child._argv[-1] = str(os.getpid())
        child.start("threads", Job(specs(1)[0], (0,)), 100.0)
        time.sleep(0.7)
        note.write_text(str(child.pid))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    pid = int(note.read_text())
    deadline = time.monotonic() + 5
    while FilePath(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        state = FilePath(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.02)
    else:
        assert not FilePath(f"/proc/{pid}").exists()


def test_a_child_ignores_ctrl_c():
    spawned = []

    def interrupt():
        while not (spawned and spawned[0].pid):
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(spawned[0].pid, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    trials = run(2, spawned=spawned, FAKE_SLEEP="0.5")
    thread.join()
    assert {t.status for t in trials} == {Status.OK}
