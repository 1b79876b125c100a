"""The user's optimiser: a class, a function of the parameters or of the model, or an optimiser of the user's module."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from danlu.config import OptimConfig
from danlu.learning.optim import parameter_groups
from danlu.message import message
from danlu.own.naming import own_name, parameters_of, required, shown
from danlu.refuse import Refusal, refusal, shortened

MODEL_PARAMETERS = ("model", "module", "net", "network")  # names by which a function asks for the model
SETTINGS = ("lr", "weight_decay")  # settings that are passed to a class or a function that takes them


@dataclass(frozen=True)
class OwnOptimizer:
    """An optimiser of the user.

    make: (model, parameters, settings) -> optimiser. takes: settings it can be given. lr, weight_decay: its own
    values, used where the user sets no other.
    """

    name: str
    make: Callable[[nn.Module, Any, dict[str, float]], torch.optim.Optimizer]
    takes: tuple[str, ...]
    lr: float | None
    weight_decay: float

    def build(self, model: nn.Module, config: OptimConfig, lr_factors: Mapping[str, float]) -> torch.optim.Optimizer:
        """The optimiser for the trainable parameters of `model`, with the learning rate and decay of the config.

        Every parameter decays, as outside danlu. lr_factors: see `learning.optim.build_optimizer`.
        """
        uniform = OptimConfig(lr=config.lr, weight_decay=config.weight_decay, decay_all=True)
        groups = parameter_groups(model, uniform, lr_factors)
        if not groups:
            raise refusal(
                "model",
                message("own.wanted.network_parameters_train", "a network with parameters to train"),
                type(model).__name__,
            )
        given = {name: getattr(config, name) for name in SETTINGS if name in self.takes}
        parameters = groups if len(groups) > 1 else groups[0]["params"]
        made = _called(self.name, self.make, model, parameters, given)
        if len(groups) == 1 and len(made.param_groups) == 1:
            made.param_groups[0]["lr"] = config.lr
        return made


def own_optimizer(optimizer: Any, model: Any) -> OwnOptimizer:
    """The optimiser that the user gave. model: the user's network, which an optimiser that exists belongs to."""
    name = own_name(optimizer)
    if isinstance(optimizer, torch.optim.Optimizer):
        made = Rebuilt(optimizer, model)
        _check_step(name, copy.deepcopy(optimizer))
        return OwnOptimizer(name, made, (), made.lr, made.weight_decay)
    if not callable(optimizer):
        wanted = message(
            "own.wanted.optimiser_name_class_function", "an optimiser's name, class, or a function of the parameters"
        )
        raise refusal(
            "optimizer", wanted, optimizer if isinstance(optimizer, int | float) else type(optimizer).__name__
        )
    make = Called(optimizer)
    if make.takes_model and not isinstance(model, nn.Module):  # it may use layers of a network that is built later
        return OwnOptimizer(name, make, (), None, 0.0)
    network = copy.deepcopy(model) if make.takes_model else nn.Linear(1, 1)
    trial = _called(name, make, network, [nn.Parameter(torch.zeros(1))], {})
    _check_step(name, trial)
    group = trial.param_groups[0]
    takes = tuple(one for one in SETTINGS if one in parameters_of(optimizer))
    return OwnOptimizer(name, make, takes, group.get("lr"), group.get("weight_decay", 0.0))


@dataclass(frozen=True)
class Called:
    """Calls the user's class or function with the parameters, or with the model where it asks for that."""

    function: Any

    @property
    def takes_model(self) -> bool:
        """True if the function asks for the model, by the name of its parameter."""
        return next(iter(required(parameters_of(self.function))), "params") in MODEL_PARAMETERS

    def __call__(self, model: nn.Module, parameters: Any, settings: dict[str, float]) -> Any:
        """Return the user's optimiser."""
        return self.function(model if self.takes_model else parameters, **settings)


class Rebuilt:
    """Builds an optimiser like one that exists, for a copy of the module whose parameters it has."""

    def __init__(self, optimizer: torch.optim.Optimizer, model: Any) -> None:
        names = {id(p): name for name, p in model.named_parameters()} if isinstance(model, nn.Module) else {}
        self.kind = type(optimizer)
        self.groups: list[dict[str, Any]] = []
        takes = parameters_of(self.kind)
        self.defaults = {name: value for name, value in optimizer.defaults.items() if name in takes}
        for group in optimizer.param_groups:
            members = [names.get(id(p)) for p in group["params"]]
            if None in members:
                raise Refusal(
                    message(
                        "own.refuse.optimizer_parameters_model_give",
                        "optimizer {name} has parameters that are not those of model=; give the class, "
                        "optimizer=torch.optim.{name}, or a function of the parameters",
                        name=self.kind.__name__,
                    ),
                    "optimizer",
                )
            self.groups.append({k: v for k, v in group.items() if k in self.defaults} | {"params": members})
        self.lr = max(float(group.get("lr", 0.0)) for group in self.groups)
        self.weight_decay = max(float(group.get("weight_decay", 0.0)) for group in self.groups)

    def __call__(self, model: nn.Module, parameters: Any, settings: dict[str, float]) -> torch.optim.Optimizer:
        """Return the optimiser of the copy `model`."""
        named = dict(model.named_parameters())
        groups = [group | {"params": [named[name] for name in group["params"]]} for group in self.groups]
        return self.kind(groups, **self.defaults)


def _check_step(name: str, trial: torch.optim.Optimizer) -> None:
    """Refuse an optimiser that cannot step after one backward pass, by a step with gradients of zero."""
    if isinstance(trial, torch.optim.LBFGS):
        raise Refusal(
            message(
                "own.refuse.optimizer_lbfgs_needs_loss",
                "optimizer LBFGS needs the loss several times a step, which danlu does not compute",
            ),
            "optimizer",
        )
    for group in trial.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    try:
        trial.step()
    except Exception as error:
        text = "optimizer {name} fails in a step: {why}; danlu calls step() without a closure"
        values = {"name": shown(name), "why": shortened(error)}
        raise Refusal(message("own.refuse.optimizer_step", text, **values), "optimizer") from error


def _called(name: str, make: Any, model: nn.Module, parameters: Any, settings: dict[str, float]) -> Any:
    try:
        made = make(model, parameters, settings)
    except Refusal:
        raise
    except Exception as error:
        values = {"name": shown(name), "why": shortened(error)}
        if getattr(make, "takes_model", False):
            failed = message(
                "own.refuse.optimizer_fails_network", "optimizer {name} fails on the network: {why}", **values
            )
        else:
            text = "optimizer {name} fails on a list of parameters: {why}; a parameter called model gets the network"
            failed = message("own.refuse.optimizer_fails_list_parameters", text, **values)
        raise Refusal(failed, "optimizer") from error
    if not isinstance(made, torch.optim.Optimizer):
        raise refusal(
            f"optimizer {shown(name)}",
            message("own.wanted.class_function_returns_optimiser", "a class or function that returns an optimiser"),
            type(made).__name__,
        )
    return made
