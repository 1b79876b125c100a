"""The page of one run: the present contents of its folder, as parts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.cards import cards
from danlu.following.board import Board
from danlu.following.epoch_predictions import SampleImages
from danlu.following.layers import layer_charts
from danlu.following.measurements import measurements_of, stamp
from danlu.following.state import State, state_of
from danlu.following.tail import Tail
from danlu.message import language, speaking, translated
from danlu.refuse import Refusal
from danlu.report import charts
from danlu.report.markup import Figure, clip, duration, escape, is_number, label, metric_value, number
from danlu.report.object_charts import add_loss_parts
from danlu.run.folder import Run
from danlu.run.names import SPLIT_WORDS
from danlu.run.quantities import LOSS_TERMS, METRICS

MAX_METRICS = 5  # charts besides the loss
# (limit, step) in seconds: below the limit the time left is rounded to the step.
LEFT_STEPS = ((60, 5), (600, 15), (float("inf"), 60))


class RunPage:
    """Follows one run. The fast parts are state and curves; the slow ones findings, layers and images.

    language: of the page; None: that of the run.
    """

    def __init__(self, run: Run, language: str | None = None) -> None:
        self.run = run
        self._language = language
        self.samples = SampleImages(run)
        self._tail = Tail(run.folder / "metrics.jsonl")
        self._measured: tuple[Any, ...] | None = None  # stamps of the files that `_slow` has read
        self._weights: tuple[int, int] | None = None  # stamp of the weights that were predicted with
        self._ledger = Ledger()
        self._images: bool | Refusal = True  # whether there are images, or why there are no predictions
        self.board = Board(self._fast, self._slow)

    @property
    def language(self) -> str:
        """Language of the page."""
        return self._language or self.run.config.doctor.language

    def _fast(self) -> Mapping[str, Any]:
        config = self.run.config
        with speaking(self.language):
            new = self._tail.poll()
            rows = self._tail.rows
            state = state_of(self.run, rows)
            parts: dict[str, Any] = {
                "head": head(self.run.name, config.model.name, config.data.path, state, self._latest()),
                "word": state.word,
                "title": f"{state_text(state)} · {clip(self.run.name, 40)}",
                "progress": state.done / state.epochs if state.epochs else None,
                "report": self.run.report.exists() and state.word == "finished",
            }
            if new:
                parts |= curve_parts(rows, state.metric)
            return parts

    def _latest(self) -> dict[str, Any]:
        """The last value of each number that is shown."""
        rows = self._tail.rows
        return dict(self._tail.epochs[-1] if self._tail.epochs else {}) | {"lr": rows[-1].get("lr") if rows else None}

    def _slow(self) -> Mapping[str, Any]:
        run, parts = self.run, dict[str, Any]()
        files = run.state, run.ledger, run.folder / "findings.json"
        now = *(stamp(path) for path in files), run.in_use
        weights = stamp(run.weights("last"))
        with speaking(self.language):
            measured = None
            if now != self._measured:
                measured = measurements_of(run)
                if len(measured.ledger):
                    self._ledger = measured.ledger
                # While a run trains, notes (such as "still falling at the end") judge an end that is not there yet.
                found = [one for one in run.findings if not run.in_use or one.get("severity") != "note"]
                parts["findings"] = cards(found, self._ledger, language()) or None
                drawn = layer_charts(self._ledger)
                parts |= {f"chart:{name}": chart_part(*drawn[name]) for name in drawn}
                self._measured = now
            if weights is not None and weights != self._weights and isinstance(self._images, bool) and self._images:
                self._predict(measured.epoch if measured else None, weights)
            parts["images"] = {"epochs": self.samples.epochs} if self.samples.epochs else None
            if isinstance(self._images, Refusal):
                parts["no_images"] = str(self._images)
        return parts

    def _predict(self, epoch: int | None, weights: tuple[int, int]) -> None:
        """Predict with the new weights of `epoch`; without a checkpoint, of the last epoch of a run that has ended."""
        if epoch is None and not self.run.state.exists() and not self.run.in_use:
            epoch = len(self._tail.epochs)
        if not epoch:
            return
        try:
            self._images = self.samples.predict(epoch)
        except Refusal as refused:
            if stamp(self.run.weights("last")) == weights:  # else they were being replaced
                self._images = refused
        self._weights = weights


def state_text(state: State) -> str:
    """State of a run in a few words."""
    if state.word == "reading":
        return translated("live.reading", "Reading data")
    if state.word == "running":
        return translated("live.running", "Training")
    if state.word == "finished":
        return translated("live.finished", "Finished")
    if state.reason:
        return translated("live.interrupted", "Interrupted")
    return translated("live.killed", "Killed")


def head(name: str, model: str | None, data: str, state: State, last: Mapping[str, Any]) -> str:
    """Title, state and numbers of a run as HTML. last: latest numbers."""
    source = os.path.basename(data.rstrip("/")) or data
    about = [clip(part, 60) for part in (model, source) if part]
    title = translated("live.title", "{model} on {data}", model=about[0], data=about[1]) if len(about) == 2 else name
    lead = ""
    if state.word == "stopped":
        text = "No process writes this run any more, and it has no results: go on with `danlu train --resume {run}`."
        lead = translated("live.stopped", text, run=name)
    elif state.word == "finished" and state.reason:
        lead = translated("live.ended", "Stopped early: {reason}.", reason=state.reason)
    whole = f"{int(state.done)} / {state.epochs}" if state.epochs else f"{int(state.done)}"
    tiles = [(translated("live.epoch", "Epoch"), whole)]
    if state.best is not None:
        name = label(state.metric, within=SPLIT_WORDS["val"])
        best = translated("live.best", "Best {metric}", metric=name)
        tiles.append((best, metric_value(state.metric, state.best)))
    if is_number(last.get("lr")):
        tiles.append((translated("live.lr", "Learning rate"), f"{last['lr']:.3g}"))
    if is_number(last.get("samples_per_second")):
        tiles.append((translated("live.speed", "Samples per second"), number(round(last["samples_per_second"]))))
    if state.left is not None:
        tiles.append((translated("live.left", "Time left, at most"), duration(_rounded(state.left))))
    elif is_number(state.seconds):
        tiles.append((translated("live.time", "Training time"), duration(state.seconds)))
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles)
    return (
        f'<p class="eyebrow">{escape(clip(name, 120))} <span class="state {state.word}">{escape(state_text(state))}'
        f'</span></p><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p><dl class="tiles">{cells}</dl>'
    )


def _rounded(seconds: float) -> float:
    """A time left that does not change twice a second."""
    step = next(step for limit, step in LEFT_STEPS if seconds < limit)
    return -(-seconds // step) * step


def curve_parts(rows: list[dict[str, Any]], monitor: str) -> dict[str, Any]:
    """Charts of the loss, the metrics, the learning rate and the speed."""
    recorded = {key.partition(".")[2] for row in rows for key in row if key.startswith(("train.", "val."))}
    terms = [name for name in LOSS_TERMS if name in recorded]
    order = list(METRICS)
    names = sorted(recorded & set(METRICS) - {"loss", *LOSS_TERMS}, key=lambda n: (n != monitor, order.index(n)))
    names += sorted(recorded - set(METRICS))  # of the user
    losses = charts.curves(rows, "loss")
    drawn = {"loss": (label("loss"), add_loss_parts(losses, rows, terms) if losses else None)}
    for name in names[:MAX_METRICS]:
        drawn[name] = (label(name), charts.curves(rows, name))
    drawn["lr"] = (translated("live.lr", "Learning rate"), charts.learning_rate(rows))
    drawn["speed"] = (translated("live.speed", "Samples per second"), charts.speed(rows))
    return {f"chart:{name}": chart_part(title, figure) for name, (title, figure) in drawn.items()}


def chart_part(title: str, figure: Figure | None) -> dict[str, Any] | None:
    """A chart as the page takes it."""
    return None if figure is None else {"title": str(title), "figure": figure}
