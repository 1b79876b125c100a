"""Pascal VOC: one xml file per image, and lists of names per split under ImageSets.

Pixels count from 1 and both ends are included: (xmin, ymin, xmax, ymax) is the box (xmin - 1, ymin - 1, xmax, ymax).
Format: Everingham & Winn, The PASCAL Visual Object Classes Challenge 2012 Development Kit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL, Dataset, Problem
from danlu.data.sources.audit import assemble
from danlu.data.sources.labelled import Labelled, Thing, find_by_stem, find_image, relative, split_of, wanted_task
from danlu.data.sources.targets import Task
from danlu.refuse import Refusal, blame, refusal

ANNOTATIONS = ("Annotations", "annotations", "annots", "xmls")
IMAGES = ("JPEGImages", "images", "Images", "PNGImages", "imgs")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Part:
    """A folder of xml files, where their images may lie, and the lists of its splits. split: what its name tells."""

    xmls: Path
    images: tuple[Path, ...]
    lists: Path
    split: int = UNASSIGNED


def looks_like(path: Path) -> bool:
    """A folder with Annotations/*.xml, or with xml files beside images, or one whose subfolders are such."""
    return path.is_dir() and next(_parts(path), None) is not None


def open(path: Path, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and annotations; objects marked difficult are ignored. Classes are those that occur, sorted.

    Raises Refusal for an xml file that is cut or lacks a key, unless config.on_bad is "skip".
    """
    task = wanted_task(path, task, masks=False)
    problems: list[Problem] = []
    notes: list[str] = []
    pairs: list[tuple[Labelled, list[str]]] = []
    for part in _parts(path):
        for xml, split in _listed(part, path, problems, notes):
            try:
                pairs.append(_read(xml, part, split, path))
            except Refusal as error:
                if config.on_bad != "skip":
                    raise
                problems.append(Problem(relative(xml, path), str(error).removeprefix(f"{xml}").strip(" :")))
    classes = sorted({name for _, names in pairs for name in names})
    place = {name: k for k, name in enumerate(classes)}
    for one, names in pairs:
        one.things = [thing._replace(label=place[name]) for thing, name in zip(one.things, names)]
    return assemble(path, "voc", [one for one, _ in pairs], classes, config, task, problems, notes)


def _parts(path: Path) -> Iterator[_Part]:
    """The folder itself, else each subfolder (VOC2007, VOC2012; train, valid, test) that holds annotations."""
    own = _part(path)
    if own is not None:
        yield own
        return
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and (part := _part(folder)) is not None:
            yield part


def _part(folder: Path) -> _Part | None:
    images = (*(folder / name for name in IMAGES if (folder / name).is_dir()), folder)
    lists = folder / "ImageSets" / "Main"
    for name in ANNOTATIONS:
        if (folder / name).is_dir() and _is_annotation(next((folder / name).glob("*.xml"), None)):
            return _Part(folder / name, (*images, folder / name), lists, split_of(folder.name))
    if _is_annotation(next(folder.glob("*.xml"), None)):
        return _Part(folder, images, lists, split_of(folder.name))
    return None


def _is_annotation(xml: Path | None) -> bool:
    if xml is None:
        return False
    with xml.open("rb") as file:
        return b"<annotation" in file.read(4096)


def _listed(part: _Part, root: Path, problems: list[Problem], notes: list[str]) -> Iterator[tuple[Path, int]]:
    """Each annotation file and its split: as ImageSets/Main prescribes, else as the folder's name tells."""
    here = {file.stem: file for file in sorted(part.xmls.glob("*.xml")) if not file.name.startswith(".")}
    lists = {name: _names(part.lists / f"{name}.txt") for name in ("train", "val", "test", "trainval")}
    given = {name: stems for name, stems in lists.items() if stems is not None}
    if not given:
        yield from ((file, part.split) for file in here.values())
        return
    listed: set[str] = set()
    for name, split in (("train", TRAIN), ("val", VAL), ("test", TEST), ("trainval", TRAIN)):
        for stem in given.get(name, ()):
            if name == "trainval" and stem in listed:
                continue
            listed.add(stem)
            if stem in here:
                yield here[stem], split
            else:
                where = f"{relative(part.lists, root)}/{name}.txt {stem}"
                problems.append(Problem(where, f"no {stem}.xml in {relative(part.xmls, root)}"))
    left = len(set(here) - listed)
    if left:
        notes.append(f"{left} annotated images are in no list of {relative(part.lists, root)} and not read")


def _names(file: Path) -> list[str] | None:
    """The names of a list, each once; the 1 or -1 behind a name is left out."""
    if not file.is_file():
        return None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise refusal(str(file), "a list of names as text", "other bytes") from None
    names = (line.strip() for line in lines)
    names = (
        name.rsplit(None, 1)[0] if name.split()[-1:] in (["1"], ["-1"], ["0"]) and " " in name else name
        for name in names
    )
    return list(dict.fromkeys(name for name in names if name))


def _read(xml: Path, part: _Part, split: int, root: Path) -> tuple[Labelled, list[str]]:
    """One file: the image with its objects, and the name of each object's class."""
    try:
        tree = ElementTree.fromstring(xml.read_bytes())
    except OSError as error:
        raise blame(error, str(xml)) from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise Refusal(f"{xml} is no valid xml ({error}): it is cut or damaged, fetch or write it again") from None
    if tree.tag != "annotation":
        raise refusal(f"{xml}: the outermost key", "annotation", tree.tag)
    image = find_by_stem(part.images, xml.stem)
    if image is None:
        image = find_image(part.images, (tree.findtext("filename") or "").strip() or f"{xml.stem}.jpg")
    size, things, names = None, [], []
    sides = tree.find("size")
    if sides is not None:
        height, width = (_number(sides, key, f"{xml}: size") for key in ("height", "width"))
        size = (int(height), int(width)) if math.isfinite(height) and math.isfinite(width) else (0, 0)
    for i, entry in enumerate(tree.findall("object")):
        where = f"{xml}: object {i + 1}"
        name = (entry.findtext("name") or "").strip()
        if not name:
            raise refusal(f"{where}.name", "the name of a class", "nothing")
        corners = entry.find("bndbox")
        if corners is None:
            raise refusal(f"{where}.bndbox", "given", "no such key")
        x1, y1, x2, y2 = (_number(corners, key, f"{where}.bndbox") for key in CORNERS)
        difficult = entry.find("difficult") is not None and _number(entry, "difficult", where) != 0
        # By the letter a box of one column or row; in practice a click where no box was drawn.
        fault = f"empty: xmin = xmax or ymin = ymax at ({x1:g}, {y1:g})" if x1 == x2 or y1 == y2 else ""
        things.append(Thing(f"object {i + 1} {name!r}", -1, (x1 - 1, y1 - 1, x2, y2), difficult, fault=fault))
        names.append(name)
    return Labelled(image, relative(xml, root), things, split, size), names


def _number(entry: ElementTree.Element, key: str, where: str) -> float:
    text = entry.findtext(key)
    try:
        return float(text or "")
    except ValueError:
        raise refusal(f"{where}.{key}", "a number", text if text is not None else "no such key") from None
