"""Effective receptive fields: how far the gradient of one output position really reaches into the image.

Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", 2016: within the
theoretical receptive field the gradient falls off like a Gaussian, so that pixels at its border hardly matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from danlu.inspection.layers import Layer, in_mode

IMAGES = 8  # random images that gradients are averaged over
MIN_FRACTION = 1 - 0.9545  # of the largest gradient, above which a pixel counts (Luo et al. 2016, section 3.1)
TILE = 160  # pixels of a map in the drawing
MARGIN = 8  # pixels between the maps


@dataclass(frozen=True)
class EffectiveField:
    """Receptive field of the central position of one layer's output.

    Args:
        layer: Name of the module.
        theoretical: Height and width in pixels that the position depends on, at most the image.
        effective: Side in pixels of a square with the area of the pixels that count.
        gradient: Root mean square gradient of each pixel, (H, W), largest value 1.
    """

    layer: str
    theoretical: tuple[int, int]
    effective: float
    gradient: Tensor


def last_of_each_stride(layers: Sequence[Layer]) -> list[str]:
    """Name the last convolution of each stride, and of all."""
    convolutions = [one for one in layers if one.used and one.jump and one.kind == "Conv2d"]
    return list({one.jump: one.name for one in convolutions}.values())


def effective_fields(
    model: nn.Module, shape: tuple[int, int, int], layers: Sequence[Layer], names: Sequence[str], seed: int = 0
) -> list[EffectiveField]:
    """Measure the effective receptive field of some layers on random images, (C, H, W), in evaluation mode.

    The gradient is that of a sum of the channels of the central position with random signs. layers: of the trace.
    names: of modules with outputs (N, C, H, W).
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    images = torch.randn(IMAGES, *shape, generator=generator).to(device).requires_grad_()
    outputs: dict[str, Tensor] = {}
    modules = dict(model.named_modules())

    def keep(name: str) -> Callable[[Any, Any, Tensor], None]:
        return lambda module, inputs, out: outputs.__setitem__(name, out)

    hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
    traced = {layer.name: layer for layer in layers}
    try:
        with in_mode(model, training=False), torch.enable_grad():
            model(images)
            return [_field(name, traced[name], outputs[name], images, generator) for name in names]
    finally:
        for hook in hooks:
            hook.remove()


def _field(name: str, layer: Layer, out: Tensor, images: Tensor, generator: torch.Generator) -> EffectiveField:
    centre = out[:, :, out.shape[2] // 2, out.shape[3] // 2]
    signs = torch.randint(0, 2, centre.shape, generator=generator).to(centre) * 2 - 1
    (gradient,) = torch.autograd.grad((centre * signs).sum(), images, retain_graph=True)
    reach = gradient.square().mean((0, 1)).sqrt()
    reach = (reach / reach.max().clamp_min(1e-30)).cpu()
    height, width = images.shape[2:]
    wide, high = layer.receptive_field[-1], layer.receptive_field[0]  # type: ignore[index]
    side = float((reach >= MIN_FRACTION).sum()) ** 0.5
    return EffectiveField(name, (min(high, height), min(wide, width)), side, reach)


def draw_fields(fields: Sequence[EffectiveField], path: Path) -> None:
    """Draw the gradients of several layers side by side, with the theoretical field as a frame. Raises OSError."""
    text = 30  # pixels below each map
    sheet = Image.new("RGB", (len(fields) * (TILE + MARGIN) + MARGIN, TILE + 2 * MARGIN + text), "white")
    pen = ImageDraw.Draw(sheet)
    for i, field in enumerate(fields):
        left = MARGIN + i * (TILE + MARGIN)
        shade = 255 - (255 * field.gradient.sqrt()).round().to(torch.uint8)
        sheet.paste(Image.fromarray(shade.numpy()).resize((TILE, TILE), Image.Resampling.NEAREST), (left, MARGIN))
        pen.rectangle((left, MARGIN, left + TILE - 1, MARGIN + TILE - 1), outline=(210, 210, 210))
        high, wide = (TILE * side / whole for side, whole in zip(field.theoretical, field.gradient.shape))
        centre = (left + TILE / 2, MARGIN + TILE / 2)
        frame = (centre[0] - wide / 2, centre[1] - high / 2, centre[0] + wide / 2 - 1, centre[1] + high / 2 - 1)
        pen.rectangle(frame, outline=(200, 40, 40))
        pen.text((left, MARGIN + TILE + 2), field.layer[-26:], fill="black")
        sides = f"{field.effective:.0f} px of {' x '.join(map(str, field.theoretical))}"
        pen.text((left, MARGIN + TILE + 14), sides, fill="black")
    sheet.save(path)
