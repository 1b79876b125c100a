"""Looks of objects and images: colours, patterns, lights, backgrounds, and the faults of cameras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from danlu.data.files.image_file import UNREADABLE, reason_of
from danlu.data.images import decode
from danlu.message import message
from danlu.refuse import Refusal
from danlu.rendering.views import SceneLight

PATTERNED = 0.5  # probability of a pattern on an object whose colours are not known
STAINED = 0.3  # the same, for an object whose colours are known
GAIN = 0.15  # standard deviation of the brightness of an object
TINT = 0.06  # standard deviation of the brightness of each channel
COLLAGE, MAX_PIECES = 0.5, 8  # probability and number of pieces of another photograph in the background
MAX_DAMAGED = 10  # photographs in a row
SHADOW = 0.5  # greatest fraction of light that the shadow of objects takes from the background


def point_colours(rng: np.random.Generator, points: np.ndarray, known: np.ndarray | None, extent: float) -> np.ndarray:
    """Colours of the points of an object (V, 3): the known ones, a little changed, or random ones."""
    if known is None:
        base, other, patterned = rng.random(3) * np.ones((len(points), 1)), rng.random(3), PATTERNED
    else:
        base, other, patterned = known.astype(np.float64), rng.random(3), STAINED
    if rng.random() < patterned:
        amount = pattern(rng, points / extent)[:, None]
        base = base + amount * (other - base)
    return (base * rng.normal(1, GAIN) * rng.normal(1, TINT, 3)).clip(0.01, 1)


def pattern(rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
    """Smooth stains or stripes in [0, 1] at places (n, D), which are about 1 apart."""
    waves = rng.normal(size=(4, places.shape[1])) * rng.uniform(3, 14)
    wave = np.sin(places @ waves.T + rng.uniform(0, math.tau, 4)).mean(1)
    return (0.5 + rng.uniform(1, 6) * (wave - rng.uniform(-0.2, 0.5))).clip(0, 1) * rng.uniform(0.2, 1)


def random_light(rng: np.random.Generator, up: np.ndarray) -> SceneLight:
    """Draw a light from the side of the camera, and from above where something is up in the camera frame (3,)."""
    towards = rng.normal(size=3) + 0.7 * up
    towards[2] = -abs(towards[2])
    ambient, warmth = rng.uniform(0.3, 0.75), rng.normal(0, 0.06)
    colour = np.array([1 + warmth, 1, 1 - warmth])
    return SceneLight(
        towards / np.linalg.norm(towards),
        colour * (1.15 - ambient) * rng.uniform(0.7, 1.2),
        ambient * rng.normal(1, 0.03, 3),
        gloss=rng.choice([0, rng.uniform(0, 0.5)]),
        sharpness=rng.uniform(5, 60),
    )


def photo_background(rng: np.random.Generator, files: Sequence[Path], size: tuple[int, int]) -> np.ndarray:
    """Cut a random rectangle out of a random photograph, and paste pieces of another, float32 (H, W, 3) in [0, 1]."""
    canvas = _cut(rng, _some_photograph(rng, files, max(size)), size)
    if rng.random() < COLLAGE:
        other = _some_photograph(rng, files, max(size))
        for _ in range(rng.integers(1, MAX_PIECES + 1)):
            inside = _random_outline(rng, size)
            canvas[inside] = _cut(rng, other, size)[inside]
    return canvas


def _cut(rng: np.random.Generator, image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Cut a random rectangle out of an image, float32 (H, W, 3) in [0, 1]."""
    height, width = size
    largest = min(image.width / width, image.height / height)
    scale = largest * rng.uniform(0.5, 1)
    w, h = width * scale, height * scale
    left, top = rng.uniform(0, image.width - w), rng.uniform(0, image.height - h)
    cut = image.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(cut, np.float32) / 255


def _some_photograph(rng: np.random.Generator, files: Sequence[Path], side: int) -> Image.Image:
    """Decode a random file; another one where it is damaged. Raises Refusal after `MAX_DAMAGED` such files."""
    for attempt in range(1, MAX_DAMAGED + 1):
        file = files[int(rng.integers(len(files)))]
        try:
            return decode(file, min_side=side)
        except UNREADABLE as error:
            if attempt == MAX_DAMAGED:
                text = "{count} {count:file|files} of --backgrounds cannot be read ({file}: {reason})"
                reason = reason_of(error, file)
                raise Refusal(
                    message("rendering.refuse.photographs", text, count=attempt, file=file, reason=reason)
                ) from None
    raise AssertionError


def drawn_background(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draw coloured stains, and shapes with patterns of their own before them, float32 (H, W, 3) in [0, 1]."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    places = np.stack((x, y), -1).reshape(-1, 2) / max(size)
    canvas = _patterned(rng, places, size)
    for _ in range(rng.integers(4, 22)):
        inside = _random_outline(rng, size)
        canvas[inside] = _patterned(rng, places[inside.ravel()])
    return canvas.astype(np.float32)


def _random_outline(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draw the pixels of an ellipse or a polygon, bool (H, W)."""
    height, width = size
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    cx, cy, reach = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.03, 0.3) * width
    if rng.random() < 0.3:
        draw.ellipse((cx - reach, cy - reach * 0.7, cx + reach, cy + reach * 0.7), fill=255)
    else:
        angles = np.sort(rng.uniform(0, math.tau, rng.integers(3, 7)))
        draw.polygon([(cx + reach * math.cos(a), cy + reach * math.sin(a)) for a in angles], fill=255)
    return np.asarray(mask) > 0


def _patterned(rng: np.random.Generator, places: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    amount = pattern(rng, places * rng.uniform(0.5, 6))[:, None]
    first, second = rng.random(3), rng.random(3)
    found = (first + amount * (second - first)) * rng.uniform(0.3, 1.1)
    return found if shape is None else found.reshape(*shape, 3)


def with_shadow(rng: np.random.Generator, background: np.ndarray, covered: np.ndarray, typical: float) -> np.ndarray:
    """Darken the background (H, W, 3) beside the objects. covered: float32 (H, W). typical: pixels of an object."""
    mask = Image.fromarray((covered * 255).astype(np.uint8))
    soft = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.06, 0.25) * typical)))
    down, right = (rng.normal(0, 0.12, 2) * typical).round().astype(int)
    shade = np.roll(np.asarray(soft, np.float32) / 255, (down, right), (0, 1))
    return background * (1 - rng.uniform(0, SHADOW) * shade)[..., None]


def as_photograph(rng: np.random.Generator, canvas: np.ndarray) -> Image.Image:
    """Change exposure, white balance and sharpness of an image (H, W, 3) in [0, 1], and add noise."""
    tone = rng.uniform(0.75, 1.3)
    canvas = (canvas.clip(0, 1) ** tone * rng.uniform(0.75, 1.2) * rng.normal(1, 0.05, 3)).clip(0, 1)
    image = Image.fromarray((canvas * 255 + 0.5).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(float(rng.choice([0, rng.uniform(0, 1.2)]))))
    if rng.random() < 0.4:  # cameras sharpen
        image = image.filter(ImageFilter.UnsharpMask(1, int(rng.uniform(30, 150)), 0))
    noise = rng.standard_normal(canvas.shape, np.float32) * (255 * rng.uniform(0.003, 0.03))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
