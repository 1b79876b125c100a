"""Split a dataset into training, validation and test set, determined by the seed.

Splits that the data define are kept. A missing validation set is taken from the training samples: stratified by class,
at random, the latest by a column, or whole groups by a column; so is a missing test set where no validation set is
given either. Data that come with a validation set keep all their training samples. The splits are disjoint.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.config import DataConfig
from danlu.data.columns import as_numbers
from danlu.data.dataset import TEST, VAL, Dataset
from danlu.message import Message, message
from danlu.refuse import Refusal, one_of, refusal

SMALL_SET = 2000  # samples; of fewer a larger fraction is held out, for less noise in the metrics
HELD_OUT_FRACTION = 0.1
SMALL_HELD_OUT_FRACTION = 0.15
KINDS = {
    "stratified": message("split.stratified", "stratified by class"),
    "random": message("split.random", "drawn at random"),
}
RAREST = message("split.rarest_label", "stratified by the rarest label of each image")
GIVEN = message("split.given", "given")
NONE = message("split.none", "none")
VALIDATION_ONLY = message(
    "split.validation_only",
    "the data have a validation set and no test set; the validation set chooses the best epoch, so that its metrics "
    "are a little too good; --test 0.15 takes a test set from the training samples",
)


@dataclass(frozen=True)
class Split:
    """Sample numbers of each split, sorted, int64. how: description of the method. note: remark for the user."""

    train: Tensor
    val: Tensor
    test: Tensor
    how: Message
    note: Message | None = None


def split_dataset(dataset: Dataset, config: DataConfig, seed: int) -> Split:
    """Split a dataset into one training, one validation and one test set.

    Given splits are kept. A missing validation set is taken from the training samples; so is a missing test set, unless
    a validation set or a test set without labels is given. If the user sets the size of a given split, it is merged
    with the training samples and drawn again.
    Raises Refusal if no training sample would be left, or the column to split by does not exist.
    """
    cut = _Cut(dataset, config, seed)
    pool, test, val = _given(dataset, config)
    total = len(pool)
    wanted_test = 0 if len(test) else _count("--test", config.test, total)
    if config.test is None and (len(val) or TEST in dataset.unlabelled):
        wanted_test = 0  # the data have their own splits, though none for testing with labels
    wanted_val = 0 if len(val) else _count("--val", config.val, total)
    if wanted_test + wanted_val >= total:
        got = message(
            "data.got.split_sizes",
            "{val} for validation and {test} for testing of {total}",
            val=wanted_val,
            test=wanted_test,
            total=total,
        )
        raise refusal(
            "--val and --test",
            message("data.wanted.small_enough_leave_training", "small enough to leave training samples"),
            got,
        )
    how = {"test": GIVEN if len(test) else NONE, "validation": GIVEN if len(val) else NONE}
    if wanted_test:
        pool, test = cut(pool, wanted_test, "--test", config.test is not None, leave=2 if wanted_val else 1)
        how["test"] = cut.words
    if wanted_val:
        pool, val = cut(pool, wanted_val, "--val", config.val is not None, leave=1)
        how["validation"] = cut.words
    one = how["test"] == how["validation"]
    words = message("split.each", "test {test}, validation {val}", test=how["test"], val=how["validation"])
    if one:
        words = message("split.both", "validation and test {how}", how=how["test"])
    note = VALIDATION_ONLY if len(val) and not len(test) and TEST not in dataset.unlabelled else None
    return _split(cut, pool, val, test, words, note)


def folds(dataset: Dataset, config: DataConfig, seed: int) -> list[Split]:
    """Split a dataset into config.folds folds for cross-validation, after holding out the test set.

    Each sample is in one validation set, with two exceptions: with a split by time, where validation samples follow the
    training samples, the earliest are not validated; and a class with a single sample is only used for training.
    Raises Refusal for more folds than the samples, groups, times or classes allow.
    """
    assert config.folds is not None
    cut = _Cut(dataset, config, seed)
    pool, test, val = _given(dataset, config)
    pool = np.sort(np.concatenate([pool, val]))
    wanted = 0 if len(test) else min(_count("--test", config.test, len(pool)), len(pool) - 1)
    if config.test is None and TEST in dataset.unlabelled:
        wanted = 0
    if wanted:
        pool, test = cut(pool, wanted, "--test", config.test is not None, leave=2)
    found = []
    for i, (train, val) in enumerate(cut.folds(pool, config.folds)):
        values = {"fold": i + 1, "folds": config.folds, "how": cut.words}
        words = message("split.fold", "fold {fold} of {folds}, {how}", **values)
        found.append(_split(cut, train, val, test, words))
    return found


def _words(kind: str, column: str) -> Message:
    if kind == "time":
        return message("split.time", "the latest by {column}", column=column)
    if kind == "group":
        return message("split.group", "whole groups of {column}", column=column)
    return KINDS[kind]


def _given(dataset: Dataset, config: DataConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the given (training, test, validation) samples; splits that are drawn again are part of training."""
    everything = np.arange(len(dataset))
    given = np.zeros(len(dataset), np.int8) if dataset.given is None else dataset.given.numpy()
    is_test = (given == TEST) & ~_draw_again(config.test)
    is_val = (given == VAL) & ~_draw_again(config.val)
    return everything[~is_test & ~is_val], everything[is_test], everything[is_val]


def _draw_again(size: float | int | str | None) -> np.bool:
    """Return whether the user set the size of a split; a path has already been read as a given split."""
    return np.bool(size is not None and not isinstance(size, str))


def _count(flag: str, size: float | int | str | None, total: int) -> int:
    """Number of samples of a split of `total`, from a fraction, a number, or None for the default fraction."""
    if isinstance(size, str):
        raise refusal(
            flag,
            message("data.wanted.fraction_between_number_samples", "a fraction between 0 and 1 or a number of samples"),
            size,
        )
    if isinstance(size, int):
        return size
    default = HELD_OUT_FRACTION if total >= SMALL_SET else SMALL_HELD_OUT_FRACTION
    return max(1, round((default if size is None else size) * total))


def _split(
    cut: _Cut, train: np.ndarray, val: np.ndarray, test: np.ndarray, how: Message, note: Message | None = None
) -> Split:
    """Create the split, with at most config.limit training samples; a remark on that replaces `note`."""
    limit = cut.config.limit
    if limit is not None and limit < len(train):
        text = "{limit} of {samples} training samples are used"
        note = message("split.limited", text, limit=limit, samples=len(train))
        train = _draw(train, limit, cut.classes, cut.rng, keep_one=False)
    return Split(_tensor(train), _tensor(val), _tensor(test), how, note)


def _tensor(samples: np.ndarray) -> Tensor:
    return torch.from_numpy(np.sort(samples).astype(np.int64))


class _Cut:
    """Method of drawing a held-out set from a pool of samples.

    key: time (float) or group (int) of each sample, (N,). classes: class of each sample to stratify by, or None.
    """

    def __init__(self, dataset: Dataset, config: DataConfig, seed: int) -> None:
        kind, _, column = config.split.partition(":")
        kinds = (*KINDS, "time", "group")
        self.kind = one_of(
            "--split",
            kind,
            kinds,
            message("data.wanted.stratified_random_time_column", "stratified, random, time:COLUMN or group:COLUMN"),
        )
        if bool(column) != (self.kind in ("time", "group")):
            raise refusal(
                "--split",
                message("data.wanted.stratified_random_time_column", "stratified, random, time:COLUMN or group:COLUMN"),
                config.split,
            )
        spec = dataset.task_spec
        if self.kind == "stratified" and (not spec.has_classes or spec.on_canvas):
            self.kind = "random"
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.seed = seed
        self.classes = None
        if self.kind == "stratified":
            assert isinstance(dataset.targets, Tensor)
            self.classes = (_rarest_label(dataset.targets) if spec.several_labels else dataset.targets).numpy()
        self.column = column
        self.key = _key(dataset, self.kind, column) if column else None
        self.words = RAREST if self.classes is not None and spec.several_labels else _words(self.kind, column)

    def __call__(
        self, pool: np.ndarray, count: int, flag: str, strict: bool, leave: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw about `count` samples of the pool; returns (remaining, drawn).

        leave: min number of groups or times that must remain. strict: raise Refusal if fewer than `count` can be drawn.
        """
        if self.kind == "time":
            drawn = self._latest(pool, count, leave)
        elif self.kind == "group":
            drawn = self._groups(pool, count, leave)
        else:
            drawn = _draw(pool, count, self.classes, self.rng, keep_one=True)
            if not len(drawn) or (strict and len(drawn) < count):
                do = message("data.do.use_split_random", "use --split random")
                raise refusal(
                    flag,
                    message(
                        "data.wanted.most_leaves_training_sample",
                        "at most {drawn}, which leaves one training sample of each class",
                        drawn=len(drawn),
                    ),
                    count,
                    do=do,
                )
        return np.setdiff1d(pool, drawn), drawn

    def _latest(self, pool: np.ndarray, count: int, leave: int) -> np.ndarray:
        """Select about `count` of the latest samples, all of them strictly later than the others."""
        assert self.key is not None
        order = pool[np.argsort(self.key[pool], kind="stable")]
        times = self.key[order]
        changes = np.flatnonzero(times[1:] != times[:-1]) + 1
        if len(changes) < leave:
            raise refusal(
                f"column {self.column!r} of --split",
                message("data.wanted.least_different_times", "of at least {leave} different times", leave=leave + 1),
                len(changes) + 1,
            )
        changes = changes[leave - 1 :]
        return order[changes[np.abs(changes - (len(order) - count)).argmin()] :]

    def _groups(self, pool: np.ndarray, count: int, leave: int) -> np.ndarray:
        """Draw whole groups of about `count` samples in total."""
        assert self.key is not None
        names, sizes = np.unique(self.key[pool], return_counts=True)
        if len(names) <= leave:
            raise refusal(
                f"column {self.column!r} of --split",
                message("data.wanted.least_groups", "of at least {leave} groups", leave=leave + 1),
                len(names),
            )
        order = self.rng.permutation(len(names))
        reached = sizes[order].cumsum()[: len(names) - leave]
        taken = names[order[: np.abs(reached - count).argmin() + 1]]
        return pool[np.isin(self.key[pool], taken)]

    def folds(self, pool: np.ndarray, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Divide the pool into k pairs (training, validation)."""
        from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

        shuffled: dict[str, Any] = {"n_splits": k, "shuffle": True, "random_state": self.seed}
        if self.key is not None:
            values, places = np.unique(self.key[pool], return_inverse=True)
            what = "times" if self.kind == "time" else "groups"
            _enough(k, len(values) - (self.kind == "time"), f"{len(values)} different {what} of {self.column!r}")
            if self.kind == "group":
                pairs = GroupKFold(**shuffled).split(pool, groups=places)
            else:  # divide the times rather than the samples, so that equal times stay together
                by_time = TimeSeriesSplit(k).split(values)
                pairs = ((np.flatnonzero(np.isin(places, t)), np.flatnonzero(np.isin(places, v))) for t, v in by_time)
        elif self.classes is not None:
            labels = self.classes[pool]
            counts = np.bincount(labels)
            _enough(k, int(counts.max()), f"the largest class of {counts.max()} samples")
            alone = counts[labels] == 1
            with warnings.catch_warnings():  # classes with fewer samples than folds are allowed: some folds lack them
                warnings.simplefilter("ignore", UserWarning)
                pairs = list(StratifiedKFold(**shuffled).split(pool, labels))
            pairs = [(np.union1d(t, v[alone[v]]), v[~alone[v]]) for t, v in pairs]
        else:
            _enough(k, len(pool), f"{len(pool)} samples")
            pairs = KFold(**shuffled).split(pool)
        return [(pool[train], pool[val]) for train, val in pairs]


def _rarest_label(targets: Tensor) -> Tensor:
    """The least frequent label of each sample (N,), K where it has none. targets: (N, K) of 0 and 1."""
    counts = torch.cat([targets.sum(0), torch.tensor([len(targets) + 1.0])])
    marked = torch.cat([targets > 0, torch.ones(len(targets), 1, dtype=torch.bool)], 1)
    return torch.where(marked, counts, torch.inf).argmin(1)


def _enough(k: int, max_folds: int, of: str) -> None:
    if k > max_folds:
        raise refusal(
            "--folds", message("data.wanted.most", "at most {max_folds} for {of}", max_folds=max_folds, of=of), k
        )


def _key(dataset: Dataset, kind: str, column: str) -> np.ndarray:
    """Read the time or group of each sample from a column of the table, (N,)."""
    import pandas

    frame = dataset.inputs
    if not isinstance(frame, pandas.DataFrame):
        raise refusal(
            "--split",
            message("data.wanted.stratified_random_data_other", "stratified or random for data other than tables"),
            f"{kind}:{column}",
        )
    names = [str(name) for name in frame.columns]
    values = frame.iloc[
        :,
        names.index(
            one_of(
                "--split",
                column,
                names,
                message("data.wanted.split_column", "{kind}: and a column of {path}", kind=kind, path=dataset.path),
            )
        ),
    ]
    if kind == "group":
        return pandas.factorize(values, use_na_sentinel=False)[0]
    times = as_numbers(values)
    if times is None:
        raise Refusal(
            message(
                "data.refuse.column_split_hold_dates",
                "column {column!r} of --split must hold dates or numbers, got {example!r}",
                column=column,
                example=str(values.iloc[0]),
            )
        )
    if np.isnan(times).any():
        row = dataset.name_of(int(np.isnan(times).argmax()))
        raise Refusal(
            message(
                "data.refuse.column_split_value_every",
                "column {column!r} of --split must have a value in every row, got none in {row}",
                column=column,
                row=row,
            )
        )
    return times


def _draw(
    pool: np.ndarray, count: int, classes: np.ndarray | None, rng: np.random.Generator, keep_one: bool
) -> np.ndarray:
    """Draw `count` samples of the pool at random, stratified by class if `classes` are given.

    keep_one: leave at least one sample of each class, even if fewer than `count` are drawn.
    """
    if classes is None:
        return rng.permutation(pool)[:count]
    shuffled = rng.permutation(pool)
    labels = classes[shuffled]
    sizes = np.bincount(labels)
    quota = _allot(sizes, count, np.maximum(sizes - 1, 0) if keep_one else sizes)
    order = np.argsort(labels, kind="stable")
    rank = np.empty(len(order), np.int64)  # position of each sample among those of its class
    rank[order] = np.arange(len(order)) - np.repeat(sizes.cumsum() - sizes, sizes)
    return shuffled[rank < quota[labels]]


def _allot(sizes: np.ndarray, count: int, limits: np.ndarray) -> np.ndarray:
    """Distribute `count` samples over classes by the largest remainder method: at least one each, up to `limits`."""
    exact = count * sizes / sizes.sum()
    quota = np.minimum(np.floor(exact).astype(np.int64), limits)
    minimum = np.minimum(limits, 1) if count >= (limits > 0).sum() else np.zeros_like(limits)
    quota = np.maximum(quota, minimum)
    count = min(count, int(limits.sum()))
    while quota.sum() < count:
        quota[np.where(quota < limits, exact - quota, -np.inf).argmax()] += 1
    while quota.sum() > count:
        quota[np.where(quota > minimum, quota - exact, -np.inf).argmax()] -= 1
    return quota
