"""Keep the features of some training samples with the weights, to flag inputs that are unlike them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from danlu.inference.familiarity import MAX_SAMPLES, MIN_SAMPLES, TrainingFeatures, features_of
from danlu.inference.load import load
from danlu.inference.measure import measure
from danlu.models.layer_depth import last_dense
from danlu.preparation.prepared import Prepared
from danlu.run.folder import Run


def keep_features(run: Run, prepared: Prepared) -> None:
    """Write the features of the best weights; of classifiers with a dense last layer and enough validation samples.

    The file depends on the saved weights and the data alone. Training samples are taken without augmentation.
    """
    run.features.unlink(missing_ok=True)  # of earlier weights
    split = prepared.split
    if prepared.dataset.task_spec.targets != "class" or min(len(split.train), len(split.val)) < MIN_SAMPLES:
        return
    layer = last_dense(load(run).model)
    if layer is None or prepared.config.tta:
        return
    (train, labels), (val, _) = (_features(run, prepared, part, layer) for part in ("train", "val"))
    if (found := TrainingFeatures.fit(train, labels, val, layer)) is not None:
        found.save(run.features)


def _features(run: Run, prepared: Prepared, part: str, layer: str) -> tuple[Tensor, Tensor]:
    """Features (N, D) and classes (N,) of at most `MAX_SAMPLES` of a split, evenly spaced."""
    network = load(run.folder).network  # fresh, because its copies would lack the hook
    index: Tensor = getattr(prepared.split, part)
    some = index[torch.linspace(0, len(index) - 1, min(len(index), MAX_SAMPLES)).long()]
    ((_, model),) = network.members  # copies for another device take the hook along
    with features_of(model, layer) as found:
        measured = measure(network, replace(prepared, split=replace(prepared.split, **{part: some})), part)
    return torch.cat(found), measured.evaluation.targets
