"""U-Net: encoder and decoder of several resolutions with skip connections (Ronneberger, Fischer and Brox 2015)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.message import message
from danlu.models.parts import conv, he_normal
from danlu.refuse import refusal
from danlu.segmentation.segmenter import Segmenter


class UNet(Segmenter):
    """Two 3x3 convolutions per resolution; the decoder upsamples by 2x2 transposed convolutions.

    Convolutions are padded, where the original crops, so that the output has the size of the image. As published
    (width 64, norm "none", 1 channel, 2 classes): 31,030,658 parameters; width 16 has a sixteenth.

    width: channels at full resolution, doubled at each next one. norm: of `models.parts`, after every convolution.
    fold_pixels: side of the squares of pixels that are folded into channels before the first convolution, and unfolded
    after the last (Shi et al. 2016): 2 does the work of half the resolution and loses no pixel of image or contour.
    levels: number of resolutions; 5 have the strides 1, 2, 4, 8 and 16. fine_width: channels of two convolutions at
    full resolution, of the image and the unfolded features, that draw the contours after a folded network; 0: none.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        size: int,
        *,
        width: int = 64,
        norm: str = "batch",
        fold_pixels: int = 1,
        levels: int = 5,
        fine_width: int = 0,
    ) -> None:
        super().__init__()
        multiple = fold_pixels << (levels - 1)
        if size % multiple:
            text = "a multiple of {multiple} for unet with fold_pixels {fold} and {levels} levels"
            values = {"multiple": multiple, "fold": fold_pixels, "levels": levels}
            raise refusal("--size", message("segmentation.wanted.fold_pixels", text, **values), size)
        self.fold_pixels, self.feature_layer = fold_pixels, f"down.{levels - 1}"
        widths = [width * 2**i for i in range(levels)]
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(_double(a, b, norm) for a, b in zip([channels * fold_pixels**2, *widths], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(w, w // 2, 2, stride=2) for w in widths[:0:-1])
        self.merge = nn.ModuleList(_double(w, w // 2, norm) for w in widths[:0:-1])
        if fine_width:
            self.unfold = nn.ConvTranspose2d(width, fine_width, fold_pixels, stride=fold_pixels)
            self.fine = _double(channels + fine_width, fine_width, norm)
            self.head = nn.Conv2d(fine_width, classes, 1)
        else:
            self.fine = None
            self.head = nn.Conv2d(width, classes * fold_pixels**2, 1)
        he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K, S, S) of images (N, C, S, S)."""
        skips, x = [], F.pixel_unshuffle(images, self.fold_pixels)
        for number, block in enumerate(self.down):
            x = block(self.pool(x) if number else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1]):
            x = merge(torch.cat((skip, up(x)), 1))
        if self.fine is not None:
            return self.head(self.fine(torch.cat((images, self.unfold(x)), 1)))
        return F.pixel_shuffle(self.head(x), self.fold_pixels)


def _double(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, 3, norm=norm), conv(outputs, outputs, 3, norm=norm))
