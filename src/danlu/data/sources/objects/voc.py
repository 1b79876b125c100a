"""Pascal VOC: one xml file per image, and lists of names per split under ImageSets.

Pixels count from 1 and both ends are included: (xmin, ymin, xmax, ymax) is the box (xmin - 1, ymin - 1, xmax, ymax).
Format: Everingham & Winn, The PASCAL Visual Object Classes Challenge 2012 Development Kit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN, VAL, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey, normal, sample
from danlu.data.files.text_files import read_bytes, read_lines
from danlu.data.files.unpacking import parse_xml
from danlu.data.image_index import name_parts
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading, around_rotated, stop_if_many_bad
from danlu.data.sources.tables.targets import Task
from danlu.data.sources.tables.text_tables import numbers
from danlu.data.split_names import split_of_path
from danlu.message import message
from danlu.refuse import NOTHING, Refusal, blame, refusal

CORNERS = ("xmin", "ymin", "xmax", "ymax")
LISTS = (("train", TRAIN), ("val", VAL), ("test", TEST), ("trainval", TRAIN))  # under ImageSets/Main


@dataclass
class _Seen:
    """Unusual things in the files. others: files that name another image than their own. turned: rotated boxes."""

    others: list[tuple[str, str]] = field(default_factory=list)
    turned: int = 0


def look(survey: Survey) -> Evidence | None:
    """Recognise xml files with the element <annotation>."""
    xmls = _files(survey)
    looked = sample(xmls)
    if not (right := [file for file in looked if survey.xml_root(file) == "annotation"]):
        return None
    if len(right) < 0.5 * len(looked):
        return None
    seen = message("data.seen.voc", "{files} .xml files with the element <annotation>", files=len(xmls))
    # Files without an extension belong to folders of classes (Stanford Dogs), which is the weaker reading.
    return Evidence(Fit.MARKED if survey.of(".xml") else Fit.CONVERTED, seen)


def _files(survey: Survey) -> list[File]:
    """The xml files; where there are none, files without an extension that may be xml."""
    return survey.of(".xml") or [file for file in survey.of("") if survey.head(file)[:200].lstrip().startswith(b"<")]


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and annotations; difficult objects are ignored. Classes are those that occur, sorted.

    Raises Refusal if more than 5 % of the xml files cannot be read, unless config.on_bad is "skip".
    """
    survey = as_survey(path)
    task = wanted_task(survey.path, task, masks=False)
    reading = Reading(survey, config, "voc")
    bad: list[Problem] = []
    named = _files(survey)
    seen = _Seen()
    right = {file.folder for file in named if survey.xml_root(file) == "annotation"}
    xmls = [file for file in named if file.folder in right]
    listed = _listed(xmls, survey, reading)
    for file, split in listed:
        try:
            _read(file, split, reading, seen)
        except Refusal as error:
            bad.append(Problem(file.relative, str(error).removeprefix(f"{file.path}").strip(" :")))
    reading.problems += bad
    if seen.turned:
        text = "{rotated} rotated boxes are read as the boxes around them"
        reading.notes.append(message("data.note.rotated_boxes_read_boxes", text, rotated=seen.turned))
    if seen.others:
        text = (
            "{count} xml files name an image of another name, which is there too (first: {file} names {name}): each "
            "goes to the image that it is called like"
        )
        file, name = seen.others[0]
        reading.notes.append(message("data.note.voc_other_name", text, count=len(seen.others), file=file, name=name))
    stop_if_many_bad(survey.path, len(bad), len(listed), bad, config)
    return reading.finish(task)


def _listed(xmls: list[File], survey: Survey, reading: Reading) -> list[tuple[File, int]]:
    """List the annotation files and their splits: by ImageSets/Main, else by the names of their folders."""
    lists = _lists(survey)
    groups: dict[tuple[str, ...], list[File]] = {}
    for file in xmls:
        groups.setdefault(_base(file), []).append(file)
    inside = [base for base in groups if any(_is_set(o, groups) and base[: len(o)] == o and base != o for o in groups)]
    if inside:
        reading.notes.append(
            message(
                "data.note.sets_subfolders_first_read",
                "{count} sets in subfolders (first: {folder}/) are not read",
                count=len(inside),
                folder="/".join(inside[0]),
            )
        )
        others = [file for file in survey.images if any(file.folder[: len(base)] == base for base in inside)]
        reading.index = replace(reading.index, images=[file for file in survey.images if file not in others])
    found: list[tuple[File, int]] = []
    for base, files in sorted(groups.items()):
        if base in inside:
            continue
        own = lists.get(base, [])
        given = {name: one.path for name, _ in LISTS for one in own if one.name == f"{name}.txt"}
        if given:
            here = {stem_of(file): file for file in files}
            place = "/".join(own[0].folder)
            found += _of_lists(here, {name: _names(file, here) for name, file in given.items()}, place, reading)
        else:
            found += [(file, split_of_path(file.folder)) for file in files]
    return found


def _lists(survey: Survey) -> dict[tuple[str, ...], list[File]]:
    """Lists of the splits by the root of their data set: those in ImageSets/Main, else those in ImageSets."""
    found: dict[tuple[str, ...], list[File]] = {}
    for folders in (("ImageSets", "Main"), ("ImageSets",)):
        named = [file for file in survey.of(".txt") if file.folder[-len(folders) :] == folders]
        for root in {file.folder[: -len(folders)] for file in named} - found.keys():
            found[root] = [file for file in named if file.folder[: -len(folders)] == root]
    return found


def _base(file: File) -> tuple[str, ...]:
    """Find the root of the VOC dataset of an annotation file: the parent of Annotations/, or its own folder."""
    for i in range(len(file.folder) - 1, -1, -1):
        if normal(file.folder[i]).startswith(("annot", "xml")):
            above = file.folder[:i]
            return above[:-1] if above and normal(above[-1]).startswith("annot") else above
    return file.folder


def _is_set(base: tuple[str, ...], groups: dict[tuple[str, ...], list[File]]) -> bool:
    """Return whether a folder is the root of a VOC dataset, with a folder of annotations in it."""
    return any(len(file.folder) > len(base) for file in groups[base])


def _of_lists(
    here: dict[str, File], given: dict[str, list[str]], place: str, reading: Reading
) -> list[tuple[File, int]]:
    found: list[tuple[File, int]] = []
    listed: set[str] = set()
    for name, split in LISTS:
        for stem in given.get(name, ()):
            if name == "trainval" and stem in listed:
                continue
            listed.add(stem)
            if stem in here:
                found.append((here[stem], split))
            else:
                reading.problems.append(
                    Problem(
                        f"{place}/{name}.txt {stem}",
                        message("data.problem.xml_name", "no {stem}.xml of that name", stem=stem),
                    )
                )
    left = len(set(here) - listed)
    if left:
        reading.notes.append(
            message(
                "data.note.annotated_images_list_read",
                "{left} annotated images are in no list of {place} and not read",
                left=left,
                place=place,
            )
        )
    return found


def stem_of(file: File) -> str:
    """Return the name that an annotation shares with its image: "a" of a.xml, and of a.xml.xml."""
    stem = file.stem
    return stem[:-4] if stem.lower().endswith(".xml") else stem


def _names(file: Path, known: dict[str, File]) -> list[str]:
    """Read the names of a list, each once, without a 1 or -1 after the name and without the extension of an image."""
    try:
        lines = read_lines(file)
    except UnicodeDecodeError:
        raise refusal(
            str(file),
            message("data.wanted.text_file_names", "a text file of names"),
            message("data.got.binary_file", "a binary file"),
        ) from None
    except OSError as error:
        raise blame(error, str(file)) from None
    found: dict[str, None] = {}
    for line in lines:
        name = line.strip()
        if name.split()[-1:] in (["1"], ["-1"], ["0"]) and " " in name:
            name = name.rsplit(None, 1)[0]
        name = name_parts(name)[-1] if name_parts(name) else ""
        if name not in known and name.rpartition(".")[0] in known:
            name = name.rpartition(".")[0]
        if name:
            found[name] = None
    return list(found)


def _read(file: File, split: int, reading: Reading, seen: _Seen) -> None:
    """Add the image of one file with its objects, and to `seen` what is unusual in it."""
    xml = file.path
    try:
        tree = parse_xml(read_bytes(xml))
    except OSError as error:
        raise blame(error, str(xml)) from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise Refusal(
            message(
                "data.refuse.voc_valid_xml_truncated_damaged",
                "{xml} is not valid xml ({error}): truncated or damaged; export it again",
                xml=xml,
                error=str(error),
            )
        ) from None
    if tree.tag != "annotation":
        raise refusal(f"{xml}: the root element", message("data.wanted.annotation", "annotation"), tree.tag)
    size = None
    sides = tree.find("size")
    if sides is not None and (sides.findtext("width") or "").strip():
        height, width = (_number(sides, key, f"{xml}: size") for key in ("height", "width"))
        size = (int(height), int(width)) if math.isfinite(height) and math.isfinite(width) else (0, 0)
    given = (tree.findtext("filename") or "").strip()
    name = _image_name(file, given, reading)
    if name == stem_of(file) and given and _is_other(given, name, file, reading, split):
        seen.others.append((file.relative, given))
    one = reading.own_image(name, file.relative, near=_near(file), split=split, size=size)
    if one is None:
        return
    for i, entry in enumerate(tree.findall("object"), 1):
        if (entry.findtext("deleted") or "").strip() == "1":  # of LabelMe's first version
            continue
        try:
            label, box, difficult, fault = _object(entry, f"{xml}: object {i}")
        except Refusal as error:
            reading.skip(f"{file.relative} object {i}", str(error).removeprefix(f"{xml}: "))
            continue
        if angle := _rotation(entry):
            box = around_rotated(box, angle)
            seen.turned += 1
        reading.entries += 1
        reading.add(one, f"object {i}", label, box, ignore=difficult, fault=fault)


def _rotation(entry: ElementTree.Element) -> float:
    """The angle in degrees of a rotated box, which CVAT writes among the attributes; 0 of others."""
    for one in entry.findall("attributes/attribute"):
        if (one.findtext("name") or "").strip() == "rotation":
            found = numbers([one.findtext("value") or "0"])
            return 0.0 if found is None else float(found[0])
    return 0.0


def _near(file: File) -> tuple[str, ...]:
    """Folders of an annotation file without Annotations/, so that JPEGImages/cam1/ matches Annotations/cam1/."""
    return tuple(part for part in file.folder if not normal(part).startswith(("annot", "xml", "label")))


def _image_name(file: File, given: str, reading: Reading) -> str:
    """Return the name of the image: that of the annotation file if such an image exists, else the one given in it."""
    stem = stem_of(file)
    if normal(stem) in {normal(name) for name in (given, given.rpartition(".")[0])} or not given:
        return given or stem
    parts = name_parts(given)
    if parts and normal(parts[-1].rpartition(".")[0] or parts[-1]) == normal(stem):
        return given
    return stem if not isinstance(reading.index.find(stem, _near(file)), str) else given


def _object(entry: ElementTree.Element, where: str) -> tuple[str, tuple[float, float, float, float], bool, str]:
    """Read (class, x1, y1, x2, y2 counted from 0, difficult, fault) of an object."""
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise refusal(f"{where}.name", message("data.wanted.name_class", "the name of a class"), NOTHING)
    corners = entry.find("bndbox")
    outline = _polygon(entry, where) if corners is None else None
    if corners is None and outline is None:
        raise refusal(
            f"{where}.bndbox", message("data.wanted.given", "given"), message("data.got.no_such_key", "no such key")
        )
    if outline is not None:
        return name, outline, False, ""
    assert corners is not None
    x1, y1, x2, y2 = (_number(corners, key, f"{where}.bndbox") for key in CORNERS)
    difficult = bool((entry.findtext("difficult") or "").strip()) and _number(entry, "difficult", where) != 0
    # Formally a box of one column or row; in practice an accidental click.
    fault = (
        message(
            "data.problem.empty_xmin_xmax_ymin", "empty: xmin = xmax or ymin = ymax at ({x1:g}, {y1:g})", x1=x1, y1=y1
        )
        if x1 == x2 or y1 == y2
        else ""
    )
    return name, (x1 - 1, y1 - 1, x2, y2), difficult, fault


def _polygon(entry: ElementTree.Element, where: str) -> tuple[float, float, float, float] | None:
    """The box around a polygon of LabelMe's first version, or around a rotated box of roLabelImg."""
    if (turned := entry.find("robndbox")) is not None:
        cx, cy, w, h, angle = (_number(turned, key, f"{where}.robndbox") for key in ("cx", "cy", "w", "h", "angle"))
        cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
        half, tall = (w * cos + h * sin) / 2, (w * sin + h * cos) / 2
        return cx - half, cy - tall, cx + half, cy + tall
    points = entry.findall("polygon/pt")
    if len(points) < 3:
        return None
    xs, ys = ([_number(point, key, f"{where}.polygon") for point in points] for key in ("x", "y"))
    return min(xs), min(ys), max(xs), max(ys)


def _is_other(given: str, name: str, file: File, reading: Reading, split: int) -> bool:
    """Return whether the image named in a file exists and differs from the one that has the name of the file."""
    named, own = (reading.index.find(one, _near(file), split) for one in (given, name))
    return not isinstance(named, str) and named != own


def _number(entry: ElementTree.Element, key: str, where: str) -> float:
    text = entry.findtext(key)
    try:
        return float(text or "")
    except ValueError:
        raise refusal(
            f"{where}.{key}",
            message("data.wanted.number", "a number"),
            text if text is not None else message("data.got.no_such_key", "no such key"),
        ) from None
