"""Table entry of a fault, and functions that change one part of a set-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from data import Data
from loop import Setup
from torch import Tensor, nn

ACTIVATIONS = (nn.ReLU, nn.Sigmoid, nn.Tanh)


@dataclass(frozen=True)
class Fault:
    """One fault of the table.

    needs, avoid: tags that a set-up must have (all; a|b: either) and must not have. also: codes that are correct too,
    because no measurement distinguishes them from `code`. proof: evidence that the planted run is faulty: "score"
    (validation score falls), "overfit" (validation loss rises), "crash" (an error ends it), or "code" (the fault is in
    the program and need not affect the score).
    """

    name: str
    code: str
    plant: Callable[[Setup, Any], Setup]
    strengths: dict[str, Any] = field(default_factory=lambda: {"": None})
    needs: str = ""
    avoid: str = ""
    also: tuple[str, ...] = ()
    proof: str = "score"

    def fits(self, setup: Setup) -> bool:
        wanted = all(set(word.split("|")) & setup.tags for word in self.needs.split())
        return wanted and not set(self.avoid.split()) & setup.tags


def on_data(setup: Setup, edit: Callable[[Data, torch.Generator], Data]) -> Setup:
    """Return the set-up with its data edited; the generator is seeded with the seed of the run."""

    def data(seed: int) -> Data:
        return edit(setup.data(seed), torch.Generator().manual_seed(seed + 1000))

    return setup.but(data=data)


def on_model(setup: Setup, edit: Callable[[nn.Module], nn.Module | None]) -> Setup:
    """Return the set-up with its model edited in place or replaced by the result of `edit`."""

    def model(data: Data) -> nn.Module:
        built = setup.model(data)
        changed = edit(built)
        return built if changed is None else changed

    return setup.but(model=model)


def on_optim(setup: Setup, times: float = 1.0, **arguments) -> Setup:
    """Return the set-up with its lr multiplied by `times` and other optimiser arguments set."""
    return setup.but(optim=replace(setup.optim.but(**arguments), lr=setup.optim.lr * times))


def on_loop(setup: Setup, part: type) -> Setup:
    """Return the set-up with `part` mixed into its loop class."""
    return setup.but(loop=type(part.__name__, (part, setup.loop), {}))


def swap_layers(
    model: nn.Module, kinds: type | tuple[type, ...], make: Callable[[nn.Module], nn.Module | None]
) -> None:
    """Replace every layer of the kinds by make(layer); None takes it out of its nn.Sequential."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, kinds):
                new = make(layer)
                if new is None:
                    delattr(parent, name)
                else:
                    setattr(parent, name, new)


def weighted(model: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]


def hidden(model: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return weighted(model)[:-1]


def one_hot(data: Data) -> Data:
    def rows(y: Tensor) -> Tensor:
        return nn.functional.one_hot(y, data.outputs).float()

    return replace(data, y=rows(data.y), y_val=rows(data.y_val))


def random_rows(count: int, fraction: float, generator: torch.Generator) -> Tensor:
    """Draw the indices of a random fraction of `count` rows."""
    return torch.randperm(count, generator=generator)[: round(fraction * count)]
