"""A finding: one thing that is wrong with a training, with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from danlu.doctor.presentation.terms import severity_term, term
from danlu.message import Message, as_html, language, printable_line, speaking

SEVERITIES = ("error", "warning", "note")
FORMER_EVIDENCE = {"share": "fraction", "shares": "details", "zero_share": "zero_fraction"}  # names of earlier versions


@dataclass(frozen=True, repr=False)
class Finding(Mapping[str, Any]):
    """One thing that is wrong, with its evidence.

    code: stable name ("loop.missing_zero_grad"), documented in docs/findings.md.
    severity: "error" (the result is or will be wrong), "warning" (it costs accuracy or time) or "note".
    confidence: in [0, 1].
    where: name of a layer, parameter, group or sample; a Message where it is no name ("validation", "class 3").
    evidence: the measurements, with steps and thresholds: numbers, texts and small lists.
    title, cause, remedy, place: text in `language`; place is `where` for people.
    snippet: code to paste, lines of Python. Rules leave these texts empty, `worded` fills them by the FindingSpec.
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
    snippet: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {SEVERITIES}, got {self.severity!r}")

    def __str__(self) -> str:
        """The title, then severity, code and place, the cause and the fix, and below them the code to paste."""
        with speaking(self.language):
            facts = {"title": self.title or self.code, "severity": severity_term(self.severity), "code": self.code}
            facts |= {"cause": self.cause, "remedy": self.remedy, "place": self.place}
            short, full = (
                "{title} [{severity}, {code}]. {cause} {remedy}",
                "{title} [{severity}, {code}, {place}]. {cause} {remedy}",
            )
            text = term("text", full, **facts) if self.place else term("text_short", short, **facts)
            return "\n".join([str(text).strip(), *indented(self.snippet)])

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
        values = {name: value for name, value in kept.items() if name in known}
        if isinstance(evidence := values.get("evidence"), Mapping):
            values["evidence"] = {FORMER_EVIDENCE.get(name, name): value for name, value in evidence.items()}
        return cls(**values)

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
            "snippet": self.snippet,
            "consequences": list(self.consequences),
        }


def findings_table(findings: Sequence[Finding]) -> str:
    """The findings as an HTML table, for notebooks."""
    columns = ("severity", "code", "place", "confidence", "cause", "remedy")
    left = " style='text-align:left'"
    cells = [[as_html(one[column] or "") for column in columns] for one in findings]
    for one, row in zip(findings, cells):
        row[-1] += f"<pre>{as_html(one['snippet'])}</pre>" if one.get("snippet") else ""
    rows = "".join("<tr>" + "".join(f"<td{left}>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    head = "".join(f"<th{left}>{column}</th>" for column in columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if findings else ""


def indented(snippet: str) -> list[str]:
    """Lines of code to paste, indented as below a sentence."""
    return [f"    {line}" for line in snippet.splitlines()]


def in_lines(finding: Finding, code: str | None = None) -> str:
    """The finding in one line (`in_one_line`), and below it the code to paste."""
    return "\n".join([printable_line(in_one_line(finding, code)), *indented(finding.snippet)])


def in_english(value: Any) -> Any:
    """A message as English text, any other value as it is."""
    return value.render("en") if isinstance(value, Message) else value


def in_one_line(finding: Finding | Mapping[str, Any], code: str | None = None) -> str:
    """`warning: TITLE [optim.lr_too_high (head)]. Cause. Fix.`

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
