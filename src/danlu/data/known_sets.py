"""The data sets known by name. Torch is not imported, so that a misspelt name is refused at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OfSklearn:
    """loader: function of sklearn.datasets. target: name of the target column, for regression."""

    loader: str
    description: str
    target: str | None = None


@dataclass(frozen=True)
class OfTorchvision:
    """kind: class of torchvision.datasets. splits: its name of a split -> train, val or test.

    home: folder that danlu's own idx or cifar reader opens, where there is one. turned: stored with rows as columns.
    """

    kind: str
    description: str
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    home: str = ""
    turned: bool = False


@dataclass(frozen=True)
class Generated:
    """Drawn by danlu."""

    description: str


SKLEARN = {
    "digits": OfSklearn("load_digits", "1,797 handwritten digits of 8x8 pixels"),
    "iris": OfSklearn("load_iris", "150 flowers, 4 columns, 3 classes"),
    "wine": OfSklearn("load_wine", "178 wines, 13 columns, 3 classes"),
    "breast-cancer": OfSklearn("load_breast_cancer", "569 tumours, 30 columns, 2 classes"),
    "diabetes": OfSklearn("load_diabetes", "442 patients, 10 columns, one number", "progression"),
    "california-housing": OfSklearn(
        "fetch_california_housing", "20,640 districts, 8 columns, one number", "median_house_value"
    ),
}

THREE_SPLITS = {"train": "train", "val": "val", "test": "test"}
TORCHVISION = {
    "mnist": OfTorchvision("MNIST", "70,000 handwritten digits, 28x28, grey", home="MNIST/raw"),
    "fashion-mnist": OfTorchvision("FashionMNIST", "70,000 pieces of clothing, 28x28, grey", home="FashionMNIST/raw"),
    "kmnist": OfTorchvision("KMNIST", "70,000 Japanese letters, 28x28, grey", home="KMNIST/raw"),
    "emnist": OfTorchvision("EMNIST", "131,600 digits and letters (balanced), 28x28, grey", turned=True),
    "cifar10": OfTorchvision("CIFAR10", "60,000 images, 32x32, 10 classes", home="cifar-10-batches-py"),
    "cifar100": OfTorchvision("CIFAR100", "60,000 images, 32x32, 100 classes", home="cifar-100-python"),
    "svhn": OfTorchvision("SVHN", "99,289 house numbers, 32x32"),
    "stl10": OfTorchvision("STL10", "13,000 images, 96x96, 10 classes"),
    "flowers102": OfTorchvision("Flowers102", "8,189 flowers, 102 classes", THREE_SPLITS),
    "food101": OfTorchvision("Food101", "101,000 dishes, 101 classes"),
    "oxford-iiit-pet": OfTorchvision(
        "OxfordIIITPet", "7,349 cats and dogs, 37 breeds", {"trainval": "train", "test": "test"}
    ),
    "dtd": OfTorchvision("DTD", "5,640 textures, 47 classes", THREE_SPLITS),
    "fgvc-aircraft": OfTorchvision("FGVCAircraft", "10,000 aircraft, 100 variants", THREE_SPLITS),
}

GENERATED = {
    "shapes": Generated("600 synthetic images of circles, squares and triangles, with boxes, masks and poses"),
    "scenes": Generated("1,500 rendered images of a prism, a cube and a cylinder, with 6D poses and masks"),
    "moving-digits": Generated("4,000 generated clips of 8 frames: a digit that moves in one of 8 directions"),
}
KNOWN: dict[str, OfSklearn | OfTorchvision | Generated] = {**SKLEARN, **TORCHVISION, **GENERATED}
