"""The user's transform: fitted to the training data, and applied around danlu's own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from danlu.config import Config
from danlu.data.batches import Transform
from danlu.data.dataset import Samples
from danlu.data.samples import SampleReader
from danlu.message import message
from danlu.preparation.encode import Encoded
from danlu.refuse import Refusal, refusal
from danlu.run.signature import Signature
from danlu.user_objects import find


def with_own_transform(config: Config, encoded: Encoded) -> Encoded:
    """Fit the user's transform, if there is one, to the first sample; the signature has the shape that it returns."""
    if config.data.transform is None:
        return encoded
    transform = find("transform", config.data.transform)
    if encoded.signature.task_spec.on_canvas:
        raise Refusal(
            message(
                "preparation.refuse.transform_left_out_detectors",
                "transform must be left out for detectors, whose boxes it does not know",
            ),
            "transform",
        )
    if encoded.columns is not None:
        raise Refusal(
            message(
                "preparation.refuse.transform_left_out_tables",
                "transform must be left out for tables, whose columns danlu encodes",
            ),
            "transform",
        )
    if encoded.signature.frames is not None:
        raise Refusal(
            message(
                "preparation.refuse.transform_left_out_clips",
                "transform must be left out for clips, all frames of which danlu transforms alike",
            ),
            "transform",
        )
    if encoded.signature.parts:
        text = "transform must be left out for samples of several inputs; apply it in the dataset"
        raise Refusal(message("preparation.refuse.transform_left_out_several", text), "transform")
    transform.fit(_first(config, encoded))
    name = config.data.transform
    signature = replace(
        encoded.signature, transform=name, shape=shape_after(transform, _first(config, encoded), encoded)
    )
    return replace(encoded, signature=signature)


def shape_after(transform: object, sample: Tensor, encoded: Encoded) -> tuple[int, ...] | None:
    """Shape of one input after the user's transform; None for images that danlu normalises."""
    evaluation = transform.of(training=False)  # type: ignore[attr-defined]
    train = transform.of(training=True)  # type: ignore[attr-defined]
    made = [sample if one is None else one(sample, 0) for one in (train, evaluation)]
    both = [tuple(one.shape) for one in made]
    images = [one.dtype == torch.uint8 for one in made]
    if images[0] != images[1]:
        raise refusal(
            "transform",
            message(
                "preparation.wanted.returns_same_type_training",
                "one that returns the same type for training and validation",
            ),
            message("preparation.got.two_types", "{first} and {second}", first=_type(made[0]), second=_type(made[1])),
            do=message("preparation.do.give_pair_train_val", "give a pair (train, val) that ends in the same steps"),
        )
    if all(images):
        return encoded.signature.shape
    if both[0] != both[1]:
        raise refusal(
            "transform",
            message(
                "preparation.wanted.returns_shape_training_validation",
                "one that returns one shape for training and validation",
            ),
            both,
        )
    return both[0]


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _first(config: Config, encoded: Encoded) -> Tensor:
    """The first sample as the transform gets it."""
    if encoded.images is not None:
        return encoded.images.some([0])[0]
    if isinstance(encoded.tensors, Samples):
        return SampleReader(encoded.tensors, config.seed).some([0])[0]
    assert encoded.tensors is not None
    return encoded.tensors[0]


def around(signature: Signature, training: Transform, evaluation: Transform) -> tuple[Transform, Transform]:
    """danlu's transforms of training and evaluation batches, with the user's where the network was trained with one."""
    if signature.transform is None:
        return training, evaluation
    own = find("transform", signature.transform)
    return own.apply(training, training=True), own.apply(evaluation, training=False)
