"""`Pretrainer`: base of all methods of pretraining; a backbone with what the method needs besides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from danlu.models.backbone import Backbone

EVALUATION_SEED = 0  # of the masks on the validation set, the same in every epoch


@dataclass(frozen=True)
class Measured:
    """Result of a method on n images.

    losses: (n,). baselines: losses (n,) of the best answer that ignores the image. features: of the backbone (n, D).
    embeddings: on which the loss of a method with two views is computed (n, P), None for masked methods. scalars:
    further means to log.
    """

    losses: Tensor
    baselines: Tensor
    features: Tensor
    embeddings: Tensor | None = None
    scalars: dict[str, Tensor] | None = None


class Pretrainer(nn.Module):
    """A backbone trained without labels.

    In training mode `forward` returns a dictionary of means with "loss"; in evaluation mode one row per image
    (n, 3 + P + D): loss, loss of the baseline, P, embedding, features of the backbone; see `parts_of`.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def measure(self, x: Tensor) -> Measured:
        """Loss of normalised images (n, C, S, S), or of views (n, V, C, S, S) of them."""
        raise NotImplementedError

    def prepare(self, images: Any) -> None:
        """Fit what must be known before the training, to an iterable of normalised image batches; most need nothing."""

    def pooled(self, x: Tensor) -> Tensor:
        """Mean of the backbone's last map: images (n, C, S, S) -> (n, D)."""
        return self.backbone.features(x)[-1].mean((2, 3))

    def generator(self) -> torch.Generator | None:
        """Random numbers of the masks: torch's own in training, which the loop seeds; fixed ones in evaluation."""
        return None if self.training else torch.Generator().manual_seed(EVALUATION_SEED)

    def forward(self, x: Tensor) -> Any:
        """Return named scalars in training, else the rows that `parts_of` divides, one per image."""
        found = self.measure(x)
        if self.training:
            parts = {"loss": found.losses.mean(), "baseline": found.baselines.mean().detach()}
            return parts | (found.scalars or {})
        z = found.embeddings if found.embeddings is not None else found.features[:, :0]
        width = found.losses.new_full((len(z), 1), float(z.shape[1]))
        columns = [found.losses[:, None], found.baselines[:, None], width, z, found.features]
        return torch.cat([column.float() for column in columns], 1)


def parts_of(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Losses (N,), baselines (N,), embeddings (N, P) and features (N, D) of the outputs of a `Pretrainer`."""
    width = int(rows[0, 2])
    return rows[:, 0], rows[:, 1], rows[:, 3 : 3 + width], rows[:, 3 + width :]
