"""The cost ledger as stacked bars: what a retried fault pays beyond a direct one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from faultbench.analysis.frame import NEVER_RELEASED, describe, is_virtual
from faultbench.analysis.parts import Ledger, sides
from faultbench.plots import sheet, style
from faultbench.plots.facets import Context, stem

MOST = 12
# Fixed by name, so that a part keeps its look from figure to figure.
LOOKS = (
    ("second VMA look-up", "#9ecae1", ""),
    ("VMA look-up in vain", "#9ecae1", ""),
    ("second walk", "#4292c6", "//"),
    ("VMA-lock pair", "#084594", ""),
    ("mmap_lock pair", "#e07b00", ""),
    ("detour alone", "#4292c6", "//"),
    ("waiting behind readers", "#f6c37f", ".."),
    ("waiting behind writers", "#b3375a", "xx"),
    ("parking", "#6b2c6f", ""),
    ("waiting in look-ups", "#fee08b", "oo"),
    ("waiting moved to vma_lock", "#74c476", "\\\\"),
    ("waiting moved to invalidate_lock", "#41ab5d", ""),
    ("waiting moved to i_pages", "#238b45", ".."),
    ("waiting moved to ptl", "#005a32", ""),
    ("waiting moved to ILOCK", "#c7e9c0", "--"),
    ("waiting moved to journal", "#d9d27c", "++"),
    ("all other steps", "#bdbdbd", ""),
    ("residual", "#ffffff", "////"),
)


def draw(ledgers: Sequence[Ledger], prefix: Path | str, context: Context) -> list[Path]:
    """Write one stacked bar a case, gains to the left of zero; measured and exact ones apart."""
    written = []
    for exact, name in ((False, "ledger"), (True, "ledger-simulated")):
        mine = [entry for entry in ledgers if entry.exact is exact]
        if mine:
            written += _figure(mine, stem(prefix, name), context)
    return written


def _figure(ledgers: Sequence[Ledger], target: Path, context: Context) -> list[Path]:
    shown = sorted(ledgers, key=lambda entry: -abs(entry.total.ns))[:MOST]
    cases = pd.DataFrame([entry.case for entry in shown])
    with sheet.styled():
        made = sheet.figure(10.2, 0.62 * len(shown) + 3.4)
        ax = made.add_subplot()
        seen: dict[str, tuple[str, str]] = {}
        for y, entry in enumerate(shown):
            ends = {True: 0.0, False: 0.0}
            parts = [(p.name, p.ns) for p in entry.parts] + [("residual", entry.residual)]
            for name, ns in parts:
                if abs(ns) < 0.002 * max(abs(entry.total.ns), 1e-9):
                    continue
                colour, hatch = look(name)
                seen[name] = (colour, hatch)
                ax.barh(
                    y, ns, 0.62, left=ends[ns > 0], color=colour, hatch=hatch, linewidth=0.5,
                    edgecolor="white" if name != "residual" else style.MUTED,
                )  # fmt: skip
                ends[ns > 0] += ns
            ax.plot([entry.total.ns] * 2, [y - 0.42, y + 0.42], color=style.INK, linewidth=2)
            if entry.total.low == entry.total.low:
                ax.plot([entry.total.low, entry.total.high], [y, y], color=style.INK, linewidth=1)
            word = f"{entry.total.ns:.0f} ns, residual {tidy(entry.residual)}"
            end = max(ends[True], entry.total.ns, float(np.nan_to_num(entry.total.high)))
            ax.annotate(
                word, (end, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8
            )
        low, high = ax.get_xlim()
        ax.set_xlim(low, high + 0.22 * (high - low))
        ax.axvline(0, color=style.INK, linewidth=0.9)
        names = [
            ("SIMULATED · " if is_virtual(e.case.get("machine")) else "") + describe(cases, i)
            for i, e in enumerate(shown)
        ]
        ax.set_yticks(range(len(shown)), names)
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("ns of worker time per fault")
        exact = all(e.exact for e in shown)
        if exact:
            style.simulated(ax)
        handles = [
            Patch(facecolor=c, hatch=h, edgecolor=style.MUTED, linewidth=0.3, label=n)
            for n, (c, h) in seen.items()
        ]
        a, b = shown[0].a, shown[0].b
        title = f"Cost ledger: {a} less {b}"
        if exact:
            machines = sorted({str(e.case.get("machine")) for e in shown})
            title += " — SIMULATED: " + "; ".join(context.models.get(m, m) for m in machines)
        foot = [
            f"What a fault costs more on {a} than on {b}. Black bar: the difference as "
            + (
                "simulated. "
                if exact
                else "measured, with its interval (CPU time; beside writers wall time). "
            )
            + (
                "Parts are exact sums of virtual time."
                if exact
                else "Parts are from ablation, the cost profile and counters; the residual is "
                "what these do not see: lines that travel between CPUs, and waiting that moved to "
                "the next lock, which threads cannot tell apart."
            )
            + (" Left of zero: waiting that moved to the next lock." if exact else ""),
            *sides(shown),
            *([f"{NEVER_RELEASED}."] if "retry" in (a, b) else []),
            *([style.CLAIMS_NOT] if exact else []),
            *context.notes,
        ]
        sheet.caption(made, title, foot, handles)
        return sheet.save(made, target, context.formats)


def tidy(ns: float) -> str:
    """Return whole ns, without the sign of a zero; what is exact to less than that says so."""
    return "< 1" if 0 < abs(ns) < 0.5 else f"{ns:.0f}"


def look(name: str) -> tuple[str, str]:
    """Return colour and hatch of a part."""
    for start, colour, hatch in LOOKS:
        if name.startswith(start):
            return colour, hatch
    return "#8a8a8a", "oo"
