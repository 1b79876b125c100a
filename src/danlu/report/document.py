"""One self-contained HTML page: sections, style, scripts and the figures that the scripts draw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.doctor.presentation.cards import style
from danlu.message import language
from danlu.report.markup import Figures, clip, escape

SAMPLES = "features-samples"  # entry of the figures that samples.js reads
# Content security policy: the browser loads nothing from outside the page, whatever a class or file name contains.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
POLICY += "; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Section:
    """One section of the page. anchor: HTML id and link target; title, lead: plain text; body: HTML."""

    anchor: str
    title: str
    body: str
    lead: str = ""


def sectioned(name: str, head: str, sections: Sequence[Section], figures: Figures) -> str:
    """Build a page of a head (HTML) and sections, with links to them; sections without content are left out."""
    shown = [section for section in sections if section.body]
    links = "".join(f'<a href="#{one.anchor}">{one.title}</a>' for one in shown)
    body = "\n".join(map(_section, shown))
    return document(name, links, f"{head}\n{body}", figures)


def _section(section: Section) -> str:
    lead = f"<p class=lead>{section.lead}</p>" if section.lead else ""
    return f'<section id="{section.anchor}"><h2>{section.title}</h2>{lead}{section.body}</section>'


def document(name: str, links: str, body: str, figures: Figures) -> str:
    """Build a complete HTML page: `links` and `body` are HTML, `name` is plain text."""
    return f"""<!doctype html>
<html lang="{language()}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(clip(name, 80))} · danlu</title>
<style>{asset("page.css")}{style()}</style>
</head>
<body>
<nav><div><a class="brand" href="#top">danlu</a>{links}</div></nav>
<main id="top">
{body}
</main>
<script>{plotly_script() if figures else ""}</script>
<script type="application/json" id="figures">{_script_json(figures)}</script>
<script>{asset("charts.js")}{asset("page.js")}{asset("samples.js") if SAMPLES in figures else ""}</script>
</body>
</html>
"""


def _script_json(value: Any) -> str:
    """JSON for a script element, with "<" escaped so that no text can close the element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def plotly_script() -> str:
    """Source of Plotly."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def asset(name: str) -> str:
    """Text of a file in this package, such as page.css or charts.js."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
