"""Refit the closed-form parts of a detector (support vector machines, box regression) on the final weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from danlu.data.batches import Batches
from danlu.detection.detector import Detector
from danlu.engine.checkpoint import save_weights
from danlu.engine.device import make_fabric
from danlu.engine.loop import Progress
from danlu.inference.load import load
from danlu.inference.measure import measure
from danlu.objects import ObjectBatch
from danlu.preparation.assemble import make_batches, transforms
from danlu.preparation.prepared import Prepared
from danlu.run.folder import Run
from danlu.training.kept_weights import kept_weights


def fit_closed_form(run: Run, prepared: Prepared, progress: Progress) -> dict[str, float] | None:
    """Call `Detector.fit_closed_form` on the best and on the last weights, and save them again.

    Returns the metrics of the best weights on the validation set; None if nothing has changed (most networks) or
    there is no validation set. The result depends on the saved weights alone, so a run that was killed meanwhile gives
    the same bits when it is resumed. The detector gets all training images in each pass, without augmentation.
    """
    model = load(run).model if prepared.objects is not None else None
    if not (isinstance(model, Detector) and model.has_closed_form):
        return None
    config = prepared.config
    fabric = make_fabric(prepared.device, 1, config.precision)
    fabric.launch()
    _, normalise = transforms(prepared)
    batches = make_batches(prepared, prepared.split.train, normalise, batch_size=config.batch_size)
    for names in kept_weights(progress):
        network = load(run, names[0]).network
        ((signature, detector),) = network.members_on(fabric.device, config.channels_last)
        assert isinstance(detector, Detector)
        with fabric.autocast():
            detector.fit_closed_form(lambda: _images_and_objects(batches))
        for name in names:
            save_weights(run.weights(name), detector, signature)
    return measure(load(run).network, prepared, "val").metrics if len(prepared.split.val) else None


def _images_and_objects(batches: Batches) -> Iterator[tuple[Tensor, ObjectBatch]]:
    for batch in batches.epoch():
        targets: Any = batch.targets  # of a detector: objects
        yield batch.inputs, targets
