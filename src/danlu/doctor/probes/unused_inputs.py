"""Input positions that no output depends on: their gradient is exactly zero for every sample."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from danlu.doctor.observation.watched_model import tensors_in
from danlu.doctor.probes.mixing import NamedValue
from danlu.doctor.probes.sample import FirstSamples, first_tensor

FAINT = 1e-6  # of the largest gradient of any input; below it an input hardly moves the outputs
MAX_ELEMENTS = 1_000_000  # input values, for the memory of the backward pass


def unused_inputs(sample: FirstSamples) -> Iterator[NamedValue]:
    """Yield fractions of the positions of the inputs on which the outputs do not depend.

    probe.unused_inputs and probe.faint_inputs are fractions of the positions along each axis after the first, without a
    gradient and with hardly any; probe.cut_output is about the first output.

    An output may depend on an input without a gradient (a rounded index); so all outputs, weighted differently, are
    taken together, and integers are left out.
    """
    if not sample.inputs.is_floating_point() or sample.inputs.numel() > MAX_ELEMENTS:
        return
    with torch.enable_grad():
        inputs = sample.inputs.detach().clone().requires_grad_()
        every = list(tensors_in(sample.run(inputs=inputs)))
        outputs = [t for t in every if t.requires_grad]
        total = sum((weighted(t) for t in outputs), torch.zeros((), device=inputs.device))
        if not outputs or total.grad_fn is None:
            return
        if every[0].requires_grad and len(outputs) > 1:
            (of_first,) = torch.autograd.grad(weighted(every[0]), inputs, allow_unused=True, retain_graph=True)
            cut = (of_first is None or not bool(of_first.any())) and changes_with_inputs(sample)
            yield "probe.cut_output", float(cut), ""
        (gradient,) = torch.autograd.grad(total, inputs, allow_unused=True)
    used = torch.zeros_like(inputs[0], dtype=torch.bool) if gradient is None else (gradient != 0).any(0)
    yield "probe.used_inputs", float(used.float().mean()), ""
    if not bool(used.any()):
        return
    varies = (inputs != inputs[:1]).any(0)  # not so in padding, which a model may leave out
    for axis in range(used.dim()):
        rest = [other for other in range(used.dim()) if other != axis]
        if len(rest) > 2 or used.shape[axis] < 2:
            continue
        unused = any_along(varies, rest) & ~any_along(used, rest)
        yield "probe.unused_inputs", float(unused.float().mean()), f"axis{axis + 1}"
        if gradient is not None:
            faint = any_along(varies, rest) & ~any_along(gradient.abs().amax(0) > FAINT * gradient.abs().max(), rest)
            yield "probe.faint_inputs", float(faint.float().mean()), f"axis{axis + 1}"


def any_along(values: Tensor, axes: list[int]) -> Tensor:
    """Return whether any value is true along these axes."""
    for axis in sorted(axes, reverse=True):
        values = values.any(axis)
    return values


def changes_with_inputs(sample: FirstSamples) -> bool:
    """Return whether the first output has other values for other inputs, with the same random numbers."""
    found = []
    for inputs in (sample.inputs, sample.inputs + 1):
        torch.manual_seed(0)  # the caller restores the generators
        found.append(first_tensor(sample.run(inputs=inputs.detach())))
    return found[0] is not None and found[1] is not None and not torch.equal(found[0], found[1])


def weighted(outputs: Tensor) -> Tensor:
    """Sum of outputs with irrational weights, so that gradients do not cancel (softmax sums to 1)."""
    weights = torch.cos(torch.arange(outputs.numel(), device=outputs.device, dtype=torch.float32) * 2**0.5)
    return (outputs.float().reshape(-1) * weights).sum()
