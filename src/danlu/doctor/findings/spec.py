"""`FindingSpec`: everything about one finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from danlu.doctor.derived.several_models import is_one_of_several
from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.plot import Figure

Rule = Callable[[Ledger], Iterable[Finding]]
Drawing = Callable[[Ledger, Mapping[str, Any]], Figure | None]

LAST = 1000  # default of `FindingSpec.order`: after all findings that have a place of their own


@dataclass(frozen=True)
class Words:
    """English wording of a finding: format strings over its evidence and `{where}`.

    A number is shown with three digits, "{fraction:%}" is a percentage, evidence that is missing becomes "?", braces of
    code are doubled. cause: what was measured and why it is harmful, for readers who are new to the topic. fix: what to do.
    snippet: the fix as code that runs where `torch`, `nn`, `F`, `np` and the usual names of a training are known (see
    tests/doctor/test_snippets.py); a mapping where the evidence "fix" chooses one of several, none where it has no entry.
    Translations have the ids finding.CODE.title, .cause and .fix.
    """

    title: str
    cause: str
    fix: str
    snippet: str | Mapping[str, str] = ""

    def chosen_snippet(self, evidence: Mapping[str, Any]) -> str:
        """Template of the code for this evidence; empty if there is none."""
        if isinstance(self.snippet, str):
            return self.snippet
        return self.snippet.get(str(evidence.get("fix", "")), "")


def always(ledger: Ledger) -> bool:
    """Default of `FindingSpec.concerns`: the finding applies to every run."""
    return True


@dataclass(frozen=True)
class CurveJudgement:
    """Judgement of a finding where only logged curves are known (see doctor/curves/).

    rule: like the rule of the spec, on a ledger that holds only curves. needs: ledger entries without which it cannot decide.
    words: wording of such a finding; None: the same as after a training. Translations have the ids finding.CODE.curves.*.
    """

    rule: Rule
    needs: tuple[str, ...]
    words: Words | None = None


@dataclass(frozen=True)
class FindingSpec:
    """Everything about one finding.

    code: FAMILY.NAME, stable, as in findings.json; the path of its file.
    severities: severities that the rule may give it.
    rule: pure function from a ledger to findings with this code, at most one.
    words: wording after a training.
    charts: drawings of the evidence; the first for which the ledger has the numbers is shown.
    needs: ledger entries without which the rule cannot decide: "loss.step", "loss.mean[val]" (name[where]).
    explains: codes of findings that are consequences where both are found; "fit.*" is a family.
    contradicts: codes of findings that exclude this one and whose fixes undo its own; listed in one of the two.
    overcome_at: skill at the end of a run (1 - loss / loss at chance level) from which the finding is only a note, as past.
    alone: the finding applies only where the watched model is the only one that is trained, not to one half of a GAN.
    only_cost: it costs time or memory and not accuracy, so that it comes after others of its severity.
    concerns: whether the finding applies to the run at all (bounding boxes, batch norm).
    before_training: wording of the same finding by static_checks.py.
    from_curves: judgement of the finding from the logged curves of another tool; None where curves do not show it.
    order: of findings with the same severity and confidence, the lowest is reported first; then by code.
    """

    code: str
    severities: tuple[str, ...]
    rule: Rule
    words: Words
    charts: tuple[Drawing, ...]
    needs: tuple[str, ...]
    explains: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()
    concerns: Callable[[Ledger], bool] = always
    before_training: Words | None = None
    from_curves: CurveJudgement | None = None
    overcome_at: float | None = None
    alone: bool = False
    only_cost: bool = False

    def applies(self, ledger: Ledger) -> bool:
        """Return whether the finding applies to the run."""
        return self.concerns(ledger) and not (self.alone and is_one_of_several(ledger))

    order: int = LAST
