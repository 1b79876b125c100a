"""Report of a run: one self-contained HTML file, written from the files of the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.config import Config
from danlu.doctor.diagnose import judged
from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.cards import cards
from danlu.message import language, message, speaking, translated
from danlu.report import charts
from danlu.report.document import Section, sectioned
from danlu.report.evaluation import augmented_section, evaluation_section, folds_section, mistakes_section
from danlu.report.feature_sections import features_lead, features_section
from danlu.report.healing import healing_section
from danlu.report.label_sections import label_mistakes_section, labels_section
from danlu.report.map_sections import map_examples_section, maps_section
from danlu.report.markup import (
    Figures,
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
from danlu.report.pose_sections import pose_examples_section, poses_section
from danlu.report.pretraining_sections import pretraining_section
from danlu.report.run_sections import configuration_section, data_section, machine_section
from danlu.run.best_epoch import SMALL_VALIDATION, WINDOW
from danlu.run.folder import Run
from danlu.run.names import FEATURES_FILE, SPLIT_TITLES, SPLIT_WORDS
from danlu.run.quantities import LOSS_TERMS, METRICS, is_certain
from danlu.task_spec import TASKS

CUT_SHORT = ("interrupted", "not finished")
MAIN_METRICS = {name: spec.monitor for name, spec in TASKS.items()}
PLAIN_RESULTS = (evaluation_section, lambda found: mistakes_section(found.get("mistakes") or []))
RESULTS = {  # type of the targets -> sections of the results and of the mistakes
    "class": PLAIN_RESULTS,
    "labels": (labels_section, lambda found: label_mistakes_section(found.get("label_mistakes") or [])),
    "numbers": PLAIN_RESULTS,
    "objects": (objects_section, PLAIN_RESULTS[1]),
    "none": (pretraining_section, PLAIN_RESULTS[1]),
    "map": (maps_section, PLAIN_RESULTS[1]),
}
# Metrics beside the main one at the top of the page, the first of those that a run has.
HEADLINE = (
    "mask_mAP50",
    "mAP50",
    "boundary_IoU",
    "rotation",
    "r2",
    "rmse",
    "mae",
    "f1",
    "ece",
    "baseline",
    "rank",
    "loss",
)
TABLE_ONLY = ("AR1", "AR10", "AR_small", "AR_medium", "AR_large")  # metrics without a curve


def write_page(run_folder: Path, lang: str | None = None, findings: Sequence[Mapping[str, Any]] | None = None) -> Path:
    """Write `run_folder`/report.html and return its path.

    Reads summary.json, metrics.jsonl, config.yaml, environment.json, findings.json, the doctor's ledger, heal.json and
    features.json.
    The section of a missing file is left out (an interrupted run has no summary).

    Args:
        run_folder: Folder of the run.
        lang: "en" or "zh"; by default the language of the run's configuration.
        findings: Findings to show instead of those in findings.json.

    Raises:
        Refusal: A file exists but cannot be read.
        Failure: The page cannot be written.
    """
    run = Run(Path(run_folder))
    config = run.config if (run.folder / "config.yaml").exists() else None
    summary = _completed(run.read_json("summary.json", default={}), run.record.rows, run.folder, config)
    environment, healing, features = (
        run.read_json(name, default={}) for name in ("environment.json", "heal.json", FEATURES_FILE)
    )
    with speaking(lang or (config.doctor.language if config else "en")):
        found = run.findings if findings is None else findings
        page = render(summary, run.record.rows, config, environment, found, healing, _ledger(run), features)
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
    features: Mapping[str, Any] | None = None,
) -> str:
    """Render the page as HTML in the current language, leaving out sections without content.

    ledger: the doctor's measurements, for the charts of the findings. features: the content of features.json.
    """
    figures: Figures = {}
    evaluation = summary.get("evaluation") or {}
    split = SPLIT_WORDS.get(evaluation.get("split", ""))
    measured = translated("report.lead.results", "Measured on the {split} set.", split=split) if split else ""
    results, mistakes = RESULTS[TASKS[summary["task"]].targets] if summary.get("task") in TASKS else PLAIN_RESULTS
    if summary.get("task") in TASKS and TASKS[summary["task"]].poses:
        results = poses_section
    sections = [
        Section(
            "findings",
            translated("report.heading.findings", "Findings"),
            cards(findings, ledger or Ledger(), language()) if findings else _no_findings(ledger),
        ),
        Section(
            "healing",
            translated("report.heading.healing", "Healing"),
            healing_section(healing or {}, figures),
            translated("report.lead.healing", "Fixes tried for these findings."),
        ),
        Section("curves", translated("report.heading.curves", "Curves"), _curves(rows, summary, ledger, figures)),
        Section("results", translated("report.heading.results", "Results"), results(summary, figures), measured),
        Section(
            "folds",
            translated("report.heading.folds", "Folds"),
            folds_section(summary["folds"]) if summary.get("folds") else "",
        ),
        Section(
            "mistakes",
            translated("report.heading.mistakes", "Mistakes"),
            mistakes(evaluation),
            translated("report.lead.mistakes", "Wrong predictions with the highest confidence."),
        ),
        Section(
            "examples",
            translated("report.heading.examples", "Examples"),
            examples_section(evaluation.get("examples") or [])
            + pose_examples_section(evaluation.get("pose_examples") or []),
            translated(
                "report.lead.examples", "Ground truth and detections side by side; images with the most mistakes first."
            ),
        ),
        Section(
            "maps",
            translated("report.heading.maps", "Label maps"),
            map_examples_section(evaluation),
            translated(
                "report.lead.maps", "True and predicted classes side by side; images with the lowest mean IoU first."
            ),
        ),
        Section(
            "objects",
            translated("report.heading.objects", "Objects"),
            sizes_section(evaluation.get("sizes") or {}, figures),
        ),
        Section(
            "features",
            translated("report.heading.features", "Features"),
            features_section(features or {}, figures),
            features_lead(features or {}),
        ),
        Section(
            "augmentation",
            translated("report.heading.augmentation", "Augmentation"),
            augmented_section(summary.get("augmented") or []),
            translated("report.lead.augmentation", "Training images as the model gets them."),
        ),
        Section("data", translated("report.heading.data", "Data"), data_section(summary.get("data") or {})),
        Section(
            "configuration",
            translated("report.heading.configuration", "Configuration"),
            configuration_section(config, summary.get("choices") or []),
        ),
        Section("machine", translated("report.heading.machine", "Machine"), machine_section(summary, environment)),
    ]
    name = str(summary.get("run") or "run")
    return sectioned(name, _head(summary, name), sections, figures)


def _no_findings(ledger: Ledger | None) -> str:
    """Number of findings that were checked when none was found; empty for a run without the doctor."""
    checked = judged(ledger) if ledger is not None else None
    if checked is None or not checked.n:
        return ""
    reasons = "".join(f"<li>{escape(why)}: {escape(', '.join(codes))}</li>" for why, codes in checked.reasons().items())
    notes = f'<ul class="notes">{reasons}</ul>' if reasons else ""
    text = "The doctor checked {count} {count:kind|kinds} of faults and found none."
    found = translated("report.nothing_found", text, count=checked.n)
    title = translated("report.not_judged", "Not judged") if notes else ""
    return f'<p class="well">{escape(found)}</p>' + (card(title, notes) if notes else "")


def _ledger(run: Run) -> Ledger:
    """Read the doctor's measurements; an empty ledger when the file is missing, or cut and without a checksum."""
    if not run.ledger.exists():
        return Ledger()
    path = run.checked(run.ledger)
    try:
        return Ledger.read(path)
    except ValueError:
        return Ledger()


def _completed(
    summary: dict[str, Any], rows: Sequence[Mapping[str, Any]], folder: Path, config: Config | None
) -> dict[str, Any]:
    """Complete the summary of an unfinished run: name, task, model and the metrics of its last epoch."""
    out = {"run": str(folder)} | summary
    if config is not None:
        out = {"task": config.task, "model": config.model.name} | out
        out.setdefault("data", {"path": config.data.path} if config.data.path else {})
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    if not summary:
        out["stopped"] = message("stop.unfinished", "not finished")
    if epochs and not out.get("metrics"):
        last = epochs[-1]
        found = {s: {k.split(".", 1)[1]: v for k, v in last.items() if k.startswith(f"{s}.")} for s in SPLIT_TITLES}
        out["metrics"] = {split: values for split, values in found.items() if values}
        out.setdefault("epochs", last.get("epoch"))
        out["seconds"] = out.get("seconds", last.get("seconds"))
    return out


def _head(summary: Mapping[str, Any], name: str) -> str:
    model, data = summary.get("model"), summary.get("data") or {}
    source = Path(str(data["path"])).name or data["path"] if data.get("path") else None
    parts = [escape(clip(part, 60)) for part in (model, source) if part] or [escape(clip(name, 60))]
    title = parts[0]
    if len(parts) == 2:
        title = translated("report.title", "{model} on {data}", model=parts[0], data=parts[1])
    return (
        f'<div class="head"><p class="eyebrow">{escape(clip(name, 120))}</p><h1>{title}</h1>'
        f'<p class="lead">{escape(_summary_text(summary))}</p>{_notices(summary)}{_headline(summary)}</div>'
    )


def _measure_of_best(monitor: str, validated: Any) -> str:
    """Clause on the metric that chose the best epoch. validated: number of validation samples, where it is known."""
    name = label(monitor, within=SPLIT_WORDS["val"])
    if not is_number(validated) or validated >= SMALL_VALIDATION:
        return translated("report.by_monitor", " by {monitor}", monitor=name)
    text = " by {monitor}, averaged over the last {epochs} epochs because there are only {samples} validation samples"
    return translated("report.by_average", text, monitor=name, epochs=WINDOW, samples=number(validated))


def _summary_text(summary: Mapping[str, Any]) -> str:
    """Two or three sentences: training set, number of parameters, best or last epoch, reason of an early stop."""
    data = summary.get("data") or {}
    train = (data.get("counts") or {}).get("train")
    classes = data.get("classes") or []
    sentences = []
    if is_number(train):
        target = (
            translated("report.in_classes", " in {classes} {classes:class|classes}", classes=number(len(classes)))
            if classes
            else ""
        )
        sentences.append(
            translated(
                "report.trained",
                "Trained on {samples} {samples:sample|samples}{goal}.",
                samples=number(train),
                goal=target,
            )
        )
    if is_number(summary.get("parameters")):
        sentences.append(translated("report.parameters", "{count} parameters.", count=number(summary["parameters"])))
    best, epochs, monitor = summary.get("best_epoch"), summary.get("epochs"), summary.get("monitor")
    task = summary.get("task")
    if is_number(epochs) and task in TASKS and TASKS[task].keeps_last:
        sentences.append(
            translated(
                "report.kept_last", "The weights after epoch {epochs}, the last, are kept.", epochs=number(epochs)
            )
        )
    elif summary.get("kept_start"):
        text = (
            "Kept is the logistic regression on the features of the pretrained network, from which the training "
            "started: every epoch scored lower on the validation set."
        )
        sentences.append(translated("report.kept_start", text))
    elif is_number(best) and is_number(epochs):
        measured = _measure_of_best(str(monitor), (data.get("counts") or {}).get("val")) if monitor else ""
        sentences.append(
            translated(
                "report.best_epoch",
                "Best at epoch {best} of {epochs}{monitor}.",
                best=number(best),
                epochs=number(epochs),
                monitor=measured,
            )
        )
    stopped = summary.get("stopped") or ""
    if stopped and not stopped.startswith(CUT_SHORT):
        sentences.append(translated("report.ended", "Stopped early: {reason}.", reason=stopped))
    return translated("report.word_space", " ").join(sentences)


def _notices(summary: Mapping[str, Any]) -> str:
    """Warnings above the numbers: interrupted run, test set evaluated more than once."""
    notices = []
    stopped, evaluations = summary.get("stopped") or "", summary.get("test_looks")
    if stopped.startswith(CUT_SHORT):
        epochs = summary.get("epochs")
        sentences = [translated("report.cut_short", "This run was {reason}.", reason=stopped)]
        if is_number(epochs):
            sentences.append(
                translated(
                    "report.last_epoch", "All numbers are from the last finished epoch, {epoch}.", epoch=number(epochs)
                )
            )
        notices.append(translated("report.word_space", " ").join(sentences))
    if is_number(evaluations) and evaluations > 1:
        text = "The test set was evaluated {times} times: choices made in between make its numbers optimistic."
        notices.append(translated("report.test_looks", text, times=number(evaluations)))
    return "".join(f'<p class="notice">{escape(text)}</p>' for text in notices)


def _headline(summary: Mapping[str, Any]) -> str:
    """Up to four key numbers, the main metric first and largest."""
    metrics = summary.get("metrics") or {}
    first = _main_metric(summary)
    names = [first, *(name for name in HEADLINE if name != first)]
    split = next((s for s in ("test", "val", "train") if metrics.get(s)), "test")
    wanted = [("test", first), ("val", first), *((split, name) for name in names[1:])]
    found = [(s, n, (metrics.get(s) or {}).get(n)) for s, n in wanted]
    tiles = [(label(n, within=SPLIT_TITLES[s]), metric_value(n, v)) for s, n, v in found if is_number(v)][:3]
    if is_number(summary.get("seconds")):
        tiles.append((translated("report.training_time", "Training time"), duration(summary["seconds"])))
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles)
    return f'<dl class="headline">{cells}</dl>' if cells else ""


def _main_metric(summary: Mapping[str, Any]) -> str:
    """Monitored metric; the main metric of the task if the loss is monitored."""
    monitor = summary.get("monitor")
    return monitor if monitor in METRICS and monitor != "loss" else MAIN_METRICS.get(summary.get("task") or "", "loss")


def _curves(
    rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], ledger: Ledger | None, figures: Figures
) -> str:
    best, main = summary.get("best_epoch"), _main_metric(summary)
    recorded = {
        key.split(".", 1)[1] for row in rows for key in row if key.split(".", 1)[0] in SPLIT_TITLES and "." in key
    }
    parts = [name for name in LOSS_TERMS if name in recorded]
    classes = (summary.get("data") or {}).get("classes") or ()
    drawn = {name for name in recorded & set(METRICS) if name.removeprefix("mask_") not in TABLE_ONLY}
    drawn -= {name for name in drawn if is_certain(name, classes)}
    names = sorted(drawn - {"loss", *LOSS_TERMS}, key=lambda n: (n != main, list(METRICS).index(n)))
    names += sorted(recorded - set(METRICS))  # metrics of the user
    main = main if main in names or not names else names[0]  # of a task that is monitored by its loss
    losses = charts.curves(rows, "loss", best)
    loss = chart(add_loss_parts(losses, rows, parts) if losses else None, figures, "loss", 320)
    linear, log = translated("report.linear", "linear"), translated("report.log", "log")
    scale = (
        f'<span class="switch" data-scale="loss"><button value="linear" aria-pressed="true">{linear}</button>'
        f'<button value="log" aria-pressed="false">{log}</button></span>'
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
        card(translated("report.loss", "Loss"), loss, tools=scale),
        card(label(names[0]) if len(names) == 1 else translated("report.metrics", "Metrics"), panels, tools=tabs),
        card(
            translated("report.learning_rate", "Learning rate"),
            chart(charts.learning_rate(rows, ledger), figures, "rate", 220),
        ),
        card(translated("report.speed", "Speed"), chart(charts.speed(rows), figures, "speed", 220)),
    ]
    shown = "".join(cards)
    return f'<div class="grid">{shown}</div>' if shown else ""
