"""DETR: published parameter counts, torch's transformer with the same weights, and the rules of both forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from danlu.data.sources.named.shapes import draw
from danlu.detection.boxes import iou_matrix
from danlu.detection.detector_table import DETECTORS, build_with_backbone
from danlu.detection.detr import DETR
from danlu.detection.detr_small import GaussianBias, SmallDETR
from danlu.detection.transformer import Attention, Bias, DecoderLayer, EncoderLayer, cell_positions
from danlu.detection.tta import merge
from danlu.objects import Detections, ObjectBatch, Objects, collate
from danlu.refuse import Refusal


def two_images(side: int) -> ObjectBatch:
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.45, 0.85, 0.7], [0.3, 0.6, 0.42, 0.72]]) * side
    real = torch.zeros(3, dtype=torch.bool)
    first = Objects(boxes, torch.tensor([0, 2, 1]), real)
    return collate([first, Objects(boxes[:1] + 20, torch.tensor([1]), real[:1])])


def built(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    backbone = "resnet18" if name == "detr" else None
    return build_with_backbone(name, backbone, classes=3, channels=3, size=128, **options)


def test_parameters_of_the_published_form() -> None:
    """41,302,368 is what the paper's code prints: without the stem and the first stage, which it does not train."""
    with torch.device("meta"):
        model = build_with_backbone("detr", None, classes=91, channels=3, size=800, norm="frozen")
    counts = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    frozen = sum(n for name, n in counts.items() if name.startswith(("backbone.stem", "backbone.stage1")))
    assert isinstance(model, DETR)
    assert sum(counts.values()) == 41_524_768
    assert sum(counts.values()) - frozen == 41_302_368


def same_attention(ours: Any, theirs: nn.MultiheadAttention) -> None:
    ours.inputs.weight.copy_(theirs.in_proj_weight)
    ours.inputs.bias.copy_(theirs.in_proj_bias)
    ours.out.load_state_dict(theirs.out_proj.state_dict())


@torch.no_grad()
def test_layers_are_torchs_without_positions() -> None:
    torch.manual_seed(0)
    width, memory, queries, none = 16, torch.randn(2, 6, 16), torch.randn(2, 5, 16), torch.zeros(1, 1, 16)
    theirs = nn.TransformerDecoderLayer(width, 4, 32, batch_first=True).eval()
    ours = DecoderLayer(width, 4, 32, 0.1).eval()
    same_attention(ours.attention, theirs.self_attn)
    same_attention(ours.cross, theirs.multihead_attn)
    for name in ("norm1", "norm2", "norm3"):
        getattr(theirs, name).weight.normal_()
        getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
    ours.mlp[0].load_state_dict(theirs.linear1.state_dict())
    ours.mlp[3].load_state_dict(theirs.linear2.state_dict())
    torch.testing.assert_close(ours(queries, none, memory, none), theirs(queries, memory))

    whole = nn.TransformerEncoderLayer(width, 4, 32, batch_first=True).eval()
    layer = EncoderLayer(width, 4, 32, 0.1).eval()
    same_attention(layer.attention, whole.self_attn)
    layer.mlp[0].load_state_dict(whole.linear1.state_dict())
    layer.mlp[3].load_state_dict(whole.linear2.state_dict())
    torch.testing.assert_close(layer(memory, none), whole(memory))


@torch.no_grad()
def test_positions_enter_queries_and_keys_but_not_values() -> None:
    """With all keys at one far position the weights do not change; values with positions would move the output."""
    layer = EncoderLayer(16, 4, 32, 0.0).eval()
    x = torch.randn(1, 3, 16)
    weights = layer.attention.weights(x + 1, x + 1)
    torch.testing.assert_close(weights.sum(2), torch.ones(1, 3))
    layer.attention.inputs.weight[:32] = 0  # queries and keys
    torch.testing.assert_close(layer(x, torch.full((3, 16), 9.0)), layer(x, torch.zeros(3, 16)))


def test_worked_positions() -> None:
    """Cell (row 0, column 1) of a 2 x 4 map: y 1/2, x 2/4; wavelengths 1 and 100 of four numbers per axis."""
    found = cell_positions(2, 4, 8, torch.device("cpu"))[1]
    angle = math.pi
    expected = [math.sin(angle), math.cos(angle), math.sin(angle / 100), math.cos(angle / 100)] * 2
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)


@torch.no_grad()
def test_worked_gaussian() -> None:
    """A head half way to the right side of a box of width 0.4 around 0.5: centre 0.6, spread 0.2."""
    bias = GaussianBias(8, 4)(torch.randn(1, 1, 8), torch.tensor([[[0.5, 0.5, 0.4, 0.4]]]), 10, 10)
    right = (bias.queries @ bias.keys.T)[0, 0, 0].view(10, 10)
    expected = -0.5 * ((0.95 - 0.6) / 0.2) ** 2 - 0.5 * (0.05 / 0.2) ** 2
    nearest = -0.5 * (0.05 / 0.2) ** 2 * 2
    assert float(right[4, 9] - right[4, 5]) == pytest.approx(expected - nearest, abs=1e-5)
    assert right.argmax().item() % 10 in (5, 6)


@torch.no_grad()
def test_a_bias_is_added_to_the_logits() -> None:
    """Against softmax written out, with the matrix of the bias."""
    torch.manual_seed(0)
    layer, x, memory = Attention(16, 4, 0.0).eval(), torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    bias = Bias(torch.randn(2, 4, 3, 4), torch.randn(5, 4))
    q, k, v = layer.projected(x, memory, memory)
    weights = (q @ k.transpose(2, 3) / 2 + bias.queries @ bias.keys.T).softmax(3)
    expected = layer.out((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, memory, memory, bias), expected)
    torch.testing.assert_close(layer.weights(x, memory, bias), weights.mean(1))


@pytest.mark.parametrize("name", ["detr", "detr-small"])
def test_losses_detections_and_images_without_objects(name: str) -> None:
    model = built(name, **({"width": 32} if name == "detr" else {}))
    images = torch.randn(2, 3, 128, 128)
    losses = model(images, two_images(128))
    assert list(losses) == ["loss", "class", "box", "l1", "auxiliary"]
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    empty = model(images, collate([Objects.none()] * 2))
    assert empty["box"] == empty["l1"] == 0
    with torch.no_grad():
        outputs = model.eval()(images)
    found = model.detect(outputs, min_score=0.0, max_detections=7)
    for one in found:
        assert len(one) == 7
        assert (one.scores.diff() <= 0).all()
        assert one.boxes.min() >= 0
        assert one.boxes.max() <= 128


def test_equal_boxes_are_both_detected() -> None:
    """Nothing is suppressed, whatever the IoU threshold."""
    model = built("detr-small").eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, 128, 128))
    outputs["layers"][-1].boxes.fill_(0.5)
    outputs["layers"][-1].logits.fill_(3.0)
    assert len(model.detect(outputs, min_score=0.5, nms_iou=0.5)[0]) == 80
    assert all(DETECTORS[name].nms_iou == 1 for name in ("detr", "detr-small"))


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_gives_float_losses(training: bool, in_half_precision: Any) -> None:
    losses, found = in_half_precision(built("detr-small").train(training), two_images(128))
    assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
    assert all(d.boxes.dtype == torch.float32 and len(d) == 80 for d in found)


@pytest.mark.parametrize("name", ["detr", "detr-small"])
@torch.no_grad()
def test_attention_of_the_top_detections(name: str) -> None:
    """It is the attention with which the last layer reads the map: weights times values give its update."""
    model = built(name, **({"width": 32} if name == "detr" else {})).eval()
    outputs = model(torch.randn(2, 3, 128, 128))
    found = model.attention(outputs, 3)
    side = 4 if name == "detr" else 16
    assert found.shape == (2, 3, side, side)
    torch.testing.assert_close(found.sum((2, 3)), torch.ones(2, 3))
    every = model.attention(outputs, 1000)
    torch.testing.assert_close(every[:, :3], found)
    if name == "detr-small":  # near the boxes of which it was asked
        assert found.flatten(2).amax(2).min() > 2 / side**2


def test_other_sizes_of_images() -> None:
    model: SmallDETR = built("detr-small").eval()
    with torch.no_grad():
        assert [one.boxes.shape[1] for one in model(torch.randn(1, 3, 32, 32))["layers"]] == [16] * 3
        assert [one.boxes.shape[1] for one in model(torch.randn(1, 3, 192, 192))["layers"]] == [80] * 3


@pytest.mark.parametrize(
    ("name", "backbone", "options", "said"),
    [
        ("detr", "resnet18", {"width": 100}, "detect.width must be a multiple of 8 for detr, got 100"),
        ("detr-small", None, {"width": 20}, "detect.width must be a multiple of 8 for detr-small, got 20"),
        ("detr-small", "resnet20", {}, "a network with maps of stride 8 or more"),
        ("yolo-nano", None, {"queries": 5}, "queries must be"),
    ],
)
def test_wrong_options_are_refused(name: str, backbone: str | None, options: dict[str, int], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        build_with_backbone(name, backbone, classes=3, channels=3, size=64, **options)


def test_views_are_merged_without_suppression_in_the_detector() -> None:
    one = Detections(torch.tensor([[10.0, 10, 50, 50]]), torch.tensor([0.8]), torch.tensor([1]))
    other = Detections(torch.tensor([[11.0, 10, 50, 50]]), torch.tensor([0.6]), torch.tensor([1]))
    merged = merge([one, other], 1.0, 100)
    torch.testing.assert_close(merged.scores, torch.tensor([0.7]))


@pytest.mark.slow
def test_a_few_images_are_learnt() -> None:
    model, (raw, annotations) = built("detr-small"), draw(4)
    images = raw / 127.5 - 1
    objects = collate([Objects(one.boxes, one.labels, one.ignore) for one in annotations])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model(images, objects)["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        found = model.detect(model(images), min_score=0.5)
    for one, real in zip(found, annotations, strict=True):
        assert sorted(one.labels.tolist()) == sorted(real.labels.tolist())
        assert (iou_matrix(real.boxes, one.boxes).amax(1) > 0.7).all()
