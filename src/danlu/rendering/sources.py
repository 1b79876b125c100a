"""Sources of what is rendered: meshes, camera and distances of a folder in BOP's layout, and photographs."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.survey import survey
from danlu.data.sources.poses.bop import model_folder
from danlu.data.sources.poses.pose_reading import MAX_SIZE, MILLIMETRE, camera_from, read_json
from danlu.message import message
from danlu.pose.meshes import Mesh, read_mesh
from danlu.refuse import NOTHING, Refusal, refusal

MESH_SUFFIXES = (".ply", ".obj")
COLOURED_FIRST = ("models", "models_fine", "models_reconst", "models_eval", "models_cad")  # models_eval have no colours
NUMBERED = re.compile(r"obj_(\d+)")
WIDTH_FRACTIONS = (0.1, 0.4)  # of the width of the image, by a typical object, where nothing tells its distance
COMMON = (1, 99)  # percentiles of the distances in training images that are rendered


@dataclass(frozen=True)
class Meshes:
    """Meshes by BOP's object number, in metres. info: contents of models_info.json, in millimetres."""

    by_number: dict[int, Mesh]
    info: dict[str, Any]


def read_meshes(path: Path) -> Meshes:
    """Read the meshes of a folder, of one of its model folders, or beside it. Raises Refusal if there is none."""
    if not path.is_dir():
        raise refusal("DATA", message("rendering.wanted.folder", "a folder with meshes"), str(path))
    folder = model_folder(path, COLOURED_FIRST) or _with_meshes(path)
    files = _mesh_files(folder)
    table = read_json(folder / "models_info.json") if (folder / "models_info.json").is_file() else {}
    numbered = {int(found[1]): file for file in files if (found := NUMBERED.fullmatch(file.stem))}
    if not numbered:  # meshes with names of their own
        numbered, table = dict(enumerate(files, 1)), {}
    meshes = {number: read_mesh(file) for number, file in sorted(numbered.items())}
    for number, mesh in meshes.items():
        if not len(mesh.faces):
            text = "mesh {file} has no faces, so that nothing of it can be seen"
            raise Refusal(message("rendering.refuse.no_faces", text, file=numbered[number]))
    # As for poses: objects are millimetres to a metre large.
    unit = MILLIMETRE if median(mesh.diameter for mesh in meshes.values()) > MAX_SIZE else 1.0
    return Meshes({number: mesh.scaled(unit) for number, mesh in meshes.items()}, table if unit != 1 else {})


def _with_meshes(path: Path) -> Path:
    places = [path, *sorted(one for one in path.iterdir() if one.is_dir() and one.name.startswith("models"))]
    for place in places:
        if _mesh_files(place):
            return place
    wanted = message(
        "rendering.wanted.meshes", "a folder with meshes (.ply or .obj), or with a folder models that has them"
    )
    raise refusal("DATA", wanted, str(path))


def _mesh_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in MESH_SUFFIXES and file.is_file())


def read_camera(path: Path, size: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Intrinsics in continuous pixels (3, 3), and (height, width).

    Of camera.json, else of the first image of the first scene. size: wanted (height, width); the intrinsics follow it.
    Raises Refusal if there is no camera, or `size` has another aspect.
    """
    camera, own = _camera_of_set(path) or _camera_of_scene(path) or (None, None)
    if camera is None:
        wanted = message("rendering.wanted.camera", "a folder with camera.json (fx, fy, cx, cy, width and height)")
        raise refusal("DATA", wanted, str(path))
    own = own or size
    if own is None:
        raise refusal("--size", message("rendering.wanted.size_given", "given: the camera of DATA has none"), NOTHING)
    size = size or own
    scale = np.array([size[1] / own[1], size[0] / own[0]])
    if abs(scale[0] / scale[1] - 1) > 0.02:
        wanted = message("rendering.wanted.aspect", "of the aspect of the camera ({w}x{h})", w=own[1], h=own[0])
        raise refusal("--size", wanted, f"{size[1]}x{size[0]}")
    camera[:2] *= scale[:, None]
    return camera, size


def _camera_of_set(path: Path) -> tuple[np.ndarray, tuple[int, int] | None] | None:
    file = path / "camera.json"
    if not file.is_file():
        return None
    values = read_json(file)
    try:
        fx, fy, cx, cy = (float(values[name]) for name in ("fx", "fy", "cx", "cy"))
        camera = camera_from([fx, 0, cx, 0, fy, cy, 0, 0, 1])
        size = (int(values["height"]), int(values["width"])) if "height" in values and "width" in values else None
    except (KeyError, TypeError, ValueError):
        camera, size = np.zeros((3, 3)), None
    if not (np.isfinite(camera).all() and camera[0, 0] > 0 and camera[1, 1] > 0 and (size is None or min(size) > 0)):
        wanted = message("rendering.wanted.camera_numbers", "a file with the numbers fx, fy, cx and cy")
        raise refusal(str(file), wanted, message("rendering.got.other_contents", "other contents"))
    return camera, size


def _camera_of_scene(path: Path) -> tuple[np.ndarray, tuple[int, int] | None] | None:
    for file in sorted(path.glob("*/*/scene_camera.json")):
        for entry in read_json(file).values():
            try:
                return camera_from(entry["cam_K"]), None
            except (KeyError, TypeError, ValueError):
                break
    return None


def depth_range(path: Path, meshes: Meshes, camera: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """Range of depths in metres: as in the set's training images; else such that objects are of a usual size."""
    found = [depth for file in sorted(path.glob("train*/*/scene_gt.json")) for depth in _depths(file)]
    if found:
        low, high = np.percentile(found, COMMON)
        return float(low), float(max(high, low * 1.05))
    typical = median(mesh.diameter for mesh in meshes.by_number.values())
    near, far = (camera[0, 0] * typical / (fraction * size[1]) for fraction in reversed(WIDTH_FRACTIONS))
    return float(near), float(far)


def _depths(file: Path) -> list[float]:
    """Depths in metres of the objects of a scene_gt.json, without unusable entries, which the reader of BOP reports."""
    found = []
    for objects in read_json(file).values():
        for entry in objects if isinstance(objects, list) else ():
            with suppress(KeyError, TypeError, ValueError, IndexError):
                found.append(float(entry["cam_t_m2c"][2]) * MILLIMETRE)
    return [depth for depth in found if 0 < depth < math.inf]


def photographs(folder: Path) -> list[Path]:
    """List the images below a folder. Raises Refusal if there is none."""
    if not folder.is_dir():
        raise refusal("--backgrounds", message("rendering.wanted.image_folder", "a folder of images"), str(folder))
    found = [file.path for file in survey(folder).files if file.suffix in IMAGE_SUFFIXES]
    if not found:
        raise refusal("--backgrounds", message("rendering.wanted.image_folder", "a folder of images"), str(folder))
    return found
