"""Losses and predictions of one phase of an epoch, added up on the device and written at its end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.observation.watched_model import WatchedModel

# Counts of a batch that are added up over an epoch.
COUNTED = (
    "correct", "counted", "predicted", "actual", "hits", "sure", "top_third", "moments", "extremes", "labelled",
    "pairs",
)  # fmt: skip
MIN_BATCHES = 4  # measured batches for the accuracy of an epoch, if it has as many


class EpochSums:
    """Sums over one phase of an epoch, kept on the device."""

    def __init__(self) -> None:
        self.batches = self.samples = self.first_size = self.last_size = 0
        self.measured = 0
        self.sums: dict[str, Tensor] = {}
        self.last: dict[str, Any] = {}

    def add(self, outcome: dict[str, Any]) -> None:
        """Add the losses and counts of a batch."""
        size = outcome["size"]
        self.first_size = self.first_size or size
        self.batches += 1
        self.samples += size
        self.last_size, self.last = size, outcome
        self._sum("loss", outcome["loss"] * size)
        self._sum("batch_loss", outcome["loss"])
        if "correct" in outcome:
            self.measured += 1
            self._sum("batch_accuracy", outcome["correct"] / outcome["counted"].clamp(min=1))
        self.add_predictions(outcome)

    def add_predictions(self, outcome: dict[str, Any]) -> None:
        """Add the counts of predictions of a batch."""
        for name in COUNTED:
            if name in outcome:
                self._sum(name, outcome[name])

    def _sum(self, name: str, value: Tensor) -> None:
        old = self.sums.get(name)
        if old is None:
            self.sums[name] = value.clone()
        elif name == "extremes":
            self.sums[name] = torch.maximum(old, value)
        elif old.shape == value.shape:
            self.sums[name] = old + value

    def write_all(self, watched: WatchedModel, phase: str) -> None:
        """Write the means of the epoch to the ledger, under the names of `phase`."""
        epoch = watched.epoch
        for name, value in (
            ("epoch.samples", self.samples),
            ("epoch.batches", self.batches),
            ("epoch.measured", self.measured),
            ("epoch.last_batch_size", self.last_size),
        ):
            watched.write(name, value, phase, epoch)
        values = self._on_host()
        counted = float(values.get("counted", 0.0))
        write = lambda name, value: watched.write(name, value, phase, epoch)  # noqa: E731
        write("loss.mean", float(values["loss"]) / max(1, self.samples))
        write("loss.batch_mean", float(values["batch_loss"]) / self.batches)
        write("loss.last_batch", float(self.last["loss"]))
        skipped_steps = watched.skipped_steps if phase == "train" else 0
        enough = self.measured >= min(MIN_BATCHES, self.batches + skipped_steps)
        if "correct" in values and "labelled" not in values and counted and enough:
            write("accuracy.mean", float(values["correct"]) / counted)
            write("accuracy.batch_mean", float(values["batch_accuracy"]) / self.measured)
            if self.measured == self.batches and not skipped_steps:
                write("accuracy.padded", float(values["correct"]) / (self.first_size * self.batches))
            if "correct" in self.last:
                write("accuracy.last_batch", float(self.last["correct"]) / max(1, int(self.last["counted"])))
        self.write_predictions(watched, phase)

    def write_predictions(self, watched: WatchedModel, phase: str) -> None:
        """Write the values that do not depend on the division into batches."""
        values = self._on_host()
        counted = float(values.get("counted", 0.0))
        write = lambda name, value: watched.write(name, value, phase, watched.epoch)  # noqa: E731
        if "labelled" in values:
            *marked, samples = values["labelled"].tolist()
            write("target.frequencies", [count / samples for count in marked])
        elif "actual" in values and counted:
            actual, predicted, hits = values["actual"], values["predicted"], values["hits"]
            write("class.predicted", (predicted / predicted.sum().clamp(min=1)).tolist())
            write("class.actual", (actual / actual.sum().clamp(min=1)).tolist())
            write("class.correct", torch.where(actual > 0, hits / actual.clamp(min=1), -1.0).tolist())
        if "pairs" in values:
            write("class.taken_for", taken_for(values["pairs"]))
        if "sure" in values and counted:
            contradicted, confident, right, entropy = (values["sure"] / counted).tolist()
            write("label.contradicted", contradicted)
            write("label.confident", confident)
            write("label.confident_correct", right / confident if confident else 0.0)
            write("class.entropy", entropy)
        if "top_third" in values:
            right, count = values["top_third"].tolist()
            write("label.top_third_accuracy", right / max(1.0, count))
        if "extremes" in values:
            write("target.min", -float(values["extremes"][0]))
            write("target.max", float(values["extremes"][1]))
        if "moments" in values:
            count, total, squares, errors = values["moments"].tolist()
            variance = max(squares / count - (total / count) ** 2, 0.0)
            write("target.mean", total / count)
            write("target.std", variance**0.5)
            if variance > 0:
                write("explained.mean", 1 - errors / count / variance)

    def _on_host(self) -> dict[str, Tensor]:
        return {
            name: value.double().cpu() if value.device.type != "mps" else value.cpu()
            for name, value in self.sums.items()
        }


def taken_for(pairs: Tensor) -> list[list[float]]:
    """For each label the class predicted most, its fraction and the number of samples; pairs: counts, (K labels, K)."""
    counts, (most, guess) = pairs.sum(1), pairs.max(1)
    return torch.stack([guess.to(pairs.dtype), most / counts.clamp(min=1), counts], 1).tolist()
