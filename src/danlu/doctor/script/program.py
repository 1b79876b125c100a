"""The doctor of a whole program: every training in it, missing parts, and the result files."""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danlu.doctor.finding import SEVERITIES, Finding
from danlu.doctor.judged import judged
from danlu.doctor.presentation.findings_page import TrainingSection, write_sections
from danlu.doctor.presentation.printed import finding_line, finding_lines
from danlu.doctor.presentation.terms import term
from danlu.doctor.script.search import Search
from danlu.doctor.script.training import Training
from danlu.message import Message, printable_line, speaking
from danlu.message import language as current_language

# Findings that take a falling loss as the aim: models that are trained against each other have none.
OF_FALLING_LOSS = (
    "fit.", "optim.plateau", "optim.slow_convergence", "optim.lr_too_low", "optim.lr_too_high", "optim.oscillation",
    "loop.wrong_sign", "data.labels_shuffled", "data.imbalance", "data.label_noise", "optim.batch_too_small",
)  # fmt: skip


def to_standard_error(line: str) -> None:
    """Print a line to standard error, so that the output of the program stays as it is."""
    print(printable_line(line), file=sys.stderr, flush=True)


class ProgramDoctor:
    """Doctor of all trainings of this process, found by themselves; made by `danlu.watch()` without arguments.

    Watches from its construction until `close`, the end of its `with` block, or the end of the program. Findings are
    reported on standard error as they arise and at the end.
    """

    def __init__(
        self,
        *,
        budget: float = 0.03,
        language: str | None = None,
        out: str | os.PathLike[str] | None = None,
        say: Callable[[str], None] = to_standard_error,
    ) -> None:
        """
        Args:
            budget, language: see `danlu.watch`.
            out: folder for doctor.html and findings.json, written at the end; None: no files.
            say: called with each line of the report.
        """
        language = current_language() if language is None else language
        self.language, self.out, self.say = language, Path(out) if out is not None else None, say
        self._search = Search(budget=budget, language=language, look=self.say_new)
        self._reported: set[tuple[str, str]] = set()
        self._pid = os.getpid()
        self._open = True
        self._search.start()
        atexit.register(self.close)

    def __enter__(self) -> ProgramDoctor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def watching(self) -> bool:
        """Return whether the program is being watched."""
        return self._open

    @property
    def trainings(self) -> list[Training]:
        """Trainings in the order in which they were found."""
        return list(self._search.trainings)

    @property
    def findings(self) -> list[Finding]:
        """Findings of all trainings, most severe first."""
        found = [finding for training in self.trainings for finding in self.findings_of(training)]
        return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))

    def findings_of(self, training: Training) -> list[Finding]:
        """Findings of one training, without those that do not apply to models trained against each other."""
        found = training.findings
        if not training.adversarial:
            return found
        return [f for f in found if not f.code.startswith(OF_FALLING_LOSS) or f.evidence.get("fix") == "adversary"]

    @property
    def not_found(self) -> list[str]:
        """Sentences about parts of the program that could not be found."""
        with speaking(self.language):
            return [str(sentence) for sentence in self._not_found()]

    def _not_found(self) -> list[Message]:
        search, lines = self._search, []
        if not search.trainings and not search.backwards:
            lines.append(
                term(
                    "no_training",
                    "No training was found: loss.backward() was not called in this process. Processes that a program "
                    "starts are not watched; start them by danlu watch, as in: torchrun -m danlu watch SCRIPT",
                )
            )
        elif not search.trainings:
            lines.append(
                term(
                    "no_model",
                    "{n} backward passes were seen and no model: no module with the trained parameters was called.",
                    n=search.backwards,
                )
            )
        for kind in sorted(search.unowned):
            text = "An optimizer ({kind}) trains tensors of no module that was called; they were not watched."
            lines.append(term("no_owner", text, kind=kind))
        for training in search.trainings:
            if not training.loader_kind and training.ledger.last("run.epoch_by") == "none":
                text = "{name}: no DataLoader and no validation was found, so all steps count as one epoch."
                lines.append(term("no_loader", text, name=training.name))
            if training.adversarial:
                text = "{name}: it is trained against another model, so findings about a falling loss were not judged."
                lines.append(term("adversarial", text, name=training.name))
        return lines

    def close(self) -> None:
        """Stop watching, remove all hooks, report the findings and write the files."""
        if not self._open or os.getpid() != self._pid:  # a forked process ends
            return
        self._open = False
        atexit.unregister(self.close)
        self._search.stop()
        for line in str(self).splitlines():
            self.say(line)
        if self.out is not None:
            self._write_files(self.out)

    def _write_files(self, folder: Path) -> None:
        page, facts = folder / "doctor.html", folder / "findings.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.report(page)
            facts.write_text(
                json.dumps(self.to_json(), ensure_ascii=False, indent=2) + "\n",
                encoding="utf-8",
                errors="backslashreplace",
            )
        except OSError as error:
            self.say(self._in_language(term("unwritten", "danlu: {error}", error=str(error))))
        else:
            text = "danlu: report in {page}, findings in {facts}"
            self.say(self._in_language(term("written", text, page=str(page), facts=str(facts))))

    def to_json(self) -> dict[str, Any]:
        """JSON form, as in findings.json of `danlu watch`."""
        return {
            "trainings": [
                {
                    "name": one.name,
                    "model": one.kind,
                    "optimizers": one.optimizer_kinds,
                    "data_loader": one.loader_kind or None,
                    "steps": one.ledger.last("run.finished", default=0),
                    "epochs": len(one.ledger.values("run.steps")),
                    "findings": [finding.to_dict() for finding in self.findings_of(one)],
                    "not_judged": judged(one.ledger).reasons(),
                }
                for one in self.trainings
            ],
            "schedulers": sorted(self._search.schedulers),
            "not_found": self.not_found,
        }

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the findings and charts of all trainings to one HTML file and return its path."""
        sections = [
            TrainingSection(one.ledger, self.findings_of(one), f"{one.name} ({one.kind})")
            for one in self._search.trainings
        ]
        return write_sections(path, sections, self.language, self.not_found)

    def say_new(self) -> None:
        """Report each new error and warning on one line."""
        for training in self.trainings:
            if training.doctor is None:
                continue
            findings = self.findings_of(training)
            consequences = {code for finding in findings for code in finding.consequences}
            for finding in findings:
                key = (training.name, finding.code)
                if finding.severity != "note" and finding.code not in consequences and key not in self._reported:
                    self._reported.add(key)
                    step = training.doctor._watched.steps_done
                    text = "danlu: {name}, step {step}: {finding}"
                    line = finding_line(finding, self.language)
                    self.say(self._in_language(term("new_finding", text, name=training.name, step=step, finding=line)))

    def _in_language(self, message: Message) -> str:
        with speaking(self.language):
            return str(message)

    def __str__(self) -> str:
        with speaking(self.language):
            lines = []
            for one in self.trainings:
                steps, epochs = one.ledger.last("run.finished", default=0), len(one.ledger.values("run.steps"))
                text = "danlu watched {name} ({kind}, {optimizers}): steps {steps}, epochs {epochs}"
                optimizers = ", ".join(one.optimizer_kinds) or "-"
                values = {"name": one.name, "kind": one.kind, "optimizers": optimizers, "steps": steps}
                lines.append(str(term("watched_training", text, **values, epochs=epochs)))
                lines += finding_lines(self.findings_of(one), judged(one.ledger))
            lines += [str(term("not_found", "not found: {what}", what=what)) for what in self.not_found]
            return "\n".join(lines)
