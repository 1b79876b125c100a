"""Find what a program trains by hooks of torch and wrapped constructors, and watch each training.

A training is a module that is called with gradients and holds parameters of an optimizer. A module that holds all
parameters of its optimizers is watched from its first call. Modules that share an optimizer (encoder and decoder) are
watched together, from the second step.

Of programs with several trainings (a GAN), the graph of a loss leads to the passes it was computed from; which of these
trainings it belongs to is learnt from the optimizers that step after its backward pass. A program without any module
trains plain tensors: those that several losses in a row lead to.
"""

from __future__ import annotations

import gc
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from danlu.doctor.loss.graph import between, leaves, shape_of
from danlu.doctor.loss.loss_kind import kind_of
from danlu.doctor.observation.calls import kwargs_of_call
from danlu.doctor.observation.step_hooks import StepHooks
from danlu.doctor.observation.variables import name_in_frames, names_in_frames
from danlu.doctor.observation.watched_model import Pass, is_compiled
from danlu.doctor.script.loader_key import LoaderKey
from danlu.doctor.script.loss_search import LossSearch
from danlu.doctor.script.patches import Patches
from danlu.doctor.script.training import TAG, Parts, Tensors, Training
from danlu.doctor.script.untrained import Untrained

MAX_NODES = 20_000  # autograd nodes searched for the passes of a loss, with several trainings
MAX_NODES_SINGLE = 64  # the same with one training: other losses belong to its last pass
BACKWARDS_BEFORE_TENSORS = 8  # backward passes without a training, after which tensors of no module are looked for
BACKWARDS_BEFORE_HANDMADE = 4  # backward passes without a training, after which an update by hand is looked for
QUIET_STEPS = 32  # optimizer steps without a new training after which the search for models pauses
MAX_TENSORS = 32  # in a training without a module
MAX_TRAININGS = 8  # at the same time
LOOK_EVERY = 30.0  # seconds between looks for new findings, besides those at the end of each epoch
Reached = list[tuple[Training, Pass | None]]  # None: the pass was not observed, to save time


class Search:
    """All trainings of a program. `start` and `stop`."""

    def __init__(self, *, budget: float, language: str, look: Callable[[], None]) -> None:
        """look: called when there may be new findings."""
        self.budget, self.language, self.look = budget, language, look
        self.trainings: list[Training] = []
        self.unowned: set[str] = set()  # kinds of optimizers none of whose parameters are in a module that was called
        self.schedulers: set[str] = set()
        self.backwards = self.optimizers_seen = 0
        self._losses = LossSearch(self._loss_computed, self._backward_called)
        self._patches = Patches()
        self._optimizers: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self._live: dict[int, weakref.ref] = {}  # modules that need no second look, by id
        self._parts: dict[int, list[nn.Module]] = {}  # id of an optimizer -> modules that hold a part of its parameters
        self._compiled = self._handmade = False
        self._calls_handle: Any = None
        self._step_handle: Any = None
        self._quiet = 0  # optimizer steps since the last discovery
        self._leaves: set[int] = set()  # ids of the tensors that the last loss trained
        self._loader: LoaderKey | None = None
        self._holders_of: tuple[list[int], dict[int, Training]] = [], {}
        self._votes: dict[frozenset[int], set[int]] = defaultdict(set)  # trainings reached -> trainings that stepped
        self._since_step: set[frozenset[int]] = set()
        self._stepped = False
        self._untrained = Untrained()
        self._look_at = perf_counter() + LOOK_EVERY

    def start(self) -> None:
        """Start to observe optimizers, loaders, schedulers and losses; optimizers that exist already, too."""
        optimizer, loader = torch.optim.Optimizer, torch.utils.data.DataLoader
        self._patches.wrap(optimizer, "add_param_group", self._parameters_added)
        self._patches.wrap(loader, "__iter__", self._loader_started)
        self._patches.wrap(torch.optim.lr_scheduler.LRScheduler, "__init__", self._scheduler_made)
        self._step_handle = StepHooks(None, self._after_step)
        self._losses.attach()
        for one in gc.get_objects():  # made before the search began
            if issubclass(type(one), optimizer) and hasattr(one, "param_groups"):  # isinstance would call properties
                self._optimizers.add(one)
        self.optimizers_seen = len(self._optimizers)
        self._search_calls()

    def stop(self) -> None:
        """Remove all hooks and end all trainings."""
        self._patches.undo()
        self._losses.detach()
        self._pause()
        if self._step_handle is not None:
            self._step_handle.remove()
            self._step_handle = None
        for training in self.trainings:
            training.close()

    # Optimizers, schedulers and loaders.

    def _parameters_added(self, original: Callable, optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        result = original(optimizer, *args, **kwargs)
        self.optimizers_seen += optimizer not in self._optimizers
        self._optimizers.add(optimizer)
        self._live.clear()
        self._close_ended()
        self._search_calls()
        return result

    def _scheduler_made(self, original: Callable, scheduler: Any, *args: Any, **kwargs: Any) -> None:
        self.schedulers.add(type(scheduler).__name__)
        original(scheduler, *args, **kwargs)

    def _loader_started(self, original: Callable, loader: Any) -> Iterator[Any]:
        latest, self._loader = self._loader, LoaderKey(loader)
        ended = [one.loader_started(self._loader, latest) for one in self.trainings]
        if any(ended):
            self._look()
        return original(loader)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        trainings = [one for one in self.trainings if one.doctor and optimizer in one.doctor._watched.optimizers]
        if not trainings and optimizer in self._optimizers:
            self._optimizer_without_model(optimizer)
        for one in self.trainings:
            if one.doctor and one not in trainings:
                one.doctor._events.other_stepped()
        if (forgotten := self._untrained.stepped(optimizer)) is not None and trainings:
            self._watch(*forgotten, [optimizer])
        for key in self._since_step:
            self._votes[key] |= {id(one) for one in trainings}
        self._stepped = True
        self._quiet += 1
        if self._quiet == QUIET_STEPS and not self._compiled and self.trainings:
            self._pause()
        if perf_counter() > self._look_at:
            self._look()

    def _optimizer_without_model(self, optimizer: torch.optim.Optimizer) -> None:
        """Watch the parts that were called since the last step together, or search on."""
        parts = self._parts.pop(id(optimizer), [])
        if len(parts) == 1:
            self._watch(_names.get(parts[0], ""), parts[0], [optimizer])
        elif parts:
            names = [_names.get(part, "") for part in parts]
            if len(set(names)) < len(parts):
                names = [f"{name}{number}" for number, name in enumerate(names)]
            named = dict(zip(names, parts))
            self._watch(" + ".join(named), Parts(named), [optimizer], parts)
        elif self._calls_handle is None:
            self._live.clear()
            self._search_calls()
        elif not parts and type(optimizer).__name__ not in self.unowned and self._quiet > 2:
            self.unowned.add(type(optimizer).__name__)

    def _close_ended(self) -> None:
        """End the trainings whose optimizers were deleted, so that their models can be freed."""
        for training in self.trainings:
            doctor = training.doctor
            if doctor is not None and training.optimizer_kinds and not list(doctor._watched.optimizers):
                doctor._events.drop_single_evaluation()
                training.close()

    # Models.

    def _search_calls(self) -> None:
        self._quiet = 0
        if self._calls_handle is None:
            self._calls_handle = register_module_forward_pre_hook(self._before_call)

    def _pause(self) -> None:
        if self._calls_handle is not None:
            self._calls_handle.remove()
            self._calls_handle = None

    def _before_call(self, module: nn.Module, args: tuple) -> None:
        if torch.compiler.is_compiling():
            return
        known = self._live.get(id(module))
        if known is not None and known() is module:
            return
        if any(one.doctor and one.doctor._watched.replaying for one in self.trainings):
            return
        self._losses.module_called(module)
        if not torch.is_grad_enabled() or kind_of(module) is not None:
            return
        if self._consider(module, args):
            self._live[id(module)] = weakref.ref(module)

    def _consider(self, module: nn.Module, args: tuple) -> bool:
        """Watch a module that is called, if it is trained. Return whether that is decided for good."""
        owned = {id(p) for p in module.parameters() if p.requires_grad}
        if not owned:
            return True
        if self._is_inside(owned):
            return True
        owners = [one for one in self._optimizers if owned & _parameters(one)]
        if self._handmade and not owners:
            self._watch(_name_in_frames(module), module, []).call_started(args, kwargs_of_call())
            return True
        if not owners:
            self._untrained.add(module, _name_in_frames(module))
            return bool(self._optimizers)  # until an optimizer gets its parameters
        trained = set().union(*map(_parameters, owners))
        if trained <= owned:
            self._watch(_name_in_frames(module), module, owners).call_started(args, kwargs_of_call())
            return True
        for optimizer in owners:
            parts = self._parts.setdefault(id(optimizer), [])
            parts[:] = [part for part in parts if not {id(p) for p in part.parameters()} <= owned] + [module]
        _names[module] = _name_in_frames(module)
        return True

    def _is_inside(self, owned: set[int]) -> bool:
        """Return whether the parameters belong to a training or a part that is known."""
        models = [one.doctor._watched.model for one in self.trainings if one.doctor]
        models += [part for parts in self._parts.values() for part in parts]
        return any(owned <= {id(p) for p in model.parameters()} for model in models)

    def _watch(
        self, name: str, model: nn.Module, optimizers: list[torch.optim.Optimizer], parts: list[nn.Module] | None = None
    ) -> Training:
        self._close_ended()
        watched = [one for one in self.trainings if one.doctor]
        if len(watched) >= MAX_TRAININGS:
            watched.pop(0).close()
        names = [one.name for one in self.trainings]
        name = next(n for n in (name, *(f"{name}{i}" for i in range(2, 10_000))) if n not in names)
        made = Training(
            name, model, optimizers, parts=parts, budget=self.budget / (len(watched) + 1), language=self.language
        )
        for one in watched:
            if one.doctor:
                one.doctor._watched.budget.fraction = self.budget / (len(watched) + 1)
        self.trainings.append(made)
        self.unowned -= set(made.optimizer_kinds)
        self._compiled |= is_compiled(model)
        self._quiet = 0
        return made

    def _watch_tensors(self, loss: Tensor) -> None:
        """Watch the tensors that a loss trains, where no module holds them.

        They have lasted since the loss before; one that no optimizer holds and that is as long as a batch may be data.
        """
        found = {id(leaf): leaf for leaf in leaves(loss.grad_fn)} if loss.grad_fn is not None else {}
        before, self._leaves = self._leaves, set(found)
        lasting = [leaf for one, leaf in reversed(found.items()) if one in before]
        batch = next((shape_of(one)[0] for one in between(loss.grad_fn, None, MAX_NODES_SINGLE) if shape_of(one)), 0)
        held = set().union(*map(_parameters, self._optimizers))
        trained = [leaf for leaf in lasting if id(leaf) in held or not leaf.dim() or len(leaf) != batch]
        names = names_in_frames(trained)
        if trained and len(names) == len(trained) <= MAX_TENSORS:
            named = {names[id(one)]: one for one in trained}
            owners = [one for one in self._optimizers if _parameters(one) & names.keys()]
            self._watch(", ".join(named), Tensors(named), owners)

    # Losses.

    def _loss_computed(self, function: Any, args: tuple, kwargs: dict, loss: Tensor, by: str) -> None:
        if not self.trainings or self._replaying():
            return
        if not loss.requires_grad:
            training = self._called_last()
            if training is not None:
                training.loss_computed(function, args, kwargs, loss, by, None)
            return
        reached = self._passes_behind(loss)
        owners = self._owners(reached)
        for index, (training, call) in enumerate(reached):
            if id(training) not in owners:
                if call is not None:
                    call.auxiliary = True
            elif index == 0:
                training.loss_computed(function, args, kwargs, loss, by, call)
            else:
                training.backward_called(loss, call)
        if not reached and (only := self._called_last()) is not None:
            only.loss_computed(function, args, kwargs, loss, by, None)

    def _backward_called(self, loss: Tensor) -> None:
        self.backwards += 1
        if self._replaying():
            return
        if not self.trainings:
            # Optimizers of other trainings may still be alive; some backward passes without one distinguish them.
            if not self._handmade and (not self._optimizers or self.backwards > BACKWARDS_BEFORE_HANDMADE):
                self._handmade = True
                self._live.clear()
                self._search_calls()
            if self.backwards >= BACKWARDS_BEFORE_TENSORS and not self._parts:
                self._watch_tensors(loss)
            return
        if len(self.trainings) == 1 and not self.trainings[0].is_called:
            self.trainings[0].backward_without_call(loss)
            return
        reached = self._passes_behind(loss)
        owners = self._owners(reached)
        for training, call in reached:
            if id(training) in owners:
                training.backward_called(loss, call)
            elif call is not None:
                call.auxiliary = True
        if not reached and not self._untrained.is_reached(loss) and len(self.trainings) == 1:
            self.trainings[0].backward_called(loss, None)
        if self._stepped:
            self._since_step, self._stepped = set(), False
        if len(reached) > 1:
            self._since_step.add(frozenset(id(training) for training, _ in reached))

    def _replaying(self) -> bool:
        return any(one.doctor and one.doctor._watched.paused for one in self.trainings)

    def _called_last(self) -> Training | None:
        """The training whose model was called last."""
        live = [one for one in self.trainings if one.doctor and one.doctor._events.current is not None]
        return max(live, key=lambda one: one.called_at, default=None)

    def _owners(self, reached: Reached) -> set[int]:
        """Trainings that a loss belongs to: those whose optimizers stepped after earlier losses of this kind."""
        ids = frozenset(id(training) for training, _ in reached)
        stepped = self._votes.get(ids) or ids
        if len(ids) > 1 and stepped != ids:
            for training, _ in reached:
                training.adversarial = True
        return set(stepped)

    def _passes_behind(self, loss: Tensor) -> Reached:
        """Passes that a loss was computed from, the nearest of each training, found in the autograd graph."""
        live = sum(one.doctor is not None for one in self.trainings)
        limit = MAX_NODES if live > 1 else MAX_NODES_SINGLE
        found: dict[int, tuple[Training, Pass | None]] = {}
        holders = self._holders() if live > 1 else {}
        level, seen = [loss.grad_fn], set()
        while level and len(seen) < limit and len(found) < live:
            following = []
            for node in level:
                if node is None or node in seen:
                    continue
                seen.add(node)
                tag = cast(Any, node).metadata.get(TAG)  # a dictionary, which the stubs call a method
                training, call = (one() for one in tag) if tag else (None, None)
                if training is not None and call is not None:
                    found.setdefault(id(training), (training, call))
                elif holders and (holder := holders.get(id(getattr(node, "variable", None)))) is not None:
                    found.setdefault(id(holder), (holder, None))
                following += [source for source, _ in node.next_functions]
            level = following
        return list(found.values())

    def _holders(self) -> dict[int, Training]:
        """Trainings by the ids of their parameters, through which a loss reaches passes that were not observed."""
        key = [id(one) for one in self.trainings if one.doctor]
        if key != self._holders_of[0]:
            live = [one for one in self.trainings if one.doctor]
            held = {id(p): one for one in live if one.doctor for p in one.doctor._watched.model.parameters()}
            self._holders_of = key, held
        return self._holders_of[1]

    def _look(self) -> None:
        started = perf_counter()
        self.look()
        now = perf_counter()
        self._look_at = now + max(LOOK_EVERY, 100 * (now - started))


def _parameters(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"] if p.requires_grad}


# Names of modules.

_names: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()


def _name_in_frames(module: nn.Module) -> str:
    """Name of the variable or attribute that holds a module in the code of the user; its class if there is none."""
    return name_in_frames(module) or type(module).__name__
