"""The user's learning rate scheduler as a function of the step, so that a resumed run needs no state of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from danlu.message import message
from danlu.own.naming import own_name, parameters_of, required, shown
from danlu.refuse import Refusal, refusal, shortened

PER_STEP = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)  # stepped after every batch, the others after every epoch
STEP_PARAMETERS = ("total_steps", "num_training_steps", "steps")  # asked for by schedulers that step after every batch


class OwnScheduler:
    """A scheduler class, or a function optimizer -> scheduler.

    Parameters of the names epochs, steps_per_epoch, total_steps (num_training_steps, steps), T_max (epochs) and max_lr
    are passed where they have no default. It is run ahead on an optimiser without a model.
    """

    def __init__(self, scheduler: Any) -> None:
        self.name = own_name(scheduler)
        made = isinstance(scheduler, lr_scheduler.LRScheduler)
        if made or not callable(scheduler):
            wanted = message(
                "own.wanted.schedule_name_scheduler_class",
                "a schedule's name, a scheduler class, or a function of the optimiser",
            )
            text = "it cannot be moved to danlu's optimiser: scheduler=lambda optimizer: ..."
            do = message("own.do.cannot_moved_danlu_optimiser", text) if made else ""
            raise refusal("scheduler", wanted, type(scheduler).__name__, do=do)
        if self.name == own_name(lr_scheduler.ReduceLROnPlateau):
            raise _plateau()
        self.function = scheduler

    def __call__(self, epochs: float, steps_per_epoch: float, lr: float) -> Callable[[int], float]:
        """Step (from 0) -> factor of the peak learning rate `lr`."""
        return Ahead(self, epochs, steps_per_epoch, lr)


def _plateau() -> Refusal:
    return Refusal(
        message(
            "own.refuse.scheduler_reducelronplateau_depends_validation",
            "scheduler ReduceLROnPlateau depends on the validation loss; use scheduler='plateau' "
            "(schedule.factor, schedule.patience)",
        ),
        "scheduler",
    )


class Ahead:
    """Factors of a scheduler, computed up to the largest step asked for."""

    def __init__(self, own: OwnScheduler, epochs: float, steps_per_epoch: float, lr: float) -> None:
        self.steps_per_epoch, self.lr = steps_per_epoch, lr
        self.optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
        parameters = parameters_of(own.function)
        total = max(1, round(epochs * steps_per_epoch))
        offered: dict[str, Any] = {
            "epochs": int(epochs),
            "steps_per_epoch": max(1, round(steps_per_epoch)),
            "T_max": int(epochs),
            "max_lr": lr,
        } | dict.fromkeys(STEP_PARAMETERS, total)
        needed = required(parameters)
        given = {name: offered[name] for name in needed if name in offered}
        if "total_steps" in parameters and "epochs" in parameters:  # OneCycleLR, where one of the two is required
            given["total_steps"] = total
        if "cycle_momentum" in parameters and "cycle_momentum" not in getattr(own.function, "keywords", {}):
            given["cycle_momentum"] = False  # danlu sets the learning rate only
        try:
            self.scheduler: Any = own.function(self.optimizer, **given)
        except Exception as error:
            why = shortened(error)
            raise Refusal(
                message(
                    "own.refuse.scheduler_cannot_built",
                    "scheduler {name} cannot be built: {why}",
                    name=shown(own.name),
                    why=why,
                ),
                "scheduler",
            ) from error
        if not isinstance(self.scheduler, lr_scheduler.LRScheduler):
            wanted = message(
                "own.wanted.function_returns_scheduler_torch", "a function that returns a scheduler of torch"
            )
            raise refusal(f"scheduler {shown(own.name)}", wanted, type(self.scheduler).__name__)
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            raise Refusal(
                message(
                    "own.refuse.scheduler_scheduler_reducelronplateau_depends_validation",
                    "scheduler ReduceLROnPlateau depends on the validation loss; use schedule='plateau'",
                ),
                "scheduler",
            )
        self.per_step = isinstance(self.scheduler, PER_STEP) or any(name in parameters for name in STEP_PARAMETERS)
        self.factors = [self._factor()]

    def __call__(self, step: int) -> float:
        """Return the factor of the learning rate at a step, counted from 0."""
        number = step if self.per_step else int(step / self.steps_per_epoch + 1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the order of steps, and past the last one
            while len(self.factors) <= number:
                self.optimizer.step()
                with suppress(ValueError):  # OneCycleLR after its last step: the learning rate stays
                    self.scheduler.step()
                self.factors.append(self._factor())
        return self.factors[number]

    def _factor(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"]) / self.lr
