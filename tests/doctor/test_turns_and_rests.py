"""Mistakes that show late or in a part of the run: thawed layers, evaluation that trains, blank data, rare places."""

from __future__ import annotations

import pytest
import torch
from test_forum_questions import CLASSES, samples
from test_handwriting import found_in
from test_rules import written
from torch import Tensor, nn
from torch.nn import functional as F

import danlu
from danlu.doctor.findings.data.degenerate import degenerate
from danlu.doctor.findings.data.imbalance import imbalance
from danlu.doctor.findings.data.leak import leak
from danlu.doctor.findings.fit.not_learning import not_learning


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def epoch(model: nn.Module, optimizer: torch.optim.Optimizer, rows: slice = slice(None)) -> None:
    x, y = samples()
    x, y = x[rows], y[rows]
    for k in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        F.cross_entropy(model(x[k]), y[k]).backward()
        optimizer.step()


@pytest.mark.parametrize("added", [True, False])
def test_layers_that_are_unfrozen_later_have_to_be_given_to_the_optimiser(added: bool) -> None:
    def program() -> None:
        model = net()
        model[0].requires_grad_(False)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.01)
        epoch(model, optimizer)
        model[0].requires_grad_(True)
        if added:
            optimizer.add_param_group({"params": list(model[0].parameters())})
        for _ in range(4):
            epoch(model, optimizer)

    found = found_in(program)
    assert ("loop.params_not_in_optimizer" in found) is not added
    assert "model.unreached" not in found


def test_gradients_of_an_earlier_training_are_none_of_a_frozen_part() -> None:
    def program() -> None:
        model = net()
        for trained in (model, model[2], model):
            model.requires_grad_(trained is model)
            trained.requires_grad_(True)
            optimizer = torch.optim.Adam(trained.parameters(), 0.01)
            for _ in range(3):
                epoch(model, optimizer)
            del optimizer

    assert "loop.params_not_in_optimizer" not in found_in(program)


@pytest.mark.parametrize("steps", [True, False])
def test_an_evaluation_that_steps_trains_on_the_validation_samples(steps: bool) -> None:
    def program() -> None:
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        x, y = samples()
        for _ in range(4):
            model.train()
            epoch(model, optimizer, slice(0, -96))
            model.eval()
            if steps:
                epoch(model, optimizer, slice(-96, None))
            else:
                with torch.no_grad():
                    F.cross_entropy(model(x[-96:]), y[-96:])

    assert ("data.leak" in found_in(program)) is steps


def test_a_model_that_only_steps_in_eval_mode_mixes_no_splits() -> None:
    def program() -> None:
        model = net().eval()
        for _ in range(4):
            epoch(model, torch.optim.Adam(model.parameters(), 0.01))

    assert "data.leak" not in found_in(program)


def test_short_sequences_that_repeat_in_training_too_are_no_leak() -> None:
    tokens = [
        ("input.dtype", "torch.int64"),
        ("input.shape", [32, 12]),
        ("input.leaked", 8),
        ("input.hashed", 300, "val"),
    ]
    few = [*tokens, ("input.leaked_fraction", 0.08)]
    assert not list(leak(written(*few, ("input.repeated", 0.02, "train"))))
    assert list(leak(written(*few, ("input.repeated", 0.0, "train"))))
    assert list(leak(written(*tokens, ("input.leaked_fraction", 0.3), ("input.repeated", 0.2, "train"))))


def test_data_that_are_mostly_blank_are_an_error() -> None:
    seen = [("input.shape", [32, 1, 8, 8]), ("input.samples", 100, "train")]
    severities = [next(iter(degenerate(written(*seen, ("input.constant", n, "train"))))).severity for n in (5, 95)]
    assert severities == ["warning", "error"]


@pytest.mark.parametrize(("recalls", "severity"), [([1.0, 0.0, 0.0], "warning"), ([0.99, 0.7, 0.8], "note")])
def test_places_of_a_class_that_training_never_finds_are_a_warning(recalls: list[float], severity: str) -> None:
    facts = [("class.actual", [0.96, 0.02, 0.02], "train", e) for e in range(1, 4)]
    facts += [("class.correct", recalls, "train", e) for e in range(1, 4)]
    facts += [("loss.step", 0.2, "", s) for s in range(1, 161)] + [("output.rows", 64.0), ("target.shape", [32, 8, 8])]
    facts += [("epoch.samples", 500, "train")]
    assert next(iter(imbalance(written(*facts)))).severity == severity


def test_a_loss_at_chance_after_many_epochs_of_few_steps_is_a_warning() -> None:
    facts = [("loss.kind", "bce_logits"), ("loss.chance", 0.5)] + [("loss.step", 0.5, "", s) for s in range(1, 161)]
    epochs = [("loss.mean", 0.5, "train", e) for e in range(1, 9)]
    assert [f.severity for f in not_learning(written(*facts))] == ["note"]
    assert [f.severity for f in not_learning(written(*facts, *epochs))] == ["warning"]


# Layout of sequences.


class Reader(nn.Module):
    """Classify sequences of tokens by the mean over time, given as (time, batch)."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.table, self.rnn = nn.Embedding(20, 8), nn.GRU(8, 12, batch_first=batch_first)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.table(tokens))[0].mean(0))


@pytest.mark.parametrize("batch_first", [True, False])
def test_sequences_in_columns_are_run_alone(batch_first: bool) -> None:
    def program() -> None:
        tokens = torch.randint(0, 20, (256, 12))
        labels = (tokens < 7).sum(1) % CLASSES
        model = Reader(batch_first)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(3):
            for k in torch.randperm(256).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(tokens[k].t()), labels[k]).backward()
                optimizer.step()

    assert ("model.mixes_samples" in found_in(program)) is batch_first


class Stateful(nn.Module):
    """Carry the hidden state over to the next batch, which has to be of the same size."""

    def __init__(self, keeps: bool, batch: int) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 12, batch_first=True), nn.Linear(12, CLASSES)
        self.keeps, self.hidden = keeps, torch.zeros(1, batch, 12)

    def forward(self, x: Tensor) -> Tensor:
        states, hidden = self.rnn(x.view(len(x), -1, 2), self.hidden.detach())
        if self.keeps:
            self.hidden = hidden
        return self.head(states[:, -1])


@pytest.mark.parametrize("keeps", [True, False])
def test_a_state_of_a_model_that_takes_whole_batches_only_is_found(keeps: bool) -> None:
    def program() -> None:
        model = Stateful(keeps, 32)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(4):
            epoch(model, optimizer, slice(0, 256))

    assert ("model.mixes_samples" in found_in(program)) is keeps


# The optimiser of another model.


@pytest.mark.parametrize("of", ["teacher", "student"])
def test_a_student_whose_optimiser_holds_the_teacher_does_not_change(of: str) -> None:
    def program() -> None:
        models = {"teacher": net(), "student": net()}
        optimizer = torch.optim.Adam(models["teacher"].parameters(), 0.01)
        for _ in range(3):
            epoch(models["teacher"], optimizer)
        x, _ = samples()
        optimizer = torch.optim.Adam(models[of].parameters(), 0.01)
        for _ in range(4):
            for k in torch.randperm(len(x)).split(32):
                with torch.no_grad():
                    taught = models["teacher"](x[k]).softmax(1)
                loss = F.kl_div(models["student"](x[k]).log_softmax(1), taught, reduction="batchmean")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    found = found_in(program)
    assert ("loop.no_update" in found) is (of == "teacher")
    assert "data.leak" not in found


def test_passes_over_the_whole_training_set_in_order_are_no_held_out_samples() -> None:
    def program() -> None:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        x, y = samples(1280)
        for _ in range(30):
            for i in range(0, 1280, 32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[i : i + 32]), y[i : i + 32]).backward()
                optimizer.step()
            with torch.no_grad():
                for i in range(0, 1280, 32):
                    model(x[i : i + 32])

    assert "data.leak" not in found_in(program)


@pytest.mark.parametrize("frozen", [True, False])
def test_layers_in_eval_mode_are_not_validated_in_train_mode(frozen: bool) -> None:
    def program() -> None:
        body = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU())
        for _ in range(3):
            body(samples()[0])
        if frozen:
            body.requires_grad_(False).eval()
        model = nn.Sequential(body, nn.Linear(16, CLASSES))
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.01)
        x, y = samples()
        for _ in range(4):
            epoch(model, optimizer, slice(0, -96))
            with torch.no_grad():
                F.cross_entropy(model(x[-96:]), y[-96:])

    assert ("loop.wrong_mode" in found_in(program)) is not frozen


# What counts.


@pytest.mark.parametrize("inverted", [True, False])
def test_a_mask_that_keeps_the_padding_is_found(inverted: bool) -> None:
    def program() -> None:
        tokens = torch.randint(1, 9, (256, 10)) * (torch.arange(10) < torch.randint(3, 10, (256, 1)))
        tags = (tokens % 3 + 1) * (tokens > 0)
        model = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 4))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(8):
            for k in torch.randperm(256).split(32):
                terms = F.cross_entropy(model(tokens[k]).transpose(1, 2), tags[k], reduction="none")
                mask = ((tags[k] == 0) == inverted).float()
                optimizer.zero_grad()
                ((terms * mask).sum() / mask.sum()).backward()
                optimizer.step()

    assert ("data.labels_missing" in found_in(program)) is inverted


@pytest.mark.parametrize(("accuracies", "is_found"), [([0.26, 0.24] * 4, True), ([0.3, 0.5] * 4, False)])
def test_predictions_at_chance_level_that_the_loop_compares_show_that_nothing_is_learnt(
    accuracies: list[float], is_found: bool
) -> None:
    facts = [("loss.kind", "cross_entropy"), ("class.actual", [0.25] * 4, "train")]
    facts += [("loss.step", 1.38 - 0.001 * s, "", s) for s in range(1, 201)]
    facts += [("accuracy.compared", one, "val", e) for e, one in enumerate(accuracies, 1)]
    facts += [("epoch.compared", 200, "val", e) for e in range(1, 9)]
    assert bool(list(not_learning(written(*facts)))) is is_found


class OfWords(nn.Module):
    """Attention over words, whose outputs vary little between samples beside a large bias of the classes."""

    def __init__(self, positions: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        self.positions = nn.Parameter(torch.randn(8, 16) * positions)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.out = nn.Linear(16, CLASSES)
        with torch.no_grad():
            self.out.bias.copy_(100 * torch.arange(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x) + self.positions
        return self.out(self.attention(h, h, h)[0].mean(1) * 10)


@pytest.mark.parametrize("positions", [True, False])
def test_order_is_compared_with_the_differences_between_samples(positions: bool) -> None:
    model = OfWords(positions)
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    x, y = torch.randint(20, (64, 8)), torch.randint(CLASSES, (64,))
    with danlu.watch(model, optimizer, quiet=True) as doctor:
        for _ in range(5):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    change = doctor.ledger.last("probe.order")
    assert change is not None
    assert (change > 0.05) if positions else (change < 1e-3)
