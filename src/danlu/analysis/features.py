"""`danlu report RUN --features`: samples of a run in the space of a layer's features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.config import Config
from danlu.data.augmentation.augment import Normalise
from danlu.data.columns import TargetScaler
from danlu.data.dataset import SPLITS
from danlu.inference.evaluation_data import own_data
from danlu.inference.load import load
from danlu.inference.loaded_run import LoadedRun
from danlu.inference.sample_images import image_uri
from danlu.inspection.activations import captured, find_layer, pooled
from danlu.inspection.projection import project, same_class
from danlu.message import message, translated
from danlu.models.backbone import Backbone
from danlu.models.layer_depth import head_name, last_dense
from danlu.preparation.assemble import make_batches, transforms
from danlu.preparation.own_transform import around
from danlu.preparation.prepared import Prepared
from danlu.pretraining.pretrainer import Pretrainer
from danlu.progress.stages import stage
from danlu.python_calls import python_names
from danlu.refuse import NOTHING, Refusal, one_of, refusal
from danlu.report.run_report import write_page
from danlu.run.folder import Run
from danlu.run.names import FEATURES_FILE
from danlu.run.result import Result
from danlu.segmentation.segmenter import Segmenter
from danlu.tasks.classify import predicted_class
from danlu.tasks.task import rows
from danlu.user_objects import using

MIN_SAMPLES, SAMPLES, MAX_SAMPLES = 10, 1000, 3000  # the min, the default and the max of --samples
NEIGHBOURS = 8  # of each sample
THUMBNAIL_SIDE = 72  # pixels, of the images in the page
BATCH_SIZE = 32


@dataclass(frozen=True, eq=False, repr=False)
class FeatureSpace(Result):
    """Samples of a run in the space of a layer's features."""

    page: str  # the report, whose section "Features" shows them
    layer: str
    width: int  # numbers of a sample
    part: str
    samples: int
    explained: list[float]  # fraction of the variance along the two axes of the PCA
    same_class: float | None = None  # fraction of the 8 nearest neighbours that have the class of their sample


@python_names()
def features(
    run: str | Path | Run,
    *,
    layer: str | None = None,
    part: str | None = None,
    samples: int | str = SAMPLES,
    weights: str | None = None,
    lang: str | None = None,
    model: Any = None,
    transform: Any = None,
    loss: Any = None,
    metrics: Any = None,
) -> FeatureSpace:
    """Compute the features of samples at one layer, and write them to the report of the run.

    The report gets a section with the first two principal components, a map of t-SNE, and the nearest neighbours of
    each sample by cosine similarity, with the images of the samples.

    Args:
        run: A run or its folder.
        layer: Name of a module, as `danlu inspect` or `named_modules` lists them; its output is averaged over
            positions. By default the input of the last dense layer, or the last map of the backbone.
        part: train, val (the default, where the run has it) or test.
        samples: Number of samples, evenly spaced, 10 to 3000.
        weights: "best" or "last".
        lang: Language of the page, en or zh.
        model, transform, loss, metrics: Objects of your own, as for `load`.

    Returns:
        The page, the variance along the two components, and the fraction of neighbours of the same class.

    Raises:
        Refusal: Ensembles and unknown layers.
    """
    count = _count(samples)
    if part is not None:
        one_of("--part", part, SPLITS, message("analysis.wanted.part", "train, val or test"))
    trained = load(run, weights, model=model, transform=transform, loss=loss, metrics=metrics)
    if trained.signature.members:
        wanted = message("analysis.wanted.one_network", "used on one network, not on an ensemble")
        raise refusal("--features", wanted, trained.name)
    with using(trained.objects):
        return _features(trained, layer, part, count, lang)


def _count(samples: int | str) -> int:
    if not str(samples).isdecimal() or not MIN_SAMPLES <= int(samples) <= MAX_SAMPLES:
        wanted = message(
            "analysis.wanted.samples", "an integer from {low} to {high}", low=MIN_SAMPLES, high=MAX_SAMPLES
        )
        raise refusal("--samples", wanted, samples)
    return int(samples)


def _features(trained: LoadedRun, layer: str | None, part: str | None, count: int, lang: str | None) -> FeatureSpace:
    """`features` with checked arguments."""
    network = trained.model.backbone if isinstance(trained.model, Pretrainer) else trained.model
    name, inputs = (layer, False) if layer else default_layer(network)
    find_layer(network, name)  # refused before the data are read
    prepared = _prepared(trained, trained.config, part)
    split = part or ("val" if len(prepared.split.val) else "train")
    index = _spread(getattr(prepared.split, split), count)
    if len(index) < MIN_SAMPLES:
        wanted = message("analysis.wanted.enough_samples", "a split of at least {least} samples", least=MIN_SAMPLES)
        raise refusal("--part", wanted, f"{split}, {len(index)}")
    values, predicted = _values(network, name, inputs, prepared, index)
    with stage(translated("stage.projecting", "projecting the features")):
        found = project(values, NEIGHBOURS)
    labels = _labels(prepared, index)
    same = same_class(found.neighbours, labels) if labels is not None else None
    facts: dict[str, Any] = {
        "layer": name,
        "width": values.shape[1],
        "part": split,
        "samples": len(index),
        "explained": [round(one, 4) for one in found.explained],
        "same_class": same,
    }
    with stage(translated("stage.thumbnails", "drawing images")):
        images = [image_uri(prepared, i, THUMBNAIL_SIDE) for i in index.tolist()]
    shown = {
        "input_of_layer": inputs,
        "classes": list(prepared.dataset.classes) if labels is not None else [],
        "pca": found.pca.round(4).tolist(),
        "tsne": found.tsne.round(3).tolist(),
        "neighbours": found.neighbours.tolist(),
        "names": [prepared.dataset.name_of(i) for i in index.tolist()],
        "images": images if any(images) else [],
        "labels": labels.tolist() if labels is not None else [],
        "predicted": predicted,
        "values": _numbers(prepared, index),
    }
    trained.write_json(FEATURES_FILE, facts | shown)
    return FeatureSpace(page=str(write_page(trained.folder, lang)), **facts)


def default_layer(network: nn.Module) -> tuple[str, bool]:
    """Name of the layer with the last features before the outputs, and whether they are its input."""
    if isinstance(network, Segmenter) and network.feature_layer:
        return network.feature_layer, False
    backbone = getattr(network, "backbone", None)
    if isinstance(backbone, Backbone):
        return f"backbone.{backbone.stage_names[-1]}", False
    if dense := last_dense(network):
        return dense, True
    if isinstance(network, Backbone):
        return network.stage_names[-1], False
    raise refusal(
        "--layer",
        message("analysis.wanted.named_layer", "given for this network, as {example}", example=head_name(network)),
        NOTHING,
    )


def _prepared(trained: LoadedRun, config: Config, part: str | None) -> Prepared:
    """The run's own data; without `part` those of any split that it has."""
    try:
        return own_data(trained, trained.signature, config, part or "val")
    except Refusal as refused:
        if part is not None or refused.thing != "--part":
            raise
    return own_data(trained, trained.signature, config, "train")


def _spread(index: Tensor, count: int) -> Tensor:
    """At most `count` of the sample numbers, evenly spaced."""
    if len(index) <= count:
        return index
    return index[torch.linspace(0, len(index) - 1, count).long()]


@torch.no_grad()
def _values(
    network: nn.Module, name: str, inputs: bool, prepared: Prepared, index: Tensor
) -> tuple[np.ndarray, list[int]]:
    """Features (N, D), and the predicted classes of a classifier (else an empty list)."""
    signature, spec = prepared.signature, prepared.dataset.task_spec
    _, plain = transforms(prepared)
    if spec.targets == "none" and prepared.images is not None:  # one view, not the two of a method
        one = Normalise(size=signature.size or 1, mean=signature.mean, std=signature.std)
        plain = around(signature, one, one)[1]
    network = network.to(prepared.device).eval()
    found, predicted = list[Tensor](), list[int]()
    batches = make_batches(prepared, index, plain, batch_size=min(BATCH_SIZE, len(index)))
    with stage(translated("stage.features", "computing features"), len(index)) as progress:
        for batch in batches.epoch():
            with captured(find_layer(network, name), inputs=inputs) as seen:
                outputs = network(batch.inputs)
            if not seen:
                wanted = message("analysis.wanted.called_layer", "a layer that is called when the network predicts")
                raise refusal("--layer", wanted, name)
            found.append(pooled(seen[-1], len(batch.index), name))
            if spec.targets == "class":
                predicted += predicted_class(rows(outputs)).tolist()
            progress.advance(len(batch.index))
    return torch.cat(found).numpy(), predicted


def _labels(prepared: Prepared, index: Tensor) -> np.ndarray | None:
    """Class of each sample, where samples have one."""
    targets = prepared.targets
    known = prepared.dataset.task_spec.targets in ("class", "none") and len(prepared.dataset.classes) > 1
    if not known or not isinstance(targets, Tensor) or targets.ndim != 1:
        return None
    labels = targets[index.to(targets.device)].cpu().numpy()
    return labels if (labels >= 0).all() else None


def _numbers(prepared: Prepared, index: Tensor) -> Sequence[float]:
    """First target value of each sample in its unit, of a regression."""
    targets = prepared.targets
    if prepared.dataset.task_spec.targets != "numbers" or not isinstance(targets, Tensor):
        return []
    scaler = TargetScaler.from_dict(prepared.signature.target_scale or {})
    return scaler.inverse(targets[index.to(targets.device)].cpu().float())[:, 0].tolist()
