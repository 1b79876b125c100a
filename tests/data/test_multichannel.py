"""Images of more channels than grey and RGB: TIFF files, arrays, and pretrained networks for them."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import danlu
from danlu.config import DataConfig
from danlu.data.files.image_file import check_image
from danlu.data.files.multichannel import header
from danlu.data.formats import open_dataset
from danlu.data.images import place_image, read_image

PLAIN = {"model": "lenet", "size": 16, "device": "cpu", "precision": "fp32", "augment": "none", "doctor.budget": 0}


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack", **({"planarconfig": "contig"} | options))
    return path


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    """Two classes of 16-bit images that differ in the fifth of five channels only, and one file of four channels."""
    root = tmp_path_factory.mktemp("bands")
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 3000, (20, 24, 5)).astype(np.uint16)
        pixels[..., 4] = 2500 * (i % 2)
        write(root / "ab"[i % 2] / f"{i}.tif", pixels)
    write(root / "a" / "odd.tif", pixels[..., :4])
    return root


@pytest.mark.parametrize("channels", [2, 4, 5, 9])
@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_every_channel_is_read_in_its_place(channels, layout, tmp_path):
    pixels = np.zeros((12, 12, channels), np.uint8) + np.arange(channels, dtype=np.uint8) * 20
    stored = pixels if layout == "contig" else pixels.transpose(2, 0, 1)
    path = write(tmp_path / "a.tif", stored, planarconfig=layout)
    assert header(path) == (channels, 12, 12)
    info = check_image(path)
    assert (info.height, info.width, info.channels, info.grey) == (12, 12, channels, False)
    expected = np.arange(channels)[:, None, None] * 20
    assert np.array_equal(read_image(path, 8, "all"), np.broadcast_to(expected, (channels, 8, 8)))


def test_usual_tiffs_are_left_to_pil(tmp_path):
    for mode in ("L", "RGB", "RGBA", "CMYK", "LA", "I;16"):
        Image.new(mode, (6, 6)).save(tmp_path / "a.tif")
        assert header(tmp_path / "a.tif") is None, mode
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    assert header(tmp_path / "a.tif") is None
    assert isinstance(check_image(tmp_path / "a.tif"), str)


def test_truncated_file_has_a_reason(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((64, 64, 5), np.uint8))
    path.write_bytes(path.read_bytes()[:-9000])
    assert isinstance(check_image(path), str)


def test_missing_package_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", np.zeros((8, 8, 5), np.uint8))
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    assert check_image(path) == "5-channel TIFF, which needs the package tifffile"


def test_letterbox_keeps_all_channels(tmp_path):
    from danlu.data.canvas import FITS

    path = write(tmp_path / "a.tif", np.full((10, 20, 5), 200, np.uint8))
    placed = place_image(path, FITS["letterbox"]((10, 20), 40), "all")
    assert placed.shape == (5, 40, 40)
    assert (placed[:, 12:28, 2:38] == 200).all()


def test_folder_of_bands_is_trained_evaluated_and_predicted(bands, tmp_path):
    dataset = open_dataset(DataConfig(path=str(bands)), None)
    assert dataset.stored_channels == 5
    assert [(p.where.rpartition("/")[2], p.reason) for p in dataset.problems] == [
        ("odd.tif", "4 channels, but others 5 channels")
    ]
    run = danlu.train(bands, out=str(tmp_path / "run"), epochs=12, **PLAIN)
    assert run.signature.channels == 5
    assert run.summary["metrics"]["test"]["accuracy"] == 1
    found = run.predict(bands / "b" / "1.tif", bands / "b")
    assert found[0].label == "b"
    assert [one.label for one in found[1:]] == ["b"] * 20
    assert danlu.evaluate(run, bands)["metrics"]["test"]["accuracy"] > 0.9
    (tmp_path / "mixed").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "mixed" / "rgb.png")
    (tmp_path / "mixed" / "a.tif").write_bytes((bands / "b" / "1.tif").read_bytes())
    mixed = run.predict(tmp_path / "mixed")
    assert [one.label for one in mixed] == ["b", None]
    assert mixed[1].error == "3 channels, but the network takes 5"
    assert danlu.describe(bands, out=tmp_path / "sheet.png").channels == 5
    assert Image.open(tmp_path / "sheet.png").width > 100


def test_rgb_with_depth_trains_on_four_channels(tmp_path):
    """The classes differ in depth only; a fourth channel marked as alpha is not trained on."""
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (20, 24, 4)).astype(np.uint8)
        pixels[..., 3] = 40 + 150 * (i % 2) + rng.integers(0, 40, (20, 24))
        for kind, extra in (("depth", "unspecified"), ("alpha", "unassalpha")):
            path = tmp_path / kind / "ab"[i % 2] / f"{i}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=[extra])
    run = danlu.train(tmp_path / "depth", out=str(tmp_path / "run"), epochs=12, **PLAIN)
    assert run.signature.channels == len(run.signature.mean) == 4
    assert run.metrics.test["accuracy"] == 1
    assert [one.label for one in run.predict(tmp_path / "depth" / "b")] == ["b"] * 20
    assert open_dataset(DataConfig(path=str(tmp_path / "alpha")), None).stored_channels == 3


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_arrays_of_any_number_of_channels(channels, last, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (40, 12, 12, channels), np.uint8)
    np.savez(tmp_path / "set.npz", x=x if last else x.transpose(0, 3, 1, 2), y=np.arange(40) % 2)
    dataset = open_dataset(DataConfig(path=str(tmp_path / "set.npz")), None)
    assert np.array_equal(dataset.inputs.numpy(), x.transpose(0, 3, 1, 2))
    assert f"{channels} channels" in " ".join(map(str, dataset.notes))
    run = danlu.train(tmp_path / "set.npz", out=str(tmp_path / "run"), epochs=1, **PLAIN)
    assert run.signature.channels == channels
    with pytest.raises(danlu.Refusal, match="colour must be all for images of"):
        danlu.train(tmp_path / "set.npz", out=str(tmp_path / "rgb"), epochs=1, **PLAIN, **{"data.colour": "rgb"})


def test_opaque_alpha_is_left_out(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 4), np.uint8)
    x[..., 3] = 255
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(20) % 2)
    assert open_dataset(DataConfig(path=str(tmp_path / "set.npz")), None).inputs.shape == (20, 3, 12, 12)


def test_repeated_kernels_give_equal_outputs_for_equal_channels():
    from danlu.preparation.transfer import _recoloured

    kernels, grey = torch.randn(4, 3, 3, 3), torch.randn(2, 1, 5, 5)
    expected = torch.nn.functional.conv2d(
        grey.expand(-1, 3, -1, -1), kernels.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    )
    for channels in (1, 3, 6, 9):
        made = _recoloured(kernels, channels)
        assert torch.allclose(torch.nn.functional.conv2d(grey.expand(-1, channels, -1, -1), made), expected, atol=1e-5)
