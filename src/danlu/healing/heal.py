"""`danlu diagnose RUN --heal`: try the remedies of the findings one after the other, and keep those that help."""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from danlu.advice.case import Case, Change, as_flags
from danlu.advice.remedies import JUDGED_BY, changes, why_not
from danlu.advice.run_defaults import RunDefaults
from danlu.config import resolve, with_values
from danlu.engine.doctor_watcher import findings_of
from danlu.healing.report import Attempt, HealingReport
from danlu.healing.trials import MAX_ROUNDS, ChangeResult, OutOfTime, Trials, first_fold
from danlu.inference.loaded_run import LoadedRun
from danlu.message import Message, message, speaking, translated
from danlu.metrics.paired_test import Comparison, paired_test
from danlu.preparation.prepare import prepare
from danlu.printing.console import TextConsole
from danlu.printing.lines import print_line
from danlu.python_calls import command_began, python_names
from danlu.refuse import Refusal, refusal
from danlu.report.markup import is_percentage
from danlu.report.run_report import write_page
from danlu.run.folder import Run
from danlu.task_spec import targets_of
from danlu.user_objects import current, using

SEEDS, BUDGET = 3, 600.0  # trainings of a change in the first round; seconds for all trainings
MAX_ATTEMPTS = 12  # changes
RESERVE = 0.1  # fraction of the time budget kept for reading the data and writing the report
PLANNED_SETS = 5  # sets of trainings that the budget is divided among: the unchanged run and four changes
# Significance level: probability of keeping a change without effect, by severity of its finding.
ALPHA = {"error": 0.05, "warning": 0.05, "note": 0.01}


@python_names()
def heal(
    run: str | Path | Run,
    *,
    seeds: int = SEEDS,
    budget: float = BUDGET,
    console: Console | None = None,
    lang: str | None = None,
) -> HealingReport:
    """Test the remedies of a run's findings, most severe first, each with short trainings under RUN/heal.

    Args:
        run: A run or its folder.
        seeds: Number of trainings of each change, at least 2, because the noise is estimated from them; a change that
            is better but within the noise gets twice this number, then four times.
        budget: Max seconds of this call, or of the whole command on the command line; limits the length of a trial and
            stops the one that runs at the end.
        console: Where progress is shown; silent by default.
        lang: Language of the progress, en or zh; the run's by default.

    Returns:
        The attempts and the changes that were kept, also written to RUN/heal.json and to the run's report page.

    Raises:
        Refusal: `run` is not a run of danlu, has no validation set, or was trained without the doctor.
    """
    seeds, budget = check_settings(seeds, budget)
    run = run if isinstance(run, Run) else own_run(run)
    if targets_of(run.config.task) == "none":
        raise Refusal(
            message(
                "healing.refuse.pretraining",
                "--heal {name}: it is a pretraining, and short trainings do not show what its features are worth; "
                "apply the remedies of its findings by hand (danlu doctor {folder})",
                name=run.name,
                folder=run.folder,
            )
        )
    if not run.ledger.exists():
        raise Refusal(
            message(
                "healing.refuse.run_doctor_jsonl_trained",
                "RUN {name} has no doctor.jsonl: it was trained without the doctor; train it with --doctor.budget 0.03",
                name=run.name,
            )
        )
    language = with_values(run.config, {"doctor.language": lang} if lang else {}).doctor.language
    run.lock()
    try:
        with speaking(language), using(run.objects if isinstance(run, LoadedRun) else current()):
            report = _Healing(run, seeds, budget, console or TextConsole(quiet=True)).try_all()
        run.write_json("heal.json", report)
        write_page(run.folder)
    finally:
        run.unlock()
    return report


def check_settings(seeds: Any = SEEDS, budget: Any = BUDGET) -> tuple[int, float]:
    """Number of seeds and seconds of `heal`. Raises Refusal for values that are neither."""
    return _count(seeds), _seconds(budget)


def own_run(target: str | Path) -> Run:
    """Open a run folder of danlu. Raises Refusal for other paths, with a special message for another loop's ledger."""
    path = Path(target)
    if not (path / "config.yaml").is_file() and (path.suffix == ".jsonl" or (path / "doctor.jsonl").is_file()):
        raise Refusal(
            message(
                "healing.refuse.heal_cannot_train_loop",
                "--heal cannot train the loop that {target} comes from: it is not danlu's own; apply the "
                "remedies of its findings in that loop's code",
                target=target,
            )
        )
    return Run.open(target)


class _Healing:
    """State of one healing: changes kept so far, attempts, trials."""

    def __init__(self, run: Run, seeds: int, budget: float, console: Console) -> None:
        self.began, self.budget, self.console = command_began() or time.perf_counter(), budget, console
        self.run, self.config = run, resolve(run.config)
        self.prepared = prepare(first_fold(self.config), run.weights("start"))
        if not len(self.prepared.split.val):
            raise refusal(
                "--heal",
                message(
                    "healing.wanted.used_run_validation_set",
                    "used on a run with a validation set, to compare trainings",
                ),
                run.name,
            )
        spec = self.prepared.dataset.task_spec
        self.metric, self.better = spec.monitor, spec.better
        folder = run.folder / "heal"
        shutil.rmtree(folder, ignore_errors=True)  # trials of an earlier healing
        self.deadline = self.began + (1 - RESERVE) * budget
        self.trials = Trials(run, self.config, folder, seeds, console, self.deadline)
        self.kept: Change = {}
        self.attempts: list[Attempt] = []
        self.not_tried: list[dict[str, str]] = []
        self.tried: set[str] = set()
        self.unchanged: ChangeResult | None = None  # with the run's own settings
        self.best: ChangeResult | None = None  # with the changes kept so far
        self.best_name = "0"  # folder of `best`
        self.stopped: Message | None = None

    def try_all(self) -> HealingReport:
        """Try the changes of every finding until none is left or the budget is used up."""
        waiting = findings_of(self.run, self.config.doctor.language)
        seen = set()
        while waiting and self.stopped is None:
            finding = waiting.pop(0)
            proposed = changes(finding["code"], self._case(finding))
            if not proposed and finding["code"] not in seen:
                self.not_tried.append({"finding": finding["code"], "why": why_not(finding["code"])})
            seen.add(finding["code"])
            for number, change in enumerate(proposed):
                if self._attempt_in_time(finding, change):
                    waiting = self._remaining_findings(finding, waiting)
                    break
                if self.stopped:
                    self._leave_out([(finding, change) for change in proposed[number:]], waiting)
                    break
        return self._result()

    def _leave_out(self, rest: list[tuple[dict[str, Any], Change]], waiting: list[dict[str, Any]]) -> None:
        """Note the changes and findings for which no time or attempt was left."""
        text = "{change}: {reason}"
        for finding, change in rest:
            if as_flags(self.kept | change) not in self.tried:
                why = message("healing.left_out", text, change=as_flags(change), reason=self.stopped)
                self.not_tried.append({"finding": finding["code"], "why": why})
        noted = {one["finding"] for one in self.not_tried} | {one.finding for one in self.attempts}
        for finding in waiting:
            if finding["code"] not in noted and changes(finding["code"], self._case(finding)):
                self.not_tried.append(
                    {"finding": finding["code"], "why": message("healing.no_time", "{reason}", reason=self.stopped)}
                )

    def _attempt_in_time(self, finding: dict[str, Any], change: Change) -> bool:
        """`_attempt`; at the end of the budget the training is stopped and the changes kept so far remain."""
        try:
            return self._attempt(finding, change)
        except OutOfTime:
            self.stopped = self._used_up()
            if self.best is not None:
                self._add_attempt(
                    finding, change, None, None, message("healing.cut", "stopped at the end of the budget")
                )
            return False

    def _used_up(self) -> Message:
        return message("healing.budget", "the budget of {seconds:g} s is used up", seconds=self.budget)

    def _attempt(self, finding: dict[str, Any], change: Change) -> bool:
        """Try one change; returns whether it is kept. Sets `stopped` when attempts or seconds are used up."""
        flags = as_flags(self.kept | change)
        if flags in self.tried:
            return False
        if not self._may_go_on():
            return False
        self.tried.add(flags)
        before, name = self._baseline(), str(len(self.attempts) + 1)
        text, facts = "trying {change} for {finding}", {"change": as_flags(change), "finding": finding["code"]}
        self._print(translated("healing.trying", text, **facts))
        try:
            after = self.trials.first_round(self.kept | change, name)
        except Refusal as refused:
            why = message("healing.refused", "not possible for this run: {reason}", reason=str(refused))
            self._add_attempt(finding, change, None, None, why)
            return False
        compared = self._compare(finding, after)
        for round_ in range(2, MAX_ROUNDS + 1):
            if not compared.inconclusive or not self._affords(self._cost(before, round_) + self._cost(after, round_)):
                break
            self._print(translated("healing.more_seeds", "  {verdict}: adding as many seeds", verdict=compared.why))
            self.trials.next_round(before, self.kept, self.best_name, round_)
            self.trials.next_round(after, self.kept | change, name, round_)
            compared = self._compare(finding, after)
        self._add_attempt(finding, change, after, compared, compared.why)
        if compared.better:
            self.kept, self.best, self.best_name = self.kept | change, after, name
        return compared.better

    def _compare(self, finding: dict[str, Any], after: ChangeResult) -> Comparison:
        """Paired test against the current best.

        alpha is divided by the number of rounds (Bonferroni), so a useless change is accepted no more often than with
        one test.
        """
        assert self.best is not None
        metric = self._metric_for(finding)
        new = after.values(metric)
        old = self.best.values(metric)[: len(new)]
        one_sample = 1 / len(self.prepared.split.val) if is_percentage(metric) else 0.0
        high = self.better == "high" or metric != self.metric
        return paired_test(old, new, high=high, min_gain=one_sample, alpha=ALPHA[finding["severity"]] / MAX_ROUNDS)

    def _metric_for(self, finding: dict[str, Any]) -> str:
        """Validation metric that decides whether the finding's remedy helps."""
        return JUDGED_BY.get(finding["code"], self.metric)

    def _baseline(self) -> ChangeResult:
        """Trials of the settings kept so far; on the first call, of the unchanged run."""
        if self.best is None:
            self.trials.plan(PLANNED_SETS, self.deadline - time.perf_counter(), len(self.prepared.split.train))
            text = "trials: {trials}; first the unchanged run"
            self._print(translated("healing.start", text, trials=self._length()))
            self.unchanged = self.best = self.trials.first_round({}, "0")
        return self.best

    def _may_go_on(self) -> bool:
        if len(self.attempts) >= MAX_ATTEMPTS:
            self.stopped = message("healing.attempts", "{count} changes have been tried", count=MAX_ATTEMPTS)
        elif not self._affords(self.trials.first_seeds * self.best.seconds_per_training if self.best else 0.0):
            self.stopped = self._used_up()
        return self.stopped is None

    def _affords(self, seconds: float) -> bool:
        """Return whether the budget allows this number of further seconds."""
        return time.perf_counter() + seconds <= self.deadline

    def _cost(self, result: ChangeResult, round_: int) -> float:
        """Seconds for the trainings that `result` lacks for a round."""
        return max(0, self.trials.seeds_until(round_) - len(result.metrics)) * result.seconds_per_training

    def _remaining_findings(self, fixed: dict[str, Any], waiting: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Findings of the changed training, then those waiting that are not consequences of `fixed`.

        Notes on a short trial are left out: they are as often as not about its shortness.
        """
        assert self.best is not None
        fresh = [finding for finding in self.best.findings if finding["severity"] != "note"]
        gone = {finding["code"] for finding in fresh} | set(fixed["consequences"]) | {fixed["code"]}
        return fresh + [finding for finding in waiting if finding["code"] not in gone]

    def _add_attempt(
        self,
        finding: dict[str, Any],
        change: Change,
        after: ChangeResult | None,
        compared: Comparison | None,
        why: Message,
    ) -> None:
        metric, before = self._metric_for(finding), self.best
        seeds = len(after.metrics) if after else self.trials.first_seeds
        attempt = Attempt(
            finding["code"],
            finding["severity"],
            change,
            as_flags(change),
            metric,
            seeds,
            before.mean(metric, seeds) if before else None,
            after.mean(metric, seeds) if after else None,
            compared.difference if compared else None,
            compared.noise if compared else None,
            bool(compared and compared.better),
            why,
        )
        self.attempts.append(attempt)
        self._print(
            translated("healing.kept", "  kept: {verdict}", verdict=why)
            if attempt.kept
            else translated("healing.not_kept", "  not kept: {verdict}", verdict=why)
        )

    def _case(self, finding: dict[str, Any]) -> Case:
        config = with_values(self.prepared.config, self.kept)
        return RunDefaults.of_prepared(self.prepared, config).case(finding["evidence"])

    def _length(self) -> Message:
        """Epochs, samples and seeds of a trial."""
        trials, samples = self.trials, len(self.prepared.split.train)
        values: dict[str, Any] = {
            "epochs": trials.epochs,
            "all_epochs": trials.run_epochs,
            "seeds": trials.first_seeds,
            "max_seeds": len(trials.seeds),
        }
        if trials.limit in (None, samples):
            text = "{epochs} of {all_epochs} epochs, {seeds} seeds each, up to {max_seeds} if inconclusive"
            return message("healing.trials", text, **values)
        text = (
            "{epochs} of {all_epochs} epochs on {limit:,} of {samples:,} samples, "
            "{seeds} seeds each, up to {max_seeds} if inconclusive"
        )
        return message("healing.short_trials", text, **values, limit=trials.limit, samples=samples)

    def _result(self) -> HealingReport:
        trials, unchanged, best = self.trials, self.unchanged, self.best
        seeds = min(len(unchanged.metrics), len(best.metrics)) if unchanged and best else 0
        command = f"danlu train --config {shlex.quote(str(self.run.folder / 'config.yaml'))} {as_flags(self.kept)}"
        return HealingReport(
            run=self.run.name,
            metric=self.metric,
            better=self.better,
            before=unchanged.mean(self.metric, seeds) if unchanged else None,
            after=best.mean(self.metric, seeds) if best else None,
            settings=self.kept,
            command=command if self.kept else None,
            attempts=self.attempts,
            not_tried=self.not_tried,
            trials=self._length(),
            epochs=trials.epochs,
            limit=trials.limit,
            seeds=trials.seeds[: trials.first_seeds],
            stopped=self.stopped,
            seconds=round(time.perf_counter() - self.began, 3),
        )

    def _print(self, line: str) -> None:
        print_line(self.console, line)


def _count(seeds: Any) -> int:
    """Number of seeds. Raises Refusal unless it is an integer from 2 to 100."""
    try:
        count = int(str(seeds))
    except ValueError:
        count = 0
    if not 2 <= count <= 100:
        raise refusal(
            "--seeds",
            message(
                "healing.wanted.integer_100_since_noise",
                "an integer from 2 to 100, since the noise is estimated from them",
            ),
            seeds,
        )
    return count


def _seconds(budget: Any) -> float:
    """Budget in seconds. Raises Refusal unless it is positive and finite."""
    try:
        seconds = float(budget)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise refusal(
            "--budget", message("healing.wanted.number_seconds_greater", "a number of seconds greater than 0"), budget
        )
    return seconds
