"""BOP data: scene_gt.json and scene_camera.json beside the images of each scene, and meshes with models_info.json.

Poses are checked: rotations, units, boxes against the projected meshes, declared symmetries against the mesh. BOP
counts pixel centres as integers and lengths in millimetres; danlu's coordinates are continuous and in metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from danlu.config import DataConfig
from danlu.data.annotations import MaskFile
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.survey import Survey, as_survey
from danlu.data.sources.poses.pose_reading import (
    PosedImage,
    PosedObject,
    PoseReading,
    box_of_corner_and_size,
    camera_from,
    read_json,
)
from danlu.data.sources.tables.targets import Task
from danlu.message import message
from danlu.pose.meshes import read_mesh
from danlu.pose.object_model import ObjectModel
from danlu.pose.symmetry import from_bop
from danlu.refuse import Refusal
from danlu.task_spec import TASKS

MODEL_FOLDERS = ("models_eval", "models", "models_fine", "models_reconst", "models_cad")  # in order of preference
IMAGE_FOLDERS = ("rgb", "gray", "")
MASKS = "mask_visib"  # of the visible pixels of each object
STEP = 2 * math.pi / 36  # of continuous symmetries; BOP's 0.01 is for evaluation servers
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}


def look(survey: Survey) -> Evidence | None:
    """Evidence: folders with scene_gt.json."""
    count = len(_scenes(survey))
    if not count:
        return None
    return Evidence(Fit.MARKED, message("data.seen.bop", "scene_gt.json of {count} {count:scene|scenes}", count=count))


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
    return reading.finish(TASKS[task or "pose"], "bop", reading.models)


def _scenes(survey: Survey) -> list[tuple[str, ...]]:
    return [folder for folder, files in survey.by_folder.items() if any(file.name == "scene_gt.json" for file in files)]


class _Reading(PoseReading):
    """Collects the images and objects of all scenes."""

    def scene(self, folder: Path, parts: tuple[str, ...]) -> None:
        """Read the images and objects of one scene folder."""
        if not self.has(folder / "scene_camera.json"):
            text = "{folder} has scene_gt.json but no scene_camera.json with the intrinsics cam_K of its images"
            raise Refusal(message("data.refuse.bop_no_camera", text, folder=folder))
        truth, cameras = (read_json(folder / name) for name in ("scene_gt.json", "scene_camera.json"))
        info = read_json(folder / "scene_gt_info.json") if self.has(folder / "scene_gt_info.json") else {}
        files = self._image_files(parts)
        split = next((s for part in parts for name, s in SPLITS.items() if part.startswith(name)), UNASSIGNED)
        for key, objects in truth.items():
            where = f"{'/'.join((*parts, 'scene_gt.json'))} image {key}"
            path = files.get(int(key)) if key.isdecimal() else None
            if path is None:
                self.problems.append(
                    Problem(where, message("data.problem.image_file_missing", "its image file is missing"))
                )
                continue
            try:
                camera = camera_from(cameras[key]["cam_K"])
            except (KeyError, TypeError, ValueError):
                self.problems.append(
                    Problem(
                        where,
                        message(
                            "data.problem.scene_camera_json_cam",
                            "scene_camera.json has no cam_K of nine numbers for it",
                        ),
                    )
                )
                continue
            image, details = PosedImage(path, where, split, camera), info.get(key) or []
            for number, entry in enumerate(objects if isinstance(objects, list) else []):
                self.entries += 1
                found = self._object(entry, f"{where} object {number}")
                if found is not None:
                    mask = folder / MASKS / f"{int(key):06d}_{number:06d}.png"
                    found.mask = MaskFile(mask, 255) if self.has(mask) else None
                    _add_details(found, details[number] if number < len(details) else None)
                    image.objects.append(found)
            self.images.append(image)

    def _image_files(self, parts: tuple[str, ...]) -> dict[int, Path]:
        """Images of a scene by their number."""
        for name in IMAGE_FOLDERS:
            listed = self.survey.by_folder.get((*parts, name), ())
            files = {
                int(file.stem): file.path for file in listed if file.suffix in IMAGE_SUFFIXES and file.stem.isdecimal()
            }
            if files:
                return files
        return {}

    def _object(self, entry: Any, where: str) -> PosedObject | None:
        """One object; None, and a problem, if it has no usable pose."""
        try:
            rotation = torch.tensor(entry["cam_R_m2c"], dtype=torch.float64).reshape(3, 3)
            translation = torch.tensor(entry["cam_t_m2c"], dtype=torch.float64).reshape(3)
            label = int(entry["obj_id"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            reason = message("data.problem.pose_keys", "no cam_R_m2c of nine numbers, cam_t_m2c of three and obj_id")
            self.problems.append(Problem(where, reason))
            return None
        return self.posed(label, rotation, translation, where)

    def models(self, numbers: Sequence[int]) -> list[ObjectModel]:
        """Meshes of the objects with their symmetries, in the unit of the files."""
        folder = model_folder(self.survey.root)
        if folder is None:
            raise Refusal(
                message(
                    "data.refuse.bop_no_models",
                    "{path} must have a folder models or models_eval with models_info.json and a mesh of each object, "
                    "in it or beside it, got none",
                    path=self.survey.path,
                )
            )
        table = read_json(folder / "models_info.json") if self.has(folder / "models_info.json") else {}
        meshes = {}
        for number in numbers:
            file = folder / f"obj_{number:06d}.ply"
            if not self.has(file):
                text = "{file} is missing: object {number} of scene_gt.json has no mesh"
                raise Refusal(message("data.refuse.bop_no_mesh", text, file=file, number=number))
            meshes[number] = read_mesh(file)
        models = []
        for number, mesh in meshes.items():
            entry = table.get(str(number)) or {}
            continuous = entry.get("symmetries_continuous") or []
            try:
                group = from_bop(entry.get("symmetries_discrete") or [], continuous, STEP, 1.0)
                diameter = float(entry.get("diameter") or mesh.diameter)
            except (ValueError, TypeError, KeyError, RuntimeError) as error:
                text = "{file}: object {number} has wrong symmetries or a wrong diameter: {error}"
                values = {"file": folder / "models_info.json", "number": number, "error": error}
                raise Refusal(message("data.refuse.bop_models_info", text, **values)) from None
            models.append(ObjectModel(f"obj_{number:06d}", mesh, diameter, group, bool(continuous)))
        return models


def _add_details(one: PosedObject, details: Any) -> None:
    """Boxes and the visible fraction, from an entry of scene_gt_info.json, if there is one."""
    if isinstance(details, dict):
        one.whole, one.visible = (box_of_corner_and_size(details.get(name)) for name in ("bbox_obj", "bbox_visib"))
        one.fraction = float(details["visib_fract"]) if "visib_fract" in details else None


def model_folder(root: Path, names: Sequence[str] = MODEL_FOLDERS) -> Path | None:
    """Folder of the meshes: below the data folder, or beside one of the folders above a scene. names: by preference."""
    for place in (root, *list(root.resolve().parents)[:3]):
        for name in names:
            if (place / name / "models_info.json").exists():
                return place / name
    return None
