"""Where each pixel comes from: flips and crops in whole pixels, or one affine map and one resampling.

Shapes: images (N, C, H, W). Offsets and matrices are in pixels, x before y, measured from the image's centre, y
pointing down. What lies outside the image is black, as in torchvision.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 96  # side from which images are treated as photographs: evaluated on their centre, cropped at random
CENTRE = 7 / 8  # share of the side that evaluation sees of a large image: 224 of 256 pixels (He et al. 2015)


def coin(u: Tensor, chance: float) -> Tensor:
    """Uniforms in [0, 1) -> true with this chance."""
    return u < chance


def between(u: Tensor, low: float, high: float) -> Tensor:
    """Uniforms in [0, 1) -> uniforms in [low, high)."""
    return low + (high - low) * u


def log_between(u: Tensor, low: float, high: float) -> Tensor:
    """Uniforms in [0, 1) -> numbers in [low, high) whose logarithm is uniform."""
    return between(u, math.log(low), math.log(high)).exp()


def whole(u: Tensor, count: int) -> Tensor:
    """Uniforms in [0, 1) -> whole numbers 0 ... count - 1."""
    return (u * count).long().clamp_(max=count - 1)  # float32 may round u * count up to count


def pad_crop_flip(
    images: Tensor, pad: int, corner: Tensor | None, left_right: Tensor | None, up_down: Tensor | None
) -> Tensor:
    """Pad with black, cut out the window that starts at `corner`, then mirror it; same shape and type, pixels exact.

    pad: pixels on each side. corner: x and y, int64 (N, 2) in 0 ... 2 pad. left_right, up_down: bool (N,).
    None: not done.
    The recipe of the CIFAR networks (He et al. 2015, section 4.2). All of it is one gather of whole pixel rows, which
    is a copy of memory: an up-down flip gathers the rows in reverse, a left-right flip gathers from a mirrored copy.
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

    runs = padded.as_strided((padded.numel() - width + 1, width), (1, 1))  # every run of W neighbouring pixels
    return runs.index_select(0, starts.flatten()).view(n, channels, height, width)


def centre_side(height: int, width: int, size: int) -> int:
    """Side in pixels of the centre square that evaluation sees of a canvas, for a network that takes `size` pixels.

    The whole of a small image; of a large one 7/8 of the short side, but no less than `size` where there is as much.
    """
    short = min(height, width)
    return max(min(size, short), round(CENTRE * short)) if size >= LARGE else short


def random_boxes(
    u: Tensor, height: int, width: int, area: tuple[float, ...], ratio: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Random resized crop: a box per image, inside the canvas. u: (N, 4). Returns sizes and centres, each (N, 2).

    Area share uniform in `area`, width/height log-uniform in `ratio` (Szegedy et al. 2015). A box that would not fit
    is cut to the canvas, where torchvision draws again up to ten times.
    """
    canvas = u.new_tensor([width, height])
    share = between(u[:, 0], *area) * (height * width)
    shape = log_between(u[:, 1], *ratio)
    sizes = torch.stack((share * shape, share / shape), 1).sqrt_().minimum(canvas)
    return sizes, (u[:, 2:4] - 0.5) * (canvas - sizes)


def affine(angle: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Matrices (N, 2, 2) of "shear along x, zoom, rotate clockwise", as torchvision's `affine`. Angles in radians."""
    cos, sin = angle.cos() * scale, angle.sin() * scale
    tan = shear.tan()
    return torch.stack((cos, -cos * tan - sin, sin, -sin * tan + cos), 1).view(-1, 2, 2)


def resample(images: Tensor, matrix: Tensor, shift: Tensor, size: int, outside: str, *, taps: int = 1) -> Tensor:
    """Output pixel at offset o from the centre shows the image at matrix o + shift; bilinear.

    images: float (N, C, H, W). matrix: (N, 2, 2). shift: (N, 2). Returns (N, C, size, size).
    outside: "zeros" (black) or "border" (the nearest pixel). taps: every output pixel averages taps x taps samples:
    what keeps a strong reduction free of aliasing.
    """
    height, width = images.shape[2:]
    fine = size * taps
    to_unit = 2 / matrix.new_tensor([width, height])  # grid_sample counts from -1 to 1 over each side
    steps = (torch.arange(fine, device=matrix.device) + 0.5) / taps - size / 2
    along_x = (matrix[:, :, 0] * to_unit)[:, None] * steps[:, None]  # (N, fine, 2)
    along_y = (matrix[:, :, 1] * to_unit)[:, None] * steps[:, None] + (shift * to_unit)[:, None]
    grid = along_x[:, None] + along_y[:, :, None]
    drawn = F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)
    return F.avg_pool2d(drawn, taps) if taps > 1 else drawn


def rectangles(top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, shape: tuple[int, int]) -> Tensor:
    """Edges in pixels, each (N,), and (H, W) -> bool (N, 1, H, W), true for top <= y < bottom and left <= x < right."""
    ys, xs = (torch.arange(side, device=top.device) for side in shape)
    inside_y = (ys >= top[:, None]) & (ys < bottom[:, None])
    inside_x = (xs >= left[:, None]) & (xs < right[:, None])
    return (inside_y[:, :, None] & inside_x[:, None])[:, None]
