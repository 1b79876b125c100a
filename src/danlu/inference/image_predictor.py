"""A trained network of images, loaded once and called for images that arrive one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.engine.device import pick_device
from danlu.inference.detect import ImageDetector, to_detections
from danlu.inference.familiarity import with_distances
from danlu.inference.loaded_run import LoadedRun
from danlu.inference.predict_images import image_outputs, read_for, to_prediction
from danlu.inference.prediction import Prediction
from danlu.inference.segment import ImageSegmenter
from danlu.inference.segment import to_prediction as to_areas
from danlu.message import message
from danlu.refuse import refusal
from danlu.user_objects import using


class ImagePredictor:
    """Reading and predicting apart, so that images can be read in threads and predicted in batches.

    run: of a network of images; Refusal for others. device: the run's by default.
    """

    def __init__(self, run: LoadedRun, device: str | None = None) -> None:
        signature = run.signature
        if signature.frames is not None:
            raise refusal("RUN", message("inference.wanted.network_images", "a network of single images"), run.name)
        if signature.columns is not None or signature.channels is None or signature.transform is not None:
            raise refusal(
                "RUN",
                message(
                    "inference.wanted.network_images_without_transform",
                    "a network of images without a transform of your own",
                ),
                run.name,
            )
        self.run, self.signature, self.config = run, signature, run.config
        self.device = pick_device(device or self.config.device)
        self._detector: ImageDetector | None = None
        self._segmenter: ImageSegmenter | None = None
        if signature.task_spec.labels_pixels:
            self._segmenter = ImageSegmenter(run.network, self.device, self.config)
        elif signature.task_spec.finds_objects:
            self._detector = ImageDetector(run.network, self.device, self.config)
        else:
            run.network.members_on(self.device)

    def read(self, path: Path) -> Any:
        """Decode and resize an image file. Raises one of `UNREADABLE` if it cannot be read."""
        if self._segmenter is not None:
            return self._segmenter.place(path)
        if self._detector is not None:
            return self._detector.place(path)
        return read_for(path, self.signature)

    def predict(self, images: Sequence[Any], names: Sequence[str], top: int = 3) -> list[Prediction]:
        """Predictions of images from `read`, as one batch. names: `path` of each."""
        if self._segmenter is not None:
            maps = self._segmenter(images)
            return [to_areas(name, one, self._segmenter.classes) for name, one in zip(names, maps)]
        if self._detector is not None:
            found = self._detector(images)
            return [
                Prediction(name, objects=to_detections(one, self._detector.classes)) for name, one in zip(names, found)
            ]
        predictions: list[Prediction] = []
        networks = self.run.network.networks_on(self.device)
        with with_distances(self.run.training_features, networks, predictions), using(self.run.objects):
            pixels: list[np.ndarray] = list(images)
            with torch.inference_mode():
                outputs = image_outputs(self.run.network.members_on(self.device), self.device, pixels, self.config)
            predictions += [to_prediction(name, self.signature, output, top) for name, output in zip(names, outputs)]
        return predictions
