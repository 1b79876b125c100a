"""`danlu eval RESULTS.json DATA`: detections of any system, in COCO's results form, against COCO annotations."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.data.annotations import parse_runs
from danlu.data.dataset import SPLITS
from danlu.data.sources import coco
from danlu.metrics.detection import Kind, detection_metrics, evaluate_files, per_class
from danlu.refuse import Refusal, blame, refusal
from danlu.verbs.given import beside


def evaluate_results(results: str | Path, data: str | Path | None) -> dict[str, Any]:
    """COCO's twelve numbers of a results file, for boxes, and for masks where it has them: in the form of `evaluate`.

    data: the annotation file, or a folder with one. A detection names its picture by `image_id` and its class by
    `category_id`; where it has a `file_name` and a `category` of the annotations, as those of `danlu predict` do, these
    go first. Refusal for whatever of the two files cannot be used, with file and place.
    """
    if data is None:
        raise refusal("DATA", f"the COCO annotations that {results} is held against", "nothing")
    path, source = Path(results), Path(data)
    for thing, one in (("RESULTS", path), ("DATA", source)):
        if not one.exists():
            raise refusal(thing, "an existing file", str(one), near=beside(one))
    began = time.perf_counter()
    entries = [_Entry(path, i, entry) for i, entry in enumerate(_read(path))]
    truth = _Truth(coco.checked(source), source)
    kinds = _kinds(entries)
    metrics: dict[str, float] = {}
    classes: list[dict[str, Any]] = []
    for kind in kinds:
        real = truth.annotations(kind)
        found = [entry.told(truth, kind) for entry in entries]
        judged = _judge(real, found, kind)
        metrics |= detection_metrics(judged, kind)
        classes = per_class(judged, truth.classes)
    seconds = time.perf_counter() - began
    return {
        "run": str(path),
        "task": "segment" if "masks" in kinds else "detect",
        "model": "",
        "epochs": 0,
        "metrics": {name: metrics if name == "test" else {} for name in SPLITS},
        "seconds": round(seconds, 3),
        "samples_per_second": truth.count / max(seconds, 1e-9),
        "findings": [],
        "data": str(source),
        "part": "test",
        "samples": truth.count,
        "detections": len(entries),
        "per_class": classes,
        "test_looks": None,
    }


class _Truth:
    """Annotations with pictures, classes and objects numbered anew from 1: their own ids may be anything."""

    def __init__(self, content: dict[str, Any], source: Path) -> None:
        self.content, self.source = content, source
        self.pictures = _numbered(content["images"], "id")
        self.by_file = _numbered(content["images"], "file_name")
        names = {one["id"]: str(one["name"]).strip() for one in content["categories"]}
        self.classes = list(dict.fromkeys(names.values()))
        self.by_class = {name: k for k, name in enumerate(self.classes, 1)}
        self.categories = {key: self.by_class[name] for key, name in names.items()}
        if not any(self._usable(one) and not one.get("iscrowd") for one in content["annotations"]):
            raise Refusal(f"{source} must hold objects to find, got none")

    @property
    def count(self) -> int:
        return len(self.pictures)

    def _usable(self, one: Mapping[str, Any]) -> bool:
        return one["image_id"] in self.pictures and one["category_id"] in self.categories

    def annotations(self, kind: Kind) -> dict[str, Any]:
        """A COCO dictionary for the evaluator. Crowds are ignored; nothing else is."""
        objects = []
        for one in filter(self._usable, self.content["annotations"]):
            _, _, width, height = box = [float(value) for value in one["bbox"]]
            entry = {
                "id": len(objects) + 1,
                "image_id": self.pictures[one["image_id"]],
                "category_id": self.categories[one["category_id"]],
                "bbox": box,
                "area": float(one.get("area") or width * height),
                "iscrowd": int(bool(one.get("iscrowd"))),
            }
            if kind == "masks":
                if not one.get("segmentation"):
                    raise Refusal(f"{self.source} must have a segmentation for every object, as RESULTS has masks")
                entry["segmentation"] = one["segmentation"]
            objects.append(entry)
        images: dict[int, dict[str, Any]] = {}
        for one in self.content["images"]:
            number = self.pictures[one["id"]]
            images[number] = {"id": number, "height": int(one.get("height", 0)), "width": int(one.get("width", 0))}
            if kind == "masks" and not (images[number]["height"] and images[number]["width"]):
                raise Refusal(f"{self.source} must give height and width of every picture, as RESULTS has masks")
        categories = [{"id": k, "name": name} for name, k in self.by_class.items()]
        return {"images": list(images.values()), "annotations": objects, "categories": categories}


class _Entry:
    """One detection of a results file, checked key by key."""

    def __init__(self, path: Path, place: int, entry: Any) -> None:
        self.where, self.entry = f"{path}: [{place}]", entry
        if not isinstance(entry, dict):
            raise refusal(self.where, "an object with image_id, category_id, bbox and score", _short(entry))

    def told(self, truth: _Truth, kind: Kind) -> dict[str, Any]:
        """The detection for the evaluator, by the numbers of `truth`."""
        picture = truth.by_file.get(_hashable(self.entry.get("file_name")))
        label = truth.by_class.get(_hashable(self.entry.get("category")))
        told: dict[str, Any] = {
            "image_id": picture or self._of(truth.pictures, "image_id", f"the id of a picture of {truth.source}"),
            "category_id": label or self._of(truth.categories, "category_id", f"the id of a class of {truth.source}"),
            "score": self._number(self.entry.get("score"), "score"),
        }
        if kind == "masks":
            return told | {"segmentation": self._runs(self.entry.get("segmentation"))}
        box = self.entry.get("bbox")
        if not (isinstance(box, list) and len(box) == 4):
            raise refusal(f"{self.where}.bbox", "four numbers x, y, width, height", _short(box))
        return told | {"bbox": [self._number(value, "bbox") for value in box]}

    def _of(self, table: Mapping[Any, int], key: str, wanted: str) -> int:
        value = _hashable(self.entry.get(key))
        if value not in table:
            raise refusal(f"{self.where}.{key}", wanted, _short(self.entry.get(key)))
        return table[value]

    def _number(self, value: Any, key: str) -> float:
        # Beyond any picture, and a whole number of any length.
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9:
            raise refusal(f"{self.where}.{key}", "a finite number", _short(value))
        return float(value)

    def _runs(self, shape: Any) -> dict[str, Any]:
        """Compressed run lengths, whose runs fill the picture."""
        size, counts = (shape.get("size"), shape.get("counts")) if isinstance(shape, dict) else (None, None)
        thing = f"{self.where}.segmentation"
        if not (isinstance(size, list) and len(size) == 2 and all(isinstance(s, int) for s in size)):
            raise refusal(thing, "run lengths with a size", _short(shape))
        if not isinstance(counts, str):
            raise refusal(f"{thing}.counts", "run lengths in COCO's compressed form", _short(counts))
        try:
            runs = parse_runs(counts.encode())
        except ValueError as error:
            raise refusal(f"{thing}.counts", "run lengths in COCO's compressed form", str(error)) from None
        if len(runs) and (runs.min() < 0 or runs.sum() != math.prod(size)):
            raise refusal(f"{thing}.counts", f"runs of {math.prod(size)} pixels in all", int(runs.sum()))
        return {"size": size, "counts": counts}


def _kinds(entries: Sequence[_Entry]) -> list[Kind]:
    """Boxes, and masks where every detection has one; masks alone where none has a box."""
    masks = bool(entries) and all("segmentation" in one.entry for one in entries)
    boxes = not masks or any("bbox" in one.entry for one in entries)
    return [*(["boxes"] if boxes else []), *(["masks"] if masks else [])]  # type: ignore[list-item]


def _judge(real: dict[str, Any], found: list[dict[str, Any]], kind: Kind) -> Any:
    from hotcoco import COCO

    truth = COCO(real)
    return evaluate_files(truth, truth.load_res(found), kind)


def _read(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise blame(error, f"RESULTS {path}") from None
    except (ValueError, RecursionError) as error:
        raise Refusal(f"RESULTS {path} is no valid json ({error}): it is cut or damaged") from None
    if isinstance(content, dict) and "annotations" in content and "images" in content:
        raise Refusal(f"RESULTS {path} holds annotations, not detections: give the results first, then the annotations")
    if not isinstance(content, list):
        raise refusal(f"RESULTS {path}", "a list of detections, COCO's results form", _short(content))
    return content


def _numbered(entries: Sequence[Mapping[str, Any]], key: str) -> dict[Any, int]:
    """Each picture's value of a key -> its number, from 1; pictures given twice have one number."""
    ids = {value: n for n, value in enumerate(dict.fromkeys(one["id"] for one in entries), 1)}
    return {Path(one[key]).name if key == "file_name" else one[key]: ids[one["id"]] for one in entries}


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _short(value: Any) -> Any:
    text = repr(value)
    return value if len(text) <= 60 else f"{text[:60]}..."
