"""Draw a network: one slab per block, its height the size of the map in pixels, its thickness the channels.

A drawing is a list of plain shapes; `svg` and `write_png` render the same list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from danlu.inspection.dominance import family
from danlu.inspection.layers import Layer
from danlu.message import as_html

# Colours of the front faces by family; the other faces are tints.
COLOURS = {
    "input": "#b9c0c9",
    "convolutions": "#5b8bd0",
    "pooling": "#e0a458",
    "dense layers": "#5aa787",
    "attention": "#a27bc7",
    "blocks": "#5b8bd0",
    "other": "#b9c0c9",
}
INK, MUTED, LINE = "#1f2933", "#6b7785", "#c3cad3"
MAX_BLOCKS = 22  # more become illegible
BLOCKS_PER_LINE = 12
STEP, MARGIN, TOP = 112, 44, 88  # pixels: distance of blocks, left and right margin, room for the title
LABEL_HEIGHT = 96  # pixels for the labels below a slab
MAX_HEIGHT, MAX_THICKNESS = 112, 40  # of a slab, in pixels
DEPTH_RATIO = 0.42  # depth of a slab / its height
LIFT_RATIO = 0.6  # elevation of the back edge / depth
# Part of a class name -> label of the layer; the first match counts.
LABELS = {
    "SparseConv": "sparse convolution", "Conv": "convolution", "Linear": "dense", "AdaptiveAvgPool": "average pool",
    "AvgPool": "average pool", "MaxPool": "max pool", "Subsampling": "subsampling", "Norm": "normalisation",
}  # fmt: skip
FOLDED = ("normalisation", "activations")  # families drawn as part of the block before them


@dataclass(frozen=True)
class Block:
    """Consecutive layers drawn as one slab.

    Args:
        name: Name of the module, or "FIRST to LAST".
        kind: Family of layers, a key of COLOURS.
        label: Short description, such as "3x3 convolution".
        output: Shape of the output of one sample.
        parameters, multiply_adds: Sums over all repetitions.
        times: Number of equal blocks in a row.
    """

    name: str
    kind: str
    label: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    times: int = 1


@dataclass(frozen=True)
class Drawing:
    """Plain shapes on a canvas of width x height pixels, coordinates from the upper left.

    Args:
        shapes: ("polygon", points, fill), ("line", points, colour) or ("text", x, y, size, colour, bold, words), with
            text centred on x.
    """

    width: int
    height: int
    shapes: list[tuple[Any, ...]]


def draw(layers: Sequence[Layer], input_shape: Sequence[int], title: str) -> Drawing:
    """Draw a network from left to right, line by line, one slab per block output. input_shape: (C, H, W) or (D,)."""
    blocks = [Block("input", "input", "", tuple(input_shape), 0, 0), *blocks_of(layers)]
    lines = [blocks[i : i + BLOCKS_PER_LINE] for i in range(0, len(blocks), BLOCKS_PER_LINE)]
    width = 2 * MARGIN + STEP * max(len(line) for line in lines)
    largest = max((max(b.output[1:], default=1) for b in blocks if len(b.output) == 3), default=1)
    shapes: list[tuple[Any, ...]] = [("text", width / 2, 38, 20, INK, True, title)]
    total = f"{short(sum(b.parameters for b in blocks))} parameters"
    total += f", {short(sum(b.multiply_adds for b in blocks))} multiply-adds"
    shapes.append(("text", width / 2, 62, 13, MUTED, False, total))
    ground = TOP
    for row, line in enumerate(lines):
        ground += max(_rise(block, largest) for block in line)
        for i, block in enumerate(line):
            x = MARGIN + STEP * (i + 0.5)
            if i or row:
                shapes += _arrow(x - STEP / 2, ground - 14)
            shapes += _slab(block, x, ground, largest)
            shapes += _labels(block, x, ground)
        ground += LABEL_HEIGHT
    return Drawing(width, round(ground), shapes)


def blocks_of(layers: Sequence[Layer]) -> list[Block]:
    """Group layers by module, at the finest depth that gives at most MAX_BLOCKS; equal neighbours become one block.

    A module that joins branches, by addition or concatenation, is one block, because its layers are not a sequence.
    """
    used = [layer for layer in layers if layer.used and layer.output]
    joints = {x.name for x in used if any(word in x.detail for word in ("add", "concatenate", "attention"))}
    deepest = max((layer.name.count(".") + 1 for layer in used), default=1)
    merged: list[Block] = []
    for depth in range(deepest, 0, -1):
        merged = _merged(_grouped(used, depth, joints))
        if len(merged) <= MAX_BLOCKS:
            break
    return merged


def _grouped(layers: Sequence[Layer], depth: int, joints: set[str]) -> list[Block]:
    """Make one block per run of layers with the same first `depth` name components, or of the same joint.

    Layers without multiply-adds, except pooling, join the block before them.
    """
    groups: list[tuple[str, list[Layer]]] = []
    for layer in layers:
        path = layer.name.split(".")[:depth]
        name = next((".".join(path[:n]) for n in range(1, depth) if ".".join(path[:n]) in joints), ".".join(path))
        free = not layer.multiply_adds and _family(layer) != "pooling" and layer.name.count(".") < depth
        opens = layer.detail == "pad" and name in joints  # the shortcut of a block precedes its layers
        if groups and (groups[-1][0] == name or (free and not opens)):
            groups[-1][1].append(layer)
        else:
            groups.append((name, [layer]))
    return [_block(name, members) for name, members in groups]


def _block(name: str, members: list[Layer]) -> Block:
    main = max(members, key=lambda layer: (layer.multiply_adds, _family(layer) == "pooling", layer.parameters))
    shaped = [layer for layer in members if layer.kind != "Flatten"] or members  # show the map, not its flattened form
    return Block(
        name,
        _family(main),
        _label(name, main, members),
        shaped[-1].output,
        sum(layer.parameters for layer in members),
        sum(layer.multiply_adds for layer in members),
    )


def _label(name: str, main: Layer, members: list[Layer]) -> str:
    """Return a short description: "3x3 convolution", "Inception, 6 layers"."""
    multiplying = sum(1 for layer in members if layer.multiply_adds)
    if multiplying > 1:
        kind = next((f"{layer.kind}, " for layer in members if layer.name == name), "")
        return f"{kind}{multiplying} layers"
    kernel = main.detail.split(",")[0] if main.detail[:1].isdigit() else ""
    word = next((word for part, word in LABELS.items() if part in main.kind), main.kind)
    return f"{kernel} {word}".strip()


def _family(layer: Layer) -> str:
    name = family(layer)
    return name if name in COLOURS or name in FOLDED else "other"


def _merged(blocks: list[Block]) -> list[Block]:
    """Merge neighbours of equal output shape and cost; their parameters and multiply-adds are summed."""
    merged: list[Block] = []
    for block in blocks:
        last = merged[-1] if merged else None
        if last and block.multiply_adds and _signature(last) == _signature(block):
            first = last.name.split(" to ")[0]
            merged[-1] = replace(
                last,
                name=f"{first} to {_end(first, block.name)}",
                parameters=last.parameters + block.parameters,
                multiply_adds=last.multiply_adds + block.multiply_adds,
                times=last.times + 1,
            )
        else:
            merged.append(block)
    return merged


def _signature(block: Block) -> tuple[Any, ...]:
    return block.output, block.multiply_adds / block.times, block.kind, block.label


def _end(first: str, last: str) -> str:
    """Return the end of `last` that differs from `first`: "4" for stage4.4 after stage4.1."""
    pairs = list(zip(first.split("."), last.split(".")))
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), 0)
    return ".".join(last.split(".")[same:])


def _rise(block: Block, largest: int) -> float:
    """Height of a slab with its label above the ground line, in pixels."""
    height, _, depth = _size(block.output, largest)
    return height + LIFT_RATIO * depth + 16


def _slab(block: Block, x: float, ground: float, largest: int) -> list[tuple[Any, ...]]:
    """Draw a box seen from the upper right, the lower edge of its front centred on (x, ground)."""
    height, thickness, depth = _size(block.output, largest)
    left, right, top = x - (thickness + depth) / 2, x + (thickness - depth) / 2, ground - height
    lift = LIFT_RATIO * depth
    colour = COLOURS.get(block.kind, COLOURS["other"])
    front = [(left, ground), (right, ground), (right, top), (left, top)]
    roof = [(left, top), (right, top), (right + depth, top - lift), (left + depth, top - lift)]
    side = [(right, ground), (right + depth, ground - lift), (right + depth, top - lift), (right, top)]
    return [
        ("polygon", side, _tint(colour, 0.34)),
        ("polygon", roof, _tint(colour, 0.58)),
        ("polygon", front, colour),
    ]


def _size(output: Sequence[int], largest: int) -> tuple[float, float, float]:
    """Return height, thickness and depth in pixels; height grows with the root of the side, so that small maps show."""
    thickness = 5 + (MAX_THICKNESS - 5) * min(math.log2(max(output[0], 1)) / 11, 1)
    if len(output) == 3 and max(output[1:]) > 1:
        height = 12 + (MAX_HEIGHT - 12) * math.sqrt(max(output[1:]) / largest)
        return height, thickness, DEPTH_RATIO * height
    if len(output) == 2:  # tokens: height shows their number, thickness their width
        thickness = 5 + (MAX_THICKNESS - 5) * min(math.log2(max(output[1], 1)) / 11, 1)
        return 30 + 60 * min(math.log2(max(output[0], 1)) / 10, 1), thickness, 8
    return 24 + 76 * min(math.log2(max(output[0], 1)) / 12, 1), 9, 4


def _labels(block: Block, x: float, ground: float) -> list[tuple[Any, ...]]:
    """Write the name, shape, description and number of parameters below a slab."""
    shape = " x ".join(map(str, block.output))  # the font of the PNG has no multiplication sign
    times = f"{block.times} x " if block.times > 1 else ""
    rows = [(shape, 12, INK, True)]
    if block.label:
        rows.append((_clip(times + block.label, 22), 11, MUTED, False))
    if block.parameters:
        rows.append((f"{times}{short(block.parameters / block.times)} param.", 11, MUTED, False))
    name = _clip(block.name, 20)
    shapes: list[tuple[Any, ...]] = [("text", x, ground + 20, 11, INK if block.kind == "input" else MUTED, False, name)]
    for i, (words, size, colour, bold) in enumerate(rows):
        shapes.append(("text", x, ground + 37 + 15 * i, size, colour, bold, words))
    return shapes


def _arrow(x: float, y: float) -> list[tuple[Any, ...]]:
    return [
        ("line", [(x - 8, y), (x + 5, y)], LINE),
        ("polygon", [(x + 9, y), (x + 3, y - 3.5), (x + 3, y + 3.5)], LINE),
    ]


def _tint(colour: str, white: float) -> str:
    """Mix a colour with the fraction `white` of white."""
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(value + (255 - value) * white):02x}" for value in channels)


def short(number: float) -> str:
    """Format a number with a unit prefix: 1234567 is "1.23 M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _clip(name: str, length: int) -> str:
    return name if len(name) <= length else "…" + name[-(length - 1) :]


def svg(drawing: Drawing) -> str:
    """Render the drawing as SVG text."""
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width} {drawing.height}" '
        f'width="{drawing.width}" height="{drawing.height}" font-family="Helvetica, Arial, sans-serif">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for kind, *rest in drawing.shapes:
        if kind == "text":
            x, y, size, colour, bold, words = rest
            weight = ' font-weight="600"' if bold else ""
            out.append(
                f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
                f'text-anchor="middle"{weight}>{as_html(words)}</text>'
            )
            continue
        points, colour = rest
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = f'fill="{colour}"' if kind == "polygon" else f'fill="none" stroke="{colour}" stroke-width="1.5"'
        out.append(f'<{"polygon" if kind == "polygon" else "polyline"} points="{path}" {style}/>')
    return "\n".join([*out, "</svg>\n"])


def write_png(drawing: Drawing, path: Path, scale: int = 2) -> None:
    """Write the drawing as a PNG of `scale` times its size, antialiased by drawing at twice that size."""
    from PIL import Image, ImageDraw, ImageFont

    def scaled(points: Sequence[tuple[float, float]], by: int) -> list[tuple[float, float]]:
        return [(x * by, y * by) for x, y in points]

    fine = 2 * scale
    image = Image.new("RGB", (drawing.width * fine, drawing.height * fine), "white")
    canvas = ImageDraw.Draw(image)
    for kind, *rest in drawing.shapes:
        if kind == "polygon":
            canvas.polygon(scaled(rest[0], fine), fill=rest[1])
        elif kind == "line":
            canvas.line(scaled(rest[0], fine), fill=rest[1], width=3 * scale)
    image = image.resize((drawing.width * scale, drawing.height * scale), Image.Resampling.LANCZOS)
    canvas = ImageDraw.Draw(image)
    for kind, *rest in drawing.shapes:
        if kind == "text":
            x, y, size, colour, bold, words = rest
            font = ImageFont.load_default(size * scale)
            stroke = {"stroke_width": 0.35 * scale, "stroke_fill": colour} if bold else {}
            canvas.text((x * scale, y * scale), words, fill=colour, font=font, anchor="ms", **stroke)
    image.save(path, format="PNG")
