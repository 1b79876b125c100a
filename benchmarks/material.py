"""Training data for all contenders: real sets from $DANLU_DATA, or synthetic stand-ins of the same shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN
from danlu.data.formats import data_root, open_dataset
from danlu.data.inputs import image_inputs

PHOTOGRAPH = (375, 500)  # height, width: the usual size of ImageNet's images
STEEPNESS = 1.35  # exponent of the decay of amplitude with frequency; chosen for realistic file sizes
CLASSES = 3


def write_arrays(name: str, side: int, channels: int, count: int, path: Path) -> str:
    """Write the training split of a known dataset as .npz and return a description.

    The file holds x uint8 (N, side, side[, 3]) and y int64 (N,).

    count: number of random images to write when the set is not found.
    """
    if any(data_root().glob(f"{name}*")):
        dataset = open_dataset(DataConfig(path=name))
        train = dataset.given == TRAIN if dataset.given is not None else slice(None)
        images = image_inputs(dataset, size=side, colour="grey" if channels == 1 else "rgb").source[train]  # type: ignore[index]
        x, y = images.permute(0, 2, 3, 1).numpy(), dataset.targets[train].numpy()
        description = f"{name}, {len(y):,} training images in memory"
    else:
        rng = np.random.default_rng(0)
        x = rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
        y = rng.integers(0, 10, count)
        description = f"synthetic images in the shape of {name} ($DANLU_DATA has none), {count:,} in memory"
    np.savez(path, x=x[..., 0] if channels == 1 else x, y=y)
    return description


def write_photographs(folder: Path, count: int) -> str:
    """Write class folders of JPEGs as costly to decode as photographs (500 x 375 px, 60 kB). Returns a description."""
    rng = np.random.default_rng(0)
    size = 0
    for number in range(count):
        path = folder / f"class{number % CLASSES}" / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(rng).save(path, quality=90)
        size += path.stat().st_size
    height, width = PHOTOGRAPH
    return f"{count} synthetic JPEGs of about {width} x {height} px, {size / count / 1000:.0f} kB each"


def photograph(rng: np.random.Generator) -> Image.Image:
    """Generate noise whose amplitude decays with frequency, as in natural images, with a few shapes for edges."""
    height, width = (round(side * rng.uniform(0.9, 1.1)) for side in PHOTOGRAPH)
    rows, columns = np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width
    falloff = np.maximum(np.hypot(rows, columns), 1) ** -STEEPNESS
    grey, red, blue = (
        np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * falloff, (height, width)) for _ in range(3)
    )
    channels = np.stack([grey + 0.3 * red, grey, grey + 0.3 * blue], axis=-1)
    pixels = 128 + 45 * channels / channels.std()
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, w, h = rng.integers(0, 250, 4)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape(
            (int(x), int(y), int(x + w // 2 + 10), int(y + h // 2 + 10)), fill=tuple(rng.integers(0, 256, 3).tolist())
        )
    return image
