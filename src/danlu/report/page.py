"""The report of a run: one HTML file that works offline, made from the run folder's own files and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.config import Config
from danlu.doctor.cards import cards, style
from danlu.doctor.ledger import Ledger
from danlu.language import speaking, spoken
from danlu.report import charts
from danlu.report.evaluation import augmented_section, evaluation_section, folds_section, mistakes_section
from danlu.report.healing import healing_section
from danlu.report.markup import (
    SPLITS,
    card,
    chart,
    clip,
    duration,
    escape,
    is_number,
    label,
    metric_value,
    number,
    short_label,
)
from danlu.report.object_charts import add_loss_parts
from danlu.report.object_sections import examples_section, objects_section, sizes_section
from danlu.report.retelling import retell
from danlu.report.run_sections import configuration_section, data_section, machine_section
from danlu.report.wording import say
from danlu.run.folder import Run
from danlu.run.quantities import LOSS_PARTS, METRICS

CUT_SHORT = ("interrupted", "not finished")
MAIN = {"classify": "accuracy", "regress": "r2", "detect": "mAP", "segment": "mask_mAP"}
UNDRAWN = ("AR1", "AR10", "AR_small", "AR_medium", "AR_large")  # in the table they are told, a curve adds nothing
# Nothing is fetched from anywhere, whatever a class or a file is called.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


def write_page(
    run_folder: Path, language: str | None = None, findings: Sequence[Mapping[str, Any]] | None = None
) -> Path:
    """Write `run_folder`/report.html from summary.json, metrics.jsonl, config.yaml, environment.json, findings.json,
    what the doctor measured, and, where it was tried to heal the run, heal.json.

    language: en or zh; the run's own by default, in which findings.json is. findings: in place of those there.
    Missing files leave their part of the page out (an interrupted run has no summary). Raises Refusal for a file that
    is there and cannot be read, Failure when the page cannot be written.
    """
    run = Run(Path(run_folder))
    config = run.config if (run.folder / "config.yaml").exists() else None
    summary = _completed(run.summary, run.record.rows, run.folder, config)
    environment, healing = (run.read_json(name, default={}) for name in ("environment.json", "heal.json"))
    with speaking(language or (config.doctor.language if config else "en")):
        found = run.findings if findings is None else findings
        page = render(summary, run.record.rows, config, environment, found, healing, _ledger(run))
    run.write_text(run.report.name, page)
    return run.report


def render(
    summary: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    config: Config | None,
    environment: Mapping[str, str],
    findings: Sequence[Mapping[str, Any]],
    healing: Mapping[str, Any] | None = None,
    ledger: Ledger | None = None,
) -> str:
    """The page as text, in the language that is spoken. Sections without content are left out, also of the navigation.

    ledger: what the doctor measured; findings are drawn from it.
    """
    figures: dict[str, Any] = {}
    evaluation = summary.get("evaluation") or {}
    where = SPLITS.get(evaluation.get("split", ""), "").lower()
    results = objects_section if summary.get("task") in ("detect", "segment") else evaluation_section
    sections = [
        ("Findings", "", cards(findings, ledger or Ledger(), spoken())),
        ("Healing", "What the doctor tried against these findings.", healing_section(healing or {}, figures)),
        ("Curves", "", _curves(rows, summary, figures)),
        ("Results", say("Measured on the {} split.", say(where)) if where else "", results(summary, figures)),
        ("Folds", "", folds_section(summary["folds"]) if summary.get("folds") else ""),
        ("Mistakes", "Wrong, and surest of it.", mistakes_section(evaluation.get("mistakes") or [])),
        (
            "Examples",
            "What is there, beside what was found; images with most mistakes first.",
            examples_section(evaluation.get("examples") or []),
        ),
        ("Objects", "", sizes_section(evaluation.get("sizes") or {}, figures)),
        (
            "Augmentation",
            "Training images as the model sees them.",
            augmented_section(summary.get("augmented") or []),
        ),
        ("Data", "", data_section(summary.get("data") or {})),
        ("Configuration", "", configuration_section(config, summary.get("choices") or [])),
        ("Machine", "", machine_section(summary, environment)),
    ]
    shown = [(title, lead, body) for title, lead, body in sections if body]
    links = "".join(f'<a href="#{title.lower()}">{say(title)}</a>' for title, _, _ in shown)
    body = "\n".join(_section(title, lead, body) for title, lead, body in shown)
    name = _name(summary)
    return document(name, links, f"{_head(summary, name)}\n{body}", figures)


def _section(title: str, lead: str, body: str) -> str:
    said = f"<p class=lead>{say(lead)}</p>" if lead else ""
    return f'<section id="{title.lower()}"><h2>{say(title)}</h2>{said}{body}</section>'


def document(name: str, links: str, body: str, figures: Mapping[str, Any]) -> str:
    """A whole page in the house's style: `links` and `body` are HTML, `name` is plain text."""
    return f"""<!doctype html>
<html lang="{spoken()}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(clip(name, 80))} · danlu</title>
<style>{_beside("page.css")}{style()}</style>
</head>
<body>
<nav><div><a class="brand" href="#top">danlu</a>{links}</div></nav>
<main id="top">
{body}
</main>
<script>{_plotly() if figures else ""}</script>
<script type="application/json" id="figures">{_script_json(figures)}</script>
<script>{_beside("page.js")}</script>
</body>
</html>
"""


def _ledger(run: Run) -> Ledger:
    """What the doctor measured; nothing where it did not watch, or its file was cut short."""
    try:
        return Ledger.read(run.ledger)
    except (OSError, ValueError, KeyError, TypeError):
        return Ledger()


def _completed(
    summary: dict[str, Any], rows: Sequence[Mapping[str, Any]], folder: Path, config: Config | None
) -> dict[str, Any]:
    """What an unfinished run can still say of itself: its name, task and the metrics of its last epoch."""
    out = {"run": str(folder)} | summary
    if config is not None:
        out = {"task": config.task, "model": config.model.name} | out
        out.setdefault("data", {"path": config.data.path} if config.data.path else {})
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    if not summary:
        out["stopped"] = "not finished"
    if epochs and not out.get("metrics"):
        last = epochs[-1]
        found = {s: {k.split(".", 1)[1]: v for k, v in last.items() if k.startswith(f"{s}.")} for s in SPLITS}
        out["metrics"] = {split: values for split, values in found.items() if values}
        out.setdefault("epochs", last.get("epoch"))
        out["seconds"] = out.get("seconds", last.get("seconds"))
    return out


def _name(summary: Mapping[str, Any]) -> str:
    return str(summary.get("run") or "run")


def _head(summary: Mapping[str, Any], name: str) -> str:
    model, data = summary.get("model"), summary.get("data") or {}
    on = Path(str(data["path"])).name or data["path"] if data.get("path") else None
    known = [escape(clip(part, 60)) for part in (model, on) if part] or [escape(clip(name, 60))]
    title = say("{} on {}", *known) if len(known) == 2 else known[0]
    return (
        f'<div class="head"><p class="eyebrow">{escape(clip(name, 120))}</p><h1>{title}</h1>'
        f'<p class="lead">{escape(_in_words(summary))}</p>{_notices(summary)}{_headline(summary)}</div>'
    )


def _in_words(summary: Mapping[str, Any]) -> str:
    """Two or three sentences: what was learned from what, for how long, and when it was best."""
    data = summary.get("data") or {}
    train = (data.get("counts") or {}).get("train")
    classes = data.get("classes") or []
    said = []
    if is_number(train):
        goal = say(" in {} classes", number(len(classes))) if classes else ""
        said.append(say("Trained on {} samples{}.", number(train), goal))
    if is_number(summary.get("parameters")):
        said.append(say("{} parameters.", number(summary["parameters"])))
    best, epochs, monitor = summary.get("best_epoch"), summary.get("epochs"), summary.get("monitor")
    if is_number(best) and is_number(epochs):
        measured = say(" by {}", label(str(monitor), within="validation")) if monitor else ""
        said.append(say("Best at epoch {} of {}{}.", number(best), number(epochs), measured))
    stopped = str(summary.get("stopped") or "")
    if stopped and not stopped.startswith(CUT_SHORT):
        said.append(say("Ended by {}.", retell(stopped)))
    return say(" ").join(said)


def _notices(summary: Mapping[str, Any]) -> str:
    """What the reader must know before the numbers."""
    said = []
    stopped, looks = str(summary.get("stopped") or ""), summary.get("test_looks")
    if stopped.startswith(CUT_SHORT):
        epochs = summary.get("epochs")
        sentences = [say("This run was {}.", retell(stopped))]
        if is_number(epochs):
            sentences.append(say("The numbers are those of the last finished epoch, {}.", number(epochs)))
        said.append(say(" ").join(sentences))
    if is_number(looks) and looks > 1:
        flattering = "The test split was looked at {} times: choices made in between flatter its numbers."
        said.append(say(flattering, number(looks)))
    return "".join(f'<p class="notice">{escape(text)}</p>' for text in said)


def _headline(summary: Mapping[str, Any]) -> str:
    """The few numbers to remember, the first of them largest."""
    metrics = summary.get("metrics") or {}
    first = _main_metric(summary)
    names = [first, *(n for n in ("mask_mAP50", "mAP50", "r2", "rmse", "mae", "f1", "ece", "loss") if n != first)]
    split = next((s for s in ("test", "val", "train") if metrics.get(s)), "test")
    wanted = [("test", first), ("val", first), *((split, name) for name in names[1:])]
    found = [(s, n, (metrics.get(s) or {}).get(n)) for s, n in wanted]
    tiles = [(label(n, within=SPLITS[s]), metric_value(n, v)) for s, n, v in found if is_number(v)][:3]
    if is_number(summary.get("seconds")):
        tiles.append((say("Training time"), duration(summary["seconds"])))
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles)
    return f'<dl class="headline">{cells}</dl>' if cells else ""


def _main_metric(summary: Mapping[str, Any]) -> str:
    """What the run was judged by; a loss says little to a reader, so the task's own metric stands for it."""
    monitor = summary.get("monitor")
    return monitor if monitor in METRICS and monitor != "loss" else MAIN.get(summary.get("task") or "", "loss")


def _curves(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], figures: dict[str, Any]) -> str:
    best, main = summary.get("best_epoch"), _main_metric(summary)
    recorded = {key.split(".", 1)[1] for row in rows for key in row if key.split(".", 1)[0] in SPLITS and "." in key}
    parts = [name for name in LOSS_PARTS if name in recorded]
    drawn = {name for name in recorded & set(METRICS) if name.removeprefix("mask_") not in UNDRAWN}
    names = sorted(drawn - {"loss", *LOSS_PARTS}, key=lambda n: (n != main, list(METRICS).index(n)))
    losses = charts.curves(rows, "loss", best)
    loss = chart(add_loss_parts(losses, rows, parts) if losses else None, figures, "loss", 320)
    scale = (
        f'<span class="switch" data-scale="loss"><button value="linear" aria-pressed="true">{say("linear")}</button>'
        f'<button value="log" aria-pressed="false">{say("log")}</button></span>'
    )
    panels = "".join(
        chart(charts.curves(rows, n, best), figures, f"metric-{n}", 320, "" if n == main else "hidden") for n in names
    )
    buttons = "".join(
        f'<button aria-pressed="{str(n == main).lower()}" data-panel="metric-{n}">{escape(short_label(n))}</button>'
        for n in names
    )
    tabs = f'<span class="switch">{buttons}</span>' if len(names) > 1 else ""
    cards = [
        card(say("Loss"), loss, tools=scale),
        card(label(names[0]) if len(names) == 1 else say("Metrics"), panels, tools=tabs),
        card(say("Learning rate"), chart(charts.rate(rows), figures, "rate", 220)),
        card(say("Speed"), chart(charts.speed(rows), figures, "speed", 220)),
    ]
    shown = "".join(cards)
    return f'<div class="grid">{shown}</div>' if shown else ""


def _script_json(value: Any) -> str:
    """JSON that no text inside can end the script with."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
