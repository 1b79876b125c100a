"""torch.export with the weights of dense layers in 8 bits: smaller, as accurate, and read by torch alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import danlu
from danlu.cli import main
from danlu.deployment.graph import graph_of
from danlu.deployment.weights_int8 import with_int8_weights
from danlu.inference.loaded_run import LoadedRun
from danlu.refuse import Refusal

pytest.importorskip("torchao", reason="pip install danlu[torchao]")

# Reads a file with torch alone; prints the outputs, and whether torchao was imported.
READER = """
import json, sys, numpy, torch
module = torch.export.load(sys.argv[1]).module()
answers = module(torch.from_numpy(numpy.load(sys.argv[2])))
print(json.dumps([answers.tolist(), "torchao" in sys.modules]))
"""


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A network of 0.3 million weights, so that the file is weights for the most part."""
    out = tmp_path_factory.mktemp("runs") / "wide"
    settings: dict[str, Any] = {"model": {"name": "mlp", "width": [512, 512]}, "epochs": 3, "augment": "none"}
    danlu.train("digits", out=str(out), device="cpu", console=Console(quiet=True), **settings)
    return danlu.load(out)


def test_each_output_has_at_most_255_weights_around_zero(digits_run: LoadedRun) -> None:
    graph = graph_of(digits_run)
    small, note = with_int8_weights(graph)
    assert note is None
    dense = {name: layer for name, layer in graph.named_modules() if isinstance(layer, nn.Linear)}
    assert len(dense) > 1
    for name, layer in dense.items():
        before, after = layer.weight.detach(), small.get_submodule(name).weight.dequantize().detach()
        steps = before.abs().amax(1) / 127
        assert ((after - before).abs().amax(1) <= steps).all()
        assert (after - before).abs().mean() < 0.3 * steps.mean()  # of a rounding: a quarter of a step
        assert max(len(row.unique()) for row in after) <= 255
    assert all(parameter.dtype == torch.float32 for parameter in graph.parameters())  # the network itself is unchanged


@pytest.mark.slow
def test_the_file_is_smaller_and_as_accurate_and_needs_torch_only(wide_run: LoadedRun, tmp_path: Path) -> None:
    plain = danlu.export(wide_run, format="pt2", out=tmp_path / "plain.pt2")
    small = danlu.export(wide_run, format="pt2", out=tmp_path / "small.pt2", int8=True)
    assert (small.format, small.note) == ("pt2 int8", None)
    assert small.bytes < 0.4 * plain.bytes
    assert small.metric_before == plain.metric_before
    assert abs(small.metric_after - small.metric_before) <= max(0.005, 1 / small.metric_images)
    assert 0 < small.max_difference < 0.05  # probabilities move: the weights are rounded
    graph, _ = with_int8_weights(graph_of(wide_run))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    words = [sys.executable, "-c", READER, tmp_path / "small.pt2", tmp_path / "images.npy"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers, imported = json.loads(done.stdout)
    with torch.no_grad():
        assert answers == graph(torch.from_numpy(images)).tolist()  # to the bit
    assert not imported


def test_a_note_says_how_little_of_a_convolutional_network_is_in_8_bits(coloured_run: LoadedRun) -> None:
    graph = graph_of(coloured_run)
    small, note = with_int8_weights(graph)
    dense = sum(one.weight.numel() for one in graph.modules() if isinstance(one, nn.Linear))
    fraction = dense / sum(one.numel() for one in graph.parameters())
    assert str(note) == f"{fraction:.0%} of the weights are of dense layers and in 8 bits; the rest stays in float32"
    images = torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert small(images).numpy() == pytest.approx(graph(images).numpy(), abs=0.01)


def test_a_network_without_dense_layers_is_refused(
    coloured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--model nin-cifar --epochs 1 --device cpu --out"
    assert main(["train", str(coloured), *flags.split(), str(tmp_path / "run")]) == 0
    capsys.readouterr()
    with pytest.raises(Refusal, match=r"^int8 must be omitted with format='pt2' for a network without dense layers"):
        danlu.export(tmp_path / "run", format="pt2", int8=True)
    assert main(["export", str(tmp_path / "run"), "--format", "pt2", "--int8"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run" / "export").exists()
