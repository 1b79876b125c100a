"""The end of a search: train the best trials again with new seeds, choose by their mean, then use the test set once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from danlu.config import Config, dump_yaml, with_values
from danlu.inference.load import load
from danlu.message import message, translated
from danlu.refuse import Failure
from danlu.report.markup import metric_value
from danlu.run.atomic import write_atomically
from danlu.run.folder import Run
from danlu.run.names import metric_key
from danlu.tuning.result import Finalist
from danlu.tuning.study import StudyFolder
from danlu.tuning.trial_run import run_training

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

BEST, RESULT = "best.yaml", "tuning.json"
DEFAULTS = -1  # `Finalist.trial` of danlu's own settings where they are not among the best trials


def best_trials(study: StudyFolder, count: int) -> list[FrozenTrial]:
    """The best complete trials with different settings; of equal ones that with the smaller validation loss first."""
    high = study.settings.better == "high"

    def rank(one: FrozenTrial) -> tuple[float, float]:
        value = one.value if one.value is not None else math.nan
        return (-value if high else value, one.user_attrs.get("loss", math.inf))

    whole = sorted((one for one in study.finished() if one.state.name == "COMPLETE"), key=rank)
    different: list[FrozenTrial] = []
    for one in whole:
        if all(one.params != other.params for other in different):
            different.append(one)
    if not different:
        raise Failure(
            message(
                "tuning.refuse.trial_trained_end_give",
                "no trial was trained to its end; give more trials or a larger budget",
            )
        )
    return different[:count]


def train_again(
    study: StudyFolder, count: int, seeds: int, say: Callable[[str], None]
) -> tuple[list[Finalist], Finalist]:
    """Train the best trials and danlu's own settings with new seeds.

    Returns the finalists, best mean first, and the one of them with danlu's own settings.
    """
    chosen = {one.number: (one.params, study.trial_config(one.params)) for one in best_trials(study, count)}
    defaults = study.settings.defaults
    same = next((number for number, (params, _) in chosen.items() if params == defaults), None)
    number = same if same is not None else DEFAULTS
    entries = chosen if same is not None else {**chosen, number: (defaults or {}, study.settings.config)}
    found = {key: _finalist(study, key, *entry, seeds, say) for key, entry in entries.items()}
    own = found[number] = replace(found[number], own=True)
    finalists = ranked(list(found.values()), study.settings.better)
    if finalists[0].mean is None:
        raise Failure(
            message(
                "tuning.refuse.every_training_best_trials", "every training of the best trials with a new seed failed"
            )
        )
    return finalists, own


def ranked(finalists: Sequence[Finalist], better: str) -> list[Finalist]:
    """Finalists by their mean, best first; of equal ones danlu's own settings, since the others gain nothing."""
    sign = -1 if better == "high" else 1
    return sorted(finalists, key=lambda one: (one.mean is None, sign * (one.mean or 0.0), not one.own))


def run_folder(study: StudyFolder, trial: int, seed: int) -> Path:
    """Folder of a finalist's training."""
    name = "defaults" if trial == DEFAULTS else f"trial-{trial}"
    return study.folder / "final" / name / f"seed-{seed}"


def _finalist(
    study: StudyFolder, trial: int, params: Mapping[str, Any], config: Config, seeds: int, say: Callable[[str], None]
) -> Finalist:
    metric, values = study.settings.metric, list[float | None]()
    used = [study.settings.config.seed + 1 + i for i in range(seeds)]  # the search used the seed itself
    for seed in used:
        folder = run_folder(study, trial, seed)
        done = run_training(with_values(config, {"seed": seed}), folder, report=True)
        value = done.metrics.get(metric)
        values.append(value if value is not None and math.isfinite(value) else None)
        facts = {"trial": trial, "seed": seed, "metric": metric_key(metric), "value": metric_value(metric, values[-1])}
        text = "trial {trial} again with seed {seed}: {metric} {value}"
        say(
            translated("tuning.line.again", text, **facts)
            if trial != DEFAULTS
            else translated("tuning.line.defaults", "danlu's own settings with seed {seed}: {metric} {value}", **facts)
        )
    finite = [value for value in values if value is not None]
    mean = fmean(finite) if len(finite) == len(values) else None
    return Finalist(trial, dict(params), used, values, mean, stdev(finite) if len(finite) > 1 else None)


def with_test(study: StudyFolder, finalist: Finalist) -> Finalist:
    """Evaluate the trainings of a finalist on the test set; unchanged for data without one."""
    runs = [run_folder(study, finalist.trial, seed) for seed in finalist.seeds]
    if finalist.mean is None or not Run.open(runs[0]).summary.data.counts.get("test"):
        return finalist
    found = [float(load(run).evaluate(part="test").metrics["test"][study.settings.metric]) for run in runs]
    return replace(finalist, test=found, test_mean=fmean(found))


def test_looks(study: StudyFolder, evaluated: Sequence[Finalist]) -> int:
    """Number of ends of this search that used the test set, this one included unless it repeats the last.

    evaluated: the finalists that this end has evaluated on it.
    """
    used = {(one.trial, seed) for one in evaluated if one.test for seed in one.seeds}
    try:
        before = json.loads((study.folder / RESULT).read_text(encoding="utf-8"))
        seen = {(one["trial"], seed) for one in before["finalists"] if one.get("test") for seed in one["seeds"]}
        return before.get("test_looks", 1) + (not used <= seen)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return int(bool(used))  # the first end


def write_best(study: StudyFolder, winner: Finalist) -> Path:
    """Write every setting of the winner's first training, so that `danlu train --config` repeats it exactly."""
    config, path = Run.open(run_folder(study, winner.trial, winner.seeds[0])).config, study.folder / BEST
    write_atomically(path, lambda one: one.write_text(dump_yaml(config), encoding="utf-8"))
    return path
