"""One page of HTML with the findings, the charts that prove them and the curves of the run; it needs but a browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from danlu.doctor.cards import cards, style
from danlu.doctor.drawings.over_time import epoch_accuracies, pair, rate, series, told_by_loop
from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.messages import retold
from danlu.doctor.plot import render, text
from danlu.doctor.wording.drawings import saying
from danlu.doctor.wording.terms import terms

LOSSES = (("loss.mean", "train", "training"), ("loss.mean", "val", "validation"))
CURVES = (
    series("Training loss of each step", "loss", "loss.step", log=None),
    pair("Mean loss of each epoch", "loss", *LOSSES, x="epoch", log=None),
    epoch_accuracies,
    series("Norm of the gradient", "norm, all parameters", "gradient.norm", log=True),
    series("Update over weight", "norm of the update / norm of the weights", "update.ratio", log=True),
    rate,
    series("Successive updates", "cosine", "update.cosine", levels=[(0.0, "")]),
    series("Memory in use", "MiB", "memory.process", x="epoch", times=2**-20),
)
STYLE = """
:root{color-scheme:light dark;--page:#fafaf9;--surface:#fff;--ink:#1a1a19;--muted:#75736e;--line:#ebeae7;--soft:#f4f3f1;
--train:#3d68c9;--val:#d0512f;--warn:#a86a00}
@media(prefers-color-scheme:dark){:root{--page:#131312;--surface:#1b1b1a;--ink:#eeedea;--muted:#98958e;--line:#2d2c2a;
--soft:#242322;--train:#7d9ff0;--val:#f08a68;--warn:#e5b664}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1128px;padding:48px 24px 80px;font:15px/1.55 system-ui,-apple-system,"Segoe UI",
"Noto Sans","PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:clamp(28px,4.4vw,40px);line-height:1.15;letter-spacing:-.025em;margin:0 0 8px}
h2{font-size:22px;letter-spacing:-.015em;margin:48px 0 16px}.lead{margin:0;color:var(--muted);font-size:16px}
.well{background:var(--surface);border:1px solid var(--line);border-left:4px solid #2f9068;border-radius:12px;
padding:20px 22px;margin:0}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:20px}
.curves>.proof{background:var(--surface);border:1px solid var(--line);border-radius:12px;padding:18px 20px}
.curves .proof{--bad:var(--val);--good-soft:#2f906820;--good:#2f9068}
ul{color:var(--muted)}
@media(max-width:760px){body{padding:28px 16px 60px}h2{margin-top:36px}}
"""


def write_page(path: str | os.PathLike[str], ledger: Ledger, findings: Sequence[Finding], language: str = "en") -> Path:
    """Write the page; gives its path."""
    path = Path(path)
    words, say = terms(language), saying(language)
    found = cards([one.to_dict() for one in findings], ledger, language) or f'<p class="well">{words["nothing"]}</p>'
    drawn = [figure for draw in CURVES if (figure := draw(ledger, {}, say))] + told_by_loop(ledger, say)
    charts = "".join(render(figure) for figure in drawn)
    unseen = ((retold(what, language), retold(why, language)) for what, why in ledger.facts("run.unseen").items())
    blind = "".join(f"<li>{text(what)}{words[':']}{text(why)}</li>" for what, why in unseen)
    blind = f"<h2>{words['unseen']}</h2><ul>{blind}</ul>" if blind else ""
    steps, epochs = ledger.last("run.finished", default=0), len(ledger.values("run.steps"))
    page = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{words["title"]}</title>'
        f"<style>{STYLE}{style()}</style></head><body><h1>{words['title']}</h1>"
        f'<p class="lead">{words["watched"].format(f"{steps:,}", epochs)}</p><h2>{words["findings"]}</h2>{found}'
        f'<h2>{words["curves"]}</h2><div class="curves">{charts}</div>{blind}</body></html>'
    )
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path
