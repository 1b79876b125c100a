"""Fit the last layer of a pretrained network to its own features before training: a linear probe as a start."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.data.augmentation.augment import views
from danlu.data.batches import Batches
from danlu.learning.linear_probe import fit_labels, fit_logistic
from danlu.message import message
from danlu.models.layer_depth import head_name
from danlu.preparation.prepared import Prepared
from danlu.refuse import refusal

MAX_SAMPLES = 5_000  # training samples that the head is fitted to
AUGMENTED_VIEWS = 4  # of each image, where only the head is trained; on flowers with 10 images per class +1.6 points


def last_layer(model: nn.Module, name: str) -> nn.Linear:
    """The dense layer that computes the outputs. Raises Refusal if the network has none."""
    layers = [m for m in model.get_submodule(head_name(model)).modules() if isinstance(m, nn.Linear)]
    if not layers or layers[-1].bias is None:
        raise refusal(
            "transfer.head_first",
            message(
                "preparation.wanted.false_whose_last_layer",
                "false for {name}, whose last layer is not dense with a bias",
                name=name,
            ),
            True,
        )
    return layers[-1]


def probe_samples(index: Tensor) -> Tensor:
    """At most `MAX_SAMPLES` of the training samples, evenly spaced."""
    return index[:: -(-len(index) // MAX_SAMPLES)] if len(index) else index


@torch.no_grad()
def fit_head(model: nn.Module, prepared: Prepared, batches: Batches, augmented: Batches | None = None) -> None:
    """Set the last layer, in place, to the logistic regression on the features of images and their mirror images.

    With several labels per image, it is one logistic regression per label. model: on the device of the batches, which
    hold the samples of `probe_samples` without augmentation. augmented: the same samples with augmentation, of which
    up to `AUGMENTED_VIEWS` are fitted too. The penalty is that of one unit per view, scikit-learn's default. The
    network's mode and random state stay as they are.
    """
    head = last_layer(model, prepared.signature.model)
    features, labels = list[Tensor](), list[Tensor]()

    def keep(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        features.append(arguments[0].float().cpu())

    training = model.training
    handle = head.register_forward_pre_hook(keep)
    model.eval()
    try:
        for batch in batches.epoch(0):
            for view in views(batch.inputs, prepared.config.augment):
                model(view)
                labels.append(batch.targets.cpu())
        samples = sum(map(len, labels))
        for epoch in range(min(AUGMENTED_VIEWS, MAX_SAMPLES // samples)):
            for batch in augmented.epoch(epoch) if augmented is not None else ():
                model(batch.inputs)
                labels.append(batch.targets.cpu())
    finally:
        handle.remove()
        model.train(training)
    fit = fit_labels if prepared.dataset.task_spec.several_labels else fit_logistic
    weight, bias = fit(torch.cat(features), torch.cat(labels), head.out_features)
    head.weight.copy_(weight)
    head.bias.copy_(bias)
