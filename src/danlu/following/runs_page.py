"""The page of several runs: a table of them, and their curves over each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from danlu.following.board import Board
from danlu.following.run_page import chart_part, state_text
from danlu.following.state import State, state_of
from danlu.following.tail import Tail
from danlu.history.compare import COLOURS, overlay
from danlu.message import speaking, translated
from danlu.report.markup import clip, duration, escape, is_number, is_percentage, label, metric_value, words
from danlu.run.folder import Run
from danlu.run.names import SPLIT_TITLES
from danlu.run.quantities import METRICS

MAX_RUNS = 24  # the newest ones
MAX_DRAWN = COLOURS
MAX_CHARTS = 6


def runs_in(folder: Path) -> dict[str, Run]:
    """Runs of a folder by the name of their own folder, newest first; the folds of a cross-validation are runs."""
    found = {path.parent.name: Run(path.parent) for path in folder.glob("*/config.yaml")}
    newest = sorted(found, key=lambda name: _changed(found[name]), reverse=True)
    return {name: found[name] for name in newest[:MAX_RUNS]}


def has_folds(folder: Path) -> bool:
    """Return whether a run is a cross-validation, whose folds are runs of their own inside it."""
    return (folder / "fold-0" / "config.yaml").exists()


class RunsPage:
    """Follows the runs of a folder; new ones appear. language: of the page."""

    def __init__(self, folder: Path, language: str) -> None:
        self.folder, self.language = folder, language
        self._tails: dict[str, Tail] = {}
        self.board = Board(self._poll)

    def _poll(self) -> Mapping[str, Any]:
        runs = runs_in(self.folder)
        known = dict(self._followed(runs))
        with speaking(self.language):
            title = translated("live.runs", "{count} {count:run|runs}", count=len(runs))
            drawn = list(known.items())[:MAX_DRAWN]
            head = f'<p class="eyebrow">{escape(clip(str(self.folder), 120))}</p><h1>{escape(title)}</h1>'
            if not runs:
                waiting = translated("live.waiting", "Runs appear here as soon as a training starts.")
                head += f'<p class="lead">{escape(waiting)}</p>'
            parts: dict[str, Any] = {"head": head, "title": f"{title} · {clip(str(self.folder), 40)}"}
            parts["runs"] = _table(known, {name: place for place, (name, _) in enumerate(drawn)}) or None
            return parts | self._charts(drawn)

    def _followed(self, runs: Mapping[str, Run]) -> Iterator[tuple[str, tuple[Run, State, list[dict[str, Any]]]]]:
        for name, run in runs.items():
            tail = self._tails.setdefault(name, Tail(run.folder / "metrics.jsonl"))
            tail.poll()
            yield name, (run, state_of(run, tail.rows), tail.epochs)

    def _charts(self, drawn: list[tuple[str, tuple[Run, State, list[dict[str, Any]]]]]) -> dict[str, Any]:
        """Validation metrics and the learning rate, a line for each run; those by which runs are chosen first."""
        names, records = [name for name, _ in drawn], [epochs for _, (_, _, epochs) in drawn]
        recorded = {key for rows in records for row in rows for key in row}
        monitored = {state.metric for _, (_, state, _) in drawn}
        metrics = [name for name in METRICS if f"val.{name}" in recorded]
        metrics.sort(key=lambda name: (name not in monitored, name != "loss"))
        keys = {f"val.{name}": label(name, within=SPLIT_TITLES["val"]) for name in metrics[: MAX_CHARTS - 2]}
        if "train.loss" in recorded:
            keys["train.loss"] = label("loss", within=SPLIT_TITLES["train"])
        if "lr" in recorded:
            keys["lr"] = translated("live.lr", "Learning rate")
        found = {}
        for key, title in keys.items():
            figure = overlay(key, names, records, is_percentage(key.partition(".")[2]))
            found[f"chart:{key}"] = chart_part(title, figure)
        return found


def _table(known: Mapping[str, tuple[Run, State, list[dict[str, Any]]]], colours: Mapping[str, int]) -> str:
    """Runs as an HTML table, each a link to its own page."""
    rows = ""
    for name, (run, state, _) in known.items():
        config = run.config
        mark = f'<i class="mark" style="background:var(--series-{colours[name]})"></i>' if name in colours else ""
        whole = f"{int(state.done)} / {state.epochs}" if state.epochs else f"{int(state.done)}"
        best = f"{metric_value(state.metric, state.best)}" if state.best is not None else "–"
        cells = [
            f'<td>{mark}<a href="?run={quote(name)}">{escape(clip(name, 40))}</a></td>',
            f'<td><span class="state {state.word}">{escape(state_text(state))}</span></td>',
            f"<td>{escape(clip(words(config.model.name), 30))}</td>",
            f'<td class="number">{whole}</td>',
            f'<td class="number">{escape(label(state.metric))} {escape(best)}</td>',
            f'<td class="number">{escape(duration(state.seconds) if is_number(state.seconds) else "–")}</td>',
        ]
        rows += f"<tr>{''.join(cells)}</tr>"
    heads = (
        translated("live.run", "Run"),
        translated("live.state", "State"),
        translated("live.model", "Network"),
        translated("live.epoch", "Epoch"),
        translated("live.best_value", "Best on validation"),
        translated("live.time", "Training time"),
    )
    titles = "".join(f"<th{' class=number' if i > 2 else ''}>{escape(one)}</th>" for i, one in enumerate(heads))
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""


def _changed(run: Run) -> float:
    """Time of the last change of a run's record, or of its start."""
    for name in ("metrics.jsonl", "config.yaml"):
        try:
            return (run.folder / name).stat().st_mtime
        except OSError:
            continue
    return 0.0
