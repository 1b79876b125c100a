"""The loggers by name, and the packages that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from danlu.message import message
from danlu.refuse import Refusal
from danlu.run.folder import Run


class Logger(Protocol):
    """Writes the numbers of one run; made at the start of a training, also of a resumed one."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers by name ("val/accuracy") after an optimiser step."""
        ...

    def finish(self, settings: Mapping[str, Any], best: Mapping[str, float]) -> None:
        """Write the settings with the metrics of the best epoch, once, and close."""
        ...


# Name -> module here with a class `RunLogger(run, step)`; step: optimiser steps of a resumed training so far.
LOGGERS = {
    "tensorboard": "danlu.loggers.to_tensorboard",
    "mlflow": "danlu.loggers.to_mlflow",
    "wandb": "danlu.loggers.to_wandb",
    "trackio": "danlu.loggers.to_trackio",
}


def check_loggers(names: Sequence[str] | None) -> None:
    """Raise Refusal if the package of a logger is missing."""
    for name in names or ():
        if find_spec(name) is None:
            raise Refusal(
                message(
                    "loggers.refuse.log_needs_package_install",
                    "--log {name} needs the package {name}; install it with `pip install danlu[{name}]`",
                    name=name,
                ),
                "log",
            )


def open_logger(name: str, run: Run, step: int) -> Logger:
    """The logger of a run. step: optimiser steps trained before."""
    return import_module(LOGGERS[name]).RunLogger(run, step)
