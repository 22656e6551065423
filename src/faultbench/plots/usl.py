"""A fitted Universal Scalability Law over its points; beyond them dashed, to twice at most."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from faultbench.analysis.usl import SIMULATED, Usl
from faultbench.plots import sheet, style
from faultbench.plots.facets import Context, stem

FARTHEST = 2.0  # times the measured range
BEYOND = (0, (4, 3))
PER_PAGE = 9


def draw(
    fits: Sequence[tuple[str, Usl]], prefix: Path | str, context: Context, unit: str = "throughput"
) -> list[Path]:
    """Write one panel a curve: points, fit, extrapolation, peak, and residuals beneath.

    Curves whose name begins with ``SIMULATED`` are hatched as in every figure.
    """
    fits = [(name, f) for name, f in fits if f.alpha is not None]
    written = []
    for page, start in enumerate(range(0, len(fits), PER_PAGE)):
        target = stem(prefix, "usl", page)
        written += _page(fits[start : start + PER_PAGE], target, context, unit)
    return written


def _page(fits: Sequence[tuple[str, Usl]], target: Path, context: Context, unit: str) -> list[Path]:
    columns = min(3, len(fits))
    rows = -(-len(fits) // columns)
    with sheet.styled():
        made = sheet.figure(max(6.2, 3.6 * columns), rows * 4.0 + 1.0)
        grid = made.add_gridspec(rows * 2, columns, height_ratios=[2.2, 1] * rows)
        for i, (name, fit) in enumerate(fits):
            row, col = divmod(i, columns)
            top = made.add_subplot(grid[2 * row, col])
            below = made.add_subplot(grid[2 * row + 1, col])
            look = _look(name)
            inside = np.geomspace(fit.n.min(), fit.n.max(), 200)
            beyond = np.geomspace(fit.n.max(), FARTHEST * fit.n.max(), 60)
            top.plot(inside, fit.at(inside), color=look.colour)
            top.plot(
                beyond, fit.at(beyond), color=look.colour, linestyle=BEYOND, linewidth=1.1,
            )  # fmt: skip
            top.plot(
                fit.n, fit.throughput, linestyle="", marker="o", color=style.INK,
            )  # fmt: skip
            counts = [round(n) for n in (*fit.n, beyond[-1])]
            style.worker_axis(top, counts, label=False)
            style.rate_axis(top, [*fit.throughput, *fit.at(beyond)], unit)
            if fit.peak_n is not None and _peak_shown(fit):
                top.axvline(fit.peak_n, color=style.MUTED, linewidth=0.9, linestyle=":", zorder=1)
                top.annotate(
                    f"peak {fit.peak_n:.1f}", (fit.peak_n, 0), xycoords=("data", "axes fraction"),
                    xytext=(3, 4), textcoords="offset points", fontsize=8, color=style.MUTED,
                )  # fmt: skip
            top.set_title(style.panel_title(name), loc="left")
            residuals = 100 * (fit.throughput - fit.at(fit.n)) / fit.throughput.max()
            below.axhline(0, color=style.INK, linewidth=0.8)
            below.vlines(fit.n, 0, residuals, color=look.colour, linewidth=1.2)
            below.plot(fit.n, residuals, linestyle="", marker="o", color=look.colour)
            style.worker_axis(below, counts)
            below.set_ylabel("residual, % of max")
            if name.startswith(SIMULATED):
                style.simulated(top)
                style.simulated(below)
        foot = []
        for name, fit in fits:
            foot.append(f"{name}: {summary(fit)}")
            foot += [f"   {w}" for w in fit.warnings]
        if any(name.startswith(SIMULATED) for name, _ in fits):
            models = [f"{m}: {model}." for m, model in context.models.items()]
            foot += [" ".join(["Hatched panels are SIMULATED.", *models]), style.CLAIMS_NOT]
        sheet.caption(made, "Universal Scalability Law", [*foot, *context.notes], _legend(fits))
        return sheet.save(made, target, context.formats)


def _peak_shown(fit: Usl) -> bool:
    return fit.peak_n is not None and fit.peak_n <= FARTHEST * fit.n.max()


def _look(name: str) -> style.Line:
    """Return the look of the path a curve is of; other curves have one colour, and it is none."""
    paths = (style.PATH_LINES[word] for word in name.split(" · ") if word in style.PATH_LINES)
    return next(paths, style.OTHER_LINES[1])


def _legend(fits: Sequence[tuple[str, Usl]]) -> list[Line2D]:
    """Return the legend, which stands above all panels: in one, the peak's line crossed it."""
    looks = {_look(name).colour for name, _ in fits}
    colour = looks.pop() if len(looks) == 1 else style.INK
    far = f"extrapolated, to {FARTHEST:g}× the measured range"
    handles = [
        Line2D([], [], linestyle="", marker="o", color=style.INK, label="measured"),
        Line2D([], [], color=colour, label="fit"),
        Line2D([], [], color=colour, linestyle=BEYOND, linewidth=1.1, label=far),
    ]
    if any(_peak_shown(fit) for _, fit in fits):
        handles.append(Line2D([], [], color=style.MUTED, linestyle=":", label="peak"))
    return handles


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
