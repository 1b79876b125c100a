"""Findings as cards of HTML, each with the chart that proves it: for the doctor's own page and for a run's report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.doctor.diagnose import shown
from danlu.doctor.drawings.table import draw
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import shown as short
from danlu.doctor.plot import render, text
from danlu.doctor.wording.drawings import saying
from danlu.doctor.wording.terms import terms


def style() -> str:
    """The style sheet of cards and charts. The page around them defines --ink --muted --line --soft --surface
    --train --val --warn."""
    return Path(__file__).with_name("findings.css").read_text(encoding="utf-8")


def cards(findings: Sequence[Mapping[str, Any]], ledger: Ledger, language: str = "en") -> str:
    """Findings as in findings.json, gravest first; what is lesser or follows from others is folded. A pure function."""
    words = terms(language)
    first, folded = shown(findings)
    page = "".join(card(one, ledger, language) for one in first)
    if folded:
        rest = "".join(card(one, ledger, language) for one in folded)
        page += (
            f'<details class="folded"><summary>{text(words["folded"].format(len(folded)))}</summary>{rest}</details>'
        )
    return page


def card(one: Mapping[str, Any], ledger: Ledger, language: str = "en") -> str:
    """What is wrong, why, what cures it, the chart that shows it, and the numbers it rests on."""
    words, say = terms(language), saying(language)
    severity = str(one.get("severity") or "note")
    kind = severity if severity.isalpha() else "note"
    sure, code = one.get("confidence"), str(one.get("code") or "")
    where = one.get("place") or one.get("where") or ""
    certain = f"{sure:.0%}" if isinstance(sure, int | float) else sure
    chips = [where, words["sure"].format(certain) if certain else "", code]
    title = one.get("title") or one.get("cause") or code
    cause = one.get("cause") if one.get("title") else ""
    evidence, remedy = one.get("evidence") or {}, one.get("remedy")
    figure = draw(one, ledger, language)
    parts = [
        f'<p class="tag">{text(words.get(severity, severity).capitalize())}</p><h3>{text(title)}</h3>',
        f"<p><b>{words['why']}</b> {text(cause)}</p>" if cause else "",
        f"<p><b>{words['cure']}</b> {_unbroken(text(_plain(remedy)))}</p>" if remedy else "",
        _follows(one.get("consequences") or [], words["explains"]),
        "<footer>" + "".join(f'<span class="chip">{text(_cut(c))}</span>' for c in chips if c) + "</footer>",
        _numbers(evidence, words["numbers"]),
    ]
    drawn = render(figure, say("{} more")) if figure else ""
    wide = " drawn" if figure else ""
    return f'<article class="finding {kind}{wide}"><div>{"".join(parts)}</div>{drawn}</article>'


def _follows(codes: Sequence[str], word: str) -> str:
    return f"<p><b>{word}</b> <code>{text(', '.join(codes))}</code></p>" if codes else ""


def _numbers(evidence: Any, word: str) -> str:
    """The evidence as it stands: folded, for who wants to check."""
    if not isinstance(evidence, Mapping):
        return f"<p>{text(_plain(evidence))}</p>" if evidence else ""
    rows = "".join(f"<tr><td>{text(k)}</td><td>{text(_cut(short(v), 400))}</td></tr>" for k, v in evidence.items())
    return f"<details><summary>{word}</summary><table>{rows}</table></details>" if rows else ""


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _unbroken(words: str) -> str:
    """Flags such as --size stay in one line."""
    return re.sub(r"(?<!\w)--[\w.-]+", r'<span class="flag">\g<0></span>', words)


def _cut(value: Any, most: int = 60) -> str:
    line = str(value)
    return line if len(line) <= most else f"{line[: most - 1]}…"
