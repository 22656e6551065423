"""What stands around the panels: titles, legends, and whose model a simulated panel shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from faultbench.analysis import stats
from faultbench.analysis.frame import has_flag
from faultbench.plots import style
from faultbench.plots.facets import Context, Facet


def titled(title: str, panels: Sequence[Facet], context: Context) -> str:
    """Return the figure's title; that of simulated panels says of what they are a model."""
    if not all(f.virtual for f in panels):
        return title
    machines = sorted({str(m) for f in panels for m in f.rows["machine"].unique()})
    return f"{title} — SIMULATED: " + "; ".join(context.models.get(m, m) for m in machines)


def provenance(virtual: Sequence[Facet], context: Context) -> list[str]:
    """Return what must stand under a simulated panel: whose model it is, what it cannot claim."""
    machines = sorted({str(m) for f in virtual for m in f.rows["machine"].unique()})
    lines = [f"{m}: {context.models.get(m, 'a model, not a measurement')}." for m in machines]
    return (
        ["Hatched panels are SIMULATED. " + " ".join(lines), style.CLAIMS_NOT] if machines else []
    )


def legend_handles(
    looks: Mapping[str, style.Line], paths: Mapping[str, str], nameless: str
) -> list[Line2D]:
    """Return one handle per line (``paths``: those of kernels); ``nameless``: what ``-`` is."""
    handles = []
    for name, look in looks.items():
        label = nameless if name == "-" else style.legend_name(name, paths.get(name, ""))
        handles.append(
            Line2D([], [], color=look.colour, linestyle=look.style, marker=look.marker, label=label)
        )
    return handles


def marks(rows: pd.DataFrame, tested: pd.DataFrame | None) -> list[Line2D]:
    """Return handles of the marks that points of these panels bear, and of no other."""
    found = []
    if has_flag(rows["flags"], "oversubscribed").any():
        found.append(_mark("oversubscribed", "o", color=style.MUTED, markerfacecolor="white"))
    if tested is not None and (tested["verdict"] == stats.NOISE).any():
        found.append(_mark("inside the noise", "x", color=style.INK, markersize=8))
    if tested is not None and untested(tested).any():
        found.append(_mark("not testable", "o", color=style.MUTED, alpha=style.PALE))
    return found


def _mark(label: str, marker: str, **look: Any) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, label=label, **look)


def untested(table: pd.DataFrame) -> "pd.Series[bool]":
    """Return which points have no verdict for another reason than too many threads."""
    return (table["verdict"] == stats.UNTESTABLE) & ~table["oversubscribed"].astype(bool)
