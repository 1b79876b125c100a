"""Names of the user's objects in configs and messages, and the check that an object can be sent to other processes."""

from __future__ import annotations

import inspect
import pickle
import re
from functools import partial
from typing import Any

from danlu.message import message
from danlu.refuse import Refusal
from danlu.user_objects import PREFIX


def plain_name(thing: Any) -> str:
    """Name of a function or class, or of an object's class: "Net", "build", "lambda"."""
    if isinstance(thing, partial):
        return plain_name(thing.func)
    name = getattr(thing, "__name__", None)
    if not isinstance(name, str) or not (inspect.isroutine(thing) or inspect.isclass(thing)):
        name = type(thing).__name__
    return re.sub(r"[^\w.-]", "", name) or "object"


def own_name(thing: Any) -> str:
    """Value of the config that names the object: "own:Net"."""
    return PREFIX + plain_name(thing)


def shown(name: str) -> str:
    """The name without its prefix, for messages."""
    return name.removeprefix(PREFIX)


def parameters_of(function: Any) -> dict[str, inspect.Parameter]:
    """Parameters of a callable by name; {} if they cannot be inspected (builtins)."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}


def required(parameters: dict[str, inspect.Parameter]) -> list[str]:
    """Names of the parameters without a default, except *args and **kwargs."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, p in parameters.items() if p.default is p.empty and p.kind not in variable]


def check_sendable(objects: Any) -> None:
    """Refuse objects that cannot be sent to other processes, as lambdas and functions inside functions."""
    for kind, one in vars(objects).items():
        try:
            pickle.dumps(one)
        except Exception as error:  # pickle raises a dozen kinds
            why = " ".join(str(error).split())[:120]
            raise Refusal(
                message(
                    "own.refuse.cannot_sent_processes_devices",
                    "{kind} {name} cannot be sent to the processes of --devices ({why}); define it at the "
                    "top level of a module instead of as a lambda or inside a function, or use one device",
                    kind=kind,
                    name=shown(one.name),
                    why=why,
                )
            ) from None
