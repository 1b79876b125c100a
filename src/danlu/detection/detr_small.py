"""A small DETR that learns in minutes: queries chosen from the map, and attention that starts at a box.

The published form needs hundreds of epochs because its queries have to learn where to look, and because its only map is
coarse. Three changes remove both causes; matching, set loss and the absence of suppression stay:

- The cells of a map of stride 8 predict objects first, trained by the same set loss; the top-scoring ones become the
  queries, with their features and boxes (two-stage Deformable DETR, Zhu et al. 2021). Encoder layers run on the
  coarsest map only, whose content a feature pyramid brings to stride 8 (RT-DETR, Zhao et al. 2024). Each object has
  several of these cells, so that more of them train the backbone; only the decoder is matched one to one (H-DETR,
  Jia et al. 2023).
- Each decoder layer corrects the box of the layer before, and each of its heads attends to the map with a Gaussian
  around a point of that box (SMCA, Gao et al. 2021), so that no attention has to be learned from scratch.
- Classes are K independent probabilities that predict the IoU of the box instead of a softmax with "no object".

N images, T cells, Q queries, K classes. Boxes are (cx, cy, w, h) relative to the image.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.detection.detr import SetDetector
from danlu.detection.neck import stages_from
from danlu.detection.norms import set_norm
from danlu.detection.set_loss import SetLoss, SetPrediction, SigmoidClasses
from danlu.detection.transformer import (
    Attended,
    Bias,
    DecoderLayer,
    EncoderLayer,
    cell_positions,
    check_width,
    initialise,
    mlp,
    sines,
)
from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.networks.cspnet import CSP
from danlu.models.parts import conv
from danlu.objects import ObjectBatch
from danlu.refuse import refusal

FINEST = 8  # stride of the map that the queries attend to
HEADS = 4
ENCODER_LAYERS, DECODER_LAYERS = 1, 3
CELLS_PER_OBJECT = 4  # cells of the map trained to predict an object
SIDE = 0.2  # initial side of the boxes of the cells, relative to the image
MAX_GROWTH = 3.0  # log of the largest factor by which a layer scales a box
PRIOR = 0.01  # initial probability of every class
MIN_SPREAD = 0.02  # of a Gaussian, relative to the image: about a cell of stride 8 in an image of 400 pixels


class GaussianBias(nn.Module):
    """Log of a Gaussian around a point of each query's box, for every head: added to the attention logits.

    The point and the widths of the Gaussian, in units of the box, are a function of the query. Head h starts at one of
    the four directions from the centre, half way to the side.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.place = nn.Linear(width, 4 * heads)
        nn.init.zeros_(self.place.weight)
        angles = torch.arange(heads) * (2 * math.pi / heads)
        start = torch.stack([angles.cos(), angles.sin(), torch.zeros(heads), torch.zeros(heads)], 1)
        with torch.no_grad():
            self.place.bias.copy_(start.flatten() / 2)

    def forward(self, x: Tensor, boxes: Tensor, height: int, width: int) -> Bias:
        """(N, Q, width), boxes (N, Q, 4) -> the bias for a map of height * width cells.

        -(c - p)^2 / 2 s^2 of a cell at c is c p / s^2 - c^2 / 2 s^2 and a constant, which softmax ignores.
        """
        shift, spread = self.place(x).float().unflatten(2, (-1, 4)).transpose(1, 2).split(2, -1)
        centre, size = boxes.float()[:, None].split(2, -1)
        point = centre + shift * size / 2
        precision = (spread.clamp(-3, 3).exp() * size / 2).clamp(min=MIN_SPREAD) ** -2
        cells = _centres(height, width, x.device)
        return Bias(torch.cat([point * precision, precision], -1), torch.cat([cells, -cells.square() / 2], -1))


class SmallDETR(SetDetector):
    """A DETR for small data and machines; the module docstring lists the differences from the published form.

    width: of the pyramid and the transformer. queries: max number of objects per image. norm: see `norms.set_norm`.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        width: int = 96,
        queries: int = 80,
        norm: str = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_width(width, "detr-small")
        added = set_norm(backbone, norm)
        self.backbone, self.classes, self.queries = backbone, SigmoidClasses(), queries
        self.stages = stages_from(backbone.feature_strides, FINEST)
        if not self.stages:
            text = "a network with maps of stride {finest} or more"
            wanted = message("detection.wanted.network_maps_stride_more", text, finest=FINEST)
            raise refusal("detect.backbone", wanted, backbone.feature_strides)
        self.strides = [backbone.feature_strides[self.stages[0]]]
        channels = [backbone.feature_channels[i] for i in self.stages]
        hidden = 2 * width
        self.project = conv(channels[-1], width, 1, norm=added, activation="silu")
        self.encoder = nn.ModuleList(EncoderLayer(width, HEADS, hidden, dropout) for _ in range(ENCODER_LAYERS))
        self.lateral = nn.ModuleList(conv(c, width, 1, norm=added, activation="silu") for c in channels[:-1])
        self.merge = nn.ModuleList(CSP(2 * width, width, 1, added) for _ in channels[:-1])
        self.head = conv(width, width, 3, norm=added, activation="silu")
        self.norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(DecoderLayer(width, HEADS, hidden, dropout) for _ in range(DECODER_LAYERS))
        self.place = mlp(width, width, width, 2)
        for part in (self.encoder, self.decoder):
            initialise(part)
        self.biases = nn.ModuleList(GaussianBias(width, HEADS) for _ in range(DECODER_LAYERS))
        self.class_heads = nn.ModuleList(nn.Linear(width, classes) for _ in range(DECODER_LAYERS + 1))
        self.box_heads = nn.ModuleList(mlp(width, width, 4, 3) for _ in range(DECODER_LAYERS + 1))
        for head, boxes in zip(self.class_heads, self.box_heads):
            nn.init.constant_(cast(Tensor, head.bias), -math.log((1 - PRIOR) / PRIOR))
            last = cast(nn.Linear, cast(nn.Sequential, boxes)[-1])
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def memory(self, images: Tensor) -> tuple[Tensor, int, int]:
        """Cells of the finest map (N, T, width), its height and width."""
        maps = [self.backbone.features(images)[i] for i in self.stages]
        coarse = self.project(maps[-1])
        positions = cell_positions(coarse.shape[2], coarse.shape[3], coarse.shape[1], coarse.device).to(coarse.dtype)
        tokens = coarse.flatten(2).transpose(1, 2)
        for layer in self.encoder:
            tokens = layer(tokens, positions)
        fine = tokens.transpose(1, 2).unflatten(2, coarse.shape[2:])
        for lateral, merge, x in zip(reversed(self.lateral), reversed(self.merge), reversed(maps[:-1])):
            coarse = F.interpolate(fine, size=x.shape[-2:], mode="nearest")
            fine = merge(torch.cat([coarse, lateral(x)], 1))
        fine = self.head(fine)
        return self.norm(fine.flatten(2).transpose(1, 2)), fine.shape[2], fine.shape[3]

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """layers: predictions of each decoder layer. proposals: those of the cells of the map."""
        memory, height, width = self.memory(images)
        proposals = self._predict(0, memory, _cells(height, width, memory.device))
        top = min(self.queries, memory.shape[1])
        index = proposals.logits.detach().amax(2).topk(top, dim=1).indices[..., None]
        x = memory.gather(1, index.expand(-1, -1, memory.shape[2]))
        boxes = proposals.boxes.detach().gather(1, index.expand(-1, -1, 4))
        positions = cell_positions(height, width, memory.shape[2], memory.device).to(memory.dtype)
        layers, attended = [], None
        for i, (layer, bias) in enumerate(zip(self.decoder, self.biases)):
            places = self.place(sines(boxes, memory.shape[2] // 4).flatten(2).to(x.dtype))
            attended = Attended(x, places, memory, positions, bias(x, boxes, height, width), (height, width))
            x = layer(x, places, memory, positions, attended.bias)
            layers.append(self._predict(i + 1, x, boxes))
            boxes = layers[-1].boxes.detach()
        size = tuple(images.shape[-2:])
        return {"layers": layers, "proposals": proposals, "attended": attended, "size": size}

    def _predict(self, stage: int, x: Tensor, boxes: Tensor) -> SetPrediction:
        """Classes of x (N, Q, width), and `boxes` moved and scaled in units of their own size.

        Unlike corrections on a logit scale, these are the same wherever the object lies in the image.
        """
        shift, growth = self.box_heads[stage](x).float().split(2, -1)
        centre, size = boxes.split(2, -1)
        moved = torch.cat([centre + shift * size, size * growth.clamp(-MAX_GROWTH, MAX_GROWTH).exp()], -1)
        return SetPrediction(self.class_heads[stage](x), moved)

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """See `SetLoss`; the loss of the proposals is one of the "auxiliary" ones."""
        losses, criterion = super().losses(outputs, objects), SetLoss(self.classes)
        proposed = criterion.total(criterion.layer(outputs["proposals"], _repeated(objects), outputs["size"]))
        return losses | {"loss": losses["loss"] + proposed, "auxiliary": losses["auxiliary"] + proposed}


def _repeated(objects: ObjectBatch) -> ObjectBatch:
    """Every object CELLS_PER_OBJECT times, so that as many cells are matched to it."""
    boxes, labels, ignore = objects.boxes, objects.labels, objects.ignore
    return ObjectBatch(
        boxes.repeat(1, CELLS_PER_OBJECT, 1), labels.repeat(1, CELLS_PER_OBJECT), ignore.repeat(1, CELLS_PER_OBJECT)
    )


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """Centres (x, y) of the cells of a map, row by row, relative to the image: (height * width, 2)."""
    y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (height, width))
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], 2).flatten(0, 1)


def _cells(height: int, width: int, device: torch.device) -> Tensor:
    """Initial boxes of the cells of a map, (height * width, 4)."""
    centres = _centres(height, width, device)
    return torch.cat([centres, torch.full_like(centres, SIDE)], 1)
