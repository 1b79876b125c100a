"""Findings as HTML panels, each with the chart of its evidence: for the doctor's own page and for a run's report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.doctor.diagnose import shown
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import shown as short
from danlu.doctor.presentation.plot import Figure, render
from danlu.doctor.presentation.terms import severity_term, term
from danlu.message import as_html as text
from danlu.message import language, speaking


def style() -> str:
    """Style sheet of panels and charts. The page defines --ink --muted --line --soft --surface --train --val --warn."""
    return Path(__file__).with_name("findings.css").read_text(encoding="utf-8")


def cards(findings: Sequence[Mapping[str, Any]], ledger: Ledger, code: str | None = None) -> str:
    """HTML of findings (as in findings.json), most severe first; consequences and minor ones are folded.

    code: language code, by default the current language.
    """
    with speaking(code or language()):
        first, folded = shown(findings)
        page = "".join(card(one, ledger) for one in first)
        if folded:
            rest = "".join(card(one, ledger) for one in folded)
            summary = term("folded", "Less severe, or consequences of these: {count}", count=len(folded))
            page += f'<details class="folded"><summary>{text(summary)}</summary>{rest}</details>'
        return page


def card(one: Mapping[str, Any], ledger: Ledger) -> str:
    """One finding: title, cause, fix, the chart of its evidence, and the measurements."""
    severity = str(one.get("severity") or "note")
    kind = severity if severity.isalpha() else "note"
    confidence, code = one.get("confidence"), str(one.get("code") or "")
    where = one.get("place") or one.get("where") or ""
    percent = f"{confidence:.0%}" if isinstance(confidence, int | float) else confidence
    chips = [where, term("sure", "confidence {percent}", percent=percent) if percent else "", code]
    title = one.get("title") or one.get("cause") or code
    cause = one.get("cause") if one.get("title") else ""
    evidence, fix = one.get("evidence") or {}, one.get("remedy")
    figure = draw(one, ledger)
    parts = [
        f'<p class="tag">{text(str(severity_term(severity)).capitalize())}</p><h3>{text(title)}</h3>',
        f"<p><b>{term('why', 'Why')}</b> {text(cause)}</p>" if cause else "",
        f"<p><b>{term('fix', 'Fix')}</b> {_unbroken(text(_plain(fix)))}</p>" if fix else "",
        f"<pre><code>{text(one['snippet'])}</code></pre>" if one.get("snippet") else "",
        _consequences(one.get("consequences") or []),
        "<footer>" + "".join(f'<span class="chip">{text(_cut(c))}</span>' for c in chips if c) + "</footer>",
        _numbers(evidence),
    ]
    drawn = render(figure) if figure else ""
    wide = " drawn" if figure else ""
    return f'<article class="finding {kind}{wide}"><div>{"".join(parts)}</div>{drawn}</article>'


def draw(finding: Mapping[str, Any], ledger: Ledger) -> Figure | None:
    """The chart of a finding's evidence (finding as in findings.json); None if the ledger lacks its numbers."""
    spec = FINDINGS.get(str(finding.get("code", "")))
    for drawing in spec.charts if spec else ():
        figure = drawing(ledger, finding)
        if figure is not None:
            return figure
    return None


def _consequences(codes: Sequence[str]) -> str:
    return f"<p><b>{term('explains', 'It explains')}</b> <code>{text(', '.join(codes))}</code></p>" if codes else ""


def _numbers(evidence: Any) -> str:
    """The measurements as a folded table."""
    if not isinstance(evidence, Mapping):
        return f"<p>{text(_plain(evidence))}</p>" if evidence else ""
    rows = "".join(f"<tr><td>{text(k)}</td><td>{text(_cut(short(v), 400))}</td></tr>" for k, v in evidence.items())
    return f"<details><summary>{term('numbers', 'Numbers')}</summary><table>{rows}</table></details>" if rows else ""


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _unbroken(words: str) -> str:
    """Keep flags such as --size on one line."""
    return re.sub(r"(?<!\w)--[\w.-]+", r'<span class="flag">\g<0></span>', words)


def _cut(value: Any, length: int = 60) -> str:
    line = str(value)
    return line if len(line) <= length else f"{line[: length - 1]}…"
