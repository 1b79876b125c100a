"""Images of a pretraining by masks: as they are, with the hidden part grey, and with the prediction in its place."""

from __future__ import annotations

import torch

from danlu.data.augmentation.augment import Normalise
from danlu.inference.load import load
from danlu.inference.sample_images import IMAGE_SIDE
from danlu.preparation.prepared import Prepared
from danlu.pretraining.masked import Masked
from danlu.report.images import to_data_uri, visible
from danlu.run.folder import Run

SHOWN = 8  # images


def reconstructions(run: Run, prepared: Prepared, split: str) -> list[dict[str, str]]:
    """First images of a split as data URIs: "image", "hidden", "predicted"; [] for methods without masks."""
    model = load(run).model
    if not isinstance(model, Masked) or prepared.images is None:
        return []
    signature, index = prepared.signature, getattr(prepared.split, split)[:SHOWN].tolist()
    normalise = Normalise(size=signature.size or 1, mean=signature.mean, std=signature.std)
    images = normalise(prepared.images.some(index), None, torch.zeros(len(index)))[0].cpu()
    hidden, predicted = model.reconstruct(images)
    columns = {"image": images, "hidden": hidden, "predicted": predicted}
    uris = {
        name: [to_data_uri(one, IMAGE_SIDE) for one in visible(normalise.undo(part))] for name, part in columns.items()
    }
    return [{name: uris[name][i] for name in columns} for i in range(len(index))]
