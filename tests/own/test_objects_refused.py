"""Networks, losses, optimisers and callbacks that a training cannot use, and those that nearly fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import danlu
from danlu.own.callbacks import OwnCallbacks
from danlu.own.collect import collect
from danlu.refuse import Failure, Refusal

torch.manual_seed(0)
X = torch.randn(48, 1, 4, 4)
Y = (X.mean((1, 2, 3)) > 0).long()


class Net(nn.Module):
    """A network that returns what `wrap` makes of its scores."""

    def __init__(self, wrap: Any = lambda scores: scores) -> None:
        super().__init__()
        self.body, self.head, self.wrap = nn.Linear(16, 4), nn.Linear(4, 2), wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.head(F.relu(self.body(x.flatten(1)))))


def test_outputs_with_logits_are_taken(train: Any) -> None:
    run = train((X, Y), model=Net(lambda scores: {"logits": scores, "mean": scores.mean()}))
    assert len(run.predict(X[0].numpy())) == 1
    assert danlu.load(run, model=Net(lambda scores: {"logits": scores})).evaluate((X, Y))


class NeedsClosure(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        assert closure is not None, "two passes"
        return super().step(closure)


def forgets(state: Any) -> None:
    state.metrics["val_loss"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": Net(lambda scores: (scores, scores))}, "one tensor .*, got 'tuple'; return one of its tensors"),
        ({"model": torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))}, "Sequential is a TorchScript"),
        (
            {"model": Net(lambda scores: {"logits": scores}), "loss": lambda outputs, _: outputs["logits"].mean()},
            "the loss gets 'logits' alone of the dict that the network returns",
        ),
        ({"model": Net().double()}, "its weights are float64: give model.float"),
        ({"loss": nn.CrossEntropyLoss(reduction="sum")}, "CrossEntropyLoss adds up the samples"),
        ({"optimizer": NeedsClosure}, "NeedsClosure fails in a step: AssertionError: two passes"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS needs the loss several times"),
        ({"optimizer": torch.optim.SparseAdam}, "SparseAdam fails in a step"),
        ({"optimizer": lambda m: torch.optim.SGD(m.parameters(), 0.1)}, "a parameter called model gets the network"),
        ({"optimizer": lambda model: torch.optim.SGD(model.neck.parameters(), 0.1)}, "fails on the network"),
        ({"callbacks": lambda: None}, "or a function f.state."),
        ({"train_loader": 1}, "did you mean 'data'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_what_cannot_be_used_is_refused_before_the_training(train: Any, settings: Any, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        train((X, Y), **({"model": Net()} | settings))


def test_integers_for_a_network_of_floats(train: Any) -> None:
    with pytest.raises(Refusal, match="give the inputs as float32"):
        train(((X * 9).long(), Y), model=Net())


def test_an_optimiser_that_exists_and_needs_a_closure() -> None:
    model = Net()
    for kind in (torch.optim.LBFGS, NeedsClosure):
        with pytest.raises(Refusal, match=r"needs the loss several times|fails in a step"):
            collect({"model": model, "optimizer": kind(model.parameters(), lr=0.1)})


def test_a_function_of_the_network_may_use_its_layers(train: Any) -> None:
    def parts(model: Net) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": model.body.parameters(), "lr": 0.1}, {"params": model.head.parameters()}], 1)

    assert train((X, Y), model=Net(), optimizer=parts).config.optim.name == "own:parts"
    assert train((X, Y), model=lambda classes: Net(), optimizer=parts).config.optim.name == "own:parts"


def test_a_callback_that_fails_is_named(train: Any) -> None:
    with pytest.raises(Failure, match=r"callback forgets fails in on_epoch_end .*; did you mean 'val.loss'") as failed:
        train((X, Y), model=Net(), callbacks=forgets)
    assert isinstance(failed.value.__cause__, KeyError)


class OfAnotherLibrary:
    def on_train_start(self, trainer: Any, module: Any) -> None: ...
    def on_train_batch_start(self, trainer: Any) -> None: ...
    def on_after_backward(self, trainer: Any) -> None: ...
    def on_before_zero_grad(self, trainer: Any) -> None: ...


def test_callbacks_of_another_library() -> None:
    with pytest.raises(Refusal, match=r"unknown moment .*; known are on_train_start"):
        OwnCallbacks(OfAnotherLibrary())


def test_the_device_may_be_an_object(train: Any) -> None:
    assert train((X, Y), model=Net(), device=torch.device("cpu")).config.device == "cpu"


def test_integers_as_floats_are_told() -> None:
    from danlu.config import DataConfig
    from danlu.own.data import open_data

    dataset, _ = open_data((X, Y.float()), None, None, DataConfig(), None, raw=True)
    assert (dataset.task, len(dataset.notes)) == ("regress", 1)
    assert "task='classify'" in dataset.notes[0]
