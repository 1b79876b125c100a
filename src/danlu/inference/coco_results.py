"""`danlu evaluate RESULTS.json DATA`: detections of any system, in COCO's results form, against COCO annotations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.annotations import parse_runs
from danlu.data.sources.objects import coco
from danlu.inference.evaluation_result import EvaluationResult
from danlu.inference.input_images import siblings
from danlu.message import message
from danlu.metrics.detection import Kind, detection_metrics, evaluate_files, per_class
from danlu.refuse import NOTHING, Refusal, refusal
from danlu.run.summary import SplitMetrics
from danlu.task_spec import object_task


def evaluate_results(results: str | Path, data: str | Path | None) -> EvaluationResult:
    """Compute COCO's twelve metrics of a results file, for boxes, and for masks where it has them.

    data: the annotation file, or a folder that contains one. A detection names its image by `image_id` and its class
    by `category_id`; a `file_name` and a `category` that the annotations know (as `danlu predict` writes them) take
    precedence. Refusal with file and place for entries that cannot be used.
    """
    if data is None:
        raise refusal(
            "DATA",
            message(
                "inference.wanted.coco_annotations_evaluate_against",
                "the COCO annotations to evaluate {results} against",
                results=results,
            ),
            NOTHING,
        )
    path, source = Path(results), Path(data)
    for thing, one in (("RESULTS", path), ("DATA", source)):
        if not one.exists():
            raise refusal(
                thing, message("inference.wanted.existing_file", "an existing file"), str(one), near=siblings(one)
            )
    began = time.perf_counter()
    entries = _read(path)
    kinds = _kinds(entries, path)
    truth = _Annotations(coco.checked(source, outlines="masks" in kinds), source)
    found = _Results(entries, path, truth)
    metrics: dict[str, float] = {}
    classes: list[dict[str, Any]] = []
    for kind in kinds:
        judged = _judge(truth.for_evaluator(kind), found.for_evaluator(kind), kind)
        metrics |= detection_metrics(judged, kind)
        classes = per_class(judged, truth.classes)
    seconds = time.perf_counter() - began
    return EvaluationResult(
        run=str(path),
        task=object_task("masks" in kinds),
        model="",
        epochs=0,
        metrics=SplitMetrics.of("test", metrics),
        seconds=round(seconds, 3),
        samples_per_second=truth.count / max(seconds, 1e-9),
        findings=[],
        data=str(source),
        part="test",
        samples=truth.count,
        detections=len(entries),
        per_class=classes,
    )


class _Annotations:
    """Annotations with images, classes and objects renumbered from 1, because their own ids may be any value."""

    def __init__(self, content: dict[str, Any], source: Path) -> None:
        self.content, self.source = content, source
        ids = dict.fromkeys(one["id"] for one in content["images"])  # an image listed twice gets one number
        self.images = {key: n for n, key in enumerate(ids, 1)}
        self.by_file = _by_file({one["file_name"]: self.images[one["id"]] for one in content["images"]})
        self.sizes = {self.images[one["id"]]: _size(one) for one in content["images"]}
        names = {one["id"]: str(one["name"]).strip() for one in content["categories"]}
        self.classes = list(dict.fromkeys(names.values()))
        self.by_class = {name: k for k, name in enumerate(self.classes, 1)}
        self.categories = {key: self.by_class[name] for key, name in names.items()}
        if not any(self._usable(one) and not one.get("iscrowd") for one in content["annotations"]):
            raise Refusal(
                message(
                    "inference.refuse.contain_objects_got_none",
                    "{source} must contain objects, got none",
                    source=source,
                )
            )

    @property
    def count(self) -> int:
        return len(self.images)

    def _usable(self, one: Mapping[str, Any]) -> bool:
        return one["image_id"] in self.images and one["category_id"] in self.categories

    def for_evaluator(self, kind: Kind) -> dict[str, Any]:
        """Annotations as a COCO dictionary; only crowds are marked to be ignored."""
        if kind == "masks" and (0, 0) in self.sizes.values():
            raise Refusal(
                message(
                    "inference.refuse.give_height_width_every",
                    "{source} must give height and width of every image, as RESULTS has masks",
                    source=self.source,
                )
            )
        objects = []
        for i, one in enumerate(self.content["annotations"]):
            if not self._usable(one):
                continue
            where = f"{self.source}: annotations[{i}]"
            _, _, width, height = box = _numbers(one["bbox"], f"{where}.bbox")
            entry = {
                "id": len(objects) + 1,
                "image_id": self.images[one["image_id"]],
                "category_id": self.categories[one["category_id"]],
                "bbox": box,
                "area": _numbers([one.get("area") or width * height], f"{where}.area")[0],
                "iscrowd": int(bool(one.get("iscrowd"))),
            }
            if kind == "masks":
                if not one.get("segmentation"):
                    raise Refusal(
                        message(
                            "inference.refuse.segmentation_every_object_results",
                            "{source} must have a segmentation for every object, as RESULTS has masks",
                            source=self.source,
                        )
                    )
                size = self.sizes[entry["image_id"]]
                entry["segmentation"] = _mask(one["segmentation"], size, f"{where}.segmentation")
            objects.append(entry)
        images = [{"id": number, "height": h, "width": w} for number, (h, w) in self.sizes.items()]
        categories = [{"id": k, "name": name} for name, k in self.by_class.items()]
        return {"images": images, "annotations": objects, "categories": categories}


class _Results:
    """Detections of a results file.

    Values are checked as columns, which is fast, and one by one only to find the entry that is wrong.
    """

    def __init__(self, entries: Sequence[dict[str, Any]], path: Path, truth: _Annotations) -> None:
        self.entries, self.path, self.truth = entries, path, truth
        image, label = f"the id of an image of {truth.source}", f"the id of a class of {truth.source}"
        by_file = _look_up(truth.by_file, _known_suffixes(self._column("file_name"), truth.by_file))
        by_class = _look_up(truth.by_class, self._column("category"))
        self.images = self._ids("image_id", truth.images, by_file, image)
        self.labels = self._ids("category_id", truth.categories, by_class, label)
        self.scores = _floats(self._column("score"), lambda i: f"{path}: [{i}].score")

    def for_evaluator(self, kind: Kind) -> Any:
        """Detections with the numbers of the annotations: rows of image, x, y, w, h, score, class; or COCO entries."""
        if kind == "boxes":
            return np.column_stack([self.images, self._boxes(), self.scores, self.labels])
        sizes, shapes = self.truth.sizes, self._column("segmentation")
        columns = zip(self.images.tolist(), self.labels.tolist(), self.scores.tolist(), shapes)
        return [
            {
                "image_id": image,
                "category_id": label,
                "score": score,
                "segmentation": _mask(shape, sizes[image], f"{self.path}: [{i}].segmentation"),
            }
            for i, (image, label, score, shape) in enumerate(columns)
        ]

    def _column(self, key: str) -> list[Any]:
        return [entry.get(key) for entry in self.entries]

    def _boxes(self) -> np.ndarray:
        boxes = self._column("bbox")
        if not all(isinstance(box, list) and len(box) == 4 for box in boxes):
            i = next(i for i, box in enumerate(boxes) if not (isinstance(box, list) and len(box) == 4))
            raise refusal(
                f"{self.path}: [{i}].bbox",
                message("inference.wanted.four_numbers_width_height", "four numbers x, y, width, height"),
                _short(boxes[i]),
            )
        return _floats(list(chain.from_iterable(boxes)), lambda i: f"{self.path}: [{i // 4}].bbox").reshape(-1, 4)

    def _ids(self, key: str, table: Mapping[Any, int], by_name: np.ndarray, wanted: str) -> np.ndarray:
        """Number of each detection's image or class, by name where the name is known, else by id."""
        numbers = np.where(by_name > 0, by_name, _look_up(table, self._column(key)))
        if not numbers.all():
            i = int(numbers.argmin())
            raise refusal(f"{self.path}: [{i}].{key}", wanted, _short(self.entries[i].get(key)))
        return numbers


def _known_suffixes(names: list[Any], known: Mapping[str, int]) -> list[str | None]:
    """Longest known suffix of each path; None if no suffix is known or the value is no text."""
    strings = {name for name in names if isinstance(name, str)}
    longest = {name: next((suffix for suffix in _suffixes(name) if suffix in known), None) for name in strings}
    return [longest[name] if isinstance(name, str) else None for name in names]


def _look_up(table: Mapping[Any, int], values: list[Any]) -> np.ndarray:
    """Numbers of the values in `table`, int64; 0 for values that are not in it."""
    if not set(map(type, values)) <= {int, str, type(None)}:
        values = [_hashable(value) for value in values]
    return np.array([table.get(value, 0) for value in values], np.int64)


def _floats(values: list[Any], name: Callable[[int], str]) -> np.ndarray:
    """Values as float64, checked as in `_numbers`. name: place of the i-th value, for the refusal."""
    if set(map(type, values)) <= {int, float}:
        with suppress(OverflowError):  # an integer with hundreds of digits
            numbers = np.array(values, np.float64)
            if (np.abs(numbers) < 1e9).all():
                return numbers
    for i, value in enumerate(values):
        _numbers([value], name(i))
    raise AssertionError("the check of a column and of its values must agree")


def _numbers(values: Sequence[Any], thing: str) -> list[float]:
    """Values as floats. Raises Refusal for a value that is not a number, or not within (-1e9, 1e9)."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9:
            raise refusal(thing, message("inference.wanted.finite_number", "a finite number"), _short(value))
    return [float(value) for value in values]


def _mask(shape: Any, size: tuple[int, int], thing: str) -> dict[str, Any]:
    """Polygons or run lengths as compressed run lengths of an image of size (height, width)."""
    from hotcoco.mask import fr_py_objects, merge

    if isinstance(shape, list):
        return merge(fr_py_objects(_rings(shape, thing), *size))
    if not isinstance(shape, dict):
        raise refusal(thing, message("inference.wanted.polygons_run_lengths", "polygons or run lengths"), _short(shape))
    if shape.get("size") != [*size]:
        raise refusal(
            f"{thing}.size",
            message("inference.wanted.image_height_width", "the image's height and width, {value}", value=str([*size])),
            _short(shape.get("size")),
        )
    counts = shape.get("counts")
    try:
        runs = parse_runs(counts.encode()).tolist() if isinstance(counts, str) else _integers(counts)
    except ValueError as error:
        raise refusal(
            f"{thing}.counts", message("inference.wanted.run_lengths", "run lengths"), _short(str(error))
        ) from None
    if min(runs, default=0) < 0 or sum(runs) != math.prod(size):
        raise refusal(
            f"{thing}.counts",
            message("inference.wanted.runs_pixels_all", "runs of {pixels} pixels in all", pixels=math.prod(size)),
            _short(sum(runs)),
        )
    return fr_py_objects({"size": [*size], "counts": counts}, *size)


def _rings(rings: list[Any], thing: str) -> list[list[float]]:
    """Polygons with at least three points; smaller ones enclose no area."""
    if not all(isinstance(ring, list) and len(ring) % 2 == 0 for ring in rings) or max(map(len, rings), default=0) < 6:
        raise refusal(
            thing,
            message("inference.wanted.polygons_each_list", "polygons, each a list of x, y, x, y, x, y, ..."),
            _short(rings),
        )
    return [_numbers(ring, thing) for ring in rings if len(ring) >= 6]


def _kinds(entries: Sequence[dict[str, Any]], path: Path) -> list[Kind]:
    """Kinds to evaluate: boxes, masks or both. Raises Refusal if only some detections have a mask."""
    shaped = [one.get("segmentation") is not None for one in entries]
    masks = any(shaped)
    if masks and not all(shaped):
        raise Refusal(
            message(
                "inference.refuse.results_segmentation_every_detection",
                "RESULTS {path} must have a segmentation in every detection or in none, got {count:,} of "
                "{shaped:,}, and none in [{index}]",
                path=path,
                count=sum(shaped),
                shaped=len(shaped),
                index=shaped.index(False),
            )
        )
    boxes = not masks or any("bbox" in one for one in entries)
    return [*(["boxes"] if boxes else []), *(["masks"] if masks else [])]  # type: ignore[list-item]


def _judge(real: dict[str, Any], found: Any, kind: Kind) -> Any:
    from hotcoco import COCO

    truth = COCO(real)
    return evaluate_files(truth, truth.load_res(found), kind)


def _read(path: Path) -> list[dict[str, Any]]:
    content = coco.read_json(path, f"RESULTS {path}")
    if isinstance(content, dict) and "annotations" in content and "images" in content:
        raise Refusal(
            message(
                "inference.refuse.results_contains_annotations_detections",
                "RESULTS {path} contains annotations, not detections: give the results first, then the annotations",
                path=path,
            )
        )
    if not isinstance(content, list):
        raise refusal(
            f"RESULTS {path}",
            message("inference.wanted.list_detections_coco_results", "a list of detections, COCO's results form"),
            _short(content),
        )
    for i, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise refusal(
                f"{path}: [{i}]",
                message(
                    "inference.wanted.object_image_id_category", "an object with image_id, category_id, bbox and score"
                ),
                _short(entry),
            )
    return content


def _by_file(numbers: Mapping[str, int]) -> dict[str, int]:
    """Number of each file by its name and by every suffix of its path; 0 for a suffix that several files share."""
    by_suffix: dict[str, int] = {}
    for name, number in numbers.items():
        for suffix in _suffixes(name):
            by_suffix[suffix] = number if by_suffix.get(suffix, number) == number else 0
    return by_suffix | {_suffixes(name)[0]: number for name, number in numbers.items()}


def _suffixes(name: str) -> list[str]:
    """Suffixes of a path by descending length: "a/b/1.jpg", "b/1.jpg", "1.jpg"."""
    parts = name.replace("\\", "/").split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of an image entry; (0, 0) where they are missing or impossible."""
    height, width = (image.get(key) for key in ("height", "width"))
    fine = all(isinstance(side, int | float) and 1 <= side < 1e6 for side in (height, width))
    return (int(height), int(width)) if fine else (0, 0)  # type: ignore[arg-type]


def _integers(counts: Any) -> list[int]:
    if not (isinstance(counts, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in counts)):
        raise ValueError(repr(counts))
    return counts


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _short(value: Any) -> Any:
    text = repr(value)
    return value if len(text) <= 60 else f"{text[:60]}..."
