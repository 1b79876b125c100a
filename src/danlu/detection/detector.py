"""The base class of all detectors: images to raw outputs, and raw outputs to losses or detections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from danlu.objects import Detections, ObjectBatch


class Detector(nn.Module):
    """Images are (N, C, S, S), normalised; boxes are in pixels of these S x S images.

    Losses and detections work in train and eval mode, also for images without objects.
    search: images -> region proposals from pixels, float32 (N, P, 4), padded with zeros; None for detectors that learn
    their proposals. Training images are searched before augmentation, and the augmented regions are passed to `forward`
    with the objects. has_closed_form: the class overrides `fit_closed_form`.
    """

    search: Callable[[Tensor], Tensor] | None = None
    has_closed_form = False

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """Run the network; return everything that `losses` and `detect` need."""
        raise NotImplementedError

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Compute named mean losses over the batch, float32; "loss", their weighted sum, comes first."""
        raise NotImplementedError

    def detect(
        self, outputs: dict[str, Any], min_score: float = 0.05, nms_iou: float = 0.5, max_detections: int = 100
    ) -> list[Detections]:
        """Return the detections of each image by descending score, at most `max_detections` of at least `min_score`.

        nms_iou: IoU threshold of non-maximum suppression, per class.
        """
        raise NotImplementedError

    def attention(self, outputs: dict[str, Any], count: int) -> Tensor | None:
        """Attention of the queries of the `count` top-scoring detections to a map of the images, (N, count, H, W).

        In the order of `detect`, rows sum to 1. None for detectors without queries.
        """
        return None

    def fit_closed_form(self, batches: Callable[[], Iterable[tuple[Tensor, ObjectBatch]]]) -> None:
        """Fit closed-form parameters after gradient training. No-op for most detectors.

        batches: starts a pass over the training images without augmentation, and their objects. Fitted parameters are
        buffers, saved with the weights.
        """

    def forward(self, images: Tensor, objects: ObjectBatch | None = None) -> dict[str, Any]:
        """Return losses when objects are given, else raw outputs; one call, as DistributedDataParallel requires."""
        outputs = self.outputs(images)
        return outputs if objects is None else self.losses(outputs, objects)
