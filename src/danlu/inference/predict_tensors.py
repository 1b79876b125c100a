"""Predictions of a network on tensors of the user, which it takes as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.inference.predict_images import CHUNK, member_output, to_prediction
from danlu.inference.prediction import Prediction
from danlu.inference.trained_network import TrainedNetwork
from danlu.message import message
from danlu.refuse import refusal
from danlu.several_inputs import is_several, joined
from danlu.user_objects import find


@torch.no_grad()
def predict_tensors(
    trained: TrainedNetwork, device: torch.device, inputs: Iterable[Any], *, top: int = 3
) -> list[Prediction]:
    """Predict samples (...) and batches (N, ...) of the shape of the training, in order.

    The user's transform is applied where the network was trained with one. Refusal for another shape.
    """
    signature = trained.signature
    predictions: list[Prediction] = []
    for one in inputs:
        if signature.parts and is_several(one):
            one = joined(one, signature.parts, "PATH")  # noqa: PLW2901
        batch = _batch(one, tuple(signature.input_shape), transformed=signature.transform is not None)
        if signature.transform is not None:
            transform = find("transform", signature.transform)
            transform.fit(batch[0])
            sample = transform.of(training=False)
            batch = torch.stack([sample(row, 0) for row in batch]) if sample is not None else batch
        for chunk in batch.split(CHUNK):
            each = [member_output(own, model, chunk.to(device)) for own, model in trained.members_on(device)]
            for output in torch.stack(each).mean(0):
                predictions.append(to_prediction(f"array {len(predictions)}", signature, output, top))
    return predictions


def _batch(one: Any, shape: tuple[int, ...], transformed: bool) -> Tensor:
    """(N, ...), from a batch or one sample."""
    if not isinstance(one, Tensor):
        if isinstance(one, str) or not (hasattr(one, "__array__") or isinstance(one, list | tuple)):
            raise refusal(
                "PATH",
                message(
                    "inference.wanted.predict_tensors_tensors_arrays_shape",
                    "tensors or arrays of shape {shape}",
                    shape=str(shape),
                ),
                one if isinstance(one, str) else type(one).__name__,
            )
        values = np.asarray(one)
        if values.dtype.kind not in "iufb":
            raise refusal(
                "PATH",
                message(
                    "inference.wanted.predict_tensors_tensors_arrays_shape",
                    "tensors or arrays of shape {shape}",
                    shape=str(shape),
                ),
                message("inference.got.type", "type {dtype}", dtype=values.dtype),
            )
        one = torch.from_numpy(np.array(values))
    if not transformed and (one.is_floating_point() or one.dtype in (torch.bool, torch.uint8)):
        one = one.float()
    if one.ndim == len(shape):
        one = one[None]
    wanted_dimensions = one.ndim == len(shape) + 1
    if not wanted_dimensions or (not transformed and tuple(one.shape[1:]) != shape):
        raise refusal(
            "PATH",
            message(
                "inference.wanted.tensors_arrays_shape",
                "tensors or arrays of shape {shape} or (N, {rest})",
                shape=str(shape),
                rest=str(shape)[1:-1].rstrip(","),
            ),
            tuple(one.shape),
        )
    return one
