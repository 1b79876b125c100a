"""Validation images with the predictions of each epoch, computed from weights/last by the process of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from danlu.config import with_values
from danlu.data.dataset import Dataset, ImageFiles
from danlu.inference.load import load
from danlu.inference.loaded_run import LoadedRun
from danlu.inference.measure import Measurement, measure
from danlu.inference.predict_images import answers_of, to_prediction
from danlu.inference.sample_images import image_uri
from danlu.inference.truth import compared, truth_of
from danlu.message import translated
from danlu.preparation.other_data import prepare_for
from danlu.preparation.prepare import read, split_of
from danlu.preparation.prepared import Prepared
from danlu.report.markup import clip, escape, image, percent
from danlu.report.object_sections import examples_section
from danlu.run.folder import Run

MAX_IMAGES = 12
MAX_OBJECT_IMAGES = 6  # each is drawn twice and large


class SampleImages:
    """A few images of the validation set, and the network's predictions for them after each epoch."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._by_epoch: dict[int, list[dict[str, Any]]] = {}

    @property
    def epochs(self) -> list[int]:
        """Epochs with predictions."""
        return sorted(self._by_epoch)

    def predict(self, epoch: int) -> bool:
        """Predict with weights/last, which the run saved after `epoch`; False if the data are not images.

        Raises Refusal for a network of the user's own, which a run cannot save.
        """
        loaded = load(self.run.folder, "last")
        if self._prepared is None:
            return False
        measured = measure(loaded.network, self._prepared, "test")
        objects = loaded.signature.task_spec.finds_objects
        self._by_epoch[epoch] = self._examples(measured) if objects else self._rows(loaded, measured)
        return True

    def html(self, epoch: int) -> str:
        """The images with the predictions of one epoch; "" for an epoch without any."""
        rows = self._by_epoch.get(epoch, [])
        if rows and "found" in rows[0]:
            return examples_section([row | {"image": self._uris[place]} for place, row in enumerate(rows)])
        shown = "".join(_figure(row, uri) for row, uri in zip(rows, self._uris))
        return f'<div class="gallery mistakes">{shown}</div>' if shown else ""

    @cached_property
    def _prepared(self) -> Prepared | None:
        """The images alone, encoded for the network; the rest of the data is not decoded."""
        loaded = load(self.run.folder, "last")
        settings = {"device": "cpu", "data.workers": 0, "data.memory": False, "data.cache": None}
        config, dataset, _ = read(with_values(loaded.config, settings))
        split = split_of(config, dataset)
        count = MAX_OBJECT_IMAGES if dataset.task_spec.finds_objects else MAX_IMAGES
        chosen = _spread(split.val, count)
        few = _only(dataset, chosen.tolist())
        if few is None or not len(chosen):
            return None
        return prepare_for(loaded.signature, config, few, torch.arange(len(chosen)))

    @cached_property
    def _uris(self) -> list[str]:
        assert self._prepared is not None
        return [image_uri(self._prepared, place) for place in range(len(self._prepared.dataset))]

    def _examples(self, measured: Measurement) -> list[dict[str, Any]]:
        """True and found objects of each image, in the order of the images."""
        assert self._prepared is not None
        details = measured.task.details(measured.evaluation, str, lambda place: "")
        name_of = self._prepared.dataset.name_of
        ordered = sorted(details["examples"], key=lambda one: int(one["name"]))
        return [one | {"name": name_of(int(one["name"]))} for one in ordered]

    def _rows(self, loaded: LoadedRun, measured: Measurement) -> list[dict[str, Any]]:
        """Predicted and true values of each image."""
        assert self._prepared is not None
        dataset, signature = self._prepared.dataset, loaded.signature
        answers = answers_of(signature, measured.evaluation.outputs)
        rows = []
        for place, answer in enumerate(answers):
            found = to_prediction(dataset.name_of(place), signature, answer, top=1)
            rows.append({"name": found.path} | compared(found, truth_of(dataset, place)))
        return rows


def _spread(index: Tensor, count: int) -> Tensor:
    """At most `count` of the entries, evenly spread."""
    if len(index) <= count:
        return index
    return index[torch.linspace(0, len(index) - 1, count).round().long()]


def _only(dataset: Dataset, chosen: Sequence[int]) -> Dataset | None:
    """The data set with the chosen samples only; None if the inputs are not images."""
    inputs = dataset.inputs
    if dataset.kind == "images" and isinstance(inputs, Tensor):
        few: Tensor | ImageFiles = inputs[list(chosen)]
    elif isinstance(inputs, ImageFiles):
        paths, sizes = (tuple(values[i] for i in chosen) for values in (inputs.paths, inputs.sizes))
        few = replace(inputs, paths=paths, sizes=sizes)
    else:
        return None
    targets = dataset.targets
    kept = targets[list(chosen)] if isinstance(targets, Tensor) else [targets[i] for i in chosen]
    names = [dataset.name_of(i) for i in chosen]
    return replace(dataset, inputs=few, targets=kept, given=None, name_of=names.__getitem__, problems=())


def _figure(row: dict[str, Any], uri: str) -> str:
    kind = {True: "true", False: "predicted", None: "true"}[row["right"]]
    predicted = ", ".join(row["predicted"]) or "–"
    sure = ""
    if row["confidence"] is not None:
        sure = f'<span class="confidence"><i style="width:{100 * row["confidence"]:.0f}%"></i></span>'
    note = ""
    if row["right"] is not True:
        note = escape(translated("live.true", "true: {names}", names=clip(", ".join(row["true"]) or "–", 40)))
    shown = percent(row["confidence"], 0) if row["confidence"] is not None else ""
    return (
        f"<figure>{image(uri, row['name'])}<figcaption>"
        f'<span class="{kind}">{escape(clip(predicted, 40))}</span>{sure}'
        f'<span class="file"><bdi><span>{note}</span></bdi><b>{shown}</b></span></figcaption></figure>'
    )
