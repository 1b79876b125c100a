"""YOLO: a text file of labels beside each image, and data.yaml that names the classes and the parts.

A line is "class cx cy w h" or "class x1 y1 x2 y2 ..." (a polygon), in shares of the image's width and height. The
labels of .../images/x.jpg are .../labels/x.txt, or x.txt beside it; an image without a file of labels is one without
objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from danlu.config import DataConfig
from danlu.data.annotations import Polygons
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL, Dataset, Problem
from danlu.data.images import extensions
from danlu.data.sources.audit import assemble
from danlu.data.sources.labelled import Labelled, Thing, images_in, relative, split_of, wanted_task
from danlu.data.sources.targets import Task
from danlu.refuse import Refusal, blame, refusal

PARTS = {"train": TRAIN, "val": VAL, "valid": VAL, "test": TEST}
KEYS = (*PARTS, "path", "names", "nc", "kpt_shape")  # of data.yaml


def looks_like(path: Path) -> bool:
    """data.yaml, a folder that holds one, or one of images/ and labels/ of .txt files, or of both side by side."""
    if not path.is_dir():
        return _is_description(path)
    return _description(path) is not None or next(_label_folders(path), None) is not None


def open(path: Path, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and annotations, classes in the order of their numbers.

    Raises Refusal for a line or key that cannot be read, unless (lines) config.on_bad is "skip".
    """
    description = _description(path) if path.is_dir() else path
    root = path if path.is_dir() else path.parent
    classes: list[str] = []
    notes: list[str] = []
    shape_of_points = False
    if description is not None:
        content = _load(description)
        notes += _unread(description, content)
        classes = _classes(description, content)
        shape_of_points = "kpt_shape" in content
        listed = list(_described(description, content))
    else:
        listed = [(file, split) for folder, split in _label_folders(path) for file in images_in(folder)]
        classes = _class_list(root)
    reader = _Reader(root, len(classes) if classes else None, shape_of_points)
    found, problems = [], []
    for image, split in listed:
        try:
            found.append(reader(image, split))
        except Refusal as error:
            if config.on_bad != "skip":
                raise
            problems.append(Problem(relative(image, root), str(error)))
    problems += [Problem(relative(file, root), "missing image") for file in _orphans(image for image, _ in listed)]
    if not classes:
        classes = [str(k) for k in range(1 + max((t.label for one in found for t in one.things), default=-1))]
    if reader.unlabelled:
        notes.append(f"{len(reader.unlabelled)} images have no file of labels: taken as without objects")
    if listed and len(reader.unlabelled) == len({image for image, _ in listed}):
        raise Refusal(f"{path}: none of {len(listed)} images has a file of labels such as {_labels_of(listed[0][0])}")
    task = wanted_task(path, task, masks=reader.polygons > 0)
    return assemble(path, "yolo", found, classes, config, task, problems, notes)


class _Reader:
    """Reads the labels of one image after the other. classes: how many there are, or None when nobody says."""

    def __init__(self, root: Path, classes: int | None, points: bool) -> None:
        self.root, self.classes, self.points = root, classes, points
        self.polygons = 0
        self.unlabelled: set[Path] = set()  # images without a file of labels

    def __call__(self, image: Path, split: int) -> Labelled:
        file = _labels_of(image)
        one = Labelled(image, relative(file, self.root), split=split, shares=True)
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            self.unlabelled.add(image)
            return one
        except (UnicodeDecodeError, ValueError):
            raise refusal(str(file), "lines of numbers as text", "other bytes") from None
        except OSError as error:
            raise blame(error, str(file)) from None
        for number, line in enumerate(lines, 1):
            if words := line.split():
                one.things.append(self._thing(words, f"{file} line {number}", number))
        return one

    def _thing(self, words: list[str], where: str, number: int) -> Thing:
        try:
            label, *values = (float(word) for word in words)
        except ValueError:
            raise refusal(where, "a class and numbers", " ".join(words)[:60]) from None
        if self.points:
            values = values[:4]
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            wanted = "a class and 4 numbers, or a class and the x and y of at least 3 corners"
            raise refusal(where, wanted, f"{len(words)} numbers")
        if not (math.isfinite(label) and label == int(label)):
            raise refusal(f"the class of {where}", "a whole number", words[0])
        fault = ""
        if label < 0 or (self.classes is not None and label >= self.classes):
            fault = f"unknown class: {int(label)} of {self.classes if self.classes is not None else 'any'}"
        elif label >= 100_000:  # names are made up to the largest number
            raise refusal(f"the class of {where}", "the number of a class", words[0])
        name = f"line {number}"
        if len(values) == 4:
            cx, cy, w, h = values
            return Thing(name, int(label), (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), fault=fault)
        self.polygons += 1
        ring = np.array(values, np.float64).reshape(-1, 2)
        box = (*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist())
        return Thing(name, int(label), box, shape=Polygons((ring,)), fault=fault)


def _labels_of(image: Path) -> Path:
    """.../images/x.jpg -> .../labels/x.txt; without such a folder, or where only that is there, beside the image."""
    parts, beside = list(image.parts), image.with_suffix(".txt")
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    usual = Path(*parts).with_suffix(".txt")
    return beside if places and beside.is_file() and not usual.is_file() else usual


def _orphans(images: Iterable[Path]) -> list[Path]:
    """Files of labels whose image is not there, in the folders where those of the images lie."""
    folders = {_labels_of(image).parent: image.parent for image in images}
    found = []
    for labels, folder in folders.items():
        beside = labels == folder  # there other texts may lie too
        there = {p.stem for p in folder.iterdir() if p.suffix.lower() != ".txt"} if folder.is_dir() else set()
        named = sorted(f for f in labels.glob("*.txt") if not beside or _is_labels(f)) if there else []
        found += [file for file in named if file.stem not in there and file.name != "classes.txt"]
    return found


# --- where the images are ----------------------------------------------------------------------------------------


def _label_folders(path: Path) -> Iterator[tuple[Path, int]]:
    """Folders of images with a folder of labels: images/, images/train/ ..., train/images/ ..., or labels beside."""
    if not path.is_dir():
        return
    for folder in (path, *(path / name for name in PARTS)):
        if folder.is_dir() and _labels_beside(folder):
            yield folder, UNASSIGNED if folder == path else split_of(folder.name)
        for images in (folder / "images", *(folder / "images" / name for name in PARTS)):
            labels = _labels_of(images / "x.jpg").parent
            if images.is_dir() and labels.is_dir() and next(labels.glob("*.txt"), None) is not None:
                split = split_of(images.name)
                yield images, split if split != UNASSIGNED or folder == path else split_of(folder.name)


def _labels_beside(folder: Path) -> bool:
    """Whether images and their labels lie in one folder, as labelImg and Darknet have them."""
    stems = {file.stem for file in folder.glob("*.txt")}
    return bool(stems) and any(_is_labels(p.with_suffix(".txt")) for p in images_in(folder) if p.stem in stems)


def _is_labels(file: Path) -> bool:
    """Whether the first line of text is numbers, a whole one first. A file without any tells nothing."""
    try:
        with file.open(encoding="utf-8") as stream:
            line = next((line for line in stream if line.strip()), "")
        label, *numbers = map(float, line.split())
    except (OSError, ValueError):
        return False
    return label.is_integer() and len(numbers) >= 4


def _class_list(root: Path) -> list[str]:
    """The names in classes.txt, as labelling tools write it."""
    places = ("classes.txt", "labels/classes.txt", "train/classes.txt", "train/_darknet.labels")
    for file in (root / place for place in places):
        if file.is_file():
            try:
                return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            except UnicodeDecodeError:
                raise refusal(str(file), "a list of names as text", "other bytes") from None
    return []


def _description(folder: Path) -> Path | None:
    return next(
        (f for pattern in ("*.yaml", "*.yml") for f in sorted(folder.glob(pattern)) if _is_description(f)), None
    )


def _is_description(file: Path) -> bool:
    if file.suffix.lower() not in (".yaml", ".yml") or not file.is_file():
        return False
    with file.open("rb") as stream:
        lines = stream.read(1 << 16).splitlines()
    return any(line.startswith(b"names") for line in lines) and any(
        line.startswith((b"train", b"val")) for line in lines
    )


def _load(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise blame(error, str(file)) from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Refusal(f"{file} is no valid yaml: {reason}") from None
    if not isinstance(content, dict):
        raise refusal(str(file), "keys and values, among them names and train", repr(content)[:60])
    return content


def _unread(file: Path, content: dict[str, Any]) -> list[str]:
    """What is said of keys that are not read. Refusal for one that looks like a misspelt one of those that are."""
    unread = [str(key) for key in content if key not in KEYS]
    for key in unread:
        if get_close_matches(key.lower(), KEYS, 1, cutoff=0.8):
            raise refusal(f"a key of {file}", "a known one", key, near=KEYS)
    return [f"{file.name}: not read are the keys {', '.join(unread)[:200]}"] if unread else []


def _classes(file: Path, content: dict[str, Any]) -> list[str]:
    """`names`, a list or number -> name."""
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(str(k) for k in range(len(names))):
            raise refusal(f"{file}: names", f"numbered 0 to {len(names) - 1}", ", ".join(map(str, names))[:60])
        numbered = {int(key): name for key, name in names.items()}
        names = [numbered[k] for k in range(len(numbered))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int | float) for name in names):
        raise refusal(f"{file}: names", "a list of the classes", repr(names)[:60])
    count = content.get("nc", len(names))
    if count != len(names):
        raise refusal(f"{file}: nc", f"{len(names)}, as many as names", count)
    found = [str(name).strip() for name in names]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise refusal(f"{file}: names", "different from each other", twice, do="it stands there twice")
    return found


def _described(file: Path, content: dict[str, Any]) -> Iterator[tuple[Path, int]]:
    """Each image and its split, as train, val and test of data.yaml tell: folders, lists of files, or several."""
    base = content.get("path")
    bases = [file.parent]
    if isinstance(base, str) and "\0" not in base:
        bases = [file.parent / base, file.parent, *([file.parent / Path(base).name])]
    if not any(content.get(key) for key in PARTS):
        raise refusal(f"{file}: train", "a folder of images or a list of them", "nothing")
    for key, split in PARTS.items():
        entries = content.get(key)
        for entry in entries if isinstance(entries, list) else [entries] if entries else []:
            if not isinstance(entry, str) or "\0" in entry:
                raise refusal(f"{file}: {key}", "a folder of images or a list of them", repr(entry)[:60])
            place = _place(bases, entry)
            if place is None and key == "test":
                continue  # exporters name a test part whether there is one or not
            if place is None:
                raise refusal(f"{file}: {key}", f"a folder or list that exists (looked under {bases[0]})", entry)
            yield from ((image, split) for image in _images(place, f"{file}: {key}"))


def _place(bases: list[Path], entry: str) -> Path | None:
    """What `entry` names. A path of another machine, or ../x where ./x was meant, is looked for by its last parts."""
    parts = Path(entry.replace("\\", "/")).parts
    for start in range(len(parts)):
        for base in bases:
            place = base.joinpath(*parts[start:])
            try:
                if (parts[start] != ".." or start == 0) and place.exists():
                    return place
            except OSError:  # a name too long for any file
                return None
    return None


def _images(place: Path, where: str) -> Iterator[Path]:
    if place.is_dir():
        found = [f for f in sorted(place.rglob("*")) if f.suffix.lower() in extensions() and not f.name.startswith(".")]
        if not found:
            raise refusal(where, "a folder of images", f"{place}, which holds none")
        yield from found
        return
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        raise refusal(where, "a folder of images or a text file that lists them", str(place)) from None
    for line in lines:
        if name := line.strip():
            yield _place([place.parent], name) or place.parent / name
