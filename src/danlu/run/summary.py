"""summary.json: the results of a training as dataclasses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from danlu.message import as_html
from danlu.run.result import Result, html_table

PUBLIC = ("run", "task", "model", "epochs", "metrics", "seconds", "samples_per_second", "findings")


@dataclass(frozen=True, eq=False, repr=False)
class Metrics(Result):
    """Metrics of one split. None if the task has no such metric; NaN if it is undefined (too few samples).

    All tasks: `loss`. Classification: `accuracy`, `top5`, `f1`, `ece`. Several labels per
    image: `mAP`, `f1`, `f1_micro`. Regression: `r2`, `mae`, `rmse`. Detection:
    COCO's average precision (AP) and recall (AR) of boxes and, for segmentation, of masks.
    """

    loss: float | None = None  # mean over the samples, >= 0
    accuracy: float | None = None  # fraction of samples with the right class, [0, 1]
    top5: float | None = None  # fraction of samples whose class is among the 5 most probable, [0, 1]
    f1: float | None = None  # mean F1 over the classes (macro), [0, 1]
    f1_micro: float | None = None  # F1 of all labels together (micro), [0, 1]
    ece: float | None = None  # expected calibration error over 15 bins, [0, 1]; smaller is better
    r2: float | None = None  # coefficient of determination, at most 1
    mae: float | None = None  # mean absolute error, in the unit of the target
    rmse: float | None = None  # root mean squared error, in the unit of the target
    mAP: float | None = None  # box AP, mean over IoU thresholds 0.50:0.05:0.95 and classes; AP of labels; [0, 1]
    mAP50: float | None = None  # at IoU threshold 0.50
    mAP75: float | None = None  # at IoU threshold 0.75
    mAP_small: float | None = None  # of objects below 32 x 32 pixels
    mAP_medium: float | None = None  # of objects from 32 x 32 to 96 x 96 pixels
    mAP_large: float | None = None  # of objects above 96 x 96 pixels
    AR1: float | None = None  # box recall with at most 1 detection an image, mean over IoU thresholds, [0, 1]
    AR10: float | None = None  # with at most 10
    AR100: float | None = None  # with at most 100
    AR_small: float | None = None
    AR_medium: float | None = None
    AR_large: float | None = None
    mask_mAP: float | None = None  # mask AP, as `mAP`
    mask_mAP50: float | None = None
    mask_mAP75: float | None = None
    mask_mAP_small: float | None = None
    mask_mAP_medium: float | None = None
    mask_mAP_large: float | None = None
    mask_AR1: float | None = None
    mask_AR10: float | None = None
    mask_AR100: float | None = None
    mask_AR_small: float | None = None
    mask_AR_medium: float | None = None
    mask_AR_large: float | None = None
    other: Mapping[str, float] = field(default_factory=dict)  # terms of the loss, and metrics not listed here

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Metric name -> number; null, which JSON has for NaN, is read as NaN."""
        numbers = {name: math.nan if value is None else value for name, value in kept.items()}
        known = {one.name for one in fields(cls)} - {"other"}
        other = {name: value for name, value in numbers.items() if name not in known}
        return cls(**{name: value for name, value in numbers.items() if name in known}, other=other)

    def to_json(self) -> dict[str, Any]:
        """Metric name -> number; null where it is not finite."""
        return {name: value if math.isfinite(value) else None for name, value in self.items()}

    def __getitem__(self, key: str) -> Any:
        return self.other[key] if key in self.other else super().__getitem__(key)

    def _attributes(self) -> dict[str, str]:
        names = {key: name for key, name in super()._attributes().items() if name != "other"}
        return names | {name: name for name in self.other}

    def _repr_html_(self) -> str:
        return html_table({name: f"{value:.4f}" for name, value in self.items()})

    def __repr__(self) -> str:
        return f"Metrics({', '.join(f'{name}={value:.4g}' for name, value in self.items())})"

    __str__ = __repr__


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


@dataclass(frozen=True, eq=False, repr=False)
class SplitMetrics(Result):
    """Metrics by split; empty for a split that was not evaluated."""

    train: Metrics = field(default_factory=Metrics)  # means over the best epoch, with augmentation
    val: Metrics = field(default_factory=Metrics)
    test: Metrics = field(default_factory=Metrics)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return the metrics kept in `summary.json`; empty for splits that are missing."""
        return cls(**{one.name: Metrics.from_json(kept.get(one.name) or {}) for one in fields(cls)})

    @classmethod
    def of(cls, split: str, metrics: Mapping[str, float]) -> Self:
        """Metrics of one split, the others empty."""
        return cls.from_json({split: metrics})

    def _repr_html_(self) -> str:
        splits = {split: metrics for split, metrics in self.items() if metrics}
        names = list(dict.fromkeys(name for metrics in splits.values() for name in metrics))
        head = "".join(f"<th>{as_html(name)}</th>" for name in names)
        rows = "".join(
            f"<tr><th>{split}</th>" + "".join(f"<td>{_figure(metrics.get(name))}</td>" for name in names) + "</tr>"
            for split, metrics in splits.items()
        )
        return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"

    @property
    def last(self) -> tuple[str, Metrics]:
        """Name and metrics of the last split with metrics: test, else val, else train."""
        return next(((name, self[name]) for name in ("test", "val", "train") if self[name]), ("test", Metrics()))


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(Result):
    """Temperature scaling of a classifier; see `danlu.metrics.calibration`."""

    temperature: float = 1.0  # divides the outputs before softmax; above 1 it lowers the confidence
    samples: int = 0  # of the validation set it was fitted on; 0 for the mean over the folds of a cross-validation
    before: Mapping[str, float] = field(default_factory=dict)  # split -> expected calibration error without it
    after: Mapping[str, float] = field(default_factory=dict)  # split -> expected calibration error with it


@dataclass(frozen=True, eq=False, repr=False)
class DataSummary(Result):
    """The dataset of a run."""

    path: str = ""  # file, folder or name of a known dataset
    format: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)  # split -> number of samples
    classes: list[str] = field(default_factory=list)  # in the order of the outputs; empty for regression
    input: list[int] = field(default_factory=list)  # [channels, height, width] or [columns]
    how: str = ""  # how the splits were made
    notes: list[str] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)  # [{"where", "reason"}]


@dataclass(frozen=True, eq=False, repr=False)
class Summary(Result):
    """Results of a training, as in summary.json. Empty (false) while the run has not finished."""

    run: str = ""  # folder
    task: str = ""  # classify, regress, detect, segment
    model: str = ""
    epochs: int = 0  # trained
    metrics: SplitMetrics = field(default_factory=SplitMetrics)  # of the best weights
    seconds: float = 0.0  # reading, training and evaluation together
    samples_per_second: float = 0.0  # of training
    findings: list[dict[str, Any]] = field(default_factory=list)  # of the doctor; see `doctor.finding.Finding`
    best_epoch: int | None = None  # from 1
    kept_start: bool | None = None  # the best weights are those at the start of a fine-tuning, better than `best_epoch`
    monitor: str = ""  # validation metric that decides which epoch is best
    better: str = ""  # "high" or "low"
    parameters: int = 0  # of the network, of all members of an ensemble
    data: DataSummary = field(default_factory=DataSummary)
    choices: list[dict[str, Any]] = field(default_factory=list)  # settings chosen from the data: key, value, reason
    transfer: dict[str, Any] | None = None  # what was taken from the weights of --init
    timings: Mapping[str, float] = field(default_factory=dict)  # seconds of data, training, evaluation
    test_looks: int = 0  # evaluations on the test split so far
    evaluation: dict[str, Any] = field(default_factory=dict)  # tables and examples of the report
    augmented: list[str] = field(default_factory=list)  # training images after augmentation, as data URIs
    calibration: Calibration | None = None  # of a classifier with a validation set
    stopped: str | None = None  # reason for ending before the last epoch
    folds: list[dict[str, Any]] | None = None  # cross-validation: [{"fold", "val"}]
    refit: str | None = None  # cross-validation: all, best or ensemble
    fold_mean: Mapping[str, float] | None = None  # validation metric -> mean over the folds
    fold_std: Mapping[str, float] | None = None  # validation metric -> sample standard deviation over the folds

    ALWAYS: ClassVar[tuple[str, ...]] = ("best_epoch", "transfer", "stopped", "folds")

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Read summary.json; one of a run that has not finished ({}) gives an empty summary."""
        plain = super().from_json(kept)
        return replace(
            plain,
            metrics=SplitMetrics.from_json(kept.get("metrics") or {}),
            data=DataSummary.from_json(kept.get("data") or {}),
            calibration=Calibration.from_json(kept["calibration"]) if kept.get("calibration") else None,
        )

    def public(self) -> dict[str, Any]:
        """The part that `danlu train --json` prints."""
        whole = self.to_json()
        return {key: whole[key] for key in PUBLIC} | ({"folds": whole["folds"]} if self.folds else {})

    def _attributes(self) -> dict[str, str]:
        return super()._attributes() if self.run else {}

    def __repr__(self) -> str:
        if not self:
            return "Summary(not finished)"
        split, metrics = self.metrics.last
        shown = ", ".join(f"{name}={value:.4g}" for name, value in list(metrics.items())[:3])
        return f"Summary({self.run}: {self.task}, {self.model}, {self.epochs} epochs, {split} {shown})"

    __str__ = __repr__
