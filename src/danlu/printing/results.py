"""Terminal output of the commands: chosen settings, results, findings and descriptions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from danlu.data.dataset import SPLITS
from danlu.doctor.diagnose import Checked, judged, shown
from danlu.doctor.finding import Finding, in_one_line, indented
from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.printed import finding_line
from danlu.doctor.presentation.terms import severity_term, term
from danlu.message import Message, message, shortened_words, speaking, translated
from danlu.preparation.prepared import Prepared
from danlu.printing.lines import print_and_log, print_line
from danlu.printing.tables import plain_table, print_in_parts
from danlu.printing.uncertainty import uncertainty
from danlu.report.markup import percent
from danlu.run.folder import Run
from danlu.run.names import SPLIT_WORDS, metric_key, split_key
from danlu.run.quantities import is_certain
from danlu.run.summary import Summary

MAX_PROBLEMS = 20  # printed lines about single samples; the log of the run has all of them
MAX_CLASS_ROWS = 200
MAX_CODES = 12  # findings on a line of those that were not judged


def _problem_line(done: str, where: str, reason: str) -> str:
    """Line about one sample or object that was skipped or changed."""
    return translated(
        "printing.problem",
        "{done} {where}: {reason}",
        done=translated(f"problem.{done}", done),
        where=shortened_words(where),
        reason=reason,
    )


def print_choices(console: Console, prepared: Prepared, run: Run) -> None:
    """Print the dataset and a table of the settings chosen from the data, with reasons; also to the run's log."""
    dataset = prepared.dataset
    print_and_log(console, run, data_line(prepared))
    for note in dataset.notes:
        print_and_log(console, run, translated("printing.note", "note: {note}", note=note))
    for i, problem in enumerate(dataset.problems):
        line = _problem_line(problem.done, problem.where, problem.reason)
        if i < MAX_PROBLEMS:
            print_and_log(console, run, line)
        else:
            run.log(line)
    if more := len(dataset.problems[MAX_PROBLEMS:]):
        print_and_log(
            console,
            run,
            translated(
                "printing.more_problems",
                "... and {count} more such lines: `danlu data` prints them all",
                count=f"{more:,}",
            ),
        )
    table = plain_table(
        [
            translated("printing.setting", "setting"),
            translated("printing.chosen", "chosen"),
            translated("printing.reason", "reason"),
        ]
    )
    for choice in prepared.choices:
        value, reason = _short(choice.value), str(choice.reason)
        table.add_row(choice.key, value, reason)
        run.log(f"{choice.key} = {value}  ({reason})")
    if prepared.choices:
        console.print(table)


def data_line(prepared: Prepared) -> str:
    """One line on the data of a training: path, format, classes, shape of the input, samples of each split."""
    dataset, split = prepared.dataset, prepared.split
    sizes = {name: len(getattr(split, name)) for name in SPLITS}
    counts = translated("report.comma", ", ").join(
        translated("printing.count", "{count} {split}", count=f"{size:,}", split=split_key(name))
        for name, size in sizes.items()
        if size
    )
    target = (
        translated("printing.classes", "{count} {count:class|classes}", count=len(dataset.classes))
        if dataset.classes
        else translated("printing.regression", "regression")
    )
    shape = " x ".join(map(str, prepared.signature.input_shape))
    text = "{path}: {format}, {target}, input {shape}, {counts} ({split})"
    facts = {"path": dataset.path, "format": dataset.format, "target": target, "shape": shape}
    return translated("printing.dataset", text, **facts, counts=counts, split=split.how)


def print_result(console: Console, run: Run, summary: Summary) -> None:
    """Print metrics, serious findings and the reason of a stop of a finished training; also to its log.

    A finding that was printed during the training is named by its title alone.
    """
    printed = run.logged
    for split, metrics in summary.metrics.items():
        if metrics:
            print_and_log(console, run, f"{split_key(split):>5}  {figures(metrics, summary.data.classes)}")
    if summary.kept_start:
        text = (
            "every epoch scored lower on the validation set than the logistic regression on pretrained features from "
            "which the training started: that is kept"
        )
        print_and_log(console, run, translated("printing.kept_start", text))
    for line in [*calibration_line(summary), *uncertainty(summary, run.config.data.fold)]:
        print_and_log(console, run, str(line))
    findings, language = summary.findings, run.config.doctor.language
    serious = [one for one in shown(findings)[0] if one["severity"] != "note"]
    for finding in serious:
        known = finding["code"] in printed
        line = finding_line(Finding.from_dict(finding), language) if known else in_one_line(finding, language)
        print_and_log(console, run, line)
    if not serious and run.ledger.exists():
        print_and_log(console, run, checked_line(judged(Ledger.read(run.checked(run.ledger))), len(findings)))
    if summary.stopped:
        print_and_log(console, run, translated("printing.stopped", "stopped: {reason}", reason=summary.stopped))


def print_end(console: Console, run: Run, summary: Summary) -> None:
    """Print the time of a finished training and the path of its report; also to its log."""
    text = "{epochs} {epochs:epoch|epochs} in {seconds:.1f} s, {speed:,.0f} samples/s; report: {report}"
    facts = {"epochs": summary.epochs, "seconds": summary.seconds, "speed": summary.samples_per_second}
    print_and_log(console, run, translated("printing.result", text, **facts, report=run.report))


def figures(metrics: Mapping[str, float], classes: Sequence[str] = ()) -> str:
    """Names and values of the metrics that are defined and not certain for these classes, in one line."""
    shown = {k: v for k, v in metrics.items() if math.isfinite(v) and not is_certain(k, classes)}
    return "  ".join(f"{metric_key(k)} {v:.4f}" for k, v in shown.items())


def calibration_line(summary: Summary) -> list[Message]:
    """Temperature of the confidence, and the calibration error that it leaves on the last split measured."""
    found = summary.calibration
    split = next((name for name in ("test", "val") if found is not None and name in found.after), None)
    if found is None or split is None:
        return []
    text = "confidence scaled by temperature {temperature:.2f}: calibration error {before:.1%} -> {after:.1%} ({split})"
    facts = {"temperature": found.temperature, "before": found.before[split], "after": found.after[split]}
    return [message("printing.calibration", text, **facts, split=split_key(split))]


def nothing_found(metrics: Mapping[str, float]) -> Message | None:
    """Note that no object was found, where a task counts the objects found."""
    if metrics.get("found") != 0:
        return None
    text = "note: no object was found, so errors of rotation, position and depth are undefined"
    return message("printing.no_object_found", text)


def checked_line(checked: Checked, notes: int = 0) -> str:
    """Number of kinds of faults that were checked and codes of those that could not be judged.

    For a run with `notes` notes and no serious finding.
    """
    codes = [one.code for one in checked.not_judged]
    missing = ", ".join(codes[:MAX_CODES]) or translated("printing.none", "none")
    if more := len(codes[MAX_CODES:]):
        missing = translated("printing.more_codes", "{codes} and {more} more", codes=missing, more=more)
    values = {"count": checked.n, "missing": missing}
    if notes:
        text = "The doctor checked {count} kinds of faults and found only notes, see the report; not judged: {missing}."
        return translated("printing.only_notes", text, **values)
    text = "The doctor checked {count} kinds of faults and found none; not judged: {missing}."
    return translated("printing.nothing_found", text, **values)


def print_findings(console: Console, findings: Sequence[Mapping[str, Any]], language: str = "en") -> None:
    """Print findings (as in findings.json), most severe first; consequences and minor ones on one line each."""

    with speaking(language):
        first, folded = shown(findings)
        for one in first:
            text = "{severity}: {title}  [{code}, confidence {percent}]"
            severity, percent = severity_term(one["severity"]), f"{one['confidence']:.0%}"
            heading = term("heading", text, severity=severity, title=one["title"], code=one["code"], percent=percent)
            print_line(console, heading, style="bold")
            place, cause = one.get("place") or one["where"], one["cause"]
            print_line(console, f"  {term('at', 'at {place}: {cause}', place=place, cause=cause) if place else cause}")
            print_line(console, f"  {term('fix_line', 'fix: {fix}', fix=one['remedy'])}")
            for line in indented(one.get("snippet") or ""):
                print_line(console, f"  {line}")
            if one["consequences"]:
                codes = ", ".join(one["consequences"])
                print_line(console, f"  {term('explains_line', 'explains: {codes}', codes=codes)}")
        causes = {code: one["code"] for one in reversed(findings) for code in one["consequences"]}
        for one in folded:
            severity = severity_term(one["severity"])
            text = "{severity}: {title}  [{code}]"
            line = term("folded_line", text, severity=severity, title=one["title"], code=one["code"])
            if one["code"] in causes:
                line = term("follows", "{line} (follows from {code})", line=line, code=causes[one["code"]])
            print_line(console, line)
        if not findings:
            print_line(console, term("nothing_found", "nothing wrong was found"))


def print_examined(console: Console, examined: Mapping[str, Sequence[str]], language: str = "en") -> None:
    """Print what was checked in data before a training, and what was not judged."""
    with speaking(language):
        headings = {"checked": translated("printing.checked", "checked:")}
        headings["not_judged"] = translated("printing.log_not_judged", "not judged:")
    for key, heading in headings.items():
        print_line(console, heading)
        for sentence in examined[key]:
            print_line(console, f"  {sentence}")


def print_log_findings(console: Console, diagnosis: Mapping[str, Any]) -> None:
    """Print where the curves of a log were found, their findings, what was not judged, and the page (a `Diagnosis`)."""
    log, language = diagnosis["log"], diagnosis["language"]
    print_line(console, log["source"])
    print_findings(console, diagnosis["findings"], language)
    with speaking(language):
        print_line(console, translated("printing.log_not_judged", "not judged:"))
        for why, codes in log["not_judged"].items():
            listed = ", ".join(codes)
            if len(codes) > MAX_CODES:
                listed = translated(
                    "printing.more_findings", "{count} {count:finding|findings}, see the page", count=len(codes)
                )
            print_line(console, f"  {why}: {listed}")
        print_line(console, translated("printing.log_page", "page: {page}", page=diagnosis["page"]))


def print_features(console: Console, found: Mapping[str, Any]) -> None:
    """Print the layer, the variance that the two principal components keep, and how pure the neighbours are."""
    text = (
        "features of layer {layer}: {width} numbers of {samples} {samples:sample|samples} of the {split} set; "
        "PCA shows {fraction}"
    )
    fraction = percent(sum(found["explained"]), 1)
    facts = {"layer": found["layer"], "width": found["width"], "samples": found["samples"]}
    split = SPLIT_WORDS[found["part"]]
    print_line(console, message("printing.features", text, split=split, fraction=fraction, **facts))
    if found.get("same_class") is not None:
        text = "{fraction} of the nearest neighbours have the class of their sample"
        print_line(console, message("printing.features_same", text, fraction=percent(found["same_class"], 1)))


def print_landscape(console: Console, found: Mapping[str, Any], language: str = "en") -> None:
    """Print the path of the loss landscape's page and the note on the optimiser's path."""
    with speaking(language):
        for line in (
            translated("printing.landscape", "landscape: {page}", page=found["page"]),
            str(found["path_note"]),
        ):
            print_line(console, line)


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return translated("printing.yes", "yes") if value else translated("printing.no", "no")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_description(console: Console, found: Mapping[str, Any]) -> None:
    """Print the result of `danlu data`."""

    counts = translated("report.comma", ", ").join(
        translated("printing.count", "{count} {split}", count=f"{n:,}", split=split_key(name))
        for name, n in found["counts"].items()
        if n
    )
    text = "{data}: {format}, {task}, {samples:,} {samples:sample|samples}: {counts} ({split})"
    facts = {key: found[key] for key in ("data", "format", "task", "samples", "split")}
    print_line(console, translated("printing.description", text, **facts, counts=counts))
    if "sizes" in found:
        height, width = _range(found["sizes"]["height"]), _range(found["sizes"]["width"])
        text = "height {height}, width {width} px, {channels} channels"
        values = {"height": height, "width": width, "channels": found["channels"]}
        print_line(console, translated("printing.sizes", text, **values))
        mean, std = (" ".join(f"{v:.3g}" for v in found[key]) for key in ("mean", "std"))
        print_line(console, translated("printing.mean_std", "mean {mean}, std {std}", mean=mean, std=std))
    rows = [{"class": name} | per for name, per in found["classes"].items()] or found.get("columns", [])
    if rows:
        headings = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[_short(row.get(key, "")) for key in headings] for row in rows[:MAX_CLASS_ROWS]]
        print_in_parts(console, [translated(f"printing.column.{key}", key) for key in headings], cells)
    if "objects" in found:
        _print_objects(console, found["objects"])
    for name, target in found.get("targets", {}).items():
        statistics = ", ".join(f"{translated(f'printing.column.{k}', k)} {v:.4g}" for k, v in target.items())
        text = "target {name}: {statistics}"
        print_line(console, translated("printing.target", text, name=name, statistics=statistics))
    for note in found["notes"]:
        print_line(console, translated("printing.note", "note: {note}", note=note))
    for problem in found["problems"]:
        print_line(console, _problem_line(problem["done"], problem["where"], problem["reason"]))
    if found["contact_sheet"]:
        print_line(console, translated("printing.sheet", "contact sheet: {file}", file=found["contact_sheet"]))
    print_line(console, found["understood"])


def _print_objects(console: Console, objects: Mapping[str, Any]) -> None:
    """Print counts and sides of the annotated objects."""
    text = (
        "{count:,} {count:object|objects}, {per_image} per image; {ignored:,} ignored; "
        "{without:,} {without:image|images} without"
    )
    values = {
        "count": objects["count"],
        "per_image": _range(objects["per_image"]),
        "ignored": objects["ignored"],
        "without": objects["images_without"],
    }
    if not objects["side"]:
        print_line(console, translated("printing.objects", text, **values))
        return
    text = (
        "{count:,} {count:object|objects}, {per_image} per image, side {side} px; {ignored:,} ignored; "
        "{without:,} {without:image|images} without"
    )
    print_line(console, translated("printing.objects_sides", text, **values, side=_range(objects["side"])))


def _range(values: list[int]) -> str:
    low, middle, high = values
    if low == high:
        return f"{low}"
    return translated("printing.range", "{low} to {high} (median {middle})", low=low, high=high, middle=middle)


def print_inspection(console: Console, found: Mapping[str, Any]) -> None:
    """Print the result of `danlu inspect`: one line per layer, then the totals."""
    columns = ["layer", "kind", "detail", "output", "parameters", "multiply-adds", "activations", "sees", "jump"]
    timed = found.get("time", {}).get("layers", {})
    columns += ["forward ms", "backward ms", "step ms"] if timed else []
    headings = [translated(f"printing.layer.{name.replace(' ', '_').replace('-', '_')}", name) for name in columns]
    rows = []
    for layer in found["layers"]:
        sees, jump = layer["receptive_field"], layer["jump"]
        cells = [
            layer["name"], layer["kind"], layer["detail"], " x ".join(map(str, layer["output"])),
            f"{layer['parameters']:,}", f"{layer['multiply_adds']:,}", _bytes(layer["activation_bytes"]),
            " x ".join(map(str, sees)) if sees else "", f"{jump[0]:g}" if jump else "",
        ]  # fmt: skip
        own = timed.get(layer["name"], {})
        cells += [f"{1e3 * own.get(phase, 0):.3f}" for phase in ("forward", "backward", "step")] if timed else []
        rows.append(cells)
    print_in_parts(console, headings, rows, right=headings[4:])
    memory, capacity = found["memory"], found["vc_dimension"]

    shape = " x ".join(map(str, found["input"]))
    text = "{model} on {shape}: {parameters:,} parameters, {multiply_adds:,} multiply-adds, depth {depth}"
    totals = {key: found[key] for key in ("model", "parameters", "multiply_adds", "depth")}
    print_line(console, translated("printing.inspected", text, **totals, shape=shape))
    text = (
        "training at batch {batch_size} with {optimizer}: {total} = parameters {parameters} + gradients {gradients} + "
        "optimiser state {optimizer_state} + activations kept for backward {activations}"
    )
    names = ("total", "parameters", "gradients", "optimizer_state", "activations")
    sizes = {name: _bytes(memory[name]) for name in names}
    batch = {"batch_size": memory["batch_size"], "optimizer": memory["optimizer"]}
    print_line(console, translated("printing.memory", text, **batch, **sizes))
    if (anchors := found.get("anchors")) is not None:
        total = sum(int(count) for _, _, count in anchors)
        shapes = ", ".join(f"{width:g} x {height:g}" for width, height, _ in anchors)
        text = "anchors: {total:,} of {count} shapes ({shapes})"
        facts = {"total": total, "count": len(anchors), "shapes": shapes}
        none = translated("printing.no_anchors", "no anchors")
        print_line(console, translated("printing.anchors", text, **facts) if anchors else none)
    text, estimate = "VC dimension about {estimate} ({basis})", f"{capacity['estimate']:,.0f}"
    print_line(console, translated("printing.capacity", text, estimate=estimate, basis=capacity["basis"]))
    for sentence in found["dominates"]:
        print_line(console, sentence)
    for one in found.get("effective") or ():
        field = " x ".join(map(str, one["theoretical"]))
        text = "{layer}: the gradient reaches {effective:.0f} pixels of {field}"
        facts = {"layer": one["layer"], "effective": one["effective"], "field": field}
        print_line(console, translated("printing.effective", text, **facts))
    if timed:
        times = found["time"]
        spent = {phase: f"{1e3 * times[phase]:.1f}" for phase in ("forward", "backward", "step")}
        text = "measured at batch {batch_size}: forward {forward} ms, backward {backward} ms, step {step} ms"
        print_line(console, translated("printing.measured", text, batch_size=times["batch_size"], **spent))


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
