"""One HTML page with the findings, the charts of their evidence and the curves of the run, for any browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from danlu.doctor.derived.learning import MIN_SKILL, final_skill
from danlu.doctor.drawings.over_epochs import epoch_accuracies, reported_metrics
from danlu.doctor.drawings.over_time import pair, rate, series
from danlu.doctor.finding import Finding
from danlu.doctor.judged import Checked, judged
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message, recorded
from danlu.doctor.presentation.cards import cards, style
from danlu.doctor.presentation.plot import render
from danlu.doctor.presentation.terms import term
from danlu.message import Message, speaking
from danlu.message import as_html as text
from danlu.message import language as current_language

# Content security policy: the page has no scripts and loads nothing, whatever a name in it contains.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
LOSSES = (
    ("loss.mean", "train", message("doctor.chart.training", "training")),
    ("loss.mean", "val", message("doctor.chart.validation", "validation")),
)
CURVES = (
    series(
        message("doctor.chart.training_loss_of_each_step", "Training loss of each step"),
        message("doctor.chart.loss", "loss"),
        "loss.step",
        log=None,
    ),
    pair(
        message("doctor.chart.mean_loss_of_each_epoch", "Mean loss of each epoch"),
        message("doctor.chart.loss", "loss"),
        *LOSSES,
        x="epoch",
        log=None,
    ),
    epoch_accuracies,
    series(
        message("doctor.chart.norm_of_the_gradient", "Norm of the gradient"),
        message("doctor.chart.norm_all_parameters", "norm, all parameters"),
        "gradient.norm",
        log=True,
    ),
    series(
        message("doctor.chart.update_over_weight", "Update over weight"),
        message("doctor.chart.norm_of_the_update_norm", "norm of the update / norm of the weights"),
        "update.ratio",
        log=True,
    ),
    rate,
    series(
        message("doctor.chart.successive_updates", "Successive updates"),
        message("doctor.chart.cosine", "cosine"),
        "update.cosine",
        levels=[(0.0, "")],
    ),
    series(message("doctor.chart.memory_in_use", "Memory in use"), "MiB", "memory.process", x="epoch", times=2**-20),
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
.unjudged{background:var(--surface);border:1px solid var(--line);border-left:4px solid var(--warn);border-radius:12px;
padding:20px 22px;margin:0}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:20px}
.curves>.proof{background:var(--surface);border:1px solid var(--line);border-radius:12px;padding:18px 20px}
.curves .proof{--bad:var(--val);--good-soft:#2f906820;--good:#2f9068}
ul{color:var(--muted)}
@media(max-width:760px){body{padding:28px 16px 60px}h2{margin-top:36px}}
"""


@dataclass(frozen=True)
class TrainingSection:
    """One training on the page.

    title: name of the training; "" if the page has only one. checked, lead: findings that were judged, and the first
    sentence, where they do not follow from the ledger as of a watched training (the log of another tool).
    """

    ledger: Ledger
    findings: Sequence[Finding]
    title: str = ""
    checked: Checked | None = None
    lead: Message | None = None


def write_page(
    path: str | os.PathLike[str], ledger: Ledger, findings: Sequence[Finding], language: str | None = None
) -> Path:
    """Write the page and return its path. language: language code, by default the current language."""
    return write_sections(path, [TrainingSection(ledger, findings)], language)


def write_sections(
    path: str | os.PathLike[str],
    sections: Sequence[TrainingSection],
    language: str | None = None,
    not_found: Sequence[str] = (),
) -> Path:
    """Write one page for several trainings and return its path.

    Args:
        language: language code, by default the current language.
        not_found: sentences about parts of the program that were not found.
    """
    path = Path(path)
    with speaking(language or current_language()):
        title = text(term("title", "The doctor's report"))
        missing = "".join(f"<li>{text(one)}</li>" for one in not_found)
        page = (
            f'<!doctype html><html lang="{current_language()}"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
            f"<style>{STYLE}{style()}</style></head><body><h1>{title}</h1>"
            + "".join(_section(one) for one in sections)
            + (f"<h2>{term('missing', 'What was not found')}</h2><ul>{missing}</ul>" if missing else "")
            + "</body></html>"
        )
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def _section(section: TrainingSection) -> str:
    ledger, findings = section.ledger, section.findings
    nothing = _nothing(ledger, section.checked is not None)
    found = cards([one.to_dict() for one in findings], ledger) or nothing
    drawn = [figure for draw in CURVES if (figure := draw(ledger, {}))] + reported_metrics(ledger)
    charts = "".join(render(figure) for figure in drawn)
    steps, epochs = ledger.last("run.finished", default=0), len(ledger.values("run.steps"))
    watched = section.lead or term(
        "watched",
        "{steps} {steps:step|steps} in {epochs} {epochs:epoch|epochs} {steps:was|were} watched.",
        steps=f"{steps:,}",
        epochs=epochs,
    )
    return (
        (f"<h2>{text(section.title)}</h2>" if section.title else "")
        + f'<p class="lead">{text(watched)}</p><h2>{term("findings", "Findings")}</h2>{found}'
        f'{_unobserved(ledger, section.checked)}<h2>{term("curves", "Curves")}</h2><div class="curves">{charts}</div>'
    )


def _nothing(ledger: Ledger, curves_only: bool) -> str:
    """Paragraph of a page without findings; it is no praise where learning was not judged or did not happen."""
    skill = None if curves_only else final_skill(ledger)
    if curves_only:
        words = term("nothing_in_curves", "No fault shows in the curves.")
    elif skill is None:
        words = term(
            "not_judged",
            "No fault was found. Whether the model learns was not judged: the loss at chance level is not known.",
        )
    elif skill < MIN_SKILL:
        words = term("at_chance", "No fault was found, but at the end the loss was no better than at chance level.")
    else:
        words = term("nothing", "Nothing wrong was found.")
    return f'<p class="{"well" if skill is not None and skill >= MIN_SKILL else "unjudged"}">{text(words)}</p>'


def _unobserved(ledger: Ledger, checked: Checked | None) -> str:
    """Number of findings that were checked, findings not judged with the reason, and parts not observed."""
    checked = checked or judged(ledger)
    lines = [
        text(term("because", "{what}: {why}", what=recorded(what), why=recorded(why)))
        for what, why in ledger.facts("run.unseen").items()
    ]
    lines += [f"{text(why)}: <code>{text(', '.join(codes))}</code>" for why, codes in checked.reasons().items()]
    n = term(
        "checked",
        "{n} findings were checked, {missing} could not be judged.",
        n=checked.n,
        missing=len(checked.not_judged),
    )
    title = term("unseen", "What could not be seen")
    listed = "".join(f"<li>{line}</li>" for line in lines)
    return f"<h2>{text(title)}</h2><p class=lead>{text(n)}</p><ul>{listed}</ul>" if lines else f"<p>{text(n)}</p>"
