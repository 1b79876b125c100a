"""BOP data: poses, boxes and cameras are read; faults are named and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from danlu import diagnose
from danlu.cli import main
from danlu.config import DataConfig
from danlu.data.canvas import stretch
from danlu.data.formats import open_dataset, recognise
from danlu.data.object_set import ObjectSet
from danlu.data.pose_audit import PosedBox, explain
from danlu.data.sources.named import scenes
from danlu.pose.cameras import project_model
from danlu.pose.rotations import from_quaternions, random_rotations, to_quaternions
from danlu.pose.solids import solids
from danlu.refuse import Refusal

COUNT, SIDE = 4, 96
K = np.array([[150.0, 0, 48], [0, 150, 48], [0, 0, 1]])


@pytest.fixture(scope="module")
def drawn() -> tuple:
    return scenes.draw(COUNT, SIDE, seed=4)


@pytest.fixture
def bop(tmp_path: Path, drawn: tuple) -> Path:
    """Drawn scenes written as BOP data: millimetres, pixel centres at integers, boxes of scene_gt_info.json."""
    images, annotations, _ = drawn
    scene, models = tmp_path / "bop" / "test" / "000001", tmp_path / "bop" / "models"
    (scene / "rgb").mkdir(parents=True)
    models.mkdir()
    truth, cameras, info = {}, {}, {}
    for i, (image, one) in enumerate(zip(images, annotations)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(scene / "rgb" / f"{i:06d}.png")
        camera = one.rigid.camera.double().numpy().copy()
        camera[:2, 2] -= 0.5
        cameras[i] = {"cam_K": camera.ravel().tolist(), "depth_scale": 1.0}
        truth[i] = [
            {"cam_R_m2c": r.flatten().tolist(), "cam_t_m2c": (t * 1000).tolist(), "obj_id": int(k) + 1}
            for r, t, k in zip(one.rigid.rotations, one.rigid.translations, one.labels)
        ]
        info[i] = [
            {"bbox_visib": [x1, y1, x2 - x1 - 1, y2 - y1 - 1], "visib_fract": float(v)}
            for (x1, y1, x2, y2), v in zip(one.boxes.tolist(), one.rigid.visible)
        ]
    for name, content in (("gt", truth), ("camera", cameras), ("gt_info", info)):
        (scene / f"scene_{name}.json").write_text(json.dumps(content))
    table = {}
    for k, model in enumerate(solids(), 1):
        table[k] = {"diameter": model.extent * 1000}
        points, faces = model.mesh.points * 1000, model.mesh.faces
        head = f"ply\nformat ascii 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float y\nproperty float z\n"
        head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
        rows = [" ".join(f"{v:.6f}" for v in row) for row in points] + [f"3 {a} {b} {c}" for a, b, c in faces]
        (models / f"obj_{k:06d}.ply").write_text(head + "\n".join(rows) + "\n")
    table[3]["symmetries_continuous"] = [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]
    (models / "models_info.json").write_text(json.dumps(table))
    return tmp_path / "bop"


def read(path: Path, **settings: Any) -> Any:
    return open_dataset(DataConfig(path=str(path), **settings))


def change(file: Path, edit: Callable[[Any], Any]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_poses_boxes_and_cameras_are_those_of_the_scenes(bop: Path, drawn: tuple) -> None:
    assert recognise(bop) == "bop"
    dataset = read(bop)
    assert dataset.task == "pose"
    assert dataset.classes == ("obj_000001", "obj_000002", "obj_000003")
    assert not dataset.problems
    for one, real in zip(dataset.targets, drawn[1]):
        assert one.boxes.tolist() == real.boxes.tolist()
        assert one.labels.tolist() == real.labels.tolist()
        assert one.rigid.translations.numpy() == pytest.approx(real.rigid.translations.numpy(), abs=1e-5)
        assert one.rigid.rotations.numpy() == pytest.approx(real.rigid.rotations.numpy(), abs=1e-5)
        assert one.rigid.camera.numpy() == pytest.approx(real.rigid.camera.numpy(), abs=1e-3)
    assert [len(model.symmetries) for model in dataset.models] == [1, 1, 36]
    assert dataset.models[0].extent == pytest.approx(solids()[0].extent, abs=1e-5)


def test_an_image_without_objects_keeps_its_own_camera(bop: Path) -> None:
    """Its poses are empty, and an empty set of poses is false: the cameras of later images moved to their neighbours."""
    scene = bop / "test" / "000001"
    change(scene / "scene_gt.json", lambda c: c.update({"1": []}))
    change(scene / "scene_gt_info.json", lambda c: c.update({"1": []}))
    for i in range(COUNT):
        change(scene / "scene_camera.json", lambda c, i=i: c[str(i)]["cam_K"].__setitem__(0, 150.0 + i))
    (scene / "mask_visib").mkdir()
    for i, entries in json.loads((scene / "scene_gt.json").read_text()).items():
        for k in range(len(entries)):
            Image.new("L", (SIDE, SIDE), 255).save(scene / "mask_visib" / f"{int(i):06d}_{k:06d}.png")
    dataset = read(bop)
    assert [len(one) == 0 for one in dataset.targets] == [False, True, False, False]
    assert all(one.shapes is not None for one in dataset.targets)
    objects = ObjectSet(dataset.targets, [stretch((SIDE, SIDE), SIDE)] * COUNT, True, dataset.models)
    batch = objects.index_select(0, torch.tensor([3, 1]))
    assert batch.cameras is not None
    assert batch.cameras[:, 0, 0].tolist() == [153, 151]


def test_the_same_data_serve_detection(bop: Path) -> None:
    dataset = open_dataset(DataConfig(path=str(bop)), "detect")
    assert dataset.task == "detect"
    assert dataset.targets[0].rigid is None


@pytest.mark.parametrize(
    ("file", "edit", "text"),
    [
        ("models/models_info.json", lambda c: c["1"].update(symmetries_discrete=[[1, 2]]), "object 1 has"),
    ],
)
def test_faults_of_the_whole_set_are_refused(bop: Path, file: str, edit: Callable, text: str) -> None:
    change(bop / file, edit)
    with pytest.raises(Refusal, match=text):
        read(bop)


def test_missing_meshes_are_refused(bop: Path) -> None:
    (bop / "models" / "obj_000002.ply").unlink()
    with pytest.raises(Refusal, match="has no mesh"):
        read(bop)


def test_a_matrix_that_is_no_rotation_and_an_object_behind_the_camera_are_skipped(bop: Path) -> None:
    def edit(content: Any) -> None:
        first = next(objects for objects in content.values() if len(objects) > 1)
        first[0]["cam_R_m2c"] = [2, 0, 0, 0, 1, 0, 0, 0, 1]
        first[1]["cam_t_m2c"][2] = -500

    change(bop / "test/000001/scene_gt.json", edit)
    reasons = " ".join(p.reason for p in read(bop, on_bad="skip").problems)
    assert "no rotation matrix" in reasons
    assert "behind the camera" in reasons


def test_a_wrong_symmetry_is_reported(bop: Path) -> None:
    half_turn = [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    change(bop / "models/models_info.json", lambda c: c["1"].update(symmetries_discrete=[half_turn]))
    (problem,) = read(bop).problems
    assert "no symmetry of the mesh" in problem.reason


@pytest.fixture
def boxed(bop: Path) -> Path:
    """The same with the boxes of whole objects, from the projected meshes."""
    boxes, dataset = [], read(bop)
    for one in dataset.targets:
        boxes.append([])
        for label, r, t in zip(one.labels.tolist(), one.rigid.rotations, one.rigid.translations):
            points = torch.from_numpy(dataset.models[label].mesh.points).float()
            pixels = project_model(points, r, t, one.rigid.camera).numpy()
            low, high = pixels.min(0), pixels.max(0)
            boxes[-1].append([float(v) for v in (*low, *(high - low - 1))])

    def edit(content: Any) -> None:
        for i, of_image in enumerate(boxes):
            for one, box in zip(content[str(i)], of_image):
                one["bbox_obj"] = box

    change(bop / "test/000001/scene_gt_info.json", edit)
    return bop


def _poses(edit: Callable[[Any], None]) -> Callable[[Path], None]:
    """Change every pose of scene_gt.json."""

    def damage(path: Path) -> None:
        change(
            path / "test/000001/scene_gt.json", lambda content: [edit(one) for row in content.values() for one in row]
        )

    return damage


def _in_another_order(shift: int) -> Callable[[Any], None]:
    """Quaternions of the poses, w, x, y, z, with their numbers moved on."""

    def edit(one: Any) -> None:
        matrix = torch.tensor(one["cam_R_m2c"], dtype=torch.float64).reshape(3, 3)
        one["cam_R_m2c"] = from_quaternions(to_quaternions(matrix).roll(shift)).flatten().tolist()

    return edit


def _long_quaternion(one: Any) -> None:
    """The usual formula, applied to a quaternion of length 1.2."""
    w, x, y, z = (to_quaternions(torch.tensor(one["cam_R_m2c"], dtype=torch.float64).reshape(3, 3)) * 1.2).tolist()
    one["cam_R_m2c"] = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip


def _mirrored(one: Any) -> None:
    one["cam_R_m2c"][:3] = [-v for v in one["cam_R_m2c"][:3]]


def _centimetres(one: Any) -> None:
    one["cam_t_m2c"] = [v / 10 for v in one["cam_t_m2c"]]


def _metres(one: Any) -> None:
    one["cam_t_m2c"] = [v / 1000 for v in one["cam_t_m2c"]]


def _half_focal_length(path: Path) -> None:
    def edit(content: Any) -> None:
        for one in content.values():
            one["cam_K"][0], one["cam_K"][4] = 0.5 * one["cam_K"][0], 0.5 * one["cam_K"][4]

    change(path / "test/000001/scene_camera.json", edit)


@pytest.mark.parametrize(
    ("damage", "text", "code"),
    [
        (_poses(_in_another_order(-1)), "quaternions .* in the order x, y, z, w", "data.quaternion_order"),
        (_poses(_in_another_order(1)), "quaternions .* in the order w, x, y, z", "data.quaternion_order"),
        (_poses(_centimetres), "multiplied by 10: check the units", "data.pose_units"),
        (_poses(_metres), "the same unit", "data.pose_units"),
        (_half_focal_length, "with fx 144, fy 144, cx 48, cy 48: check cam_K", "data.wrong_intrinsics"),
    ],
)
def test_a_cause_of_wrong_poses_is_refused_and_found(
    boxed: Path, damage: Callable[[Path], None], text: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training refuses with the cause in one sentence; `danlu diagnose` makes it a finding."""
    assert not read(boxed).problems
    damage(boxed)
    with pytest.raises(Refusal, match=text):
        read(boxed)
    assert code in {one.code for one in diagnose(boxed).findings}
    capsys.readouterr()
    assert main(["train", str(boxed), "--task", "pose"]) == 2
    assert sum("danlu:" in line for line in capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(("edit", "kind"), [(_long_quaternion, "unnormalised"), (_mirrored, "mirrored")])
def test_kinds_of_wrong_matrices(bop: Path, edit: Callable[[Any], None], kind: str) -> None:
    change(bop / "test/000001/scene_gt.json", lambda content: edit(content["0"][0]))
    assert {name: len(places) for name, places in read(bop, on_bad="skip").audit.matrices.items()} == {kind: 1}


def test_poses_of_the_camera_are_explained() -> None:
    """Inverted poses put the objects behind the camera or to its side, where no other hypothesis finds them."""
    shift = torch.tensor([0.02, -0.01, 0.6], dtype=torch.float64)
    points, boxes = torch.from_numpy(solids()[0].mesh.points), []
    for turn in random_rotations(12, torch.Generator().manual_seed(0)):
        pixels = project_model(points, turn, shift, torch.from_numpy(K))
        box = torch.cat((pixels.amin(0), pixels.amax(0))).numpy()
        boxes.append(PosedBox(points, turn.T, -turn.T @ shift, K, box))
    found = explain(boxes)
    assert found is not None
    assert found.kind == "inverse"
    assert found.after < 1e-6


def test_a_symmetric_shape_without_a_declared_symmetry_is_noted(bop: Path) -> None:
    """The cube of the scenes has no symmetry in models_info.json; its three axes of quarter turns are found."""
    assert read(bop).audit.undeclared == [("obj_000002", "x: 90 degrees; y: 90 degrees; z: 90 degrees")]


def _without_a_camera(bop: Path) -> None:
    (bop / "test/000001/scene_camera.json").unlink()


def _without_models(bop: Path) -> None:
    (bop / "models/models_info.json").unlink()


def _without_images(bop: Path) -> None:
    for file in (bop / "test/000001/rgb").iterdir():
        file.unlink()


def _eight_numbers(bop: Path) -> None:
    def edit(content: Any) -> None:
        for objects in content.values():
            for one in objects:
                one["cam_R_m2c"].pop()

    change(bop / "test/000001/scene_gt.json", edit)


def _a_list(bop: Path) -> None:
    (bop / "test/000001/scene_gt.json").write_text("[]")


def _cut_off(bop: Path) -> None:
    (bop / "test/000001/scene_gt.json").write_text('{"0": [')


def _without_objects(bop: Path) -> None:
    change(bop / "test/000001/scene_gt.json", lambda content: [one.clear() for one in content.values()])


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_without_a_camera, "no scene_camera.json"),
        (_without_models, "models_info.json"),
        (_without_images, "image file is missing"),
        (_eight_numbers, "no cam_R_m2c of nine numbers"),
        (_a_list, "an object with an entry per image"),
        (_cut_off, "cannot be read as JSON"),
        (_without_objects, "at least one pose"),
    ],
)
def test_incomplete_data_are_refused_in_one_sentence(
    bop: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], text: str
) -> None:
    damage(bop)
    assert main(["data", str(bop)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert text in lines[0]


def test_a_folder_without_scenes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "000001").mkdir()
    with pytest.raises(Refusal):
        read(tmp_path)
    with pytest.raises(Refusal, match=r"no scene_gt\.json"):
        read(tmp_path, format="bop")


def test_a_missing_image_is_skipped(bop: Path) -> None:
    (bop / "test/000001/rgb/000001.png").unlink()
    dataset = read(bop, on_bad="skip")
    assert len(dataset) == COUNT - 1
    assert "missing" in dataset.problems[0].reason
