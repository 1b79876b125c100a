"""How the weights are updated: torch's optimisers, and which parameters decay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from danlu.config import OptimConfig
from danlu.refuse import one_of, refusal

Groups = list[dict[str, Any]]

# One kernel for all parameters: on a CPU two to four times faster than a loop over them, for LeNet as for ResNet-20.
FUSED_ON = ("cpu", "cuda")


def sgd(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """w <- (1 - lr lambda) w - lr gradient."""
    return torch.optim.SGD(groups, **_one_kernel(fused))


def momentum(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """v <- m v + gradient; w <- w - lr v (Polyak 1964)."""
    return torch.optim.SGD(groups, momentum=config.momentum, **_one_kernel(fused))


def nesterov(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Momentum whose gradient looks one step ahead (Sutskever et al. 2013)."""
    return torch.optim.SGD(groups, momentum=config.momentum, nesterov=True, **_one_kernel(fused))


def adagrad(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Divides by the root of the sum of squared gradients (Duchi et al. 2011)."""
    on_cpu = all(p.is_cpu for group in groups for p in group["params"])  # older releases fuse it only there
    return torch.optim.Adagrad(groups, eps=config.eps, **_one_kernel(fused and on_cpu))


def rmsprop(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Divides by the root of a moving average of squared gradients (Tieleman and Hinton 2012)."""
    return torch.optim.RMSprop(groups, alpha=config.alpha, eps=config.eps, foreach=True)


def adam(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Momentum and RMSProp together (Kingma and Ba 2015); weight decay enters the gradient."""
    betas = (config.beta1, config.beta2)
    return torch.optim.Adam(groups, betas=betas, eps=config.eps, **_one_kernel(fused))


def adamw(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Adam with weight decay beside the gradient (Loshchilov and Hutter 2019)."""
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW(groups, betas=betas, eps=config.eps, **_one_kernel(fused))


def muon(groups: Groups, config: OptimConfig, fused: bool) -> torch.optim.Optimizer:
    """Momentum made orthogonal for the hidden weights, AdamW for the head, biases and norms (Jordan et al. 2024)."""
    head = [p for group in groups for p in group["params"] if p.ndim > 1][-1:]
    hidden, rest = _split(groups, lambda p: p.ndim > 1 and not any(p is h for h in head))
    return Muon(hidden, rest, config, fused) if hidden else adamw(rest, config, fused)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon for matrices and kernels, torch.optim.AdamW for the rest, as one optimiser with one state.

    A kernel (O, C, h, w) is treated as the matrix (O, C h w). Updates are scaled to the size of AdamW's, so that one
    learning rate serves both (Liu et al., "Muon is Scalable for LLM Training", 2025).
    """

    def __init__(self, hidden: Groups, rest: Groups, config: OptimConfig, fused: bool) -> None:
        self.hidden = [p for group in hidden for p in group["params"]]
        with _as_matrices(self.hidden):
            matrices = torch.optim.Muon(hidden, momentum=config.momentum, nesterov=True, adjust_lr_fn="match_rms_adamw")
        self.parts = [matrices, adamw(rest, config, fused)] if rest else [matrices]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """The parts work on this optimiser's own groups and state: a rate written here reaches them."""
        start = 0
        for part in self.parts:
            end = start + len(part.param_groups)
            part.param_groups, part.state, start = self.param_groups[start:end], self.state, end

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with _as_matrices(self.hidden):
            self.parts[0].step()
        for part in self.parts[1:]:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()


@contextmanager
def _as_matrices(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Inside, kernels and their gradients are seen as matrices (O, rest), which is all that torch's Muon takes."""
    kernels = [(p, p.data, p.grad) for p in parameters if p.ndim > 2]
    for p, data, grad in kernels:
        p.grad = None
        p.data = data.flatten(1)
        p.grad = None if grad is None else grad.flatten(1)
    try:
        yield
    finally:
        for p, data, grad in kernels:
            if p.data.data_ptr() != data.data_ptr():  # channels_last: flattening made a copy
                data.copy_(p.data.view(data.shape))
            p.grad = None
            p.data, p.grad = data, grad


@dataclass(frozen=True)
class Optimizer:
    """build: (parameter groups, config, fused) -> torch optimiser."""

    build: Callable[[Groups, OptimConfig, bool], torch.optim.Optimizer]
    description: str


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(sgd, "plain gradient descent"),
    "momentum": Optimizer(momentum, "keeps a share of the last step"),
    "nesterov": Optimizer(nesterov, "momentum that looks ahead"),
    "adagrad": Optimizer(adagrad, "steps shrink with all gradients so far"),
    "rmsprop": Optimizer(rmsprop, "steps shrink with recent gradients"),
    "adam": Optimizer(adam, "momentum and rmsprop together"),
    "adamw": Optimizer(adamw, "adam with weight decay apart from the gradient"),
    "muon": Optimizer(muon, "orthogonal steps for hidden weights, adamw for the rest"),
}


def build_optimizer(
    model: nn.Module, config: OptimConfig, fused: bool = True, shares: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """The optimiser a config names, over the model's trainable parameters, already on their device.

    fused: False leaves one-kernel steps out (Lightning cannot clip under fp16 with them). shares: parameter name ->
    share of the rate, 1 for what is not named.
    Raises Refusal for an unknown name, a missing rate, or a model with nothing to train.
    """
    name = one_of("optim.name", str(config.name), OPTIMIZERS, "a known optimiser")
    groups = parameter_groups(model, config, shares or {})
    if not groups:
        raise refusal("model", "a network with parameters to train", type(model).__name__)
    on = {p.device.type for group in groups for p in group["params"]}
    return OPTIMIZERS[name].build(groups, config, fused and on <= set(FUSED_ON))


def parameter_groups(model: nn.Module, config: OptimConfig, shares: Mapping[str, float]) -> Groups:
    """Weights with decay; biases, norms and all else of one dimension without (unless `decay_all`).

    Two such groups for every share of the rate, the smallest share first: the network's head, with 1, stands last.
    """
    if config.lr is None:
        raise refusal("optim.lr", "a number greater than 0", None)
    trained = [(shares.get(name, 1.0), p) for name, p in model.named_parameters() if p.requires_grad]
    groups: Groups = []
    for share in sorted({share for share, _ in trained}):
        mine = [p for own, p in trained if own == share]
        weights = [p for p in mine if p.ndim > 1 or config.decay_all]
        others = [p for p in mine if not (p.ndim > 1 or config.decay_all)]
        groups.append({"params": weights, "lr": config.lr * share, "weight_decay": config.weight_decay or 0.0})
        groups.append({"params": others, "lr": config.lr * share, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def _one_kernel(fused: bool) -> dict[str, bool]:
    return {"fused": True} if fused else {"foreach": True}


def _split(groups: Groups, first: Callable[[nn.Parameter], bool]) -> tuple[Groups, Groups]:
    """Each group divided in two by `first`; empty ones left out."""
    yes = [group | {"params": [p for p in group["params"] if first(p)]} for group in groups]
    no = [group | {"params": [p for p in group["params"] if not first(p)]} for group in groups]
    return [group for group in yes if group["params"]], [group for group in no if group["params"]]
