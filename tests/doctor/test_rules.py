"""Each rule on example ledgers, with and without the fault; wording in both languages; ranking."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.doctor.diagnose import diagnose, shown
from danlu.doctor.finding import SEVERITIES, Finding
from danlu.doctor.findings.spec import LAST
from danlu.doctor.findings.spec import __file__ as spec_file
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.names import NAMES
from danlu.doctor.wording import worded
from danlu.message import table

RULES = {code: spec.rule for code, spec in FINDINGS.items()}


def written(*records: tuple) -> Ledger:
    ledger = Ledger()
    for name, value, *rest in records:
        where, step = (*rest, "", 1)[:2] if rest else ("", 1)
        ledger.add(name, value, where, step)
    return ledger


def layers(count: int, name: str, values: list[float], times: int = 2) -> list[tuple]:
    facts = [("layer.order", i, f"l{i}") for i in range(count)] + [
        ("layer.kind", "Linear", f"l{i}") for i in range(count)
    ]
    return facts + [(name, values[i], f"l{i}", step) for step in range(1, times + 1) for i in range(count)]


def splits(train: list[float], val: list[float], fitted: list[float], held: list[float]) -> list[tuple]:
    """Losses and accuracies of ten classes by epoch."""
    columns = {("loss.mean", "train"): train, ("loss.mean", "val"): val}
    columns |= {("accuracy.mean", "train"): fitted, ("accuracy.mean", "val"): held}
    found = [(name, v, where, e) for (name, where), values in columns.items() for e, v in enumerate(values, 1)]
    return [*found, ("class.actual", [0.1] * 10, "val")]


def noisy(right: float, contradicted: float) -> list[tuple]:
    """A run at 0.72 accuracy whose confident predictions (60 %) agree with the fraction `right` of the labels."""
    found = splits([1.0] * 6, [1.0] * 6, [0.72] * 6, [0.72] * 6)
    for epoch in range(1, 7):
        for phase in ("train", "val"):
            found += [
                ("label.confident", 0.6, phase, epoch),
                ("label.confident_correct", right, phase, epoch),
                ("label.contradicted", contradicted, phase, epoch),
                ("label.top_third_accuracy", right, phase, epoch),
            ]
    return found


def batches_of_labels(distance: float) -> list[tuple]:
    """Four batches of 32 of four classes, at a total variation to all labels; 0.2 is expected of a shuffled order."""
    found = [("class.actual", [0.25] * 4, "train"), ("class.actual", [0.25] * 4, "val"), ("batch.size", 32)]
    for step in range(1, 5):
        found += [("batch.label_distance", distance, "", step), ("batch.label_distance_expected", 0.2, "", step)]
    return found


def inputs(val_mean: float) -> list[tuple]:
    found = [("input.std", 1.0, phase) for phase in ("train", "val")]
    found += [("input.samples", 500, phase) for phase in ("train", "val")]
    return [*found, ("input.mean", 0.0, "train"), ("input.mean", val_mean, "val")]


def modes(train: list[float], evaluated: list[float]) -> list[tuple]:
    found = [("mode.loss_train", v, "", e) for e, v in enumerate(train, 1)]
    return found + [("mode.loss_eval", v, "", e) for e, v in enumerate(evaluated, 1)]


def falling_loss() -> list[tuple]:
    return [("loss.step", 2.0 / step, "", step) for step in range(1, 41)]


def times(step: float, wait: float) -> list[tuple]:
    return [(f"time.{n}", v, "", s) for s in range(1, 31) for n, v in (("step", step), ("wait", wait))]


def told_and_seen(told: float, seen: float) -> list[tuple]:
    return [("user.metric", told, "val_accuracy"), ("accuracy.mean", seen, "val")]


# code -> (records with the fault, records of the same run without it).
CASES = {
    "pretrain.at_baseline": (
        [("pretrain.method", "mae")]
        + [(f"pretrain.{name}", 0.979, "val", s) for s in range(1, 7) for name in ("loss", "baseline")],
        [("pretrain.method", "mae")]
        + [("pretrain.loss", 0.6, "val", s) for s in range(1, 7)]
        + [("pretrain.baseline", 0.979, "val", s) for s in range(1, 7)],
    ),
    "pretrain.collapsed": (
        [("pretrain.method", "simsiam"), ("pretrain.views", 1)] + [("pretrain.std", 0.01, "val", s) for s in (1, 2, 3)],
        [("pretrain.method", "simsiam"), ("pretrain.views", 1)] + [("pretrain.std", 0.9, "val", s) for s in (1, 2, 3)],
    ),
    "pretrain.low_rank": (
        [("pretrain.method", "mae")] + [("pretrain.rank", 1.3, "val", s) for s in (1, 2, 3)],
        [("pretrain.method", "mae")] + [("pretrain.rank", 40.0, "val", s) for s in (1, 2, 3)],
    ),
    "pretrain.trivial_masks": (  # of MNIST's 4 x 4 patches 62.4 % are constant
        [("pretrain.method", "mae"), ("pretrain.constant", 0.624, "train", 1)],
        [("pretrain.method", "mae"), ("pretrain.constant", 0.02, "train", 1)],
    ),
    "model.wrong_backward": (
        [("probe.wrong_backward", 1.4, "Swish"), ("probe.wrong_backward", 0.0, "Mish")],
        [("probe.wrong_backward", 0.002, "Swish")],
    ),
    "loop.missing_zero_grad": (
        [("optimizer.leftover_ratio", 1.0, "", s) for s in (2, 3, 4)],
        [("optimizer.leftover_ratio", 0.0, "", s) for s in (2, 3, 4)],
    ),
    "loop.held_twice": (
        [
            ("parameter.held", 2, "w"),
            ("optimizer.foreign", 0, "a"),
            ("optimizer.foreign", 4, "b"),
            ("optimizer.turns", 90),
        ],
        [
            ("parameter.held", 2, "w"),
            ("optimizer.foreign", 0, "a"),
            ("optimizer.foreign", 4, "b"),
            ("optimizer.turns", 1),
        ],
    ),
    "loop.gradients_discarded": (
        [("optimizer.discarded", 0.75, "", s) for s in range(1, 6)],
        [("optimizer.discarded", 0.75, "", 1)] + [("optimizer.discarded", 0.0, "", s) for s in range(2, 6)],
    ),
    "loop.derivative_cut": (
        [("loss.constant_derivative", 1, "", s) for s in range(1, 7)],
        [("loss.constant_derivative", 0, "", s) for s in range(1, 7)],
    ),
    "numerics.updates_lost": (
        [("update.lost", 0.9, "", s) for s in range(1, 7)],
        [("update.lost", 0.2, "", s) for s in range(1, 7)],
    ),
    "data.inputs_drift": (
        [("input.std", 0.3 * 3**epoch, "train", epoch) for epoch in range(1, 5)],
        [("input.std", std, "train", epoch) for epoch, std in enumerate((1.0, 1.02, 0.97, 1.01), 1)],
    ),
    "data.labels_missing": (
        [(f"epoch.{name}", count, "train", 1) for name, count in (("samples", 900), ("measured", 9), ("batches", 9))]
        + [("class.actual", [0.4, 0.3, 0.0, 0.3], "train", 1), ("class.actual", [0.3, 0.3, 0.1, 0.3], "val", 1)],
        [(f"epoch.{name}", count, "train", 1) for name, count in (("samples", 900), ("measured", 9), ("batches", 9))]
        + [("class.actual", [0.3, 0.3, 0.1, 0.3], "train", 1), ("class.actual", [0.3, 0.3, 0.1, 0.3], "val", 1)],
    ),
    "model.ignores_order": (
        [("probe.order", 1e-7), ("input.dtype", "torch.int64"), ("input.shape", [32, 12]), ("loss.chance", 0.69)]
        + [("loss.step", 0.69, "", step) for step in range(1, 21)],
        [("probe.order", 0.3), ("input.dtype", "torch.int64"), ("input.shape", [32, 12]), ("loss.chance", 0.69)]
        + [("loss.step", 0.69, "", step) for step in range(1, 21)],
    ),
    "loop.wrong_sign": (
        [("loss.kind", "cross_entropy")]
        + [("loss.scale", -1.0, "", s) for s in (1, 2, 3)]
        + [("loss.step", 2.3 + 0.5 * s, "", s) for s in range(1, 21)],
        [("loss.kind", "cross_entropy")]
        + [("loss.scale", 0.25, "", s) for s in (1, 2, 3)]
        + [("loss.step", 2.3 + 0.5 * s, "", s) for s in range(1, 21)],
    ),
    "loop.no_update": (
        [("run.forwards", 40, "train"), ("run.backwards", 40), ("run.optimizer_steps", 0)],
        [("run.forwards", 40, "train"), ("run.backwards", 40), ("run.optimizer_steps", 40)],
    ),
    "loop.params_not_in_optimizer": (
        [
            ("parameter.held", 1, "a"),
            ("parameter.held", 0, "b"),
            ("parameter.reached", 1, "b"),
            ("parameter.size", 9, "b"),
        ],
        [
            ("parameter.held", 1, "a"),
            ("parameter.held", 1, "b"),
            ("parameter.reached", 1, "b"),
            ("parameter.size", 9, "b"),
        ],
    ),
    "loop.optimizer_recreated": (
        [("optimizer.replaced", 8, "", 10), ("optimizer.replaced", 8, "", 20), ("optimizer.momentum", 0.9, "g")],
        [("optimizer.momentum", 0.9, "g")],
    ),
    "loop.wrong_mode": ([("loop.val_in_train", 1.0), ("run.backwards", 9)], [("loop.val_in_train", 0.0)]),
    "loop.graph_kept": ([("loop.val_with_grad", 1.0), ("run.backwards", 9)], [("loop.val_with_grad", 0.0)]),
    "loop.scheduler_misuse": (
        [("optimizer.lr", 0.1 * 0.5**s, "g", s) for s in range(20)] + [("run.steps", 20), ("run.steps", 40)],
        [("optimizer.lr", 0.1 * 0.5**s, "g", 20 * s) for s in range(20)] + [("run.steps", 20), ("run.steps", 40)],
    ),
    "loop.metric_wrong": (
        [(name, v, where, e) for e in range(1, 7) for name, v, where in told_and_seen(0.39, 0.95)],
        [(name, v, where, e) for e in range(1, 7) for name, v, where in told_and_seen(0.93, 0.95)],
    ),
    "loop.stale_evaluation": (
        [*falling_loss(), *[("loss.of_others", 2.31, "", 10 * e) for e in range(1, 5) for _ in range(2)]],
        [*falling_loss(), *[("loss.of_others", 2.31 / e, "", 10 * e) for e in range(1, 5) for _ in range(2)]],
    ),
    "model.unregistered": (
        [("parameter.size", 400, "out.weight"), ("leaf.unregistered", 900, "model.layers[0].weight")],
        [("parameter.size", 400, "out.weight")],
    ),
    "model.mixes_samples": (
        [("probe.mixing", 0.6), ("probe.mixing_layer", "LSTM", "rnn")],
        [("probe.mixing", 1e-7)],
    ),
    "model.sees_future": ([("probe.future", 0.05)], [("probe.future", 0.0)]),
    "model.reads_padding": (
        [("probe.padding", 40.0), ("probe.padded", 0.8), ("loss.chance", 0.69), ("loss.step", 0.68)],
        [("probe.padding", 40.0), ("probe.padded", 0.8), ("loss.chance", 0.69), ("loss.step", 0.1)],
    ),
    "model.random_in_eval": (
        [("probe.random", 0.7), ("probe.dropout", 0.3)],
        [("probe.random", 0.7)],  # the sampling of a VAE
    ),
    "model.inputs_unused": (
        [("input.shape", [8, 28, 4]), ("probe.used_inputs", 0.04), ("probe.unused_inputs", 27 / 28, "axis1")],
        [("input.shape", [8, 28, 4]), ("probe.used_inputs", 1.0), ("probe.unused_inputs", 0.0, "axis1")],
    ),
    "data.axes_scrambled": (
        [("input.shape", [8, 3, 32, 32]), ("input.row_order", 0.4)],
        [("input.shape", [8, 3, 32, 32]), ("input.row_order", 1.6)],
    ),
    "data.targets_misplaced": (
        [("dense.fit", 0.1 + 0.01 * (s % 2), "own", s) for s in range(1, 11)]
        + [("dense.fit", 0.8 + 0.01 * (s % 2), "mirrored", s) for s in range(1, 11)]
        + [("dense.symmetry", 0.1 + 0.01 * (s % 2), "mirrored", s) for s in range(1, 11)],
        [("dense.fit", 0.8 + 0.01 * (s % 2), "own", s) for s in range(1, 11)]
        + [("dense.fit", 0.1 + 0.01 * (s % 2), "mirrored", s) for s in range(1, 11)]
        + [("dense.symmetry", 0.1 + 0.01 * (s % 2), "mirrored", s) for s in range(1, 11)],
    ),
    "data.targets_not_scaled": (
        [
            ("loss.kind", "mse"),
            ("target.mean", 2e5, "train"),
            ("target.std", 6e4, "train"),
            ("loss.mean", 3e9, "train"),
        ],
        [
            ("loss.kind", "mse"),
            ("target.mean", 0.1, "train"),
            ("target.std", 1.0, "train"),
            ("loss.mean", 0.8, "train"),
        ],
    ),
    "loop.metric_last_batch": (
        [("user.metric", 0.81, "val_acc"), ("accuracy.mean", 0.80, "val"), ("accuracy.batch_mean", 0.81, "val")],
        [("user.metric", 0.80, "val_acc"), ("accuracy.mean", 0.80, "val"), ("accuracy.batch_mean", 0.81, "val")],
    ),
    "model.no_nonlinearity": (
        [("layer.linear_after", "0", "1"), ("layer.linear_links", 1)],
        # Narrow in the middle: low rank, meant so.
        [
            ("layer.linear_after", "0", "1"),
            ("layer.linear_links", 2),
            ("layer.input_shape", [8, 4], "1"),
            ("layer.input_shape", [8, 64], "0"),
            ("layer.output_shape", [8, 64], "1"),
        ],
    ),
    "model.output_mismatch": (
        [("loss.kind", "cross_entropy"), ("output.activation", "softmax")],
        [("loss.kind", "cross_entropy"), ("output.activation", "none")],
    ),
    "model.loss_mismatch": (
        [("loss.kind", "mse"), ("target.kind", "one_hot"), ("output.count", 10)],
        [("loss.kind", "mse"), ("target.kind", "values"), ("output.count", 1), ("target.distinct", 60)],
    ),
    "model.bad_init": (
        layers(8, "activation.std", [0.2**i for i in range(8)]),
        layers(8, "activation.std", [0.9**i for i in range(8)]),
    ),
    "model.unreached": (
        [("parameter.trainable", 1, n) for n in "ab"] + [("parameter.reached", 1, "a"), ("parameter.reached", 0, "b")],
        [("parameter.trainable", 1, n) for n in "ab"] + [("parameter.reached", 1, "a"), ("parameter.reached", 1, "b")],
    ),
    "model.bias_before_norm": ([("layer.bias_before_norm", "conv", "bn")], []),
    "numerics.nonfinite": (
        [("nonfinite.step", "nan", "", 7), ("nonfinite.source", "input"), ("nonfinite.reason", "bad input")],
        [("loss.step", 1.0, "", 7)],
    ),
    "numerics.half_range": (
        [("run.precision", "autocast-float16")] + [("loss.scale", 65536 / 2**s, "", s) for s in range(16)],
        [("run.precision", "autocast-bfloat16")] + [("loss.scale", 1.0, "", s) for s in range(16)],
    ),
    "gradient.vanishing": (
        layers(10, "layer.gradient", [0.25 ** (9 - i) for i in range(10)]),
        layers(10, "layer.gradient", [0.8 ** (9 - i) for i in range(10)]),
    ),
    "gradient.exploding": (
        layers(10, "layer.gradient", [3.0 ** (9 - i) for i in range(10)]),
        layers(10, "layer.gradient", [1.2 ** (9 - i) for i in range(10)]),
    ),
    "activation.dead_relu": (
        [("activation.dead_units", 0.4 * s, "r", s) for s in (1, 2, 2)] + [("activation.dead_samples", 128, "r")],
        [("activation.dead_units", 0.1, "r", s) for s in (1, 2)] + [("activation.dead_samples", 128, "r")],
    ),
    "activation.saturated": (
        [(f"activation.{n}", 0.9, "t", s) for s in (1, 2) for n in ("saturated_units", "saturated")],
        [(f"activation.{n}", 0.1, "t", s) for s in (1, 2) for n in ("saturated_units", "saturated")],
    ),
    "activation.collapsed": (
        [*layers(3, "activation.spread", [0.5, 1e-09, 1e-09]), ("activation.samples", 32, "l1")],
        [*layers(3, "activation.spread", [0.5, 0.4, 0.3]), ("activation.samples", 32, "l1")],
    ),
    "data.leak": (
        [("input.leaked", 20), ("input.leaked_fraction", 0.2), ("input.hashed", 100, "val")],
        [("input.leaked", 1), ("input.leaked_fraction", 0.01), ("input.hashed", 100, "val")],
    ),
    "data.duplicates": (
        [("input.repeated", 0.3, "train", 1), ("input.hashed", 400, "train")],
        [("input.repeated", 0.01, "train", 1), ("input.hashed", 400, "train")],
    ),
    "data.imbalance": (
        [
            ("class.actual", [0.97, 0.03], "train"),
            ("class.correct", [1.0, 0.1], "val"),
            ("epoch.samples", 900, "train"),
        ],
        [("class.actual", [0.6, 0.4], "train"), ("class.correct", [1.0, 0.1], "val"), ("epoch.samples", 900, "train")],
    ),
    "data.label_range": (
        [("loss.kind", "cross_entropy"), ("target.outside", 5), ("target.max", 10, "train"), ("output.count", 10)],
        [("loss.kind", "cross_entropy"), ("target.max", 9, "train"), ("output.count", 10)],
    ),
    "data.label_noise": (noisy(right=0.7, contradicted=0.2), noisy(right=0.99, contradicted=0.0)),
    "data.labels_shuffled": (
        splits([2.3, 1.0, 0.3], [2.3, 2.8, 3.9], [0.1, 0.6, 0.95], [0.1, 0.1, 0.1]),
        splits([2.3, 1.0, 0.3], [2.3, 1.2, 0.8], [0.1, 0.6, 0.95], [0.1, 0.5, 0.8]),
    ),
    "data.labels_renumbered": (
        [("class.taken_for", [[1, 0.9, 40], [2, 0.9, 40], [0, 0.9, 40]], "val"), ("accuracy.mean", 0.9, "train")],
        [("class.taken_for", [[0, 0.9, 40], [2, 0.5, 40], [2, 0.9, 40]], "val"), ("accuracy.mean", 0.9, "train")],
    ),
    "data.not_normalised": (
        [("input.mean", 120.0, "train"), ("input.std", 60.0, "train")],
        [("input.mean", 0.1, "train"), ("input.std", 0.9, "train")],
    ),
    "data.degenerate": (
        [("input.samples", 200, "train"), ("input.constant", 20, "train"), ("input.shape", [32, 3, 8, 8])],
        [("input.samples", 200, "train"), ("input.constant", 1, "train"), ("input.shape", [32, 3, 8, 8])],
    ),
    "data.not_shuffled": (batches_of_labels(distance=0.9), batches_of_labels(distance=0.25)),
    "data.split_shift": (inputs(val_mean=2.0), inputs(val_mean=0.05)),
    "data.augmentation_harmful": (
        [("input.val_redrawn", 0.9, "val", epoch) for epoch in (2, 3)],
        [("input.val_redrawn", 0.0, "val", epoch) for epoch in (2, 3)],
    ),
    "norm.small_batch": ([("norm.batch", 2, "bn")], [("norm.batch", 32, "bn")]),
    "norm.train_eval_gap": (
        [("norm.mean_shift", 2.0, "bn"), *modes([0.5, 0.4], [2.0, 2.5])],
        [("norm.mean_shift", 0.05, "bn"), *modes([0.5, 0.4], [0.5, 0.4])],
    ),
    "speed.input_bound": (times(step=0.1, wait=0.08), times(step=0.1, wait=0.001)),
    "speed.device_idle": (
        [
            *times(step=0.001, wait=0.0),
            ("batch.size", 1),
            ("input.shape", [1, 8]),
            ("epoch.samples", 5000, "train"),
        ],
        [*times(step=0.001, wait=0.0), ("batch.size", 64), ("input.shape", [64, 8]), ("epoch.samples", 5000, "train")],
    ),
    "speed.memory_growth": (
        [("memory.process", 2**30 + 2**26 * epoch, "", epoch) for epoch in range(1, 13)],
        [("memory.process", 2**30, "", epoch) for epoch in range(1, 13)],
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_a_rule_finds_its_fault_and_is_silent_without_it(code):
    with_fault, without = CASES[code]
    found = [f for f in RULES[code](written(*with_fault)) if f.code == code]
    assert len(found) == 1
    assert 0 < found[0].confidence <= 1
    assert found[0].severity in FINDINGS[code].severities
    assert not [f for f in RULES[code](written(*without)) if f.code == code]


@pytest.mark.parametrize("code", CASES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_finding_has_words_in_the_language_or_in_english(code, language):
    """A new finding needs no translation."""
    found = next(iter(RULES[code](written(*CASES[code][0]))))
    words = worded(found, language)
    assert words.title
    assert words.cause
    assert words.remedy
    translated = language == "zh" and f"finding.{code}.title" in table("zh")
    assert any("一" <= letter <= "鿿" for letter in words.title) == translated


def test_model_with_indirect_calls_is_not_reported_as_stalled():
    """model.encode(x), or what torch.compile made of it: then no pass and no backward pass of it is heard."""
    heard = [("run.forwards", 0, "train"), ("run.backwards", 0), ("run.optimizer_steps", 40)]
    assert not list(RULES["loop.no_update"](written(*heard)))
    assert list(RULES["loop.no_update"](written(("run.forwards", 40, "train"), *heard[1:])))


def test_rules_are_silent_on_an_empty_ledger():
    assert diagnose(Ledger()) == []


def test_the_code_of_a_finding_is_the_path_of_its_file() -> None:
    """findings/optim/lr_too_high.py holds optim.lr_too_high."""
    folder = Path(spec_file).parent
    files = {f"{path.parent.name}.{path.stem}" for path in folder.glob("*/*.py") if path.stem != "__init__"}
    assert files == set(FINDINGS)
    orders = [spec.order for spec in FINDINGS.values() if spec.order != LAST]
    assert orders == sorted(set(orders)), "two findings with the same order"


def test_every_finding_has_a_case() -> None:
    """An example ledger with the fault and one without it, here or in the file of its family."""
    in_other_files = (
        "fit.",
        "optim.",
        "model.too_",
        "data.bad_boxes",
        "data.one_pixel_class",
        "data.pixels_ignored",
        "data.pose",
        "data.quaternion_",
        "data.bad_rotations",
        "data.wrong_intrinsics",
        "data.symmetry_",
        "pose.",
        "model.receptive_field",
        "model.anchor_coverage",
    )
    assert {code for code in FINDINGS if not code.startswith(in_other_files)} <= set(CASES)


@pytest.mark.parametrize("code", FINDINGS)
def test_a_spec_names_what_exists(code: str) -> None:
    spec, families = FINDINGS[code], {code.partition(".")[0] for code in FINDINGS}
    assert all((spec.words.title, spec.words.cause, spec.words.fix))
    assert set(spec.severities) <= set(SEVERITIES)
    assert spec.charts
    assert spec.needs
    assert {need.partition("[")[0] for need in spec.needs} <= set(NAMES)
    for explained in spec.explains:
        family, _, name = explained.partition(".")
        assert explained in FINDINGS or (family in families and name.endswith("*")), explained


def test_cause_precedes_its_consequences():
    records = [("nonfinite.step", "nan", "", 9), ("nonfinite.source", "loss")]
    records += layers(10, "layer.gradient", [3.0 ** (9 - i) for i in range(10)])
    found = diagnose(written(*records))
    assert [f.code for f in found] == ["gradient.exploding", "numerics.nonfinite"]
    assert found[0].consequences == ["numerics.nonfinite"]
    first, folded = shown([f.to_dict() for f in found])
    assert [f["code"] for f in first] == ["gradient.exploding"]
    assert [f["code"] for f in folded] == ["numerics.nonfinite"]


def test_a_finding_refuses_an_unknown_severity():
    with pytest.raises(ValueError, match="severity"):
        Finding("loop.no_update", "fatal", 1.0)
    with pytest.raises(KeyError, match="not a name"):
        Ledger().add("loop.bogus", 1)


def test_a_softmax_before_cross_entropy_is_named_with_the_line_to_change() -> None:
    records = [("loss.kind", "cross_entropy"), ("output.activation", "softmax")]
    in_forward = next(iter(RULES["model.output_mismatch"](written(*records))))
    assert str(in_forward.where) == "output"
    assert "torch.softmax(x)" in worded(in_forward).remedy
    layer = [("layer.order", 0, "0"), ("layer.order", 1, "1"), ("layer.kind", "Softmax", "1")]
    named = next(iter(RULES["model.output_mismatch"](written(*records, *layer, ("layer.activation", "softmax", "1")))))
    assert named.where == "1"
    assert "Delete layer 1, the nn.Softmax" in worded(named).remedy
    assert "nn.Softmax" in worded(named, "zh").remedy


def test_a_linear_layer_that_feeds_another_part_of_the_model_is_intended():
    def found(first: str, second: str, links: int) -> list[Finding]:
        ledger = Ledger()
        ledger.add("layer.linear_after", first, second, 1)
        ledger.add("layer.linear_links", links, "", 1)
        return list(FINDINGS["model.no_nonlinearity"].rule(ledger))

    assert not found("backbone.block.conv", "pyramid.enter", 74)
    assert found("backbone.block.conv", "backbone.block.conv2", 74)
    assert found("backbone.block.conv", "pyramid.enter", 1)  # no activation anywhere
