"""Write rendered images as a scene of BOP: images, poses, intrinsics, boxes and masks; and meshes as PLY files.

BOP counts pixel centres as integers and lengths in millimetres.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from danlu.data.sources.poses.bop import MASKS
from danlu.pose.meshes import Mesh
from danlu.rendering.scene import RenderedImage, RenderedObject
from danlu.rendering.sources import Meshes

MILLIMETRES = 1000.0  # per metre
QUALITY = 92  # of JPEG files


class SceneWriter:
    """Writes images one by one; `finish` writes the tables of all. numbers: object numbers of the shapes."""

    def __init__(self, folder: Path, numbers: list[int], camera: np.ndarray) -> None:
        self.folder, self.numbers = folder, numbers
        own = camera.copy()
        own[:2, 2] -= 0.5
        self.camera = {"cam_K": [float(v) for v in own.ravel()], "depth_scale": 1.0}
        self.truth: dict[str, list[Any]] = {}
        self.info: dict[str, list[Any]] = {}
        for name in ("rgb", MASKS):
            (folder / name).mkdir(parents=True)

    def add(self, number: int, rendered: RenderedImage) -> None:
        """Write one image and the masks of its objects."""
        rendered.image.save(self.folder / "rgb" / f"{number:06d}.jpg", quality=QUALITY)
        self.truth[str(number)] = [self._pose(one) for one in rendered.objects]
        self.info[str(number)] = [_details(one) for one in rendered.objects]
        for k, one in enumerate(rendered.objects):
            mask = Image.fromarray(one.mask.astype(np.uint8) * 255)
            mask.save(self.folder / MASKS / f"{number:06d}_{k:06d}.png")

    def finish(self) -> None:
        """Write the tables."""
        tables = {"gt": self.truth, "camera": dict.fromkeys(self.truth, self.camera), "gt_info": self.info}
        for name, content in tables.items():
            (self.folder / f"scene_{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def _pose(self, one: RenderedObject) -> dict[str, Any]:
        return {
            "cam_R_m2c": one.rotation.ravel().tolist(),
            "cam_t_m2c": (one.translation * MILLIMETRES).tolist(),
            "obj_id": self.numbers[one.number],
        }


def _details(one: RenderedObject) -> dict[str, Any]:
    rows, columns = np.flatnonzero(one.mask.any(1)), np.flatnonzero(one.mask.any(0))
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])
    x1, y1, x2, y2 = (float(v) for v in one.bounds)
    return {
        "bbox_obj": [x1, y1, max(x2 - x1 - 1, 0.0), max(y2 - y1 - 1, 0.0)],
        "bbox_visib": [left, top, right - left, bottom - top],
        "px_count_all": round(one.area),
        "px_count_visib": int(one.mask.sum()),
        "visib_fract": round(one.seen / one.area, 6),
    }


def write_camera(file: Path, camera: np.ndarray, size: tuple[int, int]) -> None:
    """Write camera.json. camera: intrinsics in continuous pixels."""
    values = {"fx": camera[0, 0], "fy": camera[1, 1], "cx": camera[0, 2] - 0.5, "cy": camera[1, 2] - 0.5}
    content = {key: float(v) for key, v in values.items()} | {"width": size[1], "height": size[0], "depth_scale": 1.0}
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")


def write_models(folder: Path, meshes: Meshes) -> None:
    """Write the meshes and models_info.json, in millimetres."""
    folder.mkdir(parents=True)
    table = {}
    for number, mesh in meshes.by_number.items():
        write_ply(folder / f"obj_{number:06d}.ply", mesh.scaled(MILLIMETRES))
        table[str(number)] = meshes.info.get(str(number)) or {"diameter": mesh.diameter * MILLIMETRES}
    (folder / "models_info.json").write_text(json.dumps(table, indent=2), encoding="utf-8")


def write_ply(file: Path, mesh: Mesh) -> None:
    """Write a mesh as a binary PLY file, with the colours of its points."""
    kinds = [(axis, "<f4") for axis in "xyz"]
    if mesh.colours is not None:
        kinds += [(name, "u1") for name in ("red", "green", "blue")]
    points = np.empty(len(mesh.points), kinds)
    for k, axis in enumerate("xyz"):
        points[axis] = mesh.points[:, k]
    if mesh.colours is not None:
        for k, name in enumerate(("red", "green", "blue")):
            points[name] = (mesh.colours[:, k] * 255).round().clip(0, 255)
    faces = np.empty(len(mesh.faces), [("n", "u1"), ("corners", "<i4", (3,))])
    faces["n"], faces["corners"] = 3, mesh.faces
    names = {"<f4": "float", "u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property {names[kind]} {name}" for name, kind in kinds]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    file.write_bytes("\n".join(lines).encode() + b"\n" + points.tobytes() + faces.tobytes())
