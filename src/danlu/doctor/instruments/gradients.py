"""Gradients, weights and updates at sampled pairs of successive steps.

Norms of gradients and weights are exact. Comparisons of one step with the next (updates, cosines, gradient noise) use a
fixed sample of up to 512 elements per parameter, so that no copy of the weights is kept. Each optimizer has its own
state: its steps are compared with its own previous steps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.lost_updates import in_short_numbers, lost_fraction
from danlu.doctor.instruments.noise import MICRO, MicroBatches, of_micro_batches, of_successive
from danlu.doctor.observation.watched_model import Pass, WatchedModel

MAX_ELEMENTS = 512  # sampled elements per parameter
MAX_RAW_PARAMETERS = 4  # parameters whose gradient is also measured before clipping


class Gradients(Instrument):
    """Write gradient.*, weight.*, update.*, decay.*, parameter.changed, optimizer.leftover and .micro_batches."""

    name = "gradients"
    kept = ("_measuring", "_more", "_last_written", "_written")

    def start(self, watched: WatchedModel) -> None:
        self._memories: dict[int, _OptimizerState] = {}
        self._memory = _OptimizerState()  # of the last optimizer that stepped
        self._measuring = False
        self._more = 0  # further steps to measure, so that each of several optimizers has two
        self._before: Tensor | None = None
        self._raw: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        self._micro = 0
        self._batch = 0
        self._parts = MicroBatches()
        self._left: Tensor | None = None  # norm of gradients left from the previous step
        self._loss_scale: Tensor | None = None  # gradient with respect to the loss
        self._stepped = True
        self._last_written = 0.0
        self._written = 0

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        if call.grad and self._stepped:  # the first pass of a step
            self._stepped = False
            self._micro = self._batch = 0
            self._parts = MicroBatches(self._memory)
            self._loss_scale = None
            if self._more:
                self._more -= 1
            else:
                self._measuring = watched.budget.may(self.name, watched.step)
                self._more = 2 * max(1, len(self._memories)) - 1 if self._measuring else 0
            if self._measuring and not watched.distributed:
                self._watch_raw(watched)
        if call.grad and self._measuring:
            self._parts.forward()

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        if self._measuring and self._handles and loss.requires_grad and not loss.is_leaf:
            watched.tensor_hooks.add(loss, self._note_scale)

    def _note_scale(self, gradient: Tensor) -> None:
        self._loss_scale = gradient.detach().abs().max()

    def before_backward(self, watched: WatchedModel, call: Pass, gradient: Tensor) -> None:
        self._micro += 1
        self._batch += call.size
        if self._measuring and not watched.distributed:
            self._parts.backward(call.size)
        if not self._measuring or not self._memory.held or (self._left is None and self._micro > 1):
            return
        left = [p.grad for _, p in self._memory.held if p.grad is not None]
        if 2 * len(left) < len(self._memory.held):
            self._left = None
        elif self._micro == 1 or self._left is None:
            self._left = leftover(left, len(self._memory.held))
        else:  # zeroed since? The first pass may be another model's: a generator through its critic
            self._left = torch.minimum(self._left, leftover(left, len(self._memory.held)))

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> bool | None:
        # An optimizer with the parameters of another (recreated each epoch) continues its state.
        memory = self._memories.setdefault(_first_parameter(optimizer), _OptimizerState())
        memory.steps += 1
        if not self._measuring:
            self._memory = memory
            return None
        self._unwatch()
        if self._micro and self._memory.held and not self._stepped:
            self._write_leftover(watched)
        self._memory = memory
        held = _held(watched, optimizer)
        if not held:
            return None
        if [n for n, _ in held] != [n for n, _ in memory.held] or memory.sampler is None:
            memory.last, memory.sampler = {}, _Sampler([p for _, p in held])
        memory.held = held
        self._before = memory.sampler.take([p for _, p in held])
        self._decays = [
            float(group.get("weight_decay") or 0.0)
            for group in optimizer.param_groups
            for p in group["params"]
            if _is_trained(watched, p)
        ]
        self._measure_gradient(watched, optimizer)
        return None

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> bool | None:
        self._stepped = True
        memory, sampler = self._memory, self._memory.sampler
        if self._before is None or sampler is None:
            return None
        before, self._before = self._before, None
        params = [p.detach() for _, p in memory.held]
        update = sampler.take(params) - before
        norms = torch.stack(torch._foreach_norm(params)).float()  # pyright: ignore[reportPrivateImportUsage]
        sizes = sampler.by_parameter(update.square()).sqrt()
        total = sizes.square().sum().sqrt()
        watched.write_deferred("update.norm", total)
        weight = norms.square().sum().sqrt()
        watched.write_deferred("weight.norm", weight)
        watched.write_deferred("update.ratio", total / weight.clamp(min=1e-30))
        watched.write_deferred("optimizer.micro_batches", torch.tensor(float(self._micro)))
        old = memory.last.get("update")
        if old is not None and memory.last.get("update_step") == memory.steps - 1 and self._is_consecutive(watched):
            watched.write_deferred("update.cosine", sampler.cosine(update, old))
        gradient = memory.last.get("gradient")
        if gradient is not None and memory.last.get("step") == memory.steps:
            watched.write_deferred("update.gradient_cosine", sampler.cosine(update, -gradient))
            if in_short_numbers(optimizer, params):
                watched.write_deferred("update.lost", lost_fraction(update, gradient, before))
        memory.last |= {"update": update, "update_step": memory.steps}
        if self._is_written_step(watched.step):
            self._write_each(watched, ("weight.norm", norms), ("update.norm", sizes))
            self._write_each(watched, ("update.ratio", sizes / norms.clamp(min=1e-30)))
            self._write_each(watched, ("parameter.changed", (sizes > 0).float()))
        return True

    def state(self, watched: WatchedModel) -> dict[str, Any]:
        memories = [self._memories.get(_first_parameter(optimizer)) for optimizer in watched.optimizers]
        return super().state(watched) | {"optimizers": [memory.state() if memory else None for memory in memories]}

    def restore(self, watched: WatchedModel, state: dict[str, Any]) -> None:
        super().restore(watched, state)
        for optimizer, saved in zip(watched.optimizers, state["optimizers"]):
            if saved is not None:
                self._memory = self._memories[_first_parameter(optimizer)] = _OptimizerState()
                self._memory.restore(saved, _held(watched, optimizer))

    def finish(self, watched: WatchedModel) -> None:
        self._unwatch()
        self._memories, self._memory, self._before = {}, _OptimizerState(), None

    def _is_consecutive(self, watched: WatchedModel) -> bool:
        """Return whether no step was skipped since the last measured step of this optimizer."""
        return watched.step - max(1, len(self._memories)) <= self._memory.previous(watched.step)

    def _write_leftover(self, watched: WatchedModel) -> None:
        left = self._left if self._left is not None else torch.zeros(())
        watched.write_deferred("optimizer.leftover", left)
        total = self._memory.last.get("norm")
        if self._left is None:
            watched.write("optimizer.leftover_ratio", 0.0)
        elif total is not None and self._memory.at == watched.step - 1:
            watched.write_deferred("optimizer.leftover_ratio", left / total.clamp(min=1e-30))

    def _measure_gradient(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        memory, sampler = self._memory, self._memory.sampler
        assert sampler is not None
        grads = [p.grad for _, p in memory.held]
        present = [g for g in grads if g is not None and not g.is_sparse]
        if not present:
            return
        zero = torch.zeros((), device=present[0].device)
        each = torch.stack([n.float() for n in torch._foreach_norm(present)])  # pyright: ignore[reportPrivateImportUsage]
        scale = getattr(optimizer, "grad_scale", None)  # of a GradScaler, if the optimizer removes the scale itself
        scale = scale.float() if isinstance(scale, Tensor) else 1.0
        each = each / scale
        norm = each.square().sum().sqrt()
        watched.write_deferred("gradient.norm", norm)
        watched.write_deferred("gradient.nonfinite", (~each.isfinite()).sum())
        sample = sampler.take_gradients(memory.held) / scale
        watched.write_deferred("gradient.max", sample.abs().max())
        watched.write_deferred("gradient.zero_fraction", (sample == 0).float().mean())
        ratio, clipped = self._compare_raw(watched, norm)
        self._write_micro_batch_noise(watched, sample / clipped, ratio / clipped / scale)
        old = memory.last.get("gradient")
        follows = memory.last.get("step") == memory.steps - 1 and self._is_consecutive(watched)
        if old is not None and follows and self._batch and memory.last["batch"]:
            self._write_noise(watched, of_successive(sampler.dot, old, sample, memory.last["batch"], self._batch))
            watched.write_deferred("gradient.cosine", sampler.cosine(sample, old))
        memory.last |= {"gradient": sample, "step": memory.steps, "norm": norm, "batch": self._batch}
        memory.before, memory.at = memory.at, watched.step
        norms = iter(each)
        all_norms = torch.stack([zero if g is None or g.is_sparse else next(norms) for g in grads])
        decay = torch.tensor(self._decays, device=zero.device)
        if any(self._decays):
            weights = sampler.by_parameter(self._before.square()).sqrt()  # type: ignore[union-attr]
            pull = decay * weights
            watched.write_deferred("decay.ratio", pull.square().sum().sqrt() / norm.clamp(min=1e-30))
            if self._is_written_step(watched.step):
                self._write_each(watched, ("decay.ratio", pull / all_norms.clamp(min=1e-30)))
        if self._is_written_step(watched.step):
            self._write_each(watched, ("gradient.norm", all_norms))

    def _write_micro_batch_noise(self, watched: WatchedModel, sample: Tensor, ratio: Tensor) -> None:
        memory, sampler = self._memory, self._memory.sampler
        found = self._parts.gradients(sample, ratio) if memory is self._parts.memory else None
        if sampler is not None and found is not None:
            self._write_noise(watched, of_micro_batches(sampler.dot, *found, self._batch), MICRO)

    def _write_noise(self, watched: WatchedModel, found: tuple[Tensor, Tensor], way: str = "") -> None:
        signal, noise = found
        watched.write_deferred("gradient.signal", signal, way)
        watched.write_deferred("gradient.noise", noise, way)
        watched.write_deferred("gradient.noise_scale", noise / signal, way)

    # Clipping: the gradient after backward compared with the gradient at the optimizer step.

    def _watch_raw(self, watched: WatchedModel) -> None:
        self._unwatch()
        self._raw = {}
        params = [(n, p) for n, p in watched.parameters.items() if p.requires_grad and p.numel()]
        chosen = sorted(params, key=lambda item: -item[1].numel())[:MAX_RAW_PARAMETERS]
        for name, p in chosen:
            self._handles.append(
                p.register_post_accumulate_grad_hook(watched.timed_hook(self.name, self._raw_hook(name)))
            )

    def _raw_hook(self, name: str) -> Any:
        def hook(p: Tensor) -> None:
            if p.grad is not None and not p.grad.is_sparse:
                self._raw[name] = p.grad.detach().norm()

        return hook

    def _unwatch(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _compare_raw(self, watched: WatchedModel, norm: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ratio of the gradient at the step to the gradient after backward, and its part due to clipping.

        The rest of the ratio is the scale removed by a GradScaler.
        """
        held = [(n, p.grad) for n, p in self._memory.held if n in self._raw and p.grad is not None]
        pairs = [(self._raw.pop(n), gradient.norm()) for n, gradient in held]
        if not pairs:
            return torch.ones_like(norm), torch.ones_like(norm)
        raw = torch.stack([r.float() for r, _ in pairs]).square().sum().sqrt()
        used = torch.stack([u.float() for _, u in pairs]).square().sum().sqrt()
        clipped = ratio = used / raw.clamp(min=1e-30)
        if self._loss_scale is not None:
            unscaled = ratio * self._loss_scale.to(ratio)
            clipped = torch.where((self._loss_scale > 1) & (unscaled < 1.01), unscaled, ratio)
        watched.write_deferred("gradient.clip_ratio", clipped)
        watched.write_deferred("gradient.raw_norm", norm / clipped.clamp(min=1e-30))
        return ratio, clipped

    # Values per parameter are written at growing intervals, to keep the ledger of long trainings small.

    def _is_written_step(self, step: int) -> bool:
        if step == self._last_written:
            return True
        if step <= 10 or step >= self._last_written * 1.05 + 1:
            self._last_written = step
            return True
        return False

    def _write_each(self, watched: WatchedModel, *columns: tuple[str, Tensor]) -> None:
        names, step = [n for n, _ in self._memory.held], watched.step

        def reader(title: str) -> Any:
            def write(numbers: list[float]) -> None:
                for name, number in zip(names, numbers):
                    watched.ledger.add(title, number, name, step)

            return write

        for title, values in columns:
            watched.deferred.add(values, reader(title))


def _first_parameter(optimizer: torch.optim.Optimizer) -> int:
    """Id of the first parameter, by which a recreated optimizer is recognised."""
    return next((id(p) for group in optimizer.param_groups for p in group["params"]), 0)


def _is_trained(watched: WatchedModel, p: Tensor) -> bool:
    """Return whether a parameter is the model's, not empty and not frozen."""
    return id(p) in watched.parameter_names and p.numel() > 0 and p.requires_grad


def _held(watched: WatchedModel, optimizer: torch.optim.Optimizer) -> list[tuple[str, Tensor]]:
    """Names and values of the model's trained parameters in an optimizer."""
    every = (p for group in optimizer.param_groups for p in group["params"])
    return [(watched.parameter_names[id(p)], p) for p in every if _is_trained(watched, p)]


class _OptimizerState:
    """Measurements of one optimizer, kept from step to step."""

    def __init__(self) -> None:
        self.steps = 0  # number of steps of this optimizer
        self.held: list[tuple[str, Tensor]] = []
        self.sampler: _Sampler | None = None
        self.last: dict[str, Any] = {}  # values of its previous step
        self.at = self.before = -1  # training steps of the last two measurements

    def state(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {"steps": self.steps, "last": dict(self.last), "at": self.at, "before": self.before}

    def restore(self, state: dict[str, Any], held: list[tuple[str, Tensor]]) -> None:
        """Continue from a saved `state`. held: trained parameters of the optimizer."""
        self.steps, self.at, self.before = state["steps"], state["at"], state["before"]
        self.held, self.sampler = held, _Sampler([p for _, p in held]) if held else None
        self.last = {
            name: value.to(held[0][1].device) if isinstance(value, Tensor) and held else value
            for name, value in state["last"].items()
        }

    def previous(self, step: int) -> int:
        """Training step of the last measurement before `step`."""
        return self.before if self.at == step else self.at


class _Sampler:
    """Fixed sample of the elements of each parameter, concatenated to one vector."""

    def __init__(self, params: list[Tensor]) -> None:
        device = params[0].device
        strides = [max(1, math.ceil(p.numel() / MAX_ELEMENTS)) for p in params]
        counts = [math.ceil(p.numel() / s) for p, s in zip(params, strides)]
        self.strides = strides
        self.owner = torch.repeat_interleave(torch.arange(len(params)), torch.tensor(counts)).to(device)
        scale = torch.tensor([p.numel() / c for p, c in zip(params, counts)], dtype=torch.float32)
        self.scale = scale.to(device)[self.owner]
        self.count = len(params)

    def take(self, tensors: list[Tensor]) -> Tensor:
        device = self.owner.device
        parts = [sampled(t.detach(), s).to(device, torch.float32) for t, s in zip(tensors, self.strides)]
        return torch.cat(parts)

    def take_gradients(self, held: list[tuple[str, Tensor]]) -> Tensor:
        """Sample the gradients of the parameters; zero where there is none."""
        return self.take([torch.zeros_like(p) if p.grad is None or p.grad.is_sparse else p.grad for _, p in held])

    def by_parameter(self, values: Tensor) -> Tensor:
        """Estimate the sum over the elements of each parameter."""
        return torch.zeros(self.count, device=values.device).index_add_(0, self.owner, values * self.scale)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        return (a * b * self.scale).sum()

    def cosine(self, a: Tensor, b: Tensor) -> Tensor:
        return self.dot(a, b) / (self.dot(a, a) * self.dot(b, b)).sqrt().clamp(min=1e-30)


def sampled(tensor: Tensor, stride: int) -> Tensor:
    """Return every `stride`-th element in memory order, without copying the tensor."""
    if tensor.is_contiguous():
        return tensor.reshape(-1)[::stride]
    dense = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride())) + 1 == tensor.numel()
    if dense:
        return tensor.as_strided((math.ceil(tensor.numel() / stride),), (stride,))
    return tensor.reshape(-1)[::stride]


def total_norm(tensors: list[Tensor]) -> Tensor:
    """Return the norm of all elements of all tensors."""
    dense = [t.detach() for t in tensors if not t.is_sparse]
    if not dense:
        return torch.zeros(())
    return torch.stack([n.float() for n in torch._foreach_norm(dense)]).square().sum().sqrt()  # pyright: ignore[reportPrivateImportUsage]


def leftover(gradients: list[Tensor], held: int) -> Tensor:
    """Norm of the gradients that were there before a backward pass reached the model; 0 where most were cleared.

    A few are not left over: weights that the loss uses outside forward(), as those of its terms, get theirs first.

    Args:
        gradients: those that are not None. held: number of parameters that the optimiser holds.
    """
    filled = torch.stack([gradient.detach().any() for gradient in gradients]).sum()
    return total_norm(gradients) * (2 * filled >= held)
