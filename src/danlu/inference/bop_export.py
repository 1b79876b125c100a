"""Poses as a csv file in BOP's results form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from danlu.inference.prediction import Prediction
from danlu.refuse import blame

RESULTS_FILE = "poses.csv"
HEADER = "scene_id,im_id,obj_id,score,R,t,time"
MILLIMETRES = 1000  # per metre


def write_bop_results(folder: Path, predictions: Iterable[Prediction], classes: Sequence[str]) -> None:
    """Write `folder`/poses.csv, one line per estimate: R by rows, t in millimetres, time -1 (not measured).

    Numbers of scene and image are those in the names of the folder and the file (scene 1, and the position of the
    image, where there are none). Numbers of objects are those of classes named as in BOP, obj_000001, or the position
    of the class, from 1. Raises Refusal or Failure if the file cannot be written.
    """
    numbers = object_numbers(classes)
    lines = [HEADER]
    for place, one in enumerate(predictions):
        path = Path(one.path)
        image = int(path.stem) if path.stem.isdecimal() else place
        scene = next((int(p.name) for p in path.parents if p.name.isdecimal()), 1)
        for found in one.objects or ():
            if found.pose is not None:
                rotation = " ".join(f"{v:.6f}" for row in found.pose["rotation"] for v in row)
                translation = " ".join(f"{v * MILLIMETRES:.4f}" for v in found.pose["translation"])
                lines.append(f"{scene},{image},{numbers[found.label]},{found.score:.6f},{rotation},{translation},-1")
    file = folder / RESULTS_FILE
    try:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise blame(error, f"--out {file}") from None


def object_numbers(classes: Sequence[str]) -> dict[str, int]:
    """Return the number of each class in BOP's files, which have no names of objects."""
    found = [re.fullmatch(r"obj_(\d+)", name) for name in classes]
    if all(found):
        return {name: int(one.group(1)) for name, one in zip(classes, found) if one}
    return {name: k for k, name in enumerate(classes, 1)}
