"""The options of all detectors equal the settings of the config."""

from __future__ import annotations

from dataclasses import fields

import pytest

from danlu.config import Config, DetectConfig, ModelConfig, with_values
from danlu.detection.detector_table import DETECTOR_OPTIONS, DETECTORS
from danlu.preparation.networks import model_options
from danlu.preparation.prepare import prepare
from danlu.refuse import Refusal
from danlu.segmentation.segmenter_table import SEGMENTER_OPTIONS

NOT_THE_DETECTORS = {"backbone", "fit", "score", "overlap", "most", "camera"}


def test_every_option_of_a_detector_is_a_setting_and_every_setting_an_option():
    settings = {f.name for f in fields(DetectConfig)} - NOT_THE_DETECTORS
    shared = {f.name for f in fields(ModelConfig)}
    assert settings <= DETECTOR_OPTIONS | SEGMENTER_OPTIONS
    assert settings >= DETECTOR_OPTIONS - shared


def test_settings_reach_the_detector():
    config = with_values(Config(), {"model": "mask-rcnn", "detect": {"anchor": 8, "proposals": 50, "neck": "none"}})
    assert model_options(config) == {"anchor": 8.0, "proposals": 50, "neck": "none"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "yolo-nano", "detect.anchor": 8}, "--detect.anchor must be omitted for yolo-nano, which takes detect.width"),
        ({"model": "ssd300", "detect.search": "colours"}, "which takes none of them"),
        ({"model": "rcnn", "detect.neck": "fpn"}, "--detect.neck must be omitted for rcnn"),
        ({"model": "rcnn", "detect.search": "guess"}, "detect.search must be one of"),
        ({"model": "rcnn", "detect.crop": 8}, "detect.crop must be at least 16"),
        ({"model": "faster-rcnn", "model.width": (64,)}, "see --detect.width"),
    ],
)  # fmt: skip
def test_settings_of_other_detectors_are_refused(settings: dict, said: str):
    with pytest.raises(Refusal, match=said):
        prepare(
            with_values(
                Config(),
                {"data.path": "shapes", "task": "detect", "data.size": 300 if "ssd300" in settings.values() else 128}
                | settings,
            )
        )


def test_names_are_those_of_the_table():
    assert {"rcnn", "fast-rcnn", "faster-rcnn", "mask-rcnn"} <= DETECTORS.keys()
