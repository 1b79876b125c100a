"""Sets made by hand to take hours or terabytes: name -> function that writes one and returns its format, or None."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile import write_poses, write_set
from PIL import Image

MANY = 1_000_000
Write = Callable[[Path], str | None]


def image(path: Path, side: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (90, 120, 30)).save(path)


def ring(count: int = MANY) -> np.ndarray:
    """A polygon of `count` corners, (count, 2), in an image of 40 pixels."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([20 + 15 * np.cos(angle), 20 + 15 * np.sin(angle)], axis=1).round(4)


def coco(root: Path, **annotation: Any) -> str:
    image(root / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 40}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, **annotation}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    return "coco"


def cvat(root: Path, shape: str) -> str:
    image(root / "a.png")
    (root / "annotations.xml").write_text(
        '<?xml version="1.0"?><annotations><version>1.1</version><meta></meta>'
        f'<image id="0" name="a.png" width="40" height="40">{shape}</image></annotations>'
    )
    return "cvat"


def labelme(root: Path) -> str:
    image(root / "a.png")
    shape = {"label": "cat", "points": ring().tolist(), "shape_type": "polygon"}
    content = {"version": "5", "shapes": [shape], "imagePath": "a.png", "imageHeight": 40, "imageWidth": 40}
    (root / "a.json").write_text(json.dumps(content))
    return "labelme"


def via(root: Path) -> str:
    image(root / "a.png")
    xs, ys = ring().T.tolist()
    region = {
        "shape_attributes": {"name": "polygon", "all_points_x": xs, "all_points_y": ys},
        "region_attributes": {"class": "cat"},
    }
    (root / "via.json").write_text(json.dumps({"a.png1": {"filename": "a.png", "size": 1, "regions": [region]}}))
    return "via"


def voc(root: Path) -> str:
    image(root / "a.png")
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ring(100_000))
    (root / "a.xml").write_text(
        "<annotation><filename>a.png</filename><size><width>40</width><height>40</height><depth>3</depth></size>"
        f"<object><name>cat</name><polygon>{points}</polygon>"
        "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>35</xmax><ymax>35</ymax></bndbox></object></annotation>"
    )
    return "voc"


def yolo(root: Path, line: str) -> str:
    for split in ("train", "val"):
        image(root / "images" / split / "a.png")
        (root / "labels" / split).mkdir(parents=True)
        (root / "labels" / split / "a.txt").write_text(line)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat]\n")
    return "yolo"


def label_studio(root: Path) -> str:
    image(root / "a.png")
    value = {"points": (ring() / 40 * 100).tolist(), "polygonlabels": ["cat"]}
    result = {"type": "polygonlabels", "value": value, "original_width": 40, "original_height": 40}
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": [result]}]}
    (root / "tasks.json").write_text(json.dumps([task]))
    return "label-studio"


def poses(root: Path, name: str, content: bytes) -> None:
    write_poses(root, random.Random(0))
    (root / "test" / "000001" / f"scene_{name}.json").write_bytes(content)


def photographs(root: Path, name: str, content: bytes | None = None, side: int = 0) -> None:
    """Folders of two classes with one more file, given or an image of `side` pixels."""
    for i in range(12):
        image(root / ("cat" if i % 2 else "dog") / f"{i}.png")
    if content is None:
        ramp = np.add.outer(np.arange(side, dtype=np.uint16), np.arange(side, dtype=np.uint16)).astype(np.uint8)
        Image.fromarray(np.stack([ramp] * 3, axis=-1)).save(root / "cat" / name)
    else:
        (root / "cat" / name).write_bytes(content)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 154, 0, 0, 54, 40, width, height, 1, 24, 0, 100, 1, 1, 0, 0)
        + bytes(100)
    )


def tiff(width: int, height: int) -> bytes:
    image = io.BytesIO()
    Image.new("L", (16, 16)).save(image, "tiff")
    data = bytearray(image.getvalue())
    for tag, value in ((256, width), (257, height)):
        at = data.index(struct.pack("<H", tag), 4)
        data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


def table(root: Path, text: str, name: str = "table.csv") -> None:
    (root / name).write_text(text)


def brackets(root: Path) -> None:
    """Json without quotes and slashes, in which the names of images are searched because it is cut."""
    image(root / "a.png")
    (root / "labels.json").write_text('[{"image": "a.png", "boxes": ' + "[" * 100_000)


def links(root: Path) -> None:
    photographs(root, "x.txt", b"")
    (root / "cat" / "self").symlink_to(root / "cat" / "self")
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "outside.png").symlink_to(root.parent / "outside.png")


def pipes(root: Path) -> None:
    photographs(root, "x.txt", b"")
    os.mkfifo(root / "cat" / "pipe.png")
    os.mkfifo(root / "labels.csv")


def no_text(root: Path, form: str) -> None:
    """A set in which one byte of an annotation is none of UTF-8."""
    write_set(form, root, random.Random(1))
    file = sorted(path for path in root.rglob("*.txt") if path.stat().st_size)[0]
    file.write_bytes(b"\x96" + file.read_bytes()[1:])


def pipe_of_labels(root: Path) -> None:
    yolo(root, "0 0.5 0.5 0.1 0.1\n")
    for split in ("train", "val"):
        file = root / "labels" / split / "a.txt"
        file.unlink()
        os.mkfifo(file)


def pipe_of_batch(root: Path) -> str:
    """CIFAR-10 as published, with a pipe in the place of a batch."""
    os.mkfifo(root / "data_batch_1")
    (root / "test_batch").write_bytes(b"")
    return "cifar"


def pipe_of_mesh(root: Path) -> None:
    write_poses(root, random.Random(0))
    mesh = next(root.rglob("*.ply"))
    mesh.unlink()
    os.mkfifo(mesh)


def link_of_mesh(root: Path) -> None:
    write_poses(root, random.Random(0))
    mesh = next(root.rglob("*.ply"))
    mesh.rename(root.parent / "outside.ply")
    mesh.symlink_to(root.parent / "outside.ply")


ALL = (16_384, 16_384)
SETS: dict[str, Write] = {
    "coco, polygon of a million corners": lambda root: coco(root, bbox=[5, 5, 30, 30], segmentation=[ring().ravel().tolist()]),
    "coco, mask of 268 million pixels without a box": lambda root: coco(root, segmentation={"size": ALL, "counts": [0, ALL[0] * ALL[1]]}),
    "coco, mask of 10^12 pixels": lambda root: coco(root, bbox=[5, 5, 30, 30], segmentation={"size": [10**6, 10**6], "counts": [10**12]}),
    "coco, a million run lengths": lambda root: coco(root, segmentation={"size": [1000, 1000], "counts": [1] * MANY}),
    "coco, million names": lambda root: coco(root, bbox=[1] * MANY),
    "coco, name of 5,000 letters": lambda root: coco(root, bbox=[1, 1, 9, 9], file_name="x" * 5000),
    "cvat, polygon of a million corners": lambda root: cvat(
        root, f'<polygon label="cat" points="{";".join(f"{x},{y}" for x, y in ring())}"/>'),
    "cvat, mask of 10^12 pixels": lambda root: cvat(
        root, '<mask label="cat" left="0" top="0" width="1000000" height="1000000" rle="1000000000000"/>'),
    "cvat, mask of 10^10 pixels": lambda root: cvat(
        root, '<mask label="cat" left="0" top="0" width="100000" height="100000" rle="0, 10000000000"/>'),
    "cvat, ten thousand boxes": lambda root: cvat(
        root, '<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9"/>' * 10_000),
    "labelme, polygon of a million corners": labelme,
    "via, polygon of a million corners": via,
    "voc, polygon of a hundred thousand corners": voc,
    "label studio, polygon of a million corners": label_studio,
    "yolo, line of a million numbers": lambda root: yolo(root, "0 " + " ".join(["0.5"] * MANY) + "\n"),
    "yolo, ten thousand lines": lambda root: yolo(root, "0 0.5 0.5 0.1 0.1\n" * 10_000),
    "bop, nested lists": lambda root: poses(root, "gt", b"[" * MANY),
    "bop, many lists": lambda root: poses(root, "gt", b"[" + b"[]," * 12_000_000 + b"[]]"),
    "bop, many objects": lambda root: poses(root, "camera", b'{"0":' + b"[" + b"{}," * 6_000_000 + b"{}]}"),
    "bop, deep in every entry": lambda root: poses(
        root, "gt_info", json.dumps({i: json.loads("[" * 900 + "]" * 900) for i in range(3000)}).encode()),
    "image of 12,000 x 12,000 pixels, jpeg": lambda root: photographs(root, "x.jpg", side=12_000),
    "png that claims 10^9 pixels": lambda root: photographs(root, "x.png", png(31_623, 31_623)),
    "png of 13,000 x 13,000 pixels without data": lambda root: photographs(root, "x.png", png(13_000, 13_000)),
    "png of 2^31 pixels in a row": lambda root: photographs(root, "x.png", png(2**31 - 1, 1)),
    "bmp that claims 10^9 pixels": lambda root: photographs(root, "x.bmp", bmp(40_000, 25_000)),
    "bmp of 10,000 x 10,000 pixels without data": lambda root: photographs(root, "x.bmp", bmp(10_000, 10_000)),
    "tiff that claims 10^8 pixels": lambda root: photographs(root, "x.tif", tiff(10_000, 10_000)),
    "table of one cell of 30 MB": lambda root: table(root, "a,b\n1," + "x" * 30_000_000 + "\n"),
    "table of empty lines": lambda root: table(root, "\n" * MANY + "a;b\n1,5;2\n"),
    "json that is cut after 100,000 brackets": brackets,
    "cifar, a pipe for a batch": pipe_of_batch,
    "bop, a pipe for a mesh": pipe_of_mesh,
    "bop, a mesh that is a link out": link_of_mesh,
    "table of quotes": lambda root: table(root, 'a,b\n"' * 300_000),
    "table of zero bytes": lambda root: table(root, "\0" * 20_000_000),
    "gzip in gzip": lambda root: (root / "table.csv.gz").write_bytes(gzip.compress(gzip.compress(bytes(9 << 20)))) and None,
    "json lines of a million values": lambda root: table(root, "[1]\n" * MANY, "labels.jsonl"),
    "kitti, bytes that are no text": lambda root: no_text(root, "kitti"),
    "dota, bytes that are no text": lambda root: no_text(root, "dota"),
    "yolo, bytes that are no text": lambda root: no_text(root, "yolo"),
    "yolo, pipes for labels": pipe_of_labels,
    "links": links,
    "pipes": pipes,
    "four hundred folders in one another": lambda root: os.makedirs(root / "/".join("a" * 400)),
}  # fmt: skip
