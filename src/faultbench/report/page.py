"""The report as one HTML file: no network, no scripts, everything escaped, opens from a mail."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from faultbench.analysis import formats, stats
from faultbench.report import tables
from faultbench.report.facts import COUNTER_HEADINGS, TIB_HEADINGS, Facts
from faultbench.report.style import CSS

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
# Shown where the screen is narrower than what it stands above (`style.CSS`).
HINT = '<p class="hint" aria-hidden="true">⟷ wider than the screen: swipe sideways</p>'
ALTS = {
    "scalability": "Faults per second and the ratio of the paths over the number of workers",
    "counters": "VMA-lock events, mmap_lock reads and parks per fault",
    "latency": "Latency quantiles by outcome of the fault",
    "ledger": "Cost ledger: the difference per fault as stacked parts",
    "lines": "Hottest cache lines of the simulated machine",
    "laboratory": "mmap_lock reads per fault and the retry/direct ratio, kernel and model, by case",
    "surface": "Ratio over workers and writers as a heat map",
}


def escape(text: object) -> str:
    """Return text safe as element content and as a quoted attribute."""
    kept = "".join(c for c in str(text) if c >= " " or c in "\t\n")
    return html.escape(kept, quote=True)


def render(facts: Facts, figures: Sequence[Path], left_out: str = "") -> str:
    """Return the page; ``figures`` are SVG or PNG files that become part of it.

    ``left_out`` says which panels they do not show.
    """
    body = [
        "<header>",
        f"<h1>{escape(facts.title)}</h1>",
        '<p class="badges">'
        + " ".join(f'<span class="badge {b.kind}">{escape(b.text)}</span>' for b in facts.badges)
        + "</p>",
        *(f'<p class="answer">{escape(s)}</p>' for s in facts.answer),
        *(
            f'<p class="further"><span class="badge {badge.kind}">{escape(badge.text)}</span> '
            f"{escape(' '.join(said))}</p>"
            for badge, said in facts.further
        ),
        "</header>",
        _section("What was released, and what an upgrade sees", _list(facts.released)),
    ]
    if facts.tib:
        inner = _table(TIB_HEADINGS, facts.tib, "tib") + f"<p>{escape(facts.tib_note)}</p>"
        body.append(_section("Time to fault in 1 TiB of address space", inner))
    body.append(_section("The next bottleneck", _list(facts.next_lock)))
    body.append(_section("What this does not tell", _list(facts.tells_not)))
    told = f"<p>{escape(left_out)}</p>" if left_out else ""
    body.append(_section("Figures", told + "".join(_figure(path) for path in figures)))
    for by, wall, cpu in facts.comparisons:
        inner = "".join(_titled(t, "cases") for t in tables.comparisons(wall, cpu))
        body.append(_section(f"Comparison by {by}", inner + _list(formats.footnotes(wall))))
    if facts.ledgers:
        inner = "".join(_titled(t, "ledger") for t in tables.ledgers(facts.ledgers)) + (
            "<p>The parts and the residual add up to the difference. Intervals are 95 %; a part "
            "without one is exact: virtual time, or busy time that was asked for.</p>"
        )
        body.append(_section("Cost ledger", inner))
    body.append(
        _section(
            "Counters and fairness",
            f"<details><summary>{len(facts.counters)} rows, medians of the repeats</summary>"
            + _table(*tables.told(COUNTER_HEADINGS, facts.counters))
            + "</details>",
        )
    )
    flagged = [f"{what}: {how}" for what, how in facts.disturbances] or ["None was flagged."]
    body.append(_section("Disturbances", _list(flagged) + _list(facts.notes)))
    if facts.command:
        body.append(_section("Reproduce", f"<pre><code>{escape(facts.command)}</code></pre>"))
    if facts.host:
        rows = [(k, v) for k, v in facts.host.items()]
        inner = "<details><summary>Host</summary>" + _table(("fact", "value"), rows) + "</details>"
        body.append(_section("Machine", inner))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(facts.title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n<footer>Made by faultbench.</footer>\n</main>\n</body>\n</html>\n"
    )


def _section(title: str, inner: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{inner}\n</section>" if inner else ""


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in lines) + "</ul>" if lines else ""


def _titled(table: tables.Table, kind: str) -> str:
    head = f"<h3>{escape(table.title)}</h3>" if table.title else ""
    return head + _table(table.headings, table.rows, kind) + _list(table.notes)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "plain") -> str:
    """Return a table; ``kind`` is its class in the style sheet."""
    head = "".join(f'<th scope="col">{escape(_parted(h))}</th>' for h in headings)
    verdict = headings.index("verdict") if "verdict" in headings else None
    made = []
    for row in rows:
        marks = ""
        if verdict is not None:
            found = {stats.FASTER: "faster", stats.SLOWER: "slower"}.get(row[verdict], "quiet")
            marks = f' class="{found}"'
        cells = f'<th scope="row">{escape(_parted(row[0]))}</th>'
        cells += "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        made.append(f"<tr{marks}>{cells}</tr>")
    body = "\n".join(made)
    return (
        f'{HINT}<div class="scroll table" tabindex="0"><table class="{kind}"><thead><tr>{head}</tr>'
        f"</thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _parted(case: str) -> str:
    """Return a case's name so that it parts at ``·`` only: ``2 workers`` stays together."""
    parts = case.split(" · ")
    if len(parts) == 1:
        return case
    return "\N{NO-BREAK SPACE}· ".join(p.replace(" ", "\N{NO-BREAK SPACE}") for p in parts)


def _figure(path: Path) -> str:
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    alt = next((text for name, text in ALTS.items() if f"-{name}" in path.stem), "Figure")
    return (
        f'<figure>{HINT}<div class="scroll" tabindex="0" role="region" aria-label="{escape(alt)}">'
        f'<img alt="{escape(alt)}" src="data:{kind};base64,{data}"></div></figure>'
    )
