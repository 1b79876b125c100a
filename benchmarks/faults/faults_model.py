"""Faults of the model: structure, output and loss, initialisation, normalisation, activations, capacity."""

# ruff: noqa: E501 - tables of cases, one per line
from __future__ import annotations

from dataclasses import replace

import torch
from loop import Optim, Setup
from networks import mlp, recurrent
from planting import ACTIVATIONS, Fault, hidden, on_data, on_model, one_hot, swap_layers, weighted
from setups import constant
from torch import Tensor, nn


def no_nonlinearity(setup: Setup, _: None) -> Setup:
    return on_model(setup, lambda model: swap_layers(model, ACTIVATIONS, lambda layer: None))


def at_the_end(setup: Setup, layer) -> Setup:
    """Add a layer after the last."""
    return on_model(setup, lambda model: nn.Sequential(model, layer()))


def nll_of_logits(setup: Setup, _: None) -> Setup:
    """Give raw outputs to NLLLoss, which expects log-probabilities."""
    return setup.but(loss=nn.NLLLoss)


def too_many_outputs(setup: Setup, outputs: int) -> Setup:
    """Keep the last layer of another dataset."""
    return on_data(setup, lambda data, g: replace(data, outputs=outputs))


def squared_error(setup: Setup, _: None) -> Setup:
    return on_data(setup, lambda data, g: one_hot(data)).but(loss=nn.MSELoss)


def binary_loss(setup: Setup, _: None) -> Setup:
    return on_data(setup, lambda data, g: one_hot(data)).but(loss=nn.BCEWithLogitsLoss)


def one_output(setup: Setup, _: None) -> Setup:
    """Use cross entropy on a single output, which is always zero."""
    return on_data(
        setup, lambda data, g: replace(data, y=data.y.flatten().long() * 0, y_val=data.y_val.flatten().long() * 0)
    ).but(loss=nn.CrossEntropyLoss)


def class_index(setup: Setup, _: None) -> Setup:
    """Use squared error against the class index with one output."""
    return on_data(
        setup, lambda data, g: replace(data, y=data.y[:, None].float(), y_val=data.y_val[:, None].float(), outputs=1)
    ).but(loss=nn.MSELoss)


def initialise(setup: Setup, how) -> Setup:
    def edit(model: nn.Module) -> None:
        for layer in weighted(model):
            how(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    return on_model(setup, edit)


INITS = {
    "all zero": nn.init.zeros_,
    "constant": lambda w: nn.init.constant_(w, 0.05),
}
DEEP_INITS = {
    "N(0, 0.01)": lambda w: nn.init.normal_(w, std=0.01),
    "gain 3": lambda w: nn.init.xavier_normal_(w, gain=3.0),
    "gain 2.2": lambda w: nn.init.xavier_normal_(w, gain=2.2),
}


def large_last_layer(setup: Setup, times: float) -> Setup:
    def edit(model: nn.Module) -> None:
        with torch.no_grad():
            weighted(model)[-1].weight.mul_(times)

    return on_model(setup, edit)


class Detached(nn.Module):
    """Detach the features before the last layer: only that layer learns."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.features, self.head = model[:-1], model[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).detach())


class NoGradFeatures(Detached):
    """Run the first half of the layers under no_grad although its parameters require gradients."""

    def forward(self, x: Tensor) -> Tensor:
        half = len(self.features) // 2
        with torch.no_grad():
            x = self.features[:half](x)
        return self.head(self.features[half:](x))


def frozen(setup: Setup, _: None) -> Setup:
    """Set requires_grad=False for all layers but the last, as for a pretrained model, without loading one."""

    def edit(model: nn.Module) -> None:
        for layer in weighted(model)[:-1]:
            layer.requires_grad_(False)

    return on_model(setup, edit)


class WithUnused(nn.Module):
    """Declare a second branch whose output is never used."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.auxiliary = model, nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def bias_before_norm(setup: Setup, _: None) -> Setup:
    def with_bias(layer: nn.Module) -> nn.Module:
        assert isinstance(layer, nn.Conv2d)
        return nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)  # type: ignore[arg-type]

    return on_model(setup, lambda model: swap_layers(model, nn.Conv2d, with_bias))


def too_small(setup: Setup, width: int) -> Setup:
    return setup.but(model=mlp(width) if width else mlp())


def too_large(setup: Setup, how: tuple[int, int]) -> Setup:
    """Train two wide layers on a few samples until they are memorised: (samples, width)."""
    samples, width = how
    setup = on_data(setup, lambda data, g: replace(data, x=data.x[:samples], y=data.y[:samples]))
    return setup.but(model=mlp(width, width), optim=Optim("adam", 1e-3), batch_size=16, epochs=60, schedule=constant)


def norm_momentum(setup: Setup, momentum: float) -> Setup:
    def edit(model: nn.Module) -> None:
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = momentum

    return on_model(setup, edit)


def deep_sigmoid(setup: Setup, depth: int) -> Setup:
    return setup.but(model=mlp(*[64] * depth, activation=nn.Sigmoid))


def shrinking(setup: Setup, depth: int) -> Setup:
    """ReLU layers with torch's default initialisation, which shrinks the scale by about 2.4 per layer."""
    return setup.but(model=mlp(*[64] * depth))


def growing_recurrence(setup: Setup, scale: float) -> Setup:
    """Recurrence over the pixels whose state grows by `scale` per step."""
    return setup.but(model=recurrent(48, chunk=4, scale=scale))


def negative_bias(setup: Setup, how: tuple[float, float]) -> Setup:
    """Start a fraction of the hidden units below zero for every sample: (fraction, bias)."""
    fraction, bias = how

    def edit(model: nn.Module) -> None:
        for layer in hidden(model):
            nn.init.constant_(layer.bias[: round(fraction * len(layer.bias))], bias)

    return on_model(setup, edit)


def saturated(setup: Setup, bias: float) -> Setup:
    """Set biases so large that sigmoid or tanh units start saturated."""

    def edit(model: nn.Module) -> None:
        with torch.no_grad():
            for layer in hidden(model):
                layer.bias.copy_(bias * torch.sign(torch.randn_like(layer.bias)))

    return on_model(setup, edit)


class BatchMean(nn.Module):
    """Average over samples instead of features: all rows become equal."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0, keepdim=True).expand_as(x)


class NormOfOne(nn.Module):
    """Normalise a bottleneck of one unit over itself: the result is always zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.norm, self.up = nn.Linear(width, 1), nn.LayerNorm(1), nn.Linear(1, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.norm(self.down(x)))


def collapsed(setup: Setup, make) -> Setup:
    def edit(model: nn.Module) -> nn.Module:
        layers = list(model.children())
        return nn.Sequential(*layers[:-1], make(layers[-1].in_features), layers[-1])

    return on_model(setup, edit)


def recast(cls: type):
    return lambda setup, _: on_model(setup, cls)


MODEL_FAULTS = [
    Fault("no activation", "model.no_nonlinearity", no_nonlinearity, needs="mlp|conv", avoid="residual", proof="code"),
    Fault("softmax before cross entropy", "model.output_mismatch", at_the_end, {"": lambda: nn.Softmax(dim=1)}, "classes", proof="code"),
    Fault("ReLU on the logits", "model.output_mismatch", at_the_end, {"": nn.ReLU}, "classes", proof="code"),
    Fault("sigmoid on the logits", "model.output_mismatch", at_the_end, {"": nn.Sigmoid}, "classes|binary", proof="code"),
    Fault("squashed target", "model.output_mismatch", at_the_end, {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh}, "numbers"),
    Fault("logits to NLL", "model.output_mismatch", nll_of_logits, needs="classes", also=("model.loss_mismatch",), proof="code"),
    Fault("logits to BCE", "model.output_mismatch", lambda setup, _: setup.but(loss=nn.BCELoss), needs="binary", also=("model.loss_mismatch",), proof="crash"),
    Fault("too many outputs", "model.output_mismatch", too_many_outputs, {"100": 100, "12": 12}, "classes", proof="code"),
    Fault("squared error for classes", "model.loss_mismatch", squared_error, needs="classes", proof="code"),
    Fault("binary loss for exclusive classes", "model.loss_mismatch", binary_loss, needs="classes", proof="code"),
    Fault("cross entropy on one output", "model.loss_mismatch", one_output, needs="binary", also=("model.output_mismatch", "loop.no_update"), proof="code"),
    Fault("squared error on the class index", "model.loss_mismatch", class_index, needs="classes", proof="code"),
    Fault("initialisation", "model.bad_init", initialise, INITS, "mlp", avoid="deep"),
    Fault("unscaled initialisation", "model.bad_init", initialise, {"N(0, 2)": lambda w: nn.init.normal_(w, std=2.0)}, "mlp", avoid="deep", proof="code"),
    Fault("initialisation of a deep net", "model.bad_init", initialise, DEEP_INITS, "deep"),
    Fault("large last layer", "model.bad_init", large_last_layer, {"times 300": 300.0, "times 60": 60.0}, "classes mlp|conv", proof="code"),
    Fault("detached features", "model.unreached", recast(Detached), needs="mlp|conv", proof="code"),
    Fault("no_grad around the features", "model.unreached", recast(NoGradFeatures), needs="conv|deep", avoid="residual", proof="code"),
    Fault("frozen without pretraining", "model.unreached", frozen, needs="conv|deep", avoid="residual", proof="code"),
    Fault("unused branch", "model.unreached", recast(WithUnused), proof="code"),
    Fault("bias before norm", "model.bias_before_norm", bias_before_norm, needs="bn", proof="code"),
    Fault("too small", "model.too_small", too_small, {"linear": 0}, "binary plane", also=("fit.underfitting", "optim.plateau_minimum")),
    Fault("two hidden units", "model.too_small", too_small, {"2": 2, "1": 1}, "classes images mlp", also=("fit.underfitting",)),
    Fault("too large", "model.too_large", too_large, {"wide": (60, 768)}, "classes mlp images", also=("fit.overfitting",), proof="code"),
    Fault("slow running statistics", "norm.train_eval_gap", norm_momentum, {"0.001": 0.001, "0.0003": 0.0003}, "bn"),
    Fault("deep sigmoid", "gradient.vanishing", deep_sigmoid, {"10": 10, "6": 6}, "mlp classes", avoid="deep"),
    Fault("shrinking layers", "gradient.vanishing", shrinking, {"16": 16}, "mlp classes", also=("model.bad_init",)),
    Fault("growing recurrence", "gradient.exploding", growing_recurrence, {"2.5": 2.5, "1.8": 1.8}, "images classes", also=("model.bad_init",)),
    Fault("negative biases", "activation.dead_relu", negative_bias, {"all": (1.0, -10.0), "most": (0.95, -10.0)}, "mlp relu", also=("model.bad_init",)),
    Fault("pinned units", "activation.saturated", saturated, {"12": 12.0, "16": 16.0}, "sigmoid|tanh", also=("model.bad_init",)),
    Fault("mean over the batch", "activation.collapsed", collapsed, {"": lambda width: BatchMean()}, "mlp|conv"),
    Fault("norm of one unit", "activation.collapsed", collapsed, {"": NormOfOne}, "mlp|conv"),
]  # fmt: skip
