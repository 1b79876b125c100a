"""Fast R-CNN: regions found in the pixels are cut out of one map of the whole image (Girshick 2015).

R-CNN ran a network on every region; here it runs once, and RoI pooling brings each region's part of the map to one
size. What is left is slow for another reason: the search for regions, which Faster R-CNN does away with.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from danlu.detection.proposals import Proposer
from danlu.detection.two_stage import TwoStage
from danlu.models.backbone import Backbone


class FastRCNN(TwoStage):
    """backbone: its map of stride 8 or 16 is read. hidden: units of the two dense layers. norm: see `norms.set_norm`.

    search: see `Proposer`. proposals: regions looked at in an image. regions: of these drawn for the losses, at most
    positive_share of them for objects. The published form: vgg16, hidden 4096, proposals 2000, regions 64,
    positive_share 0.25.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        hidden: int = 256,
        norm: str = "batch",
        search: str = "auto",
        proposals: int = 300,
        regions: int = 32,
        positive_share: float = 0.5,
    ) -> None:
        super().__init__(
            backbone,
            classes,
            size,
            neck="none",
            width=0,
            hidden=hidden,
            norm=norm,
            regions=regions,
            positive_share=positive_share,
            finest=1.0,
            rounded=True,
        )
        self.search = Proposer(search, proposals)

    def propose(self, images: Tensor, maps: list[Tensor], regions: Tensor | None) -> dict[str, Any]:
        return self.found(images, regions)
