"""DETR: a fixed number of queries predict the set of objects; no anchors and no suppression (Carion et al. 2020)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from danlu.detection.boxes import clip
from danlu.detection.dense import Candidates, DenseDetector
from danlu.detection.norms import set_norm
from danlu.detection.set_loss import ClassRule, SetLoss, SetPrediction, SoftmaxClasses, in_pixels
from danlu.detection.transformer import (
    Attended,
    Bias,
    DecoderLayer,
    EncoderLayer,
    cell_positions,
    check_width,
    initialise,
    mlp,
)
from danlu.models.backbone import Backbone
from danlu.objects import Detections, ObjectBatch

HEADS = 8
LAYERS = 6  # of the encoder, and of the decoder


class SetDetector(DenseDetector):
    """A detector trained by one-to-one matching, so that its detections need no suppression.

    `outputs` contain "layers", the predictions of each decoder layer, "attended", the inputs of the last one, and
    "size" of the images. There is one detection per query, of its top-scoring class.
    """

    classes: ClassRule
    decoder: nn.ModuleList

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """See `SetLoss`."""
        return SetLoss(self.classes)(outputs["layers"], objects, outputs["size"])

    def candidates(self, outputs: dict[str, Any]) -> Candidates:
        """One box of each query of the last layer, by descending score."""
        logits, boxes = outputs["layers"][-1]
        scores, labels = self.classes.probabilities(logits).max(2)
        scores, order = scores.sort(1, descending=True)
        boxes = clip(in_pixels(boxes, outputs["size"]), *outputs["size"])
        return Candidates(boxes.gather(1, order[..., None].expand(-1, -1, 4)), scores, labels.gather(1, order))

    @torch.no_grad()
    def detect(
        self,
        outputs: dict[str, Any],
        min_score: float = 0.05,
        nms_iou: float | None = None,
        max_detections: int = 100,
    ) -> list[Detections]:
        """See `Detector.detect`; `nms_iou` is not used."""
        found = []
        for boxes, scores, labels in zip(*self.candidates(outputs)):
            kept = int((scores >= min_score).sum().clamp(max=max_detections))
            found.append(Detections(boxes[:kept], scores[:kept], labels[:kept]))
        return found

    @torch.no_grad()
    def attention(self, outputs: dict[str, Any], count: int) -> Tensor:
        """See `Detector.attention`; that of the last decoder layer, mean over its heads."""
        inputs: Attended = outputs["attended"]
        layer = cast(DecoderLayer, self.decoder[-1])
        scores = self.classes.probabilities(outputs["layers"][-1].logits).amax(2)
        top = scores.sort(1, descending=True).indices[:, :count]
        queries = (layer.among(inputs.x, inputs.places) + inputs.places).float()
        queries = queries.gather(1, top[..., None].expand(-1, -1, queries.shape[2]))
        bias = inputs.bias
        if bias is not None:
            index = top[:, None, :, None].expand(-1, bias.queries.shape[1], -1, bias.queries.shape[3])
            bias = Bias(bias.queries.gather(2, index), bias.keys)
        weights = layer.cross.weights(queries, (inputs.memory + inputs.positions).float(), bias)
        return weights.unflatten(2, inputs.size)


class DETR(SetDetector):
    """DETR on the last map of a backbone, as published.

    width: of the transformer. queries: max number of objects per image. norm: see `norms.set_norm`. The published form
    for COCO: resnet50, norm frozen, 91 classes; 41,524,768 parameters, 41,302,368 of them trained there, where the stem
    and the first stage of the backbone are frozen. It was trained for 500 epochs of COCO; use `detr-small` for less.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        width: int = 256,
        queries: int = 100,
        norm: str = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_width(width, "detr")
        set_norm(backbone, norm)
        self.backbone, self.classes = backbone, SoftmaxClasses()
        self.strides = list(backbone.feature_strides[-1:])
        hidden = 8 * width
        self.encoder = nn.ModuleList(EncoderLayer(width, HEADS, hidden, dropout) for _ in range(LAYERS))
        self.decoder = nn.ModuleList(DecoderLayer(width, HEADS, hidden, dropout) for _ in range(LAYERS))
        self.decoder_norm = nn.LayerNorm(width)
        initialise(self.encoder)
        initialise(self.decoder)
        self.project = nn.Conv2d(backbone.feature_channels[-1], width, 1)
        self.queries = nn.Embedding(queries, width)
        self.class_head = nn.Linear(width, classes + 1)
        self.box_head = mlp(width, width, 4, 3)

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """layers: `SetPrediction` of each decoder layer."""
        features = self.project(self.backbone.features(images)[-1])
        height, width = features.shape[-2:]
        positions = cell_positions(height, width, features.shape[1], features.device).to(features.dtype)
        memory = features.flatten(2).transpose(1, 2)
        for layer in self.encoder:
            memory = layer(memory, positions)
        places = self.queries.weight.expand(images.shape[0], -1, -1)
        x, layers = torch.zeros_like(places), []
        attended = None
        for layer in self.decoder:
            attended = Attended(x, places, memory, positions, None, (height, width))
            x = layer(x, places, memory, positions)
            normed = self.decoder_norm(x)
            layers.append(SetPrediction(self.class_head(normed), self.box_head(normed).float().sigmoid()))
        return {"layers": layers, "attended": attended, "size": tuple(images.shape[-2:])}
