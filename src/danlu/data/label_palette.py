"""Colours of classes in drawn and written label maps."""

from __future__ import annotations

import colorsys

FIRST = (  # RGB
    (90, 100, 120), (230, 72, 46), (40, 116, 229), (30, 160, 92), (244, 176, 30), (150, 80, 210), (20, 178, 190),
    (226, 70, 150), (130, 100, 60), (120, 190, 50),
)  # fmt: skip
GOLDEN = 0.6180339887  # turns of the hue between further classes, so that neighbours differ


def palette(classes: int) -> list[tuple[int, int, int]]:
    """256 colours (R, G, B) of label values: those of `classes` classes, then grey for ignored pixels."""
    colours = list(FIRST[:classes])
    for k in range(len(colours), min(classes, 255)):
        red, green, blue = colorsys.hsv_to_rgb((k * GOLDEN) % 1, 0.55 + 0.35 * (k % 2), 0.65 + 0.25 * (k % 3) / 2)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours + [(200, 200, 200)] * (256 - len(colours))
