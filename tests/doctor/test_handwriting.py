"""Programs written in other ways: without modules or optimisers, with few validations, with losses of a part of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from test_rules_optim import run as run_of_losses
from torch import Tensor, nn

import danlu
from danlu.doctor.findings.data.duplicates import duplicates
from danlu.doctor.findings.data.label_range import label_range
from danlu.doctor.findings.data.labels_shuffled import labels_shuffled
from danlu.doctor.findings.loop.scheduler_misuse import scheduler_misuse
from danlu.doctor.findings.loop.wrong_sign import wrong_sign
from danlu.doctor.findings.model.bad_init import bad_init
from danlu.doctor.findings.model.loss_mismatch import loss_mismatch
from danlu.doctor.instruments.input_derivatives import is_differentiated
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.graph import last_activation
from danlu.doctor.script.program import ProgramDoctor


def found_in(program: Callable[[], None]) -> dict[str, str]:
    """Codes of the errors and warnings of a program, with their places."""
    torch.manual_seed(0)
    with ProgramDoctor(say=lambda line: None) as doctor:
        program()
    return {one.code: str(one.where) for one in doctor.findings if one.severity != "note"}


def ledger_of(*facts: tuple) -> Ledger:
    ledger = Ledger()
    for fact in facts:
        ledger.add(*fact)
    return ledger


# Programs without a module.


def tensors_only(held: Callable[[Tensor, Tensor], list[Tensor]]) -> None:
    x, y = torch.randn(64, 20), torch.randn(64, 3)
    w1, w2 = ((torch.randn(*shape) * 0.1).requires_grad_() for shape in ((20, 10), (10, 3)))
    optimizer = torch.optim.Adam(held(w1, w2), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).mean().backward()
        optimizer.step()


def test_tensors_without_a_module_are_watched_and_the_forgotten_one_is_named() -> None:
    assert found_in(lambda: tensors_only(lambda w1, w2: [w2])) == {"loop.params_not_in_optimizer": "w1"}
    assert not found_in(lambda: tensors_only(lambda w1, w2: [w1, w2]))


def by_hand(clears: bool) -> None:
    x = torch.linspace(-1, 1, 50)
    y, w, b = 2 * x + 1, torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(80):
        (w * x + b - y).square().mean().backward()
        with torch.no_grad():
            for p in (w, b):
                assert p.grad is not None
                p.sub_(0.01 * p.grad)
                if clears:
                    p.grad.zero_()


def test_gradients_that_an_update_by_hand_leaves_are_found() -> None:
    assert "loop.missing_zero_grad" in found_in(lambda: by_hand(False))
    assert not found_in(lambda: by_hand(True))


def beside_a_model(held: bool, moved: bool = False) -> dict[str, str]:
    torch.manual_seed(0)
    x, y, model = torch.randn(96, 6), torch.randn(96, 1), nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    mixing = (torch.randn(6, 4) * 0.3).requires_grad_()
    optimizer = torch.optim.Adam([*model.parameters(), *([mixing] if held else [])], lr=1e-2)
    with danlu.watch(model, optimizer, quiet=True) as doctor:
        for rows in torch.randint(96, (40, 32)):
            optimizer.zero_grad()
            F.mse_loss(model(x[rows] @ mixing), y[rows]).backward()
            optimizer.step()
            if moved:
                with torch.no_grad():
                    mixing -= 0.01 * mixing.grad
                mixing.grad = None
    return {one.code: str(one.where) for one in doctor.findings if one.severity != "note"}


def test_a_weight_beside_the_model_that_no_optimiser_holds() -> None:
    assert beside_a_model(held=False)["model.unregistered"] == "mixing"
    assert "model.unregistered" not in beside_a_model(held=True)
    assert "model.unregistered" not in beside_a_model(held=False, moved=True)  # the loop updates it itself


# Losses.


def test_the_activation_before_a_selection_of_rows_is_known() -> None:
    """As in a graph network whose loss counts the labelled nodes only."""
    scores = nn.Linear(4, 3)(torch.randn(10, 4))
    rows, mask = torch.tensor([1, 4, 5]), torch.arange(10) % 2 == 0
    for chosen in (lambda t: t[rows], lambda t: t[mask], lambda t: t.index_select(0, rows), lambda t: t.split(5)[0]):
        found = last_activation(chosen(scores.log_softmax(1)).grad_fn)
        assert found is not None
        assert found[0] == "log_softmax"
        assert last_activation(chosen(scores).grad_fn) is None


def test_inputs_after_a_few_operations_may_be_differentiated_and_those_of_a_model_are_not() -> None:
    leaf = torch.rand(8, 1, requires_grad=True)
    assert is_differentiated(leaf)
    assert is_differentiated(2 * leaf - 1)
    assert not is_differentiated(leaf.detach())
    assert not is_differentiated(nn.Linear(1, 1)(leaf))  # samples of a generator


@pytest.mark.parametrize("sign", [1, -1])
def test_a_binary_log_likelihood_that_is_minimised(sign: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(200, 4)
    y = (x.sum(1, keepdim=True) > 2).float()
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with danlu.watch(model, optimizer, quiet=True) as doctor:
        for _ in range(120):
            optimizer.zero_grad()
            p = model(x)
            (sign * (y * torch.log(p + 1e-6) + (1 - y) * torch.log(1 - p + 1e-6)).mean()).backward()
            optimizer.step()
    assert [one.evidence["fix"] for one in wrong_sign(doctor.ledger)] == (["likelihood"] if sign == 1 else [])


@pytest.mark.parametrize(("low", "high", "found"), [(0, 2, True), (1, 5, False), (3, 8, False)])
def test_ratings_are_no_class_numbers(low: int, high: int, found: bool) -> None:
    ledger = ledger_of(
        ("loss.kind", "mse"),
        ("output.count", 1),
        ("target.kind", "values"),
        ("target.whole", 1),
        ("target.distinct", high - low + 1),
        ("batch.size", 64),
        ("target.min", low, "train", 1),
        ("target.max", high, "train", 1),
    )
    assert bool(list(loss_mismatch(ledger))) is found


def test_pixels_of_an_autoencoder_that_are_not_scaled_are_a_matter_of_range() -> None:
    facts = [("loss.kind", "bce_logits"), ("target.kind", "values"), ("target.distinct", 17), ("output.count", 64)]
    facts += [("target.min", 0.0, "train", 1), ("target.max", 16.0, "train", 1), ("target.shape", [32, 64])]
    ledger = ledger_of(*facts, ("input.shape", [32, 64]))
    assert not list(loss_mismatch(ledger))
    assert [one.evidence["fix"] for one in label_range(ledger)] == ["scale"]
    assert list(loss_mismatch(ledger_of(*facts, ("input.shape", [32, 8]))))


# Loops that validate rarely or never.


def test_validating_less_often_than_once_per_pass_repeats_no_samples() -> None:
    facts = [("run.epoch_by", "validation"), ("input.dtype", "torch.float32"), ("run.steps", 100, "", 1)]
    facts += [("input.repeated", 0.3, "train", epoch) for epoch in (1, 2)]
    facts += [("input.hashed", 1500, "train", epoch) for epoch in (1, 2)]
    assert list(duplicates(ledger_of(*facts, ("input.before_repeat", 20, "", 1))))
    assert not list(duplicates(ledger_of(*facts, ("input.before_repeat", 1500, "", 1))))


@pytest.mark.parametrize(("gamma", "found"), [(0.9, True), (0.995, False)])
def test_a_learning_rate_near_zero_in_most_steps_without_epochs(gamma: float, found: bool) -> None:
    ledger = ledger_of(*(("loss.step", 1.0, "", step) for step in range(1, 501)), ("run.steps", 500, "", 1))
    for step in range(1, 501):
        ledger.add("optimizer.lr", 0.1 * gamma**step, "g", step)
    assert [one.evidence["fix"] for one in scheduler_misuse(ledger)] == (["per_epoch"] if found else [])


def test_a_loss_that_falls_along_a_line_has_not_arrived() -> None:
    from danlu.doctor.derived.progress import falls_until_end

    steady = [2.3 - 0.008 * i for i in range(16)]
    settled = [2.3 - 0.12 * (1 - math.exp(-i / 2)) for i in range(16)]
    assert falls_until_end(run_of_losses(steady))
    assert not falls_until_end(run_of_losses(settled))


def test_all_weights_constant_is_a_bad_start_even_in_two_layers() -> None:
    facts: list[tuple] = []
    for order, name in enumerate(("a.weight", "b.weight")):
        facts += [("parameter.role", "weight", name), ("parameter.order", order, name)]
        facts += [("parameter.size", 64, name), ("parameter.shape", [8, 8], name), ("parameter.mean", 0.0, name)]
    hidden = [*facts, ("parameter.constant", 1, "a.weight")]
    assert [one.severity for one in bad_init(ledger_of(*hidden, ("parameter.constant", 1, "b.weight")))] == ["error"]
    assert not list(bad_init(ledger_of(*facts, ("parameter.constant", 1, "b.weight"))))  # an output may start at zero


@pytest.mark.parametrize(("update", "severity"), [(0.002, "error"), (0.2, "warning")])
def test_labels_are_judged_with_less_certainty_after_steps_of_an_unusual_length(update: float, severity: str) -> None:
    ledger = ledger_of(*(("update.ratio", update, "", step) for step in range(1, 7)))
    for epoch in range(1, 7):
        ledger.add("accuracy.mean", 0.5, "train", epoch)
        ledger.add("accuracy.mean", 0.26, "val", epoch)
        ledger.add("loss.mean", 1.3 - 0.02 * epoch, "train", epoch)
        ledger.add("loss.mean", 1.4 + 0.1 * epoch, "val", epoch)
        ledger.add("class.actual", [0.25] * 4, "val", epoch)
        ledger.add("class.actual", [0.25] * 4, "train", epoch)
    ledger.add("loss.kind", "cross_entropy")
    ledger.add("output.count", 4)
    assert [one.severity for one in labels_shuffled(ledger)] == [severity]
