"""Match estimated poses with true ones, and compute the errors of each object and the metrics of a set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from danlu.pose import errors
from danlu.pose.cameras import project
from danlu.pose.object_model import ObjectModel
from danlu.pose.symmetry import thinned

MAX_SYMMETRIES = 72  # of a model, in errors of many objects; BOP takes 315 steps of a continuous symmetry
CORRECT = 0.1  # diameters: limit of ADD(-S)
MIN_VISIBLE_FRACTION = 0.1  # objects of which less is visible are not evaluated, as in BOP
BOP_STEPS = torch.arange(1, 11, dtype=torch.float64) / 20  # thresholds of MSSD in diameters, and MSPD / 100 px
BOP_WIDTH = 640  # pixels; thresholds of MSPD grow with the width of the image
AT_ONCE = 256  # objects whose errors are computed in one operation
NAMES = (
    "add", "add_s", "add_or_s", "rotation", "rotation_given", "translation", "centre", "depth",
    "projection", "mssd", "mspd",
)  # fmt: skip


@dataclass
class TrueObjects:
    """M objects of one image. labels (M,), poses [R | t] (M, 3, 4) and visible fractions (M,); camera (3, 3) in pixels
    of the image; width of the image in pixels.
    """

    labels: Tensor
    poses: Tensor
    visible: Tensor
    camera: Tensor
    width: int

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class PoseErrors:
    """Errors of all objects that are evaluated; infinite for those without an estimate.

    image, number: of each object, int64 (n,). labels (n,). values: name of `NAMES` -> (n,); rotation (the smallest over
    the symmetries) and rotation_given (to the pose of the data) in degrees, centre and mspd in pixels, depth as a
    fraction, the others in metres. diameters (n,), widths (n,). estimate: number of the
    detection in its image, -1 for none.
    """

    image: Tensor
    number: Tensor
    labels: Tensor
    estimate: Tensor
    diameters: Tensor
    widths: Tensor
    values: dict[str, Tensor] = field(default_factory=dict)


def matched(labels: Tensor, scores: Tensor, poses: Tensor, truth: TrueObjects) -> Tensor:
    """Assign detections to the M true objects of an image, int64 (M,), -1 for none.

    As in BOP's localisation task, the number of objects of each class is known: of n objects of a class the n
    detections with the highest scores count, each assigned to the nearest object that is still free. Objects that
    are hardly visible are not evaluated and take detections last.
    """
    found = torch.full((len(truth),), -1)
    for label in truth.labels.unique().tolist():
        objects = (truth.labels == label).nonzero()[:, 0]
        objects = objects[truth.visible[objects].argsort(descending=True)]
        chosen = (labels == label).nonzero()[:, 0]
        chosen = chosen[scores[chosen].argsort(descending=True)][: len(objects)]
        distances = torch.cdist(poses[chosen, :, 3].double(), truth.poses[objects, :, 3].double())
        for row, detection in enumerate(chosen.tolist()):
            free = (found[objects] < 0).nonzero()[:, 0]
            best = free[distances[row, free].argmin()]
            found[objects[best]] = detection
    return found


def pose_errors(
    images: Sequence[tuple[Tensor, Tensor, Tensor]], truths: Sequence[TrueObjects], models: Sequence[ObjectModel]
) -> PoseErrors:
    """Compute the errors of all true objects that are visible enough.

    images: labels (D,), scores (D,) and poses (D, 3, 4) of the detections of each image. models: of each class.
    """
    rows, estimates = [], []
    for i, ((labels, scores, poses), truth) in enumerate(zip(images, truths)):
        chosen = matched(labels, scores, poses, truth).tolist()
        for number, detection in enumerate(chosen):
            if truth.visible[number] >= MIN_VISIBLE_FRACTION:
                rows.append((i, number, int(truth.labels[number]), detection))
                estimates.append(poses[detection] if detection >= 0 else torch.full((3, 4), math.nan))
    table = torch.tensor(rows, dtype=torch.int64).reshape(-1, 4)
    image, number, labels, estimate = table.unbind(1)
    found = PoseErrors(
        image,
        number,
        labels,
        estimate,
        torch.tensor([model.extent for model in models], dtype=torch.float64)[labels],
        torch.tensor([truths[i].width for i in image.tolist()], dtype=torch.float64),
        {name: torch.full((len(table),), math.inf, dtype=torch.float64) for name in NAMES},
    )
    for label, model in enumerate(models):
        chosen = ((labels == label) & (estimate >= 0)).nonzero()[:, 0]
        for part in chosen.split(AT_ONCE):
            if len(part):
                real = [truths[i] for i in image[part].tolist()]
                true = torch.stack([one.poses[number[k]] for k, one in zip(part.tolist(), real)]).double()
                camera = torch.stack([one.camera for one in real]).double()
                guess = torch.stack([estimates[k] for k in part.tolist()]).double()
                for name, values in _errors_of(model, guess, true, camera).items():
                    found.values[name][part] = values
    return found


def _errors_of(model: ObjectModel, estimate: Tensor, truth: Tensor, cameras: Tensor) -> dict[str, Tensor]:
    """Errors of n estimates of one object, by the names of `NAMES`; poses (n, 3, 4), cameras (n, 3, 3)."""
    points, group = model.points, thinned(model.symmetries, MAX_SYMMETRIES)
    guess, real = ((one[..., :3], one[..., 3]) for one in (estimate, truth))
    shift = guess[1] - real[1]
    centres = project(guess[1][:, None], cameras)[:, 0] - project(real[1][:, None], cameras)[:, 0]
    add, add_s = errors.add(points, guess, real), errors.add_s(points, guess, real)
    return {
        "add": add,
        "add_s": add_s,
        "add_or_s": add_s if model.symmetric else add,
        "rotation": errors.rotation_errors(guess[0], real[0], group).rad2deg(),
        "rotation_given": errors.rotation_errors(guess[0], real[0], group[:1]).rad2deg(),
        "translation": shift.norm(dim=-1),
        "centre": centres.norm(dim=-1),
        "depth": shift[:, 2].abs() / real[1][:, 2],
        "projection": errors.projection_error(points, guess, real, cameras),
        "mssd": errors.mssd(points, guess, real, group),
        "mspd": errors.mspd(points, guess, real, group, cameras),
    }


def pose_metrics(found: PoseErrors, chosen: Tensor | None = None) -> dict[str, float]:
    """Metrics over all objects, or over `chosen`, bool (n,). An object without an estimate counts as wrong.

    Mean errors of rotation (degrees), translation (metres), centre (pixels) and depth are over the objects with an
    estimate; NaN without one.
    """
    chosen = torch.ones_like(found.labels, dtype=torch.bool) if chosen is None else chosen
    value = {name: values[chosen] for name, values in found.values.items()}
    diameters, widths, seen = found.diameters[chosen], found.widths[chosen], found.estimate[chosen] >= 0
    if not len(seen):
        return {}
    near = errors.within_5cm_5deg(value["rotation"].deg2rad(), value["translation"])
    limits = BOP_STEPS * 100 * widths[:, None] / BOP_WIDTH
    return {
        "add_s_01d": float((value["add_or_s"] < CORRECT * diameters).double().mean()),
        "auc_add": errors.auc_integral(value["add"]) / 100,
        "auc_add_s": errors.auc_integral(value["add_s"]) / 100,
        "auc_add_ycb": errors.auc_ycb_toolbox(value["add"]) / 100,
        "auc_add_s_ycb": errors.auc_ycb_toolbox(value["add_s"]) / 100,
        **{name: _mean(value[name][seen]) for name in ("rotation", "translation", "centre", "depth")},
        "found": float(seen.double().mean()),
        "within_5cm_5deg": float(near.double().mean()),
        "projection_5px": float((value["projection"] < 5).double().mean()),
        "mssd": float((value["mssd"][:, None] < BOP_STEPS * diameters[:, None]).double().mean()),
        "mspd": float((value["mspd"][:, None] < limits).double().mean()),
    }


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else math.nan
