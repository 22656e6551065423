"""Whether two results files come from the same kind of machine."""

from collections.abc import Mapping, Sequence
from typing import Any

# What makes a rate another rate. Load, governor and their like are disturbances, told per trial.
FACTS = {
    "cpu_model": "CPU",
    "arch": "architecture",
    "cpus": "CPUs",
    "kernel": "kernel",
}


def unlike(a: Mapping[str, Any], b: Mapping[str, Any], ignore: Sequence[str] = ()) -> list[str]:
    """Return what tells the hosts apart, as ``fact: A, B``; a fact one side lacks tells none."""
    found = []
    for key in (k for k in FACTS if k not in ignore):
        name = FACTS[key]
        one, two = a.get(key), b.get(key)
        if one is not None and two is not None and one != two:
            found.append(f"{name}: {_short(one)}, {_short(two)}")
    return found


def _short(value: object) -> str:
    return str(value)[:60]
