"""Objects named as FILE.py:NAME: the file is run and NAME taken from it, only where the user typed it."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

from danlu.message import message
from danlu.refuse import Refusal, refusal, shortened

REFERENCE = re.compile(r"(?P<file>.+\.py):(?P<name>[^:\\/]+)")


def is_reference(value: object) -> bool:
    """Return whether a value is text of the form FILE.py:NAME."""
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


def check_reference(thing: str, value: str) -> None:
    """Refuse text that is meant as FILE.py:NAME and lacks a part: lib.py, lib:Net, lib.Net. thing: for messages.

    The names that are offered are read from the file, which is not run.
    """
    file = Path(value).expanduser()
    if file.suffix == ".py":
        if not file.is_file():
            return
        names = defined_names(file)
    else:
        stem, separator, name = re.match(r"(.*?)(?:([:.])(\w+))?$", value, re.DOTALL).groups()  # type: ignore[union-attr]
        file = Path(f"{stem}.py").expanduser()
        if not separator or not file.is_file():
            return
        names = [name, *defined_names(file)]
    wanted = message("own.wanted.file_and_name", "FILE.py:NAME, an object of the file")
    raise refusal(thing, wanted, value, near=[f"{file}:{name}" for name in dict.fromkeys(names)])


def defined_names(file: Path) -> list[str]:
    """Public functions, classes and variables of a Python file, as written, without running it."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []
    names: list[str] = []
    for one in body:
        if isinstance(one, ast.FunctionDef | ast.ClassDef):
            names.append(one.name)
        elif isinstance(one, ast.Assign):
            names += [target.id for target in one.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def load_reference(thing: str, value: str) -> Any:
    """Run the file and return the object of that name. thing: the setting, for messages.

    Raises Refusal for a missing file, a file that fails, and a name that is not in it.
    """
    match = REFERENCE.fullmatch(value)
    assert match is not None
    file, name = Path(match["file"]).expanduser(), match["name"]
    if not file.is_file():
        beside = [f"{one}:{name}" for one in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise refusal(
            thing, message("own.wanted.file_py_name_existing", "FILE.py:NAME with an existing file"), value, near=beside
        )
    module = _module(thing, file)
    if not hasattr(module, name):
        public = [one for one in vars(module) if not one.startswith("_")]
        raise refusal(
            f"{thing} {file}",
            message("own.wanted.file_object_after_colon", "a file with the object after the colon"),
            name,
            near=public,
        )
    return getattr(module, name)


def data_reference(thing: str, value: Any) -> Any:
    """The data of FILE.py:NAME; a class or function is called without arguments. Other values are returned as they are.

    thing: the argument, for messages. Raises Refusal as `load_reference` does, and where the call fails.
    """
    if not is_reference(value):
        return value
    found = load_reference(thing, value)
    if not callable(found) or (hasattr(found, "__getitem__") and not isinstance(found, type)):
        return found
    try:
        return found()
    except Exception as error:
        why = shortened(error)
        raise Refusal(
            message(
                "own.refuse.data_fails",
                "{thing} {value}: the call {value}() fails: {why}",
                thing=thing,
                value=value,
                why=why,
            ),
            thing,
        ) from error


def _module(thing: str, file: Path) -> Any:
    """Import the file as the module of its stem, so that its classes can be sent to other processes."""
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    known = sys.modules.get(file.stem)
    if known is not None and Path(getattr(known, "__file__", "") or ".").resolve() == file.resolve():
        return known
    name = file.stem if known is None else f"danlu_file_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        line = error.lineno if isinstance(error, SyntaxError) else _line(error, file)
        why = shortened(error)
        raise Refusal(
            message(
                "own.refuse.cannot_run_line",
                "{thing} {file} cannot be run, line {line}: {why}",
                thing=thing,
                file=file,
                line=line,
                why=why,
            )
        ) from error
    return module


def _line(error: BaseException, file: Path) -> int:
    """Last line of the file in the traceback of an error."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == file.resolve():
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
