"""Order of the values in colour images: whether neighbours in a column are neighbours in the image.

A reshape in place of a permute leaves each channel a mixture of all channels, three rows of which are one row of the
image. Then rows that lie as many apart as there are channels are more alike than adjacent ones, unlike in
an image read in the right order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

CHANNELS = (2, 3, 4)
MAX_SAMPLES = 32


class InputAxes(Instrument):
    """Write input.row_order."""

    name = "input_axes"
    kept = ("_done",)

    def start(self, watched: WatchedModel) -> None:
        self._done = False

    def before_forward(self, watched: WatchedModel, call: Pass) -> bool | None:
        if self._done or not call.grad:
            return None
        self._done = True
        first = next(tensors_in((call.args, call.kwargs)), None)
        if first is None or first.dim() != 4 or first.shape[1] not in CHANNELS or min(first.shape[2:]) < 8:
            return None
        watched.write_deferred("input.row_order", row_order(first.detach()[:MAX_SAMPLES].float()))
        return True


def row_order(images: Tensor) -> Tensor:
    """Mean difference of rows that lie C apart over that of adjacent rows, for images (N, C, H, W); scalar."""
    channels = images.shape[1]
    near = (images[:, :, 1:] - images[:, :, :-1]).abs().mean()
    far = (images[:, :, channels:] - images[:, :, :-channels]).abs().mean()
    return torch.where(near > 0, far / near.clamp(min=1e-12), torch.ones_like(near))
