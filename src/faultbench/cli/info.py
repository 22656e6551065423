"""``faultbench info``: this machine, what may disturb a measurement here, and how to mend it."""

import sys
from typing import Annotated, Any

import typer


def info(
    format: Annotated[str, typer.Option(help="text or json.", metavar="FORMAT")] = "text",
    cost: Annotated[
        str | None,
        typer.Option(
            help="Show a cost profile and its sources.", metavar="NAME", show_default=False
        ),
    ] = None,
) -> None:
    """Show the machine, its topology, and what may disturb a measurement here."""
    from faultbench import values
    from faultbench.disturbance import WORDS

    values.choice("format", format, ("text", "json"))
    if cost is not None:
        _costs(values.given("cost", cost), format)
        return
    raw = collect()
    if format == "json":
        _json(raw)
        return
    host, found = raw["host"], raw["disturbances"]
    places = raw["placement"]
    print(f"faultbench {raw['faultbench']}, Python {host['python']}, Linux {host['kernel']}")
    print(f"{host['cpu_model']}, {host['arch']}: {_topology(host)}")
    print(f"engines built: {', '.join(raw['engines']) or 'none'}")
    print("\nworkers are placed on CPUs in this order:")
    for pin, cpus in places.items():
        shown = " ".join(str(cpu) for cpu in cpus[:16]) + (" …" if len(cpus) > 16 else "")
        print(f"  --pin {pin:<8}{shown}")
    if found:
        print("\nwhat may disturb a measurement here, and how to mend it:")
    else:
        print("\nnothing found that would disturb a measurement")
    for one in found:
        print(f"  {'!' if one['serious'] else '-'} {one['what']}\n      {one['mend']}")
    print("\nwhat a trial's flags say was so while it ran:")
    for word, meaning in WORDS.items():
        print(f"  {word:<15}{meaning}")


def collect() -> dict[str, Any]:
    """Return everything `info` knows, as JSON."""
    import importlib.util
    from dataclasses import asdict

    from faultbench import __version__, host
    from faultbench.model import Pin
    from faultbench.topology import read_topology

    topology = read_topology()
    engines = ("threads", "virtual", "kernel")
    return {
        "faultbench": __version__,
        "host": host.identity(topology),
        "engines": [e for e in engines if importlib.util.find_spec(f"faultbench._{e}")],
        "placement": {pin.value: topology.order(pin) for pin in Pin if pin is not Pin.NONE},
        "disturbances": [asdict(one) for one in host.disturbances(topology)],
    }


def _topology(host: dict[str, Any]) -> str:
    words = [f"{host['cpus']} CPU{'' if host['cpus'] == 1 else 's'}"]
    if host.get("online", host["cpu_list"]) != host["cpu_list"]:
        words[0] += f" ({host['cpu_list']} of {host['online']})"
    words.append(f"{host['cores']} core{'' if host['cores'] == 1 else 's'}")
    words.append(f"{host['sockets']} socket{'s' if host['sockets'] > 1 else ''}")
    if "memory_mib" in host:
        words.append(f"{host['memory_mib'] / 1024:.1f} GiB")
    return ", ".join(words)


def _costs(name: str, format: str) -> None:
    from faultbench import costs

    profile = costs.load(name)
    if format == "json":
        _json(
            {
                "name": profile.name,
                "about": profile.about,
                "digest": profile.digest,
                "steps": {
                    step: {"ns": ns, "source": profile.sources.get(step, "")}
                    for step, ns in profile.steps.items()
                },
            }
        )
        return
    print(profile.describe())
    for step, ns in profile.steps.items():
        print(f"{ns:>8} ns  {step:<22}  {profile.sources.get(step, '')}".rstrip())


def _json(value: Any) -> None:
    import json

    json.dump(value, sys.stdout, indent=2)
    print()
