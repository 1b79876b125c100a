"""Gradients, weights and updates at sampled pairs of successive steps.

Norms of gradients and weights are exact. What compares one step with the next (updates, cosines, gradient noise) rests
on a fixed sample of up to 512 elements per parameter, so that no copy of the weights is kept.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.patient import Pass, Patient

SAMPLE = 512
WATCHED = 4  # parameters whose gradient is also measured before clipping


class Gradients(Instrument):
    """Writes gradient.*, weight.*, update.*, decay.*, parameter.changed, optimizer.leftover and .micro_batches."""

    name = "gradients"

    def start(self, patient: Patient) -> None:
        self._sampler: _Sampler | None = None
        self._measuring = self._second = False
        self._before: Tensor | None = None
        self._held: list[tuple[str, Tensor]] = []
        self._last: dict[str, Any] = {}  # of the previous step, for what compares two
        self._raw: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        self._micro = 0
        self._batch = 0
        self._left: Tensor | None = None  # norm of the gradients of the step before, where they are still there
        self._loss_scale: Tensor | None = None  # gradient of the loss itself
        self._stepped = True
        self._last_written = 0.0
        self._written = 0

    def before_forward(self, patient: Patient, call: Pass) -> None:
        if call.grad and self._stepped:  # the first pass of a step
            self._stepped = False
            self._micro = self._batch = 0
            self._loss_scale = None
            self._second = self._measuring and not self._second  # the second step of a pair
            self._measuring = self._second or patient.budget.may(self.name, patient.step)
            if self._measuring and not patient.distributed:
                self._watch_raw(patient)

    def after_loss(self, patient: Patient, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        if self._measuring and self._handles and loss.requires_grad and not loss.is_leaf:
            loss.register_hook(self._note_scale)

    def _note_scale(self, gradient: Tensor) -> None:
        self._loss_scale = gradient.detach().abs().max()

    def before_backward(self, patient: Patient, call: Pass, gradient: Tensor) -> None:
        self._micro += 1
        self._batch += call.size
        if not self._measuring or not self._held or (self._left is None and self._micro > 1):
            return
        left = [p.grad for _, p in self._held if p.grad is not None]
        if not left:
            self._left = None
        elif self._micro == 1 or self._left is None:
            self._left = total_norm(left)
        else:  # zeroed since? The first pass may be somebody else's: a generator's, through its critic
            self._left = torch.minimum(self._left, total_norm(left))

    def before_step(self, patient: Patient, optimizer: torch.optim.Optimizer) -> bool | None:
        if not self._measuring:
            return None
        self._unwatch()
        if self._micro and self._held and not self._stepped:
            self._tell_leftover(patient)
        named = patient.parameter_names
        held = [(named[id(p)], p) for g in optimizer.param_groups for p in g["params"] if id(p) in named and p.numel()]
        if not held:
            return None
        if not self._held or [n for n, _ in held] != [n for n, _ in self._held] or self._sampler is None:
            self._last, self._sampler = {}, _Sampler([p for _, p in held])
        self._held = held
        self._before = self._sampler.take([p for _, p in held])
        self._decays = [
            float(g.get("weight_decay") or 0.0)
            for g in optimizer.param_groups
            for p in g["params"]
            if id(p) in named and p.numel()
        ]
        self._measure_gradient(patient, optimizer)
        return None

    def after_step(self, patient: Patient, optimizer: torch.optim.Optimizer) -> bool | None:
        self._stepped = True
        if self._before is None or self._sampler is None:
            return None
        before, self._before = self._before, None
        params = [p.detach() for _, p in self._held]
        update = self._sampler.take(params) - before
        norms = torch.stack(torch._foreach_norm(params)).float()  # pyright: ignore[reportPrivateImportUsage]
        sizes = self._sampler.by_parameter(update.square()).sqrt()
        total = sizes.square().sum().sqrt()
        patient.later("update.norm", total)
        weight = norms.square().sum().sqrt()
        patient.later("weight.norm", weight)
        patient.later("update.ratio", total / weight.clamp(min=1e-30))
        patient.later("optimizer.micro_batches", torch.tensor(float(self._micro)))
        old = self._last.get("update")
        if old is not None and self._last.get("update_step") == patient.step - 1:
            patient.later("update.cosine", self._sampler.cosine(update, old))
        gradient = self._last.get("gradient")
        if gradient is not None and self._last.get("step") == patient.step:
            patient.later("update.gradient_cosine", self._sampler.cosine(update, -gradient))
        self._last |= {"update": update, "update_step": patient.step}
        if self._worth_writing(patient.step):
            self._write_each(patient, ("weight.norm", norms), ("update.norm", sizes))
            self._write_each(patient, ("update.ratio", sizes / norms.clamp(min=1e-30)))
            self._write_each(patient, ("parameter.changed", (sizes > 0).float()))
        return True

    def finish(self, patient: Patient) -> None:
        self._unwatch()
        self._last, self._held, self._before = {}, [], None

    def _tell_leftover(self, patient: Patient) -> None:
        left = self._left if self._left is not None else torch.zeros(())
        patient.later("optimizer.leftover", left)
        total = self._last.get("norm")
        if self._left is None:
            patient.write("optimizer.leftover_share", 0.0)
        elif total is not None and self._last.get("step") == patient.step - 1:
            patient.later("optimizer.leftover_share", left / total.clamp(min=1e-30))

    def _measure_gradient(self, patient: Patient, optimizer: torch.optim.Optimizer) -> None:
        assert self._sampler is not None
        grads = [p.grad for _, p in self._held]
        present = [g for g in grads if g is not None and not g.is_sparse]
        if not present:
            return
        zero = torch.zeros((), device=present[0].device)
        each = torch.stack([n.float() for n in torch._foreach_norm(present)])  # pyright: ignore[reportPrivateImportUsage]
        scale = getattr(optimizer, "grad_scale", None)  # a GradScaler's, where the optimiser itself takes it off
        scale = scale.float() if isinstance(scale, Tensor) else 1.0
        each = each / scale
        norm = each.square().sum().sqrt()
        patient.later("gradient.norm", norm)
        patient.later("gradient.nonfinite", (~each.isfinite()).sum())
        sample = self._sampler.take(
            [torch.zeros_like(p) if g is None or g.is_sparse else g for (_, p), g in zip(self._held, grads)]
        )
        sample = sample / scale
        patient.later("gradient.max", sample.abs().max())
        patient.later("gradient.zero_share", (sample == 0).float().mean())
        self._compare_raw(patient, norm)
        old = self._last.get("gradient")
        if old is not None and self._last.get("step") == patient.step - 1 and self._batch and self._last["batch"]:
            signal, noise = self._sampler.noise(old, sample, self._last["batch"], self._batch)
            patient.later("gradient.signal", signal)
            patient.later("gradient.noise", noise)
            patient.later("gradient.noise_scale", noise / signal)
            patient.later("gradient.cosine", self._sampler.cosine(sample, old))
        self._last |= {"gradient": sample, "step": patient.step, "norm": norm, "batch": self._batch}
        norms = iter(each)
        all_norms = torch.stack([zero if g is None or g.is_sparse else next(norms) for g in grads])
        decay = torch.tensor(self._decays, device=zero.device)
        if any(self._decays):
            weights = self._sampler.by_parameter(self._before.square()).sqrt()  # type: ignore[union-attr]
            pull = decay * weights
            patient.later("decay.ratio", pull.square().sum().sqrt() / norm.clamp(min=1e-30))
            if self._worth_writing(patient.step):
                self._write_each(patient, ("decay.ratio", pull / all_norms.clamp(min=1e-30)))
        if self._worth_writing(patient.step):
            self._write_each(patient, ("gradient.norm", all_norms))

    # Clipping: the gradient as backward left it, against what the optimiser got.

    def _watch_raw(self, patient: Patient) -> None:
        self._unwatch()
        self._raw = {}
        params = [(n, p) for n, p in patient.parameters.items() if p.requires_grad and p.numel()]
        chosen = sorted(params, key=lambda item: -item[1].numel())[:WATCHED]
        for name, p in chosen:
            self._handles.append(p.register_post_accumulate_grad_hook(self._raw_hook(name)))

    def _raw_hook(self, name: str) -> Any:
        def hook(p: Tensor) -> None:
            if p.grad is not None and not p.grad.is_sparse:
                self._raw[name] = p.grad.detach().norm()

        return hook

    def _unwatch(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _compare_raw(self, patient: Patient, norm: Tensor) -> None:
        pairs = [(self._raw[n], p.grad.norm()) for n, p in self._held if n in self._raw and p.grad is not None]
        if not pairs:
            return
        raw = torch.stack([r.float() for r, _ in pairs]).square().sum().sqrt()
        used = torch.stack([u.float() for _, u in pairs]).square().sum().sqrt()
        ratio = used / raw.clamp(min=1e-30)
        if self._loss_scale is not None:  # a GradScaler has taken its scale off the gradient: that is no clipping
            unscaled = ratio * self._loss_scale.to(ratio)
            ratio = torch.where((self._loss_scale > 1) & (unscaled < 1.01), unscaled, ratio)
        patient.later("gradient.clip_ratio", ratio)
        patient.later("gradient.raw_norm", norm / ratio.clamp(min=1e-30))
        self._raw = {}

    # Writing per parameter, ever more rarely: the ledger must stay small in long runs.

    def _worth_writing(self, step: int) -> bool:
        if step == self._last_written:
            return True
        if step <= 10 or step >= self._last_written * 1.05 + 1:
            self._last_written = step
            return True
        return False

    def _write_each(self, patient: Patient, *columns: tuple[str, Tensor]) -> None:
        names, step = [n for n, _ in self._held], patient.step

        def reader(title: str) -> Any:
            def write(numbers: list[float]) -> None:
                for name, number in zip(names, numbers):
                    patient.ledger.add(title, number, name, step)

            return write

        for title, values in columns:
            patient.deferred.add(values, reader(title))


class _Sampler:
    """A fixed sample of each parameter's elements, joined into one vector."""

    def __init__(self, params: list[Tensor]) -> None:
        device = params[0].device
        strides = [max(1, math.ceil(p.numel() / SAMPLE)) for p in params]
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

    def by_parameter(self, values: Tensor) -> Tensor:
        """Sums over each parameter's elements, estimated from the sample."""
        return torch.zeros(self.count, device=values.device).index_add_(0, self.owner, values * self.scale)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        return (a * b * self.scale).sum()

    def cosine(self, a: Tensor, b: Tensor) -> Tensor:
        return self.dot(a, b) / (self.dot(a, a) * self.dot(b, b)).sqrt().clamp(min=1e-30)

    def noise(self, a: Tensor, b: Tensor, batch_a: int, batch_b: int) -> tuple[Tensor, Tensor]:
        """|G|^2 = a.b, since two batches' noises are independent; the rest of |a|^2 and |b|^2 is noise, times batch."""
        signal = self.dot(a, b)
        noise = (batch_a * (self.dot(a, a) - signal) + batch_b * (self.dot(b, b) - signal)) / 2
        return signal, noise


def sampled(tensor: Tensor, stride: int) -> Tensor:
    """Every `stride`-th element, in the order of memory, so that no layout is copied."""
    if tensor.is_contiguous():
        return tensor.reshape(-1)[::stride]
    dense = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride())) + 1 == tensor.numel()
    if dense:
        return tensor.as_strided((math.ceil(tensor.numel() / stride),), (stride,))
    return tensor.reshape(-1)[::stride]


def total_norm(tensors: list[Tensor]) -> Tensor:
    """Norm of all elements together."""
    dense = [t.detach() for t in tensors if not t.is_sparse]
    if not dense:
        return torch.zeros(())
    return torch.stack([n.float() for n in torch._foreach_norm(dense)]).square().sum().sqrt()  # pyright: ignore[reportPrivateImportUsage]
