"""Masked image modelling: MAE, SimMIM and BEiT."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.models.backbone import Backbone
from danlu.models.networks.vit import Block, ViT
from danlu.models.parts import weighted
from danlu.pretraining.masking import block_masks, random_masks, random_order, units_masked
from danlu.pretraining.patches import is_constant, normalise_patches, sincos_positions, to_images, to_patches
from danlu.pretraining.pretrainer import Measured, Pretrainer
from danlu.pretraining.tokenizer import Tokenizer


class Masked(Pretrainer):
    """Base of the methods that predict what a mask hides.

    Args:
        backbone: Network whose weights are wanted.
        channels, size: Of the images.
    """

    def __init__(self, backbone: Backbone, channels: int, size: int) -> None:
        super().__init__(backbone)
        self.channels, self.size = channels, size

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images with the hidden part grey and with the hidden part predicted, both (n, C, S, S)."""
        raise NotImplementedError


class MAEDecoder(nn.Module):
    """Decoder of MAE: visible tokens and mask tokens with fixed positions -> pixels of all patches.

    Args:
        encoder_width: Width of the encoder's tokens.
        width, depth, heads: Of the decoder's transformer blocks.
        side: Patches per side.
        outputs: Values per patch.
    """

    positions: Tensor

    def __init__(self, encoder_width: int, width: int, depth: int, heads: int, side: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, "layer", "gelu", 0.0, 0.0) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.predict = nn.Linear(width, outputs)
        positions = torch.cat([torch.zeros(1, width), sincos_positions(width, side)])
        self.register_buffer("positions", positions[None], persistent=False)
        nn.init.normal_(self.mask_token, std=0.02)
        _xavier(self)

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        """Tokens (n, 1 + visible, width) in shuffled order and the inverse permutation (n, L) -> (n, L, outputs)."""
        x = self.embed(tokens)
        hidden = self.mask_token.expand(len(x), restore.shape[1] + 1 - x.shape[1], -1)
        patches = torch.cat([x[:, 1:], hidden.to(x.dtype)], 1)
        patches = patches.gather(1, restore[:, :, None].expand(-1, -1, x.shape[2]))
        x = torch.cat([x[:, :1], patches], 1) + self.positions
        return self.predict(self.norm(self.blocks(x)))[:, 1:]


class MAE(Masked):
    """Masked autoencoder: the encoder sees the visible patches only, a light decoder predicts the pixels of the rest.

    Source: He et al., "Masked autoencoders are scalable vision learners", 2022.

    Args:
        backbone: A vision transformer; its positions become fixed sines and cosines.
        channels, size: Of the images.
        mask: Fraction of hidden patches.
        decoder_width, decoder_depth: Of the decoder.
        norm_patches: Predict pixels normalised by mean and standard deviation of their patch. Constant patches then
            have nothing to predict and are left out of the loss.
    """

    def __init__(
        self,
        backbone: ViT,
        channels: int,
        size: int,
        *,
        mask: float,
        decoder_width: int,
        decoder_depth: int,
        norm_patches: bool,
    ) -> None:
        super().__init__(backbone, channels, size)
        self.norm_patches = norm_patches
        self.patch, width = backbone.feature_strides[-1], backbone.feature_channels[-1]
        length = backbone.side**2
        self.visible = min(max(1, int(length * (1 - mask))), length - 1)
        heads = max(1, decoder_width // 32)
        outputs = self.patch**2 * channels
        self.decoder = MAEDecoder(width, decoder_width, decoder_depth, heads, backbone.side, outputs)
        with torch.no_grad():
            backbone.position.copy_(torch.cat([torch.zeros(1, width), sincos_positions(width, backbone.side)])[None])
        backbone.position.requires_grad_(False)
        _xavier(backbone)
        nn.init.normal_(backbone.class_token, std=0.02)

    @property
    def vit(self) -> ViT:
        """The backbone."""
        assert isinstance(self.backbone, ViT)
        return self.backbone

    def encode(self, x: Tensor, kept: Tensor) -> Tensor:
        """Encode the patches `kept` (n, visible) of images: (n, 1 + visible, width), the class token first."""
        vit = self.vit
        patches = vit.embed(x).flatten(2).transpose(1, 2) + vit.position[:, 1:]
        patches = patches.gather(1, kept[:, :, None].expand(-1, -1, patches.shape[2]))
        first = (vit.class_token + vit.position[:, :1]).expand(len(x), -1, -1)
        return vit.norm(vit.blocks(vit.dropout(torch.cat([first.to(patches.dtype), patches], 1))))

    def _predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted patches (n, L, D) and the mask of the hidden ones, bool (n, L)."""
        order = random_order(len(x), self.vit.side**2, self.generator()).to(x.device)
        predicted = self.decoder(self.encode(x, order[:, : self.visible]), order.argsort(1))
        hidden = torch.ones_like(order, dtype=torch.bool).scatter_(1, order[:, : self.visible], False)
        return predicted, hidden

    def measure(self, x: Tensor) -> Measured:
        """Loss of the pixels of hidden patches, for images (n, C, S, S)."""
        predicted, hidden = self._predict(x)
        patches = to_patches(x, self.patch).float()
        target = normalise_patches(patches)[0] if self.norm_patches else patches
        constant = is_constant(patches)
        counted = (hidden & ~constant if self.norm_patches else hidden).float()
        number = counted.sum(1).clamp_min(1)
        losses = ((predicted.float() - target).square().mean(2) * counted).sum(1) / number
        baselines = (target.square().mean(2) * counted).sum(1) / number
        features = losses.new_zeros(len(x), 0) if self.training else self.pooled(x)
        return Measured(losses, baselines, features, scalars={"constant": constant.float().mean()})

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images with hidden patches grey, and with predicted patches in them, both (n, C, S, S)."""
        predicted, hidden = self._predict(x)
        patches, seen = to_patches(x, self.patch), ~hidden[:, :, None]
        if self.norm_patches:
            _, mean, std = normalise_patches(patches)
            predicted = predicted * std + mean
        shown = torch.where(seen, patches, torch.zeros_like(patches)), torch.where(seen, patches, predicted)
        return to_images(shown[0], self.patch, self.channels), to_images(shown[1], self.patch, self.channels)


class SimMIM(Masked):
    """Regress the pixels under random square units with one 1x1 convolution on the backbone's last map.

    Source: Xie et al., "SimMIM: a simple framework for masked image modeling", 2022. In a vision transformer the
    embeddings of hidden patches are replaced by a learnt token, in other networks the hidden pixels by a learnt colour.

    Args:
        backbone: Any network with stages.
        channels, size: Of the images.
        mask: Fraction of hidden units.
        unit: Side of a unit in pixels.
    """

    def __init__(self, backbone: Backbone, channels: int, size: int, *, mask: float, unit: int) -> None:
        super().__init__(backbone, channels, size)
        self.unit, self.grid = unit, size // unit
        self.masked = units_masked(mask, self.grid**2)
        stride, width = backbone.feature_strides[-1], backbone.feature_channels[-1]
        token = backbone.feature_channels[-1] if isinstance(backbone, ViT) else channels
        self.mask_token = nn.Parameter(torch.zeros(1, token, 1, 1))
        self.decoder = nn.Sequential(nn.Conv2d(width, stride**2 * channels, 1), nn.PixelShuffle(stride))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def _predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted images (n, C, S, S) and the mask of the hidden pixels, bool (n, 1, S, S)."""
        units = random_masks(len(x), self.grid**2, self.masked, self.generator()).to(x.device)
        units = units.view(-1, 1, self.grid, self.grid)
        hidden = units.repeat_interleave(self.unit, 2).repeat_interleave(self.unit, 3)
        backbone = self.backbone
        if isinstance(backbone, ViT):
            stride = backbone.feature_strides[-1]
            found = _masked_tokens(backbone, x, hidden[:, :, ::stride, ::stride], self.mask_token)
            last = found[:, 1:].transpose(1, 2).unflatten(2, (backbone.side, backbone.side))
        else:
            last = backbone.features(torch.where(hidden, self.mask_token.to(x.dtype), x))[-1]
        return self.decoder(last), hidden

    def measure(self, x: Tensor) -> Measured:
        """Loss of the hidden pixels, for images (n, C, S, S)."""
        predicted, hidden = self._predict(x)
        counted = hidden.float()
        number = counted.sum((1, 2, 3)).clamp_min(1) * self.channels
        losses = ((predicted.float() - x.float()).abs() * counted).sum((1, 2, 3)) / number
        baselines = (x.float().abs() * counted).sum((1, 2, 3)) / number
        features = losses.new_zeros(len(x), 0) if self.training else self.pooled(x)
        return Measured(losses, baselines, features, scalars={"constant": _constant_units(x, self.unit)})

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images with hidden pixels grey, and with predicted pixels in them, both (n, C, S, S)."""
        predicted, hidden = self._predict(x)
        return torch.where(hidden, torch.zeros_like(x), x), torch.where(hidden, predicted, x)


class BEiT(Masked):
    """Predict the visual tokens of patches hidden in blocks: a classification among the codes of a tokenizer.

    Source: Bao et al., "BEiT: BERT pre-training of image transformers", 2021. The tokenizer is fitted to the training
    images before the training begins; that of the paper is a network of its own with 8,192 codes.

    Args:
        backbone: A vision transformer.
        channels, size: Of the images.
        mask: Fraction of hidden patches.
        tokenizer: Converts patches to codes.
    """

    def __init__(self, backbone: ViT, channels: int, size: int, *, mask: float, tokenizer: Tokenizer) -> None:
        super().__init__(backbone, channels, size)
        width = backbone.feature_channels[-1]
        self.patch, self.side = backbone.feature_strides[-1], backbone.side
        self.wanted = min(max(1, round(mask * self.side**2)), self.side**2 - 1)
        self.mask_token = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.predict = nn.Linear(width, tokenizer.codes)
        self.tokenizer = tokenizer.requires_grad_(False)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.predict.weight, std=0.02)
        nn.init.zeros_(self.predict.bias)

    def prepare(self, images: object) -> None:
        """Fit the tokenizer to batches of normalised images."""
        self.tokenizer.fit(images)

    def _mask(self, x: Tensor) -> Tensor:
        """Hidden patches, bool (n, 1, side, side)."""
        seed = int(torch.randint(2**31, (1,), generator=self.generator()))
        return block_masks(len(x), self.side, self.wanted, np.random.default_rng(seed))[:, None].to(x.device)

    def _logits(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Logits of the codes of all patches (n, L, K)."""
        backbone = self.backbone
        assert isinstance(backbone, ViT)
        return self.predict(_masked_tokens(backbone, x, hidden, self.mask_token)[:, 1:])

    def measure(self, x: Tensor) -> Measured:
        """Cross-entropy of the codes of hidden patches, for images (n, C, S, S)."""
        self.tokenizer.eval()
        hidden = self._mask(x)
        codes = self.tokenizer(to_patches(x, self.patch))
        counted = hidden.flatten(1).float()
        number = counted.sum(1).clamp_min(1)
        logits = self._logits(x, hidden).float()
        losses = F.cross_entropy(logits.transpose(1, 2), codes, reduction="none")
        frequency = torch.bincount(codes.flatten(), minlength=self.tokenizer.codes).float() / codes.numel()
        surprise = -frequency.clamp_min(1e-12).log()[codes]  # of a predictor that returns the frequencies of the codes
        accuracy = ((logits.argmax(2) == codes) * counted).sum() / counted.sum()
        features = losses.new_zeros(len(x), 0) if self.training else self.pooled(x)
        mean, baseline = (losses * counted).sum(1) / number, (surprise * counted).sum(1) / number
        constant = is_constant(to_patches(x, self.patch)).float().mean()
        return Measured(mean, baseline, features, scalars={"codes_right": accuracy.detach(), "constant": constant})

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images with hidden patches grey, and with the patches of predicted codes, both (n, C, S, S)."""
        hidden = self._mask(x)
        patches, seen = to_patches(x, self.patch), ~hidden.flatten(1)[:, :, None]
        predicted = self.tokenizer.decode(self._logits(x, hidden).argmax(2))
        predicted = predicted.to(patches.dtype)
        shown = torch.where(seen, patches, torch.zeros_like(patches)), torch.where(seen, patches, predicted)
        return to_images(shown[0], self.patch, self.channels), to_images(shown[1], self.patch, self.channels)


def _masked_tokens(vit: ViT, x: Tensor, hidden: Tensor, token: Tensor) -> Tensor:
    """Tokens (n, 1 + L, width) of a vision transformer with the embeddings of `hidden` (n, 1, side, side) replaced."""
    patches = vit.embed(x)
    patches = torch.where(hidden, token.to(patches.dtype), patches).flatten(2).transpose(1, 2)
    x = torch.cat([vit.class_token.expand(len(x), -1, -1).to(patches.dtype), patches], 1)
    return vit.norm(vit.blocks(vit.dropout(x + vit.position)))


def _constant_units(x: Tensor, unit: int) -> Tensor:
    return is_constant(to_patches(x, unit)).float().mean()


def _xavier(module: nn.Module) -> None:
    """Initialise all linear layers, and patch projections seen as matrices, by Glorot's uniform distribution."""
    for layer in weighted(module):
        nn.init.xavier_uniform_(layer.weight.view(layer.weight.shape[0], -1))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
