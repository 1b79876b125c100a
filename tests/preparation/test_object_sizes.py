"""Object sizes in the summary of a detector's run, and evaluation on its own and on unsuitable data."""

import json
import math
import shutil
from collections import Counter

import pytest

import danlu


def test_sizes_are_those_of_the_training_objects_on_the_canvas(drawn_run, drawn_coco):
    """Images of 90 x 64 lie on 96 x 96: everything grows by 96 / 90."""
    sizes = drawn_run.summary["evaluation"]["sizes"]
    everything = json.loads((drawn_coco / "annotations.json").read_text())["annotations"]
    sides = [math.sqrt(a["bbox"][2] * a["bbox"][3]) * 96 / 90 for a in everything]
    assert sizes["side"] == 96
    assert sizes["strides"] == [8, 16, 32]
    assert len(sizes["edges"]) == len(sizes["counts"]) + 1
    assert 0 < sum(sizes["counts"]) < len(everything)
    # Each bar holds no more than all objects of that size, those of the other splits included.
    bars = Counter(math.floor(4 * math.log2(side)) for side in sides)
    first = round(4 * math.log2(sizes["edges"][0]))
    for i, count in enumerate(sizes["counts"]):
        assert count <= bars[first + i] + 1  # heights are rounded to whole pixels


def test_examples_show_whole_images_without_what_lies_around_them(drawn_run):
    import base64
    import io

    from PIL import Image

    one = drawn_run.summary["evaluation"]["examples"][0]
    with Image.open(io.BytesIO(base64.b64decode(one["image"].partition(",")[2]))) as image:
        assert image.width / image.height == pytest.approx(90 / 64, abs=0.05)
    assert one["size"] == [64, 90]


def test_own_parts_and_wrong_data(drawn_run, digits_run, drawn_coco, tmp_path):
    val = danlu.evaluate(drawn_run, part="val")["metrics"]["val"]
    assert val == pytest.approx(drawn_run.summary["metrics"]["val"], rel=1e-3)
    assert not any(part.training for part in drawn_run.model.modules())  # or the next prediction would change it
    with pytest.raises(danlu.Refusal, match="not detect as set by task or the run"):
        danlu.evaluate(drawn_run, "digits")
    with pytest.raises(danlu.Refusal, match="is data for the task detect or segment, not classify"):
        danlu.evaluate(digits_run, drawn_coco)
    content = json.loads((drawn_coco / "annotations.json").read_text())
    content["categories"][0]["name"] = "circel"
    shutil.copytree(drawn_coco / "images", tmp_path / "images")
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(danlu.Refusal, match="got 'circel'; did you mean 'circle'"):
        danlu.evaluate(drawn_run, tmp_path)
