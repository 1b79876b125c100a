"""Parquet and Arrow files with a column of images, as Hugging Face datasets write them, read through pyarrow.

The names of the classes are in the metadata of the schema, in dataset_info.json or in the head of README.md. Encoded
images are written once to files below the data root, from where they are read like others.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from danlu.config.yaml_text import parse_yaml
from danlu.data.data_root import data_root
from danlu.data.dataset import UNASSIGNED
from danlu.data.files.survey import File, Survey
from danlu.data.files.text_files import read_json, read_text
from danlu.data.split_names import split_of, split_of_path
from danlu.message import message
from danlu.refuse import Refusal

SUFFIXES = (".parquet", ".arrow")
PACKAGE = "pyarrow"
ROWS = 64  # read at once
BOX_KEYS = ("bbox", "bboxes", "boxes")
CATEGORY_KEYS = ("category", "categories", "category_id", "label", "labels", "class", "class_id")
IMAGE_NAMES = ("image", "img", "pixel_values", "picture", "photo")
MAGIC = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"GIF8", ".gif"), (b"BM", ".bmp"),
         (b"II*\0", ".tif"), (b"MM\0*", ".tif"))  # fmt: skip


class Row(NamedTuple):
    """One row. image: an encoded image, a path, or None. values: the other columns."""

    number: int
    image: bytes | str | None
    values: dict[str, Any]


def installed() -> bool:
    """Return whether pyarrow is installed, an extra of danlu."""
    return find_spec(PACKAGE) is not None


class ImageTable:
    """One file. image: its column of images, or None."""

    def __init__(self, file: File, survey: Survey) -> None:
        self.file, self._survey = file, survey

    @property
    def split(self) -> int:
        """Split that the name of the file or of its folder says, or UNASSIGNED."""
        own = split_of(self.file.stem)
        return own if own != UNASSIGNED else split_of_path(self.file.folder)

    @cached_property
    def schema(self) -> Any:
        """Raises Refusal for a file that is cut or damaged."""
        with self._reader() as reader:
            return reader.schema_arrow if self.file.suffix == ".parquet" else reader.schema

    @cached_property
    def features(self) -> dict[str, Any]:
        """Description of the columns by Hugging Face datasets; empty without one."""
        found = (self.schema.metadata or {}).get(b"huggingface")
        info = _json(found).get("info") if found else None
        features = info.get("features") if isinstance(info, dict) else None
        return features if isinstance(features, dict) else _described_features(self._survey, self.file)

    @cached_property
    def image(self) -> str | None:
        """Name of the column of images, or None."""
        pyarrow = import_module(PACKAGE)
        marked = [name for name, one in self.features.items() if isinstance(one, dict) and one.get("_type") == "Image"]
        structs = [field.name for field in self.schema if pyarrow.types.is_struct(field.type)
                   and "bytes" in {inner.name for inner in field.type}]  # fmt: skip
        plain = [field.name for field in self.schema if _is_binary(field.type) and field.name.lower() in IMAGE_NAMES]
        return next((name for name in (*marked, *structs, *plain) if name in self.schema.names), None)

    @cached_property
    def objects(self) -> str | None:
        """The column of the boxes of an image: a struct, or a list of structs, with a bbox."""
        for field in self.schema:
            kind = field.type
            while hasattr(kind, "value_type"):
                kind = kind.value_type
            if hasattr(kind, "num_fields") and {inner.name for inner in _fields(kind)} & set(BOX_KEYS):
                return field.name
        return None

    def names(self, column: str) -> list[str] | None:
        """Class names of a column of class numbers."""
        return _names(self.features.get(column))

    def rows(self, *columns: str) -> Iterator[Row]:
        """Rows with their image. Raises Refusal for a damaged file."""
        assert self.image is not None
        number = 0
        with self._reader() as reader:
            if self.file.suffix == ".parquet":
                batches = reader.iter_batches(ROWS, columns=[self.image, *columns])
            else:
                batches = (batch.select([self.image, *columns]) for batch in _batches(reader))
            for batch in batches:
                for row in batch.to_pylist():
                    image = row.pop(self.image)
                    yield Row(number, _encoded(image), row)
                    number += 1

    @contextmanager
    def _reader(self) -> Iterator[Any]:
        """Open the file for reading. Raises Refusal if it is cut or damaged, also while it is read."""
        pyarrow = import_module(PACKAGE)
        try:
            with self._opened() as reader:
                yield reader
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise Refusal(
                message(
                    "data.refuse.cut_damaged",
                    "{path} is cut or damaged: {first_line}",
                    path=self.file.path,
                    first_line=_first_line(error),
                )
            ) from None

    def _opened(self) -> Any:
        pyarrow = import_module(PACKAGE)
        ipc, parquet = import_module(f"{PACKAGE}.ipc"), import_module(f"{PACKAGE}.parquet")
        if self.file.suffix == ".parquet":
            return parquet.ParquetFile(self.file.path)
        try:
            return ipc.open_stream(pyarrow.memory_map(str(self.file.path)))
        except pyarrow.ArrowInvalid:
            return ipc.open_file(pyarrow.memory_map(str(self.file.path)))

    def unpacked(self) -> Path:
        """The folder to which the images of this file are written, once: ROW.jpg, ROW.png, ..."""
        state = self.file.path.stat()
        key = f"{self.file.path.resolve()} {state.st_size} {state.st_mtime_ns}"
        folder = data_root() / "unpacked" / hashlib.sha256(key.encode()).hexdigest()[:16]
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        partly = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            for row in self.rows():
                if isinstance(row.image, bytes):
                    suffix = next((suffix for magic, suffix in MAGIC if row.image.startswith(magic)), ".png")
                    (partly / f"{row.number:06}{suffix}").write_bytes(row.image)
            os.replace(partly, folder)
        except OSError:
            if not folder.is_dir():  # written by another process in the meantime
                raise
        finally:
            shutil.rmtree(partly, ignore_errors=True)
        return folder


def tables(survey: Survey) -> list[ImageTable]:
    """Files with a column of images. Raises Refusal for damaged files."""
    found = [ImageTable(file, survey) for file in survey.of(*SUFFIXES)]
    return [table for table in found if table.image is not None]


def _is_binary(kind: Any) -> bool:
    pyarrow = import_module(PACKAGE)
    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)


def _fields(kind: Any) -> list[Any]:
    return [kind.field(i) for i in range(kind.num_fields)]


def _batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "num_record_batches"):
        yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        yield from reader


def _encoded(image: Any) -> bytes | str | None:
    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")
    return image if isinstance(image, bytes | str) else None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__


def _json(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _names(feature: Any) -> list[str] | None:
    """Names of the first class label in a feature, at any depth."""
    if isinstance(feature, list):
        return next((found for one in feature if (found := _names(one))), None)
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return [str(name) for name in feature["names"]]
    keys = sorted(feature, key=lambda key: key not in CATEGORY_KEYS)
    return next((found for key in keys if (found := _names(feature[key]))), None)


def _described_features(survey: Survey, file: File) -> dict[str, Any]:
    """Features of dataset_info.json, dataset_infos.json or README.md in the folder of a file or above it."""
    for depth in range(len(file.folder), -1, -1):
        beside = {one.name: one for one in survey.by_folder.get(file.folder[:depth], ())}
        for name in ("dataset_info.json", "dataset_infos.json"):
            if name in beside:
                content = read_json(beside[name].path, str(beside[name].path))
                infos = [content, *content.values()] if isinstance(content, dict) else []
                for info in infos:
                    if isinstance(info, dict) and isinstance(info.get("features"), dict):
                        return info["features"]
        if "README.md" in beside:
            return _features_of_card(beside["README.md"])
    return {}


def _features_of_card(file: File) -> dict[str, Any]:
    """Features in the YAML head of a README.md, in the form of the json files."""
    try:
        parts = read_text(file.path).split("---")
        head = parse_yaml(parts[1], yaml.BaseLoader) if len(parts) > 2 else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    info = head.get("dataset_info") if isinstance(head, dict) else None
    info = info[0] if isinstance(info, list) and info else info
    columns = info.get("features") if isinstance(info, dict) else None
    return {str(one.get("name")): _feature_of_card(one) for one in columns or () if isinstance(one, dict)}


def _feature_of_card(column: dict[str, Any]) -> Any:
    kind = column.get("dtype")
    if kind == "image":
        return {"_type": "Image"}
    inner = kind.get("class_label") if isinstance(kind, dict) else column.get("class_label")
    names = inner.get("names") if isinstance(inner, dict) else None
    if isinstance(names, dict):
        ordered = sorted(names.items(), key=lambda pair: int(pair[0]))
        return {"_type": "ClassLabel", "names": [name for _, name in ordered]}
    for key in ("sequence", "struct", "list"):
        if isinstance(column.get(key), dict):
            return [_feature_of_card(column[key])]
        if isinstance(column.get(key), list):
            return {str(one.get("name")): _feature_of_card(one) for one in column[key] if isinstance(one, dict)}
    return {}
