"""BOP data: scene_gt.json and scene_camera.json beside the images of each scene, and meshes with models_info.json.

Poses are checked: rotations, units, boxes against the projected meshes, declared symmetries against the mesh. BOP
counts pixel centres as integers and lengths in millimetres; danlu's coordinates are continuous and in metres.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.annotations import Annotation, MaskFile
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.image_file import IMAGE_SUFFIXES, ImageInfo
from danlu.data.image_workers import check_images
from danlu.data.sources.labelled import image_files, relative, too_many_bad
from danlu.data.sources.targets import Task
from danlu.data.survey import Survey, as_survey
from danlu.message import message
from danlu.pose.cameras import project_model
from danlu.pose.meshes import read_mesh
from danlu.pose.object_model import ObjectModel
from danlu.pose.rigid import RigidPoses
from danlu.pose.rotations import nearest_rotations
from danlu.pose.symmetry import from_bop, residual
from danlu.refuse import Refusal, refusal
from danlu.task_spec import TASKS

MILLIMETRE = 0.001  # metres
MODEL_FOLDERS = ("models_eval", "models", "models_fine", "models_reconst", "models_cad")  # in order of preference
IMAGE_FOLDERS = ("rgb", "gray", "")
MASKS = "mask_visib"  # of the visible pixels of each object
MAX_ROTATION_ERROR = 0.05  # largest difference of an entry from the nearest rotation; LM-O's differ by 0.01
MAX_SYMMETRY_ERROR = 0.05  # mean distance of the mesh from itself after a symmetry, in diameters
MAX_BOX_DIFFERENCE = (4.0, 0.15)  # of a side of the projected mesh from the box: pixels, and fraction of the box
STEP = 2 * math.pi / 36  # of continuous symmetries; BOP's 0.01 is for evaluation servers
SURFACE_POINTS = 3000
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}
Entry = dict[str, Any]


def look(survey: Survey) -> Evidence | None:
    """Evidence: folders with scene_gt.json."""
    count = len(_scenes(survey))
    if not count:
        return None
    return Evidence(Fit.MARKED, message("data.seen.bop", "scene_gt.json of {count} scenes", count=count))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read scenes with poses. Raises Refusal for missing meshes and for poses that do not fit the images."""
    survey = as_survey(path)
    reading = _Reading(survey, config)
    scenes = _scenes(survey)
    if not scenes:
        text = "{path} has no scene_gt.json, which BOP data have beside the images of each scene"
        raise Refusal(message("data.refuse.bop_no_scene", text, path=survey.path))
    for folder in scenes:
        reading.scene(survey.root.joinpath(*folder), folder)
    return reading.finish(TASKS[task or "pose"])


def _scenes(survey: Survey) -> list[tuple[str, ...]]:
    return [folder for folder, files in survey.by_folder.items() if any(file.name == "scene_gt.json" for file in files)]


@dataclass
class _Image:
    """One image with its objects: entries of scene_gt.json, with their boxes and visible fractions."""

    path: Path
    where: str
    split: int
    camera: np.ndarray
    outlined: bool  # its scene has masks
    objects: list[Entry] = field(default_factory=list)


class _Reading:
    """Collects images and objects of all scenes, and checks them against the meshes."""

    def __init__(self, survey: Survey, config: DataConfig) -> None:
        self.survey, self.config = survey, config
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.images: list[_Image] = []
        self.hidden = self.entries = 0

    def scene(self, folder: Path, parts: tuple[str, ...]) -> None:
        """Read the images and objects of one scene folder."""
        if not (folder / "scene_camera.json").exists():
            text = "{folder} has scene_gt.json but no scene_camera.json with the intrinsics cam_K of its images"
            raise Refusal(message("data.refuse.bop_no_camera", text, folder=folder))
        truth, cameras = (_json(folder / name) for name in ("scene_gt.json", "scene_camera.json"))
        info = _json(folder / "scene_gt_info.json") if (folder / "scene_gt_info.json").exists() else {}
        files = _image_files(folder)
        split = next((s for part in parts for name, s in SPLITS.items() if part.startswith(name)), UNASSIGNED)
        for key, objects in truth.items():
            where = f"{'/'.join((*parts, 'scene_gt.json'))} image {key}"
            path = files.get(int(key)) if key.isdecimal() else None
            if path is None:
                self.problems.append(Problem(where, "its image file is missing"))
                continue
            try:
                camera = np.array(cameras[key]["cam_K"], np.float64).reshape(3, 3)
            except (KeyError, TypeError, ValueError):
                self.problems.append(Problem(where, "scene_camera.json has no cam_K of nine numbers for it"))
                continue
            camera[:2, 2] += 0.5  # the first pixel covers [0, 1] here, and is centred at 0 in BOP
            one = _Image(path, where, split, camera, (folder / MASKS).is_dir())
            for number, entry in enumerate(objects if isinstance(objects, list) else []):
                self.entries += 1
                found = self._object(entry, f"{where} object {number}")
                if found is not None:
                    extra = info.get(key) or []
                    found |= extra[number] if number < len(extra) and isinstance(extra[number], dict) else {}
                    masks = folder / MASKS / f"{int(key):06d}_{number:06d}.png"
                    one.objects.append(found | {"where": f"{where} object {number}", "mask": masks})
            self.images.append(one)

    def _object(self, entry: Any, where: str) -> Entry | None:
        """Numbers of one object; None, and a problem, if it has no usable pose."""
        try:
            rotation = torch.tensor(entry["cam_R_m2c"], dtype=torch.float64).reshape(3, 3)
            translation = torch.tensor(entry["cam_t_m2c"], dtype=torch.float64).reshape(3)
            label = int(entry["obj_id"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            reason = "no cam_R_m2c of nine numbers, cam_t_m2c of three and obj_id"
            self.problems.append(Problem(where, reason))
            return None
        fixed = nearest_rotations(rotation) if bool(rotation.isfinite().all()) else rotation
        if not float((fixed - rotation).abs().max()) <= MAX_ROTATION_ERROR:
            self.problems.append(Problem(where, "cam_R_m2c is no rotation matrix"))
            return None
        if not float(translation[2]) > 0:
            self.problems.append(Problem(where, "it is behind the camera"))
            return None
        return {"rotation": fixed, "translation": translation, "id": label}

    def finish(self, spec: Any) -> Dataset:
        """Create the checked Dataset."""
        path, root = self.survey.path, self.survey.root
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
                        path=path,
                        entries=len(self.problems),
                        first=first,
                    )
                )
        numbers = sorted({one["id"] for image, _ in pairs for one in image.objects})
        if not numbers:
            raise refusal(str(path), message("data.wanted.object_with_pose", "data with at least one pose"), 0)
        models, unit = self._models(numbers, pairs)
        targets = [self._annotation(image, info, numbers, models, unit) for image, info in pairs]
        self._compare([image for image, _ in pairs], numbers, models, unit)
        if self.hidden:
            self.notes.append(f"{self.hidden} objects of which nothing is visible are left out")
        splits = torch.tensor([image.split for image, _ in pairs], dtype=torch.int8)
        given = splits if bool((splits == TRAIN).any()) and len(splits.unique()) > 1 else None
        paths = [image.path for image, _ in pairs]
        return Dataset(
            path=str(path),
            format="bop",
            task=spec.name,
            inputs=image_files(paths, [info for _, info in pairs], self.config, self.notes),
            targets=[_for_task(one, spec) for one in targets],
            classes=tuple(model.name for model in models),
            given=given,
            name_of=lambda i: relative(paths[i], root),
            problems=self.problems,
            notes=self.notes,
            models=models if spec.poses else (),
        )

    def _models(self, numbers: Sequence[int], pairs: Sequence[Any]) -> tuple[tuple[ObjectModel, ...], float]:
        """Meshes of the objects with their symmetries, and metres per unit of the translations."""
        folder = _model_folder(self.survey.root)
        if folder is None:
            raise Refusal(
                message(
                    "data.refuse.bop_no_models",
                    "{path} must have a folder models or models_eval with models_info.json and a mesh of each object, "
                    "in it or beside it, got none",
                    path=self.survey.path,
                )
            )
        table = _json(folder / "models_info.json")
        meshes = {}
        for number in numbers:
            file = folder / f"obj_{number:06d}.ply"
            if not file.exists():
                text = "{file} is missing: object {number} of scene_gt.json has no mesh"
                raise Refusal(message("data.refuse.bop_no_mesh", text, file=file, number=number))
            meshes[number] = read_mesh(file)
        unit = self._unit(median(mesh.diameter for mesh in meshes.values()), pairs)
        models = []
        for number, mesh in meshes.items():
            entry = table.get(str(number)) or {}
            continuous = entry.get("symmetries_continuous") or []
            try:
                group = from_bop(entry.get("symmetries_discrete") or [], continuous, STEP, unit)
                diameter = float(entry.get("diameter") or mesh.diameter) * unit
            except (ValueError, TypeError, KeyError, RuntimeError) as error:
                text = "{file}: object {number} has wrong symmetries or a wrong diameter: {error}"
                values = {"file": folder / "models_info.json", "number": number, "error": error}
                raise Refusal(message("data.refuse.bop_models_info", text, **values)) from None
            model = ObjectModel(f"obj_{number:06d}", mesh.scaled(unit), diameter, group, bool(continuous))
            self._check_symmetry(model, folder)
            models.append(model)
        return tuple(models), unit

    def _check_symmetry(self, model: ObjectModel, folder: Path) -> None:
        """Compare the mesh with itself after each declared symmetry."""
        if not model.symmetric:
            return
        worst = float(residual(model.mesh.surface(SURFACE_POINTS), model.symmetries[1:]).max()) / model.extent
        if worst > MAX_SYMMETRY_ERROR:
            reason = (
                f"a declared symmetry moves its surface by {worst:.0%} of the diameter: it is no symmetry of the mesh"
            )
            self.problems.append(Problem(f"{folder.name}/models_info.json {model.name}", reason, "kept"))

    def _unit(self, diameter: float, pairs: Sequence[Any]) -> float:
        """Metres per unit, from the sizes of the meshes and the distances; Refusal where their units differ."""
        distance = median(float(one["translation"].norm()) for image, _ in pairs for one in image.objects)
        ratio = distance / max(diameter, 1e-12)
        if not 0.5 < ratio < 500:
            raise Refusal(
                message(
                    "data.refuse.bop_units",
                    "{path}: meshes and translations must have the same unit, millimetres in BOP, got a typical "
                    "diameter of {diameter:.4g} and a typical distance of {distance:.4g}",
                    path=self.survey.path,
                    diameter=diameter,
                    distance=distance,
                )
            )
        if distance > 20:
            return MILLIMETRE
        self.notes.append(f"meshes and translations are taken as metres: a typical distance is {distance:.3g}")
        return 1.0

    def _annotation(
        self, image: _Image, info: ImageInfo, numbers: Sequence[int], models: Sequence[ObjectModel], unit: float
    ) -> Annotation:
        """Objects of one image that are visible, with boxes of their visible pixels."""
        rows, boxes = [], []
        for one in image.objects:
            model = models[numbers.index(one["id"])]
            box = _given_box(one, "bbox_visib")
            if box is None:
                box = projected_bounds(model, one, unit, image.camera)
            low, high = np.maximum(box[:2], 0), np.minimum(box[2:], (info.width, info.height))
            if one.get("visib_fract", 1) == 0 or (high - low < 1).any():
                self.hidden += "visib_fract" in one
                if "visib_fract" not in one:
                    self.problems.append(Problem(one["where"], "its pose projects outside the image"))
                continue
            rows.append(one)
            boxes.append((*low, *high))
        outlined = image.outlined and all(one["mask"].exists() for one in rows)
        poses = RigidPoses(
            torch.stack([one["rotation"] for one in rows]).float() if rows else torch.zeros(0, 3, 3),
            torch.stack([one["translation"] for one in rows]).float() * unit if rows else torch.zeros(0, 3),
            torch.from_numpy(image.camera).float(),
            torch.tensor([float(one.get("visib_fract", 1)) for one in rows]),
        )
        return Annotation(
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            torch.tensor([numbers.index(one["id"]) for one in rows], dtype=torch.int64),
            torch.zeros(len(rows), dtype=torch.bool),
            (info.height, info.width),
            tuple(MaskFile(one["mask"], 255) for one in rows) if outlined else None,
            rigid=poses,
        )

    def _compare(
        self, images: Sequence[_Image], numbers: Sequence[int], models: Sequence[ObjectModel], unit: float
    ) -> None:
        """Compare the projected meshes with the boxes of whole objects. Raises Refusal where most disagree."""
        differences, wrong = [], []
        for image in images:
            for one in image.objects:
                box = _given_box(one, "bbox_obj")
                if box is None or not one.get("visib_fract", 1) > 0:
                    continue
                found = projected_bounds(models[numbers.index(one["id"])], one, unit, image.camera)
                difference = float(np.abs(found - box).max())
                differences.append(difference)
                if difference > MAX_BOX_DIFFERENCE[0] + MAX_BOX_DIFFERENCE[1] * float((box[2:] - box[:2]).max()):
                    wrong.append(Problem(one["where"], f"its pose projects {difference:.0f} px from its box", "kept"))
        if len(wrong) > max(1, 0.5 * len(differences)) and self.config.on_bad != "skip":
            raise Refusal(
                message(
                    "data.refuse.bop_boxes",
                    "{path}: {wrong} of {poses} poses do not project onto their boxes (median {off:.0f} px off); check "
                    "cam_K, the size of the images and the units",
                    path=self.survey.path,
                    wrong=len(wrong),
                    poses=len(differences),
                    off=median(differences),
                )
            )
        self.problems += wrong


def projected_bounds(model: ObjectModel, one: Entry, unit: float, camera: np.ndarray) -> np.ndarray:
    """Bounds x1, y1, x2, y2 of the projected points of a model, float64 (4,)."""
    points = torch.from_numpy(model.mesh.points)
    pixels = project_model(points, one["rotation"], one["translation"] * unit, torch.from_numpy(camera))
    return torch.cat((pixels.amin(0), pixels.amax(0))).numpy()


def _given_box(one: Entry, name: str) -> np.ndarray | None:
    """x1, y1, x2, y2 of a box of scene_gt_info.json, whose width is the last minus the first pixel number."""
    value = one.get(name)
    if not isinstance(value, list) or len(value) != 4 or min(value[2:]) < 0:
        return None
    x, y, width, height = (float(v) for v in value)
    return np.array([x, y, x + width + 1, y + height + 1])


def _for_task(one: Annotation, spec: Any) -> Annotation:
    if spec.poses:
        return one
    return Annotation(one.boxes, one.labels, one.ignore, one.size, one.shapes if spec.masks else None)


def _image_files(folder: Path) -> dict[int, Path]:
    """Images of a scene by their number."""
    for name in IMAGE_FOLDERS:
        place = folder / name
        if place.is_dir():
            files = {
                int(file.stem): file
                for file in sorted(place.iterdir())
                if file.suffix.lower() in IMAGE_SUFFIXES and file.stem.isdecimal()
            }
            if files:
                return files
    return {}


def _model_folder(root: Path) -> Path | None:
    """Folder of the meshes: below the data folder, or beside one of the folders above a scene."""
    for place in (root, *list(root.resolve().parents)[:3]):
        for name in MODEL_FOLDERS:
            if (place / name / "models_info.json").exists():
                return place / name
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = "{path} cannot be read as JSON: {error}"
        raise Refusal(message("data.refuse.bop_json", text, path=path, error=error)) from None
    if not isinstance(content, dict):
        wanted = message("data.wanted.bop_object", "an object with an entry per image or model")
        raise refusal(str(path), wanted, type(content).__name__)
    return content
