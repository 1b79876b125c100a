"""Faults of the loop (omitted, repeated or misordered steps), of speed and of memory."""

# ruff: noqa: E501 - tables of cases, one per line
from __future__ import annotations

import copy
import time
from collections.abc import Iterator

import torch
from loop import Setup
from planting import Fault, on_loop, on_model
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR


class NoZeroGrad:
    def train_step(self, x: Tensor, y: Tensor):
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        loss.backward()
        self.optimizer.step()
        return loss, outputs


class ZeroGradOncePerEpoch(NoZeroGrad):
    def train_epoch(self):
        self.optimizer.zero_grad()
        return super().train_epoch()


class ClearedEachBatch:
    """Step every four batches, and clear the gradients before each batch: three of four are computed in vain."""

    batch = 0

    def train_step(self, x: Tensor, y: Tensor):
        self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        (loss / 4).backward()
        self.batch += 1
        if self.batch % 4 == 0:
            self.optimizer.step()
        return loss, outputs


class Negated:
    """Negate the loss, as for a reward."""

    def train_step(self, x: Tensor, y: Tensor):
        self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        (-loss).backward()
        self.optimizer.step()
        return loss, outputs


class NoStep:
    def train_step(self, x: Tensor, y: Tensor):
        self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        loss.backward()
        return loss, outputs


class NoBackward:
    def train_step(self, x: Tensor, y: Tensor):
        self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        self.optimizer.step()
        return loss, outputs


class ZeroGradBeforeStep:
    """Call zero_grad between backward and step: the step has no gradients."""

    def train_step(self, x: Tensor, y: Tensor):
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        loss.backward()
        self.optimizer.zero_grad()
        self.optimizer.step()
        return loss, outputs


class OtherTensors:
    """Give the optimiser the parameters of a copy."""

    def make_optimizer(self):
        return self.setup.optim.build(copy.deepcopy(self.model).parameters())


class OnlyTheHead:
    """Give the optimiser the last layer only."""

    def make_optimizer(self):
        return self.setup.optim.build(list(self.model.children())[-1].parameters())


class WithoutFirstLayer:
    """Leave the first layer with weights out of the optimiser."""

    def make_optimizer(self):
        first = next(layer for layer in self.model.modules() if isinstance(layer, (nn.Linear, nn.Conv2d)))
        missed = {id(parameter) for parameter in first.parameters()}
        return self.setup.optim.build(p for p in self.model.parameters() if id(p) not in missed)


class Recreated:
    """Create a new optimiser each epoch, which resets its momentum."""

    def train_epoch(self):
        lr = self.optimizer.param_groups[0]["lr"]
        self.optimizer = self.make_optimizer()
        self.optimizer.param_groups[0]["lr"] = lr
        return super().train_epoch()


class RecreatedEachStep:
    def train_step(self, x: Tensor, y: Tensor):
        self.optimizer = self.make_optimizer()
        return super().train_step(x, y)


class TrainInEval:
    """Call model.eval() instead of model.train(): no batch statistics and no dropout in training."""

    def begin_training(self):
        self.model.eval()


class ValidateInTrain:
    """Validate without model.eval()."""

    def begin_validation(self):
        pass


class KeepsGraph:
    """Sum losses without .item(): every graph of the epoch stays in memory."""

    def train_epoch(self):
        self.running = 0.0
        return super().train_epoch()

    def train_step(self, x: Tensor, y: Tensor):
        loss, outputs = super().train_step(x, y)
        self.running = self.running + loss
        return loss, outputs


class ValidationRecorded:
    """Validate without torch.no_grad()."""

    def validate(self):
        self.begin_validation()
        total, outputs_seen, targets_seen = 0.0, [], []
        for x, y in self.val_loader:
            outputs = self.model(x)
            total += self.loss_fn(outputs, y).item() * len(x)
            outputs_seen.append(outputs)
            targets_seen.append(y)
        return total / len(self.val_loader.x), self.score(torch.cat(outputs_seen), torch.cat(targets_seen))


class MeanOfMeans:
    """Average loss and score over batches although the last one is smaller."""

    def make_loaders(self):
        train, val = super().make_loaders()
        val.batch_size = last_of(len(val.x))
        return train, val

    def validate(self):
        self.begin_validation()
        losses, scores = [], []
        with torch.no_grad():
            for x, y in self.val_loader:
                outputs = self.model(x)
                losses.append(self.loss_fn(outputs, y).item())
                scores.append(self.score(outputs, y))
        return sum(losses) / len(losses), sum(scores) / len(scores)


class DividedByFullBatches(MeanOfMeans):
    """Divide correct predictions by batch size times number of batches."""

    def validate(self):
        self.begin_validation()
        total, right = 0.0, 0.0
        with torch.no_grad():
            for x, y in self.val_loader:
                outputs = self.model(x)
                total += self.loss_fn(outputs, y).item()
                right += self.score(outputs, y) * len(x)
        return total / len(self.val_loader), right / (self.val_loader.batch_size * len(self.val_loader))


def last_of(count: int) -> int:
    """Smallest batch size of at least 100 that leaves a small last batch."""
    return next(size for size in range(100, 200) if 0 < count % size <= size // 4)


def per_batch(setup: Setup, step: int) -> Setup:
    """Step a scheduler every batch that is meant to divide the lr by ten every `step` epochs."""
    return setup.but(schedule=lambda optimizer, epochs, batches: StepLR(optimizer, step), schedule_per="batch")


def per_epoch(setup: Setup, _: None) -> Setup:
    """Step a warm-up and cosine over all batches once per epoch: the lr stays in the warm-up."""

    def schedule(optimizer, epochs, batches):
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=setup.optim.lr, total_steps=epochs * batches, pct_start=0.3
        )

    return setup.but(schedule=schedule)


class StepBeforeOptimizer:
    """Call scheduler.step() before optimizer.step(): the first lr is never used."""

    def train_step(self, x: Tensor, y: Tensor):
        self.scheduler.step()
        return super().train_step(x, y)


def before_optimizer(setup: Setup, _: None) -> Setup:
    """Also step it per batch, so that the cosine repeats many times."""

    def schedule(optimizer, epochs, batches):
        return CosineAnnealingLR(optimizer, T_max=epochs)

    return on_loop(setup.but(schedule=schedule, schedule_per="never"), StepBeforeOptimizer)


class SlowLoader:
    """Loader that takes `wait` seconds per batch."""

    wait = 0.02

    def make_loaders(self):
        train, val = super().make_loaders()
        return Waiting(train, self.wait), val


class Waiting:
    def __init__(self, batches, wait: float) -> None:
        self.batches, self.wait, self.x = batches, wait, batches.x

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator:
        for batch in self.batches:
            time.sleep(self.wait)
            yield batch


def slow_loader(setup: Setup, wait: float) -> Setup:
    part = type("SlowLoader", (SlowLoader,), {"wait": wait})
    return on_loop(setup.but(epochs=3), part)


class OneByOne(nn.Module):
    """Run the model sample by sample: hundreds of tiny kernels."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.model(sample[None]) for sample in x])


def one_by_one(setup: Setup, _: None) -> Setup:
    return on_model(setup.but(epochs=4), OneByOne)


class ManySyncs:
    """Copy the norm of every parameter to the host in every step and log it with a pause."""

    def train_step(self, x: Tensor, y: Tensor):
        loss, outputs = super().train_step(x, y)
        self.log = [parameter.norm().item() for parameter in self.model.parameters()]
        time.sleep(0.01)
        return loss, outputs


class KeepsOutputs(nn.Module):
    """Append the features of every batch to a list."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seen = model, []

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.model(x)
        self.seen.append(outputs.detach().repeat(1, 100))
        return outputs


class KeepsBatches:
    """Keep every batch and its gradients in a list."""

    def train_step(self, x: Tensor, y: Tensor):
        loss, outputs = super().train_step(x, y)
        self.kept = getattr(self, "kept", [])
        self.kept.append((x, [p.grad.clone() for p in self.model.parameters()], torch.zeros(50_000).add(loss.item())))
        return loss, outputs


def part(cls: type):
    return lambda setup, _: on_loop(setup, cls)


def rate_of_zero(setup: Setup, _: None) -> Setup:
    return setup.but(
        schedule=lambda optimizer, epochs, batches: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.0)
    )


LOOP_FAULTS = [
    Fault("no zero_grad", "loop.missing_zero_grad", part(NoZeroGrad), proof="code"),
    Fault("zero_grad once per epoch", "loop.missing_zero_grad", part(ZeroGradOncePerEpoch), proof="code"),
    Fault("cleared before each micro-batch", "loop.gradients_discarded", part(ClearedEachBatch), proof="code"),
    Fault("minus before the loss", "loop.wrong_sign", part(Negated), proof="code"),
    Fault("no step", "loop.no_update", part(NoStep)),
    Fault("no backward", "loop.no_update", part(NoBackward)),
    Fault("zero_grad before step", "loop.no_update", part(ZeroGradBeforeStep)),
    Fault("rate of zero", "loop.no_update", rate_of_zero),
    Fault("optimiser of a copy", "loop.no_update", part(OtherTensors), also=("loop.params_not_in_optimizer",)),
    Fault("only the head", "loop.params_not_in_optimizer", part(OnlyTheHead), needs="mlp|conv", proof="code"),
    Fault("first layer left out", "loop.params_not_in_optimizer", part(WithoutFirstLayer), proof="code"),
    Fault("recreated each epoch", "loop.optimizer_recreated", part(Recreated), needs="momentum|adam|adamw", proof="code"),
    Fault("recreated each step", "loop.optimizer_recreated", part(RecreatedEachStep), needs="momentum|adam|adamw", proof="code"),
    Fault("training in eval mode", "loop.wrong_mode", part(TrainInEval), needs="bn|dropout", proof="code"),
    Fault("validation in train mode", "loop.wrong_mode", part(ValidateInTrain), needs="bn|dropout", proof="code"),
    Fault("losses keep their graph", "loop.graph_kept", part(KeepsGraph), also=("speed.memory_growth",), proof="code"),
    Fault("validation recorded", "loop.graph_kept", part(ValidationRecorded), proof="code"),
    Fault("stepped per batch", "loop.scheduler_misuse", per_batch, {"every 5": 5, "every 20": 20}),
    Fault("stepped per epoch", "loop.scheduler_misuse", per_epoch, proof="code"),
    Fault("stepped before the optimiser", "loop.scheduler_misuse", before_optimizer, proof="code"),
    Fault("mean of batch means", "loop.metric_last_batch", part(MeanOfMeans), needs="classes|binary", proof="code"),
    Fault("divided by full batches", "loop.metric_last_batch", part(DividedByFullBatches), needs="classes|binary", proof="code"),
    Fault("slow loader", "speed.input_bound", slow_loader, {"20 ms": 0.02, "5 ms": 0.005}, proof="code"),
    Fault("sample by sample", "speed.device_idle", one_by_one, needs="mlp", avoid="deep dropout", proof="code"),
    Fault("many syncs", "speed.device_idle", lambda setup, _: on_loop(setup.but(epochs=3), ManySyncs), also=("speed.input_bound",), proof="code"),
    Fault("outputs kept", "speed.memory_growth", lambda setup, _: on_model(setup, KeepsOutputs), proof="code"),
    Fault("batches kept", "speed.memory_growth", part(KeepsBatches), avoid="conv", proof="code"),
]  # fmt: skip
