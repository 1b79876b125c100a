"""Geometric image transforms on the device: pixel-exact padding, crops and flips, or one affine map with resampling.

Shapes: images (N, C, H, W). Offsets and matrices are in pixels, x before y, measured from the image's centre, y
pointing down. Pixels outside the image are black, as in torchvision. Random transforms take uniform random numbers in
[0, 1) as `u`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PHOTO_SIDE = 96  # pixels; images of at least this side are evaluated on their centre and cropped at random
CENTRE_FRACTION = 7 / 8  # of the side, evaluated of a large image: 224 of 256 pixels (He et al. 2015)


def bernoulli(u: Tensor, probability: float) -> Tensor:
    """Map uniforms in [0, 1) to booleans that are true with the given probability."""
    return u < probability


def between(u: Tensor, low: float, high: float) -> Tensor:
    """Map uniforms in [0, 1) to uniforms in [low, high)."""
    return low + (high - low) * u


def log_between(u: Tensor, low: float, high: float) -> Tensor:
    """Map uniforms in [0, 1) to log-uniform numbers in [low, high)."""
    return between(u, math.log(low), math.log(high)).exp()


def integers(u: Tensor, count: int) -> Tensor:
    """Map uniforms in [0, 1) to uniform integers in [0, count)."""
    return (u * count).long().clamp_(max=count - 1)  # float32 may round u * count up to count


def pad_crop_flip(
    images: Tensor, pad: int, corner: Tensor | None, left_right: Tensor | None, up_down: Tensor | None
) -> Tensor:
    """Pad with black, crop the window that starts at `corner`, then flip it, without resampling.

    pad: pixels on each side. corner: x and y of the window, int64 (N, 2) in [0, 2 pad]; None: (0, 0).
    left_right, up_down: images to flip, bool (N,); None: no flips. Returns images of the same shape and type.

    This is the augmentation of the CIFAR networks (He et al. 2015, section 4.2). It is implemented as one gather of
    pixel rows: an up-down flip gathers rows in reverse order, a left-right flip gathers from a mirrored copy.
    """
    n, channels, height, width = images.shape
    sides = images[None] if left_right is None else torch.stack((images, images.flip(-1)))
    padded = F.pad(sides, (pad, pad, pad, pad)).view(-1)
    row = width + 2 * pad
    plane = row * (height + 2 * pad)
    image = channels * plane

    device = images.device
    start = torch.arange(n, device=device) * image
    if corner is not None:
        dx, dy = corner.unbind(1)
        start = start + dy * row + (dx if left_right is None else torch.where(left_right, 2 * pad - dx, dx))
    if left_right is not None:
        start = start + left_right * (n * image)
    ys = torch.arange(height, device=device)
    rows = ys if up_down is None else torch.where(up_down[:, None], height - 1 - ys, ys)[:, None]  # (H,) or (N, 1, H)
    starts = start[:, None, None] + torch.arange(0, image, plane, device=device)[:, None] + rows * row  # (N, C, H)

    runs = padded.as_strided((padded.numel() - width + 1, width), (1, 1))  # each run of W adjacent pixels
    return runs.index_select(0, starts.flatten()).view(n, channels, height, width)


def centre_side(height: int, width: int, size: int) -> int:
    """Compute the side, in pixels, of the centre crop used in evaluation for a network with inputs of `size` pixels.

    For small `size` this is the shorter side of the image; otherwise 7/8 of it, but not less than `size` if the image
    is large enough.
    """
    short = min(height, width)
    return max(min(size, short), round(CENTRE_FRACTION * short)) if size >= PHOTO_SIDE else short


def random_boxes(
    u: Tensor, height: int, width: int, area: tuple[float, ...], ratio: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Draw one box per image for a random resized crop (Szegedy et al. 2015).

    u: (N, 4). area: range of the fraction of the image's area, uniform. ratio: range of width/height, log-uniform.
    A box larger than the image is clipped to it, where torchvision draws again up to ten times.
    Returns sizes (width, height) and offsets of the centres from the image's centre, each (N, 2), in pixels.
    """
    canvas = u.new_tensor([width, height])
    pixels = between(u[:, 0], *area) * (height * width)
    shape = log_between(u[:, 1], *ratio)
    sizes = torch.stack((pixels * shape, pixels / shape), 1).sqrt_().minimum(canvas)
    return sizes, (u[:, 2:4] - 0.5) * (canvas - sizes)


def affine(angle: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Build matrices (N, 2, 2) that shear along x, scale, then rotate clockwise, as torchvision's `affine`.

    angle, shear: (N,), radians. scale: (N,).
    """
    cos, sin = angle.cos() * scale, angle.sin() * scale
    tan = shear.tan()
    return torch.stack((cos, -cos * tan - sin, sin, -sin * tan + cos), 1).view(-1, 2, 2)


def resample(images: Tensor, matrix: Tensor, shift: Tensor, size: int, outside: str, *, taps: int = 1) -> Tensor:
    """Resample each image bilinearly: the output pixel at offset o from the centre is the input at matrix @ o + shift.

    images: float (N, C, H, W). matrix: (N, 2, 2). shift: (N, 2). outside: "zeros" (black) or "border" (nearest pixel).
    taps: each output pixel averages taps x taps samples, which prevents aliasing in a strong reduction.
    Returns float (N, C, size, size).
    """
    height, width = images.shape[2:]
    fine = size * taps
    to_unit = 2 / matrix.new_tensor([width, height])  # grid_sample counts from -1 to 1 over each side
    steps = (torch.arange(fine, device=matrix.device) + 0.5) / taps - size / 2
    along_x = (matrix[:, :, 0] * to_unit)[:, None] * steps[:, None]  # (N, fine, 2)
    along_y = (matrix[:, :, 1] * to_unit)[:, None] * steps[:, None] + (shift * to_unit)[:, None]
    grid = along_x[:, None] + along_y[:, :, None]
    sampled = F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)
    return F.avg_pool2d(sampled, taps) if taps > 1 else sampled


def rectangles(top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, shape: tuple[int, int]) -> Tensor:
    """Rasterise rectangles: bool (N, 1, H, W), true for top <= y < bottom and left <= x < right.

    top, bottom, left, right: edges in pixels, each (N,). shape: (H, W).
    """
    ys, xs = (torch.arange(side, device=top.device) for side in shape)
    inside_y = (ys >= top[:, None]) & (ys < bottom[:, None])
    inside_x = (xs >= left[:, None]) & (xs < right[:, None])
    return (inside_y[:, :, None] & inside_x[:, None])[:, None]
