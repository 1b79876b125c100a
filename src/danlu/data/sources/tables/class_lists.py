"""Class names beside the data: lists of labelling tools (classes.txt, obj.names), names of class folders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from danlu.data.dataset import UNASSIGNED
from danlu.data.files.survey import File, Survey
from danlu.data.files.text_files import parse_json, read_bytes, read_json, read_lines
from danlu.data.sources.tables.text_tables import numbers, read_table
from danlu.data.split_names import split_of
from danlu.message import message
from danlu.refuse import Refusal, blame, refusal

MAX_NAMES_BYTES = 1 << 20  # of a list of names
MAX_TABLES = 20  # that are looked at
CLASS_LISTS = ("classes.txt", "_classes.txt", "obj.names", "_darknet.labels", "labels.txt", "predefined_classes.txt")


def class_list(survey: Survey, without: Collection[Path] = (), near: tuple[str, ...] | None = None) -> list[str]:
    """Read the class names from classes.txt or another list that labelling tools write.

    without: files that hold something else. near: folder whose own list is meant. Raises Refusal for two lists of one
    name that contradict each other.
    """
    found = [file for name in CLASS_LISTS for file in survey.files
             if file.name.lower() == name and file.path not in without]  # fmt: skip
    found = [file for file in found if file.folder == near] or found
    if found:
        return _agreed(survey, [file for file in found if file.name.lower() == found[0].name.lower()])
    for file in survey.of(".json"):
        if file.name.lower() == "notes.json":  # Label Studio
            content = read_json(file.path, str(file.path))
            rows = content.get("categories") if isinstance(content, dict) else None
            if isinstance(rows, list) and all(isinstance(row, dict) and "name" in row for row in rows):
                return [str(row["name"]) for row in sorted(rows, key=lambda row: int(row.get("id", 0)))]
    names = survey.of(".names")
    return names_of(names[0].path) if len(names) == 1 else []


def _agreed(survey: Survey, files: list[File]) -> list[str]:
    """The longest of several lists of names. Raises Refusal unless each of the others is its beginning."""
    longest, chosen = max(((names_of(file.path), file) for file in files), key=lambda pair: len(pair[0]))
    for file in files:
        if (names := names_of(file.path)) != longest[: len(names)]:
            raise contradicting_lists(survey, chosen, file)
    return longest


def contradicting_lists(survey: Survey, first: File, second: File) -> Refusal:
    """The refusal of two lists of classes that contradict each other."""
    text = "{path}: {first} and {second} list different classes: move the one that is not meant elsewhere"
    values = {"path": survey.path, "first": first.relative, "second": second.relative}
    return Refusal(message("data.refuse.class_lists", text, **values))


def names_of_folders(survey: Survey, folders: Collection[str]) -> tuple[dict[str, str], str]:
    """Read the names of class folders from a list of folder -> name, and the name of this file.

    A json such as cat_to_name.json at the top of the data, or beside the folder of a split that is given alone; or a
    table with a column of the folders and one of names, such as labels.csv of traffic signs. Empty without a file that
    names each folder, no two of them alike.
    """
    named, name = names_in_json(survey, folders)
    if named:
        return named, name
    for file in survey.of(".csv", ".tsv")[:MAX_TABLES]:
        small = file.path.stat().st_size <= MAX_NAMES_BYTES
        table = read_table(file) if small else None
        if table is not None and not table.ragged and (named := _named_by_columns(folders, table.rows)):
            return named, file.relative
    return {}, ""


def names_in_json(survey: Survey, labels: Collection[str]) -> tuple[dict[str, str], str]:
    """Read the names of labels or folders from a json of label -> name at the top of the data; also its file name."""
    tops = [survey.root] if split_of(survey.root.name) == UNASSIGNED else [survey.root, survey.root.parent]
    for file in (file for top in tops for file in sorted(top.glob("*.json"))):
        try:
            content = parse_json(read_bytes(file)) if file.stat().st_size <= MAX_NAMES_BYTES else None
        except (OSError, ValueError):  # not a list of names
            continue
        if named := _named(labels, content if isinstance(content, dict) else {}):
            return named, file.name
    return {}, ""


def _named(folders: Collection[str], found: Mapping[str, object]) -> dict[str, str]:
    """The name of each folder; empty if one has none, or two have the same."""
    named = {folder: one.strip() for folder in folders if isinstance(one := found.get(folder), str)}
    return named if folders and len(set(named.values()) - {""}) == len(folders) else {}


def _named_by_columns(folders: Collection[str], rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """The names in the only column of texts beside a column that holds each folder once."""
    columns = [[cell.strip() for cell in column] for column in zip(*rows)]
    keys = [column for column in columns if set(folders) <= set(column) and len(set(column)) == len(column)]
    texts = [column for column in columns if numbers(column[:1]) is None and len(set(column)) == len(column)]
    if len(keys) != 1 or len(texts) != 1 or texts[0] is keys[0]:
        return {}
    return _named(folders, dict(zip(keys[0], texts[0])))


def names_of(file: Path) -> list[str]:
    """Lines of a text file that are not empty, one class name each. Raises Refusal for a binary file."""
    try:
        return [line.strip() for line in read_lines(file) if line.strip()]
    except UnicodeDecodeError:
        raise refusal(
            str(file),
            message("data.wanted.text_file_names", "a text file of names"),
            message("data.got.binary_file", "a binary file"),
        ) from None
    except OSError as error:
        raise blame(error, str(file)) from None
