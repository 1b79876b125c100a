"""Fast R-CNN: region proposals from pixels, pooled from one feature map of the whole image (Girshick 2015).

R-CNN runs a network on every region; here it runs once per image, and RoI pooling resizes each region of the map. The
bottleneck is then the search for proposals, which Faster R-CNN replaces by a network.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from danlu.detection.neck import Neck
from danlu.detection.norms import set_norm
from danlu.detection.proposals import Proposer
from danlu.detection.two_stage import TwoStage
from danlu.models.backbone import Backbone


class FastRCNN(TwoStage):
    """Fast R-CNN on the backbone's map of stride 8 or 16.

    norm: see `norms.set_norm`. search: see `Proposer`. proposals: max number per image. options: hidden, regions and
    positive_fraction of `TwoStage`. The published form: vgg16, hidden 4096, proposals 2000, regions 64,
    positive_fraction 0.25.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        norm: str = "batch",
        search: str = "auto",
        proposals: int = 300,
        **options: Any,
    ) -> None:
        neck = Neck(backbone, "none", width=0, size=size, norm=set_norm(backbone, norm))
        super().__init__(backbone, neck, classes, rounded=True, **options)
        self.search = Proposer(search, proposals)

    def propose(self, images: Tensor, maps: list[Tensor], regions: Tensor | None) -> dict[str, Any]:
        """Return `regions`, or those of the region search without them, as proposals."""
        return self.searched(images, regions)
