"""Behaviour on a kept batch, leaves of the graph and options of the loss, in short trainings with and without a fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.doctor.probes.padding import true_lengths
from danlu.doctor.watch import Doctor, watch

SAMPLES, FEATURES, CLASSES, BATCH = 96, 12, 3, 16


def trained(
    model: nn.Module, loss_fn: Callable, x: Tensor, y: Tensor, watched_loss: Callable | None = None, epochs: int = 2
) -> Doctor:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer, watched_loss) as doctor:
        for _ in range(epochs):
            for i in range(0, len(x), BATCH):
                optimizer.zero_grad()
                loss_fn(model(x[i : i + BATCH]), y[i : i + BATCH]).backward()
                optimizer.step()
    return doctor


def table(seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(SAMPLES, FEATURES, generator=g)
    return x, x[:, :CLASSES].argmax(1)


def codes(doctor: Doctor) -> list[str]:
    return [one.code for one in doctor.findings if one.severity != "note"]


class Net(nn.Module):
    """A network with one of several faults."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        hidden = [nn.Linear(FEATURES, 16), nn.Linear(16, 16)]
        self.hidden = hidden if fault == "list" else nn.ModuleList(hidden)
        self.head, self.fault = nn.Linear(16, CLASSES), fault

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = torch.relu(layer(x))
        if self.fault == "created":
            x = nn.Linear(16, 16)(x)
        if self.fault == "dropout":
            x = F.dropout(x, 0.4)
        if self.fault == "noise":
            x = x + 0.1 * torch.randn_like(x)
        return self.head(x.softmax(0) if self.fault == "batch" else x)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("list", "model.unregistered"),
        ("created", "model.unregistered"),
        ("dropout", "model.random_in_eval"),
        ("batch", "model.mixes_samples"),
        ("noise", None),
        ("", None),
    ],
)
def test_behaviour_tells_a_fault_from_a_sound_network(fault: str, code: str | None) -> None:
    torch.manual_seed(0)
    found = codes(trained(Net(fault), F.cross_entropy, *table()))
    assert found[:1] == ([code] if code else [])


@pytest.mark.parametrize("seed", range(3))
def test_rounding_in_a_network_whose_outputs_are_all_alike_mixes_no_samples(seed: int) -> None:
    torch.manual_seed(seed)
    hidden = [module for _ in range(7) for module in (nn.Linear(24, 24), nn.Sigmoid())]
    model = nn.Sequential(nn.Linear(FEATURES, 24), nn.Sigmoid(), *hidden, nn.Linear(24, 1), nn.Flatten(0))
    x, y = table()
    doctor = trained(model, F.binary_cross_entropy_with_logits, x, (y > 0).float())
    assert doctor.ledger.has("probe.mixing")
    assert "model.mixes_samples" not in codes(doctor)


class Rows(nn.Module):
    def __init__(self, batch_first: bool, step: int) -> None:
        super().__init__()
        self.rnn, self.head, self.step = nn.GRU(3, 8, batch_first=batch_first), nn.Linear(8, CLASSES), step

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.view(len(x), 4, 3))[0][:, self.step])


@pytest.mark.parametrize(
    ("batch_first", "step", "code"),
    [(False, -1, "model.mixes_samples"), (True, 0, "model.inputs_unused"), (True, -1, None)],
)
def test_a_recurrence_must_run_over_time_and_its_end_be_used(batch_first: bool, step: int, code: str | None) -> None:
    torch.manual_seed(0)
    x, y = table()
    found = codes(trained(nn.Sequential(nn.Unflatten(1, (4, 3)), Rows(batch_first, step)), F.cross_entropy, x, y))
    assert found[:1] == ([code] if code else [])


LENGTH, SHORTEST, LONGEST = 48, 3, 8


class Summary(nn.Module):
    """A recurrent classifier of padded sequences, which takes its last step, or that at the true length."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.rnn, self.head, self.how = nn.LSTM(2, 12, batch_first=True), nn.Linear(12, 2), how

    def forward(self, x: Tensor) -> Tensor:
        lengths = x.abs().sum(2).ne(0).sum(1)
        if self.how == "packed":
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            return self.head(self.rnn(packed)[1][0][-1])
        steps = self.rnn(x)[0]
        return self.head(steps[:, -1] if self.how == "last" else steps[torch.arange(len(x)), lengths - 1])


@pytest.mark.parametrize(("how", "found"), [("last", True), ("packed", False), ("at length", False)])
def test_the_last_step_of_padded_sequences_is_no_summary(how: str, found: bool) -> None:
    torch.manual_seed(0)
    lengths = torch.randint(SHORTEST, LONGEST, (SAMPLES,))
    real = torch.arange(LENGTH) < lengths[:, None]
    x = torch.randn(SAMPLES, LENGTH, 2) * real[..., None]
    doctor = trained(Summary(how), F.cross_entropy, x, (x[..., 0].sum(1) > 0).long(), epochs=4)
    assert (codes(doctor)[:1] == ["model.reads_padding"]) is found
    assert "model.inputs_unused" not in codes(doctor)


def test_lengths_end_where_the_padding_begins() -> None:
    tokens = torch.tensor([[3, 4, 0, 0], [5, 0, 6, 0], [0, 0, 0, 0], [1, 2, 3, 4]])
    assert true_lengths(tokens).tolist() == [2, 3, 0, 4]
    assert true_lengths(torch.arange(12).view(3, 4)).tolist() == [4, 4, 4]  # all end differently: no padding


class Decoder(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.items, self.head, self.causal = nn.Embedding(8, 16), nn.Linear(16, 8), causal
        self.block = nn.TransformerEncoderLayer(16, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return self.head(self.block(self.items(x), src_mask=mask))


@pytest.mark.parametrize("causal", [True, False])
def test_a_prediction_must_not_depend_on_the_item_it_predicts(causal: bool) -> None:
    torch.manual_seed(0)
    items = torch.randint(0, 8, (SAMPLES, 9))
    loss = lambda outputs, y: F.cross_entropy(outputs.reshape(-1, 8), y.reshape(-1))  # noqa: E731
    found = codes(trained(Decoder(causal), loss, items[:, :-1], items[:, 1:]))
    assert ("model.sees_future" in found) is not causal


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.items, self.rnn, self.head = nn.Embedding(8, 8), nn.GRU(8, 16, batch_first=True), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.items(x))[0])


@pytest.mark.parametrize("shifted", [True, False])
def test_a_language_model_must_not_predict_the_item_that_it_reads(shifted: bool) -> None:
    torch.manual_seed(0)
    items = torch.randint(0, 8, (SAMPLES, 9))
    loss = lambda outputs, y: F.cross_entropy(outputs.transpose(1, 2), y)  # noqa: E731
    found = codes(trained(Recurrent(), loss, items[:, :-1], items[:, 1:] if shifted else items[:, :-1]))
    assert ("model.sees_future" in found) is not shifted


def test_a_layer_created_in_forward_is_found_where_the_loss_has_a_name() -> None:
    torch.manual_seed(0)
    (x, y), model = table(), Net("created")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer, F.cross_entropy) as doctor:
        for i in range(0, len(x), BATCH):
            loss = F.cross_entropy(model(x[i : i + BATCH]), y[i : i + BATCH])  # keeps the graph until the next one
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert codes(doctor)[:1] == ["model.unregistered"]


class Variational(nn.Module):
    """A variational autoencoder of table rows."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = (
            nn.Linear(FEATURES, 8),
            nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, FEATURES)),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.decoder(latent), mean, log_variance


@pytest.mark.parametrize(("weight", "found"), [(30.0, True), (0.1, False)])
def test_reconstructions_must_depend_on_the_inputs(weight: float, found: bool) -> None:
    torch.manual_seed(0)
    x, model = table()[0], Variational()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with watch(model, optimizer) as doctor:
        for _ in range(40):
            for rows in torch.randperm(SAMPLES).split(BATCH):
                outputs, mean, log_variance = model(x[rows])
                divergence = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
                loss = F.mse_loss(outputs, x[rows]) + weight * divergence
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    assert ("fit.posterior_collapse" in codes(doctor)) is found


@pytest.mark.parametrize(("targets", "found"), [(torch.tensor([0.0, 1.0]), True), (torch.tensor([-1.0, 1.0]), False)])
def test_labels_of_pairs_are_signs(targets: Tensor, found: bool) -> None:
    torch.manual_seed(0)
    x, model, loss_fn = table()[0], nn.Linear(FEATURES, 4), nn.CosineEmbeddingLoss(margin=0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, loss_fn) as doctor:
        for _ in range(8):
            first, second = torch.randperm(SAMPLES)[:BATCH], torch.randperm(SAMPLES)[:BATCH]
            optimizer.zero_grad()
            loss_fn(model(x[first]), model(x[second]), targets[torch.arange(BATCH) % 2]).backward()
            optimizer.step()
    assert ("data.label_range" in codes(doctor)) is found


def options() -> dict[str, nn.Module]:
    return {
        "sum": nn.CrossEntropyLoss(reduction="sum"),
        "ignored": nn.CrossEntropyLoss(ignore_index=255),
        "smoothed": nn.CrossEntropyLoss(label_smoothing=0.2),
        "weighted": nn.CrossEntropyLoss(weight=torch.tensor([3.0, 1.0, 1.0])),
    }


@pytest.mark.parametrize("name", options())
def test_options_of_a_loss_give_no_false_finding(name: str) -> None:
    torch.manual_seed(0)
    x, y = table()
    if name == "ignored":
        y = y.clone()
        y[::7] = 255
    assert codes(trained(Net(""), options()[name], x, y, options()[name])) == []


def test_the_loss_at_chance_level_is_measured_by_the_loss_itself() -> None:
    x, y = table()
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)
    ledger = trained(Net(""), loss, x, y, loss).ledger
    frequencies = torch.bincount(y, minlength=CLASSES) / len(y)
    expected = loss(frequencies.log().expand(len(y), -1), y).item()  # cross entropy at the class frequencies
    assert ledger.last("loss.chance") == pytest.approx(expected, abs=0.05)


def test_a_broadcast_in_a_loss_written_by_hand_is_found() -> None:
    torch.manual_seed(0)
    x, _ = table()
    model = nn.Sequential(nn.Linear(FEATURES, 1))
    assert codes(trained(model, lambda outputs, y: ((outputs - y) ** 2).mean(), x, x[:, 0]))[:1] == [
        "model.output_mismatch"
    ]
    assert codes(trained(model, lambda outputs, y: ((outputs[:, 0] - y) ** 2).mean(), x, x[:, 0])) == []


def test_training_is_the_same_with_and_without_the_tests_of_behaviour() -> None:
    weights = []
    for watched in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, CLASSES))
        x, y = table()
        if watched:
            trained(model, F.cross_entropy, x, y)
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for _ in range(2):
                for i in range(0, len(x), BATCH):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x[i : i + BATCH]), y[i : i + BATCH]).backward()
                    optimizer.step()
        weights.append(torch.cat([value.flatten().float() for value in model.state_dict().values()]))
    assert torch.equal(*weights)


def test_one_half_of_a_gan_is_not_judged_by_chance_level() -> None:
    torch.manual_seed(0)
    generator, critic = nn.Linear(4, 2), nn.Linear(2, 1)
    optimizers = [torch.optim.Adam(part.parameters(), 1e-3) for part in (generator, critic)]
    loss_fn = nn.BCEWithLogitsLoss()
    with watch(critic, optimizers[1], loss_fn) as doctor:
        for _ in range(120):
            real, made = torch.randn(16, 2), generator(torch.randn(16, 4))
            optimizers[1].zero_grad()
            loss = loss_fn(critic(real), torch.ones(16, 1)) + loss_fn(critic(made.detach()), torch.zeros(16, 1))
            loss.backward()
            optimizers[1].step()
            optimizers[0].zero_grad()
            loss_fn(critic(made), torch.ones(16, 1)).backward()
            optimizers[0].step()
    assert codes(doctor) == []


class Autoencoder(nn.Module):
    """Returns its reconstruction and its code; the reconstruction may be cut off from the inputs."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self.cut = nn.Linear(FEATURES, 4), nn.Linear(4, FEATURES), cut

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(x)
        return self.decoder(code.detach() if self.cut else code), code


@pytest.mark.parametrize("cut", [True, False])
def test_a_first_output_that_no_gradient_leaves_towards_the_inputs(cut: bool) -> None:
    torch.manual_seed(0)
    x, _ = table()
    doctor = trained(
        Autoencoder(cut), lambda outputs, y: F.mse_loss(outputs[0], y) + 0.1 * outputs[1].square().mean(), x, x
    )
    assert ("model.inputs_unused" in codes(doctor)) == cut


class KeepsHidden(nn.Module):
    """A recurrent network that starts each batch from the hidden state of the one before, or from zeros."""

    def __init__(self, keeps: bool) -> None:
        super().__init__()
        self.rnn, self.head, self.keeps = nn.GRU(2, 16, batch_first=True), nn.Linear(16, CLASSES), keeps
        self.hidden: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        fits = self.keeps and self.hidden is not None and self.hidden.shape[1] == len(x)
        outputs, hidden = self.rnn(x, self.hidden if fits else None)
        self.hidden = hidden.detach()
        return self.head(outputs[:, -1])


@pytest.mark.parametrize("keeps", [True, False])
def test_a_state_kept_from_batch_to_batch_is_found(keeps: bool) -> None:
    x, y = table()
    doctor = trained(KeepsHidden(keeps), F.cross_entropy, x.reshape(SAMPLES, -1, 2), y)
    assert ("model.mixes_samples" in codes(doctor)) is keeps


@pytest.mark.parametrize("updates", [True, False])
def test_weights_that_functional_call_lends_count_as_those_of_the_model(updates: bool) -> None:
    (x, y), model = table(), nn.Linear(FEATURES, CLASSES)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    def loss(weights: dict[str, Tensor], rows: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, weights, (x[rows],)), y[rows])

    with watch(model) as doctor:
        for rows in torch.arange(SAMPLES).repeat(2).split(BATCH):
            slopes = torch.func.grad(loss)(weights, rows)
            if updates:
                weights = {name: weights[name] - 0.1 * slopes[name] for name in weights}
            torch.func.functional_call(model, weights, (x,)).argmax(1)
            doctor.epoch()
    assert ("loop.no_update" in codes(doctor)) is not updates


def test_a_single_layer_does_not_count_as_compiled_because_another_model_is() -> None:
    torch.compile(nn.Linear(FEATURES, CLASSES), backend="eager")(torch.randn(2, FEATURES))
    with watch(nn.Linear(FEATURES, CLASSES)) as doctor:
        doctor._watched.model(torch.randn(BATCH, FEATURES))
        assert not doctor._watched.compiled


@pytest.mark.parametrize("complete", [True, False])
def test_parameters_of_a_model_that_is_called_in_parts(complete: bool) -> None:
    (x, y), parts = table(), nn.ModuleDict({"body": nn.Linear(FEATURES, 16), "head": nn.Linear(16, CLASSES)})
    optimizer = torch.optim.SGD((parts if complete else parts["head"]).parameters(), lr=0.01)
    with watch(parts, optimizer, F.cross_entropy) as doctor:
        for rows in torch.arange(SAMPLES).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(parts["head"](parts["body"](x[rows]).relu()), y[rows]).backward()
            optimizer.step()
    assert codes(doctor) == ([] if complete else ["loop.params_not_in_optimizer"])


@pytest.mark.parametrize(("spectrum", "most"), [(0.3, True), (1.0, False)])
def test_time_steps_without_influence_are_counted(spectrum: float, most: bool) -> None:
    torch.manual_seed(0)
    model = LastOutput(spectrum)
    sequences = torch.randn(SAMPLES, 40, 2)
    ledger = trained(model, F.cross_entropy, sequences, table()[1]).ledger
    assert (ledger.last("probe.faint_inputs", "axis1") > 0.5) is most


class LastOutput(nn.Module):
    """A classifier of the last output of a recurrent layer whose hidden weights are a multiple of the identity."""

    def __init__(self, spectrum: float) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(2, 8, batch_first=True), nn.Linear(8, CLASSES)
        with torch.no_grad():
            self.rnn.weight_hh_l0.copy_(spectrum * torch.eye(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize("column", [3, None])
def test_a_target_among_the_inputs_is_found(column: int | None) -> None:
    x, _ = table()
    target = x[:, column].clone() if column is not None else x[:, 3] + 0.1 * x[:, 4]
    doctor = trained(nn.Linear(FEATURES, 1), lambda o, t: F.mse_loss(o[:, 0], t), x, target, F.mse_loss)
    assert ("model.sees_future" in codes(doctor)) is (column is not None)
