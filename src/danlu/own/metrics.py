"""The user's metrics: torchmetrics, functions f(outputs, targets), scikit-learn's functions of y_true and y_pred."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from danlu.message import message
from danlu.own.naming import parameters_of, plain_name, required
from danlu.refuse import Refusal, refusal, shortened
from danlu.run.quantities import METRICS
from danlu.user_objects import PREFIX


class OwnMetrics:
    """Metrics by name, computed on the outputs and targets of a whole split.

    An object with update, compute and reset (torchmetrics) is called through these, a function as f(outputs, targets),
    one with parameters y_true and y_pred by these names, on numpy arrays of classes or values.
    """

    def __init__(self, metrics: Any) -> None:
        self.functions = _named(metrics)
        self.name = ",".join(PREFIX + name for name in self.functions)

    @property
    def names(self) -> tuple[str, ...]:
        """Value of the config."""
        return tuple(PREFIX + name for name in self.functions)

    def __call__(self, outputs: Tensor, targets: Tensor, predicted: Tensor, scores: Tensor) -> dict[str, float]:
        """Metric name -> number.

        outputs: (N, ...) of the network. targets: (N,) or (N, T). predicted: class indices (N,), or values. scores:
        class probabilities (N, K), or values.
        """
        found: dict[str, float] = {}
        for name, metric in self.functions.items():
            try:
                value = _computed(metric, outputs, targets, predicted, scores)
            except Exception as error:
                why = shortened(error)
                text = "outputs of shape {outputs} and targets of shape {targets}"
                both = {"outputs": str(tuple(outputs.shape)), "targets": str(tuple(targets.shape))}
                shapes = message("own.two_shapes", text, **both)
                raise Refusal(
                    message(
                        "own.refuse.metric_fails",
                        "metric {name} fails on {shapes}: {why}",
                        name=name,
                        shapes=shapes,
                        why=why,
                    ),
                    "metrics",
                ) from error
            several = isinstance(value, Mapping)
            for key, one in value.items() if several else [(name, value)]:
                found[str(key)] = _number(str(key), one)
        return found


def _named(metrics: Any) -> dict[str, Any]:
    """Metrics by name, from a mapping, a list or a single one."""
    if isinstance(metrics, Mapping) and not hasattr(metrics, "compute"):
        named = {str(name): metric for name, metric in metrics.items()}
    else:
        several = metrics if isinstance(metrics, list | tuple) else [metrics]
        named = {}
        for one in several:
            name = plain_name(one)
            name = f"own_{name}" if name in METRICS else name
            named[name if name not in named else f"{name}_{len(named)}"] = one
    for name, metric in named.items():
        if name in METRICS:
            raise Refusal(
                message(
                    "own.refuse.metric_name_danlu_own",
                    "metric {name!r} has the name of one of danlu's own; give it another name",
                    name=name,
                ),
                "metrics",
            )
        if isinstance(metric, type) or not (callable(metric) or _is_torchmetric(metric)):
            raise _no_metric(name, metric)
        needs = required(parameters_of(metric))
        if not _is_torchmetric(metric) and len(needs) > 2:
            raise Refusal(
                message(
                    "own.refuse.metric_function_outputs_targets",
                    "metric {plain_name} must be a function f(outputs, targets), it requires {needs}",
                    plain_name=plain_name(metric),
                    needs=", ".join(needs),
                ),
                "metrics",
            )
    return named


def _no_metric(name: str, metric: Any) -> Refusal:
    """Refusal of what is neither a function nor an object with update, compute and reset."""
    wanted = message(
        "own.wanted.function_outputs_targets_torchmetrics", "a function f(outputs, targets) or a torchmetrics metric"
    )
    if isinstance(metric, str):
        do = message("own.do.metric_measured", "{metric} is measured without being asked for", metric=metric)
        return refusal("metrics", wanted, metric, do=do if metric in METRICS else "")
    if isinstance(metric, type):
        do = message("own.do.metric_object", "make an object of it: {metric}(...)", metric=metric.__name__)
        return refusal(f"metric {name}", wanted, message("own.got.class", "a class"), do=do)
    return refusal(f"metric {name}", wanted, metric)


def _is_torchmetric(metric: Any) -> bool:
    return all(hasattr(metric, method) for method in ("update", "compute", "reset"))


def _computed(metric: Any, outputs: Tensor, targets: Tensor, predicted: Tensor, scores: Tensor) -> Any:
    flat = targets.squeeze(1) if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if _is_torchmetric(metric):
        own = copy.deepcopy(metric).cpu()
        own.reset()
        preds = scores if not targets.is_floating_point() else outputs
        if type(own).__name__.startswith("Binary") and preds.ndim == 2 and preds.shape[1] == 2:
            preds = preds[:, 1]
        one_output = preds.ndim == 2 and preds.shape[1] == 1
        own.update(preds.squeeze(1) if one_output else preds, flat)
        return own.compute()
    names = parameters_of(metric)
    if "y_true" in names and ("y_pred" in names or "y_score" in names):
        guess = {"y_pred": predicted} if "y_pred" in names else {"y_score": scores}
        return metric(y_true=flat.numpy(), **{k: v.squeeze().numpy() for k, v in guess.items()})
    return metric(outputs, targets)


def _number(name: str, value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value.item())
    try:
        return float(value)
    except (TypeError, ValueError):
        shape = tuple(torch.as_tensor(value).shape) if isinstance(value, Tensor) else type(value).__name__
        raise refusal(f"metric {name}", message("own.wanted.number", "one number"), shape) from None
