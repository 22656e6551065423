"""Figures as their reader gets them: whole, inside their frame, told apart without colour."""

import errno
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from faultbench.analysis.curves import spread
from faultbench.analysis.frame import NEVER_RELEASED
from faultbench.errors import DataError, OutputError
from faultbench.plots import counters, latency, scalability, sheet, style, surface, sweep_figures
from faultbench.plots.facets import Context, facets
from tests.analysis.frames import sweep

MODEL = {"virtual:epyc": "model of AMD EPYC 7742, 5 of 12 latencies estimated"}


def words(made):
    texts = [t.get_text() for t in made.findobj(match=lambda a: hasattr(a, "get_text"))]
    return "\n".join(texts)


def assert_inside(made):
    """No artist leaves the page: ink outside would be cut off."""
    page = made.bbox
    with sheet.styled():  # as it was saved: hinted text is wider
        FigureCanvasAgg(made).draw()
        box = made.get_tightbbox().transformed(made.dpi_scale_trans)
    assert box.x0 >= page.x0 - 1, "cut off at the left"
    assert box.y0 >= page.y0 - 1, "cut off at the foot"
    assert box.x1 <= page.x1 + 1, "cut off at the right"
    assert box.y1 <= page.y1 + 1, "cut off at the top"


def assert_apart(made):
    """No panel's labels run into the next panel's."""
    with sheet.styled():
        boxes = [ax.get_tightbbox() for ax in made.axes]
    for i, one in enumerate(boxes):
        for two in boxes[i + 1 :]:
            across = min(one.x1, two.x1) - max(one.x0, two.x0)
            along = min(one.y1, two.y1) - max(one.y0, two.y0)
            assert min(across, along) <= 1, f"panels overlap by {across:.0f} x {along:.0f} pixels"


def default():
    df = sweep()
    df.loc[df.threads == 1, "vmas"] = "-"
    return df.drop_duplicates(["handler", "vmas", "writers", "threads", "path", "repeat"])


def virtual(**kw):
    return sweep(
        machine="virtual:epyc", threads=(1, 2, 4, 8, 16, 64), writers=(0, 1, 4), cpus=999,
        handlers=("ext4",), vmas=("private",), **kw,
    )  # fmt: skip


def latencies():
    rows = []
    for path, outcome, k, n in (
        ("retry", "retried", 1.4, 900),
        ("direct", "direct", 1.0, 990),
        ("direct", "aborted", 4.0, 3),
    ):
        base = {
            "p50_ns": 700 * k,
            "p90_ns": 750 * k,
            "p99_ns": 2e3 * k,
            "p999_ns": 2e4,
            "max_ns": 4e6,
        }
        one = default().iloc[0].to_dict() | {"path": path, "outcome": outcome, "samples": n}
        rows.append(one | base | {"threads": 2, "vmas": "private"})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("data", [default, virtual], ids=["default", "virtual"])
def test_figures_are_written_whole_and_nothing_is_clipped(tmp_path, drawn, data):
    context = Context(cpus=2, models=MODEL)
    written = sweep_figures(data(), tmp_path / "x", context=context)
    latency.draw(latencies(), tmp_path / "x", context)
    assert {p.suffix for p in written} == {".png", ".svg"}
    for path in written:
        if path.suffix == ".svg":
            ET.parse(path)
        else:
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size > 10_000
    assert len(drawn) >= 3
    for made in drawn:
        assert_inside(made)
        assert_apart(made)


def test_panels_stay_apart_whatever_their_labels_take(tmp_path, drawn, monkeypatch):
    """The layout starts from a guess of the margins; a guess far off must cost nothing."""
    for guess in ((0.0, 0.0, 0.0, 0.0), (90.0, 40.0, 5.0, 60.0)):
        monkeypatch.setattr(scalability, "MARGINS", guess)
        monkeypatch.setattr(latency, "MARGINS", guess)
        wide = default().assign(faults_per_s=lambda d: d["faults_per_s"] * 1e-9)  # 12.5m and such
        scalability.draw(wide, tmp_path / "x", Context(cpus=2))
        latency.draw(latencies(), tmp_path / "x", Context(cpus=2))
    for made in drawn:
        assert_inside(made)
        assert_apart(made)


def test_text_in_an_svg_is_text(tmp_path):
    """It was drawn as outlines, which nobody can search, copy or have read aloud."""
    scalability.draw(default(), tmp_path / "x", Context(cpus=2))
    texts = ET.parse(tmp_path / "x-scalability.svg").iter("{http://www.w3.org/2000/svg}text")
    assert "Page faults over workers: retry against direct" in [t.text for t in texts]


def test_never_released_and_cpu_count_stand_in_the_figure(tmp_path, drawn):
    scalability.draw(default(), tmp_path / "x", Context(cpus=2))
    text = words(drawn[0])
    assert NEVER_RELEASED in text
    assert "2 CPUs" in text
    assert "oversubscribed" in text


def test_oversubscribed_points_are_hollow_and_only_those(tmp_path, drawn):
    scalability.draw(default(), tmp_path / "x", Context(cpus=2))
    for ax in drawn[0].axes:
        for line in ax.lines:
            x = line.get_xdata()
            if line.get_marker() in ("o", "s") and len(x):
                hollow = line.get_markerfacecolor() == "white"
                if hollow:
                    assert set(np.asarray(x)) == {2.0}
    faces = {
        p.get_markerfacecolor() for a in drawn[0].axes for p in a.lines if p.get_marker() == "o"
    }
    assert "white" in faces


def test_simulated_panels_say_what_they_are(tmp_path, drawn):
    sweep_figures(virtual(), tmp_path / "x", context=Context(models=MODEL))
    for made in drawn:
        text = words(made)
        assert "SIMULATED" in text
        assert MODEL["virtual:epyc"] in text
        assert "It must not claim" in text
        hatched = [a for a in made.axes if a.patch.get_hatch() or a.patches]
        assert hatched


def test_lines_differ_without_colour():
    looks = list(style.PATH_LINES.values())
    assert len({str(k.style) for k in looks}) == len(looks)
    assert len({k.marker for k in looks}) == len(looks)
    hatches = [h for _, _, _, h in style.EVENTS]
    assert len(set(hatches)) == len(hatches)


def test_one_path_gives_rates_without_a_ratio(tmp_path, drawn):
    scalability.draw(sweep(paths=("direct",)), tmp_path / "x", Context())
    assert not any("/" in a.get_ylabel().replace("faults/s", "") for a in drawn[0].axes)


def test_a_panel_with_one_path_says_so_beside_panels_with_two(tmp_path, drawn):
    df = default()
    lone = df[(df.handler == "device-dax") | (df.path == "retry")]
    sweep_figures(lone, tmp_path / "lone")
    assert "one path only" in words(drawn[0])
    for made in drawn:
        assert_inside(made)


def test_kernels_name_their_path_and_what_was_never_released(tmp_path, drawn):
    parts = [
        sweep(paths=(p,), kernel=k)
        for k, p in (("v6.5", "abort"), ("next-202308", "retry"), ("v6.6", "direct"))
    ]
    scalability.draw(pd.concat(parts, ignore_index=True), tmp_path / "x", Context())
    text = words(drawn[0])
    assert "v6.5 (abort)" in text
    assert f"next-202308, {NEVER_RELEASED}" in text
    assert_inside(drawn[0])


def test_single_workers_stand_in_both_panels():
    df = spread(default())
    titles = [f.title for f in facets(df, "path")]
    assert len(titles) == 8
    assert all("-" not in t.split("vmas ")[1][:2] for t in titles)
    for facet in facets(df, "path"):
        assert set(facet.rows.threads) == {1, 2}


def test_lameter_512_cpus_four_decades(tmp_path, drawn):
    """Published PFT figures with a collapse and a rise: log axes, no clipped labels."""
    old = {1: 45097.498, 2: 80201.646, 4: 141545.239, 8: 118671.950, 16: 85087.358, 32: 53754.928,
           64: 31881.112, 128: 18918.599, 256: 37237.918, 512: 72752.686}  # fmt: skip
    new = {1: 44428.115, 2: 85699.793, 4: 160197.217, 8: 308454.557, 16: 395681.716,
           32: 366445.400, 64: 338656.440, 128: 288005.644, 256: 534077.540,
           512: 1050416.414}  # fmt: skip
    df = sweep(
        handlers=("pft",), vmas=("shared",), writers=(0,), threads=tuple(old), repeats=1, cpus=512
    )
    df["kernel"] = df["path"].map({"retry": "2.6.10", "direct": "2.6.10-v12"})
    df["path"] = "-"
    df["faults_per_s"] = [
        (old if k == "2.6.10" else new)[t] for k, t in zip(df.kernel, df.threads, strict=True)
    ]
    written = scalability.draw(df, tmp_path / "x", Context(cpus=512))
    assert len(written) == 2
    made = drawn[0]
    assert made.axes[0].get_yscale() == "log"
    assert made.axes[0].get_xscale() == "log"
    assert_inside(made)
    low, high = made.axes[0].get_ylim()
    assert low < min(old.values())
    assert high > max(new.values())


def test_many_panels_make_pages(tmp_path):
    df = sweep(handlers=("ext4", "xfs", "device-dax"), writers=(0, 1, 2))
    names = {p.name for p in scalability.draw(df, tmp_path / "x", Context())}
    assert {"x-scalability.png", "x-scalability-2.png", "x-scalability-3.png"} <= names


def test_no_latency_and_no_counters_draw_nothing(tmp_path):
    assert latency.draw(latencies().iloc[:0], tmp_path / "x", Context()) == []
    bare = default().assign(vma_lock_success=np.nan, mmap_lock_reads=np.nan)
    assert counters.draw(bare, tmp_path / "x", Context()) == []


def test_bad_requests_name_what_to_do(tmp_path):
    with pytest.raises(DataError, match="--writers"):
        surface.draw(sweep(writers=(0,)), tmp_path / "x", Context())
    with pytest.raises(OutputError, match="cannot write"):
        scalability.draw(default(), tmp_path / "no" / "x", Context())


def test_a_figure_is_there_whole_or_as_it_was(tmp_path, monkeypatch):
    old = tmp_path / "x-scalability.png"
    old.write_bytes(b"the figure of yesterday")

    def full(self, name, **_):
        Path(name).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OutputError, match="no space left"):
        scalability.draw(default(), tmp_path / "x", Context())
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        old.name: b"the figure of yesterday"
    }


def test_same_data_same_bytes(tmp_path):
    a = scalability.draw(default(), tmp_path / "a", Context(cpus=2))
    b = scalability.draw(default(), tmp_path / "b", Context(cpus=2))
    assert [p.read_bytes() for p in a] == [p.read_bytes() for p in b]


def test_ledger_and_lines_are_drawn(tmp_path, drawn):
    from faultbench import table
    from faultbench.analysis import steps
    from faultbench.analysis.frame import checked
    from faultbench.analysis.ledger import on_threads
    from faultbench.plots import ledger, lines
    from tests.analysis.files import sweep_trials
    from tests.analysis.test_ledger import DIRECT, RETRY, simulated

    measured = list(sweep_trials(paths=("mmap-lock", "abort", "retry", "direct"), cpus=9))
    hot = [{"name": "mm_struct 0 " + "mmap_lock.count + " * 9, "wait_ps": 10**9, "transfers": 5,
            "fetches": 2}]  # fmt: skip
    virtual_trials = [
        simulated("retry", RETRY, lines=hot), simulated("direct", DIRECT, lines=hot),
    ]  # fmt: skip
    entries = on_threads(checked(table.frame(measured))[0])
    entries += steps.ledgers(virtual_trials, checked(table.frame(virtual_trials))[0])
    written = ledger.draw(entries, tmp_path / "x", Context(models={"virtual:m": "model of M"}))
    written += lines.draw(virtual_trials, tmp_path / "x", Context())
    names = {p.stem for p in written}
    assert names == {"x-ledger", "x-ledger-simulated", "x-lines"}
    for made in drawn:
        assert_inside(made)
    assert "residual" in words(drawn[0])
    assert NEVER_RELEASED in words(drawn[0])
    assert "SIMULATED: model of M" in words(drawn[1])
    assert "must not claim" in words(drawn[2])


def test_bars_of_a_ledger_are_named_among_all_cases(tmp_path, drawn):
    """All that were shown had a writer, and so none of them said so."""
    from faultbench.analysis.parts import Ledger, Part
    from faultbench.plots import ledger

    cases = [{"machine": "virtual:m", "handler": "ext4", "writers": w, "threads": n}
             for w in (0, 1) for n in range(1, ledger.MOST + 1)]  # fmt: skip
    made = [Ledger(c, "retry", "direct", Part("", 100.0 * c["writers"] + c["threads"]), [], True)
            for c in cases]  # fmt: skip
    ledger.draw(made, tmp_path / "x", Context())
    labels = [tick.get_text() for tick in drawn[0].axes[0].get_yticklabels()]
    assert len(labels) == ledger.MOST
    assert all("1 writer" in label for label in labels)


def simulated_lines(path, ns, wait_ns, **more):
    from tests.analysis.test_ledger import simulated

    trial = simulated(path, ns, **more)
    each = round(wait_ns * 1000 * trial.total("faults"))
    trial.extra["lines"] = [
        {"name": "inode 0 i_pages.xa_lock", "wait_ps": each, "transfers": 5, "fetches": 2},
        {"name": "9 other lines", "wait_ps": each // 10, "transfers": 5, "fetches": 2},
    ]
    return trial


def test_lines_show_what_spins_and_one_scale_for_a_case(tmp_path, drawn):
    """The hottest line of a spinning case was a fifteenth of its fault, and nothing said so."""
    from faultbench.plots import lines

    spun = {"grab_mapping_entry": (80, 600, 8000, 0), "dax_unlock_entry": (50, 500, 9000, 0)}
    trials = [
        simulated_lines("retry", spun | {"lock_mm_and_find_vma": (15, 0, 0, 4000)}, 1100),
        simulated_lines("direct", {"grab_mapping_entry": (80, 20, 0, 0)}, 20),
    ]
    lines.draw(trials, tmp_path / "x", Context())
    (made,) = drawn
    assert_inside(made)
    shown = words(made)
    assert "spinning: i_pages" in shown
    assert "asleep: mmap_lock" in shown
    assert "22,245 ns a fault: 145 running, 1,100 for lines, 17,000 spinning, 4,000 asleep" in (
        " ".join(shown.split())
    )
    assert "retry, never released" in shown
    retry, direct = made.axes
    assert retry.get_xlim() == direct.get_xlim()
    longest = retry.patches[0]
    assert longest.get_width() == pytest.approx(17_000, rel=1e-3)
    assert longest.get_hatch()
    assert max(p.get_width() for p in direct.patches) < longest.get_width() / 100


def test_a_line_too_short_to_be_seen_has_no_bar_but_the_hottest_of_a_panel(tmp_path, drawn):
    from faultbench.plots import lines
    from tests.analysis.test_ledger import simulated

    def waited(path, **ns):
        hot = [{"name": n, "wait_ps": 10**6 * v, "transfers": 9, "fetches": 0}
               for n, v in ns.items()]  # fmt: skip
        return simulated(path, {"grab_mapping_entry": (80, 0, 0, 0)}, lines=hot)

    lines.draw(
        [waited("retry", count=9000, owner=400, hair=10), waited("direct", first=9, second=8)],
        tmp_path / "x", Context(),
    )  # fmt: skip
    named = [[t.get_text() for t in ax.get_yticklabels()] for ax in drawn[0].axes]
    assert named == [["count", "owner", "all other lines"], ["first", "all other lines"]]
    for ax, share in zip(drawn[0].axes, (10 / 9000, 8 / 9), strict=True):
        rest = ax.patches[-1].get_width()  # what has no bar of its own is in the last
        assert rest / ax.patches[0].get_width() == pytest.approx(share)


def test_lines_of_many_kernels_are_no_wider_than_a_page(tmp_path, drawn):
    from faultbench.plots import lines

    trials = []
    for kernel in ("v6.16", "v6.6", "v6.12", "v6.13", "v6.15"):
        trial = simulated_lines("direct", {"insert_pfn_pmd": (25, 9, 0, 0)}, 9)
        trials.append(replace(trial, spec=replace(trial.spec, kernel=kernel)))
    lines.draw(trials, tmp_path / "x", Context())
    (made,) = drawn
    assert made.get_figwidth() <= 21
    kernels = [ax.get_title(loc="left").splitlines()[1].split(" ")[0] for ax in made.axes]
    assert kernels == ["v6.6", "v6.12", "v6.13", "v6.15", "v6.16"]
    assert len({ax.get_xlim() for ax in made.axes}) == 1


def test_only_the_simulated_rows_of_mixed_counters_are_hatched(tmp_path, drawn):
    both = pd.concat([sweep(handlers=("ext4",), writers=(0,)), virtual()], ignore_index=True)
    counters.draw(both, tmp_path / "x", Context(models=MODEL))
    ax = drawn[0].axes[0]
    assert ax.patch.get_hatch() is None
    spans = [p for p in ax.patches if p.get_hatch() == "//"]
    titles = {t.get_text(): t.xy[1] for t in ax.texts if "·" in t.get_text()}
    assert {n for n in titles if "SIMULATED" in n}
    for name, y in titles.items():
        inside = any(p.get_y() <= y <= p.get_y() + p.get_height() for p in spans)
        assert inside == ("SIMULATED" in name)


def test_latency_of_two_machines_is_each_at_its_most_workers(tmp_path, drawn):
    measured = latencies()
    simulated = latencies().assign(machine="virtual:epyc", threads=64)
    both = pd.concat([measured, simulated], ignore_index=True)
    latency.draw(both, tmp_path / "x", Context(models=MODEL))
    shown = words(drawn[0])
    assert "threads" in shown
    assert "SIMULATED" in shown
    assert "each machine's most workers" in shown
    assert_inside(drawn[0])


def test_panel_titles_part_between_words_that_belong_together():
    got = style.panel_title("threads · device-dax · vmas private · 0 writers")
    assert got == "threads · device-dax · vmas private ·\n0 writers"
    assert style.panel_title("ext4 · 1 writer") == "ext4 · 1 writer"


def test_figures_drawn_side_by_side_are_the_same_and_in_the_same_order(tmp_path):
    df = default()[lambda table: table.handler == "ext4"]
    for processes in (1, 2, 3):
        (tmp_path / str(processes)).mkdir()
    one, *others = (
        sweep_figures(df, tmp_path / str(n) / "x-counters", processes=n) for n in (1, 2, 3)
    )
    assert len(one) == 6  # three figures, one for each process
    for written in others:
        assert [path.name for path in written] == [path.name for path in one]
        assert [path.read_bytes() for path in written] == [path.read_bytes() for path in one]
    with pytest.raises(OutputError):
        sweep_figures(default(), tmp_path / "absent" / "x", processes=2)
