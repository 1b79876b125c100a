"""Train mode against eval mode: modes of the passes, and the outputs of one batch in both modes.

At the end of an epoch's training the last training batch is run again in both modes, without gradients, with every
buffer, mode and generator restored.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.structure import BATCH_NORMS, depends_on_mode
from danlu.doctor.loss.loss_options import loss_options
from danlu.doctor.observation.calls import observe
from danlu.doctor.observation.own_attributes import kept_attributes
from danlu.doctor.observation.predictions import IGNORED, measured
from danlu.doctor.observation.watched_model import Pass, WatchedModel


class Modes(Instrument):
    """Write mode.*, norm.mean_shift, norm.var_shift, norm.running_nonfinite, loop.*"""

    name = "modes"
    kept = ("_counts", "_steps_in", "_mode", "_stepped_in", "_switches")

    def start(self, watched: WatchedModel) -> None:
        self._counts = dict.fromkeys(("train", "train_eval", "val", "val_train", "val_grad"), 0)
        self._layers = [module for module in watched.leaves.values() if depends_on_mode(module)]
        self._pending: Any = None
        self._steps_in = [0, 0]  # steps whose last training pass was in eval mode, in train mode
        self._mode = self._stepped_in = -1  # of the last training pass; of the last step
        self._switches = 0

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        if call.training and not call.grad:  # layers may have been set to eval mode apart from the model
            call.notes["in_train"] = self._is_in_train()

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        own = call.outputs() if call.outputs is not None else None
        if call.grad and watched.last_call is not None and own is not None and own is outputs:
            call.notes["replay"] = watched.last_call

    def settled(self, watched: WatchedModel, call: Pass) -> None:
        counts = self._counts
        if call.kind == "train":
            counts["train"] += 1
            counts["train_eval"] += not call.training
            self._mode = int(call.training)
            if "replay" in call.notes:
                watched.last_batch = call
            call.notes.pop("outputs", None)
        else:
            counts["val"] += 1
            counts["val_train"] += call.training and call.notes.pop("in_train", self._is_in_train())
            counts["val_grad"] += call.grad

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        if self._mode < 0:
            return
        self._steps_in[self._mode] += 1
        self._switches += self._stepped_in not in (-1, self._mode)
        self._stepped_in = self._mode

    def finish(self, watched: WatchedModel) -> None:
        if self._switches:
            watched.write("loop.steps_in_modes", [*self._steps_in, self._switches])

    def _is_in_train(self) -> bool:
        return not self._layers or any(layer.training for layer in self._layers)

    def end_training(self, watched: WatchedModel) -> bool | None:
        call = watched.last_batch
        watched.last_batch = None
        norms = {n: m for n, m in watched.leaves.items() if isinstance(m, BATCH_NORMS) and m.track_running_stats}
        if call is None or not watched.ledger.last("loop.mode_matters"):
            return None
        if not watched.replayable or not may_replay(watched.inner):
            return None
        if watched.epoch > 2 and not watched.budget.may(self.name, watched.step):
            return None
        function, args, kwargs = call.notes["replay"]
        results = {}
        with undisturbed(watched):
            for mode in ("eval", "train"):
                watched.inner.train(mode == "train")
                shifts: dict[str, tuple[Tensor, Tensor]] = {}
                handles = (
                    [observe(m, before=_shift_hook(n, shifts)) for n, m in norms.items()] if mode == "train" else []
                )
                try:
                    outputs = watched.inner(*call.args, **call.kwargs)
                finally:
                    for handle in handles:
                        handle.remove()
                results[mode] = self._loss_and_accuracy(function, outputs, args, kwargs)
        for mode, (loss, accuracy) in results.items():
            watched.write_deferred(f"mode.loss_{mode}", loss, "", watched.epoch)
            if accuracy is not None:
                watched.write_deferred(f"mode.accuracy_{mode}", accuracy, "", watched.epoch)
        for name, (mean, variance) in shifts.items():
            watched.write_deferred("norm.mean_shift", mean, name, watched.epoch)
            watched.write_deferred("norm.var_shift", variance, name, watched.epoch)
        for name, module in norms.items():
            mean, variance = module.running_mean, module.running_var
            if mean is not None and variance is not None:
                broken = ~(mean.isfinite().all() & variance.isfinite().all())
                watched.write_deferred("norm.running_nonfinite", broken, name, watched.epoch)
        return True

    def end_epoch(self, watched: WatchedModel) -> None:
        counts = self._counts
        matters = bool(watched.ledger.last("loop.mode_matters"))
        if counts["train"] and matters:
            watched.write("loop.train_in_eval", counts["train_eval"] / counts["train"], step=watched.epoch)
        if counts["val"]:
            if matters:
                watched.write("loop.val_in_train", counts["val_train"] / counts["val"], step=watched.epoch)
            watched.write("loop.val_with_grad", counts["val_grad"] / counts["val"], step=watched.epoch)
        self._counts = dict.fromkeys(counts, 0)

    def _loss_and_accuracy(
        self, function: Any, outputs: Any, args: tuple, kwargs: dict
    ) -> tuple[Tensor, Tensor | None]:
        if args:
            loss = function(outputs, *args[1:], **kwargs)
            target = args[1] if len(args) > 1 else kwargs.get("target")
        else:
            first = next(iter(kwargs))
            loss = function(**{**kwargs, first: outputs})
            target = kwargs.get("target")
        ignored = int(loss_options((function, args, kwargs)).get("ignore_index", IGNORED))
        found = measured(outputs, target, ignored) if isinstance(target, Tensor) and isinstance(outputs, Tensor) else {}
        accuracy = found["correct"] / found["counted"].clamp(min=1) if "correct" in found else None
        return loss.detach().mean(), accuracy


def _shift_hook(name: str, shifts: dict[str, tuple[Tensor, Tensor]]) -> Any:
    def hook(module: Any, args: tuple, kwargs: dict) -> None:
        values = args[0].detach().float()
        axes = [axis for axis in range(values.dim()) if axis != 1]
        mean, variance = values.mean(axes), values.var(axes, correction=0)
        # The running statistics before this pass updated them.
        running_mean, running_var = module.running_mean, module.running_var
        if running_mean is None or running_var is None:
            return
        shift = ((running_mean - mean).abs() / (variance + module.eps).sqrt()).mean()
        ratio = ((running_var + module.eps) / (variance + module.eps)).log().abs().mean()
        shifts[name] = (shift, ratio)

    return hook


def may_replay(model: nn.Module) -> bool:
    """Return whether a batch may be rerun: hooks of the user would be called by it, so there must be none."""
    return not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules() if m is not model)


@contextmanager
def undisturbed(watched: WatchedModel) -> Iterator[None]:
    """Run the model without gradients, then restore modes, buffers, the user's attributes and all random generators.

    Buffers are replaced by copies: a graph waiting for its backward pass may have saved the buffers, and modifying them
    in place would make that backward pass fail.
    """
    model, device = watched.inner, watched.device
    buffers = [(m, name, b) for m in model.modules() for name, b in m.named_buffers(recurse=False)]
    copies = {id(b): b.detach().clone() for _, _, b in buffers}
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - used by loops
    gpus = [device] if device.type == "cuda" else []
    watched.replaying = True
    try:
        for module, name, buffer in buffers:
            setattr(module, name, copies[id(buffer)])
        with kept_attributes(model), torch.no_grad(), torch.random.fork_rng(devices=gpus):
            yield
    finally:
        watched.replaying = False
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
