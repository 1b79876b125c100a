"""Charts about poses: checks of the given ones, and errors of the estimated ones over epochs."""

from __future__ import annotations

import math

from danlu.doctor.drawings.over_time import Fact, points_of
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.presentation.plot import MAX_ROWS, Curves, Line, Row, Rows

POSES = message("doctor.chart.poses", "poses")
KINDS = {
    "unnormalised": message("doctor.chart.unnormalised", "scaled, as of a quaternion"),
    "mirrored": message("doctor.chart.mirrored", "mirrored"),
    "other": message("doctor.chart.other", "other"),
}


def wrong_matrices(ledger: Ledger, finding: Fact) -> Rows | None:
    """Number of poses whose matrix is no rotation, by kind, beside all poses."""
    found = ledger.facts("pose.matrices")
    if not found:
        return None
    rows = [Row(KINDS.get(kind, kind), n, bad=True) for kind, n in found.items()]
    rows.append(Row(message("doctor.chart.all_poses", "all poses"), ledger.last("pose.count", default=0)))
    title = message("doctor.chart.matrices", "Matrices that are no rotations")
    return Rows(title, POSES, rows)


def deviations(ledger: Ledger, finding: Fact) -> Rows | None:
    """Median deviation of projected models from their boxes, as given and after the change that explains them."""
    found = ledger.facts("pose.deviation")
    names = {
        "before": message("doctor.chart.as_given", "as given"),
        "after": message("doctor.chart.changed", "changed"),
    }
    rows = [Row(names[k], v, bad=k == "before") for k, v in found.items() if k in names and math.isfinite(v)]
    title = message("doctor.chart.deviation", "Projected models and their boxes")
    return Rows(title, message("doctor.chart.box_sides", "deviation in sides of the box"), rows) if rows else None


def boxes_apart(ledger: Ledger, finding: Fact) -> Rows | None:
    """Number of poses that were compared with a box, and of those that do not project onto it."""
    if not (compared := ledger.last("pose.compared", default=0)):
        return None
    rows = [
        Row(message("doctor.chart.apart", "not on their box"), ledger.last("pose.apart", default=0), bad=True),
        Row(message("doctor.chart.compared", "compared"), compared),
    ]
    return Rows(message("doctor.chart.deviation", "Projected models and their boxes"), POSES, rows)


def units(ledger: Ledger, finding: Fact) -> Rows | None:
    """Metres per unit of meshes and translations."""
    found = ledger.facts("pose.unit")
    names = {
        "meshes": message("doctor.chart.meshes", "meshes"),
        "translations": message("doctor.chart.translations", "translations"),
    }
    rows = [Row(names.get(k, k), v) for k, v in found.items()]
    title = message("doctor.chart.units", "Units of lengths")
    return Rows(title, message("doctor.chart.metres_per_unit", "metres per unit"), rows, log=True) if rows else None


def wrong_symmetries(ledger: Ledger, finding: Fact) -> Rows | None:
    """Misfit of each mesh after a declared symmetry that it lacks."""
    found = sorted(ledger.facts("pose.symmetry_wrong").items(), key=lambda item: -item[1])
    rows = [Row(name, v, bad=True) for name, v in found[:MAX_ROWS]]
    title = message("doctor.chart.misfit", "Distance of the mesh from itself after the symmetry")
    return Rows(title, message("doctor.chart.diameters", "diameters"), rows, percent=True) if rows else None


def undeclared_symmetries(ledger: Ledger, finding: Fact) -> Rows | None:
    """Number of declared symmetries of the objects whose shape has more."""
    rows = [Row(name, 1, bad=True) for name in list(ledger.facts("pose.symmetry_undeclared"))[:MAX_ROWS]]
    title = message("doctor.chart.symmetric_shapes", "Symmetric shapes")
    return Rows(title, message("doctor.chart.declared", "declared symmetries"), rows) if rows else None


def rotation_errors(ledger: Ledger, finding: Fact) -> Curves | Rows | None:
    """Rotation error of symmetric objects by epoch, with that of an answer that ignores the image."""
    chances = ledger.facts("pose.chance")
    lines = [
        Line(name, points)
        for name in list(ledger.facts("pose.symmetries"))[:MAX_ROWS]
        if name in chances and len(points := points_of(ledger, "pose.rotation", name)) > 1
    ]
    degrees = message("doctor.chart.degrees", "degrees")
    if not lines:
        rows = [Row(name, n, bad=n > 1) for name, n in list(ledger.facts("pose.symmetries").items())[:MAX_ROWS]]
        title = message("doctor.chart.symmetries", "Rotations that look the same")
        return Rows(title, message("doctor.chart.declared", "declared symmetries"), rows) if rows else None
    worst = str((finding.get("evidence") or {}).get("name", ""))
    levels = [(chances[worst], message("doctor.chart.chance_level", "chance level"))] if worst in chances else []
    title = message("doctor.chart.rotation_error", "Rotation error of each epoch")
    return Curves(title, message("doctor.chart.epoch", "epoch"), degrees, lines, None, levels=levels)


def estimates(ledger: Ledger, finding: Fact) -> Curves | Rows | None:
    """Fraction of the objects with an estimate by epoch."""
    points = points_of(ledger, "pose.found", "val")
    title = message("doctor.chart.estimates", "Objects with an estimate")
    label = message("doctor.chart.fraction", "fraction")
    if len(points) > 1:
        return Curves(title, message("doctor.chart.epoch", "epoch"), label, [Line(label, points)], percent=True)
    return Rows(title, label, [Row(label, points[0][1], bad=True)], percent=True) if points else None
