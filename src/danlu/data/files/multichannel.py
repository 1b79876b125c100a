"""Read TIFF images of more channels than grey, RGB and alpha (multispectral, RGB with depth), which PIL does not."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import TiffImagePlugin

SUFFIXES = (".tif", ".tiff")
PACKAGE = "tifffile"
WIDTH, HEIGHT, SAMPLES_PER_PIXEL, PHOTOMETRIC, EXTRA_SAMPLES = 256, 257, 277, 262, 338  # tags of TIFF 6.0
SEPARATED = 5  # photometric interpretation of CMYK
ALPHA = (1, 2)  # extra samples: associated and unassociated alpha


class ChannelsError(ValueError):
    """An image of a number of channels that cannot be read, or that does not fit; the text is the reason."""


class Header(NamedTuple):
    """Number of channels, and size in pixels, of a TIFF file."""

    channels: int
    height: int
    width: int


def shown_channels(channels: int) -> int:
    """Number of channels of an image that are shown: the first three, or one of one or two."""
    return 3 if channels >= 3 else 1


def header(path: Any) -> Header | None:
    """Read the header of a TIFF file that PIL does not read as grey, RGB, CMYK or one of these with alpha.

    None for every other file, also for one that is not readable.
    """
    if not isinstance(path, str | Path) or os.path.splitext(path)[1].lower() not in SUFFIXES:
        return None
    try:
        with open(path, "rb") as file:
            tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
            channels, extra = int(tags.get(SAMPLES_PER_PIXEL, 1)), tags.get(EXTRA_SAMPLES, ())
            extra = extra if isinstance(extra, tuple) else (extra,)
            colours = channels - (1 if len(extra) == 1 and extra[0] in ALPHA else 0)
            usual = (1, 3, 4) if tags.get(PHOTOMETRIC) == SEPARATED else (1, 3)
            return None if colours in usual else Header(channels, int(tags[HEIGHT]), int(tags[WIDTH]))
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, struct.error):
        return None


def read_channels(path: str | Path) -> np.ndarray:
    """Read all channels of a TIFF file, (H, W, C) of its own type.

    Raises ChannelsError if tifffile is missing, ValueError if the file is damaged or needs a codec that is missing.
    """
    try:
        import tifffile
    except ImportError:
        found = header(path)
        kind = f"{found.channels}-channel TIFF" if found else "TIFF"
        raise ChannelsError(f"{kind}, which needs the package {PACKAGE}") from None
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            pixels, planar = page.asarray(), getattr(page, "planarconfig", 1)
    except Exception as error:  # of many kinds: codecs, tags, sizes
        raise ValueError(str(error)) from None
    if pixels.ndim != 3:
        raise ValueError(f"a TIFF of shape {pixels.shape} instead of (H, W, C)")
    return np.ascontiguousarray(pixels.transpose(1, 2, 0) if planar == 2 else pixels)
