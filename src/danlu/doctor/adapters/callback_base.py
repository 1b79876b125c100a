"""What the callbacks of all trainers share: one doctor, who comes, says what is new after each epoch, and leaves."""

from __future__ import annotations

import os
from collections.abc import Callable

from torch import nn

from danlu.doctor.finding import Finding
from danlu.doctor.watch import Doctor, watch


class DoctorCallback:
    """`doctor` is None until the training has begun; it stays to be asked when the training is over."""

    def __init__(
        self,
        report: str | os.PathLike[str] | None = None,
        *,
        budget: float = 0.03,
        language: str = "en",
        say: Callable[[str], None] = print,
    ) -> None:
        """report: where to write the page at the end. budget, language: as in `danlu.watch`. say: takes each error and
        warning as it arises, one line each."""
        super().__init__()
        self.report, self.budget, self.language, self.say = report, budget, language, say
        self.doctor: Doctor | None = None

    @property
    def findings(self) -> list[Finding]:
        """As `Doctor.findings`; empty before the training has begun."""
        return self.doctor.findings if self.doctor is not None else []

    def _start(self, model: nn.Module, replayable: bool = True) -> Doctor:
        self.doctor = watch(model, budget=self.budget, language=self.language)
        if not replayable:
            self.doctor.expect_no_replay()
        return self.doctor.__enter__()

    def _stop(self, error: BaseException | None = None) -> None:
        if self.doctor is None or not self.doctor.watching:
            return
        self.doctor.__exit__(type(error) if error else None, error, None)
        self.doctor.say_new(self.say)
        if self.report is not None:
            self.doctor.report(self.report)
