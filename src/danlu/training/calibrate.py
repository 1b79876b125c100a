"""Fit the temperature of a classifier on the validation set and store it with the weights."""

from __future__ import annotations

from dataclasses import replace

from danlu.engine.checkpoint import save_weights
from danlu.engine.loop import Progress
from danlu.inference.load import load
from danlu.inference.measure import Measurement, measure
from danlu.inference.trained_network import TrainedNetwork
from danlu.metrics.calibration import MIN_SAMPLES, fit_temperature
from danlu.metrics.classification import expected_calibration_error
from danlu.preparation.prepared import Prepared
from danlu.run.folder import Run
from danlu.run.summary import Calibration
from danlu.tasks.classify import probabilities
from danlu.training.kept_weights import kept_weights


def calibrate(
    run: Run, prepared: Prepared, progress: Progress, given: float = 1.0, *, kept_start: bool = False
) -> Calibration | None:
    """Fit the temperature of the best and of the last weights, and save them again with it in their signature.

    given: temperature for a training without a validation set, from the folds of a cross-validation.
    kept_start: the best weights are those before the first epoch.

    Returns the calibration of the best weights; None for other tasks and too few validation samples. The result
    depends on the saved weights alone, so a run that was killed meanwhile has the same bits when it is resumed.
    """
    if prepared.dataset.task_spec.targets != "class":
        return None
    if not len(prepared.split.val):
        for name in ("best", "last") if given != 1 else ():
            _store(run, load(run, name).network, given, (name,))
        return Calibration(given) if given != 1 else None
    if len(prepared.split.val) < MIN_SAMPLES:
        return None
    found = None
    for names in kept_weights(progress, kept_start=kept_start):
        network = _uncalibrated(load(run, names[0]).network)
        measured = measure(network, prepared, "val")
        temperature = fit_temperature(measured.evaluation.outputs, measured.evaluation.targets)
        _store(run, network, temperature, names)
        if found is None:
            found = with_split(Calibration(temperature, len(prepared.split.val)), measured)
    return found


def with_split(calibration: Calibration, measured: Measurement) -> Calibration:
    """A calibration with the calibration error of one split, before and after scaling."""
    outputs, targets = measured.evaluation.outputs, measured.evaluation.targets
    before, after = (
        expected_calibration_error(probabilities(outputs, one), targets) for one in (1.0, calibration.temperature)
    )
    return replace(
        calibration,
        before={**calibration.before, measured.split: before},
        after={**calibration.after, measured.split: after},
    )


def _uncalibrated(network: TrainedNetwork) -> TrainedNetwork:
    """The same network with a temperature of 1. network: whose members have not been used yet."""
    network.signature = replace(network.signature, temperature=1.0)
    return network


def _store(run: Run, network: TrainedNetwork, temperature: float, names: tuple[str, ...]) -> None:
    """Write the weights of a single network under `names` with this temperature in their signature."""
    ((signature, model),) = network.members
    for name in names:
        save_weights(run.weights(name), model, replace(signature, temperature=temperature))
