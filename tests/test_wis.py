"""will-it-scale's CSV, read as its postprocess.py reads it: columns by position."""

import csv
import io
from dataclasses import replace

import pytest

from faultbench import wis
from faultbench.errors import DataError
from faultbench.model import Handler, Path, Status, Trial, TrialSpec
from faultbench.rules import resolve


def trial(threads, rate, path=Path.DIRECT, *, repeat=0, **changes):
    spec = TrialSpec(
        "threads", "v6.6", path, resolve(None, path), Handler.EXT4,
        threads=threads, vmas=changes.pop("vmas", threads), repeat=repeat, **changes,
    )  # fmt: skip
    window = 10**9
    each = [rate // threads] * threads
    return Trial(
        spec,
        Status.OK,
        worker={"faults": each, "window_ns": [window] * threads, "cpu_ns": [window] * threads},
        cpus=tuple(range(threads)),
    )


def postprocess(text):
    """Read as runtest.py's companion does: a header, then numbers by position."""
    header, *rows = csv.reader(io.StringIO(text))
    assert header == "tasks,processes,processes_idle,threads,threads_idle,linear".split(",")
    return [(int(r[0]), int(r[1]), float(r[2]), int(r[3]), float(r[4]), int(r[5])) for r in rows]


def test_one_series():
    some = [trial(n, 1000 * n, repeat=r) for n in (1, 2, 4) for r in range(3)]
    (series,) = wis.series(some)
    assert postprocess(series.csv()) == [
        (0, 0, 100.0, 0, 100.0, 0),
        (1, -1, 0.0, 1000, 0.0, 1000),
        (2, -1, 0.0, 2000, 0.0, 2000),
        (4, -1, 0.0, 4000, 0.0, 4000),
    ]


def test_idle_is_of_the_whole_machine():
    """One busy worker on two CPUs stood there as a machine without idle time."""
    some = [trial(n, 1000 * n) for n in (1, 2)]
    host = {"online": "0-3", "cpus": 2, "cpu_list": "0-1"}
    cpus = wis.machine_cpus(["threads"], host)
    (series,) = wis.series(some, cpus)
    assert [row[4] for row in postprocess(series.csv())] == [100.0, 75.0, 50.0]
    assert wis.unknown_idle(some, cpus) == []


@pytest.mark.parametrize(
    ("machine", "host", "count"),
    [
        ("kernel", {"cpus": 2}, 2),
        ("threads", {"online": "odd", "cpus": 2}, None),
        ("threads", {}, None),
        ("threads", {"cpus": "2"}, None),
        ("virtual:no-such-machine", {"cpus": 2}, None),
        ("virtual:amd-epyc-9654-2s", {"cpus": 2}, 384),
    ],
)
def test_cpus_of_a_machine(machine, host, count):
    assert wis.machine_cpus([machine], host).get(machine) == count


def test_idle_that_is_not_known_is_said():
    assert wis.unknown_idle([trial(1, 1000)], {}) == ["threads"]
    imported = replace(trial(1, 1000), extra={wis.IDLE: 49.9})
    assert wis.unknown_idle([imported], {}) == []
    assert wis.series([imported])[0].threads[1].idle == 49.9


def test_own_address_spaces_are_processes():
    some = [trial(1, 1000), trial(2, 1800, vmas=2), trial(2, 2000, vmas=2, mms=2)]
    (series,) = wis.series(some)
    assert postprocess(series.csv())[2] == (2, 2000, 0.0, 1800, 0.0, 2000)


def test_one_worker_begins_both_series():
    some = [trial(1, 1000), trial(2, 1500, vmas=1), trial(2, 1900, vmas=2)]
    shared, private = sorted(wis.series(some), key=lambda s: s.threads[2].rate)
    assert [p.rate for p in shared.threads.values()] == [1000, 1500]
    assert [p.rate for p in private.threads.values()] == [1000, 1900]
    assert shared.slug != private.slug


def test_paths_are_series_and_direct_comes_first():
    some = [trial(1, 900, Path.RETRY), trial(1, 1000, Path.DIRECT)]
    assert [s.slug for s in wis.series(some)] == ["direct", "retry"]


@pytest.mark.parametrize(
    ("one", "two"),
    [({}, {"fallback_ppm": 500_000}), ({}, {"sync": True}), ({}, {"mms": 2}),
     ({"vmas": 1}, {"vmas": 1, "overlap": True}),
     ({"writers": 1}, {"writers": 1, "writer_rate": 100})],
)  # fmt: skip
def test_no_series_is_a_median_over_unlike_trials(one, two):
    some = [trial(4, 1000, **one), trial(4, 3000, **two)]
    assert sorted(s.threads[4].rate for s in wis.series(some)) == [1000, 3000]


def test_every_series_has_a_name_of_its_own():
    """Of two long names that began alike the second file replaced the first."""
    paths = [f"file:/{'long/' * 20}{name}" for name in "abc"]
    some = [
        replace(one, spec=replace(one.spec, machine="kernel", handler=None, mapping=mapping))
        for one, mapping in zip([trial(1, 1000)] * 3, paths, strict=True)
    ]
    some.append(replace(some[0], spec=replace(some[0].spec, kernel="-", mapping="")))
    names = [wis.sibling("out.csv", s.slug) for s in wis.series(some)]
    assert len(set(names)) == len(names) == 4


def test_failed_trials_are_left_out():
    bad = replace(trial(1, 1000), status=Status.INVARIANT)
    with pytest.raises(DataError, match="nothing to export"):
        wis.series([bad])


def test_the_name_of_another_series_has_one_dot():
    """postprocess.py opens what stands before the first dot, plus .csv and .title."""
    name = wis.sibling("out.csv", "virtual-epyc-v6.6-direct")
    assert name == "out-virtual-epyc-v6-6-direct.csv"
    assert wis.title_of(name) == name.split(".", 1)[0] + ".title"
