"""The map of workers x writers: one map, coloured only where the analysis claims a difference."""

import numpy as np
import pandas as pd
import pytest

from faultbench.errors import DataError
from faultbench.plots import surface
from faultbench.plots.facets import Context
from tests.analysis.frames import sweep
from tests.plots.test_figures import assert_inside, words


def grid(ops=("beside",), **kw):
    """A sweep as the table has it: without writers there is no writer_op."""
    wanted = {"handlers": ("device-dax",), "threads": (1, 2, 4), "cpus": 99} | kw
    none = sweep(writers=(0,), **wanted).assign(writer_op="-", writer_rate=0)
    some = [
        sweep(writers=(1, 2), seed=i, **wanted).assign(writer_op=op, writer_rate=0)
        for i, op in enumerate(ops, 5)
    ]
    df = pd.concat([none, *some], ignore_index=True)
    df.loc[df.threads == 1, "vmas"] = "-"
    return df.drop_duplicates(["vmas", "writers", "threads", "path", "repeat", "writer_op"])


def maps(figure):
    """(title, numbers, cells) of every panel."""
    found = []
    for ax in figure.axes:
        if ax.images and ax.get_xlabel() == "workers":
            cells = np.asarray(ax.images[0].get_array().filled(np.nan), dtype=float)
            found.append((ax.get_title(loc="left"), [t.get_text() for t in ax.texts], cells))
    return found


def test_rows_without_writers_are_of_the_same_map(tmp_path, drawn):
    """They once had a panel of their own: no writers, no writer_op."""
    surface.draw(grid(), tmp_path / "x", Context())
    panels = maps(drawn[0])
    assert [title.split("vmas ")[1] for title, _, _ in panels] == ["private", "shared"]
    for _, numbers, cells in panels:  # one worker: the same trials in both
        assert cells.shape == (3, 3)
        assert len(numbers) == 9
    assert panels[0][2][:, 0].tolist() == panels[1][2][:, 0].tolist()
    assert_inside(drawn[0])


def test_each_writer_op_has_a_map_with_the_row_without_writers(tmp_path, drawn):
    surface.draw(grid(("beside", "mprotect"), vmas=("private",)), tmp_path / "x", Context())
    panels = maps(drawn[0])
    assert [t.split("writer_op ")[1] for t, _, _ in panels] == ["beside", "mprotect"]
    assert panels[0][2][0].tolist() == panels[1][2][0].tolist()
    assert panels[0][2][1].tolist() != panels[1][2][1].tolist()


def test_the_map_is_of_direct_wherever_it_stands_in_the_sweep(tmp_path, drawn):
    """The path that was drawn last had the map: abort / retry of three."""
    df = grid(vmas=("private",), paths=("retry", "direct", "abort"))
    surface.draw(df, tmp_path / "x", Context())
    assert "direct / retry" in words(drawn[0])
    assert "abort / retry" not in words(drawn[0])


def test_only_real_cells_have_a_colour(tmp_path, drawn):
    df = grid(vmas=("private",), cpus=4)
    surface.draw(df, tmp_path / "x", Context())
    ((_, numbers, cells),) = maps(drawn[0])
    assert sum(text.endswith("°") for text in numbers) == 2  # 4 workers beside writers
    assert int(np.isnan(cells).sum()) == 2
    same = grid(vmas=("private",), gain=1.0, noise=0.2)
    surface.draw(same, tmp_path / "y", Context())
    ((_, numbers, cells),) = maps(drawn[1])
    assert int(np.isnan(cells).sum()) == sum(text.startswith("(") for text in numbers) > 5


def test_panels_that_are_no_map_are_left_out_and_counted(tmp_path, drawn):
    quiet = sweep(handlers=("ext4",), writers=(0,), threads=(1, 2, 4), vmas=("private",), cpus=99)
    both = pd.concat([grid(), quiet.assign(writer_op="-", writer_rate=0)], ignore_index=True)
    surface.draw(both, tmp_path / "x", Context())
    assert len(maps(drawn[0])) == 2
    assert "1 of 3 configurations" in words(drawn[0])
    with pytest.raises(DataError, match="--writers"):
        surface.draw(quiet, tmp_path / "x", Context())


def test_the_colour_bar_shows_what_was_found(tmp_path, drawn):
    surface.draw(grid(gain=12), tmp_path / "x", Context())
    bar = drawn[0].axes[-1]
    low, high = (2**v for v in bar.get_ylim())
    assert low == 1  # no half without data
    assert 100 < high < 300
    labels = [t.get_text() for t in bar.get_yticklabels()]
    assert labels == ["1×", "10×", "100×"] or "5×" in labels or "3×" in labels
    assert not any("e" in label for label in labels)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1, 1.36, [1.0, 1.1, 1.2, 1.3]),
        (1, 971, [1.0, 3.0, 10.0, 30.0, 100.0, 300.0]),
        (0.4, 12, [0.5, 1.0, 2.0, 5.0, 10.0]),
    ],
)
def test_ticks_are_round_ratios(low, high, expected):
    assert surface.ticks(low, high) == pytest.approx(expected)
