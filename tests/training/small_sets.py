"""Small, clean, balanced image sets made from a seed, and trainings on them with danlu's defaults.

Digits are scikit-learn's; shapes and textures are drawn. A class is easy to tell from the others for a person, and no
label is wrong, so that every error and warning of a training on them is a false alarm.
"""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from sklearn.datasets import load_digits

import danlu
from danlu.cli import main

Pixels = np.ndarray  # height x width x 3, float, [0, 1]


@dataclass(frozen=True)
class SmallSet:
    """kind of images, classes, images (per class), side (pixels) and colour of a set."""

    kind: Literal["digits", "shapes", "textures"]
    classes: int
    images: int
    side: int
    colour: bool = True

    def __str__(self) -> str:
        return f"{self.kind}-{self.classes}x{self.images}-{self.side}px{'' if self.colour else '-grey'}"


# Colour sets of at least 64 px start from packaged ImageNet weights, the others from random initialisation.
SMALL_SETS = [
    SmallSet("digits", 2, 30, 8, False),
    SmallSet("digits", 5, 40, 8, False),
    SmallSet("digits", 10, 10, 8, False),
    SmallSet("digits", 10, 100, 8, False),
    SmallSet("digits", 10, 30, 28, False),
    SmallSet("shapes", 3, 20, 28, False),
    SmallSet("shapes", 6, 30, 64, False),
    SmallSet("shapes", 2, 10, 32),
    SmallSet("shapes", 4, 60, 32),
    SmallSet("shapes", 8, 40, 48),
    SmallSet("shapes", 20, 20, 48),
    SmallSet("shapes", 6, 30, 96),
    SmallSet("textures", 5, 100, 16, False),
    SmallSet("textures", 4, 25, 96, False),
    SmallSet("textures", 3, 100, 32),
    SmallSet("textures", 10, 20, 48),
    SmallSet("textures", 2, 100, 48),
    SmallSet("textures", 2, 10, 64),
    SmallSet("textures", 10, 15, 64),
    SmallSet("textures", 20, 10, 72),
]


def write_set(kind: SmallSet, folder: Path, seed: int = 0) -> Path:
    """Write folder/CLASS/NUMBER.png."""
    rng = np.random.default_rng([seed, kind.classes, kind.images, kind.side, kind.colour])
    make = {"digits": _digits, "shapes": _shapes, "textures": _textures}[kind.kind](kind, rng)
    for k in range(kind.classes):
        (folder / f"class_{chr(ord('a') + k)}").mkdir(parents=True)
        for i in range(kind.images):
            pixels = Image.fromarray((255 * make(k, i).clip(0, 1)).astype(np.uint8))
            path = folder / f"class_{chr(ord('a') + k)}" / f"{i:03}.png"
            (pixels if kind.colour else pixels.convert("L")).save(path)
    return folder


def _digits(kind: SmallSet, rng: np.random.Generator) -> Any:
    images, labels = load_digits(return_X_y=True)
    chosen = {k: rng.permutation(np.flatnonzero(labels == k)) for k in range(kind.classes)}

    def make(k: int, i: int) -> Pixels:
        grey = Image.fromarray((images[chosen[k][i]].reshape(8, 8) * 15.9).astype(np.uint8))
        return np.asarray(grey.resize((kind.side, kind.side), Image.Resampling.BICUBIC).convert("RGB")) / 255

    return make


def _shapes(kind: SmallSet, rng: np.random.Generator) -> Any:
    """One filled shape of any colour on a plain background; ten outlines, then the same with a hole."""
    scale = 4  # drawn larger, then reduced, for smooth edges

    def make(k: int, i: int) -> Pixels:
        side = kind.side * scale
        back, front = rng.uniform(0.0, 0.35, 3), rng.uniform(0.6, 1.0, 3)
        if rng.random() < 0.5:
            back, front = front, back
        colours = [tuple(int(255 * c) for c in colour) for colour in (back, front)]
        image = Image.new("RGB", (side, side), colours[0])
        radius = side * rng.uniform(0.28, 0.38)
        middle = side / 2 + rng.uniform(-0.1, 0.1, 2) * side
        draw, turn = ImageDraw.Draw(image), rng.uniform(-0.15, 0.15)
        draw.polygon(_outline(k % 10, radius, turn, middle), fill=colours[1])
        if k >= 10:
            draw.polygon(_outline(k % 10, radius / 2, turn, middle), fill=colours[0])
        small = image.resize((kind.side, kind.side), Image.Resampling.BOX)
        return np.asarray(small) / 255 + rng.normal(0, 0.03, (kind.side, kind.side, 3))

    return make


def _outline(number: int, radius: float, turn: float, middle: np.ndarray) -> list[tuple[float, float]]:
    """Circle, square, triangle, star, bar, plus, crescent-like half, hexagram, ellipse, arrow as polygons."""
    angles = np.linspace(0, 2 * np.pi, 61)[:-1]
    x, y = np.cos(angles), np.sin(angles)
    plus = [(-1, 3), (1, 3), (1, 1), (3, 1), (3, -1), (1, -1), (1, -3), (-1, -3), (-1, -1), (-3, -1), (-3, 1), (-1, 1)]
    arrow = [(-1, -0.3), (0.1, -0.3), (0.1, -0.9), (1, 0), (0.1, 0.9), (0.1, 0.3), (-1, 0.3)]
    points = {
        0: list(zip(x, y)),
        1: [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
        2: [(0, -1), (0.9, 0.7), (-0.9, 0.7)],
        3: [(np.sin(a) * r, -np.cos(a) * r) for a, r in zip(np.arange(10) * np.pi / 5, [1, 0.4] * 5)],
        4: [(-1, -0.25), (1, -0.25), (1, 0.25), (-1, 0.25)],
        5: [(a / 3, b / 3) for a, b in plus],
        6: [(a, max(b, 0)) for a, b in zip(x, y)],
        7: [(np.sin(a) * r, np.cos(a) * r) for a, r in zip(np.arange(24) * np.pi / 12, [1, 0.7] * 12)],
        8: list(zip(0.45 * x, y)),
        9: arrow,
    }[number]
    c, s = np.cos(turn), np.sin(turn)
    return [(middle[0] + radius * (c * a - s * b), middle[1] + radius * (s * a + c * b)) for a, b in points]


def _textures(kind: SmallSet, rng: np.random.Generator) -> Any:
    """Blobs on stripes; a class has its own hue, angle of stripes and number of blobs."""
    y, x = np.mgrid[: kind.side, : kind.side] / kind.side
    angles = np.linspace(0, np.pi / 2, kind.classes)  # a mirrored image has another angle than any class
    looks = [(rng.uniform(0.2, 0.8, 3), angle, rng.uniform(3, 8)) for angle in angles]

    def make(k: int, i: int) -> Pixels:
        hue, angle, frequency = looks[k]
        turned = angle + rng.normal(0, 0.05)
        along = x * np.cos(turned) + y * np.sin(turned)
        wave = np.sin(2 * np.pi * frequency * rng.uniform(0.8, 1.2) * along + rng.uniform(0, 2 * np.pi))
        image = (hue + rng.normal(0, 0.1, 3))[None, None] + 0.15 * wave[..., None] * np.ones(3)
        for _ in range(1 + k % 4):
            cy, cx, radius = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.15)
            blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / radius**2)[..., None]
            image = image * (1 - blob) + blob * (1 - hue)
        return image + rng.normal(0, 0.08, image.shape)

    return make


@dataclass(frozen=True)
class Outcome:
    """One training: everything that a false alarm or an explosion is judged by.

    first_fix: flags that the first finding with any proposes. findings: (severity, code) at the end. announced: lines of errors and warnings printed during the training.
    val_losses: by epoch, in units of the loss at chance level, ln(classes).
    """

    name: str
    data: Path
    test_samples: int
    first_fix: list[str]
    findings: list[tuple[str, str]]
    announced: list[str]
    val_losses: list[float]
    val: float
    test: float
    best_epoch: int
    steps: int
    seconds: float

    @property
    def alarms(self) -> list[str]:
        """Errors and warnings, during the training and at its end."""
        return [f"{severity}: {code}" for severity, code in self.findings if severity != "note"] + self.announced

    @property
    def explodes(self) -> bool:
        """Whether the validation loss after the first epoch ever exceeds three times that of chance level."""
        return not all(loss <= 3 for loss in self.val_losses[1:])

    @property
    def jumps(self) -> float:
        """Largest rise of the validation loss from one epoch to the next."""
        return max((after - before for before, after in pairwise(self.val_losses)), default=0.0)


def train_small(kind: SmallSet, folder: Path, seed: int = 0, **settings: Any) -> Outcome:
    """Write a set under `folder` and train danlu's defaults on it."""
    data, out, began = write_set(kind, folder / "data", seed), folder / "run", time.perf_counter()
    danlu.train(str(data), out=str(out), console=Console(quiet=True), seed=seed, **settings)
    return outcome_of(kind, data, out, time.perf_counter() - began)


def with_first_fix(kind: SmallSet, before: Outcome) -> Outcome:
    """Train again as the first finding with flags says, by the command line: the settings of the run and these flags."""
    run = before.data.parent / "run"
    out, began = before.data.parent / "fixed", time.perf_counter()
    words = ["train", "--config", str(run / "config.yaml"), "--out", str(out), *before.first_fix]
    assert main(words) == 0, before.first_fix
    return outcome_of(kind, before.data, out, time.perf_counter() - began)


def noise_of(before: Outcome, after: Outcome) -> float:
    """Largest loss of test accuracy that chance explains at 95 % confidence.

    Of two proportions, pooled, with one success and one failure more (Agresti and Caffo 2000), since a set on which all
    is right has no variance of its own.
    """
    n = before.test_samples
    pooled = ((before.test + after.test) * n + 2) / (2 * n + 4)
    return 1.96 * math.sqrt(2 * pooled * (1 - pooled) / n)


def first_fix(findings: list[dict[str, Any]]) -> list[str]:
    """Flags of the first remedy that proposes some, [] if none does; of alternatives the first."""
    for finding in findings:
        found = re.match(r"Try (--.+?)(?:, or --|\.$)", finding["remedy"])
        if found:
            return found[1].split()
    return []


def outcome_of(kind: SmallSet, data: Path, out: Path, seconds: float) -> Outcome:
    """Read the files of a finished run."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    summary = json.loads((out / "summary.json").read_text())
    findings = json.loads((out / "findings.json").read_text())
    lines = (out / "log.txt").read_text().splitlines()
    return Outcome(
        name=str(kind),
        data=data,
        test_samples=summary["data"]["counts"]["test"],
        first_fix=first_fix(findings),
        findings=[(one["severity"], one["code"]) for one in findings],
        announced=[line for line in lines if line.startswith(("error: ", "warning: "))],
        val_losses=[row["val.loss"] / math.log(kind.classes) for row in epochs],
        val=summary["metrics"]["val"]["accuracy"],
        test=summary["metrics"]["test"]["accuracy"],
        best_epoch=summary["best_epoch"],
        steps=epochs[-1]["step"],
        seconds=seconds,
    )
