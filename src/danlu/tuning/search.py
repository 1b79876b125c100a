"""The loop of a search: take a trial, train it, report it, until the trials or the time are used up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danlu.advice.remedies import changes
from danlu.advice.run_defaults import RunDefaults
from danlu.config import resolve
from danlu.message import Message, message, translated
from danlu.refuse import Failure, Refusal
from danlu.report.markup import metric_value, words
from danlu.run.folder import Run
from danlu.run.names import metric_key
from danlu.tuning.dimension import short_name
from danlu.tuning.study import DEFAULTS_TRIAL, Claim, StudyFolder
from danlu.tuning.trial_run import TrialRun, TrialWatcher, remove_weights, run_training

MAX_FIXES = 5  # candidates from the doctor's findings at the default settings
Say = Callable[[str], None]


class Clock:
    """The budget of this process. final: number of trainings after the search, for which time is kept."""

    def __init__(self, minutes: float | None, final: int) -> None:
        self.began, self.minutes, self.final = time.perf_counter(), minutes, final
        self.full: list[float] = []  # seconds of the trials that were not ended early

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    def allows(self) -> bool:
        """Return whether another trial may begin; up to half of the budget is kept for the trainings after it."""
        if self.minutes is None:
            return True
        budget = 60 * self.minutes
        kept = self.final * sum(self.full) / len(self.full) if self.full else 0.0
        return self.seconds + min(kept, budget / 2) < budget


def run_trials(study: StudyFolder, clock: Clock, say: Say) -> None:
    """Train trials until none is left for this process or its time is used up."""
    while clock.allows() and (claim := study.next_trial()) is not None:
        try:
            done = _train(study, claim)
            if done.why is None and not done.failed:
                clock.full.append(done.seconds)
            say(_line(study, claim, done))
        finally:
            claim.release()


def _train(study: StudyFolder, claim: Claim) -> TrialRun:
    """Train one trial and report it to the study."""
    number, folder = claim.trial.number, study.trial_folder(claim.trial.number)
    default = number == DEFAULTS_TRIAL and study.settings.defaults is not None
    metric, better = study.settings.metric, study.settings.better
    watcher = TrialWatcher(claim.trial, Run(folder), metric, _known(study), prune=not default, better=better)
    try:
        done = run_training(study.trial_config(claim.params), folder, (watcher,))
    except Refusal as refused:
        if default:
            raise
        done = TrialRun({}, why=str(refused), failed=True)
        _tell(study, claim, done, "FAIL")
        return done
    if default and done.failed:
        raise Failure(
            message(
                "tuning.refuse.training_danlu_own_settings",
                "the training with danlu's own settings failed: {why}",
                why=done.why,
            )
        )
    value = done.metrics.get(study.settings.metric)
    ended = isinstance(done.why, Message) and done.why.id.startswith("tuning.")
    whole = value is not None and math.isfinite(value) and not ended
    _tell(study, claim, done, "COMPLETE" if whole else "PRUNED")
    if default:
        _enqueue_fixes(study, folder)
    remove_weights(folder)
    return done


def _tell(study: StudyFolder, claim: Claim, done: TrialRun, state: str) -> None:
    from optuna.trial import TrialState

    facts: dict[str, Any] = {"epochs": done.epochs, "seconds": done.seconds, "loss": done.metrics.get("loss")}
    why: Any = done.why.to_dict() if isinstance(done.why, Message) else done.why
    for name, value in (facts | {"why": why}).items():
        if value is not None:
            claim.trial.set_user_attr(name, value)
    value = done.metrics[study.settings.metric] if state == "COMPLETE" else None
    study.journal.tell(claim.trial.number, value, TrialState[state])


def _known(study: StudyFolder) -> frozenset[str]:
    """Codes of the findings at the default settings, which no trial is ended for."""
    if study.settings.defaults is None:
        return frozenset()
    return frozenset(finding["code"] for finding in Run(study.trial_folder(DEFAULTS_TRIAL)).findings)


def _enqueue_fixes(study: StudyFolder, folder: Path) -> None:
    """Put the fixes of the findings at the default settings at the head of the sampler's trials, inside the space."""
    defaults, space = study.settings.defaults, {one.key: one for one in study.settings.space}
    if defaults is None:
        return
    run = Run.open(folder)
    usual = RunDefaults.of_config(resolve(run.config), study.settings.train_samples)
    found = 0
    for finding in run.findings:
        for change in changes(finding["code"], usual.case(finding["evidence"])):
            inside = {key: v for key, v in change.items() if not key.startswith("augment.") or key == "augment.preset"}
            fits = all(key in space and space[key].holds(value) for key, value in inside.items())
            if inside and fits and found < MAX_FIXES:
                study.enqueue([defaults | inside], source=finding["code"])
                found += 1


def _line(study: StudyFolder, claim: Claim, done: TrialRun) -> str:
    """The result of a trial in one line."""
    metric = study.settings.metric
    settings = ", ".join(f"{short_name(key)} {words(value)}" for key, value in claim.params.items())
    facts: dict[str, Any] = {"number": claim.trial.number, "settings": settings}
    if done.why is not None or done.failed:
        why = done.why or message("tuning.failed", "failed")
        return translated("tuning.line.ended", "trial {number} ({settings}): {why}", **facts, why=why)
    facts |= {"metric": metric_key(metric), "value": metric_value(metric, done.metrics.get(metric))}
    facts |= {"best": metric_value(metric, study.journal.best_value), "trial": study.journal.best_trial.number}
    text = "trial {number} ({settings}): {metric} {value}, best {best} in trial {trial}"
    return translated("tuning.line.whole", text, **facts)
