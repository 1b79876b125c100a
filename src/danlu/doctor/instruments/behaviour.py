"""Behaviour of the model on a few samples of one training batch, run again in eval mode after the first steps.

Each test needs no list of patterns: outputs that differ between two runs are random, outputs of a sample that depend on
its neighbours in the batch mix samples, predictions of the next item that depend on that item see the answer, outputs
that change without the padding read it, and input positions without a gradient are not used. A model that samples is
run again at the end of the training, to see whether what it reconstructs still depends on its inputs; so is one that
keeps something from call to call, whose effect grows in training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.modes import may_replay, undisturbed
from danlu.doctor.observation.watched_model import Pass, WatchedModel
from danlu.doctor.probes.future import future_effect
from danlu.doctor.probes.mixing import mixing, rounding, size_of
from danlu.doctor.probes.order import order_effect
from danlu.doctor.probes.own_backward import OwnFunctions, own_backward
from danlu.doctor.probes.padding import padding_effect
from danlu.doctor.probes.randomness import DropoutCalls, random_states
from danlu.doctor.probes.reconstruction import reconstruction
from danlu.doctor.probes.sample import MAX_SAMPLES, FirstSamples, first_tensor
from danlu.doctor.probes.unused_inputs import unused_inputs
from danlu.doctor.probes.unused_items import unused_items

AT_STEP = 6  # early enough for short runs, late enough for biases and running statistics to have moved
MAX_ELEMENTS = 4_000_000  # input values of the samples that are run again
WHOLE_BATCH = 100_000  # max samples, of a model that refuses fewer than a batch
NOISE = 1e-5  # difference of two equal runs, relative to the deviation of the outputs, by rounding


class Behaviour(Instrument):
    """Write probe.*"""

    name = "behaviour"
    kept = ("_done", "_samples", "_keeps_state", "_limit")

    def start(self, watched: WatchedModel) -> None:
        self._done = False
        self._samples = False  # the model draws random numbers in eval mode, as a VAE does
        self._keeps_state = False  # two equal runs differ although no random number was drawn
        self._limit = MAX_SAMPLES  # that are run again
        self._last: tuple[Pass, Any] | None = None  # the last training pass with the targets of its loss

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        if not self._done and call.grad:
            call.notes["targets"] = targets.detach() if isinstance(targets, Tensor) else None

    def settled(self, watched: WatchedModel, call: Pass) -> None:
        if (not self._done or self._samples or self._keeps_state) and call.kind == "train":
            self._last = (call, call.notes.pop("targets", None))

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> bool | None:
        return self._probe(watched) if not self._done and watched.steps_done + 1 >= AT_STEP else None

    def end_training(self, watched: WatchedModel) -> bool | None:
        return None if self._done or watched.steps_done < 1 else self._probe(watched)

    def finish(self, watched: WatchedModel) -> None:
        last, self._last = self._last, None
        sample = FirstSamples.of(watched.inner, last[0], None, self._limit) if last else None
        if sample is None or not watched.replayable or not may_replay(watched.inner):
            return
        with undisturbed(watched):
            watched.inner.eval()
            if self._keeps_state:
                watched.write("probe.state", kept_state(sample))
            elif self._samples:
                for name, value, where in reconstruction(sample):
                    watched.write(name, value, where)

    def _probe(self, watched: WatchedModel) -> bool | None:
        self._done = True
        last, self._last = self._last, None
        if last is None or not watched.replayable or not may_replay(watched.inner):
            return None
        measured = None
        for limit in (MAX_SAMPLES, WHOLE_BATCH):
            sample = FirstSamples.of(watched.inner, *last, limit)
            if sample is None or sample.inputs.numel() > MAX_ELEMENTS:
                break
            self._limit, measured = limit, True
            with undisturbed(watched):
                try:
                    watched.inner.eval()
                    self._run(watched, sample)
                    break
                except Exception as error:  # the model may refuse fewer samples, or a tensor of another module
                    watched.mark_unobservable("behaviour", f"{type(error).__name__}: {error}".splitlines()[0])
        return measured

    def _run(self, watched: WatchedModel, sample: FirstSamples) -> None:
        with DropoutCalls() as dropout, OwnFunctions() as own:
            base = first_tensor(sample.run())
        drawn = random_states()
        again = first_tensor(sample.run())
        draws = drawn != random_states()
        if base is None or again is None or base.shape != again.shape or not base.is_floating_point():
            return
        scale = float(base.float().std(correction=0))
        if not scale or not base.isfinite().all():
            return
        scale = max(scale, rounding(base) * size_of(base))
        noise = float((base - again).float().abs().mean()) / scale
        watched.write("probe.random", noise)
        self._samples = noise > NOISE and not dropout.active
        self._keeps_state = noise > 0 and not draws
        if dropout.active:
            watched.write("probe.dropout", max(dropout.active))
        if noise <= NOISE:
            found = (
                *mixing(sample, base, scale),
                *future_effect(sample, base, scale),
                *padding_effect(sample, base),
                *order_effect(sample, base, scale),
            )
            for name, value, where in found:
                watched.write(name, value, where)
        for name, value, where in (*unused_inputs(sample), *unused_items(sample), *own_backward(own.calls)):
            watched.write(name, value, where)


def kept_state(sample: FirstSamples) -> float:
    """Difference of two runs of the same samples, relative to the deviation of the outputs; 0 if it is not known."""
    base, again = (first_tensor(sample.run()) for _ in range(2))
    if base is None or again is None or base.shape != again.shape or not base.is_floating_point():
        return 0.0
    return float((base - again).float().abs().mean() / base.float().std(correction=0).clamp(min=1e-12))
