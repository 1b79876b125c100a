"""`danlu convert`: write a data set that danlu reads in the format of others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from danlu.config import DataConfig, new_config, with_values
from danlu.conversion.converted_images import ConvertedImage, samples_of, write_image
from danlu.conversion.writers import TARGETS, Target
from danlu.data.dataset import UNASSIGNED, Dataset
from danlu.data.formats import open_dataset
from danlu.data.sources.labelled_images.outlines import IGNORED
from danlu.message import message, translated
from danlu.progress.lines import StageLines
from danlu.progress.stages import showing, stage
from danlu.python_calls import python_names
from danlu.refuse import Refusal, either, one_of, refusal
from danlu.run.names import split_key
from danlu.run.new_folder import filled, new_folder
from danlu.run.result import Result
from danlu.task_spec import TASKS, TaskName, object_task

NO_SPLIT = "all"


@dataclass(frozen=True, eq=False, repr=False)
class Conversion(Result):
    """Result of `danlu.convert`."""

    folder: str
    format: str
    images: int
    classes: list[str]
    counts: dict[str, int]  # split -> images; NO_SPLIT where the set has none
    objects: int | None = None  # for sets of objects
    notes: list[str] | None = None  # changes and omissions in the new set

    def __repr__(self) -> str:
        return f"Conversion({self.sentence()})"

    __str__ = __repr__

    def sentence(self) -> str:
        """One line for the terminal."""
        named = {name: count for name, count in self.counts.items() if name != NO_SPLIT}
        facts = {"images": self.images, "format": self.format, "folder": self.folder}
        words = [translated("convert.images", "{images:,} {images:image|images} as {format} in {folder}", **facts)]
        words += [
            translated("convert.split", "{split} {count:,}", split=split_key(n), count=c) for n, c in named.items()
        ]
        if self.objects is not None:
            words.append(translated("convert.objects", "{objects:,} {objects:object|objects}", objects=self.objects))
        words.append(translated("convert.classes", "classes: {classes:,}", classes=len(self.classes)))
        return ", ".join(words)


@python_names()
def convert(
    data: str | Path,
    *,
    to: str,
    out: str | Path | None = None,
    link: bool = False,
    task: TaskName | None = None,
    console: Console | None = None,
    **settings: object,
) -> Conversion:
    """Write `data` in another format; class names and given splits are kept, images are copied.

    Args:
        data: A file, a folder, or the name of a known dataset.
        to: coco, yolo, voc or folder.
        out: The new folder, by default DATA-FORMAT in the current one.
        link: Make hard links to the images instead of copies.
        task: "detect" converts only the boxes of data with masks.
        console: Where progress is shown; silent by default.
        settings: Of the section `data`, by short or dotted name.

    Returns:
        The folder, with counts of what was written and notes on what the format does not hold.

    Raises:
        Refusal: The format cannot hold the data, or `out` exists with content.
    """
    target = TARGETS[one_of("--to", to, TARGETS, either([*TARGETS]))]
    values = {k if "." in k else f"data.{k}": v for k, v in settings.items()}
    config = with_values(new_config(), {"data.path": str(data), "task": task} | values)
    folder = new_folder(out, Path(f"{Path(data).expanduser().resolve().stem}-{to}"))
    dataset = _opened(config.data, config.task)
    _check_target(dataset, to, target)
    samples = samples_of(dataset)
    notes = _lost(dataset, samples, to, target)
    with filled(folder, "; without --link images are copied" if link else "") as part:
        target.write(part, samples, dataset.classes, lambda sample: target.place(sample, dataset.classes))
        text = translated("stage.writing_images", "writing images")
        with showing(StageLines(console)) if console else nullcontext(), stage(text, len(samples)) as writing:
            for sample in writing.each(samples):
                write_image(sample.source, part / target.place(sample, dataset.classes), link)
    return _described(folder, to, dataset, samples, notes)


def _opened(config: DataConfig, task: TaskName | None) -> Dataset:
    """The data set, with masks where it has any and the user did not ask for a task."""
    if task is None:
        with suppress(Refusal):  # it has boxes only, or something else is wrong, which the other way names
            return open_dataset(config, object_task(masks=True), classes_known=True)
    return open_dataset(config, task, classes_known=True)


def _check_target(dataset: Dataset, to: str, target: Target) -> None:
    """Refuse a format that cannot hold the data, in one sentence."""
    if dataset.kind not in ("files", "images"):
        raise refusal(
            "DATA",
            message("conversion.wanted.set_images", "a set of images"),
            message("conversion.got.table", "{path}, a table", path=dataset.path),
        )
    if dataset.task in target.tasks:
        return
    fitting = [name for name, other in TARGETS.items() if dataset.task in other.tasks]
    spec = dataset.task_spec
    if spec.masks and any(TASKS[task].finds_objects for task in target.tasks):
        raise Refusal(
            message(
                "conversion.refuse.holds_boxes_masks_task",
                "--to {to} holds boxes but no masks, which {path} has: --task detect writes the boxes "
                "alone, --to {fitting} keeps the masks",
                to=to,
                path=dataset.path,
                fitting=either(fitting),
            )
        )
    holds = either([TASKS[task].reason for task in target.tasks])
    do = (
        message("conversion.do.use", "; use --to {fitting}", fitting=either(fitting))
        if fitting
        else message("conversion.do.format_can_written_holds", "; no format that can be written holds these")
    )
    raise Refusal(
        message(
            "conversion.refuse.holds",
            "--to {to} holds {holds}, but {path} has {reason}{do}",
            to=to,
            holds=holds,
            path=dataset.path,
            reason=spec.reason,
            do=do,
        )
    )


def _lost(dataset: Dataset, samples: Sequence[ConvertedImage], to: str, target: Target) -> list[str]:
    """Sentences about contents of the old set that the new one lacks or stores differently."""
    notes = []
    ignored = sum(box.ignore for sample in samples for box in sample.objects)
    if ignored and not target.ignores:
        text = (
            "{count} {count:object that is|objects that are} ignored in training {count:is|are} left "
            "out: {format} has no mark for that"
        )
        notes.append(message("convert.ignored", text, count=ignored, format=to))
    if bare := sum(problem.reason.endswith(IGNORED) for problem in dataset.problems):
        text = (
            "{count} {count:object|objects} without a usable mask {count:is|are} marked as ignored; "
            "--task {task} writes every box"
        )
        notes.append(message("convert.no_outline", text, count=bare, task=object_task(masks=False)))
    if dataset.given is not None and (loose := int((dataset.given == UNASSIGNED).sum())):
        text = "{count} {count:image|images} in no split {count:is|are} written to the training split"
        notes.append(message("convert.unassigned", text, count=loose))
    skipped = [problem for problem in dataset.problems if problem.done == "skipped"]
    if skipped:
        text = "{count} {count:entry|entries} that cannot be read {count:is|are} left out (first: {where}: {reason})"
        notes.append(
            message("convert.skipped", text, count=len(skipped), where=skipped[0].where, reason=skipped[0].reason)
        )
    names = {Path(sample.source).name: sample.name for sample in samples if isinstance(sample.source, Path)}
    if renamed := [(old, new) for old, new in names.items() if old != new]:
        text = (
            "images with the same name in several folders, or control characters in it, are renamed, as {old} to {new}"
        )
        notes.append(message("convert.renamed", text, old=renamed[0][0], new=renamed[0][1]))
    return [str(note) for note in notes]


def _described(
    folder: Path, to: str, dataset: Dataset, samples: Sequence[ConvertedImage], notes: list[str]
) -> Conversion:
    splits = dict.fromkeys(sample.split for sample in samples)
    counts = {split or NO_SPLIT: sum(sample.split == split for sample in samples) for split in splits}
    kept = [box for sample in samples for box in sample.objects if TARGETS[to].ignores or not box.ignore]
    objects = len(kept) if dataset.task_spec.finds_objects else None
    return Conversion(str(folder), to, len(samples), list(dataset.classes), counts, objects, notes)
