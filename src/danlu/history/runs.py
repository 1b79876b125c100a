"""`danlu runs`: a table of all runs below a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from danlu.config import SHORT_FLAGS, get, keys
from danlu.message import message
from danlu.python_calls import python_names
from danlu.refuse import Refusal, one_of, refusal, whole_number
from danlu.run.folder import Run
from danlu.run.result import Result
from danlu.task_spec import TASKS

CONDITION = re.compile(r"([\w.]+)\s*(<=|>=|=|<|>)\s*(.+)")


@dataclass(frozen=True, eq=False, repr=False)
class RunRow(Result):
    """One run."""

    run: str  # folder
    state: str  # finished, running, stopped (killed or interrupted), or damaged (`danlu report RUN` says why)
    task: str = ""
    model: str = ""
    data: str = ""
    epochs: int = 0  # trained
    metric: str = ""  # validation metric by which the best epoch is chosen
    val: float | None = None  # best value of that metric
    test: float | None = None  # the same metric on the test set
    seconds: float = 0.0
    findings: int = 0  # errors and warnings of the doctor
    tags: tuple[str, ...] = ()
    best: bool = False  # of at least two runs with the same data, task and metric, on the validation set


@dataclass(frozen=True, eq=False, repr=False)
class RunsTable(Result):
    """All runs below a folder, and the folder of the best one where they share data, task and metric."""

    folder: str
    runs: list[RunRow] = field(default_factory=list)
    best: str | None = None


COLUMNS = tuple(one.name for one in fields(RunRow))


@python_names()
def runs(
    folder: str | Path = "runs", *, sort: str | None = None, where: str | None = None, limit: int | str | None = None
) -> RunsTable:
    """List the runs below a folder.

    Args:
        folder: Searched recursively; runs inside other runs are skipped.
        sort: A column, or -column for the largest first; by default sorted by name.
        where: Conditions on columns and settings, such as "model=lenet,lr<0.01"; a setting with several values, such as
            tags, equals each of them.
        limit: Max number of rows.

    Returns:
        The table, one row per run.

    Raises:
        Refusal: A folder that does not exist, or an unknown column or setting.
    """
    root = Path(folder)
    if not root.is_dir():
        raise refusal("FOLDER", message("history.wanted.folder_runs", "a folder of runs"), str(folder))
    conditions = [_condition(one) for one in where.split(",")] if where else []
    found: list[RunRow] = []
    damaged: list[RunRow] = []
    for run in _runs_below(root):
        try:
            row = describe_run(run)
        except Refusal:  # of one run, which hides no other
            damaged += [] if conditions else [RunRow(run.name, "damaged")]
            continue
        if all(_holds(condition, row, run) for condition in conditions):
            found.append(row)
    groups = _groups(found)
    best = {run for group in groups if (run := _best(group)) is not None}
    found = [*(replace(row, best=row.run in best) for row in found), *damaged]
    if sort:
        column = one_of(
            "--sort",
            sort.removeprefix("-"),
            COLUMNS,
            message("history.wanted.column", "one of {columns}, or -COLUMN", columns=COLUMNS),
        )
        known = [row for row in found if row.get(column) is not None]
        known.sort(key=lambda row: row[column], reverse=sort.startswith("-"))
        found = known + [row for row in found if row.get(column) is None]
    count = len(found) if limit is None else whole_number("--limit", limit, 1)
    return RunsTable(str(root), found[:count], _best(groups[0]) if len(groups) == 1 else None)


def describe_run(run: Run) -> RunRow:
    """The row of a run, finished or not."""
    config, summary, epochs = run.config, run.summary, run.record.of("epoch")
    task = config.task or summary.task or ""
    metric = summary.monitor or (TASKS[task].monitor if task in TASKS else "loss")
    high = task not in TASKS or TASKS[task].better == "high"
    values = [row[f"val.{metric}"] for row in epochs if row.get(f"val.{metric}") is not None]
    val = summary.metrics.val.get(metric) if summary else (max(values) if high else min(values)) if values else None
    state = "running" if run.in_use else "finished" if summary and not _cut_short(summary.stopped) else "stopped"
    return RunRow(
        run=run.name,
        state=state,
        task=task,
        model=summary.model or config.model.name or "",
        data=config.data.path,
        epochs=summary.epochs or len(epochs),
        metric=metric,
        val=val,
        test=summary.metrics.test.get(metric),
        seconds=round(summary.seconds or (epochs[-1]["seconds"] if epochs else 0.0), 3),
        findings=sum(one.get("severity") != "note" for one in run.findings),
        tags=config.tags or (),
    )


def _cut_short(stopped: str | None) -> bool:
    return (stopped or "").startswith("interrupted")


def _runs_below(root: Path, above: tuple[str, ...] = ()) -> Iterator[Run]:
    """Runs in `root` and in its folders, by name; numbers in their order. above: real paths of the outer folders."""
    if (root / "config.yaml").is_file():
        yield Run(root)
        return
    around, inner = (*above, os.path.realpath(root)), []
    for name in os.listdir(root):
        folder = root / name
        if not name.startswith(".") and os.path.isdir(folder) and os.path.realpath(folder) not in around:
            inner.append(folder)
    for folder in sorted(inner, key=lambda one: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", one.name)]):
        with suppress(PermissionError):
            yield from _runs_below(folder, around)


def _groups(rows: Sequence[RunRow]) -> list[list[RunRow]]:
    """Runs with the same data, task and metric."""
    found: dict[tuple[str, str, str], list[RunRow]] = {}
    for row in rows:
        found.setdefault((row.data, row.task, row.metric), []).append(row)
    return list(found.values())


def _best(group: Sequence[RunRow]) -> str | None:
    """Folder of the run with the best validation value of a group of two or more."""
    known = [row for row in group if row.val is not None]
    if len(group) < 2 or not known:
        return None
    high = known[0].task not in TASKS or TASKS[known[0].task].better == "high"
    return (max if high else min)(known, key=lambda row: row.val or 0.0).run


def _condition(text: str) -> tuple[str, str, str]:
    """(column or key, comparison, value)."""
    match = CONDITION.fullmatch(text.strip())
    if not match:
        raise refusal(
            "--where",
            message("history.wanted.conditions_such_model_lenet", "conditions such as model=lenet,lr<0.01"),
            text,
        )
    name, sign, value = match.groups()
    key = SHORT_FLAGS.get(name, name)
    if name not in COLUMNS and key not in keys():
        raise refusal(
            "--where",
            message("history.wanted.conditions_columns_settings", "conditions on columns or settings"),
            name,
            near=[*COLUMNS, *SHORT_FLAGS, *keys()],
        )
    return (name if name in COLUMNS else key), sign, value


def _holds(condition: tuple[str, str, str], row: Mapping[str, Any], run: Run) -> bool:
    name, sign, wanted = condition
    value = row.get(name) if name in COLUMNS else get(run.config, name)
    if isinstance(value, tuple):
        return sign == "=" and wanted in (*map(str, value), ",".join(map(str, value)))
    if value is None:
        return False
    try:
        number, bound = float(value), float(wanted)
    except (TypeError, ValueError):
        if sign != "=":
            raise Refusal(
                message(
                    "history.refuse.where_number_use_value",
                    "--where {name}{sign}{wanted}: {name} is not a number; use {name}=VALUE",
                    name=name,
                    sign=sign,
                    wanted=wanted,
                ),
                "--where",
            ) from None
        return str(value) == wanted
    return {
        "=": number == bound,
        "<": number < bound,
        ">": number > bound,
        "<=": number <= bound,
        ">=": number >= bound,
    }[sign]
