"""A run's network as one module from images in bytes to answers, with everything between inside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from danlu.config import Config
from danlu.data.augment import Normalise, views
from danlu.deployment.samples import Samples
from danlu.inference.loaded_run import LoadedRun
from danlu.inference.predict_images import answers_of
from danlu.inference.trained_network import Member
from danlu.refuse import Refusal
from danlu.tasks.task import rows


class ImageGraph(nn.Module):
    """Images uint8 (N, S, S, C) on the canvas -> probabilities or target values, float32 (N, K).

    Crops the centre, normalises, runs every member of an ensemble on every view of test-time augmentation, and
    averages, as `danlu predict` does.
    """

    output_names = ("answers",)

    def __init__(self, members: Sequence[Member], config: Config) -> None:
        super().__init__()
        self.networks = nn.ModuleList(model for _, model in members)
        self.signatures = [signature for signature, _ in members]
        self.normalise = [Normalise(size=own.size or 1, mean=own.mean, std=own.std) for own in self.signatures]
        self.augment = config.augment if config.tta else None

    @property
    def monitor(self) -> str:
        """Name of the metric that the file is verified by."""
        return self.signatures[0].task_spec.monitor

    def difference(self, one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
        """Largest difference of two outputs; of target values relative to their largest absolute value, if above 1."""
        scale = 1.0 if self.signatures[0].task_spec.has_classes else max(1.0, float(np.abs(one[0]).max()))
        return float(np.abs(one[0] - other[0]).max()) / scale

    def metric(self, samples: Samples, outputs: Sequence[np.ndarray]) -> float:
        """The main metric of outputs of all samples."""
        return samples.metric(torch.from_numpy(outputs[0]))

    def forward(self, images: Tensor) -> Tensor:
        raw = images.permute(0, 3, 1, 2)
        answers = []
        for signature, model, normalise in zip(self.signatures, self.networks, self.normalise):
            batch = normalise.scale(normalise.centre(raw))
            seen = [batch] if self.augment is None else views(batch, self.augment)
            answers += [answers_of(signature, rows(model(view)).float()) for view in seen]
        return torch.stack(answers).mean(0)


def graph_of(run: LoadedRun) -> ImageGraph:
    """The graph of a run's network on the CPU, in eval mode. Refusal for networks that cannot be exported."""
    signature = run.signature
    if signature.columns is not None or signature.channels is None:
        kind = "table rows" if signature.columns is not None else "tensors of your own"
        raise Refusal(f"RUN must be a network of images to be exported, got {run.name}, a network of {kind}", "RUN")
    if signature.transform is not None:
        raise Refusal(f"RUN {run.name} has a transform of your own, which a file cannot hold: use danlu.load", "RUN")
    if signature.task_spec.finds_objects:
        raise Refusal(f"RUN {run.name} has a detector ({signature.model}), which cannot be exported", "RUN")
    return ImageGraph(run.members, run.config).eval()
