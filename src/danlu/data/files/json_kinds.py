"""Recognition of the kind of annotations in a json file, by its keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from danlu.data.files.text_files import parse_json, read_bytes

MAX_PARSED_JSON = 4 << 20  # bytes; of larger json files only the keys are searched
MAX_ENTRIES = 200  # of a json list that are looked at


def json_kind(path: Path) -> str:
    """Recognise the kind of annotations in a json file: "coco", "labelme", ..., "other", or "broken"."""
    size = 0
    try:
        size = path.stat().st_size
        if size > MAX_PARSED_JSON:
            with path.open("rb") as stream:
                ends = stream.read(1 << 20)
                stream.seek(-(1 << 20), os.SEEK_END)
                return _kind_of_marks(ends + stream.read())
        content = parse_json(read_bytes(path))
    except OSError:
        return "broken"
    except ValueError:
        kind = _kind_of_marks(read_bytes(path)) if size else "broken"
        return "broken" if kind in ("other", "list") else kind
    return _kind_of_content(content)


def _kind_of_marks(data: bytes) -> str:  # noqa: PLR0911
    """Recognise the kind by the keys that occur, for large or truncated files."""
    marks = {mark for mark in (b"images", b"annotations", b"categories", b"image_id", b"shapes", b"regions", b"bbox",
                               b"imagePath", b"caption", b"segments_info", b"segmentation", b"file_name",
                               b"coordinates", b"box2d", b"geometryType") if b'"' + mark + b'"' in data}  # fmt: skip
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if b"box2d" in marks or b"geometryType" in marks:
        return "bdd100k" if b"box2d" in marks else "supervisely"
    if start == b"[":
        return "createml" if b"coordinates" in marks else "coco results" if b"image_id" in marks else "list"
    if b"segments_info" in marks:
        return "coco panoptic"
    if b"caption" in marks and b"bbox" not in marks:
        return "coco captions"
    if {b"shapes", b"imagePath"} <= marks:
        return "labelme"
    if b"regions" in marks and b"categories" not in marks:
        return "via"
    if {b"images", b"annotations"} <= marks or {b"images", b"categories"} <= marks or b"image_id" in marks:
        return "coco"
    return "other"


def _kind_of_content(content: Any) -> str:  # noqa: PLR0911
    if isinstance(content, dict):
        return _kind_of_object(content)
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        first = content[0]
        if "annotations" in first and ("image" in first or "imagefilename" in first):
            return "createml"
        if "data" in first and ("annotations" in first or "completions" in first or "predictions" in first):
            return "label studio"
        if "annotation_id" in first and ("annotator" in first or "lead_time" in first):
            return "label studio"  # JSON-MIN
        if "image_id" in first and ("bbox" in first or "segmentation" in first):
            return "coco results"
        return "bdd100k" if _is_bdd100k(content[:MAX_ENTRIES]) else "list"
    return "list" if isinstance(content, list) else "other"


def _kind_of_object(content: dict[str, Any]) -> str:  # noqa: PLR0911
    keys = set(content)
    if "shapes" in keys and isinstance(content["shapes"], list):
        return "labelme"
    if "_via_img_metadata" in keys or _is_via(content):
        return "via"
    if isinstance(content.get("items"), list) and "categories" in keys:
        return "datumaro"
    if isinstance(content.get("image"), dict) and isinstance(content.get("annotations"), list):
        return "segment anything"
    if isinstance(content.get("size"), dict) and isinstance(content.get("objects"), list):
        return "supervisely"
    if isinstance(content.get("name"), str) and isinstance(content.get("frames"), list):
        return "bdd100k"
    if ("asset" in keys and "regions" in keys) or _is_vott(content.get("assets")):
        return "vott"
    if {"project", "file", "metadata", "view"} <= keys:
        return "via 3"
    lists = {key for key in ("images", "annotations", "categories") if isinstance(content.get(key), list)}
    if lists and "images" in keys and ("annotations" in keys or "categories" in keys):
        return _kind_of_coco(content)
    if lists and "annotations" in keys and "categories" in keys:
        return "coco"
    return "other"


def _is_bdd100k(entries: list[dict[str, Any]]) -> bool:
    """Return whether images have a name and labels with a category and a box or an outline."""
    labels = [one for entry in entries if isinstance(entry.get("labels"), list) for one in entry["labels"]]
    named = all(isinstance(entry.get("name"), str) for entry in entries)
    return named and any(isinstance(one, dict) and "category" in one and "box2d" in one for one in labels)


def _is_vott(assets: Any) -> bool:
    values = list(assets.values())[:MAX_ENTRIES] if isinstance(assets, dict) else []
    return bool(values) and all(isinstance(one, dict) and "asset" in one and "regions" in one for one in values)


def _is_via(content: dict[str, Any]) -> bool:
    values = [value for value in content.values() if isinstance(value, dict)]
    return bool(values) and len(values) == len(content) and all("filename" in v and "regions" in v for v in values)


def _kind_of_coco(content: dict[str, Any]) -> str:
    if "annotations" not in content:
        return "coco images" if isinstance(content["images"], list) and "categories" not in content else "coco"
    if not content["annotations"] and "categories" not in content:
        return "coco images"
    rows = content["annotations"]
    first = next((row for row in rows if isinstance(row, dict)), {}) if isinstance(rows, list) else {}
    if "segments_info" in first:
        return "coco panoptic"
    if "caption" in first and "bbox" not in first:
        return "coco captions"
    if first and all("bbox" not in row and "segmentation" not in row for row in rows if isinstance(row, dict)):
        kind = "coco keypoints" if "keypoints" in first else "coco labels"
        return kind if any("category_id" in row for row in rows if isinstance(row, dict)) else "coco"
    return "coco"
