"""Conditions on which a finding applies to a run at all: `concerns` of its FindingSpec."""

from __future__ import annotations

from danlu.doctor.ledger import Ledger


def classifies(ledger: Ledger) -> bool:
    """Return whether targets are classes, or not known to be anything else."""
    return ledger.last("target.kind", default="classes") != "values"


def has_norm(ledger: Ledger) -> bool:
    """Return whether the model has normalisation layers, or its layers are not known."""
    return ledger.has("norm.kind") or not ledger.has("layer.kind")


def has_modes(ledger: Ledger) -> bool:
    """Return whether a layer behaves differently in train and eval mode, or this is not known."""
    return bool(ledger.last("loop.mode_matters", default=1))


def detects(ledger: Ledger) -> bool:
    """Return whether the trainer described the objects of a detection dataset."""
    return ledger.has("object.count")


def labels_pixels(ledger: Ledger) -> bool:
    """Return whether the trainer counted the pixels of each class in the label maps."""
    return ledger.has("pixel.count")


def has_dense_targets(ledger: Ledger) -> bool:
    """Return whether targets per pixel were compared with their images."""
    return ledger.has("dense.fit")


def poses_checked(ledger: Ledger) -> bool:
    """Return whether the trainer checked poses that were read from files."""
    return ledger.has("pose.count")


def estimates_poses(ledger: Ledger) -> bool:
    """Return whether the trainer described the rotation loss of a network that estimates poses."""
    return ledger.has("pose.loss")


def reports_metrics(ledger: Ledger) -> bool:
    """Return whether the loop reported figures of its own by doctor.epoch(name=value)."""
    return ledger.has("user.metric")
