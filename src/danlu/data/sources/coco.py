"""COCO json: boxes, polygons, run lengths and crowds. One file, or a folder with one file per split.

Format: https://cocodataset.org/#format-data. A box is [x, y, width, height]; category ids may have gaps.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import Polygons, RunLengths, Shape, parse_runs
from danlu.data.dataset import UNASSIGNED, Dataset, Problem
from danlu.data.sources.audit import assemble
from danlu.data.sources.labelled import Labelled, Thing, find_image, relative, split_of, wanted_task
from danlu.data.sources.targets import Task
from danlu.refuse import Refusal, blame, refusal
from danlu.task_spec import TASKS

MARKS = (b'"images"', b'"annotations"', b'"categories"', b'"image_id"')
LOOK = 1 << 20  # bytes at either end of a file in which the marks are looked for
OTHER = ("captions", "person_keypoints", "stuff", "panoptic", "image_info", "sem_")  # COCO's files of other kinds
FOLDERS = ("annotations", "train", "val", "valid", "validation", "test", "train2017", "val2017", "test2017")


def looks_like(path: Path) -> bool:
    """A json file, whatever is in it, or a folder that holds json files with COCO's keys."""
    return bool(_files(path))


def open(path: Path, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and annotations of every json file; file and folder names tell the splits.

    Raises Refusal for a file that is cut, or lacks a key, or whose ids contradict each other.
    """
    task = wanted_task(path, task, masks=True)
    root = path if path.is_dir() else path.parent
    read = [_File(file, root, TASKS[task].masks) for file in _files(path)]
    classes = list(dict.fromkeys(name for file in read for name in file.categories.values()))
    place = {name: k for k, name in enumerate(classes)}
    found = [one for file in read for one in file.images(place)]
    return assemble(
        path,
        "coco",
        found,
        classes,
        config,
        task,
        [problem for file in read for problem in file.problems],
        [note for file in read for note in file.notes],
    )


def checked(path: Path, outlines: bool = True) -> dict[str, Any]:
    """What the one annotation file at `path` holds, its keys checked as `open` does, its images not looked for.

    outlines: check these too. Raises Refusal when there is no such file, or more than one.
    """
    files = _files(path)
    if len(files) != 1:
        got = f"{path}, which holds " + (", ".join(file.name for file in files[:4]) or "none")
        raise refusal("DATA", "a COCO annotation file, or a folder with one of them", got)
    one = _File(files[0], files[0].parent, outlines)
    one.images({})
    return one.content


def read_json(file: Path, thing: str) -> Any:
    """What a json file holds. Raises Refusal, which calls it `thing`, when it cannot be read or is none."""
    collects = gc.isenabled()
    gc.disable()  # of the millions of objects that are made here none is garbage: looking for some doubles the time
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise blame(error, thing) from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise Refusal(f"{thing} is no valid json ({reason}): it is cut or damaged, fetch or write it again") from None
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{thing} is no valid json ({error}): it is cut or damaged, fetch or write it again") from None
    finally:
        if collects:
            gc.enable()


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.suffix.lower() == ".json" else []
    folders = [path, *(path / name for name in FOLDERS if (path / name).is_dir())]
    files = [file for folder in folders for file in sorted(folder.glob("*.json")) if _marked(file)]
    instances = [file for file in files if file.name.startswith("instances")]
    return instances or [file for file in files if not file.name.startswith(OTHER)]


def _marked(file: Path) -> bool:
    if file.suffix.lower() != ".json" or not file.is_file():
        return False
    with file.open("rb") as stream:
        ends = stream.read(LOOK)
        if file.stat().st_size > LOOK:
            stream.seek(-LOOK, 2)
            ends += stream.read(LOOK)
    return any(mark in ends for mark in MARKS)


class _File:
    """One json file, its keys checked. categories: id -> name, by id."""

    def __init__(self, file: Path, root: Path, outlines: bool) -> None:
        self.file, self.root, self.outlines = file, root, outlines
        self.name = relative(file, root)
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        content = read_json(file, str(file))
        if not isinstance(content, dict):
            kind = "a list, as of results" if isinstance(content, list) else repr(content)[:40]
            raise Refusal(f"{file} must be a COCO object with images, annotations and categories, got {kind}")
        self.content = content
        self.entries, self.annotations, categories = (
            self._entries(content, key) for key in ("images", "annotations", "categories")
        )
        names: dict[Any, str] = {}
        for i, entry in enumerate(categories):
            number = self._id(entry, "id", f"categories[{i}]")
            name = str(self._get(entry, "name", f"categories[{i}]", str)).strip()
            if names.get(number, name) != name:
                raise Refusal(f"{file}: categories[{i}].id must be unique, got {number!r} for {name!r} too")
            names[number] = name
        self.categories = dict(sorted(names.items(), key=lambda pair: (isinstance(pair[0], str), pair[0])))
        twice = [name for name, n in Counter(names.values()).items() if n > 1]
        if twice:
            self.notes.append(f"{self.name}: categories of one name are one class ({twice[0]!r})")

    def images(self, place: dict[str, int]) -> list[Labelled]:
        """Every image with its objects. place: class name -> index."""
        split = split_of(self.file.stem)
        if split == UNASSIGNED and self.file.parent != self.root:
            split = split_of(self.file.parent.name)
        folders = _image_folders(self.file, split)
        found: dict[Any, Labelled] = {}
        names: dict[Any, str] = {}
        absolute = 0
        for i, entry in enumerate(self.entries):
            where = f"images[{i}]"
            number, name = self._id(entry, "id", where), self._get(entry, "file_name", where, str)
            if number in found:
                if names[number] != name:
                    raise Refusal(f"{self.file}: {where}.id must be unique, got {number!r} a second time")
                self.problems.append(Problem(f"{self.name} {where}", f"id {number!r} is given twice"))
                continue
            absolute += name.startswith("/") or name[1:3] in (":\\", ":/")
            size = None
            if "height" in entry and "width" in entry:
                size = (int(self._number(entry, "height", where)), int(self._number(entry, "width", where)))
            names[number] = name
            found[number] = Labelled(find_image(folders, name), self.name, split=split, size=size)
        if absolute:
            self.notes.append(f"{self.name}: {absolute} images are named by absolute paths; looked for by name")
        self._add_objects(found, place)
        return list(found.values())

    def _add_objects(self, found: dict[Any, Labelled], place: dict[str, int]) -> None:
        seen: Counter[Any] = Counter()
        for i, entry in enumerate(self.annotations):
            where = f"annotations[{i}]"
            number = self._id(entry, "id", where) if "id" in entry else None
            name = f"annotation {number}" if number is not None else where
            image, category = self._id(entry, "image_id", where), self._id(entry, "category_id", where)
            box = self._box(entry, where)
            shape = self._shape(entry.get("segmentation"), where) if self.outlines else None
            if image not in found:
                self.problems.append(Problem(f"{self.name} {name}", f"image_id {image!r} is of no image"))
                continue
            label = self.categories.get(category)
            fault = "" if label is not None else f"unknown class: category_id {category!r}"
            crowd = bool(entry.get("iscrowd") or entry.get("ignore"))
            found[image].things.append(Thing(name, place.get(label or "", -1), box, crowd, shape, fault))
            if number is not None:
                seen[number] += 1
        if seen.get(0):
            reason = "annotation id 0: COCO's own evaluation takes id 0 for no match, ids begin at 1"
            self.problems.append(Problem(f"{self.name} annotation 0", reason, "kept"))
        for number, times in seen.items():
            if times > 1:
                reason = f"id {number!r} is given to {times} annotations"
                self.problems.append(Problem(f"{self.name} annotation {number}", reason, "kept"))

    def _box(self, entry: dict[str, Any], where: str) -> tuple[float, float, float, float]:
        values = self._get(entry, "bbox", where, list)
        if len(values) != 4 or not _are_numbers(values):
            raise refusal(f"{self.file}: {where}.bbox", "four numbers x, y, width, height", _short(values))
        x, y, width, height = map(_float, values)
        return x, y, x + width, y + height

    def _shape(self, outline: Any, where: str) -> Shape | None:
        """Polygons, or run lengths in either form; None when there is nothing."""
        thing = f"{self.file}: {where}.segmentation"
        if not outline:
            return None
        if isinstance(outline, list):
            return Polygons(tuple(self._ring(ring, thing) for ring in outline))
        if not isinstance(outline, dict):
            raise refusal(thing, "polygons or run lengths", _short(outline))
        counts, size = outline.get("counts"), outline.get("size")
        if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size)):
            raise refusal(f"{thing}.size", "a height and a width", _short(size))
        if isinstance(counts, str):
            try:
                return RunLengths(parse_runs(counts.encode()), (size[0], size[1]))
            except ValueError as error:
                raise refusal(f"{thing}.counts", "run lengths", str(error)) from None
        if not (isinstance(counts, list) and all(isinstance(n, int) and 0 <= n < 2**40 for n in counts)):
            raise refusal(f"{thing}.counts", "run lengths", _short(counts))
        return RunLengths(np.array(counts, np.int64), (size[0], size[1]))

    def _ring(self, ring: Any, thing: str) -> np.ndarray:
        if not (isinstance(ring, list) and len(ring) % 2 == 0 and _are_numbers(ring)):
            raise refusal(thing, "polygons, each a list of x, y, x, y, ...", _short(ring))
        return np.array(list(map(_float, ring)), np.float64).reshape(-1, 2)

    # --- keys ---

    def _entries(self, content: dict[str, Any], key: str) -> list[dict[str, Any]]:
        if key not in content:
            raise refusal(f"{self.file}: key {key!r}", "there", "no such key", near=[])
        entries = content[key]
        if not isinstance(entries, list):
            raise refusal(f"{self.file}: {key}", "a list", _short(entries))
        for i, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise refusal(f"{self.file}: {key}[{i}]", "an object with keys", _short(entry))
        return entries

    def _get(self, entry: dict[str, Any], key: str, where: str, kind: type) -> Any:
        if key not in entry:
            raise refusal(f"{self.file}: {where}.{key}", "given", "no such key")
        if not isinstance(entry[key], kind):
            words = {str: "text", list: "a list"}
            raise refusal(f"{self.file}: {where}.{key}", words[kind], _short(entry[key]))
        return entry[key]

    def _id(self, entry: dict[str, Any], key: str, where: str) -> int | str:
        value = entry.get(key)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise refusal(
                f"{self.file}: {where}.{key}", "a number or a name", _short(value) if key in entry else "none"
            )
        return value

    def _number(self, entry: dict[str, Any], key: str, where: str) -> float:
        value = entry[key]
        if not _are_numbers([value]) or not np.isfinite(_float(value)):
            raise refusal(f"{self.file}: {where}.{key}", "a number", _short(value))
        return _float(value)


def _image_folders(file: Path, split: int) -> list[Path]:
    """Where the images of a json file may lie, the likeliest first."""
    base = file.parent.parent if file.parent.name.lower() == "annotations" else file.parent
    named = [folder for folder in (base, base / "images") if folder.is_dir()]
    below = [folder for top in named for folder in sorted(top.iterdir()) if folder.is_dir() and folder not in named]
    mine = [folder for folder in below if split != UNASSIGNED and split_of(folder.name) == split]
    first = [folder for folder in mine if folder.name in file.stem]
    deeper = [folder / "images" for folder in mine if (folder / "images").is_dir()]
    return list(dict.fromkeys([*first, *mine, *deeper, *named, *below]))


def _are_numbers(values: list[Any]) -> bool:
    return set(map(type, values)) <= {int, float}


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return float("inf")


def _short(value: Any) -> Any:
    text = repr(value)
    return value if len(text) <= 60 else f"{text[:60]}..."
