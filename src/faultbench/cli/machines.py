"""``faultbench machines``: what ``--machine virtual:NAME`` simulates, how well it is known."""

from typing import Annotated

import typer


def machines(
    name: Annotated[
        str | None,
        typer.Argument(help="Show one machine's figures with their sources.", metavar="NAME"),
    ] = None,
    format: Annotated[str, typer.Option(help="text or json.", metavar="FORMAT")] = "text",
) -> None:
    """List the machines that the virtual machine can simulate."""
    import json

    from faultbench import values
    from faultbench.errors import UsageError
    from faultbench.machines import description

    values.choice("format", format, ("text", "json"))
    try:
        chosen = (
            [description.load(one) for one in description.names()]
            if name is None
            else [description.load(values.given("NAME", name))]
        )
    except UsageError as error:  # nobody typed --machine here
        raise UsageError(str(error).replace("--machine virtual:", "machines ", 1)) from None
    if format == "json":
        print(json.dumps([_row(d, sources=name is not None) for d in chosen], indent=1))
    elif name:
        _show(chosen[0])
    else:
        width = max(len(d.name) for d in chosen)
        print(f"{'NAME':<{width}}  CPUS  CORES  SOCKETS  ARCH     MODEL")
        for d in chosen:
            print(
                f"{d.name:<{width}}  {d.cpus:4}  {d.cores:5}  {d.sockets:7}  {d.arch:<7}  "
                f"{d.vendor} {d.model}; {len(d.estimated)} of {len(d.ns)} latencies estimated"
            )


def _row(d: "description.Description", sources: bool) -> dict[str, object]:  # type: ignore[name-defined] # noqa: F821
    row: dict[str, object] = {
        "name": d.name,
        "vendor": d.vendor,
        "model": d.model,
        "arch": d.arch,
        "sockets": d.sockets,
        "cores": d.cores,
        "cpus": d.cpus,
        "latencies": len(d.ns),
        "estimated": d.estimated,
    }
    if sources:
        row |= {"ns": d.ns, "rules": d.rules, "sources": d.sources}
    return row


def _show(d: "description.Description") -> None:  # type: ignore[name-defined] # noqa: F821
    print(f"{d.name}: {d.about_model}")
    print(
        f"{d.sockets} sockets, {d.cores} cores, {d.cpus} CPUs ({d.arch}); "
        f"{d.cpus_per_core} a core, {d.cpus_per_l3} an L3, {d.cpus_per_socket} a socket\n"
    )
    for figures, unit in ((d.ns, " ns"), (d.rules, "")):
        for figure, value in figures.items():
            shown = f"{value:g}{unit}" if isinstance(value, float) else f"{value}{unit}"
            print(f"  {figure:<18}{shown:>10}   {d.sources[figure]}")
