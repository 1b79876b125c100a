"""Meshes, the renderer, drawn scenes and turned images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu.data.augmentation.pose_turns import turned
from danlu.data.canvas import FITS
from danlu.data.object_set import ObjectSet
from danlu.data.sources.named import scenes
from danlu.objects import ObjectBatch
from danlu.pose import symmetry
from danlu.pose.cameras import project_model
from danlu.pose.meshes import Mesh, read_mesh
from danlu.pose.render import rasterise, render
from danlu.pose.rotations import random_rotations
from danlu.pose.solids import solids
from danlu.refuse import Refusal

CUBE_PLY = """ply
format ascii 1.0
comment a square of two triangles
element vertex 4
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 1
property list uchar int vertex_indices
end_header
0 0 0 255 0 0
1 0 0 0 255 0
1 1 0 0 0 255
0 1 0 255 255 255
4 0 1 2 3
"""


def test_ply_ascii_and_binary_and_obj_agree(tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_text(CUBE_PLY)
    mesh = read_mesh(tmp_path / "a.ply")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.diameter == pytest.approx(math.sqrt(2))
    assert mesh.colours is not None
    assert mesh.colours[0].tolist() == [1, 0, 0]
    for order, name in (("<", "little"), (">", "big")):
        head = CUBE_PLY.split("end_header\n", maxsplit=1)[0].replace("ascii", f"binary_{name}_endian") + "end_header\n"
        rows = np.zeros(4, [("p", order + "f4", 3), ("c", "u1", 3)])
        rows["p"], rows["c"] = mesh.points, (mesh.colours * 255).round()
        body = rows.tobytes() + np.uint8(4).tobytes() + np.arange(4, dtype=order + "i4").tobytes()
        (tmp_path / "b.ply").write_bytes(head.encode() + body)
        same = read_mesh(tmp_path / "b.ply")
        assert np.array_equal(same.points, mesh.points)
        assert np.array_equal(same.faces, mesh.faces)
    (tmp_path / "c.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1/1 2/2 3/3 4/4\n")
    assert np.array_equal(read_mesh(tmp_path / "c.obj").faces, mesh.faces)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ply", "plyformat"),
        ("a.ply", CUBE_PLY[:-30]),
        ("a.obj", "v 0 0\n"),
        ("a.stl", "x"),
        ("b.obj", "v 0 0 0\nf 1 2 3"),
    ],
)
def test_damaged_meshes_are_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Refusal, match="mesh"):
        read_mesh(tmp_path / name)


def test_depth_of_a_plane_is_exact() -> None:
    """A tilted plane: the rendered depth at each pixel centre is the intersection of its ray with the plane."""
    corners = np.array([(-4.0, -4, 2), (4, -4, 2), (4, 4, 6), (-4, 4, 6)])
    mesh = Mesh(corners, np.array([(0, 1, 2), (0, 2, 3)]))
    camera = np.array([[20.0, 0, 16], [0, 20, 12], [0, 0, 1]])
    found = rasterise(mesh.points, mesh.faces, camera, (24, 32))
    rows, columns = np.mgrid[:24, :32] + 0.5
    rays = np.stack(((columns - 16) / 20, (rows - 12) / 20, np.ones((24, 32))))
    normal = np.array([0, -0.5, 1.0])  # z - y / 2 = 4
    expected = 4 / np.tensordot(normal, rays, 1)
    depth = (1 / np.maximum(found.inverse, 1e-9)).reshape(24, 32)
    seen = (found.face >= 0).reshape(24, 32)
    assert seen.mean() > 0.9
    assert depth[seen] == pytest.approx(expected[seen], rel=1e-9)


def test_silhouette_agrees_with_the_projected_points() -> None:
    camera = scenes.camera_of(96)
    for model in solids():
        rotation = random_rotations(1, torch.Generator().manual_seed(3)).numpy()
        centre = np.array([[0.02, -0.01, 0.5]])
        seen = render([model.mesh], rotation, centre, camera, (96, 96)).item >= 0
        pixels = project_model(
            torch.from_numpy(model.mesh.points), torch.from_numpy(rotation[0]), torch.from_numpy(centre[0]),
            torch.from_numpy(camera),
        ).numpy()  # fmt: skip
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        low, high = pixels.min(0), pixels.max(0)
        assert [columns[0], rows[0]] == pytest.approx(low, abs=1)
        assert [columns[-1] + 1, rows[-1] + 1] == pytest.approx(high, abs=1)
        assert (
            seen.sum()
            == render([Mesh(model.mesh.points, model.mesh.faces)], rotation, centre, camera, (96, 96)).unhidden[0]
        )


def test_declared_symmetries_leave_the_solids_unchanged() -> None:
    for model in solids():
        points = model.mesh.surface(2000)
        assert float(symmetry.residual(points, model.symmetries).max()) < 0.02 * model.extent
    prism = solids()[0]
    turn = symmetry.cyclic((0, 0, 1), 2)
    assert float(symmetry.residual(prism.mesh.surface(2000), turn)[1]) > 0.05 * prism.extent


@pytest.fixture(scope="module")
def drawn() -> tuple:
    return scenes.draw(6, 96, seed=1)


def test_scenes_depend_on_the_seed_only(drawn: tuple) -> None:
    images, annotations, depth = scenes.draw(6, 96, seed=1)
    assert torch.equal(images, drawn[0])
    assert np.array_equal(depth, drawn[2])
    assert not torch.equal(scenes.draw(1, 96, seed=2)[0], images[:1])
    assert all(len(one) and float(one.rigid.visible.min()) >= scenes.MIN_VISIBLE_FRACTION for one in annotations)


def test_a_scene_shows_its_poses(drawn: tuple) -> None:
    """Boxes, masks and depth of a scene are those of its poses: surface points are where they are projected."""
    _, annotations, depth = drawn
    for one, z in zip(annotations, depth):
        for k, label in enumerate(one.labels.tolist()):
            mask = scenes_mask(one.shapes[k], one.size)
            centre = one.rigid.translations[k, 2]
            near = z[mask]
            assert np.abs(near - float(centre)).max() <= solids()[label].extent / 2 + 1e-3
            rows, columns = np.nonzero(mask)
            assert one.boxes[k].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def scenes_mask(shape: object, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    h, w = shape.pixels.shape
    mask[shape.top : shape.top + h, shape.left : shape.left + w] = shape.pixels
    return mask


def test_packed_scenes_are_the_same(drawn: tuple) -> None:
    kept = scenes._packed(drawn[1]) | {"images": drawn[0]}
    for one, other in zip(scenes._unpacked(kept), drawn[1]):
        assert torch.equal(one.boxes, other.boxes)
        assert torch.equal(one.rigid.rotations, other.rigid.rotations)
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one.shapes, other.shapes))


def test_a_turned_image_shows_the_turned_pose() -> None:
    """The rendered mask of the turned pose is the turned mask, but for pixels along its edge."""
    model = solids()[0]
    camera = scenes.camera_of(96)
    rotation = random_rotations(1, torch.Generator().manual_seed(5)).numpy()
    centre = np.array([[0.05, -0.03, 0.5]])
    seen = (render([model.mesh], rotation, centre, camera, (96, 96)).item >= 0).astype(np.uint8)
    batch = ObjectBatch(
        torch.tensor([[[0.0, 0, 96, 96]]]), torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.bool),
        torch.from_numpy(seen)[None, None],
        poses=torch.from_numpy(np.concatenate((rotation, centre[..., None]), -1)).float()[None],
        cameras=torch.from_numpy(camera).float()[None],
    )  # fmt: skip
    images = torch.from_numpy(seen * 200)[None, None].expand(1, 3, 96, 96)
    _, found = turned(images, batch, torch.tensor([0.7]))
    pose = found.poses[0].double().numpy()
    again = render([model.mesh], pose[..., :3], pose[..., 3], camera, (96, 96)).item >= 0
    mask = found.masks[0, 0].numpy().astype(bool)
    assert (mask ^ again).sum() < 0.08 * again.sum()
    assert (mask & again).sum() > 0.93 * again.sum()


def test_masks_from_poses_are_the_rendered_ones() -> None:
    _, (annotation, *_), _ = scenes.draw(1, 64, seed=3)
    assert annotation.rigid is not None
    assert len(annotation) > 1
    place = FITS["letterbox"]((64, 64), 64)
    given = ObjectSet([annotation], [place], True, solids()).index_select(0, torch.tensor([0])).masks
    bare = replace(annotation, shapes=None)
    drawn = ObjectSet([bare], [place], True, solids()).index_select(0, torch.tensor([0])).masks
    assert given is not None
    assert drawn is not None
    assert torch.equal(given, drawn)
