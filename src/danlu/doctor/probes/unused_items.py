"""Items of integer sequences (words) that no output depends on, read from the gradient of their embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from danlu.doctor.observation.watched_model import tensors_in
from danlu.doctor.probes.mixing import NamedValue
from danlu.doctor.probes.padding import true_lengths
from danlu.doctor.probes.sample import FirstSamples
from danlu.doctor.probes.unused_inputs import weighted

FAINT = 1e-6  # of the largest gradient of any item
MIN_LENGTH = 4  # items of a sequence


def unused_items(sample: FirstSamples) -> Iterator[NamedValue]:
    """Yield probe.used_inputs, .unused_inputs and .faint_inputs of the positions of a sequence, and .content_unused."""
    inputs = sample.inputs
    if inputs.is_floating_point() or inputs.dim() != 2 or inputs.shape[1] < MIN_LENGTH:
        return
    with torch.enable_grad(), Embeddings(sample.model, inputs) as embeddings:
        outputs = [t for t in tensors_in(sample.run()) if t.requires_grad]
        found = embeddings.vectors
        if not outputs or any(not vectors for vectors in found):
            return
        total = sum((weighted(t) for t in outputs), torch.zeros((), device=inputs.device))
        flat = [vector for vectors in found for vector in vectors]
        gradients = iter(torch.autograd.grad(total, flat, allow_unused=True))
    sizes = torch.zeros(inputs.shape, device=inputs.device)
    for column, vectors in enumerate(found):
        for _ in vectors:
            gradient = next(gradients)
            if gradient is not None:
                sizes[:, column] += gradient.detach().abs().flatten(1).sum(1)
    if not bool(sizes.any()):
        return
    varies = (inputs != inputs[:1]).any(0)  # not so in common padding
    yield "probe.used_inputs", float(sizes.any(0).float().mean()), ""
    yield "probe.unused_inputs", float((varies & ~sizes.any(0)).float().mean()), "axis1"
    yield "probe.faint_inputs", float((varies & (sizes.amax(0) <= FAINT * sizes.max())).float().mean()), "axis1"
    padding = (
        torch.arange(inputs.shape[1], device=inputs.device)[None] >= true_lengths(inputs).to(inputs.device)[:, None]
    )
    if bool(padding.any()) and bool(sizes[padding].any()):
        yield "probe.content_unused", float((sizes[~padding] == 0).float().mean()), ""


class Embeddings:
    """Replace the outputs of embeddings of the items of `inputs` by leaves, while active: vectors[t] of position t."""

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        self._modules = [module for module in model.modules() if isinstance(module, nn.Embedding)]
        self._inputs, self._handles = inputs, []
        self.vectors: list[list[Tensor]] = [[] for _ in range(inputs.shape[1])]
        self._next: dict[int, int] = {}  # column that an embedding reads next, where it reads one at a time

    def __enter__(self) -> Self:
        self._handles = [module.register_forward_hook(self._note) for module in self._modules]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, module: nn.Module, args: tuple, output: Any) -> Any:
        read = args[0] if args else None
        if not isinstance(read, Tensor) or not isinstance(output, Tensor):
            return None
        columns = self._columns(module, read)
        if not columns:
            return None
        each = output.detach().reshape(len(self._inputs), len(columns), -1)
        parts = [each[:, n].clone().requires_grad_() for n in range(len(columns))]
        for column, part in zip(columns, parts):
            self.vectors[column].append(part)
        return torch.stack(parts, 1).reshape(output.shape)

    def _columns(self, module: nn.Module, read: Tensor) -> list[int]:
        """Positions of the inputs that an embedding reads: all, or the next one; none if it reads something else."""
        rows, length = self._inputs.shape
        if read.shape == self._inputs.shape and torch.equal(read, self._inputs):
            return list(range(length))
        at = self._next.get(id(module), 0)
        if read.numel() == rows and at < length and torch.equal(read.reshape(-1), self._inputs[:, at]):
            self._next[id(module)] = at + 1
            return [at]
        return []
