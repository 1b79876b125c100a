"""Rendered images are decoded and compared with the originals."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

from danlu.report.images import annotate, fitted, font_of, to_data_uri


def decoded(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(body)))


@pytest.fixture(scope="module")
def digit() -> torch.Tensor:
    return torch.from_numpy((load_digits().images[0] * 15).astype(np.uint8))[None]


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)


def test_tiny_images_grow_without_smoothing(digit: torch.Tensor) -> None:
    image = decoded(to_data_uri(digit, 100))
    assert (image.format, image.size) == ("PNG", (96, 96))  # twelve pixels a pixel
    assert np.array_equal(np.asarray(image)[6::12, 6::12], digit[0].numpy())
    assert np.array_equal(np.unique(np.asarray(image)), np.unique(digit.numpy()))


def test_photos_become_small_jpegs(photo: torch.Tensor) -> None:
    uri = to_data_uri(photo, 160)
    image = decoded(uri)
    assert image.format == "JPEG"
    assert max(image.size) == 160
    assert image.size == (160, round(160 * photo.shape[1] / photo.shape[2]))
    assert len(uri) < 20_000
    small = Image.fromarray(photo.permute(1, 2, 0).numpy()).resize(image.size, Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(image, dtype=int) - np.asarray(small, dtype=int)).mean() < 8


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (32, 32), (65, 64)])
def test_every_kind_and_shape_of_image(channels: int, shape: tuple[int, int]) -> None:
    image = torch.full((channels, *shape), 200, dtype=torch.uint8)
    assert max(decoded(to_data_uri(image, 96)).size) <= 96
    assert annotate(image, "a cat").mode == "RGB"


@pytest.mark.parametrize(
    "wrong", [torch.zeros(1, 8, 8), torch.zeros(8, 8, dtype=torch.uint8), torch.zeros(5, 8, 8, dtype=torch.uint8)]
)
def test_non_images_are_errors(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="an image must be uint8"):
        to_data_uri(wrong, 96)


def test_annotate_keeps_the_image_and_writes_beneath(photo: torch.Tensor) -> None:
    out = np.asarray(annotate(photo, "pagoda 宝塔 97.3 %"))
    height, width = photo.shape[1:]
    assert np.array_equal(out[:height, :width], photo.permute(1, 2, 0).numpy())
    assert (out[height:] < 128).any()


def test_a_path_that_is_too_long_keeps_the_name_of_its_file():
    font = font_of(12)
    path = "one folder/another folder/a third folder/IMG 005.PNG"
    kept = fitted(path, font, 150, keep_end=True)
    assert kept.startswith("...")
    assert kept.endswith("/IMG 005.PNG")
    assert font.getlength(kept) <= 150
    assert fitted(path, font, 150).startswith("one folder")
