"""Triangle meshes, and readers of PLY and OBJ files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danlu.message import message
from danlu.refuse import Refusal, refusal, system_reason

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
ORDER = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
MAX_HEADER = 1 << 16  # bytes
MAX_EXACT_DIAMETER = 3000  # points compared with each other; of more only those extreme in many directions
DIRECTIONS = 4000
GREY = 0.6  # colour of meshes without colours, in [0, 1]
EVEN_STEPS = np.array([0.7548776662466927, 0.5698402909980532])  # of a sequence that fills the unit square evenly


@dataclass(frozen=True)
class Mesh:
    """Triangles. points: float64 (V, 3). faces: int64 (F, 3). colours: of the points, float32 (V, 3) in [0, 1].

    closed: the faces are counter-clockwise seen from outside and enclose a volume; False where that is not known.
    """

    points: np.ndarray
    faces: np.ndarray
    colours: np.ndarray | None = None
    closed: bool = False

    def scaled(self, factor: float) -> Mesh:
        """Return the mesh with all coordinates multiplied by `factor`."""
        return Mesh(self.points * factor, self.faces, self.colours, self.closed)

    @property
    def diameter(self) -> float:
        """Largest distance between two points."""
        points = self.points
        if len(points) > MAX_EXACT_DIAMETER:
            ways = np.random.default_rng(0).normal(size=(DIRECTIONS, 3))
            points = points[np.unique((points @ ways.T).argmax(0))]
        tensor = torch.from_numpy(points)
        return float(max((torch.cdist(part, tensor).max() for part in tensor.split(1024)), default=0.0))

    def surface(self, count: int, seed: int = 0) -> Tensor:
        """Draw points uniformly on the surface, float64 (count, 3); the points themselves where there are no faces."""
        rng = np.random.default_rng(seed)
        if not len(self.faces):
            return torch.from_numpy(self.points[rng.integers(len(self.points), size=count)])
        a, b, c = (self.points[self.faces[:, k]] for k in range(3))
        areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        chosen = rng.choice(len(areas), count, p=areas / areas.sum()) if areas.sum() > 0 else np.zeros(count, np.int64)
        u, v = rng.random((2, count, 1))
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        return torch.from_numpy(a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen])

    def spread_surface(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return points spread evenly over the surface, unit normals that point outwards, and colours.

        float64 (count, 3) each. A sum over the points is closer to the integral over the surface than with random
        ones. Normals are zero where there are no faces or no colours, which are `GREY` then: nothing can be compared
        with an image.
        """
        colours = np.full_like(self.points, GREY) if self.colours is None else self.colours.astype(np.float64)
        if not len(self.faces):
            chosen = np.arange(count) * len(self.points) // count
            return (
                torch.from_numpy(self.points[chosen]),
                torch.zeros(count, 3).double(),
                torch.from_numpy(colours[chosen]),
            )
        a, b, c = (self.points[self.faces[:, k]] for k in range(3))
        normals = np.cross(b - a, c - a)
        areas = np.linalg.norm(normals, axis=1)
        ends = np.cumsum(areas) / max(areas.sum(), 1e-300)
        number = np.arange(count)
        chosen = np.searchsorted(ends, (number + 0.5) / count).clip(max=len(areas) - 1)
        u, v = (number[:, None] * EVEN_STEPS % 1).T  # even on any run of numbers, and so on each face
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        weights = np.stack((1 - u - v, u, v), 1)[..., None]
        points, shades = ((one[self.faces[chosen]] * weights).sum(1) for one in (self.points, colours))
        # Six times the enclosed volume; negative where the faces are clockwise seen from outside.
        outwards = (normals * (a - self.points.mean(0))).sum() >= 0
        side = 0 if self.colours is None else 1 if outwards else -1
        units = side * normals[chosen] / np.maximum(areas[chosen, None], 1e-300)
        return torch.from_numpy(points), torch.from_numpy(units), torch.from_numpy(shades)


def read_mesh(path: Path) -> Mesh:
    """Read a .ply or .obj file. Raises Refusal for other files and damaged ones."""
    readers = {".ply": read_ply, ".obj": read_obj}
    if path.suffix.lower() not in readers:
        wanted = message("pose.wanted.mesh_file", "a mesh in a .ply or .obj file")
        raise refusal(str(path), wanted, path.suffix or message("pose.got.no_extension", "no extension"))
    try:
        mesh = readers[path.suffix.lower()](path)
    except OSError as error:
        raise Refusal(
            message(
                "pose.refuse.unreadable",
                "mesh {path} cannot be read: {reason}",
                path=path,
                reason=system_reason(error),
            )
        ) from None
    except (ValueError, IndexError, KeyError, StopIteration, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise Refusal(
            message(
                "pose.refuse.damaged",
                "mesh {path} is damaged: {reason}",
                path=path,
                reason=str(error) or type(error).__name__,
            )
        ) from None
    if not len(mesh.points) or not np.isfinite(mesh.points).all():
        raise Refusal(message("pose.refuse.points", "mesh {path} must have points with finite coordinates", path=path))
    if len(mesh.faces) and (mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.points)):
        raise Refusal(
            message("pose.refuse.faces", "mesh {path} has a face with a point that does not exist", path=path)
        )
    return mesh


def read_ply(path: Path) -> Mesh:
    """Read a PLY file, ascii or binary; polygons become fans of triangles."""
    data = path.read_bytes()
    end = data.find(b"end_header", 0, MAX_HEADER)
    if not data.startswith(b"ply") or end < 0:
        raise ValueError("no header of a PLY file")
    body = data[data.index(b"\n", end) + 1 :]
    form, elements = _header(data[:end].decode("ascii", "replace").splitlines())
    read = _ascii_elements(body, elements) if form == "ascii" else _binary_elements(body, elements, ORDER[form])
    try:
        table = dict(read)
    except RuntimeError:  # a generator that ran out of lines
        raise ValueError("fewer lines than its header states") from None
    vertices = table["vertex"]
    points = np.stack([np.asarray(vertices[axis], np.float64) for axis in "xyz"], 1)
    colours = None
    if all(name in vertices for name in ("red", "green", "blue")):
        colours = np.stack([np.asarray(vertices[name]) for name in ("red", "green", "blue")], 1)
        colours = (colours / (255.0 if colours.dtype.kind in "iu" else 1.0)).astype(np.float32)
    faces = table.get("face", {})
    lists = next((faces[name] for name in ("vertex_indices", "vertex_index") if name in faces), [])
    return Mesh(points, _triangles(lists), colours)


def _header(lines: list[str]) -> tuple[str, list[tuple[str, int, list[tuple[str, ...]]]]]:
    """Return the format and the elements: name, count, and properties as words."""
    form, elements = "", []
    for line in lines[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format":
            form = words[1]
        elif words[0] == "element":
            elements.append((words[1], int(words[2]), []))
        elif words[0] == "property":
            elements[-1][2].append(tuple(words[1:]))
    if form not in ORDER:
        raise ValueError(f"format {form!r}")
    return form, elements


def _binary_elements(body: bytes, elements: list, order: str) -> Iterator[tuple[str, dict]]:
    start = 0
    for name, count, properties in elements:
        if not any(words[0] == "list" for words in properties):
            kind = np.dtype([(words[1], order + TYPES[words[0]]) for words in properties])
            rows = np.frombuffer(body, kind, count, start)
            start += kind.itemsize * count
            yield name, {key: rows[key] for key in kind.names or ()}
            continue
        start, columns = _binary_lists(body, count, properties, order, start)
        yield name, columns


def _binary_lists(body: bytes, count: int, properties: list, order: str, start: int) -> tuple[int, dict]:
    """Read an element with lists. Triangles without other lists are read at once."""
    fixed = []
    for words in properties:
        if words[0] == "list":
            fixed += [("n", order + TYPES[words[1]]), (words[3], order + TYPES[words[2]], (3,))]
        else:
            fixed.append((words[1], order + TYPES[words[0]]))
    if sum(words[0] == "list" for words in properties) == 1:
        kind = np.dtype(fixed)
        if len(body) - start >= kind.itemsize * count:
            rows = np.frombuffer(body, kind, count, start)
            if (rows["n"] == 3).all():
                return start + kind.itemsize * count, {key: rows[key] for key in kind.names or () if key != "n"}
    columns: dict[str, list] = {words[-1]: [] for words in properties}
    for _ in range(count):
        for words in properties:
            if words[0] == "list":
                size = np.dtype(order + TYPES[words[1]])
                n = int(np.frombuffer(body, size, 1, start)[0])
                start += size.itemsize
                item = np.dtype(order + TYPES[words[2]])
                columns[words[3]].append(np.frombuffer(body, item, n, start))
                start += item.itemsize * n
            else:
                item = np.dtype(order + TYPES[words[0]])
                columns[words[1]].append(np.frombuffer(body, item, 1, start)[0])
                start += item.itemsize
    return start, columns


def _ascii_elements(body: bytes, elements: list) -> Iterator[tuple[str, dict]]:
    lines = iter(line for line in body.decode("ascii", "replace").splitlines() if line.strip())
    for name, count, properties in elements:
        columns: dict[str, list] = {words[-1]: [] for words in properties}
        for _ in range(count):
            words = iter(next(lines).split())
            for one in properties:
                if one[0] == "list":
                    columns[one[3]].append([int(float(next(words))) for _ in range(int(next(words)))])
                else:
                    value = next(words)
                    columns[one[1]].append(int(value) if TYPES[one[0]][0] in "iu" else float(value))
        yield name, columns


def read_obj(path: Path) -> Mesh:
    """Read the points (with colours, where six numbers are given) and faces of a Wavefront OBJ file."""
    points, colours, faces = [], [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            values = [float(word) for word in words[1:]]
            points.append(values[:3])
            colours.append(values[3:6])
        elif words[0] == "f":
            numbers = [int(word.split("/")[0]) for word in words[1:]]
            faces.append([n - 1 if n > 0 else len(points) + n for n in numbers])
    coloured = bool(colours) and all(len(one) == 3 for one in colours)
    return Mesh(
        np.array(points, np.float64).reshape(-1, 3),
        _triangles(faces),
        np.array(colours, np.float32) if coloured else None,
    )


def _triangles(lists: object) -> np.ndarray:
    """Return polygons, lists of point numbers, as fans of triangles, int64 (F, 3)."""
    if isinstance(lists, np.ndarray) and lists.ndim == 2 and lists.shape[1] == 3:
        return lists.astype(np.int64)
    fans = [(one[0], one[k], one[k + 1]) for one in lists for k in range(1, len(one) - 1)]  # type: ignore[attr-defined]
    return np.array(fans, np.int64).reshape(-1, 3)
