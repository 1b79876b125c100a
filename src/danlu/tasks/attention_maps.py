"""Attention of a detector's queries as small transparent images that the report draws over the image."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.canvas import Placement

COLOUR = (244, 120, 30)  # RGB; the attention is the opacity
MAX_OPACITY = 0.85


def compressed(weights: Tensor) -> Tensor:
    """Attention (count, H, W) as uint8 on the CPU, 255 for the max of each query."""
    largest = weights.amax((1, 2), keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return (weights / largest * 255).round().to("cpu", torch.uint8)


def shown(maps: Tensor, placement: Placement) -> list[dict[str, Any]]:
    """Each map of `compressed` as "map", a data URI, and "area", the corners of the canvas in pixels of the image."""
    height, width = placement.size
    area = placement.inverse().boxes(torch.tensor([0.0, 0.0, width, height]))
    corners = [round(value, 1) for value in area.tolist()]
    return [{"map": _as_uri(one.numpy(), COLOUR), "area": corners} for one in maps]


def _as_uri(values: np.ndarray, colour: Sequence[int]) -> str:
    from PIL import Image

    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = colour, values * MAX_OPACITY
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
