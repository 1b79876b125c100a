"""Read text and json files in UTF-8 with or without a byte-order mark, or UTF-16 with one."""

from __future__ import annotations

import codecs
import gc
import json
from pathlib import Path
from typing import Any

from danlu.message import message
from danlu.refuse import Refusal, blame

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def decode_text(data: bytes) -> str:
    """Decode the bytes of a text file. Raises UnicodeDecodeError for other encodings."""
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    return data.decode(encoding)


def read_text(file: Path) -> str:
    """Read a text file. Raises OSError, or UnicodeDecodeError for other encodings."""
    return decode_text(file.read_bytes())


def read_lines(file: Path) -> list[str]:
    """Read the lines of a text file, without line ends. Raises as `read_text` does."""
    return read_text(file).splitlines()


def read_json(file: Path, thing: str) -> Any:
    """Parse a json file. Raises Refusal if it cannot be read or parsed; `thing` names the file in the message."""
    collects = gc.isenabled()
    gc.disable()  # there is no garbage among the parsed objects, and searching millions of them doubles the time
    try:
        data = file.read_bytes()
        # json detects the encoding of bytes, except for UTF-16 with a byte-order mark, which Windows tools write.
        return json.loads(decode_text(data) if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else data)
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
    except (ValueError, RecursionError) as error:
        raise Refusal(
            message(
                "data.refuse.text_files_valid_json_truncated_damaged",
                "{thing} is not valid json ({error}): truncated or damaged; export it again",
                thing=thing,
                error=str(error),
            )
        ) from None
    finally:
        if collects:
            gc.enable()
