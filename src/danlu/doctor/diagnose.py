"""Diagnosis of a ledger: run every rule, rank the findings, put causes before consequences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from danlu.doctor.causes import explained_by, with_consequences
from danlu.doctor.contradictions import without_contradictions
from danlu.doctor.derived.several_models import is_one_of_several
from danlu.doctor.finding import Finding
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.judged import Checked, NotJudged, judged
from danlu.doctor.ledger import Ledger
from danlu.doctor.overcome import rejudged
from danlu.doctor.wording import worded

__all__ = ["Checked", "NotJudged", "diagnose", "judged", "rank", "ranked", "shown"]

MAX_SHOWN = 5  # findings that are shown, the rest are folded
SEVERITY_WEIGHTS = {"error": 3.0, "warning": 1.5, "note": 0.3}
COST_FRACTION = 0.4  # of the weight of a finding, where only time or memory is lost


def diagnose(ledger: Ledger, language: str | None = None) -> list[Finding]:
    """Run every rule on a ledger and rank the findings.

    language: code of the language of their texts, by default the current one.
    Returns findings by severity and confidence, each with the codes of its consequences; findings that
    another one explains come last.
    """
    several = is_one_of_several(ledger)
    specs = [spec for spec in FINDINGS.values() if not (spec.alone and several)]
    found = rejudged([finding for spec in specs for finding in spec.rule(ledger)], ledger)
    return [worded(finding, language) for finding in ranked(found)]


def ranked(found: Iterable[Finding]) -> list[Finding]:
    """Findings by severity and confidence, with the codes of their consequences; those that another explains last.

    Of findings that contradict one another only the first is kept.
    """
    ordered = without_contradictions(sorted(found, key=rank, reverse=True))
    explained = explained_by(ordered)
    linked = with_consequences(ordered, explained)
    consequences = {code for codes in explained.values() for code in codes}
    return sorted(linked, key=lambda f: (f.code not in consequences, rank(f)), reverse=True)


def shown(findings: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Split findings (as in findings.json) into at most MAX_SHOWN to show and the rest to fold, consequences first."""
    consequences = {code for one in findings for code in one.get("consequences") or ()}
    first = [one for one in findings if one.get("code") not in consequences][:MAX_SHOWN]
    return first, [one for one in findings if not any(one is other for other in first)]


def rank(finding: Finding) -> float:
    """Severity x confidence, less where only time or memory is lost."""
    fraction = COST_FRACTION if finding.code in FINDINGS and FINDINGS[finding.code].only_cost else 1.0
    return SEVERITY_WEIGHTS[finding.severity] * finding.confidence * fraction
