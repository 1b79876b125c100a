"""Geometry against torchvision, image by image."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from danlu.config import AugmentConfig
from danlu.data.augmentation.augment import WIDTH, Augment, Draws
from danlu.data.augmentation.geometry import (
    affine,
    centre_side,
    integers,
    log_between,
    pad_crop_flip,
    random_boxes,
    rectangles,
    resample,
)

OFF = {"preset": "none"}


def images(n: int = 9, channels: int = 3, height: int = 12, width: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0, 256, (n, channels, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def smooth(n: int, side: int) -> torch.Tensor:
    """Images whose values change slowly, so that resamplers differing in rounding still agree."""
    low = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 255
    return torch.nn.functional.interpolate(low, (side, side), mode="bicubic", align_corners=True).clamp(0, 255)


def plain(config: AugmentConfig, size: int, channels: int = 3, classes: int = 4) -> Augment:
    """An augmentation whose normalisation only divides by 255."""
    return Augment(config, size=size, channels=channels, classes=classes, mean=[0.0] * channels, std=[1.0] * channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 14)])
def test_pad_crop_flip_is_torchvisions_pad_crop_and_flips_bit_for_bit(channels, height, width):
    n, pad = 40, 3
    source = images(n, channels, height, width)
    random = np.random.default_rng(1)
    corner = torch.from_numpy(random.integers(0, 2 * pad + 1, (n, 2)))
    left_right, up_down = torch.from_numpy(random.random((2, n)) < 0.5)
    got = pad_crop_flip(source, pad, corner, left_right, up_down)
    for i in range(n):
        left, top = corner[i].tolist()
        wanted = tv.crop(tv.pad(source[i], [pad]), top, left, height, width)
        wanted = tv.horizontal_flip(wanted) if left_right[i] else wanted
        wanted = tv.vertical_flip(wanted) if up_down[i] else wanted
        assert torch.equal(got[i], wanted)


@pytest.mark.parametrize("flip", ["lr", "ud", "both"])
def test_flips_alone_happen_to_half_the_images_and_move_whole_pixels(flip):
    source = images(1).expand(400, -1, -1, -1)
    augment = plain(AugmentConfig(**OFF, flip=flip), 12)
    got, _ = augment(source, None, torch.zeros(400).long(), augment.draw(np.random.default_rng(0), 400))
    shown = {"lr": [0, 1], "ud": [0, 2], "both": [0, 1, 2, 3]}[flip]
    views = [source[0], source[0].flip(-1), source[0].flip(-2), source[0].flip(-1).flip(-2)]
    counts = [sum(torch.equal(p, (v / 1.0) * torch.tensor(1 / 255)) for p in got) for v in views]
    assert sum(counts) == 400
    assert [i for i, c in enumerate(counts) if c] == shown
    assert min(counts[i] for i in shown) > 0.8 * 400 / len(shown)


def test_every_crop_offset_is_as_likely_as_any_other():
    n, pad = 5000, 2
    counts = torch.bincount(integers(torch.rand(n, generator=torch.Generator().manual_seed(0)), 2 * pad + 1))
    assert len(counts) == 5
    assert (counts - n / 5).abs().max() < 4 * math.sqrt(n * 0.2 * 0.8)
    assert integers(torch.tensor([0.99999997]), 9).item() == 8


@pytest.mark.parametrize(
    ("angle", "scale", "shear", "shift"),
    [(30, 1, 0, (0, 0)), (0, 1.3, 0, (0, 0)), (0, 1, 20, (0, 0)), (0, 1, 0, (3, -2)), (-25, 0.8, 10, (2, 4))],
)
def test_the_affine_map_is_torchvisions(angle, scale, shear, shift):
    source = smooth(2, 24)
    forward = affine(*(torch.tensor([float(v)] * 2) for v in (math.radians(angle), scale, math.radians(shear))))
    back = torch.linalg.inv(forward)
    move = torch.tensor(shift, dtype=torch.float32)
    got = resample(source, back, -(back @ move), 24, "zeros")
    wanted = tv.affine(source, angle, list(shift), scale, [shear, 0], interpolation=tv.InterpolationMode.BILINEAR)
    # torchvision also fades the fill in at the edge of the image: compare where it is wholly inside.
    inside = tv.affine(torch.ones_like(source), angle, list(shift), scale, [shear, 0]) == 1
    inside = torch.nn.functional.avg_pool2d(inside.float(), 5, 1, 2, count_include_pad=False) == 1
    assert inside.float().mean() > 0.3
    assert (got - wanted).abs()[inside].max() < 0.01  # of 255


def test_the_batch_follows_its_draws_like_torchvision():
    """Rotation, zoom, shear, shift and a mirror in one map = torchvision's affine, then its flip."""
    source = smooth(8, 24).round().to(torch.uint8)
    config = AugmentConfig(**OFF, rotate=30, scale=0.2, shear=10, translate=0.1, flip="lr")
    augment = plain(config, 24)
    draws = augment.draw(np.random.default_rng(3), 8)
    got, _ = augment(source, None, torch.zeros(8).long(), draws)
    mirrored = draws.of("flip")[:, 0] < 0.5
    assert mirrored.any()
    assert not mirrored.all()
    for i, u in enumerate((2 * draws.of("affine") - 1).tolist()):
        settings = (30 * u[0], [2.4 * u[3], 2.4 * u[4]], 1 + 0.2 * u[1], [10 * u[2], 0.0])
        wanted = tv.affine(source[i].float(), *settings, interpolation=tv.InterpolationMode.BILINEAR)
        wanted = tv.horizontal_flip(wanted) if mirrored[i] else wanted
        assert (got[i] * 255 - wanted)[:, 8:16, 8:16].abs().max() < 0.02


def test_the_resampled_way_equals_the_exact_way_where_both_can_go():
    """A rotation too small to see sends the same draws through one resampling instead of whole pixels."""
    source = images(32, 3, 16, 16)
    labels = torch.zeros(32).long()
    exact = plain(AugmentConfig(**OFF, pad=3, flip="both"), 16)
    mapped = plain(AugmentConfig(**OFF, pad=3, flip="both", rotate=1e-6), 16)
    draws = exact.draw(np.random.default_rng(5), 32)
    difference = exact(source, None, labels, draws)[0] - mapped(source, None, labels, draws)[0]
    assert difference.abs().max() < 1e-3


def test_random_boxes_keep_their_area_ratio_and_place():
    u = torch.rand(4000, 4, generator=torch.Generator().manual_seed(0))
    sizes, centres = random_boxes(u, 60, 80, (0.08, 1.0), (3 / 4, 4 / 3))
    canvas = torch.tensor([80.0, 60.0])
    assert (sizes <= canvas).all()
    assert (centres.abs() + sizes / 2 <= canvas / 2 + 1e-3).all()
    fits = (sizes < canvas).all(1)
    fraction = sizes.prod(1)[fits] / 4800
    ratio = (sizes[:, 0] / sizes[:, 1])[fits]
    assert fraction.min() >= 0.0799
    assert ratio.min() >= 0.749
    assert ratio.max() <= 1.334
    assert torch.allclose(fraction, 0.08 + 0.92 * u[fits, 0], atol=1e-4)


def test_a_random_resized_crop_is_torchvisions():
    """Boxes on whole pixels, enlarged: torchvision's resized_crop of the same box."""
    source = smooth(1, 32)
    for top, left, height, width in [(0, 0, 16, 16), (5, 9, 12, 20), (16, 16, 16, 16)]:
        scale = torch.diag_embed(torch.tensor([[width / 24, height / 24]]))
        centre = torch.tensor([[left + width / 2 - 16, top + height / 2 - 16]])
        got = resample(source, scale, centre, 24, "border")
        wanted = tv.resized_crop(source, top, left, height, width, [24, 24], antialias=False)
        # torchvision repeats the crop's edge, one resampling sees the pixel beyond it.
        assert (got - wanted)[..., 2:-2, 2:-2].abs().max() < 0.01


def test_a_strong_reduction_averages_instead_of_skipping_pixels():
    checks = ((torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255).to(torch.uint8).expand(4, 3, 64, 64)
    augment = plain(AugmentConfig(**OFF, area=(0.9, 1)), 16)
    got, _ = augment(checks, None, torch.zeros(4).long(), augment.draw(np.random.default_rng(0), 4))
    assert got.shape == (4, 3, 16, 16)
    assert (got - 0.5).abs().mean() < 0.1


def test_evaluated_region_of_a_canvas():
    assert centre_side(28, 28, 28) == 28
    assert centre_side(28, 28, 32) == 28  # enlarged whole
    assert centre_side(40, 32, 16) == 32  # small images are seen whole
    assert centre_side(256, 256, 224) == 224
    assert centre_side(224, 300, 224) == 224
    assert centre_side(512, 600, 224) == 448


def test_log_uniform_ratios_favour_neither_wide_nor_tall():
    ratio = log_between(torch.rand(20000, generator=torch.Generator().manual_seed(0)), 3 / 4, 4 / 3)
    assert abs(ratio.log().mean()) < 0.005


def test_rectangles_cover_their_pixels():
    got = rectangles(*(torch.tensor([float(v)]) for v in (1, 3, 2, 6)), (5, 7))
    wanted = torch.zeros(5, 7, dtype=torch.bool)
    wanted[1:3, 2:6] = True
    assert torch.equal(got[0, 0], wanted)


def test_each_setting_has_its_own_random_numbers():
    draws = Draws(torch.arange(WIDTH).float()[None])
    seen = torch.cat([draws.of(name)[0] for name in ("flip", "pad", "area", "affine", "colour", "erase", "mix")])
    assert seen.tolist() == list(range(WIDTH))
