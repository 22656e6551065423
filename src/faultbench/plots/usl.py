"""A fitted Universal Scalability Law over its points; beyond them dashed, to twice at most."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faultbench.analysis.usl import Usl
from faultbench.plots import style
from faultbench.plots.facets import Context, stem

FARTHEST = 2.0  # times the measured range


def draw(
    fits: Sequence[tuple[str, Usl]], prefix: Path | str, context: Context, unit: str = "throughput"
) -> list[Path]:
    """Write one panel a curve: points, fit, extrapolation, peak, and residuals beneath."""
    fits = [(name, f) for name, f in fits if f.alpha is not None]
    if not fits:
        return []
    columns = min(3, len(fits))
    rows = -(-len(fits) // columns)
    with style.styled():
        made = style.figure(max(6.2, 3.6 * columns), rows * 4.0 + 1.0)
        grid = made.add_gridspec(rows * 2, columns, height_ratios=[2.2, 1] * rows)
        for i, (name, fit) in enumerate(fits):
            row, col = divmod(i, columns)
            top = made.add_subplot(grid[2 * row, col])
            below = made.add_subplot(grid[2 * row + 1, col])
            look = style.OTHER_LINES[i % len(style.OTHER_LINES)]
            inside = np.geomspace(fit.n.min(), fit.n.max(), 200)
            beyond = np.geomspace(fit.n.max(), FARTHEST * fit.n.max(), 60)
            top.plot(inside, fit.at(inside), color=look.colour, label="fit")
            top.plot(
                beyond, fit.at(beyond), color=look.colour, linestyle=(0, (4, 3)), linewidth=1.1,
                label=f"extrapolated, to {FARTHEST:g} times the measured range",
            )  # fmt: skip
            top.plot(
                fit.n, fit.throughput, linestyle="", marker=look.marker, color=style.INK,
                label="measured",
            )  # fmt: skip
            counts = [round(n) for n in (*fit.n, beyond[-1])]
            style.worker_axis(top, counts, label=False)
            style.rate_axis(top, [*fit.throughput, *fit.at(beyond)], unit)
            if fit.peak_n is not None and fit.peak_n <= beyond[-1]:
                top.axvline(fit.peak_n, color=style.MUTED, linewidth=0.9, linestyle=":")
                top.annotate(
                    f"peak {fit.peak_n:.1f}", (fit.peak_n, 0), xycoords=("data", "axes fraction"),
                    xytext=(3, 4), textcoords="offset points", fontsize=8, color=style.MUTED,
                )  # fmt: skip
            top.set_title(name, loc="left")
            top.legend(loc="best", fontsize=7.5)
            residuals = 100 * (fit.throughput - fit.at(fit.n)) / fit.throughput.max()
            below.axhline(0, color=style.INK, linewidth=0.8)
            below.vlines(fit.n, 0, residuals, color=look.colour, linewidth=1.2)
            below.plot(fit.n, residuals, linestyle="", marker=look.marker, color=look.colour)
            style.worker_axis(below, counts)
            below.set_ylabel("residual, % of max")
        foot = []
        for name, fit in fits:
            foot.append(f"{name}: {summary(fit)}")
            foot += [f"   {w}" for w in fit.warnings]
        style.caption(made, "Universal Scalability Law", [*foot, *context.notes])
        return style.save(made, stem(prefix, "usl"), context.formats)


def summary(fit: Usl) -> str:
    """Return alpha, beta, gamma with errors in one line."""
    if fit.alpha is None or fit.beta is None or fit.gamma is None:
        return "not identifiable"

    def pm(value: float, error: float | None) -> str:
        return f"{value:.4g} ± {error:.2g}" if error is not None else f"{value:.4g}"

    return (
        f"alpha {pm(fit.alpha, fit.alpha_se)}, beta {pm(fit.beta, fit.beta_se)}, gamma "
        f"{pm(fit.gamma, fit.gamma_se)}" + ("" if fit.identifiable else " (not identifiable)")
    )
