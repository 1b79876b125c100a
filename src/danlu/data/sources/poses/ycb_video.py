"""YCB-Video: per image NAME-meta.mat with poses and intrinsics, NAME-color.png, NAME-label.png and NAME-box.txt.

Models are folders models/CLASS with points.xyz or textured.obj, all lengths metres. Objects of the label image and of
cls_indexes are numbered from 1 in the order of image_sets/classes.txt, which is that of the names (Xiang et al. 2018).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.annotations import MaskFile
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_bytes
from danlu.data.sources.poses.pose_reading import PosedImage, PoseReading, camera_from
from danlu.data.sources.tables.targets import Task
from danlu.message import message
from danlu.pose.meshes import Mesh, read_mesh
from danlu.pose.object_model import ObjectModel
from danlu.refuse import Refusal
from danlu.task_spec import TASKS

META = "-meta.mat"
COLOURS = ("-color.png", "-color.jpg")
POINT_FILES = ("points.xyz", "textured.obj", "textured_simple.obj", "mesh.ply")  # of a model, in order of preference
LISTS = {"train.txt": TRAIN, "keyframe.txt": TEST}  # of image_sets: lines like 0048/000001
# Objects without a unique pose: those of PoseCNN's release and of DenseFusion's evaluation.
SYMMETRIC = frozenset({"024_bowl", "036_wood_block", "051_large_clamp", "052_extra_large_clamp", "061_foam_brick"})


def look(survey: Survey) -> Evidence | None:
    """Evidence: files NAME-meta.mat."""
    count = len(_metas(survey))
    if not count:
        return None
    return Evidence(
        Fit.MARKED, message("data.seen.ycb_video", "{count} {count:file|files} -meta.mat beside images", count=count)
    )


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read images with poses. Raises Refusal for missing models and for poses that do not fit the images."""
    survey = as_survey(path)
    metas = _metas(survey)
    if not metas:
        text = "{path} has no file NAME-meta.mat, which YCB-Video has beside each image"
        raise Refusal(message("data.refuse.ycb_no_meta", text, path=survey.path))
    reading = _Reading(survey, config)
    for meta in metas:
        reading.image(meta)
    if reading.unlisted:
        reading.notes.append(
            message(
                "data.note.images_list_image_sets",
                "{unlisted} images in no list of image_sets are left out",
                unlisted=reading.unlisted,
            )
        )
    return reading.finish(TASKS[task or "pose"], "ycb video", reading.models)


def _metas(survey: Survey) -> list[File]:
    return [file for file in survey.by_suffix.get(".mat", []) if file.name.endswith(META)]


class _Reading(PoseReading):
    """Collects the images of all videos."""

    own_units = True
    unit = "metres"

    def __init__(self, survey: Survey, config: DataConfig) -> None:
        super().__init__(survey, config)
        self.folder = _model_folder(survey.root)
        self.names = self._names()
        self.splits = self._listed()
        self.unlisted = 0

    def units(self, diameter: float, distance: float) -> tuple[float, float] | None:
        """Metres; None for implausible distances."""
        return (1.0, 1.0) if 0.5 < distance / max(diameter, 1e-12) < 500 and distance < 20 else None

    def image(self, meta: File) -> None:
        """Read one image and its objects."""
        prefix = meta.name.removesuffix(META)
        key = "/".join((*meta.folder[-1:], prefix))
        split = self.splits.get(key, UNASSIGNED)
        if self.splits and split == UNASSIGNED:
            self.unlisted += 1
            return
        near = {file.name: file.path for file in self.survey.by_folder[meta.folder]}
        path = next((near[prefix + end] for end in COLOURS if prefix + end in near), None)
        if path is None:
            self.problems.append(
                Problem(
                    meta.relative,
                    message(
                        "data.problem.image_missing",
                        "its image {prefix}{suffix} is missing",
                        prefix=prefix,
                        suffix=COLOURS[0],
                    ),
                )
            )
            return
        try:
            camera, poses, numbers = _numbers_of(meta.path)
        except (ValueError, TypeError, KeyError) as error:
            reason = message(
                "data.problem.no_intrinsic_matrix",
                "no intrinsic_matrix, poses and cls_indexes of the same objects ({error})",
                error=type(error).__name__,
            )
            self.problems.append(Problem(meta.relative, reason))
            return
        image = PosedImage(path, meta.relative, split, camera)
        boxes, label = _boxes(near.get(f"{prefix}-box.txt")), near.get(f"{prefix}-label.png")
        for k, number in enumerate(numbers):
            self.entries += 1
            where = f"{meta.relative} object {k}"
            if not 0 < number <= len(self.names):
                self.problems.append(
                    Problem(
                        where,
                        message(
                            "data.problem.class_unknown",
                            "its class {number} is none of {count}",
                            number=number,
                            count=len(self.names),
                        ),
                    )
                )
                continue
            found = self.posed(number, poses[k, :, :3], poses[k, :, 3], where)
            if found is not None:
                found.mask = MaskFile(label, number) if label is not None else None
                found.whole = boxes.get(self.names[number - 1])
                image.objects.append(found)
        self.images.append(image)

    def models(self, numbers: Sequence[int]) -> list[ObjectModel]:
        """Models of the objects; those known to be symmetric have the symmetries of their shape."""
        found = []
        for name in (self.names[number - 1] for number in numbers):
            files = [self.folder / name / file for file in POINT_FILES]
            file = next((one for one in files if self.has(one)), None)
            if file is None:
                text = "{folder} must have the model of {name}: points.xyz or textured.obj"
                raise Refusal(message("data.refuse.ycb_no_model", text, folder=self.folder / name, name=name))
            mesh = _points(file) if file.suffix == ".xyz" else read_mesh(file)
            found.append(self.shaped(name, mesh, name in SYMMETRIC))
        return found

    def _names(self) -> list[str]:
        """Names of the classes in the order of their numbers."""
        lists = [file for file in self.survey.files if file.parts[-2:] == ("image_sets", "classes.txt")]
        if lists:
            lines = read_bytes(lists[0].path).decode("utf-8", "replace").split()
            return [line for line in lines if line != "__background__"]
        return sorted(one.name for one in self.folder.iterdir() if one.is_dir() and not one.name.startswith("."))

    def _listed(self) -> dict[str, int]:
        """Split of images by VIDEO/NAME, from the lists of image_sets; empty without a list of training images."""
        found: dict[str, int] = {}
        names = set()
        for file in self.survey.files:
            if file.folder[-1:] == ("image_sets",) and file.name in LISTS:
                names.add(file.name)
                found |= dict.fromkeys(read_bytes(file.path).decode("utf-8", "replace").split(), LISTS[file.name])
        return found if "train.txt" in names else {}


def _numbers_of(path: Path) -> tuple[np.ndarray, torch.Tensor, list[int]]:
    """Intrinsics (3, 3) in continuous pixels, poses (N, 3, 4) and classes of a meta file."""
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(io.BytesIO(read_bytes(path)))
    except Exception as error:  # scipy's reader raises errors of many kinds on damaged files
        raise ValueError(str(error)) from None
    numbers = [int(v) for v in np.asarray(content["cls_indexes"]).ravel()]
    poses = np.asarray(content["poses"], np.float64).reshape(3, 4, -1)
    if poses.shape[2] != len(numbers):
        raise ValueError("numbers of poses and classes differ")
    return camera_from(content["intrinsic_matrix"]), torch.from_numpy(poses.transpose(2, 0, 1).copy()), numbers


def _boxes(path: Path | None) -> dict[str, np.ndarray]:
    """Boxes x1, y1, x2, y2 of NAME-box.txt by class; lines of another form are left out."""
    found = {}
    lines = read_bytes(path).decode("utf-8", "replace").splitlines() if path is not None else []
    for name, *numbers in (line.split() for line in lines if len(line.split()) == 5):
        try:
            found[name] = np.array([float(v) for v in numbers])
        except ValueError:
            continue
    return {name: box for name, box in found.items() if np.isfinite(box).all()}


def _points(path: Path) -> Mesh:
    """Points of a .xyz file, x, y and z on a line. Raises Refusal for another content."""
    try:
        points = np.loadtxt(io.BytesIO(read_bytes(path)), dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise Refusal(message("data.refuse.xyz", "{path} cannot be read: {error}", path=path, error=error)) from None
    if points.shape[1:] != (3,) or len(points) < 4 or not np.isfinite(points).all():
        text = "{path} must have at least four lines of x, y and z"
        raise Refusal(message("data.refuse.xyz_lines", text, path=path))
    return Mesh(points, np.zeros((0, 3), np.int64))


def _model_folder(root: Path) -> Path:
    """The folder models, in the data folder or beside one of the folders above."""
    for place in (root, *list(root.resolve().parents)[:3]):
        if (place / "models").is_dir():
            return place / "models"
    text = "{path} must have a folder models with a folder of each class (points.xyz), in it or beside it, got none"
    raise Refusal(message("data.refuse.ycb_no_models", text, path=root))
