"""A colour, a mark, a legend entry: each means one thing, in every figure."""

import pandas as pd
import pytest

from faultbench.analysis import usl as law
from faultbench.plots import counters, laboratory, scalability, style, usl
from faultbench.plots.facets import Context
from tests.analysis.frames import sweep
from tests.plots.test_figures import assert_inside, default, words

LADDER = (("v6.3", "mmap-lock"), ("v6.5", "abort"), ("next-202308", "retry"), ("v6.6", "direct"),
          ("v6.12", "direct"), ("v6.16", "direct"))  # fmt: skip


def legend(made):
    return [t.get_text() for t in made.legends[0].get_texts()]


def test_a_kernel_looks_like_its_path_and_no_two_lines_alike(tmp_path, drawn):
    """Retry was blue in a figure of kernels and orange in one of paths."""
    found = style.looks([k for k, _ in LADDER], dict(LADDER))
    for kernel, path in LADDER[:4]:
        assert found[kernel] == style.PATH_LINES[path]
    assert len({look.colour for look in found.values()}) == len(LADDER)
    assert len({look.marker for look in found.values()}) == len(LADDER)
    parts = [sweep(paths=(p,), kernel=k, handlers=("ext4",)) for k, p in LADDER]
    df = pd.concat(parts, ignore_index=True)
    scalability.draw(df, tmp_path / "x", Context())
    counters.draw(df, tmp_path / "x", Context())
    handles = dict(zip(legend(drawn[0]), drawn[0].legends[0].legend_handles, strict=True))
    for name, handle in handles.items():
        kernel = name.split(" ")[0].rstrip(",")
        if kernel in found:
            assert handle.get_color() == found[kernel].colour
    reads = {p.get_facecolor()[:3] for p in drawn[1].axes[1].patches if p.get_width() > 0}
    wanted = {found[k].colour for k in ("v6.3", "v6.5", "next-202308")}
    assert reads == {tuple(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)) for c in wanted}


def test_what_has_no_path_looks_like_none_and_has_a_name(tmp_path, drawn):
    """Imported results had the legend '-', and 'oversubscribed' without such a point."""
    bare = sweep(paths=("direct",), handlers=("page_fault1",), writers=(0,), cpus=99)
    bare = bare.assign(path="-", kernel="-", machine="kernel", flags="imported")
    scalability.draw(bare, tmp_path / "x", Context())
    assert legend(drawn[0]) == ["imported"]
    scalability.draw(bare.assign(flags="", kernel="6.18.1"), tmp_path / "x", Context())
    assert legend(drawn[1]) == ["kernel 6.18.1"]
    paths = {look.colour for look in style.PATH_LINES.values()}
    assert not paths & {look.colour for look in style.OTHER_LINES}


def test_untested_points_are_pale_and_not_crossed(tmp_path, drawn):
    """With one repeat every point was crossed, as if found inside the noise."""
    quiet = default()[lambda d: d.writers == 0]
    scalability.draw(quiet[quiet.repeat == 0], tmp_path / "x", Context())
    points = [p for ax in drawn[0].axes for p in ax.lines if len(p.get_xdata())]
    assert not [p for p in points if p.get_marker() == "x"]
    assert [p for p in points if p.get_alpha() == style.PALE]
    assert legend(drawn[0])[-1] == "not testable"
    scalability.draw(quiet, tmp_path / "y", Context())
    assert "not testable" not in legend(drawn[1])
    same = sweep(handlers=("ext4",), writers=(0,), gain=1.0, noise=0.2, cpus=99)
    scalability.draw(same, tmp_path / "z", Context())
    assert legend(drawn[2])[-1] == "inside the noise"
    assert not [p for ax in drawn[2].axes for p in ax.lines if p.get_alpha() == style.PALE]


def test_parks_are_the_tables_median(tmp_path, drawn):
    df = sweep(paths=("retry", "direct"), handlers=("ext4",), writers=(1,), threads=(1,))
    df = df[df.vmas == "private"].reset_index(drop=True)
    per = [1, 2, 3, 4, 100, 200]  # per 1000 faults, by repeat
    df["parks"] = df["faults"] * df["repeat"].map(dict(enumerate(per))) / 1000
    counters.draw(df, tmp_path / "x", Context())
    assert "3.5" in [t.get_text() for t in drawn[0].axes[2].texts]
    assert "Medians of the repeats" in words(drawn[0])


def test_bars_of_retry_say_that_it_was_never_released(tmp_path, drawn):
    df = sweep(handlers=("ext4",), writers=(0,), threads=(1,))
    counters.draw(df, tmp_path / "x", Context())
    assert "never released" in words(drawn[0])
    counters.draw(df[df["path"] == "direct"], tmp_path / "x", Context())
    assert "never released" not in words(drawn[1])


def test_the_peak_line_crosses_no_legend(tmp_path, drawn):
    n = [1, 18, 36, 72, 108, 144, 216]
    fit = law.fit(n, [64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775, 1702.2])
    usl.draw([("x · " * 20 + "retry", fit), ("points", fit)], tmp_path / "x", Context())
    assert not [ax for ax in drawn[0].axes if ax.get_legend()]
    assert legend(drawn[0]) == [
        "measured", "fit", "extrapolated, to 2× the measured range", "peak",
    ]  # fmt: skip
    assert_inside(drawn[0])


def test_a_fit_of_a_simulation_says_so(tmp_path, drawn):
    fit = law.fit([1, 2, 4, 8, 16, 32], [10, 19, 35, 60, 85, 90])
    known = Context(models={"virtual:generic": "model of something"})
    usl.draw([("SIMULATED · direct", fit), ("threads · direct", fit)], tmp_path / "x", known)
    hatched = [bool(ax.patch.get_hatch()) for ax in drawn[0].axes]
    assert hatched == [True, True, False, False]
    assert "virtual:generic: model of something" in words(drawn[0])
    assert "must not claim" in words(drawn[0])


def test_many_fits_make_pages(tmp_path):
    """480 curves were one picture of 99,283 pixels, in minutes."""
    fit = law.fit([1, 2, 4, 8, 16, 32], [10, 19, 35, 60, 85, 90])
    written = usl.draw([(f"curve {i}", fit) for i in range(10)], tmp_path / "x", Context())
    assert [p.name for p in written if p.suffix == ".png"] == ["x-usl.png", "x-usl-2.png"]


@pytest.mark.parametrize("paths", [("direct", "retry", "abort", "mmap-lock")])
def test_the_laboratorys_bars_differ_without_colour(tmp_path, drawn, paths):
    reads = [laboratory.Reads("case", p, 1.0, 1.0) for p in paths]
    laboratory.draw(reads, [], [], tmp_path / "lab", ["foot"])
    bars = [p.get_hatch() for p in drawn[0].axes[0].patches]
    assert len({h or "" for h in bars}) == len(paths)
