"""The hottest cache lines of a simulated case: where its CPUs waited."""

from pathlib import Path
from typing import Any

import pandas as pd

from faultbench.analysis.frame import in_words
from faultbench.plots import style
from faultbench.plots.facets import Context, stem

TOP, PER_PAGE = 8, 6


def draw(table: pd.DataFrame, prefix: Path | str, context: Context) -> list[Path]:
    """Write bars of waiting per fault by line, from ``analysis.steps.hottest``; none if empty.

    What the bottleneck is on one path stands beside what it is on the next.
    """
    if table.empty:
        return []
    keys = ["machine", "kernel", "handler", "vmas", "writers", "path", "threads"]
    # One worker waits for nobody: such a case has nothing to show.
    groups = [g for g in table.groupby(keys, sort=False) if g[1]["wait_ns"].max() > 0]
    written = []
    for page, start in enumerate(range(0, len(groups), PER_PAGE)):
        chosen = groups[start : start + PER_PAGE]
        written += _page(chosen, keys, table, stem(prefix, "lines", page), context)
    return written


def _page(
    groups: list[tuple[Any, pd.DataFrame]],
    keys: list[str],
    table: pd.DataFrame,
    target: Path,
    context: Context,
) -> list[Path]:
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    with style.styled():
        made = style.figure(7.0 * columns, 2.6 * rows + 1.3)
        axes = made.subplots(rows, columns, squeeze=False).ravel()
        for ax, (values, part) in zip(axes, groups, strict=False):
            where = dict(zip(keys, values, strict=True))
            top = part[~part["rest"]].head(TOP - 1)
            top = pd.concat([top, part[part["rest"]]])
            at = range(len(top))
            ax.barh(at, top["wait_ns"], 0.7, color=style.line_of(str(where["path"])).colour)
            for y, (ns, moved) in enumerate(zip(top["wait_ns"], top["transfers"], strict=True)):
                waited = f"{ns:,.0f}" if ns >= 100 else f"{ns:.3g}"
                ax.annotate(
                    f"{waited} ns, {moved:.2f} moves", (ns, y), xytext=(3, 0),
                    textcoords="offset points", va="center", fontsize=7.5,
                )  # fmt: skip
            ax.set_yticks(list(at), [_short(str(n)) for n in top["name"]])
            ax.set_ylim(TOP - 0.5 if len(top) > 3 else 3.5, -0.5)
            ax.set_xlim(0, max(float(top["wait_ns"].max()), 1e-3) * 1.45)
            ax.grid(visible=False, axis="y")
            ax.set_xlabel("ns waited per fault")
            keep = ("handler", "path", "vmas", "threads", "writers")
            title = "SIMULATED · " + in_words({k: where[k] for k in keep})
            ax.set_title(style.panel_title(title, 52), loc="left")
            style.simulated(ax)
        for ax in axes[len(groups) :]:
            ax.remove()
        models = sorted({context.models.get(str(m), str(m)) for m in table["machine"].unique()})
        foot = [
            "Time that CPUs stood still until a line arrived, per fault, and how often the line "
            "moved. A name lists the fields that share the line.",
            style.CLAIMS_NOT,
            *context.notes,
        ]
        style.caption(made, "Hottest lines — SIMULATED: " + "; ".join(models), foot)
        return style.save(made, target, context.formats)


def _short(name: str) -> str:
    return name if len(name) <= 44 else name[:42] + "…"
