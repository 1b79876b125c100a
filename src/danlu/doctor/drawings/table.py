"""Which drawing proves which finding: code -> drawings, of which the first that finds its numbers is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from danlu.doctor.drawings.counts import (
    classes,
    columns,
    counts,
    coverage,
    curvature,
    kinds_of_faults,
    label_span,
    object_sizes,
    spans_apart,
)
from danlu.doctor.drawings.over_layers import (
    by_layer,
    chain,
    gradient_over_depth,
    outputs_and_loss,
    parameters_marked,
    scale_over_depth,
    updates_by_layer,
    widths,
)
from danlu.doctor.drawings.over_time import (
    contradicted,
    epoch_accuracies,
    epoch_losses,
    loss_and_chance,
    loss_and_floor,
    loss_broken,
    loss_that_rises,
    loss_with_restarts,
    memory,
    pair,
    rate,
    redrawn,
    series,
    shares_by_epoch,
    told_and_right,
)
from danlu.doctor.ledger import Ledger
from danlu.doctor.plot import Figure
from danlu.doctor.wording.drawings import saying

Drawing = Callable[[Ledger, Mapping[str, Any], Callable[..., str]], Figure | None]

CALLS = [
    ("forwards", "forward passes", None),
    ("backwards", "backward passes", None),
    ("steps", "optimiser steps", None),
]
MODES = (("mode.loss_train", "", "train mode"), ("mode.loss_eval", "", "eval mode"))
PREDICTED = (("class.predicted", "val", "predictions"), ("class.actual", "val", "labels"))
FOUND = (("class.actual", "train", "share of the labels"), ("class.correct", "val", "of these found"))
SUREST = (("label.surest_correct", "val", "surest third"), ("accuracy.mean", "val", "all"))
TIMES = (("time.step", "", "whole step"), ("time.wait", "", "waiting for data"))
NORMS = (("gradient.raw_norm", "", "before clipping"), ("gradient.norm", "", "as used"))

DRAWINGS: dict[str, tuple[Drawing, ...]] = {
    "data.leak": (
        counts(
            "Validation samples looked at",
            "samples",
            [("seen", "looked at", False), ("leaked", "also trained on", True)],
        ),
    ),
    "data.duplicates": (
        series(
            "Samples that came before in the same epoch",
            "share",
            "input.repeated",
            x="epoch",
            where="train",
            share=True,
        ),
    ),
    "data.imbalance": (classes("Each class: how common, and how much of it is found", *FOUND),),
    "data.label_range": (label_span,),
    "data.label_noise": (
        contradicted,
        pair("Validation: surest third of the predictions, and all", "accuracy", *SUREST, x="epoch", share=True),
        epoch_accuracies,
    ),
    "data.labels_shuffled": (epoch_accuracies, epoch_losses),
    "data.not_normalised": (columns,),
    "data.degenerate": (
        counts(
            "Training samples looked at",
            "samples",
            [("seen", "looked at", False), ("blank", "blank", True), ("nonfinite", "NaN or infinite", True)],
        ),
    ),
    "data.not_shuffled": (
        pair(
            "Labels of a batch against all labels",
            "total variation",
            ("batch.label_distance", "", "measured"),
            ("batch.label_distance_expected", "", "of a shuffled order"),
        ),
    ),
    "data.split_shift": (spans_apart,),
    "data.augmentation_harmful": (redrawn, spans_apart),
    "data.bad_boxes": (kinds_of_faults,),
    "model.anchor_coverage": (coverage,),
    "model.no_nonlinearity": (chain,),
    "model.output_mismatch": (loss_and_floor, outputs_and_loss),
    "model.loss_mismatch": (outputs_and_loss,),
    "model.bad_init": (scale_over_depth,),
    "model.unreached": (parameters_marked("Parameters; marked: no gradient comes to them", "parameter.reached", 0),),
    "model.bias_before_norm": (chain,),
    "model.receptive_field": (object_sizes,),
    "model.too_small": (widths,),
    "model.too_large": (
        counts(
            "Weights against samples", "count", [("weights", "weights", True), ("samples", "samples", False)], log=True
        ),
    ),
    "norm.small_batch": (
        by_layer("Samples for each statistic", "samples of a batch", "norm.batch", level=(16, "16: enough")),
    ),
    "norm.train_eval_gap": (
        pair("The same batch in both modes", "loss", *MODES, x="epoch", log=None),
        by_layer("Running mean against the batch's", "difference in deviations", "norm.mean_shift"),
    ),
    "loop.missing_zero_grad": (
        series(
            "Gradient left over from the step before",
            "share of the last step's gradient",
            "optimizer.leftover_share",
            levels=[(0.0, "zeroed")],
            share=True,
        ),
    ),
    "loop.wrong_sign": (loss_and_chance,),
    "loop.no_update": (counts("What was called, and how often", "calls", CALLS),),
    "loop.params_not_in_optimizer": (
        parameters_marked("Parameters; marked: no optimiser holds them", "parameter.held", 0),
    ),
    "loop.optimizer_recreated": (loss_with_restarts,),
    "loop.wrong_mode": (shares_by_epoch,),
    "loop.graph_kept": (shares_by_epoch,),
    "loop.scheduler_misuse": (rate,),
    "loop.metric_last_batch": (told_and_right,),
    "optim.lr_too_high": (loss_that_rises,),
    "optim.lr_too_low": (updates_by_layer,),
    "optim.oscillation": (
        series("Successive updates", "cosine", "update.cosine", levels=[(-0.75, "bouncing below"), (0.0, "")]),
    ),
    "optim.plateau_saddle": (curvature, loss_and_chance),
    "optim.plateau_minimum": (series("Norm of the gradient", "norm, all parameters", "gradient.norm", log=True),),
    "optim.weight_decay_too_strong": (series("Norm of the weights", "norm, all parameters", "weight.norm"),),
    "optim.momentum_too_high": (loss_that_rises,),
    "optim.batch_too_small": (
        counts(
            "Batch against gradient noise",
            "samples",
            [("batch", "batch", True), ("noise_scale", "noise scale", False)],
            log=True,
        ),
        loss_and_chance,
    ),
    "optim.batch_too_large": (
        counts(
            "Batch against gradient noise",
            "samples",
            [("batch", "batch", True), ("noise_scale", "noise scale", False), ("samples", "training set", False)],
            log=True,
        ),
    ),
    "optim.no_warmup": (loss_that_rises,),
    "optim.clipping_always": (pair("Norm of the gradient", "norm, all parameters", *NORMS, log=True),),
    "gradient.vanishing": (gradient_over_depth,),
    "gradient.exploding": (gradient_over_depth,),
    "activation.dead_relu": (
        by_layer(
            "Units that are zero for every sample",
            "share of the layer's units",
            "activation.dead_units",
            share=True,
            above=0.6,
        ),
    ),
    "activation.saturated": (
        by_layer(
            "Values at an end of their range",
            "share of the layer's values",
            "activation.saturated",
            share=True,
            above=0.7,
        ),
    ),
    "activation.collapsed": (
        by_layer(
            "How much each layer tells samples apart",
            "variance over samples / mean square",
            "activation.spread",
            log=True,
            below=1e-5,
            level=(1e-5, "alike below"),
        ),
    ),
    "numerics.nonfinite": (loss_broken, chain),
    "numerics.half_range": (
        series("Scale of the loss", "factor", "loss.scale", log=True),
        series("Gradient that is exactly zero", "share", "gradient.zero_share", share=True),
    ),
    "speed.input_bound": (pair("Time of each step", "milliseconds", *TIMES, times=1e3),),
    "speed.device_idle": (series("Time of each step", "milliseconds", "time.step", times=1e3),),
    "speed.memory_growth": (memory,),
    "fit.one_class": (classes("What is predicted, and what is there", *PREDICTED, late=True),),
    # A family, where a code has none of its own.
    "fit": (epoch_losses,),
    "optim": (loss_and_chance,),
}


def draw(finding: Mapping[str, Any], ledger: Ledger, language: str = "en") -> Figure | None:
    """The chart that proves a finding (as in findings.json), or None where the ledger lacks its numbers."""
    code = str(finding.get("code", ""))
    say = saying(language)
    for drawing in DRAWINGS.get(code) or DRAWINGS.get(code.partition(".")[0], ()):
        figure = drawing(ledger, finding, say)
        if figure is not None:
            return figure
    return None
