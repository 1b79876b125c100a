"""Detection and segmentation of objects in images and videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from danlu.config import Config
from danlu.data.augmentation.augment import Normalise, view_flips
from danlu.data.canvas import FITS, Placement
from danlu.data.files.video_file import is_video
from danlu.data.images import Colour, decode, image_size, place_image
from danlu.detection.detector import Detector
from danlu.detection.pose_detector import PoseDetector
from danlu.detection.tta import detect_flipped, merge
from danlu.inference.bop_export import write_bop_results
from danlu.inference.coco_export import write_coco_results
from danlu.inference.input_images import InputImage, existing_path, output_folder, output_name, read_images
from danlu.inference.prediction import Detection, Prediction
from danlu.inference.trained_network import TrainedNetwork
from danlu.inference.video import Recording, all_frames
from danlu.message import translated
from danlu.objects import Detections
from danlu.pose.cameras import project_model
from danlu.pose.drawing import landmarks
from danlu.pose.rotations import to_quaternions
from danlu.progress.stages import stage
from danlu.report.images import draw_objects
from danlu.tasks.detect import run_lengths_to_json, to_image

CHUNK = 32  # images on the device at once
PlacedImage = tuple[np.ndarray, Placement]  # uint8 (C, S, S) on the canvas, and its position there


def detect(
    trained: TrainedNetwork, device: torch.device, inputs: Sequence[Any], config: Config, out: Path | None = None
) -> list[Prediction]:
    """Detect objects in every image and video frame of `inputs`, in order.

    config: `detect` gives score and IoU thresholds, `tta` and `augment` the flips. out: folder for the images and
    videos at their original size with the objects drawn on them, and for `detections.json` in COCO's results form.
    """
    detector = ImageDetector(trained, device, config)
    output = AnnotatedOutput(output_folder(out)) if out is not None else None
    predictions: list[Prediction] = []
    images = _placed_images(inputs, detector)
    with stage(translated("stage.detecting", "detecting objects in images")) as detecting:
        while chunk := list(islice(images, CHUNK)):
            found = iter(detector([one.content for one in chunk if one.content is not None]))
            for one in detecting.each(chunk):
                if one.content is None:
                    predictions.append(Prediction(one.name, error=one.error))
                    continue
                objects = detector.described(next(found), one.content[1])
                predictions.append(Prediction(one.name, objects=objects))
                if output is not None:
                    output.add(one, objects, detector.classes)
    if output is not None:
        output.close()
        write_coco_results(output.folder, predictions, detector.classes)
        if trained.signature.task_spec.poses:
            write_bop_results(output.folder, predictions, detector.classes)
    return predictions


class ImageDetector:
    """A trained detector, or an ensemble, with its pre- and postprocessing."""

    def __init__(self, trained: TrainedNetwork, device: torch.device, config: Config) -> None:
        signature, self.device, self.settings = trained.signature, device, config.detect
        self.members = [
            (cast(Detector, model), Normalise(size=own.size or 1, mean=own.mean, std=own.std))
            for own, model in trained.members_on(device)
        ]
        self.view_flips = view_flips(config.augment) if config.tta else [()]
        self.classes, self.fit, self.canvas = signature.classes, FITS[signature.fit], signature.canvas or 1
        self.colour: Colour = signature.colour
        self.window = signature.window

    def place(self, source: Any) -> PlacedImage:
        """Resize and pad an image (file, array or PIL image) to the canvas.

        ValueError or OSError when it cannot be read.
        """
        placement = self.fit(image_size(source), self.canvas)
        return place_image(source, placement, self.colour, self.window), placement

    @torch.no_grad()
    def __call__(self, images: Sequence[PlacedImage]) -> list[Detections]:
        """Detect objects; boxes in pixels of the original images, masks as run lengths, all on the CPU."""
        if not images:
            return []
        raw = torch.from_numpy(np.stack([image for image, _ in images])).to(self.device)
        score, iou_threshold, max_objects = self.settings.score, self.settings.overlap, self.settings.most
        assert iou_threshold is not None, "chosen before the training"
        first = self.members[0][0]
        if isinstance(first, PoseDetector):
            return self._poses(raw, [placement for _, placement in images])
        min_score = score / len(self.members)  # averaging over the members may raise a score
        each = [
            detect_flipped(
                model, normalise.scale(normalise.centre(raw)), self.view_flips, min_score, iou_threshold, max_objects
            )
            for model, normalise in self.members
        ]
        merged = each[0] if len(each) == 1 else [merge(one, iou_threshold, max_objects, score) for one in zip(*each)]
        return [to_image(one.to("cpu"), placement) for one, (_, placement) in zip(merged, images)]

    def _poses(self, raw: Tensor, placements: Sequence[Placement]) -> list[Detections]:
        """Detections with poses, of the first member of an ensemble: poses are not averaged."""
        model, normalise = self.members[0]
        assert isinstance(model, PoseDetector)
        assert self.settings.overlap is not None, "chosen before the training"
        cameras = torch.stack([self.camera(placement, model.camera.cpu()) for placement in placements]).to(raw.device)
        outputs = model(normalise.scale(normalise.centre(raw)))
        found = model.detect_poses(outputs, cameras, self.settings.score, self.settings.overlap, self.settings.most)
        return [to_image(one.to("cpu"), placement) for one, placement in zip(found, placements)]

    def camera(self, placement: Placement, typical: Tensor) -> Tensor:
        """Intrinsics of the canvas: the given ones of the image, or those of the training set."""
        if self.settings.camera is None:
            return typical
        fx, fy, cx, cy = self.settings.camera
        return placement.camera(torch.tensor([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1.0]]))

    def described(self, found: Detections, placement: Placement) -> list[Detection]:
        """Detections of one image as plain values, with their poses where the network estimates some."""
        objects = to_detections(found, self.classes)
        model = self.members[0][0]
        if not isinstance(model, PoseDetector) or found.poses is None:
            return objects
        camera = placement.inverse().camera(self.camera(placement, model.camera.cpu()))
        boxes = model.corners.cpu()[found.labels]
        return [replace(one, pose=_described(pose, box, camera)) for one, pose, box in zip(objects, found.poses, boxes)]


def _described(pose: Tensor, box: Tensor, camera: Tensor) -> dict[str, Any]:
    """[R | t] (3, 4) as plain values, and its landmarks in pixels. camera: of the image, in continuous pixels."""
    rotation, translation = pose[:, :3], pose[:, 3]
    pixels = project_model(landmarks((box[0], box[1])), rotation, translation, camera).clamp(-1e5, 1e5)
    values = (camera[0, 0], camera[1, 1], camera[0, 2] - 0.5, camera[1, 2] - 0.5)
    return {
        "rotation": [[round(v, 6) for v in row] for row in rotation.tolist()],
        "quaternion_wxyz": [round(v, 6) for v in to_quaternions(rotation).tolist()],
        "translation": [round(v, 6) for v in translation.tolist()],
        "camera": [round(float(v), 3) for v in values],
        "landmarks": [[round(v, 1) for v in point] for point in pixels.tolist()],
    }


class AnnotatedOutput:
    """Folder of images and videos with the detections drawn on them, named after their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()
        self._recording: tuple[Path, Recording] | None = None

    def add(self, one: InputImage[PlacedImage], objects: Sequence[Detection], classes: Sequence[str]) -> None:
        """Draw `objects` on an image and write it, or append it to the video that it is a frame of."""
        image = draw_objects(decode(one.source), objects, classes)
        if one.video is None:
            image.save(self.folder / output_name(one.name, self._taken))
            return
        if self._recording is None or self._recording[0] != one.video:
            self.close()
            file = self.folder / output_name(str(one.video), self._taken, ".mp4")
            self._recording = one.video, Recording(one.video, file)
        self._recording[1].add(image)

    def close(self) -> None:
        """Finish the video that is being written, if any."""
        if self._recording is not None:
            self._recording[1].close()
            self._recording = None


def _placed_images(inputs: Sequence[Any], detector: ImageDetector) -> Iterator[InputImage[PlacedImage]]:
    """All images and video frames, on the canvas."""
    numbers = count()
    for one in inputs:
        if isinstance(one, str | Path) and is_video(existing_path(one)):
            for i, frame in enumerate(all_frames(Path(one)), 1):
                yield InputImage(f"{one} frame {i}", frame, detector.place(frame), video=Path(one))
        else:
            yield from read_images([one], detector.place, numbers, among=len(inputs) > 1)


def to_detections(found: Detections, classes: Sequence[str]) -> list[Detection]:
    """Detections of one image as plain values.

    Boxes (x1, y1, x2, y2) in pixels with 2 decimals, scores with 6, masks as run lengths, label names from `classes`.
    """
    masks: Any = found.masks if found.masks is not None else [None] * len(found)
    return [
        Detection(
            label=classes[int(label)],
            score=round(score, 6),
            box=[round(value, 2) for value in box],
            mask=run_lengths_to_json(mask) if mask is not None else None,
        )
        for box, score, label, mask in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), masks)
    ]
