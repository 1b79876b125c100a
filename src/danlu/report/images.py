"""Render uint8 image tensors as data URIs and annotated images; draw boxes, masks and labels."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.annotations import RunLengths, decode_runs, parse_runs
from danlu.data.files.multichannel import shown_channels
from danlu.pose.drawing import AXES, EDGES

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

TINY_SIDE = 64  # pixels; images up to this side are enlarged by an integer factor and stored as PNG
MASK_ALPHA = 0.45  # opacity of a mask over the image
COLOURS = (  # RGB per class
    (230, 72, 46), (40, 116, 229), (30, 160, 92), (244, 176, 30), (150, 80, 210), (20, 178, 190), (226, 70, 150),
    (130, 100, 60), (120, 190, 50), (90, 100, 120),
)  # fmt: skip
AXIS_COLOURS = ((225, 40, 40), (30, 170, 50), (40, 70, 235))  # x, y, z
PAPER, INK = (255, 255, 255), (40, 40, 38)
FONTS = (  # in order of preference; all but the last have Chinese, Japanese and Korean glyphs
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "C:/Windows/Fonts/msyh.ttc",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
)


def to_data_uri(pixels: Tensor, side: int) -> str:
    """Encode an image as `data:image/...;base64,...`, resized so that its longer side has about `side` pixels.

    Tiny images are enlarged by an integer factor with nearest-neighbour interpolation and stored as PNG, which keeps an
    8 x 8 digit sharp; larger ones become JPEG.

    Args:
        pixels: uint8 (C, H, W) with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).
        side: Target length of the longer side in pixels.
    """
    image = resized(to_image(pixels), side)
    photo = max(pixels.shape[1:]) > TINY_SIDE
    buffer = io.BytesIO()
    if photo:
        image.convert("RGB").save(buffer, "JPEG", quality=85)
    else:
        image.save(buffer, "PNG", optimize=True)
    return f"data:image/{'jpeg' if photo else 'png'};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def draw_boxes(image: Tensor, boxes: Tensor, colours: Sequence[str] = ()) -> Tensor:
    """Draw boxes on an image; empty boxes are skipped.

    Args:
        image: uint8 (C, H, W), C = 1 or 3.
        boxes: (M, 4) as x1, y1, x2, y2 in pixels.
        colours: M colour names; lime by default.

    Returns:
        uint8 (3, H, W).
    """
    from torchvision.utils import draw_bounding_boxes

    image = image.cpu().expand(3, -1, -1)
    height, width = image.shape[1:]
    boxes = boxes.cpu()
    drawable = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    if not drawable.any():
        return image
    names = colours or ["lime"] * len(boxes)
    kept: list[str | tuple[int, int, int]] = [name for name, ok in zip(names, drawable.tolist()) if ok]
    return draw_bounding_boxes(image, boxes[drawable], colors=kept, width=max(1, max(height, width) // 200))


def draw_objects(image: Image.Image, objects: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Image.Image:
    """Draw detections on a copy of the image: semi-transparent masks, boxes, class names and scores.

    Args:
        image: Any mode; converted to RGB.
        objects: {"class", "score", "box": [x1, y1, x2, y2], optionally "mask": COCO run lengths}, top-scoring first.
        classes: All class names, which define the colours.
    """
    from PIL import Image, ImageDraw

    out = image.convert("RGB")
    colours = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(classes)}
    for one in reversed(objects):
        if "mask" in one:
            runs = RunLengths(parse_runs(one["mask"]["counts"].encode()), tuple(one["mask"]["size"]))
            mask = decode_runs(runs)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if len(rows):
                left, top = int(columns[0]), int(rows[0])
                alpha = mask[top : rows[-1] + 1, left : columns[-1] + 1] * np.uint8(255 * MASK_ALPHA)
                out.paste(colours[one["class"]], (left, top), Image.fromarray(alpha))
    draw = ImageDraw.Draw(out)
    line, size = max(1, round(max(out.size) / 240)), max(10, round(max(out.size) / 45))
    for one in reversed(objects):
        if "pose" in one:
            draw_pose(draw, one["pose"]["landmarks"], colours[one["class"]], width=line)
    for one in reversed(objects):  # the top-scoring one is drawn last, on top
        (left, top, right, bottom), colour = one["box"], colours[one["class"]]
        draw.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=colour, width=line)
        draw_label(draw, f"{one['class']} {one['score']:.2f}", (left, top), colour, font_of(size), out.size)
    return out


def draw_pose(
    draw: ImageDraw.ImageDraw,
    landmarks: Sequence[Sequence[float]],
    colour: tuple[int, int, int],
    points: Sequence[Sequence[float]] = (),
    width: int = 1,
) -> None:
    """Draw the box of a model in `colour`, its axes x, y, z in red, green, blue, and points of it.

    landmarks: 12 points in pixels, as `pose.drawing.landmarks`; without them nothing is drawn.
    """
    if not landmarks:
        return
    draw.point([(x, y) for x, y in points], fill=colour)
    corners = [(x, y) for x, y in landmarks]
    for i, j in EDGES:
        draw.line((corners[i], corners[j]), fill=colour, width=width)
    for (i, j), axis in zip(AXES, AXIS_COLOURS):
        draw.line((corners[i], corners[j]), fill=axis, width=width + 1)


def draw_label(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Draw a label above the upper left corner of a box, or inside it at the top edge of the image."""
    line = fitted(text, font, size[0] - 4)
    left, top, right, bottom = font.getbbox(line)
    width, height = right - left + 4, bottom - top + 4
    x = max(0, min(corner[0], size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    draw.text((x + 2 - left, y + 2 - top), line, fill=(0, 0, 0) if bright else PAPER, font=font)


def annotate(image: Tensor, text: str) -> Image.Image:
    """Add a line of text below an image. image: uint8 (C, H, W); small images are enlarged to 256 pixels."""
    from PIL import Image, ImageDraw

    height, width = image.shape[1:]
    shown = resized(to_image(image), max(height, width, 256)).convert("RGB")
    size = max(14, shown.width // 32)
    font, line_height = font_of(size), 2 * size
    out = Image.new("RGB", (shown.width, shown.height + line_height), PAPER)
    out.paste(shown, (0, 0))
    line = fitted(text, font, shown.width - size)
    ImageDraw.Draw(out).text((size // 2, shown.height + size // 3), line, fill=INK, font=font)
    return out


def to_image(image: Tensor) -> Image.Image:
    """A PIL image of uint8 (C, H, W)."""
    from PIL import Image

    if image.ndim != 3 or image.dtype != torch.uint8 or image.shape[0] not in (1, 2, 3, 4):
        raise ValueError(f"an image must be uint8 (1 to 4, H, W), got {image.dtype} {tuple(image.shape)}")
    array = image.detach().cpu().permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def visible(images: Tensor) -> Tensor:
    """Channels of images (..., C, H, W) of a dataset that are shown."""
    return images[..., : shown_channels(images.shape[-3]), :, :]


def resized(image: Image.Image, side: int) -> Image.Image:
    """Resize the longer side to `side`; for tiny images to the largest integer multiple within `side`."""
    from PIL import Image

    longest = max(image.size)
    if longest <= TINY_SIDE and longest <= side:
        factor = side // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    scale = side / longest
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


@lru_cache
def font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font with `size` pixels per line, with Chinese, Japanese and Korean glyphs where one is installed."""
    from PIL import ImageFont

    for path in FONTS:
        if Path(path).is_file():
            try:
                return ImageFont.truetype(path, size)
            except OSError:  # not readable as a font
                continue
    return ImageFont.load_default(size)


def fitted(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float, *, keep_end: bool = False
) -> str:
    """Truncate text to one line of `width` pixels; characters that a bitmap font lacks become "?".

    keep_end: cut the beginning, as of paths, whose names are at the end.
    """
    line = " ".join(str(text).encode("utf-8", "replace").decode("utf-8").split())[:500]
    try:
        font.getlength(line)
    except UnicodeEncodeError:
        line = line.encode("latin-1", "replace").decode("latin-1")
    if font.getlength(line) <= width:
        return line
    dots = "..."
    while line and font.getlength(line + dots) > width:
        line = line[1:] if keep_end else line[:-1]
    return dots + line if keep_end else line + dots
