"""What each finding says: title, cause and remedy, in English and Chinese.

The words stand in wording/, one file a family, one entry per code: {"en": (title, cause, remedy), "zh": ...}. They are
format strings over the finding's evidence, and `{where}`; `{share:%}` is a share as per cent, a name that the evidence
lacks becomes "?", braces of code are doubled. The cause is written for a student, the remedy can be pasted. Sentences
that a rule makes itself, and words that are no names, are English `Phrase`s: their Chinese stands in
wording/phrases.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from danlu.doctor.finding import Finding
from danlu.doctor.phrase import Phrase, Shown, named
from danlu.doctor.wording import activation, data, detection, fit, gradient, loop, model, norm, numerics, optim, speed
from danlu.doctor.wording.phrases import ZH

# Code -> language -> (title, cause, remedy).
MESSAGES: dict[str, dict[str, tuple[str, str, str]]] = {
    **data.WORDS,
    **model.WORDS,
    **norm.WORDS,
    **loop.WORDS,
    **optim.WORDS,
    **gradient.WORDS,
    **activation.WORDS,
    **numerics.WORDS,
    **fit.WORDS,
    **speed.WORDS,
    **detection.WORDS,
}
LAYERS = ("first", "second", "norm", "layer")  # evidence that names a layer


class _Evidence(dict):
    """Evidence for format strings: what is missing is a question mark."""

    def __missing__(self, key: str) -> Shown:
        return Shown("?")


def said(value: Any, language: str) -> Any:
    """A phrase in the language. All else is as it is: a layer may be called "output", a metric "loss"."""
    if language != "zh" or not isinstance(value, Phrase):
        return value
    return ZH.get(value.sentence, value.sentence).format(*(Shown(said(one, language)) for one in value.values))


def retold(text: str, language: str) -> str:
    """What an instrument wrote into the ledger, where phrases.py knows it as a whole or up to a colon."""
    head, colon, rest = text.partition(": ")
    if language != "zh" or not (text in ZH or (colon and head in ZH)):
        return text
    return ZH.get(text) or f"{ZH[head]}：{rest}"


def place(where: str, language: str = "en") -> str:
    """Where a finding is, for people: a layer that has but a number for its name is called one."""
    return str(said(named(where), language))


def worded(finding: Finding, language: str = "en") -> Finding:
    """The finding with title, cause, remedy and place in words; English where the language has no entry."""
    table: Mapping[str, tuple[str, str, str]] = MESSAGES.get(finding.code, {})
    message = table.get(language) or table.get("en")
    title, cause, remedy = finding.code, "", ""
    if message is not None:
        title, cause, remedy = filled(message, finding.evidence, finding.where, language)
    words = {"title": finding.title or title, "cause": finding.cause or cause, "remedy": finding.remedy or remedy}
    return replace(finding, place=place(finding.where, language), language=language, **words)


def filled(
    message: tuple[str, str, str], evidence: Mapping[str, Any], where: str = "", language: str = "en"
) -> tuple[str, ...]:
    """(title, cause, remedy) with the evidence in their braces."""
    facts = _Evidence({key: Shown(said(value, language)) for key, value in evidence.items()})
    facts |= {key: Shown(place(evidence[key], language)) for key in LAYERS if isinstance(evidence.get(key), str)}
    facts["where"] = Shown(place(where, language))
    return tuple(text.format_map(facts) for text in message)
