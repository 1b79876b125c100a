"""The model under observation, with its optimizers, its loss and the position in the training."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._functorch import maybe_current_level

from danlu.doctor.ledger import Ledger
from danlu.doctor.observation.budget import Budget
from danlu.doctor.observation.calls import Observer, is_compiled_in_place, observe
from danlu.doctor.observation.deferred import Deferred
from danlu.doctor.observation.predictions import IGNORED
from danlu.doctor.observation.tensor_hooks import TensorHooks

MAX_OPTIMIZERS = 32  # distinguished by number


@dataclass
class Pass:
    """One call of the model.

    Attributes:
        grad: gradients were enabled.
        training: the model was in train mode.
        kind: "train" if a backward pass went through it, "val" if not; None while open, and for an auxiliary pass.
        auxiliary: the pass belongs neither to training nor to validation.
        outputs: first tensor of the outputs.
        held_outputs: the same, kept alive until the loss is observed.
        loss: detached.
        notes: data that instruments keep with the pass until it is settled.
    """

    number: int
    step: int
    grad: bool
    training: bool
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)
    auxiliary: bool = False
    kind: str | None = None
    backward: bool = False
    outputs: weakref.ref | None = None
    held_outputs: Tensor | None = None
    loss: Tensor | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of samples in the batch: length of the first tensor passed to the model."""
        first = next(tensors_in((self.args, self.kwargs)), None)
        return int(first.shape[0]) if first is not None and first.dim() else 1


class OptimizersSeen:
    """Optimizers in the order in which they were first seen.

    They are held by weak references, so that a loop that recreates its optimizer frees the old one and its state;
    `len` counts those that no longer exist, too.
    """

    def __init__(self) -> None:
        self._numbers: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()
        self._count = 0

    def append(self, optimizer: torch.optim.Optimizer) -> None:
        """Add an optimizer and give it the next number."""
        self._numbers[optimizer] = min(self._count, MAX_OPTIMIZERS - 1)
        self._count += 1

    def extend(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Add several optimizers."""
        for optimizer in optimizers:
            self.append(optimizer)

    def number(self, optimizer: torch.optim.Optimizer) -> int:
        """Number of an optimizer, from 0. All beyond MAX_OPTIMIZERS get the last number, to keep the ledger small."""
        return self._numbers[optimizer]

    def __iter__(self) -> Iterator[torch.optim.Optimizer]:
        return iter(list(self._numbers))

    def __len__(self) -> int:
        return self._count


class WatchedModel:
    """State shared by all instruments. They record values with `write` and `write_deferred`."""

    def __init__(self, model: nn.Module, loss_fn: Any, ledger: Ledger, budget: Budget, prefix: str = "") -> None:
        self.model = model
        self.inner = unwrapped(model)
        self.loss_fn = loss_fn
        self.ledger = ledger
        self.budget = budget
        self.deferred = Deferred()
        self.step = 1  # current step, from 1
        self.steps_done = 0
        self.skipped_steps = 0  # steps of this epoch that were not observed
        self.epoch = 1  # current epoch, from 1
        self.optimizers = OptimizersSeen()
        self.prefix = prefix  # of all names of layers and parameters
        self.parameters = dict(self.inner.named_parameters(prefix=prefix))
        self.other_optimizers: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()  # of other models
        self.parameter_names = {id(p): name for name, p in self.parameters.items()}
        self.leaves = {name: m for name, m in self.inner.named_modules(prefix=prefix) if not any(m.children())}
        self.compiled = is_compiled(model)
        self.distributed = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        # A batch can be rerun: this neither recompiles the model nor needs other processes.
        self.replayable = not is_compiled(self.inner) and not (self.distributed and needs_collectives(self.inner))
        self.last_batch: Pass | None = None  # the last training pass, with its inputs
        self.last_call: tuple[Callable, tuple, dict] | None = None  # the loss with the arguments of its last call
        self.ignored_label = IGNORED  # of a loss whose options cannot be read
        self.replaying = False  # the doctor itself is calling the model
        self.tensor_hooks = TensorHooks()

    @property
    def paused(self) -> bool:
        """True to ignore calls.

        These are calls by the doctor, calls traced by a compiler, by torch.jit or an export (the operations of the
        doctor would become part of the graph) or counted by a dispatch mode, and calls inside transforms of torch.func,
        whose tensors must not leave them.
        """
        return (
            torch.compiler.is_compiling()
            or self.replaying
            or maybe_current_level() is not None
            or torch._C._get_tracing_state() is not None
            or torch._C._len_torch_dispatch_stack() > 0
        )

    @property
    def device(self) -> torch.device:
        """Device of the first parameter; the CPU for a model without any."""
        first = next(iter(self.parameters.values()), None)
        return first.device if first is not None else torch.device("cpu")

    def label(self, optimizer: torch.optim.Optimizer) -> str:
        """Name in the ledger: optimizer0, optimizer1, ... in the order in which they were first seen."""
        return f"optimizer{self.optimizers.number(optimizer)}"

    def may(self, instrument: str, call: Pass) -> bool:
        """Return whether the instrument may measure at this pass. Passes without gradients have a separate account."""
        return self.budget.may(instrument if call.grad else f"{instrument}/val", self.step)

    def timed_hook(self, instrument: str, hook: Callable[..., None]) -> Callable[..., None]:
        """Wrap a hook of the model so that its time is charged to the instrument."""

        def timed(*args: Any) -> None:
            if torch.compiler.is_compiling():  # keep the hook out of the compiled graph
                return
            started = perf_counter()
            try:
                hook(*args)
            except Exception as error:  # an error of the doctor must never end a training
                self.mark_unobservable(instrument, f"{type(error).__name__}: {error}".splitlines()[0])
            self.budget.charge(instrument, perf_counter() - started, self.step)

        return timed

    def observe_outputs(
        self, instrument: str, module: nn.Module, hook: Callable[[nn.Module, tuple, Any], None]
    ) -> Observer:
        """Call `hook(module, args, outputs)` after each call of a part of the model, at the cost of the instrument."""
        timed = self.timed_hook(instrument, hook)
        return observe(module, after=lambda module, args, kwargs, outputs: timed(module, args, outputs))

    def release(self) -> None:
        """Drop the model, its optimizers and all tensors, at the end of the watching."""
        self.tensor_hooks.remove()
        self.model = self.inner = nn.Module()
        self.loss_fn = self.last_batch = self.last_call = None
        self.parameters, self.parameter_names, self.leaves = {}, {}, {}
        self.optimizers, self.other_optimizers = OptimizersSeen(), weakref.WeakSet()

    def write(self, name: str, value: Any, where: str = "", step: int | None = None) -> None:
        """Write a value to the ledger. step: the current one by default."""
        self.ledger.add(name, value, where, self.step if step is None else step)

    def write_deferred(self, name: str, tensor: Tensor, where: str = "", step: int | None = None) -> None:
        """Write a scalar tensor to the ledger once it has been read from the device."""
        at = self.step if step is None else step
        self.deferred.add(tensor, lambda numbers: self.ledger.add(name, numbers[0], where, at))

    def mark_compiled(self) -> None:
        """Record that the model is compiled."""
        self.compiled = True
        self.mark_unobservable("layers", "the model is compiled: torch.compile hides what happens inside it")

    def mark_unobservable(self, what: str, why: str) -> None:
        """Record once a quantity that cannot be observed, and why."""
        if not self.ledger.has("run.unseen", what):
            self.ledger.add("run.unseen", why, what)


def is_compiled(model: nn.Module) -> bool:
    """Return whether a model or a part of it is compiled, by torch.compile(module) or module.compile()."""
    return any(type(m).__name__ == "OptimizedModule" or is_compiled_in_place(m) for m in model.modules())


def needs_collectives(model: nn.Module) -> bool:
    """Return whether the forward pass needs other processes: sharded weights, synchronised batch norm."""
    sharded = any(hasattr(p, "device_mesh") for p in model.parameters())
    kinds = ("FullyShardedDataParallel", "SyncBatchNorm")
    return sharded or any(type(m).__name__ in kinds for m in model.modules())


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside DistributedDataParallel, DataParallel, torch.compile or the wrapper of Fabric."""
    while True:
        if type(model).__name__ == "OptimizedModule":
            model = model.get_submodule("_orig_mod")
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel) or (
            type(model).__name__ == "_FabricModule"
        ):
            model = model.get_submodule("module")
        else:
            return model


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Iterate over all tensors in nested tuples, lists, dicts and dataclasses, in order."""
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
