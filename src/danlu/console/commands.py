"""Commands: call the public function of a verb with the values of the command line, and print its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from danlu.analysis.contact_sheet import default_place
from danlu.analysis.describe import describe
from danlu.analysis.diagnose import diagnose, write_log_page
from danlu.analysis.features import features
from danlu.analysis.inspect import compare_networks, inspect
from danlu.analysis.landscape import DIRECTIONS, landscape
from danlu.console.mistakes import print_mistakes
from danlu.console.predictions import print_predictions
from danlu.console.quick_commands import QUICK_COMMANDS
from danlu.console.trust import trust_notes
from danlu.conversion.convert import convert
from danlu.data.format_table import readable_formats
from danlu.deployment.export import export
from danlu.deployment.share import share
from danlu.detection.detector_table import DETECTORS
from danlu.engine.saving import Interrupted
from danlu.following.live import live
from danlu.healing.heal import check_settings, heal, own_run
from danlu.history.compare import compare
from danlu.history.printed import print_runs_comparison
from danlu.inference.evaluate import evaluate
from danlu.inference.predict import predict
from danlu.inference.prediction_csv import check_csv, write_csv
from danlu.message import message, translated
from danlu.models.network_table import MODELS
from danlu.own.collect import collect
from danlu.own.files import data_reference, is_reference
from danlu.printing.comparison import print_comparison
from danlu.printing.export import print_export, print_share
from danlu.printing.healing import print_healing
from danlu.printing.lines import print_line
from danlu.printing.results import (
    figures,
    nothing_found,
    print_description,
    print_examined,
    print_features,
    print_findings,
    print_inspection,
    print_landscape,
    print_log_findings,
)
from danlu.printing.tables import plain_table
from danlu.refuse import NOTHING, Refusal, one_of, refusal
from danlu.rendering.render import render
from danlu.report.run_report import write_page
from danlu.run.folder import Run
from danlu.run.names import EVALUATION_PAGE, split_key
from danlu.run.summary import Summary
from danlu.segmentation.segmenter_table import SEGMENTERS
from danlu.serving.serve import serve
from danlu.training.pretrain import pretrain
from danlu.training.train import train
from danlu.tuning.printed import print_tuning
from danlu.tuning.tune import tune
from danlu.user_objects import UserObjects, using

OWN_OF_RUN = ("model.name", "data.transform", "loss.name", "metrics")  # settings that a run cannot save


def train_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    data = values.pop("data.path", None) or ""
    try:
        run = train(data_reference("DATA", data), console=console, **values)
    except Interrupted as stopped:
        print_line(console, f"danlu: {stopped}")
        return {"interrupted": str(stopped)}, stopped.code
    return run.summary.public(), 0


def pretrain_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    data = values.pop("data.path", None) or ""
    try:
        run = pretrain(data, console=console, **values)
    except Interrupted as stopped:
        print_line(console, f"danlu: {stopped}")
        return {"interrupted": str(stopped)}, stopped.code
    print_line(console, translated("console.after_pretrain", "next: danlu train DATA --init {run}", run=run.folder))
    return run.summary.public(), 0


def tune_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    data = values.pop("data.path", None) or ""
    try:
        found = tune(data_reference("DATA", data), console=console, **_given(values))
    except Interrupted as stopped:
        console.print(f"danlu: {stopped}", highlight=False, soft_wrap=True)
        return {"interrupted": str(stopped)}, stopped.code
    print_tuning(console, found)
    return found.to_json(), 0


def evaluate_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    run = values.pop("run")
    if values.get("out") is None and (Path(run) / "config.yaml").is_file():
        values["out"] = str(Path(run) / EVALUATION_PAGE)
    result = evaluate(run, data_reference("DATA", values.pop("data")), **_given(values))
    metrics = result.metrics[result.part]
    text = "{part} of {data}, {samples:,} {samples:sample|samples}: {figures}"
    facts = {"part": split_key(result.part), "data": result.data, "samples": result.samples}
    print_line(console, translated("console.evaluated", text, **facts, figures=figures(metrics, result.classes or ())))
    if (note := nothing_found(metrics)) is not None:
        print_line(console, str(note))
    if result.trained_on:
        text = "note: {run} was trained on most of these samples, so that the figures are too good"
        print_line(console, translated("console.trained_on", text, run=run))
    if (result.test_looks or 0) > 1:
        text = "note: evaluation {count} on the test set; choices made since the first may depend on it"
        print_line(console, translated("console.test_looks", text, count=result.test_looks))
    print_mistakes(console, result)
    if result.page:
        print_line(console, translated("console.page", "page: {page}", page=result.page))
    return result.to_json(), 0


def predict_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    file, out = values.pop("csv"), values.get("out")
    if file is not None:
        check_csv(file)
    run = values.pop("run")
    predictions = predict(run, *values.pop("paths"), **_given(values))
    print_predictions(console, predictions)
    for note in trust_notes(predictions, _summary(run)):
        print_line(console, str(note))
    if out:
        print_line(console, translated("console.marked_images", "images with their predictions: {folder}", folder=out))
    if file is not None:
        print_line(console, translated("console.table", "table: {file}", file=write_csv(predictions, file)))
    return {"predictions": [row.to_json() for row in predictions]}, 0


def _summary(run: str) -> Summary | None:
    """Summary of a run folder; None for a file of `danlu share` and for a run without one."""
    return Run(Path(run)).summary if (Path(run) / "summary.json").is_file() else None


def describe_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    data, out = values.pop("data.path"), values.pop("out")
    found = describe(data, out=out or default_place(data), **values)
    print_description(console, found)
    return found.to_json(), 0


def convert_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    done = convert(values.pop("data.path"), console=console, **values)
    print_line(console, done.sentence())
    for note in done.notes or []:
        print_line(console, translated("printing.note", "note: {note}", note=note))
    return done.to_json(), 0


def render_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    done = render(values.pop("data"), console=console, **_given(values))
    print_line(console, done.sentence())
    text = "next: danlu train {folder} --task pose"
    print_line(console, translated("console.after_render", text, folder=done.folder))
    return done.to_json(), 0


def export_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    done = export(values.pop("run"), **_given(values))
    print_export(console, done)
    return done.to_json(), 0


def share_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    done = share(values.pop("run"), **_given(values))
    print_share(console, done)
    return done.to_json(), 0


def serve_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    run = values.pop("run")
    serve(run, console=console, **_given(values))
    return {"run": run}, 0


def formats_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    named = {name.replace(" ", "-"): form.description for name, form in readable_formats().items()}
    _print_names(console, translated("console.column.format", "format"), named, "format")
    return {"formats": named}, 0


def networks_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    networks = {name: spec.description for name, spec in MODELS.items()}
    detectors = {name: spec.description for name, spec in DETECTORS.items()}
    segmenters = {name: spec.description for name, spec in SEGMENTERS.items()}
    _print_names(console, translated("console.column.network", "network"), networks, "network")
    _print_names(console, translated("console.column.detector", "detector"), detectors, "detector")
    _print_names(console, translated("console.column.segmenter", "semantic segmentation"), segmenters, "segmenter")
    print_line(console, translated("console.other_networks", "also timm/NAME and torchvision/NAME"))
    return {"networks": networks, "detectors": detectors, "segmenters": segmenters}, 0


def _print_names(console: Console, what: str, named: dict[str, str], kind: str) -> None:
    """Print names and descriptions. kind: of the entries, in the ids of the translated descriptions."""
    table = plain_table((what, translated("console.column.description", "description")), whole=(what,))
    for name, description in named.items():
        table.add_row(name, translated(f"{kind}.{name}", description))
    console.print(table)


def diagnose_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    own = UserObjects()
    if values["heal"] or values["landscape"]:  # a run has its settings, but not the objects that it cannot save
        given = [key for key in OWN_OF_RUN if is_reference(values.get(key))]
        _, own = collect({key: values.pop(key) for key in given})
    with using(own):
        return _diagnose(values, console)


def _diagnose(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    target, lang = values.pop("target"), values.pop("lang")
    healing, seeds, budget = (values.pop(name) for name in ("heal", "seeds", "budget"))
    drawing, directions, out = values.pop("landscape"), values.pop("directions"), values.pop("out")
    for flag, given, verb, used in (
        ("--seeds", seeds, "--heal", healing),
        ("--budget", budget, "--heal", healing),
        ("--directions", directions, "--landscape", drawing),
    ):
        if given is not None and not used:
            raise refusal(flag, message("console.wanted.omitted_without", "omitted without {verb}", verb=verb), given)
    if healing:
        check_settings(**_given({"seeds": seeds, "budget": budget}))
    if directions is not None:
        one_of(
            "--directions",
            directions,
            DIRECTIONS,
            message("console.wanted.random_eigenvectors", "random or eigenvectors"),
        )
    run = own_run(target) if healing else Run.open(target) if drawing else None
    diagnosis = diagnose(target, lang=lang, **values)
    language = diagnosis.language
    if out is not None and diagnosis.log is None:
        raise refusal(
            "--out",
            message("console.wanted.omitted_except_log_another", "omitted, except for the log of another tool"),
            out,
        )
    if diagnosis.log is not None:
        out = out or f"doctor_{Path(target).resolve().stem}.html"
        diagnosis = replace(diagnosis, page=str(write_log_page(diagnosis, Path(out))))
        print_log_findings(console, diagnosis)
    else:
        print_findings(console, diagnosis.findings, language)
        if diagnosis.examined is not None:
            print_examined(console, diagnosis.examined, language)
    found = diagnosis.to_json()
    if run is not None and drawing:
        drawn = landscape(run, lang=language, **_given({"directions": directions}))
        print_landscape(console, drawn, language)
        found["landscape"] = drawn.to_json()
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
        if unused := sorted(given.keys() - {"input", "classes"}):
            raise refusal(
                f"--{unused[0].replace('_', '-')}",
                message("console.wanted.omitted_compare", "omitted with --compare"),
                given[unused[0]],
            )
        found = compare_networks(*names, **given)
        print_comparison(console, found)
        return found.to_json(), 0
    if not model:
        raise refusal(
            "MODEL",
            message("console.wanted.network_compare_several", "a network, or --compare with several"),
            NOTHING,
        )
    found = inspect(
        model, **{key.removeprefix("model.").removeprefix("detect."): value for key, value in _given(values).items()}
    )
    print_inspection(console, found)
    return found.to_json(), 0


def live_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    folder = values.pop("folder")
    live(folder, console=console, **_given(values))
    return {"run": folder}, 0


def compare_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    if values["lang"] is not None:
        one_of("--lang", values["lang"], ("en", "zh"), message("console.wanted.en_zh", "en or zh"))
    found = compare(*values.pop("runs"), **_given(values))
    print_runs_comparison(console, found)
    return found.to_json(), 0


def report_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    run, lang = Run.open(values.pop("run")), values.pop("lang")
    if lang is not None:
        one_of("--lang", lang, ("en", "zh"), message("console.wanted.en_zh", "en or zh"))
    wanted, given = values.pop("features"), _given(values)
    if given and not wanted:
        name, value = next(iter(given.items()))
        omitted = message("console.wanted.omitted_without", "omitted without {verb}", verb="--features")
        raise refusal(f"--{name}", omitted, value)
    found = features(run, **given) if wanted else None
    # Findings in another language are diagnosed again from the ledger; without a ledger they stay as they are.
    findings = diagnose(run.folder, lang=lang).findings if lang and run.ledger.exists() else None
    try:
        page = write_page(run.folder, lang, findings)
    except (KeyError, TypeError, AttributeError, IndexError) as error:  # valid JSON with other contents
        raise Refusal(
            message(
                "console.refuse.run_files_do_contents",
                "RUN {name}: its files do not have the contents of a run ({error!r}); were they modified?",
                name=run.name,
                error=str(error),
            )
        ) from None
    if found is not None:
        print_features(console, found)
    print_line(console, str(page))
    return {"report": str(page)} | ({"features": found.to_json()} if found is not None else {}), 0


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The values that are not None, so that the functions keep their own defaults."""
    return {k: v for k, v in values.items() if v is not None}


COMMANDS: dict[str, Callable[[dict[str, Any], Console], tuple[Any, int]]] = {
    "train": train_command,
    "pretrain": pretrain_command,
    "tune": tune_command,
    "evaluate": evaluate_command,
    "predict": predict_command,
    "describe": describe_command,
    "convert": convert_command,
    "render": render_command,
    "export": export_command,
    "share": share_command,
    "serve": serve_command,
    "diagnose": diagnose_command,
    "inspect": inspect_command,
    "formats": formats_command,
    "networks": networks_command,
    "report": report_command,
    "compare": compare_command,
    "live": live_command,
} | QUICK_COMMANDS
