"""Inside a watched block everything works as outside, and nothing of the doctor is left after it.

Each use is a function of a `Scene` that trains and does something unusual in between. It runs twice, with the doctor and
without it: what it returns and the weights at the end must be the same bits.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import itertools
import math
import pickle
import random
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, IterableDataset

import danlu
from danlu.refuse import Refusal

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
USES: dict[str, Callable[[Scene], Any]] = {}


def use(function: Callable[[Scene], Any]) -> Callable[[Scene], Any]:
    USES[function.__name__] = function
    return function


class Net(nn.Module):
    """All kinds of state: batch norm's buffers, dropout's random numbers. Of module level, so that it can be pickled."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.act(self.norm(self.first(x)))))


class Fragile(Net):
    """Its forward raises when told so."""

    fails = False

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.norm(self.first(x)))
        if self.fails:
            raise ValueError("forward")
        return self.last(self.drop(hidden))


class Explicit(Net):
    """Its own __getstate__ keeps every attribute."""

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)


class SelfCopying(Net):
    """Keeps a copy of itself from inside its forward."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.norm(self.first(x)))
        self.__dict__["made"] = [copy.deepcopy(one) for one in (self.first, self.norm)]
        return self.last(self.drop(hidden))


class Scene:
    """A model, its optimizer and its data, with the doctor or without."""

    def __init__(self, watched: bool, network: type[Net] = Net) -> None:
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        self.watched = watched
        self.model = network()
        self.loss_fn: Any = nn.CrossEntropyLoss()
        self.optimizer: Any = torch.optim.AdamW(self.model.parameters(), 1e-2)
        data = torch.Generator().manual_seed(1)
        self.x = torch.randn(48, 6, generator=data)
        self.y = self.x[:, :3].argmax(1)
        self.doctors: list[Any] = []

    def watch(self, model: Any = None, optimizer: Any = None, loss_fn: Any = None) -> Any:
        """`danlu.watch` of the model, or a block without effect."""
        if not self.watched:
            return contextlib.nullcontext()
        chosen = (self.model if model is None else model, optimizer or self.optimizer, loss_fn or self.loss_fn)
        self.doctors.append(danlu.watch(*chosen, budget=math.inf, quiet=True))
        return self.doctors[-1]

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x.split(12), self.y.split(12))

    def step(self, x: Tensor, y: Tensor, call: Any = None) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.loss_fn((self.model if call is None else call)(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def train(self, epochs: int = 1, call: Any = None) -> None:
        for _ in range(epochs):
            for x, y in self.batches():
                self.step(x, y, call)

    def evaluate(self, model: Any = None) -> Tensor:
        model = self.model if model is None else model
        mode = model.training
        model.eval()
        with torch.no_grad():
            outputs = model(self.x)
        model.train(mode)
        return outputs


def hooks_of(model: nn.Module) -> list[str]:
    """Attributes of hooks that are not empty, and callables in the instance, of all parts of a model."""
    found = []
    for name, part in model.named_modules():
        found += [f"{name}.{one}" for one in HOOKS if getattr(part, one, None)]
        found += [f"{name}.{key}" for key, value in vars(part).items() if "danlu" in type(value).__module__]
        found += [f"{name}.call" for _ in [0] if vars(part).get("_compiled_call_impl") is not None]
        for key, p in part.named_parameters(recurse=False):
            found += [f"{name}.{key}.grad_hook" for _ in [0] if p._backward_hooks]
            found += [f"{name}.{key}.after" for _ in [0] if getattr(p, "_post_accumulate_grad_hooks", None)]
    return found


def of_process() -> dict[str, Any]:
    """State of the process that a guest must leave as it was."""
    for thread in threading.enumerate():
        if thread.name == "QueueFeederThread":  # of a data loader that was closed: it ends by itself
            thread.join(10)
    module, optimizer = (sys.modules[name] for name in ("torch.nn.modules.module", "torch.optim.optimizer"))
    named = {
        f"{owner.__name__}.{name}": len(value)
        for owner in (module, optimizer)
        for name, value in vars(owner).items()
        if name.startswith("_global") and isinstance(value, dict)
    }
    functions = {name: id(getattr(F, name)) for name in ("cross_entropy", "mse_loss")}
    return (
        named
        | functions
        | {
            "modes": torch._C._len_torch_function_stack(),
            "threads": sorted(one.name for one in threading.enumerate()),
            "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            "filters": list(warnings.filters),
            "call": id(nn.Module.__call__),
            "step": id(torch.optim.AdamW.step),
            "init": id(torch.optim.Optimizer.__init__),
            "grad": torch.is_grad_enabled(),
            "dtype": torch.get_default_dtype(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        }
    )


def plain(value: Any) -> Any:
    """Tensors, modules and containers as values that can be compared."""
    if isinstance(value, nn.Module):
        return plain(dict(value.state_dict()))
    if isinstance(value, Tensor):
        return value.detach().numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def saved(thing: Any) -> Any:
    file = io.BytesIO()
    torch.save(thing, file)
    assert b"danlu" not in file.getvalue()
    file.seek(0)
    return torch.load(file, weights_only=False)


def pickled(thing: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> Any:
    content = pickle.dumps(thing, protocol)
    assert b"danlu" not in content
    return pickle.loads(content)


# Copies.

COPIES: dict[str, Callable[[Any], Any]] = {
    "torch_save": saved,
    "pickle": pickled,
    "pickle_2": lambda thing: pickled(thing, 2),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "deepcopy_in_a_dict": lambda thing: copy.deepcopy({"best": [thing]})["best"][0],
    "save_whole_state": lambda thing: saved({"model": thing, "epoch": 3})["model"],
}


def copies_are_clean(how: str, network: type[Net]) -> None:
    def act(scene: Scene) -> Any:
        scene.model = network()
        scene.optimizer = torch.optim.AdamW(scene.model.parameters(), 1e-2)
        made = []
        with scene.watch():
            for number, (x, y) in enumerate(scene.batches()):
                outputs = scene.model(x)
                made.append(COPIES[how](scene.model) if number == 0 else None)  # before backward
                scene.optimizer.zero_grad()
                scene.loss_fn(outputs, y).backward()
                made.append(COPIES[how](scene.model) if number == 1 else None)  # before the step
                scene.optimizer.step()
            made.append(COPIES[how](scene.model))
        models = [one for one in made if one is not None]
        if how != "copy":  # a shallow copy shares its parts, whose hooks are those of the original
            assert all(hooks_of(one) == [] for one in models)
        return [models, [scene.evaluate(one) for one in models]]

    USES[f"{how}_of_{network.__name__}"] = act


for _how, _network in itertools.product(COPIES, (Net, Explicit)):
    copies_are_clean(_how, _network)


@use
def average_of_weights(scene: Scene) -> Any:
    with scene.watch():
        averaged = torch.optim.swa_utils.AveragedModel(scene.model)
        for x, y in scene.batches():
            scene.step(x, y)
            averaged.update_parameters(scene.model)
        outputs = scene.evaluate(averaged)
    assert hooks_of(averaged) == []
    return outputs, averaged


@use
def best_model_is_trained_on(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        best = copy.deepcopy(scene.model)
        optimizer = torch.optim.SGD(best.parameters(), 0.1)
        for x, y in scene.batches():
            optimizer.zero_grad()
            scene.loss_fn(best(x), y).backward()
            optimizer.step()
        scene.train()
    return best


@use
def copies_from_inside_forward(scene: Scene) -> Any:
    scene.model = SelfCopying()
    scene.optimizer = torch.optim.AdamW(scene.model.parameters(), 1e-2)
    with scene.watch():
        scene.train()
    made = scene.model.__dict__.pop("made")
    assert [hooks_of(one) for one in made] == [[], []]


@use
def copy_of_optimizer_and_loss(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        other = copy.deepcopy(scene.optimizer)
        loss = pickled(copy.deepcopy(scene.loss_fn))
        state = saved(scene.optimizer.state_dict())
        whole = saved({"optimizer": scene.optimizer})["optimizer"]
        scene.train()
    assert hooks_of(loss) == []
    assert not other._optimizer_step_pre_hooks
    return plain(state), plain(whole.state_dict())


@use
def deepcopy_of_a_trainer(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        kept, scene.doctors = scene.doctors, []
        other = copy.deepcopy(scene)
        scene.doctors = kept
        other.train()
    assert hooks_of(other.model) == []
    return other.model


@use
def saving_outputs_warns_of_nothing(scene: Scene) -> Any:
    with scene.watch(), warnings.catch_warnings():
        warnings.simplefilter("error")
        scene.train()
        outputs = scene.model(scene.x)
        loss = scene.loss_fn(outputs, scene.y)
        made = saved(outputs.detach()), saved(outputs), saved(loss)
        loss.backward()
    return [one.detach() for one in made]


@use
def state_dict_is_loaded_back(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        state = copy.deepcopy(scene.model.state_dict())
        scene.train()
        scene.model.load_state_dict(state)
        scene.train()


# Compilers and exports.


@use
def scripted(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        script = torch.jit.script(scene.model)
        file = io.BytesIO()
        torch.jit.save(script, file)
        scene.train()
        file.seek(0)
        return scene.evaluate(torch.jit.load(file)), scene.evaluate(script)


@use
def traced(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        scene.model.eval()
        trace = torch.jit.trace(scene.model, scene.x[:4])
        scene.model.train()
        scene.train()
    nodes = [node.kind() for node in trace.inlined_graph.nodes()]
    return nodes, trace(scene.x)


@use
def scripted_before_its_first_pass(scene: Scene) -> Any:
    with scene.watch():
        script = torch.jit.script(scene.model)
        scene.train()
    return scene.evaluate(script)


@use
def trains_a_scripted_model(scene: Scene) -> Any:
    script = torch.jit.script(scene.model)
    scene.optimizer = torch.optim.AdamW(script.parameters(), 1e-2)
    with scene.watch(script):
        scene.train(call=script)
        copied = copy.deepcopy(script)
    return scene.evaluate(copied)


@use
def scripted_loss_function(scene: Scene) -> Any:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    with scene.watch():
        scene.loss_fn = torch.jit.script(loss)
        scene.train()


@use
def exported(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        scene.model.eval()
        program = torch.export.export(scene.model, (scene.x[:4],))
        scene.model.train()
        scene.train()
    assert not any("danlu" in str(node) for node in program.graph.nodes)
    return len(list(program.graph.nodes)), program.module()(scene.x[:4])


@use
def symbolically_traced(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        graph = torch.fx.symbolic_trace(scene.model)
        scene.train()
        copied = copy.deepcopy(graph)
    return str(graph.graph), scene.evaluate(copied)


@use
def trains_a_graph_module(scene: Scene) -> Any:
    scene.model = torch.fx.symbolic_trace(scene.model)
    scene.optimizer = torch.optim.AdamW(scene.model.parameters(), 1e-2)
    with scene.watch():
        scene.train()
        other = copy.deepcopy(scene.model), pickled(scene.model)
    return [scene.evaluate(one) for one in other]


@use
def compiled_inside(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        compiled = torch.compile(scene.model, backend="eager")
        scene.train(call=compiled)
        return scene.evaluate(compiled)


@use
def compiled_in_place_inside(scene: Scene) -> Any:
    with scene.watch():
        scene.train()
        scene.model.compile(backend="eager")
        scene.train()
        scene.model._compiled_call_impl = None
        return scene.evaluate()


@use
def compiled_before(scene: Scene) -> Any:
    compiled = torch.compile(scene.model, backend="eager")
    with scene.watch(compiled):
        scene.train(call=compiled)
        return copy.deepcopy(scene.model)


@use
def compiled_step(scene: Scene) -> Any:
    with scene.watch():
        loss = torch.compile(lambda x, y: scene.loss_fn(scene.model(x), y), backend="eager")
        for x, y in scene.batches():
            scene.optimizer.zero_grad()
            loss(x, y).backward()
            scene.optimizer.step()


@use
def functional_transforms(scene: Scene) -> Any:
    scene.model.eval()
    with scene.watch():
        scene.train()
        parameters = dict(scene.model.named_parameters())
        buffers = dict(scene.model.named_buffers())

        def loss(p: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            outputs = torch.func.functional_call(scene.model, (p, buffers), (x[None],))
            return F.cross_entropy(outputs, y[None])

        each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(
            {k: p.detach() for k, p in parameters.items()}, scene.x, scene.y
        )
        stacked = torch.func.stack_module_state([scene.model, copy.deepcopy(scene.model)])
        scene.train()
    return each, [list(one) for one in stacked]


@use
def fake_tensors_and_flops(scene: Scene) -> Any:
    from torch.utils.flop_counter import FlopCounterMode

    with scene.watch():
        scene.train()
        with FlopCounterMode(display=False) as counter:
            scene.step(scene.x, scene.y)
        scene.train()
    return counter.get_total_flops()


@use
def profiled(scene: Scene) -> Any:
    with scene.watch(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        scene.train()


# Threads and several doctors.


def in_thread(function: Callable[[], Any]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@use
def trains_in_another_thread(scene: Scene) -> Any:
    with scene.watch():
        in_thread(scene.train)
        scene.train()


@use
def watched_in_another_thread(scene: Scene) -> Any:
    def work() -> None:
        with scene.watch():
            scene.train()

    in_thread(work)


@use
def another_thread_trains_another_model(scene: Scene) -> Any:
    torch.manual_seed(9)
    other = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    errors, stop = [], threading.Event()

    def work() -> None:
        optimizer = torch.optim.SGD(other.parameters(), 0.1)
        criterion = nn.CrossEntropyLoss()
        try:
            for _ in range(40):
                optimizer.zero_grad()
                criterion(other(scene.x), target=scene.y).backward()
                optimizer.step()
        except BaseException as error:
            errors.append(error)
        stop.set()

    thread = threading.Thread(target=work)
    scene.model.drop.p = 0.0  # the generator is one for both threads
    thread.start()
    for _ in range(6):
        with scene.watch():
            scene.train()
    thread.join()
    assert errors == []
    return other


@use
def two_threads_with_a_doctor_each(scene: Scene) -> Any:
    others = [Scene(scene.watched) for _ in range(3)]
    for number, one in enumerate(others):
        one.model.drop.p = 0.0
        one.optimizer = torch.optim.SGD(one.model.parameters(), 0.01 * (number + 1))
    errors = []

    def work(one: Scene) -> None:
        try:
            for _ in range(3):
                with one.watch():
                    one.train()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    scene.doctors += [doctor for one in others for doctor in one.doctors]
    return [one.model for one in others]


@use
def two_models_at_once(scene: Scene) -> Any:
    other = Scene(scene.watched)
    with scene.watch(), other.watch():
        for (x, y), (u, v) in zip(scene.batches(), other.batches()):
            scene.step(x, y)
            other.step(u, v)
    other.doctors.clear()
    return other.model


@pytest.mark.parametrize("order", ["inner first", "outer first"])
def test_two_doctors_on_one_model(order: str) -> None:
    results = []
    for watched in (False, True):
        scene = Scene(watched)
        if watched:
            one, two = (danlu.watch(scene.model, scene.optimizer, quiet=True) for _ in range(2))
            one.__enter__()
            two.__enter__()
            scene.train()
            for doctor in (two, one) if order == "inner first" else (one, two):
                doctor.close()
                scene.train()
            assert one.steps == (4 if order == "outer first" else 8)
        else:
            scene.train(3)
        assert hooks_of(scene.model) == []
        results.append(plain(scene.model))
    assert results[0] == results[1]


@pytest.mark.parametrize("nested", [True, False])
def test_a_doctor_is_entered_once(nested: bool) -> None:
    scene, before = Scene(True), of_process()
    doctor = danlu.watch(scene.model, scene.optimizer, quiet=True)
    with doctor:
        scene.train()
        if nested:
            with pytest.raises(Refusal, match="entered once") as refused, doctor:
                pass
            assert "\n" not in str(refused.value)
            scene.train()
    if not nested:
        with pytest.raises(Refusal, match="entered once"), doctor:
            pass
    assert doctor.steps == (8 if nested else 4)
    assert hooks_of(scene.model) == []
    assert of_process() == before


# Exceptions and other ways out of the block.


class Stop(BaseException):
    """No Exception, as KeyboardInterrupt."""


def raising(where: str, kind: type[BaseException], inside: bool) -> None:  # noqa: PLR0915 - one branch for each place
    """inside: the loop catches the exception and goes on; else it leaves the block."""

    def act(scene: Scene) -> Any:
        scene.model = Fragile()
        scene.optimizer = torch.optim.AdamW(scene.model.parameters(), 1e-2)
        made = []

        def fail(*args: Any) -> None:
            raise kind(where)

        def once() -> None:
            if where == "forward":
                scene.model.fails = True
                try:
                    scene.model(scene.x)
                finally:
                    scene.model.fails = False
            elif where == "backward":
                outputs = scene.model(scene.x)
                outputs.register_hook(fail)
                scene.loss_fn(outputs, scene.y).backward()
            elif where == "step":
                handle = scene.optimizer.register_step_pre_hook(fail)
                try:
                    scene.step(scene.x, scene.y)
                finally:
                    handle.remove()
            elif where == "loss":
                scene.loss_fn(scene.model(scene.x), scene.y + 100)
            elif where == "after backward":
                scene.loss_fn(scene.model(scene.x), scene.y).backward()
                fail()
            else:
                fail()

        def block() -> None:
            with scene.watch():
                scene.train()
                if inside:
                    with contextlib.suppress(kind, ValueError, IndexError):
                        once()
                    made.append(saved(scene.model))
                    assert hooks_of(made[-1]) == []
                    scene.train()
                else:
                    once()

        if inside:
            block()
        else:
            with contextlib.suppress(kind, ValueError, IndexError):
                block()
                pytest.fail("nothing was raised")
        return made

    USES[f"{kind.__name__}_in_{where.replace(' ', '_')}_{'caught' if inside else 'leaves'}"] = act


for _where in ("forward", "backward", "step", "loss", "after backward", "the loop"):
    for _inside in (True, False):
        raising(_where, ValueError, _inside)
raising("the loop", Stop, False)
raising("backward", KeyboardInterrupt, True)


@use
def left_by_break_and_return(scene: Scene) -> Any:
    def work() -> int:
        for number in range(3):
            with scene.watch():
                scene.train()
                if number == 1:
                    return number
        return -1

    for _ in range(3):
        with scene.watch():
            scene.train()
            break
    return work()


@use
def generator_that_is_closed(scene: Scene) -> Any:
    def losses() -> Iterator[Tensor]:
        with scene.watch():
            while True:
                for x, y in scene.batches():
                    yield scene.step(x, y)

    source = losses()
    made = [next(source) for _ in range(5)]
    source.close()
    return made


@use
def generator_without_end_and_a_mode_above(scene: Scene) -> Any:
    def losses() -> Iterator[Tensor]:
        with scene.watch(loss_fn=F.cross_entropy):
            while True:
                for x, y in scene.batches():
                    yield scene.step(x, y)

    scene.loss_fn = F.cross_entropy
    source = losses()
    made = [next(source) for _ in range(3)]
    with torch.device("cpu"):
        source.close()
        made.append(torch.zeros(2))
    return made


@use
def generator_closed_by_another_thread(scene: Scene) -> Any:
    def losses() -> Iterator[Tensor]:
        with scene.watch():
            while True:
                for x, y in scene.batches():
                    yield scene.step(x, y)

    made: list[Tensor] = []

    def work() -> None:
        made.append(next(source))

    source = losses()
    in_thread(work)
    source.close()
    return made


@use
def exit_stack(scene: Scene) -> Any:
    with contextlib.ExitStack() as stack:
        stack.enter_context(scene.watch())
        scene.train()
        stack.enter_context(torch.autograd.detect_anomaly(check_nan=False))
        scene.train()


# Loops of other shapes.


class Rows(Dataset):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


class Scored(Rows):
    """Calls the model in the worker process, where it was taken along."""

    model: Any = None

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = super().__getitem__(index)
        with torch.no_grad():
            return x + 0 * self.model(x[None])[0].sum(), y


class Stream(IterableDataset):
    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter([self.rows[i] for i in range(len(self.rows))])


def loaders(name: str, **options: Any) -> None:
    def act(scene: Scene) -> Any:
        data: Any = Rows(scene.x, scene.y)
        if name.startswith("model"):
            data = Scored(scene.x, scene.y)
            data.model = scene.model.eval()
        if name.startswith("stream"):
            data = Stream(data)
        made = []
        with scene.watch():
            loader = DataLoader(data, 12, **options)
            for _ in range(2):
                made += [scene.step(x, y) for x, y in loader]
                if name.startswith("abandoned"):
                    next(iter(loader))
            del loader
        gc.collect()
        return made

    USES[f"loader_{name}"] = act


loaders("shuffled", shuffle=True)
loaders("stream")
loaders("abandoned", shuffle=True)
loaders("fork", shuffle=True, num_workers=1, multiprocessing_context="fork")
loaders("model_in_fork", num_workers=1, multiprocessing_context="fork")
loaders("persistent", num_workers=1, multiprocessing_context="fork", persistent_workers=True)


def plainly(function: Callable[[Scene], Any]) -> None:
    """A use inside one block, from its first to its last line."""

    def act(scene: Scene) -> Any:
        with scene.watch():
            return function(scene)

    USES[function.__name__] = act


@plainly
def gradient_checkpointing(scene: Scene) -> None:
    scene.train(call=lambda x: checkpoint(scene.model, x, use_reentrant=False))


@plainly
def reentrant_checkpointing(scene: Scene) -> None:
    scene.train(call=lambda x: checkpoint(scene.model, x.clone().requires_grad_(), use_reentrant=True))


@plainly
def gradients_by_hand(scene: Scene) -> None:
    for x, y in scene.batches():
        loss = scene.loss_fn(scene.model(x), y)
        found = torch.autograd.grad(loss, list(scene.model.parameters()), create_graph=True)
        penalty = sum(one.square().sum() for one in found)
        scene.optimizer.zero_grad()
        (loss + 0.1 * penalty).backward()
        scene.optimizer.step()


@plainly
def backward_twice(scene: Scene) -> None:
    for x, y in scene.batches():
        loss = scene.loss_fn(scene.model(x), y)
        loss.backward(retain_graph=True)
        loss.backward()
        scene.optimizer.step()
        scene.optimizer.zero_grad()


@plainly
def accumulated_steps(scene: Scene) -> None:
    for number, (x, y) in enumerate(scene.batches()):
        (scene.loss_fn(scene.model(x), y) / 2).backward()
        if number % 2:
            scene.optimizer.step()
            scene.optimizer.zero_grad()


@plainly
def outputs_changed_in_place(scene: Scene) -> None:
    scene.train(call=lambda x: scene.model(x).mul_(2).add_(1))


@plainly
def hooks_of_the_user(scene: Scene) -> Any:
    seen: list[Any] = []
    kept = scene.model.first.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    gone = scene.model.register_forward_hook(lambda module, args, out: out * 2)
    scene.train()
    gone.remove()
    other = scene.model.last.register_full_backward_hook(lambda module, a, b: seen.append("backward"))
    scene.train()
    kept.remove()
    other.remove()
    scene.train()
    return [str(one) for one in seen]


@plainly
def global_hooks_of_the_user(scene: Scene) -> Any:
    steps: list[str] = []
    from torch.optim.optimizer import register_optimizer_step_post_hook

    handle = register_optimizer_step_post_hook(lambda *args: steps.append("step"))
    calls = nn.modules.module.register_module_forward_hook(
        lambda module, args, out: steps.append(type(module).__name__)
    )
    scene.train()
    handle.remove()
    calls.remove()
    scene.train()
    return steps


@plainly
def layers_replaced(scene: Scene) -> None:
    scene.train()
    torch.manual_seed(4)
    scene.model.last = nn.Linear(8, 3)
    scene.optimizer = torch.optim.SGD(scene.model.parameters(), 0.1)
    scene.train()
    del scene.model.drop
    scene.model.drop = nn.Identity()
    scene.train()


@plainly
def parametrised_and_pruned(scene: Scene) -> None:
    nn.utils.parametrizations.weight_norm(scene.model.first)
    nn.utils.prune.l1_unstructured(scene.model.last, "weight", 0.3)
    scene.optimizer = torch.optim.SGD(scene.model.parameters(), 0.1)
    scene.train()
    nn.utils.prune.remove(scene.model.last, "weight")
    nn.utils.parametrize.remove_parametrizations(scene.model.first, "weight")


@plainly
def lbfgs(scene: Scene) -> None:
    scene.model.drop.p = 0.0
    optimizer = torch.optim.LBFGS(scene.model.parameters(), 0.1, max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = scene.loss_fn(scene.model(scene.x), scene.y)
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)


@plainly
def scheduler_and_scaler(scene: Scene) -> Any:
    schedule = torch.optim.lr_scheduler.OneCycleLR(scene.optimizer, 0.1, total_steps=8)
    scaler = torch.amp.GradScaler("cpu")
    for x, y in itertools.chain(scene.batches(), scene.batches()):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = scene.loss_fn(scene.model(x), y)
        scene.optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(scene.optimizer)
        nn.utils.clip_grad_norm_(scene.model.parameters(), 1.0)
        scaler.step(scene.optimizer)
        scaler.update()
        schedule.step()
    return schedule.state_dict()["last_epoch"], scaler.state_dict()


@plainly
def inference_mode_between(scene: Scene) -> Any:
    scene.train()
    scene.model.eval()
    with torch.inference_mode():
        outputs = scene.model(scene.x)
    scene.model.train()
    scene.train()
    return outputs.clone()


@plainly
def random_numbers_between(scene: Scene) -> Any:
    made = []
    for x, y in scene.batches():
        scene.step(x + 0.1 * torch.randn(x.shape), y)
        made.append([random.random(), np.random.rand(), torch.rand(1)])  # noqa: NPY002
    return made


@plainly
def odd_outputs(scene: Scene) -> None:
    class Outputs:
        def __init__(self, logits: Tensor) -> None:
            self.logits = logits

        @property
        def loss(self) -> Tensor:
            raise RuntimeError("no labels were given")

    inner = scene.model
    outer = nn.Module()
    outer.inner = inner
    outer.forward = lambda x: Outputs(inner(x))
    with scene.watch(outer):
        scene.train(call=lambda x: outer(x).logits)
    del outer.forward


@plainly
def nested_outputs_without_end(scene: Scene) -> None:
    class Endless(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> list:
            made: list[Any] = [self.inner(x)]
            made.append(made)
            return made

    outer = Endless(scene.model)
    with scene.watch(outer):
        scene.train(call=lambda x: outer(x)[0])


@plainly
def recursive_functions(scene: Scene) -> None:
    def work(depth: int) -> None:
        scene.train()
        if depth:
            with scene.watch():
                work(depth - 1)

    work(3)


@plainly
def moved_to_another_dtype(scene: Scene) -> None:
    scene.train()
    scene.model.double()
    scene.x = scene.x.double()
    scene.optimizer = torch.optim.SGD(scene.model.parameters(), 0.1)
    scene.train()
    scene.model.float()


@plainly
def data_parallel_replica(scene: Scene) -> Any:
    scene.train()
    replica = scene.model._replicate_for_data_parallel()
    replica.last = nn.Linear(8, 2)
    return list(replica(scene.x).shape)


def run(name: str, watched: bool) -> tuple[Any, Scene]:
    scene = Scene(watched)
    returned = USES[name](scene)
    state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    kept = [scene.model.state_dict(), plain(scene.optimizer.state_dict()["state"])]
    return plain([returned, kept, state]), scene


@pytest.mark.parametrize("name", USES)
def test_works_as_outside_and_leaves_nothing(name: str) -> None:
    with warnings.catch_warnings(record=True) as usual:
        warnings.simplefilter("always")
        expected, _ = run(name, watched=False)
    before = of_process()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found, scene = run(name, watched=True)
    assert found == expected
    assert {str(one.message) for one in warned} <= {str(one.message) for one in usual}
    assert scene.doctors
    assert hooks_of(scene.model) == []
    assert hooks_of(scene.loss_fn) == [] if isinstance(scene.loss_fn, nn.Module) else True
    assert not getattr(scene.optimizer, "_optimizer_step_pre_hooks", None)
    assert of_process() == before
    doctors, alive = scene.doctors, [weakref.ref(scene.model), weakref.ref(scene.optimizer)]
    if isinstance(scene.loss_fn, nn.Module):
        alive.append(weakref.ref(scene.loss_fn))
    del scene, _, expected, found
    gc.collect()
    if not name.startswith("compiled"):  # torch.compile itself keeps what it compiled
        assert [one for one in alive if one() is not None] == [], "kept alive by a doctor after its block"
    assert all(doctor.findings is not None and repr(doctor) for doctor in doctors)
