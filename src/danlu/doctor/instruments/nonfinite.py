"""Origin of a NaN or infinite loss.

The loss is checked at each step, on a GPU by an asynchronous copy. When it is not finite, the same batch is rerun with
a hook on every layer, and the first layer with a non-finite output is recorded.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.modes import undisturbed
from danlu.doctor.loss.graph import LINEAR, nodes
from danlu.doctor.observation.calls import observe
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

# Operations in the graph of the loss whose value or derivative is not finite somewhere.
NONFINITE_OPERATIONS = {
    "LogBackward0": "log of zero",
    "Log2Backward0": "log of zero",
    "Log10Backward0": "log of zero",
    "Log1PBackward0": "log of zero",
    "ExpBackward0": "overflow of exp",
    "DivBackward0": "division by zero",
    "ReciprocalBackward0": "division by zero",
    "SqrtBackward0": "square root at zero",
    "RsqrtBackward0": "square root at zero",
    "LinalgVectorNormBackward0": "norm of a zero vector",
    "NormBackward1": "norm of a zero vector",
    "PowBackward0": "power",
    "PowBackward1": "power",
    "AcosBackward0": "arc cosine at its end",
    "StdBackward0": "standard deviation of one value",
    "AtanhBackward0": "atanh at its end",
}
PRODUCTS = {*LINEAR, "BmmBackward0"}  # operations that keep the data they are given
SAVED = "_saved_"  # how autograd names the tensors that an operation keeps


class Nonfinite(Instrument):
    """Write nonfinite.*, once."""

    name = "nonfinite"
    kept = ("_tripped", "_finite_before")

    def start(self, watched: WatchedModel) -> None:
        self._tripped = False
        self._pending: list[tuple[Pass, Tensor, Any, Any, list[str]]] = []
        self._finite_before = math.nan

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        if self._tripped or not call.grad:
            return
        value = loss.detach().float().sum()
        if value.device.type == "cpu":
            number = float(value)
            if math.isfinite(number):
                self._finite_before = number
            else:
                self._locate(watched, call, number, targets, suspects(loss), loss)
        elif value.device.type == "cuda":
            host = torch.empty((), pin_memory=True)
            host.copy_(value, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._pending.append((call, host, event, targets, suspects(loss) if watched.step < 3 else []))

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        self._check_arrived(watched)

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        self._check_arrived(watched)

    def finish(self, watched: WatchedModel) -> None:
        self._pending = []

    def _check_arrived(self, watched: WatchedModel) -> None:
        while self._pending and not self._tripped and self._pending[0][2].query():
            call, host, _, targets, suspicious = self._pending.pop(0)
            if math.isfinite(float(host)):
                self._finite_before = float(host)
            else:
                self._locate(watched, call, float(host), targets, suspicious)
        del self._pending[:-8]

    def _locate(
        self,
        watched: WatchedModel,
        call: Pass,
        loss: float,
        targets: Any,
        suspicious: list[str],
        with_graph: Tensor | None = None,
    ) -> None:
        """Write where the first value that is not finite came from. with_graph: the loss, before its backward pass."""
        self._tripped = True
        self._pending = []
        step = call.step
        watched.write("nonfinite.step", "nan" if math.isnan(loss) else "inf", "", step)
        found = (
            self._in_batch(call, targets)
            or (self._in_constants(with_graph) if with_graph is not None else None)
            or self._in_weights(watched, step, suspicious)
            or self._in_layers(watched, call)
            or self._in_loss(watched, call, suspicious)
        )
        for key, value in found.items():
            watched.write(f"nonfinite.{key}", value, "", step)

    def _in_batch(self, call: Pass, targets: Any) -> dict | None:
        for source, tree in (("input", (call.args, call.kwargs)), ("target", targets)):
            for tensor in tensors_in(tree):
                if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                    return {"source": source, "layer": "", "reason": f"bad {source}", **extent(tensor)}
        return None

    def _in_constants(self, loss: Tensor) -> dict | None:
        """Data that an operation of the loss was given without a module, as by x @ w: saved, and without a gradient."""
        for node in nodes(loss.grad_fn):
            if node.name() in PRODUCTS:
                saved = (getattr(node, name) for name in dir(node) if name.startswith(SAVED))
                for tensor in saved:
                    if isinstance(tensor, Tensor) and not tensor.requires_grad and not bool(tensor.isfinite().all()):
                        return {"source": "input", "layer": "", "reason": "bad input", **extent(tensor)}
        return None

    def _in_weights(self, watched: WatchedModel, step: int, suspicious: list[str]) -> dict | None:
        named = [*watched.parameters.items(), *watched.inner.named_buffers()]
        broken = [n for n, p in named if p.is_floating_point() and not bool(p.isfinite().all())]
        if not broken:
            return None
        if step <= 1:
            return {"source": "weight", "layer": broken[0], "reason": "weights not finite before the first step"}
        # A gradient propagates towards the input: the broken parameter closest to the output is the origin.
        trainable = [n for n in broken if n in watched.parameters]
        others = (s for s in suspicious if s not in ("power",))
        reason = "divergence" if self._diverged(watched) else next(others, "gradient not finite")
        return {"source": "gradient", "layer": (trainable or broken)[-1], "reason": reason}

    def _diverged(self, watched: WatchedModel) -> bool:
        """Return whether the last finite loss was already far above the first."""
        watched.deferred.drain()
        first = next((v for v in watched.ledger.values("loss.step") if math.isfinite(v)), math.nan)
        return abs(self._finite_before) > 1e3 * max(abs(first), 1e-12)

    def _in_layers(self, watched: WatchedModel, call: Pass) -> dict | None:
        if (not call.args and not call.kwargs) or not watched.replayable:
            return None
        first: dict[str, Any] = {}

        def hook(name: str) -> Any:
            def look(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
                if first:
                    return
                given = next((t for t in tensors_in(args) if t.is_floating_point()), None)
                made = next((t for t in tensors_in(output) if t.is_floating_point()), None)
                if given is not None and not bool(given.isfinite().all()):
                    first.update(
                        {"source": "activation", "layer": ">" + name, "reason": "between layers", **extent(given)}
                    )
                elif made is not None and not bool(made.isfinite().all()):
                    largest = float(given.abs().max()) if given is not None else math.nan
                    first.update({"source": "activation", "layer": name, "reason": why(made), **extent(made)})
                    first["input_max"] = largest

            return look

        handles = []
        try:
            with undisturbed(watched):
                handles = [observe(m, after=hook(n)) for n, m in watched.leaves.items()]
                outputs = watched.inner(*call.args, **call.kwargs)
        finally:
            for handle in handles:
                handle.remove()
        made = next((t for t in tensors_in(outputs) if t.is_floating_point()), None)
        if not first and made is not None and not bool(made.isfinite().all()):
            first.update(
                {"source": "activation", "layer": "(output)", "reason": "after the last layer", **extent(made)}
            )
        return first or None

    def _in_loss(self, watched: WatchedModel, call: Pass, suspicious: list[str]) -> dict:
        outputs = call.outputs() if call.outputs is not None else None
        if outputs is None:
            return {"source": "unknown", "layer": "", "reason": "the outputs are gone"}
        values = outputs.detach().float()
        largest = float(values.abs().max())
        if self._diverged(watched):
            reason = "divergence"
        elif suspicious:
            reason = suspicious[0]
        elif outputs.dtype == torch.float16 and largest > 1000:
            reason = "overflow of float16"
        elif bool((values == 0).any()):
            reason = "log of zero"
        elif largest > 80:
            reason = "overflow of exp"
        else:
            reason = "not told"
        found = {"source": "loss", "layer": "", "reason": reason, "input_max": largest}
        samples = [] if reason == "divergence" else self._samples_in_loss(watched, outputs)
        return found | ({"samples": samples} if samples else {})

    def _samples_in_loss(self, watched: WatchedModel, outputs: Tensor) -> list[int]:
        """Return the samples with a non-finite loss; none if the loss cannot be computed for a single sample."""
        if watched.last_call is None or not watched.last_call[1]:
            return []
        function, args, kwargs = watched.last_call
        count = len(outputs) if outputs.dim() else 0
        broken: list[int] = []
        with undisturbed(watched):
            for i in range(min(count, 256)):
                cut = lambda a, i=i: a[i : i + 1] if isinstance(a, Tensor) and a.dim() and len(a) == count else a  # noqa: E731
                try:
                    loss = function(outputs[i : i + 1].detach(), *map(cut, args[1:]), **kwargs)
                except Exception:  # a loss over pairs or whole batches
                    return []
                if not bool(loss.isfinite().all()):
                    broken.append(i)
        return broken[:16]


def suspects(loss: Tensor, depth: int = 60) -> list[str]:
    """Return possible causes among the last operations in the graph of the loss, closest to the loss first."""
    level, found, seen = [loss.grad_fn], [], set()
    for _ in range(depth):
        following = []
        for node in level:
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            reason = NONFINITE_OPERATIONS.get(node.name())
            if reason and reason not in found:
                found.append(reason)
            following.extend(n for n, _ in node.next_functions)
        level = following
        if not level or len(seen) > 400:
            break
    return found


def why(values: Tensor) -> str:
    """Return the reason for non-finite values: overflow for infinity, an invalid operation for NaN."""
    infinite = bool(values.isinf().any())
    if values.dtype == torch.float16:
        return "overflow of float16"
    return "overflow" if infinite else "invalid operation (0/0, inf - inf, root or log of a negative number)"


def extent(values: Tensor) -> dict[str, Any]:
    """Return the indices of samples with non-finite values, and the fraction of such values."""
    broken = ~values.detach().isfinite()
    rows = broken.reshape(broken.shape[0], -1).any(1).nonzero().flatten() if broken.dim() else torch.zeros(0)
    return {"samples": [int(i) for i in rows[:16]], "fraction": float(broken.float().mean())}
