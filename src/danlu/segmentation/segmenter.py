"""The base class of all networks that predict a class for each pixel."""

from __future__ import annotations

from torch import Tensor, nn


class Segmenter(nn.Module):
    """Images (N, C, S, S), normalised, to logits (N, K, S, S).

    A network on a backbone of `models` has it as `backbone`, so that pretrained weights are found there. feature_layer:
    name of the module whose output describes the whole image best, where there is no such backbone.
    """

    feature_layer = ""

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of each class at each pixel, (N, K, S, S)."""
        raise NotImplementedError
