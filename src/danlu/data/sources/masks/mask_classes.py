"""Names, values and colours of the classes of label masks, from a list beside the images."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from danlu.data.files.survey import Survey
from danlu.data.files.text_files import read_json
from danlu.data.label_maps import as_colours
from danlu.data.sources.tables.class_lists import class_list, contradicting_lists, names_of
from danlu.message import message
from danlu.refuse import Refusal, refusal

CVAT_LIST = "labelmap.txt"  # of "name:r,g,b:parts:actions"
NNUNET_LIST = "dataset.json"
ADE_LIST = "objectinfo150.txt"
CLASS_DICT = "class_dict"  # in the names of tables of names and colours
MAX_TABLES = 20  # that are looked at for names and colours
MAX_LEGEND_BYTES = 1 << 20
NAME_COLUMNS = ("name", "class", "class_name", "label", "label_name", "category")
COLOUR_COLUMNS = (NAME_COLUMNS, ("r", "red"), ("g", "green"), ("b", "blue"))  # of the header of such a table
CLASS_FILES = ("class_dict.csv", "_classes.csv", "label_colors.txt", "class_names.txt", "codes.txt", CVAT_LIST)


def ade_classes(survey: Survey) -> dict[int, str]:
    """Value -> class of ADE20K's objectInfo150.txt, a table with the columns Idx and Name; 0 is of no class."""
    for file in survey.files:
        if file.name.lower() == ADE_LIST:
            rows = list(csv.DictReader(names_of(file.path), delimiter="\t"))
            return {int(row["Idx"]): row["Name"] for row in rows if (row.get("Idx") or "").isdecimal() and row["Name"]}
    return {}


def nnunet_classes(survey: Survey) -> dict[int, str]:
    """Value -> class of nnU-Net's dataset.json, whose labels are a map from names to values or the other way round."""
    for file in survey.of(".json"):
        if file.name.lower() == NNUNET_LIST:
            try:
                content = read_json(file.path, file.relative)
            except Refusal:
                continue
            labels = content.get("labels") if isinstance(content, dict) else None
            pairs = list(labels.items()) if isinstance(labels, dict) else []
            if not all(str(number).isdecimal() for number, _ in pairs):
                pairs = [(number, name) for name, number in pairs]
            if pairs and all(str(number).isdecimal() and isinstance(name, str) for number, name in pairs):
                return {int(number): name for number, name in pairs}
    return {}


def listed_classes(survey: Survey) -> tuple[list[str], list[int]]:
    """Names, and colours where they have any, of a list of classes beside the images."""
    for wanted in CLASS_FILES:
        tables = wanted == "class_dict.csv"  # also of a name with more words
        found = [
            file for file in survey.files if file.name.lower() == wanted
            or (tables and CLASS_DICT in file.name.lower() and file.suffix == ".csv")
        ]  # fmt: skip
        if not found and tables:
            found = [file for file in survey.of(".csv")[:MAX_TABLES] if _is_legend(file.path)]
        if found:
            names, colours = _rows(found[0].path)
            for file in found[1:]:
                if _rows(file.path) != (names, colours):
                    raise contradicting_lists(survey, found[0], file)
            return (names[1:], colours) if names[:1] == ["__ignore__"] else (names, colours)
    names = class_list(survey)
    return (names[1:], []) if names[:1] == ["__ignore__"] else (names, [])


def _rows(file: Path) -> tuple[list[str], list[int]]:
    """Names and colours of class_dict.csv (name, r, g, b), label_colors.txt (r g b name) or CVAT's; names of others."""
    lines = names_of(file)
    if file.suffix.lower() == ".csv":
        rows = list(csv.reader(lines))
        if rows and not any(cell.strip().isdigit() for cell in rows[0]):
            rows = rows[1:]  # the header
        if numbered := _numbered(rows):
            return numbered, []
        places = _colour_columns(file) or (0, 1, 2, 3)
        parsed = [(row[places[0]].strip(), [row[k] for k in places[1:]]) for row in rows if len(row) > max(places)]
    elif file.name.lower() == CVAT_LIST:
        fields = [line.split(":") for line in lines if not line.startswith("#")]
        parsed = [(row[0].strip(), row[1].split(",")) for row in fields if len(row) > 1 and row[1].count(",") == 2]
    else:
        split = [line.split(None, 3) for line in lines]
        parsed = [(row[3].strip(), row[:3]) for row in split if len(row) == 4 and all(c.isdigit() for c in row[:3])]
        if not parsed:
            return lines, []
    try:
        return [name for name, _ in parsed], [as_colours(np.array([int(c) for c in rgb])).item() for _, rgb in parsed]
    except ValueError:
        lines_wanted = message("data.wanted.names_and_colours", "lines of a name and three numbers from 0 to 255")
        raise refusal(str(file), lines_wanted, message("data.got.other_text", "other text")) from None


def _is_legend(file: Path) -> bool:
    """Return whether a table has the columns name, r, g and b and no other, such as values in another order."""
    return file.stat().st_size <= MAX_LEGEND_BYTES and len(_header(file)) == 4 and bool(_colour_columns(file))


def _colour_columns(file: Path) -> tuple[int, ...]:
    """Places of the name, r, g and b in the header of a table of names and colours, in any order; empty for others."""
    header = _header(file)
    found = [next((header.index(word) for word in words if word in header), -1) for words in COLOUR_COLUMNS]
    return tuple(found) if min(found) >= 0 else ()


def _header(file: Path) -> list[str]:
    try:
        first = next(iter(names_of(file)), "")
    except Refusal:
        return []
    return [cell.strip().lower() for cell in next(csv.reader([first]), [])]


def _numbered(rows: Sequence[Sequence[str]]) -> list[str]:
    """The names of classes that are numbered from 0, as Roboflow's "0, background"; none if they are not."""
    pairs = {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}
    return list(pairs.values()) if list(pairs) == [str(k) for k in range(len(rows))] else []
