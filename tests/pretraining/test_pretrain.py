"""`danlu pretrain` from a folder to a fine-tuned classifier; resume; wrong input."""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

import danlu
from danlu.engine.saving import Interrupted
from danlu.models.network_table import build_backbone
from danlu.pretraining.masked import MAE, BEiT, Masked, SimMIM
from danlu.pretraining.methods import METHODS, build_pretrainer
from danlu.pretraining.pretrainer import parts_of
from danlu.pretraining.tokenizer import TOKENIZERS
from danlu.refuse import Refusal

QUIET = Console(quiet=True)
SETTINGS = {
    "mask": 0.5, "decoder_width": 32, "decoder_depth": 1, "norm_patches": True, "unit": None, "tokenizer": "kmeans",
    "codes": 8, "hidden": 32, "projection": 16, "temperature": 0.5, "momentum": 0.9,
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of 16 pixels in no folders of classes."""
    folder = tmp_path_factory.mktemp("images") / "all"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_loss_with_a_gradient_in_the_backbone(method: str) -> None:
    torch.manual_seed(0)
    name = "vit-mini" if METHODS[method].transformer else "small-cnn"
    model = build_pretrainer(name, {}, SETTINGS | {"method": method}, channels=3, size=16)
    x = torch.randn(6, 3, 16, 16)
    model.prepare([x])
    inputs = torch.stack([x, x + 0.1 * torch.randn_like(x)], 1) if METHODS[method].views else x
    model(inputs)["loss"].backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.parameters())
    model.eval()
    with torch.no_grad():
        first, again = model(inputs), model(inputs)
    assert torch.equal(first, again)
    losses, baselines, _, features = parts_of(first)
    assert losses.shape == baselines.shape == (6,)
    assert features.shape == (6, model.backbone.feature_channels[-1])
    if isinstance(model, Masked):
        hidden, predicted = model.reconstruct(x)
        assert hidden.shape == predicted.shape == x.shape
        shown = (hidden == x).all(1)
        assert 0 < shown.float().mean() < 1
        assert torch.allclose(predicted.permute(0, 2, 3, 1)[shown], x.permute(0, 2, 3, 1)[shown])


def test_simmim_takes_a_vision_transformer_too() -> None:
    model = build_pretrainer("vit-mini", {}, SETTINGS | {"method": "simmim"}, channels=1, size=16)
    assert isinstance(model, SimMIM)
    assert model(torch.randn(2, 1, 16, 16))["loss"].isfinite()


def test_mae_sees_the_visible_patches_only() -> None:
    """Other pixels in the hidden patches change the target and no prediction."""
    torch.manual_seed(0)
    model = build_pretrainer("vit-mini", {}, SETTINGS | {"method": "mae"}, channels=1, size=16).eval()
    assert isinstance(model, MAE)
    x = torch.randn(2, 1, 16, 16)
    predicted, hidden = model._predict(x)
    mask = hidden.view(2, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    other, _ = model._predict(torch.where(mask, torch.randn_like(x), x))
    assert torch.equal(predicted, other)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_uses_its_codes_and_is_the_same_again(name: str) -> None:
    images = torch.randn(30, 1, 8, 8).cumsum(3)
    made = [TOKENIZERS[name](4, 1, 16) for _ in range(2)]
    made[1].load_state_dict(made[0].state_dict())
    for one in made:
        one.fit([images])
    patches = images.unfold(2, 4, 4).unfold(3, 4, 4).reshape(30, 4, 16)
    codes = made[0](patches)
    assert torch.equal(codes, made[1](patches))
    frequency = torch.bincount(codes.flatten(), minlength=16) / codes.numel()
    perplexity = torch.exp(-(frequency * frequency.clamp_min(1e-9).log()).sum())
    assert perplexity > 4
    error = (made[0].decode(codes) - patches).square().mean()
    assert error < patches.var()  # better than the mean of all patches


def test_a_folder_of_images_pretrains_and_a_classifier_starts_from_it(images: Path, tmp_path: Path) -> None:
    run = danlu.pretrain(
        images, method="simmim", model="small-cnn", epochs=1, device="cpu", precision="fp32", channels_last=False,
        out=tmp_path / "a", console=QUIET, workers=0,
    )  # fmt: skip
    assert run.task == "pretrain"
    assert run.metrics.val.loss > 0
    page = run.report.read_text(encoding="utf-8")
    assert "Reconstructions" in page
    assert "The weights after epoch 1, the last, are kept." in page
    assert "Best at epoch" not in page
    for verb in (lambda: run.predict(images), run.evaluate, lambda: danlu.export(run)):
        with pytest.raises(Refusal, match="is a pretraining"):
            verb()
    start = load_file(run.weights("best"))
    for i in range(40):
        folder = tmp_path / "data" / str(i % 3)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.png").write_bytes((images / f"{i}.png").read_bytes())
    tuned = danlu.train(
        tmp_path / "data", init=str(run.folder), epochs=1, device="cpu", precision="fp32", channels_last=False, lr=1e-9,
        out=tmp_path / "b", console=QUIET, workers=0,
    )  # fmt: skip
    assert tuned.config.transfer.layer_decay < 1
    kernel = "stage1.0.0.weight"
    assert torch.allclose(dict(tuned.model.named_parameters())[kernel], start[f"backbone.{kernel}"], atol=1e-6)
    with pytest.raises(Refusal, match="small-cnn"):
        danlu.train(tmp_path / "data", init=str(run.folder), model="resnet20", out=tmp_path / "c", console=QUIET)


def test_wrong_input_is_one_sentence(images: Path, tmp_path: Path) -> None:
    def refused(**settings: object) -> str:
        with pytest.raises(Refusal) as error:
            danlu.pretrain(images, out=tmp_path / "x", console=QUIET, device="cpu", **settings)  # type: ignore[arg-type]
        return str(error.value)

    assert "mae" in refused(method="moe")
    assert "vision transformer" in refused(method="mae", model="resnet20")
    assert "network with stages" in refused(method="simclr", model="mlp")
    assert "multiple of the patch" in refused(method="mae", model={"name": "vit-mini", "patch": 5})
    assert "divisor" in refused(method="simmim", pretrain={"unit": 5})
    assert "omitted for method mae" in refused(method="mae", pretrain={"temperature": 0.1})


def test_too_few_images(tmp_path: Path) -> None:
    for i in range(3):
        Image.new("RGB", (16, 16), (i, i, i)).save(tmp_path / f"{i}.png")
    with pytest.raises(Refusal, match="at least 8 images"):
        danlu.pretrain(tmp_path, out=tmp_path / "run", console=QUIET)


def test_the_tokenizer_of_beit_is_not_trained_with_it() -> None:
    model = build_pretrainer("vit-mini", {}, SETTINGS | {"method": "beit"}, channels=1, size=16)
    assert isinstance(model, BEiT)
    assert not any(p.requires_grad for p in model.tokenizer.parameters())
    assert build_backbone("vit-mini", channels=1, size=16).feature_channels == (128,)


@pytest.mark.parametrize(("method", "verb"), [("simmim", danlu.pretrain), ("simclr", danlu.train)])
def test_a_resumed_pretraining_is_the_same_bit_for_bit(
    method: str,
    verb: Callable[..., Any],
    images: Path,
    tmp_path: Path,
    sigterm_at: Callable[[int], AbstractContextManager[None]],
) -> None:
    settings: dict[str, Any] = {
        "method": method, "model": "small-cnn", "epochs": 2, "batch_size": 16, "save_every": 1e-9, "device": "cpu",
        "precision": "fp32", "channels_last": False, "workers": 0, "console": QUIET, "doctor.budget": 0.0,
    }  # fmt: skip
    unbroken = danlu.pretrain(images, out=tmp_path / "unbroken", **settings)
    with sigterm_at(2), pytest.raises(Interrupted, match="danlu pretrain --resume"):
        danlu.pretrain(images, out=tmp_path / "stopped", **settings)
    resumed = verb(resume=tmp_path / "stopped", console=QUIET)
    for which in ("best", "last"):
        assert filecmp.cmp(unbroken.weights(which), resumed.weights(which), shallow=False)
    assert resumed.metrics.to_json() == unbroken.metrics.to_json()


def test_tune_and_heal_refuse_a_pretraining(images: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"^task must be a task with labels with tune"):
        danlu.tune(images, task="pretrain", out=tmp_path / "search")
    (tmp_path / "config.yaml").write_text("task: pretrain\n", encoding="utf-8")
    with pytest.raises(Refusal, match="it is a pretraining"):
        danlu.heal(tmp_path)


def test_arrays_of_images_pretrain_and_other_arrays_are_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (24, 16, 16, 3), np.uint8)
    run = danlu.pretrain(
        (images, np.arange(24) % 2), method="simclr", model="small-cnn", epochs=1, batch_size=8, device="cpu",
        precision="fp32", channels_last=False, workers=0, out=tmp_path / "a", console=QUIET,
    )  # fmt: skip
    assert np.isfinite(run.metrics.val.loss)
    for wrong in (images.astype(np.float32).transpose(0, 3, 1, 2), images.reshape(24, -1).astype(float)):
        with pytest.raises(Refusal, match="uint8 arrays"):
            danlu.pretrain((wrong, np.arange(24) % 2), out=tmp_path / "b", console=QUIET)
