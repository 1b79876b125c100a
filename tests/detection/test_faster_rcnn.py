"""Faster R-CNN against torchvision's with the same weights: proposals, regions, losses, detections."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList

from danlu.detection.anchors import shapes
from danlu.detection.boxes import area, clip, iou
from danlu.detection.detector_table import build_detector
from danlu.detection.faster_rcnn import RATIOS, FasterRCNN
from danlu.detection.neck import Neck, remove_later_stages
from danlu.models.network_table import build_backbone
from danlu.objects import Objects, collate

T = torch.tensor
SIDE, CLASSES = 128, 3


def detector(name: str = "faster-rcnn", backbone: str = "resnet18", **options) -> FasterRCNN:
    torch.manual_seed(0)
    stages = build_backbone(backbone, channels=3, size=SIDE)
    return build_detector(name, stages, classes=CLASSES, size=SIDE, **options)  # type: ignore[return-value]


def one(boxes: list, labels: list, ignore: list | None = None, masks: Tensor | None = None) -> Objects:
    return Objects(T(boxes).reshape(-1, 4).float(), T(labels).long(), T(ignore or [False] * len(labels)).bool(), masks)


SOME = collate([one([[10, 12, 50, 60], [64, 70, 100, 90]], [0, 2]), one([[30, 20, 90, 110]], [1])])


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def move(ours: nn.Module, theirs: nn.Module) -> None:
    """Weights of modules that hold the same layers in the same order."""
    a, b = (
        [
            x
            for x in m.modules()
            if next(x.parameters(False), None) is not None or next(x.buffers(False), None) is not None
        ]
        for m in (ours, theirs)
    )
    assert len(a) == len(b)
    for mine, other in zip(a, b):
        mine.load_state_dict({k: v for k, v in other.state_dict().items() if k in mine.state_dict()}, strict=False)


def move_classes(ours: nn.Linear, theirs: nn.Linear, each: int, background_first: bool) -> None:
    """Theirs has the background first; ours last, or not at all. `each` numbers per class."""
    for name in ("weight", "bias"):
        whole = getattr(theirs, name).data
        parts = [whole[each:], whole[:each]] if background_first else [whole[each:]]
        getattr(ours, name).data.copy_(torch.cat(parts))


def move_all(ours: FasterRCNN, theirs: nn.Module) -> None:
    body, fpn, rpn, heads = theirs.backbone.body, theirs.backbone.fpn, theirs.rpn.head, theirs.roi_heads
    stages = ours.backbone
    move(stages.stem, nn.Sequential(body.conv1, body.bn1))
    for number in range(1, 5):
        for mine, other in zip(
            [b for b in getattr(stages, f"stage{number}") if hasattr(b, "residual")], getattr(body, f"layer{number}")
        ):
            chain = nn.Sequential(other.conv1, other.bn1, other.conv2, other.bn2, other.conv3, other.bn3)
            move(mine.residual, chain)
            if other.downsample is not None:
                move(mine.shortcut, other.downsample)
    pyramid = ours.neck.pyramid
    move(pyramid.lateral, fpn.inner_blocks)
    move(pyramid.smooth, fpn.layer_blocks)
    move(nn.ModuleList([ours.proposer.see]), rpn.conv)
    move(nn.ModuleList([ours.proposer.objectness, ours.proposer.codes]), nn.ModuleList([rpn.cls_logits, rpn.bbox_pred]))
    move(nn.ModuleList([ours.head.first, ours.head.second]), heads.box_head)
    move_classes(ours.head.logits, heads.box_predictor.cls_score, 1, True)
    move_classes(ours.head.codes, heads.box_predictor.bbox_pred, 4, False)


def as_torchvision(ours: FasterRCNN) -> None:
    """Anchors on the cells' first corners and rounded, RoIAlign half a cell off: what its weights were trained with."""
    ours.aligned = False
    ours.proposer.offset = 0.0
    ours.proposer.level_shapes = [
        shapes([32 * 2.0**k], RATIOS, cross=True, whole=True) for k in range(len(ours.proposer.level_shapes))
    ]


def shake(model: nn.Module) -> None:
    """Heads begin with weights near 0, under which all boxes and scores would be alike."""
    generator = torch.Generator().manual_seed(3)
    for layer in (model.rpn.head.cls_logits, model.rpn.head.bbox_pred):
        layer.weight.data.normal_(0, 0.05, generator=generator)
    predictor = model.roi_heads.box_predictor
    for layer, size in ((predictor.cls_score, 0.03), (predictor.bbox_pred, 0.02)):
        layer.weight.data.normal_(0, size, generator=generator)
        layer.weight.data -= layer.weight.data.mean(1, keepdim=True)  # what all regions share is no answer


@pytest.fixture(scope="module")
def pair() -> tuple[FasterRCNN, nn.Module]:
    torch.manual_seed(0)
    theirs = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, rpn_pre_nms_top_n_train=300, rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_train=200, rpn_post_nms_top_n_test=200, rpn_batch_size_per_image=10**6, box_batch_size_per_image=10**6,
    )  # fmt: skip
    shake(theirs)
    ours = detector(
        backbone="resnet50", width=256, hidden=1024, norm="frozen", anchor=32.0, proposals=200, candidates=300,
        sampled=10**6, regions=10**6,
    )  # fmt: skip
    as_torchvision(ours)
    move_all(ours, theirs)
    return ours.eval(), theirs.eval()


def their_parts(theirs: nn.Module, x: Tensor, targets: list | None = None) -> tuple[dict, list[Tensor], list, dict]:
    """Features, proposals, detections and losses of images that are normalised and sized already."""
    images = ImageList(x, [(SIDE, SIDE)] * len(x))
    features = theirs.backbone(x)
    for part in (theirs.rpn, theirs.roi_heads):
        part.training = targets is not None
    proposals, losses = theirs.rpn(images, features, targets)
    found, more = theirs.roi_heads(features, proposals, images.image_sizes, targets)
    return features, proposals, found, losses | more


@torch.no_grad()
def test_outputs_are_torchvisions(pair):
    ours, theirs = pair
    features, proposals, found, _ = their_parts(theirs, images())
    out = ours.outputs(images())
    for mine, other in zip(out["maps"], features.values()):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)
    for n, other in enumerate(proposals):
        mine = out["proposals"][n][out["proposed"][n]]
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-2)
    for mine, other in zip(ours.detect(out, 0.05, 0.5, 100), found):
        assert len(mine) > 5
        torch.testing.assert_close(mine.boxes, other["boxes"], rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(mine.scores, other["scores"], rtol=1e-3, atol=1e-3)
        assert torch.equal(mine.labels, other["labels"] - 1)


@torch.no_grad()
def test_losses_are_torchvisions(pair):
    """All anchors and regions are drawn, so that nothing is left to luck."""
    ours, theirs = pair
    targets = [{"boxes": o.boxes, "labels": o.labels + 1} for o in (SOME.image(0), SOME.image(1))]
    *_, other = their_parts(theirs, images(), targets)
    mine = ours(images(), SOME)
    names = {
        "objectness": "loss_objectness",
        "proposal_box": "loss_rpn_box_reg",
        "class": "loss_classifier",
        "box": "loss_box_reg",
    }
    for name, their_name in names.items():
        assert mine[name].item() == pytest.approx(other[their_name].item(), rel=1e-3, abs=1e-5), name
    assert mine["loss"].item() == pytest.approx(sum(mine[n].item() for n in names), rel=1e-5)


def test_a_batch_without_objects_learns_that_there_are_none():
    model = detector().train()
    losses = model(images(), collate([Objects.none(), Objects.none()]))
    losses["loss"].backward()
    assert losses["box"] == 0
    assert losses["proposal_box"] == 0
    assert losses["class"] > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_ignored_regions_are_excluded_from_the_loss():
    """An image that is all one ignored region: nothing within it is background. Anchors may lie outside, mostly."""
    model = detector().eval()
    out = model(images(1))
    out["objectness"] = out["objectness"].detach().requires_grad_()
    losses = model.losses(out, collate([one([[0, 0, SIDE, SIDE]], [0], [True])]))
    assert losses["class"] == losses["box"] == losses["proposal_box"] == 0
    losses["objectness"].backward()
    inside = area(clip(out["anchors"], SIDE, SIDE)) > 0.5 * area(out["anchors"])
    assert inside.any()
    assert out["objectness"].grad[0, inside].abs().sum() == 0


@pytest.mark.parametrize("neck", ["fpn", "none"])
@pytest.mark.parametrize("norm", ["batch", "group", "frozen"])
def test_all_forms_learn(neck: str, norm: str):
    model = detector(neck=neck, norm=norm).train()
    losses = model(images(), SOME)
    losses["loss"].backward()
    assert next(iter(losses)) == "loss"
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    kinds = {type(m) for m in model.backbone.modules()}
    assert (nn.BatchNorm2d in kinds) == (norm != "group")
    for layer in model.backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.training == (norm == "batch")


def test_half_precision():
    """Also where losses and detections are asked for outside of it, as evaluation does."""
    model = detector().eval()
    with torch.no_grad():
        whole = model(images())
        with torch.autocast("cpu", torch.bfloat16):
            half = model(images())
        losses = model.losses(half, SOME)
        model.detect(half, 0.0)
    assert half["proposals"].dtype == half["codes"].dtype == half["maps"][0].dtype == torch.float32
    # bf16 rounds to 0.4 %; which single value is worst differs between processors, their norm does not.
    assert (half["objectness"] - whole["objectness"]).norm() < 0.02 * whole["objectness"].norm()
    assert losses["loss"].isfinite()
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        model(images(), SOME)["loss"].backward()


def test_evaluation_draws_the_same_regions_always():
    model = detector().eval()
    with torch.no_grad():
        out = model(images())
        assert model.losses(out, SOME)["loss"] == model.losses(out, SOME)["loss"]


def test_detections_are_sorted_and_inside():
    model = detector().eval()
    with torch.no_grad():
        for found in model.detect(model(images()), 0.0, 0.5, 20):
            assert len(found) == 20
            assert (found.scores.diff() <= 0).all()
            assert found.boxes.min() >= 0
            assert found.boxes.max() <= SIDE


def test_the_single_map_ends_the_backbone():
    backbone = build_backbone("resnet18", channels=3, size=SIDE)
    neck = Neck(backbone, "none", width=1, size=SIDE, norm="none")
    assert neck.strides == [8]
    assert neck.channels == 128
    assert backbone.stage_names == ("stem", "stage1", "stage2")
    assert not hasattr(backbone, "stage4")
    remove_later_stages(backbone, 0)
    assert [tuple(x.shape) for x in backbone.features(images())] == [(2, 64, 64, 64)]


@pytest.mark.slow
def test_two_images_are_memorised():
    model = detector(backbone="cspnet-tiny", width=64, hidden=128, proposals=50).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    x = 0.1 * images()
    for image, boxes, labels in zip(x, SOME.boxes.int().tolist(), SOME.labels.tolist()):
        for (x1, y1, x2, y2), label in zip(boxes, labels):
            image[label, y1:y2, x1:x2] += 1
    for _ in range(60):
        optimizer.zero_grad()
        model(x, SOME)["loss"].backward()
        optimizer.step()
    model.train()  # two images are no measure for running statistics
    with torch.no_grad():
        found = model.detect(model(x), 0.5)
    for n, seen in enumerate(found):
        objects = SOME.image(n)
        assert sorted(seen.labels.tolist()) == sorted(objects.labels.tolist())
        assert iou(seen.boxes[seen.labels.argsort()], objects.boxes[objects.labels.argsort()]).min() > 0.7
