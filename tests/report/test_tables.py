"""The tables of a report: a machine's own, verdict beside the case, nothing that says nothing."""

import re

import pytest

from faultbench.analysis import formats
from faultbench.analysis.parts import Ledger, Part
from faultbench.report import markdown, page, tables
from tests.analysis.files import sweep_trials
from tests.analysis.test_ledger import DIRECT, RETRY, simulated
from tests.report.test_report import gathered


@pytest.fixture(scope="module")
def both():
    measured = list(sweep_trials(cpus=9))
    virtual = [
        simulated(path, steps, threads=n)
        for path, steps in (("retry", RETRY), ("direct", DIRECT))
        for n in (2, 4, 8)
    ]
    return gathered([*measured, *virtual])


def test_the_verdict_stands_next_to_its_case(both):
    made = tables.comparisons(*both.comparisons[0][1:])
    assert made[0].headings[:3] == ("case", "verdict", "B/A")
    assert set(made[0].headings) == set(formats.HEADINGS)
    assert {row[1] for row in made[0].rows} == {"faster"}
    text = page.render(both, [])
    first = re.search(r'<tr class="faster"><th scope="row">[^<]*</th><td>([^<]*)</td>', text)
    assert first[1] == "faster"


def test_each_machine_has_a_table_of_its_own_measured_first(both):
    made = tables.comparisons(*both.comparisons[0][1:])
    assert [t.title for t in made] == ["Measured: threads", "Simulated: virtual:m"]
    assert not any("virtual" in row[0] or "threads ·" in row[0] for t in made for row in t.rows)
    assert "CPU-time B/A" not in made[1].headings  # its CPU time is its time
    assert sum(len(t.rows) for t in made) == len(both.comparisons[0][1].table)


def test_markdown_has_the_tables_of_the_page(both):
    """It had all machines in one table, with a CPU-time ratio that simulated ones have not."""
    text = markdown.render(both)
    heads = [line for line in text.splitlines() if line.startswith("| case |")]
    made = [t for _, wall, cpu in both.comparisons for t in tables.comparisons(wall, cpu)]
    assert heads[: len(made)] == ["| " + " | ".join(t.headings) + " |" for t in made]
    assert ["CPU-time B/A" in head for head in heads[:2]] == [True, False]
    measured, simulated = (text.index(f"**{t.title}**") for t in made[:2])
    assert measured < text.index(heads[0]) < simulated < text.index(heads[1])
    assert "**faster**" in text
    assert "A = retry, B = direct" in text


def test_the_simulated_ledger_does_not_push_out_the_measured_one(both):
    """The 8 largest of both machines together were 7 simulated ones."""
    made = tables.ledgers(both.ledgers)
    assert [t.title for t in made] == ["Measured: threads", "Simulated: virtual:m"]
    assert len(made[0].headings) == 1 + tables.MOST_LEDGERS
    assert any(note.startswith("The 8 cases of ") for note in made[0].notes)
    for one in made:
        names = [row[0] for row in one.rows]
        assert names[-1] == "difference"
        parts = names[: names.index("residual")]
        for note in one.notes:
            assert not any(f" {part};" in note for part in parts)


def test_one_machine_needs_no_title():
    said = gathered(sweep_trials())
    assert [t.title for t in tables.comparisons(*said.comparisons[0][1:])] == [""]
    assert [t.title for t in tables.ledgers(said.ledgers)] == [""]


def test_columns_that_say_nothing_are_left_out():
    assert tables.told(("a", "b", "c"), [("x", "–", ""), ("y", "", "1")]) == (
        ("a", "c"), [("x", ""), ("y", "1")],
    )  # fmt: skip
    assert tables.told(("a", "b"), []) == (("a", "b"), [])


def test_a_cases_name_parts_between_its_words():
    name = "device-dax · vmas private · 2 workers"
    assert page._parted(name).split(" ") == [
        "device-dax\N{NO-BREAK SPACE}·", "vmas\N{NO-BREAK SPACE}private\N{NO-BREAK SPACE}·",
        "2\N{NO-BREAK SPACE}workers",
    ]  # fmt: skip
    assert page._parted("waiting behind readers") == "waiting behind readers"


def test_what_all_shown_ledgers_share_is_named_where_others_lack_it():
    """Eight cases with a writer stood there as if they had none."""
    cases = [{"machine": "threads", "handler": "ext4", "writers": w, "threads": n}
             for w in (0, 1) for n in range(1, 9)]  # fmt: skip
    made = [Ledger(c, "retry", "direct", Part("", 100.0 * c["writers"] + c["threads"]), [], True)
            for c in cases]  # fmt: skip
    (one,) = tables.ledgers(made)
    assert len(one.headings) == 1 + tables.MOST_LEDGERS
    assert all("1 writer" in heading for heading in one.headings[1:])
