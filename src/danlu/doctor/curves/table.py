"""The table of readers, made from the files of readers/: adding a file with a `READER` adds a format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from danlu.doctor.curves.log import Log, Reader
from danlu.message import message
from danlu.refuse import refusal

MAX_ENTRIES = 20_000  # files and folders looked at in a folder
MAX_DEPTH = 6  # folders
MAX_IMAGES = 500  # a folder with more images is taken for a data set, not for the folder of a training
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def _readers() -> Iterator[Reader]:
    package = import_module(f"{__package__}.readers")
    for module in iter_modules(package.__path__):
        yield import_module(f"{package.__name__}.{module.name}").READER


READERS: list[Reader] = sorted(_readers(), key=lambda reader: (reader.order, reader.name))


def find_log(path: Path) -> Log | None:
    """The only log at a path, a file or a folder that holds it; None if there is none.

    Raises:
        Refusal: the folder holds the logs of several trainings.
    """
    found = _at(path)
    if found is None and path.is_dir():
        found = _in_folder(path)
    if found is None:
        return None
    reader, at = found
    axis, curves = reader.read(at)
    return Log(reader.name, at, reader.look(at) or "", axis, curves)


def _at(path: Path) -> tuple[Reader, Path] | None:
    """The first reader that recognises exactly this path."""
    for reader in READERS:
        if reader.folders if path.is_dir() else reader.files:
            try:
                if reader.look(path):
                    return reader, path
            except (OSError, ValueError):
                continue
    return None


def _in_folder(folder: Path) -> tuple[Reader, Path] | None:
    """The log inside a folder: of the formats found the one whose reader is asked first, if it holds one training."""
    found: dict[str, list[tuple[Reader, Path]]] = {}
    for path in _entries(folder):
        one = _at(path)
        if one is not None:
            found.setdefault(one[0].name, []).append(one)
    for reader in READERS:
        logs = _of_one_training(found.get(reader.name, []))
        if len(logs) > 1:
            names = sorted(str(path.relative_to(folder)) for _, path in logs)
            listed = ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])
            raise refusal(
                "LOG",
                message(
                    "doctor.wanted.log_training_holds",
                    "the log of one training ({folder} holds {names}: {listed})",
                    folder=folder,
                    names=len(names),
                    listed=listed,
                ),
                str(folder),
            )
        if logs:
            _refuse_others(folder, logs[0], [one for ones in found.values() for one in ones])
            return logs[0]
    return None


def _refuse_others(folder: Path, chosen: tuple[Reader, Path], found: list[tuple[Reader, Path]]) -> None:
    """Refuse a folder where other tools logged elsewhere than in the folder of the chosen training."""
    own = chosen[1].parent.parent if chosen[1].parent.name.startswith("checkpoint-") else chosen[1].parent
    others = [path for _, path in found if own not in (path, *path.parents)]
    if others:
        names = f"{chosen[1].relative_to(folder)}, {others[0].relative_to(folder)}"
        raise refusal(
            "LOG",
            message(
                "doctor.wanted.log_training_holds_several",
                "the log of one training ({folder} holds several: {names})",
                folder=folder,
                names=names,
            ),
            str(folder),
        )


def _of_one_training(found: list[tuple[Reader, Path]]) -> list[tuple[Reader, Path]]:
    """Keep the checkpoint with the longest history where all are of one training."""
    if len(found) > 1 and all(path.parent.name.startswith("checkpoint-") for _, path in found):
        trainings = {path.parent.parent for _, path in found}
        if len(trainings) == 1:
            return [max(found, key=lambda one: _number(one[1].parent.name))]
    by_folder = {path.parent if path.name == "trainer_state.json" else path: (reader, path) for reader, path in found}
    top = [one for one in by_folder.values() if not one[1].parent.name.startswith("checkpoint-")]
    return top or list(by_folder.values())


def _number(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else -1


def _entries(folder: Path) -> Iterator[Path]:
    """Files and folders below a folder. Nothing where it is a data set of many images."""
    seen, images, entries = 0, 0, []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        depth = len(here.relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not (here / name).is_symlink()) if depth < MAX_DEPTH else []
        images += sum(name.lower().endswith(IMAGES) for name in files)
        seen += len(files) + len(folders)
        if images > MAX_IMAGES or seen > MAX_ENTRIES:
            return
        entries += [here, *(here / name for name in sorted(files))]
    yield from entries
