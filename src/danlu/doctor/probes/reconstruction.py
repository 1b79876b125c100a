"""Reconstructions of a model that samples: differences between them compared with those between their inputs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from danlu.doctor.observation.watched_model import tensors_in
from danlu.doctor.probes.mixing import NamedValue
from danlu.doctor.probes.sample import FirstSamples


def reconstruction(sample: FirstSamples) -> Iterator[NamedValue]:
    """Yield probe.reconstruction: differences between reconstructions over those between their inputs.

    The same random numbers are drawn for both, so that only the inputs make a difference.
    """
    inputs = sample.inputs
    if not inputs.is_floating_point():
        return
    found = [_reconstructed(sample, given) for given in (inputs, inputs.roll(1, 0))]
    between = float((inputs - inputs.roll(1, 0)).float().abs().mean())
    if found[0] is None or found[1] is None or not between:
        return
    yield "probe.reconstruction", float((found[0] - found[1]).float().abs().mean()) / between, ""


def _reconstructed(sample: FirstSamples, inputs: Tensor) -> Tensor | None:
    """First output with as many values as the inputs."""
    torch.manual_seed(0)  # the caller restores the generators
    outputs = tensors_in(sample.run(inputs=inputs))
    return next((one.detach() for one in outputs if one.numel() == inputs.numel() and len(one) == len(inputs)), None)
