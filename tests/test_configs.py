"""The configs of configs/: each loads, builds the network of its source, and trains."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

import danlu
from danlu.cli import main
from danlu.config import load_yaml
from danlu.models.network_table import MODELS, build_model
from danlu.preparation.networks import model_options
from danlu.run.folder import Run

FOLDER = Path(__file__).parents[1] / "configs"
LENET5 = FOLDER / "lenet5-mnist.yaml"
# Recipe -> side of its images, parameters of the published network, a side at which one step costs little.
RECIPES = {
    "d2l-softmax": (28, 7_850, 28),
    "d2l-mlp": (28, 203_530, 28),
    "d2l-dropout-mlp": (28, 269_322, 28),
    "d2l-lenet": (28, 61_706, 28),
    "d2l-lenet-bn": (28, 44_878, 28),
    "d2l-alexnet": (224, 46_764_746, 65),
    "d2l-vgg11": (224, 43_093_322, 32),
    "d2l-nin": (224, 1_992_166, 67),
    "d2l-googlenet": (96, 5_977_530, 32),
    "d2l-resnet18": (96, 11_175_370, 32),  # counted by hand: 11,689,512, of which 990 classes and two colours less
}
HEAVY = ("d2l-alexnet", "d2l-vgg11")  # tens of millions of weights, however small the images


def test_every_recipe_is_tested():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*RECIPES, LENET5.stem}


@pytest.mark.parametrize("name", RECIPES)
def test_network_is_the_published_one(name: str):
    side, parameters, _ = RECIPES[name]
    config = load_yaml(FOLDER / f"{name}.yaml")
    assert config.model.name in MODELS
    assert (config.data.size or 28) == side
    with torch.device("meta"):
        model = build_model(config.model.name, channels=1, size=side, classes=10, **model_options(config))
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("name", RECIPES)
def test_says_how_it_is_run_and_what_was_published(name: str):
    first, *others = (FOLDER / f"{name}.yaml").read_text().splitlines()
    assert first == f"# danlu train fashion-mnist --config configs/{name}.yaml"
    comment = " ".join(line for line in others if line.startswith("#"))
    assert "Source: " in comment
    assert "training loss 0." in comment


@pytest.fixture(scope="module")
def fashion(tmp_path_factory) -> Path:
    """A folder with a little set in fashion-mnist's form: training and test images 1x28x28 of ten classes."""
    root = tmp_path_factory.mktemp("data")
    (root / "fashion-mnist").mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 20)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
            (root / "fashion-mnist" / f"{part}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return root


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in RECIPES])
def test_trains(name: str, fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DANLU_DATA", str(fashion))
    small = f"--epochs 1 --data.limit 16 --batch-size 8 --size {RECIPES[name][2]} --device cpu"
    command = f"train fashion-mnist --config {FOLDER / name}.yaml {small} --out {tmp_path / 'run'}"
    assert main(shlex.split(command)) == 0
    run = Run.open(tmp_path / "run")
    assert run.summary["epochs"] == 1
    assert run.summary["metrics"]["test"]["loss"] > 0
    assert run.config.optim == load_yaml(FOLDER / f"{name}.yaml").optim
    signature = danlu.load(run.folder).signature
    assert (signature.mean, signature.std) == ((0.0,), (1.0,))


def test_lenet5_of_1998_on_mnist(fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert LENET5.read_text().startswith("# danlu train mnist --config configs/lenet5-mnist.yaml\n")
    config = load_yaml(LENET5)
    (fashion / "mnist").symlink_to(fashion / "fashion-mnist")
    monkeypatch.setenv("DANLU_DATA", str(fashion))
    for name, how in (("recipe", f"--config {LENET5}"), ("default", "--model lenet5")):
        command = f"train mnist {how} --epochs 1 --batch-size 8 --device cpu --out {tmp_path / name}"
        assert main(shlex.split(command)) == 0
        run = Run.open(tmp_path / name)
        assert run.summary["parameters"] == 60_000
        assert (run.config.loss, run.config.data.size) == (config.loss, 28)
    assert Run.open(tmp_path / "recipe").config.optim == config.optim
