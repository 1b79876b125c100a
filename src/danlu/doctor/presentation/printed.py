"""Findings as text: one line, and all findings of a training with those that could not be judged."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.doctor.diagnose import shown
from danlu.doctor.finding import Finding, indented
from danlu.doctor.judged import Checked
from danlu.doctor.presentation.terms import severity_term, term
from danlu.message import language, speaking


def finding_line(finding: Finding, code: str | None = None) -> str:
    """Severity, title, place and code of a finding. code: language code, the current language by default."""
    with speaking(code or language()):
        facts = {"severity": severity_term(finding.severity), "title": finding.title, "code": finding.code}
        if finding.place:
            return str(term("line_at", "{severity}: {title} ({place}) [{code}]", place=finding.place, **facts))
        return str(term("line_short", "{severity}: {title} [{code}]", **facts))


def finding_lines(findings: Sequence[Finding], checked: Checked) -> list[str]:
    """Lines for a terminal, in the current language: each finding with cause and fix, consequences on one line each.

    Without an error or a warning the last line lists the findings that were not judged.
    """
    facts = [{"code": one.code, "consequences": one.consequences, "finding": one} for one in findings]
    first, folded = shown(facts)
    lines: list[str] = []
    for one in first:
        finding = one["finding"]
        lines += [f"  {finding_line(finding)}", f"    {finding.cause}"]
        lines += [f"    {line}" for line in str(term("fix_line", "fix: {fix}", fix=finding.remedy)).splitlines()]
        lines += [f"    {line}" for line in indented(finding.snippet)]
    causes = {code: one["code"] for one in reversed(facts) for code in one["consequences"]}
    for one in folded:
        line = finding_line(one["finding"])
        if one["code"] in causes:
            line = str(term("follows", "{line} (follows from {code})", line=line, code=causes[one["code"]]))
        lines.append(f"  {line}")
    if not findings:
        lines.append(f"  {term('nothing_found', 'nothing wrong was found')}")
    if checked.not_judged:
        text = "{n} findings were checked, {missing} could not be judged."
        lines.append(f"  {term('checked', text, n=checked.n, missing=len(checked.not_judged))}")
        lines += [f"    {why}: {', '.join(codes)}" for why, codes in checked.reasons().items()]
    return lines
