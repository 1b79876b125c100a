"""One page of HTML with the findings, their evidence and the curves they rest on; it needs nothing but a browser."""

# ruff: noqa: E501 - a style sheet, and words in two languages

from __future__ import annotations

import html
import math
import os
from collections.abc import Sequence
from pathlib import Path

from danlu.doctor.diagnose import shown
from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.messages import shown as short
from danlu.doctor.names import NAMES

WIDTH, HEIGHT, MARGIN = 340, 150, 6
POINTS = 300  # of a curve
# Chart -> the series drawn in it: (name in the ledger, where, label). Logarithmic where marked.
CHARTS: tuple[tuple[str, bool, tuple[tuple[str, str, str], ...]], ...] = (
    ("Loss of each step", True, (("loss.step", "", "train"),)),
    ("Mean loss of each epoch", True, (("loss.mean", "train", "train"), ("loss.mean", "val", "validation"))),
    ("Accuracy", False, (("accuracy.mean", "train", "train"), ("accuracy.mean", "val", "validation"))),
    ("Norm of the gradient", True, (("gradient.norm", "", "all parameters"),)),
    ("Update over weight", True, (("update.ratio", "", "all parameters"),)),
    ("Learning rate", True, (("optimizer.lr", "optimizer0.0", "first group"), ("optimizer.lr", "0", "first group"))),
    ("Cosine of successive updates", False, (("update.cosine", "", "all parameters"),)),
    ("Memory of the process, bytes", False, (("memory.process", "", "process"),)),
)
COLOURS = ("#2a78d6", "#e87ba4", "#1baf7a")
STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#667;--line:#d8dbe0;--paper:#fff;--card:#f7f8fa;
--error:#c92a2a;--warning:#b35c00;--note:#55606e}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--soft:#9aa3ad;--line:#3a3f46;--paper:#16181b;--card:#1f2226;
--error:#ff7b72;--warning:#e3a34a;--note:#9aa3ad}}
body{margin:0 auto;max-width:1080px;padding:24px 20px 60px;font:16px/1.55 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:28px;margin:0 0 4px}h2{font-size:19px;margin:34px 0 10px}p{margin:6px 0}.lead{color:var(--soft)}
article{background:var(--card);border-left:5px solid var(--note);border-radius:8px;padding:14px 18px;margin:12px 0}
article.error{border-color:var(--error)}article.warning{border-color:var(--warning)}article h3{margin:0 0 6px;font-size:17px}
.tag{font-size:13px;color:var(--soft)}.error .tag b{color:var(--error)}.warning .tag b{color:var(--warning)}
table{border-collapse:collapse;font-size:14px;margin-top:8px}td{padding:1px 14px 1px 0;color:var(--soft);vertical-align:top}
code{font:14px ui-monospace,monospace;overflow-wrap:anywhere}.charts{display:flex;flex-wrap:wrap;gap:14px}
figure{margin:0;background:var(--card);border-radius:8px;padding:10px 12px;flex:1 1 300px;max-width:520px}
figcaption{font-size:14px;margin-bottom:4px}svg{width:100%;height:auto;display:block}svg text{font:10px system-ui;fill:var(--soft)}
.key{font-size:12px;color:var(--soft);margin-left:8px}details{margin-top:14px}
"""
WORDS = {
    "en": ("The doctor's report", "Nothing wrong was found.", "{} steps in {} epochs were watched.", "Findings", "Less grave", "Curves", "Why", "Cure", "explains", "confidence", "What could not be seen"),
    "zh": ("医生的报告", "没有发现问题。", "观察了 {} 步、{} 轮。", "发现", "较轻的", "曲线", "原因", "处方", "由它引起", "置信度", "看不到的部分"),
}  # fmt: skip


def write_page(path: str | os.PathLike[str], ledger: Ledger, findings: Sequence[Finding], language: str = "en") -> Path:
    """Write the page; gives its path."""
    path = Path(path)
    words = WORDS.get(language, WORDS["en"])
    title, nothing, watched, heading, lesser, curves, why, cure, explains, sure, unseen = words
    first, folded = shown(list(findings))
    cards = "".join(_card(one, why, cure, explains, sure) for one in first) or f"<p>{nothing}</p>"
    rest = "".join(_card(one, why, cure, explains, sure) for one in folded)
    rest = f"<details><summary>{lesser} ({len(folded)})</summary>{rest}</details>" if folded else ""
    charts = "".join(_chart(name, log, series, ledger) for name, log, series in CHARTS)
    blind = "".join(f"<li>{_text(w)}: {_text(v)}</li>" for w, v in ledger.facts("run.unseen").items())
    blind = f"<h2>{unseen}</h2><ul>{blind}</ul>" if blind else ""
    steps, epochs = ledger.last("run.finished", default=0), len(ledger.values("run.steps"))
    page = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>"
        f'<p class="lead">{watched.format(steps, epochs)}</p><h2>{heading}</h2>{cards}{rest}'
        f'<h2>{curves}</h2><div class="charts">{charts}</div>{blind}</body></html>'
    )
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def _card(one: Finding, why: str, cure: str, explains: str, sure: str) -> str:
    rows = "".join(f"<tr><td>{_text(k)}</td><td>{_text(short(v))}</td></tr>" for k, v in one.evidence.items())
    follows = f"<p>{explains}: <code>{_text(', '.join(one.consequences))}</code></p>" if one.consequences else ""
    where = f" · {_text(one.where)}" if one.where else ""
    return (
        f'<article class="{one.severity}"><h3>{_text(one.title or one.code)}</h3><p class="tag"><b>{one.severity}</b>'
        f" · <code>{_text(one.code)}</code>{where} · {sure} {one.confidence:.0%}</p><p><b>{why}</b> {_text(one.cause)}</p>"
        f"<p><b>{cure}</b> <code>{_text(one.remedy)}</code></p>{follows}<table>{rows}</table></article>"
    )


def _chart(title: str, log: bool, wanted: Sequence[tuple[str, str, str]], ledger: Ledger) -> str:
    """A figure, or nothing where there is no curve to draw."""
    lines = []
    for name, where, label in wanted:
        steps, values = ledger.series(name, where)
        points = [(s, v) for s, v in zip(steps, values) if isinstance(v, int | float) and math.isfinite(v)]
        points = [(s, math.log10(v) if log else v) for s, v in points if v > 0 or not log]
        if len(points) > 1:
            lines.append((label, points[:: max(1, len(points) // POINTS)]))
    if not lines:
        return ""
    xs, ys = ([p[axis] for _, points in lines for p in points] for axis in (0, 1))
    (left, right), (low, high) = (min(xs), max(xs)), (min(ys), max(ys))
    across, up = max(right - left, 1e-9), max(high - low, 1e-9)

    def place(x: float, y: float) -> str:
        return (
            f"{MARGIN + (WIDTH - 2 * MARGIN) * (x - left) / across:.1f},"
            f"{HEIGHT - 16 - (HEIGHT - 30) * (y - low) / up:.1f}"
        )

    drawn = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{" ".join(place(*p) for p in points)}"/>'
        for colour, (_, points) in zip(COLOURS, lines)
    )
    ends = [f"{10**y if log else y:.3g}" for y in (high, low)]
    keys = "".join(
        f'<span class="key" style="color:{c}">{_text(label)}</span>' for c, (label, _) in zip(COLOURS, lines)
    )
    unit = NAMES[wanted[0][0]].when
    return (
        f'<figure><figcaption>{_text(title)}{keys}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{drawn}'
        f'<text x="{MARGIN}" y="10">{ends[0]}</text><text x="{MARGIN}" y="{HEIGHT - 18}">{ends[1]}</text>'
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 3}" text-anchor="end">{unit} {right:g}</text></svg></figure>'
    )


def _text(value: object) -> str:
    return html.escape(str(value))
