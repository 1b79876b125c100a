"""Each verb of the command line: its values to a public function, and what is printed of the answer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from danlu.analysis.describe import describe
from danlu.analysis.diagnose import diagnose
from danlu.analysis.inspect import compare_networks, inspect
from danlu.analysis.landscape import landscape
from danlu.engine.saving import Interrupted
from danlu.healing.heal import heal, own_run
from danlu.inference.evaluate import evaluate
from danlu.inference.predict import predict
from danlu.inference.prediction import Prediction
from danlu.printing.comparison import print_comparison
from danlu.printing.healing import print_healing
from danlu.printing.results import (
    print_description,
    print_findings,
    print_inspection,
    print_landscape,
)
from danlu.printing.tables import plain_table
from danlu.refuse import Refusal, one_of, refusal
from danlu.report.page import write_page
from danlu.run.folder import Run
from danlu.training.train import train

OBJECTS_NAMED = 12  # of an image, in the table; all of them are in --json


def train_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    data = values.pop("data.path", None) or ""
    try:
        run = train(data, console=console, **values)
    except Interrupted as stopped:
        console.print(f"danlu: {stopped}", highlight=False, soft_wrap=True)
        return {"interrupted": str(stopped)}, stopped.code
    return run.summary.public(), 0


def eval_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    result = evaluate(values.pop("run"), values.pop("data"), **_given(values))
    figures = "  ".join(f"{k} {v:.4f}" for k, v in result.metrics[result.part].items())
    console.print(
        f"{result.part} of {result.data}, {result.samples:,} samples: {figures}", highlight=False, soft_wrap=True
    )
    if (result.test_looks or 0) > 1:
        console.print(
            f"note: this was look {result.test_looks} at the test split; what is chosen after it is chosen by it",
            soft_wrap=True,
        )
    return result.to_json(), 0


def predict_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    predictions = predict(values.pop("run"), *values.pop("paths"), **_given(values))
    objects = any(row.objects is not None for row in predictions)
    console.print(_objects_table(predictions) if objects else _answers_table(predictions))
    return {"predictions": [row.to_json() for row in predictions]}, 0


def _answers_table(predictions: list[Prediction]) -> Table:
    table = plain_table(("path", "prediction", "confidence", "also"), whole=("confidence",))
    for row in predictions:
        if row.error is not None:
            table.add_row(row.path, "unreadable", "", row.error)
        elif row.label is not None:
            others = ", ".join(f"{name} {probability:.3f}" for name, probability in (row.top or [])[1:])
            table.add_row(row.path, row.label, f"{row.confidence:.3f}", others)
        else:
            table.add_row(row.path, f"{row.value:.6g}" if row.value is not None else str(row.targets), "", "")
    return table


def _objects_table(predictions: list[Prediction]) -> Table:
    table = plain_table(("path", "objects", "found"), right=("objects",), whole=("objects",))
    for row in predictions:
        if row.objects is None:
            table.add_row(Text(row.path), "", Text(f"unreadable: {row.error}"))
            continue
        more = len(row.objects) - OBJECTS_NAMED
        listed = ", ".join(f"{one.label} {one.score:.2f}" for one in row.objects[:OBJECTS_NAMED])
        table.add_row(Text(row.path), str(len(row.objects)), Text(listed + (f" and {more} more" if more > 0 else "")))
    return table


def data_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    data, out = values.pop("data.path"), values.pop("out")
    # To look at data leaves nothing among the user's own files, unless a place is named.
    folder = None if out else Path(tempfile.mkdtemp(prefix="danlu-"))
    try:
        found = describe(data, out=out or folder / f"{Path(data).stem or 'data'}.png", **values)
    finally:
        with suppress(OSError):
            if folder:
                folder.rmdir()  # where nothing was drawn
    print_description(console, found)
    return found.to_json(), 0


def doctor_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    target, lang = values.pop("target"), values.pop("lang")
    healing, seeds, budget = (values.pop(name) for name in ("heal", "seeds", "budget"))
    drawing, directions = values.pop("landscape"), values.pop("directions")
    for flag, given, verb, used in (
        ("--seeds", seeds, "--heal", healing),
        ("--budget", budget, "--heal", healing),
        ("--directions", directions, "--landscape", drawing),
    ):
        if given is not None and not used:
            raise refusal(flag, f"left out without {verb}", given)
    run = own_run(target) if healing else Run.open(target) if drawing else None
    diagnosis = diagnose(target, lang=lang, **values)
    language, found = diagnosis.language, diagnosis.to_json()
    print_findings(console, diagnosis.findings, language)
    if run is not None and drawing:
        found["landscape"] = landscape(run, lang=language, **_given({"directions": directions}))
        print_landscape(console, found["landscape"], language)
    if run is not None and healing:
        healed = heal(run, console=console, lang=language, **_given({"seeds": seeds, "budget": budget}))
        print_healing(console, healed, language)
        found["healing"] = healed.to_json()
    return found, 0


def inspect_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    model, others = values.pop("model"), values.pop("compare")
    if others:
        names = [*([model] if model else []), *others]
        given = _given(values)
        if strange := sorted(given.keys() - {"input", "classes"}):
            raise refusal(f"--{strange[0].replace('_', '-')}", "left out with --compare", given[strange[0]])
        found = compare_networks(*names, **given)
        print_comparison(console, found)
        return found, 0
    if not model:
        raise refusal("MODEL", "a network, or --compare with several", "nothing")
    found = inspect(model, **{key.removeprefix("model."): value for key, value in _given(values).items()})
    print_inspection(console, found)
    return found, 0


def report_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    run, lang = Run.open(values["run"]), values["lang"]
    if lang is not None:
        one_of("--lang", lang, ("en", "zh"), "en or zh")
    # The doctor says in another language what the run's ledger tells; without one his words stay as they are.
    findings = diagnose(run.folder, lang=lang).findings if lang and run.ledger.exists() else None
    try:
        page = write_page(run.folder, lang, findings)
    except (KeyError, TypeError, AttributeError, IndexError) as error:  # files that hold JSON, but not a run's
        raise Refusal(
            f"RUN {run.name}: its files do not hold what a run writes ({error!r}); were they edited?"
        ) from None
    console.print(str(page), highlight=False, soft_wrap=True)
    return {"report": str(page)}, 0


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}


COMMANDS: dict[str, Callable[[dict[str, Any], Console], tuple[Any, int]]] = {
    "train": train_command,
    "evaluate": eval_command,
    "predict": predict_command,
    "describe": data_command,
    "diagnose": doctor_command,
    "inspect": inspect_command,
    "report": report_command,
}
