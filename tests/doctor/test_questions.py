"""Mistakes that people ask about: softmax over the batch by hand, cosines as scores, one batch, likelihoods, tiny inputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from danlu.doctor.derived.input_statistics import input_shift
from danlu.doctor.diagnose import diagnose
from danlu.doctor.findings.data.duplicates import duplicates
from danlu.doctor.findings.data.leak import leak
from danlu.doctor.findings.data.not_normalised import not_normalised
from danlu.doctor.findings.fit.not_learning import not_learning
from danlu.doctor.findings.loop.graph_kept import graph_kept
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.graph import is_cosine, softmax_in_loss, takes_log_of
from danlu.doctor.loss.loss_kind import terms_of
from danlu.doctor.script.loader_key import LoaderKey
from danlu.doctor.watch import watch

CLASSES = 10


def scores() -> Tensor:
    return nn.Linear(8, CLASSES)(torch.randn(16, 8))


def by_hand(outputs: Tensor, dim: int) -> Tensor:
    labels = F.one_hot(torch.arange(16) % CLASSES, CLASSES)
    return -(torch.log(torch.softmax(outputs, dim) + 1e-9) * labels).sum(1).mean()


@pytest.mark.parametrize("dim", [0, 1])
def test_the_softmax_of_a_loss_by_hand_is_found(dim: int) -> None:
    outputs = scores()
    node = softmax_in_loss(by_hand(outputs, dim).grad_fn, outputs.grad_fn)
    assert node is not None
    assert node._saved_dim == dim


def test_a_softmax_of_something_else_is_not() -> None:
    outputs, weights = scores(), torch.randn(16, 16, requires_grad=True)
    assert softmax_in_loss((weights.softmax(1) @ outputs).square().mean().grad_fn, outputs.grad_fn) is None


ANCHORS = torch.randn(CLASSES, 8, requires_grad=True)
SIMILARITIES: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "cosine": (lambda z: F.normalize(z, dim=1) @ F.normalize(ANCHORS, dim=1).T, True),
    "cosine with a margin": (lambda z: F.normalize(z, dim=1) @ F.normalize(ANCHORS, dim=1).T - 0.1, True),
    "temperature of 1": (lambda z: F.normalize(z, dim=1) @ F.normalize(ANCHORS, dim=1).T / 1.0, True),
    "constant beside the norm": (
        lambda z: z / (z.norm(dim=1, keepdim=True) + 1e-8) @ F.normalize(ANCHORS, dim=1).T,
        True,
    ),
    "scaled": (lambda z: 16 * (F.normalize(z, dim=1) @ F.normalize(ANCHORS, dim=1).T), False),
    "temperature": (lambda z: F.normalize(z, dim=1) @ F.normalize(ANCHORS, dim=1).T / 0.1, False),
    "dot product": (lambda z: z @ ANCHORS.T, False),
    "one side": (lambda z: F.normalize(z, dim=1) @ ANCHORS.T, False),
}


@pytest.mark.parametrize("name", SIMILARITIES)
def test_cosines_are_told_from_other_scores(name: str) -> None:
    similarity, expected = SIMILARITIES[name]
    assert is_cosine(similarity(nn.Linear(8, 8)(torch.randn(16, 8))).grad_fn) is expected


def ledger(**facts: object) -> Ledger:
    """Facts by name, with "__" for the dot."""
    made = Ledger()
    for name, value in facts.items():
        made.add(name.replace("__", "."), value, "", 1)  # type: ignore[arg-type]
    return made


def first(made: Ledger) -> str:
    return next(iter(diagnose(made)), None).code if diagnose(made) else ""  # type: ignore[union-attr]


def test_cosines_as_scores_of_many_classes_do_not_fit_cross_entropy() -> None:
    facts = {"loss__kind": "cross_entropy", "output__activation": "cosine", "output__scaled": 0}
    assert first(ledger(**facts, output__count=128)) == "model.output_mismatch"
    assert first(ledger(**facts, output__count=3)) == ""


def test_a_bounded_activation_that_is_scaled_is_meant() -> None:
    facts = {"loss__kind": "cross_entropy", "output__activation": "tanh", "output__count": 10}
    assert first(ledger(**facts, output__scaled=0)) == "model.output_mismatch"
    assert first(ledger(**facts, output__scaled=1)) == ""


@pytest.mark.parametrize(("end", "found"), [(-60.0, True), (-2.5, False)])
def test_a_likelihood_that_is_minimised_is_found(end: float, found: bool) -> None:
    made = ledger(loss__seen_by="backward", output__activation="log_softmax", output__count=CLASSES)
    start = -math.log(CLASSES)
    for step in range(40):
        made.add("loss.step", start + (end - start) * (step / 39) ** 2, "", step)
    assert (first(made) == "loop.wrong_sign") is found


class LossOfProbabilities(nn.Module):
    """A loss of the user that takes the logarithm itself, of probabilities that it makes sum to 1."""

    def forward(self, chances: Tensor, labels: Tensor) -> Tensor:
        return F.nll_loss((chances / chances.sum(1, keepdim=True)).clamp(1e-7).log(), labels)


@pytest.mark.parametrize(("end", "found"), [(nn.Softmax(dim=1), False), (nn.Sigmoid(), True)])
def test_a_loss_of_the_user_is_judged_by_what_it_gives_to_torch(end: nn.Module, found: bool) -> None:
    torch.manual_seed(0)
    model, loss_fn = nn.Sequential(nn.Linear(8, CLASSES), end), LossOfProbabilities()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, loss_fn) as doctor:
        for _ in range(4):
            optimizer.zero_grad()
            loss_fn(model(torch.randn(16, 8)), torch.arange(16) % CLASSES).backward()
            optimizer.step()
    assert ("model.output_mismatch" in [one.code for one in doctor.findings]) is found


LOGARITHMS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "clamped scores": (lambda z: -z.clamp(1e-7, 1 - 1e-7).log().mean(), True),
    "one minus scores": (lambda z: -(1 - z + 1e-9).log().mean(), True),
    "probabilities": (lambda z: -z.sigmoid().clamp(min=1e-7).log().mean(), False),
    "sum of exponentials": (lambda z: z.exp().sum(1).log().mean(), False),
}


@pytest.mark.parametrize("name", LOGARITHMS)
def test_the_logarithm_of_plain_scores_is_found(name: str) -> None:
    loss, found = LOGARITHMS[name]
    outputs = scores()
    assert takes_log_of(loss(outputs).grad_fn, outputs.grad_fn) is found


@pytest.mark.parametrize(("measured", "found"), [(34, False), (2000, True)])
def test_the_mean_of_a_few_validation_samples_may_be_another(measured: int, found: bool) -> None:
    made = ledger(input__shape=[32, 1])
    for epoch in range(1, 61):
        for phase, mean, rows in (("train", 0.01, 800), ("val", -0.4, measured)):
            for name, value in {"mean": mean, "std": 0.56, "measured": rows, "samples": 800}.items():
                made.add(f"input.{name}", value, phase, epoch)
    assert (input_shift(made) is not None) is found


SEVERAL: dict[str, object] = {"output__activation": "softmax", "output__shape": [16, 2], "target__shape": [16, 2]}


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"loss__kind": "kl", "output__activation": "softmax"}, "model.output_mismatch"),
        ({"loss__kind": "kl", "output__activation": "log_softmax"}, ""),
        ({"loss__log_of_negative": 1, "output__activation": "none"}, "model.output_mismatch"),
        ({"loss__log_of_negative": 0, "output__activation": "none"}, ""),
        (SEVERAL | {"loss__kind": "bce", "target__kind": "binary"}, "model.output_mismatch"),
        (SEVERAL | {"loss__kind": "MyLoss", "target__kind": "binary"}, "model.output_mismatch"),
        (SEVERAL | {"loss__kind": "bce", "target__kind": "one_hot"}, ""),
        (SEVERAL | {"loss__kind": "MyLoss", "target__kind": "binary", "output__shape": [16, 2, 8, 8]}, ""),
        (
            {"loss__kind": "cross_entropy", "target__kind": "binary", "target__dtype": "torch.float32"},
            "model.loss_mismatch",
        ),
        ({"loss__kind": "cross_entropy", "target__kind": "one_hot", "target__dtype": "torch.float32"}, ""),
    ],
)
def test_outputs_and_loss_must_fit_targets_of_several_labels(facts: dict[str, object], code: str) -> None:
    assert first(ledger(**facts, output__count=2, target__distinct=2)) == code


def with_dropout(places: tuple[str, ...]) -> Ledger:
    """Layers in the order of their calls: hidden, head and dropout layers."""
    made = ledger()
    for number, layer in enumerate(places):
        made.add("layer.order", number, layer, 1)
        made.add("layer.follows", places[number - 1] if number else "", layer, 1)
    made.add("layer.last", 1, "head", 1)
    made.add("layer.dropout", 0.5, "drop", 1)
    return made


@pytest.mark.parametrize(("places", "found"), [(("hidden", "head", "drop"), True), (("hidden", "drop", "head"), False)])
def test_dropout_of_the_outputs_is_found(places: tuple[str, ...], found: bool) -> None:
    assert (first(with_dropout(places)) == "model.output_mismatch") is found


def rates(values: list[float], epoch: int) -> Ledger:
    """A schedule that is stepped per batch, over six epochs."""
    made = ledger(run__finished=len(values))
    for step, value in enumerate(values, 1):
        made.add("optimizer.lr", value, "optimizer0.group0", step)
    for number in range(1, len(values) // epoch + 1):
        made.add("run.steps", number * epoch, "", number)
    return made


SCHEDULES = {
    "cosine of 12 steps": ([0.05 * (1 + math.cos(math.pi * s / 12)) for s in range(240)], True),
    "cosine of all steps": ([0.05 * (1 + math.cos(math.pi * s / 240)) for s in range(240)], False),
    "warm restarts": ([0.05 * (1 + math.cos(math.pi * (s % 40) / 40)) for s in range(240)], False),
    "triangles": ([0.01 + 0.09 * abs((s % 80) / 40 - 1) for s in range(240)], False),
    "one cycle of too many steps": ([0.01 + 0.09 * s / 2400 for s in range(240)], True),
    "warm-up": ([0.1 * min(1.0, (s + 1) / 60) for s in range(240)], False),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_that_count_other_steps_are_found(name: str) -> None:
    values, found = SCHEDULES[name]
    assert (first(rates(values, 40)) == "loop.scheduler_misuse") is found


def drawn(distinct: list[int], checked: int) -> Ledger:
    """Epochs of 100 samples, of which the first was checked to `checked`, a third of them repeated."""
    made = ledger(run__epoch_by="epoch()")
    for epoch, count in enumerate(distinct, 1):
        for name, value in {"hashed": count, "repeated": 0.3, "samples": checked if epoch == 1 else 40}.items():
            made.add(f"input.{name}", value, "train", epoch)
        made.add("epoch.samples", 100, "train", epoch)
    return made


@pytest.mark.parametrize(
    ("made", "found"),
    [(drawn([70, 85, 92], 100), False), (drawn([70, 70, 70], 100), True), (drawn([40, 60, 70], 50), True)],
    ids=["with replacement", "copies", "copies, checked in part"],
)
def test_draws_with_replacement_are_no_copies(made: Ledger, found: bool) -> None:
    assert bool(list(duplicates(made))) is found


def labelled(frequencies: list[float], recalls: list[float], **facts: object) -> Ledger:
    """Label maps: frequencies of the classes and their recall in validation."""
    made = ledger(
        loss__kind="cross_entropy", output__shape=[8, len(frequencies), 16, 16], output__count=len(frequencies), **facts
    )
    made.add("class.actual", frequencies, "train", 1)
    made.add("class.correct", recalls, "val", 1)
    made.add("epoch.samples", 20 * len(frequencies), "train", 1)
    return made


WITH_VOID = [0.5, 0.3] + [0.0] * 253 + [0.2]
MAPS = {
    "255 as a class": (labelled(WITH_VOID, [0.9, 0.9]), "data.label_range"),
    "256 classes": (labelled([1 / 256] * 256, [0.9] * 256), ""),
    "swallowed": (labelled([0.8, 0.15, 0.05], [0.99, 0.2, 0.0]), "data.imbalance"),
    "background": (labelled([0.8, 0.15, 0.05], [0.99, 0.9, 0.4]), ""),
}


@pytest.mark.parametrize("name", MAPS)
def test_unlabelled_places_that_are_counted_are_found(name: str) -> None:
    made, code = MAPS[name]
    assert ([one.code for one in diagnose(made) if one.severity != "note"] or [""])[0] == code


@pytest.mark.parametrize(("epochs", "code"), [(1, "data.not_shuffled"), (4, "data.split_shift")])
def test_labels_of_one_class_are_no_matter_of_order(epochs: int, code: str) -> None:
    """Sorted data whose first batches alone were measured, and training labels that are all 0."""
    made = ledger(batch__size=32, target__kind="classes")
    for step in range(1, 9):
        made.add("batch.label_distance", 0.0, "", step)
        made.add("batch.label_distance_expected", 0.0, "", step)
    made.add("class.actual", [0.1] * 10, "val", 1)
    for epoch in range(1, epochs + 1):
        made.add("class.actual", [1.0] + [0.0] * 9, "train", epoch)
        for name, value in {"measured": 8, "batches": 30, "samples": 960}.items():
            made.add(f"epoch.{name}", value, "train", epoch)
    assert first(made) == code


def one_batch(size: int, seen: int, loaded: int = 0) -> Ledger:
    made = ledger(batch__size=size, run__finished=200)
    made.add("input.hashed", seen, "train", 1)
    if loaded:
        made.add("loader.samples", loaded, "", 0)
    return made


@pytest.mark.parametrize(
    ("made", "severity"),
    [
        (one_batch(32, 32, loaded=1400), "error"),
        (one_batch(32, 32), "note"),
        (one_batch(32, 32, loaded=32), None),
        (one_batch(1024, 1024), None),
        (one_batch(4, 4), None),
        (one_batch(20, 4, loaded=200), None),
        (one_batch(32, 1400, loaded=1400), None),
    ],
    ids=["of many", "unknown", "whole set", "full batch", "four samples", "copies of four", "all drawn"],
)
def test_one_batch_in_every_step_is_found(made: Ledger, severity: str | None) -> None:
    assert [one.severity for one in duplicates(made)] == ([severity] if severity else [])


@pytest.mark.parametrize(("loss", "found"), [(2.3, True), (0.2, False)])
def test_tiny_inputs_are_a_fault_where_the_model_does_not_learn(loss: float, found: bool) -> None:
    made = ledger(loss__chance=2.3)
    for name, value in {"mean": 5e-4, "std": 1.2e-3}.items():
        made.add(f"input.{name}", value, "train", 1)
    for step in range(20):
        made.add("loss.step", loss, "", step)
    assert bool(list(not_normalised(made))) is found


@pytest.mark.parametrize(("passes", "severity"), [([1, 2, 3], "note"), ([8, 16, 24], "warning")])
def test_one_validation_pass_with_gradients_is_a_note(passes: list[int], severity: str) -> None:
    made = ledger(loop__val_with_grad=1.0, run__backwards=60)
    for epoch, count in enumerate(passes):
        made.add("run.forwards", count, "val", epoch)
    assert [one.severity for one in graph_kept(made)] == [severity]


def loader(samples: int, batch: int = 8) -> DataLoader:
    return DataLoader(TensorDataset(torch.zeros(samples, 2)), batch)


def test_a_loader_made_anew_for_the_same_data_is_the_same() -> None:
    kept = loader(64)
    key = LoaderKey(kept)
    assert key.is_same(LoaderKey(kept))
    assert not key.is_same(LoaderKey(loader(64)))  # both are alive: training and validation
    gone = LoaderKey(loader(64))
    assert gone.is_same(LoaderKey(loader(64)))
    assert not gone.is_same(LoaderKey(loader(40)))


SUMS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "one": (F.mse_loss, 1),
    "halved": (lambda a, b: 0.5 * F.mse_loss(a, b) / 4 + 1, 1),
    "two": (lambda a, b: 0.5 * F.mse_loss(a, b) - (a * b).mean(), 2),
    "three": (lambda a, b: F.mse_loss(a, b) + (a * b).mean() + 0.1 * (-a.abs().mean()), 3),
}


@pytest.mark.parametrize("name", SUMS)
def test_terms_of_a_loss_are_counted(name: str) -> None:
    loss, count = SUMS[name]
    assert terms_of(loss(scores(), torch.zeros(16, CLASSES)).grad_fn) == count


def test_a_squared_error_beside_another_loss_is_not_judged_by_the_targets() -> None:
    facts = {"loss__kind": "mse", "target__kind": "binary", "output__count": 1, "target__distinct": 2}
    assert first(ledger(**facts)) == "model.loss_mismatch"
    assert first(ledger(**facts, loss__terms=2)) == ""


@pytest.mark.parametrize(("grown", "codes"), [(8.0, []), (1.2, ["fit.not_learning"])])
def test_targets_that_grow_with_the_model_have_no_chance_level(grown: float, codes: list[str]) -> None:
    made = ledger(loss__kind="smooth_l1", run__finished=400)
    for step in range(12):
        made.add("loss.chance", 0.05 * grown ** (step / 11), "", 2**step)
    for step in range(400):
        made.add("loss.step", 0.05 * grown, "", step)
    assert [one.code for one in not_learning(made)] == codes


class WeightedTerms(nn.Module):
    """Two heads, whose losses are weighed by parameters that the loss uses outside forward (Kendall et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.value, self.scales = nn.Linear(8, 3), nn.Linear(8, 1), nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(x), self.value(x)


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("clears", [True, False])
def test_weights_of_the_terms_of_a_loss_are_not_left_over(clears: bool, to_none: bool) -> None:
    torch.manual_seed(0)
    model = WeightedTerms()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x = torch.randn(160, 8)
    y, z = x[:, :3].argmax(1), x[:, 3]
    with watch(model, optimizer) as doctor:
        for start in [*range(0, 160, 16)] * 3:
            if clears:
                optimizer.zero_grad(set_to_none=to_none)
            classes, value = model(x[start : start + 16])
            first_term = F.cross_entropy(classes, y[start : start + 16])
            second_term = F.mse_loss(value[:, 0], z[start : start + 16])
            terms = torch.stack([first_term, second_term])
            ((-model.scales).exp() * terms + model.scales).sum().backward()
            optimizer.step()
    assert ("loop.missing_zero_grad" in [one.code for one in doctor.findings]) is not clears


def test_numbers_of_items_that_occur_in_both_splits_are_no_leak() -> None:
    made = ledger(input__dtype="torch.int64", input__shape=[64], input__leaked=12, input__leaked_fraction=1.0)
    assert not list(leak(made))
    made.add("input.shape", [64, 20], "", 2)
    assert list(leak(made))


class Looked(nn.Module):
    """Attention of one item to others, with its softmax over them or over the batch."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis, self.items, self.head = axis, nn.Embedding(9, 8), nn.Linear(8, 9)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        scores = torch.einsum("bd,btd->bt", self.items(query), self.items(keys))
        return self.head(torch.einsum("bt,btd->bd", scores.softmax(self.axis), self.items(keys)))


@pytest.mark.parametrize(("axis", "found"), [(0, True), (1, False)])
def test_samples_whose_first_input_is_one_integer_are_probed(axis: int, found: bool) -> None:
    torch.manual_seed(0)
    model = Looked(axis)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, F.cross_entropy) as doctor:
        for _ in range(12):
            optimizer.zero_grad()
            F.cross_entropy(
                model(torch.randint(0, 9, (16,)), torch.randint(0, 9, (16, 5))), torch.randint(0, 9, (16,))
            ).backward()
            optimizer.step()
    assert ("model.mixes_samples" in [one.code for one in doctor.findings]) is found
