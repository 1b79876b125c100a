"""From the ledger to what is said: run every rule, rank, and put causes before consequences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from danlu.doctor.causes import explained_by
from danlu.doctor.finding import Finding
from danlu.doctor.judged import Checked, NotJudged, judged
from danlu.doctor.ledger import Ledger
from danlu.doctor.messages import worded
from danlu.doctor.rules import (
    activation,
    batch,
    data,
    detection,
    fit,
    gradient,
    labels,
    loop,
    model,
    norm,
    numerics,
    optim,
    outputs,
    plateau,
    speed,
)

__all__ = ["RULES", "Checked", "NotJudged", "diagnose", "judged", "rank", "shown"]

Rule = Callable[[Ledger], Iterable[Finding]]

# Code -> the function that finds it. Each rule file has its own table RULES of the same form.
RULES: dict[str, Rule] = {
    **data.RULES,
    **labels.RULES,
    **model.RULES,
    **outputs.RULES,
    **norm.RULES,
    **loop.RULES,
    **optim.RULES,
    **plateau.RULES,
    **batch.RULES,
    **gradient.RULES,
    **activation.RULES,
    **numerics.RULES,
    **fit.RULES,
    **speed.RULES,
    **detection.RULES,
}

SHOWN = 5  # at most so many findings are shown, the rest are folded
WEIGHT = {"error": 3.0, "warning": 1.5, "note": 0.3}


def diagnose(ledger: Ledger, language: str = "en") -> list[Finding]:
    """All findings in words: causes by severity and confidence, each naming its consequences, these after the causes.

    A finding explained by another is kept, with its own words, below all that nothing explains.
    """
    found: list[Finding] = []
    for rule in dict.fromkeys(RULES.values()):
        found.extend(rule(ledger))
    found.sort(key=rank, reverse=True)
    explained = explained_by(found)
    told = [replace(f, consequences=explained.get(f.code, [])) for f in found]
    follows = {code for codes in explained.values() for code in codes}
    told.sort(key=lambda f: (f.code not in follows, rank(f)), reverse=True)
    return [worded(finding, language) for finding in told]


def shown(findings: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Of findings as in findings.json those to show, at most SHOWN, and those to fold: consequences, then the least."""
    follows = {code for one in findings for code in one.get("consequences") or ()}
    first = [one for one in findings if one.get("code") not in follows][:SHOWN]
    return first, [one for one in findings if not any(one is other for other in first)]


def rank(finding: Finding) -> float:
    """Severity x confidence."""
    return WEIGHT[finding.severity] * finding.confidence
