"""Several networks of one kind whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """classify: the log of the members' mean probabilities, so that softmax gives the mean back; regress: the mean."""

    def __init__(self, members: Sequence[nn.Module], task: Literal["classify", "regress"] | str) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.task = task

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack([member(x).float() for member in self.members])
        if self.task != "classify":
            return outputs.mean(0)
        return outputs.log_softmax(-1).logsumexp(0) - torch.tensor(float(len(self.members))).log()
