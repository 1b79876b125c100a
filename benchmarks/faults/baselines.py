"""Two published tools with fixed thresholds, re-implemented from their published numbers as a baseline for the doctor.

AutoTrainer: Zhang, Zhai, Ma, Shen, "AutoTrainer: An Automatic DNN Training Problem Detection and Repair System", ICSE
2021. Numbers: the default parameters of the authors' published tool (Theta 0.7, beta_1 1e-3, beta_2 1e-4, beta_3 70,
gamma 0.7, delta 0.01, zeta 0.03, eta 0.2, checks from 0.3 of the planned epochs on). It uses accuracy only; for
regression this file uses R2 instead. The planned number of epochs is unknown from outside, so the checks of
the curve are made at the end of the run: this favours the baseline.

UMLAUT: Schoop, Huang, Hartmann, "UMLAUT: Debugging Deep Learning Programs using Program Structure and Model Behavior",
CHI 2021. Numbers: the heuristics of the authors' published tool (inputs outside [-1, 1]; learning rate above 0.01
or below 1e-7; NaN loss; validation loss rises while training loss does not; validation accuracy above 0.95 or above
training accuracy from the fourth epoch on; linear layers with no activation between; cross entropy without
softmax, or a second softmax). Its check of dropout above 0.5 is taken from memory of the paper, not from its source.

Both observe the run through one small collector with the interface of this benchmark, watch(model, optimizer, loss_fn).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

NON_LINEAR = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.MaxPool2d)


@dataclass(frozen=True)
class Complaint:
    """Problem reported by a baseline, as one of danlu's codes, without severity."""

    code: str
    severity: str = "error"
    confidence: float = 1.0


class Collector:
    """Record per step the input range; per epoch metrics, lr, norms and zero fraction of the last gradients."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: nn.Module) -> None:
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.low, self.high, self.floating, self.nan_input = math.inf, -math.inf, True, False
        self.epochs: list[dict[str, float]] = []
        self.rates: list[float] = []
        self.gradients: list[
            tuple[float, float, float]
        ] = []  # norm of the first layer, first / last, fraction of zeros
        self.findings: list[Complaint] = []

    def __enter__(self) -> Collector:
        self.hook = self.model.register_forward_pre_hook(self.on_input)
        return self

    def __exit__(self, *error: object) -> None:
        self.hook.remove()
        self.findings = list(dict.fromkeys(Complaint(code) for code in self.codes()))

    def on_input(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].detach()
        self.floating &= x.is_floating_point()
        self.nan_input |= bool(x.isnan().any())
        self.low, self.high = min(self.low, x.min().item()), max(self.high, x.max().item())

    def epoch(self, **metrics: float) -> None:
        self.epochs.append(metrics)
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        kernels = [p.grad for p in self.model.parameters() if p.grad is not None and p.dim() > 1]
        if kernels:
            first, last = kernels[0].norm().item(), kernels[-1].norm().item()
            zeros = sum((g == 0).sum().item() for g in kernels) / sum(g.numel() for g in kernels)
            self.gradients.append((first, first / last if last else math.nan, zeros))

    def series(self, part: str) -> list[float]:
        """Values of one metric over epochs: "train_loss", "val_loss", or "train" and "val" for accuracy or R2."""
        names = (part,) if part.endswith("loss") else (f"{part}_accuracy", f"{part}_r2")
        return [next(row[name] for name in names if name in row) for row in self.epochs]

    def codes(self) -> Iterable[str]:
        raise NotImplementedError


class AutoTrainer(Collector):
    """Report at most one problem per run, as the original: non-finite values, then gradients, then the curve."""

    satisfied, improves = 0.7, 0.01  # Theta, delta
    ratio_low, norm_low, ratio_high = 1e-3, 1e-4, 70.0  # beta_1, beta_2, beta_3
    zero_fraction = 0.7  # gamma
    swing, swing_fraction = 0.03, 0.2  # zeta, eta
    loss_limit = 1e5

    def codes(self) -> Iterable[str]:
        if not self.epochs:
            return
        losses = self.series("train_loss") + self.series("val_loss")
        broken = any(not math.isfinite(loss) for loss in losses) or self.series("val_loss")[-1] >= self.loss_limit
        weights = any(not p.isfinite().all() for p in self.model.parameters())
        if broken or weights:
            yield "gradient.exploding"
            return
        train, val = self.series("train"), self.series("val")
        slow = max(self.gains(train), default=0) < self.improves and max(self.gains(val), default=0) < self.improves
        if slow or max(train) < self.satisfied or max(val) < self.satisfied:
            yield from self.by_gradients(slow)
        elif self.swings(train) >= self.swing_fraction * len(train):
            yield "optim.oscillation"

    def by_gradients(self, slow: bool) -> Iterable[str]:
        if any(zeros >= self.zero_fraction for _, _, zeros in self.gradients):
            yield "activation.dead_relu"
        elif any(ratio > self.ratio_high for _, ratio, _ in self.gradients):
            yield "gradient.exploding"
        elif any(ratio < self.ratio_low and first < self.norm_low for first, ratio, _ in self.gradients):
            yield "gradient.vanishing"
        elif slow:
            yield "optim.slow_convergence"

    @staticmethod
    def gains(series: list[float]) -> list[float]:
        return [after - before for before, after in pairwise(series)]

    def swings(self, series: list[float]) -> int:
        """Pairs of a local maximum and a local minimum of the training score that are `swing` apart."""
        inner = list(zip(series, series[1:], series[2:]))
        tops = [b for a, b, c in inner if b >= a and b >= c]
        dips = [b for a, b, c in inner if b <= a and b <= c]
        return sum(top - dip >= self.swing for top, dip in zip(tops, dips))


class Umlaut(Collector):
    """Run every check independently; report any number of problems."""

    rate_high, rate_low = 0.01, 1e-7
    accuracy_high, from_epoch = 0.95, 3
    dropout_high = 0.5

    def codes(self) -> Iterable[str]:
        yield from self.of_the_input()
        yield from self.of_the_model()
        if any(rate > self.rate_high for rate in self.rates):
            yield "optim.lr_too_high"
        if any(rate < self.rate_low for rate in self.rates):
            yield "optim.lr_too_low"
        if any(math.isnan(loss) for loss in self.series("train_loss")):
            yield "numerics.nonfinite"
        pairs = zip(AutoTrainer.gains(self.series("train_loss")), AutoTrainer.gains(self.series("val_loss")))
        if any(train <= 0 < val for train, val in pairs):
            yield "fit.overfitting"
        if self.epochs and "val_accuracy" in self.epochs[0]:
            late = list(zip(self.series("train"), self.series("val")))[self.from_epoch :]
            if any(val > self.accuracy_high or val > train for train, val in late):
                yield "data.leak"  # "unusually high validation accuracy" warns of a leak

    def of_the_input(self) -> Iterable[str]:
        if self.low < -1 or self.high > 1 or not self.floating:
            yield "data.not_normalised"
        if self.nan_input:
            yield "numerics.nonfinite"

    def of_the_model(self) -> Iterable[str]:
        layers = [layer for layer in self.model.modules() if not list(layer.children())]
        softmax = any(isinstance(layer, (nn.Softmax, nn.LogSoftmax)) for layer in layers)
        if isinstance(self.loss_fn, nn.CrossEntropyLoss) and softmax:
            yield "model.output_mismatch"
        if isinstance(self.loss_fn, nn.NLLLoss) and not softmax:
            yield "model.output_mismatch"
        if any(isinstance(layer, nn.Dropout) and layer.p > self.dropout_high for layer in layers):
            yield "fit.regularisation_too_strong"
        if any(self.stacked(part) for part in self.model.modules() if isinstance(part, nn.Sequential)):
            yield "model.no_nonlinearity"

    @staticmethod
    def stacked(part: nn.Sequential) -> bool:
        """Whether two layers with weights have no non-linearity between them."""
        weighted = [i for i, layer in enumerate(part) if isinstance(layer, (nn.Linear, nn.Conv2d))]
        return any(not any(isinstance(layer, NON_LINEAR) for layer in part[a:b]) for a, b in pairwise(weighted))
