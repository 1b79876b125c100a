"""Page of all data formats, written to docs/formats.md by `python tools/pages.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from danlu.data.format_table import readable_formats

HEAD = """# Data formats

Generated from `src/danlu/data/format_table.py` by `python tools/pages.py`; do not edit.

danlu recognises the format by the files; `--format NAME` sets it, and `danlu data DATA` prints the evidence. The first
task is the default, `--task NAME` sets another. SPLIT is any usual name of a split (train, training, val, valid, test,
...); folders may be nested. `danlu convert DATA --to coco|yolo|voc|folder` writes a set in another format.
"""
CHANNELS = """
## Images of more than three channels

RGB with depth, multispectral and other images of any number of channels train on all of them: the first layer and the
normalisation of a network have as many, and it refuses images of another number.

| data | channels that are trained on |
|---|---|
| an npz file, or arrays in Python: x (N, H, W, 4) or (N, 4, H, W) | 4; 3 where the fourth is 255 everywhere |
| class folders of TIFF files (read by tifffile) | all, without a fourth channel that the file marks as alpha |
| PNG or TIFF files with alpha (RGBA) | 3: transparent pixels become white |

`tifffile.imwrite(path, rgbd, photometric="rgb", extrasamples=["unspecified"])` writes RGB with depth; without
`extrasamples` tifffile marks the fourth channel as alpha. All channels of a file have one type and one scale, so that
depth in millimetres must be scaled to the range of the colours first. Join colour and depth of separate files
first: danlu reads each file as an image of its own.
"""
PEERS = """
## Compared with other readers

Twenty layouts, written by [layouts.py](../benchmarks/formats/layouts.py), each with known objects. A layout is read
right where every image has all its objects, with their classes and with boxes within 1.5 pixels, and no others. The
layouts are those that danlu is tested on, so its own figure is no estimate for other layouts.

| reader | layouts read right |
|---|---|
| danlu, given the folder | 20 of 20 |
| datumaro 1.13.12, given the folder | 7 of 20 |
| datumaro 1.13.12, given the folder and the format | 9 of 20 |
| supervision 0.31.2, given the folders of images and annotations (it reads COCO, VOC and YOLO) | 6 of 20 |

`python benchmarks/formats/read.py` repeats it in an environment of its own and prints the table of all layouts.
"""


def document() -> str:
    """The page as Markdown."""
    return f"{HEAD}\n{table()}{CHANNELS}{PEERS}"


def table() -> str:
    """The formats, one in a row."""
    rows = ["| format | data | files | tasks | read by | tested on |", "|---|---|---|---|---|---|"]
    for name, form in readable_formats().items():
        request = " (only with `--format`)" if form.on_request else ""
        test = f"[{Path(form.tests).name}](../tests/data/{form.tests})"
        cells = [f"`{name.replace(' ', '-')}`{request}", form.description, form.layout, ", ".join(form.tasks)]
        cells += [form.reader, f"{test}, {form.sets}" if form.sets else test]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
