"""What one ``faultbench sweep`` does, from checked options to the last line of its output."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultbench import __version__, config, costs, host, plan, records, values
from faultbench.cli import progress
from faultbench.errors import FaultbenchError, OutputError, UsageError
from faultbench.machines import Machine, get_machine
from faultbench.model import Status, Trial
from faultbench.runner import Runner
from faultbench.topology import Topology, read_topology


@dataclass(frozen=True)
class Run:
    """What does not shape the plan: where results go and what is shown."""

    config: str | None = None
    output: str | None = None
    resume: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    plot: bool = True
    lines: bool = False
    trace: str | None = None


def say(text: str) -> None:
    """Tell the user something that is not data."""
    print(text, file=sys.stderr, flush=True)


def run(given: Mapping[str, str], how: Run) -> None:
    """Run a sweep; the table goes to stdout, everything else to stderr."""
    if how.config is not None:
        given = {**config.read_config(how.config), **given}
    if how.resume and how.output is None:
        raise UsageError("--resume: name the file to go on with: -o FILE --resume")
    if how.retry_failed and not how.resume:
        raise UsageError("--retry-failed: goes with --resume")
    if how.resume and not given and not how.config:
        assert how.output is not None
        given = _stored(how.output)
    options = config.parse(given)
    machine = get_machine(options.machine)
    topology = read_topology()
    cost = costs.load(options.cost)
    the_plan = plan.build(options, machine, topology, cost)
    if how.dry_run:
        _dry_run(the_plan, machine, topology, how)
        return
    _measure(options, machine, topology, cost, the_plan, how)


def _stored(path: str) -> dict[str, str]:
    options = records.read(path).header.plan.get("options", {})
    if not isinstance(options, dict) or not all(isinstance(v, str) for v in options.values()):
        raise UsageError(f"{path}: holds no options; give those of its sweep")
    return options


def _dry_run(the_plan: plan.Plan, machine: Machine, topology: Topology, how: Run) -> None:
    done: set[str] = set()
    if how.resume and how.output is not None:
        done = _finished(records.read(how.output), how)
    left = the_plan.without(done)
    for spec in left.specs:
        knobs = f" {spec.knobs}" if spec.knobs else ""
        print(
            f"{spec.trial_id} {spec.kernel} {spec.path or '-'}{knobs} {spec.handler_label} "
            f"{spec.order} {spec.access} workers={spec.threads} vmas={spec.vmas_label} "
            f"files={spec.files_label} mms={spec.mms_label} writers={spec.writers} "
            f"repeat={spec.repeat}"
        )
    for note in left.notes:
        say(f"note: {note}")
    side = topology.usable if machine.simulated else 1
    seconds = left.seconds(machine, side)
    say(f"{len(left.specs)} trials, about {progress.clock(seconds)}")


def _finished(results: records.Results, how: Run) -> set[str]:
    return {
        trial.trial_id
        for trial in results.trials
        if trial.status is Status.OK or not how.retry_failed
    }


def _measure(
    options: config.Options,
    machine: Machine,
    topology: Topology,
    cost: costs.CostProfile,
    the_plan: plan.Plan,
    how: Run,
) -> None:
    identity = host.identity(topology)
    header = records.Header(
        faultbench=__version__,
        plan={"options": dict(options.raw), "trials": len(the_plan.specs)},
        host={} if machine.simulated else identity,
        costs={cost.digest: {"name": cost.name, "steps": cost.steps}},
    )
    output = values.output(how.output or time.strftime("faultbench-%Y%m%d-%H%M%S.jsonl"))
    trials: list[Trial] = []
    if how.resume:
        writer, results = records.Writer.resume(output)
        with_writer = writer
        try:
            _check_same(results, identity, machine)
        except BaseException:
            writer.close()
            raise
        for note in results.notes:
            say(f"note: {note}")
        done = _finished(results, how)
        ids = {spec.trial_id for spec in the_plan.specs}
        trials = [t for t in results.trials if t.trial_id in done & ids]
        the_plan = the_plan.without(done)
    else:
        with_writer = records.Writer.create(output, header)
    for note in the_plan.notes:
        say(f"note: {note}")
    runner = Runner(
        machine, options.machine, topology, cost, options={"lines": how.lines, "trace": how.trace}
    )
    seconds = the_plan.seconds(machine, runner.side_by_side)
    say(
        f"{len(the_plan.specs)} trials on {machine.name}, about {progress.clock(seconds)}; "
        f"results: {output}"
    )
    interrupted = False
    with with_writer as writer, progress.display(the_plan.specs, machine) as shown:

        def append(trial: Trial) -> None:
            writer.append(trial)
            trials.append(trial)
            shown.finished(trial)

        try:
            runner.run(the_plan.specs, append)
        except KeyboardInterrupt:
            interrupted = True
        except FaultbenchError as error:
            if not isinstance(error, OutputError) and trials:
                raise type(error)(f"{error}\n{len(trials)} trials are kept in {output}") from None
            raise
    if interrupted:
        say(f"\ninterrupted: {len(trials)} finished trials are kept")
        say(f"go on with: faultbench sweep -o {output} --resume")
        sys.exit(130)
    _show(trials, cost, output, how, topology)


def _check_same(results: records.Results, identity: dict[str, Any], machine: Machine) -> None:
    before = results.header.host
    if machine.simulated or not before:
        return
    if differing := host.like(before, identity):
        key = differing[0]
        raise UsageError(
            f"{results.path}: measured on another host ({key} was {before.get(key)}, "
            f"here {identity.get(key)}); begin a new file with -o"
        )
    if results.header.faultbench != __version__:
        say(f"note: begun by faultbench {results.header.faultbench}, this is {__version__}")


def _show(
    trials: list[Trial], cost: costs.CostProfile, output: str, how: Run, topology: Topology
) -> None:
    from faultbench.cli import summary

    summary.show(trials, cost)
    if how.plot and any(trial.status is Status.OK for trial in trials):
        _plot(trials, Path(output), topology)
    bad = [trial for trial in trials if trial.status is not Status.OK]
    if bad:
        first = bad[0]
        say(
            f"{len(bad)} of {len(trials)} trials did not end ok; the first: {first.trial_id} "
            f"{first.status}: {values.show(first.message)}"
        )
        say(f"run them again: faultbench sweep -o {output} --resume --retry-failed")
        sys.exit(1)


def _plot(trials: list[Trial], output: Path, topology: Topology) -> None:
    """Draw the default plot; a sweep does not fail because of its picture."""
    try:
        from faultbench import plots, table
        from faultbench.cli._results import context_of_trials

        frame = table.frame(trials)
        context = context_of_trials(frame, len(topology.cpus))
        made = plots.sweep_figures(frame, output.with_suffix(""), trials=trials, context=context)
        say("plots: " + " ".join(str(path) for path in made if path.suffix == ".png"))
    except Exception as error:
        say(f"no plot: {type(error).__name__}: {error}; the results are whole in {output}")
