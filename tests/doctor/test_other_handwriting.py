"""Mistakes in loops of other hands: a part without gradients, compared shapes, labels and rare classes drawn again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from test_forum_questions import CLASSES, ledger_of, samples
from test_handwriting import found_in
from test_rules import written
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.doctor.findings.activation.collapsed import collapsed
from danlu.doctor.findings.data.duplicates import duplicates
from danlu.doctor.findings.data.labels_shuffled import labels_shuffled
from danlu.doctor.findings.fit.stopped_early import stopped_early
from danlu.doctor.findings.model.bad_init import bad_init
from danlu.doctor.script.program import ProgramDoctor
from danlu.doctor.watch import watch


def train(step: Callable[[Tensor, Tensor], Tensor], optimizer: torch.optim.Optimizer, epochs: int = 6) -> None:
    x, y = samples()
    for _ in range(epochs):
        for k in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(step(x[k], y[k]), y[k]).backward()
            optimizer.step()


@pytest.mark.parametrize("detached", [True, False])
def test_a_model_beside_the_trained_one_that_no_gradient_reaches_is_named(detached: bool) -> None:
    def program() -> None:
        backbone, head = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, CLASSES)
        optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], 0.01)

        def step(x: Tensor, y: Tensor) -> Tensor:
            with torch.no_grad() if detached else nullcontext():
                features = backbone(x)
            return head(features)

        train(step, optimizer)

    found = found_in(program)
    assert ("model.unreached" in found) is detached
    assert not detached or found["model.unreached"] == "backbone"


def test_a_replaced_layer_that_the_optimiser_still_holds_is_no_cause_of_its_own() -> None:
    def program() -> None:
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        old, model[2] = model[2], nn.Linear(16, CLASSES)
        train(lambda x, y: model(x), optimizer)
        del old

    assert next(iter(found_in(program))) == "loop.params_not_in_optimizer"


COMPARED: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], bool]] = {
    "a column with a row": (lambda scores, y: scores.argmax(1, keepdim=True) == y, True),
    "two rows": (lambda scores, y: scores.argmax(1) == y, False),
    "pairs of labels": (lambda scores, y: y[:, None] == y, False),
}


@pytest.mark.parametrize("name", COMPARED)
def test_predictions_compared_with_the_labels_of_all_samples_are_named(name: str) -> None:
    compare, wrong = COMPARED[name]
    x, y = samples()

    def program() -> None:
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(3):
            train(lambda x, y: model(x), optimizer, epochs=1)
            with torch.no_grad():
                for k in torch.arange(len(x)).split(64):
                    compare(model(x[k]), y[k]).sum()

    assert ("loop.metric_wrong" in found_in(program)) is wrong


@pytest.mark.parametrize(("right", "shuffled"), [(0.5, True), (0.8, False)])
def test_predictions_at_chance_level_after_a_loss_that_fell_come_from_shuffled_labels(
    right: float, shuffled: bool
) -> None:
    ledger = written(
        ("loss.kind", "bce_logits"),
        *[("loss.step", 0.69 - 0.002 * step, "", step) for step in range(200)],
        *[("label.kinship", 0.0, "", step) for step in range(1, 17)],
        *[("label.kinship_chance", 0.15, "", step) for step in range(1, 17)],
        *[(name, value, "train", epoch) for epoch in (1, 2) for name, value in (("class.actual", [0.5, 0.5]),)],
        *[("accuracy.mean", 0.7, "train", epoch) for epoch in (1, 2)],
        ("accuracy.compared", right, "val", 2),
        ("epoch.compared", 200, "val", 2),
    )
    assert bool(list(labels_shuffled(ledger))) is shuffled


@pytest.mark.parametrize(("update", "found"), [(1e-3, True), (1e-5, False)])
def test_a_model_that_hardly_moves_says_nothing_about_the_labels(update: float, found: bool) -> None:
    ledger = written(
        ("loss.kind", "bce_logits"),
        ("optimizer.lr", 0.01, "optimizer0.group0", 1),
        *[("loss.step", 0.69, "", step) for step in range(400)],
        *[(name, 0.69, phase, epoch) for epoch in range(1, 7) for name in ("loss.mean",) for phase in ("train", "val")],
        *[("update.ratio", update, "", step) for step in range(1, 9)],
        *[("label.kinship", 0.0, "", step) for step in range(1, 17)],
        *[("label.kinship_chance", 0.15, "", step) for step in range(1, 17)],
        *[("class.actual", [0.5, 0.5], phase, epoch) for epoch in range(1, 7) for phase in ("train", "val")],
        *[("accuracy.mean", 0.5, phase, epoch) for epoch in range(1, 7) for phase in ("train", "val")],
    )
    assert bool(list(labels_shuffled(ledger))) is found


@pytest.mark.parametrize(
    ("distinct", "severity"), [([400, 80], "note"), ([160, 160], "warning"), ([200, 210], "warning")]
)
def test_copies_that_make_a_rare_class_as_frequent_as_the_others_are_a_note(distinct: list[int], severity: str) -> None:
    ledger = written(
        ("run.epoch_by", "validation"),
        *[(name, 800, "train", epoch) for epoch in (1, 2) for name in ("epoch.samples", "input.samples")],
        *[("input.hashed", sum(distinct), "train", epoch) for epoch in (1, 2)],
        *[("input.repeated", 0.4, "train", epoch) for epoch in (1, 2)],
        *[("class.actual", [0.5, 0.5], "train", epoch) for epoch in (1, 2)],
        ("input.class_samples", distinct, "", 2),
        ("input.before_repeat", 20, "", 1),
    )
    assert [one.severity for one in duplicates(ledger)] == [severity]


@pytest.mark.parametrize(("table", "tokens"), [(True, True), (False, False)])
def test_tokens_stored_as_floats_are_tokens(table: bool, tokens: bool) -> None:
    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Embedding(200, 8) if table else nn.Linear(1, 8)
            self.last = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x.long() if table else x[..., None]).mean(1))

    def program() -> None:
        words = torch.randint(0, 200, (320, 12)).float()
        y = (words[:, :4] < 60).any(1).long()
        model = Text()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(4):
            for k in torch.randperm(320).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(words[k]), y[k]).backward()
                optimizer.step()

    found = found_in(program)
    assert ("data.not_normalised" not in found) is tokens
    assert "model.inputs_unused" not in found


@pytest.mark.parametrize(("kind", "named"), [("sigmoid", True), ("relu", False)])
def test_sigmoids_that_make_all_samples_alike_are_to_be_replaced(kind: str, named: bool) -> None:
    layers = [f"l{i}" for i in range(4)]
    ledger = written(
        *[("layer.order", i, layer) for i, layer in enumerate(layers)],
        *[("layer.activation", kind, layer) for layer in layers],
        *[("activation.samples", 32, layer) for layer in layers],
        *[
            ("activation.spread", 10.0 ** (-2 * i - 2), layer, step)
            for i, layer in enumerate(layers)
            for step in (1, 2)
        ],
    )
    (found,) = collapsed(ledger)
    assert ("sigmoid" in str(found.evidence["do"])) is named


def test_a_layer_that_was_replaced_is_not_in_the_optimiser() -> None:
    """The former layer, which the optimiser still holds, is no other model that no gradient reaches."""
    torch.manual_seed(0)
    x = torch.randn(128, 6)
    y = x[:, :3].argmax(1)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model[2] = nn.Linear(16, 3)
    with watch(model, optimizer, nn.CrossEntropyLoss(), quiet=True) as doctor:
        for i in (*range(0, 128, 16), *range(0, 128, 16)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[i : i + 16]), y[i : i + 16]).backward()
            optimizer.step()
    found = [one.code for one in doctor.findings if one.severity == "error"]
    assert found == ["loop.params_not_in_optimizer"]


def test_the_accuracy_of_rounded_probabilities_is_that_of_the_loop() -> None:
    x, y = samples()
    targets = (y < 2).float()[:, None]
    right = []

    def program() -> None:
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for k in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(x[k]), targets[k]).backward()
            optimizer.step()
        with torch.no_grad():
            right.append((torch.round(torch.sigmoid(model(x))) == targets).float().mean().item())

    assert ledger_of(program).values("accuracy.compared", "val") == pytest.approx(right)
    assert right[0] < 1


@pytest.mark.parametrize("constant", [False, True])
def test_columns_of_nan_given_to_weights_without_a_module(constant: bool) -> None:
    x = torch.randn(200, 6)
    x[:, 2] = 1.0 if constant else x[:, 2]
    x = (x - x.mean(0)) / x.std(0)
    y = x[:, :3].nan_to_num().argmax(1)

    def program() -> None:
        weights, bias = torch.zeros(6, 3, requires_grad=True), torch.zeros(3, requires_grad=True)
        optimizer = torch.optim.SGD([weights, bias], 0.1)
        for _ in range(4):
            for i in torch.randperm(200).split(20):
                loss = F.cross_entropy(x[i] @ weights + bias, y[i])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    torch.manual_seed(0)
    with ProgramDoctor(say=lambda line: None) as doctor:
        program()
    serious = [one for one in doctor.findings if one.severity != "note"]
    assert [one.code for one in serious[:1]] == (["numerics.nonfinite"] if constant else [])
    assert all("bad input" in one.title for one in serious[:1])


@pytest.mark.parametrize("held", [False, True])
def test_a_layer_replaced_after_the_first_steps_must_be_in_an_optimiser(held: bool) -> None:
    def program() -> None:
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        first = torch.optim.SGD(model.parameters(), 0.05)
        train(lambda x, y: model(x), first, epochs=3)
        model[0].requires_grad_(False)
        model[2] = nn.Linear(16, CLASSES)
        train(lambda x, y: model(x), torch.optim.SGD(model[2].parameters(), 0.05) if held else first, epochs=3)

    assert ("loop.params_not_in_optimizer" in found_in(program)) is not held


@pytest.mark.parametrize("std", [0.5, 0.1])
def test_recurrent_weights_that_make_the_state_explode_are_named(std: float) -> None:
    def program() -> None:
        rnn, head = nn.RNN(2, 24, nonlinearity="relu", batch_first=True), nn.Linear(24, 1)
        nn.init.normal_(rnn.weight_hh_l0, std=std)
        optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], 1e-3)
        x = torch.rand(64, 40, 2)
        y = x[:, -1].sum(1, keepdim=True)
        for k in torch.randperm(64 * 80).remainder(64).split(16):
            optimizer.zero_grad()
            F.mse_loss(head(rnn(x[k])[0][:, -1]), y[k]).backward()
            optimizer.step()

    assert ("model.bad_init" in found_in(program)) is (std > 0.3)


@pytest.mark.parametrize(("lr", "steps"), [(0.01, 24), (0.01, 240), (1.0, 24)])
def test_few_steps_that_all_go_the_same_way_ended_the_training_early(lr: float, steps: int) -> None:
    def program() -> None:
        x = torch.randn(480, 10)
        y = (x[:, :2].sum(1) > 0).float()
        model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr)
        for step in range(steps):
            k = torch.arange(step * 64, step * 64 + 64) % 480
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(x[k])[:, 0], y[k]).backward()
            optimizer.step()

    severities = {one.severity for one in stopped_early(ledger_of(program))}
    assert ("warning" in severities) is (lr < 1 and steps < 100)


@pytest.mark.parametrize("bias", [-2.0, 0.0])
def test_negative_biases_that_hold_all_units_at_zero_are_named(bias: float) -> None:
    def program() -> None:
        model = nn.Sequential(*(m for n in (8, 16, 16) for m in (nn.Linear(n, 16), nn.ReLU())), nn.Linear(16, CLASSES))
        for layer in model[::2]:
            nn.init.constant_(layer.bias, bias)
        train(lambda x, y: model(x), torch.optim.SGD(model.parameters(), 0.05))

    found = next(iter(bad_init(ledger_of(program))), None)
    assert (found is not None and found.evidence.get("bias") == bias) is (bias < 0)
