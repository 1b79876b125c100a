"""What a detector fits in closed form, fitted to the weights that a training leaves."""

from __future__ import annotations

from danlu.detection.detector import Detector
from danlu.engine.checkpoint import save_weights
from danlu.engine.device import make_fabric
from danlu.engine.loop import Progress
from danlu.inference.measure import measure
from danlu.inference.trained_run import open_trained
from danlu.preparation.assemble import make_batches, transforms
from danlu.preparation.prepared import Prepared
from danlu.run.folder import Run


def settle(run: Run, prepared: Prepared, progress: Progress) -> dict[str, float] | None:
    """`Detector.settle` of the best weights and of the last, which are saved anew.

    Gives the metrics of the best ones on the validation split, or None where they have not changed. However a training
    ended, here nothing depends on more than the weights it saved; so this is repeated, to the same bits, when the run
    was killed meanwhile. The detector sees the training images as they are, all of them in each pass.
    """
    model = open_trained(run).model if prepared.objects is not None else None
    if not (isinstance(model, Detector) and model.settles):
        return None
    config = prepared.config
    fabric = make_fabric(prepared.device, 1, config.precision or "fp32")
    fabric.launch()
    _, normalise = transforms(prepared)
    batches = make_batches(prepared, prepared.split.train, normalise, batch_size=config.batch_size)
    same = progress.best_epoch == progress.epoch
    for kept in [("best", "last")] if same else [("best",), ("last",)]:
        ((signature, detector),) = open_trained(run, kept[0]).members_on(fabric.device, bool(config.channels_last))
        with fabric.autocast():
            detector.settle(lambda: ((batch.inputs, batch.targets) for batch in batches.epoch()))
        for which in kept:
            save_weights(run.weights(which), detector, signature)
    return measure(open_trained(run), prepared, "val")["metrics"] if len(prepared.split.val) else None
