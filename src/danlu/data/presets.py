"""What each augmentation preset sets, and how a user's settings and a preset become one whole recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from danlu.config import AugmentConfig
from danlu.data.geometry import LARGE
from danlu.refuse import Refusal, choose, refusal

WHOLE = (1.0, 1.0)  # area of a crop that keeps the whole picture
PAD = 8  # small pictures are padded by 1/8 of their side: 4 pixels for CIFAR's 32 (He et al. 2015)


def _none(size: int, channels: int) -> dict[str, Any]:
    off: dict[str, Any] = {f.name: 0.0 for f in fields(AugmentConfig)}
    return off | {"preset": "none", "flip": "none", "pad": 0, "area": WHOLE, "ratio": (3 / 4, 4 / 3)}


def _light(size: int, channels: int) -> dict[str, Any]:
    # Grey pictures are often signs, which have a left and a right; photographs rarely mind a mirror.
    flip = "lr" if channels == 3 else "none"
    if size < LARGE:
        pad = size // PAD if size >= 2 * PAD else 0  # a pixel is much of an 8-pixel digit
        return _none(size, channels) | {"preset": "light", "flip": flip, "pad": pad}
    mild = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2 if channels == 3 else 0.0}
    return _none(size, channels) | {"preset": "light", "flip": flip, "area": (0.25, 1.0)} | mild


def _strong(size: int, channels: int) -> dict[str, Any]:
    more: dict[str, Any] = {"preset": "strong", "rotate": 10.0, "erase": 0.25, "mixup": 0.2}
    if size >= LARGE:
        more |= {"area": (0.08, 1.0)}
    if channels == 3:
        return _light(size, channels) | more | {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "cutmix": 1.0}
    return _light(size, channels) | more | {"scale": 0.1}


# Name -> what it sets for pictures of this side and these channels.
PRESETS: dict[str, Callable[[int, int], dict[str, Any]]] = {"none": _none, "light": _light, "strong": _strong}


def resolve(config: AugmentConfig, *, size: int, channels: int, classes: int) -> AugmentConfig:
    """`config` with every None filled from its preset ("light" when it names none).

    size: side of the pictures the network sees. classes: 0 for regression, whose presets do not mix samples.
    Raises Refusal for what cannot be done: saturation of grey pictures, a pad beyond the side, cutmix of numbers.
    """
    preset = config.preset or "light"
    values = PRESETS[choose("augment.preset", preset, PRESETS, "none, light or strong")](size, channels)
    if not classes:
        values |= {"mixup": 0.0, "cutmix": 0.0}
    mine = {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) is not None}
    # Both move a window at random: the one that was asked for replaces the preset's.
    if mine.get("pad"):
        values["area"] = WHOLE
    if tuple(mine.get("area", WHOLE)) != WHOLE:
        values["pad"] = 0
    filled = replace(config, **(values | mine))
    _check(filled, size, channels, classes)
    return filled


def _check(config: Any, size: int, channels: int, classes: int) -> None:
    for name in ("saturation", "hue"):
        value = getattr(config, name)
        if value and channels != 3:
            raise refusal(f"augment.{name}", "0 for pictures without colour", value)
    for name, top in (("area", 1.0), ("ratio", math.inf)):
        low, high = getattr(config, name)
        if not 0 < low <= high <= top:
            bound = "0 < low <= high <= 1" if top == 1 else "0 < low <= high"
            raise refusal(f"augment.{name}", f"two numbers with {bound}", f"{low:g},{high:g}")
    if config.pad >= size:
        raise refusal("augment.pad", f"less than the picture's side of {size} pixels", config.pad)
    if config.pad and tuple(config.area) != WHOLE:
        raise Refusal(
            "augment.pad and augment.area both crop at random; use one: --augment.pad 0 or --augment.area 1,1"
        )
    if config.cutmix and not classes:
        raise refusal("augment.cutmix", "0 for regression", config.cutmix, do="augment.mixup blends numbers as well")
