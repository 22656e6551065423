"""Which curves over workers the cases of few workers stand in."""

from dataclasses import replace

import pandas as pd
import pytest

from faultbench.analysis import compare
from faultbench.analysis.curves import ends, spread
from faultbench.analysis.formats import rows
from faultbench.analysis.frame import checked
from faultbench.plots.facets import facets
from faultbench.table import frame
from tests.analysis.files import sweep_trials


def swept(vmas, threads=(1, 2, 4, 8), **asked):
    """As ``sweep --vmas … --overlap`` has it: never more mappings than workers."""
    seen = {}
    for count in vmas:
        for one in sweep_trials(
            handlers=("device-dax",), vmas=("shared",), threads=threads, cpus=99, repeats=2, **asked
        ):
            n = one.spec.threads
            own = min(count or n, n)
            spec = replace(one.spec, vmas=own, overlap=own < n)
            seen.setdefault(spec.trial_id, replace(one, spec=spec))
    return list(seen.values())


def curves(df):
    lines = df.groupby(["vmas", "overlap", "writers", "path"], sort=False)["threads"]
    return {
        (key[0], str(key[1])): sorted({int(n) for n in group}) for key, group in lines
    }  # fmt: skip


@pytest.mark.parametrize(
    ("vmas", "expected"),
    [
        ((0, 1), {("private", "-"): [1, 2, 4, 8], ("shared", "True"): [1, 2, 4, 8]}),
        ((4,), {("4", "True"): [1, 2, 4, 8]}),
        ((2, 4), {("2", "True"): [1, 2, 4, 8], ("4", "True"): [1, 2, 4, 8]}),
        ((0, 4), {("private", "-"): [1, 2, 4, 8], ("4", "True"): [1, 2, 4, 8]}),
        ((8,), {("private", "-"): [1, 2, 4, 8]}),
    ],
)
def test_few_workers_begin_every_curve_of_theirs(vmas, expected):
    """With --overlap or --vmas K curves had lost their first points, which were cases apart."""
    df, _ = checked(frame(swept(vmas)))
    drawn = spread(df)
    assert curves(drawn) == expected
    assert list(drawn.columns) == list(df.columns)
    panels = list(facets(drawn, "path"))
    assert len(panels) == 2 * len(expected)  # without and with a writer
    assert all(set(p.rows["threads"]) == {1, 2, 4, 8} for p in panels)


def test_a_comparison_stands_in_the_same_panels():
    df = frame(swept((0, 1)))
    compared = compare.by_column(df, "path")
    assert not [cells[0] for cells in rows(compared) if "overlap" in cells[0]]
    table = spread(compared.table)
    for panel in facets(spread(checked(df)[0]), "path"):
        mine = table
        for column, value in panel.where.items():
            mine = mine[mine[column].astype(str) == str(value)]
        assert list(mine["threads"]) == [1, 2, 4, 8]


def test_sharing_that_was_never_swept_together_makes_no_curve():
    """One worker stood in vmas private × files shared, of which there was no other point."""
    trials = [
        replace(one, spec=replace(one.spec, files=files, vmas=own))
        for one in sweep_trials(vmas=("shared",), handlers=("ext4",), writers=(0,), repeats=2)
        for n in [one.spec.threads]
        for files, own in ((1, 1), (n, n))
    ]
    drawn = spread(frame(trials))
    both = set(drawn[["vmas", "files"]].itertuples(index=False, name=None))
    assert both == {("shared", "shared"), ("private", "private")}


def test_a_lone_worker_alone_stays_as_it_is():
    df, _ = checked(frame(swept((0, 1), threads=(1,))))
    pd.testing.assert_frame_equal(spread(df), df)


def test_ends_are_the_most_workers_of_each_curve():
    keys = ("machine", "vmas", "overlap", "threads")
    cases = [("m", "-", "-", 1), ("m", "private", "-", 2), ("m", "shared", True, 2),
             ("m", "2", True, 4), ("n", "-", "-", 1)]  # fmt: skip
    assert [cases[at] for at in ends(cases, keys)] == [cases[2], cases[3], cases[4]]
    assert list(ends([], keys)) == []
