"""Questions of forums, rebuilt: metrics, samplers, weights and splits that are not as they are meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.doctor.findings.data.duplicates import duplicates
from danlu.doctor.findings.data.split_shift import unforeseen_targets
from danlu.doctor.findings.fit.one_class import inverted_weights
from danlu.doctor.findings.numerics.half_range import half_range
from danlu.doctor.instruments.comparisons import compared_as_scores, taken_at_half
from danlu.doctor.ledger import Ledger
from danlu.doctor.script.loader_key import LoaderKey
from danlu.doctor.watch import Doctor, watch


def codes(doctor: Doctor) -> list[str]:
    return [one.code for one in doctor.findings if one.severity != "note"]


@pytest.mark.parametrize(("how", "found"), [("right", False), ("half", True), ("round", True), ("sigmoid", False)])
def test_scores_that_are_compared_with_one_half(how: str, found: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(300, 6)
    y = (x[:, :1] + torch.randn(300, 1) > 0).float()
    model, loss_fn = nn.Linear(6, 1), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    taken = {
        "right": lambda s: (s > 0).float(),
        "half": lambda s: (s > 0.5).float(),
        "round": torch.round,
        "sigmoid": lambda s: (s.sigmoid() > 0.5).float(),
    }[how]
    with watch(model, optimizer, loss_fn) as doctor:
        for _ in range(5):
            for i in range(0, 200, 20):
                optimizer.zero_grad()
                loss_fn(model(x[i : i + 20]), y[i : i + 20]).backward()
                optimizer.step()
            with torch.no_grad():
                print((taken(model(x[200:])) == y[200:]).float().mean().item())
            doctor.epoch()
    assert ("loop.metric_wrong" in codes(doctor)) is found


def test_labels_that_scores_above_one_half_equal_are_no_predictions() -> None:
    scores = torch.tensor([-2.0, 0.2, 0.9, 3.0])
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert taken_at_half(scores, (scores > 0).float(), labels) == 0
    assert taken_at_half(scores, (scores > 0.5).float(), labels) == 1


def classified(size: int, count: int, predicted: Callable[[Tensor], Tensor]) -> Doctor:
    """A doctor after 5 epochs whose evaluations compare `predicted(outputs)` with labels in `count` batches of `size`."""
    torch.manual_seed(0)
    x = torch.randn(100 + count * size, 6)
    y = x[:, :4].argmax(1)
    model, loss_fn = nn.Linear(6, 4), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, loss_fn) as doctor:
        for _ in range(5):
            for i in range(0, 100, 20):
                optimizer.zero_grad()
                loss_fn(model(x[i : i + 20]), y[i : i + 20]).backward()
                optimizer.step()
            with torch.no_grad():
                for i in range(100, len(x), size):
                    print((predicted(model(x[i : i + size])) == y[i : i + size]).sum().item())
            doctor.epoch()
    return doctor


@pytest.mark.parametrize("axis", [0, 1])
def test_the_argmax_over_the_samples_of_a_batch(axis: int) -> None:
    doctor = classified(4, 10, lambda outputs: outputs.argmax(axis))  # as many samples as classes
    assert ("loop.metric_wrong" in codes(doctor)) is (axis == 0)


@pytest.mark.parametrize("of_values", [False, True])
def test_scores_that_are_compared_with_labels(of_values: bool) -> None:
    doctor = classified(20, 3, lambda outputs: torch.max(outputs, 1)[0 if of_values else 1])
    assert ("loop.metric_wrong" in codes(doctor)) is of_values


def test_integers_that_are_compared_are_no_scores() -> None:
    labels = torch.tensor([0, 1, 2])
    assert compared_as_scores(torch.tensor([0.3, -1.2, 2.5]), labels) == 3
    assert compared_as_scores(torch.tensor([0.1, 1.2, 2.3]), labels) == 0  # compared with their rounding
    assert compared_as_scores(torch.tensor([0.0, 1.0, 1.0]), labels) == 0
    assert compared_as_scores(torch.tensor([0.3, -1.2, 2.5]), torch.tensor([0.1, 0.2, 0.3])) == 0


def written(*records: tuple) -> Ledger:
    ledger = Ledger()
    for record in records:
        ledger.add(*record)
    return ledger


@pytest.mark.parametrize(("epsilon", "found"), [(1e-8, True), (1e-4, False)])
def test_an_epsilon_that_is_zero_in_half_precision(epsilon: float, found: bool) -> None:
    epsilons = ("optimizer.epsilon", epsilon, "optimizer0.group0", 1)
    ledger = written(("run.precision", "float16"), epsilons, ("nonfinite.step", "nan", "", 2))
    assert bool(list(half_range(ledger))) is found


@pytest.mark.parametrize(("weights", "found"), [(10, True), (800, False), (0, False)])
def test_a_sampler_with_a_weight_for_each_class(weights: int, found: bool) -> None:
    ledger = written(
        ("loader.samples", 800, "", 0), ("loader.weights", weights, "", 0), ("loader.replacement", 1, "", 0)
    )
    assert [one.evidence["fix"] for one in duplicates(ledger)] == (["weights"] if found else [])


def test_the_weights_of_a_sampler_are_counted() -> None:
    data = torch.utils.data.TensorDataset(torch.randn(50, 2), torch.zeros(50))
    sampler = torch.utils.data.WeightedRandomSampler([0.2, 0.8], 50)
    assert LoaderKey(torch.utils.data.DataLoader(data, 10, sampler=sampler)).weights == 2
    assert LoaderKey(torch.utils.data.DataLoader(data, 10, shuffle=True)).weights == 0


@pytest.mark.parametrize(
    ("weights", "recall", "found"),
    [
        ([2.2, 0.5, 0.2], 0.1, True),
        ([2.2, 0.5, 0.2], 0.9, False),
        ([0.4, 2.0, 4.2], 0.1, False),
        ([1.0, 1.0, 1.0], 0.1, False),
        ([1.0, 0.9, 0.8], 0.1, False),
        ([0.0, 1.0, 2.0], 0.1, False),
    ],
)
def test_weights_that_grow_with_the_frequency_of_the_classes(weights: list[float], recall: float, found: bool) -> None:
    frequencies = ("class.actual", [0.75, 0.17, 0.08], "train", 1)
    ledger = written(("loss.class_weights", weights), frequencies, ("class.correct", [0.99, 0.5, recall], "val", 1))
    assert (inverted_weights(ledger) == (0, 2)) is found


@pytest.mark.parametrize(("shift", "held", "found"), [(3.0, -0.5, True), (3.0, 0.6, False), (0.3, -0.5, False)])
def test_targets_that_moved_where_the_inputs_do_not_show_it(shift: float, held: float, found: bool) -> None:
    means = [("target.mean", 0.0, "train", 1), ("target.mean", shift, "val", 1)]
    stds = [("target.std", 2.0, "train", 1), ("target.std", 1.0, "val", 1)]
    explained = [("explained.mean", 0.9, "train", 1), ("explained.mean", held, "val", 1)]
    rest = [("target.kind", "values"), ("epoch.samples", 200, "val", 1)]
    assert bool(unforeseen_targets(written(*means, *stds, *explained, *rest))) is found


class AsNumbers(nn.Module):
    def __init__(self, embeds: bool) -> None:
        super().__init__()
        self.users = nn.Embedding(200, 8) if embeds else None
        self.layers = nn.Sequential(nn.Linear(16 if embeds else 2, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, pairs: Tensor) -> Tensor:
        return self.layers(pairs.float() if self.users is None else self.users(pairs).flatten(1))


@pytest.mark.parametrize("embeds", [True, False])
def test_numbers_of_users_are_no_quantities(embeds: bool) -> None:
    torch.manual_seed(0)
    pairs = torch.randint(0, 200, (128, 2))
    model, y = AsNumbers(embeds), pairs[:, 0] % 2
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with watch(model, optimizer, F.cross_entropy) as doctor:
        for i in (*range(0, 128, 16), *range(0, 128, 16)):
            optimizer.zero_grad()
            F.cross_entropy(model(pairs[i : i + 16]), y[i : i + 16]).backward()
            optimizer.step()
    found = codes(doctor)
    assert ("data.not_normalised" in found) is not embeds


@pytest.mark.parametrize(("weight", "found"), [(0.1, True), (1.0, False), (9.0, False)])
def test_a_weight_of_the_rarer_positive_class_below_one(weight: float, found: bool) -> None:
    frequencies, recalls = ("class.actual", [0.9, 0.1], "train", 1), ("class.correct", [1.0, 0.2], "val", 1)
    assert (inverted_weights(written(("loss.option", [weight], "pos_weight"), frequencies, recalls)) == (0, 1)) is found
