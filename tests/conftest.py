"""What tests of several kinds of files share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope="session")
def mutate() -> Callable[[bytes, np.random.Generator], bytes]:
    """(json, rng) -> the same with one thing wrong."""
    return _mutate


def _mutate(text: bytes, rng: np.random.Generator) -> bytes:
    """A json file with a byte changed, a part cut, doubled or dropped, or a value replaced by an odd one."""
    raw = bytearray(text)
    a, b = sorted(rng.integers(0, len(raw), 2))
    kind = rng.integers(0, 6)
    if kind == 0:
        raw[a] = rng.integers(0, 256)
    elif kind == 1:
        raw = raw[:a]
    elif kind == 2:
        raw = raw[:a] + raw[min(b, a + 30) :]
    elif kind == 3:
        raw = raw[:b] + raw[a:b][:40] + raw[b:]
    else:
        odd = [
            "NaN",
            "-1e999",
            "null",
            '""',
            "[]",
            "{}",
            "true",
            "1" + "0" * 400,
            "-5",
            '"\\u0000"',
            "1e308",
            "[[]]",
            "0",
        ]
        tokens = [i for i, c in enumerate(raw[:-1]) if c in b":[, " and raw[i + 1] in b'0123456789-"[{']
        at = tokens[rng.integers(len(tokens))] + 1
        end = min([i for i in range(at + 1, len(raw)) if raw[i] in b",]}"], default=len(raw))
        raw = raw[:at] + odd[rng.integers(len(odd))].encode() + raw[end:]
    return bytes(raw)
