"""The vision transformer (Dosovitskiy et al. 2021)."""

from __future__ import annotations

import math
from functools import partial
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, norm_layer, weighted
from danlu.models.spec import NetworkSpec
from danlu.models.stochastic_depth import StochasticDepth, rates
from danlu.refuse import refusal

# Size -> width, blocks, heads
SIZES = {
    "mini": (128, 6, 4),
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}


MARKED = 0.5  # values above it in the last channel of a canvas mark the image


class AlongTokens(nn.Module):
    """Apply a normalisation of maps (N, C, T) to tokens (N, T, width)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised tokens of the same shape, (N, T, width)."""
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


def token_norm(name: str, width: int) -> nn.Module:
    """Build "layer" (per token, as published), Identity (none, weight, spectral) or a normalisation over all tokens."""
    if name == "layer":
        return nn.LayerNorm(width, eps=1e-6)
    layer = nn.BatchNorm1d(width) if name == "batch" else norm_layer(name, width)
    return layer if isinstance(layer, nn.Identity) else AlongTokens(layer)


class Attention(nn.Module):
    """Multi-head self-attention softmax(q k^T / sqrt(width / heads)) v: (N, T, width) -> (N, T, width)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape, (N, T, width)."""
        count, tokens, width = x.shape
        q, k, v = self.qkv(x).view(count, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.dropout(self.out(x.transpose(1, 2).reshape(count, tokens, width)))


class Block(nn.Module):
    """Pre-norm transformer block: attention, then an MLP of four times the width, both with residual connections."""

    def __init__(self, width: int, heads: int, norm: str, activation: str, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = token_norm(norm, width)
        self.attention = Attention(width, heads, dropout)
        self.norm2 = token_norm(norm, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            activation_layer(activation),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape, (N, T, width)."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ViT(Backbone):
    """Vision transformer: patch tokens and a class token with learned positions, blocks, a head on the class token.

    "base" at 3x224x224, K = 1000, is ViT-B/16: 86,567,656 parameters, 17.56 G multiply-adds.

    Args:
        kind: "mini", "tiny", "small", "base" or "large".
        drop_path: Stochastic-depth probability of the last block, rising linearly from the first.
        patch: Side of a patch in pixels; None means 16 for images from 112 pixels on, else 4.

    Raises:
        Refusal: An image size that is no multiple of `patch`.
    """

    def __init__(
        self,
        kind: str,
        channels: int,
        size: int,
        classes: int,
        *,
        norm: str = "layer",
        activation: str = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        patch: int | None = None,
    ) -> None:
        width, blocks, heads = SIZES[kind]
        patch = patch or (16 if size >= 112 else 4)
        if size % patch:
            raise refusal(
                "data.size",
                message("models.wanted.multiple_patch_side", "a multiple of the patch's side {patch}", patch=patch),
                size,
            )
        drops = rates(drop_path, blocks)
        super().__init__(stages={}, head=nn.Linear(width, classes), channels=(width,), strides=(patch,))
        self.stage_names = ("blocks",)
        self.patch, self.side = patch, size // patch
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, 1 + self.side**2, width))
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, norm, activation, dropout, drop) for drop in drops))
        self.norm = token_norm(norm, width)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.position, std=0.02)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        for layer in weighted(self):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if isinstance(self.head, nn.Linear):
            nn.init.zeros_(self.head.weight)

    def levels(self) -> list[tuple[str, ...]]:
        """Return the levels: embedding, each block, last norm with the head."""
        blocks = [(f"blocks.{i}",) for i in range(len(self.blocks))]
        return [("embed", "class_token", "position"), *blocks, ("norm", "head")]

    def positions(self, rows: int, columns: int) -> Tensor:
        """The positions (1 + rows * columns, width) of the class token and of a grid, by bicubic resizing of the table.

        As for fine-tuning at another size (Dosovitskiy et al. 2021, section 3.2).
        """
        table = self.position[0]
        if (rows, columns) == (self.side, self.side):
            return table
        grid = table[1:].T.unflatten(1, (self.side, self.side))[None]
        grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([table[:1], grid[0].flatten(1).T])

    def tokens(self, x: Tensor) -> Tensor:
        """Encode images (N, C, size, size) as (N, 1 + side^2, width): the class token, then the patches row by row."""
        patches = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], dim=1)
        return self.norm(self.blocks(self.dropout(x + self.position)))

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the patch tokens as one map (N, width, side, side)."""
        patches = self.tokens(x)[:, 1:]
        return [patches.transpose(1, 2).unflatten(2, (self.side, self.side))]

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, size, size) -> outputs (N, K)."""
        return self.head(self.tokens(x)[:, 0])


class MixedViT(ViT):
    """A vision transformer on images of different sizes, each in a grid of patches somewhere on one canvas.

    It returns for each image what `ViT` returns for it alone: images of equally many patches form a batch of the
    blocks. The parameters, and their names, are those of `ViT`.

    Args:
        size: Side in pixels of the square grid that the table of positions is made for; other grids resize it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Canvases (N, C + 1, H, W), whose last channel is 1 on the image and 0 beside it -> outputs (N, K).

        Sides are multiples of the patch's. Images (N, C, H, W) fill the canvas.
        """
        return self.head(self.class_tokens(x))

    def class_tokens(self, x: Tensor) -> Tensor:
        """The class token of each image after the blocks, (N, width)."""
        channels, patch = self.embed.in_channels, self.patch
        marks = (
            x[:, channels, ::patch, ::patch] if x.shape[1] > channels else x.new_ones(x[:, 0, ::patch, ::patch].shape)
        )
        inside = self._grids(marks)
        grids = list(zip(inside.any(2).sum(1).tolist(), inside.any(1).sum(1).tolist()))
        places = sorted(range(len(grids)), key=lambda place: math.prod(grids[place]))  # equally many patches in a row
        order = torch.tensor(places, device=x.device)
        pixels = x[:, :channels].unflatten(3, (-1, patch)).unflatten(2, (-1, patch)).permute(0, 2, 4, 1, 3, 5)
        patches = self.embed(pixels.index_select(0, order)[inside[order]]).flatten(1)
        tables = {grid: self.positions(*grid) for grid in set(grids)}
        found, start = [], 0
        for tokens, bucket in groupby(places, key=lambda place: math.prod(grids[place])):
            positions = torch.stack([tables[grids[place]] for place in bucket])
            own = patches[start : start + len(positions) * tokens].view(len(positions), tokens, -1)
            start += len(positions) * tokens
            own = torch.cat([self.class_token.expand(len(positions), -1, -1), own], 1) + positions
            found.append(self.norm(self.blocks(self.dropout(own)))[:, 0])
        return torch.cat(found).index_select(0, order.argsort())

    @staticmethod
    def _grids(marks: Tensor) -> Tensor:
        """Patches of each image, bool (N, R, C): the rows and columns that have a mark, all where there is none."""
        marked = marks > MARKED
        inside = marked.any(2)[:, :, None] & marked.any(1)[:, None]
        return inside | ~marked.any(2).any(1)[:, None, None]


NETWORKS = {
    f"vit-{kind}": NetworkSpec(
        partial(ViT, kind),
        f"vision transformer, {kind}; a multiple of 4 pixels",
        paper="Dosovitskiy et al. 2021",
        family="vit",
        min_size=4,
        mixed=partial(MixedViT, kind),
    )
    for kind in SIZES
}
