"""Sound programs of other kinds: teachers, agents, graphs, samplers with replacement, series with a trend, hard data."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from test_handwriting import found_in, ledger_of
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from danlu.doctor.findings.data.duplicates import duplicates
from danlu.doctor.findings.data.label_range import label_range
from danlu.doctor.findings.data.labels_shuffled import labels_shuffled
from danlu.doctor.findings.data.split_shift import split_shift
from danlu.doctor.findings.fit.overfitting import overfitting
from danlu.doctor.findings.loop.graph_kept import graph_kept
from danlu.doctor.findings.loop.wrong_mode import wrong_mode
from danlu.doctor.findings.model.output_mismatch import output_mismatch
from danlu.doctor.findings.optim.clipping_always import clipping_always
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.graph import behind, is_constant_product
from danlu.doctor.script.loader_key import LoaderKey


def net(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


def data(n: int = 320) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 8)
    return x, x[:, :3].argmax(1)


# Passes without gradients over samples that are or will be trained on.


def distillation(extra: int = 0) -> None:
    """A teacher is trained, then labels the batches of a student. extra: trained samples that are validated on as well."""
    x, y = data()
    teacher = net(8, 3)
    for model in (teacher, net(8, 3)):
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(4):
            model.train()
            for i in torch.randperm(256).split(32):
                if model is teacher:
                    loss = F.cross_entropy(model(x[i]), y[i])
                else:
                    with torch.no_grad():
                        taught = teacher(x[i]).softmax(1)
                    loss = F.kl_div(model(x[i]).log_softmax(1), taught, reduction="batchmean")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                F.cross_entropy(model(x[256 - extra :]), y[256 - extra :])


def test_the_batches_that_a_teacher_labels_are_no_validation() -> None:
    assert "data.leak" not in found_in(distillation)
    assert "data.leak" in found_in(lambda: distillation(extra=32))


def rollouts(evaluated_again: bool) -> None:
    """Each update collects states without gradients, then trains on them. evaluated_again: afterwards without gradients."""
    model = net(4, 2)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(6):
        states = torch.randn(10, 32, 4)
        with torch.no_grad():
            for state in states:
                model(state)
        for _ in range(2):
            for i in torch.randperm(320).split(32):
                batch = states.flatten(0, 1)[i]
                optimizer.zero_grad()
                F.mse_loss(model(batch), batch[:, :2]).backward()
                optimizer.step()
        if evaluated_again:
            with torch.no_grad():
                F.mse_loss(model(states[0]), states[0, :, :2])


def test_an_agent_trains_on_states_that_it_met_before() -> None:
    assert not found_in(lambda: rollouts(evaluated_again=False))


def trained_by_slices(evaluated: slice) -> None:
    """Batches are slices, without a loader, so that no epoch is seen to end; some rows are evaluated at the end."""
    x, y = data(300)
    model = net(8, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(10):
        for start in range(0, 200, 10):
            optimizer.zero_grad()
            F.cross_entropy(model(x[start : start + 10]), y[start : start + 10]).backward()
            optimizer.step()
    with torch.no_grad():
        model(x[evaluated])


def test_the_accuracy_on_the_training_set_is_no_leak() -> None:
    assert "data.leak" not in found_in(lambda: trained_by_slices(slice(0, 200)))
    assert "data.leak" in found_in(lambda: trained_by_slices(slice(160, 300)))


def test_pseudo_labels_between_two_passes_of_a_step_are_no_validation() -> None:
    def program() -> None:
        x, y = data()
        model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(10):
            model.train()
            for i in torch.randperm(256).split(32):
                known = torch.randint(64, (16,))
                supervised = F.cross_entropy(model(x[known]), y[known])
                with torch.no_grad():
                    guessed = model(x[i]).argmax(1)
                loss = supervised + 0.1 * F.cross_entropy(model(x[i] + 0.1 * torch.randn(len(i), 8)), guessed)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    assert not found_in(program)


# Graphs.


def graph_network(labelled: int, activation: Callable[[Tensor], Tensor]) -> None:
    x, y = data(120)
    adjacency = (torch.rand(120, 120) < 0.05).float() + torch.eye(120)
    adjacency /= adjacency.sum(1, keepdim=True)

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(adjacency @ activation(self.first(adjacency @ x)))

    model = Graph()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for step in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x)[:labelled], y[:labelled]).backward()
        optimizer.step()
        if step % 10 == 9:
            with torch.no_grad():
                F.cross_entropy(model(x)[labelled:] if labelled < 120 else model(x), y[labelled % 120 :])


def test_a_graph_is_evaluated_at_its_other_nodes() -> None:
    assert not found_in(lambda: graph_network(60, F.relu))


def test_only_layers_without_an_activation_between_them_are_linear_past_a_graph() -> None:
    assert "model.no_nonlinearity" not in found_in(lambda: graph_network(60, F.relu))
    assert "model.no_nonlinearity" in found_in(lambda: graph_network(60, lambda x: x))


def test_a_product_with_a_matrix_that_is_not_learned() -> None:
    layer, x, mix = nn.Linear(4, 4, bias=False), torch.randn(6, 4), torch.randn(6, 6)
    assert not is_constant_product(layer(x).grad_fn)
    assert not is_constant_product((x @ layer.weight).grad_fn)
    mixed = mix @ layer(x).relu()
    assert is_constant_product(mixed.grad_fn)
    assert [one.name() for one in behind(mixed.grad_fn, constant_products=True)] == ["MmBackward0", "ReluBackward0"]
    assert [one.name() for one in behind(mixed.grad_fn)] == ["MmBackward0"]


# Loaders.


def test_samples_drawn_with_replacement_are_no_copies() -> None:
    dataset = TensorDataset(torch.zeros(64, 2))
    drawn = DataLoader(dataset, 8, sampler=WeightedRandomSampler([1.0] * 64, 64))
    assert LoaderKey(drawn).repeats
    assert not LoaderKey(DataLoader(dataset, 8, shuffle=True)).repeats
    repeated = [
        ("input.repeated", 0.3, "train", 1),
        ("input.hashed", 200, "train", 1),
        ("run.epoch_by", "epoch()", "", 0),
    ]
    assert [one.severity for one in duplicates(ledger_of(*repeated))] == ["warning"]
    assert not list(duplicates(ledger_of(*repeated, ("loader.replacement", 1, "", 0))))


# Optimisers.


@pytest.mark.parametrize("anew", [False, True])
def test_two_optimisers_that_take_turns_are_not_recreated(anew: bool) -> None:
    def program() -> None:
        x, y = data()
        model = net(8, 3)
        turns = [torch.optim.Adam(model.parameters(), 1e-2), torch.optim.Adam(model.parameters(), 1e-3)]
        for step in range(40):
            optimizer = torch.optim.Adam(model.parameters(), 1e-2) if anew and step % 10 == 0 else turns[step % 2]
            turns = [optimizer, optimizer] if anew else turns
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    assert ("loop.optimizer_recreated" in found_in(program)) is anew


# Rules.


def series_with_trend(moved: float, val_loss: float) -> Ledger:
    ledger = ledger_of(("loss.chance", 1.0, "", 1), ("run.finished", 40, "", 40))
    for name, train, val in (("mean", 0.0, moved), ("std", 1.0, 1.0), ("samples", 800, 200)):
        ledger.add(f"input.{name}", train, "train", 1)
        ledger.add(f"input.{name}", val, "val", 1)
    for step in range(40):
        ledger.add("loss.step", 0.1, "", step)
    ledger.add("loss.mean", val_loss, "val", 1)
    return ledger


@pytest.mark.parametrize(
    ("moved", "val_loss", "severity"), [(0.8, 0.15, "note"), (0.8, 0.7, "error"), (3.0, 0.15, "error")]
)
def test_inputs_that_moved_a_little_and_are_predicted_well_do_no_harm(
    moved: float, val_loss: float, severity: str
) -> None:
    assert [one.severity for one in split_shift(series_with_trend(moved, val_loss))] == [severity]


@pytest.mark.parametrize(
    ("kind", "limit", "found"),
    [("SGD", 0.5, ["warning"]), ("Adam", 0.5, []), ("AdamW", 0.5, []), ("Adam", 1e-4, ["warning"])],
)
def test_clipping_does_not_shorten_the_steps_of_adam(kind: str, limit: float, found: list[str]) -> None:
    ledger = ledger_of(("optimizer.kind", kind, "optimizer0", 0))
    for step in range(9):
        ledger.add("gradient.clip_ratio", 0.05, "", step)
        ledger.add("gradient.norm", limit, "", step)
        ledger.add("gradient.raw_norm", 20 * limit, "", step)
    assert [one.severity for one in clipping_always(ledger)] == found


@pytest.mark.parametrize(("passes", "severity"), [(4, "note"), (200, "warning")])
def test_few_validation_passes_with_gradients_cost_little(passes: int, severity: str) -> None:
    ledger = ledger_of(("loop.val_with_grad", 1.0, "", 1), ("run.backwards", 1000, "", 1))
    ledger.add("run.forwards", passes, "val", 1)
    ledger.add("run.forwards", 1000, "train", 1)
    assert [one.severity for one in graph_kept(ledger)] == [severity]


@pytest.mark.parametrize(("fall", "found"), [(0.006, []), (0.0, ["data.labels_shuffled"])])
def test_labels_are_not_judged_while_the_validation_loss_falls(fall: float, found: list[str]) -> None:
    ledger = ledger_of(("run.finished", 150, "", 150))
    for epoch in range(15):
        for phase, loss in (("train", 0.72), ("val", 0.78)):
            ledger.add("loss.mean", loss * (1 - fall) ** epoch, phase, epoch)
            ledger.add("accuracy.mean", 0.5, phase, epoch)
            ledger.add("class.actual", [0.5, 0.5], phase, epoch)
    for step in range(150):
        ledger.add("loss.step", 0.7, "", step)
        ledger.add("label.kinship", 0.0, "", step)
        ledger.add("label.kinship_chance", 0.05, "", step)
    assert [one.code for one in labels_shuffled(ledger)] == found


JUMPING = [1.07, 1.03, 0.81, 0.56, 0.45, 0.42, 0.37, 0.13, 0.13, 0.05, 0.40, 0.43, 0.18, 0.13]
RISING = [1.07, 0.80, 0.60, 0.42, 0.30, 0.21, 0.13, 0.09, 0.05, 0.10, 0.17, 0.23, 0.30, 0.35]


@pytest.mark.parametrize(("val", "severity"), [(JUMPING, "note"), (RISING, "warning")])
def test_a_validation_loss_that_jumps_has_no_turning_point(val: list[float], severity: str) -> None:
    ledger = ledger_of(("loss.chance", 1.1, "", 1), ("epoch.samples", 300, "val", 1))
    for epoch, loss in enumerate(val):
        ledger.add("loss.mean", 1.0 / (epoch + 1), "train", epoch)
        ledger.add("loss.mean", loss, "val", epoch)
        ledger.add("loss.step", 1.0 / (epoch + 1), "", 20 * epoch)
    assert [one.severity for one in overfitting(ledger)] == [severity]


def test_few_shot_labels_are_numbers_of_an_episode() -> None:
    ledger = ledger_of(
        ("input.repeated", 0.08, "train", 1), ("input.hashed", 900, "train", 1), ("run.epoch_by", "validation")
    )
    ledger.add("input.label_conflicts", 270, "", 1)
    assert [one.severity for one in duplicates(ledger)] == ["warning"]
    for step in range(40):
        ledger.add("loss.step", 1.4 / (1 + step), "", step)
    ledger.add("input.label_changes", 0.25, "", 1)  # as of copies with other labels
    assert [one.severity for one in duplicates(ledger)] == ["warning"]
    ledger.add("input.label_changes", 0.75, "", 2)
    assert not list(duplicates(ledger))


@pytest.mark.parametrize(("shape", "found"), [([768], False), ([64], True)])
def test_tokens_that_never_are_0_are_no_classes_counted_from_1(shape: list[int], found: bool) -> None:
    facts = {"loss.kind": "cross_entropy", "output.count": 6, "input.dtype": "torch.int64", "batch.size": 64}
    ledger = ledger_of(*((name, value, "", 1) for name, value in facts.items()), ("target.shape", shape, "", 1))
    ledger.add("class.actual", [0.0, 0.2, 0.2, 0.2, 0.2, 0.2], "train", 1)
    for name, value in (("samples", 6400), ("measured", 6400), ("batches", 100)):
        ledger.add(f"epoch.{name}", value, "train", 1)
    assert bool(list(label_range(ledger))) is found


@pytest.mark.parametrize(("wrong", "found"), [([20], False), ([2, 3, 4, 5, 6], True)])
def test_a_single_validation_in_train_mode_samples_by_dropout(wrong: list[int], found: bool) -> None:
    ledger = ledger_of(("run.backwards", 400, "", 20), ("run.steps", 400, "", 20))
    for epoch in range(1, 21):
        ledger.add("loop.val_in_train", 1.0 if epoch in wrong else 0.0, "", epoch)
    assert bool(list(wrong_mode(ledger))) is found


def conditional_gan() -> None:
    generator, discriminator = nn.Sequential(net(4, 6), nn.Tanh()), net(6, 1)
    for_g, for_d = (torch.optim.Adam(one.parameters(), 1e-3) for one in (generator, discriminator))
    loss_fn = nn.BCEWithLogitsLoss()
    for _ in range(150):
        fake = generator(torch.randn(16, 4))
        for_d.zero_grad()
        real_loss = loss_fn(discriminator(torch.rand(16, 6) - 0.5), torch.ones(16, 1))
        (real_loss + loss_fn(discriminator(fake.detach()), torch.zeros(16, 1))).backward()
        for_d.step()
        for_g.zero_grad()
        loss_fn(discriminator(fake), torch.ones(16, 1)).backward()
        for_g.step()


def test_the_loss_of_a_discriminator_is_not_given_the_outputs_of_the_generator() -> None:
    assert "model.output_mismatch" not in found_in(conditional_gan)


def in_batch(temperature: float) -> None:
    """Two towers, whose labels are positions in the batch."""
    z = torch.randn(256, 6)
    a, b = torch.tanh(z @ torch.randn(6, 8)), torch.tanh(z @ torch.randn(6, 8))
    towers = nn.ModuleList([net(8, 8), net(8, 8)])

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.towers = towers

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return F.normalize(towers[0](a)) @ F.normalize(towers[1](b)).T / temperature

    model = Both()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(12):
        for i in torch.randperm(192).split(32):
            scores = model(a[i], b[i])
            optimizer.zero_grad()
            F.cross_entropy(scores, torch.arange(32)).backward()
            optimizer.step()
        with torch.no_grad():
            model(a[192:], b[192:])


def test_positions_in_a_batch_are_no_classes() -> None:
    assert not found_in(lambda: in_batch(0.1))


def small_batches() -> None:
    """Batches of four samples, whose four classes are positions in the batch by chance."""
    y = torch.arange(208) % 4
    x = F.one_hot(y, 6) * 2.0 + torch.randn(208, 6)
    model = net(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(6):
        for i in torch.randperm(192).split(4):
            optimizer.zero_grad()
            F.cross_entropy(model(x[i]), y[i]).backward()
            optimizer.step()
        with torch.no_grad():
            model(x[192:])


def test_classes_that_are_positions_by_chance_are_no_other_labels() -> None:
    assert "data.duplicates" not in found_in(small_batches)


@pytest.mark.parametrize(("beyond", "found"), [(0.12, []), (0.5, ["model.output_mismatch"])])
def test_targets_may_exceed_the_range_of_an_output_by_noise(beyond: float, found: list[str]) -> None:
    facts = {"loss.kind": "mse", "output.activation": "tanh", "output.scaled": 0, "target.kind": "values"}
    ledger = ledger_of(*((name, value, "", 1) for name, value in facts.items()))
    ledger.add("target.min", -1.0, "train", 1)
    ledger.add("target.max", 1.0 + beyond, "train", 1)
    assert [one.code for one in output_mismatch(ledger)] == found


# Samples that are equal, or hold one value, by chance.


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[1][-1])[:, 0]


def binary_sequences(blank: int) -> None:
    """Count the ones of binary sequences that grow from 6 to 24 values. blank: sequences of each batch without a one."""
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for length in (6, 12, 24):
        for _ in range(60):
            x = (torch.rand(32, length, 1) < 0.5).float()
            x[:blank] = 0
            loss = F.mse_loss(model(x), x.mean((1, 2)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            x = (torch.rand(200, 24, 1) < 0.5).float()
            F.mse_loss(model(x), x.mean((1, 2)))


def test_short_sequences_are_blank_and_equal_by_chance() -> None:
    assert not {"data.degenerate", "data.duplicates", "data.leak"} & set(found_in(lambda: binary_sequences(0)))
    assert "data.degenerate" in found_in(lambda: binary_sequences(8))
