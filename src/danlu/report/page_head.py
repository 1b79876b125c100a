"""Head of the report of a run: title, summary in sentences, warnings, and the key numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.message import translated
from danlu.metrics.small_sets import accuracy_interval, higher_than_chance, measured_accuracies
from danlu.report.markup import clip, duration, escape, is_number, label, metric_value, number, percent
from danlu.run.best_epoch import SMALL_VALIDATION, WINDOW
from danlu.run.names import SPLIT_TITLES, SPLIT_WORDS
from danlu.run.quantities import METRICS
from danlu.task_spec import TASKS

CUT_SHORT = ("interrupted", "not finished")
MAIN_METRICS = {name: spec.monitor for name, spec in TASKS.items()}
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


def head(summary: Mapping[str, Any], name: str) -> str:
    """HTML of the head: name of the run, title, summary in sentences, warnings and key numbers."""
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
    """Warnings above the numbers: interrupted run, figures that are too good."""
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
    if summary.get("trained_on"):
        text = "The run was trained on most of these samples, so that the figures are too good."
        notices.append(translated("report.trained_on", text))
    counts = (summary.get("data") or {}).get("counts") or {}
    measured = measured_accuracies(summary.get("metrics") or {}, counts)
    few = accuracy_interval(measured.get("test"), counts.get("test", 0)) is not None
    if few and len(measured) == 2 and higher_than_chance(measured, counts):
        text = "Validation accuracy {val} is higher than chance explains: trust the test set."
        notices.append(translated("report.gap", text, val=percent(measured["val"], 1)))
    return "".join(f'<p class="notice">{escape(text)}</p>' for text in notices)


def _headline(summary: Mapping[str, Any]) -> str:
    """Up to four key numbers, the main metric first and largest."""
    metrics = summary.get("metrics") or {}
    first = main_metric(summary)
    names = [first, *(name for name in HEADLINE if name != first)]
    split = next((s for s in ("test", "val", "train") if metrics.get(s)), "test")
    wanted = [("test", first), ("val", first), *((split, name) for name in names[1:])]
    found = [(s, n, (metrics.get(s) or {}).get(n)) for s, n in wanted]
    known = [(s, n, v) for s, n, v in found if is_number(v)]
    tiles = [(label(n, within=SPLIT_TITLES[s]), metric_value(n, v)) for s, n, v in known][:3]
    if is_number(summary.get("seconds")):
        tiles.append((translated("report.training_time", "Training time"), duration(summary["seconds"])))
    below = [_interval(summary, *known[0][:2]) if known else ""] + [""] * 3
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd>{more}</div>" for (name, value), more in zip(tiles, below)
    )
    return f'<dl class="headline">{cells}</dl>' if cells else ""


def _interval(summary: Mapping[str, Any], split: str, name: str) -> str:
    """HTML of the interval of an accuracy on a small set that was not trained on; empty for anything else."""
    if name != "accuracy" or split == "train" or summary.get("trained_on") or summary.get("folds"):
        return ""
    samples = ((summary.get("data") or {}).get("counts") or {}).get(split)
    interval = accuracy_interval(((summary.get("metrics") or {}).get(split) or {}).get(name), samples)
    if interval is None:
        return ""
    low, high = (percent(one, 0) for one in interval)
    text = "{low} to {high} with 95\u202f% confidence, on {samples} {samples:sample|samples}"
    said = translated("report.interval", text, low=low, high=high, samples=samples)
    return f'<dd class="interval">{escape(said)}</dd>'


def main_metric(summary: Mapping[str, Any]) -> str:
    """Monitored metric; the main metric of the task if the loss is monitored."""
    monitor = summary.get("monitor")
    return monitor if monitor in METRICS and monitor != "loss" else MAIN_METRICS.get(summary.get("task") or "", "loss")
