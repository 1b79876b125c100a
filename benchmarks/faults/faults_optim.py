"""Faults of optimisation, numerics and fit: lr, momentum, decay, batch, clipping, NaN, half precision, epochs."""

# ruff: noqa: E501 - tables of cases, one per line
from __future__ import annotations

from dataclasses import replace

import torch
from data import Data
from loop import ClippingLoop, Optim, Setup
from networks import mlp, transformer
from planting import Fault, on_data, on_model, on_optim, random_rows, weighted
from setups import constant
from torch import Tensor, nn


def rate(setup: Setup, times: float) -> Setup:
    return on_optim(setup, times)


def at_the_edge(setup: Setup, factor: float) -> Setup:
    """Full-batch linear regression with lr = factor / (largest eigenvalue of the Hessian): it oscillates."""

    def rate_of(x: Tensor) -> float:
        wide = torch.cat([x, torch.ones(len(x), 1)], 1)
        return factor / torch.linalg.eigvalsh(2 * wide.T @ wide / len(x))[-1].item()

    def spread(data: Data, g: torch.Generator) -> Data:
        return replace(
            data, x=torch.cat([data.x, 3 * data.x[:, :1]], 1), x_val=torch.cat([data.x_val, 3 * data.x_val[:, :1]], 1)
        )

    setup = on_data(setup, spread)
    lr = rate_of(setup.data(setup.seed).x)
    return setup.but(model=mlp(), optim=Optim("sgd", lr), batch_size=10**6, epochs=150, schedule=constant)


def saddle(setup: Setup, scale: float) -> Setup:
    """Tanh network initialised so close to zero that all gradients vanish: the origin is a saddle."""

    def shrink(model: nn.Module) -> None:
        with torch.no_grad():
            for layer in weighted(model):
                layer.weight.normal_(std=scale)
                layer.bias.zero_()

    setup = setup.but(model=mlp(48, 48, activation=nn.Tanh), optim=Optim("sgd", 0.05), schedule=constant)
    return on_model(setup, shrink)


def at_the_minimum(setup: Setup, epochs: int) -> Setup:
    """Linear model that reaches its only minimum after a few epochs and continues."""
    return setup.but(model=mlp(), optim=Optim("sgd", 0.1), batch_size=10**6, epochs=epochs, schedule=constant)


def ill_conditioned(setup: Setup, spread: float) -> Setup:
    """Nearly collinear inputs: the stable lr is far too small for the flat directions."""

    def edit(data: Data, g: torch.Generator) -> Data:
        mix = torch.randn(data.x.shape[1], data.x.shape[1], generator=g)
        u, _, v = torch.linalg.svd(mix)
        scales = spread ** -torch.linspace(0, 1, data.x.shape[1])
        turn = u @ torch.diag(scales) @ v
        scale = (data.x @ turn).std()
        return replace(data, x=data.x @ turn / scale, x_val=data.x_val @ turn / scale)

    return on_data(setup, edit).but(optim=Optim("sgd", 0.05), schedule=constant)


def decay(setup: Setup, times: float) -> Setup:
    """Set weight decay so that lr x decay is `times` per step."""
    kind = "adamw" if setup.optim.kind.startswith("adam") else "sgd"
    optim = replace(setup.optim, kind=kind).but(weight_decay=times / setup.optim.lr)
    return setup.but(optim=optim)


def heavy_ball(setup: Setup, value: float) -> Setup:
    """Use momentum `value` with an lr for 0.9: each gradient is applied 1 / (1 - value) times."""
    return on_optim(setup.but(schedule=constant), 2.0, momentum=value)


def tiny_batches(setup: Setup, how: tuple[int, float]) -> Setup:
    """Use a small batch with a fifth of the epochs: (batch size, factor of the lr)."""
    size, times = how
    return on_optim(setup.but(batch_size=size, epochs=max(2, setup.epochs // 5), schedule=constant), times)


def full_batches(setup: Setup, size: int) -> Setup:
    return setup.but(batch_size=size)


def clip(setup: Setup, norm: float) -> Setup:
    class Clipped(ClippingLoop):
        max_norm = norm

    return setup.but(loop=Clipped)


def no_warmup(setup: Setup, how: tuple[float, int]) -> Setup:
    """Train a post-norm transformer with Adam at full lr from the first step: (lr, depth)."""
    lr, depth = how
    return setup.but(model=transformer(48, depth, norm_first=False), optim=Optim("adam", lr), batch_size=32, epochs=6)


def nan_in_a_sample(setup: Setup, count: int) -> Setup:
    def edit(data: Data, g: torch.Generator) -> Data:
        x = data.x.clone()
        x.flatten(1)[random_rows(len(x), 1.0, g)[:count], 0] = float("nan")
        return replace(data, x=x)

    return on_data(setup, edit)


class LogOfSoftmax(nn.Module):
    """Cross entropy as the logarithm of a probability that can be exactly zero."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        probabilities = torch.softmax(outputs, 1)
        return -(nn.functional.one_hot(targets, outputs.shape[1]) * torch.log(probabilities)).sum(1).mean()


def log_of_zero(setup: Setup, times: float) -> Setup:
    """Make logits large enough for a probability to underflow."""

    def edit(model: nn.Module) -> None:
        with torch.no_grad():
            weighted(model)[-1].weight.mul_(times)

    return on_model(setup, edit).but(loss=LogOfSoftmax)


def zero_by_zero(setup: Setup, _: None) -> Setup:
    """Divide a constant column by its standard deviation of zero."""

    def edit(data: Data, g: torch.Generator) -> Data:
        x, x_val = data.x.clone(), data.x_val.clone()
        x[:, 0], x_val[:, 0] = 1.0, 1.0
        mean, std = x.mean(0), x.std(0)
        return replace(data, x=(x - mean) / std, x_val=(x_val - mean) / std)

    return on_data(setup, edit)


class RootOfZero(nn.Module):
    """Masked square root of a distance beyond 0.5: infinite slope times zero of the mask is NaN."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        beyond = (outputs - targets).abs() - 0.5
        return torch.sqrt(beyond * (beyond > 0)).mean()


class Half(nn.Module):
    """Model in float16; inputs are multiplied by `times` first, outputs are float32."""

    def __init__(self, model: nn.Module, times: float) -> None:
        super().__init__()
        self.model, self.times = model.half(), times

    def forward(self, x: Tensor) -> Tensor:
        return self.model((x * self.times).half()).float()


def half(setup: Setup, times: float) -> Setup:
    return on_model(setup, lambda model: Half(model, times)).but(epochs=6)


class TinyLoss(nn.Module):
    """Loss divided by 1e6, so that the gradients underflow in float16."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss(outputs, targets) / 1e6


def half_underflow(setup: Setup, _: None) -> Setup:
    return half(setup, 1.0).but(loss=lambda: TinyLoss(setup.loss()), optim=Optim("sgd", setup.optim.lr * 1e6))


def few_samples(setup: Setup, how: tuple[int, int]) -> Setup:
    """Train long on too few samples with Adam at a constant lr: (samples, epochs)."""
    samples, epochs = how
    setup = on_data(setup, lambda data, g: replace(data, x=data.x[:samples], y=data.y[:samples]))
    return setup.but(epochs=epochs, batch_size=16, optim=Optim("adam", 3e-3), schedule=constant)


def few_columns(setup: Setup, columns: int) -> Setup:
    """Remove most of the informative inputs."""

    def keep(x: Tensor) -> Tensor:
        flat = x.flatten(1).clone()
        flat[:, columns:] = torch.randn(flat[:, columns:].shape, generator=torch.Generator().manual_seed(0)) * 0.01
        return flat.reshape(x.shape)

    return on_data(setup, lambda data, g: replace(data, x=keep(data.x), x_val=keep(data.x_val)))


def upside_down_weights(setup: Setup, times: float) -> Setup:
    """Give a common class the weight meant for a rare one."""
    if "binary" in setup.tags:
        return setup.but(loss=lambda: nn.BCEWithLogitsLoss(pos_weight=torch.tensor([times])))

    def edit(data: Data, g: torch.Generator) -> Data:
        return data

    outputs = setup.data(0).outputs
    weight = torch.ones(outputs)
    weight[0] = times
    return on_data(setup, edit).but(loss=lambda: nn.CrossEntropyLoss(weight=weight))


def parity(setup: Setup, bits: int) -> Setup:
    """Set the label to the parity of many bits: deterministic, but not learnable from these samples."""

    def bits_and_parity(count: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        x = torch.randint(0, 2, (count, bits), generator=g).float() * 2 - 1
        return x, (x.prod(1, keepdim=True) > 0).float()

    def edit(data: Data, g: torch.Generator) -> Data:
        (x, y), (x_val, y_val) = bits_and_parity(2000, g), bits_and_parity(700, g)
        return replace(data, x=x, y=y, x_val=x_val, y_val=y_val)

    return on_data(setup, edit)


def strong_dropout(setup: Setup, p: float) -> Setup:
    def edit(model: nn.Module) -> nn.Module:
        layers = []
        for layer in model.children():
            layers.append(layer)
            if isinstance(layer, (nn.ReLU, nn.Tanh, nn.Sigmoid)):
                layers.append(nn.Dropout(p))
        return nn.Sequential(*layers)

    return on_model(setup, edit)


def smoothing(setup: Setup, value: float) -> Setup:
    """Add noise layers so strong that training cannot fit."""
    return on_model(setup, lambda model: nn.Sequential(nn.Dropout(value), model))


def stop_early(setup: Setup, epochs: int) -> Setup:
    return on_optim(setup.but(epochs=epochs, schedule=constant), 0.2)


def go_on(setup: Setup, how: tuple[int, int]) -> Setup:
    return few_samples(setup, how)


OPTIM_FAULTS = [
    Fault("rate too high", "optim.lr_too_high", rate, {"x1000": 1000.0, "x300": 300.0}, "mlp|conv", avoid="dropout"),
    Fault("rate too low", "optim.lr_too_low", rate, {"x0.001": 1e-3, "x0.01": 1e-2}),
    Fault("at the edge", "optim.oscillation", at_the_edge, {"1.98": 1.98, "1.998": 1.998}, "numbers table", also=("optim.lr_too_high",), proof="code"),
    Fault("start at a saddle", "optim.plateau_saddle", saddle, {"1e-3": 1e-3, "1e-2": 1e-2}, "classes|numbers mlp", also=("model.bad_init", "gradient.vanishing")),
    Fault("at the minimum", "optim.plateau_minimum", at_the_minimum, {"150 epochs": 150}, "numbers", also=("model.too_small", "fit.underfitting", "fit.trained_too_long"), proof="code"),
    Fault("ill-conditioned", "optim.slow_convergence", ill_conditioned, {"300": 300.0, "100": 100.0}, "table mlp classes|numbers", avoid="deep", also=("fit.stopped_early", "optim.lr_too_low", "data.not_normalised")),
    Fault("strong decay", "optim.weight_decay_too_strong", decay, {"0.1 per step": 0.1, "0.03 per step": 0.03}, "mlp", also=("fit.regularisation_too_strong",)),
    Fault("heavy ball", "optim.momentum_too_high", heavy_ball, {"0.999": 0.999, "0.997": 0.997}, "momentum"),
    Fault("batches of one", "optim.batch_too_small", tiny_batches, {"1": (1, 2.0), "2": (2, 4.0)}, "momentum", avoid="bn", also=("optim.lr_too_high",)),
    Fault("full batches", "optim.batch_too_large", full_batches, {"all": 10**6, "half": 1500}, "classes|numbers", also=("optim.slow_convergence", "fit.stopped_early", "optim.lr_too_low")),
    Fault("batch norm of two", "norm.small_batch", tiny_batches, {"2": (2, 0.5), "3": (3, 0.5)}, "bn", also=("norm.train_eval_gap",)),
    Fault("no warm-up", "optim.no_warmup", no_warmup, {"4 deep": (1e-2, 4), "6 deep": (1e-2, 6)}, "transformer", also=("optim.lr_too_high",)),
    Fault("clipped always", "optim.clipping_always", clip, {"0.001": 1e-3, "0.01": 1e-2, "0.1": 0.1}, "sgd", proof="code"),
    Fault("NaN in a sample", "numerics.nonfinite", nan_in_a_sample, {"three": 3, "one": 1}, also=("data.degenerate",)),
    Fault("log of zero", "numerics.nonfinite", log_of_zero, {"": 1000.0}, "classes mlp|conv"),
    Fault("zero by zero", "numerics.nonfinite", zero_by_zero, needs="table", also=("data.degenerate",)),
    Fault("root of zero", "numerics.nonfinite", lambda setup, _: setup.but(loss=RootOfZero), needs="numbers"),
    Fault("half overflows", "numerics.half_range", half, {"x3e4": 3e4, "x1e4": 1e4}, "mlp classes", avoid="sigmoid tanh", also=("numerics.nonfinite",)),
    Fault("half underflows", "numerics.half_range", half_underflow, needs="mlp classes", avoid="deep"),
    Fault("few samples", "fit.overfitting", few_samples, {"40": (40, 60), "100": (100, 60)}, "classes mlp|conv images", avoid="dropout bn deep tanh sigmoid", also=("model.too_large", "fit.trained_too_long"), proof="overfit"),
    Fault("little to see", "fit.underfitting", few_columns, {"1 column": 1, "2 columns": 2}, "table", also=("model.too_small", "fit.regularisation_too_strong", "optim.plateau_minimum")),
    Fault("class weight upside down", "fit.one_class", upside_down_weights, {"x1000": 1000.0, "x300": 300.0}, "classes|binary mlp"),
    Fault("parity", "fit.not_learning", parity, {"30 bits": 30}, "binary mlp", also=("data.labels_shuffled", "fit.overfitting")),
    Fault("strong dropout", "fit.regularisation_too_strong", strong_dropout, {"0.97": 0.97, "0.95": 0.95}, "mlp deep|tanh|relu"),
    Fault("stopped early", "fit.stopped_early", stop_early, {"1 epoch": 1, "2 epochs": 2}, "classes", also=("optim.slow_convergence", "optim.lr_too_low")),
    Fault("trained too long", "fit.trained_too_long", go_on, {"150 epochs": (150, 150)}, "classes mlp images", avoid="dropout deep tanh sigmoid", also=("fit.overfitting",), proof="overfit"),
]  # fmt: skip
