"""What one ``faultbench sweep`` does, from checked options to the last line of its output."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultbench import __version__, config, costs, host, plan, records, values
from faultbench.cli import exit_code, progress
from faultbench.errors import FaultbenchError, OutputError, ResourceError, UsageError
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


# What the default sweep adds on a machine with few CPUs: scaling, simulated.
SMALL_CPUS = 8
PANEL = {
    "machine": "virtual",
    "threads": "1,2,4,8,16,32,64",
    "vmas": "private",
    "writers": "0",
    "faults": "100",
    "warmup": "20",  # once through the slice
}


@dataclass(frozen=True)
class Part:
    """The trials of a sweep that run on one machine."""

    spelled: str  # the machine as the user named it
    machine: Machine
    cost: costs.CostProfile
    plan: plan.Plan


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
    topology = read_topology()
    parts = parts_of(options, topology)
    if how.trace is not None:
        if not parts[0].machine.simulated:
            raise UsageError("--trace: the time line is that of --machine virtual")
        if Path(how.trace).exists():
            raise OutputError(f"--trace {how.trace}: exists; name another file")
    if how.dry_run:
        _dry_run(parts, topology, how)
    else:
        _measure(parts, options, topology, how)


def parts_of(options: config.Options, topology: Topology) -> list[Part]:
    """Return what a sweep runs, one machine after the other.

    The default sweep on a small machine ends with what a larger one would show, simulated.
    """
    wanted = [options]
    simulator = importlib.util.find_spec("faultbench._virtual")
    if options.is_default and topology.usable <= SMALL_CPUS and simulator is not None:
        wanted.append(config.parse(PANEL))
    parts = []
    for each in wanted:
        machine, cost = get_machine(each.machine), costs.load(each.cost)
        made = plan.build(each, machine, topology, cost)
        parts.append(Part(each.machine, machine, cost, made))
    return parts


def _stored(path: str) -> dict[str, str]:
    options = records.read(path).header.plan.get("options", {})
    if not isinstance(options, dict) or not all(isinstance(v, str) for v in options.values()):
        raise UsageError(f"{path}: holds no options; give those of its sweep")
    return options


def _dry_run(parts: list[Part], topology: Topology, how: Run) -> None:
    done: set[str] = set()
    if how.resume and how.output is not None:
        done = _finished(records.read(how.output), how)
    for part in parts:
        left = part.plan.without(done)
        for spec in left.specs:
            knobs = f" {spec.knobs}" if spec.knobs else ""
            print(
                f"{spec.trial_id} {spec.machine} {spec.kernel} {spec.path or '-'}{knobs} "
                f"{spec.handler_label} {spec.order} {spec.access} workers={spec.threads} "
                f"vmas={spec.vmas_label} files={spec.files_label} mms={spec.mms_label} "
                f"writers={spec.writers} repeat={spec.repeat}"
            )
        for note in left.notes:
            say(f"note: {note}")
        side = topology.usable if part.machine.simulated else 1
        seconds = left.seconds(part.machine, side)
        say(f"{len(left.specs)} trials on {part.machine.name}, about {progress.clock(seconds)}")


def _finished(results: records.Results, how: Run) -> set[str]:
    return {
        trial.trial_id
        for trial in results.trials
        if trial.status is Status.OK or not how.retry_failed
    }


def _measure(parts: list[Part], options: config.Options, topology: Topology, how: Run) -> None:
    identity = {} if parts[0].machine.simulated else host.identity(topology)
    output = values.output(how.output or time.strftime("faultbench-%Y%m%d-%H%M%S.jsonl"))
    done: set[str] = set()
    trials: list[Trial] = []
    if how.resume:
        writer, results = records.Writer.resume(output)
        try:
            _check_same(results, identity)
        except BaseException:
            writer.close()
            raise
        for note in results.notes:
            say(f"note: {note}")
        planned = {spec.trial_id for part in parts for spec in part.plan.specs}
        done = _finished(results, how) & planned
        trials = [trial for trial in results.trials if trial.trial_id in done]
    else:
        writer = records.Writer.create(output, _header(parts, options, identity))
    try:
        with writer:
            for note in dict.fromkeys(note for part in parts for note in part.plan.notes):
                say(f"note: {note}")
            for part in parts:
                _run_part(part, done, topology, how, (writer, trials))
    except KeyboardInterrupt as error:
        say(f"\ninterrupted: {len(trials)} finished trials are kept")
        say(f"go on with: faultbench sweep -o {output} --resume")
        sys.exit(exit_code(error))
    except FaultbenchError as error:
        if not isinstance(error, OutputError) and trials:
            raise type(error)(f"{error}\n{len(trials)} trials are kept in {output}") from None
        raise
    _show(trials, parts[0].cost, output, how, topology)


def _header(parts: list[Part], options: config.Options, identity: dict[str, Any]) -> records.Header:
    count = sum(len(part.plan.specs) for part in parts)
    return records.Header(
        faultbench=__version__,
        plan={"options": dict(options.raw), "trials": count},
        host=identity,
        costs={p.cost.digest: {"name": p.cost.name, "steps": p.cost.steps} for p in parts},
    )


def _run_part(
    part: Part,
    done: set[str],
    topology: Topology,
    how: Run,
    kept: tuple[records.Writer, list[Trial]],
) -> None:
    writer, trials = kept
    specs = part.plan.without(done).specs
    runner = Runner(part.machine, part.spelled, topology, part.cost)
    seconds = part.plan.without(done).seconds(part.machine, runner.side_by_side)
    say(
        f"{len(specs)} trials on {part.machine.name}, about {progress.clock(seconds)}; "
        f"results: {writer.path}"
    )
    with progress.display(specs, part.machine) as shown:

        def append(trial: Trial) -> None:
            log = trial.extra.pop("log", None)
            writer.append(trial)
            trials.append(trial)
            shown.finished(trial)
            if log is not None and how.trace is not None:
                _trace(trial, log, how)

        traced = 0
        if how.trace is not None and not Path(how.trace).exists():
            # A time line is tens of MB: of one trial, not of all.
            traced = 1
            logging = {"trace": True}
            Runner(part.machine, part.spelled, topology, part.cost, options=logging).run(
                specs[:traced], append
            )
        runner.run(specs[traced:], append)


def _trace(trial: Trial, log: list[Any], how: Run) -> None:
    """Write the time line of a trial; it is no part of the record."""
    from faultbench.timeline import write

    assert how.trace is not None
    write(trial, log, how.trace)
    say(f"time line of {progress.describe(trial.spec)}: {how.trace}, for ui.perfetto.dev")


def _check_same(results: records.Results, identity: dict[str, Any]) -> None:
    before = results.header.host
    if not identity or not before:
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
    from faultbench.cli import lines, summary

    try:
        summary.show(trials, cost)
    except (ImportError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else "no memory"
        raise ResourceError(f"no table: {reason}; the results are whole in {output}") from None
    if how.lines:
        lines.show(trials)
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
    """Draw the scalability plot; a sweep does not fail because of its picture.

    The other figures take longer than a hundred trials may: `faultbench plot` draws them.
    """
    try:
        from faultbench import table
        from faultbench.analysis.frame import checked
        from faultbench.cli._results import context_of_trials
        from faultbench.plots import scalability

        kept, _ = checked(table.frame(trials))
        context = context_of_trials(kept, len(topology.cpus))
        made = scalability.draw(kept, output.with_suffix(""), context)
        say("plot: " + " ".join(str(path) for path in made if path.suffix == ".png"))
        say(f"where the faults went, latency, what it cost: faultbench plot {output}")
        say(f"one page to send: faultbench report {output}")
    except Exception as error:
        say(f"no plot: {type(error).__name__}: {error}; the results are whole in {output}")
