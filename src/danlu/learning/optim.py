"""Optimisers by name, and the parameter groups with and without weight decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from danlu.config import OptimConfig
from danlu.learning.closure import recomputed
from danlu.learning.muon import Muon
from danlu.message import message
from danlu.refuse import either, one_of, refusal
from danlu.user_objects import find, is_own

Groups = list[dict[str, Any]]

# Devices with fused kernels. On a CPU they are two to four times faster than a loop, for LeNet and for ResNet-20.
FUSED_DEVICES = ("cpu", "cuda")


def sgd(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Gradient descent: w <- (1 - lr lambda) w - lr gradient."""
    return torch.optim.SGD(groups, **_one_kernel(fused))


def momentum(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Momentum: v <- m v + gradient; w <- w - lr v (Polyak 1964)."""
    return torch.optim.SGD(groups, momentum=config.momentum, **_one_kernel(fused))


def nesterov(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Momentum with the gradient taken one step ahead (Sutskever et al. 2013)."""
    return torch.optim.SGD(groups, momentum=config.momentum, nesterov=True, **_one_kernel(fused))


def adagrad(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Adagrad: division by the root of the sum of squared gradients (Duchi et al. 2011)."""
    if config.form == "notes":
        return RootMeanSquare(groups, lambda seen: seen / (seen + 1), config.eps)
    on_cpu = all(p.is_cpu for group in groups for p in group["params"])  # older torch fuses it only there
    return torch.optim.Adagrad(groups, eps=config.eps, **_one_kernel(fused and on_cpu))


def rmsprop(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """RMSprop: division by the root of a moving average of squared gradients (Tieleman and Hinton 2012)."""
    if config.form == "notes":
        return RootMeanSquare(groups, lambda seen: config.alpha if seen else 0.0, config.eps)
    return torch.optim.RMSprop(groups, alpha=config.alpha, eps=config.eps, foreach=True)


def adam(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Adam: momentum and RMSprop combined, weight decay added to the gradient (Kingma and Ba 2015)."""
    betas = (config.beta1, config.beta2)
    return torch.optim.Adam(groups, betas=betas, eps=config.eps, **_one_kernel(fused))


def adamw(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Adam with weight decay decoupled from the gradient (Loshchilov and Hutter 2019)."""
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW(groups, betas=betas, eps=config.eps, **_one_kernel(fused))


def muon(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Orthogonalised momentum for hidden weights, AdamW for the head, biases and norms (Jordan et al. 2024)."""
    head = [p for group in groups for p in group["params"] if p.ndim > 1][-1:]
    hidden, rest = _split(groups, lambda p: p.ndim > 1 and not any(p is h for h in head))
    if not hidden:
        return adamw(rest, config, fused)
    return Muon(hidden, config.momentum, adamw(rest, config, fused) if rest else None)


class RootMeanSquare(torch.optim.Optimizer):
    """Division by the root of an average of squared gradients that starts at the first one: w <- w - lr g / sigma.

    sigma^2 <- a sigma^2 + (1 - a) g^2 with a = 0 at the first step, which is therefore lr in each weight. The forms in
    which lectures often give Adagrad (mean over all steps, a = n / (n + 1)) and RMSprop (a constant from the second
    step on). torch divides by the root of the sum, or starts the average at 0: its first step of RMSprop is
    lr / sqrt(1 - a).

    Args:
        groups: Parameter groups with lr and weight_decay, which is added to the gradient.
        kept: (number of earlier steps) -> a.
        eps: Added to sigma.
    """

    def __init__(self, groups: Groups, kept: Callable[[int], float], eps: float) -> None:
        self.kept, self.eps = kept, eps
        super().__init__(groups, {"lr": 1e-3, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters. closure: recomputes the loss; its value is returned."""
        loss = recomputed(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad.add(p, alpha=group["weight_decay"]), group["lr"])
        return loss

    def _update(self, p: Tensor, gradient: Tensor, lr: float) -> None:
        state = self.state[p]
        if not state:
            state["step"], state["mean_square"] = 0, torch.zeros_like(p)
        kept = self.kept(state["step"])
        state["step"] += 1
        mean_square = state["mean_square"].mul_(kept).addcmul_(gradient, gradient, value=1 - kept)
        p.addcdiv_(gradient, mean_square.sqrt().add_(self.eps), value=-lr)


@dataclass(frozen=True)
class OptimizerSpec:
    """One entry of OPTIMIZERS.

    Args:
        build: (parameter groups, config, fused) -> optimiser.
        description: One line for listings.
        lr: Default learning rate.
        state: Tensors of the size of a parameter that it keeps for each parameter.
        rest_state: As `state`, for biases, norms and the last matrix, if it is different for them.
        divisor: Quantity by which a gradient is divided: nothing, the root of the sum of all its squares, or the root
            of an average of recent ones.
        momentum: Setting that is its momentum.
        strong_decay: The usual weight decay is about 1e-2; otherwise it is about 1e-4.
        forms: It takes `OptimConfig.form`.
        lr_ratio: Usual learning rate of a convolutional network relative to that of adamw.
    """

    build: Callable[[Groups, OptimConfig, bool], torch.optim.Optimizer]
    description: str
    lr: float
    state: int
    rest_state: int | None = None
    divisor: Literal["none", "sum", "recent"] = "none"
    momentum: Literal["optim.momentum", "optim.beta1"] | None = None
    strong_decay: bool = False
    forms: bool = False
    lr_ratio: float = 10.0

    @property
    def like_adam(self) -> bool:
        """True if learning rates of Adam fit: its steps have Adam's size, and momentum."""
        return self.divisor == "recent" and self.momentum is not None

    def state_bytes(self, parameters: Sequence[Tensor]) -> int:
        """Bytes of its state after a step on trainable `parameters`, in the order of the network."""
        matrices = [p for p in parameters if p.ndim > 1]
        rest = [p for p in parameters if p.ndim < 2] + matrices[-1:]
        extra = 0 if self.rest_state is None else self.rest_state - self.state
        return self.state * _bytes(parameters) + extra * _bytes(rest)


OPTIMIZERS: dict[str, OptimizerSpec] = {
    "sgd": OptimizerSpec(sgd, "plain gradient descent", lr=0.1, state=0),
    "momentum": OptimizerSpec(
        momentum, "adds a fraction of the last step", lr=0.05, state=1, momentum="optim.momentum"
    ),
    "nesterov": OptimizerSpec(
        nesterov, "momentum with the gradient one step ahead", lr=0.05, state=1, momentum="optim.momentum"
    ),
    "adagrad": OptimizerSpec(
        adagrad, "steps shrink with all gradients so far", lr=1e-2, state=1, divisor="sum", forms=True
    ),
    "rmsprop": OptimizerSpec(
        rmsprop, "steps shrink with recent gradients", lr=1e-3, state=1, divisor="recent", forms=True
    ),
    "adam": OptimizerSpec(
        adam,
        "momentum and rmsprop combined",
        lr=2e-3,
        state=2,
        divisor="recent",
        momentum="optim.beta1",
        lr_ratio=1.0,
    ),
    "adamw": OptimizerSpec(
        adamw,
        "adam with decoupled weight decay",
        lr=2e-3,
        state=2,
        divisor="recent",
        momentum="optim.beta1",
        strong_decay=True,
        lr_ratio=1.0,
    ),
    "muon": OptimizerSpec(
        muon,
        "orthogonal steps for hidden weights, adamw for the rest",
        lr=2e-3,
        state=1,
        rest_state=2,
        divisor="recent",
        momentum="optim.momentum",
        strong_decay=True,
        lr_ratio=3.0,
    ),
}


def find_optimizer(name: str) -> OptimizerSpec:
    """Look up an optimiser. One of the user has the facts of plain gradient descent."""
    return OPTIMIZERS.get(name, OPTIMIZERS["sgd"])


def build_optimizer(
    model: nn.Module, config: OptimConfig, fused: bool = True, lr_factors: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Build the optimiser named by a config for the model's trainable parameters, which must be on their device.

    Args:
        fused: Use fused kernels if the device has them. Lightning cannot clip gradients under fp16 with them.
        lr_factors: Parameter name -> factor of the learning rate; 1 for missing names.

    Raises:
        Refusal: Unknown name, no learning rate, or a model without trainable parameters.
    """
    if is_own(config.name):
        return find("optimizer", str(config.name)).build(model, config, lr_factors or {})
    name = one_of(
        "optim.name", str(config.name), OPTIMIZERS, message("learning.wanted.known_optimiser", "a known optimiser")
    )
    if config.form != "torch" and not OPTIMIZERS[name].forms:
        with_forms = either([known for known, spec in OPTIMIZERS.items() if spec.forms])
        raise refusal(
            "optim.form",
            message("learning.wanted.torch", "torch with {name}", name=name),
            config.form,
            do=message("learning.do.use_optim", "use --optimizer {with_forms}", with_forms=with_forms),
        )
    groups = parameter_groups(model, config, lr_factors or {})
    if not groups:
        raise refusal(
            "model",
            message("learning.wanted.network_parameters_train", "a network with parameters to train"),
            type(model).__name__,
        )
    devices = {p.device.type for group in groups for p in group["params"]}
    return OPTIMIZERS[name].build(groups, config, fused and devices <= set(FUSED_DEVICES))


def parameter_groups(model: nn.Module, config: OptimConfig, lr_factors: Mapping[str, float]) -> Groups:
    """Group the trainable parameters: weights with decay; biases, norms and other 1-d parameters without.

    With `decay_all` every parameter decays. There are two groups per factor of the learning rate, the smallest factor
    first, so that the head, with factor 1, comes last.

    Raises:
        Refusal: No learning rate.
    """
    if config.lr is None:
        raise refusal("optim.lr", message("learning.wanted.number_greater", "a number greater than 0"), None)
    trained = [(lr_factors.get(name, 1.0), p) for name, p in model.named_parameters() if p.requires_grad]
    groups: Groups = []
    for factor in sorted({factor for factor, _ in trained}):
        members = [p for own, p in trained if own == factor]
        weights = [p for p in members if p.ndim > 1 or config.decay_all]
        others = [p for p in members if not (p.ndim > 1 or config.decay_all)]
        groups.append({"params": weights, "lr": config.lr * factor, "weight_decay": config.weight_decay or 0.0})
        groups.append({"params": others, "lr": config.lr * factor, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _one_kernel(fused: bool) -> dict[str, bool]:
    return {"fused": True} if fused else {"foreach": True}


def _split(groups: Groups, first: Callable[[nn.Parameter], bool]) -> tuple[Groups, Groups]:
    """Split each group by the predicate `first`; empty groups are dropped."""
    yes = [group | {"params": [p for p in group["params"] if first(p)]} for group in groups]
    no = [group | {"params": [p for p in group["params"] if not first(p)]} for group in groups]
    return [group for group in yes if group["params"]], [group for group in no if group["params"]]
