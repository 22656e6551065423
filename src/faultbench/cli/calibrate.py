"""``faultbench calibrate``: this machine as a machine file for the virtual machine."""

import sys
from pathlib import Path
from typing import Annotated

import typer

PICTURES = (".png", ".svg", ".pdf")


def calibrate(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Machine file to write.", metavar="FILE")
    ] = Path("this-machine.toml"),
    picture: Annotated[
        Path | None,
        typer.Option(help="Core-to-core matrix; default: beside the machine file.", metavar="FILE"),
    ] = None,
) -> None:
    """Measure local hits, transfers, residency and wake-ups here; write a machine file."""
    from faultbench import calibrate as measuring
    from faultbench import host, machine_file
    from faultbench.errors import UsageError
    from faultbench.machines.description import parse
    from faultbench.output import replacing, replacing_file, writable
    from faultbench.topology import read_topology

    if output.suffix != ".toml":
        raise UsageError(f"-o {output}: a machine file ends in .toml")
    if output.exists():
        raise UsageError(f"-o {output}: exists; name another file or remove it")
    target = picture or output.with_suffix(".png")
    if target.suffix not in PICTURES:
        raise UsageError(f"--picture {target}: wants a name that ends in {', '.join(PICTURES)}")
    writable(output)  # measuring takes minutes on many CPUs
    writable(target, option="--picture")
    topology = read_topology()

    def say(text: str) -> None:
        print(f"calibrate: {text} …", file=sys.stderr)

    found = measuring.measure(topology, say)
    model = str(host.identity(topology).get("cpu_model", ""))[:100]
    text = machine_file.to_toml(_name(output), found, topology, model)
    parse(text, str(output))  # what it writes it can read
    with replacing(output) as stream:
        stream.write(text)
    from faultbench.plots.matrix import core_to_core

    with replacing_file(target) as name:
        core_to_core(found.matrix, f"Core to core, {model}", name)
    _show(found, machine_file.by_distance(found, topology))
    print(f"\nmachine file: {output}; matrix: {target}", file=sys.stderr)
    print(f"use it: faultbench sweep --machine virtual:{output}", file=sys.stderr)


def _name(output: Path) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in output.stem)[:100] or "machine"


def _show(found, distances) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    print(f"load {found.load:.1f} ns, read-modify-write {found.rmw:.1f} ns, both on a line it has")
    for name, ns in distances.items():
        shown = {"core": "same core", "l3": "same socket", "remote": "other socket"}[name]
        print(f"transfer, {shown}: {ns:.0f} ns")
    what = "takes a written line away" if found.migrates else "shares a written line"
    print(f"a load {what}: the upgrade after it costs {found.upgrade:.2f} of a transfer")
    how = "overlap" if found.overlaps else "do not overlap"
    print(f"misses {how}: a second right after a first adds {found.second:.2f} of a transfer")
    print(
        f"residency {found.residency:.0f} ns; going to sleep {found.park:.0f} ns, waking somebody "
        f"{found.unpark:.0f} ns, until that one runs {found.wake:.0f} ns more"
    )
    print("\nsteps of a bare fault (cost none, 1 worker), CPU ns")
    for step, ns in found.steps.items():
        print(f"  {step:<46}{ns:>7.1f}")
    cpus = sorted({cpu for pair in found.matrix for cpu in pair})
    if len(cpus) <= 16:
        print("\n      " + "".join(f"{cpu:>6}" for cpu in cpus))
        for a in cpus:
            cells = (found.matrix.get((min(a, b), max(a, b))) for b in cpus)
            print(f"{a:>6}" + "".join(f"{'·':>6}" if c is None else f"{c:>6.0f}" for c in cells))
