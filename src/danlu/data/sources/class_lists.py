"""Lists of class names that labelling tools write beside label files: classes.txt, obj.names, notes.json."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from danlu.data.survey import Survey
from danlu.data.text_files import read_json, read_lines
from danlu.message import message
from danlu.refuse import blame, refusal

CLASS_LISTS = ("classes.txt", "_classes.txt", "obj.names", "_darknet.labels", "labels.txt", "predefined_classes.txt")


def class_list(survey: Survey, without: Collection[Path] = ()) -> list[str]:
    """Read the class names from classes.txt or another list that labelling tools write.

    without: files that hold something else.
    """
    for name in CLASS_LISTS:
        for file in survey.files:
            if file.name.lower() == name and file.path not in without:
                return names_of(file.path)
    for file in survey.of(".json"):
        if file.name.lower() == "notes.json":  # Label Studio
            content = read_json(file.path, str(file.path))
            rows = content.get("categories") if isinstance(content, dict) else None
            if isinstance(rows, list) and all(isinstance(row, dict) and "name" in row for row in rows):
                return [str(row["name"]) for row in sorted(rows, key=lambda row: int(row.get("id", 0)))]
    names = survey.of(".names")
    return names_of(names[0].path) if len(names) == 1 else []


def names_of(file: Path) -> list[str]:
    try:
        return [line.strip() for line in read_lines(file) if line.strip()]
    except UnicodeDecodeError:
        raise refusal(
            str(file), message("data.wanted.text_file_names", "a text file of names"), "a binary file"
        ) from None
    except OSError as error:
        raise blame(error, str(file)) from None
