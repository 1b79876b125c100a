"""Hessian-vector products without the Hessian (Pearlmutter, 1994).

The gradient is computed once with its own graph; each product is then one backward pass through it. The graphs are kept
between products if memory allows; otherwise they are recomputed for each product, in pieces that fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from danlu.doctor.curvature.objective import Batch, Objective
from danlu.message import message
from danlu.refuse import refusal

PROBE_SAMPLES = 8  # memory is extrapolated from the graphs of this many samples and twice as many
MAX_MEMORY_FRACTION = 0.5  # of the free memory, for graphs
CACHE = 8 << 20  # bytes of the graph of a piece on a CPU; within the cache it is twice as fast
Graph = tuple[float, Tensor, list[Tensor]]  # weight of the piece, its loss, its gradients with their graph


class Hessian:
    """Hessian (P, P) of an objective at the current weights, as a linear map, with loss and gradient.

    The weights must not change while it is in use.

    Args:
        objective: the loss as a function of the weights.
        memory: max bytes of kept graphs; by default half of the free memory.

    Raises:
        Refusal: loss or gradient is not finite.
    """

    def __init__(self, objective: Objective, *, memory: int | None = None) -> None:
        self.objective, self.size, self.products = objective, objective.size, 0
        self._pieces, kept = self._plan(free_memory(objective.device) if memory is None else memory)
        self._kept: list[Graph] | None = None
        loss, gradient, graphs = 0.0, torch.zeros(self.size, device=objective.device, dtype=objective.dtype), []
        for graph in self._graphs():
            weight, value, gradients = graph
            loss += weight * value.item()
            gradient += weight * objective.flat(g.detach() for g in gradients)
            graphs += [graph] * kept
        self.loss, self.gradient = loss, gradient
        self._kept = graphs if kept else None
        for name, value in (("the loss", torch.tensor(loss)), ("the gradient", gradient)):
            if not value.isfinite().all():
                got = "nan" if value.isnan().any() else "inf"
                raise refusal(
                    name,
                    message("doctor.wanted.finite_compute_curvature", "finite to compute curvature"),
                    got,
                    do=message("doctor.do.look_first_bad_layer", "look for the first bad layer before"),
                )

    @property
    def keeps_graphs(self) -> bool:
        """Return whether the graphs of the gradient are kept between products."""
        return self._kept is not None

    def product(self, vector: Tensor) -> Tensor:
        """Return H v, (P,), for a flat vector v, (P,)."""
        self.products += 1
        parts = self.objective.split(vector)
        total = torch.zeros_like(vector)
        for weight, _, gradients in self._graphs():
            total += weight * self._piece_product(gradients, parts)
        return total

    def matrix(self) -> Tensor:
        """Return the full Hessian (P, P), symmetrised; takes P products."""
        unit = torch.eye(self.size, device=self.objective.device, dtype=self.objective.dtype)
        full = torch.stack([self.product(row) for row in unit])
        return (full + full.T) / 2

    def _piece_product(self, gradients: list[Tensor], parts: list[Tensor]) -> Tensor:
        # If the loss is linear in a parameter, its gradient is constant: no graph and no curvature.
        curved = [(g, v) for g, v in zip(gradients, parts) if g.requires_grad]
        parameters = list(self.objective.parameters.values())
        if not curved:
            return self.objective.flat(torch.zeros_like(p) for p in parameters)
        outputs, vectors = zip(*curved)
        products = torch.autograd.grad(outputs, parameters, vectors, retain_graph=True, materialize_grads=True)
        return self.objective.flat(products)

    def _graphs(self) -> Iterator[Graph]:
        if self._kept is not None:
            yield from self._kept
            return
        for piece in self._pieces:
            yield self._graph(piece)

    def _graph(self, piece: Batch) -> Graph:
        with torch.inference_mode(False), torch.enable_grad():
            loss = self.objective.loss(piece)
            if not loss.requires_grad:
                raise refusal(
                    "loss_fn",
                    message("doctor.wanted.differentiable_function", "a differentiable function"),
                    message("doctor.got.loss_without_graph", "a loss without a graph"),
                )
            parameters = list(self.objective.parameters.values())
            gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
        return piece.count / self.objective.count, loss.detach(), list(gradients)

    def _bytes(self, piece: Batch) -> int:
        return kept_bytes(lambda: self._graph(piece))

    def _plan(self, memory: int) -> tuple[list[Batch], bool]:
        """Return the pieces, and whether all their graphs fit into `memory` bytes."""
        batches, processor = self.objective.batches, self.objective.device.type == "cpu"
        small, large = (min(n, batches[0].count) for n in (PROBE_SAMPLES, 2 * PROBE_SAMPLES))
        if self.objective.mixes_samples or small == large:
            per_sample = self._bytes(batches[0]) // batches[0].count
        else:  # the difference removes memory that does not grow with the samples
            per_sample = (self._bytes(batches[0].rows(0, large)) - self._bytes(batches[0].rows(0, small))) // (
                large - small
            )
        per_sample = max(1, per_sample)
        kept = per_sample * self.objective.count <= memory
        if self.objective.mixes_samples:
            return batches, kept
        room = min(memory, CACHE) if processor else memory
        return [piece for batch in batches for piece in batch.pieces(max(1, room // per_sample))], kept


def kept_bytes(work: Callable[[], object]) -> int:
    """Return the bytes of tensors saved by the graphs that `work` creates; each storage counts once."""
    seen: dict[int, int] = {}
    held: list[Tensor] = []  # the address of a freed storage could be reused

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        held.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(seen.values())


def free_memory(device: torch.device) -> int:
    """Return the bytes that may be used for graphs on a device."""
    if device.type == "cuda":
        return int(MAX_MEMORY_FRACTION * torch.cuda.mem_get_info(device)[0])
    info = Path("/proc/meminfo")
    if info.exists():
        lines = (line.split() for line in info.read_text(encoding="ascii").splitlines())
        return int(MAX_MEMORY_FRACTION * 1024 * next((int(w[1]) for w in lines if w[0] == "MemAvailable:"), 4 << 20))
    return 2 << 30  # macOS, Windows
