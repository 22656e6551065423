"""What kind of evidence a machine gives: MEASURED, SIMULATED or COUNTED, and where."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from faultbench.analysis.frame import has_flag, is_emulated, is_virtual, kernel_order


@dataclass(frozen=True)
class Badge:
    """``kind`` is ``measured``, ``simulated`` or ``counted``."""

    kind: str
    text: str


def kind(machine: str) -> str:
    """Return the kind of a machine whose times were taken, not counted in an emulator."""
    return "simulated" if is_virtual(machine) else "measured"


def badges(
    df: pd.DataFrame, host: Mapping[str, Any], models: Mapping[str, str], source: str
) -> list[Badge]:
    """Return one badge for each kind of evidence in ``df``, measured ones first.

    Only an emulated kernel is merely COUNTED; a real one is timed as any program is, and imported
    rates were measured by somebody on a machine that the results do not tell.
    """
    found = []
    emulated, imported = is_emulated(df), has_flag(df["flags"], "imported").astype(bool)
    for machine, rows in df[~emulated].groupby("machine", sort=False):
        name = str(machine)
        if is_virtual(name):
            found.append(Badge("simulated", f"SIMULATED machine: {models.get(name, name)}"))
            continue
        theirs = imported[rows.index]
        if theirs.any():
            by = "" if source == "sweep" else f" from {source}"
            found.append(Badge("measured", f"MEASURED elsewhere, imported{by}"))
        if not theirs.all():
            where = "a real kernel, " + _kernels(rows) if name == "kernel" else ""
            found.append(Badge("measured", _measured(where, host.get("cpus"))))
    if emulated.any():
        found.append(Badge("counted", f"COUNTED in an emulated kernel, {_kernels(df[emulated])}"))
    return sorted(found, key=lambda badge: ("measured", "simulated", "counted").index(badge.kind))


def _measured(where: str, cpus: object) -> str:
    count = f"{cpus} CPU{'' if cpus == 1 else 's'}" if cpus else "host not recorded"
    if not where:
        return f"MEASURED on {count}" if cpus else f"MEASURED, {count}"
    return f"MEASURED on {where}, {count}"


def _kernels(df: pd.DataFrame) -> str:
    return ", ".join(sorted({str(k) for k in df["kernel"]}, key=kernel_order))
