"""Result of `danlu.tune`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from danlu.run.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class TrialResult(Result):
    """One trial of the search, trained with one seed."""

    number: int
    settings: Mapping[str, Any]  # searched setting -> value
    state: str  # complete, pruned (also: broken, diverged) or failed (settings that do not fit)
    value: float | None = None  # metric of its best epoch; of its last one for a pruned trial
    loss: float | None = None  # validation loss of the best epoch
    epochs: int = 0  # trained
    seconds: float = 0.0
    why: str | None = None  # reason for an early end
    source: str | None = None  # "defaults", a finding whose fix it is, or None for the sampler's choice


@dataclass(frozen=True, eq=False, repr=False)
class Finalist(Result):
    """Settings trained again with new seeds."""

    trial: int  # -1: danlu's own settings, which are not among the best trials
    settings: Mapping[str, Any]
    seeds: list[int]
    scores: list[float | None]  # validation metric by seed; None where the training failed
    mean: float | None
    std: float | None  # sample standard deviation
    test: list[float] | None = None  # test metric by seed, of the winner and the defaults
    test_mean: float | None = None
    own: bool = False  # danlu's own settings


@dataclass(frozen=True, eq=False, repr=False)
class TuningResult(Result):
    """Result of a search: its trials, the best ones trained again, and the winner."""

    folder: str = ""
    metric: str = ""  # of the validation set
    better: str = ""  # "high" or "low"
    method: str = ""
    space: Mapping[str, str] = field(default_factory=dict)  # setting -> its range
    trials: list[TrialResult] = field(default_factory=list)
    finalists: list[Finalist] = field(default_factory=list)  # best mean first
    best: Mapping[str, Any] = field(default_factory=dict)  # settings of the winner
    verdict: str = ""  # comparison of the winner with danlu's own settings
    better_than_defaults: bool = False  # by more than the noise of the seeds
    value: float | None = None  # validation metric of the training that `command` repeats
    test: float | None = None  # test metric of the same training
    config: str | None = None  # file with every setting of that training
    command: str | None = None
    run: str | None = None  # folder of that training, with its weights
    epochs_trained: int = 0  # in all trials
    epochs_full: int = 0  # number of epochs of the same trials without early stopping
    test_looks: int = 0  # ends of this search, of one that was resumed too, that used the test set
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of this process, without what it resumed
    page: str | None = None

    ALWAYS: ClassVar[tuple[str, ...]] = ("value", "test")
