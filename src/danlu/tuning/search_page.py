"""Page of a search: Optuna's figures in the style of the report, the trials, and the best ones trained again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from danlu.message import message, translated
from danlu.report.charts import GRID, INK, MUTED, SURFACE, TRAIN, VAL
from danlu.report.document import Section, sectioned
from danlu.report.markup import (
    Figure,
    Figures,
    card,
    chart,
    duration,
    escape,
    label,
    metric_value,
    number,
    number_cell,
    table,
    text_cell,
    words,
)
from danlu.run.atomic import write_atomically
from danlu.run.names import SPLIT_TITLES
from danlu.tuning.dimension import short_name
from danlu.tuning.result import Finalist, TrialResult, TuningResult
from danlu.tuning.study import StudyFolder

NAME = "tuning.html"
SCALE = [[0, "var(--train-faint)"], [1, "var(--train)"]]
OPTUNA_WORDS = {  # in Optuna's figures
    "Trial": message("tuning.chart.trial", "trial"),
    "Best Value": message("tuning.chart.best", "best so far"),
    "Hyperparameter": message("tuning.chart.setting", "setting"),
    "Hyperparameter Importance": message("tuning.chart.importance", "importance"),
}
MARGINS = {  # of a figure in pixels, where the names or numbers at its sides need more than `MARGIN`
    "parallel": {"l": 56, "r": 40, "t": 56, "b": 24},
    "importances": {"l": 8, "r": 40, "t": 28, "b": 8},
}
MARGIN = {"l": 8, "r": 12, "t": 28, "b": 8}
STATES = {
    "complete": message("tuning.state.complete", "complete"),
    "pruned": message("tuning.state.pruned", "ended early"),
    "failed": message("tuning.state.failed", "failed"),
}


def write_page(study: StudyFolder, result: TuningResult) -> Path:
    """Write tuning.html in the current language."""
    figures: Figures = {}
    metric = result.metric
    sections = [
        Section("again", translated("tuning.page.again", "Trained again"), _again(result)),
        Section("search", translated("tuning.page.search", "Search"), _charts(study, metric, figures)),
        Section("trials", translated("tuning.page.trials", "Trials"), _trials(result)),
    ]
    page = sectioned(result.folder, _head(study, result), sections, figures)
    path = study.folder / NAME
    write_atomically(path, lambda one: one.write_text(page, encoding="utf-8"))
    return path


def _head(study: StudyFolder, result: TuningResult) -> str:
    metric, winner = result.metric, result.finalists[0]
    tiles = [(label(metric, within=SPLIT_TITLES["val"]), metric_value(metric, winner.mean))]
    if winner.test_mean is not None:
        tiles.append((label(metric, within=SPLIT_TITLES["test"]), metric_value(metric, winner.test_mean)))
    tiles.append((translated("tuning.page.trials", "Trials"), number(len(result.trials))))
    trained = sum(trial.seconds for trial in result.trials)  # by all processes, before and after a kill
    tiles.append((translated("tuning.page.time", "Time of the trials"), duration(trained)))
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles)
    data = study.settings.config.data.path
    title = translated("tuning.page.title", "Search on {data}", data=escape(Path(data).name or data))
    found = ", ".join(f"{short_name(key)} {words(value)}" for key, value in result.best.items())
    found = found or translated("tuning.page.own_settings", "danlu's own settings")
    text = "Best of {trials} {trials:trial|trials} by {method}: {found}. Means of {seeds} seeds; {verdict}."
    facts = {"trials": number(len(result.trials)), "method": result.method, "found": found}
    lead = translated("tuning.page.lead", text, **facts, seeds=len(winner.seeds), verdict=result.verdict)
    notices = "".join(f'<p class="notice">{escape(str(note))}</p>' for note in result.notes)
    return (
        f'<div class="head"><p class="eyebrow">{escape(result.folder)}</p><h1>{title}</h1>'
        f'<p class="lead">{escape(lead)}</p>{notices}<dl class="headline">{cells}</dl></div>'
    )


def _again(result: TuningResult) -> str:
    metric = result.metric
    head = [
        translated("tuning.page.trial", "Trial"),
        translated("tuning.page.settings", "Settings"),
        label(metric, within=SPLIT_TITLES["val"]),
        translated("tuning.page.std", "Std"),
        label(metric, within=SPLIT_TITLES["test"]),
    ]
    text = "Repeat the winner's training with seed {seed} exactly (validation {value}, test {test}): {command}"
    facts = {"seed": result.finalists[0].seeds[0], "command": result.command}
    facts |= {"value": metric_value(metric, result.value), "test": metric_value(metric, result.test)}
    note = translated("tuning.page.repeat", text, **facts)
    rows = [_finalist(one, metric) for one in result.finalists]
    return card(
        translated("tuning.page.means", "Means over new seeds"),
        table(head, rows, numbers=3, kind="settings"),
        note=note,
    )


def _finalist(one: Finalist, metric: str) -> list[str]:
    name = translated("tuning.page.own", "danlu's own") if one.own else str(one.trial)
    settings = ", ".join(f"{short_name(key)} {words(value)}" for key, value in one.settings.items())
    return [
        text_cell(name),
        text_cell(settings, "words why"),
        number_cell(one.mean, metric_value(metric, one.mean)),
        number_cell(one.std, metric_value(metric, one.std)),
        number_cell(one.test_mean, metric_value(metric, one.test_mean)),
    ]


def _trials(result: TuningResult) -> str:
    names = list(result.space)
    head = [translated("tuning.page.trial", "Trial"), *(short_name(name) for name in names)]
    head += [translated("tuning.page.state", "State"), translated("tuning.page.epochs", "Epochs")]
    head += [label(result.metric)]
    saved = 1 - result.epochs_trained / max(result.epochs_full, 1)
    text = "{trained} of {full} epochs were trained: pruning saved {saved:.0%}."
    facts = {"trained": number(result.epochs_trained), "full": number(result.epochs_full), "saved": saved}
    note = translated("tuning.page.epochs_note", text, **facts)
    rows = [_trial(one, names, result.metric) for one in result.trials]
    return card(
        translated("tuning.page.all_trials", "All trials"), table(head, rows, numbers=2, kind="sortable"), note=note
    )


def _trial(one: TrialResult, names: list[str], metric: str) -> list[str]:
    state = str(STATES[one.state])
    if one.source == "defaults":
        state = translated("tuning.page.own", "danlu's own")
    elif one.source:
        state += translated("tuning.page.fix_of", ", fix of {code}", code=one.source)
    if one.why:
        state = f"{state}: {one.why}"
    shown = [_value_cell(one.settings.get(name)) for name in names]
    return [
        number_cell(one.number, str(one.number)),
        *shown,
        text_cell(state, "words"),
        number_cell(one.epochs, number(one.epochs)),
        number_cell(one.value, metric_value(metric, one.value)),
    ]


def _value_cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_cell(value, f"{value:.4g}")
    return text_cell(words(value))


def _charts(study: StudyFolder, metric: str, figures: Figures) -> str:
    """Optuna's figures; one that needs more trials is left out."""
    from optuna import visualization

    title = label(metric)
    makers: list[tuple[str, str, str, Callable[[], Any], int]] = [
        (
            "history",
            translated("tuning.page.history", "History"),
            translated("tuning.page.history_note", "Each trial that was trained to its end, and the best so far."),
            lambda: visualization.plot_optimization_history(study.journal, target_name=title),
            360,
        ),
        (
            "importances",
            translated("tuning.page.importances", "Importances"),
            translated("tuning.page.importances_note", "Fraction of the differences between trials by setting."),
            lambda: visualization.plot_param_importances(study.journal, target_name=title),
            360,
        ),
        (
            "parallel",
            translated("tuning.page.parallel", "Parallel coordinates"),
            translated("tuning.page.parallel_note", "One line a trial; drag on an axis to select trials."),
            lambda: visualization.plot_parallel_coordinate(study.journal, target_name=title),
            420,
        ),
        (
            "slices",
            translated("tuning.page.slices", "Slices"),
            translated("tuning.page.slices_note", "The metric against each setting; later trials are darker."),
            lambda: visualization.plot_slice(study.journal, target_name=title),
            380,
        ),
    ]
    cards = {}
    for name, heading, note, make, height in makers:
        try:
            with warnings.catch_warnings(action="ignore"):  # few trials
                figure = styled(json.loads(make().to_json()), name)
        except (ValueError, RuntimeError):  # too few complete trials
            continue
        if figure["data"]:
            cards[name] = card(heading, chart(figure, figures, name, height), note=note)
    pair = cards.pop("history", "") + cards.pop("importances", "")
    rest = "".join(f'<div class="grid">{one}</div>' for one in cards.values())
    return (f'<div class="grid">{pair}</div>' if pair else "") + rest


def styled(figure: dict[str, Any], name: str) -> Figure:
    """A figure of Optuna with the colours and fonts of the report, without its title and template."""
    layout: dict[str, Any] = {key: value for key, value in figure["layout"].items() if key not in ("template", "title")}
    for key, axis in layout.items():
        if key.startswith(("xaxis", "yaxis")):
            layout[key] = _axis(axis)
    layout |= {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 12},
        "margin": MARGINS.get(name, MARGIN),
        "hoverlabel": {"bgcolor": SURFACE, "bordercolor": GRID, "font": {"color": INK, "size": 12}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": MUTED}},
        "showlegend": name == "history",
        "autosize": True,
    }
    layout.pop("width", None)
    layout.pop("height", None)
    traces = figure["data"] if name == "parallel" else [_trace(trace, i) for i, trace in enumerate(figure["data"])]
    return {"data": traces, "layout": layout}


def _axis(axis: Mapping[str, Any]) -> dict[str, Any]:
    title = axis.get("title") or {}
    text = title.get("text", "") if isinstance(title, Mapping) else str(title)
    text = str(OPTUNA_WORDS.get(text, short_name(text)))
    plain = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "automargin": True}
    font = {"color": MUTED, "size": 11}
    if axis.get("ticktext"):
        axis = {**axis, "ticktext": [short_name(one) if isinstance(one, str) else one for one in axis["ticktext"]]}
    return {**axis, **plain, "tickfont": font, "title": {"text": text, "font": font}}


def _trace(trace: dict[str, Any], place: int) -> dict[str, Any]:
    colour = (TRAIN, VAL)[place % 2]
    if trace.get("name") in OPTUNA_WORDS:
        trace = {**trace, "name": str(OPTUNA_WORDS[trace["name"]])}
    if trace["type"] == "bar":
        shown = [short_name(name) for name in trace.get("y", [])]
        return {**trace, "y": shown, "marker": {"color": TRAIN}, "textfont": {"color": INK}, "cliponaxis": False}
    marker = dict(trace.get("marker") or {})
    if isinstance(marker.get("color"), str) or "color" not in marker:
        marker["color"] = colour
    else:
        marker |= {"colorscale": SCALE, "showscale": False, "line": {"color": GRID, "width": 0.5}}
    line = {**(trace.get("line") or {}), "color": colour}
    return {**trace, "marker": marker, "line": line}
