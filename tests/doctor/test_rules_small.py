"""Rules on few steps and few validation samples: what may be chance is no finding."""

from __future__ import annotations

import pytest
from test_rules_fit import run

from danlu.doctor.derived.labels import highest_accuracy
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger

FALLING = [0.9, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02]
RISING = [0.9, 0.7, 0.5, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.4]


def severities(code: str, ledger: Ledger) -> list[str]:
    return [finding.severity for finding in FINDINGS[code].rule(ledger)]


def with_samples(ledger: Ledger, samples: int) -> Ledger:
    ledger.put("epoch.samples", samples, "val", 1)
    return ledger


def test_a_rising_loss_of_a_handful_of_samples_is_no_warning():
    assert severities("fit.overfitting", run(FALLING, RISING)) == ["warning"]
    assert severities("fit.overfitting", run(FALLING, RISING, samples=300)) == ["warning"]
    assert "warning" not in severities("fit.overfitting", run(FALLING, RISING, samples=6))
    slight = [0.9, 0.7, 0.5, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7]  # a rise that three of 30 samples make
    assert severities("fit.overfitting", run(FALLING, slight, samples=300)) == ["warning"]
    assert "warning" not in severities("fit.overfitting", run(FALLING, slight, samples=30))


def test_one_epoch_with_a_high_validation_loss_is_no_overfitting():
    steady = [0.9, 0.7, 0.5, 0.4, 0.35, 0.33, 0.32, 0.32, 0.32, 5.0]
    assert "warning" not in severities("fit.overfitting", run(FALLING, steady))


def test_a_training_of_twenty_steps_has_not_failed_to_learn():
    flat = [1.02, 1.01, 1.01, 1.0, 1.0]
    assert severities("fit.not_learning", run(flat, flat)) == ["warning"]
    few = Ledger()
    for name, where, step, value in run(flat, flat):
        if name != "loss.step" or (step or 0) <= 20:
            few.add(name, value, where, step)
    assert severities("fit.not_learning", few) == []


@pytest.mark.parametrize(("rises", "falls", "found"), [(60, 0, []), (60, 40, []), (60, 80, ["warning"])])
def test_a_network_that_warms_up_has_not_failed_to_learn(rises: int, falls: int, found: list[str]) -> None:
    ledger = run([1.02, 1.01, 1.01, 1.0, 1.0], [1.02, 1.01, 1.01, 1.0, 1.0])
    rates = [*(k / rises for k in range(1, rises + 1)), *(1 - k / falls for k in range(1, falls + 1))]
    for step, rate in enumerate([1.0, *rates]):  # step 0: the rate of the optimiser before the schedule sets its own
        ledger.add("optimizer.lr", rate, "optimizer0.group0", step)
    assert severities("fit.not_learning", ledger) == found


def test_the_upper_bound_of_an_accuracy_is_wide_on_few_samples():
    ledger = Ledger()
    assert highest_accuracy(ledger, 0.5) == 0.5
    bounds = [highest_accuracy(with_samples(Ledger(), n), 0.5) for n in (10, 100, 10_000)]
    assert [round(bound, 3) for bound in bounds] == [0.763, 0.596, 0.51]  # of Wilson's interval, by hand


@pytest.mark.parametrize(
    ("fractions", "severity"),
    [([0.3, 0.9], "warning"), ([0.3, 0.65], "note"), ([0.75, 0.8], "note"), ([0.9, 0.99], "error"), ([0.2, 0.3], None)],
)
def test_relus_that_start_or_end_partly_dead_are_a_note(fractions: list[float], severity: str | None) -> None:
    """fractions: of the units, at the start and in the last measurements."""
    ledger = Ledger()
    for step, fraction in enumerate([fractions[0], fractions[1], fractions[1]], 1):
        ledger.add("activation.dead_units", fraction, "1", step)
    ledger.add("activation.dead_samples", 128, "1", 3)
    assert severities("activation.dead_relu", ledger) == ([severity] if severity else [])
