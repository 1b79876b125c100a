"""Label statistics: kinship of neighbours, changing validation sets, confident predictions; also gradients of recurrent
and deep networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from danlu.doctor.diagnose import diagnose
from danlu.doctor.findings.data.label_noise import label_noise
from danlu.doctor.findings.data.split_shift import split_shift
from danlu.doctor.findings.gradient.exploding import exploding
from danlu.doctor.findings.gradient.vanishing import vanishing
from danlu.doctor.instruments.batch_inputs import Inputs
from danlu.doctor.instruments.labels import holds, kinship
from danlu.doctor.ledger import Ledger
from danlu.doctor.observation.predictions import top_third_correct
from danlu.doctor.watch import watch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ledger_of(**series: dict[str, list] | list) -> Ledger:
    """Names with "__" for "."; a list, or lists by `where`."""
    ledger = Ledger()
    for name, found in series.items():
        for where, values in (found if isinstance(found, dict) else {"": found}).items():
            for step, value in enumerate(values, 1):
                ledger.add(name.replace("__", "."), value, where, step)
    return ledger


def batches(classes: int, shuffled: bool, count: int = 40, values: bool = False) -> tuple[float, float]:
    """Mean and standard error of the kinship of random batches: labels go by the first column, or by nothing."""
    found = []
    for seed in range(count):
        rows = torch.randn(64, 4, generator=generator(seed))
        labels = rows[:, 0] if values else (rows[:, 0].argsort().argsort() * classes // 64)
        if shuffled:
            labels = labels[torch.randperm(64, generator=generator(seed + 1000))]
        found.append([float(number) for number in kinship(rows, labels)])
    means, errors = zip(*found)
    return sum(means) / count, sum(e * e for e in errors) ** 0.5 / count


@pytest.mark.parametrize(("classes", "values"), [(2, False), (8, False), (0, True)])
def test_kinship_tells_shuffled_labels_from_true_ones(classes: int, values: bool) -> None:
    mean, error = batches(classes, shuffled=True, values=values)
    assert abs(mean) < 3 * error
    mean, error = batches(classes, shuffled=False, values=values)
    assert mean > 8 * error
    assert mean <= 1


def test_kinship_does_not_depend_on_units() -> None:
    rows, labels = torch.randn(64, 4, generator=generator()), torch.arange(64) % 3
    scaled = rows * torch.tensor([1.0, 1e-3, 1e4, 10.0]) + 5
    assert kinship(rows, labels)[0].item() == pytest.approx(kinship(scaled, labels)[0].item())


def test_top_third_is_selected_by_confidence() -> None:
    certainty = torch.tensor([0.9, 0.1, 0.8, 0.2, 0.3, 0.7])
    right = torch.tensor([True, True, False, False, False, True])
    assert top_third_correct(certainty, right).tolist() == [1.0, 2.0]


def train(change_validation: bool = False, shuffled: bool = False) -> list[str]:
    """A plain loop; codes of its findings."""
    g = generator(1)
    x = torch.randn(640, 12, generator=g)
    y = (x @ torch.randn(12, 3, generator=g)).argmax(1)
    if shuffled:
        y = y[torch.randperm(len(y), generator=g)]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_fn = nn.CrossEntropyLoss()
    with watch(model, optimizer, loss_fn, budget=float("inf")) as doctor:
        for _ in range(6):
            model.train()
            for rows in torch.randperm(512, generator=g).split(32):
                optimizer.zero_grad()
                loss_fn(model(x[rows]), y[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for rows in torch.arange(512, 640).split(64):
                    held = x[rows] + 0.3 * torch.randn(x[rows].shape, generator=g) * change_validation
                    loss_fn(model(held), y[rows])
    return [finding.code for finding in doctor.findings if finding.severity != "note"]


def test_changing_validation_set_and_shuffled_labels_are_found() -> None:
    assert train() == []
    assert train(change_validation=True) == ["data.augmentation_harmful"]
    assert train(shuffled=True)[0] == "data.labels_shuffled"


class Recurrence(nn.Module):
    """The state grows by `scale` a step, as does the gradient on its way back."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.into, self.again, self.head = nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        nn.init.orthogonal_(self.again.weight, gain=scale)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), 16)
        for piece in x.split(2, dim=1):
            state = self.into(piece) + self.again(state)
        return self.head(state)


@pytest.mark.parametrize(("scale", "grows"), [(1.0, False), (2.0, True)])
def test_growing_gradients_of_a_recurrence_are_found(scale: float, grows: bool) -> None:
    torch.manual_seed(0)
    model, x = Recurrence(scale), torch.randn(32, 24)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    with watch(model, optimizer, budget=float("inf")) as doctor:
        for _ in range(4):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    growth = doctor.ledger.values("layer.gradient_growth", "again")
    assert growth[0] == pytest.approx(scale**11, rel=0.2)
    found = [finding.code for finding in exploding(doctor.ledger)]
    assert found == (["gradient.exploding"] if grows else [])
    # A state of zeros at the first call is no collapse.
    assert "activation.collapsed" not in [finding.code for finding in diagnose(doctor.ledger)]


def depth_ledger(early: list[float], late: list[float], last_loss: float) -> Ledger:
    """Gradients by depth in the first and in the last steps, and a training loss that starts at chance (1)."""
    layers = {f"l{i}": [e] * 4 + [z] * 4 for i, (e, z) in enumerate(zip(early, late))}
    ledger = ledger_of(layer__gradient=layers, loss__mean={"train": [1.0, last_loss]}, loss__kind=["mse"])
    ledger.add("target.std", 1.0, "train", 1)
    for i, name in enumerate(layers):
        ledger.add("layer.order", i, name)
        ledger.add("layer.kind", "Linear", name)
    return ledger


FALLING = [10.0 ** (i - 5) for i in range(6)]


@pytest.mark.parametrize(
    ("early", "late", "loss", "found"),
    [
        (FALLING, FALLING, 1.0, True),
        (FALLING, [1.0] * 6, 0.5, True),  # it recovered late, and got not far
        (FALLING, [1.0] * 6, 0.05, False),  # a long plateau that ended
        ([1e-9, 1e-9, 1e-9, 1.0, 1.0, 1.0], [1e-9, 1e-9, 1e-9, 1.0, 1.0, 1.0], 1.0, False),  # cut at one layer
    ],
)
def test_gradients_that_vanish_over_depth(early: list[float], late: list[float], loss: float, found: bool) -> None:
    assert bool(list(vanishing(depth_ledger(early, late, loss)))) is found


@pytest.mark.parametrize(("loss", "severity"), [(1.0, "error"), (0.5, "warning")])
def test_gradients_that_vanish_are_an_error_where_nothing_was_learnt(loss: float, severity: str) -> None:
    slight = [10.0 ** (0.8 * (i - 5)) for i in range(6)]
    assert [one.severity for one in vanishing(depth_ledger(slight, slight, loss))] == [severity]


def noise_ledger(top_third_right: float, accuracy: float) -> Ledger:
    both = {"train": [accuracy] * 6, "val": [accuracy] * 6}
    sure = {"train": [top_third_right] * 6, "val": [top_third_right] * 6}
    return ledger_of(
        accuracy__mean=both,
        label__top_third_accuracy=sure,
        loss__mean={"train": [1.0] * 6, "val": [1.0] * 6},
        class__actual={phase: [[0.25] * 4] * 6 for phase in ("train", "val")},
    )


@pytest.mark.parametrize(("top_third_right", "accuracy", "found"), [(0.7, 0.65, True), (0.97, 0.65, False)])
def test_label_noise_causes_errors_among_top_scoring_predictions(
    top_third_right: float, accuracy: float, found: bool
) -> None:
    codes = [finding.code for finding in label_noise(noise_ledger(top_third_right, accuracy))]
    assert codes == (["data.label_noise"] if found else [])


@pytest.mark.parametrize(("top_third_right", "found"), [(0.994, False), (0.87, True)])
def test_overconfident_model_is_not_label_noise(top_third_right: float, found: bool) -> None:
    """ResNet-20 on CIFAR-10 at its first learning rate: 5.4 % of the labels contradicted, the top-scoring third correct."""
    ledger = noise_ledger(top_third_right, 0.82)
    for name, value in (("contradicted", 0.054), ("confident", 0.775), ("confident_correct", 0.916)):
        for epoch in range(1, 7):
            ledger.add(f"label.{name}", value, "val", epoch)
    assert bool(list(label_noise(ledger))) is found


@pytest.mark.parametrize(("measured", "found"), [(1, False), (9, True)])
def test_class_absent_from_few_measured_batches_is_not_reported(measured: int, found: bool) -> None:
    """The labels of `measured` of ten batches were counted, and the inputs of all."""
    ledger = ledger_of(
        class__actual={"train": [[0.0, 0.5, 0.5, 0.0]], "val": [[0.25] * 4]},
        epoch__samples={"train": [160]},
        epoch__batches={"train": [10]},
        epoch__measured={"train": [measured]},
        input__samples={"train": [160]},
    )
    assert [finding.code for finding in split_shift(ledger)] == (["data.split_shift"] if found else [])


def test_different_sequences_of_small_integers_have_different_hashes() -> None:
    """Sums of multiples of one irrational number over tokens are often equal, and would look like leaks."""
    tokens = torch.randint(0, 10, (3000, 14), generator=generator()).unique(dim=0)
    hashes = Inputs()
    hashes._weights = None
    found = hashes._hash(tokens, torch.float64)
    assert len(found.unique()) == len(tokens)


def test_a_weighted_loss_on_rare_positives_is_no_shuffling() -> None:
    """pos_weight 30 gives up accuracy on the frequent class on purpose, so that it is below that of the majority."""
    torch.manual_seed(3)
    y = (torch.rand(3000) < 0.03).float()
    x = torch.randn(3000, 8)
    x[:, 0] += 2 * y
    x[:, 1] += 1.2 * y
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    loss_fn = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(30.0))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with watch(model, optimizer, loss_fn, quiet=True) as doctor:
        for _ in range(10):
            model.train()
            for rows in torch.randperm(2400).split(32):
                optimizer.zero_grad()
                loss_fn(model(x[rows]).squeeze(1), y[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                loss_fn(model(x[2400:]).squeeze(1), y[2400:])
    assert [finding.code for finding in doctor.findings if finding.severity != "note"] == []


def test_a_decay_that_adam_rescales_is_too_strong() -> None:
    """Weight decay 1 of torch.optim.Adam is part of the gradient: every weight moves to 0 by the learning rate per step."""

    def codes(decay: float) -> list[str]:
        torch.manual_seed(0)
        x = torch.randn(600, 16)
        y = (x[:, 0] + x[:, 1] > 0).long()
        model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 2))
        optimizer = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=decay)
        with watch(model, optimizer, nn.functional.cross_entropy, quiet=True) as doctor:
            for _ in range(15):
                for rows in torch.randperm(600).split(32):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                    optimizer.step()
        return [finding.code for finding in doctor.findings if finding.severity != "note"]

    assert codes(1.0)[0] == "optim.weight_decay_too_strong"
    assert codes(1e-4) == []


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (lambda y: y.float(), True),
        (lambda y: (y - 1.0) / 0.8, True),
        (lambda y: (y > 0).float(), False),
        (lambda y: y + 0.1 * torch.randn(len(y)), False),
        (lambda y: torch.zeros(len(y)), False),
    ],
)
def test_a_column_that_holds_the_class_is_found(column: Callable[[Tensor], Tensor], found: bool) -> None:
    y = torch.arange(48) % 3
    rows = torch.cat([torch.randn(48, 5), column(y)[:, None]], 1)
    shuffled = torch.randperm(48)
    assert bool(holds(rows[shuffled], y[shuffled])) is found
    assert not holds(rows[:8], y[:8])
