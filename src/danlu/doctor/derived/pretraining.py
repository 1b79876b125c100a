"""Facts of a pretraining on images without labels."""

from __future__ import annotations

from danlu.doctor.ledger import Ledger


def is_pretraining(ledger: Ledger) -> bool:
    """Return whether the run pretrains on images without labels."""
    return bool(ledger.has("pretrain.method"))


def compares_views(ledger: Ledger) -> bool:
    """Return whether the method compares two views of each image, so that all embeddings may become equal."""
    return bool(ledger.last("pretrain.views"))


def by_epoch(ledger: Ledger, name: str) -> list[float]:
    """Values of a quantity on the validation set by epoch, on the training set where there is none."""
    return ledger.values(name, "val") or ledger.values(name, "train")
