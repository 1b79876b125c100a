"""Images of a run that an exported file is verified on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch

from danlu.data.columns import TargetScaler
from danlu.inference.evaluation_data import own_data
from danlu.inference.loaded_run import LoadedRun
from danlu.objects import Detections
from danlu.preparation.assemble import make_task
from danlu.preparation.prepared import Prepared
from danlu.refuse import Failure, Refusal
from danlu.tasks.detect import Detect, ImageDetections, to_image
from danlu.tasks.semantic import Semantic, to_labels
from danlu.tasks.task import Evaluation
from danlu.user_objects import using

MAX_METRIC_IMAGES = 1000  # the metric of larger sets is measured on their first images
CALIBRATION_IMAGES = 256  # of the training set, for int8


@dataclass(frozen=True)
class ExportSamples:
    """Samples of one split of a run's own data, as images on the canvas."""

    prepared: Prepared
    split: str
    index: torch.Tensor  # sample numbers, int64 (n,)

    def __len__(self) -> int:
        return len(self.index)

    def images(self, start: int, stop: int) -> np.ndarray:
        """Images uint8 (n, S, S, C)."""
        assert self.prepared.images is not None
        raw = self.prepared.images.some(self.index[start:stop].tolist())
        return np.ascontiguousarray(raw.numpy().transpose(0, 2, 3, 1))

    def metric(self, answers: torch.Tensor) -> float:
        """Value of the task's main metric for probabilities or target values (n, K)."""
        prepared, spec = self.prepared, self.prepared.signature.task_spec
        if spec.several_labels:
            outputs = answers.clamp(1e-7, 1 - 1e-7).logit()
        elif spec.has_classes:
            outputs = answers.clamp_min(1e-12).log()  # softmax returns the probabilities
        else:
            outputs = TargetScaler.from_dict(prepared.signature.target_scale or {}).transform(answers)
        assert isinstance(prepared.targets, torch.Tensor)
        evaluation = Evaluation(outputs, prepared.targets[self.index.to(prepared.targets.device)].cpu(), self.index)
        return make_task(prepared).metrics(evaluation)[spec.monitor]

    def object_metric(self, found: list[Detections]) -> float:
        """mAP of detections in pixels of the canvas."""
        prepared = self.prepared
        assert prepared.objects is not None
        task, index = make_task(prepared), self.index.tolist()
        assert isinstance(task, Detect)
        placements = [prepared.objects.placements[i] for i in index]
        outputs = [ImageDetections(to_image(one, place), 0.0) for one, place in zip(found, placements)]
        evaluation = Evaluation(outputs, [task.truth(i) for i in index], self.index)
        return task.metrics(evaluation)[task.spec.monitor]

    def map_metric(self, chunks: Iterable[torch.Tensor]) -> float:
        """mIoU of probabilities on the canvas. chunks: (n, K, S, S) each, of all samples in their order."""
        prepared, index = self.prepared, iter(self.index.tolist())
        assert prepared.maps is not None
        task, placements = make_task(prepared), prepared.maps.placements
        assert isinstance(task, Semantic)
        outputs = [task.counted(i, to_labels(p, placements[i])) for chunk in chunks for p, i in zip(chunk, index)]
        return task.metrics(Evaluation(outputs, self.index.tolist(), self.index))[task.spec.monitor]


def samples_of(run: LoadedRun) -> ExportSamples | str:
    """Validation images of a run, or training images if it has no validation set; the reason, if there are none."""
    try:
        with using(run.objects):
            prepared = own_data(run, run.signature, replace(run.config, device="cpu"), "train")
    except (Refusal, Failure) as error:
        return str(error)
    prepared = replace(
        prepared, signature=replace(prepared.signature, thresholds=run.signature.thresholds, temperature=1.0)
    )
    split = "val" if len(prepared.split.val) else "train"
    return ExportSamples(prepared, split, getattr(prepared.split, split)[:MAX_METRIC_IMAGES])


def calibration_images(samples: ExportSamples) -> np.ndarray:
    """Training images for the ranges of int8, uint8 (n, S, S, C), spread over the split."""
    train = samples.prepared.split.train
    chosen = train[torch.linspace(0, len(train) - 1, min(len(train), CALIBRATION_IMAGES)).long()]
    return replace(samples, split="train", index=chosen).images(0, len(chosen))


def noise_images(run: LoadedRun, count: int) -> np.ndarray:
    """Random images uint8 (n, S, S, C), where the data of the run is not there."""
    signature = run.signature
    side = signature.canvas or signature.size or 1
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, side, side, signature.channels or 3), dtype=np.uint8)
