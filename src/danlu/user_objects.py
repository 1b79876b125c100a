"""Objects of the user in a training (data, network, loss, ...), found by their names in the config.

A config, a run folder and a weights file hold plain values only. Where the user passes an object to `danlu.train`, the
config holds its name, "own:Net", and the object itself is found here while the training runs. A name whose object is
not given is refused: nothing is ever imported or unpickled to find it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any

from danlu.message import message
from danlu.refuse import Refusal

PREFIX = "own:"


@dataclass(frozen=True)
class UserObjects:
    """Objects of one training, in the form in which danlu's own tables hold their entries; None if there is none.

    data: `data.dataset.Dataset`. model: `models.spec.NetworkSpec`. loss: (outputs, targets) -> losses. optimizer:
    `learning.optim.Optimizer`. scheduler: (epochs, steps per epoch, lr) -> (step -> factor). metrics:
    (outputs, targets) -> {name: number}. transform: see `own.transform`. callbacks: watchers of the training loop.
    Every object has a `name`.
    """

    data: Any = None
    model: Any = None
    loss: Any = None
    optimizer: Any = None
    scheduler: Any = None
    metrics: Any = None
    transform: Any = None
    callbacks: Any = None

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) is not None for one in fields(self))

    def or_else(self, other: UserObjects) -> UserObjects:
        """These objects, and those of `other` where there is none."""
        mine = {one.name: getattr(self, one.name) for one in fields(self)}
        return UserObjects(**{k: v if v is not None else getattr(other, k) for k, v in mine.items()})


_objects: ContextVar[UserObjects] = ContextVar("objects", default=UserObjects())  # noqa: B039 (it is frozen)


def current() -> UserObjects:
    """Objects of the training in whose block this is called."""
    return _objects.get()


@contextmanager
def using(objects: UserObjects) -> Iterator[None]:
    """Make the objects available inside the block."""
    before = _objects.set(objects)
    try:
        yield
    finally:
        _objects.reset(before)


def is_own(name: object) -> bool:
    """Return whether a value of the config is the name of an object of the user."""
    return isinstance(name, str) and name.startswith(PREFIX)


def find(kind: str, name: str) -> Any:
    """The user's object of this kind ("model", "loss", ...). Raises Refusal if it is not given."""
    found = getattr(current(), kind)
    if found is None:
        own = name.replace(PREFIX, "")
        if kind == "data":
            raise Refusal(
                message(
                    "user_objects.refuse.data_of_own",
                    "the data {own} are objects of your own, which a run cannot save: give them again, as DATA "
                    "(on the command line FILE.py:NAME)",
                    own=own,
                )
            )
        raise Refusal(
            message(
                "user_objects.refuse.object_your_own_run",
                "{kind} {own} is an object of your own, which a run cannot save: give it again, "
                "{kind}=... (on the command line --{kind} FILE.py:NAME)",
                kind=kind,
                own=own,
            ),
            kind,
        )
    return found


def resume_command(verb: str, run: str) -> str:
    """The command that continues a run, with the flags that give it the objects which it cannot save."""
    own = current()
    given = {one.name: getattr(own, one.name) for one in fields(own) if getattr(own, one.name) is not None}
    data = " FILE.py:NAME" if given.pop("data", None) is not None else ""
    flags = "".join(f" --{kind} {_references(one)}" for kind, one in given.items())
    return f"danlu {verb}{data} --resume {run}{flags}"


def _references(one: Any) -> str:
    """FILE.py:NAME of an object, or of each of several."""
    names = getattr(one, "names", None) or [one.name]
    return ",".join(f"FILE.py:{str(name).removeprefix(PREFIX)}" for name in names)
