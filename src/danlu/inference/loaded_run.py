"""A finished run as a Python object: results, network, predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from danlu.config import Config, ResolvedConfig, resolve, with_values
from danlu.data.dataset import SPLITS
from danlu.doctor.finding import Finding
from danlu.engine.device import pick_device
from danlu.inference.detect import detect
from danlu.inference.evaluation_data import is_training_data, other_data, own_data
from danlu.inference.evaluation_page import write_evaluation_page
from danlu.inference.evaluation_result import EvaluationResult
from danlu.inference.familiarity import TrainingFeatures, with_distances
from danlu.inference.given_objects import check_given
from danlu.inference.input_images import matching
from danlu.inference.measure import measure
from danlu.inference.predict_clips import predict_clips
from danlu.inference.predict_images import predict_images
from danlu.inference.predict_rows import predict_rows
from danlu.inference.predict_tensors import predict_tensors
from danlu.inference.prediction import Prediction
from danlu.inference.run_display import curves_figure, run_html
from danlu.inference.sample_images import image_uri
from danlu.inference.segment import segment_images
from danlu.inference.trained_network import Member, TrainedNetwork
from danlu.message import message
from danlu.python_calls import python_names
from danlu.refuse import NOTHING, Refusal, one_of, refusal, whole_number
from danlu.run.folder import Run
from danlu.run.signature import Signature
from danlu.run.summary import SplitMetrics
from danlu.user_objects import UserObjects, current, using

PUBLIC = (
    "classes", "config", "evaluate", "findings", "folder", "history", "metrics", "model", "name", "plot", "predict",
    "report", "signature", "summary", "task", "weights",
)  # fmt: skip


class LoadedRun(Run):
    """A run with its trained network; returned by `danlu.train` and `danlu.load`.

    Results: `summary`, `metrics`, `findings`, `classes`. Network: `model` (or `members` of an ensemble), `signature`.
    Use: `predict(...)`, `evaluate(...)`. weights_used: "best" or "last". objects: of the user
    in the training.
    """

    def __init__(self, folder: Path, weights_used: str = "best", objects: UserObjects | None = None) -> None:
        super().__init__(folder)
        self.weights_used = weights_used
        self.objects = current() if objects is None else objects

    def __repr__(self) -> str:
        return f"LoadedRun({str(self.summary)[8:-1] if self.summary else self.name})"

    def _repr_html_(self) -> str:
        return run_html(self)

    def __dir__(self) -> list[str]:
        return list(PUBLIC)

    @property
    def config(self) -> ResolvedConfig:
        """Settings of the run, from config.yaml. Raises Refusal if the file was edited and lacks one."""
        try:
            return resolve(super().config)
        except Refusal as refused:
            raise Refusal(
                message(
                    "inference.refuse.edited",
                    "{folder} was edited: {refused}",
                    folder=self.folder / "config.yaml",
                    refused=str(refused),
                ),
                refused.thing,
            ) from None

    @cached_property
    def network(self) -> TrainedNetwork:
        """Weights and signature. Raises Refusal if the weights file is missing or damaged."""
        return TrainedNetwork(self.weights(self.weights_used), self.objects)

    @cached_property
    def training_features(self) -> TrainingFeatures | None:
        """Features that inputs are compared with; None if the run has none, and for the last weights."""
        return TrainingFeatures.read(self.features) if self.weights_used == "best" else None

    @property
    def signature(self) -> Signature:
        """Inputs and outputs of the network."""
        return self.network.signature

    @property
    def task(self) -> str:
        """Name of the task, such as classify or segment."""
        return self.signature.task

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the outputs; empty for regression."""
        return self.signature.classes

    @property
    def findings(self) -> list[Finding]:
        """Findings of the doctor, most severe first."""
        return [Finding.from_dict(one) for one in super().findings]

    @property
    def history(self) -> Any:
        """Metrics of every epoch: a pandas DataFrame with the epoch as index, or a list of rows without pandas."""
        rows = [{key: value for key, value in row.items() if key != "kind"} for row in self.record.of("epoch")]
        try:
            import pandas
        except ImportError:
            return rows
        return pandas.DataFrame(rows).set_index("epoch") if rows else pandas.DataFrame()

    @python_names()
    def plot(self, *metrics: str) -> Any:
        """Training and validation curves as a plotly figure, which notebooks show.

        Args:
            metrics: Names such as "loss" and "accuracy"; by default the loss and the metric that chooses the best
                epoch.

        Raises:
            Refusal: A metric that the run does not have.
        """
        return curves_figure(self, metrics)

    @property
    def metrics(self) -> SplitMetrics:
        """Metrics of the best weights: `run.metrics.test.accuracy`."""
        return self.summary.metrics

    @property
    @python_names()
    def model(self) -> nn.Module:
        """The trained network on the CPU, in eval mode; it takes normalised inputs (see `signature`).

        Raises Refusal for an ensemble, whose members each take inputs of their own.
        """
        if len(self.members) > 1:
            raise Refusal(
                message(
                    "inference.refuse.ensemble_networks_use_members",
                    "{name} is an ensemble of {members} networks: use `members`, or `predict`",
                    name=self.name,
                    members=len(self.members),
                )
            )
        return self.members[0][1]

    @property
    def members(self) -> list[Member]:
        """Pairs of signature and network: one, or one for each member of an ensemble; on the CPU, in eval mode."""
        return self.network.members

    @python_names()
    def predict(
        self,
        *inputs: Any,
        top: int | str = 3,
        out: str | Path | None = None,
        weights: str | None = None,
        device: str | None = None,
        tta: bool | str | None = None,
        score: float | str | None = None,
        camera: str | Sequence[float] | None = None,
    ) -> list[Prediction]:
        """Predict images or rows without labels; one `Prediction` each, in their order.

        Args:
            inputs: Image files ("*.jpg" too), folders of images (files are recognised by content, hidden files are
                skipped), arrays (H, W), (H, W, C) or (N, H, W, C) of uint8, PIL images; for detectors also videos; for
                networks of table rows csv files, DataFrames or arrays (N, D); for networks of clips folders of frames,
                videos, npz files and arrays (T, C, H, W) or (N, T, C, H, W). Images in memory are named "array 0",
                "array 1", ...
            top: Number of classes listed (classification).
            out: Folder for the images with the prediction on them.
            weights: "best" or "last"; those the run was loaded with by default.
            device: "cpu", "cuda", ...; the run's by default.
            tta: Average over flipped views (test-time augmentation).
            score: Min score of a detection.
            camera: Intrinsics fx, fy, cx, cy in pixels of the images (poses); the training set's by default.

        Returns:
            One prediction per image, clip or row. An unreadable image in a folder or among several inputs gives
                one with an `error`.

        Raises:
            Refusal: An image that is named alone and cannot be read, or an input that the network cannot take.
        """
        self.need_outputs("predict")
        inputs = tuple(matching(inputs))
        if (other := self._with(weights)) is not self:
            return other.predict(*inputs, top=top, out=out, device=device, tta=tta, score=score, camera=camera)
        config = self._with_settings({"device": device, "tta": tta, "detect.score": score, "detect.camera": camera})
        top = whole_number("--top", top, 1)
        if not inputs:
            raise refusal(
                "PATH",
                message("inference.wanted.least_file_folder_array", "at least one file, folder or array"),
                NOTHING,
            )
        if out is not None and not str(out):
            raise refusal("--out", message("inference.wanted.folder", "a folder"), "")
        place = pick_device(config.device)
        folder = Path(out) if out is not None else None
        if camera is not None and not self.signature.task_spec.poses:
            wanted = message("inference.wanted.omitted_without_poses", "omitted for tasks without poses")
            raise refusal("--camera", wanted, str(camera))
        if self.signature.task_spec.finds_objects:
            return detect(self.network, place, inputs, config, folder)
        if score is not None and not self.signature.task_spec.finds_objects:
            raise refusal(
                "--score",
                message("inference.wanted.omitted_tasks_without_objects", "omitted for tasks without objects"),
                score,
            )
        if self.signature.task_spec.labels_pixels:
            return segment_images(self.network, place, inputs, config, folder)
        predictions: list[Prediction] = []
        with using(self.objects), with_distances(self.training_features, self.network.networks_on(place), predictions):
            predictions += self._predict(place, inputs, config, top, folder)
        return predictions

    def need_outputs(self, verb: str) -> None:
        """Raise Refusal for a pretraining, whose network has no outputs to predict or evaluate."""
        if self.signature.task_spec.targets == "none":
            text = (
                "danlu {verb}: {name} is a pretraining, whose network has no outputs yet; "
                "train it on labelled data first: danlu train DATA --init {folder}"
            )
            facts = {"verb": verb, "name": self.name, "folder": self.folder}
            raise Refusal(message("inference.refuse.pretraining", text, **facts))

    def _predict(
        self, place: torch.device, inputs: tuple[Any, ...], config: Config, top: int, out: Path | None
    ) -> list[Prediction]:
        """Predictions of a network that finds no objects."""
        if self.signature.columns is None and self.signature.channels is None:
            if out is not None:
                raise refusal(
                    "--out",
                    message("inference.wanted.omitted_network_tensors", "omitted for a network of tensors"),
                    str(out),
                )
            return predict_tensors(self.network, place, inputs, top=top)
        if self.signature.frames is not None:
            return predict_clips(self.network, place, inputs, config, top=top, out=out)
        if self.signature.columns is None:
            return predict_images(self.network, place, inputs, config, top=top, out=out)
        if out is not None:
            raise refusal(
                "--out",
                message("inference.wanted.omitted_network_table_rows", "omitted for a network of table rows"),
                str(out),
            )
        return predict_rows(self.network, place, inputs)

    @python_names()
    def evaluate(
        self,
        data: Any = None,
        *,
        part: str | None = None,
        weights: str | None = None,
        device: str | None = None,
        tta: bool | str | None = None,
        out: str | Path | None = None,
    ) -> EvaluationResult:
        """Evaluate on a split of the run's own data, or on other labelled data with the run's classes.

        Evaluations on the run's own test split are counted in its summary, because choosing by the test metrics biases
        them: `result.test_looks`.

        Args:
            data: Other data, a path or as `danlu.train` takes it; its test split is used where it defines one, else all
                of it.
            part: train, val or test of the run's own data; by default test, or val without a test set.
            weights: "best" or "last"; those the run was loaded with by default.
            device: "cpu", "cuda", ...; the run's by default.
            tta: Average over flipped views (test-time augmentation).
            out: HTML page to write, with the confusion matrix and the mistakes.

        Returns:
            Metrics of the split, with tables by class and the counts of samples.

        Raises:
            Refusal: Data of other classes, or a split that the data do not have.
        """
        self.need_outputs("evaluate")
        check_given(self.folder, self.objects, {"loss": self.config.loss.name, "metrics": self.config.metrics})
        if (other := self._with(weights)) is not self:
            return other.evaluate(data, part=part, device=device, tta=tta, out=out)
        config = self._with_settings({"device": device, "tta": tta})
        if data is not None and part is not None:
            raise refusal(
                "--part", message("inference.wanted.omitted_if_other_data", "omitted if other DATA are given"), part
            )
        if out is not None and not Path(out).parent.is_dir():  # known before the work
            raise refusal(
                "--out", message("inference.wanted.file_existing_folder", "a file in an existing folder"), str(out)
            )
        began = time.perf_counter()
        with using(self.objects):
            return self._evaluate(data, part, config, began, None if out is None else Path(out))

    def _evaluate(
        self, data: Any, part: str | None, config: Config, began: float, out: Path | None
    ) -> EvaluationResult:
        """`evaluate` with checked arguments. began: time of the call."""
        if data is None:
            usual = "val" if self.summary.data.counts.get("test") == 0 else "test"
            split = one_of(
                "--part",
                usual if part is None else part,
                SPLITS,
                message("inference.wanted.train_val_test", "train, val or test"),
            )
            prepared = own_data(self, self.signature, config, split)
        else:
            split, prepared = "test", other_data(self.signature, config, data)
        measured = measure(self.network, prepared, split)
        seconds = time.perf_counter() - began
        samples = len(getattr(prepared.split, split))
        details: dict[str, Any] = {}
        if out is not None or self.signature.task_spec.targets == "class":  # others are costly and for the page only
            image_of = (lambda index: image_uri(prepared, index)) if out is not None else (lambda index: "")
            details = measured.task.details(measured.evaluation, prepared.dataset.name_of, image_of)
        mistakes = details.get("mistakes")
        result = EvaluationResult(
            run=self.name,
            task=self.task,
            model=self.signature.model,
            epochs=self.summary.epochs,
            metrics=SplitMetrics.of(split, measured.metrics),
            seconds=round(seconds, 3),
            samples_per_second=samples / max(seconds, 1e-9),
            findings=self.findings,
            data=prepared.dataset.path,
            part=split,
            samples=samples,
            trained_on=is_training_data(self, prepared, data) or None,
            test_looks=self._count_test_look() if data is None and split == "test" else None,
            confusion=details.get("confusion"),
            mistakes=None if mistakes is None else [{k: v for k, v in one.items() if k != "image"} for one in mistakes],
            classes=list(self.signature.classes) if details.get("confusion") else None,
            page=None if out is None else str(out),
        )
        if out is not None:
            write_evaluation_page(result, details, list(self.signature.classes), out)
        return result

    def _with(self, weights: str | None) -> LoadedRun:
        """The run with its "best" or "last" weights; itself for None."""
        if weights in (None, self.weights_used):
            return self
        other = LoadedRun(self.folder, checked_weights(weights), self.objects)
        other.network.signature  # noqa: B018  # refuse damaged weights before the work
        return other

    def _with_settings(self, settings: dict[str, Any]) -> Config:
        """The run's config with the settings that are not None."""
        return with_values(self.config, {key: value for key, value in settings.items() if value is not None})

    def _count_test_look(self) -> int:
        """Add one evaluation on the test split to summary.json; return their number."""
        kept = self.read_json("summary.json", default={})
        if not kept:
            return 1
        kept["test_looks"] = kept.get("test_looks", 0) + 1
        self.write_json("summary.json", kept)
        return kept["test_looks"]


def checked_weights(name: str) -> str:
    """Return the name of a weights file, "best" or "last". Raises Refusal for another one."""
    return one_of("--weights", name, ("best", "last"), message("inference.wanted.best_last", "best or last"))
