"""Network drawings: grouping, labels, and both formats inside the frame."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from danlu.inspection.drawing import MAX_BLOCKS, Drawing, blocks_of, draw, short, svg, write_png
from danlu.inspection.layers import trace
from danlu.models.network_table import build_model

SHAPES = {"lenet": (1, 28), "lenet5": (1, 32), "googlenet": (3, 224), "resnet18": (3, 224), "vit-tiny": (3, 224)}


def drawn(name: str) -> tuple[list, Drawing]:
    channels, size = SHAPES[name]
    with torch.device("meta"):
        model = build_model(name, channels=channels, size=size, classes=10)
    layers = trace(model, torch.zeros(1, channels, size, size)).layers
    return layers, draw(layers, (channels, size, size), name)


def words(drawing: Drawing) -> list[str]:
    return [shape[-1] for shape in drawing.shapes if shape[0] == "text"]


@pytest.mark.parametrize("name", SHAPES)
def test_blocks_add_up_to_the_network(name: str) -> None:
    layers, drawing = drawn(name)
    blocks = blocks_of(layers)
    assert len(blocks) <= MAX_BLOCKS
    assert sum(block.parameters for block in blocks) == sum(x.parameters for x in layers if x.used and x.output)
    assert sum(block.multiply_adds for block in blocks) == sum(x.multiply_adds for x in layers)
    assert blocks[-1].output == (10,)
    for shape in drawing.shapes:
        points = [shape[1:3]] if shape[0] == "text" else shape[1]
        assert all(0 <= x <= drawing.width and 0 <= y <= drawing.height for x, y in points)


def test_residual_and_inception_blocks_are_not_taken_apart() -> None:
    names = [block.name for block in blocks_of(drawn("googlenet")[0])]
    assert [name for name in names if name.startswith("stage3")] == ["stage3.pool", "stage3.3a", "stage3.3b"]
    resnet = blocks_of(drawn("resnet18")[0])
    assert not any("residual" in block.name for block in resnet)
    assert sum(block.times for block in resnet if block.label.startswith("Block")) == 8


def test_equal_blocks_are_one() -> None:
    blocks = [block for block in blocks_of(drawn("vit-tiny")[0]) if block.times > 1]
    assert [(block.name, block.times) for block in blocks] == [("blocks.0 to 11", 12)]


def test_written_files() -> None:
    said = words(drawn("lenet")[1])
    assert {"lenet", "61.7 k parameters, 417 k multiply-adds", "6 x 28 x 28", "16 x 5 x 5", "5x5 convolution"} <= set(
        said
    )
    assert "2x2 max pool" in said


def test_both_formats(tmp_path) -> None:
    _, drawing = drawn("lenet")
    root = ElementTree.fromstring(svg(drawing))
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == words(drawing)
    write_png(drawing, tmp_path / "lenet.png")
    with Image.open(tmp_path / "lenet.png") as image:
        assert image.size == (2 * drawing.width, 2 * drawing.height)
        assert len(image.getcolors(1 << 20)) > 50


def test_every_letter_is_in_the_font_of_the_png() -> None:
    """A sign that the font lacks is drawn as a box, as U+FFFF is."""
    from PIL import ImageFont

    font = ImageFont.load_default(24)
    missing = bytes(font.getmask("\uffff"))
    letters = {letter for name in SHAPES for word in words(drawn(name)[1]) for letter in word if letter != " "}
    assert not [letter for letter in letters if bytes(font.getmask(letter)) == missing]


@pytest.mark.parametrize(("number", "said"), [(7, "7"), (1500, "1.5 k"), (1_234_567, "1.23 M"), (4.09e9, "4.09 G")])
def test_short_numbers(number: float, said: str) -> None:
    assert short(number) == said


def test_a_padded_shortcut_belongs_to_its_own_block():
    """resnet20's first stage ends with 16 maps of 32x32, although the next block begins by padding them to 32."""
    with torch.device("meta"):
        model = build_model("resnet20", channels=3, size=32, classes=10)
    blocks = {b.name: b.output for b in blocks_of(trace(model, torch.zeros(1, 3, 32, 32, device="meta")).layers)}
    assert [output for name, output in blocks.items() if name.startswith("stage1")] == [(16, 32, 32)] * 2
    assert {output for name, output in blocks.items() if name.startswith("stage2")} == {(32, 16, 16)}
