"""The core-to-core matrix of `faultbench calibrate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

LABELS_UP_TO = 24  # CPUs; beyond it numbers in cells cannot be read


def core_to_core(matrix: Mapping[tuple[int, int], float], title: str, path: Path) -> None:
    """Draw ns of a line's journey between every pair of CPUs, and write it to `path`."""
    cpus = sorted({cpu for pair in matrix for cpu in pair})
    at = {cpu: i for i, cpu in enumerate(cpus)}
    cells = np.full((len(cpus), len(cpus)), np.nan)
    for (a, b), ns in matrix.items():
        cells[at[a], at[b]] = cells[at[b], at[a]] = ns
    side = max(4.5, min(12.0, 0.32 * len(cpus) + 2))
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    image = ax.imshow(cells, cmap="viridis")
    figure.colorbar(image, ax=ax, label="ns a transfer", shrink=0.85)
    every = max(1, len(cpus) // 16)
    ax.set_xticks(range(0, len(cpus), every), [str(c) for c in cpus[::every]])
    ax.set_yticks(range(0, len(cpus), every), [str(c) for c in cpus[::every]])
    ax.set(title=title, xlabel="CPU", ylabel="CPU")
    if len(cpus) <= LABELS_UP_TO:
        middle = (np.nanmin(cells) + np.nanmax(cells)) / 2
        for (i, j), ns in np.ndenumerate(cells):
            if not np.isnan(ns):
                ink = "black" if ns > middle else "white"
                ax.text(j, i, f"{ns:.0f}", ha="center", va="center", color=ink, fontsize=8)
    figure.savefig(path, dpi=150)
