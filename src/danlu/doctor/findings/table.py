"""The table of all findings.

A finding is the file FAMILY/NAME.py beside this one; its line here enables it. The order breaks ties:
of findings with the same severity and confidence, the first in the table is reported first.
"""

from __future__ import annotations

from importlib import import_module

from danlu.doctor.findings.spec import FindingSpec

CODES = (
    "data.leak",
    "data.duplicates",
    "data.imbalance",
    "data.not_normalised",
    "data.degenerate",
    "data.not_shuffled",
    "data.split_shift",
    "data.augmentation_harmful",
    "data.label_range",
    "data.label_noise",
    "data.labels_shuffled",
    "model.no_nonlinearity",
    "model.bad_init",
    "model.unreached",
    "model.bias_before_norm",
    "model.too_small",
    "model.too_large",
    "model.output_mismatch",
    "model.loss_mismatch",
    "norm.small_batch",
    "norm.train_eval_gap",
    "loop.missing_zero_grad",
    "loop.wrong_sign",
    "loop.no_update",
    "loop.params_not_in_optimizer",
    "loop.optimizer_recreated",
    "loop.wrong_mode",
    "loop.graph_kept",
    "loop.scheduler_misuse",
    "loop.metric_last_batch",
    "optim.lr_too_high",
    "optim.lr_too_low",
    "optim.oscillation",
    "optim.weight_decay_too_strong",
    "optim.momentum_too_high",
    "optim.no_warmup",
    "optim.clipping_always",
    "optim.plateau_saddle",
    "optim.plateau_minimum",
    "optim.slow_convergence",
    "optim.batch_too_small",
    "optim.batch_too_large",
    "gradient.vanishing",
    "gradient.exploding",
    "activation.dead_relu",
    "activation.saturated",
    "activation.collapsed",
    "numerics.nonfinite",
    "numerics.half_range",
    "fit.overfitting",
    "fit.underfitting",
    "fit.one_class",
    "fit.not_learning",
    "fit.regularisation_too_strong",
    "fit.stopped_early",
    "fit.trained_too_long",
    "speed.input_bound",
    "speed.device_idle",
    "speed.memory_growth",
    "data.bad_boxes",
    "model.receptive_field",
    "model.anchor_coverage",
)

FINDINGS: dict[str, FindingSpec] = {code: import_module(f"{__package__}.{code}").SPEC for code in CODES}
