"""Judge a log by the findings that curves alone show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from danlu.doctor.curves.record import recorded_curves
from danlu.doctor.curves.table import find_log
from danlu.doctor.diagnose import ranked
from danlu.doctor.finding import Finding
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.judged import Checked, NotJudged
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.presentation.findings_page import TrainingSection, write_sections
from danlu.doctor.wording import worded_from_curves
from danlu.message import Message, speaking
from danlu.message import language as current_language

NOT_SHOWN = message(
    "doctor.curves.not_shown", "curves alone do not show it; watch the training itself: danlu watch SCRIPT"
)
MISSING: dict[str, Message] = {
    "loss.mean[val]": message("doctor.curves.no_validation", "the log has no validation loss"),
    "loss.mean[train]": message("doctor.curves.no_training_loss", "the log has no training loss"),
    "loss.step": message("doctor.curves.no_training_loss", "the log has no training loss"),
    "optimizer.lr": message("doctor.curves.no_lr", "the log has no learning rate"),
    "curves.start": message("doctor.curves.no_scale", "the losses are negative, so there is no scale to judge them by"),
}


@dataclass(frozen=True)
class LogDiagnosis:
    """Findings about a log. curves: meaning of a curve -> its name in the log."""

    format: str
    path: Path
    evidence: str
    curves: dict[str, str]
    ledger: Ledger
    findings: list[Finding]
    checked: Checked

    def source(self) -> Message:
        """Format, evidence and curves in one sentence."""
        used = ", ".join(f"{meaning} = {name}" for meaning, name in self.curves.items())
        return message(
            "doctor.curves.source",
            "Log of {format}, recognised by {evidence}: {curves}. Judged from these curves only.",
            format=self.format,
            evidence=self.evidence,
            curves=used,
        )

    def report(self, path: Path, language: str | None = None) -> Path:
        """Write the findings and curves to an HTML file and return its path."""
        with speaking(language or current_language()):
            lead = self.source()
        return write_sections(
            path, [TrainingSection(self.ledger, self.findings, checked=self.checked, lead=lead)], language
        )


def diagnose_log(path: Path, language: str | None = None) -> LogDiagnosis | None:
    """Findings about the log at a path, a file or a folder that holds it; None if there is none.

    language: code of the language of the findings, by default the current one.

    Raises:
        Refusal: the path holds several logs, or its curves cannot be judged.
    """
    log = find_log(path)
    if log is None:
        return None
    ledger, used = recorded_curves(log)
    findings = judge(ledger, language)
    return LogDiagnosis(log.format, log.path, log.evidence, used, ledger, findings, judged_from_curves(ledger))


def judge(ledger: Ledger, language: str | None = None) -> list[Finding]:
    """Run the rules for curves; findings by severity and confidence, those that another one explains last."""
    found = [one for spec in FINDINGS.values() if spec.from_curves for one in spec.from_curves.rule(ledger)]
    return [worded_from_curves(one, language) for one in ranked(found)]


def judged_from_curves(ledger: Ledger) -> Checked:
    """Count the findings that the curves decide, and list the others with the reason."""
    others, n = [], 0
    for code, spec in FINDINGS.items():
        if spec.from_curves is None:
            others.append(NotJudged(code, "", NOT_SHOWN))
            continue
        needs = [need for need in spec.from_curves.needs if not _has(ledger, need)]
        if needs:
            others.append(NotJudged(code, needs[0], MISSING[needs[0]]))
        n += not needs
    return Checked(n, others)


def _has(ledger: Ledger, need: str) -> bool:
    name, _, where = need.rstrip("]").partition("[")
    return ledger.has(name, where or None)
