"""Images of different sizes in one batch of a vision transformer: in buckets, padded with a mask, or nested.

Patches of every image become a sequence with the class token; only attention sees the borders between sequences, so
that all three ways return what the network returns for each image alone. The table of positions is resized to the grid
of each image, as for fine-tuning at another size (Dosovitskiy et al. 2021, section 3.2).
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.message import message
from danlu.models.networks.vit import Attention, Block, ViT
from danlu.patch_grid import size_within
from danlu.refuse import NOTHING, one_of, refusal

__all__ = ["WAYS", "outputs_of_sizes", "size_within"]


def outputs_of_sizes(model: ViT, images: Sequence[Tensor], way: str = "bucket") -> Tensor:
    """Outputs (n, K) of a vision transformer on n images (C, H_i, W_i), in their order.

    Args:
        model: A ViT with layer norm or none, whose other normalisations would mix the tokens of a sequence.
        images: Sides are multiples of the patch's side; any size, each its own.
        way: "bucket" (sequences of equal length form a batch, the fastest on a CPU), "pad" (padded to the longest, with
            a mask) or "nested" (a jagged nested tensor, a prototype of torch).

    Raises:
        Refusal: An unknown way, no image, a side that is no multiple of the patch's, or another normalisation.
    """
    run = WAYS[one_of("way", way, WAYS, message("models.wanted.way_of_sizes", "bucket, pad or nested"))]
    if not images:
        raise refusal("images", message("models.wanted.an_image", "at least one image"), NOTHING)
    if not isinstance(model.norm, nn.LayerNorm | nn.Identity):
        wanted = message("models.wanted.norm_per_token", "layer or none for images of different sizes")
        raise refusal("model.norm", wanted, type(model.norm).__name__)
    return model.head(run(model, [_sequence(model, one) for one in images]))


def _sequence(model: ViT, image: Tensor) -> Tensor:
    """Class token and patches of an image with their positions, (1 + h w, width)."""
    patch = model.embed.kernel_size[0]
    if any(side % int(patch) or not side for side in image.shape[1:]):
        multiple = message("models.wanted.multiple_patch_side", "a multiple of the patch's side {patch}", patch=patch)
        raise refusal("the size of an image", multiple, " x ".join(map(str, image.shape[1:])))
    patches = model.embed(image[None])
    positions = model.positions(int(patches.shape[2]), int(patches.shape[3]))
    sequence = torch.cat([model.class_token[0], patches[0].flatten(1).T])
    return model.dropout(sequence + positions)


def _in_buckets(model: ViT, sequences: Sequence[Tensor]) -> Tensor:
    """Class tokens (n, width): sequences of equal length, whatever their grids, form a batch."""
    buckets: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(sequences):
        buckets[len(one)].append(place)
    found, order = [], []
    for places in buckets.values():
        found.append(model.norm(model.blocks(torch.stack([sequences[place] for place in places])))[:, 0])
        order += places
    return torch.cat(found)[torch.tensor(order).argsort().to(found[0].device)]


def _padded(model: ViT, sequences: Sequence[Tensor]) -> Tensor:
    """Class tokens (n, width): padded to the longest; attention leaves the padding out."""
    x = nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
    lengths = torch.tensor([len(one) for one in sequences], device=x.device)
    mask = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[:, None, None]

    def attend(attention: Attention, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(2, (attention.heads, -1)).transpose(1, 2) for part in attention.qkv(x).chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)

    return model.norm(_through(model, x, attend))[:, 0]


def _nested(model: ViT, sequences: Sequence[Tensor]) -> Tensor:
    """Class tokens (n, width): one jagged tensor of all tokens, without padding."""
    lengths = torch.tensor([0, *(len(one) for one in sequences)], device=sequences[0].device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it is a prototype
        x = torch.nested.nested_tensor_from_jagged(torch.cat(list(sequences)), lengths.cumsum(0))

    def attend(attention: Attention, x: Tensor) -> Tensor:
        # Without contiguous parts every kernel is refused.
        parts = (part.contiguous() for part in attention.qkv(x).chunk(3, -1))
        q, k, v = (part.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in parts)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    x = model.norm(_through(model, x, attend))
    return x.values()[x.offsets()[:-1]]


def _through(model: ViT, x: Tensor, attend: Callable[[Attention, Tensor], Tensor]) -> Tensor:
    """All blocks, with another attention than that of tensors of one length."""
    for block in model.blocks:
        assert isinstance(block, Block)
        own = block.attention
        x = x + block.drop_path(own.dropout(own.out(attend(own, block.norm1(x)))))
        x = x + block.drop_path(block.mlp(block.norm2(x)))
    return x


WAYS = {"bucket": _in_buckets, "pad": _padded, "nested": _nested}
