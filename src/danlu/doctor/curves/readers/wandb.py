"""Weights & Biases: run-ID.wandb of an offline run, and wandb-history.jsonl.

A .wandb file is a LevelDB log (github.com/google/leveldb, doc/log_format.md) after a header of 7 bytes. Its records are
messages of wandb_internal.proto: Record.history (2), HistoryRecord.item (1), HistoryItem.key (1), nested_key (2) and
value_json (16).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from danlu.doctor.curves.log import Collector, Curves, Reader, curves_of_rows
from danlu.doctor.curves.protobuf import BYTES, fields
from danlu.doctor.curves.tables import json_lines

BLOCK, FILE_HEADER, RECORD_HEADER = 32 * 2**10, 7, 7  # bytes
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # kinds of a piece of a record
AXIS = "_step"


def look(path: Path) -> str | None:
    """Evidence of an offline run: the first four bytes of .wandb, or wandb-history.jsonl."""
    if path.name == "wandb-history.jsonl":
        return "file wandb-history.jsonl" if json_lines(path, 1) else None
    if path.suffix != ".wandb":
        return None
    with path.open("rb") as file:
        return "file that begins with :W&B" if file.read(4) == b":W&B" else None


def read(path: Path) -> tuple[str, Curves]:
    """Curves by W&B's step, or by the number of the row without one; names with a leading _ are left out."""
    if path.suffix == ".wandb":
        collector = Collector()
        for row, history in enumerate(_histories(path)):
            x = history.get(AXIS, row)
            for name, value in history.items():
                if not name.startswith("_"):
                    collector.add(name, float(x), value)
        curves = collector.curves
    else:
        hidden = [key for one in json_lines(path) for key in one if key.startswith("_") and key != AXIS]
        curves = curves_of_rows(json_lines(path), AXIS, hidden)
    return "step", curves


def _histories(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the values of each call of wandb.log by name."""
    for record in _records(path.read_bytes()):
        try:
            for number, wire, _, value in fields(record):
                if number == 2 and wire == BYTES:
                    yield dict(_items(value))
        except (ValueError, RecursionError):
            continue  # a record of another kind


def _items(history: bytes) -> Iterator[tuple[str, Any]]:
    for number, wire, _, item in fields(history):
        if number != 1 or wire != BYTES:
            continue
        names, value = [], None
        for field, kind, _, part in fields(item):
            if kind == BYTES and field in (1, 2):
                names.append(part.decode("utf-8", "replace"))
            elif kind == BYTES and field == 16:
                value = json.loads(part)
        yield ".".join(names), value


def _records(data: bytes) -> Iterator[bytes]:
    """Records of a LevelDB log, joined from their pieces; a record that is cut off is left out."""
    at, pieces = FILE_HEADER, b""
    while at + RECORD_HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < RECORD_HEADER:  # padding at the end of a block
            at += left
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + RECORD_HEADER])
        at += RECORD_HEADER
        piece = data[at : at + size]
        at += size
        if len(piece) < size or kind not in (WHOLE, FIRST, MIDDLE, LAST):
            return
        pieces = piece if kind in (WHOLE, FIRST) else pieces + piece
        if kind in (WHOLE, LAST):
            yield pieces


READER = Reader("Weights & Biases", "run-ID.wandb of an offline run, or wandb-history.jsonl", look, read, order=10)
