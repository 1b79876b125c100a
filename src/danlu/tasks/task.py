"""The interface between the training loop and a task. The loop knows no task by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from danlu.config import Config
from danlu.data.batches import Batch
from danlu.data.columns import TargetScaler
from danlu.data.label_maps import MapSet
from danlu.data.object_set import ObjectSet
from danlu.message import message
from danlu.refuse import refusal
from danlu.task_spec import TaskSpec


@dataclass(frozen=True)
class Evaluation:
    """Outputs of a network and targets for a split of N samples.

    outputs: raw network outputs (N, K), float32, or a list of N predictions. targets: (N,) or (N, T), or a list of N.
    index: (N,) sample numbers in the dataset.
    """

    outputs: Any
    targets: Any
    index: Tensor


ViewFunction = Callable[[Tensor], list[Tensor]]  # inputs -> versions of them for test-time augmentation
UserMetrics = Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, float]]
SampleLoss = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> losses (N,), float32


@dataclass(frozen=True)
class TaskData:
    """Settings and facts about the data that a task's class may need.

    classes: names, in the order of the outputs. class_counts: training samples of each class, (K,), of a
    classification. thresholds: smallest probability at which each label is predicted, empty for the default.
    temperature: divides the outputs of a classification before softmax. objects: annotations and placements of all
    samples, where the targets are objects. maps: the same of label maps. target_scaler: scale of the numeric targets
    that the network is trained on. metrics: of the user, (outputs, targets, predicted classes or values, probabilities
    or values) -> name -> number.
    """

    config: Config
    classes: tuple[str, ...] = ()
    class_counts: Tensor | None = None
    thresholds: tuple[float, ...] = ()
    temperature: float = 1.0
    objects: ObjectSet | None = None
    maps: MapSet | None = None
    target_scaler: TargetScaler | None = None
    metrics: UserMetrics | None = None


class Task(Protocol):
    """Loss, predictions, metrics and report details of one task. spec: its entry in `task_spec.TASKS`."""

    spec: TaskSpec

    def loss(self, model: Callable[..., Any], batch: Batch) -> dict[str, Tensor]:
        """Compute "loss", the mean over the batch with its gradient, and other scalars to log, by name."""
        ...

    def predict(self, model: nn.Module, batch: Batch, views: ViewFunction | None) -> tuple[Any, Any]:
        """Return predictions and targets of one batch: tensors or lists with one row per sample.

        views: makes versions of the inputs whose outputs are merged by `combine`; None for no test-time augmentation.
        """
        ...

    def combine(self, outputs: list[Any]) -> Any:
        """Merge the outputs of several views or several networks for the same samples into one."""
        ...

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Compute the metrics of an evaluation, at least those of `spec.metrics`; "loss" comes first."""
        ...

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        """Collect what the report shows of an evaluation, as plain JSON values.

        name_of: sample number -> name. image_of: sample number -> data URI, "" for samples that are not images.
        """
        ...


@runtime_checkable
class RecordedTask(Protocol):
    """A task that also measures an evaluation for the doctor."""

    def records(self, evaluation: Evaluation) -> list[tuple[str, float, str]]:
        """Return name, value and place of records of the ledger (see `doctor/names.py`), one per epoch."""
        ...


AUXILIARY_WEIGHT = 0.3  # of each auxiliary classifier's loss (Szegedy et al., "Going Deeper with Convolutions", 2014)


class SampleLossTask:
    """Base of tasks whose network outputs are tensors with one row per sample, trained with a loss per sample."""

    def __init__(self, sample_loss: SampleLoss, user_metrics: UserMetrics | None = None) -> None:
        self.sample_loss = sample_loss
        self.user_metrics = user_metrics

    def predict(self, model: nn.Module, batch: Batch, views: ViewFunction | None) -> tuple[Tensor, Tensor]:
        """Raw network outputs, float32, and targets of one batch."""
        if views is None:
            return rows(model(batch.inputs)).float(), batch.targets
        return self.combine([rows(model(view)).float() for view in views(batch.inputs)]), batch.targets

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """Merge the outputs of several views or networks for the same samples into one."""
        raise NotImplementedError

    def mean_loss_of(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of a batch and its main outputs.

        outputs: of the network; a tuple of the main and auxiliary outputs where it has auxiliary classifiers.
        """
        auxiliary: list[Tensor] = []
        if isinstance(outputs, tuple):
            outputs, *auxiliary = outputs
        outputs = rows(outputs)
        loss = self.sample_loss(outputs, targets).mean()
        for output in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * self.sample_loss(output, targets).mean()
        return loss, outputs

    def mean_loss(self, evaluation: Evaluation) -> float:
        """Mean of the sample losses of an evaluation."""
        return self.sample_loss(evaluation.outputs, evaluation.targets).mean().item()


def rows(outputs: Any) -> Tensor:
    """Outputs of a network as (N, K): a tensor, or an object or mapping with `logits`. Refusal for anything else."""
    outputs = getattr(outputs, "logits", outputs)
    if isinstance(outputs, Mapping) and "logits" in outputs:
        outputs = outputs["logits"]
    if not isinstance(outputs, Tensor):
        raise refusal(
            "model",
            message("tasks.wanted.network_returns_tensor", "a network that returns one tensor (N, K)"),
            type(outputs).__name__,
            do=message("tasks.do.return_one", "return one of its tensors, or a dict with it as 'logits'"),
        )
    return outputs[:, None] if outputs.ndim == 1 else outputs
