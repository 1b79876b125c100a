"""`with danlu.watch(model, optimizer, loss_fn) as doctor:` around any PyTorch loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.contradictions import contradict
from danlu.doctor.diagnose import diagnose
from danlu.doctor.finding import Finding, findings_table, in_lines
from danlu.doctor.hooks import Hooks
from danlu.doctor.instruments import INSTRUMENTS
from danlu.doctor.ledger import Ledger
from danlu.doctor.observation.budget import DEFAULT_FRACTION, Budget, check_fraction
from danlu.doctor.observation.watched_model import WatchedModel
from danlu.doctor.presentation.announcer import Announcer, summary_line, withdrawn
from danlu.doctor.training_events import TrainingEvents
from danlu.message import LANGUAGES, as_html, message, speaking
from danlu.message import language as current_language
from danlu.refuse import one_of, refusal

PUBLIC = (
    "close", "epoch", "findings", "language", "ledger", "loss", "observe", "report", "steps", "validated", "watching",
)  # fmt: skip


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
    loss_fn: nn.Module | Callable | None = None,
    *,
    budget: float = DEFAULT_FRACTION,
    language: str | None = None,
    quiet: bool = False,
    prefix: str = "",
    classes: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Doctor:
    """Watch the training of `model` inside a `with` block, and print each new error and warning.

    The results of the training are bit for bit the same with and without it; all hooks are removed at the end.

    Args:
        model: the module the loop calls.
        optimizer: one, several, or None for the first one that steps.
        loss_fn: loss module or function; None for the first loss that is computed.
        budget: max fraction of the training time used by the doctor in its first 30 s (0.03 is 3 %); afterwards a third
            of it. Infinity measures every step.
        language: "en" or "zh", for findings and report; by default that of DANLU_LANG or the locale.
        quiet: print nothing; `findings` has everything.
        prefix: name of `model` inside a larger module; the names of layers begin with it.
        classes: names of the classes, in the order of the outputs, for findings; without them they have numbers.
        columns: names of the columns of the inputs (N, D), for findings.

    Raises:
        TypeError: `model` is not a module, an optimizer not a torch optimizer, `loss_fn` not a function, or
            `classes` or `columns` are not names.
        Refusal: `budget` or `language` has another value.

    >>> with danlu.watch(model, optimizer, loss_fn) as doctor:  # doctest: +SKIP
    ...     train()
    >>> doctor.findings  # doctest: +SKIP
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, got {type(model).__name__}: danlu.watch(model, optimizer, loss)"
        )
    optimizers: list[Any] = [] if optimizer is None else [optimizer]
    if isinstance(optimizer, Iterable):
        optimizers = list(optimizer)
    for one in optimizers:
        if not isinstance(one, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, several or None, got {type(one).__name__}")
    if loss_fn is not None and not callable(loss_fn):
        raise TypeError(f"loss_fn must be a loss module, a function or None, got {type(loss_fn).__name__}")
    for thing, names in (("classes", classes), ("columns", columns)):
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise TypeError(f"{thing} must be names, such as ['cat', 'dog'], got {names!r}")
    doctor = Doctor(model, optimizers, loss_fn, budget=budget, language=language, quiet=quiet, prefix=prefix)
    for number, name in enumerate(classes):
        doctor.ledger.add("class.name", str(name), str(number))
    if named := [str(name) for name in columns]:
        doctor.ledger.add("input.columns", named)
    return doctor


class Doctor:
    """Context manager returned by `watch`. `findings` may be read at any time, most severe first."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: list[torch.optim.Optimizer],
        loss_fn: Any = None,
        *,
        budget: float = DEFAULT_FRACTION,
        language: str | None = None,
        quiet: bool = True,
        prefix: str = "",
        searches: bool = True,
    ) -> None:
        """searches: see `Hooks`. Other arguments: see `watch`."""
        self.ledger = Ledger()
        language = current_language() if language is None else language
        self.language = one_of("language", language, LANGUAGES, message("doctor.wanted.en_zh", "en or zh"))
        self._watched = WatchedModel(model, loss_fn, self.ledger, Budget(check_fraction(budget)), prefix)
        self._events = TrainingEvents(self._watched, [make() for make in INSTRUMENTS.values()])
        self._watched.optimizers.extend(optimizers)
        self._hooks = Hooks(self._watched, self._events, searches)
        self._watching = self._observed = self._entered = False
        self._model_kind = type(model).__name__
        self._reported: set[str] = set()
        self._found: set[str] = set()  # codes at the last call of `say_new`
        self._announcer = Announcer(lambda: self.findings, language, quiet)
        self._events.after_step = self._announcer.step

    def __enter__(self) -> Doctor:
        watched = self._watched
        if self._entered:
            raise refusal(
                "doctor",
                message("doctor.wanted.entered_once", "entered once"),
                message("doctor.got.second_with", "a second `with`"),
                do=message("doctor.do.make_another_danlu_watch", "make another with danlu.watch(...)"),
            )
        self._entered = True
        watched.write("run.device", watched.device.type, step=0)
        if watched.compiled:
            watched.mark_compiled()
        if watched.distributed:
            watched.mark_unobservable(
                "clipping", "several processes share the work: gradients are seen after their exchange only"
            )
        if not watched.replayable:
            watched.mark_unobservable(
                "replay",
                "no batch can be run again: the model is compiled in place, spread over processes, or called in parts",
            )
        with torch.no_grad():
            for instrument in self._events.calls.instruments:
                instrument.start(watched)
        self._hooks.attach()
        self._watching = True
        return self

    def __exit__(self, *error: object) -> None:
        if isinstance(error[1], IndexError) and "out of bounds" in str(error[1]):
            self._watched.write("target.outside", 1)  # the loss raised before it could be observed
        elif "between 0 and 1" in str(error[1]) and not self._watched.steps_done:  # BCELoss on logits
            self._watched.write("loss.kind", "bce")
            self._watched.write("output.activation", "none")
        announces = self._watching
        self.close()
        if announces:
            self._announcer.finish(self._watched.steps_done)

    def __repr__(self) -> str:
        state = "watching" if self._watching else "done" if self._watched.steps_done else "not started"
        found = ", ".join(f"{one.severity} {one.code}" for one in self.findings) or "nothing found"
        return f"Doctor({self._model_kind}, {state}, {self._watched.steps_done:,} steps: {found})"

    def __str__(self) -> str:
        with speaking(self.language):
            lines = [in_lines(one, self.language) for one in self.findings]
            return "\n".join([summary_line(self.findings, self._watched.steps_done), *lines])

    def _repr_html_(self) -> str:
        with speaking(self.language):
            head = as_html(summary_line(self.findings, self._watched.steps_done))
        return f"<p>{head}</p>" + findings_table(self.findings)

    def __dir__(self) -> list[str]:
        return list(PUBLIC)

    def close(self) -> None:
        """Remove all hooks and read all values left on the device. Called at the end of the `with` block."""
        if not self._watching:
            return
        self._watching = False
        self._hooks.detach()
        try:
            self._events.finish()
        except Exception as error:  # must not hide an exception of the block
            self._watched.mark_unobservable("doctor", f"{type(error).__name__}: {error}".splitlines()[0])
        self._write_totals()
        self._events.release()
        self._hooks.release()
        self._watched.release()

    @property
    def findings(self) -> list[Finding]:
        """Findings so far, most severe and confident first; causes before their consequences."""
        if self._watching:
            self._watched.deferred.drain()
        return diagnose(self.ledger, self.language)

    def say_new(
        self,
        say: Callable[[str], None] = print,
        fix: Callable[[Finding], Finding] | None = None,
        confirm: bool = False,
    ) -> list[Finding]:
        """Report each new error and warning with the code to paste, and the earlier one it contradicts.

        Returns all findings so far.

        Args:
            say: called with the text of each finding.
            fix: replaces the remedy of a finding, for trainers that are configured instead of programmed.
            confirm: report a warning only when two successive calls find it.
        """
        findings = self.findings
        before, self._found = self._found, {finding.code for finding in findings}
        # Of a consequence, only its cause is reported.
        consequences = {code for finding in findings for code in finding.consequences}
        for finding in findings:
            if finding.severity == "warning" and confirm and finding.code not in before:
                continue
            if finding.severity != "note" and finding.code not in self._reported | consequences:
                self._withdraw(say, [code for code in self._reported if contradict(code, finding.code)])
                self._reported.add(finding.code)
                say(in_lines(fix(finding) if fix else finding, self.language))
        return findings

    def say_withdrawn(self, say: Callable[[str], None] = print) -> None:
        """Report which errors and warnings that were reported no longer hold."""
        now = {finding.code for finding in self.findings if finding.severity != "note"}
        self._withdraw(say, sorted(self._reported - now))

    def _withdraw(self, say: Callable[[str], None], codes: Iterable[str]) -> None:
        with speaking(self.language):
            for code in codes:
                self._reported.discard(code)
                say(str(withdrawn(code)))

    def epoch(self, **metrics: float) -> None:
        """Mark the end of an epoch, with the metrics of the loop: doctor.epoch(val_accuracy=0.93).

        Args:
            metrics: Numbers by name, fractions rather than percentages; names with "accuracy" are compared with the
                doctor's own.
        """
        for name, value in metrics.items():
            self._watched.write("user.metric", float(value), name, self._watched.epoch)
        self._events.epoch_ended()
        self._announcer.look()

    def observe(self, loss: Tensor, outputs: Any = None, targets: Any = None) -> None:
        """Report the loss of the last forward pass, for loops whose loss cannot be observed.

        Args:
            loss: Scalar on which backward() is called.
            outputs: Of the model for the batch, (N, ...); the model's own by default.
            targets: As passed to the loss, (N, ...).
        """
        if not self._observed:
            self.expect_observed()
        self._events.loss_computed(loss, outputs, targets, "observe")

    def expect_observed(self, kind: str | None = None, hold_outputs: bool = False, ignored: int | None = None) -> None:
        """Expect each loss by `observe`, and remove the hooks that look for it.

        Args:
            kind: name of the loss in loss/loss_kind.py; None: derived from its graph.
            hold_outputs: keep the outputs of the model until then, for loops that pass only the loss.
            ignored: class label that the loss leaves out.
        """
        self._observed = True
        if ignored is not None:
            self._watched.ignored_label = ignored
        self._events.holds_outputs = hold_outputs
        if kind is not None:
            self._watched.write("loss.kind", kind)
        self._hooks.stop_searching()

    def forward_started(self, *args: Any) -> None:
        """Mark the start of a forward pass without a call of the model. args: the batch."""
        self._events.forward_started(args, {})

    def attached_in_call(self, *args: Any) -> None:
        """Mark the start of the call of the model that runs at this moment; its end is observed. args: the batch."""
        self._events.forward_started(args, {})
        self._hooks.attach_to_running_call()

    def forward_ended(self, outputs: Any) -> None:
        """Mark the end of the pass started by `forward_started`, with its outputs or its loss."""
        self._events.forward_ended(outputs)

    def validated(self, outputs: Tensor, targets: Tensor) -> None:
        """Report outputs and targets of a whole validation set, as passed to the loss.

        Args:
            outputs: (N, ...).
            targets: (N,) or (N, ...).
        """
        self._events.validated(outputs, targets)

    def expect_no_replay(self) -> None:
        """Never rerun a batch: the model cannot be called on the arguments of `forward_started`."""
        self._watched.replayable = False

    @property
    def steps(self) -> int:
        """Steps of the optimizer so far."""
        return self._watched.steps_done

    @property
    def watching(self) -> bool:
        """True if the `with` block is active."""
        return self._watching

    def state(self) -> dict[str, Any]:
        """State between two steps in plain values and tensors, to be saved with a checkpoint of the training."""
        events = self._events.state()  # reads all values left on the device
        ledger, budget = self.ledger.state(), self._watched.budget.state()
        return {"ledger": ledger, "budget": budget, "events": events} | {
            "reported": sorted(self._reported),
            "found": sorted(self._found),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved `state`; called inside the `with` block, before the first step."""
        self.ledger.restore(state["ledger"])
        self._watched.budget.restore(state["budget"])
        self._events.restore(state["events"])
        self._reported, self._found = set(state["reported"]), set(state["found"])

    def loss(self, function: Callable) -> Callable:
        """Wrap a loss function so that it is observed: loss_fn = doctor.loss(loss_fn)."""
        return self._hooks.wrapped(function)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the findings and their charts to an HTML file and return its path."""
        from danlu.doctor.presentation.findings_page import (
            write_page,  # imported on use: the page code is not needed while training
        )

        return write_page(path, self.ledger, self.findings, language=self.language)

    def _write_totals(self) -> None:
        watched, budget = self._watched, self._watched.budget
        watched.write("run.finished", watched.steps_done, step=watched.steps_done)
        watched.write("run.epoch_by", self._events.epochs_by, step=watched.steps_done)
        for name, seconds in budget.spent.items():
            watched.write("time.doctor", seconds, name, watched.steps_done)
        watched.write("time.fraction", budget.total / max(budget.elapsed, 1e-9), step=watched.steps_done)
        if not self.ledger.has("loss.kind") and not self.ledger.has("loss.step") and watched.steps_done:
            watched.mark_unobservable(
                "loss", "no loss was seen: give loss_fn, wrap it by doctor.loss(loss_fn), or call doctor.observe"
            )
        if not self._events.forwards["train"] and not self._events.forwards["val"]:
            watched.mark_unobservable(
                "passes",
                "the model itself was never called, only parts of it (model.part(x), model.forward(x)) or what "
                "torch.compile made of it: watch the one that is called",
            )
