"""Fixes of findings at danlu's own runs: flags to add to the command, from the table of changes that `--heal` tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from danlu.advice.case import as_flags
from danlu.advice.remedies import changes, untested
from danlu.advice.run_defaults import RunDefaults
from danlu.config import SHORT_FLAGS, Config
from danlu.doctor.finding import Finding
from danlu.doctor.terms import term
from danlu.message import speaking

MAX_PROPOSED = 2  # changes proposed for one finding
SHORT_NAMES = {key: short for short, key in SHORT_FLAGS.items()}


def fixes(config: Config, samples: int, language: str = "en") -> Callable[[Finding], Finding]:
    """Make a function that replaces a finding's remedy with flags of `danlu train`.

    Args:
        config: Every setting of the run.
        samples: Number of training samples.
        language: Of the new remedy, "en" or "zh".

    Returns:
        A function from a finding to the finding with flags as its remedy; unchanged where no setting can fix it.
    """
    defaults = RunDefaults.of_config(config, samples)

    def fix(finding: Finding) -> Finding:
        case = defaults.case(finding.evidence)
        found = changes(finding.code, case) or untested(finding.code, case)
        flags = list(dict.fromkeys(flags_of(change) for change in found))[:MAX_PROPOSED]
        if not flags:
            return finding
        with speaking(language):
            proposed: object = flags[0]
            for other in flags[1:]:
                proposed = term("or", "{first}, or {second}", first=proposed, second=other)
            return replace(finding, snippet="", remedy=str(term("try", "Try {flags}.", flags=proposed)))

    return fix


def flags_of(change: Mapping[str, Any]) -> str:
    """A change as flags in their short form: with dashes, and a whole augmentation preset by its name only."""
    is_preset = "augment.preset" in change
    kept = {
        key: value
        for key, value in change.items()
        if not is_preset or key in SHORT_NAMES or not key.startswith("augment.")
    }
    return as_flags({SHORT_NAMES.get(key, key).replace("_", "-"): value for key, value in kept.items()})
