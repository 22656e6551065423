"""``faultbench explain``: one fault on one screen, two ways side by side."""

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from faultbench.costs import CostProfile
    from faultbench.explain.record import Recorded
    from faultbench.machines.virtual import VirtualMachine
    from faultbench.model import TrialSpec

FAULTS, WARMUP = "90", "60"  # of each worker: caches and tables are warm, a record stays small


def explain(
    path: Annotated[
        str | None,
        typer.Option(help="Two paths. Default: retry,direct.", metavar="A,B", show_default=False),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(help="Or two kernels: v6.5,v6.6; with --path, one.", metavar="A,B"),
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(
            help="A rule of both: prefetchw=off; two of it: vma_lock=separate|refcount.",
            metavar="KNOB=V",
        ),
    ] = None,
    handler: Annotated[str, typer.Option(help="device-dax ext4 xfs …")] = "device-dax",
    order: Annotated[str | None, typer.Option(help="pmd, pud, pte; the handler's first.")] = None,
    access: Annotated[str, typer.Option(help="read, write, wp.")] = "write",
    map: Annotated[str | None, typer.Option(help="shared, private.")] = None,
    threads: Annotated[str, typer.Option(help="Workers; worker 0 is explained.")] = "8",
    vmas: Annotated[str, typer.Option(help="private, shared or K mappings.")] = "private",
    writers: Annotated[str, typer.Option(help="0 or 1: a writer beside, and a time line.")] = "0",
    machine: Annotated[str, typer.Option(help="virtual[:NAME|FILE].")] = "virtual",
    cost: Annotated[str, typer.Option(help="Cost profile.")] = "default",
    svg: Annotated[
        Path | None, typer.Option(help="Write the time line as SVG.", metavar="FILE")
    ] = None,
    format: Annotated[str, typer.Option(help="text or json.")] = "text",
) -> None:
    """Explain one fault: steps, locks held, lines that travel, ns; the detour is marked."""
    from faultbench import costs, values
    from faultbench.errors import UsageError
    from faultbench.explain import record
    from faultbench.explain import svg as drawing
    from faultbench.machines import get_machine
    from faultbench.machines.virtual import VirtualMachine
    from faultbench.output import replacing, writable

    values.choice("format", format, ("text", "json"))
    if svg is not None:
        writable(svg, option="--svg")
    chosen = get_machine(machine)
    if not isinstance(chosen, VirtualMachine):
        raise UsageError(f"--machine {machine}: explain needs a simulated machine, virtual[:NAME]")
    values.whole("threads", threads, 1, 256)
    values.whole("writers", writers, 0, 1)
    profile = costs.load(cost)
    given = {
        "path": path or (None if kernel else "retry,direct"), "kernel": kernel,
        "set": ";".join(set) if set else None, "handler": handler, "order": order,
        "access": access, "map": map, "threads": threads, "vmas": vmas, "writers": writers,
        "machine": machine, "cost": cost, "faults": FAULTS, "warmup": WARMUP, "repeats": "1",
    }  # fmt: skip
    titles, specs, notes = _specs({k: v for k, v in given.items() if v}, chosen, profile)
    recorded = [record.explain(chosen, spec, profile.steps) for spec in specs]
    notes += _notes(specs, chosen)
    if format == "json":
        print(json.dumps(_as_json(titles, recorded, notes), indent=1))
    else:
        _print(titles, recorded, notes)
    if svg is not None:
        drawn = drawing.draw(titles, recorded, _about(recorded), notes)
        with replacing(svg) as stream:
            stream.write(drawn)
        print(f"time line: {svg}", file=sys.stderr)


def _specs(
    given: dict[str, str], machine: "VirtualMachine", cost: "CostProfile"
) -> "tuple[list[str], list[TrialSpec], list[str]]":
    """Return the two faults to explain, what tells them apart, and remarks: as a sweep plans them.

    So that what a sweep refuses is refused here, with the same words.
    """
    from dataclasses import replace

    from faultbench import config, plan
    from faultbench.errors import UsageError
    from faultbench.rules import DEFAULT_KERNEL, knobs_label
    from faultbench.topology import read_topology

    options = config.parse(given)
    made = plan.build(options, machine, read_topology(), cost)
    if len(made.specs) != 2:
        raise UsageError(
            f"explain compares two faults, these are {len(made.specs)}: --path retry,direct or "
            "--kernel v6.5,v6.6 or --set KNOB=A|B, and one of everything else"
        )
    asked = [
        (kernel or DEFAULT_KERNEL, path, knobs)
        for kernel in options.kernel or (None,)
        for path in options.path or (None,)
        for knobs in options.knobs
    ]

    def place(spec: "TrialSpec") -> int:
        return next(
            i for i, (kernel, path, knobs) in enumerate(asked)
            if kernel == spec.kernel and path in (None, spec.path)
            and knobs_label(kernel, spec.path, knobs) == spec.knobs
        )  # fmt: skip

    # The seed of both is one, so that the same fault is explained in every company.
    one, two = (replace(spec, seed=1, repeat=0) for spec in sorted(made.specs, key=place))
    if one.kernel != two.kernel:
        titles = [one.kernel, two.kernel]
    elif one.path != two.path:
        titles = [str(one.path), str(two.path)]
    elif one.knobs != two.knobs:
        titles = [spec.knobs or f"as {spec.kernel}" for spec in (one, two)]
    else:
        raise UsageError("explain compares two faults, and these differ in what it does not show")
    notes = [note for note in made.notes if "combinations mean" not in note]
    return titles, [one, two], notes


def _notes(specs: "list[TrialSpec]", machine: "VirtualMachine") -> list[str]:
    """Return what must be said wherever these results appear; the model and its limits last."""
    from faultbench.enums import Path as FaultPath
    from faultbench.explain import CLAIMS_NOT
    from faultbench.rules import NEVER_RELEASED, unconfirmed

    notes = []
    if any(spec.path is FaultPath.RETRY for spec in specs):
        notes.append(NEVER_RELEASED)
    if said := unconfirmed(spec.kernel for spec in specs):
        notes.append(said)
    return [*notes, machine.description.about_model, CLAIMS_NOT]


def _about(recorded: "list[Recorded]") -> str:
    spec = recorded[0].spec
    shared = "" if spec.threads == 1 else f", {spec.vmas_label} VMAs"
    kernels = dict.fromkeys(one.spec.kernel for one in recorded)
    knobs = f", {spec.knobs}" if spec.knobs and spec.knobs == recorded[1].spec.knobs else ""
    return (
        f"One fault of worker 0 of {spec.threads}{shared}: {spec.handler} {spec.order} "
        f"{spec.access}, map {spec.map}{knobs}, {' and '.join(kernels)}, on {spec.machine}"
    )


def _print(titles: list[str], recorded: "list[Recorded]", notes: list[str]) -> None:
    from faultbench.explain import render, times

    width = max(80, min(shutil.get_terminal_size((100, 24)).columns, 120))
    print("\n".join(textwrap.wrap(_about(recorded), width)))
    print("\n".join(render.beside(titles, recorded, width)))
    for title, one in zip(titles, recorded, strict=True):
        if one.spec.writers:
            print()
            print("\n".join(times.timeline(title, one, width)))
    print()
    for note in notes:
        print("\n".join(textwrap.wrap(f"{note.removesuffix('.')}.", width, subsequent_indent="  ")))


def _as_json(titles: list[str], recorded: "list[Recorded]", notes: list[str]) -> dict[str, object]:
    from faultbench.explain.render import as_dict

    def lane(one: "Recorded") -> list[dict[str, object]]:
        return as_dict(one.writer.steps, one.spec.kernel) if one.writer else []

    found: dict[str, object] = {
        title: as_dict(one.fault.steps, one.spec.kernel)
        for title, one in zip(titles, recorded, strict=True)
    }
    writers = {t: lane(one) for t, one in zip(titles, recorded, strict=True) if one.spec.writers}
    return {
        **found,
        "about": {
            "fault": _about(recorded),
            "machine": recorded[0].spec.machine,
            "kernel": {t: one.spec.kernel for t, one in zip(titles, recorded, strict=True)},
            "path": {t: str(one.spec.path) for t, one in zip(titles, recorded, strict=True)},
            "notes": notes,
            **({"writer": writers} if writers else {}),
        },
    }
