"""The folder of a search: its settings, its journal, and the distribution of trials to the processes that joined it.

study.yaml (settings of the search), journal.log (Optuna's), trials/N (run folders), final/trial-N/seed-S (the best
ones trained again), claims/ (a lock for each trial, held by the process that trains it), best.yaml, tuning.json,
tuning.html.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from danlu.config import Config, from_dict, to_dict, with_values
from danlu.config.yaml_text import read_yaml, to_yaml
from danlu.message import message
from danlu.refuse import Refusal, refusal, system_reason
from danlu.run.atomic import write_atomically
from danlu.tuning.dimension import Dimension
from danlu.tuning.journal import open_journal
from danlu.tuning.methods import sampler

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

FILE = "study.yaml"
DEFAULTS_TRIAL = 0  # number of the trial with danlu's own settings


@dataclass(frozen=True)
class StudySettings:
    """Settings of a search, the same for all processes and resumptions.

    config: of every trial, with what is not searched; open where danlu chooses. metric, better: validation metric to
    improve. epochs: of every trial. method, prune: see `methods`. trials: number of trials, None for no limit.
    train_samples, val_samples: sizes of the training and validation set.
    """

    config: Config
    space: list[Dimension]
    metric: str
    better: str
    epochs: int
    method: str
    prune: str
    trials: int | None = None
    train_samples: int = 0
    val_samples: int = 0

    @property
    def defaults(self) -> dict[str, Any] | None:
        """danlu's own values of the searched settings; None if one of them is outside the space."""
        centres = {one.key: one.centre for one in self.space}
        return None if None in centres.values() else centres

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML."""
        return {
            **{key: value for key, value in vars(self).items() if key not in ("config", "space")},
            "space": [one.to_dict() for one in self.space],
            "config": to_dict(self.config),
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> StudySettings:
        """Inverse of `to_dict`."""
        space = [Dimension.from_dict(one) for one in kept["space"]]
        return cls(**{**kept, "space": space, "config": from_dict(kept["config"])})


class StudyFolder:
    """An existing search, joined by this process."""

    def __init__(self, folder: Path, settings: StudySettings) -> None:
        self.folder, self.settings = folder, settings
        (folder / "claims").mkdir(exist_ok=True)
        self._hand_out = FileLock(folder / "claims" / "hand-out")

    @classmethod
    def create(cls, out: str | None, settings: StudySettings) -> StudyFolder:
        """Make a new folder, `out` or the next free runs/tune-N. Raises Refusal as `check_new`."""
        check_new(out)
        folder = Path(out) if out else _next_free(Path("runs"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refusal(
                message(
                    "tuning.refuse.out_folder_can_written",
                    "--out must be a folder that can be written, got {folder}: {strerror}",
                    folder=folder,
                    strerror=system_reason(error),
                )
            ) from None
        made = cls(folder, settings)
        made.save(settings)
        return made

    @classmethod
    def open(cls, folder: str | Path) -> StudyFolder:
        """Join the search of a folder. Raises Refusal if it is none."""
        folder = Path(folder)
        try:
            kept = read_yaml(folder / FILE)
            return cls(folder, StudySettings.from_dict(kept))
        except OSError:
            places = dict.fromkeys((folder, folder.parent, Path("runs")))
            near = [str(path.parent) for place in places for path in sorted(place.glob(f"*/{FILE}"))]
            wanted = message(
                "tuning.wanted.folder_search_holds", "the folder of a search (one that holds {file})", file=FILE
            )
            raise refusal("--resume", wanted, str(folder), near=near) from None
        except (yaml.YAMLError, ValueError, TypeError, KeyError) as error:
            raise Refusal(
                message(
                    "tuning.refuse.settings_search_edited",
                    "{folder} must be the settings of a search; was it edited? ({error})",
                    folder=folder / FILE,
                    error=str(error),
                )
            ) from None

    def save(self, settings: StudySettings) -> None:
        """Write the settings; other processes read them when they join."""
        self.settings = settings
        text = to_yaml(settings.to_dict())
        write_atomically(self.folder / FILE, lambda path: path.write_text(text, encoding="utf-8"))

    @cached_property
    def journal(self) -> optuna.Study:
        """Optuna's study."""
        one = self.settings
        return open_journal(self.folder, one.better, one.prune, one.epochs)

    def trial_folder(self, number: int) -> Path:
        """Run folder of a trial."""
        return self.folder / "trials" / str(number)

    def trial_config(self, params: Mapping[str, Any]) -> Config:
        """Settings of a trial. The usual augmentation stays open, since danlu adds to its preset for some data."""
        usual = {one.key: one.centre for one in self.settings.space}
        given = {key: v for key, v in params.items() if key != "augment.preset" or v != usual.get(key)}
        return with_values(self.settings.config, given)

    def enqueue(self, candidates: list[dict[str, Any]], source: str | None = None) -> None:
        """Put candidates at the end of the queue, without those that it has. source: where they come from."""
        for params in candidates:
            attributes = {"source": source} if source else None
            self.journal.enqueue_trial(params, user_attrs=attributes, skip_if_exists=True)

    def next_trial(self) -> Claim | None:
        """A trial for this process, which holds its claim: first those of killed processes, then a new one.

        None when all trials are taken.
        """
        with self._hand_out:
            for frozen in self.journal.get_trials(deepcopy=False):
                if frozen.state.name == "RUNNING" and (lock := self._claim(frozen.number)) is not None:
                    return Claim(self._trial(frozen), lock, self.settings.space)
            asked = [one for one in self.journal.get_trials(deepcopy=False) if one.state.name != "WAITING"]
            if self.settings.trials is not None and len(asked) >= self.settings.trials:
                return None
            if self.settings.method == "grid" and not self._waiting():
                return None
            self.journal.sampler = self._sampler(len(asked))
            trial = self.journal.ask()
            lock = self._claim(trial.number)
            assert lock is not None
            return Claim(trial, lock, self.settings.space)

    def trained_elsewhere(self) -> int:
        """Number of trials that other processes are training."""
        with self._hand_out:
            running = [one for one in self.journal.get_trials(deepcopy=False) if one.state.name == "RUNNING"]
            return sum(not self._free(one.number) for one in running)

    def claim(self, name: str) -> FileLock | None:
        """The lock of a piece of work, None where another process holds it."""
        lock = FileLock(self.folder / "claims" / name, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def finished(self) -> list[FrozenTrial]:
        """Trials that ended, in their order."""
        return [one for one in self.journal.get_trials(deepcopy=False) if one.state.is_finished()]

    def _waiting(self) -> bool:
        return any(one.state.name == "WAITING" for one in self.journal.get_trials(deepcopy=False))

    def _claim(self, number: int) -> FileLock | None:
        return self.claim(str(number))

    def _free(self, number: int) -> bool:
        lock = self._claim(number)
        if lock is not None:
            lock.release()
        return lock is not None

    def _trial(self, frozen: FrozenTrial) -> Trial:
        """Optuna's handle of a running trial."""
        import optuna

        self.journal.sampler = self._sampler(frozen.number)
        return optuna.Trial(self.journal, frozen._trial_id)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = self.settings.config.seed
        if self.settings.method != "sobol":
            return sampler(self.settings.method, seed, number)
        if not hasattr(self, "_sobol"):
            self._sobol = sampler("sobol", seed, 0)
        return self._sobol


@dataclass
class Claim:
    """A trial that this process trains, with its parameters."""

    trial: Trial
    lock: FileLock
    space: list[Dimension]
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A trial of a killed process keeps the values that were chosen before the kill.
        self.params = {one.key: one.suggest(self.trial) for one in self.space}

    def release(self) -> None:
        """Let other processes see that nothing is trained any more."""
        self.lock.release()


def check_new(out: str | None) -> None:
    """Raise Refusal if the folder of a new search holds something."""
    folder = Path(out or "")
    if not out or not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    go_on = message(
        "tuning.do.continue_search_danlu_tune", "continue the search with `danlu tune --resume {folder}`", folder=folder
    )
    wanted = message("tuning.wanted.new_empty_folder", "a new or empty folder")
    raise refusal("--out", wanted, str(folder), do=go_on if (folder / FILE).exists() else "")


def _next_free(parent: Path) -> Path:
    """Make the next folder runs/tune-N."""
    taken = [int(one.name[5:]) for one in parent.glob("tune-*") if one.name[5:].isdigit()]
    number = max(taken, default=0) + 1
    while True:  # searches that start at the same time must not share a number
        try:
            os.makedirs(parent / f"tune-{number}")
            return parent / f"tune-{number}"
        except FileExistsError:
            number += 1
        except OSError as error:
            raise Refusal(
                message(
                    "tuning.refuse.cannot_written_choose_another",
                    "{parent} cannot be written: {strerror}; choose another folder with --out",
                    parent=parent,
                    strerror=system_reason(error),
                )
            ) from None
