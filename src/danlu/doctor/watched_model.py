"""The patient: the model, its optimisers and its loss, and where the training stands."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from danlu.doctor.budget import Budget
from danlu.doctor.deferred import Deferred
from danlu.doctor.ledger import Ledger

MAX_OPTIMIZERS = 32  # that are told apart


@dataclass
class Pass:
    """One call of the model.

    kind: "train" if a backward pass went through it, "val" if none did; None while that is open, and of an aside.
    """

    number: int
    step: int
    grad: bool
    training: bool
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)
    aside: bool = False  # neither for training nor for validation
    kind: str | None = None
    backward: bool = False
    outputs: weakref.ref | None = None
    held: Tensor | None = None  # the outputs, until the loss is told
    loss: Tensor | None = None  # detached
    notes: dict[str, Any] = field(default_factory=dict)  # what instruments keep with the pass until it is settled

    @property
    def size(self) -> int:
        """Samples in the batch: length of the first tensor given to the model."""
        first = next(tensors_in((self.args, self.kwargs)), None)
        return int(first.shape[0]) if first is not None and first.dim() else 1


class OptimizersSeen:
    """The optimisers in the order in which they were seen; as many as were seen, not as many as live.

    They are held weakly: a loop that makes its optimiser anew lets the old one go, and its state with it.
    """

    def __init__(self) -> None:
        self._numbers: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()
        self._count = 0

    def append(self, optimizer: torch.optim.Optimizer) -> None:
        self._numbers[optimizer] = min(self._count, MAX_OPTIMIZERS - 1)
        self._count += 1

    def extend(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        for optimizer in optimizers:
            self.append(optimizer)

    def number(self, optimizer: torch.optim.Optimizer) -> int:
        """From 0; those beyond MOST_OPTIMIZERS share the last number, so that the ledger stays small."""
        return self._numbers[optimizer]

    def __iter__(self) -> Iterator[torch.optim.Optimizer]:
        return iter(list(self._numbers))

    def __len__(self) -> int:
        return self._count


class WatchedModel:
    """What the instruments may see. They write with `write` and `later`."""

    def __init__(self, model: nn.Module, loss_fn: Any, ledger: Ledger, budget: Budget) -> None:
        self.model = model
        self.inner = unwrapped(model)
        self.loss_fn = loss_fn
        self.ledger = ledger
        self.budget = budget
        self.deferred = Deferred()
        self.step = 1  # the step in progress, from 1
        self.steps_done = 0
        self.skipped_steps = 0  # steps of this epoch that the doctor did not attend
        self.epoch = 1  # the epoch in progress, from 1
        self.optimizers = OptimizersSeen()
        self.parameters = dict(self.inner.named_parameters())
        self.parameter_names = {id(p): name for name, p in self.parameters.items()}
        self.leaves = {name: m for name, m in self.inner.named_modules() if not any(m.children())}
        self.compiled = is_compiled(model)
        self.distributed = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        # A batch may be run again: nothing is compiled anew for it, and no other process would have to take part.
        self.replayable = not is_compiled(self.inner) and not (self.distributed and needs_collectives(self.inner))
        self.last_batch: Pass | None = None  # the last training pass, with its inputs
        self.last_call: tuple[Callable, tuple, dict] | None = None  # the loss as it was called for it
        self.replaying = False  # while the doctor itself calls the model

    @property
    def paused(self) -> bool:
        """What happens now is not to be seen: the doctor's own calls, what a compiler traces (the doctor would become
        part of the compiled code), and calls within torch.func's transforms, whose tensors must not leave them."""
        return torch.compiler.is_compiling() or self.replaying or torch._C._functorch.maybe_current_level() is not None

    @property
    def device(self) -> torch.device:
        first = next(iter(self.parameters.values()), None)
        return first.device if first is not None else torch.device("cpu")

    def label(self, optimizer: torch.optim.Optimizer) -> str:
        """optimizer0, optimizer1, ... in the order in which they were seen."""
        return f"optimizer{self.optimizers.number(optimizer)}"

    def may(self, instrument: str, call: Pass) -> bool:
        """May the instrument measure at this pass? Passes without gradients have an account of their own."""
        return self.budget.may(instrument if call.grad else f"{instrument}/val", self.step)

    def timed_hook(self, instrument: str, hook: Callable[..., None]) -> Callable[..., None]:
        """`hook`, with its time written to the instrument's account: for what runs within the model's own passes."""

        def timed(*args: Any) -> None:
            if torch.compiler.is_compiling():  # nothing of it shall become part of the compiled network
                return
            begun = perf_counter()
            hook(*args)
            self.budget.charge(instrument, perf_counter() - begun, self.step)

        return timed

    def write(self, name: str, value: Any, where: str = "", step: int | None = None) -> None:
        """Write to the ledger now; the step is the one in progress unless told."""
        self.ledger.add(name, value, where, self.step if step is None else step)

    def write_deferred(self, name: str, tensor: Tensor, where: str = "", step: int | None = None) -> None:
        """Write one number that is still on the device, once it has been read back."""
        at = self.step if step is None else step
        self.deferred.add(tensor, lambda numbers: self.ledger.add(name, numbers[0], where, at))

    def mark_compiled(self) -> None:
        """The model that is called turns out to be compiled."""
        self.compiled = True
        self.mark_unobservable("layers", "the model is compiled: torch.compile hides what happens inside it")

    def mark_unobservable(self, what: str, why: str) -> None:
        """Say once what cannot be seen, and why."""
        if not self.ledger.has("run.unseen", what):
            self.ledger.add("run.unseen", why, what)


def is_compiled(model: nn.Module) -> bool:
    """By torch.compile(module) or module.compile(), as a whole or in parts."""
    return any(
        type(m).__name__ == "OptimizedModule" or getattr(m, "_compiled_call_impl", None) for m in model.modules()
    )


def needs_collectives(model: nn.Module) -> bool:
    """Whether its forward pass needs the other processes: sharded weights, statistics over all of them."""
    sharded = any(hasattr(p, "device_mesh") for p in model.parameters())
    kinds = ("FullyShardedDataParallel", "SyncBatchNorm")
    return sharded or any(type(m).__name__ in kinds for m in model.modules())


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel, DataParallel, torch.compile and Lightning Fabric's wrapper."""
    while True:
        if type(model).__name__ == "OptimizedModule":
            model = model.get_submodule("_orig_mod")
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel) or (
            type(model).__name__ == "_FabricModule"
        ):
            model = model.module
        else:
            return model


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists, dicts and dataclasses (outputs of library models), in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from tensors_in(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from tensors_in(item)
    elif hasattr(tree, "__dataclass_fields__"):
        for name in tree.__dataclass_fields__:
            yield from tensors_in(getattr(tree, name))
