"""Augmentation presets, and their combination with the user's settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

from danlu.config import AugmentConfig
from danlu.data.augmentation.geometry import PHOTO_SIDE
from danlu.message import message
from danlu.refuse import Refusal, one_of, refusal

A = TypeVar("A", bound=AugmentConfig)  # the same type of section is returned
WHOLE_AREA = (1.0, 1.0)  # augment.area without cropping
OBJECT_CROP_AREA = (0.3, 1.0)  # augment.area when only augment.iou_crop is given
BOUNDS = {True: "0 < low <= high <= 1", False: "0 < low <= high"}  # of a pair; True: both are fractions
STRIDE = 32  # pixels; sizes of multi-scale training are multiples of the largest stride of the detectors
PAD_DIVISOR = 8  # small images are padded by 1/8 of their side: 4 pixels for CIFAR's 32 (He et al. 2015)
OFF_WITHOUT_OBJECTS = {"zoom_out": 1, "iou_crop": 0, "mosaic": 0, "multi_scale": 0}  # setting -> value that is off
# Settings that images of different sizes do not support: they move pixels between patches, or mix images.
MOVES_GRID = ("pad", "area", "rotate", "scale", "shear", "translate", "erase", "mixup", "cutmix")
# Setting that detection does not support -> the reason or the alternative.
ALTERNATIVES = {
    "pad": "augment.translate shifts images",
    "rotate": "the box of a rotated object is no longer tight",
    "shear": "the box of a sheared object is no longer tight",
    "cutmix": "augment.mosaic combines images",
    "noise": "augment.brightness and contrast vary the values",
}


def _none(size: int, channels: int) -> dict[str, Any]:
    off: dict[str, Any] = {f.name: 0.0 for f in fields(AugmentConfig)}
    return off | {
        "preset": "none",
        "flip": "none",
        "pad": 0,
        "area": WHOLE_AREA,
        "ratio": (3 / 4, 4 / 3),
        "zoom_out": 1.0,
    }


def _light(size: int, channels: int) -> dict[str, Any]:
    # Grey images are often characters, which must not be mirrored; mirrored photographs are usually still valid.
    flip = "lr" if channels == 3 else "none"
    if size < PHOTO_SIDE:
        pad = size // PAD_DIVISOR if size >= 2 * PAD_DIVISOR else 0  # one pixel is too much for an 8-pixel digit
        return _none(size, channels) | {"preset": "light", "flip": flip, "pad": pad}
    mild = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2 if channels == 3 else 0.0}
    return _none(size, channels) | {"preset": "light", "flip": flip, "area": (0.25, 1.0)} | mild


def _strong(size: int, channels: int) -> dict[str, Any]:
    more: dict[str, Any] = {"preset": "strong", "rotate": 10.0, "erase": 0.25, "mixup": 0.2}
    if size >= PHOTO_SIDE:
        more |= {"area": (0.08, 1.0)}
    if channels == 3:
        return _light(size, channels) | more | {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "cutmix": 1.0}
    return _light(size, channels) | more | {"scale": 0.1}


# Name -> function of the image side and the number of channels that returns the settings.
PRESETS: dict[str, Callable[[int, int], dict[str, Any]]] = {"none": _none, "light": _light, "strong": _strong}


MAP_CROP_AREA = (0.4, 1.0)  # fractions of the image that a crop for label maps may have


def _objects_none(size: int, channels: int) -> dict[str, Any]:
    return _none(size, channels) | {"ratio": (1 / 2, 2)}  # as SSD's crops (Liu et al. 2016, section 2.2)


def _objects_light(size: int, channels: int) -> dict[str, Any]:
    colour = {"saturation": 0.2, "hue": 0.02, "flip": "lr"} if channels == 3 else {}
    crops = {"zoom_out": 2.0, "iou_crop": 0.5, "area": OBJECT_CROP_AREA, "scale": 0.1, "translate": 0.05}
    mild = {"preset": "light", "brightness": 0.2, "contrast": 0.2}
    return _objects_none(size, channels) | mild | colour | crops


def _objects_strong(size: int, channels: int) -> dict[str, Any]:
    colour = {"saturation": 0.4, "hue": 0.02, "flip": "lr"} if channels == 3 else {}
    mixing = {"mosaic": 0.5, "mixup": 0.5, "scale": 0.5, "translate": 0.1}
    more = {"preset": "strong", "brightness": 0.4, "contrast": 0.4}
    return _objects_none(size, channels) | more | colour | mixing


def _poses_light(size: int, channels: int) -> dict[str, Any]:
    # Turning the image turns the pose with it, so that few images show many rotations. A mirrored object is another.
    geometry = {"rotate": 180.0, "scale": 0.15, "translate": 0.1, "flip": "none"}
    colour = {"saturation": 0.1, "hue": 0.01} if channels == 3 else {}
    return _objects_none(size, channels) | {"preset": "light", "brightness": 0.2, "contrast": 0.2} | geometry | colour


def _poses_strong(size: int, channels: int) -> dict[str, Any]:
    colour = {"saturation": 0.4, "hue": 0.05} if channels == 3 else {}
    more = {"preset": "strong", "brightness": 0.5, "contrast": 0.5, "scale": 0.3, "erase": 0.25}
    return _poses_light(size, channels) | more | colour


# Presets for poses in space.
POSE_PRESETS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "none": _objects_none,
    "light": _poses_light,
    "strong": _poses_strong,
}
# Settings that change an image in a way no pose follows -> why.
NOT_FOR_POSES = {
    "flip": message("data.do.mirror_pose", "a mirrored object is another object, and no rotation shows it"),
    "mosaic": message("data.do.one_camera", "an image has one camera"),
    "mixup": message("data.do.one_camera", "an image has one camera"),
}

# Presets for detection and segmentation.
OBJECT_PRESETS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "none": _objects_none,
    "light": _objects_light,
    "strong": _objects_strong,
}


def resolve(config: A, *, size: int, channels: int, classes: int) -> A:
    """Fill settings that are None from the preset ("light" by default), for classification and regression.

    size: side of the network's input in pixels. channels: of the images. classes: 0 for regression, whose presets do
    not mix samples. Returns a copy of `config` without None.
    Raises Refusal for invalid settings: saturation of grey images, padding of at least the side, cutmix of numbers.
    """
    preset = config.preset or "light"
    values = PRESETS[
        one_of("augment.preset", preset, PRESETS, message("data.wanted.none_light_strong", "none, light or strong"))
    ](size, channels)
    if not classes:
        values |= {"mixup": 0.0, "cutmix": 0.0}
    mine = _set_by_user(config)
    # Padding and area both crop at random: the user's setting replaces the preset's.
    if mine.get("pad"):
        values["area"] = WHOLE_AREA
    if tuple(mine.get("area", WHOLE_AREA)) != WHOLE_AREA:
        values["pad"] = 0
    filled = replace(config, **(values | mine))
    _check(filled, size, channels, classes)
    return filled


def resolve_grids(config: A, *, size: int, channels: int, classes: int) -> A:
    """As `resolve`, for images that keep their aspect: only transforms that keep the grid of patches.

    Raises Refusal for the others where the user set them.
    """
    off = _none(size, channels)
    for name in MOVES_GRID:
        value = getattr(config, name)
        if value not in (None, off[name]):
            wanted = message("data.wanted.keeps_grid", "omitted with --tokens and --size keep")
            keeps = message(
                "data.do.keeps_grid", "flip, brightness, contrast, saturation, hue and noise keep the grid of patches"
            )
            raise refusal(f"augment.{name}", wanted, value, do=keeps)
    return resolve(
        replace(config, **{name: off[name] for name in MOVES_GRID}), size=size, channels=channels, classes=classes
    )


def resolve_objects(config: A, *, size: int, channels: int, poses: bool = False, may_rotate: bool = False) -> A:
    """Fill settings that are None from the preset ("light" by default), for detection and segmentation.

    size: side of the network's input in pixels. channels: of the images. poses: of objects in space, which rotation of
    the image changes too, but which have no mirror image. may_rotate: for targets that are exact after a rotation, as
    those of poses and label maps. Returns a copy of `config` without None.
    Raises Refusal for transforms that boxes do not support (rotation, shear, cutmix) and for invalid values.
    """
    preset = config.preset or "light"
    table = POSE_PRESETS if poses else OBJECT_PRESETS
    values = table[
        one_of("augment.preset", preset, table, message("data.wanted.none_light_strong", "none, light or strong"))
    ](size, channels)
    mine = _set_by_user(config)
    if mine.get("iou_crop"):
        values["area"] = OBJECT_CROP_AREA
    if mine.get("iou_crop") == 0:
        values["area"] = WHOLE_AREA
    filled = replace(config, **(values | mine))
    _check_ranges(filled, channels)
    _check_objects(filled, size, poses, may_rotate or poses)
    return filled


def resolve_maps(config: A, *, size: int, channels: int) -> A:
    """As `resolve_objects`, for label maps, which may rotate: crops and zooms that need no objects."""
    mine = _set_by_user(config)
    values = {"iou_crop": 0.0, "zoom_out": 1.0}
    if (config.preset or "light") != "none":
        values |= {"area": MAP_CROP_AREA, "scale": 0.2}
    config = replace(config, **(values | mine))
    return resolve_objects(config, size=size, channels=channels, may_rotate=True)


def multi_scale_sizes(size: int, multi_scale: float) -> list[int]:
    """List the image sides of multi-scale training, in pixels.

    size: default side. multi_scale: max relative difference from it; 0: only `size` itself, else multiples of `STRIDE`.
    """
    if not multi_scale:
        return [size]
    low, high = (size * (1 + sign * multi_scale) / STRIDE for sign in (-1, 1))
    return [STRIDE * k for k in range(max(1, math.ceil(low)), math.floor(high) + 1)]


def _set_by_user(config: AugmentConfig) -> dict[str, Any]:
    """Settings that are not None."""
    return {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) is not None}


def _check_objects(config: Any, size: int, poses: bool, may_rotate: bool) -> None:
    for name, reason in NOT_FOR_POSES.items() if poses else ():
        off = "none" if name == "flip" else 0
        if getattr(config, name) != off:
            wanted = message("data.wanted.for_poses", "{off} for poses", off=off)
            raise refusal(f"augment.{name}", wanted, getattr(config, name), do=reason)
    for name, alternative in ALTERNATIVES.items():
        if getattr(config, name) and not (may_rotate and name == "rotate"):
            raise refusal(
                f"augment.{name}",
                message("data.wanted.detection", "0 for detection"),
                getattr(config, name),
                do=alternative,
            )
    if config.iou_crop and tuple(config.area) == WHOLE_AREA:
        raise refusal(
            "augment.area",
            message("data.wanted.less_whole_image_augment", "less than the whole image for augment.iou_crop"),
            "1,1",
            do=message("data.do.usual", "0.3,1 is usual"),
        )
    if not multi_scale_sizes(size, config.multi_scale):
        wanted = message(
            "data.wanted.large_enough_multiple_pixels",
            "large enough for a multiple of {stride} pixels around data.size {size}",
            stride=STRIDE,
            size=size,
        )
        raise refusal("augment.multi_scale", wanted, config.multi_scale)


def _check(config: Any, size: int, channels: int, classes: int) -> None:
    for name, off in OFF_WITHOUT_OBJECTS.items():
        if getattr(config, name) != off:
            raise refusal(
                f"augment.{name}",
                message(
                    "data.wanted.except_detection_segmentation",
                    "{off:g} except for detection and segmentation",
                    off=off,
                ),
                getattr(config, name),
            )
    _check_ranges(config, channels)
    if config.pad >= size:
        raise refusal(
            "augment.pad",
            message("data.wanted.less_image_side_pixels", "less than the image's side of {size} pixels", size=size),
            config.pad,
        )
    if config.pad and tuple(config.area) != WHOLE_AREA:
        raise Refusal(
            message(
                "data.refuse.augment_pad_augment_area",
                "augment.pad and augment.area both crop at random; use one: --augment.pad 0 or --augment.area 1,1",
            )
        )
    if config.cutmix and not classes:
        raise refusal(
            "augment.cutmix",
            message("data.wanted.regression", "0 for regression"),
            config.cutmix,
            do=message("data.do.augment_mixup_also_supports", "augment.mixup also supports regression"),
        )


def _check_ranges(config: Any, channels: int) -> None:
    for name in ("saturation", "hue"):
        value = getattr(config, name)
        if value and channels != 3:
            raise refusal(f"augment.{name}", message("data.wanted.grey_images", "0 for grey images"), value)
    for name, top in (("area", 1.0), ("ratio", math.inf)):
        low, high = getattr(config, name)
        if not 0 < low <= high <= top:
            raise refusal(
                f"augment.{name}",
                message("data.wanted.two_numbers", "two numbers with {bound}", bound=BOUNDS[top == 1]),
                f"{low:g},{high:g}",
            )
