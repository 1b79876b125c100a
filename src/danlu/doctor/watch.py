"""`with danlu.watch(model, optimizer, loss_fn) as doctor:` around any PyTorch loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.budget import Budget
from danlu.doctor.diagnose import diagnose
from danlu.doctor.finding import Finding, in_one_line
from danlu.doctor.hooks import Hooks
from danlu.doctor.instruments import INSTRUMENTS
from danlu.doctor.ledger import Ledger
from danlu.doctor.training_events import TrainingEvents
from danlu.doctor.watched_model import WatchedModel


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
    loss_fn: nn.Module | Callable | None = None,
    *,
    budget: float = 0.03,
    language: str = "en",
) -> Doctor:
    """A doctor that watches the training of `model` while its `with` block lasts.

    optimizer: one, several, or None: then the first that steps is taken. loss_fn: the loss module or function; None:
    the first loss seen is taken. budget: the share of the time that the doctor may use (0.03 is 3 %). language: "en" or
    "zh". The training's results are the same bits with and without it; everything is taken off at the end of the block.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, got {type(model).__name__}: danlu.watch(model, optimizer, loss)"
        )
    if optimizer is None:
        optimizers = []
    elif isinstance(optimizer, torch.optim.Optimizer):
        optimizers = [optimizer]
    else:
        optimizers = list(optimizer)
    for one in optimizers:
        if not isinstance(one, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, several or None, got {type(one).__name__}")
    return Doctor(model, optimizers, loss_fn, budget=budget, language=language)


class Doctor:
    """See `watch`. `findings` may be read at any time, gravest and surest first."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: list[torch.optim.Optimizer],
        loss_fn: Any = None,
        *,
        budget: float = 0.03,
        language: str = "en",
    ) -> None:
        self.ledger = Ledger()
        self.language = language
        self._watched = WatchedModel(model, loss_fn, self.ledger, Budget(budget))
        self._events = TrainingEvents(self._watched, [make() for make in INSTRUMENTS.values()])
        self._watched.optimizers.extend(optimizers)
        self._hooks = Hooks(self._watched, self._events)
        self._watching = self._observed = False
        self._said: set[str] = set()

    def __enter__(self) -> Doctor:
        watched = self._watched
        watched.write("run.device", watched.device.type, step=0)
        if watched.compiled:
            watched.mark_compiled()
        if watched.distributed:
            watched.mark_unobservable(
                "clipping", "several processes share the work: gradients are seen after their exchange only"
            )
        if not watched.replayable:
            watched.mark_unobservable(
                "replay",
                "no batch can be run again: the model is compiled in place, spread over processes, or called in parts",
            )
        with torch.no_grad():
            for instrument in self._events.instruments:
                instrument.start(watched)
        self._hooks.attach()
        self._watching = True
        return self

    def __exit__(self, *error: object) -> None:
        if isinstance(error[1], IndexError) and "out of bounds" in str(error[1]):
            self._watched.write("target.outside", 1)  # the loss itself refused a label, before it could be seen
        elif "between 0 and 1" in str(error[1]) and not self._watched.steps_done:  # BCELoss, given plain scores
            self._watched.write("loss.kind", "bce")
            self._watched.write("output.activation", "none")
        self.close()

    def close(self) -> None:
        """Take everything off and read back what is still on the device. Called at the end of the `with` block."""
        if not self._watching:
            return
        self._watching = False
        self._hooks.detach()
        self._events.finish()
        self._write_account()
        self._watched.last_batch = self._watched.last_call = None

    @property
    def findings(self) -> list[Finding]:
        """What is wrong so far, in words, gravest and surest first; causes before what follows from them."""
        if self._watching:
            self._watched.deferred.drain()
        return diagnose(self.ledger, self.language)

    def say_new(self, say: Callable[[str], None] = print, cured: Callable[[Finding], Finding] | None = None) -> None:
        """Tell `say` each error and warning that it has not been told before, one line each. cured: gives a finding
        the remedy of the one who trains, where that is not a line of PyTorch."""
        findings = self.findings
        follows = {code for finding in findings for code in finding.consequences}  # their cause is told
        for finding in findings:
            if finding.severity != "note" and finding.code not in self._said | follows:
                self._said.add(finding.code)
                say(in_one_line(cured(finding) if cured else finding, self.language))

    def epoch(self, **metrics: float) -> None:
        """The loop says that an epoch is over, and how it measured it: doctor.epoch(val_accuracy=0.93)."""
        for name, value in metrics.items():
            self._watched.write("user.metric", float(value), name, self._watched.epoch)
        self._events.epoch_ended()

    def observe(self, loss: Tensor, outputs: Any = None, targets: Any = None) -> None:
        """The loop says what the last call of the model came to, where the doctor cannot see the loss itself."""
        if not self._observed:
            self.expect_told()
        self._events.loss_computed(loss, outputs, targets, "observe")

    def expect_told(self, kind: str | None = None, hold_outputs: bool = False) -> None:
        """The loop will tell each loss by `observe`: none is looked for, which spares a hook on every call of torch.

        kind: which loss that is, by a name of losses.py where it is one of them; None: as its graph shows.
        hold_outputs: keep what the model returns until then, for a loop that tells the loss alone.
        """
        self._observed = True
        self._events.holds_outputs = hold_outputs
        if kind is not None:
            self._watched.write("loss.kind", kind)
        self._hooks.stop_searching()

    def began(self, *args: Any) -> None:
        """A pass through the model begins that its own hooks do not see; args: the batch."""
        self._events.forward_started(args, {})

    def ended(self, outputs: Any) -> None:
        """The pass that `began` has given its outputs, or its loss."""
        self._events.forward_ended(outputs)

    def validated(self, outputs: Tensor, targets: Tensor) -> None:
        """The loop tells all answers of its validation at once, as the loss would get them."""
        self._events.validated(outputs, targets)

    def expect_no_replay(self) -> None:
        """The model cannot be called on what `began` is given: no batch is run again."""
        self._watched.replayable = False

    @property
    def watching(self) -> bool:
        """From the beginning of the `with` block to its end."""
        return self._watching

    def loss(self, function: Callable) -> Callable:
        """The same loss function, seen by the doctor: loss_fn = doctor.loss(loss_fn)."""
        return self._hooks.wrapped(function)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the findings and their evidence as one page of HTML."""
        from danlu.doctor.page import write_page  # the page needs a drawing library

        return write_page(path, self.ledger, self.findings, language=self.language)

    def _write_account(self) -> None:
        watched, budget = self._watched, self._watched.budget
        watched.write("run.finished", watched.steps_done, step=watched.steps_done)
        watched.write("run.epoch_by", self._events.epochs_by, step=watched.steps_done)
        for name, seconds in budget.spent.items():
            watched.write("time.doctor", seconds, name, watched.steps_done)
        watched.write("time.share", budget.total / max(budget.elapsed, 1e-9), step=watched.steps_done)
        if not self.ledger.has("loss.kind") and not self.ledger.has("loss.step") and watched.steps_done:
            watched.mark_unobservable(
                "loss", "no loss was seen: give loss_fn, wrap it by doctor.loss(loss_fn), or call doctor.observe"
            )
        if not self._events.forwards["train"] and not self._events.forwards["val"]:
            watched.mark_unobservable(
                "passes",
                "the model itself was never called, only parts of it (model.part(x), model.forward(x)) or what "
                "torch.compile made of it: watch the one that is called",
            )
