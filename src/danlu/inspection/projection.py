"""Features in two dimensions, and the nearest neighbours of each sample among the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PERPLEXITY = 30.0  # of t-SNE, the paper's middle value; less for fewer than 91 samples
COMPONENTS = 50  # principal components that t-SNE starts from (van der Maaten & Hinton 2008)


@dataclass(frozen=True)
class Projection:
    """Coordinates of N samples.

    pca: first two principal components (N, 2). explained: fraction of the variance along each. tsne: (N, 2).
    neighbours: indices of the nearest other samples (N, k), nearest first, by cosine similarity.
    """

    pca: np.ndarray
    explained: tuple[float, float]
    tsne: np.ndarray
    neighbours: np.ndarray


def project(features: np.ndarray, neighbours: int = 8, seed: int = 0) -> Projection:
    """Project features onto planes: principal components, and t-SNE (van der Maaten & Hinton, 2008) from them.

    Args:
        features: (N, D), N at least 4.
        neighbours: Number of neighbours of each sample, less than N.
        seed: Of t-SNE, which starts at the principal components.
    """
    centred = features.astype(np.float64) - features.mean(0)
    components, variances = _principal(centred)
    ratios = variances / max(variances.sum(), 1e-12)
    plane = np.pad(components[:, :2], ((0, 0), (0, max(0, 2 - components.shape[1]))))
    explained = float(ratios[0]), float(ratios[1]) if len(ratios) > 1 else 0.0
    tsne = _tsne(components[:, :COMPONENTS], seed)
    return Projection(plane, explained, tsne, nearest(features, neighbours))


def _principal(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components (N, r) and their variances (r,), largest first, with signs that do not depend on LAPACK."""
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(vt[np.arange(len(vt)), np.abs(vt).argmax(1)])
    return u * s * signs, s**2 / max(len(centred) - 1, 1)


def _tsne(components: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    count = len(components)
    if np.ptp(components) < 1e-12:  # all samples are the same: no distances to keep
        return np.zeros((count, 2))
    components = np.pad(components, ((0, 0), (0, max(0, 2 - components.shape[1]))))
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed).fit_transform(components)


def nearest(features: np.ndarray, count: int) -> np.ndarray:
    """Indices (N, count) of the samples with the largest cosine similarity, without the sample itself."""
    from sklearn.neighbors import NearestNeighbors

    rows = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    found = NearestNeighbors(n_neighbors=count).fit(rows)  # Euclidean distance of unit vectors orders as the cosine
    return found.kneighbors(return_distance=False)


def same_class(neighbours: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of the neighbours (N, k) that have the class of their sample; labels: (N,)."""
    return float((labels[neighbours] == labels[:, None]).mean())
