"""Networks, losses, optimisers, schedulers, metrics and callbacks of the user, against torch's own results."""

from __future__ import annotations

import copy
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score, f1_score
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torchvision.transforms import v2

import danlu
from danlu.data.batches import Columns
from danlu.models.spec import NetworkFacts
from danlu.own.callbacks import OwnCallbacks
from danlu.own.collect import collect
from danlu.own.metrics import OwnMetrics
from danlu.own.model import network_spec
from danlu.own.naming import check_sendable
from danlu.own.scheduler import OwnScheduler
from danlu.own.transform import OwnTransform
from danlu.refuse import Refusal
from danlu.user_objects import UserObjects, resume_command, using

torch.manual_seed(0)
X = torch.randn(96, 1, 8, 8)
Y = (X.mean((1, 2, 3)) > 0).long()


def net(outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, outputs))


FACTS = NetworkFacts(classes=3, shape=(1, 8, 8), channels=1, size=8)


def test_full_batches_give_the_weights_of_a_loop_by_hand(train: Any) -> None:
    """Plain SGD on full batches does not depend on the order of samples."""
    mine, theirs = net(), copy.deepcopy(net())
    run = train(
        ((X, Y), (X[:10], Y[:10])), model=mine, loss=F.cross_entropy, optimizer=torch.optim.SGD, schedule="constant",
        lr=0.5, batch_size=len(X), epochs=3,
    )  # fmt: skip
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(theirs(X), Y).backward()
        optimizer.step()
    last = danlu.load(run, "last", model=mine).model
    for trained, by_hand, given in zip(last.parameters(), theirs.parameters(), mine.parameters()):
        torch.testing.assert_close(trained, by_hand, rtol=1e-4, atol=1e-6)
        assert not torch.equal(trained, given)  # the user's module is not changed


@pytest.mark.parametrize(
    ("build", "given"),
    [
        (lambda classes: nn.Linear(1, classes), (1, 3)),
        (lambda num_classes, in_channels: nn.Conv2d(in_channels, num_classes, 1), (3, 1, 1, 1)),
        (lambda classes, channels=7, size=7: nn.Linear(channels * size, classes), (3, 8)),
        (lambda n=5: nn.Linear(1, n), (5, 1)),
        (lambda shape, **more: nn.Linear(shape[-1], more["num_classes"]), (3, 8)),
        (partial(lambda depth, classes: nn.Linear(2 * depth, classes), depth=4), (3, 8)),
    ],
)
def test_builders_get_what_they_name(build: Any, given: tuple[int, ...]) -> None:
    parameter = next(network_spec(build).build(FACTS).parameters())
    assert tuple(parameter.shape) in (given, given[::-1])


SCHEDULERS = [
    (lr_scheduler.CosineAnnealingLR, False, lambda o: lr_scheduler.CosineAnnealingLR(o, 4)),
    (partial(lr_scheduler.StepLR, step_size=1, gamma=0.5), False, lambda o: lr_scheduler.StepLR(o, 1, 0.5)),
    (lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9), False, lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    (
        lr_scheduler.OneCycleLR,
        True,
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20, cycle_momentum=False),
    ),
    (
        lambda optimizer, total_steps: lr_scheduler.LambdaLR(optimizer, lambda k: 1 - k / total_steps),
        True,
        lambda o: lr_scheduler.LambdaLR(o, lambda k: 1 - k / 20),
    ),
]


@pytest.mark.parametrize(("given", "per_step", "torchs"), SCHEDULERS)
def test_schedulers_equal_torchs_in_any_order_of_steps(given: Any, per_step: bool, torchs: Any) -> None:
    factor = OwnScheduler(given)(4, 5, 0.1)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    scheduler, expected = torchs(optimizer), []
    for step in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if per_step or step % 5 == 4:
            scheduler.step()
    assert factor(13) == pytest.approx(expected[13] / 0.1)  # as a resumed run asks
    assert [factor(step) * 0.1 for step in range(20)] == pytest.approx(expected)


def test_an_optimiser_of_the_users_module_moves_to_the_copy(train: Any) -> None:
    model = net()
    slow, fast = model[1].parameters(), model[3].parameters()
    optimizer = torch.optim.SGD([{"params": slow, "lr": 0.01}, {"params": fast}], lr=0.1, momentum=0.8)
    rates = []
    run = train(
        (X, Y), model=model, optimizer=optimizer, schedule="constant",
        callbacks=lambda state: rates.append([(g["lr"], g["momentum"]) for g in state.optimizer.param_groups]),
    )  # fmt: skip
    assert rates == [[(0.01, 0.8), (0.1, 0.8)]]
    assert run.config.optim.lr == 0.1


def test_metrics_equal_those_of_scikit_learn() -> None:
    outputs, targets = torch.randn(50, 3), torch.arange(50) % 3
    predicted, scores = outputs.argmax(1), outputs.softmax(1)
    metrics = OwnMetrics([balanced_accuracy_score, partial(f1_score, average="macro"), lambda o, t: o.mean()])
    found = metrics(outputs, targets, predicted, scores)
    assert found["balanced_accuracy_score"] == balanced_accuracy_score(targets, predicted)
    assert found["f1_score"] == f1_score(targets, predicted, average="macro")
    assert found["lambda"] == pytest.approx(outputs.mean().item())


def test_torchmetrics() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    outputs, targets = torch.randn(50, 3), torch.arange(50) % 3
    accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=3, average="micro")
    collection = torchmetrics.MetricCollection({"acc": accuracy})
    arguments = outputs, targets, outputs.argmax(1), outputs.softmax(1)
    right = (outputs.argmax(1) == targets).float().mean().item()
    assert OwnMetrics(accuracy)(*arguments)["MulticlassAccuracy"] == pytest.approx(right)
    assert OwnMetrics(collection)(*arguments)["acc"] == pytest.approx(right)


def test_a_metric_with_the_name_of_danlus_own() -> None:
    def accuracy(outputs: Tensor, targets: Tensor) -> float:
        return 0.5

    assert list(OwnMetrics(accuracy).functions) == ["own_accuracy"]
    with pytest.raises(Refusal, match="has the name of one of danlu's own"):
        OwnMetrics({"accuracy": accuracy})


def test_callbacks_are_called_in_order_and_can_stop(train: Any) -> None:
    class Moments(danlu.Callback):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def __getattribute__(self, name: str) -> Any:
            if name.startswith("on_"):
                object.__getattribute__(self, "seen").append(name)
            return object.__getattribute__(self, name)

        def on_epoch_end(self, state: danlu.TrainingState) -> None:
            assert state.metrics["val.accuracy"] <= 1
            assert re.match(r"TrainingState\(\w+, epoch \d of 5, step \d+, train.loss=[^\n]*\)$", repr(state))
            if state.epoch == 2:
                state.stop("enough")

    moments = Moments()
    run = train((X, Y), model=net(), callbacks=moments, epochs=5, batch_size=64)
    epoch = ["on_batch_end"] * 2 + ["on_validation_end", "on_epoch_end"]
    assert moments.seen[-2 * len(epoch) - 2 :] == ["on_train_start", *epoch, *epoch, "on_train_end"]
    assert (run.summary.epochs, run.summary.stopped) == (2, "enough")


def test_transform_of_uint8_is_for_training_and_of_floats_for_all() -> None:
    image = torch.randint(0, 256, (1, 4, 4), dtype=torch.uint8)
    flip = OwnTransform(v2.RandomHorizontalFlip(1.0))
    flip.fit(image)
    assert flip.of(training=True)(image, 0).equal(image.flip(2))
    assert flip.of(training=False) is None
    whole = OwnTransform(v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]))
    whole.fit(image)
    for training in (True, False):
        torch.testing.assert_close(whole.of(training)(image, 0), image / 255)
    both = OwnTransform((v2.RandomHorizontalFlip(), lambda x: x))
    both.fit(image)
    assert both.of(training=False)(image, 0).equal(image)


def test_random_numbers_of_a_transform_depend_on_the_sample_alone() -> None:
    """Batches of other sizes, and other processes, see the same images."""
    transform = OwnTransform(lambda x: x + torch.rand(1) + np.random.rand())  # noqa: NPY002
    source = torch.zeros(6, 2)
    transform.fit(source[0])
    applied = transform.apply(Columns(), training=True)
    draws = applied.draw(np.random.default_rng(0), 6)
    whole, _ = applied(source, None, torch.zeros(6), draws)
    part, _ = applied(source[2:4], None, torch.zeros(2), draws.rows(slice(2, 4)))
    assert torch.equal(whole[2:4], part)
    assert len(whole[:, 0].unique()) == 6


def test_albumentations() -> None:
    albumentations = pytest.importorskip("albumentations")
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    transform = OwnTransform(albumentations.Compose([albumentations.HorizontalFlip(p=1.0)]))
    transform.fit(image)
    assert transform.of(training=True)(image, 0).equal(image.flip(2))


def test_mixup_of_batches(train: Any) -> None:
    run = train((X, Y), model=net(), transform=v2.MixUp(num_classes=2))
    assert run.metrics.val.accuracy is not None


def test_a_lambda_cannot_be_sent_to_other_processes() -> None:
    with pytest.raises(Refusal, match="model lambda cannot be sent to the processes"):
        check_sendable(UserObjects(model=network_spec(lambda classes: net(2 * classes))))
    check_sendable(UserObjects(model=network_spec(net())))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": 3}, "model must be a network's name, an nn.Module or a function"),
        ({"model": nn.Flatten()}, "a network with parameters to train"),
        ({"model": lambda depth: net()}, "its parameter 'depth' has no default"),
        ({"model": "nofile.py:build"}, "FILE.py:NAME with an existing file"),
        ({"loss": 3}, "a loss's name or a function"),
        ({"loss": lambda a, b, c: 0}, "it requires a, b, c"),
        ({"optimizer": 3}, "an optimiser's name, class"),
        ({"optimizer": torch.optim.LBFGS}, "several times a step"),
        ({"optimizer": lambda parameters: None}, "returns an optimiser, got 'NoneType'"),
        ({"optimizer": torch.optim.SGD(net().parameters(), lr=0.1)}, "are not those of model="),
        ({"scheduler": lr_scheduler.ReduceLROnPlateau}, "use scheduler='plateau'"),
        ({"metrics": "accuracy"}, "got 'accuracy'; accuracy is measured without being asked for$"),
        ({"metrics": "kappa"}, "a function f\\(outputs, targets\\) or a torchmetrics metric, got 'kappa'$"),
        ({"metrics": nn.MSELoss}, "got a class; make an object of it: MSELoss\\(...\\)$"),
        ({"metrics": lambda a, b, c: 0}, "it requires a, b, c"),
        ({"transform": "flip"}, "a function of a sample"),
        ({"callbacks": 3}, "on_epoch_end"),
        ({"callbacks": type("C", (), {"on_epoch_ended": lambda self, state: 0})}, "did you mean 'on_epoch_end'"),
    ],
)
def test_objects_that_cannot_be_used_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence) as refused:
        collect(settings)
    assert "\n" not in str(refused.value)


def test_names_stand_for_objects_in_the_config() -> None:
    plain, objects = collect({"model": net(), "loss": nn.CrossEntropyLoss(), "optimizer": "adamw", "lr": 0.1})
    assert plain == {
        "model.name": "own:Sequential",
        "loss.name": "own:CrossEntropyLoss",
        "optimizer": "adamw",
        "lr": 0.1,
    }
    assert objects.loss.kind == "cross_entropy"
    assert OwnCallbacks([danlu.Callback()]).names == ("own:Callback",)


def test_the_command_that_resumes_a_run_names_its_objects() -> None:
    assert resume_command("train", "runs/3") == "danlu train --resume runs/3"
    _, objects = collect({"model": net(), "loss": F.mse_loss, "metrics": [f1_score, balanced_accuracy_score]})
    with using(objects):
        assert resume_command("train", "runs/3") == (
            "danlu train --resume runs/3 --model FILE.py:Sequential --loss FILE.py:mse_loss "
            "--metrics FILE.py:f1_score,FILE.py:balanced_accuracy_score"
        )
    with using(UserObjects(data=X)):
        assert resume_command("pretrain", "runs/3") == "danlu pretrain FILE.py:NAME --resume runs/3"
