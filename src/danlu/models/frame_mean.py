"""A network of images on clips: the outputs of all frames are averaged."""

from __future__ import annotations

from torch import Tensor, nn


class FrameMean(nn.Module):
    """Clips (N, T, C, H, W) -> the mean over T of a network's outputs (N, K) on each frame.

    It does not see the order of the frames. A strong and cheap baseline (temporal segment networks, Wang et al. 2016).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs (N, K); a tuple of these in training with auxiliary classifiers."""
        outputs = self.network(clips.flatten(0, 1))
        if isinstance(outputs, tuple):
            return tuple(one.unflatten(0, clips.shape[:2]).mean(1) for one in outputs)
        return outputs.unflatten(0, clips.shape[:2]).mean(1)
