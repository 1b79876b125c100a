"""Charts of a pretraining over epochs: the loss beside its baseline, the spread of embeddings, the rank of features."""

from __future__ import annotations

from danlu.doctor.drawings.over_time import Fact, points_of
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.presentation.plot import Curves, Line

EPOCH = message("doctor.chart.epoch", "epoch")


def loss_and_baseline(ledger: Ledger, finding: Fact) -> Curves | None:
    """Loss of each epoch and the loss of an answer that ignores the image."""
    phase = "val" if ledger.values("pretrain.loss", "val") else "train"
    loss, baseline = points_of(ledger, "pretrain.loss", phase), points_of(ledger, "pretrain.baseline", phase)
    if not loss or not baseline:
        return None
    lines = [
        Line(message("doctor.chart.loss", "loss"), loss),
        Line(message("doctor.chart.baseline", "without the image"), baseline),
    ]
    title = message("doctor.chart.loss_and_baseline", "Loss of each epoch and of an answer without the image")
    return Curves(title, EPOCH, message("doctor.chart.loss", "loss"), lines)


def spread_of_embeddings(ledger: Ledger, finding: Fact) -> Curves | None:
    """Standard deviation of the normalised embeddings of each epoch."""
    title = message("doctor.chart.spread_of_embeddings", "Spread of the embeddings")
    return _curve(ledger, "pretrain.std", title, message("doctor.chart.spread", "spread (1: random directions)"))


def rank_of_features(ledger: Ledger, finding: Fact) -> Curves | None:
    """Effective rank of the features of each epoch."""
    title = message("doctor.chart.rank_of_features", "Directions that the features use")
    return _curve(ledger, "pretrain.rank", title, message("doctor.chart.rank", "effective rank"))


def constant_patches(ledger: Ledger, finding: Fact) -> Curves | None:
    """Fraction of the patches of each epoch whose pixels are all equal."""
    title = message("doctor.chart.constant_patches", "Patches without content")
    y = message("doctor.chart.constant_fraction", "fraction of patches")
    return _curve(ledger, "pretrain.constant", title, y, phase="train")


def _curve(ledger: Ledger, name: str, title: str, y: str, phase: str = "val") -> Curves | None:
    points = points_of(ledger, name, phase)
    return Curves(title, EPOCH, y, [Line(y, points)]) if points else None
