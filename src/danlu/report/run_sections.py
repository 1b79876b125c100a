"""Report sections on the data, the configuration, the time and the machine of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.config import Config, changed, get, keys
from danlu.message import message, translated
from danlu.report.markup import (
    card,
    duration,
    escape,
    is_number,
    name_cell,
    number,
    number_cell,
    percent,
    table,
    text_cell,
    words,
)
from danlu.run.names import SPLIT_TITLES

MAX_PROBLEMS = 200  # rows in the table of skipped samples


def data_section(data: Mapping[str, Any]) -> str:
    """Source, format, splits and notes of the dataset, and the samples that were skipped."""
    if not data:
        return ""
    counts = data.get("counts") or {}
    facts = {
        translated("report.source", "Source"): data.get("path"),
        translated("report.format", "Format"): data.get("format"),
        **{
            translated("report.split_samples", "{split} samples", split=SPLIT_TITLES.get(split, split)): number(count)
            for split, count in counts.items()
        },
        translated("report.classes", "Classes"): number(len(data["classes"])) if data.get("classes") else None,
        translated("report.input", "Input"): " × ".join(str(n) for n in data.get("input") or []),
    }
    notes = "".join(f"<li>{escape(note)}</li>" for note in data.get("notes") or [])
    body = _facts(facts) + (f'<ul class="notes">{notes}</ul>' if notes else "")
    return card(translated("report.dataset", "Dataset"), body) + _problems(data.get("problems") or [])


def configuration_section(config: Config | None, choices: Sequence[Mapping[str, Any]]) -> str:
    """Settings that differ from the defaults with their reasons, and all others in a collapsed table."""
    if config is None:
        return ""
    reasons = {choice.get("key"): choice.get("reason") for choice in choices}
    changed_keys = changed(config)
    head = [
        translated("report.setting", "Setting"),
        translated("report.value", "Value"),
        translated("report.why", "Why"),
        translated("report.meaning", "Meaning"),
    ]
    rows = [
        _setting(config, key, reasons.get(key) or message("report.set_for_run", "set for this run"))
        for key in changed_keys
    ]
    rest = [_setting(config, key, "") for key in keys() if key not in changed_keys]
    note = translated(
        "report.settings_note",
        "Settings that differ from the defaults: chosen from the data, with the reason, or set for this run.",
    )
    others = translated("report.other_settings", "The other {count} settings, at their defaults", count=len(rest))
    return card(
        translated("report.settings_of_this_run", "Settings of this run"),
        table(head, rows, kind="settings stacked") if rows else "",
        note=note,
    ) + (f"<details class=card><summary>{others}</summary>{table(head, rest, kind='settings stacked')}</details>")


def machine_section(summary: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Time per phase of the run, and the environment."""
    timings = {k: v for k, v in (summary.get("timings") or {}).items() if is_number(v)}
    total = sum(timings.values()) or 1.0
    rows = [
        [
            text_cell(translated(f"report.phase.{name}", name.replace("_", " ")).capitalize()),
            number_cell(s, duration(s)),
            number_cell(s, percent(s / total, 0), bar=s / total),
        ]
        for name, s in timings.items()
    ]
    speed = summary.get("samples_per_second")
    note = (
        translated("report.samples_per_second", "{speed} training samples per second.", speed=number(round(speed)))
        if is_number(speed)
        else ""
    )
    left = card(
        translated("report.time", "Time"),
        table(["", translated("report.time", "Time"), translated("report.fraction", "Fraction")], rows, numbers=2)
        if rows
        else "",
        note=note,
    )
    right = card(
        translated("report.environment", "Environment"),
        _facts({translated(f"report.machine.{key}", key): value for key, value in environment.items()}),
    )
    return f'<div class="grid">{left}{right}</div>' if left and right else left + right


def _setting(config: Config, key: str, why: str | None) -> list[str]:
    value = get(config, key)
    kind = "value changed" if why else "value"
    return [
        text_cell(key, "key"),
        text_cell(words(value), kind),
        text_cell(why or translated("report.default", "default"), "why"),
        text_cell(translated(f"settings.{key}", keys()[key].text), "why"),
    ]


def _problems(problems: Sequence[Mapping[str, Any]]) -> str:
    rows = [[name_cell(p.get("where", "")), text_cell(p.get("reason", ""))] for p in problems[:MAX_PROBLEMS]]
    if not rows:
        return ""
    summary = translated(
        "report.samples_skipped", "{count} {count:sample was|samples were} skipped", count=number(len(problems))
    )
    cut = translated("report.problems_cut", "The first {count} of them.", count=MAX_PROBLEMS)
    more = f"<p class=note>{cut}</p>" if len(problems) > MAX_PROBLEMS else ""
    head = [translated("report.where", "Where"), translated("report.why", "Why")]
    return f"<details class=card><summary>{summary}</summary>{more}{table(head, rows)}</details>"


def _facts(facts: Mapping[str, Any]) -> str:
    given = {k: words(v) for k, v in facts.items() if v not in (None, "")}
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in given.items())
    return f"<dl>{rows}</dl>" if rows else ""
