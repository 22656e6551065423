"""Drive a plan: hand trials to children, judge their answers, write each finished trial at once.

Trials of this host run one after the other. Virtual trials run side by side, one simulation a
process, and are written in the order of the plan, so that a file is the same however many CPUs the
host has. Ctrl-C (KeyboardInterrupt) ends the children at once; what is finished is written.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faultbench import errors
from faultbench.costs import CostProfile
from faultbench.disturbance import Watch
from faultbench.enums import Status
from faultbench.executor import ChildExecutor, Executor
from faultbench.machines import Job, Machine
from faultbench.model import Trial, TrialSpec
from faultbench.topology import Topology

GRACE_S = 5.0  # beyond the expected time, or half of it, before a trial counts as hung
SIMULATED_GRACE_S = 60.0
IDLE_S = 0.5  # longest sleep without looking at the watchdogs
_KNOWN = ("worker", "writer", "latency", "writer_wait")
_USER = {
    kind.__name__: kind
    for kind in (errors.UsageError, errors.ResourceError, errors.DataError, errors.OutputError)
}


class Runner:
    """Runs the trials of one plan on one machine."""

    def __init__(
        self,
        machine: Machine,
        spelled: str,
        topology: Topology,
        cost: CostProfile,
        *,
        options: Mapping[str, Any] | None = None,
        executor: Callable[[], Executor] | None = None,
        side_by_side: int | None = None,
    ) -> None:
        self._machine = machine
        self._spelled = spelled  # as given: the child looks it up again
        self._topology = topology
        self._cost = cost
        self._options = options or {}
        self._executor = executor or ChildExecutor
        wanted = side_by_side or (topology.usable if machine.simulated else 1)
        self.side_by_side = wanted if machine.simulated else 1

    def run(
        self,
        specs: Sequence[TrialSpec],
        append: Callable[[Trial], None],
        started: Callable[[TrialSpec], None] | None = None,
    ) -> None:
        """Run `specs`; every finished trial goes through `append`, in their order."""
        waiting = list(enumerate(specs))[::-1]
        idle: list[Executor] = []
        busy: dict[Executor, int] = {}
        done: dict[int, Trial] = {}
        watch = Watch(self._topology)
        written = 0
        try:
            while waiting or busy:
                while waiting and len(busy) < self.side_by_side:
                    child = idle.pop() if idle else self._executor()
                    number, spec = waiting.pop()
                    busy[child] = number
                    if started is not None:
                        started(spec)
                    child.start(self._spelled, self._job(spec), self._limit_s(spec))
                    watch.begin(child.pid)
                patience = min(IDLE_S, *(max(0.0, child.overdue_in()) for child in busy))
                select.select(list(busy), [], [], patience)
                for child in list(busy):
                    if (answer := child.poll()) is not None:
                        number = busy.pop(child)
                        idle.append(child)
                        done[number] = self._judge(specs[number], answer, watch, child.pid)
                while written in done:
                    append(done.pop(written))
                    written += 1
        except KeyboardInterrupt:
            for number in sorted(done):  # finished, but not yet their turn
                append(done[number])
            raise
        finally:
            for child in [*busy, *idle]:
                child.close()

    def _limit_s(self, spec: TrialSpec) -> float:
        """Return after how long a trial counts as hung."""
        expected = self._machine.expected_s(spec)
        if self._machine.simulated:  # how long contention takes to simulate is hard to foresee
            return SIMULATED_GRACE_S + 20 * expected
        return expected + max(GRACE_S, 0.5 * expected)

    def _job(self, spec: TrialSpec) -> Job:
        cpus = () if self._machine.simulated else self._topology.place(spec.pin, spec.tasks)
        return Job(spec, cpus, self._cost.steps, self._options)

    def _judge(self, spec: TrialSpec, answer: dict[str, Any], watch: Watch, pid: int) -> Trial:
        if "failed" in answer:
            how, message = answer["failed"], answer["message"]
            if how in _USER:
                raise _USER[how](message)
            return Trial(spec, Status(how), message=message)
        raw = dict(answer["result"])
        parts = {name: raw.pop(name, {}) for name in _KNOWN}
        status, invariant = Status(raw.pop("status")), raw.pop("invariant", "")
        flags = list(raw.pop("flags", ()))
        host: dict[str, Any] = {}
        cpus: tuple[int, ...] = ()
        if not self._machine.simulated:
            disturbed, host = watch.end(pid, spec, parts["worker"])
            flags += [word for word in disturbed if word not in flags]
            cpus = self._topology.place(spec.pin, spec.tasks)
        return Trial(
            spec,
            status,
            tuple(flags),
            invariant or "",
            latency={k: _text_keys(v) for k, v in parts["latency"].items()},
            writer_wait=_text_keys(parts["writer_wait"]),
            worker=parts["worker"],
            writer=parts["writer"],
            cpus=cpus,
            host=host,
            extra={key: value for key, value in raw.items() if value},
        )


def _text_keys(histogram: Mapping[Any, int]) -> dict[str, int]:
    return {str(bucket): count for bucket, count in histogram.items()}
