"""What each finding says: title, cause and remedy, in English and Chinese.

The words stand in wording/, one file a family, one entry per code: {"en": (title, cause, remedy), "zh": ...}. They are
format strings over the finding's evidence, and `{where}`; `{share:%}` is a share as per cent, a name that the evidence
lacks becomes "?", braces of code are doubled. The cause is written for a student, the remedy can be pasted. Sentences
that a rule makes itself are English `Phrase`s, whose Chinese stands in wording/phrases.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from danlu.doctor.finding import Finding
from danlu.doctor.phrase import Phrase, Shown
from danlu.doctor.wording import activation, data, detection, fit, gradient, loop, model, norm, numerics, optim, speed
from danlu.doctor.wording.phrases import ZH
from danlu.doctor.wording.terms import TERMS

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


def terms(language: str) -> Mapping[str, str]:
    """What stands around the findings: names of severities, "cure", "confidence" and the like."""
    return TERMS.get(language, TERMS["en"])


def said(value: Any, language: str) -> Any:
    """A text in the language, where it is a phrase or stands in wording/phrases.py; other values as they are."""
    if language != "zh" or not isinstance(value, str):
        return value
    if isinstance(value, Phrase):
        sentence = ZH.get(value.sentence, value.sentence)
        return sentence.format(*(Shown(said(one, language)) for one in value.values))
    head, colon, rest = value.partition(": ")
    return ZH.get(value) or (f"{ZH[head]}：{rest}" if colon and head in ZH else value)


def place(where: str, language: str = "en") -> str:
    """Where a finding is, for people: a layer that has but a number for its name is called one."""
    where = str(where)
    if where.isdigit():
        return terms(language)["layer"].format(where)
    name, _, number = where.partition(" ")
    if name == "class" and number:
        return terms(language)["class"].format(number)
    return said(where, language)


def worded(finding: Finding, language: str = "en") -> Finding:
    """The finding with title, cause and remedy in words; English where the language has no entry."""
    table: Mapping[str, tuple[str, str, str]] = MESSAGES.get(finding.code, {})
    message = table.get(language) or table.get("en")
    if message is None:
        return replace(finding, title=finding.title or finding.code)
    title, cause, remedy = filled(message, finding.evidence, finding.where, language)
    return replace(finding, title=finding.title or title, cause=finding.cause or cause, remedy=finding.remedy or remedy)


def filled(
    message: tuple[str, str, str], evidence: Mapping[str, Any], where: str = "", language: str = "en"
) -> tuple[str, ...]:
    """(title, cause, remedy) with the evidence in their braces."""
    facts = _Evidence({key: Shown(said(value, language)) for key, value in evidence.items()})
    facts |= {key: Shown(place(evidence[key], language)) for key in LAYERS if isinstance(evidence.get(key), str)}
    facts["where"] = Shown(place(where, language))
    return tuple(text.format_map(facts) for text in message)


def in_one_line(finding: Finding | Mapping[str, Any], language: str = "en") -> str:
    """`warning: optim.lr_too_high (head): why. What to do.`"""
    facts = finding.to_dict() if isinstance(finding, Finding) else finding
    words, where = terms(language), facts.get("where")
    at = words["in brackets"].format(place(where, language)) if where else ""
    head = f"{words[facts['severity']]}{words[':']}{facts['code']}{at}{words[':']}"
    return f"{head}{facts['cause']}{words['gap']}{facts['remedy']}".strip()
