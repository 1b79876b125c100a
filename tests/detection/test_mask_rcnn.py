"""Mask R-CNN: its mask branch against torchvision's with the same weights, and batches without objects or masks."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import maskrcnn_loss
from torchvision.ops import MultiScaleRoIAlign

from danlu.detection.detector_table import build_detector
from danlu.detection.mask_rcnn import MaskHead, MaskRCNN
from danlu.models.network_table import build_backbone
from danlu.objects import ObjectBatch, Objects, collate
from danlu.refuse import Failure

SIDE, CLASSES = 128, 3
BOXES = [[[10.0, 12, 50, 60], [64, 70, 100, 90]], [[30, 20, 90, 110]]]
LABELS = [[0, 2], [1]]


def detector(backbone: str = "resnet18", **options) -> MaskRCNN:
    torch.manual_seed(0)
    stages = build_backbone(backbone, channels=3, size=SIDE)
    return build_detector("mask-rcnn", stages, classes=CLASSES, size=SIDE, **options)  # type: ignore[return-value]


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def ellipse(box: list[float]) -> Tensor:
    """The pixels of the largest ellipse in a box, uint8 (SIDE, SIDE)."""
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    x1, y1, x2, y2 = box
    return ((((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2) <= 1).to(torch.uint8)


def some(masks: bool = True) -> ObjectBatch:
    parts = []
    for boxes, labels in zip(BOXES, LABELS):
        shapes = torch.stack([ellipse(box) for box in boxes]) if masks else None
        ignore = torch.zeros(len(labels), dtype=torch.bool)
        parts.append(Objects(torch.tensor(boxes), torch.tensor(labels), ignore, shapes))
    return collate(parts)


@torch.no_grad()
def test_mask_branch_and_its_loss_are_torchvisions():
    """Same maps, same regions: the logits of the mask head, and the loss over them."""
    model = detector(width=32, mask_width=32, mask_layers=4).eval()
    model.aligned = False
    theirs = nn.Sequential(MaskRCNNHeads(32, [32] * 4, 1), MaskRCNNPredictor(32, 32, CLASSES))
    for mine, other in zip(*([x for x in m.modules() if hasattr(x, "weight")] for m in (model.mask_head, theirs))):
        mine.load_state_dict(other.state_dict())
    sides = [32, 16, 8, 4]
    maps = [torch.randn(2, 32, side, side) for side in sides]
    boxes, labels, image = (
        torch.tensor([x for part in BOXES for x in part]),
        torch.tensor([x for part in LABELS for x in part]),
        torch.tensor([0, 0, 1]),
    )
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2, canonical_scale=112)  # as our anchors are half of theirs
    named = OrderedDict((str(k), x) for k, x in enumerate(maps))
    wanted = theirs(pool(named, [boxes[:2], boxes[2:]], [(SIDE, SIDE)] * 2))
    found = model.mask_logits(maps, boxes, image, labels)
    torch.testing.assert_close(found, wanted[torch.arange(3), labels], rtol=1e-3, atol=1e-4)

    batch = some()
    matched, taken = torch.tensor([[0, 1], [0, -1]]), torch.tensor([[True, True], [True, False]])
    loss = model.mask_loss({"maps": maps}, batch, batch.boxes, matched, taken)
    masks = [batch.image(n).masks for n in range(2)]
    indices = [torch.tensor([0, 1]), torch.tensor([0])]
    classes = [torch.tensor(x) for x in LABELS]
    other = maskrcnn_loss(wanted, [boxes[:2], boxes[2:]], masks, classes, indices)
    # torchvision cuts the targets half a pixel off.
    assert loss.item() == pytest.approx(other.item(), rel=0.02)


def test_detections_carry_masks_within_their_boxes():
    model = detector().eval()
    with torch.no_grad():
        found = model.detect(model(images()), 0.0, 0.5, 10)
    for seen in found:
        assert seen.masks is not None
        assert seen.masks.shape == (10, SIDE, SIDE)
        assert seen.masks.dtype == torch.uint8
        for mask, box in zip(seen.masks, seen.boxes):
            y, x = mask.nonzero().unbind(1)
            if len(x):
                assert box[0] < x.min() + 0.5
                assert x.max() + 0.5 < box[2]
                assert box[1] < y.min() + 0.5
                assert y.max() + 0.5 < box[3]


def test_mask_head_of_ones_fills_the_box():
    model = detector().eval()
    nn.init.zeros_(model.mask_head[-1].weight)
    nn.init.constant_(model.mask_head[-1].bias, 9.0)
    with torch.no_grad():
        seen = model.detect(model(images(1)), 0.0, 0.5, 1)[0]
    x1, y1, x2, y2 = seen.boxes[0]
    centres = torch.arange(SIDE) + 0.5
    across, down = ((centres > x1) & (centres < x2)).sum(), ((centres > y1) & (centres < y2)).sum()
    assert seen.masks.sum() == across * down


def test_a_batch_without_objects():
    model = detector().train()
    losses = model(images(), collate([Objects.none((SIDE, SIDE)), Objects.none((SIDE, SIDE))]))
    losses["loss"].backward()
    assert losses["mask"] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        found = model.detect(model(images()), 1.0)
    assert [len(seen) for seen in found] == [0, 0]
    assert found[0].masks.shape == (0, SIDE, SIDE)


def test_objects_without_masks_are_a_failure():
    with pytest.raises(Failure, match="masks"):
        detector()(images(), some(masks=False))


def test_mask_loss_uses_the_true_class_only():
    model = detector().train()
    batch = some()
    batch.labels[batch.labels == 2] = 0
    model(images(), batch)["mask"].backward()
    assert model.mask_head[-1].weight.grad[2].abs().sum() == 0
    assert model.mask_head[-1].weight.grad[0].abs().sum() > 0


def test_half_precision():
    model = detector().train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(images(), some())
        losses["loss"].backward()
    assert losses["mask"].dtype == torch.float32
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = model(images())
    assert model.losses(out, some())["loss"].isfinite()
    assert model.detect(out, 0.0, max_detections=3)[0].masks.shape == (3, SIDE, SIDE)


def test_published_form_has_its_parameters():
    """torchvision's maskrcnn_resnet50_fpn has 44,401,393 with 91 classes: 90 and the background.

    Ours has no box codes and no mask for the background, and its batch norms count though they are frozen.
    """
    backbone = build_backbone("resnet50", channels=3, size=SIDE)
    options = {"width": 256, "hidden": 1024, "norm": "frozen", "anchor": 32.0, "mask_width": 256, "mask_layers": 4}
    model = build_detector("mask-rcnn", backbone, classes=90, size=SIDE, **options)
    norms = sum(p.numel() for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    without_background = 4 * 1025 + 257
    assert sum(p.numel() for p in model.parameters()) - norms == 44_401_393 - without_background


def test_mask_head_doubles():
    assert MaskHead(8, 5, 4, 2)(torch.randn(3, 8, 14, 14)).shape == (3, 5, 28, 28)
    assert MaskHead(8, 5, 4, 2)(torch.randn(0, 8, 14, 14)).shape == (0, 5, 28, 28)
