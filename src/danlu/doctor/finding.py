"""A finding: what the doctor says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from danlu.doctor.wording.terms import terms

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with its evidence.

    code: stable name, as in the catalogue ("loop.missing_zero_grad"). severity: "error" (the result is wrong or will
    be), "warning" (it costs accuracy or time) or "note". confidence in [0, 1]. where: layer, parameter, group, sample,
    by name; what is no name but a word ("validation", "class 3") is a Phrase. evidence: the numbers, with steps and
    thresholds; plain numbers, texts and small lists. title, cause, remedy and place (where, said for people) are words
    of `language`: a rule leaves them empty and messages.py fills them. consequences: codes that this one explains.
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
        """As it stands in findings.json."""
        return {
            "code": self.code,
            "severity": self.severity,
            "confidence": round(float(self.confidence), 3),
            "where": self.where,
            "place": self.place,
            "title": self.title,
            "evidence": self.evidence,
            "cause": self.cause,
            "remedy": self.remedy,
            "consequences": list(self.consequences),
        }


def in_one_line(finding: Finding | Mapping[str, Any], language: str = "en") -> str:
    """`warning: optim.lr_too_high (head): why. What to do.`"""
    facts = finding.to_dict() if isinstance(finding, Finding) else finding
    words, place = terms(language), facts.get("place") or facts.get("where")
    at = words["in brackets"].format(place) if place else ""
    head = f"{words[facts['severity']]}{words[':']}{facts['code']}{at}{words[':']}"
    return f"{head}{facts['cause']}{words['gap']}{facts['remedy']}".strip()
