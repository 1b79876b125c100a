"""Choose the threshold of each label on the validation set and store it with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from danlu.engine.checkpoint import save_weights
from danlu.engine.loop import Progress
from danlu.inference.load import load
from danlu.inference.measure import measure
from danlu.inference.trained_network import TrainedNetwork
from danlu.metrics.multilabel import best_thresholds
from danlu.preparation.prepared import Prepared
from danlu.run.folder import Run
from danlu.training.kept_weights import kept_weights


def choose_thresholds(
    run: Run, prepared: Prepared, progress: Progress, given: Sequence[float] = ()
) -> dict[str, float] | None:
    """Choose thresholds for the best and the last weights, and save them again with these in their signature.

    given: thresholds for a training without a validation set, from the folds of a cross-validation.

    Returns the metrics of the best weights on the validation set with their thresholds; None for tasks without
    thresholds, and without a validation set. The result depends on the saved weights alone, so a run that was killed
    meanwhile has the same bits when it is resumed.
    """
    if not prepared.dataset.task_spec.several_labels:
        return None
    if not len(prepared.split.val):
        for name in ("best", "last") if given else ():
            _store(run, load(run, name).network, given, (name,))
        return None
    for names in kept_weights(progress):
        network = load(run, names[0]).network
        evaluation = measure(network, prepared, "val").evaluation
        chosen = best_thresholds(evaluation.outputs.sigmoid(), evaluation.targets)
        _store(run, network, chosen, names)
    return measure(load(run).network, prepared, "val").metrics


def _store(run: Run, network: TrainedNetwork, thresholds: Sequence[float], names: Sequence[str]) -> None:
    """Write the weights of a single network under `names` with these thresholds in their signature."""
    ((signature, model),) = network.members
    for name in names:
        save_weights(run.weights(name), model, replace(signature, thresholds=tuple(thresholds)))


def mean_thresholds(folds: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Mean threshold of each label over the networks of a cross-validation; empty if there are none."""
    return tuple(map(fmean, zip(*folds))) if folds else ()
