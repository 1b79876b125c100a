"""Formats that are recognised but not supported, each with advice."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, sample
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of
from danlu.message import message
from danlu.refuse import Refusal

UNTAR = "mkdir -p {folder} && tar -xf {file} -C {folder}"
TARS = (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
ARCHIVES = {
    ".zip": "unzip {file} -d {folder}",
    **dict.fromkeys(TARS, UNTAR),
    ".7z": "7z x {file} -o{folder}",
    ".7z.001": "7z x {file} -o{folder}",
    ".zip.001": "7z x {file} -o{folder}",
    ".rar": "unrar x {file} {folder}/",
}
MARKS = {  # first bytes of archives of any name
    b"PK\3\4": ".zip",
    b"7z\xbc\xaf\x27\x1c": ".7z",
    b"Rar!": ".rar",
    b"\x1f\x8b": ".tar.gz",
    b"BZh": ".tar.bz2",
    b"\xfd7zXZ": ".tar.xz",
}
TAR_MARK = 257, b"ustar"  # its place in a tar file
ZIPPED = (".npz", ".pt", ".pth", ".xlsx", ".docx", ".keras", ".jar")  # files that are zip archives inside
SHARD = re.compile(r"-\d{5}-of-\d{5}$")  # of TensorFlow's files
PICKLED = "pickled Python objects, which are not read, for they could run code"
BINARY = {
    ".tfrecord": "TensorFlow records",
    ".tfrecords": "TensorFlow records",
    ".mat": "a MATLAB file",
    ".h5": "an HDF5 file",
    ".hdf5": "an HDF5 file",
    ".lmdb": "an LMDB database",
    ".mdb": "an LMDB database",
    ".svg": "a vector drawing, to be saved as png",
    ".pdf": "a document, whose pages are to be saved as png",
    ".bin": "a file of raw numbers",
    ".psd": "an image of Photoshop, to be saved as png",
    ".dcm": "DICOM images",
    ".nii": "NIfTI volumes",
    ".pkl": PICKLED,
    ".pickle": PICKLED,
    ".p": PICKLED,
    ".pt": "a file of PyTorch, which is not read, for it could run code",
    ".nii.gz": "NIfTI volumes",
    ".xlsx": "a spreadsheet, to be saved as csv",
    ".arff": "a table of Weka, to be saved as csv",
    ".libsvm": "a table of LIBSVM, to be saved as csv",
    ".svmlight": "a table of LIBSVM, to be saved as csv",
    ".sav": "a table of SPSS, to be saved as csv",
    ".dta": "a table of Stata, to be saved as csv",
    ".npy": "a NumPy array, which is read from one .npz file with the arrays x and y",
}
JSON = {
    "segment anything": "Segment Anything's json",
    "vott": "VoTT's json",
    "via 3": "json of VIA 3",
    "datumaro": "Datumaro's json",
}


def look_archive(survey: Survey) -> Evidence | None:
    """Recognise an archive: the given file, or those of a folder without images."""
    packed = [(file, ending) for file in survey.files if (ending := _ending_of(file, survey.is_file)) is not None]
    tables = {(file.folder, file.stem) for file in survey.of(".csv", ".tsv")}  # housing.csv is unpacked of housing.tgz
    packed = [(file, ending) for file, ending in packed if (file.folder, file.name[: -len(ending)]) not in tables]
    if not packed or survey.images:
        return None
    file, ending = packed[0]
    stem = file.path.name[: -len(ending)] if file.path.name.lower().endswith(ending) else file.path.name
    stem = stem if stem != file.path.name else f"{stem}_unpacked"
    beside = str(file.path.with_name(stem)) if len(survey.files) > 1 else stem
    split = ending == ".zip" and any(one.suffix == ".z01" for one in survey.files)  # a zip of several files
    command = ARCHIVES[".7z" if split else ending].format(file=shlex.quote(str(file.path)), folder=shlex.quote(beside))
    if len(packed) > 1:
        text = "{file} and {more} more are archives: unpack them first, as with `{command}`"
        why = message("data.refuse.archives", text, file=file.relative, more=len(packed) - 1, command=command)
    else:
        why = message("data.refuse.archive", "{file} is an archive: unpack it first, as with `{command}`",
                      file=file.relative, command=command)  # fmt: skip
    return Evidence(Fit.MARKED, message("data.seen.archive", "the archive {file}", file=file.name), why)


def _ending_of(file: File, alone: bool) -> str | None:
    """The ending of an archive's name. alone: the file was given, so that its first bytes may tell instead."""
    known = max((ending for ending in ARCHIVES if file.name.lower().endswith(ending)), key=len, default=None)
    if known is not None or not alone or file.suffix in (*ZIPPED, ".gz"):
        return known
    try:
        with file.path.open("rb") as stream:
            start = stream.read(TAR_MARK[0] + len(TAR_MARK[1]))
    except OSError:
        return None
    if start[TAR_MARK[0] :] == TAR_MARK[1]:
        return ".tar"
    return next((ending for mark, ending in MARKS.items() if start.startswith(mark)), None)


def look_binary(survey: Survey) -> Evidence | None:
    """Recognise files of other tools that contain images and labels."""
    if survey.images:
        return None
    for suffix, what in BINARY.items():
        shards = suffix == ".tfrecord"  # train-00000-of-00004, which often have no ending
        if files := [
            file for file in survey.files if file.name.lower().endswith(suffix) or (shards and SHARD.search(file.name))
        ]:
            return Evidence(
                Fit.MARKED if suffix not in (".npy", ".bin") else Fit.POSSIBLE,
                message("data.seen.binary", "{count} {suffix} files", count=len(files), suffix=suffix),
                message(
                    "data.refuse.binary_file", "{file} is {what}: write images and labels as files in a known format",
                    file=files[0].relative, what=what,
                ),
            )  # fmt: skip
    return None


def look_single(survey: Survey) -> Evidence | None:
    """Recognise a folder of files that are read one by one: npz, or several tables."""
    files = sorted(survey.of(".npz", ".csv", ".tsv"), key=lambda file: (split_of(file.stem) != TRAIN, file.parts))
    if survey.is_file or survey.images or not files:
        return None
    return Evidence(
        Fit.POSSIBLE,
        message("data.seen.single", "{count} {count:file|files} that {count:is|are} read one by one", count=len(files)),
        message("data.refuse.single", "give one file, such as {file}; --test PATH gives another",
                file=shlex.quote(str(files[0].path))),
    )  # fmt: skip


def look_json(survey: Survey) -> Evidence | None:
    """Recognise json files of unsupported annotation tools."""
    for kind, what in JSON.items():
        if files := survey.json_kinds.get(kind):
            return Evidence(
                Fit.MARKED,
                message("data.seen.json_of", "{count} {count:file|files} of {what}", count=len(files), what=what),
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
                message("data.seen.mot_alone", "{file} is MOT's table of tracks", file=file.relative),
                message("data.refuse.mot", "{file} holds tracks (MOT), but its frames are not in img1/ beside its "
                        "folder", file=file.relative),
            )  # fmt: skip
    return None


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Raise Refusal: these formats are not supported."""
    raise Refusal(message("data.refuse.unsupported_format", "{path} is in an unsupported format", path=config.path))


FORMATS: dict[str, tuple[str, Callable[[Survey], Evidence | None]]] = {
    "archive": ("an archive that is not unpacked", look_archive),
    "binary": ("files of other tools that hold images and labels", look_binary),
    "single files": ("a folder of files that are read one by one", look_single),
    "other json": ("json of annotation tools", look_json),
    "other text": ("tables of tracks", look_text),
}
