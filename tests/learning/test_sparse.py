"""2:4 sparsity: exact masks, updates by the formulas, and networks that learn with it."""

from __future__ import annotations

import copy

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

import danlu
from danlu.config import ModelConfig, OptimConfig
from danlu.learning.optim import OPTIMIZERS, build_optimizer
from danlu.learning.regularise import WeightAverage
from danlu.learning.sparse import decay_pruned, is_sparse, largest_two, plain_state, semi_structured, sparsify
from danlu.models.network_table import build_model
from danlu.refuse import Refusal

FIXED, REFINED = ModelConfig(sparse="2:4"), ModelConfig(sparse="2:4", sparse_refine=0.1)


def net() -> nn.Sequential:
    """A convolution and a dense layer that can be pruned, and a convolution of 3 input channels that cannot."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(16, 2)]
    return nn.Sequential(*layers)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    torch.manual_seed(1)
    optimizer.zero_grad()
    model(torch.randn(5, 3, 6, 6)).square().sum().backward()
    optimizer.step()


def test_the_two_largest_of_four_input_channels_stay():
    torch.manual_seed(0)
    for shape in [(5, 8), (6, 12, 3, 3)]:
        weight = torch.randn(shape)
        mask = largest_two(weight)
        assert mask.shape == shape
        for start in range(0, shape[1], 4):
            group = weight[:, start : start + 4].abs()
            expected = torch.zeros_like(group, dtype=torch.bool).scatter_(1, group.topk(2, dim=1).indices, True)
            assert torch.equal(mask[:, start : start + 4], expected)


def test_of_equals_exactly_two_stay():
    assert largest_two(torch.tensor([[1.0, 1, -1, 1], [0, 0, 0, 0], [0, 2, 0, 0]])).tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [True, True, False, False],
    ]


def test_masks_are_those_of_torchs_sparsifier():
    """Along the dense layer's inputs, as torch.ao.pruning counts its blocks."""
    from torch.ao.pruning import WeightNormSparsifier

    model = nn.Sequential(nn.Linear(32, 16))
    mask = largest_two(model[0].weight)
    sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    sparsifier.prepare(model, [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    assert torch.equal(model[0].parametrizations.weight[0].mask.bool(), mask)


@pytest.mark.parametrize("config", [FIXED, REFINED])
def test_forward_computes_with_the_pruned_weights(config: ModelConfig):
    model, plain = net(), net()
    assert sparsify(model, config) == ["0"]
    for i in (2, 4):
        with torch.no_grad():
            plain[i].weight.mul_(largest_two(plain[i].weight))
        assert torch.equal(model[i].weight, plain[i].weight)
        assert is_sparse(model[i].weight)
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(model(x), plain(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(x), plain(x))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fixed_masks_keep_pruned_weights_zero(name: str):
    """Whatever the momentum and the decay; even what is stored behind the mask stays, but where steps are matrices."""
    model = net()
    sparsify(model, FIXED)
    masks = {i: model[i].parametrizations.weight[0].mask.clone() for i in (2, 4)}
    before = {i: model[i].weight.detach().clone() for i in (2, 4)}
    optimizer = build_optimizer(model, OptimConfig(name=name, lr=0.01, weight_decay=0.1))
    for _ in range(5):
        step(model, optimizer)
    for i, mask in masks.items():
        assert not model[i].weight[~mask].any()
        assert (model[i].weight != before[i])[mask].all()
        if name != "muon":
            assert not model[i].parametrizations.weight.original[~mask].any()


def test_sr_ste_by_its_formula():
    """w <- w - rate (g(pruned w) + decay (1 - mask) w), the mask of each step by the weights of that step."""
    decay, rate = REFINED.sparse_refine, 0.05
    model = net()
    weights = {i: model[i].weight.detach().clone() for i in (2, 4)}
    sparsify(model, REFINED)
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=rate))
    decay_pruned(model, optimizer, decay)
    changed = 0
    for _ in range(8):
        plain = net()
        plain.load_state_dict(plain_state(model))
        torch.manual_seed(1)
        plain(torch.randn(5, 3, 6, 6)).square().sum().backward()
        step(model, optimizer)
        for i, weight in weights.items():
            mask = largest_two(weight)
            weights[i] = weight - rate * (plain[i].weight.grad + decay * ~mask * weight)
            changed += int((largest_two(weights[i]) != mask).sum())
            torch.testing.assert_close(model[i].parametrizations.weight.original, weights[i])
    assert changed > 0


def test_decay_of_pruned_weights_is_added_once_and_after_clipping():
    model = net()
    sparsify(model, REFINED)
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=1.0))
    decay_pruned(model, optimizer, 0.5)
    before = model[4].parametrizations.weight.original.detach().clone()
    for _ in range(3):  # batches whose gradients are added up
        model(torch.randn(5, 3, 6, 6)).sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-12)
    optimizer.step()
    expected = torch.where(largest_two(before), before, 0.5 * before)
    torch.testing.assert_close(model[4].parametrizations.weight.original.detach(), expected)


@pytest.mark.parametrize("config", [FIXED, REFINED])
def test_plain_state_loads_into_the_network_without_sparsity(config: ModelConfig):
    model, plain = net(), net()
    sparsify(model, config)
    assert plain_state(plain).keys() == plain.state_dict().keys()
    plain.load_state_dict(plain_state(model))
    assert [is_sparse(plain[i].weight) for i in (0, 2, 4)] == [False, True, True]
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(plain(x), model(x))


@pytest.mark.parametrize("config", [FIXED, REFINED])
def test_an_average_of_the_weights_is_sparse_too(config: ModelConfig):
    """SR-STE averages what is stored and prunes the average: masks may change without the average filling up."""
    model = net()
    sparsify(model, config)
    average = WeightAverage(model, 0.9)
    optimizer = build_optimizer(model, OptimConfig(name="momentum", lr=0.02))
    for _ in range(8):
        step(model, optimizer)
        average.update(model)
    assert not torch.equal(average.model[4].weight, model[4].weight)
    assert is_sparse(average.model[2].weight)
    assert is_sparse(average.model[4].weight)


def test_zero_layers_stay_dense_with_fixed_masks():
    with pytest.raises(Refusal, match="--sparse must be omitted"):
        sparsify(build_model("softmax", inputs=8, classes=3), FIXED)
    assert sparsify(build_model("softmax", inputs=8, classes=3), REFINED) == []
    assert sparsify(build_model("vit-mini", channels=1, size=8, classes=3), FIXED) == ["head", "embed"]


def test_refusals():
    with pytest.raises(Refusal, match=r"sparse_refine must be omitted without --sparse"):
        sparsify(net(), ModelConfig(sparse_refine=0.1))
    for norm in ("weight", "spectral"):
        model = build_model("mlp", inputs=8, classes=3, norm=norm)
        with pytest.raises(Refusal, match=rf"model.norm must be other than weight and spectral.*'{norm}'"):
            sparsify(model, ModelConfig(sparse="2:4", norm=norm))
    with pytest.raises(Refusal, match="CUDA GPU"):
        semi_structured(net())


@pytest.mark.parametrize(
    ("model", "refine", "more"),
    [
        ("mlp", 0.0, {"optimizer": "adamw"}),
        pytest.param(
            *("lenet", 0.0, {"optimizer": "momentum", "lr": 0.05, "precision": "bf16", "optim.ema": 0.9}),
            marks=pytest.mark.slow,
        ),
        ("mlp", 2e-4, {"optimizer": "momentum", "lr": 0.05, "optim.ema": 0.9}),
    ],
)
def test_training_reaches_the_dense_networks_accuracy(model: str, refine: float, more: dict, tmp_path):
    settings = {"precision": "fp32", "channels_last": False, "device": "cpu", "epochs": 15, "augment": "none"} | more
    out = str(tmp_path / "run")
    sparse = {"sparse": "2:4", "model.sparse_refine": refine}
    run = danlu.train("digits", model=model, out=out, console=Console(quiet=True), **sparse, **settings)
    assert run.summary["metrics"]["test"]["accuracy"] > 0.95
    (note,) = (choice["reason"] for choice in run.summary["choices"] if choice["key"] == "model.sparse")
    weights = load_file(tmp_path / "run/weights/best.safetensors")
    dense = [k for k, w in weights.items() if w.ndim > 1 and not is_sparse(w)]
    assert all(k.removesuffix(".weight") in note for k in dense)
    assert len(dense) == (2 if model == "lenet" else 0)
    assert copy.deepcopy(run.model).state_dict().keys() == weights.keys()  # the plain network


def test_a_resumed_run_goes_on_exactly(tmp_path):
    """The checkpoint contains the weights behind the masks (SR-STE), and fixed masks."""
    settings = {"precision": "fp32", "channels_last": False, "device": "cpu", "augment": "none", "schedule": "constant"}
    settings |= {"optimizer": "momentum", "lr": 0.05, "optim.ema": 0.9, "console": Console(quiet=True), "sparse": "2:4"}
    settings |= {"keep_state": True, "data.limit": 400}
    for refine in (0.0, 2e-4):
        begun = {"model": "mlp", "model.sparse_refine": refine, "transfer.layer_decay": 0.5} | settings
        whole, halves = (tmp_path / f"{name}-{refine}" for name in ("whole", "halves"))
        danlu.train("digits", epochs=4, out=str(whole), **begun)
        danlu.train("digits", epochs=2, out=str(halves), **begun)
        danlu.train(resume=halves, epochs=4, console=settings["console"])
        one, other = (load_file(run / "weights/last.safetensors") for run in (whole, halves))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[k], other[k]) for k in one)


def test_frozen_layers_stay_as_they_are():
    model = net()
    model[2].weight.requires_grad_(False)
    before = model[2].weight.clone()
    assert sparsify(model, FIXED) == ["0", "2"]
    assert torch.equal(model[2].weight, before)


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0), reason="needs a GPU with 2:4 kernels"
)
def test_sparse_kernels_compute_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 10)).cuda()
    sparsify(model, FIXED)
    plain = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 10)).cuda()
    plain.load_state_dict(plain_state(model))
    x = torch.randn(40, 256, device="cuda")
    expected = plain(x)
    assert "0" in semi_structured(plain)
    torch.testing.assert_close(plain(x), expected, atol=2e-2, rtol=2e-2)
