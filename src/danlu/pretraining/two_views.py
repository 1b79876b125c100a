"""Pretraining on two augmented views of each image: SimCLR, SimSiam and BYOL."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from danlu.models.backbone import Backbone
from danlu.pretraining.pretrainer import Measured, Pretrainer
from danlu.pretraining.two_view_losses import byol_loss, contrastive_chance, cosine_loss, nt_xent


class TwoViews(Pretrainer):
    """Base of the methods that compare two views of an image.

    Inputs are views (n, V, C, S, S): the two views in training; the image itself and then the views in evaluation.
    """

    def losses(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (n,), baselines (n,) and embeddings (n, P) of two views (n, C, S, S)."""
        raise NotImplementedError

    def measure(self, x: Tensor) -> Measured:
        """Loss of the last two views of (n, V, C, S, S), and features of the first."""
        if x.ndim == 4:  # single images, by which batch norm is measured: each is both views
            x = x[:, None].expand(-1, 3, -1, -1, -1)
        first, second = x[:, -2], x[:, -1]
        losses, baselines, embeddings = self.losses(first, second)
        features = losses.new_zeros(len(x), 0) if self.training else self.pooled(x[:, 0])
        return Measured(losses, baselines, features, embeddings.detach())

    def pair(self, network: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of a network for two views, computed in one pass."""
        both = network(torch.cat([first, second]))
        return both[: len(first)], both[len(first) :]


class Embedding(nn.Module):
    """Mean of a backbone's last map, then a projection head: images (n, C, S, S) -> (n, P)."""

    def __init__(self, backbone: Backbone, projection: nn.Module) -> None:
        super().__init__()
        self.backbone, self.projection = backbone, projection

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings (n, P) of images (n, C, S, S)."""
        return self.projection(self.backbone.features(x)[-1].mean((2, 3)))


class SimCLR(TwoViews):
    """Contrastive learning: each view must find the other view of its image among all images of the batch.

    Source: Chen et al., "A simple framework for contrastive learning of visual representations", 2020.

    Args:
        backbone: Any network with stages.
        hidden, projection: Units and outputs of the projection head.
        temperature: Of the similarities.
    """

    def __init__(self, backbone: Backbone, *, hidden: int, projection: int, temperature: float) -> None:
        super().__init__(backbone)
        self.temperature = temperature
        self.projection = _mlp(backbone.feature_channels[-1], hidden, projection)

    def losses(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """NT-Xent losses (n,), losses at chance (n,) and embeddings (n, P) of two views (n, C, S, S)."""
        both = self.projection(self.pooled(torch.cat([first, second])))
        one, other = both[: len(first)], both[len(first) :]
        losses = nt_xent(one, other, self.temperature)
        return losses, torch.full_like(losses, contrastive_chance(len(first))), one


class SimSiam(TwoViews):
    """Predict the embedding of one view from that of the other, without gradient into the target.

    Source: Chen and He, "Exploring simple siamese representation learning", 2021.

    Args:
        backbone: Any network with stages.
        hidden, projection: Units of the hidden layers and outputs of the projection head.
    """

    def __init__(self, backbone: Backbone, *, hidden: int, projection: int) -> None:
        super().__init__(backbone)
        width = backbone.feature_channels[-1]
        self.projection = nn.Sequential(
            *_layer(width, hidden), *_layer(hidden, hidden), nn.Linear(hidden, projection, bias=False),
            nn.BatchNorm1d(projection, affine=False),
        )  # fmt: skip
        self.predictor = _mlp(projection, max(projection // 4, 8), projection)

    def losses(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Negative cosine similarities (n,), baselines (n,) and embeddings (n, P) of two views (n, C, S, S)."""
        one, other = self.projection(self.pooled(first)), self.projection(self.pooled(second))
        losses = (cosine_loss(self.predictor(one), other) + cosine_loss(self.predictor(other), one)) / 2
        return losses, torch.zeros_like(losses), one


class BYOL(TwoViews):
    """Predict the embedding of the other view by a slowly moving copy of the network.

    Source: Grill et al., "Bootstrap your own latent", 2020. The copy is updated before each training batch.

    Args:
        backbone: Any network with stages.
        hidden, projection: Units and outputs of the projection and prediction heads.
        momentum: Weight of the old copy in each update.
    """

    def __init__(self, backbone: Backbone, *, hidden: int, projection: int, momentum: float) -> None:
        super().__init__(backbone)
        self.momentum = momentum
        self.projection = _mlp(backbone.feature_channels[-1], hidden, projection)
        self.predictor = _mlp(projection, hidden, projection)
        self.target = Embedding(copy.deepcopy(backbone), copy.deepcopy(self.projection)).requires_grad_(False)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the copy towards the network; buffers of batch norm are measured by the copy itself."""
        for copied, module in ((self.target.backbone, self.backbone), (self.target.projection, self.projection)):
            for old, new in zip(copied.parameters(), module.parameters()):
                old.lerp_(new, 1 - self.momentum)

    def losses(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (n,), baselines (n,) and embeddings (n, P) of two views (n, C, S, S); moves the target in training."""
        if self.training and torch.is_grad_enabled():
            self._follow()
        one, other = self.projection(self.pooled(first)), self.projection(self.pooled(second))
        with torch.no_grad():
            target, target_of_other = self.target(first), self.target(second)
        losses = byol_loss(self.predictor(one), target_of_other) + byol_loss(self.predictor(other), target)
        return losses / 2, torch.full_like(losses, 2.0), one


def _layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_layer(inputs, hidden), nn.Linear(hidden, outputs))
