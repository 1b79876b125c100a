"""Rendered training images: the written folder is read back as it was drawn; wrong input is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from danlu import Refusal, render
from danlu.cli import main
from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.formats import open_dataset
from danlu.pose.meshes import Mesh, read_mesh
from danlu.pose.render import render as draw
from danlu.pose.solids import solids
from danlu.rendering.arrangement import camera_above
from danlu.rendering.distractors import distractors
from danlu.rendering.files import write_ply
from danlu.rendering.views import Shape

WIDTH, HEIGHT = 96, 64
CAMERA = {"fx": 120.0, "fy": 118.0, "cx": 47.0, "cy": 31.5, "width": WIDTH, "height": HEIGHT}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with camera.json and the meshes of the three solids, in millimetres; the second has no colours."""
    folder = tmp_path_factory.mktemp("source") / "solids"
    (folder / "models").mkdir(parents=True)
    (folder / "camera.json").write_text(json.dumps(CAMERA))
    for k, model in enumerate(solids(), 1):
        mesh = model.mesh.scaled(1000)
        plain = Mesh(mesh.points, mesh.faces)
        write_ply(folder / "models" / f"obj_{k:06d}.ply", plain if k == 2 else mesh)
    return folder


@pytest.fixture(scope="module")
def rendered(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered") / "set"
    done = render(source, out=out, images=10, depth="0.3,0.7", seed=3)
    assert (done.images, done.size, done.depth) == (10, [WIDTH, HEIGHT], [0.3, 0.7])
    assert done.coloured == ["obj_000001", "obj_000003"]
    return out


def read(folder: Path) -> Dataset:
    return open_dataset(DataConfig(path=str(folder)), "pose")


def test_the_written_folder_is_read_with_its_poses_and_masks(rendered: Path, source: Path) -> None:
    data = read(rendered)
    assert data.format == "bop"
    assert not data.problems
    assert data.classes == ("obj_000001", "obj_000002", "obj_000003")
    assert len(data.targets) == 10
    truth = json.loads((rendered / "train" / "000000" / "scene_gt.json").read_text())
    for i, one in enumerate(data.targets):
        assert one.size == (HEIGHT, WIDTH)
        assert len(one) == len(truth[str(i)])
        for k, entry in enumerate(truth[str(i)]):
            place = torch.tensor(entry["cam_t_m2c"]) / 1000
            torch.testing.assert_close(one.rigid.translations[k], place)
            assert 0.3 <= float(place[2]) <= 0.7
            assert int(one.labels[k]) + 1 == entry["obj_id"]
            mask = Image.open(rendered / "train" / "000000" / "mask_visib" / f"{i:06d}_{k:06d}.png")
            inside = np.asarray(mask) > 0
            x1, y1, x2, y2 = (int(v) for v in one.boxes[k])
            assert inside[y1:y2, x1:x2].sum() == inside.sum() > 0


def test_masks_are_where_the_renderer_of_poses_draws_the_objects(rendered: Path) -> None:
    """`pose.render` draws one object at a time, at full pixels: what is hidden is missing in the mask, nothing else."""
    data, compared = read(rendered), 0
    for i, one in enumerate(data.targets):
        camera = one.rigid.camera.double().numpy()
        assert camera[:2, 2] == pytest.approx([47.5, 32.0])  # centres of pixels are at 0.5
        for k, label in enumerate(one.labels.tolist()):
            pose = one.rigid.rotations[k : k + 1].double().numpy(), one.rigid.translations[k : k + 1].double().numpy()
            alone = draw([data.models[label].mesh], *pose, camera, (HEIGHT, WIDTH)).item == 0
            seen = np.asarray(Image.open(rendered / f"train/000000/mask_visib/{i:06d}_{k:06d}.png")) > 0
            outline = alone ^ shrunk(alone)
            assert not (seen & ~alone & ~grown(alone)).any()
            if one.rigid.visible[k] == 1:
                assert not (alone & ~seen & ~outline).any()
                compared += 1
    assert compared >= 3


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its neighbours."""
    padded = np.pad(mask, 1)
    return np.any([np.roll(padded, move, (0, 1)) for move in ((0, 1), (1, 0), (0, -1), (-1, 0), (0, 0))], 0)[1:-1, 1:-1]


def shrunk(mask: np.ndarray) -> np.ndarray:
    return ~grown(~mask)


def test_images_depend_on_the_seed_alone(source: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        render(source, out=tmp_path / name, images=2, seed=seed)
    first, same, other = (
        [np.asarray(Image.open(tmp_path / name / f"train/000000/rgb/{i:06d}.jpg")) for i in range(2)] for name in "abc"
    )
    assert all(np.array_equal(x, y) for x, y in zip(first, same))
    assert not any(np.array_equal(x, y) for x, y in zip(first, other))


def test_size_scales_the_camera(source: Path, tmp_path: Path) -> None:
    render(source, out=tmp_path / "large", images=1, size="192x128")
    camera = json.loads((tmp_path / "large" / "camera.json").read_text())
    assert (camera["width"], camera["height"], camera["fx"], camera["fy"]) == (192, 128, 240, 236)
    assert camera["cx"] == pytest.approx(2 * (47.0 + 0.5) - 0.5)
    assert Image.open(tmp_path / "large/train/000000/rgb/000000.jpg").size == (192, 128)


def test_distances_are_those_of_the_training_images(source: Path, tmp_path: Path) -> None:
    for split, z in (("train", 450.0), ("test", 2000.0)):
        scene = tmp_path / "set" / split / "000000"
        scene.mkdir(parents=True)
        (scene / "scene_gt.json").write_text(json.dumps({"0": [{"cam_t_m2c": [0, 0, z]}]}))
    for file in (source / "models").iterdir():
        (tmp_path / "set" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "set" / "camera.json").write_text(json.dumps(CAMERA))
    done = render(tmp_path / "set", out=tmp_path / "out", images=1)
    assert done.depth[0] == pytest.approx(0.45)
    assert done.depth[1] < 0.5


def test_photographs_are_behind_the_objects(source: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos" / "below"
    photos.mkdir(parents=True)
    Image.new("RGB", (300, 100), (0, 255, 0)).save(photos / "green.png")
    render(source, out=tmp_path / "out", images=2, backgrounds=tmp_path / "photos")
    for i in range(2):
        pixels = np.asarray(Image.open(tmp_path / f"out/train/000000/rgb/{i:06d}.jpg")).astype(int)
        masks = [np.asarray(Image.open(f)) > 0 for f in (tmp_path / "out/train/000000/mask_visib").glob(f"{i:06d}_*")]
        behind = pixels[~grown(grown(np.any(masks, 0)))]
        assert np.median(behind[:, 1] - behind[:, 0]) > 100


def test_named_colours_are_written_with_the_meshes(source: Path, tmp_path: Path) -> None:
    done = render(source, out=tmp_path / "out", images=1, colours="2=#ff8000,1=red")
    assert len(done.coloured) == 3
    painted = read_mesh(tmp_path / "out" / "models" / "obj_000002.ply")
    assert painted.colours is not None
    assert painted.colours[0] == pytest.approx([1, 128 / 255, 0])
    own = read_mesh(tmp_path / "out" / "models" / "obj_000001.ply")  # its own colours stay
    assert own.colours is not None
    assert not np.allclose(own.colours, own.colours[:1])


def test_meshes_with_colours_are_preferred_to_those_of_the_evaluation(source: Path, tmp_path: Path) -> None:
    for name in ("models", "models_eval"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "models_info.json").write_text("{}")
    (tmp_path / "set" / "camera.json").write_text(json.dumps(CAMERA))
    for name, k in (("models", 1), ("models_eval", 2)):
        mesh = (source / "models" / f"obj_{k:06d}.ply").read_bytes()
        (tmp_path / "set" / name / "obj_000001.ply").write_bytes(mesh)
    assert render(tmp_path / "set", out=tmp_path / "out", images=1).coloured == ["obj_000001"]


def test_on_a_table_the_z_axes_of_standing_objects_agree(source: Path, tmp_path: Path) -> None:
    render(source, out=tmp_path / "out", images=12, poses="table", depth="0.3,0.8")
    agree, from_above = 0, []
    for one in read(tmp_path / "out").targets:
        up = one.rigid.rotations[:, :, 2]
        agree += int((up @ up.T > 0.999).sum()) - len(up)
        from_above += (up[:, 2] < 0).tolist()
    assert agree > 8
    assert np.mean(from_above) > 0.7  # some objects have fallen


def test_the_camera_above_is_turned_as_its_elevation_says() -> None:
    view = camera_above(np.pi / 2, 0.0)  # from straight above, z is towards the camera
    assert view @ [0, 0, 1] == pytest.approx([0, 0, -1], abs=1e-12)
    view = camera_above(0.3, 0.7)
    assert np.linalg.det(view) == pytest.approx(1)
    assert (view @ [0, 0, 1])[2] == pytest.approx(-np.sin(0.3))


def test_distractors_are_closed_and_of_the_size_and_often_the_colours_of_the_objects() -> None:
    """Each edge of a closed surface belongs to two faces that run along it in opposite directions."""
    shapes = [Shape(Mesh(np.eye(3), np.array([[0, 1, 2]]), np.tile(np.float32([0.1, 0.2, 0.9]), (3, 1))), 1.0)]
    found = [one for seed in range(12) for one in distractors(np.random.default_rng(seed), shapes, 0.1)]
    assert len(found) > 40
    for one in found:
        points, faces = one.mesh.points, one.mesh.faces
        assert 0.03 <= one.extent <= 0.15
        assert one.extent / 2 < one.mesh.diameter <= one.extent + 1e-9
        _, same = np.unique(points.round(9), axis=0, return_inverse=True)
        edges = np.concatenate([same.ravel()[faces][:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
        edges = edges[edges[:, 0] != edges[:, 1]]  # at the poles of a sphere
        assert sorted(map(tuple, edges)) == sorted(map(tuple, edges[:, ::-1]))
        corners = points[faces]
        volume = np.einsum("ij,ij->", np.cross(corners[:, 0], corners[:, 1]), corners[:, 2])
        assert volume > 0  # faces are counter-clockwise seen from outside
    copied = [one for one in found if one.mesh.colours is not None]
    assert 0.3 < len(copied) / len(found) < 0.7
    assert copied[0].mesh.colours == pytest.approx(np.tile([0.1, 0.2, 0.9], (len(copied[0].mesh.points), 1)))


def test_meshes_with_other_names_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "camera.json").write_text(json.dumps(CAMERA))
    (tmp_path / "set" / "mug.obj").write_text("v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nv 0 0 0.1\nf 1 3 2\nf 1 2 4\nf 2 3 4\n")
    done = render(tmp_path / "set", out=tmp_path / "out", images=1)
    assert done.classes == ["obj_000001"]
    assert read_mesh(tmp_path / "out" / "models" / "obj_000001.ply").diameter == pytest.approx(141.42, abs=0.01)
    assert read(tmp_path / "out").models[0].extent == pytest.approx(0.14142, abs=1e-4)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--size 320", "--size must be WIDTHxHEIGHT"),
        ("--size 4x3", "--size must be WIDTHxHEIGHT"),
        ("--size 100x100", "--size must be of the aspect of the camera (96x64)"),
        ("--images 0", "--images must be an integer of at least 1"),
        ("--images many", "--images must be an integer of at least 1"),
        ("--seed -1", "--seed must be an integer of at least 0"),
        ("--depth 1", "--depth must be NEAR,FAR in metres"),
        ("--depth 2,1", "--depth must be NEAR,FAR in metres"),
        ("--poses tables", "did you mean 'table'?"),
        ("--backgrounds nowhere", "--backgrounds must be a folder of images"),
        ("--backgrounds .", "--backgrounds must be a folder of images"),
        ("--colours 2=reddd", "--colours must be NUMBER=COLOUR"),
        ("--colours 7=red", "--colours must be of a mesh (1, 2, 3)"),
        ("--colours red", "--colours must be NUMBER=COLOUR"),
        ("--out ''", "--out must be text that is not empty"),
    ],
)
def test_wrong_values_are_refused(
    flags: str, sentence: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word.strip("'") for word in flags.split(" ")]
    assert main(["render", str(source), *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_folders_without_meshes_or_camera_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"must be a folder with meshes \(.ply or .obj\)"):
        render(tmp_path, out=tmp_path / "out")
    (tmp_path / "a.ply").write_bytes((source / "models" / "obj_000001.ply").read_bytes())
    with pytest.raises(Refusal, match=r"must be a folder with camera\.json"):
        render(tmp_path, out=tmp_path / "out")
    (tmp_path / "camera.json").write_text('{"fx": 1}')
    with pytest.raises(Refusal, match=r"camera\.json must be a file with the numbers fx, fy, cx and cy"):
        render(tmp_path, out=tmp_path / "out")
    (tmp_path / "camera.json").write_text(json.dumps({k: CAMERA[k] for k in ("fx", "fy", "cx", "cy")}))
    with pytest.raises(Refusal, match=r"^size must be given"):
        render(tmp_path, out=tmp_path / "out")
    with pytest.raises(Refusal, match="DATA must be a folder with meshes"):
        render(tmp_path / "a.ply", out=tmp_path / "out")
    with pytest.raises(Refusal, match=r"^out must be a new or empty folder"):
        render(source, out=tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.ply", "camera.json"]


def test_damaged_photographs_are_left_out_or_refused(source: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.jpg").write_text("no image")
    with pytest.raises(Refusal, match=r"files of backgrounds cannot be read \(.*broken\.jpg"):
        render(source, out=tmp_path / "out", images=1, backgrounds=photos)
    assert not (tmp_path / "out").exists()
    Image.new("RGB", (40, 30), (9, 9, 9)).save(photos / "whole.png")
    assert render(source, out=tmp_path / "out", images=2, backgrounds=photos).images == 2


def test_unusable_poses_of_training_images_do_not_count(source: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "train" / "000000").mkdir(parents=True)
    entries = {"0": [{"cam_t_m2c": [0, 0]}, {}, 3, {"cam_t_m2c": [0, 0, 500]}], "1": None}
    (tmp_path / "set" / "train" / "000000" / "scene_gt.json").write_text(json.dumps(entries))
    (tmp_path / "set" / "camera.json").write_text(json.dumps(CAMERA))
    (tmp_path / "set" / "a.ply").write_bytes((source / "models" / "obj_000001.ply").read_bytes())
    assert render(tmp_path / "set", out=tmp_path / "out", images=1).depth[0] == pytest.approx(0.5)


def test_the_command_names_the_next_step(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert main(["render", str(source), "--out", str(out), "--images", "2"]) == 0
    printed = capsys.readouterr().out
    assert "2 images of 96x64 px" in printed
    assert f"next: danlu train {out} --task pose" in " ".join(printed.split())
