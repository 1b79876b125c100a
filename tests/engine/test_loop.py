"""The training loop: stopping, best weights, averaging, clipping, schedules and records."""

import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console
from safetensors.torch import load_file

import danlu
from danlu.config import Config, with_values
from danlu.data.batches import Batches, Columns
from danlu.engine.device import make_fabric
from danlu.engine.display import Display, RecentSpeed
from danlu.engine.loop import Progress, Totals, Watcher, fit, train_epoch
from danlu.preparation.assemble import make_plan
from danlu.preparation.prepare import prepare
from danlu.run.quantities import VOCABULARY
from danlu.run.record import Record
from danlu.task_spec import TASKS

QUICK = {
    "model": "mlp",
    "model.width": (32,),
    "augment": "none",
    "precision": "fp32",
    "channels_last": False,
    "device": "cpu",
    "data.limit": 200,
    "batch_size": 20,
}


def train(tmp_path, **settings):
    settings = QUICK | {"epochs": 3, "out": str(tmp_path / "run")} | settings
    return danlu.train("digits", console=Console(quiet=True), **settings)


def plan_of(**settings):
    """A training that is ready to start, and the pieces of it."""
    prepared = prepare(with_values(Config(), {"data.path": "digits", "epochs": 3} | QUICK | settings))
    fabric = make_fabric(prepared.device)
    fabric.launch()
    return make_plan(prepared, fabric)


def fitted(plan, *watchers):
    progress, record = Progress(), Record()
    fit(plan, progress, record, list(watchers), lambda: None)
    return progress, record


class Steps(Watcher):
    """Notes something after every batch."""

    def __init__(self, note):
        self.note, self.noted = note, []

    def on_batch(self, plan, progress, parts):
        self.noted.append(self.note(plan, progress, parts))


@pytest.mark.parametrize("last", ["keep", "drop", "carry"])
def test_means_are_weighted_by_the_true_number_of_samples(last):
    """Claim B3: whatever becomes of the last batch, the figure is the mean over the samples that took part."""
    n = 23
    values = torch.randn(n, 1, generator=torch.Generator().manual_seed(0)).exp()
    batches = Batches(
        values, values, torch.arange(n), batch_size=5, transform=Columns(), seed=0, last=last, accumulate=2
    )
    for epoch in range(3):
        totals, used = Totals({}, 0), []
        for batch in batches.epoch(epoch):
            totals.add({"loss": batch.inputs.mean()}, batch)
            used += batch.index.tolist()
        found = totals.means(Fabric(accelerator="cpu", devices=1))
        assert found["loss"] == pytest.approx(values[used].mean().item(), rel=1e-6)
        assert totals.samples == len(used) == {"keep": 23, "drop": 20}.get(last, 5 * batches.length(epoch))


def test_the_means_of_an_epoch_are_those_of_its_batches():
    plan = plan_of(**{"batch_size": 32, "epochs": 1})
    steps = Steps(lambda plan, progress, parts: (parts["loss"].item(), parts["accuracy"].item()))
    _, record = fitted(plan, steps)
    sizes = np.array([32] * 6 + [8])
    row = record.of("epoch")[0]
    losses, accuracies = np.array(steps.noted).T
    assert row["train.loss"] == pytest.approx((losses * sizes).sum() / 200, rel=1e-6)
    assert row["train.accuracy"] == pytest.approx((accuracies * sizes).sum() / 200, rel=1e-6)


def test_the_speed_of_an_epoch_is_its_own_not_that_since_the_start():
    plan = plan_of()
    steps = Steps(lambda plan, progress, parts: (progress.epoch, progress.seconds))
    plan.module.register_forward_pre_hook(lambda *_: time.sleep(0.05 if len(steps.noted) < 10 else 0))
    _, record = fitted(plan, steps)
    ends = [max(seconds for epoch, seconds in steps.noted if epoch == number) for number in range(3)]
    samples = plan.train.samples
    speeds = [row["samples_per_second"] for row in record.of("epoch")]
    assert speeds == pytest.approx([samples / (end - begin) for begin, end in zip([0.0, *ends], ends)])
    assert speeds[0] <= 20 / 0.05  # batches of 20, each slowed down
    assert speeds[1] > samples / ends[1]


@pytest.mark.parametrize("stop_at", [3, 8])
def test_the_speed_of_a_resumed_epoch_is_that_of_its_remaining_batches(stop_at):
    plan = plan_of(epochs=1)
    progress, record = Progress(), Record()
    plan.module.register_forward_pre_hook(lambda *_: time.sleep(0.05 if progress.batch < stop_at else 0))
    fit(plan, progress, record, [], lambda: "stopped" if progress.batch == stop_at else None)
    assert progress.stopped == "stopped"
    assert not record.of("epoch")
    before, progress.stopped = progress.seconds, None
    fit(plan, progress, record, [], lambda: None)
    remaining = plan.train.samples - 20 * stop_at
    assert record.of("epoch")[0]["samples_per_second"] == pytest.approx(remaining / (progress.seconds - before))


def test_the_speed_of_an_epoch_resumed_after_its_last_batch_is_the_mean_so_far():
    plan = plan_of(epochs=1)
    progress, record = Progress(), Record()
    means = train_epoch(plan, progress, record, [], lambda: None)
    progress.totals, progress.samples = {name: mean * 100 for name, mean in means.items()}, 100
    seconds = progress.seconds
    fit(plan, progress, record, [], lambda: None)
    assert record.of("epoch")[0]["samples_per_second"] == pytest.approx(plan.train.samples / seconds)


def test_the_speed_in_a_summary_is_the_mean_over_the_training(tmp_path):
    run = train(tmp_path)
    rows = run.record.of("epoch")
    seconds = sum(1.0 / row["samples_per_second"] for row in rows)  # for one sample in each epoch
    assert run.summary.samples_per_second == pytest.approx(len(rows) / seconds)
    assert min(row["samples_per_second"] for row in rows) <= run.summary.samples_per_second


def test_the_displayed_speed_is_that_of_the_last_seconds():
    speed = RecentSpeed(window=2.0)
    assert speed.add(1000, 50.0) is None  # a resumed training
    assert speed.add(1010, 51.0) == pytest.approx(10)
    for second in range(1, 11):
        shown = speed.add(1010 + 100 * second, 51.0 + second)
    assert shown == pytest.approx(100)
    assert speed.add(2010, 91.0) == pytest.approx(0)  # one pause longer than the window


def test_the_line_of_an_epoch_has_the_monitored_metric_and_counts_the_time_of_validation():
    lines = []
    display = Display(Console(quiet=True), lines.append)
    plan = SimpleNamespace(epochs=10, val=None, task=SimpleNamespace(spec=TASKS["pose"]))
    row = {"train.loss": 1.0, "val.loss": 2.0, "val.add_s_01d": 0.5, "val.mssd": 0.4, "lr": 0.1, "seconds": 100.0}
    display.on_epoch(plan, Progress(epoch=2, seconds=10.0), row | {"samples_per_second": 7.0}, False)
    assert "val loss 2.0000 add_s_01d 0.5000  lr" in lines[0]
    assert lines[0].endswith("6 min 40 s left")  # 8 epochs of 50 s


def test_a_long_first_epoch_is_not_silent_where_there_is_no_terminal(monkeypatch):
    lines, clock = [], [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    display = Display(Console(quiet=True), lines.append)
    plan = SimpleNamespace(epochs=4, train=SimpleNamespace(length=lambda epoch: 100))
    clock[0] = 60.0  # the preparation
    display.on_start(plan, Progress())
    for batch in range(1, 61):  # one a second
        clock[0] += 1.0
        display.on_batch(plan, Progress(batch=batch, seconds=float(batch)), {"loss": torch.tensor(0.5)})
    assert [line.split("  ")[1] for line in lines] == ["batch 2/100", "batch 32/100"]
    assert lines[0] == "epoch 1/4  batch 2/100  loss 0.5000  6 min 38 s left"


@pytest.mark.parametrize("spec", TASKS.values(), ids=TASKS)
def test_every_task_shows_the_metric_that_selects_its_weights(spec):
    assert spec.monitor in spec.shown
    assert set(spec.shown) <= set(spec.metrics)


def test_patience_ends_a_training_and_the_best_weights_stay(tmp_path):
    enough = {"data.limit": 400, "val": 120}  # samples: the metric is not smoothed
    run = train(tmp_path, **{"epochs": 60, "regularise.patience": 3, "optimizer": "sgd", "lr": 1.0}, **enough)
    rows = run.record.of("epoch")
    accuracy = [row["val.accuracy"] for row in rows]
    best = int(np.argmax(accuracy)) + 1
    assert run.summary["stopped"] == "no better accuracy for 3 epochs"
    assert len(rows) == best + 3 < 60
    assert run.summary["best_epoch"] == best
    assert run.summary["metrics"]["val"]["accuracy"] == accuracy[best - 1]
    # The file holds the weights of that epoch: they give that epoch's figures again.
    again = danlu.evaluate(run, part="val")
    for name, value in again["metrics"]["val"].items():
        if name != "ece":  # of confidences scaled by a temperature, which is fitted when the training has ended
            assert value == pytest.approx(rows[best - 1][f"val.{name}"], abs=1e-6)
    last = danlu.evaluate(run, part="val", weights="last")
    assert last["metrics"]["val"]["loss"] == pytest.approx(rows[-1]["val.loss"], abs=1e-6)


def test_without_validation_the_last_weights_are_the_best(tmp_path):
    run = train(tmp_path, val=0)
    best, last = load_file(run.weights("best")), load_file(run.weights("last"))
    assert all(torch.equal(best[name], last[name]) for name in last)
    assert run.summary["best_epoch"] == 3
    assert run.summary["metrics"]["val"] == {}


def test_a_loss_that_is_not_finite_stops_with_one_sentence(tmp_path):
    with pytest.raises(danlu.Failure, match=r"the training loss is (nan|inf) at step \d+ of epoch 1; lower lr, clip"):
        train(tmp_path, lr=1e12, optimizer="sgd")


def test_the_average_of_the_weights_is_what_is_evaluated_and_kept():
    plan = plan_of(**{"optim.ema": 0.9, "optimizer": "sgd", "lr": 0.3, "model.norm": "batch"})
    decay = [min(0.9, n / (n + 9)) for n in range(1, 31)]
    start = [p.detach().clone() for p in plan.module.parameters()]
    steps = Steps(lambda plan, *_: [p.detach().clone() for p in plan.module.parameters()])
    _, record = fitted(plan, steps)
    for place, average in enumerate(plan.average.model.parameters()):
        wanted = start[place]
        for factor, now in zip(decay, steps.noted, strict=True):
            wanted = factor * wanted + (1 - factor) * now[place]
        torch.testing.assert_close(average, wanted)
    inputs = torch.cat([batch.inputs for batch in plan.val.epoch()])
    targets = torch.cat([batch.targets for batch in plan.val.epoch()])
    by_average = (plan.average.model(inputs).argmax(1) == targets).float().mean().item()
    assert record.of("epoch")[-1]["val.accuracy"] == pytest.approx(by_average)


@pytest.mark.parametrize(("key", "size"), [("optim.clip_norm", 0.01), ("optim.clip_value", 0.001)])
def test_gradients_are_clipped_between_backward_and_step(key, size):
    """By plain gradient descent at rate 1 a step is the gradient itself."""
    settings = {"optimizer": "sgd", "lr": 1.0, "schedule": "constant", "optim.weight_decay": 0, "epochs": 1}
    plan = plan_of(**settings, **{key: size})
    before = [torch.cat([p.detach().flatten().clone() for p in plan.module.parameters()])]
    steps = Steps(lambda plan, *_: torch.cat([p.detach().flatten().clone() for p in plan.module.parameters()]))
    fitted(plan, steps)
    taken = torch.stack([b - a for a, b in zip(before + steps.noted, steps.noted, strict=False)])
    found = taken.norm(dim=1) if key == "optim.clip_norm" else taken.abs().amax(1)
    torch.testing.assert_close(found, torch.full((10,), size), rtol=1e-3, atol=1e-5)


def test_accumulated_batches_make_the_step_of_one_large_batch():
    settings = {"optimizer": "sgd", "lr": 0.1, "schedule": "constant", "data.limit": 190}
    weights = []
    for more in ({"batch_size": 60}, {"batch_size": 20, "optim.accumulate": 3}):
        plan = plan_of(**settings, **more)
        progress, _ = fitted(plan)
        assert progress.step == 3 * 4
        weights.append([p.detach() for p in plan.module.parameters()])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_a_schedule_ends_at_its_floor(schedule):
    plan = plan_of(**{"schedule": schedule, "schedule.floor": 0.1, "lr": 0.01, "schedule.warmup": 0.5})
    steps = Steps(lambda plan, *_: plan.optimizer.param_groups[0]["lr"])
    _, record = fitted(plan, steps)
    assert len(steps.noted) == 30
    assert max(steps.noted) == pytest.approx(0.01, rel=0.1)
    assert 0.001 <= steps.noted[-1] < 0.0012
    assert plan.schedule(30) == pytest.approx(0.1)
    assert [row["lr"] for row in record.of("epoch")] == steps.noted[9::10]


def test_plateau_reduces_the_lr_when_validation_stalls():
    settings = {"schedule": "plateau", "schedule.patience": 1, "schedule.factor": 0.5, "optimizer": "sgd", "lr": 1.5}
    plan = plan_of(**settings, epochs=12)
    _, record = fitted(plan)
    rows = record.of("epoch")
    factor, best = 1.0, math.inf
    for row in rows:
        assert row["lr"] == pytest.approx(1.5 * factor)
        if row["val.loss"] < best:
            best = row["val.loss"]
        else:
            factor *= 0.5
    assert factor < 1


@pytest.mark.parametrize(("when", "rates"), [("early", [0.5, 0, 0]), ("late", [0, 0.5, 0.5]), ("always", [0.5] * 3)])
def test_dropout_is_active_in_training_only(when, rates):
    plan = plan_of(**{"model.dropout": 0.5, "regularise.dropout_when": when, "regularise.dropout_until": 1 / 3})
    steps = Steps(lambda plan, *_: next(m.p for m in plan.module.modules() if isinstance(m, torch.nn.Dropout)))
    fitted(plan, steps)
    assert steps.noted[9::10] == rates


def test_the_record_bears_the_names_of_the_vocabulary(tmp_path):
    run = train(tmp_path, log_every=4)
    rows = run.record.rows
    for row in rows:
        assert {*row} - {"kind", "epoch", "step"} <= {*VOCABULARY}
        assert all(isinstance(row[name], int | float) for name in row if name != "kind")
    assert [row["step"] for row in run.record.of("step")] == [4, 8, 12, 16, 20, 24, 28]
    assert [(row["epoch"], row["step"]) for row in run.record.of("epoch")] == [(1, 10), (2, 20), (3, 30)]
    wanted = {f"{split}.{name}" for split in ("train", "val") for name in ("loss", "accuracy")} | {"lr", "seconds"}
    assert wanted <= {*run.record.of("epoch")[0]}
    seconds = [row["seconds"] for row in run.record.of("epoch")]
    assert seconds == sorted(seconds)


def test_a_training_leaves_the_whole_run_folder(tmp_path):
    run = train(tmp_path)
    wanted = "config.yaml choices.json environment.json metrics.jsonl summary.json findings.json report.html log.txt"
    assert {*wanted.split()} <= {path.name for path in run.folder.iterdir()}
    assert "<html" in run.report.read_text()
    assert not list(run.folder.rglob("*.part"))


@pytest.mark.parametrize("precision", ["bf16"])
def test_lower_precision_learns_as_well(precision, tmp_path):
    run = train(tmp_path, **{"precision": precision, "epochs": 8, "data.limit": 600})
    assert run.summary["metrics"]["test"]["accuracy"] > 0.8
    assert all(tensor.dtype == torch.float32 for tensor in load_file(run.weights()).values())
