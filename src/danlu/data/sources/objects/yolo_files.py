"""Files that describe a YOLO data set: data.yaml, and Darknet's obj.data, with the classes and the splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from danlu.config.yaml_text import parse_yaml
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL
from danlu.data.files.survey import File, Survey
from danlu.data.files.text_files import decode_guessed, read_lines, read_text
from danlu.data.sources.labelled_images.described_paths import DescribedPaths
from danlu.data.sources.tables.class_lists import names_of
from danlu.message import message
from danlu.refuse import NOTHING, Refusal, blame, refusal

SPLIT_KEYS = {"train": TRAIN, "val": VAL, "valid": VAL, "test": TEST}
KEYS = (*SPLIT_KEYS, "path", "names", "nc", "kpt_shape")  # of data.yaml
EMPTY_VALUES = ("", "null", "~", "none")  # of data.yaml


def find_darknet(survey: Survey) -> File | None:
    """First .data file with the keys of Darknet; None if there is none."""
    return next((file for file in survey.of(".data") if is_darknet(file, survey)), None)


def is_darknet(file: File, survey: Survey) -> bool:
    """Return whether a .data file has the keys of Darknet: names, and train or valid."""
    keys = {line.partition("=")[0].strip() for line in survey.lines(file)}
    return file.suffix == ".data" and {"names"} < keys and bool(keys & {"train", "valid"})


def read_darknet(file: File, paths: DescribedPaths) -> tuple[list[str], list[tuple[Path, int]]]:
    """Read Darknet's obj.data ("key = path" in each line); returns classes and (image, split)."""
    pairs = [line.partition("=") for line in read_lines(file.path) if "=" in line]
    content = {key.strip(): value.strip() for key, _, value in pairs}
    names = paths.find([file.path.parent], content["names"], f"{file.path}: names")
    listed: list[tuple[Path, int]] = []
    for key, split in SPLIT_KEYS.items():
        if not content.get(key):
            continue
        place = paths.find([file.path.parent], content[key], f"{file.path}: {key}")
        if place is None and key == "train":
            raise refusal(
                f"{file.path}: {key}",
                message("data.wanted.list_images_exists", "a list of images that exists"),
                content[key],
            )
        if place is not None:
            listed += [(image, split) for image in paths.images(place, f"{file.path}: {key}", file.path.parent)]
    splits = {split for _, split in listed}
    if len(splits) == 1:
        listed = [(image, UNASSIGNED) for image, _ in listed]
    return names_of(names) if names is not None else [], listed


def find_yaml(survey: Survey) -> File | None:
    """Find a data.yaml at the top, or the only one in a folder below. Of several at the top data.yaml is meant."""
    files = [file for file in survey.of(".yaml", ".yml") if is_yaml(file.path)]
    top = sorted((file for file in files if not file.folder), key=lambda file: file.stem.lower() != "data")
    return next(iter(top or (files if len(files) == 1 else [])), None)


def refuse_several_sets(survey: Survey) -> None:
    """Raise Refusal if folders below hold descriptions with other classes, so that their numbers mean other things."""
    files = [file for file in survey.of(".yaml", ".yml") if file.folder and is_yaml(file.path)]
    if survey.is_file or len(files) < 2 or find_yaml(survey) is not None:
        return
    first, *others = files
    classes = classes_of(first.path, load_yaml(first.path))
    for other in others:
        if classes_of(other.path, load_yaml(other.path)) != classes:
            text = "{path}: {first} and {other} list different classes, as of two data sets: give the folder of one"
            values = {"path": survey.path, "first": first.relative, "other": other.relative}
            raise Refusal(message("data.refuse.yamls_of_sets", text, **values))


def check_other_yamls(survey: Survey, chosen: Path, classes: list[str]) -> list[str]:
    """Notes on the other descriptions beside the chosen one, where a folder was given.

    Raises Refusal if they list other classes and the chosen one is not called data.yaml.
    """
    found = [file for file in survey.of(".yaml", ".yml") if file.path.parent == chosen.parent and file.path != chosen]
    others = [file for file in found if not survey.is_file and is_yaml(file.path)]
    for other in others:
        if chosen.stem.lower() != "data" and classes_of(other.path, load_yaml(other.path)) != classes:
            text = "{path}: {chosen} and {other} list different classes: give the one that is meant as DATA"
            values = {"path": survey.path, "chosen": chosen.name, "other": other.name}
            raise Refusal(message("data.refuse.several_yamls", text, **values))
    return [f"{other.relative} is not read, as {chosen.name} is; give its path to read it" for other in others]


def is_yaml(file: Path) -> bool:
    """Return whether a yaml file describes a YOLO data set: names and train or val begin lines of its first 64 KiB."""
    if file.suffix.lower() not in (".yaml", ".yml") or not file.is_file():
        return False
    with file.open("rb") as stream:
        data = stream.read(1 << 16)
    lines = decode_guessed(data)[0].splitlines()
    return any(line.startswith("names") for line in lines) and any(line.startswith(("train", "val")) for line in lines)


def load_yaml(file: Path) -> dict[str, Any]:
    """Read data.yaml with all values as text. Raises Refusal for a file that cannot be read or holds no keys."""
    try:
        # All values are read as text, because classes may be named on, 001 or 12:30.
        content = parse_yaml(read_text(file), yaml.BaseLoader)
    except OSError as error:
        raise blame(error, str(file)) from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Refusal(
            message("data.refuse.valid_yaml", "{file} is not valid yaml: {reason}", file=file, reason=reason)
        ) from None
    if not isinstance(content, dict):
        raise refusal(
            str(file),
            message("data.wanted.keys_values_including_names", "keys and values, including names and train"),
            repr(content)[:60],
        )
    return content


def unread_keys(file: Path, content: dict[str, Any]) -> list[str]:
    """Create a note about keys that are not read. Raises Refusal for one that looks like a misspelt known key."""
    unread = [str(key) for key in content if key not in KEYS]
    for key in unread:
        if get_close_matches(key.lower(), KEYS, 1, cutoff=0.8):
            raise refusal(f"a key of {file}", message("data.wanted.known_key", "a known key"), key, near=KEYS)
    return [f"{file.name}: keys that are not read: {', '.join(unread)[:200]}"] if unread else []


def classes_of(file: Path, content: dict[str, Any]) -> list[str]:
    """Read `names`, a list or a map from numbers to names."""
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(str(k) for k in range(len(names))):
            raise refusal(
                f"{file}: names",
                message("data.wanted.numbered", "numbered 0 to {names}", names=len(names) - 1),
                ", ".join(map(str, names))[:60],
            )
        numbered = {int(key): name for key, name in names.items()}
        names = [numbered[k] for k in range(len(numbered))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int | float) for name in names):
        raise refusal(f"{file}: names", message("data.wanted.list_classes", "a list of the classes"), repr(names)[:60])
    count = content.get("nc", str(len(names)))
    if count != str(len(names)):
        raise refusal(
            f"{file}: nc", message("data.wanted.number_names", "{names}, the number of names", names=len(names)), count
        )
    found = [str(name).strip() for name in names]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise refusal(
            f"{file}: names",
            message("data.wanted.unique", "unique"),
            twice,
            do=message("data.do.occurs_twice", "it occurs twice"),
        )
    return found


def images_by_yaml(
    file: Path,
    content: dict[str, Any],
    paths: DescribedPaths,
    there: Callable[[], list[tuple[Path, int]]] | None,
    notes: list[str],
) -> list[tuple[Path, int]]:
    """The images that data.yaml names, and their splits; where it names folders elsewhere, those with label files.

    there: lists the latter, None where the yaml was given alone.
    """
    if there is None or not _leads_nowhere(file, content, paths) or not (listed := there()):
        return list(_listed_images(file, content, paths))
    text = (
        "{file} names folders that are not there ({train}), as of another machine: the images with label files are read"
    )
    notes.append(message("data.note.yaml_elsewhere", text, file=file.name, train=content.get("train")))
    return listed


def _leads_nowhere(file: Path, content: dict[str, Any], paths: DescribedPaths) -> bool:
    """Return whether data.yaml names folders or lists of images, and none of them is there."""
    named = [content.get(key) for key in SPLIT_KEYS]
    entries = [entry for one in named for entry in (one if isinstance(one, list) else [one])]
    given = [entry for entry in entries if isinstance(entry, str) and entry.lower() not in EMPTY_VALUES]
    bases = _bases(file, content)
    usable = all("\0" not in entry for entry in given)
    return usable and bool(given) and all(paths.find(bases, entry, f"{file}: train") is None for entry in given)


def _bases(file: Path, content: dict[str, Any]) -> list[Path]:
    """Folders that the paths of data.yaml may start from."""
    base = content.get("path")
    if not isinstance(base, str) or "\0" in base:
        return [file.parent]
    plain = Path(base.replace("\\", "/"))
    return [file.parent / plain, file.parent, file.parent / plain.name]


def _listed_images(file: Path, content: dict[str, Any], paths: DescribedPaths) -> Iterator[tuple[Path, int]]:
    """List images and their splits by train, val and test of data.yaml: folders, or text files that list images."""
    bases = _bases(file, content)
    content = {key: None if str(value).lower() in EMPTY_VALUES else value for key, value in content.items()}
    if not any(content.get(key) for key in SPLIT_KEYS):
        raise refusal(
            f"{file}: train",
            message("data.wanted.folder_images_list_them", "a folder of images or a list of them"),
            NOTHING,
        )
    for key, split in SPLIT_KEYS.items():
        entries = content.get(key)
        for entry in entries if isinstance(entries, list) else [entries] if entries else []:
            if not isinstance(entry, str) or "\0" in entry:
                raise refusal(
                    f"{file}: {key}",
                    message("data.wanted.folder_images_list_them", "a folder of images or a list of them"),
                    repr(entry)[:60],
                )
            place = paths.find(bases, entry, f"{file}: {key}")
            if place is None and key == "test":
                continue  # exporters write a test entry even without a test set
            if place is None:
                raise refusal(
                    f"{file}: {key}",
                    message(
                        "data.wanted.folder_list_exists_looked",
                        "a folder or list that exists (looked under {bases})",
                        bases=bases[0],
                    ),
                    entry,
                )
            yield from ((image, split) for image in paths.images(place, f"{file}: {key}"))
