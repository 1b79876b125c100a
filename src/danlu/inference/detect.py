"""What a detector finds in images and videos: objects in the pixels of each, drawn on it, and as COCO results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.config import Config
from danlu.data.augment import Normalise, mirrors
from danlu.data.canvas import FITS, Placement
from danlu.data.images import Colour, decode, image_size, place_image
from danlu.detection.tta import detect_mirrored, merge
from danlu.inference.inputs import Given, existing, images_given, output_folder, output_name
from danlu.inference.trained_run import TrainedRun
from danlu.inference.video import Recording, is_video, video_frames
from danlu.objects import Detections
from danlu.refuse import blame
from danlu.report.images import draw_objects
from danlu.tasks.detect import run_lengths_to_json, to_image

CHUNK = 32  # images seen at once
RESULTS = "detections.json"
Placed = tuple[np.ndarray, Placement]  # an image on the canvas, and where it lies there


def find(
    trained: TrainedRun, where: torch.device, inputs: Sequence[Any], config: Config, out: str | Path | None = None
) -> list[dict[str, Any]]:
    """{"path", "objects": [{"class", "score", "box": [x1, y1, x2, y2], "mask"}, ...]} per image or frame of a video.

    Objects come the surest first, in pixels of the image; mask is COCO's run lengths, where the task is to segment.
    out: folder for the images, at their own size, with what was found drawn on them, and for `detections.json`.
    """
    finder = Finder(trained, where, config)
    drawn = Drawings(output_folder(out)) if out is not None else None
    results: list[dict[str, Any]] = []
    seen = _seen(inputs, finder)
    while chunk := list(islice(seen, CHUNK)):
        found = iter(finder([one.read for one in chunk if one.read is not None]))
        for one in chunk:
            if one.read is None:
                results.append({"path": one.name, "error": one.reason})
                continue
            objects = [_told(thing, finder.classes) for thing in _rows(next(found))]
            results.append({"path": one.name, "objects": objects})
            if drawn is not None:
                drawn.add(one, objects, finder.classes)
    if drawn is not None:
        drawn.close()
        _write(drawn.folder / RESULTS, coco_results(results, finder.classes))
    return results


class Finder:
    """A trained detector, or several, with all that lies between an image and the objects in it."""

    def __init__(self, trained: TrainedRun, where: torch.device, config: Config) -> None:
        signature, self.where, self.keep = trained.signature, where, config.detect
        self.members = [
            (network, Normalise(size=own.size, mean=own.mean, std=own.std))
            for own, network in trained.members_on(where)
        ]
        self.mirrors = mirrors(config.augment) if config.tta else [()]
        self.classes, self.fit, self.canvas = signature.classes, FITS[signature.fit], signature.canvas or 1
        self.colour: Colour = "grey" if signature.channels == 1 else "rgb"

    def place(self, source: Any) -> Placed:
        """The whole image on the canvas. ValueError or OSError when there is no such image."""
        placement = self.fit(image_size(source), self.canvas)
        return place_image(source, placement, self.colour), placement

    @torch.no_grad()
    def __call__(self, placed: Sequence[Placed]) -> list[Detections]:
        """What is found in each image, in its own pixels, on the CPU; masks as run lengths."""
        if not placed:
            return []
        raw = torch.from_numpy(np.stack([image for image, _ in placed])).to(self.where)
        score, overlap, most = self.keep.score, self.keep.overlap, self.keep.most
        least = score / len(self.members)
        each = [
            detect_mirrored(network, normalise.scale(normalise.centre(raw)), self.mirrors, least, overlap, most)
            for network, normalise in self.members
        ]
        found = each[0] if len(each) == 1 else [merge(one, overlap, most, score) for one in zip(*each)]
        return [to_image(one.to("cpu"), placement) for one, (_, placement) in zip(found, placed)]


class Drawings:
    """A folder of images and videos with what was found on them, under the names of their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()
        self._recording: tuple[Path, Recording] | None = None

    def add(self, one: Given[Placed], objects: Sequence[dict[str, Any]], classes: Sequence[str]) -> None:
        image = draw_objects(decode(one.source), objects, classes)
        if one.video is None:
            image.save(self.folder / output_name(one.name, self._taken))
            return
        if self._recording is None or self._recording[0] != one.video:
            self.close()
            file = self.folder / output_name(str(one.video), self._taken, ".mp4")
            self._recording = one.video, Recording(one.video, file)
        self._recording[1].add(image)

    def close(self) -> None:
        if self._recording is not None:
            self._recording[1].close()
            self._recording = None


def coco_results(results: Iterable[dict[str, Any]], classes: Sequence[str]) -> list[dict[str, Any]]:
    """What was found as a COCO results file has it, with the names of file and class beside the numbers.

    file_name: from the folder down that all images lie in. image_id: the file's name as a number where it is one (as
    COCO's own files are called), else the name; where that names two images, their `file_name`. category_id: the
    place of the class, from 1.
    """
    rows = [row for row in results if "objects" in row]
    files = _below(os.path.normpath(row["path"]) for row in rows)
    ids: list[int | str] = [int(stem) if stem.isdecimal() else stem for stem in (Path(file).stem for file in files)]
    if len(set(ids)) < len(set(files)):
        ids = [*files]
    entries = []
    for row, file, number in zip(rows, files, ids):
        for one in row["objects"]:
            left, top, right, bottom = one["box"]
            entry = {
                "image_id": number,
                "category_id": classes.index(one["class"]) + 1,
                "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                "score": one["score"],
                "file_name": file,
                "category": one["class"],
            }
            entries.append(entry | ({"segmentation": one["mask"]} if "mask" in one else {}))
    return entries


def _below(paths: Iterable[str]) -> list[str]:
    """Paths from their common folder down, with slashes; names alone where they have no folder in common."""
    paths = list(paths)
    try:
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # absolute and relative ones, or none at all
        return [os.path.basename(path) for path in paths]
    return [Path(path).relative_to(root).as_posix() for path in paths]


def _seen(inputs: Sequence[Any], finder: Finder) -> Iterator[Given[Placed]]:
    """Every image and every frame, on the canvas."""
    numbers = count()
    for given in inputs:
        if isinstance(given, str | Path) and is_video(existing(given)):
            for i, frame in enumerate(video_frames(Path(given)), 1):
                yield Given(f"{given} frame {i}", frame, finder.place(frame), video=Path(given))
        else:
            yield from images_given([given], finder.place, numbers)


def _rows(found: Detections) -> Iterator[tuple[list[float], float, int, dict[str, Any] | None]]:
    masks: Any = found.masks if found.masks is not None else [None] * len(found)
    return zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), masks)


def _told(thing: tuple[list[float], float, int, dict[str, Any] | None], classes: Sequence[str]) -> dict[str, Any]:
    box, score, label, mask = thing
    said = {"class": classes[label], "score": round(score, 6), "box": [round(value, 2) for value in box]}
    if mask is not None:
        said["mask"] = run_lengths_to_json(mask)
    return said


def _write(file: Path, entries: list[dict[str, Any]]) -> None:
    try:
        file.write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise blame(error, f"--out {file}") from None
