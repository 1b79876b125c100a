"""Fields of protocol buffer messages, without their schema (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types


def varint(data: bytes, at: int) -> tuple[int, int]:
    """An integer of variable length at `at`, and the position after it. Raises ValueError where data ends within."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            break
    raise ValueError("no integer of variable length")


def fields(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(number, wire type, integer, raw bytes) of each field; integer is 0 except for VARINT, which has no raw bytes.

    Raises:
        ValueError: `data` is no message, or is cut off.
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = varint(data, at)
            yield number, wire, value, b""
            continue
        if wire == BYTES:
            size, at = varint(data, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")
        if at + size > len(data):
            raise ValueError("a field is cut off")
        yield number, wire, 0, data[at : at + size]
        at += size
