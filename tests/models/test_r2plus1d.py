"""R(2+1)D against torchvision's and torch's 3-d convolutions; networks of images on clips."""

import pytest
import torch
from torch import nn

from danlu.models.network_table import MODELS, build_model
from danlu.models.networks.r2plus1d import InSpace, InTime, middle_channels
from danlu.refuse import Refusal


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_worked_case_of_a_3d_convolution():
    x = torch.arange(8.0).view(1, 1, 2, 2, 2)
    assert nn.functional.conv3d(x, x).item() == 140  # sum of k^2 for k < 8
    padded = nn.functional.conv3d(x, x, padding=1)
    assert padded[0, 0, 0].tolist() == [[0, 7, 6], [14, 38, 22], [10, 23, 12]]


@pytest.mark.parametrize("stride", [1, 2])
def test_folded_convolutions_equal_3d_ones(stride):
    x = torch.randn(2, 5, 6, 9, 9, requires_grad=True)
    space, time = InSpace(5, 7, 3, stride, bias=False), InTime(5, 7, stride, bias=False)
    whole = nn.functional.conv3d(x, space.conv.weight.unsqueeze(2), stride=(1, stride, stride), padding=(0, 1, 1))
    torch.testing.assert_close(space(x), whole, rtol=0, atol=1e-6)
    whole = nn.functional.conv3d(x, time.conv.weight.unsqueeze(4), stride=(stride, 1, 1), padding=(1, 0, 0))
    torch.testing.assert_close(time(x), whole, rtol=0, atol=1e-6)


def test_r2plus1d_18_is_torchvisions():
    """The published count, and the same outputs with the same weights in the same order."""
    from torchvision.models.video import r2plus1d_18

    with torch.device("meta"):
        model = build_model("r2plus1d-18", channels=3, size=112, classes=400, frames=16)
    assert sum(p.numel() for p in model.parameters()) == 31_505_325
    assert middle_channels(64, 64) == 144
    model = build_model("r2plus1d-18", channels=3, size=32, classes=7, frames=4).eval()
    theirs = r2plus1d_18(num_classes=7).eval()
    own = model.state_dict()
    # Blocks with a shortcut list it last in both, so that equal orders give equal layers.
    for (name, value), other in zip(own.items(), theirs.state_dict().values(), strict=True):
        assert value.numel() == other.numel(), name
        value.copy_(other.view_as(value))
    clips = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(clips), theirs(clips.transpose(1, 2)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["batch", "group", "none", "weight"])
@pytest.mark.parametrize("frames", [1, 5])
def test_small_network_trains_on_clips_of_any_length(norm, frames):
    model = build_model("r2plus1d-mini", channels=2, size=10, classes=3, frames=frames, norm=norm)
    outputs = model(torch.randn(4, frames, 2, 10, 10))
    assert outputs.shape == (4, 3)
    outputs.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_it_sees_the_order_of_frames_and_frame_means_do_not():
    clips = torch.randn(2, 6, 1, 16, 16)
    own = build_model("r2plus1d-mini", channels=1, size=16, classes=3, frames=6).eval()
    mean = build_model("small-cnn", channels=1, size=16, classes=3, frames=6).eval()
    with torch.no_grad():
        assert not torch.allclose(own(clips), own(clips.flip(1)), atol=1e-3)
        torch.testing.assert_close(mean(clips), mean(clips.flip(1)))
        each = torch.stack([mean.network(clips[:, t]) for t in range(6)]).mean(0)
        torch.testing.assert_close(mean(clips), each)


def test_clips_and_images_are_told_apart():
    assert [name for name, spec in MODELS.items() if spec.clips] == ["r2plus1d-mini", "r2plus1d-18"]
    with pytest.raises(Refusal, match=r"^model must be a network of images, as these are no clips"):
        build_model("r2plus1d-mini", channels=1, size=16, classes=3)
    with pytest.raises(Refusal, match="frames must be an integer of at least 1"):
        build_model("r2plus1d-mini", channels=1, size=16, classes=3, frames=0)
