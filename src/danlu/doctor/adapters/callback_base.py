"""Base class of the trainer callbacks: start the doctor, report new findings after each epoch, stop it."""

from __future__ import annotations

import os
from collections.abc import Callable

from torch import nn

from danlu.doctor.finding import Finding
from danlu.doctor.phrase import message
from danlu.doctor.watch import Doctor, watch
from danlu.message import language as current_language
from danlu.message import speaking


class DoctorCallback:
    """Watch a training; `doctor` is None before it starts and remains available after it ends."""

    def __init__(
        self,
        report: str | os.PathLike[str] | None = None,
        *,
        budget: float = 0.03,
        language: str | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """
        Args:
            report: file to which the HTML page is written at the end; None: none.
            budget, language: see `danlu.watch`.
            say: called with one line of text for each new error or warning.
        """
        super().__init__()
        self.report, self.budget, self.say = report, budget, say
        self.language = current_language() if language is None else language
        self.doctor: Doctor | None = None

    @property
    def findings(self) -> list[Finding]:
        """See `Doctor.findings`; empty before the training has started."""
        return self.doctor.findings if self.doctor is not None else []

    def _start(self, model: nn.Module, replayable: bool = True, prefix: str = "") -> Doctor:
        self.doctor = watch(model, budget=self.budget, language=self.language, quiet=True, prefix=prefix)
        if not replayable:
            self.doctor.expect_no_replay()
        return self.doctor.__enter__()

    def _stop(self, error: BaseException | None = None) -> None:
        if self.doctor is None or not self.doctor.watching:
            return
        self.doctor.__exit__(type(error) if error else None, error, None)
        self.doctor.say_new(self.say)
        if self.report is not None:
            page = str(self.doctor.report(self.report))
            with speaking(self.language):
                self.say(str(message("doctor.watch.report", "doctor: findings and charts are in {page}", page=page)))
