"""Transfer from trained weights: copied tensors, frozen layers, learning rates by depth, and wrong input."""

import copy
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn

import danlu
from danlu import cli
from danlu.config import OptimConfig
from danlu.detection.detector_table import build_with_backbone, find_detector
from danlu.learning.optim import build_optimizer
from danlu.models.layer_depth import head_name, levels
from danlu.models.network_table import build_model
from danlu.preparation.freezing import freeze, frozen_parts, lr_factors
from danlu.preparation.transfer import backbone_prefix, match
from danlu.preparation.weights_source import Source
from danlu.refuse import Refusal
from danlu.run.signature import Signature

QUIET = Console(quiet=True)
PLAIN = {"device": "cpu", "precision": "fp32", "channels_last": False, "console": QUIET}


def images(path: Path, labels: list[int], channels: int = 1, seed: int = 0) -> Path:
    """Twelve images per label of 12 x 12 pixels: a bright square whose place is the label's."""
    rng = np.random.default_rng(seed)
    y = np.repeat(labels, 12)
    x = rng.integers(0, 90, (len(y), 12, 12, 3), dtype=np.uint8)
    for image, label in zip(x, y):
        image[label % 3 * 4 :, label // 3 * 4 :] += 120
    np.savez(path, x=x if channels == 3 else x[..., 0], y=y)
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A run on classes 0, 1, 2, 3, with batch norm."""
    folder = tmp_path_factory.mktemp("start")
    data = images(folder / "data.npz", [0, 1, 2, 3])
    return danlu.train(data, out=str(folder / "run"), model={"name": "lenet", "norm": "batch"}, epochs=2, **PLAIN)


def tuned(start, folder: Path, labels=(2, 7, 1), channels: int = 1, **settings):
    """Fine-tuned on other classes, of which 1 and 2 are known."""
    data = images(folder / "data.npz", list(labels), channels, seed=1)
    return danlu.train(
        data,
        **(
            {"out": str(folder / "run"), "init": start.name, "epochs": 2, "seed": 5, "keep_state": True}
            | PLAIN
            | settings
        ),
    )


def outcome(run, which="last"):
    return load_file(run.weights(which))


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def copied(model: str, source: Source, classes: tuple[str, ...], channels: int = 1, size: int = 12, **options):
    """The network as it is after the copy, as it was before it, and what was matched."""
    signature = Signature(task="classify", model=model, options=options, classes=classes, channels=channels, size=size)

    def build(more: int = 0) -> nn.Module:
        torch.manual_seed(1)
        return build_model(model, channels=channels, size=size, classes=len(classes) + more, **options)

    network = build()
    found = match(source, network, build(1), signature)
    found.fill(network)
    return network.state_dict(), build().state_dict(), found


def source_of(start) -> Source:
    return Source("start", outcome(start, "best"), start.signature)


def test_copied_by_name_and_shape(start):
    after, _, found = copied("lenet", source_of(start), ("2", "7", "1"), norm="batch")
    there = outcome(start, "best")
    outputs = [name for name in there if there[name].shape != after[name].shape]
    assert len(outputs) == 2  # weight and bias of the classifier
    for name in there.keys() - set(outputs):
        assert torch.equal(after[name], there[name]), name
    assert found.left == {}
    assert found.unused == []


def test_rows_of_classes_of_the_same_name(start):
    after, before, found = copied("lenet", source_of(start), ("2", "7", "1"), norm="batch")
    there = outcome(start, "best")
    for name in found.outputs:
        assert torch.equal(after[name][0], there[name][2])
        assert torch.equal(after[name][2], there[name][1])
        assert torch.equal(after[name][1], before[name][1])  # drawn
    assert found.classes == ["2", "1"]
    weights = sum(v.numel() for n, v in after.items() if "running" not in n and "num_batches" not in n)
    row = sum(after[name][1].numel() for name in found.outputs)
    assert (found.copied, found.weights) == (weights - row, weights)


def test_equally_many_other_classes_get_a_new_head(start):
    """The shapes are the same, the meaning is not."""
    after, before, found = copied("lenet", source_of(start), ("5", "6", "7", "8"), norm="batch")
    new = [name for name, why in found.left.items() if "no class has the same name" in why]
    assert len(new) == 2
    assert all(torch.equal(after[name], before[name]) for name in new)


def test_tensors_that_do_not_fit_are_named(start):
    source = source_of(start)
    state = dict(source.state) | {"else.weight": torch.ones(2)}
    del state["stage2.1.1.running_mean"]
    state["head.2.weight"] = torch.ones(3, 3)
    _, _, found = copied("lenet", Source("x", state, source.signature), ("0", "1"), norm="batch")
    assert set(found.left) == {"stage2.1.1.running_mean", "head.2.weight"}
    said = "; ".join(found.sentences())
    for word in (
        "stage2.1.1.running_mean (not in the source)",
        "head.2.weight (3x3 there, 120x16 here)",
        "else.weight",
    ):
        assert word in said


@pytest.mark.parametrize(("there", "here"), [(3, 1), (1, 3)])
def test_an_input_of_other_colours_gives_the_same_output_for_grey(there, here):
    torch.manual_seed(3)
    old = build_model("lenet", channels=there, size=12, classes=2)
    signature = Signature(task="classify", model="lenet", classes=("a", "b"), channels=there, size=12)
    state, _, found = copied("lenet", Source("x", old.state_dict(), signature), ("a", "b"), channels=here)
    assert [*found.colours] == ["stage1.0.weight"]
    assert any("stage1.0.weight" in sentence and "grey" in sentence for sentence in found.sentences())
    new = build_model("lenet", channels=here, size=12, classes=2)
    new.load_state_dict(state)
    grey = torch.randn(4, 1, 12, 12)
    outputs = [net(grey.expand(-1, channels, -1, -1)) for net, channels in ((old, there), (new, here))]
    torch.testing.assert_close(*outputs)


def test_auxiliary_heads_are_classifiers_too():
    torch.manual_seed(3)
    old = build_model("googlenet", channels=3, size=32, classes=2, aux=True)
    signature = Signature(task="classify", model="googlenet", classes=("a", "b"), channels=3, size=32)
    _, _, found = copied(
        "googlenet", Source("x", old.state_dict(), signature), ("b", "c"), channels=3, size=32, aux=True
    )
    assert len(found.outputs) == 6  # three heads
    assert found.pairs == [(0, 1)]


def test_network_and_input_settings_are_copied(start, tmp_path):
    run = tuned(start, tmp_path)
    assert run.signature.model == "lenet"
    assert run.signature.options == {"norm": "batch"}
    assert (run.signature.mean, run.signature.std) == (start.signature.mean, start.signature.std)
    choices = {choice["key"]: choice["reason"] for choice in run.summary["choices"]}
    assert start.name in choices["model.name"]
    assert "copied by name and shape" in choices["transfer.init"]
    assert "fine-tuning" in choices["optim.lr"]
    assert "copied by name and shape" in (run.folder / "log.txt").read_text()
    assert run.summary["transfer"]["classes"] == ["1", "2"]


def test_fewer_epochs_and_a_smaller_rate(start, tmp_path):
    fine = tuned(start, tmp_path, epochs=None).config
    drawn = danlu.train(tmp_path / "data.npz", out=str(tmp_path / "drawn"), model="lenet", **PLAIN).config
    assert fine.optim.lr < drawn.optim.lr
    assert fine.epochs < drawn.epochs


@pytest.mark.parametrize("settings", [{}, {"optim.ema": 0.9, "optim.weight_decay": 0.1}], ids=["plain", "ema"])
def test_frozen_layers_do_not_change(start, tmp_path, settings):
    run = tuned(start, tmp_path, freeze="stage1,head.3", **settings)
    there, here = outcome(start, "best"), outcome(run)
    frozen = [name for name in there if name.startswith(("stage1.", "head.3."))]
    assert any("running_var" in name for name in frozen)
    assert any("num_batches_tracked" in name for name in frozen)
    assert same({n: there[n] for n in frozen}, {n: here[n] for n in frozen})
    assert not torch.equal(there["stage2.1.0.weight"], here["stage2.1.0.weight"])
    assert not torch.equal(there["stage2.1.1.running_mean"], here["stage2.1.1.running_mean"])


def test_all_but_the_head(start, tmp_path):
    run = tuned(start, tmp_path, freeze="all-but-head")
    there, here = outcome(start, "best"), outcome(run)
    changed = {name.partition(".")[0] for name in there if not torch.equal(there[name], here[name])}
    assert changed == {"head"}


def test_train_mode_does_not_unfreeze_layers():
    model = build_model("resnet20", channels=3, size=32, classes=4)
    freeze(model, frozen_parts(model, ["stage1"]))
    for network in (model, copy.deepcopy(model)):
        network.train()
        assert not any(module.training for module in network.stage1.modules())
        assert all(module.training for module in network.stage2.modules())
        before = copy.deepcopy(network.state_dict())
        network(torch.randn(2, 3, 32, 32))
        moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
        assert moved
        assert not any(name.startswith("stage1") for name in moved)
    twin = copy.deepcopy(model)
    twin.train()
    assert twin.stage1.train.__self__ is twin.stage1  # the copy's own, not the original's


def test_the_optimiser_holds_no_frozen_weights():
    model = build_model("resnet20", channels=3, size=32, classes=4)
    freeze(model, frozen_parts(model, ["stage1", "stage2.0"]))
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=0.1))
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in held) == (not name.startswith(("stage1.", "stage2.0."))), name


def test_learning_rates_by_depth():
    """resnet20: stages 1 to 3 and the head have factors 1/8, 1/4, 1/2 and 1."""
    model = build_model("resnet20", channels=3, size=32, classes=4)
    factors = lr_factors(model, 0.5)
    by_part = {name.partition(".")[0]: factor for name, factor in factors.items()}
    assert by_part == {"stage1": 0.125, "stage2": 0.25, "stage3": 0.5, "head": 1.0}
    optimizer = build_optimizer(model, OptimConfig(name="momentum", lr=0.4, weight_decay=0.01), lr_factors=factors)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == (0.4 * factors[name], 0.01 if parameter.ndim > 1 else 0.0)
    assert len(rates) == len(factors)


def test_schedule_scales_all_learning_rates(start, tmp_path):
    run = tuned(start, tmp_path, **{"transfer.layer_decay": 0.5, "schedule": "cosine", "lr": 0.01, "log_every": 1})
    groups = torch.load(run.state, weights_only=True)["optimizer"]["param_groups"]
    assert sorted({group["peak_lr"] for group in groups}) == [0.0025, 0.005, 0.01]
    assert len({group["lr"] / group["peak_lr"] for group in groups}) == 1
    assert run.record.of("step")[0]["lr"] == 0.01  # the head's


@pytest.mark.parametrize(
    ("name", "count"), [("vit-mini", 8), ("lenet", 3), ("mlp", 2), ("timm/resnet18", 6), ("torchvision/resnet18", 7)]
)
def test_every_network_has_levels(name, count):
    model = build_model(name, channels=3, size=32, classes=4)
    found = levels(model)
    assert len(found) == count
    assert sorted(name for level in found for name in level) == sorted(n for n, _ in model.named_parameters())
    assert any(n.startswith(head_name(model) + ".") for n in found[-1])


def test_a_network_of_poses_starts_its_detector_from_a_backbone():
    model = build_with_backbone("pose-crop", "cspnet-nano", classes=2, channels=3, size=64)
    assert backbone_prefix(model) == "detector.backbone."
    found = levels(model)
    assert sorted(name for level in found for name in level) == sorted(n for n, _ in model.named_parameters())
    assert all(name.startswith("detector.backbone.") for level in found[:-1] for name in level)
    assert not any(name.startswith("detector.backbone.") for name in found[-1])
    assert model.get_submodule(find_detector("pose-crop").backbone_at) is model.backbone


def test_heads_with_several_rows_per_class_are_copied_where_the_classes_are_the_same():
    """pose-crop scores each of its anchors for each class."""
    model, other = (build_with_backbone("pose-crop", "cspnet-nano", classes=2, channels=3, size=64) for _ in range(2))
    wider = build_with_backbone("pose-crop", "cspnet-nano", classes=3, channels=3, size=64)
    signature = Signature(task="pose", model="pose-crop", classes=("a", "b"))
    found = match(Source("run", model.state_dict(), signature), other, wider, signature)
    assert {"views.scores.weight", "views.corrections.bias"} <= {*found.whole}
    turned = match(Source("run", model.state_dict(), signature), other, wider, replace(signature, classes=("b", "a")))
    assert "views.scores.weight" in turned.left


def test_muon_with_factors_by_depth_keeps_the_head_apart():
    model = build_model("resnet20", channels=3, size=32, classes=4)
    optimizer = build_optimizer(model, OptimConfig(name="muon", lr=0.1), lr_factors=lr_factors(model, 0.5))
    matrices = [p for group in optimizer.param_groups[: optimizer.hidden_groups] for p in group["params"]]
    assert not any(p is model.head[2].weight for p in matrices)


FULL = {"freeze": "stage1", "transfer.layer_decay": 0.5, "optim.ema": 0.9, "epochs": 3}


def test_resuming_needs_no_source_and_changes_no_bit(start, tmp_path):
    gone = tmp_path / "gone"
    shutil.copytree(start.folder, gone)
    source = danlu.load(gone)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = tuned(source, tmp_path / "whole", **FULL)
    fixed = {"epochs": 1, "schedule": "constant", "lr": whole.config.optim.lr}
    whole = tuned(source, tmp_path / "whole", out=str(tmp_path / "whole" / "again"), **FULL | fixed | {"epochs": 3})
    parts = tuned(source, tmp_path / "parts", **FULL | fixed)
    shutil.rmtree(gone)
    parts = danlu.train(resume=parts.name, epochs=3, console=QUIET)
    assert same(outcome(whole), outcome(parts))
    assert danlu.load(parts.name).evaluate(part="val")["metrics"]["val"]


def test_a_run_killed_before_its_first_checkpoint_begins_again(start, tmp_path):
    gone = tmp_path / "gone"
    shutil.copytree(start.folder, gone)
    run = tuned(danlu.load(gone), tmp_path)
    before = outcome(run)
    for name in ("state.pt", "summary.json", "weights/best.safetensors", "weights/last.safetensors"):
        (run.folder / name).unlink()
    shutil.rmtree(gone)
    assert same(before, outcome(danlu.train(resume=run.name, console=QUIET)))


def test_the_config_repeats_the_run(start, tmp_path):
    run = tuned(start, tmp_path, **FULL)
    twin = danlu.train(config=run.folder / "config.yaml", out=str(tmp_path / "twin"), console=QUIET)
    assert same(outcome(run), outcome(twin))


@pytest.mark.slow
def test_two_processes_start_from_the_same_weights(start, tmp_path):
    run = tuned(start, tmp_path, devices=2, freeze="stage1")
    there, here = outcome(start, "best"), outcome(run)
    assert all(torch.equal(there[name], here[name]) for name in there if name.startswith("stage1."))


def test_folds_start_from_it_too(start, tmp_path):
    run = tuned(start, tmp_path, folds=3, refit="best", epochs=1)
    assert (run.folder / "weights" / "start.safetensors").is_file()


def test_equal_content_in_several_formats(start, tmp_path):
    state = outcome(start, "best")
    save_file(state, tmp_path / "bare.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "wrapped.pth")
    torch.save(state, tmp_path / "plain.pt")
    shape = {"model": {"name": "lenet", "norm": "batch"}, "labels": (0, 1, 2, 3), "freeze": "all-but-head", "epochs": 1}
    found = []
    for name in ("bare.safetensors", "wrapped.pth", "plain.pt"):
        run = tuned(start, tmp_path, init=str(tmp_path / name), out=str(tmp_path / f"{name}-run"), **shape)
        assert run.summary["transfer"]["copied"] == run.summary["transfer"]["weights"]  # as many outputs, unnamed
        found.append(outcome(run))
    assert same(found[0], found[1])
    assert same(found[0], found[2])


@pytest.fixture
def here(start, tmp_path, monkeypatch):
    """A folder with RUN, DATA and weights that will not do."""
    import danlu.console.commands  # noqa: F401  # else a slow first import prints that danlu starts

    monkeypatch.chdir(tmp_path)
    shutil.copytree(start.folder, "RUN")
    images(Path("DATA.npz"), [0, 1, 7])
    whole = Path("RUN/weights/best.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[: len(whole) // 2])
    torch.save({"a": torch.ones(9)}, "whole.pt")
    Path("cut.pt").write_bytes(Path("whole.pt").read_bytes()[:200])
    torch.save({"epoch": 3}, "empty.pt")
    torch.save(nn.Linear(2, 2), "code.pt")
    Path("notes.txt").write_text("none")
    Path("young/weights").mkdir(parents=True)
    shutil.copyfile("RUN/config.yaml", "young/config.yaml")
    return tmp_path


WRONG = {
    "another architecture": ("--init RUN --model resnet20", "no layer has the same name and shape"),
    "another architecture, no names": ("--init whole.pt --model resnet20", "choose its network by --model"),
    "missing": ("--init RUN/best.safetensors", "--init must be a run, a .safetensors"),
    "unknown run": ("--init RUNS", "did you mean 'RUN'"),
    "young": ("--init young", "has not finished its first epoch"),
    "of another kind": ("--init notes.txt", "--init must be a run"),
    "truncated": ("--init cut.safetensors", "cut.safetensors is damaged"),
    "truncated pt": ("--init cut.pt", "cut.pt is damaged"),
    "no tensors": ("--init empty.pt", "empty.pt contains no named tensors"),
    "code": ("--init code.pt", "could run code"),
    "published without timm": ("--init timm:pretrained --model lenet", "must be timm/NAME, got 'lenet'"),
    "twice": ("--init RUN --model.pretrained", "omitted with --init"),
    "no such part": ("--init RUN --freeze stage3", "did you mean 'stage1' or 'stage2'"),
    "no such layer": ("--freeze stage1.7 --model lenet", "parts of the network with parameters, got 'stage1.7'"),
    "nothing left": ("--init RUN --freeze stage1,stage2,head", "such that some parameters are still trained"),
    "only a head": ("--freeze all-but-head,head --model softmax", "such that some parameters are still trained"),
    "decay above one": ("--transfer.layer-decay 1.5", "at most 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_sentence(name, here, capfd):
    flags, expected = WRONG[name]
    assert cli.main(["train", "DATA.npz", "--device", "cpu", "--out", "OUT", *flags.split()]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert expected in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err
    assert not Path("OUT").exists()


@pytest.mark.slow
def test_published_weights_without_a_network_are_one_sentence(here):
    command = shlex.split(
        "train DATA.npz --model timm/resnet18 --init timm:pretrained --size 32 --device cpu --out OUT"
    )
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(here / "cache")}
    ended = subprocess.run(
        [sys.executable, "-m", "danlu.cli", *command], env=offline, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout in ("", "starting danlu\n")  # said where the start takes a second
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "the published weights of timm/resnet18 are not available and could not be downloaded" in ended.stderr


def test_freezing_all_but_nothing_is_refused():
    with pytest.raises(Refusal, match="parameters are still trained"):
        frozen_parts(build_model("softmax", inputs=4, classes=2), ["head"])


def test_the_summary_is_plain(start, tmp_path):
    run = tuned(start, tmp_path, epochs=1)
    assert json.loads((run.folder / "summary.json").read_text())["transfer"]["from"] == start.name
