"""Findings that the run recovered from: a fault at the start of a training that ended well becomes a past note."""

from __future__ import annotations

from dataclasses import replace

from danlu.doctor.derived.learning import final_skill
from danlu.doctor.finding import Finding
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message


def rejudged(found: list[Finding], ledger: Ledger) -> list[Finding]:
    """Make a note of every finding that the skill at the end of the run contradicts (`FindingSpec.overcome_at`)."""
    if not ledger.has("run.finished"):
        return found  # still training
    skill = final_skill(ledger)
    if skill is None:
        return found
    return [_as_past(finding, skill) if _is_past(finding, skill) else finding for finding in found]


def _is_past(finding: Finding, skill: float) -> bool:
    level = FINDINGS[finding.code].overcome_at if finding.code in FINDINGS else None
    return level is not None and skill >= level and finding.severity != "note"


def _as_past(finding: Finding, skill: float) -> Finding:
    return replace(finding, severity="note", evidence=finding.evidence | {"overcome": skill})


def past(skill: float) -> Message:
    """Sentence for the cause of a finding that was overcome."""
    return message(
        "doctor.overcome",
        "Training overcame this: at the end it explains {skill:%} of the loss at chance level.",
        skill=skill,
    )
