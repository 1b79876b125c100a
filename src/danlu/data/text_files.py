"""Text and json files as other tools write them: UTF-8 with or without a byte-order mark, or UTF-16 with one."""

from __future__ import annotations

import codecs
import gc
import json
from pathlib import Path
from typing import Any

from danlu.refuse import Refusal, blame

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def decode_text(data: bytes) -> str:
    """Bytes of a text file as text. Raises UnicodeDecodeError for other encodings."""
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    return data.decode(encoding)


def read_text(file: Path) -> str:
    """The text in `file`. Raises OSError, or UnicodeDecodeError for other encodings."""
    return decode_text(file.read_bytes())


def read_lines(file: Path) -> list[str]:
    """Lines without their ends, whatever ends them. Raises as `read_text` does."""
    return read_text(file).splitlines()


def read_json(file: Path, thing: str) -> Any:
    """The content of a json file. Raises Refusal, which calls it `thing`, when it cannot be read or parsed."""
    collects = gc.isenabled()
    gc.disable()  # none of the millions of objects made here is garbage, and searching them doubles the time
    try:
        data = file.read_bytes()
        # The parser detects the encoding of bytes itself, except for UTF-16 with a mark written by Windows tools.
        return json.loads(decode_text(data) if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else data)
    except OSError as error:
        raise blame(error, thing) from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise Refusal(f"{thing} is no valid json ({reason}): it is cut or damaged, fetch or write it again") from None
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{thing} is no valid json ({error}): it is cut or damaged, fetch or write it again") from None
    finally:
        if collects:
            gc.enable()
