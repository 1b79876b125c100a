"""Formats that are recognised but not supported, each with advice."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.sources.targets import Task
from danlu.data.survey import Survey, sample
from danlu.message import message
from danlu.refuse import Refusal

ARCHIVES = {
    ".zip": "unzip {file} -d {folder}",
    ".tar": "tar -xf {file} --one-top-level={folder}",
    ".tgz": "tar -xf {file} --one-top-level={folder}",
    ".tar.gz": "tar -xf {file} --one-top-level={folder}",
    ".tar.xz": "tar -xf {file} --one-top-level={folder}",
    ".tar.bz2": "tar -xf {file} --one-top-level={folder}",
    ".7z": "7z x {file} -o{folder}",
    ".rar": "unrar x {file} {folder}/",
}
BINARY = {
    ".tfrecord": "TensorFlow records",
    ".tfrecords": "TensorFlow records",
    ".mat": "a MATLAB file",
    ".h5": "an HDF5 file",
    ".hdf5": "an HDF5 file",
    ".lmdb": "an LMDB database",
    ".dcm": "DICOM images",
    ".nii": "NIfTI volumes",
    ".pkl": "pickled Python objects, which are not read, for they could run code",
}
JSON = {
    "segment anything": "Segment Anything's json",
    "vott": "VoTT's json",
    "datumaro": "Datumaro's json",
}


def look_archive(survey: Survey) -> Evidence | None:
    """Recognise an archive: the given file, or the only file of a folder."""
    if len(survey.files) != 1:
        return None
    file = survey.files[0]
    ending = next((ending for ending in ARCHIVES if file.name.lower().endswith(ending)), None)
    if ending is None:
        return None
    words = {"file": shlex.quote(str(file.path)), "folder": shlex.quote(file.path.name[: -len(ending)])}
    command = ARCHIVES[ending].format(**words)
    return Evidence(
        Fit.MARKED,
        message("data.seen.archive", "the archive {file}", file=file.name),
        message("data.refuse.archive", "it is an archive: unpack it first, as with `{command}`", command=command),
    )


def look_binary(survey: Survey) -> Evidence | None:
    """Recognise files of other tools that contain images and labels."""
    if survey.images:
        return None
    for suffix, what in BINARY.items():
        if files := survey.of(suffix):
            return Evidence(
                Fit.MARKED,
                message("data.seen.binary", "{count} {suffix} files", count=len(files), suffix=suffix),
                message(
                    "data.refuse.binary_file", "{file} is {what}: write images and labels as files in a known format",
                    file=files[0].relative, what=what,
                ),
            )  # fmt: skip
    return None


def look_json(survey: Survey) -> Evidence | None:
    """Recognise json files of unsupported annotation tools."""
    for kind, what in JSON.items():
        if files := survey.json_kinds.get(kind):
            return Evidence(
                Fit.MARKED,
                message("data.seen.json_of", "{count} files of {what}", count=len(files), what=what),
                message(
                    "data.refuse.json_of", "{file} is {what}, which is not read: export it as COCO, VOC or YOLO",
                    file=files[0].relative, what=what,
                ),
            )  # fmt: skip
    return None


def look_text(survey: Survey) -> Evidence | None:
    """Recognise text files of boxes in unsupported forms: MOT's gt.txt."""
    for file in sample([file for file in survey.of(".txt") if file.name in ("gt.txt", "det.txt")]):
        fields = next(iter(survey.lines(file)), "").split(",")
        if len(fields) in (9, 10):
            return Evidence(
                Fit.MARKED,
                message("data.seen.mot", "{file} is MOT's table of tracks", file=file.relative),
                message("data.refuse.mot", "{file} holds tracks (MOT), which are not read: write them as COCO boxes",
                        file=file.relative),
            )  # fmt: skip
    return None


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Raise Refusal: these formats are not supported."""
    raise Refusal(message("data.refuse.unsupported_format", "{path} is in an unsupported format", path=config.path))


FORMATS: dict[str, tuple[str, Callable[[Survey], Evidence | None]]] = {
    "archive": ("an archive that is not unpacked", look_archive),
    "binary": ("files of other tools that hold images and labels", look_binary),
    "other json": ("json of annotation tools", look_json),
    "other text": ("tables of tracks", look_text),
}
