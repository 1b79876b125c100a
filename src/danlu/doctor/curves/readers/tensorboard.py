"""TensorBoard: event files, which are TFRecords of Event messages (tensorflow/core/util/event.proto).

Scalars are read without TensorBoard: Event.step (2) and Event.summary (5); Summary.value (1); Value.tag (1),
simple_value (2) and tensor (8); TensorProto.dtype (1), tensor_content (4), float_val (5) and double_val (6).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from danlu.doctor.curves.log import Collector, Curves, Reader
from danlu.doctor.curves.protobuf import BYTES, FIXED32, VARINT, fields

NAME = "tfevents"
FLOAT, DOUBLE = 1, 2  # DataType of TensorProto
MAX_RECORD = 2**31  # bytes


def look(path: Path) -> str | None:
    """Evidence of event files: the first record holds brain.Event."""
    files = _files(path)
    if not files:
        return None
    first = next(_records(files[0]), b"")
    return "event files that begin with brain.Event" if b"brain.Event" in first[:64] else None


def read(path: Path) -> tuple[str, Curves]:
    """Curves by step of the scalars of all event files; records of another kind are left out."""
    collector = Collector()
    for file in _files(path):
        for record in _records(file):
            try:
                for tag, step, value in _scalars(record):
                    collector.add(tag, step, value)
            except ValueError:
                continue  # a record of another kind
    return "step", collector.curves


def _files(path: Path) -> list[Path]:
    found = path.iterdir() if path.is_dir() else [path]
    return sorted(file for file in found if NAME in file.name and file.is_file())


def _records(path: Path) -> Iterator[bytes]:
    """Records of a TFRecord file: length (8 bytes), its checksum (4), data, its checksum (4); the last may be cut."""
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (size,) = struct.unpack("<Q", head[:8])
            if size > MAX_RECORD:
                return
            data = file.read(size + 4)
            if len(data) < size + 4:
                return
            yield data[:size]


def _scalars(event: bytes) -> Iterator[tuple[str, int, float]]:
    step, summaries = 0, []
    for number, wire, integer, value in fields(event):
        if number == 2 and wire == VARINT:
            step = integer
        elif number == 5 and wire == BYTES:
            summaries.append(value)
    for summary in summaries:
        for number, wire, _, value in fields(summary):
            if number == 1 and wire == BYTES and (scalar := _scalar(value)):
                yield scalar[0], step, scalar[1]


def _scalar(value: bytes) -> tuple[str, float] | None:
    tag, number = "", None
    for field, wire, _, part in fields(value):
        if field == 1 and wire == BYTES:
            tag = part.decode("utf-8", "replace")
        elif field == 2 and wire == FIXED32:
            (number,) = struct.unpack("<f", part)
        elif field == 8 and wire == BYTES:
            number = _of_tensor(part)
    return (tag, number) if tag and number is not None else None


def _of_tensor(tensor: bytes) -> float | None:
    """The only value of a float or double tensor; None for any other."""
    kind, packed = 0, b""
    for field, _, integer, part in fields(tensor):
        if field == 1:
            kind = integer
        elif field in (4, 5, 6):
            packed = part
    form = {(FLOAT, 4): "<f", (DOUBLE, 8): "<d"}.get((kind, len(packed)))
    return struct.unpack(form, packed)[0] if form else None


READER = Reader("TensorBoard", "folder of events.out.tfevents files", look, read, order=60, folders=True)
