"""Fixes of findings at danlu's own runs: flags to add to the command, from the table of changes that `--heal` tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from danlu.advice.candidates import AUGMENTATIONS
from danlu.advice.case import Change, as_flags
from danlu.advice.earlier import EarlierRun, earlier_runs
from danlu.advice.remedies import proposed
from danlu.advice.run_defaults import RunDefaults
from danlu.config import SHORT_FLAGS, Config, get
from danlu.doctor.finding import Finding
from danlu.doctor.presentation.terms import term
from danlu.message import speaking
from danlu.run.folder import Run
from danlu.run.summary import Summary

MAX_PROPOSED = 2  # changes proposed for one finding
SHORT_NAMES = {key: short for short, key in SHORT_FLAGS.items()}


def fixes(
    config: Config, samples: int, language: str = "en", earlier: Sequence[EarlierRun] = ()
) -> Callable[[Finding], Finding]:
    """Make a function that replaces a finding's remedy with flags of `danlu train`.

    The fixes of one run do not contradict one another: of two findings whose changes move a setting in opposite
    directions, the one that is passed first gets it.

    Args:
        config: Every setting of the run.
        samples: Number of training samples.
        language: Of the new remedy, "en" or "zh".
        earlier: Runs on the same data that were no better; a change that goes back to one of them is not proposed.

    Returns:
        A function from a finding to the finding with flags as its remedy; unchanged if no setting can fix it.
    """
    defaults = RunDefaults.of_config(config, samples)
    moved: dict[str, tuple[str, Any]] = {}  # setting -> finding that moves it, and its direction

    def fix(finding: Finding) -> Finding:
        case = defaults.case(finding.evidence)
        found = proposed(finding.code, case)
        tried = {flags_of(change): one.run for change in found for one in earlier if one.has(change)}
        found = [change for change in found if flags_of(change) not in tried]
        found = [change for change in found if not _contradicts(change, config, finding.code, moved)]
        for change in found[:MAX_PROPOSED]:
            for key, value in change.items():
                moved.setdefault(key, (finding.code, _direction(get(config, key), value)))
        flags = list(dict.fromkeys(flags_of(change) for change in found))[:MAX_PROPOSED]
        with speaking(language):
            if not flags and tried:
                text, (first, run) = "{flags} was tried in {run} and was no better. {fix}", next(iter(tried.items()))
                return replace(finding, remedy=str(term("tried", text, flags=first, run=run, fix=finding.remedy)))
            if not flags:
                return finding
            words: object = flags[0]
            for other in flags[1:]:
                words = term("or", "{first}, or {second}", first=words, second=other)
            return replace(finding, snippet="", remedy=str(term("try", "Try {flags}.", flags=words)))

    return fix


def fixes_of_run(
    run: Run, config: Config, samples: int, language: str, summary: Summary
) -> Callable[[Finding], Finding]:
    """The fixes of a finished run, which take into account the runs before it."""
    no_better = [one for one in earlier_runs(run) if not one.is_better_than(summary)]
    return fixes(config, samples, language, no_better)


def _contradicts(change: Change, config: Config, code: str, moved: Mapping[str, tuple[str, Any]]) -> bool:
    """Return whether another finding's change moves a setting of this one in another direction."""
    for key, value in change.items():
        other, direction = moved.get(key, (code, None))
        if other != code and direction != _direction(get(config, key), value):
            return True
    return False


def _direction(now: Any, then: Any) -> Any:
    """True for up, False for down; a value without an order is returned as it is."""
    if now in AUGMENTATIONS and then in AUGMENTATIONS:
        return AUGMENTATIONS.index(then) > AUGMENTATIONS.index(now)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (now, then))
    return then > now if numbers else then


def flags_of(change: Mapping[str, Any]) -> str:
    """A change as flags in their short form: with dashes, and a whole augmentation preset by its name only."""
    is_preset = "augment.preset" in change
    kept = {
        key: value
        for key, value in change.items()
        if not is_preset or key in SHORT_NAMES or not key.startswith("augment.")
    }
    return as_flags({SHORT_NAMES.get(key, key).replace("_", "-"): value for key, value in kept.items()})
