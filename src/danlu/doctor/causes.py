"""Which findings explain others: what is found along with its cause is a consequence, and needs no cure of its own."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.doctor.finding import Finding

# Cause -> what it brings about: where both are found, the second is a consequence of the first. "family.*" is a family.
EXPLAINS: dict[str, tuple[str, ...]] = {
    # Not gradient.exploding nor optim.lr_too_high: these are what makes numbers overflow.
    "numerics.nonfinite": (
        "fit.overfitting",
        "fit.underfitting",
        "fit.one_class",
        "fit.not_learning",
        "fit.stopped_early",
        "activation.*",
        "norm.train_eval_gap",
        "data.label_noise",
        "optim.plateau_*",
    ),
    "numerics.half_range": (
        "numerics.nonfinite",
        "model.bad_init",
        "model.unreached",
        "loop.no_update",
        "gradient.*",
        "activation.*",
        "optim.*",
        "fit.*",
    ),
    "data.label_range": ("numerics.nonfinite", "fit.*", "optim.*"),
    "data.labels_shuffled": ("model.too_small", "fit.*", "data.label_noise", "optim.*", "model.too_large"),
    "data.label_noise": ("model.too_small", "optim.slow_convergence", "fit.*", "model.too_large"),
    "data.not_normalised": (
        "numerics.nonfinite",
        "model.bad_init",
        "optim.lr_too_high",
        "optim.oscillation",
        "optim.momentum_too_high",
        "optim.no_warmup",
        "gradient.exploding",
        "gradient.vanishing",
        "activation.*",
        "fit.*",
        "optim.clipping_always",
        "optim.plateau_saddle",
        "optim.plateau_minimum",
        "optim.slow_convergence",
        "optim.lr_too_low",
    ),
    "data.degenerate": ("numerics.nonfinite", "fit.*"),
    "data.not_shuffled": (
        "fit.*",
        "optim.oscillation",
        "optim.lr_too_high",
        "norm.train_eval_gap",
        "optim.batch_too_small",
    ),
    "data.leak": ("fit.*",),
    "data.imbalance": ("fit.one_class",),
    "model.no_nonlinearity": ("fit.underfitting", "fit.not_learning", "model.too_small", "optim.slow_convergence"),
    "model.output_mismatch": (
        "fit.*",
        "optim.lr_too_low",
        "optim.slow_convergence",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
        "numerics.nonfinite",
        "gradient.vanishing",
        "activation.*",
        "model.bad_init",
        "model.too_small",
    ),
    "model.loss_mismatch": (
        "fit.*",
        "optim.*",
        "gradient.*",
        "activation.*",
        "model.output_mismatch",
        "numerics.nonfinite",
        "model.bad_init",
    ),
    "model.bad_init": (
        "data.label_noise",
        "gradient.*",
        "activation.*",
        "optim.lr_too_high",
        "optim.lr_too_low",
        "optim.slow_convergence",
        "fit.*",
        "numerics.nonfinite",
        "optim.plateau_saddle",
        "optim.plateau_minimum",
        "optim.oscillation",
        "optim.no_warmup",
        "loop.no_update",
        "model.unreached",
    ),
    "model.unreached": ("fit.*", "loop.params_not_in_optimizer", "optim.slow_convergence"),
    "norm.small_batch": ("norm.train_eval_gap", "fit.*", "optim.batch_too_small"),
    "norm.train_eval_gap": ("fit.*",),
    "loop.missing_zero_grad": ("optim.*", "gradient.exploding", "numerics.nonfinite", "fit.*", "activation.*"),
    "loop.wrong_sign": (
        "data.label_noise",
        "data.labels_shuffled",
        "fit.*",
        "optim.*",
        "gradient.*",
        "activation.*",
        "numerics.nonfinite",
        "model.bad_init",
        "model.too_small",
        "norm.train_eval_gap",
    ),
    "loop.no_update": (
        "fit.*",
        "optim.*",
        "model.unreached",
        "loop.params_not_in_optimizer",
        "loop.missing_zero_grad",
        "gradient.*",
        "activation.*",
        "model.too_small",
    ),
    "loop.params_not_in_optimizer": ("fit.*", "optim.slow_convergence", "optim.lr_too_low", "model.too_small"),
    "loop.optimizer_recreated": ("optim.slow_convergence", "optim.lr_too_low", "fit.underfitting"),
    "loop.wrong_mode": ("norm.train_eval_gap", "fit.*"),
    "loop.graph_kept": ("speed.memory_growth",),
    "loop.scheduler_misuse": (
        "optim.lr_too_low",
        "optim.slow_convergence",
        "fit.*",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
    ),
    "optim.lr_too_high": (
        "data.label_noise",
        "gradient.vanishing",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
        "optim.slow_convergence",
        "model.too_small",
        "numerics.nonfinite",
        "optim.oscillation",
        "optim.no_warmup",
        "gradient.exploding",
        "activation.dead_relu",
        "activation.saturated",
        "activation.collapsed",
        "fit.*",
        "optim.clipping_always",
        "norm.train_eval_gap",
    ),
    "optim.momentum_too_high": (
        "gradient.vanishing",
        "optim.plateau_minimum",
        "optim.slow_convergence",
        "model.too_small",
        "optim.lr_too_high",
        "optim.oscillation",
        "numerics.nonfinite",
        "gradient.exploding",
        "activation.*",
        "fit.*",
    ),
    "optim.no_warmup": (
        "gradient.vanishing",
        "activation.saturated",
        "activation.collapsed",
        "optim.slow_convergence",
        "optim.oscillation",
        "activation.dead_relu",
        "fit.*",
    ),
    "optim.lr_too_low": (
        "model.too_small",
        "fit.*",
        "optim.slow_convergence",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
    ),
    "optim.weight_decay_too_strong": (
        "optim.lr_too_high",
        "activation.*",
        "optim.plateau_saddle",
        "model.too_small",
        "fit.*",
        "gradient.vanishing",
        "optim.slow_convergence",
        "optim.plateau_minimum",
    ),
    "optim.clipping_always": ("optim.lr_too_low", "optim.slow_convergence", "fit.underfitting"),
    "optim.batch_too_small": (
        "fit.*",
        "optim.lr_too_high",
        "activation.*",
        "gradient.vanishing",
        "optim.oscillation",
    ),
    "gradient.vanishing": (
        "activation.collapsed",
        "fit.*",
        "optim.lr_too_low",
        "optim.slow_convergence",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
        "model.too_small",
    ),
    "gradient.exploding": ("numerics.nonfinite", "optim.lr_too_high", "optim.clipping_always", "fit.*"),
    "activation.dead_relu": (
        "fit.*",
        "activation.collapsed",
        "gradient.vanishing",
        "optim.slow_convergence",
        "model.unreached",
        "optim.plateau_minimum",
    ),
    "activation.saturated": (
        "activation.collapsed",
        "gradient.vanishing",
        "fit.*",
        "optim.slow_convergence",
        "optim.lr_too_low",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
    ),
    "activation.collapsed": ("fit.*", "gradient.vanishing", "model.no_nonlinearity"),
    "optim.plateau_saddle": (
        "activation.collapsed",
        "gradient.vanishing",
        "fit.*",
        "optim.slow_convergence",
        "model.too_small",
    ),
    "model.too_small": (
        "activation.dead_relu",
        "activation.collapsed",
        "gradient.vanishing",
        "fit.*",
        "optim.*",
    ),
    "data.split_shift": ("fit.*",),
    "data.augmentation_harmful": (
        "fit.*",
        "optim.slow_convergence",
        "model.too_small",
    ),
    "optim.batch_too_large": (
        "optim.slow_convergence",
        "fit.*",
        "optim.lr_too_low",
    ),
    "fit.regularisation_too_strong": (
        "model.bad_init",
        "optim.lr_too_high",
        "optim.slow_convergence",
        "numerics.nonfinite",
        "gradient.exploding",
        "activation.*",
        "fit.underfitting",
        "fit.not_learning",
        "fit.one_class",
        "model.too_small",
    ),
    "fit.one_class": ("fit.not_learning", "fit.underfitting"),
    "fit.underfitting": ("model.too_small",),
    "fit.overfitting": ("model.too_large", "fit.trained_too_long"),
}


def explained_by(found: Sequence[Finding]) -> dict[str, list[str]]:
    """Cause -> codes it explains, among what was found, which comes gravest and surest first; no code explains what
    explains it."""
    best: dict[str, Finding] = {}
    for finding in found:
        best.setdefault(finding.code, finding)
    explained: dict[str, list[str]] = {}
    for cause, finding in best.items():
        if finding.severity == "note":
            continue
        for code in best:
            if code != cause and _explains(cause, code) and cause not in _reached(explained, code):
                explained.setdefault(cause, []).append(code)
    return explained


def _reached(explained: dict[str, list[str]], cause: str) -> set[str]:
    """All that follows from `cause`, at once or in turn."""
    codes: set[str] = set()
    ahead = [cause]
    while ahead:
        for code in explained.get(ahead.pop(), []):
            if code not in codes:
                codes.add(code)
                ahead.append(code)
    return codes


def _explains(cause: str, code: str) -> bool:
    return any(code == e or (e.endswith("*") and code.startswith(e[:-1])) for e in EXPLAINS.get(cause, ()))
