"""`danlu compare`: settings that differ between runs, their final metrics, and their curves in one page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.config import get, keys, plain
from danlu.history.same_images import SameImages, same_images
from danlu.message import Message, message, speaking, translated
from danlu.python_calls import python_names
from danlu.refuse import refusal
from danlu.report.charts import epoch_axis, layout, metric_axis
from danlu.report.document import Section, sectioned
from danlu.report.markup import (
    Figure,
    Figures,
    card,
    chart,
    clip,
    escape,
    is_number,
    is_percentage,
    label,
    metric_value,
    number_cell,
    table,
    text_cell,
    words,
)
from danlu.run.atomic import write_atomically
from danlu.run.folder import Run
from danlu.run.names import SPLIT_TITLES
from danlu.run.quantities import METRICS
from danlu.run.result import Result

COLOURS = 8  # of the report's palette
NOT_COMPARED = ("out",)
MAX_CURVES = 12
IMAGES, MAX_IMAGES = 12, 100  # the default and the max of --images


@dataclass(frozen=True, eq=False, repr=False)
class RunsComparison(Result):
    """Several runs beside each other, in the order in which they were given."""

    runs: list[str]
    settings: Mapping[str, list[Any]] = field(default_factory=dict)  # setting -> value by run, where they differ
    metrics: Mapping[str, list[float | None]] = field(default_factory=dict)  # "test.accuracy" -> value by run
    page: str = ""
    images: int = 0  # test images in the page that all runs have predicted
    images_note: Message | None = None  # why there are none, or a remark about them


@python_names()
def compare(
    *runs: str | Path | Run,
    out: str | Path | None = None,
    images: int | str = IMAGES,
    lang: str | None = None,
    model: Any = None,
    transform: Any = None,
) -> RunsComparison:
    """Compare two or more runs, finished or not, and write a page with their curves in common charts.

    Args:
        runs: Runs or their folders.
        out: HTML file to write; compare_A_B.html in the current folder by default.
        images: Max number of test images that are shown with the prediction of every run, disagreements first; 0 for
            none.
        lang: Language of the page, en or zh; by default that of the first run.
        model, transform: Objects of your own with which the runs were trained, as for `load`.

    Returns:
        Metrics and differing settings of the runs, and the file of the page.

    Raises:
        Refusal: Fewer than two runs, one of them twice, or a folder that is not a run.
    """
    if len(runs) < 2:
        raise refusal("RUN", message("history.wanted.least_two_runs", "at least two runs"), len(runs))
    if out and Path(out).suffix.lower() not in (".html", ".htm"):
        raise refusal("--out", message("history.wanted.page", "a file that ends in .html"), str(out))
    if out and not Path(out).parent.is_dir():
        raise refusal("--out", message("history.wanted.file_in_folder", "a file in a folder that exists"), str(out))
    if not str(images).isdecimal() or int(images) > MAX_IMAGES:
        wanted = message("history.wanted.images", "an integer from 0 to {most}", most=MAX_IMAGES)
        raise refusal("--images", wanted, images)
    opened = [one if isinstance(one, Run) else Run.open(one) for one in runs]
    folders = [run.folder.resolve() for run in opened]
    if twice := [run for run, folder in zip(runs, folders) if folders.count(folder) > 1]:
        raise refusal("RUN", message("history.wanted.different_runs", "different runs"), str(twice[-1]))
    configs = [run.config for run in opened]
    different = {
        key: values
        for key in keys()
        if key not in NOT_COMPARED and not _same(values := [plain(get(config, key)) for config in configs])
    }
    summaries = [run.summary for run in opened]
    names = [
        f"{split}.{metric}"
        for split in SPLIT_TITLES
        for metric in dict.fromkeys(itertools.chain(*(summary.metrics[split] for summary in summaries if summary)))
        if isinstance(metric, str)
    ]
    metrics = {name: [_metric(summary, name) for summary in summaries] for name in names}
    last = "_".join(clip(run.folder.resolve().name, 30) for run in opened[:3])
    path = Path(out) if out else Path(f"compare_{last}.html")
    with speaking(lang or configs[0].doctor.language):
        same = same_images(opened, int(images), model, transform) if int(images) else SameImages()
        found = RunsComparison(
            [run.name for run in opened], different, metrics, str(path), images=same.shown, images_note=same.note
        )
        page = _page(found, opened, same)
    write_atomically(path, lambda one: one.write_text(page, encoding="utf-8"))
    return found


def _same(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _metric(summary: Any, name: str) -> float | None:
    split, _, metric = name.partition(".")
    value = summary.metrics[split].get(metric) if summary else None
    return value if is_number(value) else None


def _page(found: RunsComparison, opened: Sequence[Run], same: SameImages) -> str:
    figures: Figures = {}
    sections = [
        Section("metrics", translated("history.metrics", "Metrics"), _metrics(found)),
        Section("settings", translated("history.settings", "Settings"), _settings(found)),
        Section("curves", translated("history.curves", "Curves"), _curves(found, opened, figures)),
        Section(
            "images",
            translated("history.same_images", "The same images"),
            same.html,
            escape(translated("report.word_space", " ").join(filter(None, [same.sentence(), str(same.note or "")]))),
        ),
    ]
    title = translated("history.title", "{count} {count:run|runs}", count=len(found.runs))
    lead = ", ".join(found.runs)
    head = f'<div class="head"><h1>{escape(title)}</h1><p class="lead">{escape(clip(lead, 400))}</p></div>'
    return sectioned(title, head, sections, figures)


def _metrics(found: RunsComparison) -> str:
    rows = [
        [text_cell(label(name.partition(".")[2], within=SPLIT_TITLES[name.partition(".")[0]]))]
        + [number_cell(value, metric_value(name.partition(".")[2], value)) for value in values]
        for name, values in found.metrics.items()
    ]
    head = [translated("history.metric", "Metric"), *(clip(name, 40) for name in found.runs)]
    shown = table(head, rows, numbers=len(found.runs)) if rows else ""
    return card(translated("history.final", "Of the best weights"), shown)


def _settings(found: RunsComparison) -> str:
    rows = [
        [text_cell(key, "key"), *(text_cell(words(one)) for one in values)] for key, values in found.settings.items()
    ]
    head = [translated("history.setting", "Setting"), *(clip(name, 40) for name in found.runs)]
    note = "" if rows else translated("history.same", "All settings are the same.")
    return card(
        translated("history.different", "Settings that differ"), table(head, rows) if rows else f"<p>{note}</p>"
    )


def _curves(found: RunsComparison, opened: Sequence[Run], figures: Figures) -> str:
    """One chart a metric, with a line for each run: validation where it was measured, else training."""
    records = [run.record.of("epoch") for run in opened]
    recorded = {key for rows in records for row in rows for key in row}
    names = [name for name in METRICS if f"val.{name}" in recorded or f"train.{name}" in recorded]
    cards = []
    for name in names[:MAX_CURVES]:
        split = "val" if f"val.{name}" in recorded else "train"
        figure = overlay(f"{split}.{name}", found.runs, records, is_percentage(name))
        cards.append(card(label(name, within=SPLIT_TITLES[split]), chart(figure, figures, name, 320)))
    return f'<div class="grid">{"".join(cards)}</div>' if cards else ""


def overlay(key: str, names: Sequence[str], records: Sequence[Sequence[Mapping[str, Any]]], percent: bool) -> Figure:
    """Chart with a line for each run. key: as in metrics.jsonl. records: rows of each run's epochs."""
    lines = []
    for place, (name, rows) in enumerate(zip(names, records)):
        points = [(row["epoch"], row[key]) for row in rows if is_number(row.get(key))]
        x, y = ([point[i] for point in points] for i in (0, 1))
        line = {"color": f"var(--series-{place % COLOURS})", "width": 2}
        lines.append(
            {"type": "scatter", "mode": "lines+markers" if len(x) == 1 else "lines", "x": x, "y": y, "line": line}
            | {"name": escape(clip(name, 40)), "marker": {"color": line["color"]}}
        )
    y_axis = metric_axis(percent, nticks=7)
    x_axis = epoch_axis(max((row["epoch"] for rows in records for row in rows), default=1))
    return {"data": lines, "layout": layout(x_axis, y_axis, hovermode="x unified", showlegend=True)}
