"""Metrics of poses on the validation set, with the effort of alignment that predictions get."""

from __future__ import annotations

from danlu.inference.load import load
from danlu.inference.measure import measure
from danlu.preparation.prepared import Prepared
from danlu.run.folder import Run


def validate_poses(run: Run, prepared: Prepared) -> dict[str, float] | None:
    """Measure the best weights on the validation set; None for tasks without poses, and without a validation set.

    The validations during the training align poses with less effort (`pose.alignment.QUICK`).
    """
    if not prepared.dataset.task_spec.poses or not len(prepared.split.val):
        return None
    return measure(load(run).network, prepared, "val").metrics
