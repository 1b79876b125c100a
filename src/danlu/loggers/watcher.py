"""The loggers as a watcher of the training loop: one that fails warns once and is not used again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from danlu.config import Config, changed
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.loggers.table import Logger, open_logger
from danlu.message import translated
from danlu.run.folder import Run

STEPS_BETWEEN = 50  # training loss of a batch


class LoggerWatcher(Watcher):
    """Passes each epoch, and the loss every `STEPS_BETWEEN` steps, to the loggers; used by the first process only.

    names: see `table.LOGGERS`. say: prints one line.
    """

    def __init__(self, names: Sequence[str], config: Config, run: Run, say: Callable[[str], None]) -> None:
        self.names, self.config, self.run, self.say = names, config, run, say
        self.loggers: dict[str, Logger] = {}
        self.best: dict[str, float] = {}
        self._last = -1

    def on_start(self, plan: Plan, progress: Progress) -> None:
        """Open the loggers."""
        for name in self.names:
            self._try(name, lambda name=name: self.loggers.update({name: open_logger(name, self.run, progress.step)}))

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        """Log the loss every `STEPS_BETWEEN` steps."""
        if progress.step % STEPS_BETWEEN == 0 and progress.step != self._last:
            self._last = progress.step
            self._log({"step/loss": parts["loss"].item()}, progress.step)

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        """Log the values of the epoch."""
        values = {name.replace(".", "/", 1): float(value) for name, value in row.items()}
        if improved:
            self.best = {name: value for name, value in values.items() if name.startswith("val/")}
        self._log(values, progress.step)

    def on_end(self, plan: Plan, progress: Progress) -> None:
        """Log the settings and best values, and close the loggers."""
        settings = {key: value for key, value in changed(self.config).items() if key != "out"}
        for name, logger in list(self.loggers.items()):
            self._try(name, lambda logger=logger: logger.finish(settings, self.best))

    def _log(self, values: dict[str, float], step: int) -> None:
        for name, logger in list(self.loggers.items()):
            self._try(name, lambda logger=logger: logger.log(values, step))

    def _try(self, name: str, call: Callable[[], Any]) -> None:
        """Call a logger, which must never stop a training."""
        try:
            call()
        except Exception as error:
            self.loggers.pop(name, None)
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            self.say(translated("loggers.failed", "--log {name} is not used any more: {why}", name=name, why=why))
