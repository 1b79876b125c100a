"""Check that the objects of the user with which a run was trained are given again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.message import message
from danlu.python_calls import typed_on_command_line
from danlu.refuse import Refusal
from danlu.user_objects import PREFIX, UserObjects, is_own


def check_given(folder: Path, objects: UserObjects, names: Mapping[str, Any]) -> None:
    """Refuse a run with objects of the user that were not given with it.

    folder: of the run. objects: those that were given. names: values of the run's settings by kind of object,
    "own:net" where it is the user's.
    """
    own = {kind: [one for one in _listed(value) if is_own(one)] for kind, value in names.items()}
    missing = {kind: listed for kind, listed in own.items() if listed and getattr(objects, kind) is None}
    if missing:
        flags = " ".join(
            f"--{kind} " + ",".join(f"FILE.py:{name.removeprefix(PREFIX)}" for name in listed)
            for kind, listed in missing.items()
        )
        if not typed_on_command_line():
            flags = ", ".join(f"{kind}=..." for kind in missing)
        text = "{folder} was trained with objects of your own, which a run cannot save: give {flags}"
        raise Refusal(
            message("inference.refuse.trained_with_own", text, folder=folder, flags=flags), next(iter(missing))
        )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]
