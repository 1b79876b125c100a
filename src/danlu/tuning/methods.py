"""Search methods and pruning rules by name: Optuna's samplers and pruners."""

from __future__ import annotations

import itertools
import random
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from danlu.message import message
from danlu.refuse import Refusal, one_of
from danlu.tuning.dimension import Dimension

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

METHODS = ("tpe", "random", "grid", "sobol", "cmaes", "gp")
PRUNERS = ("median", "halving", "none")
FEW_TRIALS = 15  # below, Sobol points beat TPE, whose first trials are random
STARTUP_TRIALS = 4  # finished trials before the median rule prunes
WARMUP = 1 / 4  # fraction of the epochs before which nothing is pruned: most of the rise of the one-cycle schedule
REDUCTION = 3  # successive halving: one of this number of trials is continued at each rung


def check_method(name: str | None, trials: int | None) -> str:
    """The method, chosen by the number of trials where it is open. Raises Refusal for an unknown one."""
    if name is None:
        return "sobol" if trials is not None and trials < FEW_TRIALS else "tpe"
    one_of("--method", name, METHODS, message("tuning.wanted.methods", "one of {methods}", methods=[*METHODS]))
    if name == "cmaes" and find_spec("cmaes") is None:
        raise Refusal(
            message(
                "tuning.refuse.method_cmaes_needs_package",
                "--method cmaes needs the package cmaes; install it with `pip install danlu[tune]`",
            ),
            "--method",
        )
    return name


def sampler(method: str, seed: int, trial: int) -> BaseSampler:
    """The sampler of one trial. Its random numbers depend on the seed and the trial's number, so that a resumed search
    goes on as an uninterrupted one; Sobol's sequence is one for all trials and kept by the study."""
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    mixed = random.Random(f"{seed}/{trial}").getrandbits(32)
    if method == "sobol":
        independent = samplers.RandomSampler(seed=mixed)
        options: dict[str, Any] = {"independent_sampler": independent, "warn_independent_sampling": False}
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            return samplers.QMCSampler(scramble=True, seed=seed, **options)
    if method == "tpe":
        return samplers.TPESampler(seed=mixed)
    if method == "gp":
        return samplers.GPSampler(seed=mixed, warn_independent_sampling=False)
    if method == "cmaes":
        return samplers.CmaEsSampler(seed=mixed, warn_independent_sampling=False)
    return samplers.RandomSampler(seed=mixed)


def grid(space: list[Dimension], seed: int) -> list[dict[str, Any]]:
    """All combinations of the grid's values, in an order given by the seed, so that a part of it covers all values."""
    names = [one.key for one in space]
    points = [dict(zip(names, values)) for values in itertools.product(*(one.grid() for one in space))]
    random.Random(seed).shuffle(points)
    return points


def pruner(name: str, epochs: int) -> BasePruner:
    """The rule that ends trials early: all have the same schedule of `epochs`, so that equal epochs are comparable."""
    from optuna import pruners

    warmup = max(1, round(epochs * WARMUP))
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=warmup)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=warmup, reduction_factor=REDUCTION)
    return pruners.NopPruner()
