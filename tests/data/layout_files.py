"""Small images and annotation files for tests of layouts."""

import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.formats import open_dataset
from danlu.refuse import Refusal

WIDTH, HEIGHT = 40, 30


def image(path: Path, mode: str = "RGB", **save: object) -> None:
    """Write a noise image of `WIDTH` x `HEIGHT` that depends on its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(path).encode()))
    pixels = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **save)


def images(folder: Path, names: str | list[str], suffix: str = ".jpg") -> None:
    for name in names:
        image(folder / f"{name}{suffix}")


def text(path: Path, content: object, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode(encoding))


def rows(path: Path, *lines: str, encoding: str = "utf-8") -> None:
    text(path, "".join(f"{line}\n" for line in lines), encoding)


def read(root: Path, task: str | None = None, **config: object) -> Dataset:
    return open_dataset(DataConfig(path=str(root), **config), task)


def refused(root: Path, task: str | None = None, **config: object) -> str:
    """The sentence of the refusal; the test fails where the data is read."""
    try:
        found = read(root, task, **config)
    except Refusal as refusal:
        return str(refusal)
    raise AssertionError(f"read as {found.format} {found.classes}, {len(found)} samples")


def boxes(data: Dataset) -> dict[str, list[tuple]]:
    """Name of the image file -> [(class, x1, y1, x2, y2)]."""
    return {
        Path(data.name_of(i)).name: [
            (data.classes[k], *(round(v, 1) for v in box)) for k, box in zip(one.labels.tolist(), one.boxes.tolist())
        ]
        for i, one in enumerate(data.targets)
    }


def labels(data: Dataset) -> dict[str, str]:
    """Name of the image file -> its class."""
    return {Path(data.name_of(i)).name: data.classes[k] for i, k in enumerate(data.targets.tolist())}


def splits(data: Dataset) -> dict[str, int]:
    """Name of the image file -> its split."""
    assert data.given is not None
    return {Path(data.name_of(i)).name: split for i, split in enumerate(data.given.tolist())}
