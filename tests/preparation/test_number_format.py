"""Precision of networks of poses."""

from __future__ import annotations

import pytest
import torch

from danlu.config import Config, with_values
from danlu.preparation.prepare import prepare


@pytest.mark.slow
@pytest.mark.parametrize(("model", "half"), [("posecnn-small", False), ("pose-crop", True)])
def test_posecnn_trains_in_fp32(model: str, half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where bf16 would be faster: it is not timed. The outputs of pose-crop are exact by themselves."""
    timed: list[bool] = []

    def probe(build, inputs, seconds=0.5, *, half=True):
        from danlu.engine.device import Format
        from danlu.message import message

        timed.append(half)
        return Format("bf16" if half else "fp32", True, message("choice.precision.not_faster", "measured here"))

    monkeypatch.setattr("danlu.preparation.number_format.probe_format", probe)
    values = {
        "data.path": "scenes",
        "task": "pose",
        "model.name": model,
        "data.limit": 16,
        "device": "cpu",
        "data.size": 64,
    }
    prepared = prepare(with_values(Config(), values))
    assert timed == [half]
    assert prepared.config.precision == ("bf16" if half else "fp32")
    assert prepared.device == torch.device("cpu")


def test_a_frozen_backbone_is_timed_without_a_backward_pass() -> None:
    """The timed part of a detector is its backbone, which then has no trainable parameter."""
    values = {
        "data.path": "shapes",
        "model.name": "yolo-nano",
        "data.limit": 16,
        "data.size": 64,
        "device": "cpu",
        "pretrained": "efficientnet-lite0",
        "freeze": ["backbone"],
    }
    prepared = prepare(with_values(Config(), values))
    assert prepared.config.precision in ("fp32", "bf16")
