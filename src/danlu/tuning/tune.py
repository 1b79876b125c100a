"""`danlu tune`: search for the settings of a training."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from danlu.config import Config, load_yaml, new_config, with_values
from danlu.engine.saving import Interrupted
from danlu.loggers.table import check_loggers
from danlu.message import Message, message, speaking, translated
from danlu.metrics.paired_test import paired_test
from danlu.own.collect import collect, with_data
from danlu.own.recognition import WANTED, is_data
from danlu.preparation.prepare import prepare
from danlu.printing.lines import print_line
from danlu.python_calls import python_names
from danlu.refuse import one_of, refusal, whole_number
from danlu.report.markup import is_percentage, metric_value
from danlu.run.atomic import write_atomically
from danlu.task_spec import targets_of
from danlu.training.random_state import caller_state_kept
from danlu.tuning.finalists import RESULT, run_folder, test_looks, train_again, with_test, write_best
from danlu.tuning.journal import check_installed
from danlu.tuning.methods import PRUNERS, check_method, grid
from danlu.tuning.result import Finalist, TrialResult, TuningResult
from danlu.tuning.search import Clock, run_trials
from danlu.tuning.search_page import write_page
from danlu.tuning.space import centred, default_names, find_key, named_space, space_from_file
from danlu.tuning.study import StudyFolder, StudySettings, check_new
from danlu.user_objects import resume_command, using

TRIALS, TOP, SEEDS = 30, 3, 3  # trials without a budget; best trials trained again; seeds of each
MAX_COUNT = 100_000  # of trials, of best trials and of seeds
ALPHA = 0.05  # probability of calling settings better that are not


@python_names()
@caller_state_kept()
def tune(
    data: Any = "",
    *,
    search: str | Sequence[str] | None = None,
    space: str | Path | None = None,
    trials: int | str | None = None,
    budget: float | str | None = None,
    method: str | None = None,
    prune: str = "median",
    top: int | str = TOP,
    seeds: int | str = SEEDS,
    out: str | Path | None = None,
    config: str | Path | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,
) -> TuningResult:
    """Search for settings with many trainings, then train the best ones again with new seeds and choose by their mean.

    Trial 0 has danlu's default settings; the next trials are the fixes of its findings, then those of the method. All
    trials have the same split, seed and schedule. A trial that is worse than the others, or in which the doctor finds
    an error, is stopped early. The test set is used only at the end, for the winner and the default settings.

    Args:
        data: As for `danlu.train`.
        search: Names of settings, such as "lr,weight_decay,augment"; danlu chooses ranges around its default values.
        space: YAML file with the user's own ranges: `lr: {low: 1e-4, high: 0.1, log: true}`, `batch_size: [32, 64]`.
        trials: Number of trials; 30 without a budget.
        budget: Minutes for the whole search, a part of which is reserved for the trainings after it.
        method: tpe, random, grid, sobol, cmaes or gp; by default sobol below 15 trials, else tpe.
        prune: median, halving or none.
        top: Number of best trials that are trained again.
        seeds: Number of seeds for each of them, at least 2.
        out: Folder of the search; the next free runs/tune-N by default.
        config: A YAML file of settings to start from.
        resume: Folder of a search to continue, or to join from another process.
        console: Destination of the progress; standard output by default.
        settings: Other settings of all trials, as for `danlu.train`.

    Returns:
        The trials, the best ones trained again, the winner's settings and the command that repeats its score.

    Raises:
        Refusal: Wrong input, or Optuna is not installed.
        Failure: The training with danlu's default settings fails, or no trial ends.
        Interrupted: A signal stopped it; it can be resumed.
    """
    check_installed()
    limit = None if trials is None else whole_number("--trials", trials, 1, MAX_COUNT)
    minutes = None if budget is None else _minutes(budget)
    counts = (whole_number("--top", top, 1, MAX_COUNT), whole_number("--seeds", seeds, 2, MAX_COUNT))
    one_of("--prune", prune, PRUNERS, message("tuning.wanted.tune", "one of {pruners}", pruners=[*PRUNERS]))
    console = console or Console()
    plain, objects = collect({name: value for name, value in settings.items() if value is not None})
    val, test = plain.pop("val", None), plain.pop("test", None)
    plain |= {name: value for name, value in (("val", val), ("test", test)) if value is not None and not is_data(value)}
    if resume is not None:
        spoken = plain.pop("doctor.language", None)
        named = {
            "DATA": data,
            "--config": config,
            "--search": search,
            "--space": space,
            "--method": method,
            "--out": out,
        }
        study = _resumed(resume, named | plain, limit)
        with speaking(spoken or study.settings.config.doctor.language), using(objects):
            return _run(study, minutes, counts, console)
    base = load_yaml(config) if config else new_config()
    in_memory = is_data(data)
    if not in_memory and not isinstance(data, str | Path):
        raise refusal("DATA", WANTED, data)
    wanted = with_values(base, ({"data.path": str(data)} if not in_memory and str(data) else {}) | plain)
    _check(wanted)
    with speaking(wanted.doctor.language):
        wanted, objects = with_data(wanted, data, val, test, objects)
        with using(objects):
            chosen = check_method(method, limit if limit is not None or minutes else TRIALS)
            study = _new_study(wanted, search, space, chosen, prune, limit, minutes, str(out) if out else None)
            print_line(console, _opening(study))
            return _run(study, minutes, counts, console)


def _resumed(folder: str | Path, given: Mapping[str, Any], limit: int | None) -> StudyFolder:
    """The search in a folder. given: arguments of a new search, refused here. limit: its new number of trials."""
    if named := [name for name, value in given.items() if is_data(value) or value]:
        raise refusal(
            "--resume",
            message(
                "tuning.wanted.used_without_settings_search",
                "used without the settings of the search, which its folder has",
            ),
            named[0],
        )
    study = StudyFolder.open(folder)
    if limit is not None and limit != study.settings.trials:
        study.save(replace(study.settings, trials=limit))
    return study


def _check(config: Config) -> None:
    if targets_of(config.task) == "none":
        raise refusal(
            "--task",
            message(
                "tuning.wanted.task_with_labels",
                "a task with labels with tune, because the loss of a pretraining does not rank its features",
            ),
            config.task,
        )
    if config.data.folds:
        raise refusal(
            "--folds",
            message(
                "tuning.wanted.omitted_tune_compares_trainings",
                "omitted with tune, which compares trainings on one split",
            ),
            config.data.folds,
        )
    if config.live is not None and config.live is not False:
        follow = message("tuning.do.follow", "`danlu live FOLDER/trials` follows a search")
        raise refusal("--live", message("tuning.wanted.no_live", "omitted with tune"), config.live, do=follow)
    check_loggers(config.log)
    if config.devices > 1:
        raise refusal(
            "--devices",
            message(
                "tuning.wanted.tune_several_processes_may",
                "1 with tune; several processes may join a search with --resume",
            ),
            config.devices,
        )


def _new_study(
    wanted: Config, names: Any, file: Any, method: str, prune: str, trials: int | None, minutes: float | None,
    out: str | None,
) -> StudyFolder:  # fmt: skip
    """Prepare the data once for the ranges, make the folder and fill the queue."""
    if names and file:
        raise refusal(
            "--search",
            message("tuning.wanted.omitted_space_names_settings", "omitted with --space, which names the settings"),
            names,
        )
    split_seed = wanted.seed if wanted.data.seed is None else wanted.data.seed  # also when the seed changes at the end
    wanted = with_values(wanted, {"out": None, "data.seed": split_seed})
    listed: list[str] = names.split(",") if isinstance(names, str) else list(names or ())
    named = [find_key(name, "--search") for name in listed]  # before the data are read
    if doubled := [name for name, key in zip(listed, named) if named.count(key) > 1]:
        raise refusal("--search", message("tuning.wanted.different_settings", "different settings"), doubled[1])
    given = space_from_file(file, wanted) if file else None
    check_new(out)
    prepared = prepare(wanted)
    if not len(prepared.split.val):
        raise refusal(
            "--val",
            message("tuning.wanted.validation_set_trials_compared", "a validation set, by which trials are compared"),
            wanted.data.val,
        )
    space = given if given is not None else named_space(listed or default_names(prepared), prepared)
    spec = prepared.dataset.task_spec
    settings = StudySettings(
        config=with_values(wanted, {"epochs": prepared.config.epochs}),  # networks differ in their usual number
        space=centred(space, prepared.config),
        metric=spec.monitor,
        better=spec.better,
        epochs=prepared.config.epochs,
        method=method,
        prune=prune,
        trials=trials if trials is not None or minutes else TRIALS,
        train_samples=len(prepared.split.train),
        val_samples=len(prepared.split.val),
    )
    study = StudyFolder.create(out, settings)
    if settings.defaults is not None:
        study.enqueue([settings.defaults], source="defaults")
    if method == "grid":
        study.enqueue(grid(settings.space, wanted.seed)[: settings.trials])
    return study


def _run(study: StudyFolder, minutes: float | None, counts: tuple[int, int], console: Console) -> TuningResult:
    try:
        return _searched(study, minutes, counts, console)
    except Interrupted as stopped:  # the command of a single trial would continue it outside the search
        raise Interrupted(stopped.reason, stopped.code, resume_command("tune", str(study.folder))) from None


def _searched(study: StudyFolder, minutes: float | None, counts: tuple[int, int], console: Console) -> TuningResult:
    clock = Clock(minutes, (counts[0] + 1) * counts[1])

    def say(line: str) -> None:
        print_line(console, line)

    run_trials(study, clock, say)
    one = study.settings
    space = {dimension.key: dimension.describe() for dimension in one.space}
    result = TuningResult(str(study.folder), one.metric, one.better, one.method, space, trial_results(study))
    # Look for the others before taking the lock: one that ends its last trial meanwhile must find it free.
    lock = None if study.trained_elsewhere() else study.claim("final")
    if lock is None:
        text = "other processes are still at work in {folder}; the last of them trains the best trials again"
        say(translated("tuning.elsewhere", text, folder=study.folder))
        return replace(result, seconds=round(clock.seconds, 3))
    try:
        finalists, own = train_again(study, *counts, say)
        result = _concluded(study, result, finalists, own)
        result = replace(result, seconds=round(clock.seconds, 3), page=str(study.folder / "tuning.html"))
        text = json.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n"
        write_atomically(study.folder / RESULT, lambda path: path.write_text(text, encoding="utf-8"))
        write_page(study, result)
    finally:
        lock.release()
    return result


def _concluded(study: StudyFolder, result: TuningResult, finalists: list[Finalist], own: Finalist) -> TuningResult:
    """Choose the winner by its mean, evaluate it and danlu's own settings on the test set, write its config."""
    one = study.settings
    winner = with_test(study, finalists[0])
    own = winner if own.trial == winner.trial else with_test(study, own)
    min_gain = 1 / one.val_samples if is_percentage(one.metric) else 0.0
    compared = paired_test(own.scores, winner.scores, high=one.better == "high", min_gain=min_gain, alpha=ALPHA)
    looks = test_looks(study, [winner, own])
    listed = [{winner.trial: winner, own.trial: own}.get(finalist.trial, finalist) for finalist in finalists]
    path = write_best(study, winner)
    run = run_folder(study, winner.trial, winner.seeds[0])
    whole = [trial for trial in result.trials if trial.epochs]
    return replace(
        result,
        finalists=listed,
        best=winner.settings,
        verdict=_verdict(one.metric, compared, own is winner),
        better_than_defaults=compared.better and own is not winner,
        value=winner.scores[0],
        test=winner.test[0] if winner.test else None,
        config=str(path),
        command=f"danlu train --config {shlex.quote(str(path))}",
        run=str(run),
        epochs_trained=sum(trial.epochs for trial in whole),
        epochs_full=one.epochs * len(whole),
        test_looks=looks,
        notes=[*edges(study, winner.settings), *_seen(looks)],
    )


def _verdict(metric: str, compared: Any, own: bool) -> Message:
    if own:
        return message("tuning.verdict.defaults", "danlu's own settings are the best that were found")
    if compared.difference is None or compared.noise is None:
        return message("tuning.verdict.unknown", "compared with danlu's own settings: {why}", why=compared.why)
    signed = "-" if compared.difference < 0 else "+"
    facts = {
        "difference": signed + metric_value(metric, abs(compared.difference)),
        "noise": metric_value(metric, compared.noise),
    }
    if compared.better:
        text = "better than danlu's own settings by more than the noise: {difference}, noise {noise}"
        return message("tuning.verdict.better", text, **facts)
    text = "danlu's own settings are as good within the noise: {difference}, noise {noise}"
    return message("tuning.verdict.same", text, **facts)


def edges(study: StudyFolder, settings: Mapping[str, Any]) -> list[Message]:
    """Warnings about settings whose best value is near an end of its range."""
    found = []
    for one in study.settings.space:
        if one.key in settings and (end := one.edge(settings[one.key])) is not None:
            text = "the best {name}, {value:.3g}, lies near the end of its range, {end:.3g}: search a wider one"
            found.append(message("tuning.edge", text, name=one.name, value=settings[one.key], end=end))
    return found


def _seen(looks: int) -> list[Message]:
    """A warning where the search went on after it had used the test set. looks: as `TuningResult.test_looks`."""
    text = "the test set was used {looks} times: after the first, a search that goes on is one that has seen it"
    return [message("tuning.seen", text, looks=looks)] if looks > 1 else []


def trial_results(study: StudyFolder) -> list[TrialResult]:
    """The trials that ended, in their order."""
    found = []
    for one in study.finished():
        facts = one.user_attrs
        why = facts.get("why")
        found.append(
            TrialResult(
                number=one.number,
                settings=dict(one.params),
                state=one.state.name.lower().replace("fail", "failed"),
                value=one.value,
                loss=facts.get("loss"),
                epochs=facts.get("epochs", 0),
                seconds=round(facts.get("seconds", 0.0), 3),
                why=Message.from_dict(why) if isinstance(why, dict) else why,
                source=facts.get("source"),
            )
        )
    return found


def _opening(study: StudyFolder) -> str:
    one = study.settings
    space = "; ".join(f"{dimension.name} {dimension.describe()}" for dimension in one.space)
    text = "search in {folder} by {method}, {epochs} {epochs:epoch|epochs} a trial: {space}"
    return translated("tuning.opening", text, folder=study.folder, method=one.method, epochs=one.epochs, space=space)


def _minutes(budget: Any) -> float:
    try:
        minutes = float(budget)
    except (TypeError, ValueError):
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise refusal(
            "--budget", message("tuning.wanted.number_minutes_greater", "a number of minutes greater than 0"), budget
        )
    return minutes
