"""The user's loss: a module, a class of modules, or a function f(outputs, targets)."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.loss.loss_kind import kind_of
from danlu.message import message
from danlu.own.naming import own_name, parameters_of, required, shown
from danlu.refuse import Refusal, refusal, shortened

# Kinds of losses (`doctor/loss/loss_kind.py`) by the targets they take.
CLASS_KINDS = ("cross_entropy", "nll", "hinge")
BINARY_KINDS = ("bce", "bce_logits")
NUMBER_KINDS = ("mse", "l1", "smooth_l1", "huber", "poisson")


class OwnLoss:
    """A loss of the user as danlu calls it: (outputs, targets) -> one value per sample, or their mean.

    kind: the loss as the doctor names it, None if its name is unknown.
    """

    def __init__(self, loss: Any) -> None:
        self.name = own_name(loss)
        if inspect.isclass(loss) and issubclass(loss, nn.Module):
            loss = loss()
        if not callable(loss):
            wanted = message("own.wanted.loss_name_function_outputs", "a loss's name or a function f(outputs, targets)")
            raise refusal("loss", wanted, loss if isinstance(loss, int | float) else type(loss).__name__)
        if not isinstance(loss, nn.Module) and len(required(parameters_of(loss))) > 2:
            needs = ", ".join(required(parameters_of(loss)))
            raise Refusal(
                message(
                    "own.refuse.loss_function_outputs_targets",
                    "loss {name} must be a function f(outputs, targets), it requires {needs}",
                    name=shown(self.name),
                    needs=needs,
                ),
                "loss",
            )
        if isinstance(loss, nn.Module) and any(p.requires_grad for p in loss.parameters()):
            raise Refusal(
                message(
                    "own.refuse.loss_parameters_danlu_does",
                    "loss {name} has parameters, which danlu does not train; make them part of the model",
                    name=shown(self.name),
                ),
                "loss",
            )
        self.function, self.kind = loss, kind_of(loss)
        self._copies: dict[torch.device, nn.Module] = {}

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the value of the user's loss; raises Refusal where the loss raises."""
        targets = self._fitting(outputs, targets)
        try:
            value = self._on(outputs.device)(outputs, targets)
        except Exception as error:
            why = shortened(error)
            text = "outputs of shape {outputs} and targets of shape {targets}"
            both = {"outputs": str(tuple(outputs.shape)), "targets": str(tuple(targets.shape))}
            shapes = message("own.two_shapes", text, **both)
            raise Refusal(
                message(
                    "own.refuse.loss_fails",
                    "loss {name} fails on {shapes}, {own_name}: {why}",
                    name=shown(self.name),
                    shapes=shapes,
                    own_name=str(targets.dtype).removeprefix("torch."),
                    why=why,
                ),
                "loss",
            ) from error
        if not isinstance(value, Tensor):
            raise refusal(
                f"loss {shown(self.name)}",
                message("own.wanted.function_returns_tensor", "a function that returns a tensor"),
                type(value).__name__,
            )
        if value.ndim > 1 and value.shape != targets.shape and value.numel() != len(outputs):
            wanted = message("own.wanted.loss_per_sample", "a function that returns the mean, or one value per sample")
            do = message("own.do.mean_of_rows", "end it with .flatten(1).mean(1), or .sum(1)")
            shape = message("own.tensor_of_shape", "a tensor of shape {shape}", shape=str(tuple(value.shape)))
            raise refusal(f"loss {shown(self.name)}", wanted, shape, do=do)
        return value

    def _fitting(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Targets in the shape and type that such a loss takes, without broadcasting (N, 1) against (N,)."""
        same_numbers = outputs.shape != targets.shape and outputs.numel() == targets.numel()
        if same_numbers and (targets.is_floating_point() or self.kind in (*BINARY_KINDS, *NUMBER_KINDS)):
            targets = targets.reshape(outputs.shape)
        if self.kind in (*BINARY_KINDS, *NUMBER_KINDS) and not targets.is_floating_point():
            targets = targets.to(outputs.dtype)
        return targets

    def _on(self, device: torch.device) -> Any:
        """The loss with its buffers (class weights) on the device."""
        if not isinstance(self.function, nn.Module) or not list(self.function.buffers()):
            return self.function
        if device not in self._copies:
            self._copies[device] = copy.deepcopy(self.function).to(device)
        return self._copies[device]
