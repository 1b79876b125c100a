"""The user's transforms: of one sample (torchvision v2, albumentations, a function) or of a batch (f(inputs, targets)).

A transform of samples that returns uint8 images is augmentation: it is applied to training samples, and danlu's
normalisation follows. One that returns anything else is the whole way from sample to network input, so it is applied to
all splits and nothing follows. A pair (train, eval) gives one for each. Random numbers are drawn from the seed, the
epoch and the sample.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.batches import Transform
from danlu.message import message
from danlu.own.naming import own_name, parameters_of, plain_name, required
from danlu.refuse import Refusal, refusal

FORMS = ("tensor", "PIL image", "array")  # in which a sample is tried, in this order
MIXES = ("MixUp", "CutMix")  # transforms of torchvision of a whole batch with its labels


@dataclass(frozen=True)
class SampleTransform:
    """One transform of samples, called with the form of image that it takes. image_key: as albumentations is called."""

    function: Any
    form: str
    image_key: bool

    def __call__(self, sample: Tensor, seed: int) -> Tensor:
        """One sample, transformed. seed: of all random numbers in the transform."""
        seed_all(seed)
        if hasattr(self.function, "set_random_seed"):  # albumentations has a generator of its own
            self.function.set_random_seed(seed % 2**32)
        return _as_tensor(self._call(_in_form(sample, self.form)))

    def _call(self, sample: Any) -> Any:
        return self.function(image=sample)["image"] if self.image_key else self.function(sample)


class OwnTransform:
    """Transforms of the user.

    train, evaluation: of samples, None for none. batch: of training batches, (inputs, targets) -> the same. Which form
    of sample the transforms take is found on the first sample, by `fit`.
    """

    def __init__(self, transform: Any) -> None:
        self.name = own_name(transform[0] if isinstance(transform, tuple | list) and transform else transform)
        self.batch: Any = None
        self.train: Any = None
        self.evaluation: Any = None
        self.pair = False
        for one in self._several(transform):
            if one is None:
                continue
            if not callable(one):
                wanted = message(
                    "own.wanted.function_sample_inputs_targets",
                    "a function of a sample or of (inputs, targets), a list of these, or a pair (train, val)",
                )
                raise refusal("transform", wanted, one if isinstance(one, int | float | str) else type(one).__name__)
            if _takes_batches(one):
                self.batch = one
            elif self.train is not None:
                raise Refusal(
                    message(
                        "own.refuse.transform_two_functions_sample",
                        "transform has two functions of a sample; join them by v2.Compose([...])",
                    ),
                    "transform",
                )
            else:
                self.train = one
        if not self.pair:
            self.evaluation = self.train
        self._fitted: tuple[SampleTransform | None, SampleTransform | None] | None = None

    def _several(self, transform: Any) -> list[Any]:
        """The parts of the argument; of a mapping {train, val} those of training."""
        if isinstance(transform, Mapping):
            if unknown := set(transform) - {"train", "val", "eval", "test"}:
                raise refusal(
                    "transform",
                    message("own.wanted.mapping_train_val", "a mapping with train and val"),
                    sorted(map(str, unknown))[0],
                )
            evaluation = [transform[key] for key in ("val", "eval", "test") if key in transform]
            self.pair, self.evaluation = True, evaluation[0] if evaluation else None
            self.name = own_name(transform.get("train") or self.evaluation)
            return self._several(transform.get("train"))
        if isinstance(transform, tuple) and len(transform) == 2 and not _takes_batches(transform[1]):
            self.pair, self.evaluation = True, transform[1]
            return [transform[0]]
        return list(transform) if isinstance(transform, list | tuple) else [transform]

    def fit(self, sample: Tensor) -> None:
        """Find the form of sample that the transforms take. Refusal if they fail on every form."""
        train, evaluation = (None if one is None else _fitted(one, sample) for one in (self.train, self.evaluation))
        if not self.pair and train is not None and train(sample, 0).dtype == torch.uint8:
            evaluation = None  # augmentation
        self._fitted = (train, evaluation)

    def of(self, training: bool) -> SampleTransform | None:
        """The transform of training samples, or of the other samples."""
        assert self._fitted is not None
        return self._fitted[0 if training else 1]

    def apply(self, inner: Transform, training: bool) -> Transform:
        """The transform of batches that danlu applies (`inner`), with the user's."""
        return Applied(inner, self.of(training), self.batch if training else None)


@dataclass(frozen=True)
class Seeds:
    """Random seeds of the n samples of a batch, random numbers of danlu's own transform, a seed of the batch."""

    samples: np.ndarray
    inner: Any
    batch: int

    def rows(self, rows: slice) -> Seeds:
        """Those of one process's samples."""
        inner = self.inner.rows(rows) if self.inner is not None else None
        return Seeds(self.samples[rows], inner, self.batch + (rows.start or 0))


class Applied:
    """A `Transform` that calls the user's: per sample before danlu's own, per batch after it."""

    def __init__(self, inner: Transform, sample: SampleTransform | None, batch: Callable[..., Any] | None) -> None:
        self.inner, self.sample, self.batch = inner, sample, batch

    def draw(self, rng: np.random.Generator, n: int) -> Seeds:
        """Random numbers for a batch of n samples, over all processes."""
        inner = self.inner.draw(rng, n)
        return Seeds(rng.integers(0, 2**32, n), inner, int(rng.integers(0, 2**32)))

    def __call__(self, source: Tensor, index: Tensor | None, targets: Any, draws: Seeds | None) -> tuple[Tensor, Any]:
        """Return inputs and targets after the user's transform and danlu's own."""
        inner = draws.inner if draws is not None else None
        if self.sample is None:
            inputs, targets = self.inner(source, index, targets, inner)
        else:
            rows = source if index is None else source.index_select(0, index)
            seeds = draws.samples.tolist() if draws is not None else [0] * len(rows)
            inputs = _stacked([self.sample(row, seed) for row, seed in zip(rows.cpu(), seeds)])
            inputs = inputs.to(targets.device)
            if inputs.dtype == torch.uint8:
                inputs, targets = self.inner(inputs, None, targets, inner)
        if self.batch is not None and draws is not None:
            seed_all(draws.batch)
            inputs, targets = self.batch(inputs, targets)
        return inputs, targets


def seed_all(seed: int) -> None:
    """Seed the generators of Python, numpy and torch (CPU)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (the generator that transforms of users draw from)
    torch.default_generator.manual_seed(seed)


def _takes_batches(transform: Any) -> bool:
    """Return whether a transform takes inputs and targets of a whole batch."""
    if any(one.__name__ in MIXES for one in type(transform).__mro__):
        return True
    return len(required(parameters_of(transform))) == 2


def _fitted(function: Any, sample: Tensor) -> SampleTransform:
    """The function with the first form of sample on which it succeeds."""
    errors: list[Exception] = []
    image_key = type(function).__module__.startswith("albumentations")
    is_image = sample.dtype == torch.uint8 and sample.ndim == 3
    forms = ("array",) if image_key else FORMS if is_image else ("tensor", "array")
    for form in forms:
        made = SampleTransform(function, form, image_key)
        try:
            made(sample, 0)
        except Exception as error:
            errors.append(error)
        else:
            return made
    why = f"{type(errors[0]).__name__}: {' '.join(str(errors[0]).split())[:200]}"
    shape = f"{tuple(sample.shape)}, {str(sample.dtype).removeprefix('torch.')}"
    raise Refusal(
        message(
            "own.refuse.transform_fails_sample_shape",
            "transform {plain_name} fails on a sample of shape {shape}: {why}",
            plain_name=plain_name(function),
            shape=str(shape),
            why=why,
        ),
        "transform",
    ) from errors[0]


def _in_form(sample: Tensor, form: str) -> Any:
    if form == "tensor":
        return _as_image(sample)
    if sample.ndim != 3 or sample.dtype != torch.uint8:
        return sample.numpy()
    array = np.ascontiguousarray(sample.permute(1, 2, 0).numpy())
    if form == "array":
        return array
    from PIL import Image

    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _as_image(sample: Tensor) -> Tensor:
    """An image in torchvision v2's type, which its transforms recognise."""
    if sample.ndim != 3 or sample.dtype != torch.uint8:
        return sample
    from torchvision.tv_tensors import Image

    return Image(sample)


def _as_tensor(result: Any) -> Tensor:
    """Convert the result of a transform to a plain tensor; images to (C, H, W)."""
    if isinstance(result, Tensor):
        result = result.as_subclass(Tensor)
        return result if result.dtype == torch.uint8 or not result.is_floating_point() else result.float()
    array = np.asarray(result)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"it returned {type(result).__name__} instead of a tensor")
    made = torch.from_numpy(np.array(array))
    if made.ndim == 2 and array.dtype == np.uint8:
        made = made[:, :, None]
    if made.ndim == 3 and made.shape[2] in (1, 3) and made.shape[0] not in (1, 3):
        made = made.permute(2, 0, 1).contiguous()
    return made if made.dtype == torch.uint8 else made.float()


def _stacked(samples: list[Tensor]) -> Tensor:
    shapes = {tuple(one.shape) for one in samples}
    if len(shapes) > 1:
        raise Refusal(
            message(
                "own.refuse.transform_return_samples_shape",
                "transform must return samples of one shape, got {listed}",
                listed=" and ".join(map(str, sorted(shapes)[:2])),
            ),
            "transform",
        )
    return torch.stack(samples)
