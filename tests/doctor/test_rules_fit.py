"""Rules about fit and model size on example ledgers, with and without the fault."""

from __future__ import annotations

import math

import pytest

from danlu.doctor.diagnose import diagnose
from danlu.doctor.findings.fit.not_learning import not_learning
from danlu.doctor.findings.fit.one_class import positive_weight
from danlu.doctor.findings.fit.regularisation_too_strong import regularisation_too_strong
from danlu.doctor.findings.model.loss_mismatch import loss_mismatch
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.wording import worded
from danlu.message import table

CODES = [*(code for code in FINDINGS if code.startswith("fit.")), "model.too_small", "model.too_large"]
RULES = {code: FINDINGS[code].rule for code in CODES}
GUESS = math.log(10)


def run(
    train: list[float],
    val: list[float],
    *,
    predicted: list[float] | None = None,
    accuracy: float | None = None,
    widths: tuple[int, ...] = (64, 10),
    weights: int = 5000,
    samples: int = 1000,
    dropout: float = 0.0,
) -> Ledger:
    """Ten classes; losses by epoch as fractions of the loss at chance, ten steps each; widths of the linear layers."""
    ledger = Ledger()
    facts = {"loss.kind": "cross_entropy", "target.kind": "classes", "output.count": 10, "batch.size": 32}
    for name, value in facts.items():
        ledger.add(name, value, "", 1)
    for epoch, pair in enumerate(zip(train, val), 1):
        for phase, loss in zip(("train", "val"), pair):
            ledger.add("loss.mean", loss * GUESS, phase, epoch)
            ledger.add("class.actual", [0.1] * 10, phase, epoch)
            ledger.add("class.predicted", predicted or [0.1] * 10, phase, epoch)
            ledger.add("epoch.samples", samples, phase, epoch)
            if accuracy is not None:
                ledger.add("accuracy.mean", accuracy, phase, epoch)
        for step in range(10):
            ledger.add("loss.step", pair[0] * GUESS, "", (epoch - 1) * 10 + step + 1)
    for number, width in enumerate(widths):
        ledger.add("layer.kind", "Linear", f"l{number}", 1)
        ledger.add("layer.order", number, f"l{number}", 1)
        ledger.add("layer.output_shape", [32, width], f"l{number}", 1)
    ledger.add("parameter.size", weights, "l0.weight", 1)
    if dropout:
        ledger.add("layer.dropout", dropout, "drop", 1)
    return ledger


GOOD = run([0.5, 0.2, 0.1, 0.06, 0.05, 0.05, 0.05, 0.05], [0.5, 0.25, 0.12, 0.09, 0.08, 0.08, 0.08, 0.08])
RISING = run([0.5, 0.3, 0.2, 0.1, 0.05, 0.02], [0.5, 0.4, 0.4, 0.5, 0.6, 0.7])
STILL_POOR = [0.8, 0.7] + [0.6] * 8
TO_ONE = [0.97, 0.01] + [0.0025] * 8
LONG = [0.5, 0.3, 0.2, 0.1] + [0.1] * 26


def reconstructed(difference: float) -> Ledger:
    """A VAE whose reconstructions differ by this fraction of the differences between their inputs."""
    ledger = Ledger()
    ledger.add("probe.reconstruction", difference, "", 400)
    ledger.add("run.finished", 400, "", 400)
    return ledger


# code -> (with the fault, without it, severity).
CASES = {
    "fit.posterior_collapse": (reconstructed(0.002), reconstructed(0.6), "error"),
    "fit.overfitting": (RISING, GOOD, "warning"),
    "fit.underfitting": (run(STILL_POOR, STILL_POOR), GOOD, "note"),
    "fit.one_class": (run([1.0] * 6, [1.0] * 6, predicted=[0.99] + [0.01 / 9] * 9), GOOD, "error"),
    "fit.not_learning": (run([0.9, 0.8, 0.7, 0.6, 0.5], [1.0, 1.01, 1.05, 1.1, 1.2], accuracy=0.1), GOOD, "warning"),
    "fit.regularisation_too_strong": (
        run(STILL_POOR, [0.3] * 10, dropout=0.9),
        run([0.1] * 10, [0.08] * 10, dropout=0.5),
        "warning",
    ),
    "fit.stopped_early": (run([0.9, 0.6], [0.7, 0.5]), run([0.1, 0.1], [0.1, 0.1]), "note"),
    "fit.trained_too_long": (
        run([0.5, 0.3, 0.2] + [0.01] * 27, [0.5, 0.3, 0.2] + [0.21] * 27),
        run(LONG, [x - 0.001 * i for i, x in enumerate(LONG)]),
        "note",
    ),
    "model.too_small": (run(STILL_POOR, STILL_POOR, widths=(2, 10)), run(STILL_POOR, STILL_POOR), "warning"),
    "model.too_large": (
        run([0.5] + [0.001] * 9, [0.6] + [0.3] * 9, weights=600_000, samples=60),
        run([0.5] + [0.001] * 9, [0.6] + [0.3] * 9, weights=6_000, samples=60),
        "note",
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_a_rule_finds_its_fault_and_is_silent_without_it(code):
    with_fault, without, severity = CASES[code]
    assert [f.severity for f in RULES[code](with_fault) if f.code == code] == [severity]
    assert list(RULES[code](without)) == []
    assert list(RULES[code](Ledger())) == []


@pytest.mark.parametrize("code", CASES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_use_only_what_the_evidence_holds(code, language):
    words = worded(next(iter(RULES[code](CASES[code][0]))), language)
    for text in (words.title, words.cause, words.remedy):
        assert text
        assert "?" not in text
    translated = language == "zh" and f"finding.{code}.title" in table("zh")
    assert any("一" <= letter <= "鿿" for letter in words.title) == translated


def test_every_rule_of_the_fit_has_a_case():
    assert set(CASES) == set(RULES)


def test_loss_below_the_cost_of_its_errors_shows_a_class_weight():
    # 8 % wrong cost at least 0.08 ln 2 = 0.055; the loss is 0.0058.
    weighted = run(TO_ONE, TO_ONE, accuracy=0.92)
    assert [f.severity for f in RULES["fit.one_class"](weighted)] == ["warning"]
    assert list(RULES["fit.one_class"](run(TO_ONE, TO_ONE, accuracy=0.998))) == []


@pytest.mark.parametrize(
    ("weights", "frequencies", "favoured"),
    [
        ([200.0] + [1.0] * 9, [0.1] * 10, 0),
        ([1.0] * 9 + [0.05], [0.1] * 10, None),  # little weight on one class is no weight on another
        ([1.0] * 10, [0.1] * 10, None),
        ([50.0, 1.0], [0.02, 0.98], None),  # balanced: a rare class, weighted as its frequency justifies
        ([1.0, 50.0], [0.02, 0.98], 1),  # upside down
    ],
    ids=["one", "little", "none", "balanced", "upside down"],
)
def test_class_weight_is_compared_with_the_class_frequency(weights, frequencies, favoured):
    ledger = Ledger()
    ledger.add("loss.class_weights", weights)
    ledger.add("class.actual", frequencies, "train", 1)
    found = list(RULES["fit.one_class"](ledger))
    assert [f.severity for f in found] == ["warning"] * (favoured is not None)
    assert [f.evidence["class"] for f in found] == [favoured] * len(found)
    for language in ("en", "zh"):
        assert all("{" not in text for f in found for text in (worded(f, language).cause, worded(f, language).title))


def binary(weight: float, positive: float) -> Ledger:
    """Binary targets with pos_weight; initial outputs are near zero, so the first loss is ln 2 times the mean weight."""
    ledger = Ledger()
    ledger.add("loss.kind", "bce_logits", "", 1)
    ledger.add("loss.initial", math.log(2) * (1 - positive + weight * positive), "", 1)
    ledger.add("output.mean", 0.01, "", 1)
    ledger.add("output.std", 0.05, "", 1)
    for epoch in (1, 2):
        for phase in ("train", "val"):
            ledger.add("loss.mean", 0.1, phase, epoch)
            ledger.add("class.actual", [1 - positive, positive], phase, epoch)
            ledger.add("class.predicted", [1 - positive, positive], phase, epoch)
    return ledger


def test_pos_weight_is_read_off_the_first_loss():
    assert positive_weight(binary(300.0, 0.5)) == pytest.approx(300.0)
    assert positive_weight(binary(9.0, 0.1)) == pytest.approx(9.0)
    assert [f.severity for f in RULES["fit.one_class"](binary(300.0, 0.5))] == ["warning"]
    assert list(RULES["fit.one_class"](binary(9.0, 0.1))) == []  # a rare class, weighted as its frequency justifies


def test_memorising_without_learning_is_not_called_overfitting_first():
    shuffled = run([1.0, 0.95, 0.9, 0.85, 0.8, 0.75], [1.0, 1.01, 1.02, 1.05, 1.1, 1.15], accuracy=0.1)
    assert diagnose(shuffled)[0].code == "fit.not_learning"


def test_one_hidden_unit_is_too_small_for_two_classes_unless_it_is_a_side_branch():
    def narrow(given: int, losses: list[float]) -> list[str]:
        ledger = run(losses, losses, widths=(1, 2))
        ledger.add("output.count", 2, "", 1)
        ledger.add("layer.input_shape", [32, given], "l1", 1)
        return [f.severity for f in RULES["model.too_small"](ledger)]

    assert narrow(1, STILL_POOR) == ["warning"]
    assert narrow(1, [0.1] * 8) == []
    assert narrow(64, STILL_POOR) == []


def test_poor_linear_model_is_too_small():
    assert [f.severity for f in RULES["model.too_small"](run(STILL_POOR, STILL_POOR, widths=(10,)))] == ["note"]
    assert list(RULES["model.too_small"](run([0.1] * 8, [0.1] * 8, widths=(10,)))) == []


def test_strong_dropout_that_ends_in_nan_is_named_before_the_nan():
    broken = run([math.nan] * 5, [math.nan] * 5, dropout=0.9)
    broken.add("nonfinite.step", "nan", "", 3)
    broken.add("nonfinite.source", "activation", "", 3)
    found = diagnose(broken)
    assert found[0].code == "fit.regularisation_too_strong"
    assert "numerics.nonfinite" in found[0].consequences


def test_smoothed_labels_keep_a_perfect_model_from_a_loss_of_zero():
    lowest = -0.91 * math.log(0.91) - 0.09 * math.log(0.01)  # entropy of a label smoothed by 0.1 over ten classes
    ends = [0.8, 0.5, *[(lowest + 0.05) / GUESS] * 8]
    ledger = run(ends, ends)
    assert [f.code for f in RULES["fit.underfitting"](ledger)] == ["fit.underfitting"]
    ledger.add("loss.option", 0.1, "label_smoothing", 1)
    assert list(RULES["fit.underfitting"](ledger)) == []


def test_vanished_lr_is_not_underfitting():
    ledger = run(STILL_POOR, STILL_POOR)
    for step, rate in ((0, 0.1), (5, 0.01), (10, 1e-4)):
        ledger.add("optimizer.lr", rate, "optimizer0.group0", step)
    assert list(RULES["fit.underfitting"](ledger)) == []


def test_model_above_the_majority_class_is_learning():
    confident = ([0.5, 0.3, 0.2, 0.1, 0.1], [1.0, 1.1, 1.2, 1.3, 1.3])
    assert list(RULES["fit.not_learning"](run(*confident, accuracy=0.6))) == []
    assert [f.code for f in RULES["fit.not_learning"](run(*confident, accuracy=0.12))] == ["fit.not_learning"]


@pytest.mark.parametrize("odd", [[math.inf, -math.inf], [math.nan] * 2, [0.0, 0.0], [-3.0, -4.0]])
def test_odd_losses_break_no_rule(odd):
    for ledger in (run(odd * 5, odd * 5, dropout=0.9), run([1.0, *odd] * 4, [1.0, *odd] * 4, accuracy=0.5)):
        diagnose(ledger)


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_backbone_beats_chance_without_learning(frozen: bool) -> None:
    ledger = run([0.99] * 8, [0.99] * 8, accuracy=0.45)
    for name, size in (("body.weight", 9000), ("head.weight", 600)):
        ledger.add("parameter.size", size, name, 0)
        ledger.add("parameter.trainable", int(not frozen or name.startswith("head")), name, 1)
    assert bool(list(RULES["fit.not_learning"](ledger))) is frozen


def test_six_steps_show_no_overfitting() -> None:
    losses = ([1.0, 0.5, 0.3, 0.2, 0.1, 0.05], [0.9, 0.8, 0.8, 1.2, 1.5, 2.0])
    assert list(RULES["fit.overfitting"](run(*losses)))
    few = Ledger()
    for record in run(*losses):
        if record.name != "loss.step":
            few.add(record.name, record.value, record.where, record.step)
    for step, loss in enumerate(losses[0], 1):
        few.add("loss.step", loss * GUESS, "", step)
    assert not list(RULES["fit.overfitting"](few))


def test_a_short_run_that_diverged_did_not_stop_early() -> None:
    rising = [1.0, 60.0, 50.0, 40.0]
    assert not list(RULES["fit.stopped_early"](run(rising, [1.0, 50.0, 40.0, 0.9])))


@pytest.mark.parametrize(("spread", "found"), [(0.33, ["note"]), (0.36, [])])
def test_a_regression_hardly_better_than_chance_level_is_noted(spread: float, found: list[str]) -> None:
    ledger = Ledger()
    for name, value in (("loss.kind", "mse"), ("target.kind", "values"), ("output.count", 1), ("run.steps", 400)):
        ledger.add(name, value, "", 1)
    for step in range(1, 201):
        ledger.add("loss.step", 0.12, "", step)
    for epoch in range(1, 11):
        for phase, loss, std in (("train", 0.119, 0.349), ("val", 0.105, spread)):
            ledger.add("loss.mean", loss, phase, epoch)
            ledger.add("target.std", std, phase, epoch)
    assert [one.severity for one in not_learning(ledger)] == found
    assert bool(list(regularisation_too_strong(ledger))) is not bool(found)


@pytest.mark.parametrize(("right", "severity"), [(0.2, "warning"), (0.7, "note")])
def test_a_binary_loss_for_exclusive_classes_is_a_note_where_they_are_learnt(right: float, severity: str) -> None:
    ledger = Ledger()
    facts = {"loss.kind": "bce", "output.count": 10, "target.kind": "one_hot", "target.distinct": 2}
    for name, value in facts.items():
        ledger.add(name, value, "", 1)
    for epoch in range(1, 4):
        ledger.add("accuracy.mean", right, "val", epoch)
    assert [one.severity for one in loss_mismatch(ledger)] == [severity]


@pytest.mark.parametrize(
    ("kind", "last", "severity"),
    [("one_hot", 0.01, "note"), ("one_hot", 0.05, "warning"), ("classes", 0.01, "warning")],
)
def test_a_squared_error_for_zeros_and_ones_is_a_note_where_it_ends_small(
    kind: str, last: float, severity: str
) -> None:
    ledger = Ledger()
    facts = {"loss.kind": "mse", "output.count": 10, "target.kind": kind, "target.distinct": 2, "batch.size": 32}
    for name, value in facts.items():
        ledger.add(name, value, "", 1)
    ledger.add("target.std", 0.3, "train", 1)
    for step in range(100):
        ledger.add("loss.step", last, "", step)
    assert [one.severity for one in loss_mismatch(ledger)] == [severity]
