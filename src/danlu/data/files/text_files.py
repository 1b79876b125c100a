"""Read text and json files in UTF-8 with or without a byte-order mark, UTF-16 with one, or a guessed encoding."""

from __future__ import annotations

import codecs
import errno
import gc
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from danlu.data.memory import free_memory
from danlu.message import message
from danlu.refuse import Refusal, blame

# Min bytes of memory of the list, object or entry that this character of a JSON text begins.
BYTES_PER_MARK = {b"[": 64, b"{": 64, b",": 8, b":": 64}
MAX_VALUE_BYTES = 1 << 28  # of memory; JSON values up to this size are read
MAX_JSON_RATIO = 16  # memory per byte of json; annotations of COCO, LVIS and Objects365 have 3 to 8
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Characters of Chinese text in GBK are pairs of bytes from 161 on, which letters with accents in Latin-1 hardly form.
GBK_TEXT = re.compile(rb"(?:[\x00-\x7f]|[\xa1-\xf7][\xa1-\xfe])*")


class NotTextError(UnicodeDecodeError):
    """A file that must be text holds other bytes."""

    def __init__(self, file: Path, error: UnicodeDecodeError) -> None:
        super().__init__(error.encoding, error.object, error.start, error.end, error.reason)
        self.file = file


class JsonTooLarge(ValueError):
    """Text of json whose values would fill the memory."""


def decode_text(data: bytes) -> str:
    """Decode the bytes of a text file. Raises UnicodeDecodeError for other encodings."""
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    return data.decode(encoding)


def decode_guessed(data: bytes) -> tuple[str, str]:
    """Decode the bytes of a text file of any encoding; returns also the name of a guessed one, "" for UTF."""
    try:
        return decode_text(data), ""
    except UnicodeDecodeError:
        name = "GBK" if GBK_TEXT.fullmatch(data) else "Latin-1"
        return data.decode(name, "replace"), name


def guessed_note(file: str, encoding: str) -> str:
    """Note on a file whose encoding was guessed."""
    return f"{file} is not UTF-8; it was read as {encoding}"


def read_bytes(file: Path) -> bytes:
    """Read an ordinary file. Raises OSError, also for a pipe or a device, whose content may never come or never end."""
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise OSError(errno.EINVAL, "neither a file nor a folder", str(file))
    return file.read_bytes()


def read_text(file: Path) -> str:
    """Read a text file. Raises OSError, or NotTextError for other encodings."""
    try:
        return decode_text(read_bytes(file))
    except UnicodeDecodeError as error:
        raise NotTextError(file, error) from None


def read_lines(file: Path) -> list[str]:
    """Read the lines of a text file, without line ends. Raises as `read_text` does."""
    return read_text(file).splitlines()


def parse_json(data: bytes) -> Any:
    """Parse json after an estimate of the memory that its values take.

    Raises JsonTooLarge (also for thousands of levels), UnicodeDecodeError, json.JSONDecodeError for wrong syntax, and
    other ValueErrors for numbers of thousands of digits.
    """
    wanted = sum(count * data.count(mark) for mark, count in BYTES_PER_MARK.items())
    if wanted > MAX_VALUE_BYTES and wanted > MAX_JSON_RATIO * len(data):
        raise JsonTooLarge(
            message(
                "data.why.json_ratio",
                "its values would take {size:.1f} GiB, {ratio:.0f} times its size, which no annotations do",
                size=wanted / 2**30,
                ratio=wanted / len(data),
            )
        )
    free = free_memory()
    if wanted > MAX_VALUE_BYTES and free is not None and wanted > free:
        raise JsonTooLarge(
            message(
                "data.why.json_memory",
                "its values would take {size:.1f} GiB, and {free:.1f} GiB of memory are free",
                size=wanted / 2**30,
                free=free / 2**30,
            )
        )
    # json detects the encoding of bytes, except for UTF-16 with a byte-order mark, which Windows tools write.
    text = decode_text(data) if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else data
    collects = gc.isenabled()
    gc.disable()  # there is no garbage among the parsed objects, and searching millions of them takes most of the time
    try:
        return json.loads(text)
    except RecursionError:
        raise JsonTooLarge(
            message("data.why.json_depth", "its values are nested too deeply, which no annotations are")
        ) from None
    finally:
        if collects:
            gc.enable()


def read_json(file: Path, thing: str) -> Any:
    """Parse a json file. Raises Refusal if it cannot be read or parsed; `thing` names the file in the message."""
    try:
        return parse_json(read_bytes(file))
    except OSError as error:
        raise blame(error, thing) from None
    except json.JSONDecodeError as error:
        reason = message(
            "data.reason.line_column",
            "{problem} at line {lineno}, column {colno}",
            problem=error.msg,
            lineno=error.lineno,
            colno=error.colno,
        )
        raise Refusal(
            message(
                "data.refuse.valid_json_truncated_damaged",
                "{thing} is not valid json ({reason}): truncated or damaged; export it again",
                thing=thing,
                reason=reason,
            )
        ) from None
    except JsonTooLarge as error:
        raise Refusal(
            message("data.refuse.json_too_large", "{thing} is not read: {why}", thing=thing, why=str(error))
        ) from None
    except ValueError as error:
        raise Refusal(
            message(
                "data.refuse.text_files_valid_json_truncated_damaged",
                "{thing} is not valid json ({error}): truncated or damaged; export it again",
                thing=thing,
                error=str(error),
            )
        ) from None
