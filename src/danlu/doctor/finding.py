"""A finding: what the doctor says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with its evidence.

    code: stable name, as in the catalogue ("loop.missing_zero_grad"). severity: "error" (the result is wrong or will
    be), "warning" (it costs accuracy or time) or "note". confidence in [0, 1]. where: layer, parameter, group, sample.
    evidence: the numbers, with steps and thresholds; plain numbers, texts and small lists. title, cause and remedy are
    words: a rule leaves them empty and messages.py fills them. consequences: codes of findings this one explains.
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

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {SEVERITIES}, got {self.severity!r}")

    def __str__(self) -> str:
        """In one line, in English; `messages.in_one_line` knows other languages."""
        where = f" ({self.where})" if self.where else ""
        return f"{self.severity}: {self.code}{where}: {self.cause} {self.remedy}".strip()

    def to_dict(self) -> dict[str, Any]:
        """As it stands in findings.json."""
        return {
            "code": self.code,
            "severity": self.severity,
            "confidence": round(float(self.confidence), 3),
            "where": self.where,
            "title": self.title,
            "evidence": self.evidence,
            "cause": self.cause,
            "remedy": self.remedy,
            "consequences": list(self.consequences),
        }
