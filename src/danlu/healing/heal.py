"""`danlu doctor RUN --heal`: the findings' remedies are tried one after the other, and what helps is kept."""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from danlu.advice.remedies import JUDGED_BY, Case, Change, as_flags, changes, why_not
from danlu.advice.usual import case_of
from danlu.config import with_values
from danlu.engine.doctor_watcher import findings_of
from danlu.healing.trials import LOOKS, Outcome, Trials, Verdict, compare, one_fold
from danlu.message import Message, message, speaking, translated
from danlu.preparation.prepare import prepare
from danlu.refuse import Refusal, refusal
from danlu.report.markup import is_share
from danlu.report.page import write_page
from danlu.run.folder import Run

SEEDS, BUDGET = 3, 600.0  # trainings of a change at the first look; seconds for all of them
ATTEMPTS = 12  # changes tried at most
PLANNED = 5  # sets of trainings that the budget is shared out among: the run as it is, and some changes
DOUBT = {"error": 0.05, "warning": 0.05, "note": 0.01}  # chance of keeping what does nothing; notes are often nothing


@dataclass(frozen=True)
class Attempt:
    """One remedy. before, after: means over those of its `seeds` that ran to the end; noise: see `trials.compare`."""

    finding: str
    severity: str
    change: Change
    flags: str
    metric: str
    seeds: int
    before: float | None
    after: float | None
    difference: float | None
    noise: float | None
    kept: bool
    why: Message


def heal(
    run: str | Path | Run,
    *,
    seeds: int = SEEDS,
    budget: float = BUDGET,
    console: Console | None = None,
    lang: str | None = None,
) -> dict[str, Any]:
    """Try the remedies of a run's findings, gravest and surest first, each by short trainings under RUN/heal.

    seeds: trainings of each change, at least 2, for the noise is measured over them; a change that is better, but not
    by more than the noise, gets as many more, and at most four times as many. budget: seconds; it sets how long a trial
    is and when to stop. console: where progress is told; silent by default. lang: en or zh, in which it is told; the
    run's own by default.

    Gives {"metric", "before", "after", "settings" (those kept), "attempts", "not_tried", "command", ...}, which is also
    written to RUN/heal.json and drawn into the run's report. Refusal when `run` is none of danlu's, has no validation
    part, or the doctor was not there.
    """
    seeds, budget = _count(seeds), _seconds(budget)
    run = run if isinstance(run, Run) else own_run(run)
    if not run.ledger.exists():
        raise Refusal(
            f"RUN {run.name} has no doctor.jsonl: the doctor did not watch it; train it with --doctor.budget 0.03"
        )
    language = with_values(run.config, {"doctor.language": lang} if lang else {}).doctor.language
    run.lock()
    try:
        with speaking(language):
            result = _Healing(run, seeds, budget, console or Console(quiet=True)).carry_out()
        run.write_json("heal.json", result)
        write_page(run.folder)
    finally:
        run.unlock()
    return result


def own_run(target: str | Path) -> Run:
    """A run folder of danlu's. Refusal for anything else; a foreign loop's ledger is told apart."""
    path = Path(target)
    if not (path / "config.yaml").is_file() and (path.suffix == ".jsonl" or (path / "doctor.jsonl").is_file()):
        raise Refusal(
            f"--heal cannot train the loop that {target} comes from: it is not danlu's own; "
            "apply the remedies of its findings in that loop's code"
        )
    return Run.open(target)


class _Healing:
    """The state of one healing: what is kept so far, what was tried, what waits."""

    def __init__(self, run: Run, seeds: int, budget: float, console: Console) -> None:
        self.began, self.budget, self.console = time.perf_counter(), budget, console
        self.run, self.config = run, run.config
        self.prepared = prepare(one_fold(self.config), run.weights("start"))
        if not len(self.prepared.split.val):
            raise refusal("--heal", "used on a run with a validation part, by which A and B are compared", run.name)
        spec = self.prepared.dataset.task_spec
        self.metric, self.better = spec.monitor, spec.better
        folder = run.folder / "heal"
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier healing
        self.trials = Trials(run, folder, seeds, console)
        self.kept: Change = {}
        self.attempts: list[Attempt] = []
        self.not_tried: list[dict[str, str]] = []
        self.tried: set[str] = set()
        self.first: Outcome | None = None  # the run as it is
        self.best: Outcome | None = None  # with what is kept
        self.best_name = "0"  # its folder
        self.stopped: Message | None = None

    def carry_out(self) -> dict[str, Any]:
        waiting = findings_of(self.run, self.config.doctor.language)
        seen = set()
        while waiting and self.stopped is None:
            finding = waiting.pop(0)
            proposed = changes(finding["code"], self._case(finding))
            if not proposed and finding["code"] not in seen:
                self.not_tried.append({"finding": finding["code"], "why": why_not(finding["code"])})
            seen.add(finding["code"])
            for change in proposed:
                if self._attempt(finding, change):
                    waiting = self._look_again(finding, waiting)
                    break
                if self.stopped:
                    break
        return self._result()

    def _attempt(self, finding: dict[str, Any], change: Change) -> bool:
        """Whether the change is kept. Once the attempts or the seconds are used up, `stopped` says so."""
        flags = as_flags(self.kept | change)
        if flags in self.tried:
            return False
        if not self._may_go_on():
            return False
        self.tried.add(flags)
        before, name = self._baseline(), str(len(self.attempts) + 1)
        self._tell(
            translated(
                "healing.trying", "trying {change} for {finding}", change=as_flags(change), finding=finding["code"]
            )
        )
        try:
            outcome = self.trials(self.kept | change, name)
        except Refusal as refused:
            self._note(
                finding,
                change,
                None,
                None,
                message("healing.refused", "cannot be done here: {reason}", reason=str(refused)),
            )
            return False
        verdict = self._judge(finding, outcome)
        for look in range(2, LOOKS + 1):
            if not verdict.open or not self._affords(self._cost(before, look) + self._cost(outcome, look)):
                break
            self._tell(translated("healing.more_seeds", "  {verdict}: as many seeds again", verdict=verdict.why))
            self.trials.extend(before, self.kept, self.best_name, look)
            self.trials.extend(outcome, self.kept | change, name, look)
            verdict = self._judge(finding, outcome)
        self._note(finding, change, outcome, verdict, verdict.why)
        if verdict.better:
            self.kept, self.best, self.best_name = self.kept | change, outcome, name
        return verdict.better

    def _judge(self, finding: dict[str, Any], after: Outcome) -> Verdict:
        """Against what is kept, seed by seed. The looks at a change share its doubt, so that together they keep what
        does nothing no more often than one would (Bonferroni)."""
        assert self.best is not None
        metric = self._judged_by(finding)
        new = after.of(metric)
        old = self.best.of(metric)[: len(new)]
        least = 1 / len(self.prepared.split.val) if is_share(metric) else 0.0
        high = self.better == "high" or metric != self.metric
        return compare(old, new, high=high, least=least, doubt=DOUBT[finding["severity"]] / LOOKS)

    def _judged_by(self, finding: dict[str, Any]) -> str:
        return JUDGED_BY.get(finding["code"], self.metric)

    def _baseline(self) -> Outcome:
        if self.best is None:
            self.trials.plan(PLANNED, self.budget, len(self.prepared.split.train))
            self._tell(translated("healing.start", "trials: {trials}; first the unchanged run", trials=self._length()))
            self.first = self.best = self.trials({}, "0")
        return self.best

    def _may_go_on(self) -> bool:
        if len(self.attempts) >= ATTEMPTS:
            self.stopped = message("healing.attempts", "{count} changes have been tried", count=ATTEMPTS)
        elif not self._affords(self.trials.once * self.best.pace if self.best else 0.0):
            text = "the budget of {seconds:g} s is used up"
            self.stopped = message("healing.budget", text, seconds=self.budget)
        return self.stopped is None

    def _affords(self, seconds: float) -> bool:
        return time.perf_counter() - self.began + seconds <= self.budget

    def _cost(self, outcome: Outcome, look: int) -> float:
        """Seconds that the seeds still wanting for this look would take."""
        return max(0, self.trials.at(look) - len(outcome.metrics)) * outcome.pace

    def _look_again(self, cured: dict[str, Any], waiting: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the doctor says of the changed training comes first, and of the rest what did not follow from `cured`.

        Notes on a short trial are about its shortness as often as not, and are left out.
        """
        assert self.best is not None
        fresh = [finding for finding in self.best.findings if finding["severity"] != "note"]
        gone = {finding["code"] for finding in fresh} | set(cured["consequences"]) | {cured["code"]}
        return fresh + [finding for finding in waiting if finding["code"] not in gone]

    def _note(
        self, finding: dict[str, Any], change: Change, after: Outcome | None, verdict: Verdict | None, why: Message
    ) -> None:
        metric, before = self._judged_by(finding), self.best
        seeds = len(after.metrics) if after else self.trials.once
        attempt = Attempt(
            finding["code"],
            finding["severity"],
            change,
            as_flags(change),
            metric,
            seeds,
            before.mean(metric, seeds) if before else None,
            after.mean(metric, seeds) if after else None,
            verdict.difference if verdict else None,
            verdict.noise if verdict else None,
            bool(verdict and verdict.better),
            why,
        )
        self.attempts.append(attempt)
        self._tell(
            translated("healing.kept", "  kept: {verdict}", verdict=why)
            if attempt.kept
            else translated("healing.not_kept", "  not kept: {verdict}", verdict=why)
        )

    def _case(self, finding: dict[str, Any]) -> Case:
        return case_of(self.prepared, with_values(self.prepared.config, self.kept), finding["evidence"])

    def _length(self) -> Message:
        trials, samples = self.trials, len(self.prepared.split.train)
        values: dict[str, Any] = {"epochs": trials.epochs, "all_epochs": trials.full, "seeds": trials.once}
        values["most"] = len(trials.seeds)
        if trials.limit in (None, samples):
            text = "{epochs} of {all_epochs} epochs, {seeds} seeds each, {most} if in doubt"
            return message("healing.trials", text, **values)
        text = (
            "{epochs} of {all_epochs} epochs on {limit:,} of {samples:,} samples, "
            "{seeds} seeds each, {most} if in doubt"
        )
        return message("healing.short_trials", text, **values, limit=trials.limit, samples=samples)

    def _result(self) -> dict[str, Any]:
        trials, first, best = self.trials, self.first, self.best
        seeds = min(len(first.metrics), len(best.metrics)) if first and best else 0
        command = f"danlu train --config {shlex.quote(str(self.run.folder / 'config.yaml'))} {as_flags(self.kept)}"
        return {
            "run": self.run.name,
            "metric": self.metric,
            "better": self.better,
            "before": first.mean(self.metric, seeds) if first else None,
            "after": best.mean(self.metric, seeds) if best else None,
            "settings": self.kept,
            "command": command if self.kept else None,
            "attempts": [asdict(attempt) for attempt in self.attempts],
            "not_tried": self.not_tried,
            "trials": self._length(),
            "epochs": trials.epochs,
            "limit": trials.limit,
            "seeds": trials.seeds[: trials.once],
            "stopped": self.stopped,
            "seconds": round(time.perf_counter() - self.began, 3),
        }

    def _tell(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _count(seeds: Any) -> int:
    try:
        count = int(str(seeds))
    except ValueError:
        count = 0
    if not 2 <= count <= 100:
        raise refusal("--seeds", "a whole number from 2 to 100, for the noise is measured over them", seeds)
    return count


def _seconds(budget: Any) -> float:
    try:
        seconds = float(budget)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise refusal("--budget", "a number of seconds greater than 0", budget)
    return seconds
