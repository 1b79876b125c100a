"""Processor time of a vision transformer on 32 images of different sizes: one by one, and each way of a batch.

`python benchmarks/mixed_sizes.py` prints milliseconds of one core: forward, and forward with backward.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from danlu.models.mixed_sizes import WAYS, outputs_of_sizes, size_within
from danlu.models.network_table import build_model
from danlu.models.networks.vit import ViT

IMAGES, REPEATS, PATCH = 32, 3, 4


def main() -> None:
    """Time every way on the same images."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_model("vit-mini", channels=3, size=32, classes=10)
    assert isinstance(model, ViT)
    generator = torch.Generator().manual_seed(0)
    heights, widths = (torch.randint(20, 100, (IMAGES,), generator=generator).tolist() for _ in range(2))
    tokens = torch.randint(16, 100, (IMAGES,), generator=generator).tolist()
    sizes = [size_within(h, w, PATCH, n) for h, w, n in zip(heights, widths, tokens)]
    images = [torch.randn(3, *size, generator=generator) for size in sizes]
    ways: dict[str, Callable[[], Tensor]] = {
        "one by one": lambda: torch.cat([outputs_of_sizes(model, [one]) for one in images])
    }
    ways |= {way: lambda way=way: outputs_of_sizes(model, images, way) for way in WAYS}
    mixed = build_model("vit-mini", channels=3, size=32, classes=10, mixed=True)
    placed = on_canvases(images)
    ways["canvas"] = lambda: mixed(placed)
    for name, run in ways.items():
        run().sum().backward()
        with torch.no_grad():
            forward = _milliseconds(run)
        print(f"{name:12} {forward:6.0f} {_milliseconds(lambda run=run: run().sum().backward()):6.0f}")


def on_canvases(images: Sequence[Tensor]) -> Tensor:
    """Images in the corner of a square canvas, with a channel that marks them, as in `danlu train --tokens`."""
    side = max(max(one.shape[1:]) for one in images)
    canvases = torch.zeros(len(images), 4, side, side)
    for canvas, image in zip(canvases, images):
        inside = canvas[:, : image.shape[1], : image.shape[2]]
        inside[:3], inside[3] = image, 1
    return canvases


def _milliseconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(REPEATS):
        run()
    return 1000 * (time.process_time() - began) / REPEATS


if __name__ == "__main__":
    main()
