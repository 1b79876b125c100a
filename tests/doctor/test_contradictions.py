"""Findings of one training never contradict each other, at its end or while it runs."""

from __future__ import annotations

import pytest

from danlu.doctor.contradictions import contradict
from danlu.doctor.diagnose import ranked
from danlu.doctor.finding import Finding
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.watch import Doctor


def test_declared_contradictions_are_of_findings_that_exist():
    pairs = [(code, other) for code, spec in FINDINGS.items() for other in spec.contradicts]
    assert pairs
    assert {other for _, other in pairs} <= set(FINDINGS)
    assert all(contradict(one, other) and contradict(other, one) for one, other in pairs)


def test_the_finding_with_more_evidence_stays():
    strong = Finding("fit.regularisation_too_strong", "note", 0.65, "", {})
    over = Finding("fit.overfitting", "warning", 0.8, "", {})
    other = Finding("data.duplicates", "note", 0.5, "", {})
    assert [f.code for f in ranked([strong, over, other])] == ["fit.overfitting", "data.duplicates"]
    assert [f.code for f in ranked([strong, other])] == ["fit.regularisation_too_strong", "data.duplicates"]


class Told(Doctor):
    """A doctor whose findings are given."""

    given: tuple[Finding, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        return list(self.given)


@pytest.fixture
def doctor():
    import torch

    return Told(torch.nn.Linear(1, 1), [])


def test_a_later_finding_withdraws_the_earlier_one_that_it_contradicts(doctor):
    lines: list[str] = []
    over, strong = (
        Finding(code, "warning", 0.8, "", {}, title=code)
        for code in ("fit.overfitting", "fit.regularisation_too_strong")
    )
    for given in ((over,), (over,), (strong,), (strong,)):
        doctor.given = given
        doctor.say_new(lines.append, confirm=True)
    assert [line.partition(" [")[0].partition(";")[0] for line in lines] == [
        "warning: fit.overfitting",
        "withdrawn: fit.overfitting",
        "warning: fit.regularisation_too_strong",
    ]
    doctor.given = ()
    doctor.say_withdrawn(lines.append)
    assert lines[-1].startswith("withdrawn: fit.regularisation_too_strong")


def test_a_warning_of_a_single_look_is_not_reported_but_an_error_is(doctor):
    lines: list[str] = []
    for given in (
        (Finding("fit.overfitting", "warning", 0.8, "", {}),),
        (),
        (Finding("loop.no_update", "error", 0.8, "", {}),),
    ):
        doctor.given = given
        doctor.say_new(lines.append, confirm=True)
    assert len(lines) == 1
    assert "loop.no_update" in lines[0]
