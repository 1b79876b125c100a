"""SSD: predict a class and an offset for a few default boxes at every cell of several maps (Liu et al. 2016).

Background is one of the classes. As nearly all boxes are background, the loss uses only the hardest of them: three per
positive box.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.detection.anchors import anchors, shapes, ssd_sizes
from danlu.detection.box_losses import smooth_l1
from danlu.detection.boxes import clip
from danlu.detection.coding import DeltaCoder
from danlu.detection.dense import Candidates, DenseDetector
from danlu.detection.matching import match_greedily, matched_boxes, matched_labels
from danlu.detection.neck import stages_from
from danlu.detection.norms import set_norm
from danlu.detection.sampling import hard_negatives
from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.parts import conv
from danlu.objects import ObjectBatch
from danlu.refuse import refusal

VARIANCES = (0.1, 0.1, 0.2, 0.2)
POSITIVE_IOU = 0.5  # min IoU of a positive default box that is not an object's best
NEGATIVE_RATIO = 3  # background boxes in the loss per positive one
MIN_NEGATIVES = 3  # in an image without objects, as with one positive box; in the paper it has none
CANDIDATES = 400  # top-scoring boxes per image and class that enter non-maximum suppression
RATIOS = ((1, 2, 1 / 2), (1, 2, 1 / 2, 3, 1 / 3))  # width / height: four boxes per cell, or six

# SSD300, section 3.1, in the form for COCO: the smallest boxes are 0.07 of the image.
SCALES_300 = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
RATIOS_300 = tuple(RATIOS[i] for i in (0, 1, 1, 1, 0, 0))
MIN_SIZE_300 = 260  # pixels; the last maps of smaller images have no cells

MIN_STRIDE = 8  # of the first map of the small form
BOX_STRIDES = 2.5  # side of its smallest box in strides; doubled at each level


class SSD(DenseDetector):
    """SSD on a trunk: images -> maps, fine to coarse.

    channels, strides: of the maps; stride None means the image's side / the map's side. level_shapes: widths and
    heights (k, 2) of each map's default boxes.
    """

    default_nms_iou = 0.45

    def __init__(
        self,
        trunk: VGGTrunk | SmallTrunk,
        classes: int,
        channels: Sequence[int],
        strides: Sequence[float | None],
        level_shapes: Sequence[Tensor],
    ) -> None:
        super().__init__()
        self.trunk, self.classes, self.strides, self.level_shapes = trunk, classes, strides, level_shapes
        counts = [len(table) for table in level_shapes]
        self.logits = _heads(channels, [k * (classes + 1) for k in counts])
        self.codes = _heads(channels, [k * 4 for k in counts])
        self.coder = DeltaCoder(VARIANCES)

    @property
    def backbone(self) -> nn.Module:
        """The backbone of the trunk."""
        return self.trunk.backbone

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """logits (N, A, K + 1), background last; codes (N, A, 4); anchors (A, 4)."""
        maps, height = self.trunk(images), images.shape[-2]
        logits = torch.cat([_rows(head(x), self.classes + 1) for head, x in zip(self.logits, maps)], 1)
        codes = torch.cat([_rows(head(x), 4) for head, x in zip(self.codes, maps)], 1)
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        strides = [stride or height / rows for stride, (rows, _) in zip(self.strides, sizes)]
        boxes = torch.cat(anchors(sizes, strides, self.level_shapes, offset=0.5)).to(codes.device)
        return {"logits": logits, "codes": codes, "anchors": boxes, "size": tuple(images.shape[-2:])}

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Cross-entropy and smooth L1, both summed over the batch and divided by the number of positive boxes."""
        logits, codes, boxes = outputs["logits"].float(), outputs["codes"].float(), outputs["anchors"]
        matched = match_greedily(objects, boxes, threshold=POSITIVE_IOU)
        labels = matched_labels(objects, matched)
        positive = labels >= 0
        wanted = labels.where(positive, self.classes)
        entropy = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view_as(wanted)
        mistaken = hard_negatives(entropy.detach(), matched, ratio=NEGATIVE_RATIO, min_count=MIN_NEGATIVES)
        count = positive.sum().clamp(min=1)
        class_loss = (entropy * (positive | mistaken)).sum() / count
        image, place = positive.nonzero(as_tuple=True)
        targets = self.coder.encode(matched_boxes(objects, matched)[image, place], boxes[place])
        box_loss = smooth_l1(codes[image, place], targets, beta=1.0).sum() / count
        return {"loss": class_loss + box_loss, "class": class_loss, "box": box_loss}

    def candidates(self, outputs: dict[str, Any]) -> Candidates:
        """Return the highest scoring boxes before NMS, one for each pair of anchor and class."""
        boxes = clip(self.coder.decode(outputs["codes"].float(), outputs["anchors"]), *outputs["size"])
        scores = outputs["logits"].float().softmax(2)[..., : self.classes]
        scores, place = scores.topk(min(CANDIDATES, scores.shape[1]), dim=1)  # (N, 400, K)
        labels = torch.arange(self.classes, device=place.device).expand_as(place).flatten(1)
        scores, place = scores.flatten(1), place.flatten(1)
        boxes = boxes.gather(1, place[..., None].expand(-1, -1, 4))
        return Candidates(boxes, scores, labels)


def _heads(channels: Sequence[int], outputs: Sequence[int]) -> nn.ModuleList:
    heads = [nn.Conv2d(c, out, 3, padding=1) for c, out in zip(channels, outputs, strict=True)]
    for head in heads:
        _initialise(head)
    return nn.ModuleList(heads)


def _initialise(layer: nn.Conv2d) -> None:
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _rows(x: Tensor, columns: int) -> Tensor:
    """(N, k C, H, W) -> (N, H W k, C), in the anchors' order."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, columns)


class VGGTrunk(nn.Module):
    """VGG-16 up to its fifth stage, its dense layers as convolutions, and four more blocks: strides 8 to 300.

    backbone: five stages of strides 1, 2, 4, 8, 16, each starting with its pooling.
    """

    channels = (512, 1024, 512, 256, 256, 256)
    strides = (8, 16, 32, 64, None, None)

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        pool = next(m for m in backbone.get_submodule("stage4").modules() if isinstance(m, nn.MaxPool2d))
        pool.ceil_mode = True  # a map of 75 becomes one of 38, as in the paper
        self.scale = nn.Parameter(torch.full((512, 1, 1), 20.0))
        self.dense = nn.Sequential(nn.MaxPool2d(3, 1, 1), _dilated(512, 1024, 6), conv(1024, 1024, 1))
        widths = (1024, *self.channels[2:])
        self.further = nn.ModuleList(
            nn.Sequential(conv(a, b // 2, 1), conv(b // 2, b, 3, stride=2 if i < 2 else 1, padding=1 if i < 2 else 0))
            for i, (a, b) in enumerate(pairwise(widths))
        )
        for layer in [*self.dense.modules(), *self.further.modules()]:
            if isinstance(layer, nn.Conv2d):
                _initialise(layer)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps (N, C, H, W) of images (N, 3, S, S), fine to coarse."""
        *_, fine, x = self.backbone.features(images)
        x = self.dense(x)
        # The fine map has much larger values than the others: normalise it to length 20, a learnt scale.
        maps = [self.scale * F.normalize(fine), x]
        for block in self.further:
            x = block(x)
            maps.append(x)
        return maps


def _dilated(inputs: int, outputs: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True))


class SmallTrunk(nn.Module):
    """The maps of a backbone from stride 8 on, and further levels by 3x3 convolutions with stride 2.

    size: side of the images; the coarsest level is the last whose smallest box is smaller than the image.
    width: channels of all maps. norm: see `norms.set_norm`.
    """

    def __init__(self, backbone: Backbone, size: int, width: int, norm: str) -> None:
        super().__init__()
        added = set_norm(backbone, norm)
        self.backbone = backbone
        self.stages = stages_from(backbone.feature_strides, MIN_STRIDE)
        if not self.stages:
            raise refusal(
                "detect.backbone",
                message(
                    "detection.wanted.ssd_network_maps_stride_more",
                    "a network with maps of stride {min_stride} or more",
                    min_stride=MIN_STRIDE,
                ),
                backbone.feature_strides,
            )
        strides = [backbone.feature_strides[i] for i in self.stages]
        self.read = nn.ModuleList(conv(backbone.feature_channels[i], width, 3, norm=added) for i in self.stages)
        self.further = nn.ModuleList()
        while 2 * strides[-1] * BOX_STRIDES < size:
            strides.append(2 * strides[-1])
            self.further.append(conv(width, width, 3, stride=2, norm=added))
        self.strides, self.channels = tuple(strides), (width,) * len(strides)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps (N, C, H, W) of images (N, C, S, S), fine to coarse."""
        found = self.backbone.features(images)
        maps = [read(found[i]) for read, i in zip(self.read, self.stages)]
        for layer in self.further:
            maps.append(layer(maps[-1]))
        return maps


def ssd300(backbone: Backbone, classes: int, size: int) -> SSD:
    """SSD300 on a VGG-16: at 300 pixels 8732 default boxes; 26,285,486 parameters for VOC's 20 classes.

    Maps and boxes scale with other sizes. Raises Refusal below 260 pixels, or for other kinds of backbones.
    """
    if size < MIN_SIZE_300:
        raise refusal(
            "--size",
            message(
                "detection.wanted.least_ssd300_best_300",
                "at least {min_size_300} for ssd300, best 300",
                min_size_300=MIN_SIZE_300,
            ),
            size,
        )
    if backbone.feature_channels[3:] != (512, 512) or backbone.feature_strides[3:] != (8, 16):
        raise refusal(
            "detect.backbone",
            message("detection.wanted.vgg16_another_vgg_full", "vgg16, or another vgg of full width, for ssd300"),
            backbone.feature_channels,
        )
    tables = [
        shapes(sizes, ratios, cross=False).clamp(max=size)
        for sizes, ratios in zip(ssd_sizes(SCALES_300, size), RATIOS_300)
    ]
    return SSD(VGGTrunk(backbone), classes, VGGTrunk.channels, VGGTrunk.strides, tables)


def ssd(backbone: Backbone, classes: int, size: int, *, width: int = 128, norm: str = "batch") -> SSD:
    """A small SSD on the maps of any backbone from stride 8 on, with boxes of 20 pixels or more, four per cell."""
    trunk = SmallTrunk(backbone, size, width, norm)
    sides = [BOX_STRIDES * stride for stride in trunk.strides]
    tables = [shapes((a, a * 2**0.5), RATIOS[0], cross=False).clamp(max=size) for a in sides]
    return SSD(trunk, classes, trunk.channels, trunk.strides, tables)
