"""Try the user's network and loss on a few training samples before the training, so that errors are one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from danlu.data.batches import Batch
from danlu.message import Message, message
from danlu.preparation.assemble import make_batches, make_task, transforms
from danlu.preparation.networks import initial_network
from danlu.preparation.prepared import Prepared
from danlu.refuse import Refusal, refusal, shortened
from danlu.tasks.task import rows
from danlu.user_objects import PREFIX, is_own

SAMPLES = 4  # training samples; batch norm of a training pass needs at least two


def check_own(prepared: Prepared) -> None:
    """Refuse a network that fails on the data or has other outputs than the data need, and a loss that fails on them.

    Everything runs on the CPU, and leaves random generators and the user's objects as they were.
    """
    config = prepared.config
    state = torch.get_rng_state()
    index = prepared.split.train[:SAMPLES]
    _, evaluation = transforms(prepared)
    batch = next(make_batches(prepared, index, evaluation, batch_size=len(index)).epoch())
    inputs, targets = batch.inputs.cpu(), batch.targets.cpu()
    model = initial_network(prepared.signature, config, prepared.transfer, config.seed).eval()
    returned = _returned(model, inputs, str(config.model.name))
    outputs = rows(returned)
    wanted = prepared.signature.outputs
    classify = prepared.dataset.task_spec.targets == "class"
    got = outputs.shape[1] if outputs.ndim == 2 else tuple(outputs.shape[1:])
    one_for_two = classify and wanted == 2 and got == 1 and is_own(config.loss.name)  # binary cross entropy
    if got != wanted and not one_for_two:
        name = _shown(config.model.name)
        what = message("preparation.number_of_targets", "{count} numbers to predict", count=wanted)
        if classify:
            what = message("preparation.number_of_classes", "{count} classes", count=wanted)
        change = _near_miss(model, wanted)
        if classify and (got, wanted) == (1, 2):
            change = message("preparation.or_binary", "{change}, or the loss be nn.BCEWithLogitsLoss()", change=change)
        hint = message("preparation.hint", "; {hint}", hint=change) if isinstance(got, int) else ""
        raise Refusal(
            message(
                "preparation.refuse.model_gives_outputs_per",
                "model {name} gives {got} outputs per sample, but the data have {what}{hint}",
                name=name,
                got=got,
                what=what,
                hint=hint,
            ),
            "model",
        )
    if is_own(config.loss.name):
        with _naming_logits(returned):
            loss = _checked_loss(prepared, replace(batch, inputs=inputs, targets=targets), outputs)
        if any(p.requires_grad for p in model.parameters()) and not loss.requires_grad:
            text = "loss {name} has no gradient: it detaches the outputs or uses numpy"
            name = _shown(config.loss.name)
            raise Refusal(message("preparation.refuse.loss_gradient_detaches_outputs", text, name=name), "loss")
    torch.set_rng_state(state)


def _checked_loss(prepared: Prepared, batch: Batch, outputs: Tensor) -> Tensor:
    """The loss. Refusal if it is not finite, or adds up the samples of a batch, as that of two equal halves shows."""
    name = _shown(prepared.config.loss.name)
    loss = _loss(prepared, batch, outputs)
    value = float(loss.detach())
    if not math.isfinite(value):
        wanted = message("preparation.wanted.finite_first_samples", "finite on the first samples")
        raise refusal(f"loss {name}", wanted, value)
    both = replace(batch, targets=torch.cat([batch.targets, batch.targets]))
    twice = float(_loss(prepared, both, torch.cat([outputs, outputs])).detach())
    if value != 0 and abs(twice - 2 * value) < 1e-3 * abs(value):
        text = "loss {name} adds up the samples of a batch; give their mean, as by reduction='mean', or one value each"
        raise Refusal(message("preparation.refuse.loss_sums", text, name=name), "loss")
    return loss


def _loss(prepared: Prepared, batch: Batch, outputs: Tensor) -> Tensor:
    return make_task(prepared).loss(lambda x: outputs, batch)["loss"]


@contextmanager
def _naming_logits(returned: Any) -> Iterator[None]:
    """Add to the error of a loss that it gets one tensor of the several that the network returns."""
    try:
        yield
    except Refusal as error:
        if isinstance(returned, Tensor):
            raise
        text = "{error}; the loss gets 'logits' alone of the {kind} that the network returns"
        kind = type(returned).__name__
        raise Refusal(
            message("preparation.refuse.loss_of_logits", text, error=str(error), kind=kind), "loss"
        ) from error


def _returned(model: nn.Module, inputs: Tensor, name: str) -> Any:
    try:
        return model(inputs)
    except Refusal:
        raise
    except Exception as error:
        why = shortened(error, 300)
        shape, kind = tuple(inputs.shape), str(inputs.dtype).removeprefix("torch.")
        raise Refusal(
            message(
                "preparation.refuse.model_fails_batch_shape",
                "model {name} fails on a batch of shape {shape}, {kind}: {why}{hint}",
                name=_shown(name),
                shape=str(shape),
                kind=kind,
                why=why,
                hint=_other_type(model, inputs, error),
            ),
            "model",
        ) from error


def _other_type(model: nn.Module, inputs: Tensor, error: Exception) -> str:
    """Hint where the network and the inputs have other types of numbers, "" elsewhere."""
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if "type" not in str(error).lower() or not kinds or inputs.dtype in kinds:
        return ""
    if not inputs.is_floating_point():
        return message("preparation.hint_inputs", "; give the inputs as float32: x.float()")
    kind = str(next(iter(kinds))).removeprefix("torch.")
    return message("preparation.hint_weights", "; its weights are {kind}: give model.float()", kind=kind)


def _near_miss(model: nn.Module, wanted: int) -> Message:
    """Text with the number of outputs that the last dense layer should have."""
    layers = [name for name, one in model.named_modules() if isinstance(one, nn.Linear)]
    if not layers:
        return message("preparation.last_layer", "its last layer should have {count}", count=wanted)
    text = "its last layer {name!r} should have {count}"
    return message("preparation.named_layer", text, name=layers[-1], count=wanted)


def _shown(name: str | None) -> str:
    return str(name).removeprefix(PREFIX)
