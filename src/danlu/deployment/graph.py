"""A run's network as one module from images in bytes to answers, with everything between inside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from danlu.config import Config
from danlu.data.augmentation.augment import Normalise, view_flips, views
from danlu.deployment.verification_images import ExportSamples
from danlu.detection.dense import Candidates, DenseDetector, suppressed
from danlu.inference.loaded_run import LoadedRun
from danlu.inference.predict_images import answers_of
from danlu.inference.trained_network import Member
from danlu.message import message
from danlu.refuse import Refusal
from danlu.run.signature import Signature
from danlu.tasks.detect import MIN_SCORE
from danlu.tasks.semantic import probabilities
from danlu.tasks.task import rows

MAX_SCORE_SHIFT = 1e-4  # between the same candidate in two files


class ImageGraph(nn.Module):
    """Images uint8 (N, S, S, C) on the canvas -> probabilities or target values, float32 (N, K).

    Crops the centre, normalises, runs every member of an ensemble on every view of test-time augmentation, and
    averages, as `danlu predict` does.
    """

    output_names = ("answers",)
    at_once = 32  # images of a comparison
    counts_images = True  # one image more or less right changes the metric by up to 1 / N

    def __init__(self, members: Sequence[Member], config: Config) -> None:
        super().__init__()
        self.networks = nn.ModuleList(model for _, model in members)
        self.signatures = [signature for signature, _ in members]
        self.normalise = [Normalise(size=own.size or 1, mean=own.mean, std=own.std) for own in self.signatures]
        self.augment = config.augment if config.tta else None

    @property
    def monitor(self) -> str:
        """Name of the metric that the file is verified by."""
        return self.signatures[0].task_spec.monitor

    def difference(self, one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
        """Largest difference of two outputs; of target values relative to their largest absolute value, if above 1."""
        scale = 1.0 if self.signatures[0].task_spec.has_classes else max(1.0, float(np.abs(one[0]).max()))
        return float(np.abs(one[0] - other[0]).max()) / scale

    def metric(self, samples: ExportSamples, chunks: Iterable[Sequence[np.ndarray]]) -> float:
        """The main metric. chunks: outputs of some samples each, of all samples in their order."""
        return samples.metric(torch.from_numpy(np.concatenate([one[0] for one in chunks])))

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities or target values (N, K) of uint8 images (N, S, S, C)."""
        raw = images.permute(0, 3, 1, 2)
        answers = []
        for signature, model, normalise in zip(self.signatures, self.networks, self.normalise):
            batch = normalise.scale(normalise.centre(raw))
            seen = [batch] if self.augment is None else views(batch, self.augment)
            answers += [answers_of(signature, rows(model(view)).float()) for view in seen]
        return torch.stack(answers).mean(0)


class ObjectGraph(nn.Module):
    """Images uint8 (N, S, S, C) on the canvas -> candidates: boxes (N, P, 4) in pixels of the canvas, scores, labels.

    Decoding is inside; non-maximum suppression is left to the caller, because its result has no fixed size.
    """

    output_names = ("boxes", "scores", "labels")
    monitor = "mAP"
    at_once = 32
    counts_images = True

    def __init__(self, signature: Signature, detector: DenseDetector, config: Config) -> None:
        super().__init__()
        self.detector = detector
        self.normalise = Normalise(size=signature.size or 1, mean=signature.mean, std=signature.std)
        self.nms_iou, self.max_detections = config.detect.overlap or 0.5, config.detect.most

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes (N, P, 4) in pixels, scores (N, P) and labels (N, P) of uint8 images (N, S, S, C)."""
        raw = images.permute(0, 3, 1, 2)
        candidates = self.detector.candidates(self.detector.outputs(self.normalise.scale(self.normalise.centre(raw))))
        return candidates.boxes, candidates.scores, candidates.labels

    def difference(self, one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
        """Largest difference of scores, and of boxes as a fraction of the canvas.

        Candidates above `MIN_SCORE` are compared with those of the other whose label is the same and whose score is the
        nearest, since two with almost the same score may change places.
        """
        largest = float(np.abs(np.sort(one[1]) - np.sort(other[1])).max())
        side = max(1.0, float(one[0].max()))
        for (boxes, scores, labels), (boxes2, scores2, labels2) in zip(zip(*one), zip(*other)):
            for i in np.flatnonzero(scores > MIN_SCORE):
                near = (labels2 == labels[i]) & (np.abs(scores2 - scores[i]) <= MAX_SCORE_SHIFT)
                apart = np.abs(boxes2[near] - boxes[i]).max(1) / side
                largest = max(largest, float(apart.min()) if len(apart) else 1.0)
        return largest

    def metric(self, samples: ExportSamples, chunks: Iterable[Sequence[np.ndarray]]) -> float:
        """mAP of the candidates of all samples after suppression."""
        found = []
        for outputs in chunks:
            candidates = Candidates(*map(torch.from_numpy, outputs))
            found += suppressed(candidates, MIN_SCORE, self.nms_iou, self.max_detections)
        return samples.object_metric(found)


class MapGraph(nn.Module):
    """Images uint8 (N, S, S, C) on the canvas -> probabilities of the classes at each of its pixels, (N, K, S, S).

    Runs every member of an ensemble on every flip of test-time augmentation, and averages, as `danlu predict` does. The
    map at the size of the original image is left to the caller.
    """

    output_names = ("probabilities",)
    monitor = "mIoU"
    at_once = 4  # the outputs are as large as the images, times the classes
    counts_images = False

    def __init__(self, members: Sequence[Member], config: Config) -> None:
        super().__init__()
        self.networks = nn.ModuleList(model for _, model in members)
        self.normalise = [Normalise(size=own.size or 1, mean=own.mean, std=own.std) for own, _ in members]
        self.flips = view_flips(config.augment) if config.tta else [()]

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities (N, K, S, S) of uint8 images (N, S, S, C)."""
        raw = images.permute(0, 3, 1, 2)
        each = [
            probabilities(model, normalise.scale(normalise.centre(raw)), self.flips)
            for model, normalise in zip(self.networks, self.normalise)
        ]
        return torch.stack(each).mean(0)

    def difference(self, one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
        """Largest difference of the probabilities."""
        return float(np.abs(one[0] - other[0]).max())

    def metric(self, samples: ExportSamples, chunks: Iterable[Sequence[np.ndarray]]) -> float:
        """mIoU of one confusion matrix over all samples, at the size of the original images."""
        return samples.map_metric(torch.from_numpy(outputs[0]) for outputs in chunks)


Graph = ImageGraph | ObjectGraph | MapGraph


def check_exportable(run: LoadedRun) -> None:
    """Refuse a run whose inputs or outputs no file can hold; its network is not needed."""
    signature = run.signature
    of_one_size = signature.frames is None and signature.tokens is None
    if signature.columns is not None or signature.channels is None or not of_one_size:
        kind = message("deployment.kind.tensors", "tensors of your own")
        if signature.columns is not None:
            kind = message("deployment.kind.rows", "table rows")
        if signature.frames is not None:
            kind = message("deployment.kind.clips", "clips")
        if signature.tokens is not None:
            kind = message("deployment.kind.sizes", "images of different sizes")
        raise Refusal(
            message(
                "deployment.refuse.run_network_images_exported",
                "RUN must be a network of images to be exported, got {name}, a network of {kind}",
                name=run.name,
                kind=kind,
            ),
            "RUN",
        )
    if signature.transform is not None:
        raise Refusal(
            message(
                "deployment.refuse.run_transform_your_own",
                "RUN {name} has a transform of your own, which a file cannot hold: use danlu.load",
                name=run.name,
            ),
            "RUN",
        )
    if signature.task_spec.poses:
        raise Refusal(
            message(
                "deployment.refuse.run_poses",
                "RUN {name} is a network of poses, which depend on the camera of each image, so that it cannot be "
                "exported: use danlu predict or danlu serve",
                name=run.name,
            ),
            "RUN",
        )


def graph_of(run: LoadedRun) -> Graph:
    """The graph of a run's network on the CPU, in eval mode. Refusal for networks that cannot be exported."""
    check_exportable(run)
    signature = run.signature
    if signature.task_spec.labels_pixels:
        return MapGraph(run.members, run.config).eval()
    if not signature.task_spec.finds_objects:
        return ImageGraph(run.members, run.config).eval()
    if len(run.members) > 1 or run.config.tta:
        kind = message("deployment.kind.tta", "a detector with test-time augmentation")
        if len(run.members) > 1:
            kind = message("deployment.kind.ensemble", "an ensemble of detectors")
        raise Refusal(
            message(
                "deployment.refuse.run_whose_boxes_merged",
                "RUN {name} is {kind}, whose boxes are merged outside the network: export one alone",
                name=run.name,
                kind=kind,
            ),
            "RUN",
        )
    detector = run.model
    if not isinstance(detector, DenseDetector):
        raise Refusal(
            message(
                "deployment.refuse.run_detector_whose_number",
                "RUN {name} has the detector {model}, whose number of regions depends on the image, so "
                "that it cannot be exported; yolo, ssd, retinanet, yolo-v1 and detr can",
                name=run.name,
                model=signature.model,
            ),
            "RUN",
        )
    return ObjectGraph(signature, detector, run.config).eval()
