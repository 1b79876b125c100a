"""Unpack gzip data and npz files, and parse XML, within bounds: a small file must not fill the memory."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from danlu.data.memory import free_memory
from danlu.message import Message, message
from danlu.refuse import Refusal

FREE_BYTES = 64 << 20  # unpacked sizes up to this are read at any ratio
MAX_RATIO = 200  # of larger ones: unpacked bytes per packed byte; images and tables compress to 1/2 to 1/50
MAX_XML_LEVELS = 200  # annotation formats have about five
MAX_UNPACKED = 4 << 30  # bytes of one gzip file at any ratio: 5 million images of 28 x 28
XML_ENCODING = re.compile(rb"\s*<\?xml[^>]*?encoding=[\"']([\w.-]+)[\"'][^>]*\?>")
EXPAT_ENCODINGS = ("utf-8", "utf8", "utf-16", "us-ascii", "ascii", "iso-8859-1")  # others are decoded before parsing
NPY_HEADER_BYTES = 1 << 16  # more than the header of any plain array


def gunzip(data: bytes, thing: str, announced: int | None = None) -> bytes:
    """Decompress the content of a gzip file. Raises Refusal beyond the bounds; EOFError or zlib.error if damaged.

    thing: the file, for the message. announced: bytes of the content by its own header, which is a bound too.
    """
    ratio_bound = max(FREE_BYTES, MAX_RATIO * len(data))
    memory_bound = _max_unpacked()
    bound = min(ratio_bound, memory_bound, ratio_bound if announced is None else announced)
    pieces, size = [], 0
    while data:  # a gzip file may have several members
        member = zlib.decompressobj(wbits=31)
        piece = member.decompress(data, bound - size + 1)
        size += len(piece)
        if size > bound:
            raise Refusal(_unpacks_too_much(thing, bound, announced, memory_bound))
        if not member.eof:
            raise EOFError("truncated gzip file")
        pieces.append(piece)
        data = member.unused_data.lstrip(b"\0")
    return b"".join(pieces)


def _unpacks_too_much(thing: str, bound: int, announced: int | None, memory_bound: int) -> Message:
    if bound == announced:
        text = "{thing} unpacks to more than the {bytes:,} bytes that its header announces: it is damaged"
        return message("data.refuse.unpacks_more_than_announced", text, thing=thing, bytes=announced)
    if bound == memory_bound:
        text = "{thing} unpacks to more than {gib:.1f} GiB, which is too much to hold in memory"
        return message("data.refuse.unpacks_more_than_memory", text, thing=thing, gib=bound / 2**30)
    return message(
        "data.refuse.unpacks_more_times_size",
        "{thing} unpacks to more than {max_ratio} times its size, which no data set does",
        thing=thing,
        max_ratio=MAX_RATIO,
    )


def gunzip_head(data: bytes, count: int) -> bytes:
    """Decompress the first `count` bytes of a gzip file. Raises zlib.error if damaged."""
    return zlib.decompressobj(wbits=31).decompress(data, count)


def _max_unpacked() -> int:
    """Bytes that one file may unpack to: half of the free memory."""
    free = free_memory()
    return MAX_UNPACKED if free is None else min(MAX_UNPACKED, max(FREE_BYTES, free // 2))


def check_npz(path: Path) -> None:
    """Compare the headers of the arrays in an npz file with the bytes that are there, before any array is allocated.

    Raises Refusal for arrays that are larger than their data or unpack beyond the bounds; zipfile.BadZipFile, OSError
    or ValueError for a file that is no npz file.
    """
    with zipfile.ZipFile(path) as file:
        unpacked = sum(entry.file_size for entry in file.infolist())
        if unpacked > max(FREE_BYTES, MAX_RATIO * path.stat().st_size):
            raise Refusal(
                message(
                    "data.refuse.unpacks_gib_more_times",
                    "{path} unpacks to {unpacked:,.1f} GiB, more than {max_ratio} times its size, which no "
                    "data set does",
                    path=path,
                    unpacked=unpacked / 2**30,
                    max_ratio=MAX_RATIO,
                )
            )
        for entry in file.infolist():
            name = entry.filename.removesuffix(".npy")
            with file.open(entry) as stream:
                head = io.BytesIO(stream.read(NPY_HEADER_BYTES))
            _check_npy_header(head, entry.file_size, f"{name} in {path}")


def _check_npy_header(head: io.BytesIO, size: int, thing: str) -> None:
    """head: first bytes of an npy file of `size` bytes."""
    version = np.lib.format.read_magic(head)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(head)
    count = 1
    for side in shape:
        count *= int(side)
    if min(shape, default=0) < 0 or (not kind.hasobject and count * kind.itemsize > size):
        sides = " x ".join(str(side)[:20] for side in shape[:8])
        raise Refusal(
            message(
                "data.refuse.damaged_header_announces_values",
                "{thing} is damaged: its header announces {sides} values of {kind}, but the file holds {size:,} bytes",
                thing=thing,
                sides=sides,
                kind=kind,
                size=size,
            )
        )


def parse_xml(data: bytes) -> ElementTree.Element:
    """Parse XML without entities of its own. Raises ValueError beyond the bounds, ElementTree.ParseError if damaged."""
    if any(mark in data for mark in (b"<!ENTITY", "<!ENTITY".encode("utf-16-le"), "<!ENTITY".encode("utf-16-be"))):
        raise ValueError("it defines entities, which annotations do not need and which can expand without bound")
    declared = XML_ENCODING.match(data)
    if declared and declared[1].lower().decode() not in EXPAT_ENCODINGS:
        text = data.decode(declared[1].decode())  # LookupError, a damaged file for its readers, for an unknown one
        return ElementTree.fromstring(text.partition("?>")[2].lstrip(), ElementTree.XMLParser(target=_ShallowTree()))
    return ElementTree.fromstring(data, ElementTree.XMLParser(target=_ShallowTree()))


class _ShallowTree(ElementTree.TreeBuilder):
    """Builder of a tree of limited depth."""

    def __init__(self) -> None:
        super().__init__()
        self._levels = 0

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:  # type: ignore[override]
        self._levels += 1
        if self._levels > MAX_XML_LEVELS:
            raise ValueError(f"elements are nested more than {MAX_XML_LEVELS} levels deep")
        return super().start(tag, attrs)

    def end(self, tag: str) -> ElementTree.Element:
        self._levels -= 1
        return super().end(tag)
