"""Every name the record of a run may bear, with its unit and meaning. Writers and readers share this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """unit: what one of it is. meaning: one line for the reader. better: "low", "high", or "" where neither is."""

    unit: str
    meaning: str
    better: str = ""
    per_layer: bool = False


METRICS: dict[str, Quantity] = {
    "loss": Quantity("", "mean of the per-sample loss that training minimises", "low"),
    "accuracy": Quantity("share", "samples whose likeliest class is the true one", "high"),
    "top5": Quantity("share", "samples whose true class is among the five likeliest", "high"),
    "f1": Quantity("share", "harmonic mean of precision and recall, averaged over the classes", "high"),
    "ece": Quantity(
        "share", "expected calibration error: mean distance between confidence and accuracy, 15 bins", "low"
    ),
    "r2": Quantity("share", "variance of the target that the prediction explains", "high"),
    "mae": Quantity("target", "mean absolute error", "low"),
    "rmse": Quantity("target", "root of the mean squared error", "low"),
}

VOCABULARY: dict[str, Quantity] = {
    "lr": Quantity("per step", "learning rate of the first parameter group"),
    "seconds": Quantity("s", "time since training began, validation included"),
    "samples_per_second": Quantity("samples/s", "training samples per second of training time"),
    **{f"{split}.{name}": quantity for split in ("train", "val") for name, quantity in METRICS.items()},
}
