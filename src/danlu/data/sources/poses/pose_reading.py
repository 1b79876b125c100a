"""Common part of the readers of poses: images with objects are collected, checked and made a Dataset.

A reader parses its files into `PosedImage`s, whose camera counts continuous pixels, and passes its models to `finish`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.config import DataConfig
from danlu.data.annotations import Annotation, MaskFile
from danlu.data.dataset import TRAIN, Dataset, Problem
from danlu.data.files.image_file import ImageInfo
from danlu.data.files.links import FOLLOW, Fence, check_ordinary
from danlu.data.files.survey import Survey
from danlu.data.files.text_files import parse_json, read_bytes
from danlu.data.image_workers import check_images
from danlu.data.pose_audit import (
    MAX_EXAMPLES,
    MIN_DEVIATION,
    PoseAudit,
    PosedBox,
    check_symmetries,
    described,
    explain,
    kind_of_matrix,
)
from danlu.data.sources.labelled_images.labelled import image_files, relative, too_many_bad
from danlu.message import message
from danlu.pose.cameras import project_model
from danlu.pose.meshes import Mesh
from danlu.pose.object_model import ObjectModel
from danlu.pose.rigid import RigidPoses
from danlu.pose.rotations import nearest_rotations
from danlu.pose.shape_symmetry import shape_symmetry
from danlu.refuse import Refusal, refusal

MILLIMETRE = 0.001  # metres
MAX_ROTATION_ERROR = 0.05  # largest difference of an entry from the nearest rotation; LM-O's differ by 0.01
MAX_BOX_DIFFERENCE = (4.0, 0.15)  # of a side of the projected mesh from the box: pixels, and fraction of the box
MAX_METRES = 20.0  # larger typical distances are millimetres
MAX_SIZE = 5.0  # larger typical diameters are millimetres
MAX_SHAPE_MISFIT = 0.015  # diameters; of the mesh of an object that is known to be symmetric
POINTS = 500  # of a mesh, in the comparison of hypotheses
Models = Callable[[Sequence[int]], Sequence[ObjectModel]]  # numbers of objects -> models, in the unit of the file


@dataclass
class PosedObject:
    """One object of an image.

    number: of its model. rotation (3, 3), float64. translation (3,), in the unit of the file. where: for messages.
    mask: file of its visible pixels, if there is one. whole, visible: boxes x1, y1, x2, y2 of all and of the visible
    pixels, float64 (4,), or None. fraction: of its pixels that are visible, None if it is not known.
    """

    number: int
    rotation: Tensor
    translation: Tensor
    where: str
    mask: MaskFile | None = None
    whole: np.ndarray | None = None
    visible: np.ndarray | None = None
    fraction: float | None = None


@dataclass
class PosedImage:
    """One image with its objects. camera: intrinsics in continuous pixels, float64 (3, 3). split: as in a `Dataset`."""

    path: Path
    where: str
    split: int
    camera: np.ndarray
    objects: list[PosedObject] = field(default_factory=list)


class PoseReading:
    """Collects images and objects, and checks them against the models.

    entries: number of objects in the files, usable or not. own_units: the format has a unit for each kind of number.
    unit: of lengths in files of this format, for messages.
    """

    own_units = False
    unit = "millimetres"

    def __init__(self, survey: Survey, config: DataConfig) -> None:
        self.survey, self.config = survey, config
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.images: list[PosedImage] = []
        self.hidden = self.entries = 0
        self.audit = PoseAudit()

    def has(self, file: Path) -> bool:
        """Return whether a file that the format implies is there.

        Raises Refusal for a link out of the data, a pipe or a device, which the survey does not list.
        """
        if not file.exists():
            return False
        check_ordinary(file, str(file))
        home = self.survey.root if file.is_relative_to(self.survey.root) else file.parent
        if not self.survey.follow_links and not Fence.around(home).holds(file):
            wanted = message("data.wanted.file_inside", "a file in the data folder")
            raise refusal(
                str(file),
                wanted,
                message("data.got.link", "a link to {target}", target=os.path.realpath(file)),
                do=FOLLOW,
            )
        return True

    def posed(self, number: int, rotation: Tensor, translation: Tensor, where: str) -> PosedObject | None:
        """One object from a matrix (3, 3) and a position (3,), float64; None, and a problem, for an unusable pose."""
        fixed = nearest_rotations(rotation) if bool(rotation.isfinite().all()) else rotation
        if not float((fixed - rotation).abs().max()) <= MAX_ROTATION_ERROR:
            self.audit.wrong_matrix(kind_of_matrix(rotation), where)
            self.problems.append(
                Problem(where, message("data.problem.cam_rotation_matrix", "cam_R_m2c is no rotation matrix"))
            )
            return None
        if not float(translation[2]) > 0:
            self.problems.append(Problem(where, message("data.problem.behind_camera", "it is behind the camera")))
            return None
        return PosedObject(number, fixed, translation, where)

    def finish(self, spec: Any, format: str, models_of: Models) -> Dataset:
        """Create the checked Dataset. models_of: see `Models`, called with the numbers that occur."""
        path = self.survey.path
        pairs = self._usable_images()
        numbers = sorted({one.number for image, _ in pairs for one in image.objects})
        if not numbers:
            raise refusal(str(path), message("data.wanted.object_with_pose", "data with at least one pose"), 0)
        found = models_of(numbers)
        unit = self._units(median(model.extent for model in found), pairs)
        models = {n: scaled(model, self.audit.mesh_unit) for n, model in zip(numbers, found)}
        self.audit.poses = self.entries
        self._check_models(tuple(models.values()))
        order = {n: k for k, n in enumerate(numbers)}
        targets = [self._annotation(image, info, order, models, unit) for image, info in pairs]
        self._compare([image for image, _ in pairs], models, unit)
        if self.hidden:
            self.notes.append(
                message(
                    "data.note.objects_nothing_visible_left",
                    "{hidden} objects of which nothing is visible are left out",
                    hidden=self.hidden,
                )
            )
        splits = torch.tensor([image.split for image, _ in pairs], dtype=torch.int8)
        given = splits if bool((splits == TRAIN).any()) and len(splits.unique()) > 1 else None
        paths = [image.path for image, _ in pairs]
        return Dataset(
            path=str(path),
            format=format,
            task=spec.name,
            inputs=image_files(paths, [info for _, info in pairs], self.config, self.notes),
            targets=[_for_task(one, spec) for one in targets],
            classes=tuple(model.name for model in models.values()),
            given=given,
            name_of=lambda i: relative(paths[i], self.survey.root),
            problems=self.problems,
            notes=self.notes,
            models=tuple(models.values()) if spec.poses else (),
            audit=self.audit if spec.poses else None,
        )

    def _usable_images(self) -> list[tuple[PosedImage, ImageInfo]]:
        """Images that can be decoded. Raises Refusal if none can, or too many entries are bad."""
        root = self.survey.root
        infos = check_images([one.path for one in self.images])
        self.problems += [
            Problem(relative(one.path, root), info) for one, info in zip(self.images, infos) if isinstance(info, str)
        ]
        pairs = [(one, info) for one, info in zip(self.images, infos) if isinstance(info, ImageInfo)]
        if not pairs or too_many_bad(len(self.problems), self.entries + len(self.images)):
            first = "; ".join(f"{p.where}: {p.reason}" for p in self.problems[:2]) or "no image has an entry"
            if not pairs or self.config.on_bad != "skip":
                raise Refusal(
                    message(
                        "data.refuse.bop_entries_cannot_used",
                        "{path}: {entries} entries cannot be used ({first}); fix or remove them, or use --on-bad skip",
                        path=self.survey.path,
                        entries=len(self.problems),
                        first=first,
                    )
                )
        return pairs

    def shaped(self, name: str, mesh: Mesh, symmetric: bool) -> ObjectModel:
        """A model of a format without declared symmetries: those of the shape, if it is known to be symmetric."""
        if not symmetric:
            return ObjectModel(name, mesh)
        found = shape_symmetry(mesh, MAX_SHAPE_MISFIT)
        self.notes.append(
            message(
                "data.note.symmetries_of_mesh",
                "symmetries of {name} are those of its mesh: {found}",
                name=name,
                found=described(found) or "none found",
            )
        )
        return ObjectModel(name, mesh, symmetries=found.group, continuous=found.continuous)

    def units(self, diameter: float, distance: float) -> tuple[float, float] | None:
        """Metres per unit of meshes and of translations, from a typical diameter and a typical distance; None: unknown.

        Objects are millimetres to a metre large, and at most tens of metres away, so that either unit shows.
        """
        if 0.5 < distance / max(diameter, 1e-12) < 500:
            return (MILLIMETRE, MILLIMETRE) if distance > MAX_METRES else (1.0, 1.0)
        mesh, far = (MILLIMETRE if v > limit else 1.0 for v, limit in ((diameter, MAX_SIZE), (distance, MAX_METRES)))
        return (mesh, far) if mesh != far else None

    def _units(self, diameter: float, pairs: Sequence[tuple[PosedImage, ImageInfo]]) -> float:
        """Metres per unit of the translations; Refusal if the meshes' differs, unless bad entries are skipped."""
        distance = median(float(one.translation.norm()) for image, _ in pairs for one in image.objects)
        found = self.units(diameter, distance)
        if found is None or (found[0] != found[1] and not self.own_units and self.config.on_bad != "skip"):
            raise Refusal(
                message(
                    "data.refuse.bop_units",
                    "{path}: meshes and translations must have the same unit, {unit} in this format, got a typical "
                    "diameter of {diameter:.4g} and a typical distance of {distance:.4g}",
                    path=self.survey.path,
                    unit=self.unit,
                    diameter=diameter,
                    distance=distance,
                )
            )
        self.audit.mesh_unit, self.audit.translation_unit = found
        self.audit.units_differ = found[0] != found[1] and not self.own_units
        if found == (1.0, 1.0) and not self.own_units:
            self.notes.append(
                message(
                    "data.note.meshes_translations_taken_metres",
                    "meshes and translations are taken as metres: a typical distance is {distance:.3g}",
                    distance=distance,
                )
            )
        return found[1]

    def _check_models(self, models: Sequence[ObjectModel]) -> None:
        """Compare each mesh with itself after each declared symmetry, and after turns that are not declared."""
        for model in models:
            known = len(self.audit.undeclared)
            reason = check_symmetries(model, self.audit)
            if reason:
                self.problems.append(Problem(model.name, reason, "kept"))
            for name, turns in self.audit.undeclared[known:]:
                self.notes.append(
                    message(
                        "data.note.shape_same_after_turns",
                        "the shape of {name} is the same after turns ({turns}), and no symmetry is declared",
                        name=name,
                        turns=turns,
                    )
                )

    def _annotation(
        self, image: PosedImage, info: ImageInfo, order: dict[int, int], models: dict[int, ObjectModel], unit: float
    ) -> Annotation:
        """Objects of one image that are visible, with boxes of their visible pixels."""
        rows, boxes = [], []
        for one in image.objects:
            box = one.visible if one.visible is not None else one.whole
            if box is None:
                box = projected_bounds(models[one.number], one, unit, image.camera)
            low, high = np.maximum(box[:2], 0), np.minimum(box[2:], (info.width, info.height))
            if one.fraction == 0 or (high - low < 1).any():
                self.hidden += one.fraction is not None
                if one.fraction is None:
                    self.problems.append(
                        Problem(
                            one.where,
                            message("data.problem.pose_projects_outside_image", "its pose projects outside the image"),
                        )
                    )
                continue
            rows.append(one)
            boxes.append((*low, *high))
        poses = RigidPoses(
            torch.stack([one.rotation for one in rows]).float() if rows else torch.zeros(0, 3, 3),
            torch.stack([one.translation for one in rows]).float() * unit if rows else torch.zeros(0, 3),
            torch.from_numpy(image.camera).float(),
            torch.tensor([1.0 if one.fraction is None else one.fraction for one in rows]),
        )
        masks = [one.mask for one in rows if one.mask is not None]
        return Annotation(
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            torch.tensor([order[one.number] for one in rows], dtype=torch.int64),
            torch.zeros(len(rows), dtype=torch.bool),
            (info.height, info.width),
            tuple(masks) if len(masks) == len(rows) else None,
            rigid=poses,
        )

    def _compare(self, images: Sequence[PosedImage], models: dict[int, ObjectModel], unit: float) -> None:
        """Compare the projected meshes with the boxes of whole objects. Raises Refusal where most disagree."""
        differences, places, boxes = [], [], []
        for one, camera in ((one, image.camera) for image in images for one in image.objects):
            if one.whole is None or one.fraction == 0:
                continue
            model = models[one.number]
            differences.append(float(np.abs(projected_bounds(model, one, unit, camera) - one.whole).max()))
            places.append(one.where)
            points = torch.from_numpy(model.mesh.points[:: -(-len(model.mesh.points) // POINTS)])
            boxes.append(PosedBox(points, one.rotation, one.translation * unit, camera, one.whole))
        self.audit.explanation = explained = explain(boxes) if boxes else None
        pixels, fraction = (0.0, MIN_DEVIATION) if explained else MAX_BOX_DIFFERENCE
        wrong = [
            Problem(
                where,
                message("data.problem.pose_projects_px_box", "its pose projects {off:.0f} px from its box", off=off),
                "kept",
            )
            for where, off, box in zip(places, differences, boxes)
            if off > pixels + fraction * box.side
        ]
        self.audit.compared, self.audit.apart = len(differences), len(wrong)
        self.audit.examples += [problem.where for problem in wrong[:MAX_EXAMPLES]]
        many = len(wrong) > max(1, 0.5 * len(differences)) or explained is not None
        if many and self.config.on_bad != "skip":
            raise Refusal(
                message(
                    "data.refuse.bop_boxes",
                    "{path}: {wrong} of {poses} poses do not project onto their boxes (median {off:.0f} px off); "
                    "{reason}",
                    path=self.survey.path,
                    wrong=len(wrong),
                    poses=len(differences),
                    off=median(differences),
                    reason=self.audit.advice(),
                )
            )
        self.problems += wrong


def scaled(model: ObjectModel, unit: float) -> ObjectModel:
    """Return the model in metres. unit: metres per unit of its coordinates."""
    group = model.symmetries.clone()
    group[:, :3, 3] *= unit
    return ObjectModel(model.name, model.mesh.scaled(unit), model.extent * unit, group, model.continuous)


def projected_bounds(model: ObjectModel, one: PosedObject, unit: float, camera: np.ndarray) -> np.ndarray:
    """Bounds x1, y1, x2, y2 of the projected points of a model in metres, float64 (4,)."""
    points = torch.from_numpy(model.mesh.points)
    pixels = project_model(points, one.rotation, one.translation * unit, torch.from_numpy(camera))
    return torch.cat((pixels.amin(0), pixels.amax(0))).numpy()


def box_of_corner_and_size(value: Any) -> np.ndarray | None:
    """x1, y1, x2, y2 of a box [x, y, width, height] of BOP, whose width is the last minus the first pixel number."""
    if not isinstance(value, list) or len(value) != 4 or min(value[2:]) < 0:
        return None
    x, y, width, height = (float(v) for v in value)
    return np.array([x, y, x + width + 1, y + height + 1])


def camera_from(numbers: Any) -> np.ndarray:
    """Intrinsics in continuous pixels from nine numbers that count pixel centres as integers, float64 (3, 3).

    Raises TypeError or ValueError for anything else.
    """
    camera = np.array(numbers, np.float64).reshape(3, 3)
    camera[:2, 2] += 0.5  # the first pixel covers [0, 1] here
    return camera


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises Refusal for anything else."""
    try:
        content = parse_json(read_bytes(path))
    except (OSError, ValueError) as error:
        text = "{path} cannot be read as JSON: {error}"
        raise Refusal(message("data.refuse.bop_json", text, path=path, error=error)) from None
    if not isinstance(content, dict):
        wanted = message("data.wanted.bop_object", "an object with an entry per image or model")
        raise refusal(str(path), wanted, type(content).__name__)
    return content


def _for_task(one: Annotation, spec: Any) -> Annotation:
    if spec.poses:
        return one
    return Annotation(one.boxes, one.labels, one.ignore, one.size, one.shapes if spec.masks else None)
