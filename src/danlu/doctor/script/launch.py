"""Run a script or a module in this process as `python SCRIPT ARGS...` and `python -m MODULE ARGS...` do.

sys.argv, sys.path, `__main__`, tracebacks and the exit code are those of Python. This file imports nothing that imports
torch: a script may set environment variables before its own `import torch`.
"""

from __future__ import annotations

import builtins
import os
import runpy
import signal
import sys
import threading
import types
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path

from danlu.message import message
from danlu.refuse import blame, refusal


def run_program(target: str, arguments: Sequence[str], *, as_module: bool, finish: Callable[[], None]) -> int:
    """Run the program to its end, then call `finish`; return the exit code.

    Args:
        target: path of a script, or of a folder with a `__main__.py`; name of a module if `as_module`.
        arguments: arguments of the program.
        finish: called once the program and its threads have ended, after the traceback of an error.

    Raises:
        Refusal: there is no such script.
    """
    start = _module(target, arguments) if as_module else _script(target, arguments)
    code, interrupted = 0, False
    try:
        start()
        _join_threads()
    except SystemExit as error:
        code = _exit_code(error)
    except KeyboardInterrupt as error:
        code, interrupted = 130, True
        _print_traceback(error)
    except BaseException as error:
        code = 1
        _print_traceback(error)
    finally:
        finish()
    if interrupted and os.name == "posix":  # Python ends itself by the signal, so that the shell sees it
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return code


def _script(path: str, arguments: Sequence[str]) -> Callable[[], None]:
    if Path(path).is_dir() and (Path(path) / "__main__.py").is_file():
        return _module("__main__", arguments, name=path, folder=os.path.realpath(path))
    if not Path(path).is_file():
        near = [str(one) for one in Path(path).parent.glob("*.py")]
        raise refusal(
            "SCRIPT", message("doctor.wanted.python_script_module", "a Python script, or -m MODULE"), path, near=near
        )
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise blame(error, "SCRIPT") from None
    file = os.path.abspath(path)
    main = _main_module(path, arguments, os.path.dirname(os.path.realpath(path)))
    main.__file__ = file
    main.__dict__["__cached__"] = None
    main.__loader__ = SourceFileLoader("__main__", file)
    return lambda: exec(compile(source, file, "exec", dont_inherit=True), main.__dict__)


def _module(module: str, arguments: Sequence[str], name: str = "-m", folder: str = "") -> Callable[[], None]:
    _main_module(name, arguments, folder or str(Path.cwd()))
    run = runpy._run_module_as_main  # the function behind `python -m`  # type: ignore[attr-defined]
    return lambda: run(module, alter_argv=not folder)


def _main_module(argv0: str, arguments: Sequence[str], folder: str) -> types.ModuleType:
    """Make a fresh `__main__`, and set sys.argv and the first folder of sys.path."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    main.__annotations__ = {}
    _kept.append(sys.modules["__main__"])
    sys.modules["__main__"] = main
    sys.argv = [argv0, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = folder
    return main


_kept: list[types.ModuleType] = []  # the former __main__: its functions are still running


def _join_threads() -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def _exit_code(error: SystemExit) -> int:
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1


def _print_traceback(error: BaseException) -> None:
    """Print the traceback by sys.excepthook, without the frames of this file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    error.__traceback__ = trace
    sys.stdout.flush()
    sys.excepthook(type(error), error, trace)
