"""A finding: one thing that is wrong with a training, with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from danlu.doctor.terms import severity_term, term
from danlu.message import Message, language, speaking

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with its evidence.

    code: stable name ("loop.missing_zero_grad"), documented in docs/findings.md.
    severity: "error" (the result is or will be wrong), "warning" (it costs accuracy or time) or "note".
    confidence: in [0, 1].
    where: name of a layer, parameter, group or sample; a Message where it is no name ("validation", "class 3").
    evidence: the measurements, with steps and thresholds: numbers, texts and small lists.
    title, cause, remedy, place: text in `language`; place is `where` for people. Rules leave them empty, `worded` fills
    them from the finding's FindingSpec.
    consequences: codes of other findings that this one explains.
    """

    code: str
    severity: str
    confidence: float
    where: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    cause: str = ""
    remedy: str = ""
    consequences: list[str] = field(default_factory=list)
    place: str = ""
    language: str = "en"

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {SEVERITIES}, got {self.severity!r}")

    def __str__(self) -> str:
        return in_one_line(self, self.language)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as in findings.json. `where` and the evidence are in English, whatever the language."""
        return {
            "code": self.code,
            "severity": self.severity,
            "confidence": round(float(self.confidence), 3),
            "where": in_english(self.where),
            "place": self.place,
            "title": self.title,
            "evidence": {key: in_english(value) for key, value in self.evidence.items()},
            "cause": self.cause,
            "remedy": self.remedy,
            "consequences": list(self.consequences),
        }


def in_english(value: Any) -> Any:
    """A message as English text, any other value as it is."""
    return value.render("en") if isinstance(value, Message) else value


def in_one_line(finding: Finding | Mapping[str, Any], code: str | None = None) -> str:
    """`warning: optim.lr_too_high (head): why. What to do.`

    code: language code, the current language by default.
    """
    facts = finding.to_dict() if isinstance(finding, Finding) else finding
    with speaking(code or language()):
        place = facts.get("place") or facts.get("where")
        name = term("at_place", "{code} ({place})", code=facts["code"], place=place) if place else facts["code"]
        text = "{severity}: {code}: {cause} {remedy}"
        severity, cause, remedy = severity_term(facts["severity"]), facts["cause"], facts["remedy"]
        return str(term("line", text, severity=severity, code=name, cause=cause, remedy=remedy)).strip()
