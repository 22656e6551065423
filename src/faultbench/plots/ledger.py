"""The cost ledger as stacked bars: what a retried fault pays beyond a direct one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch

from faultbench.analysis.frame import NEVER_RELEASED, is_virtual
from faultbench.analysis.parts import Ledger, foremost, sides
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
    ("waiting behind readers", "#f6c37f", "."),
    ("waiting behind writers", "#b3375a", "xx"),
    ("parking", "#6b2c6f", ""),
    ("waiting in look-ups", "#fee08b", "o"),
    ("waiting moved to vma_lock", "#74c476", "\\\\"),
    ("waiting moved to invalidate_lock", "#41ab5d", ""),
    ("waiting moved to i_pages", "#238b45", "."),
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
    shown, told = foremost(ledgers, MOST)
    names = [
        ("SIMULATED · " if is_virtual(entry.case.get("machine")) else "") + name
        for entry, name in zip(shown, told, strict=True)
    ]
    with sheet.styled():
        height = 0.44 * len(shown) + 3.2
        made = sheet.figure(10.2, height, (*sheet.beside(names), 28.0, 4.0))
        ax = made.add_subplot()
        seen: dict[str, list[tuple[int, float, float]]] = {}  # part: row, ns, left end
        for y, entry in enumerate(shown):
            ends = {True: 0.0, False: 0.0}
            parts = [(p.name, p.ns) for p in entry.parts] + [("residual", entry.residual)]
            for name, ns in parts:
                if abs(ns) < 0.002 * max(abs(entry.total.ns), 1e-9):
                    continue
                seen.setdefault(name, []).append((y, ns, ends[ns > 0]))
                ends[ns > 0] += ns
            word = f"{entry.total.ns:.0f} ns, residual {tidy(entry.residual)}"
            end = max(ends[True], entry.total.ns, float(np.nan_to_num(entry.total.high)))
            ax.annotate(
                word, (end, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8
            )
        at, totals = np.arange(len(shown)), [entry.total for entry in shown]
        ax.vlines([t.ns for t in totals], at - 0.42, at + 0.42, color=style.INK, lw=2, zorder=2)
        ax.hlines(at, [t.low for t in totals], [t.high for t in totals], color=style.INK, lw=1,
                  zorder=2)  # fmt: skip
        handles = []
        for name, bars in seen.items():
            colour, hatch = look(name)
            edge = "white" if name != "residual" else style.MUTED
            rows, widths, left = zip(*bars, strict=True)
            ax.barh(
                rows,
                widths,
                0.62,
                left=left,
                color=colour,
                hatch=hatch,
                linewidth=0.5,
                edgecolor=edge,
            )
            handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor=edge, label=name))
        low, high = ax.get_xlim()
        ax.set_xlim(low, high + 0.22 * (high - low))
        ax.axvline(0, color=style.INK, linewidth=0.9)
        ax.set_yticks(range(len(shown)), names)
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("ns of worker time per fault")
        exact = all(e.exact for e in shown)
        if exact:
            style.simulated(ax)
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
    return "#8a8a8a", "o"
