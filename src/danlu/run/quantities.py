"""Units and meanings of all numbers in the record of a run, shared by its writers and readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """One named number.

    Args:
        unit: Its unit, "fraction" for numbers in [0, 1], "target" for the unit of the target column, "" for none.
        meaning: One line for the reader.
        better: "low", "high", or "" if neither is better.
        per_layer: Recorded for each layer.
        classes: Min number of classes; of fewer it is the same whatever is predicted, and not shown.
    """

    unit: str
    meaning: str
    better: str = ""
    per_layer: bool = False
    classes: int = 0


DETECTION = {
    "mAP": "average precision, mean over classes and over IoU 0.50 to 0.95 (COCO)",
    "mAP50": "average precision at IoU 0.5",
    "mAP75": "average precision at IoU 0.75",
    "mAP_small": "average precision of objects below 32 x 32 pixels",
    "mAP_medium": "average precision of objects from 32 x 32 to 96 x 96 pixels",
    "mAP_large": "average precision of objects above 96 x 96 pixels",
    "AR1": "recall, mean over IoU 0.50 to 0.95, with 1 detection an image",
    "AR10": "recall, mean over IoU 0.50 to 0.95, with 10 detections an image",
    "AR100": "recall, mean over IoU 0.50 to 0.95, with 100 detections an image",
    "AR_small": "recall of objects below 32 x 32 pixels",
    "AR_medium": "recall of objects from 32 x 32 to 96 x 96 pixels",
    "AR_large": "recall of objects above 96 x 96 pixels",
}
POSES = {
    "add_s_01d": ("fraction", "objects with ADD(-S) below 0.1 diameters: ADD, or ADD-S of symmetric objects", "high"),
    "auc_add": ("fraction", "area under the accuracy curve of ADD up to 10 cm (true integral)", "high"),
    "auc_add_s": ("fraction", "area under the accuracy curve of ADD-S up to 10 cm (true integral)", "high"),
    "auc_add_ycb": (
        "fraction",
        "the area of ADD as the YCB-Video toolbox computes it, too high for few samples",
        "high",
    ),
    "auc_add_s_ycb": ("fraction", "the area of ADD-S as the YCB-Video toolbox computes it", "high"),
    "rotation": ("degrees", "mean rotation error of the found objects, the smallest over their symmetries", "low"),
    "translation": ("m", "mean translation error of the found objects", "low"),
    "centre": ("pixels", "mean error of the projected centre of the found objects, in the original image", "low"),
    "depth": ("fraction", "mean error of the depth of the found objects, relative to the depth", "low"),
    "found": ("fraction", "objects for which there is an estimate", "high"),
    "within_5cm_5deg": ("fraction", "objects with errors of at most 5 cm and 5 degrees", "high"),
    "projection_5px": ("fraction", "objects whose points are projected within 5 pixels on average", "high"),
    "mssd": ("fraction", "recall of MSSD, mean over thresholds of 0.05 to 0.5 diameters (BOP)", "high"),
    "mspd": ("fraction", "recall of MSPD, mean over thresholds of 5 to 50 pixels at a width of 640 (BOP)", "high"),
}
LOSS_TERMS = {
    "box": "box",
    "class": "class",
    "objectness": "objectness",
    "proposal_box": "box regression of the proposals'",
    "mask": "mask",
    "l1": "absolute box error",
    "auxiliary": "earlier decoder layers'",
    "rotation_loss": "rotation",
    "score_loss": "rotation anchors",
    "centre_loss": "projected centre",
    "depth_loss": "logarithmic depth",
    "pixel": "pixel label",
}

METRICS: dict[str, Quantity] = {
    "loss": Quantity("", "mean of the per-sample loss that training minimises", "low"),
    "accuracy": Quantity("fraction", "samples whose top-scoring class is the true one", "high"),
    "top5": Quantity("fraction", "samples whose true class is among the five top-scoring", "high", classes=6),
    "f1": Quantity("fraction", "harmonic mean of precision and recall, averaged over the classes", "high"),
    "f1_micro": Quantity("fraction", "harmonic mean of precision and recall over all labels together", "high"),
    "ece": Quantity(
        "fraction", "expected calibration error: mean distance between confidence and accuracy, 15 bins", "low"
    ),
    "r2": Quantity("fraction", "variance of the target that the prediction explains", "high"),
    "mae": Quantity("target", "mean absolute error", "low"),
    "rmse": Quantity("target", "root of the mean squared error", "low"),
    **{
        prefix + name: Quantity("fraction", text + (", of masks" if prefix else ", of boxes"), "high")
        for prefix in ("", "mask_")
        for name, text in DETECTION.items()
    },
    "baseline": Quantity("", "loss of the best answer that ignores the image", "low"),
    "std": Quantity("", "spread of the normalised embeddings, 1 for random directions, 0 after a collapse", "high"),
    "rank": Quantity("", "effective rank of the features: number of directions in use", "high"),
    "knn": Quantity("fraction", "accuracy of nearest neighbours on frozen features, leave-one-out", "high"),
    "linear": Quantity("fraction", "accuracy of a linear classifier on frozen features, two-fold", "high"),
    "constant": Quantity("fraction", "patches whose pixels are all alike", ""),
    "codes_right": Quantity("fraction", "hidden patches whose visual token is predicted", "high"),
    "mAP": Quantity(
        "fraction", "average precision, mean over classes; of boxes also over IoU 0.50 to 0.95 (COCO)", "high"
    ),
    **{name: Quantity(*facts) for name, facts in POSES.items()},
    "mIoU": Quantity("fraction", "intersection over union of the pixels, mean over the classes that occur", "high"),
    "pixel_accuracy": Quantity("fraction", "pixels whose class is the true one", "high"),
    "class_accuracy": Quantity("fraction", "recall of the pixels of a class, mean over the classes", "high"),
    "fw_IoU": Quantity("fraction", "intersection over union, mean over the classes weighted by their pixels", "high"),
    "dice": Quantity("fraction", "2 TP / (2 TP + FP + FN) of the pixels, mean over the classes", "high"),
    "boundary_IoU": Quantity("fraction", "IoU of the pixels near contours, mean over the classes", "high"),
    **{name: Quantity("", f"{text} term of the training loss", "low") for name, text in LOSS_TERMS.items()},
}

VOCABULARY: dict[str, Quantity] = {
    "lr": Quantity("per step", "learning rate of the first parameter group"),
    "seconds": Quantity("s", "time since training began, validation included"),
    "samples_per_second": Quantity("samples/s", "training samples per second of training time"),
    **{f"{split}.{name}": quantity for split in ("train", "val") for name, quantity in METRICS.items()},
}


def is_certain(metric: str, classes: Sequence[str]) -> bool:
    """Return whether a metric of these classes is the same whatever is predicted, as top-5 of three classes."""
    return metric in METRICS and 0 < len(classes) < METRICS[metric].classes
