"""Exported files give the answers of the network; predict.py beside them those of `danlu predict`."""

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from danlu.cli import main
from danlu.deployment import script
from danlu.deployment.export import Export
from danlu.deployment.graph import graph_of
from danlu.deployment.int8 import last_convolutions
from danlu.deployment.verification import verify
from danlu.deployment.verification_images import ExportSamples, noise_images, samples_of
from danlu.refuse import Failure, Refusal

SMALL = {"numpy", "onnxruntime", "PIL"}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Images of every kind that the small script reads: grey, palette, transparent, rotated, 16 bits, JPEG."""
    root = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(5)
    pixels = (np.array([40, 60, 200]) + rng.normal(0, 25, (31, 47, 3))).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.save(root / "rgb.png")
    image.save(root / "photo.jpg", quality=95)
    image.resize((470, 310)).save(root / "large.jpg", quality=95)
    image.convert("L").save(root / "grey.png")
    image.quantize(16).save(root / "palette.gif")
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray((pixels[..., 0] > 40).astype(np.uint8) * 255))
    clear.save(root / "transparent.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(root / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(root / "deep.png")
    return root


@pytest.fixture(scope="module")
def exported(coloured_run, tmp_path_factory) -> Export:
    return danlu.export(coloured_run, out=tmp_path_factory.mktemp("out") / "colours.onnx")


def test_graph_gives_the_probabilities_of_predict(coloured_run, images):
    """Two ways from a file to probabilities: the graph on the canvas, and `predict`."""
    file = images / "rgb.png"
    found = coloured_run.predict(file)[0].probabilities
    graph, size = graph_of(coloured_run), coloured_run.signature.canvas
    with Image.open(file) as image:
        square = image.crop((8, 0, 39, 31)).resize((size, size), Image.Resampling.BILINEAR)
    answers = graph(torch.from_numpy(np.array(square))[None])
    assert dict(zip(coloured_run.classes, answers[0].tolist())) == pytest.approx(found, abs=2e-3)


def test_a_file_that_differs_is_refused(coloured_run):
    """The comparison must see a wrong file: another image's answers, noise in the outputs, swapped classes."""
    graph, samples = graph_of(coloured_run), samples_of(coloured_run)
    assert isinstance(samples, ExportSamples)
    few = replace(samples, index=samples.index[:9])

    def right(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [graph(torch.from_numpy(pixels)).numpy()]

    good = verify(coloured_run, graph, right, few, exact=True)
    assert (good.max_difference, good.compared, good.metric, good.images) == (0, 9, "accuracy", 9)
    assert good.metric_before == good.metric_after
    for wrong in (lambda x: [right(x)[0] + 2e-4], lambda x: [right(x)[0][:, ::-1]], lambda x: right(255 - x)):
        with pytest.raises(Failure, match="differs from the network by"):
            verify(coloured_run, graph, wrong, few)
    with pytest.raises(Failure, match="has accuracy"):
        verify(coloured_run, graph, lambda x: [np.roll(right(x)[0], 1, 1)], few, int8=True)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--format onx", "--format must be onnx, pt2 or openvino, got 'onx'; did you mean 'onnx'?"),
        ("--batch 0", "--batch must be any or an integer from 1 to 4096, got '0'"),
        ("--batch many", "--batch must be any or an integer"),
        ("--out model.pt", "--out must be a file that ends in .onnx"),
        ("--weights worst", "--weights must be best or last"),
    ],
)
def test_wrong_input_is_one_sentence(flags, said, digits_run, capsys):
    assert main(["export", str(digits_run.folder), *flags.split()]) == 2
    written = capsys.readouterr().err
    assert said in written
    assert written.count("\n") == 1


def test_networks_without_images_are_refused(houses_run, tmp_path):
    with pytest.raises(
        Refusal, match=r"RUN must be a network of images to be exported, got .*, a network of table rows"
    ):
        danlu.export(houses_run, out=tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_another_predict_py_is_not_overwritten(digits_run, tmp_path):
    (tmp_path / "predict.py").write_text("mine = 1\n")
    with pytest.raises(Refusal, match=r"without a predict\.py of your own"):
        danlu.export(digits_run, out=tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["predict.py"]


@pytest.mark.parametrize("file", sorted(script.SCRIPTS.glob("*.py")), ids=lambda path: path.name)
def test_scripts_are_small_and_need_three_packages(file):
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= 60
    assert script.MARK in text.partition("\n")[0]
    tree = ast.parse(text)
    modules = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in modules} - sys.stdlib_module_names == SMALL


def test_random_images_fit_the_network(coloured_run):
    images = noise_images(coloured_run, 3)
    assert (images.shape, images.dtype) == ((3, 16, 16, 3), np.uint8)


@pytest.mark.slow
def test_onnx_file_is_whole_and_tells_about_itself(exported, coloured_run):
    import onnxruntime

    file = Path(exported.file)
    assert sorted(path.name for path in file.parent.iterdir()) == ["colours.onnx", "predict.py"]
    assert exported.bytes == file.stat().st_size
    assert exported.max_difference <= 1e-4
    assert exported.metric_before == exported.metric_after
    session = onnxruntime.InferenceSession(str(file))
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == list(coloured_run.classes)
    assert (facts["task"], facts["danlu_version"], facts["canvas"]) == ("classify", danlu.__version__, "16")
    for count in (1, 2, 7):
        answers = session.run(None, {"images": noise_images(coloured_run, count)})[0]
        assert answers.sum(1) == pytest.approx(np.ones(count), abs=1e-5)


@pytest.mark.slow
def test_the_environment_of_predict_py_has_no_torch(small_python):
    names = ["numpy", "PIL", "onnxruntime", "torch", "torchvision", "danlu", "pandas", "onnx"]
    code = f"from importlib.util import find_spec; print([name for name in {names} if find_spec(name)])"
    done = subprocess.run([str(small_python), "-c", code], capture_output=True, text=True, check=True, env={})
    assert ast.literal_eval(done.stdout) == names[:3]


@pytest.mark.slow
def test_predict_py_gives_the_table_of_danlu_predict(exported, coloured_run, images, told):
    ours = [row.to_json() for row in danlu.predict(coloured_run, images)]
    theirs = told(Path(exported.script), images)
    assert [row["path"] for row in theirs] == [row["path"] for row in ours]
    for one, other in zip(theirs, ours):
        assert one.keys() == other.keys()
        assert one["class"] == other["class"]
        assert dict(one["top"]) == pytest.approx(dict(other["top"]), abs=2e-3)


@pytest.mark.slow
def test_predict_py_names_unreadable_files_and_goes_on(exported, images, tmp_path):
    shutil.copytree(images, tmp_path / "all")
    (tmp_path / "all" / "broken.jpg").write_bytes(b"not an image")
    words = [sys.executable, exported.script, "--json", tmp_path / "all"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)["predictions"]
    assert [Path(row["path"]).name for row in rows if "error" in row] == ["broken.jpg"]
    assert len(rows) > 1
    for alone in (tmp_path / "all" / "broken.jpg", tmp_path / "none.jpg"):
        done = subprocess.run([sys.executable, exported.script, alone], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "")
        assert str(alone) in done.stdout
    done = subprocess.run([sys.executable, exported.script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Predict images with colours.onnx")


@pytest.mark.slow
def test_fixed_batch_and_a_run_without_its_data(digits_run, tmp_path, told):
    run = tmp_path / "run"
    shutil.copytree(digits_run.folder, run)
    text = (run / "config.yaml").read_text().replace("path: digits", "path: nowhere/digits")
    (run / "config.yaml").write_text(text)
    done = danlu.export(run, batch=3)
    assert (done.batch, done.metric_before, done.images_compared) == (3, None, 32)
    assert "nowhere" in str(done.note)
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(tmp_path / "one.png")
    (told_row,) = told(Path(done.script), tmp_path / "one.png")
    assert told_row["class"] == digits_run.predict(tmp_path / "one.png")[0]["class"]


@pytest.mark.slow
def test_pt2_round_trip_is_exact(digits_run, tmp_path):
    done = danlu.export(digits_run, format="pt2", out=tmp_path / "m.pt2")
    assert done.max_difference == 0
    facts = {"danlu.json": ""}
    torch.export.load(tmp_path / "m.pt2", extra_files=facts)
    assert json.loads(facts["danlu.json"])["task"] == "classify"
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


def test_int8_of_pt2_is_refused_without_its_package(digits_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)  # as where it is not installed
    with pytest.raises(Refusal, match=r"^int8 needs the package torchao: `pip install torchao`, or danlu\[torchao\]"):
        danlu.export(digits_run, format="pt2", int8=True, out=tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_openvino_gives_the_answers_of_the_network(digits_run, tmp_path):
    openvino = pytest.importorskip("openvino", reason="pip install danlu[openvino]")
    done = danlu.export(digits_run, format="openvino", out=tmp_path / "m.xml")
    assert done.max_difference <= 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bin", "m.xml"]
    model = openvino.Core().read_model(tmp_path / "m.xml")
    assert model.get_rt_info(["danlu", "task"]).astype(str) == "classify"


def test_openvino_is_refused_without_its_package(digits_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(Refusal, match=r"^format openvino needs the package openvino: .* or danlu\[openvino\]"):
        danlu.export(digits_run, format="openvino", out=tmp_path / "m.xml")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_int8_is_smaller_and_as_accurate(digits_run, tmp_path, told):
    import onnx

    plain = danlu.export(digits_run, out=tmp_path / "plain.onnx")
    small = danlu.export(digits_run, out=tmp_path / "small.onnx", int8=True)
    assert small.bytes < 0.5 * plain.bytes
    assert small.format == "onnx int8"
    assert small.metric_before == plain.metric_before
    assert abs(small.metric_after - small.metric_before) <= max(0.005, 1 / small.metric_images)
    assert 0 < small.max_difference < 0.2  # the outputs move: the layers are in 8 bits
    weights = [onnx.numpy_helper.to_array(one) for one in onnx.load(small.file).graph.initializer]
    eight_bits = [one for one in weights if one.dtype == np.int8 and one.size > 1]
    assert eight_bits
    assert all(np.abs(one.astype(int)).max() <= 64 for one in eight_bits)  # two products fit 16 bits on any processor
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.onnx", "predict.py", "small.onnx"]
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(tmp_path / "one.png")
    assert told(Path(small.script), tmp_path / "one.png")[0]["class"] in digits_run.classes


def test_int8_leaves_the_last_convolutions_as_they_are():
    from onnx import helper

    nodes = [
        helper.make_node("Conv", ["images", "w1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["boxes"], "boxes"),
        helper.make_node("Conv", ["b", "w3"], ["c"], "neck"),
        helper.make_node("Sigmoid", ["c"], ["d"], "sigmoid"),
        helper.make_node("Conv", ["d", "w4"], ["scores"], "scores"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "detector", [], []))
    assert sorted(last_convolutions(model)) == ["boxes", "scores"]
    nodes.append(helper.make_node("Gemm", ["scores", "w5"], ["classes"], "classes"))
    assert last_convolutions(helper.make_model(helper.make_graph(nodes, "classifier", [], []))) == ["boxes"]
