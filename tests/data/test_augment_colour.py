"""Colour jitter against torchvision; it keeps the mean and increases the variance."""

import colorsys

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from danlu.data.augmentation.colour import jitter

ONE, NIL = torch.ones(6), torch.zeros(6)


def images(low: float, high: float, channels: int = 3) -> torch.Tensor:
    return low + (high - low) * torch.rand(6, channels, 10, 14, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "channels"), [("brightness", 1), ("brightness", 3), ("contrast", 1), ("contrast", 3), ("saturation", 3)]
)
def test_each_factor_is_torchvisions_clamping_included(name, channels):
    source = images(0, 255, channels)
    factor = torch.tensor([0.0, 0.3, 0.8, 1.0, 1.4, 1.9])
    got = jitter(source, *(factor if name == n else ONE for n in ("brightness", "contrast", "saturation")), NIL)
    adjust = getattr(tv, f"adjust_{name}")
    wanted = torch.stack([adjust(p / 255, f) * 255 for p, f in zip(source, factor.tolist())])
    assert wanted.max() > 254  # some values were clamped
    assert (got - wanted).abs().max() < 0.03  # of 255; torchvision's luma weights sum to 0.9999


def test_all_three_in_torchvisions_order():
    source = images(80, 160)  # no step leaves [0, 255]: torchvision clamps after each, danlu at the end
    b, c, s = (torch.linspace(0.8, 1.2, 6).roll(k) for k in (0, 2, 5))
    got = jitter(source, b, c, s, NIL)
    for i in range(6):
        wanted = tv.adjust_brightness(source[i] / 255, b[i].item())
        wanted = tv.adjust_contrast(wanted, c[i].item())
        wanted = tv.adjust_saturation(wanted, s[i].item())
        assert (got[i] - wanted * 255).abs().max() < 0.03


def test_hue_keeps_grey_luma_and_comes_back_after_a_whole_turn():
    source = images(100, 150)
    luma = torch.tensor([0.2989, 0.587, 0.114])
    luma = luma / luma.sum()
    turned = jitter(source, ONE, ONE, ONE, torch.full((6,), 0.2))
    assert (turned - source).abs().max() > 10
    back = torch.einsum("nchw,c->nhw", turned, luma) - torch.einsum("nchw,c->nhw", source, luma)
    assert back.abs().max() < 0.01
    assert torch.allclose(jitter(source, ONE, ONE, ONE, ONE), source, atol=0.02)
    grey = source[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(jitter(grey, ONE, ONE, ONE, torch.full((6,), 0.37)), grey, atol=0.02)


def test_hue_turns_the_same_way_as_hsv():
    """torchvision turns HSV; the linear turn of YIQ need not agree in amount, but must in direction."""
    red = torch.tensor([200.0, 60.0, 60.0]).view(1, 3, 1, 1).expand(6, 3, 1, 1)
    for turn in (0.05, -0.05, 0.1):
        rgb = jitter(red, ONE, ONE, ONE, torch.full((6,), turn))[0].flatten() / 255
        hue = colorsys.rgb_to_hsv(*rgb.tolist())[0]
        hue = hue - 1 if hue > 0.5 else hue
        assert hue * turn > 0
        assert 0.5 < hue / turn < 2


def test_jitter_keeps_the_mean_and_widens_the_spread():
    """claims G2. Factors uniform in [1 - x, 1 + x] have mean 1, so the mean of many views is the image's."""
    source = images(60, 150)[:1].expand(4000, -1, -1, -1)
    u = torch.rand(4, 4000, generator=torch.Generator().manual_seed(2))
    views = jitter(source, *(0.6 + 0.8 * u[:3]), 0.1 * (u[3] - 0.5))
    # 4 standard errors of the mean brightness factor, 0.8 / sqrt(12) / sqrt(4000)
    assert abs(views.mean() / source.mean() - 1) < 4 * 0.231 / 4000**0.5
    assert views.var() > 1.5 * source.var()


def test_no_change_is_no_change():
    source = images(0, 255)
    assert torch.allclose(jitter(source, ONE, ONE, ONE, NIL), source, atol=1e-3)
