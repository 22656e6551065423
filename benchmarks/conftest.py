"""What all benchmarks share: comparing runs of unlike machines is an error, not a warning."""

from typing import Any

import pytest

# What two machines must have in common for a comparison to mean something. The frequency that
# py-cpuinfo reads changes from run to run and is left out.
MACHINE_FIELDS = ("machine", "system", "release")
CPU_FIELDS = ("brand_raw", "count")


def identity(info: dict[str, Any]) -> dict[str, Any]:
    """Return what tells machines apart in pytest-benchmark's ``machine_info``."""
    cpu = info.get("cpu") or {}
    return {name: info.get(name) for name in MACHINE_FIELDS} | {
        f"cpu.{name}": cpu.get(name) for name in CPU_FIELDS
    }


def pytest_benchmark_compare_machine_info(
    machine_info: dict[str, Any], compared_benchmark: dict[str, Any]
) -> bool:
    """Refuse to compare with a run of another machine (26 % between CI machines is common)."""
    here, there = identity(machine_info), identity(compared_benchmark["machine_info"])
    unlike = [
        f"{name} {there[name]!r} then, {here[name]!r} now"
        for name in here
        if here[name] != there[name]
    ]
    if unlike:
        raise pytest.UsageError(
            "the saved run is from another machine: " + "; ".join(unlike) + ". Save one here first."
        )
    return True
