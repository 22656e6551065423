"""What one ``faultbench sweep`` does, from checked options to the last line of its output."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultbench import __version__, config, costs, host, records, values
from faultbench.cli import exit_code, progress, resume
from faultbench.cli._results import safe
from faultbench.cli.parts import Part, ids, parts_of
from faultbench.errors import FaultbenchError, OutputError, ResourceError, UsageError
from faultbench.model import Status, Trial
from faultbench.output import writable
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
    print(safe(text), file=sys.stderr, flush=True)


def run(given: Mapping[str, str], how: Run) -> None:
    """Run a sweep; the table goes to stdout, everything else to stderr."""
    for name, text in (("config", how.config), ("-o", how.output), ("trace", how.trace)):
        if text is not None:  # an unset variable of a shell must not start another sweep
            values.given(name, text)
    if how.output == "-":
        raise UsageError("-o -: results want a file, which a sweep can be resumed from; name one")
    if how.config is not None:
        given = {**config.read_config(how.config), **given}
    if how.resume and how.output is None:
        raise UsageError("--resume: name the file to go on with: -o FILE --resume")
    if how.retry_failed and not how.resume:
        raise UsageError("--retry-failed: goes with --resume")
    topology = read_topology()
    if how.resume:
        assert how.output is not None
        given = resume.options(how.output, given, topology)
    options = config.parse(given)
    parts = parts_of(options, topology)
    if how.lines and not any(part.machine.simulated for part in parts):
        raise UsageError("--lines: the lines are those of --machine virtual")
    if how.trace is not None:
        if not parts[0].machine.simulated:
            raise UsageError("--trace: the time line is that of --machine virtual")
        if Path(how.trace).exists():
            raise OutputError(f"--trace {how.trace}: exists; name another file")
        writable(how.trace, option="--trace")
    if how.dry_run:
        _dry_run(parts, topology, how)
    else:
        _measure(parts, options, topology, how)


def _dry_run(parts: list[Part], topology: Topology, how: Run) -> None:
    done: set[str] = set()
    if how.resume and how.output is not None:
        results = records.read(how.output)
        resume.check(results, {}, ids(parts))
        done = resume.finished(results, retry_failed=how.retry_failed)
    for part in parts:
        left = part.plan.without(done)
        for spec in left.specs:
            knobs = f" {spec.knobs}" if spec.knobs else ""
            line = (
                f"{spec.trial_id} {spec.machine} {spec.kernel} {spec.path or '-'}{knobs} "
                f"{spec.handler_label} {spec.order} {spec.access} workers={spec.threads} "
                f"vmas={spec.vmas_label} files={spec.files_label} mms={spec.mms_label} "
                f"writers={spec.writers} repeat={spec.repeat}"
            )
            print(safe(line))
        for note in left.notes:
            say(f"note: {note}")
        side = topology.usable if part.machine.simulated else 1
        seconds = left.seconds(part.machine, side)
        trials = progress.count(len(left.specs), "trial")
        say(f"{trials} on {part.machine.name}, about {progress.clock(seconds)}")


def _measure(parts: list[Part], options: config.Options, topology: Topology, how: Run) -> None:
    identity = {} if parts[0].machine.simulated else host.identity(topology)
    output = values.output(how.output or time.strftime("faultbench-%Y%m%d-%H%M%S.jsonl"))
    done: set[str] = set()
    trials: list[Trial] = []
    if how.resume:
        writer, results = records.Writer.resume(output)
        try:
            resume.check(results, identity, ids(parts))
        except BaseException:
            writer.close()
            raise
        for note in results.notes:
            say(f"note: {note}")
        done = resume.finished(results, retry_failed=how.retry_failed) & ids(parts)
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
        say(f"\ninterrupted: {progress.count(len(trials), 'finished trial')} kept")
        say(f"go on with: faultbench sweep -o {shlex.quote(output)} --resume")
        sys.exit(exit_code(error))
    except FaultbenchError as error:
        if not isinstance(error, OutputError) and trials:
            kept = f"{progress.count(len(trials), 'trial')} kept in {output}"
            raise type(error)(f"{error}\n{kept}") from None
        if not trials and not how.resume:
            Path(output).unlink(missing_ok=True)  # it holds nothing
        raise
    if how.trace is not None and not Path(how.trace).exists():
        say(f"no time line in {how.trace}: no trial was left to run, or the first one failed")
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
        f"{progress.count(len(specs), 'trial')} on {part.machine.name}, "
        f"about {progress.clock(seconds)}; results: {writer.path}"
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
    from faultbench.machines.virtual import LOG_MAX
    from faultbench.timeline import write

    assert how.trace is not None
    write(trial, log, how.trace)
    say(f"time line of {progress.describe(trial.spec)}: {how.trace}, for ui.perfetto.dev")
    if len(log) >= LOG_MAX:  # it is no more than what fits, and nothing in it tells
        say(
            f"it ends at {log[-1][0] / 1e6:,.0f} µs, full with {LOG_MAX:,} records, and the trial "
            "went on; take fewer --threads, --faults or a shorter --duration"
        )


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
            f"{len(bad)} of {progress.count(len(trials), 'trial')} did not end ok; the first: "
            f"{first.trial_id} "
            f"{first.status}: {values.show(first.message)}"
        )
        say(f"run them again: faultbench sweep -o {shlex.quote(output)} --resume --retry-failed")
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
        name = shlex.quote(str(output))
        say(f"where the faults went, latency, what it cost: faultbench plot {name}")
        say(f"one page to send: faultbench report {name}")
    except Exception as error:
        say(f"no plot: {type(error).__name__}: {error}; the results are whole in {output}")
