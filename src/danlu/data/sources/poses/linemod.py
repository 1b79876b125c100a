"""LINEMOD in two layouts: gt.yml and info.yml of the preprocessed release, and the original rotN.rot and traN.tra.

Preprocessed: data/01/rgb/0000.png, data/01/gt.yml, data/01/info.yml, models/obj_01.ply, millimetres.
Original (Hinterstoisser et al. 2012): ape/data/color0.jpg, rot0.rot, tra0.tra in centimetres, ape/mesh.ply, and the
diameter in centimetres in ape/distance.txt; the camera is the same for all images.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from danlu.config import DataConfig
from danlu.config.yaml_text import parse_yaml
from danlu.data.annotations import MaskFile
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_bytes, read_lines, read_text
from danlu.data.sources.poses.pose_reading import (
    MILLIMETRE,
    PosedImage,
    PoseReading,
    box_of_corner_and_size,
    camera_from,
)
from danlu.data.sources.tables.targets import Task
from danlu.message import message
from danlu.pose.meshes import Mesh, read_mesh
from danlu.pose.object_model import ObjectModel
from danlu.refuse import Refusal
from danlu.task_spec import TASKS

CENTIMETRE = 0.01  # metres
CAMERA = (572.4114, 0, 325.2611, 0, 573.57043, 242.04899, 0, 0, 1)  # of all images, as in info.yml
SYMMETRIC_NUMBERS = (10, 11)
SYMMETRIC = ("eggbox", "glue")
ROTATION = re.compile(r"rot(\d+)\.rot")
IMAGES = ("png", "jpg")
MAX_YAML_BYTES = 64 << 20  # 1,200 images of 15 objects take 2 MB
MAX_YAML_VALUES = 20_000_000


def look(survey: Survey) -> Evidence | None:
    """Evidence: gt.yml beside info.yml, or files rotN.rot beside traN.tra."""
    scenes, originals = _scenes(survey), _originals(survey)
    if scenes:
        seen = message("data.seen.linemod", "gt.yml and info.yml of {count} {count:folder|folders}", count=len(scenes))
    elif originals:
        seen = message(
            "data.seen.linemod_original",
            "rot0.rot and tra0.tra of {count} {count:folder|folders}",
            count=len(originals),
        )
    else:
        return None
    return Evidence(Fit.MARKED, seen)


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read either layout. Raises Refusal for missing meshes and for poses that do not fit the images."""
    survey = as_survey(path)
    scenes, originals = _scenes(survey), _originals(survey)
    if scenes:
        reading: _Preprocessed | _Original = _Preprocessed(survey, config)
    elif originals:
        reading = _Original(survey, config)
    else:
        text = "{path} has neither gt.yml beside info.yml nor rot0.rot beside tra0.tra, as LINEMOD has"
        raise Refusal(message("data.refuse.linemod_none", text, path=survey.path))
    for folder in scenes or originals:
        reading.folder(folder)
    return reading.finish(TASKS[task or "pose"], "linemod", reading.models)


def _scenes(survey: Survey) -> list[tuple[str, ...]]:
    names = {folder: {file.name for file in files} for folder, files in survey.by_folder.items()}
    return [folder for folder, found in names.items() if {"gt.yml", "info.yml"} <= found]


def _originals(survey: Survey) -> list[tuple[str, ...]]:
    names = {folder: {file.name for file in files} for folder, files in survey.by_folder.items()}
    return [
        folder
        for folder, found in names.items()
        if any(ROTATION.fullmatch(name) for name in found) and any(name.endswith(".tra") for name in found)
    ]


class _Preprocessed(PoseReading):
    """Folders with gt.yml and info.yml."""

    def folder(self, parts: tuple[str, ...]) -> None:
        """Read the images and objects of one folder."""
        place = self.survey.root.joinpath(*parts)
        truth, infos = (_yaml(place / name) for name in ("gt.yml", "info.yml"))
        splits = self._splits(place)
        for key, objects in truth.items():
            where = f"{'/'.join((*parts, 'gt.yml'))} image {key}"
            path = self._image(place, key)
            if path is None:
                self.problems.append(
                    Problem(where, message("data.problem.image_file_missing", "its image file is missing"))
                )
                continue
            try:
                camera = camera_from(infos[key]["cam_K"])
            except (KeyError, TypeError, ValueError):
                self.problems.append(
                    Problem(
                        where, message("data.problem.info_yml_cam_nine", "info.yml has no cam_K of nine numbers for it")
                    )
                )
                continue
            image = PosedImage(path, where, splits.get(int(key), UNASSIGNED), camera)
            for k, entry in enumerate(objects if isinstance(objects, list) else []):
                self._object(image, entry, f"{where} object {k}", place / "mask" / path.name)
            self.images.append(image)

    def _splits(self, folder: Path) -> dict[int, int]:
        """Split of images by number, from train.txt and test.txt of a folder; images in neither are not listed."""
        found: dict[int, int] = {}
        for name, split in (("train.txt", TRAIN), ("test.txt", TEST)):
            if self.has(file := folder / name):
                words = read_bytes(file).decode("utf-8", "replace").split()
                found |= {int(Path(word).stem): split for word in words if Path(word).stem.isdecimal()}
        return found

    def _image(self, folder: Path, key: Any) -> Path | None:
        """Image of a number: rgb/0000.png."""
        names = [f"rgb/{int(key):04d}.{end}" for end in IMAGES] if str(key).isdecimal() else []
        return next((file for name in names if self.has(file := folder / name)), None)

    def _object(self, image: PosedImage, entry: Any, where: str, mask: Path) -> None:
        """Add one object of gt.yml. The mask is that of the object that the folder is about."""
        self.entries += 1
        try:
            rotation = torch.tensor(entry["cam_R_m2c"], dtype=torch.float64).reshape(3, 3)
            translation = torch.tensor(entry["cam_t_m2c"], dtype=torch.float64).reshape(3)
            number = int(entry["obj_id"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            reason = message("data.problem.pose_keys", "no cam_R_m2c of nine numbers, cam_t_m2c of three and obj_id")
            self.problems.append(Problem(where, reason))
            return
        found = self.posed(number, rotation, translation, where)
        if found is not None:
            found.whole = box_of_corner_and_size(entry.get("obj_bb"))
            own = mask.parent.parent.name.isdecimal() and int(mask.parent.parent.name) == number
            found.mask = MaskFile(mask, 255) if own and self.has(mask) else None
            image.objects.append(found)

    def models(self, numbers: Sequence[int]) -> list[ObjectModel]:
        """Meshes of the objects, with the symmetries of the shape for eggbox and glue."""
        places = [one / "models" for one in (self.survey.root, *list(self.survey.root.resolve().parents)[:3])]
        found = []
        for number in numbers:
            files = [place / f"obj_{number:0{digits}d}.ply" for place in places for digits in (2, 6)]
            file = next((one for one in files if self.has(one)), None)
            if file is None:
                text = "{path} must have models/obj_{number:02d}.ply, the mesh of object {number}, in it or beside it"
                values = {"path": self.survey.path, "number": number}
                raise Refusal(message("data.refuse.linemod_no_mesh", text, **values))
            found.append(self.shaped(file.stem, read_mesh(file), number in SYMMETRIC_NUMBERS))
        return found


class _Original(PoseReading):
    """Folders OBJECT/data with a rotation and a translation per image, in files of their own."""

    own_units = True
    unit = "millimetres, and centimetres for translations"

    def __init__(self, survey: Survey, config: DataConfig) -> None:
        super().__init__(survey, config)
        self.objects: list[Path] = []  # their folders, in the order of their numbers
        self.notes.append(
            message(
                "data.note.intrinsics_linemod_camera_fx",
                "intrinsics are those of the LINEMOD camera: fx 572.4, fy 573.6, cx 325.3, cy 242.0",
            )
        )

    def folder(self, parts: tuple[str, ...]) -> None:
        """Read the images of one object."""
        files = {file.name: file for file in self.survey.by_folder[parts]}
        self.objects.append((self.survey.root.joinpath(*parts)).resolve().parent)
        number = len(self.objects)
        for name, file in sorted(files.items()):
            match = ROTATION.fullmatch(name)
            if match is None:
                continue
            self.entries += 1
            path = next((files[n].path for end in IMAGES if (n := f"color{match[1]}.{end}") in files), None)
            shift = files.get(f"tra{match[1]}.tra")
            if path is None or shift is None:
                missing = f"color{match[1]}.jpg" if path is None else f"tra{match[1]}.tra"
                self.problems.append(
                    Problem(
                        file.relative,
                        message("data.problem.missing_beside", "{missing} is missing beside it", missing=missing),
                    )
                )
                continue
            try:
                rotation, translation = _matrix(file, (3, 3)), _matrix(shift, (3,))
            except (OSError, ValueError) as error:
                self.problems.append(
                    Problem(
                        file.relative,
                        message(
                            "data.problem.matrix_translation",
                            "no matrix of 3 x 3 and translation of 3 ({error})",
                            error=error,
                        ),
                    )
                )
                continue
            image = PosedImage(path, file.relative, UNASSIGNED, camera_from(CAMERA))
            found = self.posed(number, rotation, translation, file.relative)
            image.objects += [found] if found is not None else []
            self.images.append(image)

    def units(self, diameter: float, distance: float) -> tuple[float, float] | None:
        """Meshes are scaled to metres by `models`; translations are in centimetres."""
        return (1.0, CENTIMETRE) if 0.5 < distance * CENTIMETRE / max(diameter, 1e-12) < 500 else None

    def models(self, numbers: Sequence[int]) -> list[ObjectModel]:
        """Meshes of the objects in metres, by the diameter in distance.txt, if there is one."""
        found = []
        for folder in (self.objects[number - 1] for number in numbers):
            files = [folder / name for name in ("mesh.ply", "OLDmesh.ply")]
            file = next((one for one in files if self.has(one)), None)
            if file is None:
                text = "{folder} must have mesh.ply, the mesh of {name}"
                raise Refusal(message("data.refuse.linemod_original_mesh", text, folder=folder, name=folder.name))
            mesh = read_mesh(file)
            distance = folder / "distance.txt"
            mesh = mesh.scaled(_mesh_unit(distance if self.has(distance) else None, mesh))
            found.append(self.shaped(folder.name, mesh, folder.name in SYMMETRIC))
        return found


def _mesh_unit(path: Path | None, mesh: Mesh) -> float:
    """Metres per unit of a mesh: that of millimetres, centimetres and metres that fits the diameter of distance.txt."""
    diameter = mesh.diameter
    try:
        wanted = float((read_text(path) if path is not None else "").split()[0]) * CENTIMETRE
    except (OSError, ValueError, IndexError):
        return MILLIMETRE if diameter > 5 else 1.0
    return min((MILLIMETRE, CENTIMETRE, 1.0), key=lambda unit: abs(np.log(max(diameter * unit, 1e-12) / wanted)))


def _matrix(file: File, shape: tuple[int, ...]) -> torch.Tensor:
    """Numbers of a .rot or .tra file after its first line, which states rows and columns."""
    numbers = [float(v) for line in read_lines(file.path)[1:] for v in line.split()]
    return torch.from_numpy(np.array(numbers, np.float64).reshape(shape))


def _yaml(path: Path) -> dict[Any, Any]:
    """The table in a YAML file. Raises Refusal for anything else."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = parse_yaml(read_text(path), loader, MAX_YAML_BYTES, MAX_YAML_VALUES)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        text = "{path} cannot be read as YAML: {reason}"
        raise Refusal(message("data.refuse.linemod_yaml", text, path=path, reason=reason)) from None
    if not isinstance(content, dict):
        text = "{path} must have an entry per image, got {kind}"
        raise Refusal(message("data.refuse.linemod_entries", text, path=path, kind=type(content).__name__))
    return content
