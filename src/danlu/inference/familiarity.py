"""Distance of an input from the training data, by the features of the last layer.

Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples", 2018, section 2.1: the Mahalanobis
distance to the nearest class mean, with one covariance within classes, compared with that of the validation samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from danlu.engine.checkpoint import read_tensors, save_tensors, way_back
from danlu.inference.prediction import Prediction
from danlu.inspection.activations import pooled
from danlu.message import message
from danlu.refuse import Refusal

MAX_SAMPLES = 500  # of the training set that are kept, and of the validation set that the limit is chosen on
MIN_SAMPLES = 20  # of the training and validation set each; with fewer there is no limit
SHRINKAGE = 0.1  # of the mean variance, added to each: fewer samples than features have no covariance of full rank
QUANTILE = 0.99  # of the validation samples are nearer than the limit
MAX_HALF = 65504.0  # largest finite number in half precision


@dataclass(frozen=True)
class TrainingFeatures:
    """Features of some training samples, and the distance from which an input is unlike them.

    features: (N, D). labels: their classes, (N,). limit: distance that `QUANTILE` of the validation samples do not
    exceed. layer: name of the dense layer whose inputs the features are.
    """

    features: Tensor
    labels: Tensor
    limit: float
    layer: str

    @classmethod
    def fit(cls, train: Tensor, labels: Tensor, val: Tensor, layer: str) -> TrainingFeatures | None:
        """Choose the limit.

        train: (N, D). labels: (N,). val: (M, D). Returns None for too few samples or features that are all equal.
        """
        if min(len(train), len(val)) < MIN_SAMPLES:
            return None
        kept = cls(train.clamp(-MAX_HALF, MAX_HALF).half(), labels.int(), 1.0, layer)  # as in the file
        if not kept.shrinkage > 0:
            return None
        limit = kept.distances(val).quantile(QUANTILE, interpolation="higher").item()
        return replace(kept, limit=limit) if limit > 0 else None

    @cached_property
    def means(self) -> Tensor:
        """Mean of each class that occurs, float64 (K, D)."""
        features = self.features.double()
        return torch.stack([features[self.labels == one].mean(0) for one in self.labels.unique()])

    @cached_property
    def residuals(self) -> Tensor:
        """R (N, D), float64, with which the covariance within classes is R'R."""
        _, which = self.labels.unique(return_inverse=True)
        return (self.features.double() - self.means[which]) / len(self.features) ** 0.5

    @cached_property
    def shrinkage(self) -> float:
        """Variance that is added to each feature."""
        return SHRINKAGE * self.residuals.square().sum(0).mean().item()

    @cached_property
    def gram(self) -> Tensor:
        """Cholesky factor (N, N) of RR' + shrinkage, for Woodbury's identity: N is often less than D."""
        gram = self.residuals @ self.residuals.T
        return torch.linalg.cholesky(gram + self.shrinkage * torch.eye(len(gram), dtype=gram.dtype))

    def weighted(self, x: Tensor) -> Tensor:
        """Rows of x (M, D) times the inverse of the shrunk covariance."""
        inner = torch.cholesky_solve(self.residuals @ x.T, self.gram)
        return (x - inner.T @ self.residuals) / self.shrinkage

    def distances(self, features: Tensor) -> Tensor:
        """Distance to the nearest class mean over the limit, (M,), of features (M, D); above 1 is unlike them."""
        centre = self.means.mean(0)
        x, means = features.double() - centre, self.means - centre
        inverse = self.weighted(x)
        products = (x * inverse).sum(1, keepdim=True) - 2 * inverse @ means.T + (means * self.weighted(means)).sum(1)
        return products.amin(1).clamp_min(0).sqrt().float() / self.limit

    def save(self, path: Path) -> None:
        """Write a safetensors file, features in half precision."""
        layer = torch.tensor(list(self.layer.encode()), dtype=torch.uint8)
        tensors = {
            "features": self.features,
            "labels": self.labels,
            "limit": torch.tensor([self.limit]),
            "layer": layer,
        }
        save_tensors(path, tensors, None)

    @classmethod
    def read(cls, path: Path) -> TrainingFeatures | None:
        """Read a file of `save`; None if there is none. Raises Refusal if it is damaged."""
        if not path.exists():
            return None
        _, found = read_tensors(path)
        try:
            layer = bytes(found["layer"].tolist()).decode()
            return cls(found["features"], found["labels"], found["limit"].item(), layer)
        except (KeyError, ValueError, RuntimeError):
            text = "{path} does not hold features of training samples; {way_back}"
            raise Refusal(message("inference.refuse.features", text, path=path, way_back=way_back(path))) from None


@contextmanager
def features_of(
    model: nn.Module, layer: str, each: Callable[[Tensor], Tensor] = lambda features: features
) -> Iterator[list[Tensor]]:
    """Collect the features (N, D) of the samples of each call of the network inside the `with` block.

    each: applied to the features of a call, to keep less than the features of all samples in memory.
    """
    found: list[Tensor] = []

    def keep(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        found.append(each(pooled(arguments[0].detach(), len(arguments[0]), layer)))

    handle = model.get_submodule(layer).register_forward_pre_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


@contextmanager
def with_distances(
    kept: TrainingFeatures | None, models: Sequence[nn.Module], predictions: list[Prediction]
) -> Iterator[None]:
    """Add their distance to the predictions that the block appends to an empty list.

    kept: None for nothing. models: on the device of the predictions; an ensemble has no distance.
    """
    if kept is None or len(models) != 1:
        yield
        return
    with features_of(models[0], kept.layer, kept.distances) as found:
        yield
    readable = [i for i, one in enumerate(predictions) if one.error is None]
    distances = torch.cat(found).tolist() if found else []
    if len(distances) != len(readable):  # several views of a sample
        return
    for i, distance in zip(readable, distances):
        predictions[i] = replace(predictions[i], distance=round(distance, 4))
