"""What every detector is: images to raw outputs, and from these the losses of training or the objects found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from danlu.objects import Detections, ObjectBatch


class Detector(nn.Module):
    """Images are (N, C, S, S), normalised; boxes are in pixels of these S x S images.

    Losses and detections may be asked for in train and eval mode alike, also of images without any object.
    search: images -> regions where some object may be, float32 (N, P, 4), zeros filling up; of detectors that find
    them in the pixels, without learning. Training images are searched before they are varied, and the regions come
    back to `forward` with the objects, having moved like them. settles: whether `settle` has anything to do.
    """

    search: Callable[[Tensor], Tensor] | None = None
    settles = False

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """All that `losses` and `detect` need."""
        raise NotImplementedError

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Named means over the batch, float32; "loss", their weighted sum, comes first."""
        raise NotImplementedError

    def detect(
        self, outputs: dict[str, Any], score: float = 0.05, overlap: float = 0.5, most: int = 100
    ) -> list[Detections]:
        """Objects of each image, the surest first: at most `most` of at least `score`, and of two of a class that
        overlap by more than `overlap` (IoU) the surer one."""
        raise NotImplementedError

    def settle(self, batches: Callable[[], Iterable[tuple[Tensor, ObjectBatch]]]) -> None:
        """Fits what has a closed form to the weights that a training leaves: nothing, for most.

        batches: begins a pass over the training images, not varied, and the objects in them. What is fitted is kept
        in buffers, so that it travels with the weights.
        """

    def forward(self, images: Tensor, objects: ObjectBatch | None = None) -> dict[str, Any]:
        """Losses where objects are given, raw outputs where not: one call, so that several processes may share it."""
        outputs = self.outputs(images)
        return outputs if objects is None else self.losses(outputs, objects)
