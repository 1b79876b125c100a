"""Images of different sizes in one batch: every way equals the network on each image alone."""

import pytest
import torch

from danlu.models.mixed_sizes import WAYS, outputs_of_sizes, size_within
from danlu.models.network_table import build_model
from danlu.patch_grid import PatchGrid
from danlu.refuse import Refusal

SIZES = [(16, 16), (8, 32), (32, 8), (4, 12), (24, 16), (16, 24), (16, 16)]


@pytest.fixture
def vit():
    torch.manual_seed(0)
    model = build_model("vit-mini", channels=3, size=16, classes=5).eval()
    torch.nn.init.normal_(model.head.weight, std=0.02)
    return model


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(3, *size, generator=generator) for size in SIZES]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_equals_one_by_one(vit, images, way):
    with torch.no_grad():
        together = outputs_of_sizes(vit, images, way)
        alone = torch.cat([outputs_of_sizes(vit, [one], "bucket") for one in images])
        assert (together - alone).abs().max() < 5e-7
        dense = vit(torch.stack([images[0], images[6]]))
        assert (together[[0, 6]] - dense).abs().max() < 5e-7
        order = [3, 6, 0, 2, 1, 5, 4]
        assert (outputs_of_sizes(vit, [images[i] for i in order], way) - together[order]).abs().max() < 5e-7


@pytest.mark.parametrize("way", WAYS)
def test_an_image_does_not_see_its_neighbours(vit, images, way):
    """Other values beside it change nothing, to the last bit; a longer neighbour only rounding."""
    with torch.no_grad():
        before = outputs_of_sizes(vit, images, way)
        changed = [images[0], *(one + 100 for one in images[1:])]
        after = outputs_of_sizes(vit, changed, way)
        assert torch.equal(after[0], before[0])
        assert not torch.allclose(after[1], before[1])
        longer = outputs_of_sizes(vit, [images[0], torch.zeros(3, 64, 32)], way)
        assert (longer[0] - before[0]).abs().max() < 5e-7


@pytest.mark.parametrize("way", ["pad", "nested"])
def test_gradients_equal_those_of_buckets(vit, images, way):
    found = []
    for one in ("bucket", way):
        vit.zero_grad()
        outputs_of_sizes(vit, images, one).square().sum().backward()
        found.append([p.grad.clone() for p in vit.parameters()])
    for bucket, other in zip(*found):
        torch.testing.assert_close(other, bucket, rtol=1e-4, atol=1e-6)


def test_sizes_that_keep_the_aspect():
    assert size_within(480, 640, 16, 256) == (208, 288)  # 13 x 18 = 234 patches
    assert size_within(10, 10_000, 16, 64) == (16, 64 * 16)
    for height, width in ((480, 640), (100, 900), (333, 37)):
        h, w = size_within(height, width, 16, 196)
        assert h % 16 == w % 16 == 0
        assert h * w <= 196 * 256


def test_positions_of_the_own_grid_are_the_table(vit):
    assert torch.equal(vit.positions(4, 4), vit.position[0])
    assert vit.positions(2, 8).shape == (17, 128)


def canvases(images, side=64):
    """Images somewhere on one canvas, with the channel that marks them; noise beside them."""
    generator = torch.Generator().manual_seed(2)
    found = torch.randn(len(images), 4, side, side, generator=generator)
    found[:, 3] = 0
    for number, (canvas, image) in enumerate(zip(found, images)):
        (height, width), left = image.shape[1:], 4 * (number % 3)
        canvas[:3, :height, left : left + width] = image
        canvas[3, :height, left : left + width] = 1
    return found


def test_canvases_equal_one_by_one(vit, images):
    mixed = build_model("vit-mini", channels=3, size=16, classes=5, mixed=True).eval()
    mixed.load_state_dict(vit.state_dict())
    placed = canvases(images)
    with torch.no_grad():
        alone = torch.cat([outputs_of_sizes(vit, [one]) for one in images])
        assert (mixed(placed) - alone).abs().max() < 5e-7
        assert (mixed(canvases(images, 96)) - alone).abs().max() < 5e-7, "the amount of padding changes nothing"
        assert (mixed(placed.flip(0)) - alone.flip(0)).abs().max() < 5e-7
        flipped = torch.cat([outputs_of_sizes(vit, [one.flip(-1, -2)]) for one in images])
        assert (mixed(placed.flip(-1, -2)) - flipped).abs().max() < 5e-7
        dense = torch.stack([images[0], images[6]])
        assert (mixed(dense) - vit(dense)).abs().max() < 5e-7
        changed = placed.clone()
        changed[1:, :3] += 100
        assert torch.equal(mixed(changed)[0], mixed(placed)[0]), "an image does not see its neighbours"
        assert mixed(torch.zeros_like(placed)).isfinite().all()


def test_gradients_on_canvases_equal_those_of_buckets(vit, images):
    mixed = build_model("vit-mini", channels=3, size=16, classes=5, mixed=True).eval()
    mixed.load_state_dict(vit.state_dict())
    outputs_of_sizes(vit, images).square().sum().backward()
    mixed(canvases(images)).square().sum().backward()
    for expected, found in zip(vit.parameters(), mixed.parameters()):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-6)


def test_grids_of_images():
    grid = PatchGrid(patch=16, tokens=256)
    assert grid.size(480, 640) == (208, 288)
    assert grid.size(480, 640, canvas=160) == (112, 160), "reduced to the canvas with its aspect"
    keep = PatchGrid(patch=16, tokens=256, keep=True)
    assert keep.size(100, 60) == (96, 64)
    assert keep.size(480, 640) == (208, 288)
    assert keep.size(3, 5) == (16, 16)
    assert grid.canvas([(480, 640), (640, 480)]) == 288
    assert grid.canvas([(10, 10_000)]) == 4 * 256, "at most four times the square of as many patches"


def test_other_networks_need_one_size():
    with pytest.raises(Refusal, match="a network for images of different sizes \\(vit-mini"):
        build_model("resnet20", channels=3, size=32, classes=5, mixed=True)


def test_wrong_inputs_are_refused(vit, images):
    with pytest.raises(Refusal, match="way must be bucket, pad or nested, got 'padd'; did you mean 'pad'"):
        outputs_of_sizes(vit, images, "padd")
    with pytest.raises(Refusal, match="images must be at least one image"):
        outputs_of_sizes(vit, [])
    with pytest.raises(Refusal, match="a multiple of the patch's side 4, got '16 x 18'"):
        outputs_of_sizes(vit, [torch.zeros(3, 16, 18)])
    grouped = build_model("vit-mini", channels=3, size=16, classes=5, norm="group")
    with pytest.raises(Refusal, match=r"model.norm must be layer or none for images of different sizes"):
        outputs_of_sizes(grouped, images)
