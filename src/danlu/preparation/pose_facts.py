"""Facts about poses that are recorded for the doctor: checks of the data, and the rotation loss of the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from danlu.data.pose_audit import MAX_EXAMPLES, PoseAudit
from danlu.detection.pose_detector import PoseDetector
from danlu.doctor.ledger import Ledger
from danlu.pose.errors import rotation_errors
from danlu.pose.evaluation import MAX_SYMMETRIES
from danlu.pose.object_model import ObjectModel
from danlu.pose.rotations import random_rotations
from danlu.pose.symmetry import thinned
from danlu.preparation.prepared import Prepared

CHANCE_SAMPLES = 1000  # random rotations whose mean error is chance level


def record_pose_facts(ledger: Ledger, prepared: Prepared, model: nn.Module) -> None:
    """Add pose.* of the data and of the network to the ledger; nothing for other tasks. model: of the architecture."""
    if not isinstance(model, PoseDetector):
        return
    if prepared.dataset.audit is not None:
        _record_audit(ledger, prepared.dataset.audit)
    record_models(ledger, prepared.dataset.models, model.pose_loss)


def record_models(ledger: Ledger, models: Sequence[ObjectModel], pose_loss: str) -> None:
    """Add the rotation loss, and the number of symmetries and chance level of each model."""
    ledger.add("pose.loss", pose_loss, step=0)
    turns = random_rotations(CHANCE_SAMPLES, torch.Generator().manual_seed(0))
    identity = torch.eye(3, dtype=turns.dtype).expand_as(turns)
    for one in models:
        ledger.add("pose.symmetries", len(one.symmetries), one.name, 0)
        level = rotation_errors(identity, turns, thinned(one.symmetries, MAX_SYMMETRIES)).rad2deg().mean()
        ledger.add("pose.chance", round(float(level), 2), one.name, 0)


def _record_audit(ledger: Ledger, audit: PoseAudit) -> None:
    ledger.add("pose.count", audit.poses, step=0)
    for kind, places in audit.matrices.items():
        ledger.add("pose.matrices", len(places), kind, 0)
        ledger.add("pose.examples", places[:MAX_EXAMPLES], kind, 0)
    ledger.add("pose.compared", audit.compared, step=0)
    ledger.add("pose.apart", audit.apart, step=0)
    ledger.add("pose.examples", audit.examples, "apart", 0)
    found = audit.explanation
    ledger.add("pose.explanation", found.kind if found else "none", step=0)
    if found is not None:
        ledger.add("pose.deviation", round(found.before, 4), "before", 0)
        ledger.add("pose.deviation", round(found.after, 4), "after", 0)
        ledger.add("pose.factor", found.factor, step=0)
        ledger.add("pose.camera", [round(v, 2) for v in found.camera], step=0)
    if audit.units_differ:
        ledger.add("pose.unit", audit.mesh_unit, "meshes", 0)
        ledger.add("pose.unit", audit.translation_unit, "translations", 0)
    for name, misfit in audit.wrong:
        ledger.add("pose.symmetry_wrong", round(misfit, 4), name, 0)
    for name, turns in audit.undeclared:
        ledger.add("pose.symmetry_undeclared", turns, name, 0)
