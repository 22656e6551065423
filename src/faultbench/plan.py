"""Axes → an ordered list of trials: the product, collapsed, interleaved, seeded.

Variants of one point (paths, kernels, knobs) run in ABBA blocks, so that drift hits them alike:
block k of a point holds repeats 2k and 2k+1, in one order and then reversed. The two A of a block
are the A/A pair that shows the noise. Order and trial seeds are functions of the plan's seed alone,
and all variants of a point share their seeds: a resumed sweep equals an uninterrupted one.
"""

from __future__ import annotations

import itertools
import platform
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from faultbench import config, values
from faultbench.costs import CostProfile
from faultbench.enums import Handler, Map, Order, Path, Pin, WriterOp
from faultbench.errors import UsageError
from faultbench.machines import Machine
from faultbench.model import TrialSpec, digest
from faultbench.rules import (
    DEFAULT_KERNEL,
    KERNELS,
    NO_FILES,
    ORDERS,
    knobs_label,
    objection,
    resolve,
)
from faultbench.topology import Topology

T = TypeVar("T")

MAX_TRIALS = 1_000_000
OVERSUBSCRIBED = 16
# Mappings of the kernel machine: it has one way to map anonymous memory, privately.
ANONYMOUS = frozenset({"anon", "anon-thp"})
NO_FILE = ANONYMOUS | {"arena"}
SIMULATED = 64  # most workers of a simulated sweep that names none


@dataclass(frozen=True)
class Plan:
    """Trials in the order they run, and remarks for the user."""

    specs: list[TrialSpec]
    notes: list[str] = field(default_factory=list)

    def without(self, done: set[str]) -> Plan:
        """Return the plan without the trials in `done`."""
        return Plan([s for s in self.specs if s.trial_id not in done], self.notes)

    def seconds(self, machine: Machine, side_by_side: int = 1) -> float:
        """Return about how long the plan runs."""
        return sum(machine.expected_s(spec) for spec in self.specs) / side_by_side


@dataclass(frozen=True)
class Variant:
    """One way of a fault: what is compared within a point."""

    kernel: str
    path: Path | None
    knobs: tuple[tuple[str, str], ...] = ()


def build(options: config.Options, machine: Machine, topology: Topology, cost: CostProfile) -> Plan:
    """Return the plan of a sweep.

    Combinations that do not exist are left out with a note; `UsageError` if there is no other.
    """
    limit = machine.cpus or topology.usable
    counts = values.threads(options.threads, limit) if options.threads else None
    # A simulated machine has no scheduler; its default sweep ends where a laptop's patience does.
    most = min(limit - max(options.writers), SIMULATED) if machine.simulated else limit
    threads = counts or values.default_threads(max(1, most))
    notes: list[str] = []
    variants = list(_variants(options, notes))
    points: dict[str, dict[str, TrialSpec]] = {}
    asked = 0
    left_out: Counter[str] = Counter()
    for base, typed in _points(options, machine, cost, threads):
        for variant in variants:
            asked += 1
            if asked * options.repeats > MAX_TRIALS:
                raise UsageError(f"more than {MAX_TRIALS} trials: narrow the lists or --repeats")
            spec = _complete(options, machine, _variant(base, variant))
            if reason := objection(spec, typed):
                left_out[reason] += 1
                continue
            machine.check(spec)
            points.setdefault(_point_id(spec), {}).setdefault(spec.trial_id, spec)
    if not points:
        raise UsageError(next(iter(left_out)))
    _check_load(options, max(s.tasks for p in points.values() for s in p.values()), limit)
    kept = sum(len(point) for point in points.values())
    if same := asked - left_out.total() - kept:
        notes.append(f"{same} of {asked} combinations mean the same as another: run once")
    notes += [f"{n} of {asked} combinations left out: {why}" for why, n in left_out.items()]
    notes += _meaningless(options, threads, [s for p in points.values() for s in p.values()])
    return Plan(list(_interleaved(points, options)), notes)


def _meaningless(
    options: config.Options, threads: tuple[int, ...], specs: list[TrialSpec]
) -> Iterator[str]:
    """Yield remarks about options that change nothing in any trial."""
    for name, texts in (("vmas", options.vmas), ("files", options.files), ("mms", options.mms)):
        for text in texts:
            if text.isdigit() and int(text) > min(threads):
                yield f"--{name} {text}: never more than there are workers"
    if options.overlap and not any(spec.overlap for spec in specs):
        yield "--overlap changes nothing: no workers here share a mapping; it needs --vmas shared"
    given = [f"--{name}" for name in ("writer-op", "writer-rate") if name in options.raw]
    if given and not any(spec.writers for spec in specs):
        yield f"{', '.join(given)}: no effect without writers"


def _variants(options: config.Options, notes: list[str]) -> Iterator[Variant]:
    if options.machine == "kernel":
        release = platform.release()
        yield from (Variant(release, path) for path in options.path or (None,))
        return
    paths: tuple[Path | None, ...] = options.path
    if not paths:
        paths = (None,) if options.kernel else (Path.RETRY, Path.DIRECT)
    if not options.kernel and paths != (Path.DIRECT,):
        notes.append(f"paths run with {DEFAULT_KERNEL}'s locks and layout; --kernel changes them")
    for kernel, path, knobs in itertools.product(options.kernel or (None,), paths, options.knobs):
        rules_path = path or KERNELS[kernel or DEFAULT_KERNEL].path
        resolve(kernel, rules_path, knobs)
        if kernel and path and KERNELS[kernel].path is not path:
            notes.append(f"{kernel} never took the path {path}: a counterfactual")
        yield Variant(kernel or DEFAULT_KERNEL, rules_path, knobs)


def _variant(base: TrialSpec, variant: Variant) -> TrialSpec:
    if base.handler is None:
        return replace(base, kernel=variant.kernel, path=variant.path)
    return replace(
        base,
        kernel=variant.kernel,
        path=variant.path,
        rules=resolve(variant.kernel, variant.path, variant.knobs),
        knobs=knobs_label(variant.kernel, variant.path, variant.knobs),
    )


def _points(
    options: config.Options, machine: Machine, cost: CostProfile, threads: tuple[int, ...]
) -> Iterator[tuple[TrialSpec, dict[str, str]]]:
    """Yield the points of the product, each without its variant, and what sharing it asks for."""
    targets: list[tuple[Handler | None, str]] = [(handler, "") for handler in options.handler]
    if options.machine == "kernel":
        targets = [(None, mapping) for mapping in options.mapping or ("anon", "memfd")]
    if "files" in options.raw and all(handler in NO_FILES for handler, _ in targets):
        raise UsageError(f"--handler {targets[0][0]} --files: {targets[0][0]} has no files")
    sharing = list(itertools.product(options.vmas, options.files, options.mms))
    writing = list(itertools.product(options.writers, options.writer_op, options.writer_rate))
    maps: tuple[Map | None, ...] = options.map or (None,)
    for (handler, mapping), access, shared, ppm, n, (vmas, files, mms), (
        writers,
        op,
        rate,
    ) in itertools.product(
        targets, options.access, maps, options.fallback, threads, sharing, writing
    ):
        for order in options.order or (_natural_order(handler, mapping),):
            count = _share(vmas, n)
            spec = TrialSpec(
                machine=machine.name,
                kernel="",
                path=None,
                rules=None,
                handler=handler,
                mapping=mapping,
                order=order,
                access=access,
                map=Map.PRIVATE
                if mapping in ANONYMOUS
                else shared or (Map.PRIVATE if handler is Handler.ANON else Map.SHARED),
                sync=options.sync,
                fallback_ppm=ppm,
                threads=n,
                vmas=count,
                files=0 if handler in NO_FILES or mapping in NO_FILE else _share(files, n),
                mms=_share(mms, n),
                overlap=options.overlap and count < n,
                writers=writers,
                writer_op=op if writers else WriterOp.BESIDE,
                writer_rate=rate if writers else 0,
                pin=options.pin,
                cost="none" if handler is None else cost.name,
                cost_digest="" if handler is None else cost.digest,
                machine_digest=machine.digest,
            )
            yield spec, {"vmas": vmas, "files": files, "mms": mms}


def _natural_order(handler: Handler | None, mapping: str) -> Order:
    if handler is not None:
        return ORDERS[handler][0]
    by_4k = mapping.partition(":")[0] in ("anon", "memfd", "file", "arena")
    return Order.PTE if by_4k else Order.PMD


def _share(text: str, workers: int) -> int:
    """Return how many there are; worker i uses i mod K, so more than workers are never used."""
    return workers if text == "private" else 1 if text == "shared" else min(int(text), workers)


def _complete(options: config.Options, machine: Machine, spec: TrialSpec) -> TrialSpec:
    spec = replace(spec, duration_ns=options.duration_ns, faults=options.faults)
    if not spec.duration_ns and not spec.faults:
        spec = machine.complete(spec)
    least = 0 if machine.simulated else 50_000_000
    warmup_ns, warmup_faults = config.warmup(options, spec.duration_ns, spec.faults, least)
    return replace(spec, warmup_ns=warmup_ns, warmup_faults=warmup_faults)


def _point_id(spec: TrialSpec) -> str:
    return digest(replace(spec, kernel="", path=None, rules=None, knobs="").to_dict())


def _seed(options: config.Options, spec: TrialSpec, repeat: int) -> int:
    """Return the seed of a trial: one load has the same on every machine, however long it runs.

    The seed says among other things which ranges fall back: counters could not agree otherwise.
    """
    load = replace(
        spec, machine="", machine_digest="", pin=Pin.CORE, cost="", cost_digest="",
        kernel="", path=None, rules=None, knobs="",
        duration_ns=0, warmup_ns=0, faults=0, warmup_faults=0,
    )  # fmt: skip
    return int(digest([options.seed, load.to_dict(), repeat]), 16) >> 1


def _check_load(options: config.Options, tasks: int, limit: int) -> None:
    if tasks > OVERSUBSCRIBED * limit and not options.oversubscribe:
        raise UsageError(
            f"{tasks} workers and writers on {limit} CPUs is over {OVERSUBSCRIBED} times: "
            "such a trial measures the scheduler; add --oversubscribe if that is wanted"
        )


def _interleaved(
    points: dict[str, dict[str, TrialSpec]], options: config.Options
) -> Iterator[TrialSpec]:
    for block in range((options.repeats + 1) // 2):
        rng = random.Random(f"{options.seed}:{block}")
        for name in _shuffled(rng, sorted(points)):
            variants = _shuffled(rng, [points[name][key] for key in sorted(points[name])])
            for repeat, order in ((2 * block, variants), (2 * block + 1, variants[::-1])):
                if repeat < options.repeats:
                    seed = _seed(options, order[0], repeat)
                    for spec in order:
                        yield replace(spec, seed=seed, repeat=repeat)


def _shuffled(rng: random.Random, items: list[T]) -> list[T]:
    return rng.sample(items, len(items))
