"""Loss, accuracy, predictions and labels, per step and per epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.epoch_sums import MIN_BATCHES, EpochSums
from danlu.doctor.loss.by_hand import (
    binary_labels,
    cosine_sign,
    is_overlap,
    leads_to,
    margin_labels,
    overlap_sign,
    picks_of_all_labels,
    residual_targets,
)
from danlu.doctor.loss.graph import (
    ACTIVATIONS,
    broadcast_pairs,
    dropout_after_layer,
    is_cosine,
    is_scaled,
    last_activation,
    shape_of,
    softmax_axis,
    softmax_in_loss,
    takes_log_of,
    takes_log_of_complement,
)
from danlu.doctor.loss.loss_kind import CROSS_ENTROPIES, SIGNED, kind_and_node, kind_by_graph, kind_of
from danlu.doctor.loss.loss_options import loss_options, summands
from danlu.doctor.observation.predictions import measured, target_kind
from danlu.doctor.observation.watched_model import Pass, WatchedModel

MAX_EARLY = 2048  # passes of the first evaluation that are kept apart


class LossAndAccuracy(Instrument):
    """Write loss.*, accuracy.*, class.*, label.*, output.*, target.*, batch.*, epoch.*"""

    name = "loss_and_accuracy"
    kept = ("_known", "_last_size", "_label_counts", "_ignored", "_sums_losses", "_place")

    def start(self, watched: WatchedModel) -> None:
        self._known = 0  # facts written: 0 none, 1 from a pass without gradients, 2 all
        self._micro: list[Tensor] = []
        self._sizes = 0
        self._last_size = 0
        self._sums = {"train": EpochSums(), "val": EpochSums()}
        self._place = 0  # number of this pass in the evaluation
        # Places and outcomes of the first evaluation, until it is known which passes go over the training set.
        self._early: list[tuple[int, dict[str, Any]]] | None = []
        self._label_counts: Tensor | None = None
        self._label_step = -1
        self._ignored = watched.ignored_label
        self._sums_losses = False  # the loss is summed over the batch

    def state(self, watched: WatchedModel) -> dict[str, Any]:
        return super().state(watched) | {"sums": {phase: dict(vars(sums)) for phase, sums in self._sums.items()}}

    def restore(self, watched: WatchedModel, state: dict[str, Any]) -> None:
        super().restore(watched, state)
        for phase, values in state["sums"].items():
            vars(self._sums[phase]).update(values)

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool:
        outputs = outputs if isinstance(outputs, Tensor) else None
        targets = targets if isinstance(targets, Tensor) else None
        if self._known < 1 + call.grad:
            self._write_facts(watched, call, loss, outputs, targets)
        if loss.requires_grad and (watched.step <= 3 or watched.step % 32 == 0) and not loss.is_leaf:
            step = watched.step
            watched.tensor_hooks.add(loss, lambda g: watched.write_deferred("loss.scale", g.mean(), "", step))
        size = outputs.shape[0] if outputs is not None and outputs.dim() else call.size
        if size > call.size and size % call.size == 0:  # several predictions per sample, in rows
            size = call.size
        value = loss.detach().mean() if loss.dim() else loss.detach()
        if self._sums_losses and targets is not None:
            value = value / summands(outputs, targets, self._ignored)
        call.notes["loss_and_accuracy"] = {"loss": value, "size": size}
        if outputs is None or targets is None:
            return False
        start = watched.ledger.last("input.held_out_passes", default=[1])[0]
        first = not call.grad and start <= self._place + 1 < start + MIN_BATCHES
        if not first and not watched.may(self.name, call):
            return False
        known = measured(outputs.detach(), targets.detach(), self._ignored, pairs=not call.grad)
        call.notes["loss_and_accuracy"] |= known
        return True

    def settled(self, watched: WatchedModel, call: Pass) -> None:
        outcome = call.notes.pop("loss_and_accuracy", None)
        self._place += call.kind == "val"
        if outcome is None:
            return
        if call.kind != "train":
            if self._early is not None and len(self._early) < MAX_EARLY:
                self._early.append((self._place, outcome))
            elif is_held_out(watched, self._place):
                self._sums["val"].add(outcome)
        else:
            self._sums["train"].add(outcome)
            self._micro.append(outcome["loss"])
            self._sizes += outcome["size"]
            self._write_batch(watched, call, outcome)

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        if not self._micro:
            return
        losses, self._micro = self._micro, []
        watched.write_deferred("loss.step", losses[0] if len(losses) == 1 else torch.stack(losses).mean())
        if self._sizes != self._last_size:
            watched.write("batch.size", self._sizes)
            self._last_size = self._sizes
        self._sizes = 0

    def validated(self, watched: WatchedModel, outputs: Tensor, targets: Tensor) -> None:
        sums = EpochSums()
        sums.add_predictions(measured(outputs, targets, self._ignored, pairs=True))
        sums.write_predictions(watched, "val")
        watched.ledger.put("epoch.samples", len(targets), "val", watched.epoch)

    def end_epoch(self, watched: WatchedModel) -> None:
        if self._micro:  # no optimizer step in this epoch
            for loss in self._micro:
                watched.write_deferred("loss.step", loss)
            self._micro, self._sizes = [], 0
        early, self._early, self._place = self._early or [], None if self._place else self._early, 0
        for place, outcome in early:
            if is_held_out(watched, place):
                self._sums["val"].add(outcome)
        for phase, sums in self._sums.items():
            if sums.batches:
                sums.write_all(watched, phase)
            self._sums[phase] = EpochSums()

    def _write_batch(self, watched: WatchedModel, call: Pass, outcome: dict) -> None:
        if "correct" in outcome:
            watched.write_deferred("accuracy.step", outcome["correct"] / outcome["counted"].clamp(min=1), "", call.step)
        if "spread" in outcome:
            for name, value in zip(("output.mean", "output.std", "output.sample_std"), outcome["spread"]):
                watched.write_deferred(name, value, "", call.step)
        counts = outcome.get("actual")
        if counts is None:
            return
        if outcome["outside"] is not None:
            step = call.step
            watched.deferred.add(
                outcome["outside"],
                lambda n: watched.ledger.add("target.outside", n[0], "", step) if n[0] else None,
            )
        if call.step == self._label_step:
            return  # a second pass of the step, whose labels may be the model's own
        self._label_step = call.step
        total = counts.sum()
        seen = self._label_counts
        self._label_counts = counts.clone() if seen is None else seen + counts
        if seen is not None:
            frequencies = seen / seen.sum().clamp(min=1)
            distance = (counts / total.clamp(min=1) - frequencies).abs().sum() / 2
            spread = (
                (frequencies * (1 - frequencies)).sqrt().sum() * (2 / torch.pi) ** 0.5 / total.clamp(min=1).sqrt() / 2
            )
            watched.write_deferred("batch.label_distance", distance, "", call.step)
            watched.write_deferred("batch.label_distance_expected", spread, "", call.step)

    def _write_facts(
        self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Tensor | None, targets: Tensor | None
    ) -> None:
        self._known = 1 + call.grad
        function = watched.last_call[0] if watched.last_call else None
        by = call.notes.get("loss_by", "")
        kind, known = watched.ledger.last("loss.kind"), kind_of(function) is not None
        if kind is None and (call.grad or kind_of(function)):
            kind = kind_of(function) or call.notes.get("loss_kind") or kind_by_graph(loss)
            kind = kind or getattr(function, "__name__", type(function).__name__)
            watched.write("loss.kind", str(kind))
        self._write_options(watched, str(kind))
        watched.write("loss.seen_by", by)
        watched.write("loss.graph", loss.grad_fn.name() if loss.grad_fn is not None else "")
        if call.grad:
            watched.write("loss.attached", int(loss.requires_grad))
            initial = loss.detach().mean()
            divisor = summands(outputs, targets, self._ignored) if self._sums_losses and targets is not None else 1
            watched.write_deferred("loss.initial", initial / divisor)
        if torch.is_autocast_enabled(watched.device.type):
            short = str(torch.get_autocast_dtype(watched.device.type)).removeprefix("torch.")
            watched.write("run.precision", f"autocast-{short}")
        elif outputs is not None:
            watched.write("run.precision", str(outputs.dtype).removeprefix("torch."))
        if outputs is not None:
            if outputs.grad_fn is not None:  # without a graph the activation is unknown
                self._write_activation(watched, outputs.grad_fn if known else given_to_loss(loss, outputs))
            self._write_outputs(watched, call, str(kind), outputs)
        node = call.notes.pop("output_node", None) or getattr(outputs, "grad_fn", None)
        if node is not None and outputs is not None:
            watched.write("output.direct", int(leads_to(outputs.grad_fn, node)))
        if by == "backward" and node is not None and loss.grad_fn is not None:
            self._write_softmax_in_loss(watched, loss, node)
        if not known and outputs is not None and node is not None and loss.grad_fn is not None:
            self._write_by_hand(watched, loss, outputs, node)
        pairs = broadcast_pairs(loss.grad_fn, node) if node is not None and loss.grad_fn is not None else []
        if pairs and not watched.ledger.has("target.broadcast"):
            watched.write("target.broadcast", f"{shape_of(node)} against {[1, pairs[0]]}")
        if targets is None:
            return
        watched.write("target.shape", list(targets.shape))
        watched.write("target.dtype", str(targets.dtype))
        watched.write("target.kind", target_kind(targets))
        values = targets.detach().float()
        watched.write("target.distinct", int(values.unique().numel()))
        if kind in SIGNED:
            watched.write("target.signed", int(bool((values < 0).any())))
        watched.write("target.whole", int(bool((values == values.round()).all())))
        alike = kind in ("mse", "l1", "smooth_l1", "huber", "bce_logits")
        if outputs is not None and alike and outputs.shape != targets.shape:
            watched.write("target.broadcast", f"{list(outputs.shape)} against {list(targets.shape)}")

    def _write_outputs(self, watched: WatchedModel, call: Pass, kind: str, outputs: Tensor) -> None:
        """Record the shape of what the loss is given and, for CTC, whether it holds logarithms of probabilities."""
        watched.write("output.shape", list(outputs.shape))
        watched.write("output.count", outputs.shape[1] if outputs.dim() > 1 else 1)
        watched.write("output.rows", outputs.shape[0] / max(1, call.size) if outputs.dim() else 1.0)
        if kind == "ctc" and outputs.dim():
            watched.write_deferred("loss.log_sum", outputs.detach().float().logsumexp(-1).abs().max())

    def _write_activation(self, watched: WatchedModel, node: Any) -> None:
        """Record the last activation of what the loss is given, the axis of a softmax, and an activation before it."""
        found = last_activation(node)
        cosine = found is None and is_cosine(node)
        watched.write("output.activation", found[0] if found else "cosine" if cosine else "none")
        watched.write("output.scaled", int(is_scaled(node)))
        dropped = dropout_after_layer(node)
        if dropped is not None:
            watched.write("output.dropped", dropped)
        if found is None or found[0] not in ("softmax", "log_softmax"):
            return
        earlier = last_activation(found[1].next_functions[0][0])
        watched.write("output.activation_before", earlier[0] if earlier else "none")
        axis = softmax_axis(found[1])
        if axis is not None:
            watched.write("output.softmax_axis", axis[0])
            watched.write("output.softmax_shape", axis[1])

    def _write_softmax_in_loss(self, watched: WatchedModel, loss: Tensor, outputs: Any) -> None:
        """Record the axis of a softmax that a loss written by hand takes of the scores of classes."""
        found, shape = softmax_in_loss(loss.grad_fn, outputs), shape_of(outputs)
        axis = softmax_axis(found) if found is not None else None
        if found is not None and axis is not None and axis[1] == shape and len(shape) == 2 and shape[1] > 1:
            watched.write("output.activation", ACTIVATIONS[found.name()])
            watched.write("output.softmax_axis", axis[0])
            watched.write("output.softmax_shape", axis[1])

    def _write_by_hand(self, watched: WatchedModel, loss: Tensor, outputs: Tensor, node: Any) -> None:
        """Record what a loss of the user does with the outputs. node: grad_fn of the outputs."""
        if takes_log_of(loss.grad_fn, node):
            watched.write("loss.log_of_negative", int(bool((outputs <= 0).any())))
            watched.write("loss.log_of_complement", int(takes_log_of_complement(loss.grad_fn, node)))
        everyone = picks_of_all_labels(loss.grad_fn)
        if everyone:
            watched.write("loss.picks_all", everyone[0])
        if is_overlap(loss.grad_fn, node):
            watched.write("loss.overlap_of_scores", int(bool(((outputs < 0) | (outputs > 1)).any())))
        overlap = overlap_sign(loss.grad_fn, node)
        if overlap:
            watched.write("loss.overlap_sign", overlap)
        labels = margin_labels(loss.grad_fn, node)
        if labels is not None and labels.unique().numel() == 2:
            watched.write("loss.signed_margin", int(bool((labels < 0).any() and (labels > 0).any())))
        binary = binary_labels(loss.grad_fn, node)
        if binary is not None and binary.unique().numel() == 2:
            watched.write("loss.binary_labels", [float(binary.min()), float(binary.max())])
        targets = residual_targets(loss.grad_fn, node, outputs)
        if targets is not None and targets.numel() > 1:
            watched.write("loss.target_range", [float(targets.min()), float(targets.max())])
        sign = cosine_sign(loss.grad_fn, node)
        if sign:
            watched.write("loss.cosine_sign", sign)

    def _write_options(self, watched: WatchedModel, kind: str) -> None:
        """Record the options of the loss that change its value or the labels it counts."""
        options = loss_options(watched.last_call)
        self._ignored = int(options.get("ignore_index", watched.ignored_label))
        self._sums_losses = options.get("reduction") == "sum"
        weights = options.get("weight")
        if kind in ("cross_entropy", "nll") and isinstance(weights, Tensor) and weights.dim() == 1:
            watched.write("loss.class_weights", weights.tolist())
        for name, value in options.items():
            if not isinstance(value, Tensor):
                watched.write("loss.option", value, name)
            elif name == "pos_weight":
                watched.write("loss.option", value.flatten().tolist()[:100], name)


def given_to_loss(loss: Tensor, outputs: Tensor) -> Any:
    """Node of what is given to the loss function of torch that ends a loss, else that of the outputs.

    It is not that of the outputs where these go through a layer outside of the model, as features through a head with
    its own optimiser, or through an activation in the loss of the user.
    """
    kind, node = kind_and_node(loss)
    if kind not in CROSS_ENTROPIES or node is None:
        return outputs.grad_fn
    given = node.next_functions[0][0]
    if kind == "cross_entropy" and given is not None:  # log_softmax, then nll
        given = given.next_functions[0][0]
    return given or outputs.grad_fn


def is_held_out(watched: WatchedModel, place: int) -> bool:
    """Return whether a pass of an evaluation is not one of those over the training set, as far as is known."""
    first, last = watched.ledger.last("input.held_out_passes", default=[0, place])
    return first <= place <= last
