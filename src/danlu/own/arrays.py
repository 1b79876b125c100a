"""Arrays and tensors of the user as danlu's inputs: uint8 images, rows of numbers, or clips."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.clips import as_clips, frame_numbers, frames_to_take
from danlu.message import message
from danlu.refuse import refusal, shape_of


def array_inputs(array: Any, raw: bool, where: str, frames: int | None = None) -> Tensor:
    """An array as uint8 images (N, C, H, W), as rows float32 (N, D), as clips (N, T, C, H, W), or as it is.

    Refusal for text and NaN. frames: number of frames to take of each clip. raw: the user's network takes it: only
    64-bit floats are shortened.
    """
    tensor = _tensor(array, f"inputs of {where}")
    if tensor.is_floating_point():
        tensor = tensor.float()
        if not bool(torch.isfinite(tensor).all()):
            row = int((~torch.isfinite(tensor)).reshape(len(tensor), -1).any(1).nonzero()[0])
            raise refusal(
                f"inputs of {where} at row {row}",
                message("own.wanted.finite_numbers", "finite numbers"),
                message("own.got.nan_infinity", "NaN or infinity"),
            )
    if tensor.ndim < 2 and not raw:
        tensor = tensor[:, None]
    if tensor.dtype == torch.uint8 and tensor.ndim in (3, 4):
        return _byte_images(tensor, raw, where)
    if tensor.ndim == 5 and not raw:
        clips = as_clips(tensor, f"inputs of {where}")
        count = frames_to_take([clips.shape[1]], frames, where)
        clips = clips[:, frame_numbers(clips.shape[1], count)]
        return clips if clips.dtype == torch.uint8 else clips.float()
    if raw:
        return tensor.float() if tensor.dtype in (torch.bool, torch.uint8) else tensor
    tensor = tensor.float()
    if tensor.ndim == 3:
        return tensor[:, None]
    if tensor.ndim == 4:
        images = _channels_first(tensor)
        if images is None:
            wanted = message(
                "own.wanted.images_channels_network_your",
                "images (N, H, W, C) or (N, C, H, W) of 1, 3 or 4 channels, or a network of your own (model=)",
            )
            raise refusal(f"inputs of {where}", wanted, shape_of(tensor))
        return images
    if tensor.ndim > 4:
        wanted = message(
            "own.wanted.rows_images_network_your",
            "rows (N, D), images (N, C, H, W), clips (N, T, C, H, W), or a network of your own for other shapes "
            "(model=)",
        )
        raise refusal(f"inputs of {where}", wanted, shape_of(tensor))
    return tensor


def _byte_images(tensor: Tensor, raw: bool, where: str) -> Tensor:
    """Images uint8 (N, C, H, W); floats in [0, 1] where they are none and the user's network takes them."""
    images = _channels_first(tensor)
    if images is not None and (not raw or images.shape[2] == images.shape[3]):
        return images
    if not raw:
        wanted = message(
            "own.wanted.images_channels", "images (N, H, W), (N, H, W, C) or (N, C, H, W) of 1, 3 or 4 channels"
        )
        raise refusal(f"inputs of {where}", wanted, shape_of(tensor))
    return tensor.float() / 255


def _tensor(array: Any, where: str) -> Tensor:
    if isinstance(array, Tensor):
        tensor = array.detach().cpu()
    else:
        try:
            values = np.asarray(array)
        except ValueError:
            raise refusal(
                where,
                message("own.wanted.array_shape", "an array of one shape"),
                message("own.got.lists_different_lengths", "lists of different lengths"),
            ) from None
        if values.dtype.kind not in "iufb":
            got = (
                message("own.got.type", "type {dtype}", dtype=values.dtype)
                if values.dtype != object
                else message("own.got.objects_lists_different_lengths", "objects or lists of different lengths")
            )
            raise refusal(where, message("own.wanted.numbers", "numbers"), got)
        unsigned = values.dtype.kind == "u" and values.dtype != np.uint8
        tensor = torch.from_numpy(np.array(values, dtype=np.int64 if unsigned else None))
    if not tensor.numel():
        raise refusal(
            where,
            message("own.wanted.array_something", "an array with something in it"),
            shape_of(tensor),
        )
    return tensor


def _channels_first(images: Tensor) -> Tensor | None:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) -> (N, C, H, W) with 1 or 3 channels; None for another number."""
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3):
        images = images.permute(0, 3, 1, 2)
    images = images[:, :3] if images.shape[1] == 4 else images
    return images.contiguous() if images.shape[1] in (1, 3) else None
