"""Detections as a COCO results file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from danlu.inference.prediction import Prediction
from danlu.refuse import blame

RESULTS_FILE = "detections.json"


def write_coco_results(folder: Path, predictions: Iterable[Prediction], classes: Sequence[str]) -> None:
    """Write `folder`/detections.json. Raises Refusal or Failure if the file cannot be written."""
    file = folder / RESULTS_FILE
    try:
        text = json.dumps(coco_results(predictions, classes), ensure_ascii=False)
        file.write_text(text, encoding="utf-8", errors="backslashreplace")  # names that are not UTF-8
    except OSError as error:
        raise blame(error, f"--out {file}") from None


def coco_results(predictions: Iterable[Prediction], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Entries of a COCO results file, with `file_name` and `category` beside the ids.

    file_name: path below the common folder of all images. image_id: the file's stem, as an integer where it is one (as
    in COCO's own file names); the `file_name` where two images share a stem. category_id: index of the class, from 1.
    """
    found = [(one.path, one.objects) for one in predictions if one.objects is not None]
    files = _below_common_folder(os.path.normpath(path) for path, _ in found)
    ids: list[int | str] = [int(stem) if stem.isdecimal() else stem for stem in (Path(file).stem for file in files)]
    if len(set(ids)) < len(set(files)):
        ids = [*files]
    entries = []
    for (_, objects), file, image_id in zip(found, files, ids):
        for one in objects:
            left, top, right, bottom = one.box
            entry = {
                "image_id": image_id,
                "category_id": classes.index(one.label) + 1,
                "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                "score": one.score,
                "file_name": file,
                "category": one.label,
            }
            entries.append(entry | ({"segmentation": one.mask} if one.mask is not None else {}))
    return entries


def _below_common_folder(paths: Iterable[str]) -> list[str]:
    """Paths relative to their common folder, with slashes; file names where they have no folder in common."""
    paths = list(paths)
    try:
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # absolute and relative paths mixed, or no paths
        return [os.path.basename(path) for path in paths]
    return [Path(path).relative_to(root).as_posix() for path in paths]
