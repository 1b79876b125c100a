"""YCB-Video's layout and both of LINEMOD's: drawn scenes written in their form are read back as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.io import savemat

from danlu.cli import main
from danlu.config import DataConfig
from danlu.data.formats import open_dataset, recognise
from danlu.data.sources.named import scenes
from danlu.pose.cameras import project_model
from danlu.pose.meshes import Mesh
from danlu.pose.solids import solids
from danlu.refuse import Refusal

COUNT, SIDE = 4, 96
NAMES = ("002_master_chef_can", "036_wood_block", "061_foam_brick")  # the latter two are known to be symmetric
LINEMOD_CAMERA = np.array([[572.4114, 0, 325.7611], [0, 573.57043, 242.54899], [0, 0, 1]])  # continuous pixels


@pytest.fixture(scope="module")
def drawn() -> tuple:
    return scenes.draw(COUNT, SIDE, seed=4)


def stored(camera: torch.Tensor) -> np.ndarray:
    """Intrinsics that count pixel centres as integers."""
    found = camera.double().numpy().copy()
    found[:2, 2] -= 0.5
    return found


def whole_boxes(one: Any) -> list[np.ndarray]:
    rows = zip(one.labels.tolist(), one.rigid.rotations.double(), one.rigid.translations.double())
    found = []
    for label, r, t in rows:
        points = torch.from_numpy(solids()[label].mesh.points)
        pixels = project_model(points, r, t, one.rigid.camera.double()).numpy()
        found.append(np.concatenate((pixels.min(0), pixels.max(0))))
    return found


def label_image(one: Any) -> np.ndarray:
    found = np.zeros(one.size, np.uint8)
    for k, shape in zip(one.labels.tolist(), one.shapes):
        h, w = shape.pixels.shape
        found[shape.top : shape.top + h, shape.left : shape.left + w] += shape.pixels * np.uint8(k + 1)
    return found


def write_ply(path: Path, mesh: Mesh, factor: float) -> None:
    points, faces = mesh.points * factor, mesh.faces
    head = (
        f"ply\nformat ascii 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float y\nproperty float z\n"
    )
    head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    rows = [" ".join(f"{v:.6f}" for v in row) for row in points] + [f"3 {a} {b} {c}" for a, b, c in faces]
    path.write_text(head + "\n".join(rows) + "\n")


@pytest.fixture
def ycb(tmp_path: Path, drawn: tuple) -> Path:
    """YCB-Video: metres, meta files of MATLAB, labels from 1, one video per two images."""
    images, annotations, _ = drawn
    root = tmp_path / "YCB"
    for i, (image, one) in enumerate(zip(images, annotations)):
        folder = root / "data" / f"{i // 2:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        prefix = folder / f"{i % 2 + 1:06d}"
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(f"{prefix}-color.png")
        Image.fromarray(label_image(one)).save(f"{prefix}-label.png")
        poses = torch.cat((one.rigid.rotations, one.rigid.translations[..., None]), -1).double().numpy()
        meta = {
            "intrinsic_matrix": stored(one.rigid.camera),
            "poses": poses.transpose(1, 2, 0),
            "cls_indexes": (one.labels.numpy() + 1)[:, None].astype(np.uint8),
            "factor_depth": np.array([[10000]]),
        }
        savemat(f"{prefix}-meta.mat", meta)
        lines = [
            f"{NAMES[k]} {' '.join(f'{v:.2f}' for v in box)}" for k, box in zip(one.labels.tolist(), whole_boxes(one))
        ]
        Path(f"{prefix}-box.txt").write_text("\n".join(lines) + "\n")
    for name, model in zip(NAMES, solids()):
        (root / "models" / name).mkdir(parents=True)
        np.savetxt(root / "models" / name / "points.xyz", np.unique(model.mesh.surface(1500), axis=0))
    (root / "image_sets").mkdir()
    (root / "image_sets" / "classes.txt").write_text("\n".join(NAMES) + "\n")
    (root / "image_sets" / "train.txt").write_text("0000/000001\n0000/000002\n")
    (root / "image_sets" / "keyframe.txt").write_text("0001/000001\n")
    return root


@pytest.fixture
def preprocessed(tmp_path: Path, drawn: tuple) -> Path:
    """LINEMOD as preprocessed: millimetres, yaml, obj_bb of the projected mesh."""
    images, annotations, _ = drawn
    root = tmp_path / "Linemod_preprocessed"
    folder = root / "data" / "02"
    (folder / "rgb").mkdir(parents=True)
    truth, info = {}, {}
    for i, (image, one) in enumerate(zip(images, annotations)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / "rgb" / f"{i:04d}.png")
        info[i] = {"cam_K": stored(one.rigid.camera).ravel().tolist(), "depth_scale": 1.0}
        truth[i] = [
            {
                "cam_R_m2c": r.flatten().tolist(),
                "cam_t_m2c": (t * 1000).tolist(),
                "obj_bb": [int(box[0]), int(box[1]), *(int(v) for v in box[2:] - box[:2])],
                "obj_id": (2, 10, 11)[k],
            }
            for r, t, k, box in zip(one.rigid.rotations, one.rigid.translations, one.labels.tolist(), whole_boxes(one))
        ]
    (folder / "gt.yml").write_text(yaml.safe_dump(truth))
    (folder / "info.yml").write_text(yaml.safe_dump(info))
    (folder / "train.txt").write_text("0000\n0001\n")
    (folder / "test.txt").write_text("0002\n0003\n")
    (root / "models").mkdir()
    for number, model in zip((2, 10, 11), solids()):
        write_ply(root / "models" / f"obj_{number:02d}.ply", model.mesh, 1000)
    return root


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """LINEMOD as first published: one object per image, translations in centimetres, 640 x 480."""
    root = tmp_path / "linemod"
    turns = scenes.from_quaternions(torch.randn(4, 4, generator=torch.Generator().manual_seed(0))).double()
    for name, model, unit in (("ape", solids()[0], 1000), ("eggbox", solids()[1], 1)):
        data = root / name / "data"
        data.mkdir(parents=True)
        write_ply(root / name / "mesh.ply", model.mesh, unit)
        (root / name / "distance.txt").write_text(f"{model.extent * 100:.4f}\n")
        for i, turn in enumerate(turns[:2]):
            Image.new("RGB", (640, 480), (i, 90, 200)).save(data / f"color{i}.jpg")
            rows = "\n".join(" ".join(f"{v:.8f}" for v in row) for row in turn.tolist())
            (data / f"rot{i}.rot").write_text(f"3 3\n{rows}\n")
            (data / f"tra{i}.tra").write_text(f"1 3\n{2.5 + i}\n-1.0\n{80.0 + i}\n")
    return root


def read(path: Path, **settings: Any) -> Any:
    return open_dataset(DataConfig(path=str(path), **settings))


def test_ycb_video_is_read_as_drawn(ycb: Path, drawn: tuple) -> None:
    assert recognise(ycb) == "ycb video"
    dataset = read(ycb)
    assert dataset.task == "pose"
    assert dataset.classes == NAMES
    assert dataset.given.tolist() == [0, 0, 2]  # the last image is in no list
    assert any("1 images in no list" in note for note in dataset.notes)
    for one, real in zip(dataset.targets, drawn[1]):
        assert one.labels.tolist() == real.labels.tolist()
        assert one.rigid.translations.numpy() == pytest.approx(real.rigid.translations.numpy(), abs=1e-6)
        assert one.rigid.rotations.numpy() == pytest.approx(real.rigid.rotations.numpy(), abs=1e-5)
        assert one.rigid.camera.numpy() == pytest.approx(real.rigid.camera.numpy(), abs=1e-4)
        assert [(mask.path.name[-9:], mask.instance) for mask in one.shapes] == [
            ("label.png", k + 1) for k in real.labels.tolist()
        ]
    assert len(dataset.models[0].symmetries) == 1
    assert dataset.models[0].extent == pytest.approx(solids()[0].extent, rel=0.03)
    assert not dataset.problems


def test_symmetries_of_known_objects_come_from_their_shape(ycb: Path) -> None:
    """Foam brick and wood block have none in YCB-Video's files; here a cube and a cylinder stand for them."""
    _, cube, cylinder = read(ycb).models
    assert len(cube.symmetries) == 24
    assert cylinder.continuous
    assert len(cylinder.symmetries) == 72


def test_preprocessed_linemod_is_read_as_drawn(preprocessed: Path, drawn: tuple) -> None:
    assert recognise(preprocessed) == "linemod"
    dataset = read(preprocessed)
    assert dataset.classes == ("obj_02", "obj_10", "obj_11")
    assert dataset.given.tolist() == [0, 0, 2, 2]
    for one, real in zip(dataset.targets, drawn[1]):
        assert one.labels.tolist() == real.labels.tolist()
        assert one.rigid.translations.numpy() == pytest.approx(real.rigid.translations.numpy(), abs=1e-5)
        assert one.rigid.camera.numpy() == pytest.approx(real.rigid.camera.numpy(), abs=1e-4)
    assert [len(model.symmetries) for model in dataset.models] == [1, 24, 72]
    assert recognise(preprocessed / "data" / "02") == "linemod"  # the models are found beside the folder
    assert len(read(preprocessed / "data" / "02")) == COUNT


def test_original_linemod_has_centimetres_and_its_camera(original: Path) -> None:
    """The unit of each mesh is the one that fits distance.txt: here millimetres, and metres."""
    assert recognise(original) == "linemod"
    dataset = read(original)
    assert dataset.classes == ("ape", "eggbox")
    assert len(dataset) == 4
    assert dataset.targets[0].rigid.translations[0].tolist() == pytest.approx([0.025, -0.01, 0.8])
    assert dataset.targets[0].rigid.camera.numpy() == pytest.approx(LINEMOD_CAMERA)
    for model, real in zip(dataset.models, solids()):
        assert model.extent == pytest.approx(real.extent, rel=1e-3)
    assert [len(model.symmetries) for model in dataset.models] == [1, 24]
    box = dataset.targets[0].boxes[0]
    centre = (box[:2] + box[2:]) / 2  # the origin projects to fx x / z + cx
    assert centre.tolist() == pytest.approx([572.4 * 0.025 / 0.8 + 325.8, -573.6 * 0.01 / 0.8 + 242.5], abs=40)


def _no_models(ycb: Path) -> None:
    (ycb / "models").rename(ycb / "meshes")


def _one_model_gone(ycb: Path) -> None:
    (ycb / "models" / NAMES[1] / "points.xyz").unlink()


def _words_as_points(ycb: Path) -> None:
    (ycb / "models" / NAMES[1] / "points.xyz").write_text("x y z\n")


def _damaged_meta(ycb: Path) -> None:
    for file in ycb.glob("data/*/*-meta.mat"):
        file.write_bytes(b"no matrix")


def _millimetres(ycb: Path) -> None:
    for file in ycb.glob("models/*/points.xyz"):
        np.savetxt(file, np.loadtxt(file) * 1000)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_no_models, "must have a folder models"),
        (_one_model_gone, "must have the model of 036_wood_block"),
        (_words_as_points, "cannot be read"),
        (_damaged_meta, "no intrinsic_matrix, poses and cls_indexes"),
        (_millimetres, "the same unit, metres in this format"),
    ],
)
def test_faults_of_ycb_video_are_refused_in_one_sentence(
    ycb: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], text: str
) -> None:
    damage(ycb)
    assert main(["data", str(ycb)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert text in lines[0]


def _cut_off(root: Path) -> None:
    (root / "data/02/gt.yml").write_text("0: [{")


def _a_list(root: Path) -> None:
    (root / "data/02/gt.yml").write_text("- 1\n")


def _no_mesh(root: Path) -> None:
    (root / "models/obj_10.ply").unlink()


def _no_camera(root: Path) -> None:
    (root / "data/02/info.yml").write_text("0: {depth_scale: 1.0}\n")


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_cut_off, "cannot be read as YAML"),
        (_a_list, "must have an entry per image, got list"),
        (_no_mesh, r"must have models/obj_10\.ply, the mesh of object 10"),
        (_no_camera, "info.yml has no cam_K"),
    ],
)
def test_faults_of_linemod_are_refused(preprocessed: Path, damage: Callable[[Path], None], text: str) -> None:
    damage(preprocessed)
    with pytest.raises(Refusal, match=text):
        read(preprocessed)


def test_faults_of_the_original_layout(original: Path) -> None:
    for i in range(2):
        (original / f"ape/data/tra{i}.tra").write_text("1 3\n1 2\n")
    with pytest.raises(Refusal, match="no matrix of 3 x 3 and translation of 3"):
        read(original / "ape")
    (original / "eggbox/mesh.ply").unlink()
    with pytest.raises(Refusal, match=r"must have mesh\.ply, the mesh of eggbox"):
        read(original / "eggbox")
