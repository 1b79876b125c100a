"""Networks for semantic segmentation against published counts and worked kernels."""

from __future__ import annotations

import pytest
import torch

from danlu.refuse import Refusal
from danlu.segmentation.fcn import FCN, bilinear_kernel, upsample
from danlu.segmentation.segmenter_table import SEGMENTERS, build_segmenter


def count(name: str, **settings: object) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_segmenter(name, **settings).parameters())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "parameters"),
    # Counted with an independent implementation; 16s and 8s add 1x1 scores of 512 and 256 channels.
    [("fcn32s", 134_346_581), ("fcn16s", 134_346_581 + 10_773), ("fcn8s", 134_346_581 + 16_170)],
)
def test_fcn_has_the_published_number_of_parameters(name, parameters):
    assert count(name, channels=3, classes=21, size=224) == parameters


def test_unet_has_the_published_number_of_parameters():
    assert count("unet", channels=1, classes=2, size=256, width=64, norm="none") == 31_030_658


def test_bilinear_kernels():
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(bilinear_kernel(2), line[:, None] * line)
    sixteen = torch.tensor([(2 * i + 1) / 16 for i in range(8)])
    expected = torch.cat((sixteen, sixteen.flip(0)))
    assert expected[0] == 0.0625
    assert expected[7] == 0.9375
    assert torch.allclose(bilinear_kernel(8), expected[:, None] * expected)


def test_upsampling_agrees_with_interpolation_inside():
    x = torch.randn(1, 2, 6, 6)
    wanted = torch.nn.functional.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    assert torch.allclose(upsample(x, 4)[..., 4:-4, 4:-4], wanted[..., 4:-4, 4:-4], atol=1e-6)


def test_fcn8s_starts_as_fcn32s():
    from danlu.models.network_table import build_backbone

    torch.manual_seed(0)
    narrow = build_backbone("vgg16", channels=3, size=64, width=(2, 2, 4, 4, 4))
    coarse = FCN(narrow, 3, 64, 32).eval()
    fine = FCN(narrow, 3, 64, 8).eval()
    fine.load_state_dict(coarse.state_dict(), strict=False)
    assert not fine.score_pool3.weight.any()  # type: ignore[union-attr]
    constant = torch.full((1, 3, 64, 64), 0.3)
    for model in (coarse, fine):  # away from the edges the upsampling of equal scores is the same in any steps
        model.fc6.padding = (3, 3)
    with torch.no_grad():
        one, other = coarse(constant), fine(constant)
    assert one.shape == other.shape == (1, 3, 64, 64)
    assert torch.allclose(one[..., 28:36, 28:36], other[..., 28:36, 28:36], rtol=0.2, atol=0.05)


@pytest.mark.parametrize(("name", "backbone"), [("fpn", None), ("deeplab", "resnet20"), ("unet", None)])
def test_logits_have_the_size_of_the_image(name, backbone):
    model = build_segmenter(name, channels=3, classes=4, size=64, backbone=backbone, width=8).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, 64, 64)).shape == (2, 4, 64, 64)


def test_folded_pixels_are_unfolded_in_their_places():
    """A U-Net that folds pixels computes at half the resolution, and each pixel of the logits has its own weights."""
    model = build_segmenter("unet", channels=3, classes=4, size=64, width=8, fold_pixels=2).eval()
    seen = []
    model.down[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.arange(16.0))
        logits = model(torch.randn(1, 3, 64, 64))
    assert seen == [(1, 12, 32, 32)]
    assert torch.equal(logits[0, 1, :2, :2], torch.tensor([[4.0, 5.0], [6.0, 7.0]]))
    assert torch.equal(logits[0, 1, 30:32, 30:32], logits[0, 1, :2, :2])


def test_a_folded_unet_draws_contours_at_full_resolution():
    """Each pixel of the image reaches its own logits past the folded part."""
    options = {"width": 8, "fold_pixels": 2, "levels": 4, "fine_width": 4}
    model = build_segmenter("unet", channels=3, classes=4, size=48, **options).eval()
    assert len(model.down) == 4
    assert model.feature_layer == "down.3"
    image = torch.randn(1, 3, 48, 48, requires_grad=True)
    with torch.no_grad():
        model.unfold.weight.zero_()
    model(image)[0, :, 20, 21].sum().backward()
    assert image.grad is not None
    rows, columns = image.grad[0].abs().sum(0).nonzero(as_tuple=True)
    assert rows.tolist() == [r for r in range(18, 23) for _ in range(5)]
    assert columns.tolist() == list(range(19, 24)) * 5


def test_names_of_the_issue():
    assert {"fcn32s", "fcn16s", "fcn8s", "unet"} <= set(SEGMENTERS)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("fcn9s", {}, "fcn8s"),
        ("unet", {"size": 50}, "multiple of 16"),
        ("unet", {"backbone": "resnet20"}, "--backbone"),
        ("unet", {"dropout": 0.5}, "width"),
    ],
)
def test_wrong_settings_are_refused(name, settings, expected):
    with pytest.raises(Refusal, match=expected):
        build_segmenter(name, **({"channels": 3, "classes": 2, "size": 64} | settings))
