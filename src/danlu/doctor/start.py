"""`danlu.watch`: the doctor of one model, or of a whole program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import overload

import torch
from torch import nn

from danlu.doctor.script.program import ProgramDoctor, to_standard_error
from danlu.doctor.watch import Doctor
from danlu.doctor.watch import watch as watch_model


@overload
def watch(*, budget: float = 0.03, language: str | None = None, quiet: bool = False) -> ProgramDoctor: ...


@overload
def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
    loss_fn: nn.Module | Callable | None = None,
    *,
    budget: float = 0.03,
    language: str | None = None,
    quiet: bool = False,
    prefix: str = "",
    classes: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Doctor: ...


def watch(
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
    loss_fn: nn.Module | Callable | None = None,
    *,
    budget: float = 0.03,
    language: str | None = None,
    quiet: bool = False,
    prefix: str = "",
    classes: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Doctor | ProgramDoctor:
    """Watch the training of `model` inside a `with` block; without a model, all trainings of this program from now on.

    The results of the training are bit for bit the same with and without it; all hooks are removed at the end.

    Args:
        model: the module the loop calls; None: find models, optimizers, losses and data loaders.
        optimizer: one, several, or None for the first one that steps.
        loss_fn: loss module or function; None for the first loss that is computed.
        budget: max fraction of the training time used by the doctor in its first 30 s (0.03 is 3 %); afterwards a third
            of it. Infinity measures every step.
        language: "en" or "zh", for findings and report; by default that of DANLU_LANG or the locale.
        quiet: print nothing; `findings` has everything.
        prefix: name of `model` inside a larger module; the names of layers begin with it.
        classes: names of the classes, in the order of the outputs, for findings; without them they have numbers.
        columns: names of the columns of the inputs (N, D), for findings.

    Raises:
        TypeError: `model` is not a module, or an optimizer not a torch optimizer.

    >>> with danlu.watch(model, optimizer, loss_fn) as doctor:  # doctest: +SKIP
    ...     train()
    >>> doctor.findings  # doctest: +SKIP
    >>> doctor = danlu.watch()  # at the top of a program; findings are printed at its end  # doctest: +SKIP
    """
    if model is None and optimizer is None and loss_fn is None:
        return ProgramDoctor(budget=budget, language=language, say=say_nothing if quiet else to_standard_error)
    names = {"prefix": prefix, "classes": classes, "columns": columns}
    return watch_model(model, optimizer, loss_fn, budget=budget, language=language, quiet=quiet, **names)  # type: ignore[arg-type]


def say_nothing(line: str) -> None:
    """Discard a line of the report."""
