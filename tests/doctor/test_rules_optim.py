"""Rules about optimisation on example ledgers: with the fault, without it, and with similar symptoms."""

from __future__ import annotations

import math

import pytest
import torch

from danlu.doctor.derived.noise import noise_scale
from danlu.doctor.derived.progress import accuracies, chance_loss, descent, skills, steps_taken
from danlu.doctor.findings.gradient.vanishing import vanishing
from danlu.doctor.findings.loop.scheduler_misuse import scheduler_misuse
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.wording import worded
from danlu.message import table

RULES = {code: spec.rule for code, spec in FINDINGS.items() if code.startswith("optim.")}
TEN = [0.1] * 10  # frequencies of ten classes
GUESS = math.log(10)


def run(losses: list[float], *, epochs: int = 10, steps: int = 20, **values) -> Ledger:
    """A run on ten classes: `losses` by step are stretched over all steps; values are constant series or lists."""
    ledger = Ledger()
    total = epochs * steps
    for name, value in (("loss.kind", "cross_entropy"), ("target.kind", "classes"), ("output.count", 10)):
        ledger.add(name, value, "", 1)
    by_step = [losses[min(i * len(losses) // total, len(losses) - 1)] for i in range(total)]
    for step, loss in enumerate(by_step, 1):
        ledger.add("loss.step", loss, "", step)
    for epoch in range(epochs):
        part = by_step[epoch * steps : (epoch + 1) * steps]
        for phase in ("train", "val"):
            ledger.add("loss.mean", sum(part) / steps, phase, epoch + 1)
            ledger.add("class.actual", TEN, phase, epoch + 1)
            ledger.add("epoch.samples", 640, phase, epoch + 1)
    facts = {
        "optimizer_kind": ["SGD"],
        "optimizer_lr": [0.1],
        "optimizer_momentum": [0.9],
        "batch_size": [32],
        "update_ratio": [2e-3] * 12,
        "update_cosine": [0.1] * 12,
        "gradient_norm": [1.0] * 12,
    } | values
    for key, series in facts.items():
        where = "optimizer0" if key == "optimizer_kind" else "optimizer0.group0" if key.startswith("optimizer") else ""
        for step, value in enumerate(series, 1):
            ledger.add(key.replace("_", ".", 1), value, where, step)
    for name in ("0.weight", "2.weight"):
        ledger.add("parameter.role", "weight", name, 1)
        ledger.add("parameter.shape", [64, 64], name, 1)
        ledger.add("parameter.std", 0.1, name, 1)
    return ledger


def weak_start(**values) -> Ledger:
    """Weights of standard deviation 1e-3: a gain of 0.008."""
    ledger = run(**values)
    for name in ("0.weight", "2.weight"):
        ledger.add("parameter.std", 1e-3, name, 1)
    return ledger


def with_layers(ledger: Ledger, *kinds: str) -> Ledger:
    for number, kind in enumerate(kinds):
        ledger.add("layer.kind", kind, str(number), 1)
    return ledger


FALLING = [GUESS * 0.8**i for i in range(20)]
FLAT = [GUESS * 1.001] * 20
SLOW = [GUESS * (1 - 0.02 * i) for i in range(20)]
SWINGS = [GUESS * x for x in (1, 0.6, 0.3, 0.9, 1.2, 0.7, 0.4, 1.1, 0.8, 0.9)]
SPIKE = [GUESS * x for x in (1, 9, 5, 2, 1.2, 1, 1, 1, 1, 1)]
NOISE = {"gradient_signal": [0.01] * 8, "gradient_noise": [1.0] * 8}

# code -> (with the fault, without it).
CASES = {
    "optim.lr_too_high": (
        run(SPIKE, update_ratio=[0.2] * 12),
        run(FALLING),
    ),
    "optim.lr_too_low": (
        run(SLOW, update_ratio=[2e-5] * 12),
        run(FALLING),
    ),
    "optim.oscillation": (
        run(SLOW, update_cosine=[-0.95] * 12),
        run(SLOW, update_cosine=[-0.3] * 12),
    ),
    "optim.plateau_saddle": (
        weak_start(losses=FLAT),
        run(FLAT),
    ),
    "optim.plateau_minimum": (
        run([0.8] * 20, gradient_norm=[1.0 * 0.3**i for i in range(12)]),
        run([0.8] * 20, gradient_norm=[0.5] * 12),
    ),
    "optim.slow_convergence": (run(SLOW), run([0.3 * GUESS] * 20)),
    "optim.weight_decay_too_strong": (
        run(SLOW, optimizer_weight_decay=[0.5], decay_ratio=[2.0] * 6, weight_norm=[10.0, 4.0]),
        run(FALLING, optimizer_weight_decay=[1e-3], decay_ratio=[0.01] * 6, weight_norm=[10.0, 12.0]),
    ),
    "optim.momentum_too_high": (
        run(SWINGS, optimizer_momentum=[0.998]),
        run(SWINGS, optimizer_momentum=[0.9]),
    ),
    "optim.batch_too_small": (
        run(FLAT, steps=200, batch_size=[1], **NOISE),
        run(FALLING, batch_size=[32], **NOISE),
    ),
    "optim.batch_too_large": (
        run(SLOW, steps=2, batch_size=[320]),
        run(SLOW, steps=20, batch_size=[32]),
    ),
    "optim.no_warmup": (
        with_layers(run(FLAT, optimizer_kind=["Adam"], update_ratio=[0.08] * 12), "Linear", "LayerNorm"),
        with_layers(
            run(FLAT, optimizer_kind=["Adam"], update_ratio=[0.08] * 12, optimizer_lr=[1e-4, 1e-2]), "LayerNorm"
        ),
    ),
    "optim.clipping_always": (
        run(SLOW, gradient_clip_ratio=[0.05] * 9, gradient_raw_norm=[20.0] * 9),
        run(SLOW, gradient_clip_ratio=[1.0] * 8 + [0.4], gradient_raw_norm=[1.0] * 9),
    ),
}


def test_full_batch_is_too_large_despite_progress():
    nearly = [fraction * GUESS for fraction in (1.0, 0.8, 0.6, 0.45, 0.35, 0.28, 0.22, 0.17, 0.13, 0.1, 0.08, 0.07)]
    assert fired("optim.batch_too_large", run(nearly, steps=2, batch_size=[320])) == ["warning"]
    assert fired("optim.batch_too_large", run([loss / 4 for loss in nearly], steps=2, batch_size=[320])) == []


def test_a_batch_is_measured_against_the_data_set_where_its_loader_shows_the_size():
    slowly = [GUESS * (1 - 0.001 * i) for i in range(20)]
    assert fired("optim.batch_too_large", run(slowly, steps=20, batch_size=[320], loader_samples=[9000])) == []
    assert fired("optim.batch_too_large", run(slowly, steps=20, batch_size=[320], loader_samples=[320])) == ["warning"]


def test_a_low_learning_rate_is_not_hidden_by_an_output_layer_that_moves():
    ledger = run(FLAT, epochs=20, update_ratio=[1e-3] * 12)
    assert fired("optim.lr_too_low", ledger) == []
    for name, ratio in (("0.weight", 5e-5), ("2.weight", 2e-4), ("4.weight", 4e-3)):
        ledger.add("parameter.role", "weight", name, 1)
        for step in range(6):
            ledger.add("update.ratio", ratio, name, step)
    assert fired("optim.lr_too_low", ledger) == ["warning"]


def fired(code: str, ledger: Ledger) -> list[str]:
    return [f.severity for f in RULES[code](ledger) if f.code == code]


def test_every_code_has_a_case():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("code", CASES)
def test_a_rule_finds_its_fault_and_is_silent_without_it(code):
    with_fault, without = CASES[code]
    assert len(fired(code, with_fault)) == 1
    assert fired(code, without) == []
    assert fired(code, Ledger()) == []


@pytest.mark.parametrize("code", CASES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_use_only_what_the_evidence_holds(code, language):
    words = worded(next(iter(RULES[code](CASES[code][0]))), language)
    for text in (words.title, words.cause, words.remedy):
        assert text
        assert "?" not in text
    translated = language == "zh" and f"finding.{code}.title" in table("zh")
    assert any("一" <= letter <= "鿿" for letter in words.title) == translated


def test_divergence_under_heavy_momentum_is_blamed_on_the_momentum():
    ledger = run(SPIKE, update_ratio=[0.2] * 12, optimizer_momentum=[0.999])
    assert fired("optim.lr_too_high", ledger) == []
    assert fired("optim.momentum_too_high", ledger) == ["error"]


def test_nan_in_the_data_is_not_blamed_on_the_lr():
    ledger = run([GUESS, GUESS, math.nan, math.nan], update_ratio=[0.4] * 12)
    assert fired("optim.lr_too_high", ledger) == ["error"]
    ledger.add("nonfinite.source", "input", "", 3)
    assert fired("optim.lr_too_high", ledger) == []


def test_possibly_negative_loss_has_no_growth_scale():
    ledger = Ledger()
    for step, loss in enumerate((-5.0, -1.0, 3.0, 900.0), 1):
        ledger.add("loss.step", loss, "", step)
    assert fired("optim.lr_too_high", ledger) == []


def short(losses: list[float], update: float, kind: str = "cross_entropy", gradient: float = 1.0) -> Ledger:
    """A run of a few steps whose first updates are the fraction `update` of the weights."""
    ledger = run(losses, epochs=1, steps=len(losses), update_ratio=[update] * 6, gradient_norm=[gradient] * 6)
    ledger.add("loss.kind", kind, "", 1)
    return ledger


def test_short_rise_of_the_loss_is_accepted():
    """The rising ones are measured: ResNet-18, SGD 0.1 and 0.05 with momentum 0.9, batches of 8, no warm-up."""
    for losses, update in (
        ([2.42, 8.37, 20.33], 0.1),
        ([2.42, 8.37, 20.33, 18.27, 24.53, 24.74, 28.94, 30.42, 44.66, 49.72], 0.1),
        ([2.42, 4.5, 8.11, 9.0, 13.93, 12.26, 13.94, 16.27, 18.61, 34.69], 0.05),
    ):
        assert fired("optim.lr_too_high", short(losses, update)) == []
        assert fired("optim.lr_too_high", short(losses + losses[-1:] * 20, update)) == [
            "warning"
        ]  # it did not come back
    for losses, update in (
        ([1.58, 173.46, 208846.73], 1.0),
        ([8.46, 2e16, math.inf, math.nan], 1.0),
        ([8.46, math.nan], math.nan),  # a finite gradient, and weights beyond all numbers
        ([2.3, math.inf], 0.5),
    ):
        assert fired("optim.lr_too_high", short(losses, update)) == ["error"]
    assert fired("optim.lr_too_high", short([8.46, math.nan], math.nan, gradient=math.nan)) == []


def test_a_loss_without_a_known_scale_needs_steps_longer_than_sound_ones():
    """The squared error against a network's own predictions begins near zero and grows with them."""
    grows = [0.01 + 0.05 * i for i in range(60)]
    assert fired("optim.lr_too_high", short(grows, 0.04, "td_error")) == []
    assert fired("optim.lr_too_high", short(grows, 0.3, "td_error")) == ["error"]
    signed = [0.01 * (-1) ** i * i for i in range(60)]
    assert fired("optim.lr_too_high", short(signed, 0.3, "reward")) == []


@pytest.mark.parametrize(("last", "severity"), [(0.3, "note"), (1.6, "warning")])
def test_a_loss_that_rose_in_the_first_steps_is_a_note_where_the_run_ended_well(last: float, severity: str):
    losses = [2.3, 2.9, 2.6] + [2.3 - (2.3 - last) * i / 60 for i in range(61)]
    ledger = run(losses, update_ratio=[0.25] * 6)
    ledger.add("run.finished", 200, "", 200)
    assert fired("optim.lr_too_high", ledger) == [severity]


def test_small_batch_is_not_blamed_for_few_samples():
    """Measured on a healthy ResNet-18 with Adam: after six steps of eight images the noise scale is above 100."""
    noisy = {"batch_size": [8], "gradient_signal": [0.001] * 8, "gradient_noise": [1.0] * 8}
    assert fired("optim.batch_too_small", run(FLAT, epochs=1, steps=10, **noisy)) == []
    assert fired("optim.batch_too_small", run(FLAT, epochs=10, steps=20, **noisy)) == ["warning"]
    hasty = run(FLAT, epochs=10, steps=20, **noisy | {"update_ratio": [0.25] * 6})
    assert fired("optim.batch_too_small", hasty) == []  # after steps that overshoot gradients are unrelated as well


def test_small_updates_are_no_fault_where_all_is_learnt_or_where_they_are_clipped():
    tiny = [1e-5] * 12
    assert fired("optim.lr_too_low", run([GUESS] + [0.01] * 19, update_ratio=tiny)) == []
    clipped = {"gradient_clip_ratio": [0.01] * 9, "gradient_raw_norm": [9.0] * 9}
    assert fired("optim.lr_too_low", run(SLOW, update_ratio=tiny, **clipped)) == []
    assert fired("optim.clipping_always", run(SLOW, update_ratio=tiny, **clipped)) == ["warning"]


def test_a_plateau_that_ends_is_a_warning_and_one_that_does_not_an_error():
    assert fired("optim.plateau_saddle", weak_start(losses=FLAT)) == ["error"]
    assert fired("optim.plateau_saddle", weak_start(losses=FLAT[:10] + FALLING[5:])) == ["warning"]


def test_curvature_at_a_plateau_distinguishes_saddle_and_minimum():
    for kind, lowest, code in (("saddle", -3.0, "optim.plateau_saddle"), ("minimum", 0.1, "optim.plateau_minimum")):
        ledger = run([0.8] * 20)
        ledger.add("point.kind", kind, "", 5)
        ledger.add("point.lowest", lowest, "", 5)
        ledger.add("point.highest", 4.0, "", 5)
        found = [name for name in ("optim.plateau_saddle", "optim.plateau_minimum") if fired(name, ledger)]
        assert found == [code]


def test_the_noise_scale_is_a_ratio_of_means():
    ledger = Ledger()
    for signal, noise in ((1.0, 10.0), (-1.0, 30.0), (2.0, 20.0), (2.0, 20.0)):
        ledger.add("gradient.signal", signal, "", 1)
        ledger.add("gradient.noise", noise, "", 1)
    assert noise_scale(ledger) == (pytest.approx(20.0), False)


def test_chance_is_the_entropy_of_the_labels_or_the_variance_of_the_targets():
    ledger = run([GUESS])
    assert chance_loss(ledger) == pytest.approx(GUESS)
    assert skills(ledger, "train")[-1] == pytest.approx(0.0, abs=1e-9)
    values = Ledger()
    values.add("loss.kind", "mse", "", 1)
    values.add("target.std", 3.0, "train", 1)
    assert chance_loss(values) == pytest.approx(9.0)
    assert chance_loss(Ledger()) is None


def test_skill_of_the_lowest_loss_under_label_smoothing_is_one():
    classes, smoothing = 17, 0.1
    logits = torch.full((1, classes), math.log(smoothing / classes))
    logits[0, 0] = math.log(1 - smoothing + smoothing / classes)  # the smoothed label itself
    lowest = torch.nn.functional.cross_entropy(logits, torch.tensor([0]), label_smoothing=smoothing).item()
    ledger = Ledger()
    for name, value, where in (
        ("loss.kind", "cross_entropy", ""),
        ("loss.option", smoothing, "label_smoothing"),
        ("output.count", classes, ""),
        ("class.actual", [1 / classes] * classes, "train"),
        ("loss.mean", lowest, "train"),
        ("loss.mean", math.log(classes), "train"),
    ):
        ledger.add(name, value, where, len(ledger.values(name, where)))
    assert skills(ledger, "train") == pytest.approx([1, 0], abs=1e-6)


def test_descent_is_what_the_last_quarter_gained_on_the_half_before():
    assert descent(run([GUESS] * 20)) == pytest.approx(0.0, abs=1e-9)
    # A straight line down to half of chance: the middles of the half before and of the last quarter are 3/8 apart.
    line = run([GUESS * (1 - i / 400) for i in range(200)])
    assert descent(line) == pytest.approx(0.5 * 3 / 8, rel=0.01)


def test_the_loops_own_accuracy_fills_gaps():
    ledger = Ledger()
    ledger.add("accuracy.mean", 0.5, "val", 1)
    for epoch, told in ((1, 49.0), (2, 80.0)):
        ledger.add("user.metric", told, "val_acc", epoch)
    assert accuracies(ledger, "val") == {1: 0.5, 2: 0.8}


def test_step_number_includes_skipped_steps() -> None:
    ledger = run([2.3])
    sparse = Ledger()
    for record in ledger:
        if record.name != "loss.step":
            sparse.add(record.name, record.value, record.where, record.step)
    for step, loss in ((1, 2.3), (2, 2.3), (900, 2300.0), (901, 2.3)):
        sparse.add("loss.step", loss, "", step)
    sparse.add("run.finished", 1000, "", 1000)
    found = next(iter(RULES["optim.lr_too_high"](sparse)))
    assert found.evidence["step"] == 900
    assert "at step 900" in worded(found).cause
    assert steps_taken(sparse) == 1000


def test_a_run_that_diverged_is_not_told_to_train_longer() -> None:
    falling = [2.3, 2.3, *[60.0 - i for i in range(50)]]
    assert descent(run(falling)) > 0.02
    assert not list(RULES["optim.slow_convergence"](run(falling)))
    assert list(RULES["optim.slow_convergence"](run([2.3 - 0.03 * i for i in range(40)])))


@pytest.mark.parametrize(("used", "found"), [(2, True), (90, False)])
def test_a_learning_rate_of_zero_in_most_steps_is_a_fault_of_the_schedule(used: int, found: bool) -> None:
    ledger = Ledger()
    for step, rate in ((1, 0.0), (10, 0.01), (10 + used, 0.0)):
        ledger.add("optimizer.lr", rate, "g", step)
    for step in range(1, 101):
        ledger.add("loss.step", 2.3, "", step)
    ledger.add("run.steps", 50, "", 1)
    ledger.add("run.steps", 100, "", 2)
    assert [one.evidence["fix"] for one in scheduler_misuse(ledger)] == (["zero"] if found else [])


@pytest.mark.parametrize(
    ("faint", "late", "found"),
    [(0.9, 0.69, True), (0.9, 0.3, False), (0.2, 0.69, False)],
    ids=["stuck", "learnt", "all"],
)
def test_gradients_through_time(faint: float, late: float, found: bool) -> None:
    ledger = Ledger()
    for name, value, where in (
        ("loss.kind", "cross_entropy", ""),
        ("class.actual", [0.5, 0.5], "train"),
        ("output.count", 2, ""),
        ("layer.recurrent", ["RNN", 120], "rnn"),
        ("probe.faint_inputs", faint, "axis1"),
        ("loss.mean", late, "train"),
    ):
        ledger.add(name, value, where, 1)
    for step in range(1, 201):
        ledger.add("loss.step", late, "", step)
    assert [one.evidence["fix"] for one in vanishing(ledger)] == (["time"] if found else [])


@pytest.mark.parametrize(
    ("losses", "ratio", "shrunk", "found"),
    [(SLOW, 0.7, 0.3, True), (SLOW, 0.4, 0.6, True), (SLOW, 0.1, 0.6, False), (FALLING, 0.7, 0.6, False)],
)
def test_decay_that_adam_rescales_holds_the_loss_up_before_it_exceeds_the_gradient(
    losses: list[float], ratio: float, shrunk: float, found: bool
) -> None:
    adam = {"optimizer_kind": ["Adam"], "optimizer_lr": [1e-3]}
    norms = {"decay_ratio": [ratio] * 6, "weight_norm": [10.0, 10 * shrunk]}
    ledger = run(losses, optimizer_weight_decay=[0.3], **adam, **norms)
    assert bool(fired("optim.weight_decay_too_strong", ledger)) is found
