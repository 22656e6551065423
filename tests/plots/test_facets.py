"""Which panels a table gives, and which of them a page has room for."""

from collections import Counter

import pandas as pd
import pytest

from faultbench.plots import facets, scalability
from faultbench.plots.facets import Context
from tests.analysis.frames import sweep
from tests.plots.test_figures import assert_inside, virtual, words

MODEL = {"virtual:epyc": "model of X"}


def panels(**count):
    rows = {m: pd.DataFrame({"machine": [m]}) for m in count}
    return [facets.Facet(f"{m} {i}", {}, rows[m], m != "threads") for m in count
            for i in range(count[m])]  # fmt: skip


@pytest.mark.parametrize(
    ("have", "most", "expected"),
    [
        ({"threads": 8, "virtual": 2}, 8, {"threads": 8, "virtual": 2}),
        ({"threads": 40, "virtual": 2}, 8, {"threads": 8, "virtual": 2}),
        ({"threads": 40, "virtual": 20, "other": 3}, 8, {"threads": 6, "virtual": 7, "other": 3}),
        ({"threads": 40, "virtual": 20}, None, {"threads": 40, "virtual": 20}),
        ({"a": 3, "b": 3, "c": 3}, 1, {"a": 1, "b": 1, "c": 1}),
    ],
)
def test_every_machine_has_its_share_of_the_panels(have, most, expected):
    """The 8 panels measured once pushed the simulated curves out of the default report."""
    kept = facets.chosen(panels(**have), most)
    assert dict(Counter(f.rows["machine"].iloc[0] for f in kept)) == expected


def test_measured_and_simulated_panels_have_pages_of_their_own(tmp_path, drawn):
    both = pd.concat([sweep(), virtual()], ignore_index=True)
    context = Context(cpus=2, models=MODEL, most_panels=8)
    written = scalability.draw(both, tmp_path / "x", context)
    assert [p.stem for p in written[::2]] == ["x-scalability", "x-scalability-2"]
    assert "SIMULATED" not in words(drawn[0])
    assert "SIMULATED: model of X" in words(drawn[1])
    for made in drawn:
        assert_inside(made)
