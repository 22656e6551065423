"""The report as Markdown: for a cover letter, an issue, a mail."""

import re
from collections.abc import Sequence

from faultbench.analysis import formats, stats
from faultbench.report import tables
from faultbench.report.facts import COUNTER_HEADINGS, TIB_HEADINGS, Facts


def render(facts: Facts) -> str:
    """Return the whole report as Markdown text."""
    lines = [f"# {_text(facts.title)}", ""]
    lines += [f"**{_text(badge.text)}**  " for badge in facts.badges]
    lines += ["", *(_text(s) for s in facts.answer), ""]
    for badge, said in facts.further:
        lines += [f"**{_text(badge.text)}:** " + _text(" ".join(said)), ""]
    lines += [f"- {_text(s)}" for s in facts.released]
    for by, wall, cpu in facts.comparisons:
        lines += ["", f"## By {by}"]
        for table in tables.comparisons(wall, cpu):
            lines += _titled(table)
        lines += _notes(formats.footnotes(wall))
    if facts.ledgers:
        lines += ["", "## Cost ledger"]
        for table in tables.ledgers(facts.ledgers):
            lines += _titled(table)
    if facts.tib:
        lines += ["", "## Time to fault in 1 TiB", "", *_table(TIB_HEADINGS, facts.tib)]
        lines += ["", _text(facts.tib_note)]
    lines += ["", "## Counters", "", "Medians of the repeats.", ""]
    lines += _table(*tables.told(COUNTER_HEADINGS, facts.counters))
    lines += ["", "## Next bottleneck", "", *(f"- {_text(s)}" for s in facts.next_lock)]
    lines += ["", "## What this does not tell", "", *(f"- {_text(s)}" for s in facts.tells_not)]
    if facts.disturbances or facts.notes:
        lines += ["", "## Disturbances", ""]
        lines += [f"- {_text(what)}: {_text(how)}" for what, how in facts.disturbances]
        lines += [f"- {_text(note)}" for note in facts.notes]
    if facts.command:
        # As it is, or it is another command: backticks in it want a longer fence.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", facts.command)), default=0))
        lines += ["", "## Reproduce", "", fence, facts.command, fence]
    return "\n".join(lines) + "\n"


def _titled(table: tables.Table) -> list[str]:
    head = [f"**{_text(table.title)}**", ""] if table.title else []
    return ["", *head, *_table(table.headings, table.rows), *_notes(table.notes)]


def _notes(notes: Sequence[str]) -> list[str]:
    return ["", *(f"- {_text(note)}" for note in notes)] if notes else []


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    made = ["| " + " | ".join(map(_text, headings)) + " |", "|" + "---|" * len(headings)]
    return [*made, *("| " + " | ".join(map(_cell, headings, row)) + " |" for row in rows)]


def _cell(heading: str, text: str) -> str:
    real = heading == "verdict" and text in (stats.FASTER, stats.SLOWER)
    return f"**{_text(text)}**" if real else _text(text)


def _text(text: str) -> str:
    """Return text that Markdown shows as it is."""
    for character in "\\`*_[]|#":
        text = text.replace(character, "\\" + character)
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(text.split())
