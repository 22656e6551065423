"""``faultbench explain``: one fault on one screen, two ways side by side."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from faultbench.machines import Machine
    from faultbench.model import TrialSpec


def explain(
    path: Annotated[str, typer.Option(help="Two paths.", metavar="A,B")] = "retry,direct",
    kernel: Annotated[
        str | None, typer.Option(help="Or two kernels: v6.5,v6.6.", metavar="A,B")
    ] = None,
    handler: Annotated[str, typer.Option(help="device-dax ext4 xfs …")] = "device-dax",
    access: Annotated[str, typer.Option(help="read, write, wp.")] = "write",
    threads: Annotated[str, typer.Option(help="Workers; worker 0 is explained.")] = "8",
    vmas: Annotated[str, typer.Option(help="private or shared.")] = "private",
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
    from faultbench.errors import OutputError, UsageError
    from faultbench.explain import record, render
    from faultbench.explain import svg as drawing
    from faultbench.machines import get_machine
    from faultbench.machines.virtual import VirtualMachine
    from faultbench.output import writable
    from faultbench.plots.style import CLAIMS_NOT
    from faultbench.rules import unconfirmed

    values.choice("format", format, ("text", "json"))
    if svg is not None:
        writable(svg, option="--svg")
    chosen = get_machine(machine)
    if not isinstance(chosen, VirtualMachine):
        raise UsageError(f"--machine {machine}: explain needs a simulated machine, virtual[:NAME]")
    profile = costs.load(cost)
    titles, specs = _specs(path, kernel, handler, access, threads, vmas, writers, chosen)
    recorded = [record.explain(chosen, spec, profile.steps) for spec in specs]
    if format == "json":
        found = dict(zip(titles, [render.as_dict(r.fault) for r in recorded], strict=True))
        print(json.dumps(found, indent=1))
    else:
        one = specs[0]
        print(
            f"One fault of worker 0 of {one.threads}, {one.vmas_label} VMAs, {one.handler} "
            f"{one.order} {one.access}, on {chosen.name}\n"
        )
        print("\n".join(render.beside(titles, recorded)))
        for title, it in zip(titles, recorded, strict=True):
            print()
            lines = render.timeline if one.writers else render.journeys
            print("\n".join(lines(title, it)))
        if said := unconfirmed(spec.kernel for spec in specs):
            print(f"\n{said}.")
        print(f"\n{chosen.description.about_model}. {CLAIMS_NOT}")
    if svg is not None:
        try:
            svg.write_text(drawing.draw(titles, recorded), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"--svg {svg}: {error.strerror}") from None
        print(f"time line: {svg}", file=sys.stderr)


def _specs(
    path: str,
    kernel: str | None,
    handler: str,
    access: str,
    threads: str,
    vmas: str,
    writers: str,
    machine: "Machine",
) -> "tuple[list[str], list[TrialSpec]]":
    from faultbench import values
    from faultbench.enums import Access, Handler, Map
    from faultbench.errors import UsageError
    from faultbench.model import TrialSpec
    from faultbench.rules import (
        DEFAULT_KERNEL,
        KERNELS,
        NO_FILES,
        ORDERS,
        check_combination,
        resolve,
    )

    if kernel:
        kernels = values.items("kernel", kernel)
        pairs = [
            (values.choice("kernel", k, KERNELS), KERNELS[k].path) for k in kernels if k in KERNELS
        ]
        if len(pairs) != len(kernels):
            for name in kernels:
                values.choice("kernel", name, KERNELS)
    else:
        pairs = [(DEFAULT_KERNEL, way) for way in values.paths(path)]
    if len(pairs) != 2:
        raise UsageError("explain compares two: --path retry,direct or --kernel v6.5,v6.6")
    workers = values.whole("threads", threads, 1, 256)
    count = values.whole("writers", writers, 0, 1)
    hand = values.choices("handler", handler, Handler)[0]
    specs = []
    for name, way in pairs:
        spec = TrialSpec(
            machine=machine.name, kernel=name, path=way, rules=resolve(name, way, ()),
            handler=hand, order=ORDERS[hand][0], access=values.choices("access", access, Access)[0],
            map=Map.PRIVATE if hand is Handler.ANON else Map.SHARED, threads=workers,
            vmas=workers if values.choice("vmas", vmas, ("private", "shared")) == "private" else 1,
            files=0 if hand in NO_FILES else 1, writers=count, faults=90, warmup_faults=60, seed=1,
        )  # fmt: skip
        check_combination(spec)
        machine.check(spec)
        specs.append(spec)
    titles = [name for name, _ in pairs] if kernel else [str(way) for _, way in pairs]
    return titles, specs
