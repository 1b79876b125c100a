"""Programs that start others: put `python -m danlu watch` between torchrun or accelerate and the script."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from danlu.message import message
from danlu.refuse import refusal

# Name on the command line -> module to run, and the module and function that make its argparse parser.
LAUNCHERS = {
    "torchrun": ("torch.distributed.run", "torch.distributed.run", "get_args_parser"),
    "torch.distributed.run": ("torch.distributed.run", "torch.distributed.run", "get_args_parser"),
    "torch.distributed.launch": ("torch.distributed.launch", "torch.distributed.run", "get_args_parser"),
    "accelerate": ("accelerate.commands.launch", "accelerate.commands.launch", "launch_command_parser"),
    "accelerate.commands.launch": ("accelerate.commands.launch", "accelerate.commands.launch", "launch_command_parser"),
}


def is_launcher(target: str, as_module: bool) -> bool:
    """Return whether a program starts training processes: `torchrun`, `accelerate`, or their modules after -m."""
    return target in LAUNCHERS and (as_module or "." not in target)


def through_launcher(target: str, arguments: Sequence[str], watch_flags: Sequence[str]) -> tuple[str, list[str]]:
    """Module to run and its arguments, so that each process of the launcher runs its script by `danlu watch`.

    Args:
        target: name of the launcher. arguments: those of the launcher, the script and its own.
        watch_flags: flags of `danlu watch`.

    Raises:
        Refusal: the launcher is not installed, or its arguments name no script.
    """
    module, home, maker = LAUNCHERS[target]
    given = list(arguments)
    if target == "accelerate":
        if given[:1] != ["launch"]:
            raise refusal(
                "SCRIPT",
                message("doctor.wanted.accelerate_launch_script", "accelerate launch ... SCRIPT"),
                " ".join([target, *given[:1]]),
            )
        given = given[1:]
    try:
        make: Callable[[], argparse.ArgumentParser] = getattr(import_module(home), maker)
    except ImportError:
        raise refusal(
            "SCRIPT",
            message(
                "doctor.wanted.launcher_installed_cannot_imported",
                "a launcher that is installed; {home} cannot be imported",
                home=home,
            ),
            target,
        ) from None
    parsed: Any = make().parse_args(given)
    own = len(given) - len(parsed.training_script_args) - 1
    script = [parsed.training_script, *parsed.training_script_args]
    if parsed.module:
        script = ["-m", *script]
    elif getattr(parsed, "no_python", False):
        if shutil.which(parsed.training_script) is None:
            raise refusal(
                "SCRIPT",
                message(
                    "doctor.wanted.python_script_python_programs",
                    "a Python script: --no-python programs are not watched",
                ),
                parsed.training_script,
            )
        return module, given
    head = given[:own]
    return module, [*head, *([] if parsed.module else ["--module"]), "danlu", "watch", *watch_flags, *script]
