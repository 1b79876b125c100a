"""Keep the weights that a fine-tuning started from, where every epoch scored lower on the validation set.

Their head is a logistic regression on the features of the frozen network (`preparation/head_first.py`). On a few
hundred images it can be better than anything that training makes of it.
"""

from __future__ import annotations

from danlu.engine.checkpoint import save_weights
from danlu.engine.device import make_fabric
from danlu.engine.loop import Progress, validate
from danlu.message import translated
from danlu.preparation.assemble import make_plan
from danlu.preparation.prepared import Prepared
from danlu.progress.stages import stage
from danlu.run.best_epoch import SMALL_VALIDATION, score
from danlu.run.folder import Run


def keep_start(run: Run, prepared: Prepared, progress: Progress) -> dict[str, float] | None:
    """Replace the best weights by those at the start, if these score higher on the validation set.

    The start is built again from the seed, so a run that was killed meanwhile has the same bits when it is resumed.

    Returns:
        The metrics of the start on the validation set; None if the best weights are kept, if the head was not fitted
        first, or if the validation set is too small to compare by.
    """
    spec = prepared.dataset.task_spec
    small = len(prepared.split.val) < SMALL_VALIDATION
    if not prepared.config.transfer.head_first or spec.targets != "class" or small or progress.best is None:
        return None
    fabric = make_fabric(prepared.device, 1, prepared.config.precision)
    fabric.launch()
    with stage(translated("stage.fitted_start", "comparing with the logistic regression at the start")):
        plan = make_plan(prepared, fabric)
        metrics = validate(plan)
    if score(spec, metrics)[0] <= progress.best[0]:  # of equals, what was trained
        return None
    save_weights(run.weights("best"), plan.module, prepared.signature)
    return metrics
