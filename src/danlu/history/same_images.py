"""The same images under several runs: predictions side by side, those on which the runs differ first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.config import with_values
from danlu.data.clips import filmstrip, unfolded
from danlu.data.dataset import Dataset, ImageFiles
from danlu.data.images import decode
from danlu.inference.load import load
from danlu.inference.loaded_run import LoadedRun
from danlu.inference.prediction import Prediction
from danlu.inference.segment import overlay
from danlu.inference.truth import compared, truth_of
from danlu.message import Message, message, translated
from danlu.preparation.prepare import read, split_of
from danlu.progress.stages import stage
from danlu.refuse import Failure, Refusal
from danlu.report.images import draw_objects, to_data_uri
from danlu.report.markup import clip, escape, file_name, image, number, percent
from danlu.run.folder import Run
from danlu.run.names import SPLIT_WORDS

MAX_COMPARED = 300  # images that the runs predict, evenly spaced over the test set
SIDE, LARGE_SIDE = 128, 320  # pixels, of images with a caption and of images with drawn objects or pixels
READING = {"device": "cpu", "data.workers": 0, "data.memory": False, "data.cache": None}


@dataclass(frozen=True)
class SameImages:
    """Images that all runs have predicted.

    html: of those that are shown. shown, compared: their numbers. split: that they are from. all_right, none_right,
    differ: number of images on which all runs are right, none is, and only some are; None where right and wrong have no
    meaning. note: why there are none, or that a run may have been trained on them.
    """

    html: str = ""
    shown: int = 0
    compared: int = 0
    split: str = ""
    all_right: int | None = None
    none_right: int | None = None
    differ: int | None = None
    note: Message | None = None

    def sentence(self) -> str:
        """Numbers of images in words; "" if they have no meaning."""
        if self.all_right is None:
            return ""
        text = (
            "Of {compared} images of the {split} set of the first run, all runs are right on {all_right}, none on "
            "{none_right}, and some on {differ}; the last are shown first."
        )
        counts = {name: number(getattr(self, name)) for name in ("compared", "all_right", "none_right", "differ")}
        return translated("history.images_counted", text, split=SPLIT_WORDS[self.split], **counts)


def same_images(runs: Sequence[Run], count: int, model: Any = None, transform: Any = None) -> SameImages:
    """Predict images of the first run's test set with every run.

    count: max number of images that are shown. model, transform: of the user, as for `load`. The images are in the test
    set of every run on the same data. A run without weights, without readable images, or of another task or other
    classes, gives a note instead.
    """
    try:
        loaded = [load(run, model=model, transform=transform) for run in runs]
        for one in loaded:
            one.need_outputs("compare")
        if (why := _different(loaded)) is not None:
            return SameImages(note=why)
        frames = max(one.signature.frames or 0 for one in loaded) or None
        dataset = read(with_values(loaded[0].config, READING | {"data.frames": frames}))[1]
        split, index = _common(loaded, dataset)
        sources = _sources(dataset)
        if sources is None or not len(index):
            return SameImages(note=message("history.no_images", "no images: the runs have no test images in common"))
        chosen = _spread(index, MAX_COMPARED if not dataset.task_spec.on_canvas else count)
        with stage(
            translated("stage.predicting_runs", "predicting the same images with every run"), len(loaded)
        ) as progress:
            rows = []
            for one in loaded:
                rows.append(one.predict(*(sources(i) for i in chosen)))
                progress.advance(1)
    except (Refusal, Failure, OSError) as error:
        return SameImages(note=message("history.images_unread", "no images: {error}", error=str(error)))
    return _shown(loaded, dataset, chosen, rows, sources, split, count)


def _different(loaded: Sequence[LoadedRun]) -> Message | None:
    """Why the predictions of the runs cannot be compared."""
    first = loaded[0].signature
    for one in loaded[1:]:
        own = one.signature
        if (own.task, own.classes, own.target_names) != (first.task, first.classes, first.target_names):
            text = "no images: {one} and {other} have different tasks or classes"
            return message("history.different_tasks", text, one=loaded[0].name, other=one.name)
        if (one.signature.frames is None) != (first.frames is None):
            text = "no images: {one} and {other} differ in that one reads clips and the other images"
            return message("history.clips_and_images", text, one=loaded[0].name, other=one.name)
    if first.channels is None or first.columns is not None:
        return message("history.not_images", "no images: the runs do not read images")
    return None


def _common(loaded: Sequence[LoadedRun], dataset: Dataset) -> tuple[str, Tensor]:
    """Images that the first run, and every other run on the same data, keeps for the test (else the validation)."""
    own = loaded[0].config.data
    splits = [split_of(one.config, dataset) for one in loaded if one.config.data.path == own.path]
    name = "test" if len(splits[0].test) else "val"
    common = set.intersection(*(set(getattr(split, name).tolist()) for split in splits))
    return name, torch.tensor(sorted(common), dtype=torch.long)


def _spread(index: Tensor, count: int) -> list[int]:
    """At most `count` of the sample numbers, evenly spaced."""
    if len(index) <= count:
        return index.tolist()
    return index[torch.linspace(0, len(index) - 1, count).round().long()].tolist()


def _sources(dataset: Dataset) -> Callable[[int], Any] | None:
    """Function from a sample number to its image as `predict` takes it; None if the samples are not images."""
    inputs, frames = dataset.inputs, dataset.frames
    if frames is not None and isinstance(inputs, Tensor):
        return lambda i: unfolded(inputs[i], frames).numpy()
    if dataset.kind == "images" and isinstance(inputs, Tensor):
        return lambda i: np.ascontiguousarray(inputs[i].permute(1, 2, 0).squeeze(-1).numpy())
    if isinstance(inputs, ImageFiles):
        return lambda i: Path(inputs.paths[i])
    return None


def _shown(
    loaded: Sequence[LoadedRun],
    dataset: Dataset,
    chosen: Sequence[int],
    rows: Sequence[Sequence[Prediction]],
    sources: Callable[[int], Any],
    split: str,
    count: int,
) -> SameImages:
    """The figures of the images, and how often the runs are right. rows: predictions of each run."""
    judged = dataset.task_spec.targets in ("class", "labels")
    places = list(range(len(chosen)))
    counts: dict[str, int] = {}
    if judged:
        right = [
            [bool(compared(of_run[place], truth_of(dataset, chosen[place]))["right"]) for of_run in rows]
            for place in places
        ]
        counts = {"all_right": sum(map(all, right)), "none_right": sum(not any(one) for one in right)}
        counts["differ"] = len(right) - sum(counts.values())
        places.sort(key=lambda place: (all(right[place]) == any(right[place]), all(right[place]), place))
    figures = [
        _figure(loaded, dataset, chosen[place], [of_run[place] for of_run in rows], sources) for place in places[:count]
    ]
    note = None
    if any(one.config.data.path != loaded[0].config.data.path for one in loaded):
        text = "the images are the first run's test images; runs on other data may have been trained on them"
        note = message("history.other_data", text)
    kind = "mistakes" if not dataset.task_spec.on_canvas else "maps"
    html = f'<div class="gallery {kind}">{"".join(figures)}</div>' if figures else ""
    return SameImages(html, len(figures), len(chosen), split, note=note, **counts)


def _figure(
    loaded: Sequence[LoadedRun],
    dataset: Dataset,
    index: int,
    found: Sequence[Prediction],
    sources: Callable[[int], Any],
) -> str:
    """One image: with a line for each run, or drawn once for each run."""
    name, source = dataset.name_of(index), sources(index)
    if dataset.frames is not None:
        source = filmstrip(torch.from_numpy(source).flatten(0, 1), dataset.frames).numpy()
    photo = decode(source)
    names = [clip(Path(one.name).name, 24) for one in loaded]
    if dataset.task_spec.on_canvas:
        drawn = [_drawn(photo, one, dataset.classes) for one in found]
        cells = "".join(
            f'<div class="layer">{image(uri, name)}<b>{escape(label)}</b></div>' for uri, label in zip(drawn, names)
        )
        return f'<figure><div class="layers">{cells}</div><figcaption>{_file(name)}</figcaption></figure>'
    truth = truth_of(dataset, index)
    lines = "".join(_line(label, compared(one, truth)) for label, one in zip(names, found))
    wanted = escape(clip(", ".join(truth) or "–", 40))
    uri = to_data_uri(_pixels(photo), SIDE)
    return f"<figure>{image(uri, name)}<figcaption><b>{wanted}</b>{lines}{_file(name)}</figcaption></figure>"


def _line(run: str, row: dict[str, Any]) -> str:
    """The prediction of one run, in red where it is wrong."""
    kind = "true" if row["right"] is not False else "predicted"
    sure = f" ({percent(row['confidence'], 0)})" if row["confidence"] is not None else ""
    said = escape(clip(", ".join(row["predicted"]) or "–", 32))
    return f'<span class="{kind}">{escape(run)}: {said}{sure}</span>'


def _file(name: str) -> str:
    return f'<span class="file">{file_name(name, 60)}</span>'


def _drawn(photo: Any, found: Prediction, classes: Sequence[str]) -> str:
    """The image with the objects or the classes of the pixels of one run, as a data URI."""
    if found.label_map is not None:
        return to_data_uri(_pixels(overlay(photo, found.label_map, len(classes))), LARGE_SIDE)
    objects = [one.to_json() for one in found.objects or []]
    longest = max(photo.size)
    if longest < LARGE_SIDE:  # lines and names need room
        factor = LARGE_SIDE / longest
        photo = photo.resize((round(photo.width * factor), round(photo.height * factor)))
        objects = [one | {"box": [value * factor for value in one["box"]]} for one in objects if "mask" not in one]
    return to_data_uri(_pixels(draw_objects(photo, objects, classes)), LARGE_SIDE)


def _pixels(photo: Any) -> Tensor:
    """uint8 (C, H, W) of a PIL image."""
    array = np.asarray(photo if photo.mode == "L" else photo.convert("RGB"))
    return torch.from_numpy(array.copy())[None] if array.ndim == 2 else torch.from_numpy(array.copy()).permute(2, 0, 1)
