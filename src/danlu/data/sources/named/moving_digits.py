"""`moving-digits`: clips of a handwritten digit that moves in one of eight directions, generated from a seed.

The class is the direction, which no single frame shows: the digit starts anywhere on a torus (what leaves at one side
enters at the opposite one), so that its place in every frame is uniform whatever the direction. The digits are
scikit-learn's; those of the test clips do not occur in the training clips.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.clips import folded, frames_to_take
from danlu.data.dataset import TEST, TRAIN, Dataset

# Class -> pixels to the right and downwards per unit of speed.
DIRECTIONS = {
    "east": (1, 0), "north": (0, -1), "north-east": (1, -1), "north-west": (-1, -1),
    "south": (0, 1), "south-east": (1, 1), "south-west": (-1, 1), "west": (-1, 0),
}  # fmt: skip
CLIPS, TEST_CLIPS = 4_000, 600
FRAMES = 8
SIDE = 32  # pixels of a frame
ENLARGED = 2  # factor by which a digit of 8 pixels is enlarged
SPEEDS = (1, 3)  # min and max number of pixels per frame, along each axis that moves
NOISE = 12.0  # standard deviation of the noise of every pixel, of 255
TEST_DIGITS = 300  # the last ones, which only the test clips show


def open(name: str, config: DataConfig) -> Dataset:
    """Generate the clips, uint8 (4000, 8, 1, 32, 32) as images of 8 channels; the last 600 are the test set."""
    training, test = draw(CLIPS - TEST_CLIPS, seed=0, test=False), draw(TEST_CLIPS, seed=1, test=True)
    count = frames_to_take([FRAMES], config.frames, name)
    given = torch.full((CLIPS,), TRAIN, dtype=torch.int8)
    given[CLIPS - TEST_CLIPS :] = TEST
    return Dataset(
        path=name,
        format="drawn",
        task="classify",
        inputs=folded(torch.cat([training[0], test[0]]), count),
        frames=count,
        targets=torch.cat([training[1], test[1]]),
        classes=tuple(DIRECTIONS),
        given=given,
    )


def draw(count: int, seed: int, test: bool = False, frames: int = FRAMES) -> tuple[torch.Tensor, torch.Tensor]:
    """Generate clips uint8 (count, frames, 1, 32, 32) and their directions int64 (count,), which depend only on these.

    test: of the digits that only the test clips show.
    """
    import sklearn.datasets

    rng = np.random.default_rng(seed)
    bunch: Any = sklearn.datasets.load_digits()
    digits: np.ndarray = bunch.images * (255 / 16)
    digits = digits[-TEST_DIGITS:] if test else digits[:-TEST_DIGITS]
    labels = np.arange(count) % len(DIRECTIONS)
    rng.shuffle(labels)
    steps = np.array(list(DIRECTIONS.values()))
    clips = np.empty((count, frames, 1, SIDE, SIDE), np.uint8)
    for clip, label in zip(clips, labels):
        scene = np.zeros((SIDE, SIDE))
        digit = np.kron(digits[rng.integers(len(digits))], np.ones((ENLARGED, ENLARGED)))
        scene[: len(digit), : len(digit)] = digit
        right, down = rng.integers(SIDE, size=2)
        speed = int(rng.integers(SPEEDS[0], SPEEDS[1] + 1))
        for number, frame in enumerate(clip):
            shift = (down + number * speed * steps[label][1], right + number * speed * steps[label][0])
            moved = np.roll(scene, shift, axis=(0, 1)) + rng.normal(0, NOISE, scene.shape)
            frame[0] = moved.clip(0, 255).round()
    return torch.from_numpy(clips), torch.from_numpy(labels.astype(np.int64))
