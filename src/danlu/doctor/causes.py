"""Causes and consequences among findings, by `FindingSpec.explains`: a consequence needs no fix of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from danlu.doctor.finding import SEVERITIES, Finding
from danlu.doctor.findings.table import FINDINGS


def explained_by(found: Sequence[Finding]) -> dict[str, list[str]]:
    """Map each cause among `found` to the codes it explains.

    found: findings, most severe and confident first. Where two codes explain each other, the first is the cause.
    """
    best: dict[str, Finding] = {}
    for finding in found:
        best.setdefault(finding.code, finding)
    explained: dict[str, list[str]] = {}
    for cause, finding in best.items():
        if finding.severity == "note":
            continue
        for code in best:
            if code != cause and _explains(cause, code) and cause not in _reached(explained, code):
                explained.setdefault(cause, []).append(code)
    return explained


def with_consequences(found: Sequence[Finding], explained: Mapping[str, list[str]]) -> list[Finding]:
    """Give each cause the codes it explains, and the gravest severity among them: to fix it fixes those."""
    gravest: dict[str, int] = {}
    for finding in found:
        level = SEVERITIES.index(finding.severity)
        gravest[finding.code] = min(level, gravest.get(finding.code, level))
    linked, first = [], set()
    for finding in found:
        codes = explained.get(finding.code, [])
        level = SEVERITIES.index(finding.severity)
        if codes and finding.code not in first:
            level = min([level, *(gravest[code] for code in _reached(explained, finding.code))])
        first.add(finding.code)
        linked.append(replace(finding, severity=SEVERITIES[level], consequences=codes))
    return linked


def _reached(explained: Mapping[str, list[str]], cause: str) -> set[str]:
    """Codes that follow from `cause`, directly or through others."""
    codes: set[str] = set()
    ahead = [cause]
    while ahead:
        for code in explained.get(ahead.pop(), []):
            if code not in codes:
                codes.add(code)
                ahead.append(code)
    return codes


def _explains(cause: str, code: str) -> bool:
    explains = FINDINGS[cause].explains if cause in FINDINGS else ()
    return any(code == e or (e.endswith("*") and code.startswith(e[:-1])) for e in explains)
