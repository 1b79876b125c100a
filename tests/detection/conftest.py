"""Checks that every detector passes, called by the tests of the detectors."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from danlu.detection.detector import Detector
from danlu.objects import Detections, ObjectBatch, Objects


@pytest.fixture
def in_half_precision() -> Callable[[Detector, ObjectBatch], tuple[dict[str, Tensor], list[Detections]]]:
    """(detector, objects of two images of 128 px) -> losses under autocast, and detections of any score."""

    def pass_through(model: Detector, objects: ObjectBatch) -> tuple[dict[str, Tensor], list[Detections]]:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(torch.randn(2, 3, 128, 128))
            losses = model.losses(outputs, objects)
        return losses, model.detect(outputs, min_score=0.0)

    return pass_through


@pytest.fixture
def learnt() -> Callable[..., Iterator[tuple[Detections, Objects]]]:
    """(detector, objects, steps, score) -> for each of two images of noise what is found after training on them."""

    def learn(model: Detector, objects: ObjectBatch, steps: int, score: float) -> Iterator[tuple[Detections, Objects]]:
        images = torch.randn(2, 3, 128, 128)
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            model(images, objects)["loss"].backward()
            optimizer.step()
        with torch.no_grad():
            found = model.detect(model(images), min_score=score)
        return ((one, objects.image(i)) for i, one in enumerate(found))

    return learn
