"""Checks that apply to data and a network before any training, and sentences that list them."""

from __future__ import annotations

from torch import Tensor

from danlu.message import Message, message
from danlu.preparation.prepared import Prepared

# Samples of the batch on which it is tested whether the network can learn; the second number is for large images.
FIT_SAMPLES, FIT_LARGE_IMAGES = 64, 16
SMALL_IMAGE = 64  # pixels of a side; larger images count as large
MAX_FIT_SECONDS = 8.0  # of that test, which takes minutes where other programs use the cores
MAX_IMAGES = 200_000  # images compared with one another


def class_targets(prepared: Prepared) -> Tensor | None:
    """Class of each sample, int64 (N,); None for other tasks."""
    dataset = prepared.dataset
    return dataset.targets if dataset.task_spec.targets == "class" and isinstance(dataset.targets, Tensor) else None


def compares_images(prepared: Prepared) -> bool:
    """True if there are images, and not too many to compare each with the others."""
    return prepared.images is not None and len(prepared.dataset) <= MAX_IMAGES


def fitted_samples(prepared: Prepared) -> Tensor:
    """Numbers of the training samples that the untrained network is tried on, int64."""
    is_large = (prepared.signature.size or 0) > SMALL_IMAGE
    return prepared.split.train[: FIT_LARGE_IMAGES if is_large else FIT_SAMPLES]


def judges_first_loss(prepared: Prepared) -> bool:
    """False if a training fits the last layer before its first step, so that its random outputs do not matter."""
    return not prepared.config.transfer.head_first


def checked(prepared: Prepared, fit_judged: bool = True) -> list[Message]:
    """Describe what is checked in these data and their network. fit_judged: whether the fit of a batch had its time."""
    found, count = [], len(prepared.dataset)
    if compares_images(prepared):
        text = "{count} {count:image|images}, compared with one another: copies, copies in two splits, blank images"
        found.append(message("analysis.checked.images", text, count=count))
    if class_targets(prepared) is not None:
        text = "{count} {count:label|labels}: rare classes, classes that a split lacks"
        found.append(message("analysis.checked.labels", text, count=count))
    if prepared.objects is not None:
        text = "objects: sizes and shapes that the maps and anchors of {network} cover"
        found.append(message("analysis.checked.objects", text, network=prepared.signature.model))
    if prepared.maps is not None:
        found.append(message("analysis.checked.pixels", "pixels: of each class, and ignored ones"))
    if prepared.objects is None and prepared.maps is None:
        text = (
            "the untrained {network} on {count} {count:sample|samples}: "
            "parameters without a gradient, whether it can fit them"
        )
        values = {"network": prepared.signature.model, "count": len(fitted_samples(prepared))}
        one = message("analysis.checked.network", text, **values)
        if not fit_judged:
            text = "the untrained {network} on {count} {count:sample|samples}: parameters without a gradient"
            one = message("analysis.checked.gradients", text, **values)
        found.append(one)
        if judges_first_loss(prepared):
            found.append(message("analysis.checked.first_loss", "the first loss: that of equal probabilities"))
    return found


def not_judged(prepared: Prepared, fit_judged: bool = True) -> list[Message]:
    """Describe what is not judged in these data, and where it is. fit_judged: as for `checked`."""
    found = []
    if prepared.images is not None and not compares_images(prepared):
        text = "copies among more than {count} images"
        found.append(message("analysis.not_judged.images", text, count=MAX_IMAGES))
    if class_targets(prepared) is not None and not judges_first_loss(prepared):
        text = "the first loss: the last layer is fitted before the first step"
        found.append(message("analysis.not_judged.first_loss", text))
    if not fit_judged:
        text = "whether the network can fit a batch: {seconds} seconds were too few on this machine"
        found.append(message("analysis.not_judged.fit", text, seconds=round(MAX_FIT_SECONDS)))
    text = "wrong labels, overfitting and all else that only a training shows: `danlu train` reports it"
    found.append(message("analysis.not_judged.training", text))
    return found
