"""Values of one entry of a COCO json file: ids, names, boxes and outlines, with the place of what is unusable."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.data.annotations import MAX_MASK_PIXELS, Polygons, RunLengths, Shape, decode_runs, parse_runs
from danlu.data.sources.labelled_images.reading import around_rotated, box_of


class EntryError(ValueError):
    """Unusable entry of a file. The message has its place and the reason."""


def name_of(entry: dict[str, Any]) -> str:
    """The name of an image; LVIS gives only its address, whose last folder and file are the name."""
    if "file_name" not in entry and isinstance(entry.get("coco_url"), str):
        return "/".join(entry["coco_url"].split("/")[-2:])
    return str(entry.get("file_name"))


def text_of(entry: dict[str, Any], key: str, where: str) -> str:
    """A value that is text. Raises EntryError for another."""
    value = entry.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise EntryError(f"{where}.{key} must be text, got {short(value) if key in entry else 'no such key'!r}")
    return value


def image_name(entry: dict[str, Any], where: str) -> str:
    """The name of an image. Raises EntryError without one."""
    own = name_of(entry)
    return own if "file_name" not in entry and "/" in own else text_of(entry, "file_name", where)


def id_of(entry: dict[str, Any], key: str, where: str) -> int | str:
    """Normalise an id: 7, 7.0 and "7" are equal."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str | float):
        got = short(value) if key in entry else "none"
        raise EntryError(f"{where}.{key} must be a number or a name, got {got!r}")
    if isinstance(value, int):
        return value
    name = str(value)
    try:
        number = float(value)
        whole = number.is_integer() and abs(number) < 2**53
    except ValueError:
        return name
    # "007" is not equal to 7.
    plain = whole and (not isinstance(value, str) or str(int(number)) == value.partition(".")[0])
    return int(number) if plain else name


def corners_of(entry: dict[str, Any], where: str, shape: Shape | None) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of the bbox, or of the outline if there is none."""
    values = _with_numbers(entry.get("bbox"))
    if not values and isinstance(shape, Polygons) and shape.rings:
        return box_of(shape)
    if not values and isinstance(shape, RunLengths):
        return _box_of_runs(shape)
    if not isinstance(values, list) or len(values) != 4 or not _are_numbers(values):
        got = short(values) if "bbox" in entry else "no such key"
        raise EntryError(f"{where}.bbox must be four numbers x, y, width, height, got {got!r}")
    x, y, width, height = map(_float, values)
    if angle := rotation_of(entry):
        return around_rotated((x, y, x + width, y + height), angle)
    return x, y, x + width, y + height


def rotation_of(entry: dict[str, Any]) -> float:
    """Return the angle in degrees of a rotated box (an attribute of CVAT), 0 of others."""
    attributes = entry.get("attributes")
    angle = attributes.get("rotation") if isinstance(attributes, dict) else None
    return float(angle) if isinstance(angle, int | float) and not isinstance(angle, bool) else 0.0


def outline_of(entry: dict[str, Any], where: str) -> tuple[Shape | None, str]:
    """Read polygons, or run lengths in either form; returns them and the reason if they are unusable."""
    try:
        return _shape(entry.get("segmentation")), ""
    except ValueError as error:
        if not entry.get("bbox"):
            raise EntryError(f"{where}.segmentation {error}") from None
        return None, f"segmentation {error}"


def _shape(outline: Any) -> Shape | None:
    """Raises ValueError if `outline` is neither polygons nor run lengths."""
    if not outline:
        return None
    if isinstance(outline, list):
        if _are_numbers(outline):
            outline = [outline]  # one polygon without the outer list
        return Polygons(tuple(ring for one in outline if len(ring := _ring(one))))
    if not isinstance(outline, dict):
        raise ValueError(f"must be polygons or run lengths, got {short(outline)!r}")
    counts, size = outline.get("counts"), outline.get("size")
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size)):
        raise ValueError(f"must have a size of height and width, got {short(size)!r}")
    if isinstance(counts, str):
        return RunLengths(parse_runs(counts.encode()), (size[0], size[1]))
    if not (isinstance(counts, list) and all(isinstance(n, int) and 0 <= n < 2**40 for n in counts)):
        raise ValueError(f"must have counts that are run lengths, got {short(counts)!r}")
    return RunLengths(np.array(counts, np.int64), (size[0], size[1]))


def _ring(ring: Any) -> np.ndarray:
    if not (isinstance(ring, list) and len(ring) % 2 == 0 and _are_numbers(ring)):
        raise ValueError(f"must be polygons, each a list of x, y, x, y, ..., got {short(ring)!r}")
    return np.array(list(map(_float, ring)), np.float64).reshape(-1, 2)


def area_of_corners(entry: dict[str, Any]) -> bool:
    """Return whether the area of an object is that of its bbox taken as two corners, and not as corner and size."""
    box, area = _with_numbers(entry.get("bbox")), entry.get("area")
    if area is None or not isinstance(box, list) or len(box) != 4 or not _are_numbers([*box, area]) or area <= 0:
        return False
    a, b, c, d = map(_float, box)
    return c > a and d > b and abs((c - a) * (d - b) - area) < 0.02 * area and abs(c * d - area) > 0.1 * area


def _box_of_runs(runs: RunLengths) -> tuple[float, float, float, float]:
    height, width = runs.size
    if not runs.counts.size or int(runs.counts.sum()) != height * width or height * width > MAX_MASK_PIXELS:
        return 0.0, 0.0, 0.0, 0.0
    mask = decode_runs(runs)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def size_of(entry: dict[str, Any]) -> tuple[int, int] | None:
    """Return (height, width) if both are numbers."""
    values = [entry.get("height"), entry.get("width")]
    try:
        height, width = (float(value) for value in values if not isinstance(value, bool | type(None)))
        return int(height), int(width)
    except (TypeError, ValueError, OverflowError):
        return None


def _with_numbers(values: Any) -> Any:
    """A list of texts that are numbers, such as "12.5", as numbers; anything else as it is."""
    if not isinstance(values, list) or not any(isinstance(value, str) for value in values):
        return values
    try:
        return [float(value) if isinstance(value, str) else value for value in values]
    except ValueError:
        return values


def _are_numbers(values: list[Any]) -> bool:
    return set(map(type, values)) <= {int, float}


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return float("inf")


def short(value: Any) -> Any:
    """Value for an error message: as it is, or the first 60 characters of its repr."""
    text = repr(value)
    return value if len(text) <= 60 else f"{text[:60]}..."
