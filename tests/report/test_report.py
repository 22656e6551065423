"""The page as its reader gets it: computed, self-contained, escaped, honest."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from faultbench import records, table
from faultbench.errors import DataError
from faultbench.lab.run import RECORDED
from faultbench.report import answer, bottleneck, facts, mapping, markdown, page
from tests.analysis.files import HOST, sweep_file, sweep_trials
from tests.cli.test_analysis_commands import run

EVIL = "<script>alert(1)</script>\"' onload=x &amp; \x1b[2J"


def gathered(trials, host=HOST, **kw):
    trials = list(trials)
    return facts.gather(table.frame(trials), trials, host=host, plan=kw.pop("plan", {}), **kw)


class Page(HTMLParser):
    """Collects tags and attributes, and checks that what is opened is closed."""

    VOID = frozenset(("meta", "img", "br", "link", "hr", "input"))

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def default():
    return gathered(sweep_trials())


def test_the_answer_is_two_sentences_with_ratio_interval_and_floor(default):
    assert len(default.answer) == 2
    first, second = default.answer
    ratio, low, high, floor = map(
        float,
        re.search(
            r"completed ([\d.]+) times .* interval ([\d.]+) to ([\d.]+), noise floor ([\d.]+) %",
            first,
        ).groups(),
    )
    assert 1.3 < ratio < 1.8
    assert low <= ratio <= high
    assert 0 < floor < 10
    assert second.startswith("Of 12 cases 8 faster, 4 not testable")


def test_the_answer_is_computed_from_the_data():
    slower = gathered(sweep_trials(gain=0.7)).answer
    assert float(re.search(r"completed ([\d.]+) times", slower[0])[1]) < 0.8
    same = gathered(sweep_trials(gain=1.0, noise=0.2)).answer
    assert "cannot be told" in same[0] or "inside the noise" in same[1]
    few = gathered(sweep_trials(repeats=2)).answer
    assert "cannot be said" in few[0]
    assert "6 repeats" in few[0]
    one = gathered(sweep_trials(paths=("direct",))).answer
    assert "One side only" in one[0]


def test_badges_say_what_kind_of_evidence_it_is(default):
    assert [(b.kind, b.text) for b in default.badges] == [("measured", "MEASURED on 2 CPUs")]
    simulated = gathered(
        sweep_trials(machine="virtual:epyc"), host={}, models={"virtual:epyc": "model of X"}
    )
    assert simulated.badges[0].text == "SIMULATED machine: model of X"
    assert "In simulation" in simulated.answer[0]
    assert any("must not claim" in s for s in simulated.tells_not)
    both = gathered([*sweep_trials(), *sweep_trials(machine="virtual:epyc", seed=3)])
    assert {b.kind for b in both.badges} == {"measured", "simulated"}
    assert len(both.answer) == 2
    assert "On this machine" in both.answer[0]
    assert [(badge.text, len(said)) for badge, said in both.further] == [("SIMULATED", 2)]
    assert "In simulation (virtual:epyc)" in both.further[0][1][0]
    made = page.render(both, [])
    assert made.index("On this machine") < made.index('<p class="further">')
    assert "**SIMULATED:** In simulation" in markdown.render(both)


def test_badges_of_real_kernels_and_of_imported_rates():
    """Rates of will-it-scale and of a real kernel were once merely COUNTED in a kernel."""
    real = sweep_trials(machine="kernel", kernel="6.18.1")
    assert [b.text for b in gathered(real).badges] == ["MEASURED on a real kernel, 6.18.1, 2 CPUs"]
    one = gathered(sweep_trials(machine="kernel", kernel="6.18.1"), host={"cpus": 1})
    assert one.badges[0].text.endswith("1 CPU")
    imported = [replace(t, flags=("imported",)) for t in sweep_trials(machine="kernel")]
    said = gathered(imported, host={}, source="will-it-scale")
    assert [b.text for b in said.badges] == ["MEASURED elsewhere, imported from will-it-scale"]
    assert "In imported results" in said.answer[0]
    assert said.badges[0].kind == "measured"
    assert [b.kind for b in recorded().badges] == ["counted"]
    assert "6.12.117" in recorded().badges[0].text


def test_what_can_be_compared_answers_before_what_cannot():
    lone = sweep_trials(machine="kernel", kernel="6.18.1", paths=("direct",))
    said = gathered([*lone, *sweep_trials(machine="virtual:epyc", kernel="6.18.1")])
    assert "In simulation" in said.answer[0]
    assert said.further[0][0].text == "MEASURED"
    assert "One side only" in said.further[0][1][0]


def test_what_an_upgrade_sees(default):
    assert any("never released" in s for s in default.released)
    assert any("--kernel v6.5,v6.6" in s for s in default.released)
    ladder = gathered(sweep_trials(paths=("abort", "retry", "direct")))
    assert any("abort to direct" in s and "ratio" in s for s in ladder.released)
    kernels = [
        *sweep_trials(paths=("abort",), kernel="v6.5"),
        *sweep_trials(paths=("direct",), kernel="v6.6", seed=5),
    ]
    upgraded = gathered(kernels)
    assert [by for by, _, _ in upgraded.comparisons] == ["kernel"]
    assert any("measured here" in s for s in upgraded.released)
    assert not any("never released" in s for s in upgraded.released)
    longer = gathered([*sweep_trials(paths=("mmap-lock",), kernel="v6.3", seed=7), *kernels])
    assert any("from v6.5 to v6.6" in s and "measured here" in s for s in longer.released)
    assert not any("not in these results" in s for s in longer.released)


def test_an_upgrade_inside_the_noise_is_said_to_be():
    def released(gain, machine="threads"):
        return [
            *sweep_trials(paths=("abort",), kernel="v6.5", machine=machine, gain=gain),
            *sweep_trials(paths=("direct",), kernel="v6.6", machine=machine, gain=gain, seed=5),
        ]

    def said(trials):
        return [s for s in gathered(trials).released if "An upgrade" in s]

    (quiet,) = said(released(1.05))  # abort is 1.05 too
    assert "inside the noise: no difference shows above the noise" in quiet
    assert "95 % interval" in quiet
    assert "noise floor" in quiet
    (loud,) = said(released(1.4))
    assert "12 faster" in loud or "8 faster" in loud
    assert "no difference" not in loud
    both = said([*released(1.4), *released(1.4, "virtual:epyc")])
    assert [s.partition(":")[0].rpartition(" is ")[2] for s in both] == [
        "measured here on threads", "simulated here on virtual",
    ]  # fmt: skip


def test_fairness_is_judged_trial_by_trial():
    """Another worker starves in each trial: the medians of least and greatest hide it."""
    trials = list(sweep_trials(handlers=("ext4",), vmas=("private",), writers=(0,), threads=(2,)))
    for n, one in enumerate(t for t in trials if t.spec.path == "retry"):
        faults = sum(one.worker["faults"])
        share = 0.25 if n < 2 else 0.45
        one.worker["faults"] = [round(faults * share), faults - round(faults * share)]
    cells = [row[-1] for row in gathered(trials).counters]
    assert sum("unfair in 2 of 6 trials: max/2 > min" in cell for cell in cells) == 1
    assert sum("unfair" in cell for cell in cells) == 1


def test_fairness_of_fixed_work_is_judged_by_rates():
    """Every worker did the same; one took thrice as long."""
    swept = sweep_trials(handlers=("ext4",), vmas=("private",), writers=(0,), threads=(2,))
    trials = [replace(t, spec=replace(t.spec, duration_ns=0, faults=1000)) for t in swept]
    for n, one in enumerate(t for t in trials if t.spec.path == "retry"):
        one.worker["faults"] = [1000, 1000]
        one.worker["window_ns"] = [10**8, 3 * 10**8 if n < 2 else 10**8]
    cells = [row[-1] for row in gathered(trials).counters]
    assert [cell for cell in cells if "unfair" in cell] == [
        "1,000 / 1,000 / 1,000 unfair in 2 of 6 trials: max/2 > min"
    ]


def test_time_to_fault_in_a_tebibyte():
    rows = mapping.rows(
        table.frame(
            list(sweep_trials(orders=("pmd", "pte"), handlers=("ext4",), noise=0, writers=(0,)))
        )
    )
    by = {row[1][:3]: row for row in rows}
    assert by["PTE"][5] == "268,435,456"
    assert by["PMD"][5] == "524,288"
    assert by["PMD"][6] == by["PTE"][6] == "measured, path direct"
    assert "PUD" not in by  # no file system answers those
    # ext4 direct, one worker: 2e6 * 0.4 * 1.4 faults/s
    assert by["PMD"][2] == mapping.duration(524288 / 1.12e6)


def _tib(*parts):
    return mapping.rows(table.frame([t for part in parts for t in part]))


def test_time_to_fault_is_of_one_machine_kernel_and_handler():
    """It once was the median over measured and simulated trials: a number nobody saw."""
    common = {"handlers": ("device-dax",), "noise": 0, "writers": (0,), "threads": (1,)}
    found = _tib(
        sweep_trials(gain=1.0, **common),
        sweep_trials(gain=4.0, machine="virtual:epyc", **common),
        sweep_trials(gain=2.0, kernel="v6.16", **common),
    )
    pmd = {row[0]: row for row in found if row[1].startswith("PMD")}
    times = {name: (row[2], row[6]) for name, row in pmd.items()}
    at = mapping.duration
    assert times == {
        "threads · v6.6": (at(524288 / 2e6), "measured, path direct"),
        "threads · v6.16": (at(524288 / 4e6), "measured, path direct"),
        "virtual:epyc · v6.6": (
            at(524288 / 8e6), "simulated, path direct: an order of magnitude",
        ),
    }  # fmt: skip
    derived = [row for row in found if row[6].startswith("not ")]
    assert {row[1][:3] for row in derived} == {"PUD", "PTE"}
    assert all(("virtual" in row[0]) == ("not simulated" in row[6]) for row in derived)


def test_one_worker_and_the_best_are_of_one_handler():
    found = _tib(sweep_trials(noise=0, writers=(0,), threads=(1, 2), cpus=9))
    pmd = {row[0]: row[2] for row in found if row[1].startswith("PMD")}
    assert pmd["ext4"] == mapping.duration(524288 / (2e6 * 0.4 * 1.4))
    assert pmd["device-dax"] == mapping.duration(524288 / (2e6 * 1.4))


@pytest.mark.parametrize("more", [{"handlers": ("anon",)}, {"machine": "kernel"}])
def test_orders_of_what_clears_memory_are_not_derived(more):
    common = {"handlers": ("device-dax",), "orders": ("pte",), "vmas": ("private",)}
    trials = list(sweep_trials(**(common | more)))
    assert [row[1][:3] for row in mapping.rows(table.frame(trials))] == ["PTE"]
    assert mapping.CLEARS in mapping.note(table.frame(trials))
    assert mapping.CLEARS not in mapping.note(table.frame(list(sweep_trials())))


def test_one_worker_of_a_sweep_with_overlap_has_a_time():
    trials = [
        replace(one, spec=replace(one.spec, overlap=one.spec.threads > 1))
        for one in sweep_trials(vmas=("shared",), writers=(0,), handlers=("ext4",))
    ]
    assert all(row[2] != "–" for row in mapping.rows(table.frame(trials)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5e-5, "50 µs"), (0.25, "250 ms"), (90, "90 s"), (150, "2.5 min"), (9000, "2.5 h")],
)
def test_durations(seconds, text):
    assert mapping.duration(seconds) == text


def test_a_command_is_made_of_our_options_only():
    """It is there to be pasted, and the file may come from anywhere."""
    assert "--threads" in facts.command({"options": {"threads": "1,2"}}, "sweep")
    assert facts.command({"options": {"x; rm -rf ~ #": "1"}}, "sweep") == ""


def test_an_upgrade_without_a_case_of_both_sides_costs_no_report():
    """Where all trials of one side of a case had failed, there was no page at all."""
    ladder = {("abort", "v6.5"): (1,), ("direct", "v6.6"): (2,), ("direct", "v6.12"): (1, 2)}
    said = gathered(
        one
        for (path, kernel), threads in ladder.items()
        for one in sweep_trials(paths=(path,), kernel=kernel, threads=threads)
    )
    assert any("v6.5 to v6.6" in line and "no case" in line for line in said.released)
    assert said.comparisons


def test_next_bottleneck_has_a_name(default):
    text = " ".join(default.next_lock)
    assert "VMA lock" in text
    assert "journal" in text
    assert "not measured" in text
    assert "page_table_lock" in bottleneck.by_rule("device-dax", "pud", "shared", "-")
    none = gathered(sweep_trials(paths=("retry",)))
    assert "not known" in none.next_lock[0]


def test_a_bottleneck_is_told_of_one_case():
    """It was told of a median over the knobs, and efficiency against another knob's worker."""
    trials = [*sweep_trials(handlers=("ext4",), writers=(0,), noise=0)]
    halved = sweep_trials(handlers=("ext4",), writers=(0,), noise=0, knobs="rwsem=naive")
    for one in halved:
        more = 2 if one.spec.threads == 1 else 1
        one.worker["faults"] = [more * n for n in one.worker["faults"]]
        trials.append(one)
    said = bottleneck.sentences(table.frame(trials), trials)
    reach = {line.partition(":")[0]: re.search(r"reach (\d+)%", line)[1] for line in said}
    assert len(reach) == 4
    for vmas, share in (("private", 93), ("shared", 71)):
        whole, half = (
            int(next(v for k, v in reach.items() if f"vmas {vmas}" in k and f"set {knobs}" in k))
            for knobs in ("nothing", "rwsem=naive")
        )
        assert whole == share
        assert half == pytest.approx(share / 2, abs=1)


def test_bottlenecks_that_are_not_listed_are_counted():
    """Eight sentences of ten, the first by name, passed for all."""
    trials = [
        one
        for n, handler in enumerate(("device-dax", "ext4", "nop", "xfs", "driver"))
        for one in sweep_trials(
            handlers=(handler,), paths=("direct",), writers=(0,), repeats=1, seed=n, cpus=99
        )
    ]
    said = bottleneck.sentences(table.frame(trials), trials)
    assert len(said) == bottleneck.MOST + 1
    assert said[-1] == "2 more measured configuration(s)."


def test_windows_too_short_for_their_writers_are_told():
    trials = [
        replace(one, flags=("transient",) if one.spec.writers else ())
        for one in sweep_trials(machine="virtual:generic", cpus=99)
    ]
    assert any("72 of 144 trials are transient" in line for line in gathered(trials).tells_not)


def test_mmap_lock_is_named_where_a_direct_fault_takes_it():
    """ext4's 4 KiB faults are sent back on every path; the sentence began with the journal."""
    trials = list(sweep_trials(paths=("direct",), orders=("pte",), writers=(0,)))
    assert all("mmap_lock" not in line for line in bottleneck.sentences(table.frame(trials), []))
    for one in trials:
        if one.spec.handler == "ext4":
            one.worker["mmap_lock_reads"] = one.worker["faults"]
    said = bottleneck.sentences(table.frame(trials), [])
    assert len(said) == 4
    for line in said:
        assert ("is mmap_lock, read 1.00 times a fault" in line) == line.startswith("ext4")
        assert "PMD lock" not in line


def test_both_formats_say_what_was_left_out():
    trials = list(sweep_trials())
    trials[0] = replace(trials[0], worker={})
    said = gathered(trials)
    (note,) = said.notes
    assert page.escape(note) in page.render(said, [])
    assert note.replace("_", "\\_") in markdown.render(said)


def test_efficiency_is_not_told_of_a_worker_that_did_nothing():
    trials = list(sweep_trials(handlers=("ext4",), writers=(0,)))
    for one in (t for t in trials if t.spec.threads == 1 and t.spec.path == "direct"):
        one.worker["faults"][0] = 0
    assert not any("nan" in s or " of 2 times" in s for s in gathered(trials).next_lock)


def test_simulated_bottleneck_comes_from_the_steps():
    from tests.analysis.test_ledger import DIRECT, RETRY, simulated

    trials = [simulated("retry", RETRY, threads=4), simulated("direct", DIRECT, threads=4)]
    said = gathered(trials, host={})
    assert any("vma_lock, 70 ns of waiting per fault, 84% of" in s for s in said.next_lock)
    assert all("order of magnitude" in row[-1] for row in said.tib)
    assert said.title.endswith("retry against direct")


def test_page_is_self_contained_and_well_formed(default, tmp_path):
    text = page.render(default, [])
    made = Page(text)
    names = {tag for tag, _ in made.tags}
    assert not names & {"script", "link", "iframe", "object", "form", "base"}
    for tag, attrs in made.tags:
        assert not [a for a in attrs if a.startswith("on")], tag
        for url in ("src", "href", "action"):
            assert attrs.get(url, "data:").startswith("data:")
    policy = next(a["content"] for t, a in made.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme:dark" in text
    assert 'name="viewport"' in text


def test_what_scrolls_says_so_on_a_narrow_screen(default, tmp_path):
    figure = tmp_path / "report-scalability.svg"
    figure.write_text("<svg/>")
    made = Page(page.render(default, [figure]))
    scrolled = [i for i, (_, a) in enumerate(made.tags) if "scroll" in a.get("class", "")]
    assert len(scrolled) > 3
    for i in scrolled:
        before = made.tags[i - 1][1]
        assert before.get("class") == "hint"
        assert made.tags[i][1]["tabindex"] == "0"
    assert "@media (max-width:48rem){.hint{display:block}}" in " ".join(page.CSS.split())


def test_hostile_names_stay_text():
    trials = list(sweep_trials(kernel=EVIL, machine=f"virtual:{EVIL}"))
    said = gathered(
        trials, host={"cpu_model": EVIL, EVIL: EVIL, "governor": EVIL},
        plan={"options": {"path": EVIL}}, models={f"virtual:{EVIL}": EVIL},
    )  # fmt: skip
    text = page.render(said, [])
    assert "<script" not in text
    assert "\x1b" not in text
    tags = {tag for tag, _ in Page(text).tags}
    assert "script" not in tags
    assert html.escape("<script>alert(1)") in text
    plain = markdown.render(said)
    assert "<script" not in plain.split("```")[0]


def test_reproduce_command():
    plan = {"options": {"path": "retry,direct", "set": "prefetchw=off;vma_lock=inline",
                        "sync": "true", "cost": "/tmp/my file.toml"}}  # fmt: skip
    assert facts.command(plan, "sweep") == (
        "faultbench sweep --path retry,direct --set prefetchw=off --set vma_lock=inline --sync "
        "--cost '/tmp/my file.toml' -o again.jsonl"
    )
    assert facts.command({}, "sweep") == ""
    assert "import" in facts.command({}, "pft")


def test_the_command_in_markdown_is_the_command():
    """A backtick became a quote, which ended the quoting of what stands behind it."""
    trials = list(sweep_trials(threads=(1,), writers=(0,)))
    said = gathered(trials, plan={"options": {"cost": "a`;reboot ```b"}})
    assert "'a`;reboot ```b'" in said.command
    fence, command, end = markdown.render(said).splitlines()[-3:]
    assert command == said.command
    assert fence == end == "````"


def test_markdown_tells_what_was_left_out():
    trials = list(sweep_trials(paths=("direct",), threads=(1,), writers=(0,)))
    trials[0].worker["faults"][0] = 0
    said = gathered(trials)
    assert len(said.notes) == 1
    assert said.notes[0] in markdown.render(said)


def test_ledger_parts_and_residual_add_up(default):
    assert default.ledgers
    for entry in default.ledgers:
        parts = sum(p.ns for p in entry.parts) + entry.residual
        assert parts == pytest.approx(entry.total.ns)


def test_a_worker_without_a_fault_is_a_disturbance():
    trials = list(sweep_trials(threads=(2,), writers=(0,)))
    trials[3].worker["faults"][1] = 0
    said = dict(gathered(trials).disturbances)
    assert said["a worker without a single fault"] == f"1 of {len(trials)} trials"


def test_disturbances_are_counted(default):
    assert ("oversubscribed", "48 of 144 trials") in default.disturbances


def test_nothing_to_report_is_an_error():
    with pytest.raises(DataError):
        gathered([])


def test_commands(tmp_path):
    path = sweep_file(tmp_path / "a.jsonl", handlers=("ext4",))
    done = run("report", path)
    assert "wrote" in done.stderr
    assert done.stdout == ""
    text = (tmp_path / "a.html").read_text()
    images = [a for t, a in Page(text).tags if t == "img"]
    assert len(images) >= 4
    assert all(a["src"].startswith("data:image/svg+xml;base64,") and a["alt"] for a in images)
    md = run("report", path, "--format", "markdown").stdout
    assert md.startswith("# Page faults on ext4")
    assert "| case |" in md
    assert "never released" in md
    run("report", path, "-o", tmp_path / "no" / "x.html", code=74)
    run("report", tmp_path / "none.jsonl", code=65)
    assert answer  # imported for its docstring's promise: two sentences


def recorded():
    """What the laboratory counted in emulated kernels."""
    trials = records.read(RECORDED).trials
    return facts.gather(table.frame(trials), trials, host={"kernel": "6.12"}, plan={}, source="lab")


def test_an_emulators_times_are_nobodys():
    """A report of the laboratory once said that direct is 0.065 to 35.9 times retry."""
    said = recorded()
    assert said.comparisons == []
    assert said.tib == []
    assert "emulator" in said.answer[1]
    assert {row[1] for row in said.counters} == {"–"}
    assert {row[2] for row in said.counters} == {"–"}
    assert "%" not in " ".join(said.next_lock)


def test_the_laboratory_answers_with_counts():
    first = recorded().answer[0]
    assert re.search(r"with direct 0\.00 times per fault in \d+ of \d+ trials", first)
    assert re.search(r"retry \(never released\) 1\.00 times per fault in (\d+) of \1 trials", first)
    assert "sends faults back itself 1.00 times" in first


def test_emulated_trials_beside_others_leave_the_others_as_they_are(default):
    trials = [*sweep_trials(), *records.read(RECORDED).trials]
    said = facts.gather(table.frame(trials), trials, host=HOST, plan={})
    assert said.answer[0].split("verdict")[0].count("times the faults") == 1
    assert any("COUNTED" in badge.text for badge in said.badges)
    assert {"threads"} == {m for _, c, _ in said.comparisons for m in c.table["machine"]}


@pytest.mark.parametrize("command", ["compare", "fit"])
def test_emulated_rates_are_refused_with_a_reason(command):
    more = ["--by", "path"] if command == "compare" else []
    done = run(command, RECORDED, *more, code=65)
    assert "inside an emulator" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_laboratorys_page_has_its_own_picture(tmp_path):
    done = run("plot", RECORDED, "-o", tmp_path / "counted")
    assert done.stdout.split() == [f"{tmp_path}/counted.png", f"{tmp_path}/counted.svg"]
    run("report", RECORDED, "-o", tmp_path / "lab.html")
    text = (tmp_path / "lab.html").read_text()
    assert text.count("<figure>") == 1
    assert "kernel and model, by case" in text
    assert "panels" not in text


def test_the_laboratorys_markdown_has_its_counts():
    """It once had a badge and one sentence of data."""
    text = markdown.render(recorded())
    table_of = text.split("## Counters")[1].split("##")[0]
    assert table_of.count("\n|") > 50
    assert "mmap\\_lock reads per fault" in table_of
    assert "faults/s" not in table_of  # an emulator's times are nobody's
