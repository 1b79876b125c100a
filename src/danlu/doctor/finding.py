"""A finding: one thing that is wrong with a training, with its evidence."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from danlu.doctor.terms import severity_term, term
from danlu.message import Message, language, speaking

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True, repr=False)
class Finding(Mapping[str, Any]):
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
        """The title, then severity, code and place, the cause and the fix."""
        with speaking(self.language):
            facts = {"title": self.title or self.code, "severity": severity_term(self.severity), "code": self.code}
            facts |= {"cause": self.cause, "remedy": self.remedy, "place": self.place}
            if not self.place:
                return str(term("text_short", "{title} [{severity}, {code}]. {cause} {remedy}", **facts)).strip()
            return str(term("text", "{title} [{severity}, {code}, {place}]. {cause} {remedy}", **facts)).strip()

    def __repr__(self) -> str:
        place = f", {str(self.where)!r}" if self.where else ""
        return f"Finding({self.code!r}, {self.severity!r}, confidence={self.confidence:.2f}{place})"

    def _repr_html_(self) -> str:
        return findings_table([self])

    # A finding is also a mapping, with the keys of its JSON form.
    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Finding:
        """Read the JSON form. Unknown keys are ignored."""
        if isinstance(kept, Finding):
            return kept
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in kept.items() if name in known})

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


def findings_table(findings: Sequence[Finding]) -> str:
    """The findings as an HTML table, for notebooks."""
    columns = ("severity", "code", "place", "confidence", "cause", "remedy")
    left = " style='text-align:left'"
    cells = [[f"<td{left}>{html.escape(str(one[column] or ''))}</td>" for column in columns] for one in findings]
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    head = "".join(f"<th{left}>{column}</th>" for column in columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if findings else ""


def in_english(value: Any) -> Any:
    """A message as English text, any other value as it is."""
    return value.render("en") if isinstance(value, Message) else value


def in_one_line(finding: Finding | Mapping[str, Any], code: str | None = None) -> str:
    """`warning: TITLE [optim.lr_too_high (head)]. Why. What to do.`

    code: language code, the current language by default.
    """
    facts = finding.to_dict() if isinstance(finding, Finding) else finding
    with speaking(code or language()):
        place = facts.get("place") or facts.get("where")
        name = term("at_place", "{code} ({place})", code=facts["code"], place=place) if place else facts["code"]
        text = "{severity}: {title} [{code}]. {cause} {remedy}"
        severity, cause, remedy = severity_term(facts["severity"]), facts["cause"], facts["remedy"]
        title = facts.get("title") or facts["code"]
        return str(term("line", text, severity=severity, title=title, code=name, cause=cause, remedy=remedy)).strip()
