"""Tokenizers of BEiT: patches to discrete codes, fitted to the training images before the pretraining."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.pretraining.patches import to_patches

CODE_WIDTH = 16  # numbers per code of the vector-quantised autoencoder
HIDDEN = 128  # units of its two layers
STEPS = 600  # training steps of the tokenizer, each of BATCH patches
BATCH = 1024  # patches
KMEANS_ROUNDS = 15
MAX_PATCHES = 100_000  # to which a tokenizer is fitted
LR = 1e-3
DECAY = 0.97  # of the moving averages of the codebook (van den Oord et al. 2017, appendix A.1)
COMMITMENT = 0.25  # weight of the distance between code and encoding (the same, equation 3)
MIN_USE = 0.05  # moving count of patches, as a fraction of the mean, below which a code is replaced
EPS = 1e-5


class Tokenizer(nn.Module):
    """Base of tokenizers: patches (..., D) -> codes int64 (...), and back.

    Args:
        side: Side of a patch in pixels.
        channels: Of the images.
        codes: Number of codes.
    """

    def __init__(self, side: int, channels: int, codes: int) -> None:
        super().__init__()
        self.side, self.codes, self.width = side, codes, side**2 * channels

    def fit(self, images: Any) -> None:
        """Fit to batches of normalised images (n, C, S, S). The same batches give the same tokenizer."""
        found, count = [], 0
        for batch in images:
            patches = to_patches(batch, self.side).reshape(-1, self.width).float()
            found.append(patches)
            count += len(patches)
            if count >= 4 * MAX_PATCHES:
                break
        patches = torch.cat(found)
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randperm(len(patches), generator=generator)[:MAX_PATCHES].to(patches.device)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            self.fit_patches(patches[chosen], generator)

    def fit_patches(self, patches: Tensor, generator: torch.Generator) -> None:
        """Fit to patches (M, D)."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (...) -> patches (..., D)."""
        raise NotImplementedError


class KMeansTokenizer(Tokenizer):
    """A codebook of patches by k-means (Lloyd's algorithm): each code is the mean of its patches."""

    book: Tensor

    def __init__(self, side: int, channels: int, codes: int) -> None:
        super().__init__(side, channels, codes)
        self.register_buffer("book", torch.zeros(codes, self.width))

    @torch.no_grad()
    def fit_patches(self, patches: Tensor, generator: torch.Generator) -> None:
        """Fit the codebook to patches (M, D) by k-means."""
        start = torch.randperm(len(patches), generator=generator)
        self.book.copy_(patches[start[torch.arange(self.codes) % len(patches)].to(patches.device)])
        for _ in range(KMEANS_ROUNDS):
            codes = self(patches)
            counts = torch.bincount(codes, minlength=self.codes)
            sums = torch.zeros_like(self.book).index_add_(0, codes, patches)
            means = sums / counts.clamp_min(1)[:, None]
            fresh = torch.randint(len(patches), (self.codes,), generator=generator).to(patches.device)
            self.book.copy_(torch.where(counts[:, None] > 0, means, patches[fresh]))

    def forward(self, patches: Tensor) -> Tensor:
        """Return the codes int64 (...) of patches (..., D)."""
        return nearest(patches.float(), self.book)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the patches (..., D) of codes (...)."""
        return self.book[codes]


class VQTokenizer(Tokenizer):
    """A vector-quantised autoencoder of patches: two layers to 16 numbers, the nearest of K codes, two layers back.

    Trained by the squared error with a straight-through gradient; the codebook follows moving averages, unused codes
    are replaced by encodings of patches. Source: van den Oord et al., "Neural discrete representation learning", 2017.
    """

    book: Tensor

    def __init__(self, side: int, channels: int, codes: int) -> None:
        super().__init__(side, channels, codes)
        self.encoder = nn.Sequential(nn.Linear(self.width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, CODE_WIDTH))
        self.decoder = nn.Sequential(nn.Linear(CODE_WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, self.width))
        self.register_buffer("book", torch.zeros(codes, CODE_WIDTH))

    def fit_patches(self, patches: Tensor, generator: torch.Generator) -> None:
        """Train encoder, codebook and decoder on patches (M, D)."""
        self.requires_grad_(True)
        optimiser = torch.optim.Adam(self.parameters(), lr=LR)
        first = torch.randint(len(patches), (self.codes,), generator=generator).to(patches.device)
        with torch.no_grad():
            self.book.copy_(self.encoder(patches[first]))
        counts, sums = torch.ones(self.codes, device=patches.device), self.book.clone()
        for _ in range(STEPS):
            rows = torch.randint(len(patches), (min(BATCH, len(patches)),), generator=generator).to(patches.device)
            x = patches[rows]
            z = self.encoder(x)
            codes = nearest(z.detach(), self.book)
            quantised = self.book[codes]
            loss = F.mse_loss(self.decoder(z + (quantised - z).detach()), x) + COMMITMENT * F.mse_loss(z, quantised)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                self._follow(z.detach(), codes, counts, sums, generator)
        self.requires_grad_(False)

    def _follow(self, z: Tensor, codes: Tensor, counts: Tensor, sums: Tensor, generator: torch.Generator) -> None:
        """Move the codebook to the moving mean of the encodings (n, 16) of each code; replace unused codes."""
        counts.mul_(DECAY).add_(torch.bincount(codes, minlength=self.codes).float(), alpha=1 - DECAY)
        sums.mul_(DECAY).add_(torch.zeros_like(sums).index_add_(0, codes, z), alpha=1 - DECAY)
        idle = counts < MIN_USE * counts.mean()
        fresh = z[torch.randint(len(z), (self.codes,), generator=generator).to(z.device)]
        sums.copy_(torch.where(idle[:, None], fresh * counts.mean(), sums))
        counts.copy_(torch.where(idle, counts.mean(), counts))
        self.book.copy_(sums / counts.clamp_min(EPS)[:, None])

    @torch.no_grad()
    def forward(self, patches: Tensor) -> Tensor:
        """Return the codes int64 (...) of patches (..., D)."""
        return nearest(self.encoder(patches.float()), self.book)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Return the patches (..., D) of codes (...)."""
        return self.decoder(self.book[codes])


def nearest(x: Tensor, book: Tensor) -> Tensor:
    """Index of the row of `book` (K, D) nearest to each vector (..., D), int64 (...)."""
    return ((book * book).sum(1) - 2 * x @ book.T).argmin(-1)


TOKENIZERS: dict[str, type[Tokenizer]] = {"vq": VQTokenizer, "kmeans": KMeansTokenizer}
