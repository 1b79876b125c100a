"""Random data sets with known truth: images, classes, boxes, outlines and splits, before any format writes them."""

from __future__ import annotations

import hashlib
import io
import random
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SPLIT_NAMES = {
    "train": (
        "train",
        "Train",
        "TRAIN",
        "training",
        "training_set",
        "train2017",
        "train_images",
        "trainset",
        "01_train",
    ),
    "val": ("val", "valid", "validation", "Validation", "val2017", "dev", "valid_set", "val_images"),
    "test": ("test", "testing", "Test", "test_set", "test2017", "testset", "test_images"),
}
CLASS_NAMES = ("cat", "dog", "on", "001", "010", "None", "NA", "12:30", "traffic light", "null", "Ampel grün", "yes")
CLASS_NAMES += ("T-shirt", "3", "1e3", "人", "Cat", "person.adult", "no")
STEMS = (
    "img_{}",
    "{:04}",
    "IMG_{:04}",
    "a b ({})",
    "é{}",
    "frame.{}",
    "2024-01-0{}",
    "日本_{}",
    "x{}#1",
    "a,b{}",
    "{}",
)


@dataclass(frozen=True)
class Object:
    """One object. box: x1, y1, x2, y2 in pixels. ring: corners of its outline. fault: why it must be left out."""

    label: str
    box: tuple[float, float, float, float]
    ring: tuple[tuple[float, float], ...] | None = None
    fault: str = ""


@dataclass
class Sample:
    """One image. content: its bytes, by which it is known again. label: of a set of labelled images."""

    stem: str
    suffix: str
    size: tuple[int, int]  # width, height
    split: str
    content: bytes
    objects: list[Object] = field(default_factory=list)
    label: str = ""
    path: Path = Path()  # below the root, once written

    @property
    def name(self) -> str:
        return self.stem + self.suffix

    @property
    def key(self) -> str:
        return digest(self.content)


@dataclass
class Plan:
    """The choices of one trial. outlines: objects have polygons. splits: those present, none for an undivided set."""

    rng: random.Random
    samples: list[Sample]
    classes: list[str]
    splits: dict[str, str]
    outlines: bool
    notes: list[str] = field(default_factory=list)  # the layout that a writer chose

    def choose(self, *options: Any) -> Any:
        """One of the options, noted down for the report of a failure."""
        chosen = self.rng.choice(options)
        self.notes.append(str(chosen))
        return chosen

    def of(self, split: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.split == split]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def random_plan(rng: random.Random, labelled: bool = False, outlines: bool = True, words: bool = False) -> Plan:
    """A set of 5 to 14 images. labelled: a class per image instead of objects. words: classes are words, no numbers."""
    splits = {}
    if rng.random() < 0.6:
        present = rng.choice((("train", "val"), ("train", "val", "test"), ("train", "test")))
        splits = {split: rng.choice(SPLIT_NAMES[split]) for split in present}
    classes = rng.sample(CLASS_NAMES, rng.randint(2, 4))
    if words:
        classes = [name.replace(" ", "_") if not name[0].isdigit() else f"kind{name}" for name in classes]
    count = rng.randint(5, 14)
    suffix = rng.choice((".jpg", ".png", ".jpeg", ".JPG"))
    style = rng.choice(STEMS)
    repeat = bool(splits) and rng.random() < 0.3  # equal names in different splits
    outlines = outlines and rng.random() < 0.6
    samples = []
    numbers: dict[str, int] = {}
    for i in range(count):
        split = ([*splits][i % len(splits)] if i < 2 * len(splits) else rng.choice([*splits])) if splits else ""
        number = numbers.get(split if repeat else "", 0)
        numbers[split if repeat else ""] = number + 1
        sample = _sample(rng, unicodedata.normalize("NFC", style.format(number)), suffix, split)
        if labelled:
            # Each split has every class as long as its images last.
            sample.label = classes[sum(other.split == split for other in samples) % len(classes)]
        else:
            sample.objects = _objects(rng, sample.size, classes, outlines)
        samples.append(sample)
    if not labelled and not any(sample.objects for sample in samples if sample.split in ("", "train")):
        first = next(sample for sample in samples if sample.split in ("", "train"))
        while not first.objects:
            first.objects = _objects(rng, first.size, classes, outlines)
    return Plan(rng, samples, classes, splits, outlines)


def _sample(rng: random.Random, stem: str, suffix: str, split: str) -> Sample:
    width, height = rng.randint(24, 60), rng.randint(24, 60)
    noise = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG" if suffix.lower() == ".png" else "JPEG")
    return Sample(stem, suffix, (width, height), split, stream.getvalue())


def _objects(rng: random.Random, size: tuple[int, int], classes: list[str], outlines: bool) -> list[Object]:
    found: dict[tuple[float, ...], Object] = {}
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        w, h = rng.randint(6, size[0] // 2), rng.randint(6, size[1] // 2)
        x, y = rng.randint(0, size[0] - w), rng.randint(0, size[1] - h)
        box = (float(x), float(y), float(x + w), float(y + h))
        ring = None
        if outlines:  # five corners that touch all four sides
            ring = ((x, y + h // 2), (x + w // 2, y), (x + w, y + h // 3), (x + w, y + h), (x + w // 3, y + h))
        found[box] = Object(rng.choice(classes), box, ring)
    return list(found.values())
