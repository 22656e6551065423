"""The report as Markdown: for a cover letter, an issue, a mail."""

import math

from faultbench.analysis import formats
from faultbench.analysis.ledger import Ledger
from faultbench.analysis.parts import notes as ledger_notes
from faultbench.report.facts import TIB_HEADINGS, Facts


def render(facts: Facts) -> str:
    """Return the whole report as Markdown text."""
    lines = [f"# {_text(facts.title)}", ""]
    lines += [f"**{_text(badge.text)}**  " for badge in facts.badges]
    lines += ["", *(_text(s) for s in facts.answer), ""]
    lines += [f"- {_text(s)}" for s in facts.released]
    for by, wall, cpu in facts.comparisons:
        lines += ["", f"## By {by}", "", formats.to_markdown(wall, cpu)]
    if facts.ledgers:
        lines += ["", "## Cost ledger", "", *ledger_table(facts.ledgers), ""]
        lines += [f"- {_text(s)}" for s in ledger_notes(facts.ledgers)]
    if facts.tib:
        lines += ["", "## Time to fault in 1 TiB", "", *_table(TIB_HEADINGS, facts.tib)]
        lines += ["", _text(facts.tib_note)]
    lines += ["", "## Next bottleneck", "", *(f"- {_text(s)}" for s in facts.next_lock)]
    lines += ["", "## What this does not tell", "", *(f"- {_text(s)}" for s in facts.tells_not)]
    if facts.disturbances:
        lines += ["", "## Disturbances", ""]
        lines += [f"- {_text(what)}: {_text(how)}" for what, how in facts.disturbances]
    if facts.command:
        lines += ["", "## Reproduce", "", "```", facts.command.replace("`", "'"), "```"]
    return "\n".join(lines) + "\n"


def ledger_rows(ledgers: list[Ledger]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return headings and rows: part, then ns per fault of every ledger's case."""
    import pandas as pd  # noqa: PLC0415 - loaded by whoever made the ledgers

    from faultbench.analysis.frame import describe  # noqa: PLC0415

    shown = sorted(ledgers, key=lambda entry: -abs(entry.total.ns))[:8]
    cases = pd.DataFrame([entry.case for entry in shown])
    headings = ("ns per fault", *(describe(cases, i) for i in range(len(shown))))
    names = list(dict.fromkeys(part.name for entry in shown for part in entry.parts))
    rows = []
    for name in names:
        cells = []
        for entry in shown:
            part = next((p for p in entry.parts if p.name == name), None)
            cells.append("–" if part is None else _ns(part.ns, part.low, part.high))
        rows.append((name, *cells))
    rows.append(("residual", *(_ns(e.residual, *e.residual_interval) for e in shown)))
    for name in dict.fromkeys(part.name for entry in shown for part in entry.within):
        found = [next((p for p in e.within if p.name == name), None) for e in shown]
        rows.append((name, *("–" if p is None else _ns(p.ns, p.low, p.high) for p in found)))
    rows.append(("difference", *(_ns(e.total.ns, e.total.low, e.total.high) for e in shown)))
    return headings, rows


def ledger_table(ledgers: list[Ledger]) -> list[str]:
    """Return the ledger as a Markdown table."""
    headings, rows = ledger_rows(ledgers)
    return _table(headings, rows)


def _ns(value: float, low: float = float("nan"), high: float = float("nan")) -> str:
    if math.isfinite(low) and math.isfinite(high):
        return f"{_tenths(value)} [{_tenths(low)}, {_tenths(high)}]"
    return _tenths(value)


def _tenths(value: float) -> str:
    """Return tenths without the sign of a zero."""
    return f"{round(value, 1) + 0.0:.1f}"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    made = ["| " + " | ".join(map(_text, headings)) + " |", "|" + "---|" * len(headings)]
    return [*made, *("| " + " | ".join(map(_text, row)) + " |" for row in rows)]


def _text(text: str) -> str:
    """Return text that Markdown shows as it is."""
    for character in "\\`*_[]|#":
        text = text.replace(character, "\\" + character)
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(text.split())
