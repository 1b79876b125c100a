"""MNIST-style idx: images and labels in pairs of files, raw or .gz, alone or as train-... and t10k-..."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN, Dataset
from danlu.data.files.text_files import read_bytes
from danlu.data.files.unpacking import gunzip, gunzip_head
from danlu.data.sources.tables.targets import Task, to_classes
from danlu.message import message
from danlu.refuse import NOTHING, Refusal, refusal

NAME = re.compile(r"^(?P<head>.*)(?P<kind>images|labels)[-._]idx[0-9][-._]ubyte(\.gz)?$")


def looks_like(path: Path) -> bool:
    """Return whether a file is named as idx files are, or a folder holds such a file."""
    if path.is_dir():
        return any(NAME.match(file.name) and file.is_file() for file in path.iterdir())
    return bool(NAME.match(path.name))


def open(path: Path, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read images, uint8 (N, 1, H, W), and the classes that occur; train-... and t10k-... define the splits."""
    pairs = _pairs(path)
    all_images, labels, given = [], [], []
    for head, (images_file, labels_file) in sorted(pairs.items(), key=lambda pair: _split(pair[0])):
        images, marks = _read(images_file, 3), _read(labels_file, 1)
        if len(images) != len(marks):
            raise Refusal(
                message(
                    "data.refuse.images_labels",
                    "{images_file} has {images} images but {name} {marks} labels",
                    images_file=images_file,
                    images=len(images),
                    name=labels_file.name,
                    marks=len(marks),
                )
            )
        if all_images and images.shape[1:] != all_images[0].shape[1:]:
            wanted = "x".join(map(str, all_images[0].shape[1:]))
            raise refusal(
                f"images of {images_file}",
                message("data.wanted.others", "{wanted} as the others", wanted=wanted),
                "x".join(map(str, images.shape[1:])),
            )
        if _split(head) == TEST and labels and (strange := set(marks.tolist()) - set(labels[0].tolist())):
            raise refusal(
                f"labels of {labels_file}",
                message("data.wanted.among_training_labels", "among the training labels"),
                min(strange),
            )
        all_images.append(images)
        labels.append(marks)
        given.append(torch.full((len(marks),), _split(head), dtype=torch.int8))
    targets, classes = to_classes(np.concatenate(labels))
    return Dataset(
        path=str(path),
        format="idx",
        task="classify",
        inputs=torch.from_numpy(np.concatenate(all_images)[:, None]),
        targets=targets,
        classes=classes,
        given=torch.cat(given) if len(pairs) > 1 else None,
    )


def _split(head: str) -> int:
    return TEST if re.search(r"t10k|test", head.lower()) else TRAIN


def _pairs(path: Path) -> dict[str, tuple[Path, Path]]:
    """Map the prefix of the name ("train-") to its image and label file; a raw file is preferred to its .gz."""
    folder = path if path.is_dir() else path.parent
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir(), reverse=True):
        if (match := NAME.match(file.name)) and file.is_file():
            found.setdefault(match["head"], {})[match["kind"]] = file
    if path.is_file():
        match = NAME.match(path.name)
        assert match
        found = {match["head"]: {**found[match["head"]], match["kind"]: path}}
    for pair in found.values():
        if len(pair) == 1:
            here = next(iter(pair.values()))
            partner = here.name.replace("images-idx3", "labels-idx1")
            if "labels" in pair:
                partner = here.name.replace("labels-idx1", "images-idx3")
            raise refusal(
                f"the partner of {here}",
                message("data.wanted.file_like_beside", "a file like {partner} beside it", partner=partner),
                NOTHING,
            )
    return {head: (pair["images"], pair["labels"]) for head, pair in found.items()}


def _announced(head: bytes, dims: int) -> int:
    """Bytes of an idx file by its header; those of the header alone for another file."""
    if head[:4] != bytes([0, 0, 8, dims]) or len(head) < 4 + 4 * dims:
        return 4 + 4 * dims
    return len(head) + math.prod(int(n) for n in np.frombuffer(head, ">u4", dims, offset=4))


def _read(file: Path, dims: int) -> np.ndarray:
    """Read an idx file of unsigned bytes: two zero bytes, type, number of dimensions, big-endian sizes, data."""
    try:
        data = read_bytes(file)
        if file.suffix == ".gz":
            data = gunzip(data, str(file), _announced(gunzip_head(data, 4 + 4 * dims), dims))
    except (EOFError, zlib.error):
        raise Refusal(
            message(
                "data.refuse.idx_truncated_damaged_gzip_file",
                "{file} is a truncated or damaged gzip file; download it again",
                file=file,
            )
        ) from None
    except OSError as error:
        raise refusal(str(file), message("data.wanted.readable", "readable"), error.strerror) from None
    head = 4 + 4 * dims
    if data[:4] != bytes([0, 0, 8, dims]):
        wanted = message(
            "data.wanted.idx_file_bytes_dimensions",
            "an idx file of bytes in {dims} dimensions (beginning 00 00 08 {dims:02x})",
            dims=dims,
        )
        raise refusal(
            str(file), wanted, data[:4].hex(" ") or NOTHING, do=message("data.do.download_again", "download it again")
        )
    if len(data) < head:
        raise refusal(
            str(file),
            message("data.wanted.header_bytes", "a header of {head} bytes", head=head),
            message("data.got.bytes", "{count} bytes", count=len(data)),
            do=message("data.do.download_again", "download it again"),
        )
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", dims, offset=4))
    if len(data) != head + math.prod(shape):
        wanted = message(
            "data.wanted.bytes_long_header_says", "{head} bytes long as its header says", head=head + math.prod(shape)
        )
        raise refusal(
            str(file),
            wanted,
            len(data),
            do=message("data.do.truncated_damaged_download_again", "it is truncated or damaged; download it again"),
        )
    if 0 in shape:
        raise refusal(str(file), message("data.wanted.non_empty_file", "a non-empty file"), "x".join(map(str, shape)))
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape).copy()
