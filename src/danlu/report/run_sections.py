"""The part of the page that shows what the result rests on: data, settings, time and machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.config import Config, changed, get, keys
from danlu.report.explanations import explained
from danlu.report.markup import (
    SPLITS,
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
from danlu.report.retelling import retell
from danlu.report.wording import say

PROBLEMS_SHOWN = 200


def data_section(data: Mapping[str, Any]) -> str:
    """What was read, how it was split, and what could not be used."""
    if not data:
        return ""
    counts = data.get("counts") or {}
    facts = {
        "Source": data.get("path"),
        "Format": data.get("format"),
        **{say("{} samples", say(SPLITS.get(split, split))): number(count) for split, count in counts.items()},
        "Classes": number(len(data["classes"])) if data.get("classes") else None,
        "Input": " × ".join(str(n) for n in data.get("input") or []),
    }
    notes = "".join(f"<li>{escape(retell(note))}</li>" for note in data.get("notes") or [])
    body = _facts(facts) + (f'<ul class="notes">{notes}</ul>' if notes else "")
    return card(say("Dataset"), body) + _problems(data.get("problems") or [])


def configuration_section(config: Config | None, choices: Sequence[Mapping[str, Any]]) -> str:
    """First what differs from the defaults and why; every other setting folded away beneath."""
    if config is None:
        return ""
    reasons = {choice.get("key"): choice.get("reason") for choice in choices}
    mine = changed(config)
    head = [say(word) for word in ("Setting", "Value", "Why", "What it is")]
    rows = [_setting(config, key, reasons.get(key) or "set for this run") for key in mine]
    rest = [_setting(config, key, "") for key in keys() if key not in mine]
    note = say("These differ from the defaults: chosen from the data, with the reason, or set for this run.")
    others = say("The other {} settings, at their defaults", len(rest))
    return card(say("Settings of this run"), table(head, rows, kind="settings") if rows else "", note=note) + (
        f"<details class=card><summary>{others}</summary>{table(head, rest, kind='settings')}</details>"
    )


def machine_section(summary: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Where the time went, and on what."""
    timings = {k: v for k, v in (summary.get("timings") or {}).items() if is_number(v)}
    total = sum(timings.values()) or 1.0
    rows = [
        [
            text_cell(say(name.replace("_", " ")).capitalize()),
            number_cell(s, duration(s)),
            number_cell(s, percent(s / total, 0), bar=s / total),
        ]
        for name, s in timings.items()
    ]
    speed = summary.get("samples_per_second")
    note = say("{} training samples per second.", number(round(speed))) if is_number(speed) else ""
    left = card(say("Time"), table(["", say("Time"), say("Share")], rows, numbers=2) if rows else "", note=note)
    right = card(say("Environment"), _facts(environment))
    return f'<div class="grid">{left}{right}</div>' if left and right else left + right


def _setting(config: Config, key: str, why: str | None) -> list[str]:
    value = get(config, key)
    kind = "value changed" if why else "value"
    return [
        text_cell(key, "key"),
        text_cell(words(value), kind),
        text_cell(retell(why) if why else say("default"), "why"),
        text_cell(explained(key), "why"),
    ]


def _problems(problems: Sequence[Mapping[str, Any]]) -> str:
    told = [(p.get("where", ""), retell(str(p.get("reason", "")))) for p in problems[:PROBLEMS_SHOWN]]
    rows = [[name_cell(where), text_cell(reason)] for where, reason in told]
    if not rows:
        return ""
    one = len(problems) == 1
    what = say("1 sample was skipped") if one else say("{} samples were skipped", number(len(problems)))
    more = f"<p class=note>{say('The first {} of them.', PROBLEMS_SHOWN)}</p>" if len(problems) > PROBLEMS_SHOWN else ""
    return f"<details class=card><summary>{what}</summary>{more}{table([say('Where'), say('Why')], rows)}</details>"


def _facts(facts: Mapping[str, Any]) -> str:
    given = {say(k): words(v) for k, v in facts.items() if v not in (None, "")}
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in given.items())
    return f"<dl>{rows}</dl>" if rows else ""
