"""The doctor's facts about boxes, feature maps and anchors before training: planted faults and sound data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from danlu.analysis.diagnose import diagnose
from danlu.config import Config, with_values
from danlu.detection.detector import Detector
from danlu.doctor.diagnose import diagnose as rules
from danlu.doctor.ledger import Ledger
from danlu.preparation.object_facts import record_object_facts
from danlu.preparation.prepare import prepare

SIDE, IMAGES = 96, 24
SOUND = "0 0.4 0.5 0.4 0.4"  # class, centre, width and height as fractions of the image


def yolo(folder: Path, bad: dict[int, str] | None = None, line: str = SOUND) -> Path:
    """Two objects in each image; `bad` gives some images a third line."""
    for part in ("images", "labels"):
        (folder / part / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"images/train/{i}.png")
        lines = [line, "1 0.7 0.6 0.3 0.35", *([bad[i]] if bad and i in bad else [])]
        (folder / f"labels/train/{i}.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    return folder


def findings(path: Path, **settings: Any) -> dict[str, dict[str, Any]]:
    given = {"task": "detect", "model.name": "yolo-nano", "data.size": SIDE, "device": "cpu", "precision": "fp32"}
    return {one["code"]: one for one in diagnose(path, **(given | settings))["findings"]}


def test_bad_boxes_are_counted_by_kind_and_named(tmp_path: Path) -> None:
    bad = {3: "0 0.5 0.5 0 0.3", 5: "0 1.9 0.5 0.2 0.2", 8: "7 0.5 0.5 0.2 0.2", 9: "1 0.5 0.5 0.02 0.3"}
    one = findings(yolo(tmp_path, bad), **{"data.on_bad": "skip"})["data.bad_boxes"]  # more than 5 % would stop
    assert one["severity"] == "warning"
    assert one["evidence"]["boxes"] == 2 * IMAGES + len(bad)
    assert one["evidence"]["spoilt"] == 3
    assert one["evidence"]["tiny"] == 1
    for kind in ("1 empty", "1 outside the image", "1 unknown class", "1 tiny"):
        assert kind in one["evidence"]["kinds"]
    assert "3.txt" in one["evidence"]["examples"]


def test_valid_boxes_are_accepted(tmp_path: Path) -> None:
    found = findings(yolo(tmp_path))
    assert not {"data.bad_boxes", "model.receptive_field", "model.anchor_coverage"} & set(found)


def test_long_objects_have_no_anchor(tmp_path: Path) -> None:
    thin = yolo(tmp_path / "thin", line="0 0.5 0.3 0.95 0.05")
    one = findings(thin, **{"model.name": "retinanet"})["model.anchor_coverage"]
    assert one["evidence"]["covered"] == pytest.approx(0.5, abs=0.05)  # every second object is as long as that
    assert "model.anchor_coverage" not in findings(thin)  # a detector without anchors
    assert "model.anchor_coverage" not in findings(yolo(tmp_path / "sound"), **{"model.name": "retinanet"})


class Blind(Detector):
    """Two small convolutions: a place of the map sees 9 pixels."""

    strides = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 4, 2, 1))

    def outputs(self, images: torch.Tensor) -> dict[str, Any]:
        return {"scores": self.body(images)}


def test_receptive_field_smaller_than_the_objects(tmp_path: Path) -> None:
    given = {"data.path": str(yolo(tmp_path)), "task": "detect", "model.name": "yolo-nano", "data.size": SIDE}
    prepared = prepare(with_values(Config(), given | {"device": "cpu", "precision": "fp32"}))
    ledger = Ledger()
    record_object_facts(ledger, prepared, Blind())
    assert ledger.last("model.receptive_field") == 3 + (4 - 1) * 2
    assert ledger.last("object.longer")[2] > 30
    (one,) = rules(ledger)
    assert (one.code, one.severity, one.evidence["problem"]) == ("model.receptive_field", "warning", "small field")
