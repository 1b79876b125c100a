"""Assign each forward pass to a step, a phase and an epoch, and derive the events that instruments are called at.

A pass is a training pass if a backward pass goes through it, whatever the mode of the model; this is how training in
eval mode and validation in train mode are found. A pass without gradients counts as validation immediately; one with
gradients stays open until its backward pass, or until a later pass has had one. A step is one update of the weights; an
epoch ends when training resumes after validation, or at a call of `doctor.epoch()`.

Not all passes without gradients are for validation: an acting agent or a teacher that labels the next batch runs one
every few steps, of its own or of the model that it teaches. No loss is computed from these auxiliary passes; they do
not end an epoch and are not reported to the instruments. Nor is a pass with gradients that lies between another pass
and its backward pass and has none itself: the loss leaves its outputs out.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instrument_calls import InstrumentCalls
from danlu.doctor.instruments.base import Instrument
from danlu.doctor.loss.loss_kind import terms_of
from danlu.doctor.loss.targets_by_hand import TargetsByHand
from danlu.doctor.observation.budget import FREE_STEPS, is_scheduled
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

KEPT = (  # attributes in a saved state
    "backwards", "optimizer_steps", "forwards", "epochs_by", "_passes", "_stepped", "_since_step", "_trained",
    "_validated", "_loss_without_grad", "_last_no_grad_step", "_auxiliary", "_end_training_sent", "_observed_in_block",
    "_skipping",
)  # fmt: skip
KEPT_POSITION = ("step", "steps_done", "skipped_steps", "epoch")
# Steps since the last pass without gradients from which on the next counts as validation, even without a loss.
MIN_VALIDATION_GAP = 8
# Training passes without an optimiser step after which each pass counts as a step of its own.
MAX_PASSES_WITHOUT_STEP = 32
INITIAL_STEPS = 64  # steps at the start of the training, all observed
MIN_OBSERVED_BLOCK = 16  # min consecutive steps observed before steps are skipped again
READ_BACK_EVERY = 16  # steps between reads of deferred values from the device


class TrainingEvents:
    """Turn the calls of hooks.py into events.

    watched: the model, its position in the training, and the ledger. instruments: called at the events.
    """

    def __init__(self, watched: WatchedModel, instruments: Sequence[Instrument]) -> None:
        self.watched = watched
        self.calls = InstrumentCalls(watched, instruments)
        self.current: Pass | None = None
        self.backwards = self.optimizer_steps = 0
        self.forwards = {"train": 0, "val": 0}
        self.epochs_by = "none"
        self.after_step: Callable[[], object] = lambda: None  # called after each observed step
        self.holds_outputs = False  # keep the outputs until the loss is observed
        self._by_hand = TargetsByHand()
        self._open: list[Pass] = []  # passes whose phase is not known yet
        self._passes = 0
        self._stepped = False  # an optimizer has stepped since the last training pass
        self._since_step = 0
        self._trained = self._validated = False  # in this epoch
        self._loss_without_grad = False  # a loss was computed from a pass without gradients
        self._last_no_grad_step = 0  # number of steps at the last pass without gradients
        self._auxiliary = False  # that pass was auxiliary
        self._steps_of_others = 0  # steps of other models since that pass
        self._end_training_sent = False
        self._step_ended: tuple[float, float] | None = None  # time, and time used by the doctor until then
        self._observed_in_block = 0  # consecutive steps
        self._skipping = False

    # Events from hooks.py.

    def forward_started(self, args: tuple, kwargs: dict) -> None:
        """Called before each forward pass."""
        grad = torch.is_grad_enabled()
        if grad and self._skip_pass():
            return
        started = self.calls.start_timer()
        auxiliary = not grad and self._is_auxiliary()
        if not grad and not auxiliary:
            self._end_training()
        self._settle_open()
        if grad and (self._stepped or self._since_step >= MAX_PASSES_WITHOUT_STEP):
            self._record_wait(started)
            self.watched.step += 1
            self._stepped, self._since_step = False, 0
        self._passes += 1
        call = Pass(
            self._passes, self.watched.step, grad, self.watched.model.training, args, kwargs, auxiliary=auxiliary
        )
        self.current = call
        self._open.append(call)
        if not auxiliary:
            self._notify("before_forward", call)
        self.calls.stop_timer(started)

    def _is_auxiliary(self) -> bool:
        """Return whether the pass without gradients that starts now is auxiliary (see the module docstring)."""
        done = self.watched.steps_done
        others, self._steps_of_others = self._steps_of_others, 0
        if done > self._last_no_grad_step:  # the first after a step
            self._auxiliary, self._last_no_grad_step = done - self._last_no_grad_step < MIN_VALIDATION_GAP, done
        elif 0 < others < MIN_VALIDATION_GAP and not self._loss_without_grad:  # a teacher; so was the pass before
            for call in self._open:
                call.auxiliary |= not call.grad
            return True
        return self._auxiliary and not self._loss_without_grad and self.epochs_by != "epoch()"

    def other_stepped(self) -> None:
        """Called after each step of an optimizer of another model of the program."""
        self._steps_of_others += 1

    def drop_single_evaluation(self) -> None:
        """Count the only pass without gradients as auxiliary if it is one batch: a teacher has begun its work."""
        call, batch = self.current, self.watched.ledger.last("batch.size", default=0)
        if call is not None and not call.grad and call.loss is None and not self.forwards["val"] and call.size <= batch:
            call.auxiliary = True

    def _skip_pass(self) -> bool:
        """Return whether to skip this pass to stay within the time budget.

        Steps are observed in blocks of `MIN_OBSERVED_BLOCK`; steps with other than one pass are never skipped.
        """
        watched = self.watched
        regular = self._stepped and self._trained and not self._validated and not watched.paused
        if not regular or watched.step < INITIAL_STEPS or is_scheduled(watched.step + 1):
            self._skipping = False
            return False
        if self._skipping:
            self._skipping = watched.budget.remaining < 0
        elif self._observed_in_block >= MIN_OBSERVED_BLOCK:
            self._skipping = watched.budget.remaining < 0
            self._observed_in_block = 0
        if not self._skipping:
            self._observed_in_block += 1
            return False
        if self._open:
            self._settle_open()
        self.current = None
        watched.step += 1
        self._stepped, self._since_step = False, 1
        self._passes += 1
        self.forwards["train"] += 1
        self._step_ended = None
        watched.skipped_steps += 1
        return True

    def forward_ended(self, outputs: Any) -> None:
        """Called after each forward pass."""
        call = self.current
        if call is None:
            return
        started = self.calls.start_timer()
        self._since_step += call.grad
        for index, tensor in enumerate(tensors_in(outputs)):
            if index == 0:
                call.outputs = weakref.ref(tensor)
                early = call.grad and self.watched.step <= FREE_STEPS  # facts about the loss need the outputs
                held = self.holds_outputs or self._by_hand.kind is not None
                call.held_outputs = tensor if early or (held and call.grad) else None
                if early:
                    call.notes["output_node"] = tensor.grad_fn
            if call.grad and tensor.requires_grad and not tensor.is_leaf and index < 8:
                self.watched.tensor_hooks.add(tensor, self._backward_hook(call))
        if not call.auxiliary:
            self._notify("after_forward", call, outputs)
        self.calls.stop_timer(started)

    def part_ended(self, call: Pass, output: Tensor) -> None:
        """Watch the backward pass of an output of a part of the model, which may be called again before the loss."""
        if output.requires_grad and not output.is_leaf:
            self.watched.tensor_hooks.add(output, self._backward_hook(call))

    def forward_failed(self) -> None:
        """Called when a forward pass raised an exception."""
        self._notify("forward_failed")

    def loss_computed(self, loss: Any, outputs: Any, targets: Any, by: str, call: Pass | None = None) -> None:
        """Called for each loss.

        Args:
            by: "module", "function", "observe", "output" or "backward".
            call: the pass that the loss was computed from; None: derived from the order of events.
        """
        call = call or self._pass_of_loss(loss)
        if call is None or self.watched.paused:
            return
        if by == "backward" and call.grad and loss.grad_fn is not None:
            self._notify("backward_called", call, loss)
        if call.loss is not None:
            if by in ("module", "function") and not torch.is_grad_enabled() and not loss.requires_grad:
                self.watched.write_deferred("loss.of_others", loss.detach().mean())
            if by == "backward" and self.watched.step <= FREE_STEPS and not self.watched.ledger.has("loss.terms"):
                self.watched.write("loss.terms", terms_of(loss.grad_fn))
            if by == "backward" and self.watched.ledger.last("loss.terms", default=1) > 1 and not loss.dim():
                self.watched.write_deferred("loss.total", loss.detach(), "", call.step)
            return
        started = self.calls.start_timer()
        if not call.grad:
            self._loss_without_grad, call.auxiliary = True, False
        call.loss = loss.detach()
        call.notes["loss_by"] = by
        held, call.held_outputs = call.held_outputs, None
        if outputs is None:
            outputs = held if held is not None else call.outputs() if call.outputs is not None else None
        if by == "backward" and isinstance(outputs, Tensor):
            targets = self._by_hand.read(call, loss, outputs, early=self.watched.step <= FREE_STEPS)
        self._notify("after_loss", call, loss, outputs, targets)
        self.calls.stop_timer(started)

    def _pass_of_loss(self, loss: Any) -> Pass | None:
        """The pass a loss was computed from: the last one, or for a loss with gradients the last one with gradients."""
        if not isinstance(loss, Tensor) or self.current is None:
            return None
        if self.current.grad or not loss.requires_grad:
            return self.current
        return next((call for call in reversed(self._open) if call.grad), self.current)

    def step_started(self, optimizer: torch.optim.Optimizer) -> None:
        """Called before each optimizer step."""
        if self._skipping:
            return
        started = self.calls.start_timer()
        self._notify("before_step", optimizer)
        self.calls.stop_timer(started)

    def step_ended(self, optimizer: torch.optim.Optimizer) -> None:
        """Called after each optimizer step."""
        watched = self.watched
        self.optimizer_steps += 1
        if self._skipping:
            watched.steps_done += not self._stepped
            self.backwards += self.backwards > 0 and not self._stepped  # not observed, but there was one
            self._stepped, self._since_step = True, 0
            return
        started = self.calls.start_timer()
        if not self.backwards:  # gradients without a backward pass: count as training
            for call in self._open:
                call.backward = call.grad
        self._settle_open()
        first = self._since_step > 0
        self._since_step, self._stepped = 0, True
        self._notify("after_step", optimizer)
        if first:
            watched.steps_done += 1
            self._record_step_time()
            if watched.step <= 3 or watched.step % READ_BACK_EVERY == 0:
                watched.deferred.send()
        self.calls.stop_timer(started)
        self.after_step()
        self._step_ended = (perf_counter(), watched.budget.total)

    def validated(self, outputs: Tensor, targets: Tensor) -> None:
        """Pass on outputs and targets of a whole validation set."""
        started = self.calls.start_timer()
        self._notify("validated", outputs, targets)
        self.calls.stop_timer(started)

    def epoch_ended(self) -> None:
        """End the epoch, at the request of the loop."""
        self.epochs_by = "epoch()"
        started = self.calls.start_timer()
        self._end_training()
        self._settle_open(final=True)
        self._close_epoch()
        self.calls.stop_timer(started)

    def finish(self) -> None:
        """End the last epoch, read all deferred values and finish the instruments."""
        started = self.calls.start_timer()
        self._end_training()
        self._settle_open(final=True)
        if self._trained or self._validated:
            self._close_epoch()
        self.watched.deferred.drain()
        self.calls.finish()
        self.calls.stop_timer(started)

    def release(self) -> None:
        """Drop the instruments and the passes with their tensors."""
        self.calls.release()
        self.current, self._open = None, []

    # State, saved with a checkpoint of the training between two steps.

    def state(self) -> dict[str, Any]:
        """Counts, phase of the epoch, and the state of each instrument, in plain values and tensors."""
        self.watched.deferred.drain()
        counts = {name: getattr(self, name) for name in KEPT}
        position = {name: getattr(self.watched, name) for name in KEPT_POSITION}
        instruments = {one.name: one.state(self.watched) for one in self.calls.instruments}
        return {"counts": counts, "position": position, "instruments": instruments}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved `state`."""
        for target, values in ((self, state["counts"]), (self.watched, state["position"])):
            for name, value in values.items():
                setattr(target, name, value)
        for one in self.calls.instruments:
            if one.name in state["instruments"]:
                one.restore(self.watched, state["instruments"][one.name])

    # Passes.

    def _backward_hook(self, call: Pass) -> Any:
        def hook(gradient: Tensor) -> None:
            if self.watched.paused or call.auxiliary or call.notes.get("backward_at") == self._passes:
                return
            started = self.calls.start_timer()
            self.backwards += "backward_at" not in call.notes
            call.notes["backward_at"] = self._passes  # only the first output of a pass counts
            call.backward = True
            self._notify("before_backward", call, gradient)
            self.calls.stop_timer(started)

        return hook

    def _settle_open(self, final: bool = False) -> None:
        """Drop auxiliary passes, and close in order the others whose phase is known."""
        self._open = [call for call in self._open if not call.auxiliary]
        last_known = -1
        for index, call in enumerate(self._open):
            if call.backward or not call.grad:
                last_known = index
            elif any(one.number < call.number <= one.notes.get("backward_at", 0) for one in self._open):
                call.notes["in_step"] = True  # between another pass and its backward pass
        if final:
            last_known = len(self._open) - 1
        settle, self._open = self._open[: last_known + 1], self._open[last_known + 1 :]
        for call in settle:
            if call.backward or "in_step" not in call.notes:
                self._settle(call, "train" if call.backward else "val")

    def _settle(self, call: Pass, kind: str) -> None:
        if not call.grad:  # it counted as auxiliary until its loss was seen
            self._end_training()
        call.kind = kind
        if kind == "train":
            if self._validated and self._trained and self.epochs_by != "epoch()":
                self.epochs_by = "validation"
                self._close_epoch()
            self._trained, self._end_training_sent = True, False
        else:
            if not self._trained and self.watched.steps_done == 0 and self.epochs_by != "epoch()":
                return  # a validation pass before training
            self._validated = True
        self.forwards[kind] += 1
        self._notify("settled", call)
        if kind != "train":
            call.args, call.kwargs = (), {}

    # Epochs.

    def _end_training(self) -> None:
        if (self._trained and not self._end_training_sent) or any(call.backward for call in self._open):
            self._settle_open()
            if not self._end_training_sent:
                self._end_training_sent = True
                self._notify("end_training")

    def _close_epoch(self) -> None:
        watched = self.watched
        watched.deferred.drain()
        self._notify("end_epoch")
        watched.deferred.drain()
        for phase, count in self.forwards.items():
            watched.write("run.forwards", count, phase, watched.epoch)
        watched.write("run.backwards", self.backwards, step=watched.epoch)
        watched.write("run.optimizer_steps", self.optimizer_steps, step=watched.epoch)
        watched.write("run.steps", watched.steps_done, step=watched.epoch)
        watched.write("run.seconds", watched.budget.elapsed, step=watched.epoch)
        watched.epoch += 1
        watched.skipped_steps = 0
        self._trained = self._validated = self._end_training_sent = False
        self._step_ended = None  # validation and checkpoints before the next step are no wait for data

    # Time.

    def _record_step_time(self) -> None:
        self._record_since_step("time.step", perf_counter(), self.watched.step)

    def _record_wait(self, now: float) -> None:
        self._record_since_step("time.wait", now, self.watched.step + 1)

    def _record_since_step(self, name: str, now: float, step: int) -> None:
        """Record the seconds since the last step, without those of the doctor itself."""
        if self._step_ended is not None and self._is_timed_step():
            then, spent = self._step_ended
            self.watched.write(name, now - then - (self.watched.budget.total - spent), step=step)

    def _is_timed_step(self) -> bool:
        return self.watched.step <= INITIAL_STEPS or self.watched.step % READ_BACK_EVERY < 2

    def _notify(self, event: str, *arguments: Any) -> None:
        self.calls.notify(event, self.current is None or self.current.grad, *arguments)
