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
        self.sizes = {self.pictures[one["id"]]: _size(one) for one in content["images"]}
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
        if kind == "masks" and (0, 0) in self.sizes.values():
            raise Refusal(f"{self.source} must give height and width of every picture, as RESULTS has masks")
        objects = []
        for i, one in enumerate(self.content["annotations"]):
            if not self._usable(one):
                continue
            where = f"{self.source}: annotations[{i}]"
            _, _, width, height = box = _numbers(one["bbox"], f"{where}.bbox")
            entry = {
                "id": len(objects) + 1,
                "image_id": self.pictures[one["image_id"]],
                "category_id": self.categories[one["category_id"]],
                "bbox": box,
                "area": _numbers([one.get("area") or width * height], f"{where}.area")[0],
                "iscrowd": int(bool(one.get("iscrowd"))),
            }
            if kind == "masks":
                if not one.get("segmentation"):
                    raise Refusal(f"{self.source} must have a segmentation for every object, as RESULTS has masks")
                size = self.sizes[entry["image_id"]]
                entry["segmentation"] = _mask(one["segmentation"], size, f"{where}.segmentation")
            objects.append(entry)
        images = [{"id": number, "height": h, "width": w} for number, (h, w) in self.sizes.items()]
        categories = [{"id": k, "name": name} for name, k in self.by_class.items()]
        return {"images": images, "annotations": objects, "categories": categories}


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
            "score": _numbers([self.entry.get("score")], f"{self.where}.score")[0],
        }
        if kind == "masks":
            shape, size = self.entry.get("segmentation"), truth.sizes[told["image_id"]]
            return told | {"segmentation": _mask(shape, size, f"{self.where}.segmentation")}
        box = self.entry.get("bbox")
        if not (isinstance(box, list) and len(box) == 4):
            raise refusal(f"{self.where}.bbox", "four numbers x, y, width, height", _short(box))
        return told | {"bbox": _numbers(box, f"{self.where}.bbox")}

    def _of(self, table: Mapping[Any, int], key: str, wanted: str) -> int:
        value = _hashable(self.entry.get(key))
        if value not in table:
            raise refusal(f"{self.where}.{key}", wanted, _short(self.entry.get(key)))
        return table[value]


def _numbers(values: Sequence[Any], thing: str) -> list[float]:
    """Refusal for what is no number, beyond any picture, or a whole number of any length."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9:
            raise refusal(thing, "a finite number", _short(value))
    return [float(value) for value in values]


def _mask(shape: Any, size: tuple[int, int], thing: str) -> dict[str, Any]:
    """Polygons, or run lengths in either form, as compressed run lengths that fill the picture of size (h, w)."""
    from hotcoco.mask import fr_py_objects, merge

    if isinstance(shape, list):
        return merge(fr_py_objects(_rings(shape, thing), *size))
    if not isinstance(shape, dict):
        raise refusal(thing, "polygons or run lengths", _short(shape))
    if shape.get("size") != [*size]:
        raise refusal(f"{thing}.size", f"the picture's height and width, {[*size]}", _short(shape.get("size")))
    counts = shape.get("counts")
    try:
        runs = parse_runs(counts.encode()).tolist() if isinstance(counts, str) else _whole(counts)
    except ValueError as error:
        raise refusal(f"{thing}.counts", "run lengths", _short(str(error))) from None
    if min(runs, default=0) < 0 or sum(runs) != math.prod(size):
        raise refusal(f"{thing}.counts", f"runs of {math.prod(size)} pixels in all", _short(sum(runs)))
    return fr_py_objects({"size": [*size], "counts": counts}, *size)


def _rings(rings: list[Any], thing: str) -> list[list[float]]:
    """Those of at least three points: fewer enclose nothing."""
    if not all(isinstance(ring, list) and len(ring) % 2 == 0 for ring in rings) or max(map(len, rings), default=0) < 6:
        raise refusal(thing, "polygons, each a list of x, y, x, y, x, y, ...", _short(rings))
    return [_numbers(ring, thing) for ring in rings if len(ring) >= 6]


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


def _size(picture: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width); (0, 0) where it has none that a picture can have."""
    height, width = (picture.get(key) for key in ("height", "width"))
    fine = all(isinstance(side, int | float) and 1 <= side < 1e6 for side in (height, width))
    return (int(height), int(width)) if fine else (0, 0)  # type: ignore[arg-type]


def _whole(counts: Any) -> list[int]:
    if not (isinstance(counts, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in counts)):
        raise ValueError(repr(counts))
    return counts


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _short(value: Any) -> Any:
    text = repr(value)
    return value if len(text) <= 60 else f"{text[:60]}..."
