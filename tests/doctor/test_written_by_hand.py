"""Questions of forums, rebuilt: closures, gradients and masks written by hand, and words that no output depends on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.doctor.probes.own_backward import OwnFunctions, own_backward
from danlu.doctor.watch import Doctor, watch

WORDS, LENGTH, BATCH = 20, 8, 16


def codes(doctor: Doctor) -> list[str]:
    return [one.code for one in doctor.findings if one.severity != "note"]


def trained(model: nn.Module, x: Tensor, y: Tensor, epochs: int = 2, lr: float = 0.01) -> Doctor:
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    with watch(model, optimizer, F.cross_entropy) as doctor:
        for _ in range(epochs):
            for i in range(0, len(x), BATCH):
                optimizer.zero_grad()
                F.cross_entropy(model(x[i : i + BATCH]), y[i : i + BATCH]).backward()
                optimizer.step()
    return doctor


def sentences(count: int = 128, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(1, WORDS, (count, LENGTH), generator=g)
    return x, (x.sum(1) > LENGTH * WORDS / 2).long()


class Silu(torch.autograd.Function):
    """With its own gradient, or with a wrong one."""

    right = True

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (x,), (g,) = ctx.saved_tensors, grad_outputs
        s = torch.sigmoid(x)
        return g * (s + x * s * (1 - s)) if Silu.right else g * (x * (1 - s) - s)


class Sign(torch.autograd.Function):
    """The gradient of the identity on purpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


class Reversed(torch.autograd.Function):
    """The gradient is reversed on purpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return -0.5 * grad_outputs[0]


class Clipped(torch.autograd.Function):
    """The gradient passes where the values are clipped, on purpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(-0.5, 0.5)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


class Scaled(torch.autograd.Function):
    """A product with a wrong gradient for its second factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        (g,) = grad_outputs
        x, weight = ctx.saved_tensors
        return g @ weight.t(), 3 * x.t() @ g


@pytest.mark.parametrize(
    ("function", "arguments", "right", "wrong"),
    [
        (Silu, 1, True, False),
        (Silu, 1, False, True),
        (Sign, 1, True, False),
        (Reversed, 1, True, False),
        (Clipped, 1, True, False),
        (Scaled, 2, True, True),
    ],
)
def test_a_backward_that_is_not_the_derivative_is_told_from_one_that_is_meant(
    function: Any, arguments: int, right: bool, wrong: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Silu, "right", right)
    g = torch.Generator().manual_seed(0)
    given = [torch.randn(12, 12, generator=g) for _ in range(arguments)]
    original = torch.autograd.Function.__dict__["apply"]
    with OwnFunctions() as own:
        function.apply(*given)
    assert torch.autograd.Function.__dict__["apply"] is original
    assert set(own.calls) == {function}
    found = list(own_backward(own.calls))
    assert any(value > 0.1 for _, value, _ in found) is wrong


class Activated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(LENGTH, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(Silu.apply(self.first(x.float() / WORDS)))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("right", [True, False])
def test_a_network_with_a_wrong_backward(right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Silu, "right", right)
    torch.manual_seed(0)
    found = codes(trained(Activated(), *sentences()))
    assert ("model.wrong_backward" in found) is not right
    assert right or found[0] == "model.wrong_backward"


@pytest.mark.parametrize("clears", [True, False])
def test_a_closure_that_does_not_clear_the_gradients(clears: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    y = x.sum(1, keepdim=True)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    with watch(model, optimizer, F.mse_loss) as doctor:
        for _ in range(8):
            optimizer.zero_grad()

            def closure() -> Tensor:
                if clears:
                    optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)
    assert ("loop.missing_zero_grad" in codes(doctor)) is not clears


class Reader(nn.Module):
    """Reads word by word; forgets: the state is made anew at each word."""

    def __init__(self, forgets: bool) -> None:
        super().__init__()
        self.words, self.cell, self.head = nn.Embedding(WORDS, 8), nn.GRUCell(8, 12), nn.Linear(12, 2)
        self.forgets = forgets

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), 12)
        for t in range(x.shape[1]):
            state = self.cell(self.words(x[:, t]), torch.zeros_like(state) if self.forgets else state)
        return self.head(state)


@pytest.mark.parametrize("forgets", [True, False])
def test_words_that_are_forgotten(forgets: bool) -> None:
    torch.manual_seed(0)
    found = codes(trained(Reader(forgets), *sentences()))
    assert ("model.inputs_unused" in found) is forgets


class Masked(nn.Module):
    def __init__(self, inverted: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 16, padding_idx=0)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.query, self.head, self.inverted = nn.Parameter(torch.randn(1, 1, 16)), nn.Linear(16, 2), inverted

    def forward(self, x: Tensor) -> Tensor:
        words, padding = self.words(x), x == 0
        mask = ~padding if self.inverted else padding
        summary, _ = self.attention(self.query.expand(len(x), -1, -1), words, words, key_padding_mask=mask)
        return self.head(summary[:, 0])


@pytest.mark.parametrize("inverted", [True, False])
def test_a_mask_that_keeps_the_padding(inverted: bool) -> None:
    torch.manual_seed(0)
    x, y = sentences()
    lengths = torch.randint(2, LENGTH, (len(x),))
    x = x * (torch.arange(LENGTH) < lengths[:, None])
    doctor = trained(Masked(inverted), x, y)
    assert ("model.reads_padding" in codes(doctor)) is inverted
    if inverted:
        assert codes(doctor)[0] == "model.reads_padding"


class Weighed(nn.Module):
    def __init__(self, axis: int) -> None:
        super().__init__()
        self.words, self.score, self.head = nn.Embedding(WORDS, 16), nn.Linear(16, 1), nn.Linear(16, 2)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        words = self.words(x)
        return self.head((self.score(words).softmax(self.axis) * words).sum(1))


@pytest.mark.parametrize(("axis", "found"), [(1, False), (2, True)])
def test_attention_over_an_axis_of_length_one(axis: int, found: bool) -> None:
    torch.manual_seed(0)
    doctor = trained(Weighed(axis), *sentences())
    assert codes(doctor)[:1] == (["model.unreached"] if found else [])


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(WORDS, 16), nn.Embedding(WORDS, 16)
        self.encoder, self.decoder = nn.GRU(16, 24, batch_first=True), nn.GRU(16, 24, batch_first=True)
        self.head = nn.Linear(24, WORDS)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        _, state = self.encoder(self.source(source))
        return self.head(self.decoder(self.target(target), state)[0])


@pytest.mark.parametrize("shifted", [True, False])
def test_a_decoder_that_is_given_what_it_should_predict(shifted: bool) -> None:
    torch.manual_seed(0)
    model, x = Decoder(), sentences()[0]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with watch(model, optimizer, F.cross_entropy) as doctor:
        for _ in range(3):
            for i in range(0, len(x), BATCH):
                source, target = x[i : i + BATCH], x[i : i + BATCH].flip(1)
                given = F.pad(target[:, :-1], (1, 0)) if shifted else target
                optimizer.zero_grad()
                F.cross_entropy(model(source, given).reshape(-1, WORDS), target.reshape(-1)).backward()
                optimizer.step()
    assert ("model.sees_future" in codes(doctor)) is not shifted


class Speaker(nn.Module):
    """A language model that returns its loss, with or without a causal mask."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, 16), nn.Parameter(torch.randn(LENGTH - 1, 16))
        self.mix, self.head, self.causal = nn.Linear(16, 16), nn.Linear(16, WORDS), causal

    def forward(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        h = self.words(x) + self.positions
        scores = self.mix(h) @ h.transpose(1, 2)
        if self.causal:
            scores = scores.masked_fill(torch.ones(x.shape[1], x.shape[1]).triu(1).bool(), -torch.inf)
        logits = self.head(scores.softmax(-1) @ h)
        return F.cross_entropy(logits.reshape(-1, WORDS), targets.reshape(-1)), logits


@pytest.mark.parametrize("causal", [True, False])
def test_a_model_that_returns_its_loss_may_see_the_future(causal: bool) -> None:
    torch.manual_seed(0)
    model, x = Speaker(causal), sentences()[0]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with watch(model, optimizer) as doctor:
        for i in range(0, len(x), BATCH):
            optimizer.zero_grad()
            model(x[i : i + BATCH, :-1], x[i : i + BATCH, 1:])[0].backward()
            optimizer.step()
    assert ("model.sees_future" in codes(doctor)) is not causal


class Tagger(nn.Module):
    """Tags one sentence at a time: its words are the rows of the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.rnn, self.head = nn.Embedding(WORDS, 8), nn.LSTM(8, 12), nn.Linear(12, 3)

    def forward(self, sentence: Tensor) -> Tensor:
        steps, _ = self.rnn(self.words(sentence).view(len(sentence), 1, -1))
        return self.head(steps.view(len(sentence), -1))


def test_the_words_of_a_sentence_are_no_samples_that_are_mixed() -> None:
    torch.manual_seed(0)
    x, _ = sentences()
    doctor = trained(Tagger(), x.reshape(-1), (x % 3).reshape(-1), epochs=1)
    assert "model.mixes_samples" not in codes(doctor)


def test_a_score_of_attention_is_no_narrow_layer() -> None:
    torch.manual_seed(0)
    doctor = trained(Weighed(1), *sentences(), epochs=6, lr=1e-3)
    assert "model.too_small" not in codes(doctor)
